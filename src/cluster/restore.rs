//! Going back to data of an earlier time: a backup, or what the restore before has put aside. One unit brings the data back
//! beside its own while everybody serves. Only then all are called to stop; that unit begins a branch with the restored
//! data, under a history of its own, and the others join it like any branch that left them behind. Until then nothing has
//! changed, and whatever happens the cluster goes on as it was.

use std::collections::BTreeSet;
use std::fmt;

use super::decision::{Commit, Decision, Step};
use super::identity::{ClusterUuid, Epoch, Position, Unit};
use super::observation::{Cause, Event, History, JournalEntry, Observation, Recovery};
use super::recovery::{branch, members, next_epoch};
use super::report::{DbInit, Report};
use super::state::State;

/// A person's decision to go back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Restore {
    /// Its number; every permission that comes of it is higher.
    pub epoch: Epoch,
    /// What takes the place of the data.
    pub to: Source,
    /// Who brings it back.
    pub unit: Unit,
}

/// What takes the place of the data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A backup, by its id.
    Backup(String),
    /// What the restore that began this branch has put aside.
    Before(Epoch),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backup(id) => write!(f, "backup {id}"),
            Self::Before(branch) => write!(f, "the data from before restore {branch}"),
        }
    }
}

/// How far a unit is with bringing data back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Brought {
    /// The decision that it is for.
    pub epoch: Epoch,
    /// What came of it.
    pub result: Bringing,
}

/// What came of bringing data back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bringing {
    /// At it.
    Working,
    /// Was at it, and was stopped by whatever it was: it has to begin again.
    Interrupted,
    /// It lies beside the data directory, ready to be started as this.
    Ready(Position),
    /// It could not be done; everything is as it was.
    Failed(String),
}

/// What became of the last decision to go back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ended {
    /// The decision.
    pub epoch: Epoch,
    /// What was to take the place of the data.
    pub to: Source,
    /// Why it was not done; `None` when it was.
    pub problem: Option<String>,
    /// When it ended, in seconds since 1970.
    pub at_s: u64,
}

/// What a restore has put aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replaced {
    /// The branch that took its place.
    pub branch: Epoch,
    /// The unit that has the newest of it.
    pub unit: Unit,
    /// How far that goes.
    pub position: Position,
    /// When it was put aside, in seconds since 1970.
    pub since_s: u64,
}

/// What this unit does beside whatever else it does: bring back what was asked of it, and forget what nobody asks for.
pub(super) fn beside(o: &Observation) -> Option<Step> {
    let entry = o.node.journal.entry().filter(|_| o.juju.event == Event::Ordinary)?;
    // Begun, it is on a branch of its own. A restart behind an outage begins none, and the decision still stands.
    let asked = o.juju.app.restore.as_ref().filter(|r| r.unit == o.me && entry.branch < r.epoch);
    match (&o.node.brought, asked) {
        (Some(brought), asked) if asked.is_none_or(|restore| restore.epoch != brought.epoch) => {
            Some(Step::ForgetBrought(brought.epoch))
        }
        (brought, Some(restore))
            if entry.db_init == DbInit::Initialised
                && brought.as_ref().is_none_or(|brought| brought.result == Bringing::Interrupted) =>
        {
            Some(Step::BringBack { epoch: restore.epoch, to: restore.to.clone() })
        }
        (Some(_) | None, _) => confirmed(o, entry),
    }
}

/// Data that was kept for a way back, which a person does not need any more.
fn confirmed(o: &Observation, entry: &JournalEntry) -> Option<Step> {
    let history = o.juju.app.history.as_ref().filter(|history| history.branch == entry.branch)?;
    let kept = |branch: &&Epoch| **branch <= history.confirmed && o.node.keeps_aside(**branch);
    history.restores.iter().find(kept).map(|branch| Step::DropAside(*branch))
}

