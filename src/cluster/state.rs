//! The states of one unit, each with its exact meaning and the line that an operator reads.
//! `docs/cluster-states.md` lists them; `tests/cluster_states.rs` keeps the two together.

use std::fmt;

use super::decision::{Level, Status};
use super::identity::{ClusterUuid, Epoch, Unit};
use super::observation::BadSetting;
use super::recovery::TIME_TO_OBJECT_S;

/// The state of this unit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The data volume is not mounted; nothing may be written in its place.
    NoVolume(String),
    /// The server's packages are being installed, or could not be.
    Installing(String),
    /// The data volume holds data that this application did not put there.
    ForeignVolume(String),
    /// An option's value cannot be used. A running server is left alone.
    Misconfigured(Vec<BadSetting>),
    /// Juju has not set up the peer relation yet.
    NoPeerRelation,
    /// Nobody may found before everybody has made an offer.
    Electing {
        /// Units that have.
        present: usize,
        /// Units that must.
        needed: usize,
        /// Those who have not; empty when the missing ones are not even planned.
        missing: Vec<Unit>,
    },
    /// Everybody needed has made an offer; the leader's permission is awaited.
    WaitingForLeader {
        /// Units that have made an offer.
        present: usize,
    },
    /// A unit that should be new brings data along.
    DataBeforeFormation {
        /// The unit.
        unit: Unit,
        /// What it brings.
        what: String,
    },
    /// The passwords are not at hand.
    NoCredentials(String),
    /// The permission to form contradicts what this unit sees; it does not take part.
    FormationRefused(String),
    /// This unit founds the cluster.
    Founding,
    /// The founder has used its permission, and has nothing to show for it: a new one is needed.
    FoundingInterrupted(Epoch),
    /// Agreed, and waits until the founder has done its part.
    WaitingForFounder(Unit),
    /// The application owns a history, and no unit is left that holds it.
    NoMemberLeft(ClusterUuid),
    /// Looks for the cluster, or receives its data.
    Joining,
    /// Has the data, catches up with the writes since.
    CatchingUp,
    /// A full member.
    Synced {
        /// Members in the view.
        size: u32,
        /// Units that Juju plans.
        planned: usize,
        /// Planned units that are not members yet.
        missing: Vec<Unit>,
        /// Data of this unit that the cluster went on without, by directory.
        aside: Vec<String>,
    },
    /// A full member that gives its data to another.
    Donor {
        /// Members in the view.
        size: u32,
    },
    /// Runs without a majority: refuses writes until the others are back.
    NonPrimary {
        /// Members that it sees.
        size: u32,
        /// Members that have not been heard of as running.
        missing: Vec<Unit>,
        /// It has been so for long.
        stalled: bool,
    },
    /// The server runs, but Galera has given up in it.
    Disconnected,
    /// The server should run and does not yet.
    Starting {
        /// After a while: members that have not said, as this one does, that they are cut off from the cluster.
        missing: Vec<Unit>,
    },
    /// Everything stopped; positions are collected.
    AnsweringCall {
        /// Those who have not answered.
        missing: Vec<Unit>,
        /// A person has decided already that nobody else is waited for.
        forced: bool,
    },
    /// A person goes back to data of an earlier time: everybody stops.
    Restoring {
        /// Who has brought it back.
        by: Unit,
        /// Members that have not stopped yet.
        missing: Vec<Unit>,
        /// All have stopped, and it may begin.
        chosen: bool,
    },
    /// Everything stopped; this unit may restart the cluster.
    Recovering,
    /// Everything stopped; another unit may restart the cluster, `None` as long as nobody was chosen.
    WaitingForRecovery(Option<Unit>),
    /// Everything stopped, all who are there have answered, and none of them may hold the newest writes.
    MembersGone {
        /// Units, or addresses, that the newest copies last ran with.
        missing: Vec<String>,
        /// How far the newest copy goes.
        seqno: u64,
    },
    /// Everything stopped, all have answered, and nobody has a copy that can be used.
    NoUsableCopy,
    /// Everything stopped, and one of those who answered holds another history.
    TwoHistories {
        /// The unit.
        unit: Unit,
        /// What it holds.
        here: ClusterUuid,
        /// The application's.
        expected: ClusterUuid,
    },
    /// The cluster was restarted by force without this unit's copy, or goes on with restored data.
    LeftBehind {
        /// The branch on which it went on.
        branch: Epoch,
        /// With restored data.
        restored: bool,
        /// Somebody serves there, and has a copy to give.
        serves: bool,
        /// Those who are on it.
        others: Vec<Unit>,
    },
    /// The data here is another history than the application's.
    WrongHistory {
        /// What is here.
        here: String,
        /// What it should be.
        expected: ClusterUuid,
    },
    /// The server runs and does not answer.
    Silent(String),
    /// On its way out; the data stays.
    Leaving,
}

