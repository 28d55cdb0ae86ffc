//! Everything one unit may know when it decides. What could not be read, what is absent and what has a value are
//! three different things here, because mistaking the first for the second is how data gets overwritten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::identity::{ClusterUuid, Epoch, Position, Unit};

/// Everything one unit may know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observation {
    /// This unit.
    pub me: Unit,
    /// Juju's side.
    pub juju: Juju,
    /// This machine.
    pub node: Node,
}

/// What Juju says, as of the start of this pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Juju {
    /// Why we were called, as far as it matters to the decision.
    pub event: Event,
    /// Whether this unit is Juju's leader now.
    pub leader: bool,
    /// The units that Juju means to keep, this one included.
    pub planned: Planned,
    /// The other units, as far as Juju has introduced them.
    pub peers: Peers,
    /// The peer application databag.
    pub app: AppBag,
    /// The options, checked.
    pub settings: Result<Settings, Vec<BadSetting>>,
}

/// Why we were called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Anything that asks for one look around.
    Ordinary,
    /// This unit goes away: its data volume is detached, it departs from its peers, or it stops.
    Leaving,
}

/// The units that Juju means to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Planned {
    /// Juju did not say; nobody may be taken for absent.
    Unknown(String),
    /// The units, this one included, dying ones not.
    Known(BTreeSet<Unit>),
}

/// The other units.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peers {
    /// The peer relation is not there yet (before and during install).
    NotYet,
    /// What each has said; never contains this unit.
    Known(BTreeMap<Unit, Peer>),
}

/// What another unit's databag holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Nothing yet: it has joined the relation but not run.
    Silent,
    /// Something that we cannot read; it counts as silent and is named.
    Garbled(String),
    /// Its report.
    Said(Report),
}

impl Peer {
    /// The report, when there is one.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Said(report) => Some(report),
            Self::Silent | Self::Garbled(_) => None,
        }
    }
}

/// The peer application databag: written by the leader, one transaction a hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AppBag {
    /// Who forms the cluster, and who founds it.
    pub formation: Option<Formation>,
    /// The accounts' passwords.
    pub credentials: Credentials,
    /// The history that this application owns, once it exists.
    pub history: Option<History>,
    /// The open recovery, at most one.
    pub recovery: Option<Recovery>,
}

/// The permission to form: names the members and the one among them that bootstraps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Formation {
    /// Each permission has a higher one than the last.
    pub epoch: Epoch,
    /// Galera's cluster name, fixed from here on.
    pub name: String,
    /// The electorate with the addresses that they offered.
    pub members: BTreeMap<Unit, IpAddr>,
    /// The member that bootstraps: the lowest address.
    pub founder: Unit,
}

/// What is known of the shared passwords. Their values never enter the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// The leader has not made them yet.
    #[default]
    Absent,
    /// They exist, but this unit cannot read them now.
    Unreadable(String),
    /// They are at hand.
    Known {
        /// Rises with every change of a password.
        generation: u32,
        /// The generation up to which the server no longer accepts older passwords.
        settled: u32,
    },
}

/// The history of writes that belongs to this application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History {
    /// Its UUID.
    pub uuid: ClusterUuid,
    /// The permission under which it began or was last restarted.
    pub epoch: Epoch,
}

/// A full stop being healed: a call to everybody to stand still and report, then a choice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recovery {
    /// Each permission has a higher one than the last, formations included.
    pub epoch: Epoch,
    /// All who must answer: every unit that was ever a member and is still planned.
    pub members: BTreeSet<Unit>,
    /// The one that restarts the cluster, and the position it reported.
    pub chosen: Option<(Unit, Position)>,
}

/// One unit's report, as it stands in its databag. This unit's own is made from [`Node`], so that a hook that ran
/// twice before Juju showed its first result still decides from what the machine is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// How far it is on its data volume.
    pub db_init: DbInit,
    /// "I am here, and can be elected": present once the server's packages are installed.
    pub address: Option<IpAddr>,
    /// What lies on its data volume.
    pub holds: Holds,
    /// The highest permission that it has used up.
    pub used_epoch: Epoch,
    /// Its server.
    pub server: Server,
    /// Its answer to a recovery's call.
    pub answer: Option<Answer>,
    /// Has not been part of a primary component for so long that Galera's own way back has had its time.
    pub stalled: bool,
    /// The generation of credentials that its files hold; zero for none.
    pub credentials_seen: u32,
}

/// How far a unit has come on one data volume. Only ever rises there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DbInit {
    /// New.
    #[default]
    New = 0,
    /// Part of the formation, credentials at hand.
    Agreed = 1,
    /// A cluster exists or forms without it; credentials at hand, waiting to join.
    Waiting = 2,
    /// Has been Synced in the cluster.
    Initialised = 3,
}

impl DbInit {
    /// The number as it is published.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The value behind a published number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::New, Self::Agreed, Self::Waiting, Self::Initialised].into_iter().find(|d| d.number() == number)
    }
}

