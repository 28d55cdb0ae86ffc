//! Clients over the network while a measurement goes on: small transactions, each tried once more through another
//! member when it fails. They tell how many did not succeed even so, and how long one of them ever waited.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder, TxOpts};

const CLIENTS: usize = 4;
/// Enough to have a transaction under way at every moment, and to leave the processors to what is measured.
const PAUSE: Duration = Duration::from_millis(10);
/// The server's "duplicate entry": the first try's row is there, only its answer was lost.
const DUPLICATE: u16 = 1062;

/// Where the members are, and how to log in.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) user: &'static str,
    pub(crate) password: String,
}

impl Door {
    /// A connection to one of them.
    pub(crate) fn open(&self, index: usize) -> mysql::Result<Conn> {
        let options = OptsBuilder::new()
            .ip_or_hostname(Some(self.addresses[index % self.addresses.len()].to_string()))
            .user(Some(self.user))
            .pass(Some(&self.password))
            .prefer_socket(false)
            .tcp_connect_timeout(Some(Duration::from_secs(5)))
            .read_timeout(Some(Duration::from_secs(60)));
        Conn::new(options)
    }
}

/// What became of the transactions.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) acknowledged: u64,
    /// Acknowledged at the second try.
    pub(crate) retried: u64,
    /// Refused at the second try as well, with the reasons.
    pub(crate) failed: Vec<String>,
    /// From one acknowledgement to the client's next, at the most.
    pub(crate) stall: Duration,
    /// For how long they were at it.
    pub(crate) lasted: Duration,
}

impl Told {
    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.acknowledged += other.acknowledged;
        self.retried += other.retried;
        self.failed.extend(other.failed);
        self.stall = self.stall.max(other.stall);
        self.lasted += other.lasted;
        self
    }
}

/// The clients. They write until they are told to stop.
pub(crate) struct Load {
    begin: Instant,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<anyhow::Result<Told>>>,
}

impl Load {
    /// Starts them, each at another member. The name tells their rows from those of other loads.
    pub(crate) fn start(door: &Door, name: &str) -> anyhow::Result<Self> {
        let mut conn = door.open(0).context("cannot log in")?;
        conn.query_drop("CREATE DATABASE IF NOT EXISTS bench")?;
        conn.query_drop(
            "CREATE TABLE IF NOT EXISTS bench.written \
             (writer VARCHAR(40), number BIGINT, part INT, PRIMARY KEY (writer, number, part))",
        )?;
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS)
            .map(|index| {
                let (door, stop, name) = (door.clone(), Arc::clone(&stop), format!("{name}-{index}"));
                std::thread::spawn(move || write(&door, index, &name, &stop))
            })
            .collect();
        Ok(Self { begin: Instant::now(), stop, clients })
    }

    /// Stops them and hears them.
    pub(crate) fn stop(self) -> anyhow::Result<Told> {
        self.stop.store(true, Ordering::Relaxed);
        let mut told = Told::default();
        for client in self.clients {
            let said = client.join().map_err(|_| anyhow::anyhow!("cannot hear a client: it panicked"))??;
            told = told.and(said);
        }
        told.lasted = self.begin.elapsed();
        Ok(told)
    }
}

fn write(door: &Door, index: usize, name: &str, stop: &AtomicBool) -> anyhow::Result<Told> {
    let mut at = index;
    let mut conn = door.open(at).context("cannot log in")?;
    let mut told = Told::default();
    let mut last = Instant::now();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let mut said = transaction(&mut conn, name, number);
        let first = said.as_ref().err().map(ToString::to_string);
        if first.is_some() {
            at += 1;
            said = door.open(at).and_then(|again| {
                conn = again;
                transaction(&mut conn, name, number).or_else(|why| if is_there(&why) { Ok(()) } else { Err(why) })
            });
        }
        match said {
            Ok(()) => {
                told.acknowledged += 1;
                told.retried += u64::from(first.is_some());
                let waited = last.elapsed();
                if waited > told.stall {
                    told.stall = waited;
                    // For a look at the journals of that moment.
                    if waited > Duration::from_millis(500) {
                        let why = first.as_deref().unwrap_or("its first try succeeded");
                        eprintln!("{} {name} waited {} ms: {why}", Timestamp::now(), waited.as_millis());
                    }
                }
                last = Instant::now();
            }
            Err(why) => {
                let text = format!("{} {name}: {}, then {why}", Timestamp::now(), first.unwrap_or_default());
                eprintln!("{text}");
                told.failed.push(text);
            }
        }
        std::thread::sleep(PAUSE);
    }
    Ok(told)
}

/// One row that commits by itself, or two that commit together.
fn transaction(conn: &mut Conn, name: &str, number: u64) -> mysql::Result<()> {
    const INSERT: &str = "INSERT INTO bench.written VALUES (?, ?, ?)";
    if number % 2 == 0 {
        return conn.exec_drop(INSERT, (name, number, 0));
    }
    let mut transaction = conn.start_transaction(TxOpts::default())?;
    transaction.exec_drop(INSERT, (name, number, 0))?;
    transaction.exec_drop(INSERT, (name, number, 1))?;
    transaction.commit()
}

fn is_there(why: &mysql::Error) -> bool {
    matches!(why, mysql::Error::MySqlError(refusal) if refusal.code == DUPLICATE)
}
