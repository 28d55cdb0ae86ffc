//! Files that a tool is told to read or write. They are the machine's, seen from its caller's directory; the agent opens
//! them from outside, so a link must lead where it leads on the machine and never to the host's own files.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::machine::open_below;
use rustix::fs::{Mode, OFlags};

use super::flags::{ToolError, failure};
use super::tools::Run;

impl Run<'_> {
    /// A file of the caller's, or its standard input, which is not there before it is asked for.
    pub(super) fn read_file(&self, name: &str) -> Result<Option<String>, ToolError> {
        if name == "-" {
            return Ok(self.call.stdin.clone());
        }
        let path = self.absolute(name);
        let mut text = String::new();
        let read = self.open(&path, OFlags::RDONLY).and_then(|mut file| file.read_to_string(&mut text));
        read.map_err(|why| failure(format!("open {}: {}", path.display(), short(&why))))?;
        Ok(Some(text))
    }

    /// Writes a file where the caller would have.
    pub(super) fn write_file(&self, name: &str, text: &str) -> Result<(), ToolError> {
        let path = self.absolute(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let written = self.open(&path, flags).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|why| failure(format!("open {}: {}", path.display(), short(&why))))
    }

    fn absolute(&self, name: &str) -> PathBuf {
        Path::new(&self.call.cwd).join(name)
    }

    fn open(&self, path: &Path, flags: OFlags) -> std::io::Result<File> {
        let down = || std::io::Error::other("the machine is down");
        let machine = self.context.snapshot.units.get(&self.context.unit).map(|unit| unit.machine).ok_or_else(down)?;
        let view = self.controller.machines.view(machine).ok_or_else(down)?;
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
        Ok(open_below(&view, path, flags, mode)?)
    }
}

/// An error of the system as Go words it: the text in lower case, without its number.
fn short(why: &std::io::Error) -> String {
    let text = why.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
