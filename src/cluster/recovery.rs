//! After a full stop: a call for positions that everybody answers with the server held still, then one choice.
//! Galera's own saved view is given its time first (`Report::stalled`), because it is the least dangerous way back.

use std::collections::{BTreeMap, BTreeSet};

use super::branches::{Begins, Place};
use super::decision::{Commit, Decision, Step};
use super::identity::{ClusterUuid, Epoch, Position, Unit};
use super::observation::{Cause, History, JournalEntry, Observation, Planned, Recovery};
use super::report::{Answer, DbInit, Holds, Report, Server};
use super::restore;
use super::state::State;

/// Seconds for which an answer to a restart by force has to stand before the leader chooses: those who would be left behind
/// hear of the call from Juju in that time, if they are not in the middle of a hook, and may say that they serve. Less than
/// the time after which a waiting unit looks again.
pub const TIME_TO_OBJECT_S: u64 = 20;

/// This unit's part in an open recovery; `None` when it has none.
pub(super) fn decide(o: &Observation, entry: &JournalEntry) -> Option<Decision> {
    let recovery = o.juju.app.recovery.as_ref()?;
    if recovery.cause == Cause::Restore {
        return restore::decide(o, entry, recovery);
    }
    if !recovery.members.contains(&o.me) || o.node.server.primary().is_some() {
        return None;
    }
    let answered = o.node.answer.as_ref().filter(|answer| answer.epoch == recovery.epoch);
    match &recovery.chosen {
        None if answered.is_some() => Some(Decision::wait(answering(o, recovery))),
        None => Some(Decision::act(answering(o, recovery), vec![Step::AnswerCall(recovery.epoch)])),
        Some((chosen, position)) if *chosen == o.me => {
            let mine = answered.and_then(|answer| answer.position.as_ref());
            if entry.used_epoch >= recovery.epoch {
                // Used up: the server is on its way, or the leader will call again.
                return Some(Decision::wait(State::Recovering));
            }
            // Withdrawn since (the server was started by hand): never restart from an older word. Opposed: the leader closes
            // it when it hears of that.
            if mine != Some(position) || !objecting(o).is_empty() {
                return Some(Decision::wait(State::AnsweringCall { missing: Vec::new(), forced: recovery.by_force() }));
            }
            let branch = if recovery.by_force() { recovery.epoch } else { entry.branch };
            let (from, ask) = (Some(position.clone()), o.other_addresses());
            let bootstrap = Step::Bootstrap { epoch: recovery.epoch, from, branch, ask, put: None };
            Some(Decision::act(State::Recovering, vec![Step::Configure, bootstrap]))
        }
        Some((chosen, _)) => {
            // By force: the answer has to stand until the leader has written down whose copies follow the new branch.
            let up =
                !recovery.by_force() && o.report_of(chosen).is_some_and(|report| report.server.primary().is_some());
            if up { None } else { Some(Decision::wait(State::WaitingForRecovery(Some(chosen.clone())))) }
        }
    }
}

/// What a unit does that has no copy and is not called. It answers all the same, and holds its server still: those who were
/// still receiving when everybody with the data went are a component of their own, which lasts for ever and in whose sight
/// nobody can restart the cluster (`docs/facts.md`).
pub(super) fn stand_aside(o: &Observation) -> Option<Decision> {
    let recovery = o.juju.app.recovery.as_ref()?;
    let up = |unit: &Unit| o.report_of(unit).is_some_and(|report| report.server.primary().is_some());
    let restarted = recovery.chosen.as_ref().is_some_and(|(chosen, _)| up(chosen));
    if recovery.members.contains(&o.me) || o.node.server.primary().is_some() || restarted {
        return None;
    }
    let state = State::WaitingForRecovery(recovery.chosen.as_ref().map(|(chosen, _)| chosen.clone()));
    let answered = o.node.answer.as_ref().is_some_and(|answer| answer.epoch == recovery.epoch);
    Some(if answered { Decision::wait(state) } else { Decision::act(state, vec![Step::AnswerCall(recovery.epoch)]) })
}

