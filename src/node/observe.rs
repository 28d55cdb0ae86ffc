//! Looking: volume, journal, data directory, server → local facts. Never fails: what could not be read is a value.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{bring, journal, last_view, outage, planned, turn};
use crate::cluster::{
    Answer, ClusterUuid, Epoch, Galera, Holds, Installed, LastView, LocalState, Node, Position, Server,
    TIME_TO_OBJECT_S, Volume,
};
use crate::host::net::{self, Probe};
use crate::host::service_manager::State;
use crate::host::{Mode, clock, file, machine};
use crate::mariadb::datadir::{self, Found};
use crate::mariadb::sql::{Session, SqlError};
use crate::mariadb::wsrep::GaleraStatus;
use crate::mariadb::{GROUP_PORT, Paths, halfway, install, saved_view, service, start};

/// A healthy server answers in milliseconds; one that does not is described, not waited for.
const SQL_LIMIT: Duration = Duration::from_secs(3);

/// Everything that a decision needs of this machine.
pub fn observe(paths: &Paths, address: Option<IpAddr>) -> Node {
    Node {
        installed: installed(paths),
        volume: volume(paths),
        journal: journal::read(paths),
        holds: holds(paths),
        server: server(),
        address,
        answer: answer(paths),
        stalled: outage::stalled(paths),
        credentials_seen: credentials_seen(paths),
        last_view: last_view::read(paths, journal::branch(paths)),
        // A volume that cannot be read shows elsewhere.
        aside: datadir::aside(paths).unwrap_or_default(),
        brought: bring::observe(paths),
        making: planned::observe(paths),
        expired: planned::expired(paths),
        turned: turn::observe(paths),
    }
}

fn installed(paths: &Paths) -> Installed {
    match install::noted_version(paths) {
        Some(_) if !super::agent_service::is_installed() => Installed::No("node agent".to_owned()),
        Some(_) => Installed::Yes,
        None => Installed::No("packages".to_owned()),
    }
}

fn volume(paths: &Paths) -> Volume {
    match machine::is_mount_point(&paths.volume) {
        Ok(true) => Volume::Mounted,
        Ok(false) => Volume::Missing(format!("nothing is mounted on {}", paths.volume.display())),
        Err(why) => Volume::Missing(why.to_string()),
    }
}

/// The history of a copy whose server carries out, or died within, a statement that changes tables: its nil UUID says
/// nothing else, and others must not take it for a copy that never was one.
fn halfway_of(paths: &Paths) -> Option<ClusterUuid> {
    if let Some((uuid, _)) = halfway::read(paths) {
        return uuid.parse().ok();
    }
    saved_view::is_full_members(paths).then(|| journal::read(paths).entry()?.uuid.clone()).flatten()
}

/// Ours, beside the data directory.
const OWN_FILES: [&str; 5] = [journal::FILE, last_view::FILE, halfway::FILE, saved_view::FILE, bring::FILE];

/// What lies in the data directory, and, as long as there is no journal, anywhere else on the volume.
fn holds(paths: &Paths) -> Holds {
    match datadir::look(paths) {
        Found::State(state) => match state.uuid.map(|uuid| uuid.parse()) {
            Some(Ok(uuid)) => Holds::History(uuid),
            Some(Err(why)) => Holds::Unclear(why),
            None => halfway_of(paths)
                .map_or_else(|| Holds::Unclear("data without a history (nil UUID)".to_owned()), Holds::History),
        },
        Found::Torn(what) | Found::Odd(what) => Holds::Unclear(what),
        Found::Nothing => match datadir::foreign_files(paths, &OWN_FILES) {
            Ok(foreign) if foreign.is_empty() => Holds::Nothing,
            Ok(foreign) => Holds::Unclear(format!("files that are not ours: {}", foreign.join(" "))),
            Err(why) => Holds::Unclear(why.to_string()),
        },
    }
}

/// The local server.
pub fn server() -> Server {
    server_and_status().0
}

/// The local server, and what it said. It is asked first: an answer makes any other question needless.
pub fn server_and_status() -> (Server, Option<GaleraStatus>) {
    match status() {
        Ok(mut status) => {
            status.connected &= status.primary || listens();
            (Server::Answers(galera(&status)), Some(status))
        }
        Err(why) => (without_answer(&service::state(), is_permitted(), &why.in_words()), None),
    }
}

/// As far as can be told, somebody has permitted a start.
fn is_permitted() -> bool {
    !matches!(start::permission(&Paths::default()), Ok(None))
}

/// A power cut between taking the permission and stopping leaves a service that the boot starts and the gate refuses, over
/// and over: nothing is on its way up.
fn without_answer(state: &State, permitted: bool, silence: &str) -> Server {
    match state {
        State::Inactive | State::Failed | State::Absent => Server::Stopped,
        State::Pending if !permitted => Server::Stopped,
        State::Activating | State::Pending => Server::Starting,
        State::Deactivating => Server::Silent("it is stopping".to_owned()),
        State::Other(word) => Server::Silent(format!("systemd calls it {word}")),
        State::Active => Server::Silent(silence.to_owned()),
    }
}

