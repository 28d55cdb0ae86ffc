//! A copy whose server died within a statement that changes tables. Galera writes the nil UUID before such a statement
//! and takes it back behind it. To join the others with such a copy is to receive a full one: whether the statement was
//! carried out is not known. But the copy is whole: the engine carries the statement out or takes it back. When nobody
//! serves, the cluster may restart from it like from any other, at the engine's position.
//!
//! The nil UUID alone does not tell this from a copy that was cut off or cast out. What tells is the saved view of a full
//! member beside it: a server that receives a copy has saved another view since, and one that is cast out, or stops, has
//! removed it (seen with Galera 26.4.23). Before the view is removed, what it proves is written on the volume; it holds
//! until the server starts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::datadir::{self, DatadirError};
use super::{Paths, saved_view};
use crate::host::{FileError, Mode, file};

/// Its name on the volume.
pub const FILE: &str = "mariadb-galera-halfway.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    uuid: String,
    seqno: u64,
}

fn path(paths: &Paths) -> PathBuf {
    paths.volume.join(FILE)
}

/// The position from which the cluster may restart; `None` when there is no such copy.
pub fn read(paths: &Paths) -> Option<(String, u64)> {
    if !datadir::is_nil(paths) {
        return None;
    }
    let text = file::read_to_string_opt(path(paths)).ok().flatten()?;
    serde_json::from_str::<Text>(&text).ok().map(|text| (text.uuid, text.seqno))
}

/// Writes down what a saved view beside the nil UUID proves; nothing when it proves nothing.
///
/// # Errors
/// When the engine's position cannot be found, or the volume cannot be written.
pub fn note(paths: &Paths) -> Result<(), DatadirError> {
    if !(datadir::is_nil(paths) && saved_view::is_full_members(paths)) {
        return Ok(());
    }
    // The engine of a copy that never held a history names none.
    let Some((uuid, seqno)) = datadir::engine_position(&paths.datadir())? else {
        return Ok(());
    };
    // A type of a string and a number always has a JSON form.
    let text = serde_json::to_string(&Text { uuid, seqno }).unwrap_or_default();
    file::write_atomic(path(paths), text.as_bytes(), &Mode::new(0o600))?;
    Ok(())
}

/// Before any start: from then on the data may be replaced.
///
/// # Errors
/// When it cannot be removed.
pub fn forget(paths: &Paths) -> Result<(), FileError> {
    file::remove_opt(path(paths)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mariadb::grastate;

    #[test]
    fn it_counts_beside_the_nil_uuid_only() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        file::create_dir_all_with(paths.datadir(), &Mode::new(0o755)).unwrap();
        let state = |uuid: &str| {
            let text = grastate::render(uuid, None, false);
            file::write_atomic(paths.datadir().join("grastate.dat"), text.as_bytes(), &Mode::new(0o600)).unwrap();
        };
        let uuid = "6a1f0d52-8f2e-11ee-b9d1-0242ac120002";
        state(grastate::NIL);
        assert_eq!(read(&paths), None, "a copy that was cut off, or cast out");
        let text = format!("{{\"uuid\":\"{uuid}\",\"seqno\":42}}");
        file::write_atomic(path(&paths), text.as_bytes(), &Mode::new(0o600)).unwrap();
        assert_eq!(read(&paths), Some((uuid.to_owned(), 42)));
        state(uuid);
        assert_eq!(read(&paths), None);
        state(grastate::NIL);
        forget(&paths).unwrap();
        assert_eq!(read(&paths), None);
    }
}