/// The state of a unit that has been called.
fn answering(o: &Observation, recovery: &Recovery) -> State {
    let Some(history) = beginning(o) else {
        return State::AnsweringCall { missing: Vec::new(), forced: recovery.by_force() };
    };
    let members = match &o.juju.planned {
        Planned::Known(planned) => recovery.members.intersection(planned).cloned().collect(),
        Planned::Unknown(_) => recovery.members.clone(),
    };
    match verdict(o, recovery, &members, &history) {
        Verdict::Unanswered(mut missing) => {
            missing.retain(|unit| *unit != o.me);
            State::AnsweringCall { missing, forced: recovery.by_force() }
        }
        Verdict::Choose(..) => State::AnsweringCall { missing: Vec::new(), forced: recovery.by_force() },
        Verdict::Foreign(unit, here) => State::TwoHistories { unit, here, expected: history },
        Verdict::NoCopy => State::NoUsableCopy,
        Verdict::Gone { missing, seqno } => State::MembersGone { missing, seqno },
    }
}

/// What the leader commits about recovering.
pub(super) fn commits(o: &Observation) -> Vec<Commit> {
    let (true, Planned::Known(planned)) = (o.juju.leader, &o.juju.planned) else {
        return Vec::new();
    };
    let Some(history) = beginning(o) else {
        return Vec::new();
    };
    let mut commits: Vec<Commit> = begun(o, &history).into_iter().collect();
    commits.extend(next(o, planned, &history));
    if commits.is_empty() {
        commits.extend(restore::commits(o, planned, &history));
    }
    if commits.is_empty() {
        commits.extend(restore::kept_long_enough(o));
        commits.extend(restore::shown_long_enough(o));
    }
    commits
}

/// A branch that somebody has begun, or has noted that it begins.
fn begun(o: &Observation, history: &ClusterUuid) -> Option<Commit> {
    let branch = o.reports().into_values().flatten().map(|r| r.branch).max()?;
    let before = o.juju.app.history.as_ref().filter(|before| branch > before.branch)?;
    let recovery = o.juju.app.recovery.as_ref().filter(|recovery| recovery.epoch == branch);
    if let Some(recovery) = recovery.filter(|recovery| recovery.cause == Cause::Restore) {
        return restore::begun(o, recovery, before).map(Commit::History);
    }
    let kept = recovery.map(|recovery| kept(o, recovery)).unwrap_or_default();
    let mut begins = begins(o);
    if let Some((from, (_, position))) = recovery.and_then(|recovery| Some((recovery.from, recovery.chosen.as_ref()?)))
    {
        begins.insert(branch, (from, position.seqno));
    }
    // A copy from before a restore may have been all that was left; or a restore has begun under a permission that was taken
    // back at the same moment.
    let on_it = o.reports().into_values().flatten().filter(|report| report.branch == branch);
    let mut holds = on_it.filter_map(|report| match report.holds {
        Holds::History(uuid) => Some(uuid),
        Holds::Nothing | Holds::Unclear(_) => None,
    });
    let chosen = recovery.and_then(|recovery| recovery.chosen.as_ref()).map(|(_, position)| position.uuid.clone());
    let uuid = chosen.or_else(|| holds.next()).unwrap_or_else(|| history.clone());
    let (mut former, mut restores) = (before.former.clone(), before.restores.clone());
    former.insert(before.uuid.clone());
    former.remove(&uuid);
    let mut replaced = before.replaced.clone();
    if recovery.is_none() && uuid != before.uuid {
        restores.insert(branch);
        replaced = None;
    }
    let (epoch, confirmed) = (branch, before.confirmed);
    Some(Commit::History(History { uuid, epoch, branch, kept, begins, former, restores, replaced, confirmed }))
}

/// What becomes of the recovery.
fn next(o: &Observation, planned: &BTreeSet<Unit>, history: &ClusterUuid) -> Vec<Commit> {
    let members = members(o, history);
    let primary = |report: &Report| report.server.primary().is_some();
    let anybody_primary = || members.values().any(primary);
    match &o.juju.app.recovery {
        Some(recovery) if recovery.cause == Cause::Restore => restore::next(o, recovery, planned, history),
        // By force: those who are left behind may have said long ago that they serve.
        Some(recovery) if recovery.by_force() => {
            // One that was left behind before serves until it has heard that a person counts on its copy after all.
            let serves = |report: Report| primary(&report) && report.branch >= branch(o);
            let restarted = recovery.members.iter().any(|unit| o.report_of(unit).is_some_and(serves));
            // Nor is a cluster that lives after all given up for a copy of it: it may be seen, or say so itself.
            if restarted || !o.rivals.is_empty() || !objecting(o).is_empty() {
                vec![Commit::CloseRecovery]
            } else {
                advance(o, recovery, planned, history)
            }
        }
        Some(_) if anybody_primary() => vec![Commit::CloseRecovery],
        Some(recovery) => {
            // One that holds a copy may have said so only after the call.
            let more = members.iter().any(|(unit, r)| r.stalled && !recovery.members.contains(unit));
            if more && recovery.chosen.is_none() {
                let all = recovery.members.union(&members.into_keys().collect()).cloned().collect::<BTreeSet<_>>();
                return vec![call(o, all.intersection(planned).cloned().collect())];
            }
            advance(o, recovery, planned, history)
        }
        None if anybody_primary() || members.is_empty() => Vec::new(),
        None => {
            // Everybody has been heard of in this outage, and Galera's own way has had its time.
            let all_stalled = members.values().all(|report| report.stalled);
            // Juju introduces units one by one: a new leader may not have met those with the newest copies.
            if all_stalled && o.strangers().is_empty() {
                vec![call(o, members.into_keys().collect())]
            } else {
                Vec::new()
            }
        }
    }
}

