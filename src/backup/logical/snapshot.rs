//! One moment that several sessions see: commits are held for as long as it takes them all to look.
//!
//! Held by `BACKUP STAGE BLOCK_COMMIT`, which a member of a cluster answers by pausing its part in it. It waits for changes
//! of tables, and some of those wait for the pause to end (`backup::waits`), so it gives way soon and tries again. It is
//! a session's: when our process dies, it goes.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::backup::error::{BackupError, in_words};
use crate::backup::manifest::{Binlog, Position};
use crate::backup::written;
use crate::host::clock::{self, Moment};
use crate::mariadb::sql::{Session, SqlError};

/// In every statement that copies rows: what a killed process has left running is found by it.
pub(super) const MARK: &str = "mariadb-galera logical backup";
const MOMENT: &str = "moment";
/// So long commits wait for us at most; then they go on and we try again.
const HOLD_SECONDS_MAX: u64 = 3;
const TRY_COUNT: u32 = 10;
/// One statement of the copy takes so long at most.
const STATEMENT_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Written by these sessions is nothing; but only what is not for the binary log can let a table go (`let_go`).
const SETTINGS: &str = "SET SESSION time_zone = '+00:00', sql_mode = '', max_statement_time = 0, wait_timeout = 604800, \
    tx_isolation = 'REPEATABLE-READ', lock_wait_timeout = 60, sql_log_bin = 0";

/// Sessions that see the same.
pub(super) struct Snapshot {
    pub(super) sessions: Vec<Session>,
    pub(super) position: Option<Position>,
    pub(super) gtid: Option<String>,
    pub(super) binlog: Option<Binlog>,
    pub(super) server_version: String,
    /// How long commits were held.
    pub(super) held: Duration,
}

impl Snapshot {
    pub(super) fn open(socket: &Path, count: u32) -> Result<Self, BackupError> {
        let socket = socket.to_string_lossy();
        let mut sessions = Vec::new();
        for _ in 0..count.max(1) {
            let mut session = Session::open_at(&socket, STATEMENT_LIMIT)?;
            session.run("prepare a session", SETTINGS)?;
            sessions.push(session);
        }
        let mut last = None;
        for again in 0..TRY_COUNT {
            if again > 0 {
                clock::sleep(Duration::from_millis(500 * u64::from(again)));
            }
            match hold(&socket, &mut sessions) {
                Ok(Some(seen)) => return Ok(Self { sessions, ..seen }),
                Ok(None) => {}
                Err(why) => last = Some(why),
            }
        }
        let why = last.map_or_else(|| "the sessions did not see the same".to_owned(), |why| in_words(&why));
        Err(BackupError::NoSnapshot { why })
    }
}

/// Holds commits and lets all of them look; nothing when they have not seen the same.
fn hold(socket: &str, sessions: &mut [Session]) -> Result<Option<Snapshot>, SqlError> {
    let mut holder = Session::open_at(socket, Duration::from_secs(3 * HOLD_SECONDS_MAX))?;
    let id = holder.id();
    let seen = thread::scope(|scope| {
        let (over, wait) = mpsc::channel::<()>();
        scope.spawn(move || {
            // Somebody whom commits wait for may wait for them.
            if wait.recv_timeout(Duration::from_secs(3 * HOLD_SECONDS_MAX)) == Err(RecvTimeoutError::Timeout) {
                end(socket, id);
            }
        });
        let seen = hold_by(&mut holder, sessions);
        drop(over);
        seen
    });
    if seen.is_err() {
        // It may wait in the server, which does not notice that nobody listens any more.
        drop(holder);
        end(socket, id);
    }
    seen
}

fn end(socket: &str, id: u32) {
    if let Ok(mut other) = Session::open_at(socket, Duration::from_secs(HOLD_SECONDS_MAX)) {
        // It may have ended by itself.
        let _ended = other.run("end a session", &format!("KILL {id}"));
    }
}

fn hold_by(holder: &mut Session, sessions: &mut [Session]) -> Result<Option<Snapshot>, SqlError> {
    holder.run("prepare a session", &format!("SET SESSION lock_wait_timeout = {HOLD_SECONDS_MAX}"))?;
    holder.run("begin a backup", "BACKUP STAGE START")?;
    // What takes long, while nobody waits yet.
    holder.run("write tables without transactions", "BACKUP STAGE FLUSH")?;
    let held_since = Moment::now();
    holder.run("hold changes of tables", "BACKUP STAGE BLOCK_DDL")?;
    holder.run("hold commits", "BACKUP STAGE BLOCK_COMMIT")?;
    for session in sessions.iter_mut() {
        session.run("see the data of this moment", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")?;
    }
    let galera = holder.pairs(
        "read the cluster's position",
        "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_state_uuid', 'wsrep_last_committed')",
    )?;
    let facts = holder.rows("read the position", "SELECT VERSION(), @@gtid_binlog_pos, @@gtid_domain_id")?;
    holder.run("let commits go on", "BACKUP STAGE END")?;
    let held = held_since.elapsed();

    let mut places = Vec::new();
    for session in sessions.iter_mut() {
        session.run("remember this moment", &format!("SAVEPOINT {MOMENT}"))?;
        places.push(session.pairs("read the place in the binary log", "SHOW STATUS LIKE 'binlog_snapshot_%'")?);
    }
    if places.windows(2).any(|pair| pair[0] != pair[1]) {
        return Ok(None);
    }
    let galera = |name: &str| galera.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let position = galera("wsrep_cluster_state_uuid").zip(galera("wsrep_last_committed"));
    let place = |name: &str| {
        let found = places.first()?.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    let binlog = place("Binlog_snapshot_file").zip(place("Binlog_snapshot_position").and_then(|p| p.parse().ok()));
    let fact = |index: usize| facts.first().and_then(|row| row.get(index).cloned().flatten()).unwrap_or_default();
    Ok(Some(Snapshot {
        sessions: Vec::new(),
        position: position.and_then(|(uuid, seqno)| written::position(&format!("{uuid}:{seqno}"))),
        gtid: Some(fact(1)).filter(|gtid| !gtid.is_empty()),
        binlog: binlog.map(|(file, position)| Binlog { file, position }),
        server_version: fact(0),
        held,
    }))
}

/// Gives back the table that a session has read last, so that others may change it; what the session sees stays.
pub(super) fn let_go(session: &mut Session) -> Result<(), SqlError> {
    session.run("let a table go", &format!("ROLLBACK TO SAVEPOINT {MOMENT}"))
}

/// Ends what copies that were killed have left running in the server. Only while no copy is being made.
pub(super) fn end_orphans(session: &mut Session) -> Result<(), SqlError> {
    let query = format!(
        "SELECT CONVERT(id, CHAR) FROM information_schema.processlist
         WHERE info LIKE 'SELECT /* {MARK} */%' AND id <> CONNECTION_ID()"
    );
    for id in session.rows("look for copies that nobody waits for", &query)?.into_iter().flatten().flatten() {
        // It may have ended by itself since.
        let _ended = session.run("end a copy that nobody waits for", &format!("KILL {id}"));
    }
    Ok(())
}
