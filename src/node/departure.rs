//! That this unit is leaving: Juju says so in some hooks and forgets it in the next; the server must not come back in
//! between.

use std::path::PathBuf;

use crate::host::{FileError, Mode, file};
use crate::mariadb::Paths;

fn path(paths: &Paths) -> PathBuf {
    paths.state.join("leaving")
}

/// Notes it.
///
/// # Errors
/// When it cannot be written.
pub fn begin(paths: &Paths) -> Result<(), FileError> {
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    file::write_atomic(path(paths), b"", &Mode::new(0o600)).map(drop)
}

/// Takes it back: a volume came back.
///
/// # Errors
/// When it cannot be removed.
pub fn cancel(paths: &Paths) -> Result<(), FileError> {
    file::remove_opt(path(paths)).map(drop)
}

/// Whether it has been noted.
pub fn has_begun(paths: &Paths) -> bool {
    file::exists(path(paths)).unwrap_or(false)
}
