//! How long backups are kept. Pure, but for the removal at the end: the same catalogue and clock give the same list.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::catalogue::{Catalogue, Entry, Shape};
use super::error::BackupError;
use super::manifest::{self, BEGUN, FAILED, FORMAT, Failed, Kind, MANIFEST, PROOF};
use super::store::{Store, StoreExt as _};
use crate::host::clock::Timestamp;

const DAY_SECONDS: i64 = 24 * 60 * 60;
/// What came to nothing is shown for so long, and what can no longer be used waits so long for its parent to be put
/// back.
const FAILED_DAYS: i64 = 7;

/// What to keep: everything that one of the two asks for. Neither: everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// So many of the newest.
    pub count: Option<u32>,
    /// Those that are younger.
    pub days: Option<u32>,
}

/// The backups of this application that are no longer to be kept, children before their parents.
pub fn expired(catalogue: &Catalogue, keep: &Keep, now: Timestamp, application: &str, model_uuid: &str) -> Vec<String> {
    let own: Vec<&Entry> = catalogue.entries().iter().filter(|entry| entry.is_of(application, model_uuid)).collect();
    let age = |entry: &Entry| now.unix_seconds() - entry.began().unwrap_or(now).unix_seconds();
    let (usable, others): (Vec<&Entry>, Vec<&Entry>) = own.into_iter().partition(|entry| is_usable(catalogue, entry));

    let mut kept = BTreeSet::new();
    let unlimited = keep.count.is_none() && keep.days.is_none();
    for (index, entry) in usable.iter().rev().enumerate() {
        let by_count = keep.count.is_some_and(|count| index < count as usize);
        let by_days = keep.days.is_some_and(|days| age(entry) < i64::from(days) * DAY_SECONDS);
        if unlimited || by_count || by_days {
            kept.insert(entry.id.clone());
        }
    }
    // Whatever the numbers say, something remains that is known to restore; or at least something that should.
    let proven = |entry: &&&Entry| entry.proof.as_ref().is_some_and(|proof| proof.problem.is_none());
    let full = |entry: &&&Entry| {
        entry.manifest().is_some_and(|made| match made.kind {
            Kind::Full => true,
            Kind::Logical => made.databases.is_empty(),
            Kind::Incremental => false,
        })
    };
    let newest = usable.iter().rev();
    let last_full = newest.clone().filter(full).find(proven).or_else(|| newest.clone().find(full));
    let last_proven = newest.clone().find(proven);
    kept.extend(last_full.into_iter().chain(last_proven).map(|entry| entry.id.clone()));
    // Names of parents are older than those of their children, so one walk from the newest finds all.
    for entry in usable.iter().rev() {
        let parent = entry.manifest().and_then(|manifest| manifest.parent.clone());
        if kept.contains(&entry.id) {
            kept.extend(parent);
        }
    }

    let useless = others.into_iter().filter(|entry| {
        let days = match &entry.shape {
            Shape::Unfinished(_) if entry.is_in_progress(now) => return false,
            Shape::Unfinished(_) => 1,
            Shape::Failed(_) => FAILED_DAYS,
            // What cannot be used is nobody's reason to lose it early.
            Shape::Finished(_) | Shape::Unreadable(_) => FAILED_DAYS.max(keep.days.map_or(0, i64::from)),
        };
        let listed = !matches!(&entry.shape, Shape::Finished(_)) || !unlimited;
        listed && age(entry) >= days * DAY_SECONDS
    });
    let mut expired: Vec<String> =
        usable.iter().filter(|entry| !kept.contains(&entry.id)).copied().chain(useless).map(|e| e.id.clone()).collect();
    expired.sort();
    expired.reverse();
    expired
}

fn is_usable(catalogue: &Catalogue, entry: &Entry) -> bool {
    catalogue.chain(&entry.id).is_ok()
}

/// Removes a backup with all of its objects. Killed in the middle, it is listed as a failed one from then on.
///
/// # Errors
/// When the store refuses; it may be tried again.
pub fn remove(store: &dyn Store, entry: &Entry) -> Result<(), BackupError> {
    if let Some(made) = entry.manifest() {
        let failed = Failed {
            format: FORMAT,
            at: manifest::now(),
            reason: "it was no longer to be kept, and its removal was interrupted".to_owned(),
            unit: made.unit.clone(),
            application: made.application.clone(),
            model_uuid: made.model_uuid.clone(),
            kind: made.kind,
            who: made.who.clone(),
            why: made.why.clone(),
        };
        // A full store has no room even for this, and room is what we are about to make.
        let _full = store.put_bytes(&format!("{}/{FAILED}", entry.id), &manifest::write(&failed));
    }
    // First what makes it a backup, last what says whose it was.
    let rank = |name: &str| match name.strip_prefix(&format!("{}/", entry.id)).unwrap_or(name) {
        MANIFEST => 0,
        PROOF => 1,
        FAILED => 3,
        other if other.starts_with(BEGUN) => 4,
        _ => 2,
    };
    let mut names: Vec<String> = entry.objects.iter().map(|object| object.name.clone()).collect();
    names.push(format!("{}/{FAILED}", entry.id));
    names.sort_by_key(|name| rank(name));
    for name in names {
        store.delete(&name)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
