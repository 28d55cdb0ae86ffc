//! A client that writes all the time through one member and counts what fails. It does not retry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;

/// A running client.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Tally>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: u64,
    pub(crate) failed: Vec<String>,
    pub(crate) longest: Duration,
}

impl Writer {
    pub(crate) fn start(address: &str, user: &str, password: &str) -> Self {
        let options = mysql::OptsBuilder::new()
            .ip_or_hostname(Some(address.to_owned()))
            .user(Some(user.to_owned()))
            .pass(Some(password.to_owned()))
            .prefer_socket(false);
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut tally = Tally::default();
            let mut conn = mysql::Conn::new(options).expect("the operator logs in");
            conn.query_drop("CREATE DATABASE IF NOT EXISTS e2e").expect("a schema is made");
            conn.query_drop("CREATE TABLE IF NOT EXISTS e2e.w (id BIGINT AUTO_INCREMENT PRIMARY KEY, n BIGINT)")
                .expect("a table is made");
            while !flag.load(Ordering::Relaxed) {
                let begin = Instant::now();
                match conn.exec_drop("INSERT INTO e2e.w (n) VALUES (?)", (tally.acknowledged,)) {
                    Ok(()) => tally.acknowledged += 1,
                    Err(why) => tally.failed.push(why.to_string()),
                }
                tally.longest = tally.longest.max(begin.elapsed());
                std::thread::sleep(Duration::from_millis(10));
            }
            tally
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer ends")
    }
}