/// The history to recover: the application's, or the one of a founder that died before anybody was told of it.
pub(super) fn beginning(o: &Observation) -> Option<ClusterUuid> {
    if let Some(uuid) = o.history() {
        return Some(uuid);
    }
    let formation = o.juju.app.formation.as_ref()?;
    let report = o.report_of(&formation.founder)?;
    match report.holds {
        Holds::History(uuid) if report.used_epoch >= formation.epoch => Some(uuid),
        Holds::History(_) | Holds::Nothing | Holds::Unclear(_) => None,
    }
}

/// Everybody who may hold acknowledged writes: who was ever a member, or holds the history without having said that it
/// was. A planned unit that has never said anything was not: it could not have got the credentials. One on an older
/// branch was left behind by a person's decision.
pub(super) fn members(o: &Observation, history: &ClusterUuid) -> BTreeMap<Unit, Report> {
    let branch = branch(o);
    let mut members: BTreeMap<Unit, Report> =
        o.reports().into_iter().filter_map(|(unit, report)| Some((unit, report?))).collect();
    members.retain(|_, r| {
        r.branch >= branch && (r.db_init == DbInit::Initialised || r.holds == Holds::History(history.clone()))
    });
    members
}

/// Where the application's branches began.
pub(super) fn begins(o: &Observation) -> Begins {
    o.juju.app.history.as_ref().map(|history| history.begins.clone()).unwrap_or_default()
}

/// The branch that the application is on.
pub(super) fn branch(o: &Observation) -> Epoch {
    o.juju.app.history.as_ref().map_or(Epoch::default(), |history| history.branch)
}

fn call(o: &Observation, members: BTreeSet<Unit>) -> Commit {
    let (cause, from) = (Cause::Outage, Epoch::default());
    Commit::Recovery(Recovery { epoch: next_epoch(o), members, chosen: None, cause, from, before: None })
}

/// Above every permission ever given or used.
pub(super) fn next_epoch(o: &Observation) -> Epoch {
    let given = [
        o.juju.app.formation.as_ref().map(|f| f.epoch),
        o.juju.app.history.as_ref().map(|h| h.epoch),
        o.juju.app.recovery.as_ref().map(|r| r.epoch),
        Some(o.juju.app.last_epoch),
    ];
    let used = o.reports().into_values().flatten().map(|r| r.used_epoch);
    given.into_iter().flatten().chain(used).max().unwrap_or_default().next()
}

/// The open recovery, one step further.
fn advance(o: &Observation, recovery: &Recovery, planned: &BTreeSet<Unit>, history: &ClusterUuid) -> Vec<Commit> {
    let remaining: BTreeSet<Unit> = recovery.members.intersection(planned).cloned().collect();
    if remaining.is_empty() {
        return vec![Commit::CloseRecovery];
    }
    if let Some((chosen, position)) = &recovery.chosen {
        let report = o.report_of(chosen);
        let gone = !planned.contains(chosen);
        // The permission was used and the server stands still again, or looks for others who wait for it: only a new call
        // can tell how far it came.
        let spent = report.as_ref().is_some_and(|r| {
            let out = r.server.primary().is_none() && (r.server == Server::Stopped || r.stalled);
            r.used_epoch >= recovery.epoch && out
        });
        // Or it cannot be used any more: the volume that it was given for was lost, and the answer with it, or another given.
        let answers = |r: &Report| {
            let answer = r.answer.as_ref().filter(|answer| answer.epoch == recovery.epoch);
            answer.is_some_and(|answer| answer.position.as_ref() == Some(position))
        };
        let lost = report.as_ref().is_some_and(|r| r.used_epoch < recovery.epoch && !answers(r));
        return if gone || spent || lost { vec![call(o, remaining)] } else { Vec::new() };
    }
    let (unit, position, from) = match verdict(o, recovery, &remaining, history) {
        Verdict::Choose(unit, position, from) => (unit, position, from),
        // Those who are waited for no longer may have what is missing: when they are back, all are called.
        Verdict::NoCopy if recovery.by_force() => return vec![Commit::CloseRecovery],
        Verdict::NoCopy | Verdict::Unanswered(_) | Verdict::Foreign(..) | Verdict::Gone { .. } => return Vec::new(),
    };
    if recovery.by_force() && !unopposed(o, recovery) {
        return Vec::new();
    }
    let chosen = Some((unit, position));
    vec![Commit::Recovery(Recovery { members: remaining, chosen, from, ..recovery.clone() })]
}

