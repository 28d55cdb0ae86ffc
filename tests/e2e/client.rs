//! Clients of the database, over the network as an application would come: one that writes, one that only logs in.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder};

/// A person's account.
pub(crate) const OPERATOR: &str = "charmed-operator";

/// Opens a connection. A write may have to wait until the members agree that one is gone; it may not hang for ever.
pub(crate) fn log_in(address: IpAddr, password: &str) -> Result<Conn, mysql::Error> {
    log_in_within(address, password, Duration::from_secs(60))
}

/// As [`log_in`], for clients that do not wait that long for an answer.
pub(crate) fn log_in_within(address: IpAddr, password: &str, answer: Duration) -> Result<Conn, mysql::Error> {
    let options = OptsBuilder::new()
        .ip_or_hostname(Some(address.to_string()))
        .user(Some(OPERATOR))
        .pass(Some(password))
        .prefer_socket(false)
        .tcp_connect_timeout(Some(Duration::from_secs(5)))
        .read_timeout(Some(answer));
    Conn::new(options)
}

/// What became of a client's writes.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) acknowledged: u64,
    pub(crate) failed: Vec<String>,
    pub(crate) longest_gap: Duration,
}

/// Inserts one row after the other through one member until it is told to stop.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Written>,
}

impl Writer {
    /// Starts to write rows under a name; the table is made when it is missing.
    pub(crate) fn start(address: IpAddr, password: &str, name: &str) -> Self {
        Self::start_at(vec![address], password, name)
    }

    /// The same through any of several members: a row that fails is tried once more, through the next.
    pub(crate) fn start_at(addresses: Vec<IpAddr>, password: &str, name: &str) -> Self {
        let mut conn = log_in(addresses[0], password).unwrap();
        conn.query_drop("CREATE DATABASE IF NOT EXISTS e2e").unwrap();
        conn.query_drop(
            "CREATE TABLE IF NOT EXISTS e2e.written (writer VARCHAR(40), number BIGINT, PRIMARY KEY (writer, number))",
        )
        .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (password, name, told) = (password.to_owned(), name.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut written = Written::default();
            let (mut number, mut at) = (0u64, 0);
            let mut last = Instant::now();
            while !told.load(Ordering::Relaxed) {
                number += 1;
                let write = |conn: &mut Conn| conn.exec_drop("INSERT INTO e2e.written VALUES (?, ?)", (&name, number));
                let mut said = write(&mut conn);
                if said.is_err() {
                    at = (at + 1) % addresses.len();
                    if let Ok(again) = log_in(addresses[at], &password) {
                        conn = again;
                    }
                    if addresses.len() > 1 {
                        said = write(&mut conn).or_else(|why| if is_there(&why) { Ok(()) } else { Err(why) });
                    }
                }
                match said {
                    Ok(()) => {
                        written.acknowledged += 1;
                        written.longest_gap = written.longest_gap.max(last.elapsed());
                        last = Instant::now();
                    }
                    Err(why) => written.failed.push(format!("row {number}: {why}")),
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            written
        });
        Self { stop, thread }
    }

    /// Stops, and tells what became of the writes.
    pub(crate) fn stop(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The row of the first try is there: only its answer was lost (ER_DUP_ENTRY).
fn is_there(why: &mysql::Error) -> bool {
    matches!(why, mysql::Error::MySqlError(refusal) if refusal.code == 1062)
}

/// Logs in everywhere over and over while a password changes, and notes each moment in which neither one is accepted.
pub(crate) struct Door {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Vec<String>)>,
}

impl Door {
    pub(crate) fn watch(addresses: &[IpAddr], old: &str, new: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (addresses, old, new, told) = (addresses.to_vec(), old.to_owned(), new.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (mut tries, mut shut) = (0, Vec::new());
            while !told.load(Ordering::Relaxed) {
                for address in &addresses {
                    tries += 1;
                    // The second attempt with the old one is for a change between the first two.
                    let open = [&old, &new, &old].iter().any(|password| log_in(*address, password).is_ok());
                    if !open {
                        shut.push(address.to_string());
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            (tries, shut)
        });
        Self { stop, thread }
    }

    /// How many times somebody knocked, and where nobody was let in.
    pub(crate) fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