/// This unit's part in the call of a restore; `None` when it has none.
pub(super) fn decide(o: &Observation, entry: &JournalEntry, recovery: &Recovery) -> Option<Decision> {
    // Begun by this unit: from here on it is a member like any other.
    if entry.branch >= recovery.epoch || !recovery.members.contains(&o.me) {
        return None;
    }
    // Called off, and not everybody has heard yet.
    let restore = o.juju.app.restore.as_ref().filter(|restore| restore.epoch < recovery.epoch)?;
    let answered = o.node.answer.as_ref().is_some_and(|answer| answer.epoch == recovery.epoch);
    let state = |chosen| State::Restoring { by: restore.unit.clone(), missing: unanswered(o, recovery), chosen };
    match &recovery.chosen {
        None if !answered => Some(Decision::act(state(false), vec![Step::StopAndAnswer(recovery.epoch)])),
        None => Some(Decision::wait(state(false))),
        Some((chosen, position)) if *chosen == o.me => {
            let ready = Some(&Bringing::Ready(position.clone()));
            let brought = o.node.brought.as_ref().filter(|brought| brought.epoch == restore.epoch);
            if !answered || entry.used_epoch >= recovery.epoch || brought.map(|b| &b.result) != ready {
                return Some(Decision::wait(state(true)));
            }
            let bootstrap = Step::Bootstrap {
                epoch: recovery.epoch,
                from: Some(position.clone()),
                branch: recovery.epoch,
                ask: o.other_addresses(),
                put: Some(restore.epoch),
            };
            Some(Decision::act(state(true), vec![Step::Configure, bootstrap]))
        }
        Some(_) => Some(Decision::wait(state(true))),
    }
}

/// Whether this unit serves restored data of which the leader has not written down yet that it is the application's.
pub(super) fn has_just_begun(o: &Observation) -> bool {
    let known = o.juju.app.history.as_ref().map_or(Epoch::default(), |history| history.branch);
    let here = o.node.journal.entry().map_or(Epoch::default(), |entry| entry.branch);
    let open = o.juju.app.recovery.as_ref();
    here > known && open.is_some_and(|recovery| recovery.cause == Cause::Restore && recovery.epoch == here)
}

/// Members that have not said that they have stopped.
fn unanswered(o: &Observation, recovery: &Recovery) -> Vec<Unit> {
    let answered = |report: &Report| report.answer.as_ref().is_some_and(|answer| answer.epoch == recovery.epoch);
    let missing = |unit: &&Unit| **unit != o.me && !o.report_of(unit).is_some_and(|report| answered(&report));
    recovery.members.iter().filter(missing).cloned().collect()
}

/// What the leader commits about an open decision to go back, as long as nobody is called.
pub(super) fn commits(o: &Observation, planned: &BTreeSet<Unit>, history: &ClusterUuid) -> Vec<Commit> {
    let Some(restore) = &o.juju.app.restore else {
        return Vec::new();
    };
    if branch(o) > restore.epoch {
        return vec![end(o, restore, None)];
    }
    if let Some(problem) = hopeless(o, restore, planned) {
        return vec![end(o, restore, Some(problem))];
    }
    let ready = o.report_of(&restore.unit).and_then(|report| report.brought);
    let ready = ready.is_some_and(|b| b.epoch == restore.epoch && matches!(b.result, Bringing::Ready(_)));
    if o.juju.app.recovery.is_some() || !ready || !o.strangers().is_empty() {
        return Vec::new();
    }
    vec![call(o, planned, history)]
}

/// Why nothing can come of it any more.
fn hopeless(o: &Observation, restore: &Restore, planned: &BTreeSet<Unit>) -> Option<String> {
    if !planned.contains(&restore.unit) {
        return Some(format!("{} was removed", restore.unit));
    }
    match o.report_of(&restore.unit)?.brought.filter(|brought| brought.epoch == restore.epoch)?.result {
        Bringing::Failed(why) => Some(why),
        Bringing::Working | Bringing::Interrupted | Bringing::Ready(_) => None,
    }
}

fn end(o: &Observation, restore: &Restore, problem: Option<String>) -> Commit {
    Commit::EndRestore(Ended { epoch: restore.epoch, to: restore.to.clone(), problem, at_s: o.juju.now_s })
}