/// Those who would be left behind by the open restart by force, and say that they serve.
pub fn objecting(o: &Observation) -> Vec<Unit> {
    let Some(recovery) = o.juju.app.recovery.as_ref().filter(|recovery| recovery.by_force()) else {
        return Vec::new();
    };
    let says = |report: Report| report.objects == recovery.epoch;
    o.reports().into_iter().filter(|(_, report)| report.clone().is_some_and(says)).map(|(unit, _)| unit).collect()
}

/// Whether those who would be left behind have had the time to say that they serve. The network may be cut between them
/// and us, and Juju reach both.
fn unopposed(o: &Observation, recovery: &Recovery) -> bool {
    let answered = |report: &Option<Report>| {
        report.as_ref().and_then(|report| report.answer.clone()).filter(|answer| answer.epoch == recovery.epoch)
    };
    let reports = o.reports();
    let all_answered = reports.values().all(|report| answered(report).is_some());
    all_answered || reports.values().any(|report| answered(report).is_some_and(|answer| answer.stands))
}

/// What the answers to a call allow.
enum Verdict {
    /// These have not answered.
    Unanswered(Vec<Unit>),
    /// Somebody holds another history: sequence numbers cannot be compared, and nobody may choose for the operator.
    Foreign(Unit, ClusterUuid),
    /// All have answered, and none has a usable copy.
    NoCopy,
    /// The newest copies last ran together with others who have not answered, and who may have gone on without them.
    Gone { missing: Vec<String>, seqno: u64 },
    /// This one restarts the cluster, from what it has of this branch.
    Choose(Unit, Position, Epoch),
}

