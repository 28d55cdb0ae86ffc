//! The model on disk: one value in an embedded store, replaced in a transaction.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use redb::{Database, ReadableDatabase as _, TableDefinition};

use crate::model::State;

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("model");

/// A store, open while its disk takes what it is given: after an error it has to be opened anew.
pub(super) struct Store {
    path: PathBuf,
    database: Mutex<Option<Database>>,
}

impl Store {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { path: path.to_owned(), database: Mutex::new(Some(database(path)?)) })
    }

    pub(super) fn load(&self) -> anyhow::Result<Option<State>> {
        let opened = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let read = opened.as_ref().context("cannot read the model's state")?.begin_read()?;
        let table = match read.open_table(TABLE) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(why) => return Err(why).context("cannot read the model's state"),
        };
        let Some(value) = table.get("state")? else {
            return Ok(None);
        };
        serde_json::from_slice(value.value())
            .map(Some)
            .context("cannot read the model's state: it was written by another version")
    }

    pub(super) fn save(&self, state: &State) -> anyhow::Result<()> {
        let text = serde_json::to_vec(state)?;
        let mut opened = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let current = match opened.take() {
            Some(current) => current,
            None => database(&self.path)?,
        };
        write(&current, &text)?;
        *opened = Some(current);
        Ok(())
    }
}

fn write(database: &Database, text: &[u8]) -> anyhow::Result<()> {
    let write = database.begin_write()?;
    write.open_table(TABLE)?.insert("state", text)?;
    write.commit()?;
    Ok(())
}

fn database(path: &Path) -> anyhow::Result<Database> {
    let what = || format!("cannot open {}", path.display());
    // A file that is no store at all may make it panic.
    let opened = std::panic::catch_unwind(|| Database::create(path));
    opened.map_err(|_| anyhow::anyhow!("the file is damaged")).with_context(what)?.with_context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let state = State::new("m");
        let store = Store::open(&path).unwrap();
        assert!(store.load().unwrap().is_none());
        store.save(&state).unwrap();
        drop(store);
        assert_eq!(Store::open(&path).unwrap().load().unwrap().unwrap().uuid, state.uuid);
        std::fs::write(&path, "something else").unwrap();
        let why = Store::open(&path).map(drop).unwrap_err();
        assert!(format!("{why:#}").starts_with(&format!("cannot open {}: ", path.display())), "{why:#}");
    }
}
