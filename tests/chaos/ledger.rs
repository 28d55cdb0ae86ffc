//! What clients were told about their writes, and what became of them. Each client appends numbered rows through a unit
//! of its own and never tries a number twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable as _;

use super::client::log_in_within;

/// A client that has heard nothing for so long goes away; what became of its write is unknown.
pub(crate) const ANSWER: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(25);

/// Without a key on the number: a write that happens twice must be seen.
pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS chaos.written (id BIGINT AUTO_INCREMENT PRIMARY KEY, \
                                writer VARCHAR(80) NOT NULL, number BIGINT NOT NULL, KEY (writer, number))";

/// What one client knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) acknowledged: BTreeSet<u64>,
    /// Neither acknowledged nor refused.
    pub(crate) unknown: BTreeSet<u64>,
    /// The server said that it was not done.
    pub(crate) refused: BTreeSet<u64>,
    pub(crate) longest_gap: Duration,
}

/// The time since anybody's write was acknowledged.
struct Since {
    last: Instant,
    longest: Duration,
}

impl Since {
    fn new() -> Self {
        Self { last: Instant::now(), longest: Duration::ZERO }
    }

    fn look(&mut self) {
        self.longest = self.longest.max(self.last.elapsed());
    }

    fn acknowledged(&mut self) {
        self.look();
        self.last = Instant::now();
    }
}

/// The clients of one cluster, one a unit.
pub(crate) struct Clients {
    /// Before each writer's name in the table, so that every scenario finds its own rows.
    tag: String,
    password: String,
    stop: Arc<AtomicBool>,
    anybody: Arc<Mutex<Since>>,
    writers: BTreeMap<String, JoinHandle<Known>>,
    /// Where units are: machines may come back with another address.
    doors: Arc<Mutex<BTreeMap<String, IpAddr>>>,
}

impl Clients {
    /// None yet.
    pub(crate) fn new(tag: &str, password: &str) -> Self {
        Self {
            tag: tag.to_owned(),
            password: password.to_owned(),
            stop: Arc::default(),
            anybody: Arc::new(Mutex::new(Since::new())),
            writers: BTreeMap::new(),
            doors: Arc::default(),
        }
    }

    /// Starts a client for a unit that has none; one that is there hears of the address.
    pub(crate) fn add(&mut self, unit: &str, address: IpAddr) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).insert(unit.to_owned(), address);
        let (stop, anybody, doors) = (Arc::clone(&self.stop), Arc::clone(&self.anybody), Arc::clone(&self.doors));
        let (password, writer, unit) = (self.password.clone(), format!("{}:{unit}", self.tag), unit.to_owned());
        self.writers.entry(unit.clone()).or_insert_with(|| {
            std::thread::spawn(move || {
                let door = || doors.lock().unwrap_or_else(PoisonError::into_inner)[&unit];
                write(&door, &password, &writer, &stop, &anybody)
            })
        });
    }

    /// Ends all clients.
    pub(crate) fn stop(mut self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let known = std::mem::take(&mut self.writers)
            .into_iter()
            .map(|(unit, writer)| (format!("{}:{unit}", self.tag), writer.join().unwrap()))
            .collect();
        let mut anybody = self.anybody.lock().unwrap_or_else(PoisonError::into_inner);
        anybody.look();
        Ledger { known, longest_silence: anybody.longest }
    }
}

impl Drop for Clients {
    /// Also after a failure: the next model has the same addresses.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write(door: &dyn Fn() -> IpAddr, password: &str, writer: &str, stop: &AtomicBool, anybody: &Mutex<Since>) -> Known {
    let (mut known, mut since) = (Known::default(), Since::new());
    let mut conn: Option<Conn> = None;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = conn.as_mut() else {
            conn = log_in_within(door(), password, ANSWER).ok();
            if conn.is_none() {
                std::thread::sleep(PAUSE * 4);
            }
            continue;
        };
        number += 1;
        match open.query_drop(format!("INSERT INTO chaos.written (writer, number) VALUES ('{writer}', {number})")) {
            Ok(()) => {
                known.acknowledged.insert(number);
                since.acknowledged();
                anybody.lock().unwrap_or_else(PoisonError::into_inner).acknowledged();
            }
            Err(why) if was_not_done(&why) => {
                known.refused.insert(number);
                std::thread::sleep(PAUSE * 4);
            }
            Err(_) => {
                known.unknown.insert(number);
                conn = None;
            }
        }
        std::thread::sleep(PAUSE);
    }
    since.look();
    known.longest_gap = since.longest;
    known
}