impl fmt::Display for DbInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// What lies in a data directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holds {
    /// No data at all, or none but the system tables that nobody has used.
    Nothing,
    /// A copy of a history.
    History(ClusterUuid),
    /// Something, but not which history: a torn state file, a transfer that was cut off, a foreign directory.
    Unclear(String),
}

/// An answer to a recovery's call, given with the server stopped and kept stopped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The call that it answers.
    pub epoch: Epoch,
    /// How far its data goes; `None` when it holds no usable copy.
    pub position: Option<Position>,
}

/// A database server as seen from its own machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// Not running, and nobody is trying to start it.
    Stopped,
    /// On its way up: recovering, looking for the others, or receiving its data.
    Starting,
    /// Runs and answers.
    Answers(Galera),
    /// Runs and does not answer.
    Silent(String),
}

impl Server {
    /// Its view of the cluster, when it is part of the primary component.
    pub fn primary(&self) -> Option<&Galera> {
        match self {
            Self::Answers(galera) if galera.primary => Some(galera),
            Self::Answers(_) | Self::Stopped | Self::Starting | Self::Silent(_) => None,
        }
    }

    /// The history it serves, when it is a member that has all data.
    pub fn synced(&self) -> Option<&ClusterUuid> {
        self.primary()
            .filter(|galera| matches!(galera.state, LocalState::Synced | LocalState::Donor))
            .and_then(|galera| galera.uuid.as_ref())
    }
}

/// What Galera says on one member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Galera {
    /// Part of the primary component.
    pub primary: bool,
    /// Has a connection to the group (`wsrep_connected`). A server that has lost it for good says so and stays up.
    pub connected: bool,
    /// Accepts statements (`wsrep_ready`).
    pub ready: bool,
    /// `wsrep_local_state`.
    pub state: LocalState,
    /// The history; `None` for the nil UUID.
    pub uuid: Option<ClusterUuid>,
    /// The last committed write-set; `None` when it knows none.
    pub seqno: Option<u64>,
    /// The number of the view; equal on all members of one component.
    pub conf_id: Option<u64>,
    /// Members in the view.
    pub size: u32,
    /// Their addresses; empty when the server does not say.
    pub view: BTreeSet<IpAddr>,
}

/// `wsrep_local_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocalState {
    /// 0 or anything unknown.
    Undefined,
    /// 1: asks for or receives its data.
    Joining,
    /// 2: gives its data to another.
    Donor,
    /// 3: has the data, catches up.
    Joined,
    /// 4.
    Synced,
}

/// This machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The server's packages.
    pub installed: Installed,
    /// The data volume.
    pub volume: Volume,
    /// What is written down on the data volume.
    pub journal: Journal,
    /// What lies in the data directory.
    pub holds: Holds,
    /// The server.
    pub server: Server,
    /// The address on the peers' network, when Juju or the machine told it.
    pub address: Option<IpAddr>,
    /// See [`Report::stalled`].
    pub stalled: bool,
    /// An answer to a recovery's call that is written down and still stands (server stopped since).
    pub answer: Option<Answer>,
    /// The generation of credentials in the server's files; zero for none.
    pub credentials_seen: u32,
}

impl Node {
    /// What this unit tells the others.
    pub fn report(&self) -> Report {
        let entry = self.journal.entry();
        Report {
            db_init: entry.map_or(DbInit::New, |e| e.db_init),
            address: self.address.filter(|_| self.installed == Installed::Yes && entry.is_some()),
            holds: self.holds.clone(),
            used_epoch: entry.map_or(Epoch::default(), |e| e.used_epoch),
            server: self.server.clone(),
            answer: self.answer.clone(),
            stalled: self.stalled,
            credentials_seen: self.credentials_seen,
        }
    }
}

/// Whether the server's packages are installed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Installed {
    /// All of them.
    Yes,
    /// Not all, or not in a usable version; the text says which.
    No(String),
}

/// The data volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Volume {
    /// Mounted where it belongs.
    Mounted,
    /// Not there (yet): nothing may be written in its place.
    Missing(String),
}

/// What is written down on the data volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Journal {
    /// Nothing.
    Absent,
    /// Something that cannot be read.
    Unreadable(String),
    /// The entry.
    Known(JournalEntry),
}

impl Journal {
    /// The entry, when there is one.
    pub fn entry(&self) -> Option<&JournalEntry> {
        match self {
            Self::Known(entry) => Some(entry),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }
}

/// The journal's entry: survives the machine's restart and the unit's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JournalEntry {
    /// How far this volume is.
    pub db_init: DbInit,
    /// The history that it belongs to, once initialised; before that, the one that it expects to receive.
    pub uuid: Option<ClusterUuid>,
    /// The highest permission that was used up here.
    pub used_epoch: Epoch,
    /// First-time setup is complete (founder only).
    pub accounts: bool,
}

