//! What the server itself says of a configuration, without being started: it reads the file, and shows what it would run with
//! or why it would not start.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{CNF, SECRET_CNF, server_program};
use crate::host::file::{self, FileError};
use crate::host::{Command, CommandError, Mode};

/// Reading a file and printing takes the server some hundredths of a second.
const LIMIT: Duration = Duration::from_secs(20);
/// Where the server's configuration lies.
const FOLDERS: [&str; 2] = ["/etc/mysql/conf.d", "/etc/mysql/mariadb.conf.d"];

/// All variables as the server would start with them, by their names with underscores.
pub type Variables = BTreeMap<String, String>;

/// The variable that a name in a file sets: `skip_local_infile` is a way to write `local_infile`.
pub fn variable<'a>(name: &'a str, listing: &Variables) -> Option<&'a str> {
    let bare = || ["skip_", "disable_", "enable_"].iter().find_map(|prefix| name.strip_prefix(prefix));
    let known = |name: &&str| listing.contains_key(*name);
    Some(name).filter(known).or_else(|| bare().filter(known))
}

/// Why a configuration is no good.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The server refuses it; says why, in its own words.
    #[error("{0}")]
    Refused(String),
    /// It could not be asked.
    #[error("cannot ask the server")]
    Program(#[source] CommandError),
    /// The scratch file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What it printed is not understood.
    #[error("cannot read what the server says of its configuration")]
    Odd,
}

/// Asks the server about these lines, behind what the machine's other files say. Nothing is started. `scratch` is an empty
/// folder of our own, which stands for the data: the server would look for plugins there. It may take so many bytes of
/// memory.
///
/// # Errors
/// When the server would not start with them, or would change a value by itself, or cannot be asked.
pub fn check(lines: &str, scratch: &Path, memory: u64) -> Result<Variables, CheckError> {
    let file = scratch.join("check.cnf");
    file::write_atomic(&file, with_others(lines)?.as_bytes(), &Mode::new(0o600))?;
    // Some caches are allocated even for this.
    let asked = Command::new("prlimit")
        .arg(format!("--as={memory}"))
        .arg(server_program())
        .arg(format!("--defaults-file={}", file.display()))
        .arg(format!("--datadir={}", scratch.display()))
        .args(["--help", "--verbose"])
        .timeout(LIMIT)
        .run();
    match asked {
        Ok(said) => match said.stderr_text().lines().find_map(complaint) {
            Some(first) => Err(CheckError::Refused(first)),
            None => read(&said.stdout_text()).ok_or(CheckError::Odd),
        },
        Err(CommandError::Failed { stderr, .. }) => {
            let first = stderr.lines().find_map(|line| complaint(line).or_else(|| error(line)));
            Err(CheckError::Refused(first.unwrap_or_else(|| "it gives no reason".to_owned())))
        }
        Err(why) => Err(CheckError::Program(why)),
    }
}

/// What Debian and Ubuntu let the server read (`/etc/mysql/mariadb.cnf`), without our own files.
fn with_others(lines: &str) -> Result<String, FileError> {
    let mut text = String::new();
    for folder in FOLDERS {
        for name in file::list_opt(folder)?.unwrap_or_default() {
            let path = format!("{folder}/{name}");
            if name.ends_with(".cnf") && ![CNF, SECRET_CNF].contains(&path.as_str()) {
                text.push_str(&format!("!include {path}\n"));
            }
        }
    }
    Ok(text + lines)
}

/// `2026-11-22 14:56:29 0 [Warning] option 'sort_buffer_size': unsigned value 1 adjusted to 1024`: a value that the server
/// would take for another. What it says of the machine it runs on is none.
fn complaint(line: &str) -> Option<String> {
    let (_, said) = line.split_once("[Warning] ")?;
    let meant = said.starts_with("option '") || said.contains("unknown variable") || said.contains("unknown option");
    meant.then(|| bare(said))
}

fn error(line: &str) -> Option<String> {
    line.split_once("[ERROR] ").map(|(_, said)| bare(said))
}

/// Without the program's path before it.
fn bare(said: &str) -> String {
    said.split_once("mariadbd: ").map_or(said, |(_, rest)| rest).trim().to_owned()
}

/// The table of variables: names with dashes, blanks, values.
fn read(said: &str) -> Option<Variables> {
    let mut lines = said.lines().skip_while(|line| !line.starts_with("Variables (--variable-name=value)"));
    lines.find(|line| line.starts_with("-----"))?;
    let table = lines.take_while(|line| !line.is_empty()).map(|line| {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        (name.to_ascii_lowercase().replace('-', "_"), value.trim().to_owned())
    });
    Some(table.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let said = "mariadbd  Ver 10.11\n  --verbose\n\nVariables (--variable-name=value)\nand boolean options {FALSE|TRUE}      Value\n\
                    ------------------ -------------\nwait-timeout          28800\nwsrep-provider-options \n\nTo see what\n";
        let read = read(said).unwrap();
        assert_eq!(read["wait_timeout"], "28800");
        assert_eq!(read["wsrep_provider_options"], "");
        assert_eq!(read.len(), 2);
        assert!(super::read("hello").is_none());
    }

    #[test]
    fn complaints_are_told_from_other_warnings() {
        let line = |text: &str| complaint(&format!("2026-11-22 14:56:20 0 [Warning] {text}"));
        assert_eq!(line("Could not increase number of max_open_files to more than 20000 (request: 32184)"), None);
        let adjusted = "option 'sort_buffer_size': unsigned value 1 adjusted to 1024";
        assert_eq!(line(adjusted).as_deref(), Some(adjusted));
        assert_eq!(
            line("/usr/sbin/mariadbd: unknown variable 'loose-foo=3'").as_deref(),
            Some("unknown variable 'loose-foo=3'")
        );
    }
}
