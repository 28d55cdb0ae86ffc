//! What a pass decides: steps on this machine, commitments of the leader, a state and what to tell the operator.

use std::fmt;
use std::net::IpAddr;

use super::identity::{ClusterUuid, Epoch, Position};
use super::observation::{Cause, Formation, History, Recovery};
use super::report::DbInit;
use super::restore::{Ended, Restore, Source};
use super::schedule::{Order, Plan};
use super::state::State;
use super::turn::Turn;

/// The outcome of deciding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// What to do on this machine, in order; the first that does not succeed ends the pass.
    pub steps: Vec<Step>,
    /// What the leader writes in the application databag; becomes true for everybody only when the hook succeeds.
    pub commits: Vec<Commit>,
    /// This unit's state.
    pub state: State,
    /// When nothing happens, look again after so many seconds.
    pub look_again_s: Option<u32>,
}

impl Decision {
    /// A decision to do nothing, for a reason that the state names.
    pub(super) fn wait(state: State) -> Self {
        Self { steps: Vec::new(), commits: Vec::new(), state, look_again_s: Some(30) }
    }

    /// A decision to do something.
    pub(super) fn act(state: State, steps: Vec<Step>) -> Self {
        Self { steps, commits: Vec::new(), state, look_again_s: Some(5) }
    }
}

/// One thing to do on this machine. Each is idempotent, because Juju runs a killed hook again, and each carries what
/// must still be true when it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Install the server's packages, the node agent and their service files.
    Install,
    /// Write in the journal that this volume was empty when we got it. A server that was permitted to run on another
    /// one is stopped first.
    AdoptVolume,
    /// Bring the server's files up to date: members' addresses, memory, credentials. Restarts nothing.
    Configure,
    /// Raise `db-init` in the journal.
    Advance(DbInit),
    /// Start the server as the first of a new or recovered cluster. Uses up the permission.
    Bootstrap {
        /// The permission.
        epoch: Epoch,
        /// Where the data must stand; `None` when there must be none.
        from: Option<Position>,
        /// The branch of the history that goes on, or begins, here.
        branch: Epoch,
        /// Who is asked first: one of them that is in a primary component cancels the permission.
        ask: Vec<IpAddr>,
        /// The decision to go back whose data is put in the place of what is here first.
        put: Option<Epoch>,
    },
    /// First-time setup: accounts, time zones, no leftovers.
    SetUpAccounts,
    /// Give the charm's accounts in restored data the cluster's passwords.
    RenewAccounts,
    /// Write in the journal which history this volume is to receive: whoever told us may be gone when it is there.
    Expect(ClusterUuid),
    /// Start the server as a member of the cluster that the others form.
    Join,
    /// Write in the journal that this volume is a copy of this history.
    MarkInitialised(ClusterUuid),
    /// Make the server forget passwords that were replaced.
    SettleCredentials {
        /// The generation that remains.
        generation: u32,
    },
    /// Stop the server cleanly and keep it stopped.
    Stop,
    /// With the server stopped, find out how far the data goes and write down the answer to this call.
    AnswerCall(Epoch),
    /// Stop a server that serves, because a person goes back to data of an earlier time, and write down the answer.
    StopAndAnswer(Epoch),
    /// Begin to bring data back beside what is here, or go on with it. Takes long, and is not waited for.
    BringBack {
        /// The decision.
        epoch: Epoch,
        /// What is brought.
        to: Source,
    },
    /// Remove data that was brought back and that nobody asks for.
    ForgetBrought(Epoch),
    /// Delete what the restore that began this branch has put aside.
    DropAside(Epoch),
    /// Begin to make a backup that was planned. Takes long, and is not waited for.
    BackUp(Order),
    /// Remove backups of this machine's archive that are no longer to be kept, as of this order. Not waited for either.
    ExpireBackups(u32),
    /// Restart the server in this unit's turn, so that it takes what waits for a start. Uses up the turn; looks once more
    /// whether all others serve.
    Restart(u32),
    /// Nothing waits for a restart any more: the turn is used without one.
    PassTurn(u32),
    /// Write in the journal that this volume follows a branch of the history. A server that still runs as a member of the
    /// one before is stopped first.
    TakeBranch(Epoch),
    /// The cluster went on without this copy: stop the server, move the data aside, follow the branch.
    MoveAside(Epoch),
    /// Stop server and agent for good: the unit goes, its data stays.
    Leave,
}