/// Everybody with data stops: whoever went on would serve what is given up.
fn call(o: &Observation, planned: &BTreeSet<Unit>, history: &ClusterUuid) -> Commit {
    let members = members(o, history).into_keys().filter(|unit| planned.contains(unit)).collect();
    let from = Epoch::default();
    Commit::Recovery(Recovery {
        epoch: next_epoch(o),
        members,
        chosen: None,
        cause: Cause::Restore,
        from,
        before: None,
    })
}

/// What becomes of the call.
pub(super) fn next(
    o: &Observation,
    recovery: &Recovery,
    planned: &BTreeSet<Unit>,
    history: &ClusterUuid,
) -> Vec<Commit> {
    let Some(restore) = o.juju.app.restore.as_ref().filter(|restore| restore.epoch < recovery.epoch) else {
        return vec![Commit::CloseRecovery];
    };
    // It has begun: the others hear of the branch, and join it.
    if branch(o) >= recovery.epoch {
        return vec![Commit::CloseRecovery, end(o, restore, None)];
    }
    if let Some(problem) = hopeless(o, restore, planned) {
        return vec![Commit::CloseRecovery, end(o, restore, Some(problem))];
    }
    let report = o.report_of(&restore.unit);
    let ready = report.as_ref().and_then(|report| report.brought.clone()).filter(|b| b.epoch == restore.epoch);
    // The disk was lost on which it lay, or the answer withdrawn: nothing was begun. When everybody serves again it is brought
    // back once more.
    let unused = report.as_ref().is_some_and(|report| report.used_epoch < recovery.epoch);
    let answered = report.as_ref().and_then(|r| r.answer.as_ref()).is_some_and(|a| a.epoch == recovery.epoch);
    if unused && (ready.is_none() || (recovery.chosen.is_some() && !answered)) {
        return vec![Commit::CloseRecovery];
    }
    // Whoever became a member meanwhile serves on by itself when the others have stopped.
    let all: BTreeSet<Unit> = members(o, history).into_keys().filter(|unit| planned.contains(unit)).collect();
    if unused && !all.is_subset(&recovery.members) {
        return vec![call(o, planned, history)];
    }
    if recovery.chosen.is_some() || !o.strangers().is_empty() {
        return Vec::new();
    }
    let stopped = |unit: &Unit| {
        let answer = o.report_of(unit)?.answer.filter(|answer| answer.epoch == recovery.epoch)?;
        Some((answer.position, unit.clone()))
    };
    let answers: Option<Vec<_>> = recovery.members.iter().filter(|unit| planned.contains(unit)).map(stopped).collect();
    let (Some(answers), Some(Bringing::Ready(position))) = (answers, ready.map(|brought| brought.result)) else {
        return Vec::new();
    };
    // One that was cut off while it put the restored data in its place has no other any more.
    let newest = answers.into_iter().filter_map(|(position, unit)| Some((position?, unit)));
    let newest = newest.filter(|(position, _)| position.uuid == *history);
    let before = newest.max_by_key(|(position, _)| position.seqno).map(|(position, unit)| (unit, position));
    let chosen = Some((restore.unit.clone(), position));
    vec![Commit::Recovery(Recovery { chosen, before, ..recovery.clone() })]
}

/// The history that a restore has begun.
pub(super) fn begun(o: &Observation, recovery: &Recovery, before: &History) -> Option<History> {
    let (_, position) = recovery.chosen.as_ref()?;
    let mut former = before.former.clone();
    former.insert(before.uuid.clone());
    former.remove(&position.uuid);
    let mut restores = before.restores.clone();
    restores.insert(recovery.epoch);
    let replaced = recovery.before.clone();
    Some(History {
        uuid: position.uuid.clone(),
        epoch: recovery.epoch,
        branch: recovery.epoch,
        kept: BTreeSet::new(),
        begins: before.begins.clone(),
        former,
        restores,
        replaced: replaced.map(|(unit, position)| Replaced {
            branch: recovery.epoch,
            unit,
            position,
            since_s: o.juju.now_s,
        }),
        confirmed: before.confirmed,
    })
}

/// What was put aside is not needed any more: a person has said so, or it was kept for as long as was asked.
pub fn confirm(history: &History) -> Option<Commit> {
    history.replaced.as_ref()?;
    Some(Commit::History(History { replaced: None, confirmed: history.branch, ..history.clone() }))
}

