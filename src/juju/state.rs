//! A few notes per unit that Juju keeps in the controller. They survive the loss of the machine's disk, not of the unit,
//! and are committed with the hook.

use std::collections::BTreeMap;

use super::relation::document;
use super::tool::{self, Error};

/// All notes.
///
/// # Errors
/// When Juju does not answer.
pub fn all() -> Result<BTreeMap<String, String>, Error> {
    Ok(tool::read::<Option<_>>("state-get", &[])?.unwrap_or_default())
}

/// Writes notes; others stay, and an empty value is a value.
///
/// # Errors
/// When Juju does not answer, or a note is too long (64 KiB).
pub fn set(changes: &BTreeMap<String, String>) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    tool::run("state-set", &["--file", "-"], Some(&document(changes))).map(drop)
}

/// Deletes a note; that there is none is fine.
///
/// # Errors
/// When Juju does not answer.
pub fn delete(key: &str) -> Result<(), Error> {
    tool::run("state-delete", &["--", key], None).map(drop)
}
