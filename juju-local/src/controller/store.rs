//! The model on disk: one value in an embedded store, replaced in a transaction.

use std::path::Path;

use anyhow::Context as _;
use redb::{Database, ReadableDatabase as _, TableDefinition};

use crate::model::State;

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("model");

/// An open store.
pub(super) struct Store {
    database: Database,
}

impl Store {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let what = || format!("cannot open {}", path.display());
        // A file that is no store at all makes the store panic.
        let opened = std::panic::catch_unwind(|| Database::create(path));
        let opened = opened.map_err(|_| anyhow::anyhow!("the file is damaged")).with_context(what)?;
        Ok(Self { database: opened.with_context(what)? })
    }

    pub(super) fn load(&self) -> anyhow::Result<Option<State>> {
        let read = self.database.begin_read()?;
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
        let write = self.database.begin_write()?;
        write.open_table(TABLE)?.insert("state", text.as_slice())?;
        write.commit()?;
        Ok(())
    }
}
