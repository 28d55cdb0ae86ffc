//! Where the server and we hand each other files: a folder that is the server's, on a disk with room, empty between
//! backups.

use std::path::{Path, PathBuf};

use crate::backup::error::BackupError;
use crate::host::{FileError, Mode, file, machine};
use crate::mariadb::sql::Session;

const NAME: &str = "logical";

/// Such a folder. It goes when it is dropped; what a killed process left is removed by the next one.
pub(super) struct Staging {
    path: PathBuf,
}

impl Staging {
    /// Where the server may write and read files; where it may do so anywhere, beside its data directory.
    pub(super) fn of(session: &mut Session, datadir: &Path, what: &str) -> Result<Self, BackupError> {
        let permitted = session.rows("ask where files may be", "SELECT @@secure_file_priv")?;
        let permitted = permitted.into_iter().flatten().flatten().next().filter(|path| !path.is_empty());
        let mut beside = datadir.as_os_str().to_owned();
        beside.push(format!(".{NAME}-{what}"));
        let path =
            permitted.map_or_else(|| PathBuf::from(beside), |folder| Path::new(&folder).join(format!("{NAME}-{what}")));
        Ok(Self::at(path)?)
    }

    /// Here.
    pub(super) fn at(path: PathBuf) -> Result<Self, FileError> {
        file::remove_dir_all_opt(&path)?;
        file::create_dir_all_with(&path, &Mode::owned(0o750, "mysql", "mysql"))?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether so many bytes fit.
    pub(super) fn check_room(&self, need: u64) -> Result<(), BackupError> {
        let free = machine::disk_space(&self.path)?.free;
        if free >= need {
            return Ok(());
        }
        Err(BackupError::NoRoomToStage { path: self.path.clone(), free, need })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The next one removes what could not be removed now.
        let _left = file::remove_dir_all_opt(&self.path);
    }
}