/// A failed decision is shown for so long.
const SHOWN_FAILED_S: u64 = 86_400;

/// What has come to nothing is shown for a day, or until the next decision.
pub(super) fn shown_long_enough(o: &Observation) -> Option<Commit> {
    let ended = o.juju.app.ended.as_ref().filter(|ended| ended.problem.is_some())?;
    (o.juju.now_s >= ended.at_s.saturating_add(SHOWN_FAILED_S)).then_some(Commit::ForgetEnded)
}

/// The leader lets go of what has been kept for long enough.
pub(super) fn kept_long_enough(o: &Observation) -> Option<Commit> {
    let days = o.juju.settings.as_ref().ok()?.restore_keep_days?;
    let history = o.juju.app.history.as_ref()?;
    let since_s = history.replaced.as_ref()?.since_s;
    let idle = o.juju.app.restore.is_none() && o.juju.app.recovery.is_none();
    let due = o.juju.now_s >= since_s.saturating_add(u64::from(days) * 86_400);
    if idle && due { confirm(history) } else { None }
}

/// Why a person's decision to go back is not taken. The text says what they can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRestore {
    /// The application owns no history.
    NotFormed,
    /// The cluster restarts, by itself or by force.
    Recovers,
    /// Another decision is being carried out.
    UnderWay(Restore),
    /// Nothing is kept that one could go back to.
    NothingBefore,
    /// The unit is not a member.
    NoMember(Unit),
}

/// The decision, to be written down by the leader.
///
/// # Errors
/// Nothing is replaced while something else is under way.
pub fn restore(o: &Observation, to: Source, unit: &Unit) -> Result<Restore, NoRestore> {
    let history = o.juju.app.history.as_ref().ok_or(NoRestore::NotFormed)?;
    if let Some(open) = &o.juju.app.restore {
        return Err(NoRestore::UnderWay(open.clone()));
    }
    if o.juju.app.recovery.is_some() {
        return Err(NoRestore::Recovers);
    }
    let on_it = |report: Report| report.db_init == DbInit::Initialised && report.branch == history.branch;
    if !o.report_of(unit).is_some_and(on_it) {
        return Err(NoRestore::NoMember(unit.clone()));
    }
    Ok(Restore { epoch: next_epoch(o), to, unit: unit.clone() })
}

/// The decision to take the last restore back.
///
/// # Errors
/// When nothing was kept, or something else is under way.
pub fn undo(o: &Observation) -> Result<Restore, NoRestore> {
    let history = o.juju.app.history.as_ref().ok_or(NoRestore::NotFormed)?;
    let replaced = history.replaced.as_ref().ok_or(NoRestore::NothingBefore)?;
    restore(o, Source::Before(replaced.branch), &replaced.unit)
}

/// Takes a decision back with which nobody was permitted to begin yet: everything is as it was. Nothing when there is none,
/// or when it is too late.
pub fn call_off(o: &Observation) -> Option<Vec<Commit>> {
    let restore = o.juju.app.restore.as_ref()?;
    let call = o.juju.app.recovery.as_ref().filter(|recovery| recovery.cause == Cause::Restore);
    if call.is_some_and(|recovery| recovery.chosen.is_some()) || branch(o) > restore.epoch {
        return None;
    }
    let ended = end(o, restore, Some("it was called off".to_owned()));
    Some(call.map(|_| Commit::CloseRecovery).into_iter().chain([ended]).collect())
}

impl fmt::Display for NoRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFormed => f.write_str("no cluster has formed yet: restore when juju status shows it active"),
            Self::Recovers => f.write_str(
                "the cluster is being restarted after a full stop: wait until juju status shows it active, then try again",
            ),
            Self::UnderWay(open) => write!(
                f,
                "a restore of {} by {} is under way (number {}): follow it in juju status",
                open.to, open.unit, open.epoch
            ),
            Self::NothingBefore => {
                f.write_str("there is nothing to go back to: no restore was made, or what was before it was let go")
            }
            Self::NoMember(unit) => write!(f, "{unit} is no member of the cluster now: bring it back first"),
        }
    }
}

impl std::error::Error for NoRestore {}
