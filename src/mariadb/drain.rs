//! Before a server is stopped on purpose: those who spread clients over the members hear of it, and transactions that are open
//! may end.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::Paths;
use super::sql::{Session, SqlError};
use crate::host::Mode;
use crate::host::clock::{self, Deadline};
use crate::host::file::{self, FileError, Lock};

/// An open transaction is not waited for any longer: whoever holds one open for minutes meets with the end of servers anyway.
const LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);

fn path(paths: &Paths) -> PathBuf {
    paths.run.join("drain.lock")
}

/// Says that this server is about to be stopped, until it is dropped or this process ends in whatever way; returns when the
/// transactions that were open have ended, or have taken too long.
///
/// # Errors
/// When it cannot be said.
pub fn begin(paths: &Paths) -> Result<Lock, FileError> {
    file::create_dir_all_with(&paths.run, &Mode::new(0o755))?;
    let said = file::lock(path(paths), Duration::from_secs(5))?;
    // A server that does not answer has no transaction to end.
    let _waited = wait_for_open_ones();
    Ok(said)
}

/// Whether this server is about to be stopped.
pub fn has_begun(paths: &Paths) -> bool {
    file::is_locked(path(paths)).unwrap_or(false)
}

/// New ones are not waited for: under load there is always one.
fn wait_for_open_ones() -> Result<(), SqlError> {
    let mut session = Session::open(LIMIT)?;
    let before = open(&mut session)?;
    let end = Deadline::after(LIMIT);
    while !end.passed() && !open(&mut session)?.is_disjoint(&before) {
        clock::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// The clients' open transactions: connection and beginning.
fn open(session: &mut Session) -> Result<BTreeSet<String>, SqlError> {
    let query = "SELECT CONCAT(t.trx_mysql_thread_id, ' ', t.trx_started) \
                 FROM information_schema.INNODB_TRX t \
                 JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id \
                 WHERE p.USER NOT IN ('system user', 'event_scheduler') AND p.ID <> CONNECTION_ID()";
    Ok(session.column("list open transactions", query, &[])?.into_iter().collect())
}
