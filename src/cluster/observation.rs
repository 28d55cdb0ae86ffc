//! Everything one unit may know when it decides. What could not be read, what is absent and what has a value are
//! three different things here, because mistaking the first for the second is how data gets overwritten.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::branches::Begins;
use super::identity::{ClusterUuid, Epoch, Position, Unit};
use super::report::{Answer, DbInit, Holds, LastView, Report, Server};
use super::restore::{Bringing, Brought, Ended, Replaced, Restore};
use super::schedule::{Calendar, Making, Plan};
use super::turn::{Turn, Turned};

/// Everything one unit may know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observation {
    /// This unit.
    pub me: Unit,
    /// Juju's side.
    pub juju: Juju,
    /// This machine.
    pub node: Node,
    /// Units that say themselves, asked just now, that they are part of a primary component that this unit does not see.
    /// Asked by the leader only, of those whom its server does not see, and of those whom a recovery leaves behind.
    pub rivals: BTreeSet<Unit>,
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
    /// Seconds since 1970 when Juju was asked.
    pub now_s: u64,
    /// The options, checked.
    pub settings: Result<Settings, Vec<BadSetting>>,
    /// What the calendar says of planned backups.
    pub calendar: Calendar,
    /// How busy the members are that have answered: write-sets of their clients in the last minute. Asked for by the leader,
    /// when somebody's turn comes next.
    pub busy: BTreeMap<Unit, u64>,
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
#[expect(clippy::large_enum_variant, reason = "one for each peer, for the time of a hook")]
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
    /// The open decision to go back to data of an earlier time, at most one.
    pub restore: Option<Restore>,
    /// What became of the last one.
    pub ended: Option<Ended>,
    /// Planned backups, when there is a schedule.
    pub plan: Option<Plan>,
    /// Whose turn it is to restart its server.
    pub turn: Option<Turn>,
    /// Whom the last recovery permitted to restart the cluster: it may have gone on where nobody else was yet.
    pub restarted: Option<Restart>,
    /// The highest epoch that a recovery has had; remembered when it is closed.
    pub last_epoch: Epoch,
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
    /// Where the founders of earlier permissions were: they are asked before anybody bootstraps, because one that was cut
    /// off from Juju may serve longer than Juju shows it.
    pub former: BTreeSet<IpAddr>,
    /// `lower_case_table_names` of all members, fixed from here on: it says how names lie in the data.
    pub lower_case_table_names: u8,
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
    /// The permission under which it began or was last restarted by force.
    pub epoch: Epoch,
    /// Its branch: the epoch of the last restart by force, zero when there was none. Copies on an older branch may hold
    /// writes that this one does not know under the same sequence numbers: the two never meet.
    pub branch: Epoch,
    /// The units whose copies were counted when the branch began: they hold nothing that it does not.
    pub kept: BTreeSet<Unit>,
    /// Where its branches began.
    pub begins: Begins,
    /// The histories that were this application's before restores.
    pub former: BTreeSet<ClusterUuid>,
    /// The branches that restores have begun. Each has put data aside under its number.
    pub restores: BTreeSet<Epoch>,
    /// What the restore that began this branch has put aside, as long as it is kept.
    pub replaced: Option<Replaced>,
    /// What restores up to this one have put aside is not needed any more.
    pub confirmed: Epoch,
}

impl History {
    /// As a formation brings it forth.
    pub fn first(uuid: ClusterUuid, epoch: Epoch) -> Self {
        Self {
            uuid,
            epoch,
            branch: Epoch::default(),
            kept: BTreeSet::new(),
            begins: Begins::new(),
            former: BTreeSet::new(),
            restores: BTreeSet::new(),
            replaced: None,
            confirmed: Epoch::default(),
        }
    }

    /// Whether a history is this application's, now or before a restore.
    pub fn knows(&self, uuid: &ClusterUuid) -> bool {
        self.uuid == *uuid || self.former.contains(uuid)
    }
}

/// Why everybody is called to stand still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Everything stopped.
    #[default]
    Outage,
    /// Everything stopped, and a person has decided that nobody else is waited for.
    Force,
    /// A person goes back to data of an earlier time.
    Restore,
}

/// A permission to restart the cluster, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Restart {
    /// Its number.
    pub epoch: Epoch,
    /// Who had it.
    pub unit: Unit,
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
    /// Why.
    pub cause: Cause,
    /// The branch that the chosen copy has really something of.
    pub from: Epoch,
    /// Of a restore: who has the newest of what is put aside.
    pub before: Option<(Unit, Position)>,
}

impl Recovery {
    /// Whether a person has decided that nobody else is waited for.
    pub fn by_force(&self) -> bool {
        self.cause == Cause::Force
    }
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
    /// See [`LastView`]. On the volume: it goes where the data goes.
    pub last_view: LastView,
    /// Data directories that were moved aside on this volume and are still there, by path.
    pub aside: Vec<String>,
    /// Data that was brought back and lies beside its own.
    pub brought: Option<Brought>,
    /// The last planned backup that was ordered of it.
    pub making: Option<Making>,
    /// The order up to which it has removed backups that are no longer kept.
    pub expired: u32,
    /// How it stands with restarts.
    pub turned: Turned,
}

impl Node {
    /// Whether data is still there that this branch has put aside. The name is that of `mariadb::datadir::set_aside`.
    pub fn keeps_aside(&self, branch: Epoch) -> bool {
        let named = |path: &String| {
            let rest = path.rsplit('/').next().and_then(|name| name.strip_prefix("data.aside-"));
            rest.is_some_and(|rest| rest.split('.').next() == Some(branch.to_string().as_str()))
        };
        self.aside.iter().any(named)
    }

    /// What this unit tells the others of itself, whatever they ask.
    pub(super) fn report(&self) -> Report {
        let entry = self.journal.entry();
        Report {
            db_init: entry.map_or(DbInit::New, |e| e.db_init),
            address: self.address.filter(|_| self.installed == Installed::Yes && entry.is_some()),
            holds: self.holds.clone(),
            used_epoch: entry.map_or(Epoch::default(), |e| e.used_epoch),
            branch: entry.map_or(Epoch::default(), |e| e.branch),
            server: self.server.clone(),
            answer: self.answer.clone(),
            stalled: self.stalled,
            credentials_seen: self.credentials_seen,
            objects: Epoch::default(),
            brought: self
                .brought
                .clone()
                .filter(|brought| matches!(brought.result, Bringing::Ready(_) | Bringing::Failed(_))),
            made: self.making.as_ref().and_then(Making::made),
            turned: self.turned.clone(),
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
    /// The branch of the history that this volume is on; see [`History::branch`].
    pub branch: Epoch,
    /// The data was restored, and may know other passwords than the cluster's.
    pub restored: bool,
}

impl JournalEntry {
    /// Of a volume that was just adopted: nothing has happened on it.
    pub fn adopted() -> Self {
        Self {
            db_init: DbInit::New,
            uuid: None,
            used_epoch: Epoch::default(),
            accounts: false,
            branch: Epoch::default(),
            restored: false,
        }
    }
}

/// The options that the decision depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Galera's cluster name.
    pub cluster_name: String,
    /// How many units must be there before a cluster forms.
    pub min_cluster_size: MinClusterSize,
    /// For how many days a restore keeps what it has put aside; `None` for ever.
    pub restore_keep_days: Option<u32>,
    /// `lower_case_table_names`, for a cluster that forms.
    pub lower_case_table_names: u8,
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
