//! A server for a while, on data that nobody else uses: without network, without a cluster, without the settings of the
//! machine's own. It ends when it is dropped.

use std::path::Path;
use std::time::Duration;

use super::error::{BackupError, concise, in_words};
use crate::host::clock::{self, Deadline};
use crate::host::pipe::{Row, Running};
use crate::host::{Command, machine};
use crate::mariadb::server_program;
use crate::mariadb::sql::Session;

/// A server on a prepared copy is up in a second; this is for a machine in trouble.
const START_LIMIT: Duration = Duration::from_secs(300);
/// One statement takes so long at most.
const STATEMENT_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// What a server that loads data may take for their pages, in bytes.
const LOADING_MEMORY: std::ops::RangeInclusive<u64> = (128 << 20)..=(4 << 30);

/// What it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To look at data.
    Looking,
    /// To fill new data. What a power cut leaves of them is no good, and nobody will look at it.
    Loading,
}

/// A server that runs for as long as this is held.
pub(super) struct Server {
    pub(super) running: Running,
    pub(super) session: Session,
    socket: String,
}

impl Server {
    /// Starts one on `data`, which are those of the backup `id`; its socket and temporary files are in `work`.
    pub(super) fn start(data: &Path, work: &Path, purpose: Purpose, id: &str) -> Result<Self, BackupError> {
        let server = |why| BackupError::Server { why };
        let socket = work.join("s").to_string_lossy().into_owned();
        // What the kernel takes for the name of a socket.
        if socket.len() > 100 {
            return Err(server(format!("the path {socket} is too long for a socket")));
        }
        let command = Command::new(server_program())
            // First: what the machine's own server is set to is not for this one.
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", work.display()))
            .arg(format!("--socket={socket}"))
            .arg(format!("--pid-file={}", work.join("pid").display()))
            .args(["--skip-networking", "--wsrep-on=OFF", "--wsrep-provider=none", "--skip-log-bin"])
            .args(["--skip-slave-start", "--event-scheduler=OFF", "--performance-schema=OFF", "--log-error="])
            .args(["--innodb-buffer-pool-load-at-startup=OFF", "--secure-timestamp=NO"])
            .args(settings(purpose)?)
            .user("mysql");
        let program = |source| BackupError::Program { what: "start a server on a copy", source };
        let useless =
            |source| BackupError::Useless { id: id.to_owned(), what: "opened by a server", source: concise(source) };
        let mut running = Row::of(command).alone().map_err(program)?;
        let end = Deadline::after(START_LIMIT);
        loop {
            match Session::open_at(&socket, STATEMENT_LIMIT) {
                Ok(session) => return Ok(Self { running, session, socket }),
                Err(_) if running.is_over() => {
                    return Err(running.finish().map_or_else(useless, |()| server("it ended at once".to_owned())));
                }
                Err(why) if end.passed() => return Err(server(in_words(&why))),
                Err(_) => clock::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    /// Ends it in good order: everything is in its files then.
    pub(super) fn stop(mut self) -> Result<(), BackupError> {
        let stopped = self.session.run("stop a server", "SHUTDOWN");
        stopped.map_err(|why| BackupError::Server { why: in_words(&why) })?;
        drop(self.session);
        self.running.finish().map_err(|source| BackupError::Program { what: "stop a server", source: concise(source) })
    }
}

fn settings(purpose: Purpose) -> Result<Vec<String>, BackupError> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let small = ["--key-buffer-size=8M", "--aria-pagecache-buffer-size=8M"];
    Ok(match purpose {
        Purpose::Looking => [texts(&small), texts(&["--innodb-buffer-pool-size=64M", "--max-connections=5"])].concat(),
        Purpose::Loading => {
            let pool = (machine::memory_limit()? / 8).clamp(*LOADING_MEMORY.start(), *LOADING_MEMORY.end());
            let mut settings = texts(&small);
            settings.extend(texts(&[
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-doublewrite=OFF",
                "--innodb-log-file-size=256M",
                "--innodb-strict-mode=OFF",
                "--max-allowed-packet=1G",
                "--max-connections=100",
                "--innodb-buffer-pool-dump-at-shutdown=OFF",
            ]));
            settings.push(format!("--innodb-buffer-pool-size={pool}"));
            settings
        }
    })
}