/// The options that the decision depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Galera's cluster name.
    pub cluster_name: String,
    /// How many units must be there before a cluster forms.
    pub min_cluster_size: MinClusterSize,
}

/// How many units must be there before a cluster forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MinClusterSize {
    /// All that are planned.
    Auto,
    /// At least so many.
    AtLeast(u32),
}

/// An option with a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BadSetting {
    /// The option's name.
    pub option: String,
    /// What is wrong and what is allowed, on one line.
    pub problem: String,
}

impl Observation {
    /// What a unit has said; this unit's own report is made from the machine itself.
    pub fn report_of(&self, unit: &Unit) -> Option<Report> {
        if *unit == self.me {
            return Some(self.node.report());
        }
        match &self.juju.peers {
            Peers::NotYet => None,
            Peers::Known(peers) => peers.get(unit).and_then(Peer::report).cloned(),
        }
    }

    /// Whether Juju still shows a unit, planned or not.
    pub fn sees(&self, unit: &Unit) -> bool {
        *unit == self.me || matches!(&self.juju.peers, Peers::Known(peers) if peers.contains_key(unit))
    }

    /// All units that Juju plans or has introduced, with their reports.
    pub fn reports(&self) -> BTreeMap<Unit, Option<Report>> {
        let mut units: BTreeSet<Unit> = BTreeSet::from([self.me.clone()]);
        if let Planned::Known(planned) = &self.juju.planned {
            units.extend(planned.iter().cloned());
        }
        if let Peers::Known(peers) = &self.juju.peers {
            // A unit that is still listed although Juju no longer plans it is on its way out, or a ghost.
            let ghost = |unit: &Unit| match &self.juju.planned {
                Planned::Known(planned) => !planned.contains(unit),
                Planned::Unknown(_) => false,
            };
            units.extend(peers.keys().filter(|unit| !ghost(unit)).cloned());
        }
        units.into_iter().map(|unit| (unit.clone(), self.report_of(&unit))).collect()
    }

    /// The history that this application owns, from the leader's word or, before that, from the members of the
    /// formation: the founder is the first, and those who joined it say the same when it is gone again.
    pub fn history(&self) -> Option<ClusterUuid> {
        if let Some(history) = &self.juju.app.history {
            return Some(history.uuid.clone());
        }
        let formation = self.juju.app.formation.as_ref()?;
        // A founder that has gone for good may have been joined by units that came later than the permission.
        let founder_is_gone = !self.sees(&formation.founder);
        let mut said = self.reports().into_iter().filter_map(|(unit, report)| {
            if !founder_is_gone && !formation.members.contains_key(&unit) {
                return None;
            }
            let report = report?;
            match (report.db_init, report.holds) {
                (DbInit::Initialised, Holds::History(uuid)) => Some(uuid),
                (DbInit::New | DbInit::Agreed | DbInit::Waiting | DbInit::Initialised, _) => None,
            }
        });
        let first = said.next()?;
        said.all(|uuid| uuid == first).then_some(first)
    }

    /// The history that this unit is to receive: when those who told us of it are gone again, the journal still knows.
    pub fn expected_history(&self) -> Option<ClusterUuid> {
        self.history().or_else(|| self.node.journal.entry()?.uuid.clone())
    }

    /// Units that are not in this member's view, whatever they last said: one that has just died has not said so.
    /// Empty when this unit has no view of its own, or sees itself in none (addresses that cannot be compared).
    pub fn absent(&self) -> BTreeSet<Unit> {
        let Some(galera) = self.node.server.primary() else {
            return BTreeSet::new();
        };
        if !self.node.address.is_some_and(|mine| galera.view.contains(&mine)) {
            return BTreeSet::new();
        }
        let out_of_sight = |report: &Report| report.address.is_some_and(|address| !galera.view.contains(&address));
        self.reports()
            .into_iter()
            .filter(|(unit, report)| *unit != self.me && report.as_ref().is_some_and(out_of_sight))
            .map(|(unit, _)| unit)
            .collect()
    }

    /// The addresses of all units that may be members, this one included, sorted. A unit that Juju has not introduced
    /// yet is known from the formation: a newcomer must find the cluster before it has met anybody.
    pub fn member_addresses(&self) -> Vec<IpAddr> {
        let reports = self.reports();
        let mut addresses: Vec<IpAddr> = reports.values().flatten().filter_map(|report| report.address).collect();
        for (unit, address) in self.juju.app.formation.iter().flat_map(|formation| &formation.members) {
            if matches!(reports.get(unit), Some(None)) {
                addresses.push(*address);
            }
        }
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// The addresses of everybody else that may be a member.
    pub fn other_addresses(&self) -> Vec<IpAddr> {
        self.member_addresses().into_iter().filter(|address| Some(*address) != self.node.address).collect()
    }
}
