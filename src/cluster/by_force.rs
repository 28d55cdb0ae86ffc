//! Restart by force: a person's decision that those who do not answer are waited for no longer. What it opens, and when it
//! is refused; what becomes of the call is told in [`super::recovery`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::branches::{Place, stands_in_the_way};
use super::identity::{Epoch, Unit};
use super::observation::{Cause, Observation, Recovery};
use super::recovery::{beginning, begins, branch, next_epoch};
use super::report::{DbInit, Holds, Report};

/// What comes back from a unit that is asked, now, how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is part of a primary component, on this branch, if it can tell.
    Primary(Option<Epoch>),
    /// It answers, and is part of none.
    Out,
    /// Something runs there, and does not say what.
    Unclear(String),
    /// Nobody is there.
    Silence,
}

/// Why a person's decision is not taken. The text says what they can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The application owns no history.
    NotFormed,
    /// This one is part of a primary component.
    Lives(Unit),
    /// This one cannot be asked, and is not off.
    Unclear(Unit, String),
    /// This one's databag still says that it is part of a primary component.
    NotTold(Unit),
    /// This one may be restarting the cluster, and cannot be asked.
    MayRestart(Unit),
    /// The leader's own way back has not had its time.
    TooSoon,
    /// Nobody who answers was ever a member.
    NoMember,
    /// The same decision is being carried out.
    UnderWay(Box<Recovery>),
    /// Everybody has stopped for a restore.
    Restores,
}

/// The call that a person's decision opens: to those who answer and were ever members; nobody else is waited for.
///
/// # Errors
/// Nothing is restarted beside a cluster that lives, or may be about to.
pub fn forced_call(o: &Observation, words: &BTreeMap<Unit, Word>) -> Result<Recovery, Refusal> {
    let history = beginning(o).filter(|_| o.juju.app.history.is_some()).ok_or(Refusal::NotFormed)?;
    if o.juju.app.recovery.as_ref().is_some_and(|recovery| recovery.cause == Cause::Restore) {
        return Err(Refusal::Restores);
    }
    let left_behind = none_went_on(o);
    for (unit, word) in words {
        let says_primary = || o.report_of(unit).is_some_and(|report| report.server.primary().is_some());
        match word {
            // Whoever went on is gone, or does not serve: nobody can join those who were left behind.
            Word::Primary(_) if left_behind.contains(unit) => {}
            Word::Primary(serves) if !stands_in_the_way(*serves, branch(o)) => {}
            Word::Primary(_) => return Err(Refusal::Lives(unit.clone())),
            Word::Unclear(why) => return Err(Refusal::Unclear(unit.clone(), why.clone())),
            Word::Out if says_primary() => return Err(Refusal::NotTold(unit.clone())),
            Word::Out | Word::Silence => {}
        }
    }
    let answers = |unit: &Unit| matches!(words.get(unit), Some(Word::Out | Word::Primary(_)));
    let open = o.juju.app.recovery.as_ref();
    if let Some((chosen, _)) = open.and_then(|recovery| recovery.chosen.as_ref()) {
        if words.contains_key(chosen) && !answers(chosen) {
            return Err(Refusal::MayRestart(chosen.clone()));
        }
    }
    let behind =
        |unit| matches!(words.get(unit), Some(Word::Primary(serves)) if !stands_in_the_way(*serves, branch(o)));
    if !o.node.stalled && o.node.answer.is_none() && !left_behind.contains(&o.me) && !behind(&o.me) {
        return Err(Refusal::TooSoon);
    }
    let member = |unit: &Unit| {
        o.report_of(unit)
            .is_some_and(|r| r.db_init == DbInit::Initialised || r.holds == Holds::History(history.clone()))
    };
    let members: BTreeSet<Unit> = words.keys().filter(|unit| answers(unit) && member(unit)).cloned().collect();
    if members.is_empty() {
        return Err(Refusal::NoMember);
    }
    // It is another decision when somebody has gone since, or has come back: that may be the copy which was missing.
    if let Some(open) = open.filter(|open| open.by_force() && open.members == members) {
        return Err(Refusal::UnderWay(Box::new(open.clone())));
    }
    Ok(Recovery {
        epoch: next_epoch(o),
        members,
        chosen: None,
        cause: Cause::Force,
        from: Epoch::default(),
        before: None,
    })
}

/// All units, when the last restart by force left all of them behind: those who went on are gone for good. What serves among
/// them is no cluster that anybody else could join.
pub fn none_went_on(o: &Observation) -> BTreeSet<Unit> {
    if branch(o) == Epoch::default() {
        return BTreeSet::new();
    }
    let reports = o.reports();
    let behind = |report: &Option<Report>| report.as_ref().is_some_and(|report| !went_on(o, report));
    if reports.values().all(behind) { reports.into_keys().collect() } else { BTreeSet::new() }
}

/// Whether a unit has a copy of what is on the application's branch, or may have. A newcomer takes the branch before it has
/// received anything, and so does one that follows: it has said so when it was asked for its position.
pub(super) fn went_on(o: &Observation, report: &Report) -> bool {
    let position = report.answer.as_ref().and_then(|answer| answer.position.as_ref());
    let on = position.map_or(report.branch, |at| Place::of(&begins(o), report.branch, at.seqno).branch);
    // What a server serves counts, whatever its files say at this moment.
    let serves = report.server.primary().is_some() && report.branch >= branch(o);
    serves || (on >= branch(o) && matches!(report.holds, Holds::History(_)))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFormed => f.write_str("no cluster has formed yet, so there is nothing to restart"),
            Self::Lives(unit) => {
                write!(f, "{unit} is part of a primary component: the cluster lives, the others join it by themselves")
            }
            Self::Unclear(unit, why) => write!(
                f,
                "{unit} cannot be asked, but something runs there ({why}); wait until it answers, or switch its machine off"
            ),
            Self::NotTold(unit) => {
                write!(f, "{unit} has not told Juju yet that it is out of the cluster; try again in a minute")
            }
            Self::MayRestart(unit) => write!(
                f,
                "{unit} has the permission to restart the cluster and cannot be asked: it may be doing so. Switch it on; if it is gone for good, first run juju remove-unit --force {unit}"
            ),
            Self::TooSoon => f.write_str(
                "this unit has been out of the cluster for a short time only, and may find its way back by itself; try again in a minute",
            ),
            Self::NoMember => {
                f.write_str("none of the units that answer was ever a member: there is no data to restart from")
            }
            Self::Restores => f.write_str(
                "a restore is under way and all members stop for it: follow it in juju status; remove who does not come back with juju remove-unit --force",
            ),
            Self::UnderWay(call) => {
                let members = call.members.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                write!(
                    f,
                    "a restart by force of {members} is under way (call {}): follow it in juju status",
                    call.epoch
                )
            }
        }
    }
}

impl std::error::Error for Refusal {}