/// Whether the server's answer says for certain that a write was not done: not prepared (Galera without a majority),
/// a lock that was not given, or a conflict that rolled it back.
pub(crate) fn was_not_done(why: &mysql::Error) -> bool {
    matches!(why, mysql::Error::MySqlError(server) if [1047, 1205, 1213].contains(&server.code))
}

/// What all clients of a cluster know, by their names in the table.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) known: BTreeMap<String, Known>,
    /// The longest time in which nobody's write was acknowledged.
    pub(crate) longest_silence: Duration,
}

/// The rows of one member: how often each number of a writer is there.
pub(crate) type Rows = BTreeMap<(String, u64), u64>;

/// Reads the rows of a scenario from a member, and the checksum of all rows.
pub(crate) fn rows(address: IpAddr, password: &str, tag: &str) -> Result<(Rows, String), mysql::Error> {
    let mut conn = log_in_within(address, password, Duration::from_secs(60))?;
    // A read that waits for what other members have acknowledged.
    conn.query_drop("SET SESSION wsrep_sync_wait = 15")?;
    let found: Vec<(String, u64, u64)> = conn.query(format!(
        "SELECT writer, number, COUNT(*) FROM chaos.written WHERE writer LIKE '{tag}:%' GROUP BY writer, number"
    ))?;
    let sum: Option<(String, String)> = conn.query_first(
        "SELECT COUNT(*), COALESCE(SUM(CRC32(CONCAT_WS('/', id, writer, number))), 0) FROM chaos.written",
    )?;
    let rows = found.into_iter().map(|(writer, number, count)| ((writer, number), count)).collect();
    Ok((rows, sum.map(|(count, sum)| format!("{count} rows, sum {sum}")).unwrap_or_default()))
}

/// Promises and what became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) acknowledged: usize,
    /// Of these, on every member.
    pub(crate) found: usize,
    /// Of these, missing on some member.
    pub(crate) lost: usize,
    /// There more than once on some member, acknowledged or not.
    pub(crate) doubled: usize,
    /// There although the server had said that it was not done.
    pub(crate) revived: usize,
    pub(crate) unknown: usize,
}

/// Compares what clients know with what each member has.
pub(crate) fn audit(ledger: &Ledger, members: &[Rows]) -> Figures {
    let mut figures = Figures::default();
    for (writer, known) in &ledger.known {
        let count = |rows: &Rows, number: u64| rows.get(&(writer.clone(), number)).copied().unwrap_or(0);
        figures.acknowledged += known.acknowledged.len();
        figures.unknown += known.unknown.len();
        for number in &known.acknowledged {
            if members.iter().all(|rows| count(rows, *number) > 0) {
                figures.found += 1;
            } else {
                figures.lost += 1;
            }
        }
        figures.revived +=
            known.refused.iter().filter(|number| members.iter().any(|rows| count(rows, **number) > 0)).count();
    }
    let doubled: BTreeSet<&(String, u64)> =
        members.iter().flat_map(|rows| rows.iter().filter(|(_, count)| **count > 1).map(|(row, _)| row)).collect();
    figures.doubled = doubled.len();
    figures
}

impl Figures {
    /// Those of several clusters together.
    pub(crate) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.found += other.found;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.revived += other.revived;
        self.unknown += other.unknown;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} found, {} lost, {} doubled, {} unknown, {} refused and there",
            self.acknowledged, self.found, self.lost, self.doubled, self.unknown, self.revived
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_broken_promise_is_counted() {
        let known = Known {
            acknowledged: [1, 2, 3].into(),
            unknown: [4, 5].into(),
            refused: [6, 7].into(),
            longest_gap: Duration::ZERO,
        };
        let ledger = Ledger { known: [("x:a/0".to_owned(), known)].into(), longest_silence: Duration::ZERO };
        let member = |rows: &[(u64, u64)]| -> Rows {
            rows.iter().map(|(number, count)| (("x:a/0".to_owned(), *number), *count)).collect()
        };
        let whole = member(&[(1, 1), (2, 1), (3, 1), (4, 1)]);
        let fine = Figures { acknowledged: 3, found: 3, unknown: 2, ..Figures::default() };
        assert_eq!(audit(&ledger, &[whole.clone(), whole.clone()]), fine);
        let worn = member(&[(1, 1), (2, 2), (5, 3), (6, 1)]);
        assert_eq!(
            audit(&ledger, &[whole, worn]),
            Figures { acknowledged: 3, found: 2, lost: 1, doubled: 2, revived: 1, unknown: 2 }
        );
    }
}