impl Step {
    /// Whether clients or other members notice. At most one such step in a pass.
    pub fn disruptive(&self) -> bool {
        match self {
            Self::Bootstrap { .. }
            | Self::Join
            | Self::Stop
            | Self::AnswerCall(_)
            | Self::StopAndAnswer(_)
            | Self::TakeBranch(_)
            | Self::MoveAside(_)
            | Self::Restart(_)
            | Self::Leave => true,
            Self::Install
            | Self::AdoptVolume
            | Self::Configure
            | Self::Advance(_)
            | Self::SetUpAccounts
            | Self::RenewAccounts
            | Self::Expect(_)
            | Self::MarkInitialised(_)
            | Self::BringBack { .. }
            | Self::ForgetBrought(_)
            | Self::DropAside(_)
            | Self::BackUp(_)
            | Self::ExpireBackups(_)
            | Self::PassTurn(_)
            | Self::SettleCredentials { .. } => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install => f.write_str("install"),
            Self::AdoptVolume => f.write_str("adopt the empty volume"),
            Self::Configure => f.write_str("configure"),
            Self::Advance(db_init) => write!(f, "db-init={db_init}"),
            Self::Bootstrap { epoch, from: Some(position), put: Some(_), .. } => {
                write!(f, "put the restored data in place, bootstrap from seqno {} (epoch {epoch})", position.seqno)
            }
            Self::Bootstrap { epoch, from: None, .. } => write!(f, "bootstrap (epoch {epoch})"),
            Self::Bootstrap { epoch, from: Some(position), .. } => {
                write!(f, "bootstrap from seqno {} (epoch {epoch})", position.seqno)
            }
            Self::RenewAccounts => f.write_str("renew accounts"),
            Self::SetUpAccounts => f.write_str("set up accounts"),
            Self::Expect(_) => f.write_str("expect this history"),
            Self::Join => f.write_str("join"),
            Self::MarkInitialised(_) => f.write_str("db-init=3"),
            Self::SettleCredentials { generation } => write!(f, "settle credentials {generation}"),
            Self::Stop => f.write_str("stop"),
            Self::AnswerCall(epoch) => write!(f, "answer call (epoch {epoch})"),
            Self::StopAndAnswer(epoch) => write!(f, "stop for a restore and answer (epoch {epoch})"),
            Self::BringBack { epoch, to } => write!(f, "bring back {to} (epoch {epoch})"),
            Self::ForgetBrought(epoch) => write!(f, "forget what was brought back (epoch {epoch})"),
            Self::DropAside(branch) => write!(f, "delete what restore {branch} has put aside"),
            Self::BackUp(order) => write!(f, "begin {order}"),
            Self::ExpireBackups(number) => write!(f, "remove backups that are no longer kept (order {number})"),
            Self::Restart(number) => write!(f, "restart (turn {number})"),
            Self::PassTurn(number) => write!(f, "pass turn {number}"),
            Self::TakeBranch(branch) => write!(f, "follow branch {branch}"),
            Self::MoveAside(branch) => write!(f, "move the data aside, follow branch {branch}"),
            Self::Leave => f.write_str("leave"),
        }
    }
}