impl State {
    /// The word for it in tables: the variant's name in lower case with hyphens.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoVolume(_) => "no-volume",
            Self::Installing(_) => "installing",
            Self::ForeignVolume(_) => "foreign-volume",
            Self::Misconfigured(_) => "misconfigured",
            Self::NoPeerRelation => "no-peer-relation",
            Self::Electing { .. } => "electing",
            Self::WaitingForLeader { .. } => "waiting-for-leader",
            Self::DataBeforeFormation { .. } => "data-before-formation",
            Self::NoCredentials(_) => "no-credentials",
            Self::FormationRefused(_) => "formation-refused",
            Self::Founding => "founding",
            Self::FoundingInterrupted(_) => "founding-interrupted",
            Self::WaitingForFounder(_) => "waiting-for-founder",
            Self::NoMemberLeft(_) => "no-member-left",
            Self::Joining => "joining",
            Self::CatchingUp => "catching-up",
            Self::Synced { .. } => "synced",
            Self::Donor { .. } => "donor",
            Self::NonPrimary { .. } => "non-primary",
            Self::Disconnected => "disconnected",
            Self::Starting { .. } => "starting",
            Self::AnsweringCall { .. } => "answering-call",
            Self::Restoring { .. } => "restoring",
            Self::Recovering => "recovering",
            Self::WaitingForRecovery(_) => "waiting-for-recovery",
            Self::MembersGone { .. } => "members-gone",
            Self::NoUsableCopy => "no-usable-copy",
            Self::TwoHistories { .. } => "two-histories",
            Self::LeftBehind { .. } => "left-behind",
            Self::WrongHistory { .. } => "wrong-history",
            Self::Silent(_) => "silent",
            Self::Leaving => "leaving",
        }
    }

    /// Whether a leader in this state may commit anything for the application.
    pub(super) fn permits_leading(&self) -> bool {
        match self {
            Self::NoVolume(_)
            | Self::Installing(_)
            | Self::ForeignVolume(_)
            | Self::Misconfigured(_)
            | Self::NoPeerRelation
            | Self::Leaving => false,
            Self::Electing { .. }
            | Self::WaitingForLeader { .. }
            | Self::DataBeforeFormation { .. }
            | Self::NoCredentials(_)
            | Self::FormationRefused(_)
            | Self::Founding
            | Self::FoundingInterrupted(_)
            | Self::WaitingForFounder(_)
            | Self::NoMemberLeft(_)
            | Self::Joining
            | Self::CatchingUp
            | Self::Synced { .. }
            | Self::Donor { .. }
            | Self::NonPrimary { .. }
            | Self::Disconnected
            | Self::Starting { .. }
            | Self::AnsweringCall { .. }
            | Self::Restoring { .. }
            | Self::Recovering
            | Self::WaitingForRecovery(_)
            | Self::MembersGone { .. }
            | Self::NoUsableCopy
            | Self::TwoHistories { .. }
            | Self::LeftBehind { .. }
            | Self::WrongHistory { .. }
            | Self::Silent(_) => true,
        }
    }

    /// What the operator reads on the unit.
    pub fn status(&self) -> Status {
        let (level, message) = match self {
            Self::NoVolume(why) => (Level::Waiting, format!("waiting for the data volume: {why}")),
            Self::Installing(why) => (Level::Maintenance, format!("installing MariaDB: {why}")),
            Self::ForeignVolume(why) => {
                (Level::Blocked, format!("data volume is not ours: {why}; remove this unit, or attach an empty volume"))
            }
            Self::Misconfigured(bad) => (
                Level::Blocked,
                bad.iter().map(|b| format!("{}: {}", b.option, b.problem)).collect::<Vec<_>>().join("; "),
            ),
            Self::NoPeerRelation => (Level::Waiting, "waiting for the peer relation".to_owned()),
            Self::Electing { present, needed, missing } if missing.is_empty() => (
                Level::Waiting,
                format!(
                    "{present} of {needed} units to form a cluster: add {} more with juju add-unit, or lower min-cluster-size",
                    needed.saturating_sub(*present)
                ),
            ),
            Self::Electing { present, needed, missing } => (
                Level::Waiting,
                format!("{present} of {needed} units ready to form a cluster, waiting for {}", list(missing)),
            ),
            Self::WaitingForLeader { present } => (
                Level::Waiting,
                format!("{present} units ready to form a cluster, waiting for the leader's permission"),
            ),
            Self::DataBeforeFormation { unit, what } => (
                Level::Blocked,
                format!("cannot form a new cluster: {unit} brings {what}; remove that unit or give it an empty volume"),
            ),
            Self::NoCredentials(why) => (Level::Waiting, format!("waiting for the cluster's credentials: {why}")),
            Self::FormationRefused(why) => (Level::Waiting, format!("does not take part in the formation: {why}")),
            Self::Founding => (Level::Maintenance, "founding the cluster".to_owned()),
            Self::FoundingInterrupted(epoch) => (
                Level::Waiting,
                format!("founding was interrupted, waiting for the leader's next permission after {epoch}"),
            ),
            Self::WaitingForFounder(founder) => (Level::Waiting, format!("waiting for {founder} to found the cluster")),
            Self::NoMemberLeft(uuid) => (
                Level::Blocked,
                format!(
                    "every unit that held history {uuid} was removed: bring its volume back with juju add-unit --attach-storage, or deploy a new application"
                ),
            ),
            Self::Joining => (Level::Maintenance, "joining the cluster".to_owned()),
            Self::CatchingUp => (Level::Maintenance, "member, catching up with the cluster".to_owned()),
            Self::Synced { size, planned, missing, aside } => {
                let mut message = format!("Synced, {size} of {planned} members");
                if !missing.is_empty() && *size as usize + missing.len() > *planned {
                    // In the view already, or not rid of its old word yet: a count with a contradiction helps nobody.
                    message += &format!("; not Synced yet: {}", list(missing));
                } else if !missing.is_empty() {
                    message += &format!(", waiting for {}", list(missing));
                }
                if !aside.is_empty() {
                    message += &format!("; data that was replaced is kept in {}", aside.join(", "));
                }
                (Level::Active, message)
            }
            Self::Donor { size } => {
                (Level::Active, format!("Donor, {size} members: copies its data, for a joining member or a backup"))
            }
            Self::NonPrimary { size, missing, stalled } => (
                Level::Blocked,
                format!(
                    "no majority ({size} members in sight), refuses writes; {}{}",
                    if missing.is_empty() {
                        "looking for the others".to_owned()
                    } else {
                        format!("bring back {} or the network to them", list(missing))
                    },
                    if *stalled { OR_FORCE } else { "" },
                ),
            ),
            Self::Disconnected => (Level::Maintenance, "Galera has given up in this server, restarting it".to_owned()),
            Self::Starting { missing } if missing.is_empty() => {
                (Level::Maintenance, "starting the server and looking for the cluster".to_owned())
            }
            Self::Starting { missing } => (
                Level::Waiting,
                format!(
                    "starting the server and looking for {}; start that machine if it is off{OR_FORCE}",
                    list(missing)
                ),
            ),
            Self::AnsweringCall { missing, forced: true } if missing.is_empty() => (
                Level::Maintenance,
                format!(
                    "restart by force: position reported, those left behind have {TIME_TO_OBJECT_S} s to say that they serve"
                ),
            ),
            Self::AnsweringCall { missing, .. } if missing.is_empty() => (
                Level::Maintenance,
                "all members stopped, position reported, waiting for the leader's choice".to_owned(),
            ),
            Self::AnsweringCall { missing, forced: true } => {
                (Level::Waiting, format!("restart by force, waiting for the position of {}", list(missing)))
            }
            Self::AnsweringCall { missing, forced: false } => (
                Level::Waiting,
                format!(
                    "all members stopped, waiting for the position of {}; start that machine{OR_FORCE}",
                    list(missing)
                ),
            ),
            Self::Restoring { by, chosen: true, .. } => {
                (Level::Maintenance, format!("restoring: all members stopped, {by} begins with the restored data"))
            }
            Self::Restoring { missing, .. } if missing.is_empty() => {
                (Level::Maintenance, "restoring: stopped, waiting for the leader's permission to begin".to_owned())
            }
            Self::Restoring { missing, .. } => (
                Level::Waiting,
                format!(
                    "restoring: stopped, waiting for {} to stop; start that machine, or remove it with juju remove-unit",
                    list(missing)
                ),
            ),
            Self::Recovering => {
                (Level::Maintenance, "all members stopped, restarting the cluster from here".to_owned())
            }
            Self::WaitingForRecovery(Some(unit)) => {
                (Level::Waiting, format!("all members stopped, waiting for {unit} to restart the cluster"))
            }
            Self::WaitingForRecovery(None) => {
                (Level::Waiting, "all members stopped, waiting for the cluster to be restarted".to_owned())
            }
            Self::MembersGone { missing, seqno } => (
                Level::Blocked,
                format!(
                    "all members stopped; {} may hold writes after {seqno}, the newest here: bring back its machine or volume{OR_FORCE}",
                    missing.join(", ")
                ),
            ),
            Self::NoUsableCopy => (
                Level::Blocked,
                "all members stopped, and none has a copy that can be used: bring back a volume, or let them count once more \
                 what they have (bootstrap-cluster force=true on the leader)"
                    .to_owned(),
            ),
            Self::TwoHistories { unit, here, expected } => (
                Level::Blocked,
                format!(
                    "all members stopped, and {unit} holds history {here} where the cluster is {expected}: save what you need from it, then remove it"
                ),
            ),
            Self::LeftBehind { branch, restored, serves: true, .. } => (
                Level::Maintenance,
                format!("{}: its data is moved aside and it joins anew", went_on(*branch, *restored)),
            ),
            Self::LeftBehind { branch, restored, others, .. } if others.is_empty() => (
                Level::Blocked,
                format!(
                    "{}, and nobody who went on is left: bring back a machine or volume{OR_FORCE}",
                    went_on(*branch, *restored)
                ),
            ),
            Self::LeftBehind { branch, restored, others, .. } => (
                Level::Waiting,
                format!("{}, waiting for {} to serve{OR_FORCE}", went_on(*branch, *restored), list(others)),
            ),
            Self::WrongHistory { here, expected } => (
                Level::Blocked,
                format!(
                    "holds history {here} where the cluster is {expected}; kept untouched: save what you need, then remove this unit"
                ),
            ),
            Self::Silent(why) => (Level::Maintenance, format!("server does not answer: {why}")),
            Self::Leaving => (Level::Maintenance, "left the cluster, data kept".to_owned()),
        };
        Status { level, message }
    }
}

/// What a person can do when those who are waited for do not come back.
const OR_FORCE: &str = "; if lost for good, run bootstrap-cluster on the leader";

/// Without this unit's copy.
fn went_on(branch: Epoch, restored: bool) -> String {
    if restored {
        format!("the cluster goes on with restored data (branch {branch})")
    } else {
        format!("the cluster was restarted by force without this unit (branch {branch})")
    }
}

/// Units as a reader lists them.
fn list(units: &[Unit]) -> String {
    units.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
