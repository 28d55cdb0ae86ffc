//! A folder that nobody else may look into, for what programs want to have in files: passwords, keys, notes. It is in
//! memory, and goes when it is dropped; what a killed process left is removed by the next one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::host::{FileError, Mode, file, is_process_alive};
use crate::mariadb::Paths;

const NAME: &str = "backup.";

/// Such a folder.
#[derive(Debug)]
pub(super) struct Private {
    path: PathBuf,
}

impl Private {
    pub(super) fn new() -> Result<Self, FileError> {
        Self::below(&Paths::default().run)
    }

    fn below(run: &Path) -> Result<Self, FileError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        make_run(run)?;
        for name in file::list_opt(run)?.unwrap_or_default() {
            let id = name.strip_prefix(NAME).and_then(|rest| rest.split_once('-')).map(|(id, _)| id);
            if id.is_some_and(|id| !is_process_alive(id)) {
                file::remove_dir_all_opt(run.join(&name))?;
            }
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = run.join(format!("{NAME}{}-{count}", std::process::id()));
        file::create_dir_all_with(&path, &Mode::new(0o700))?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it, and says where.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, FileError> {
        let path = self.path.join(name);
        file::write_atomic(&path, text.as_bytes(), &Mode::new(0o600))?;
        Ok(path)
    }

    /// Makes a folder in it.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, FileError> {
        let path = self.path.join(name);
        file::create_dir_all_with(&path, &Mode::new(0o700))?;
        Ok(path)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // The next one removes what could not be removed now.
        let _left = file::remove_dir_all_opt(&self.path);
    }
}

/// Others keep things there too: it stays as it is found.
pub(super) fn make_run(run: &Path) -> Result<(), FileError> {
    if !file::exists(run)? {
        file::create_dir_all_with(run, &Mode::new(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_closed_and_goes_and_takes_along_what_the_dead_left() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        file::create_dir_all_with(run.join("backup.999999999-0"), &Mode::new(0o700)).unwrap();
        let private = Private::below(&run).unwrap();
        let path = private.write("key", "secret").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(private.path()), mode(&path)), (0o700, 0o600));
        let other = Private::below(&run).unwrap();
        assert!(path.exists(), "its writer lives");
        drop((private, other));
        assert_eq!(file::list_opt(&run).unwrap().unwrap(), [""; 0]);
    }
}
