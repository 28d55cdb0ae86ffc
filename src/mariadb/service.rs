//! The server as a service: the distribution's unit with our drop-in.

use std::time::Duration;

use anyhow::Context as _;

use super::sql::Session;
use super::start::{self, Permission};
use super::{PROGRAM, Paths, datadir, saved_view};
use crate::host::service_manager::{self as systemd, Enablement, State, Wait};
use crate::host::{Command, Mode, clock, file};

/// The distribution's unit.
pub const UNIT: &str = "mariadb.service";
/// What this charm changes about it.
pub const DROP_IN: &str = "/etc/systemd/system/mariadb.service.d/mariadb-galera.conf";

/// A start that bootstraps takes a second or two; this is for a machine in trouble.
const BOOTSTRAP_LIMIT: Duration = Duration::from_secs(90);
/// For a server that serves nobody: it has nothing to finish.
const IDLE_STOP_LIMIT: Duration = Duration::from_secs(10);
/// For one that was started by hand, after it was told to stop.
const BY_HAND_STOP_LIMIT: Duration = Duration::from_secs(60);
/// For an answer of a server that may be there.
const SQL_LIMIT: Duration = Duration::from_secs(3);
/// A clean stop writes out what is dirty.
const STOP_LIMIT: Duration = Duration::from_secs(600);

/// The drop-in's text.
pub fn drop_in() -> String {
    format!(
        "# Written by the mariadb-galera charm; changes by hand are put back.
[Unit]
# A member looks for the others as long as it takes.
StartLimitIntervalSec=0

[Service]
# Galera's helpers of the distribution are replaced by the gate below, which permits, recovers and passes the position.
EnvironmentFile=
EnvironmentFile=-/run/mariadb-galera/start.env
ExecStartPre=
ExecStartPre=+/usr/bin/install -d -o mysql -g root -m 0755 /run/mysqld
ExecStartPre=+{PROGRAM} start-arguments
ExecStart=
ExecStart=/usr/sbin/mariadbd $START_ARGUMENTS
# Checks and upgrades of tables are the charm's business, never a start's.
ExecStartPost=
Restart=on-failure
RestartSec=2
# A full copy of the data takes as long as it takes.
TimeoutStartSec=infinity
TimeoutStopSec=900
OOMScoreAdjust=-600
"
    )
}

/// Writes the drop-in; returns whether it changed.
///
/// # Errors
/// When it cannot be written or systemd does not read it.
pub fn write_drop_in(paths: &Paths) -> anyhow::Result<bool> {
    let changed = file::create_dir_all_with("/etc/systemd/system/mariadb.service.d", &Mode::new(0o755))?
        | paths.owned().write(DROP_IN, drop_in().as_bytes(), &Mode::new(0o644))?;
    if changed {
        systemd::daemon_reload()?;
    }
    Ok(changed)
}

/// Starts the server as the first of a cluster, and waits until it runs.
///
/// # Errors
/// When it does not come up.
pub fn bootstrap(paths: &Paths, epoch: u32, from: Option<(String, u64)>) -> anyhow::Result<()> {
    // Nothing may be on its way up beside it.
    stop_idle(paths)?;
    start::permit(paths, &Permission::Bootstrap { epoch, from })?;
    enable()?;
    systemd::start(UNIT, Wait::AtMost(BOOTSTRAP_LIMIT)).context("cannot start the server as the first of the cluster")
}

/// Lets the server look for the others; does not wait, because a full copy can take hours.
///
/// # Errors
/// When systemd refuses.
pub fn join(paths: &Paths) -> anyhow::Result<()> {
    start::permit(paths, &Permission::Join)?;
    systemd::enable(UNIT)?;
    systemd::start(UNIT, Wait::No).context("cannot start the server")
}

/// Stops the server cleanly and lets it look for the others again. Its permission stands all the while: a machine that loses
/// its power in between starts it by itself. `between` is done while it is stopped.
///
/// # Errors
/// When it does not stop in time, or systemd refuses.
pub fn restart(paths: &Paths, between: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    start::permit(paths, &Permission::Join)?;
    systemd::stop(UNIT, Wait::AtMost(STOP_LIMIT)).context("cannot stop the server")?;
    between()?;
    systemd::start(UNIT, Wait::No).context("cannot start the server")
}

/// A unit that is enabled is left alone: to enable it again takes the distribution's tools half a second, because the server
/// has a script of the older kind as well.
fn enable() -> anyhow::Result<()> {
    if systemd::enablement(UNIT)? != Enablement::Enabled {
        systemd::enable(UNIT)?;
    }
    Ok(())
}

/// What the server last complained of in the journal, on one line.
pub fn last_error() -> String {
    let said = Command::new("journalctl")
        .args(["--unit", UNIT, "--lines", "200", "--output", "cat", "--no-pager"])
        .timeout(Duration::from_secs(10))
        .run()
        .map(|output| output.stdout_text())
        .unwrap_or_default();
    let complaints = said.lines().filter_map(|line| line.split_once("[ERROR] ")).map(|(_, why)| why.trim());
    let why = telling(&complaints.collect::<Vec<_>>());
    why.chars().take(200).collect()
}