/// What the leader commits. Carried by the hook's own transaction: if leadership was lost meanwhile, nothing of it
/// ever becomes visible.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Commit {
    /// Make the credentials, if there are none.
    Credentials,
    /// Permit a cluster to form.
    Formation(Formation),
    /// Write down which history this application owns.
    History(History),
    /// Open a recovery, or name the chosen unit in the open one.
    Recovery(Recovery),
    /// The open recovery is over, or was never needed.
    CloseRecovery,
    /// Go back to data of an earlier time.
    Restore(Restore),
    /// The decision to go back was carried out, or cannot be.
    EndRestore(Ended),
    /// The decision to go back has come to nothing long enough ago.
    ForgetEnded,
    /// What is remembered of planned backups.
    Plan(Plan),
    /// Whose turn it is to restart its server.
    Turn(Turn),
    /// Older passwords are no longer accepted.
    CredentialsSettled {
        /// Up to this generation.
        generation: u32,
    },
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials => f.write_str("create credentials"),
            Self::Formation(formation) => write!(
                f,
                "permit formation {} of {} by {}",
                formation.epoch,
                formation.members.keys().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                formation.founder
            ),
            Self::History(history) if history.branch > Epoch::default() => {
                write!(f, "own history {} on branch {}", history.uuid, history.branch)
            }
            Self::History(history) => write!(f, "own history {} (epoch {})", history.uuid, history.epoch),
            Self::Recovery(Recovery { epoch, chosen: None, cause: Cause::Restore, .. }) => {
                write!(f, "call everybody to stop for the restore (epoch {epoch})")
            }
            Self::Recovery(Recovery { epoch, chosen: None, cause: Cause::Force, .. }) => {
                write!(f, "call for positions, by force (epoch {epoch})")
            }
            Self::Recovery(Recovery { epoch, chosen: None, .. }) => write!(f, "call for positions (epoch {epoch})"),
            Self::Recovery(Recovery { epoch, chosen: Some((unit, position)), cause: Cause::Restore, .. }) => {
                write!(f, "permit {unit} to begin with the restored data at seqno {} (epoch {epoch})", position.seqno)
            }
            Self::Recovery(Recovery { epoch, chosen: Some((unit, position)), .. }) => {
                write!(f, "permit {unit} to recover from seqno {} (epoch {epoch})", position.seqno)
            }
            Self::CloseRecovery => f.write_str("close the recovery"),
            Self::Restore(restore) => {
                write!(f, "go back to {} by {} (epoch {})", restore.to, restore.unit, restore.epoch)
            }
            Self::EndRestore(Ended { to, problem: None, .. }) => write!(f, "{to} is restored"),
            Self::EndRestore(Ended { to, problem: Some(why), .. }) => write!(f, "{to} is not restored: {why}"),
            Self::ForgetEnded => f.write_str("forget the restore that came to nothing"),
            Self::Plan(plan) if !plan.is_on() => f.write_str("no backups are planned any more"),
            Self::Plan(Plan { order: Some(order), .. }) => write!(f, "order a planned {order}"),
            Self::Plan(Plan { last: Some(ran), .. }) => match (&ran.made.id, &ran.made.problem) {
                (Some(id), None) => write!(f, "planned backup {} is made: {id}", ran.made.number),
                (_, Some(why)) => write!(f, "planned backup {} failed on {}: {why}", ran.made.number, ran.unit),
                (None, None) => write!(f, "planned backup {} has come to nothing", ran.made.number),
            },
            Self::Plan(_) => f.write_str("backups are planned from now on"),
            Self::Turn(Turn { number, unit: Some(unit) }) => write!(f, "give turn {number} to {unit}"),
            Self::Turn(Turn { number, unit: None }) => write!(f, "turn {number} is over"),
            Self::CredentialsSettled { generation } => write!(f, "credentials {generation} are settled"),
        }
    }
}

/// How a status reads to Juju.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Serves.
    Active,
    /// Works on something.
    Maintenance,
    /// Waits for another unit.
    Waiting,
    /// Needs a person.
    Blocked,
}

/// A status with its message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// Juju's word for it.
    pub level: Level,
    /// Names state, size, who is waited for and the remedy.
    pub message: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Active => "active",
            Level::Maintenance => "maintenance",
            Level::Waiting => "waiting",
            Level::Blocked => "blocked",
        };
        write!(f, "{level}: {}", self.message)
    }
}