/// Whether Galera still listens for the other members. One that has closed its group connection behind the server's back
/// (after an incremental transfer that failed) goes on saying that it is connected, and never returns by itself.
fn listens() -> bool {
    let refused = |ip| net::tcp_probe(ip, GROUP_PORT, Duration::from_secs(1)) == Probe::Refused;
    !(refused(IpAddr::V4(Ipv4Addr::LOCALHOST)) && refused(IpAddr::V6(Ipv6Addr::LOCALHOST)))
}

fn status() -> Result<GaleraStatus, SqlError> {
    Session::open(SQL_LIMIT)?.galera_status()
}

/// The driver's words in the middle's.
pub fn galera(status: &GaleraStatus) -> Galera {
    Galera {
        primary: status.primary,
        connected: status.connected,
        ready: status.ready && status.connected,
        state: match status.local_state {
            1 => LocalState::Joining,
            2 => LocalState::Donor,
            3 => LocalState::Joined,
            4 => LocalState::Synced,
            _ => LocalState::Undefined,
        },
        uuid: status.cluster_uuid.as_deref().and_then(|uuid| uuid.parse().ok()),
        seqno: status.last_committed,
        conf_id: status.conf_id,
        size: status.size,
        view: status.view(),
    }
}

#[derive(Serialize, Deserialize)]
struct AnswerText {
    epoch: u32,
    position: Option<String>,
    #[serde(default)]
    view: BTreeMap<IpAddr, Option<String>>,
    #[serde(default)]
    since: u32,
    #[serde(default)]
    halfway: bool,
    /// When it was given, by a clock that nobody sets.
    #[serde(default)]
    uptime: u64,
}

fn answer_path(paths: &Paths) -> PathBuf {
    paths.state.join("answer.json")
}

fn answer(paths: &Paths) -> Option<Answer> {
    let text = file::read_to_string_opt(answer_path(paths)).ok()??;
    let read: AnswerText = serde_json::from_str(&text).ok()?;
    let position = match read.position {
        None => None,
        // A position that cannot be read is no answer at all.
        Some(text) => Some(text.parse::<Position>().ok()?),
    };
    let view = read.view.into_iter().map(|(address, unit)| (address, unit.and_then(|unit| unit.parse().ok())));
    let view = LastView { members: view.collect(), since: Epoch(read.since) };
    let now = clock::uptime_seconds().ok()?;
    // Given before this boot: then it is as old as the boot at least.
    let age = now.checked_sub(read.uptime).unwrap_or(now);
    let stands = age >= TIME_TO_OBJECT_S;
    Some(Answer { epoch: Epoch(read.epoch), position, view, halfway: read.halfway, stands })
}

/// Writes an answer down: it stands until the server is started again.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_answer(paths: &Paths, answer: &Answer) -> anyhow::Result<()> {
    let text = AnswerText {
        epoch: answer.epoch.0,
        position: answer.position.as_ref().map(ToString::to_string),
        view: answer.view.members.iter().map(|(at, unit)| (*at, unit.as_ref().map(ToString::to_string))).collect(),
        since: answer.view.since.0,
        halfway: answer.halfway,
        uptime: clock::uptime_seconds()?,
    };
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    file::write_atomic(answer_path(paths), serde_json::to_string(&text)?.as_bytes(), &Mode::new(0o600))?;
    Ok(())
}

/// Whether this unit holds its server still for a recovery.
pub fn has_answered(paths: &Paths) -> bool {
    answer(paths).is_some()
}

/// Withdraws it.
///
/// # Errors
/// When it cannot be removed.
pub(super) fn withdraw_answer(paths: &Paths) -> anyhow::Result<()> {
    file::remove_opt(answer_path(paths))?;
    Ok(())
}

fn credentials_path(paths: &Paths) -> PathBuf {
    paths.state.join("credentials-generation")
}

/// The generation of credentials that the server's files hold; zero for none.
pub fn credentials_seen(paths: &Paths) -> u32 {
    let text = file::read_to_string_opt(credentials_path(paths)).ok().flatten().unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Notes which generation the server's files hold.
///
/// # Errors
/// When it cannot be written.
pub(super) fn note_credentials(paths: &Paths, generation: u32) -> anyhow::Result<()> {
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    file::write_atomic(credentials_path(paths), generation.to_string().as_bytes(), &Mode::new(0o600))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gate_refuses_over_and_over_is_not_on_its_way_up() {
        assert_eq!(without_answer(&State::Pending, false, ""), Server::Stopped);
        assert_eq!(without_answer(&State::Pending, true, ""), Server::Starting);
        assert_eq!(without_answer(&State::Activating, false, ""), Server::Starting, "its process may run");
    }
}
