//! What a member says of itself, now, to whoever asks its agent: not what it published some time ago.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::AGENT_PORT;
use crate::cluster::{LocalState, Server};
use crate::host::net::{self, Probe};
use crate::mariadb::GROUP_PORT;

/// A member's own words; nothing secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Live {
    /// Its unit.
    pub unit: String,
    /// One word for the server.
    pub state: String,
    /// Part of a primary component.
    pub primary: bool,
    /// May take traffic.
    pub ready: bool,
    /// The history it serves or holds.
    pub uuid: Option<String>,
    /// Its last committed write-set.
    pub seqno: Option<u64>,
    /// The number of its view.
    pub conf_id: Option<u64>,
    /// The branch of the history that it serves or holds, when it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<u32>,
    /// Members in its view.
    pub size: u32,
    /// Their addresses.
    #[serde(default)]
    pub view: BTreeSet<IpAddr>,
    /// It stood still and has not heard of the others since: it may be part of nothing any more, or may serve as before.
    /// No rival and no help to anybody, but nobody restarts a cluster beside it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubted: bool,
    /// It is about to found or to restart a cluster: whoever else is must not, because each asked before the other served.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bootstraps: bool,
    /// Write-sets that its clients have made in the last minute, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<u64>,
    /// The shortest that its receive queue was in the last few looks, in write-sets: above zero it does not keep up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u64>,
    /// The lowest write-set that it can still give to a returning member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_downto: Option<u64>,
    /// For how many seconds of writes, as they were in the last minute, there is room in its ring of write-sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_s: Option<u64>,
    /// Room on its data volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Its place among those who are on their way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Ticket>,
}

/// A place in the queue of those who leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ticket {
    /// About to draw a number.
    Choosing,
    /// Has drawn it.
    Number(u32),
}

impl Live {
    /// From what was seen of the local server.
    pub fn from_server(unit: &str, server: &Server, expected: Option<&str>) -> Self {
        let mut live = Self { unit: unit.to_owned(), state: word(server).to_owned(), ..Self::default() };
        if let Server::Answers(galera) = server {
            live.primary = galera.primary;
            live.uuid = galera.uuid.as_ref().map(ToString::to_string);
            live.seqno = galera.seqno;
            live.conf_id = galera.conf_id;
            live.size = galera.size;
            live.view.clone_from(&galera.view);
            live.ready = ready(server, expected).is_ok();
        }
        live
    }

    /// Part of a primary component, as far as it can be believed. Whoever asks for leave to bootstrap wants less: there, a
    /// doubtful one counts as well.
    pub fn is_primary(&self) -> bool {
        self.primary && !self.doubted
    }
}

/// One word for a server.
pub fn word(server: &Server) -> &'static str {
    match server {
        Server::Stopped => "stopped",
        Server::Starting => "starting",
        Server::Silent(_) => "silent",
        Server::Answers(galera) if !galera.primary => "non-primary",
        Server::Answers(galera) => match galera.state {
            LocalState::Synced => "synced",
            LocalState::Donor => "donor",
            LocalState::Joined => "joined",
            LocalState::Joining => "joining",
            LocalState::Undefined => "undefined",
        },
    }
}

/// Whether the server may take traffic: part of a primary component, accepting statements, Synced (or a donor that is
/// the only one left), serving the expected history. That it answers `SELECT 1` proves nothing.
///
/// # Errors
/// Says what is missing.
pub fn ready(server: &Server, expected: Option<&str>) -> Result<(), String> {
    let Server::Answers(galera) = server else {
        return Err(format!("the server is {}", word(server)));
    };
    if !galera.primary {
        return Err("the server is not part of a primary component".to_owned());
    }
    if !galera.ready {
        return Err("the server does not accept statements (wsrep_ready is OFF)".to_owned());
    }
    match (&galera.uuid, expected) {
        (None, _) => return Err("the server has no cluster UUID".to_owned()),
        (Some(uuid), Some(expected)) if uuid.as_str() != expected => {
            return Err(format!("the server is in cluster {uuid}, not in {expected}"));
        }
        (Some(_), _) => {}
    }
    match galera.state {
        LocalState::Synced => Ok(()),
        LocalState::Donor if galera.size <= 1 => Ok(()),
        LocalState::Donor => Err("the server gives its data to another member, use the others".to_owned()),
        LocalState::Undefined | LocalState::Joining | LocalState::Joined => {
            Err(format!("the server is {}", word(server)))
        }
    }
}

/// An answer from another member, or what its silence is like.
#[expect(clippy::large_enum_variant, reason = "one for each member, for a moment")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Its agent's word.
    Said(Live),
    /// Nobody is there: neither its agent nor its Galera port answers.
    Nobody,
    /// Something runs there, but does not say what.
    Unclear(String),
}

/// What a member says when it is, now, part of a primary component. Silence is no, and so is doubt; asked where one that is
/// switched off must not hold up anybody for long.
pub fn primary(address: IpAddr) -> Option<Live> {
    const LIMIT: Duration = Duration::from_secs(1);
    let answer = net::http_get_local(SocketAddr::new(address, AGENT_PORT), "/status", LIMIT, 65_536).ok()?;
    serde_json::from_slice::<Live>(&answer.body).ok().filter(Live::is_primary)
}

/// As [`primary`], of all of them at once.
pub fn primaries(members: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, Option<Live>> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = members.iter().map(|address| (*address, scope.spawn(|| primary(*address)))).collect();
        // All are waited for; a thread that panicked has heard nothing.
        asked.into_iter().map(|(address, one)| (address, one.join().ok().flatten())).collect()
    })
}

/// Those of them who serve this history now.
pub fn serving(history: &str, members: &BTreeSet<IpAddr>) -> Vec<Live> {
    let full = |live: &Live| ["synced", "donor"].contains(&live.state.as_str());
    let said = primaries(members).into_values().flatten();
    said.filter(|live| full(live) && live.uuid.as_deref() == Some(history)).collect()
}

/// Asks a member's agent.
pub fn ask(address: IpAddr) -> Asked {
    const LIMIT: Duration = Duration::from_secs(2);
    let answer = net::http_get_local(SocketAddr::new(address, AGENT_PORT), "/status", LIMIT, 65_536);
    match answer {
        Ok(answer) => match serde_json::from_slice(&answer.body) {
            Ok(live) => Asked::Said(live),
            Err(why) => Asked::Unclear(format!("the agent at {address} says something else: {why}")),
        },
        Err(why) => match net::tcp_probe(address, GROUP_PORT, LIMIT) {
            Probe::Open => Asked::Unclear(format!("a server runs at {address}, but its agent is silent: {why}")),
            Probe::Refused | Probe::Silent => Asked::Nobody,
        },
    }
}