/// The last one is that it is aborting, and Galera complains of every end; what the server itself says before tells why.
fn telling<'a>(complaints: &[&'a str]) -> &'a str {
    let last = |fits: &dyn Fn(&str) -> bool| complaints.iter().rev().find(|why| !why.contains("Aborting") && fits(why));
    last(&|why| !why.starts_with("WSREP"))
        .or_else(|| last(&|_| true))
        .copied()
        .unwrap_or("the server ends without a word")
}

/// Stops the server cleanly and keeps it stopped, whoever asks. A clean stop lowers the cluster's quorum.
///
/// # Errors
/// When it does not stop in time.
pub fn stop(paths: &Paths) -> anyhow::Result<()> {
    start::forbid(paths)?;
    systemd::stop(UNIT, Wait::AtMost(STOP_LIMIT)).context("cannot stop the server")?;
    stop_started_by_hand()?;
    systemd::reset_failed(UNIT).or_else(|_| Ok::<(), anyhow::Error>(()))?;
    systemd::disable(UNIT).or_else(|_| Ok::<(), anyhow::Error>(()))
}

/// A server that somebody started beside the service is nothing to the service manager: it is told itself.
fn stop_started_by_hand() -> anyhow::Result<()> {
    let Ok(mut session) = Session::open(SQL_LIMIT) else {
        return Ok(());
    };
    session.run("stop a server that was started by hand", "SHUTDOWN")?;
    let asked = clock::Moment::now();
    while asked.elapsed() < BY_HAND_STOP_LIMIT {
        if Session::open(SQL_LIMIT).is_err() {
            return Ok(());
        }
        clock::sleep(Duration::from_millis(200));
    }
    anyhow::bail!("the server that was started by hand does not stop: end the process mariadbd on this machine")
}

/// Stops a server that serves nobody: one that looks for a cluster does not listen to a clean stop for minutes. What it
/// has acknowledged is on disk, and the engine recovers it.
///
/// # Errors
/// When it does not stop even so.
pub fn stop_idle(paths: &Paths) -> anyhow::Result<()> {
    start::forbid(paths)?;
    if state() == State::Absent {
        return Ok(());
    }
    if datadir::is_nil(paths) && saved_view::is_full_members(paths) {
        // Within a statement that changes tables. A clean stop removes the view, which alone tells that, and then waits for
        // the statement; the server serves nobody.
        systemd::kill(UNIT, "KILL").or_else(|_| Ok::<(), anyhow::Error>(()))?;
    }
    if systemd::stop(UNIT, Wait::AtMost(IDLE_STOP_LIMIT)).is_err() {
        systemd::kill(UNIT, "KILL").or_else(|_| Ok::<(), anyhow::Error>(()))?;
        systemd::stop(UNIT, Wait::AtMost(IDLE_STOP_LIMIT)).context("cannot stop the server")?;
    }
    forget_view(paths)?;
    systemd::reset_failed(UNIT).or_else(|_| Ok::<(), anyhow::Error>(()))?;
    systemd::disable(UNIT).or_else(|_| Ok::<(), anyhow::Error>(()))
}

/// Removes the view that a server has left behind which served nobody. When the servers of a component without quorum
/// stop one after the other, the last of them saves that it was a primary component alone. Galera would restore that at
/// the next start, at once and with old data, beside the member that the leader chooses.
fn forget_view(paths: &Paths) -> anyhow::Result<()> {
    if saved_view::read(paths).is_some() { saved_view::discard(paths) } else { Ok(()) }
}

/// What systemd says of it.
pub fn state() -> State {
    systemd::state(UNIT).unwrap_or(State::Absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_complaint_tells_more_than_galeras() {
        let zone = "Fatal error: Illegal or unknown default time zone 'Europe'";
        assert_eq!(telling(&["WSREP: a", zone, "Aborting", "WSREP: View callback failed"]), zone);
        assert_eq!(telling(&["WSREP: Failed to load provider", "Aborting"]), "WSREP: Failed to load provider");
        assert_eq!(telling(&[]), "the server ends without a word");
    }

    #[test]
    fn a_view_that_served_nobody_is_forgotten_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        forget_view(&paths).unwrap();
        file::create_dir_all_with(paths.datadir(), &Mode::new(0o755)).unwrap();
        for name in ["gvwstate.dat", "grastate.dat"] {
            file::write_atomic(paths.datadir().join(name), b"x", &Mode::new(0o600)).unwrap();
        }
        forget_view(&paths).unwrap();
        let left = file::list_opt(paths.datadir()).unwrap();
        assert_eq!(left.unwrap_or_default(), ["grastate.dat"]);
    }
}
