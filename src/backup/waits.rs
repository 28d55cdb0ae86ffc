//! A copy that waits for the server while the server waits for the copy.
//!
//! Near its end mariadb-backup pauses the member's part in the cluster, and then waits for the changes of tables that
//! have begun. A `CREATE TABLE ... SELECT` among them waits for the end of the pause: both for a year, and with them
//! everybody who writes on this member. Limits on the account or the session do not help, because mariadb-backup sets
//! its own. Seen with 10.11.19. So we look, and the copy gives way.

use std::path::Path;
use std::time::Duration;

use crate::host::clock::Moment;
use crate::mariadb::sql::{Session, SqlError, quote_text};

/// How long the member's writers are held up at most.
const WAIT_SECONDS_MAX: u32 = 30;
/// How often we look, once nothing moves any more.
const LOOK: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Looks whether a copy moves.
pub(super) struct Watch {
    bytes: u64,
    moved: Moment,
    gave_way: bool,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { bytes: 0, moved: Moment::now(), gave_way: false }
    }

    /// Looks once more: so many bytes have come.
    pub(super) fn look(&mut self, bytes: u64, account: &str, socket: &Path) {
        if bytes != self.bytes {
            (self.bytes, self.moved) = (bytes, Moment::now());
        } else if self.moved.elapsed() > LOOK {
            self.moved = Moment::now();
            // A server that does not answer is looked at again.
            self.gave_way |= give_way(account, socket, WAIT_SECONDS_MAX).unwrap_or(false);
        }
    }

    /// Whether the copy was made to give way.
    pub(super) fn gave_way(&self) -> bool {
        self.gave_way
    }
}

/// Ends what copies that were killed have left waiting in the server, which does not notice that nobody is there any
/// more. Only while no copy is being made.
///
/// # Errors
/// When the server does not answer.
pub fn end_orphans(account: &str, socket: &Path) -> Result<bool, SqlError> {
    give_way(account, socket, 0)
}

/// Ends this account's statements that have waited so long; returns whether there were any.
fn give_way(account: &str, socket: &Path, seconds: u32) -> Result<bool, SqlError> {
    let mut session = Session::open_at(&socket.to_string_lossy(), ANSWER_LIMIT)?;
    let query = format!(
        "SELECT CONVERT(id, CHAR) FROM information_schema.processlist \
         WHERE user = {} AND command = 'Query' AND state LIKE 'Waiting for backup lock%' AND time >= {seconds}",
        quote_text(account)
    );
    let waiting = session.rows("look for waiting copies", &query)?;
    let ids: Vec<u64> = waiting.into_iter().flatten().flatten().filter_map(|id| id.parse().ok()).collect();
    for id in &ids {
        // It may have ended by itself since.
        let _ended = session.run("end a waiting copy", &format!("KILL QUERY {id}"));
    }
    Ok(!ids.is_empty())
}