fn verdict(o: &Observation, recovery: &Recovery, members: &BTreeSet<Unit>, history: &ClusterUuid) -> Verdict {
    let mut answers: Vec<(&Unit, Report, Answer)> = Vec::new();
    let mut unanswered = Vec::new();
    for unit in members {
        let report = o.report_of(unit);
        let answer = report.as_ref().and_then(|r| r.answer.clone()).filter(|answer| answer.epoch == recovery.epoch);
        match (report, answer) {
            (Some(report), Some(answer)) => answers.push((unit, report, answer)),
            _ => unanswered.push(unit.clone()),
        }
    }
    if !unanswered.is_empty() {
        return Verdict::Unanswered(unanswered);
    }
    let former = |uuid| o.juju.app.history.as_ref().is_some_and(|known| recovery.by_force() && known.knows(uuid));
    let foreign = answers.iter().find_map(|(unit, _, answer)| {
        let here = &answer.position.as_ref()?.uuid;
        (here != history && !former(here)).then(|| ((*unit).clone(), here.clone()))
    });
    if let Some((unit, here)) = foreign {
        return Verdict::Foreign(unit, here);
    }
    // The newest branch first: whoever began it may have acknowledged writes on it.
    let begins = begins(o);
    let place = |(_, report, answer): &(&Unit, Report, Answer)| {
        Some(Place::of(&begins, report.branch, answer.position.as_ref()?.seqno))
    };
    let Some(newest) = answers.iter().filter_map(place).max() else {
        return Verdict::NoCopy;
    };
    let seqno = newest.seqno;
    let best: Vec<_> = answers.iter().filter(|answer| place(answer) == Some(newest)).collect();
    let on = best.iter().map(|(_, report, _)| report.branch).max().unwrap_or_default();
    if !recovery.by_force() {
        let since = best.iter().map(|(_, _, answer)| answer.view.since).max();
        // Whoever had part in the last restart knows better than the others who could go on behind it: whom those saw before
        // it was waited for then, or given up.
        let latest = best.iter().filter(|(_, _, answer)| Some(answer.view.since) == since);
        let mut missing: BTreeSet<String> = latest.flat_map(|(_, _, a)| gone(o, members, a)).collect();
        if on < branch(o) {
            missing.insert("the member that restarted the cluster by force".to_owned());
        }
        // A copy that had no part in the last restart knows nothing of those who had.
        if let Some(restart) = o.juju.app.restarted.as_ref().filter(|r| Some(r.epoch) > since) {
            if !members.contains(&restart.unit) {
                missing.insert(restart.unit.to_string());
            }
        }
        if best.iter().all(|(_, _, answer)| answer.view.members.is_empty()) {
            // Never a full part of anything: whoever gave it may have more. Everybody with whom anybody here ever ran has to
            // be here for that; also a view beside a copy that cannot be used says who went on.
            missing.extend(answers.iter().flat_map(|(_, _, answer)| gone(o, members, answer)));
            if answers.iter().all(|(_, _, answer)| answer.view.members.is_empty()) {
                missing.insert("the member that gave the newest copy here".to_owned());
            }
        }
        if !missing.is_empty() {
            return Verdict::Gone { missing: missing.into_iter().collect(), seqno };
        }
    }
    // One that died within a statement may have carried it out already: others at the same position would miss it.
    let first = best
        .iter()
        .filter_map(|(unit, report, a)| Some((a.halfway, report.address?, unit.number(), *unit, a)))
        .min_by(|(halfway, address, number, ..), (other_halfway, other_address, other_number, ..)| {
            (halfway, address, number).cmp(&(other_halfway, other_address, other_number))
        });
    let Some((.., unit, answer)) = first else {
        return Verdict::Unanswered(best.iter().map(|(unit, ..)| (*unit).clone()).collect());
    };
    let uuid = answer.position.as_ref().map_or_else(|| history.clone(), |position| position.uuid.clone());
    Verdict::Choose(unit.clone(), Position { uuid, seqno }, newest.branch)
}

/// Those of a copy's last view who have not answered, and may hold writes that came after it.
fn gone(o: &Observation, answered: &BTreeSet<Unit>, answer: &Answer) -> Vec<String> {
    let reports = o.reports();
    let named = |address: &std::net::IpAddr| {
        let mut known = reports.iter().filter(|(_, r)| r.as_ref().is_some_and(|r| r.address == Some(*address)));
        known.next().map(|(unit, _)| unit.clone())
    };
    // Was still receiving its first copy when everything stopped, and says so now.
    let never_full = |unit: &Unit| {
        reports
            .get(unit)
            .and_then(Option::as_ref)
            .is_some_and(|r| r.stalled && r.db_init != DbInit::Initialised && !matches!(r.holds, Holds::History(_)))
    };
    let unit_of = |(address, unit): (&std::net::IpAddr, &Option<Unit>)| unit.clone().or_else(|| named(address));
    answer
        .view
        .members
        .iter()
        .filter_map(|seat| match unit_of(seat) {
            Some(unit) if answered.contains(&unit) || never_full(&unit) => None,
            Some(unit) => Some(unit.to_string()),
            None => Some(seat.0.to_string()),
        })
        .collect()
}

/// Whose copies hold nothing that the chosen one does not: those of the same branch that were counted, and those that were
/// kept when that one began.
fn kept(o: &Observation, recovery: &Recovery) -> BTreeSet<Unit> {
    let before = o.juju.app.history.as_ref().map(|history| history.kept.clone()).unwrap_or_default();
    let (on, begins) = (branch(o), begins(o));
    let Some((_, chosen)) = &recovery.chosen else {
        return BTreeSet::new();
    };
    let chosen = Place { branch: recovery.from, seqno: chosen.seqno };
    let counted = |r: &Report| {
        let answer = r.answer.as_ref().filter(|answer| answer.epoch == recovery.epoch);
        let position = answer.and_then(|answer| answer.position.as_ref());
        position.is_some_and(|at| Place::of(&begins, r.branch, at.seqno).is_part_of(&begins, chosen))
    };
    let members = recovery.members.iter();
    members
        .filter(|u| o.report_of(u).is_some_and(|r| counted(&r) && (r.branch == on || before.contains(u))))
        .cloned()
        .collect()
}
