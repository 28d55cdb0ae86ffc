//! What a backup builds on: another one of the same data directory, or nothing. And whether there is room for it.

use std::collections::BTreeSet;

use super::catalogue::{Catalogue, Entry};
use super::error::BackupError;
use super::manifest::{Kind, Manifest};
use super::store::Store;
use super::take::{Order, Wanted};
use crate::host::{FileError, clock, tree};

/// What it builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Nothing; with a note when something else was wanted.
    Nothing { note: Option<String> },
    /// This one, from its place in the engine's log on.
    Parent { id: String, lsn: u64 },
}

impl Base {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Nothing { .. } => Kind::Full,
            Self::Parent { .. } => Kind::Incremental,
        }
    }

    pub(super) fn parent(&self) -> Option<String> {
        match self {
            Self::Nothing { .. } => None,
            Self::Parent { id, .. } => Some(id.clone()),
        }
    }

    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Nothing { note } => note.clone(),
            Self::Parent { .. } => None,
        }
    }
}

/// Which data directory this is; `None` where the filesystem cannot tell.
pub(super) fn incarnation(order: &Order) -> Result<Option<String>, FileError> {
    tree::incarnation(order.datadir.join("ibdata1"))
}

/// Chooses what to build on.
pub(super) fn choose(catalogue: &Catalogue, order: &Order) -> Result<Base, BackupError> {
    let chosen = match &order.wanted {
        // A logical one builds on nothing either.
        Wanted::Full | Wanted::Logical { .. } => return Ok(Base::Nothing { note: None }),
        Wanted::Incremental => newest(catalogue, order, incarnation(order)?.as_deref()),
        Wanted::IncrementalTo(id) => suits(catalogue, order, incarnation(order)?.as_deref(), id),
    };
    Ok(chosen.unwrap_or_else(|why| Base::Nothing { note: Some(format!("full instead of incremental: {why}")) }))
}

fn newest(catalogue: &Catalogue, order: &Order, incarnation: Option<&str>) -> Result<Base, String> {
    let mut why = None;
    for entry in catalogue.entries().iter().rev().filter(|entry| is_physical(entry, order)) {
        match suits(catalogue, order, incarnation, &entry.id) {
            Ok(base) => return Ok(base),
            // Of the newest: it is the one that was to be expected.
            Err(reason) => why = why.or(Some(reason)),
        }
    }
    Err(why.unwrap_or_else(|| "there is no earlier one of this unit".to_owned()))
}

fn is_physical(entry: &Entry, order: &Order) -> bool {
    let own = entry.manifest().filter(|made| made.unit == order.unit && made.kind != Kind::Logical);
    own.is_some() && entry.is_of(&order.application, &order.model_uuid)
}

fn suits(catalogue: &Catalogue, order: &Order, incarnation: Option<&str>, id: &str) -> Result<Base, String> {
    let Some(incarnation) = incarnation else {
        return Err("the filesystem does not tell when the data directory was made".to_owned());
    };
    let chain = catalogue.chain(id).map_err(|why| why.in_words())?;
    if let Some((bad, problem)) = catalogue.found_bad(&chain) {
        return Err(format!("{bad} is no good: {problem}"));
    }
    let Some(made) = chain.last() else { return Err(format!("there is no backup {id}")) };
    if made.incarnation.as_deref() != Some(incarnation) {
        return Err(format!("the data directory is another one than that of {id}"));
    }
    if made.unit != order.unit || made.application != order.application || made.model_uuid != order.model_uuid {
        return Err(format!("{id} is another unit's"));
    }
    let of = |recipients: &[String]| recipients.iter().cloned().collect::<BTreeSet<String>>();
    if of(&order.recipients)
        != made.encryption.as_ref().map(|encryption| of(&encryption.recipients)).unwrap_or_default()
    {
        return Err(format!("{id} is encrypted for others than now"));
    }
    if made.id >= clock::now().to_string() {
        return Err(format!("{id} is from the future: a clock was set back"));
    }
    let Some(lsn) = made.lsn else { return Err(format!("{id} does not say where it ends")) };
    Ok(Base::Parent { id: id.to_owned(), lsn: lsn.to })
}

/// What mariadb-backup leaves out, or what is small in every copy.
pub(super) fn is_not_copied(name: &str) -> bool {
    let left_out = ["galera.cache", "grastate.dat", "gvwstate.dat", "ib_buffer_pool"];
    let beginnings = ["gcache.page.", "ib_logfile", "ibtmp"];
    let numbered =
        name.rsplit_once('.').is_some_and(|(_, end)| end.len() == 6 && end.bytes().all(|b| b.is_ascii_digit()));
    left_out.contains(&name) || numbered || beginnings.iter().any(|beginning| name.starts_with(beginning))
}

/// Refuses at once what would only fail after a long time.
pub(super) fn check_room(
    store: &dyn Store,
    catalogue: &Catalogue,
    order: &Order,
    base: &Base,
    datadir_bytes: u64,
) -> Result<(), BackupError> {
    check_room_for(store, catalogue, order, base.kind(), datadir_bytes)
}

/// The same for a kind of backup, of tables that take up so many bytes.
pub(super) fn check_room_for(
    store: &dyn Store,
    catalogue: &Catalogue,
    order: &Order,
    kind: Kind,
    data_bytes: u64,
) -> Result<(), BackupError> {
    let Some(free) = store.room()? else { return Ok(()) };
    let earlier =
        catalogue.entries().iter().rev().filter(|entry| is_physical(entry, order)).filter_map(Entry::manifest);
    let need = estimate(&earlier.collect::<Vec<_>>(), kind, data_bytes);
    if free >= need {
        return Ok(());
    }
    Err(BackupError::NoRoomInStore { store: store.describe(), free, need })
}

/// How large it will be, by those before it, newest first. An incremental's size is anyone's guess: as large as the
/// last.
fn estimate(earlier: &[&Manifest], kind: Kind, datadir_bytes: u64) -> u64 {
    let last = earlier.iter().find(|made| made.kind == kind && made.raw_bytes > 0);
    // Of what a logical one consists of, the last one says little: it may have been of other databases.
    let by_guess = if kind == Kind::Incremental { datadir_bytes / 100 } else { datadir_bytes / 3 };
    let by_last = last.map(|made| match kind {
        Kind::Full => {
            let bytes = u128::from(datadir_bytes) * u128::from(made.stored_bytes) / u128::from(made.raw_bytes);
            u64::try_from(bytes).unwrap_or(u64::MAX)
        }
        Kind::Incremental | Kind::Logical => made.stored_bytes,
    });
    by_last.unwrap_or(by_guess)
}

#[cfg(test)]
#[path = "base_tests.rs"]
mod tests;
