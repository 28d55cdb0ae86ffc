//! What a unit tells the others: how far its volume is, what it holds, how its server stands, and its answers to calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::identity::{ClusterUuid, Epoch, Position, Unit};
use super::restore::Brought;
use super::schedule::Made;
use super::turn::Turned;

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
    /// The branch of the history that its volume is on; see [`super::History::branch`].
    pub branch: Epoch,
    /// Its server.
    pub server: Server,
    /// Its answer to a recovery's call.
    pub answer: Option<Answer>,
    /// Has not been part of a primary component for so long that Galera's own way back has had its time.
    pub stalled: bool,
    /// The generation of credentials that its files hold; zero for none.
    pub credentials_seen: u32,
    /// The restart by force that it has heard of while it serves, and that would leave it behind; zero for none.
    pub objects: Epoch,
    /// What came of bringing data back, once that is known.
    pub brought: Option<Brought>,
    /// What came of the last planned backup that was ordered of it.
    pub made: Option<Made>,
    /// How it stands with restarts.
    pub turned: Turned,
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
    /// Who was with it when it was last part of a primary component.
    pub view: LastView,
    /// Its server died within a statement that changes tables: whether the data is before or behind it is not known.
    pub halfway: bool,
    /// It has stood for so long that whoever has Juju has heard of the call too. Said of calls by force only.
    pub stands: bool,
}

/// The last primary component that a copy was a full part of. Empty when it never was, as far as is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastView {
    /// By address; with the unit's name, where it was known.
    pub members: BTreeMap<IpAddr, Option<Unit>>,
    /// The last restart ([`super::Restart`]) that the copy had part in; zero for none.
    pub since: Epoch,
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
