//! After a full stop: a call for positions that everybody answers with the server held still, then one choice.
//! Galera's own saved view is given its time first (`Report::stalled`), because it is the least dangerous way back.

use super::decision::{Commit, Decision, Step};
use super::identity::{ClusterUuid, Epoch, Position, Unit};
use super::observation::{DbInit, Holds, JournalEntry, Observation, Planned, Recovery, Report, Server};
use super::state::State;
use std::collections::{BTreeMap, BTreeSet};

/// This unit's part in an open recovery; `None` when it has none.
pub(super) fn decide(o: &Observation, entry: &JournalEntry) -> Option<Decision> {
    let recovery = o.juju.app.recovery.as_ref()?;
    if !recovery.members.contains(&o.me) || o.node.server.primary().is_some() {
        return None;
    }
    let answered = o.node.answer.as_ref().filter(|answer| answer.epoch == recovery.epoch);
    match &recovery.chosen {
        None if answered.is_some() => Some(Decision::wait(State::AnsweringCall { missing: unanswered(o, recovery) })),
        None => Some(Decision::act(
            State::AnsweringCall { missing: unanswered(o, recovery) },
            vec![Step::AnswerCall(recovery.epoch)],
        )),
        Some((chosen, position)) if *chosen == o.me => {
            let mine = answered.and_then(|answer| answer.position.as_ref());
            if entry.used_epoch >= recovery.epoch {
                // Used up: the server is on its way, or the leader will call again.
                return Some(Decision::wait(State::Recovering));
            }
            if mine != Some(position) {
                // The answer was withdrawn since (the server was started by hand): never restart from an older word.
                return Some(Decision::wait(State::AnsweringCall { missing: Vec::new() }));
            }
            Some(Decision::act(
                State::Recovering,
                vec![
                    Step::Configure,
                    Step::Bootstrap { epoch: recovery.epoch, from: Some(position.clone()), ask: o.other_addresses() },
                ],
            ))
        }
        Some((chosen, _)) => {
            let up = o.report_of(chosen).is_some_and(|report| report.server.primary().is_some());
            if up { None } else { Some(Decision::wait(State::WaitingForRecovery(chosen.clone()))) }
        }
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
    let members = members(o, &history);
    let anybody_primary = members.values().flatten().any(|report| report.server.primary().is_some());
    match &o.juju.app.recovery {
        Some(_) if anybody_primary => vec![Commit::CloseRecovery],
        Some(recovery) => advance(o, recovery, planned, &history),
        None if anybody_primary || members.is_empty() => Vec::new(),
        None => {
            // Everybody has been heard of in this outage, and Galera's own way has had its time.
            let all_stalled = members.values().all(|report| report.as_ref().is_some_and(|r| r.stalled));
            if all_stalled { vec![call(o, members.into_keys().collect())] } else { Vec::new() }
        }
    }
}

/// The history to recover: the application's, or the one of a founder that died before anybody was told of it.
fn beginning(o: &Observation) -> Option<ClusterUuid> {
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

/// Everybody who may hold acknowledged writes: who was ever a member, and the founder of an unreported history.
fn members(o: &Observation, history: &ClusterUuid) -> BTreeMap<Unit, Option<Report>> {
    let unreported = o.history().is_none();
    let mut members: BTreeMap<Unit, Option<Report>> = o
        .reports()
        .into_iter()
        .filter(|(_, report)| {
            report.as_ref().is_some_and(|r| {
                r.db_init == DbInit::Initialised || (unreported && r.holds == Holds::History(history.clone()))
            })
        })
        .collect();
    // A planned unit that has never said anything was never a member: it could not have got the credentials.
    members.retain(|_, report| report.is_some());
    members
}

fn call(o: &Observation, members: BTreeSet<Unit>) -> Commit {
    Commit::Recovery(Recovery { epoch: next_epoch(o), members, chosen: None })
}

/// Above every permission ever given or used.
fn next_epoch(o: &Observation) -> Epoch {
    let given = [
        o.juju.app.formation.as_ref().map(|f| f.epoch),
        o.juju.app.history.as_ref().map(|h| h.epoch),
        o.juju.app.recovery.as_ref().map(|r| r.epoch),
    ];
    let used = o.reports().into_values().flatten().map(|r| r.used_epoch);
    given.into_iter().flatten().chain(used).max().unwrap_or_default().next()
}

/// The open recovery, one step further.
fn advance(o: &Observation, recovery: &Recovery, planned: &BTreeSet<Unit>, history: &ClusterUuid) -> Vec<Commit> {
    let remaining: BTreeSet<Unit> = recovery.members.intersection(planned).cloned().collect();
    if let Some((chosen, _)) = &recovery.chosen {
        let report = o.report_of(chosen);
        let gone = !planned.contains(chosen);
        // The permission was used and the server stands still again: only a new call can tell how far it came.
        let spent = report.is_some_and(|r| r.used_epoch >= recovery.epoch && r.server == Server::Stopped);
        return if (gone || spent) && !remaining.is_empty() { vec![call(o, remaining)] } else { Vec::new() };
    }
    if remaining.is_empty() {
        return vec![Commit::CloseRecovery];
    }
    let mut best: Option<(Position, std::net::IpAddr, Unit)> = None;
    for unit in &remaining {
        let Some(report) = o.report_of(unit) else {
            return Vec::new();
        };
        let Some(answer) = report.answer.as_ref().filter(|answer| answer.epoch == recovery.epoch) else {
            return Vec::new();
        };
        let (Some(position), Some(address)) = (answer.position.clone(), report.address) else {
            continue;
        };
        if position.uuid != *history {
            // Two histories: sequence numbers cannot be compared, and nobody may choose for the operator.
            return Vec::new();
        }
        let better = match &best {
            None => true,
            Some((b, a, u)) => {
                position.seqno > b.seqno || (position.seqno == b.seqno && (address, unit.number()) < (*a, u.number()))
            }
        };
        if better {
            best = Some((position, address, unit.clone()));
        }
    }
    match best {
        Some((position, _, unit)) => vec![Commit::Recovery(Recovery {
            epoch: recovery.epoch,
            members: remaining,
            chosen: Some((unit, position)),
        })],
        None => Vec::new(),
    }
}

/// Who has not answered the call.
fn unanswered(o: &Observation, recovery: &Recovery) -> Vec<Unit> {
    recovery
        .members
        .iter()
        .filter(|unit| {
            o.report_of(unit).is_none_or(|r| r.answer.as_ref().is_none_or(|answer| answer.epoch != recovery.epoch))
        })
        .cloned()
        .collect()
}
