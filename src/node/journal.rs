//! The journal on the data volume, beside the data directory: what this volume is, and which permissions were used up
//! here. It goes where the data goes, and a state transfer does not touch it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cluster::{DbInit, Epoch, Journal, JournalEntry};
use crate::host::{FileError, Mode, file};
use crate::mariadb::Paths;

/// Its name on the volume.
pub const FILE: &str = "mariadb-galera.json";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Text {
    format: u32,
    db_init: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    #[serde(default)]
    used_epoch: u32,
    #[serde(default)]
    accounts: bool,
    #[serde(default)]
    branch: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    restored: bool,
}

fn path(paths: &Paths) -> PathBuf {
    paths.volume.join(FILE)
}

/// Reads it.
pub fn read(paths: &Paths) -> Journal {
    match file::read_to_string_opt(path(paths)) {
        Ok(None) => Journal::Absent,
        Ok(Some(text)) => parse(&text).map_or_else(Journal::Unreadable, Journal::Known),
        Err(why) => Journal::Unreadable(why.to_string()),
    }
}

fn parse(text: &str) -> Result<JournalEntry, String> {
    let read: Text = serde_json::from_str(text).map_err(|why| format!("cannot read the journal: {why}"))?;
    if read.format != 1 {
        return Err(format!("the journal's format {} is newer than this charm revision reads", read.format));
    }
    Ok(JournalEntry {
        db_init: DbInit::from_number(read.db_init).ok_or_else(|| format!("cannot read db-init {}", read.db_init))?,
        uuid: read.uuid.map(|uuid| uuid.parse()).transpose()?,
        used_epoch: Epoch(read.used_epoch),
        accounts: read.accounts,
        branch: Epoch(read.branch),
        restored: read.restored,
    })
}

/// The branch of the history that the volume is on; zero when it says nothing.
pub fn branch(paths: &Paths) -> Epoch {
    read(paths).entry().map_or(Epoch::default(), |entry| entry.branch)
}

/// Replaces it, on disk before this returns.
///
/// # Errors
/// When the volume cannot be written.
pub fn write(paths: &Paths, entry: &JournalEntry) -> Result<(), FileError> {
    let text = Text {
        format: 1,
        db_init: entry.db_init.number(),
        uuid: entry.uuid.as_ref().map(ToString::to_string),
        used_epoch: entry.used_epoch.0,
        accounts: entry.accounts,
        branch: entry.branch.0,
        restored: entry.restored,
    };
    // A type of strings, numbers and booleans always has a JSON form.
    let text = serde_json::to_string(&text).unwrap_or_default();
    file::write_atomic(path(paths), text.as_bytes(), &Mode::owned(0o600, "root", "root")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_journal_is_not_an_absent_one() {
        assert_eq!(
            parse("{\"format\":1,\"db-init\":3").unwrap_err().split(':').next(),
            Some("cannot read the journal")
        );
        assert!(parse("{\"format\":2,\"db-init\":3}").unwrap_err().contains("newer"));
        assert_eq!(parse("{\"format\":1,\"db-init\":9}").unwrap_err(), "cannot read db-init 9");
        assert_eq!(parse("{\"format\":1,\"db-init\":1,\"used-epoch\":4}").unwrap().used_epoch, Epoch(4));
    }
}
