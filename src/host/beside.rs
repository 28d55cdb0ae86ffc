//! Large files: written beside their place and renamed when they are whole and on disk, read as a stream.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::direct::Direct;
use super::file::{self, FileError, failed};

/// A file on its way in. Dropped unfinished, it is removed.
#[derive(Debug)]
pub struct Beside {
    file: Direct,
    part: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl Beside {
    /// Begins one that is to become `path`, and is called `path` with this ending until then.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: impl AsRef<Path>, ending: &str, mode: u32) -> Result<Self, FileError> {
        let path = path.as_ref().to_owned();
        let mut part = path.clone().into_os_string();
        part.push(ending);
        let part = PathBuf::from(part);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&part);
        let file = file.map_err(failed("create", &part))?;
        Ok(Self { file: Direct::new(file), part, path, finished: false })
    }

    /// Gives it its name; returns when it would survive a power cut.
    ///
    /// # Errors
    /// When it cannot be written to disk or renamed; then there is nothing.
    pub fn finish(mut self) -> Result<(), FileError> {
        self.file.sync_all().map_err(failed("write", &self.part))?;
        file::rename(&self.part, &self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.finished {
            // Whoever sweeps later finds what could not be removed now.
            let _left = fs::remove_file(&self.part);
        }
    }
}

/// A new file that is handed over and goes: nobody looks for it after a power cut.
///
/// # Errors
/// When it cannot be made.
pub fn create_passing(path: impl AsRef<Path>, mode: u32) -> Result<File, FileError> {
    let path = path.as_ref();
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed("create", path))
}

/// Removes such a file.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_passing(path: impl AsRef<Path>) -> Result<(), FileError> {
    let path = path.as_ref();
    fs::remove_file(path).map_err(failed("remove", path))
}

/// A file to be read from its beginning; `None` when there is none.
///
/// # Errors
/// When it cannot be opened.
pub fn reader_opt(path: impl AsRef<Path>) -> Result<Option<File>, FileError> {
    let path = path.as_ref();
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("open", path)(error)),
    }
}

/// The size of a plain file in bytes; `None` for anything else, and where nothing is.
///
/// # Errors
/// When that cannot be told.
pub fn size_opt(path: impl AsRef<Path>) -> Result<Option<u64>, FileError> {
    let path = path.as_ref();
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(found.is_file().then_some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

/// Removes a directory if nothing is in it. Returns whether it did.
///
/// # Errors
/// When an empty one cannot be removed.
pub fn remove_dir_if_empty(path: impl AsRef<Path>) -> Result<bool, FileError> {
    let path = path.as_ref();
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(false),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn it_has_its_name_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let mut half = Beside::create(&path, ".part", 0o600).unwrap();
        half.write_all(b"half").unwrap();
        assert_eq!(size_opt(&path).unwrap(), None);
        drop(half);
        assert_eq!(file::list_opt(dir.path()).unwrap().unwrap(), [""; 0]);
        let mut whole = Beside::create(&path, ".part", 0o600).unwrap();
        whole.write_all(b"whole").unwrap();
        whole.finish().unwrap();
        assert_eq!(size_opt(&path).unwrap(), Some(5));
        let mut text = String::new();
        reader_opt(&path).unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "whole");
        assert!(!remove_dir_if_empty(dir.path()).unwrap());
    }
}
