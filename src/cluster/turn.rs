//! Restarts in turn: a server that waits for a restart has one when it is its unit's turn, one unit after the other, and only
//! while everybody else serves. The leader gives turns; a turn is over when its unit has used it and serves again.

use std::collections::{BTreeMap, BTreeSet};

use super::decision::{Commit, Step};
use super::identity::Unit;
use super::observation::{Event, Observation, Planned};
use super::report::{DbInit, Galera, LocalState, Report, Server};
use super::schedule::MakingResult;

/// Whose turn it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Turn {
    /// Of the last turn. Never the same for two of them.
    pub number: u32,
    /// Whose it is, until it is over.
    pub unit: Option<Unit>,
}

/// How a unit stands with restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Turned {
    /// A mark of the options that its files were last written for: the same on all units for the same options.
    pub options: String,
    /// The last turn that it has used. Written down before the server is stopped: each turn is used once at most.
    pub number: u32,
    /// The server runs with other values than its file says, and takes them only when it starts.
    pub waits: bool,
    /// Why the server does not start with what options say; it runs with what they said before. Nobody else is restarted
    /// until options change.
    pub refused: Option<String>,
}

/// What this unit does about its turn, when it has nothing more pressing to do.
pub(super) fn beside(o: &Observation) -> Option<Step> {
    let turn = o.juju.app.turn.as_ref().filter(|turn| turn.unit.as_ref() == Some(&o.me))?;
    let turned = &o.node.turned;
    if o.juju.event != Event::Ordinary || turned.number >= turn.number {
        return None;
    }
    let Planned::Known(planned) = &o.juju.planned else { return None };
    let said: Vec<Turned> = planned.iter().filter_map(|unit| Some(o.report_of(unit)?.turned)).collect();
    // Options may have changed since the turn was given.
    let refused = said.iter().any(|other| other.options == turned.options && other.refused.is_some());
    if !turned.waits || refused {
        return Some(Step::PassTurn(turn.number));
    }
    let making = o.node.making.as_ref().is_some_and(|making| making.result == MakingResult::Working);
    let asked = o.juju.app.restore.is_some() || o.juju.app.recovery.is_some();
    (all_serve(o) && all_ready(o, &said) && !making && !asked).then_some(Step::Restart(turn.number))
}

/// What the leader commits about turns, when nothing is more pressing.
pub(super) fn commits(o: &Observation) -> Vec<Commit> {
    let (true, Planned::Known(planned)) = (o.juju.leader, &o.juju.planned) else {
        return Vec::new();
    };
    let before = o.juju.app.turn.clone().unwrap_or_default();
    let next = match &before.unit {
        // One that is removed in its turn is away for it until it has gone for good.
        Some(unit) if has_gone(o, planned, unit) || is_over(o, unit, before.number) => {
            Some(Turn { unit: None, ..before })
        }
        Some(_) => None,
        None => choose(o, planned).map(|unit| Turn { number: before.number + 1, unit: Some(unit) }),
    };
    next.map(Commit::Turn).into_iter().collect()
}

fn has_gone(o: &Observation, planned: &BTreeSet<Unit>, unit: &Unit) -> bool {
    !planned.contains(unit) && o.report_of(unit).is_none()
}

/// It was used, and the server is back.
fn is_over(o: &Observation, unit: &Unit, number: u32) -> bool {
    let back = |report: Report| report.turned.number >= number && report.server.synced().is_some();
    o.report_of(unit).is_some_and(back) && !o.absent().contains(unit)
}

/// Whose turn comes next: the unit whose clients write least, the leader last of equals.
fn choose(o: &Observation, planned: &BTreeSet<Unit>) -> Option<Unit> {
    if o.juju.app.restore.is_some() || o.juju.app.recovery.is_some() || o.juju.app.history.is_none() {
        return None;
    }
    if !all_serve(o) {
        return None;
    }
    let reports: BTreeMap<Unit, Turned> =
        planned.iter().filter_map(|unit| Some((unit.clone(), o.report_of(unit)?.turned))).collect();
    if !all_ready(o, reports.values()) {
        return None;
    }
    let busy = |unit: &Unit| o.juju.busy.get(unit).copied().unwrap_or(u64::MAX);
    let waiting = reports.into_iter().filter(|(_, turned)| turned.waits).map(|(unit, _)| unit);
    waiting.min_by_key(|unit| (busy(unit), *unit == o.me, unit.number()))
}

/// Everybody has found that it can live with the options before anybody is restarted for them.
fn all_ready<'a>(o: &Observation, said: impl IntoIterator<Item = &'a Turned>) -> bool {
    said.into_iter().all(|turned| turned.options == o.node.turned.options && turned.refused.is_none())
}

/// Whether every planned unit is a full member of one component, as far as this unit can tell: what each has said, and what
/// its own server sees. That a member gives its data to another shows only in its own server.
fn all_serve(o: &Observation) -> bool {
    let Planned::Known(planned) = &o.juju.planned else { return false };
    let Some(own) = serves(&o.node.server) else { return false };
    let like_us = |report: Report| report.db_init == DbInit::Initialised && report.server.synced() == own.uuid.as_ref();
    let all = planned.iter().all(|unit| o.report_of(unit).is_some_and(like_us));
    all && o.absent().is_empty() && own.size as usize == planned.len()
}

/// A member that has all data and gives it to nobody.
fn serves(server: &Server) -> Option<&Galera> {
    server.primary().filter(|galera| galera.state == LocalState::Synced && galera.uuid.is_some())
}
