//! Who may form a new cluster: the electorate, the founder, the permission, and the history that comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::decision::Commit;
use super::identity::{Epoch, Unit};
use super::observation::{Credentials, Formation, History, MinClusterSize, Observation, Planned};
use super::report::{DbInit, Holds, Report, Server};
use super::state::State;

/// What the leader commits about forming the cluster and its passwords.
pub(super) fn commits(o: &Observation) -> Vec<Commit> {
    if !o.juju.leader {
        return Vec::new();
    }
    match (&o.juju.app.formation, &o.juju.app.history) {
        (None, _) => permit(o, Epoch(1)),
        (Some(formation), None) => match founded(o, formation) {
            Some(history) => vec![Commit::History(history)],
            None if failed(o, formation) => permit(o, formation.epoch.next()),
            None => Vec::new(),
        },
        (Some(_), Some(_)) => settled(o),
    }
}

/// The lowest value founds: the numerically lowest address (10.0.0.9 before 10.0.0.10), the unit's number on a tie.
pub(super) fn founder(members: &BTreeMap<Unit, IpAddr>) -> Option<&Unit> {
    members.iter().min_by_key(|(unit, address)| (**address, unit.number())).map(|(unit, _)| unit)
}

/// Why this unit does not believe the permission: every unit recomputes the choice.
pub(super) fn contradiction(o: &Observation, formation: &Formation) -> Option<String> {
    match founder(&formation.members) {
        None => return Some("it names no members".to_owned()),
        Some(lowest) if *lowest != formation.founder => {
            return Some(format!("it names {} as founder where {lowest} has the lowest address", formation.founder));
        }
        Some(_) => {}
    }
    // Once the history exists, addresses may change and members may go: the choice has been made and done.
    if o.juju.app.history.is_some() || o.history().is_some() {
        return None;
    }
    formation.members.iter().find_map(|(unit, address)| {
        let offered = o.report_of(unit)?.address?;
        (offered != *address).then(|| format!("{unit} is at {offered}, not at {address}"))
    })
}

/// The state of a unit while there is no permission yet.
pub(super) fn electing(o: &Observation) -> State {
    match electorate(o) {
        Ok(members) => State::WaitingForLeader { present: members.len() },
        Err(state) => state,
    }
}

/// The units that may form a cluster now, or why nobody may.
fn electorate(o: &Observation) -> Result<BTreeMap<Unit, IpAddr>, State> {
    let reports = o.reports();
    let offers: BTreeMap<Unit, IpAddr> =
        reports.iter().filter_map(|(unit, report)| Some((unit.clone(), report.as_ref()?.address?))).collect();
    let missing: Vec<Unit> = reports.keys().filter(|unit| !offers.contains_key(unit)).cloned().collect();
    // Data that somebody brings along outranks everything: a cluster formed beside it would overwrite it later.
    for (unit, report) in &reports {
        if let Some(what) = report.as_ref().and_then(baggage) {
            return Err(State::DataBeforeFormation { unit: unit.clone(), what });
        }
    }
    let planned = match &o.juju.planned {
        Planned::Known(units) => units.len(),
        Planned::Unknown(_) => return Err(State::Electing { present: offers.len(), needed: reports.len(), missing }),
    };
    let min = match &o.juju.settings {
        Ok(settings) => settings.min_cluster_size,
        Err(bad) => return Err(State::Misconfigured(bad.clone())),
    };
    let needed = match min {
        MinClusterSize::Auto => planned,
        MinClusterSize::AtLeast(n) => n as usize,
    };
    if offers.len() < needed || offers.is_empty() {
        let missing = if offers.len() + missing.len() < needed { Vec::new() } else { missing };
        return Err(State::Electing { present: offers.len(), needed, missing });
    }
    Ok(offers)
}

/// What a unit brings along that forbids forming.
fn baggage(report: &Report) -> Option<String> {
    match &report.holds {
        Holds::History(uuid) => Some(format!("history {uuid}")),
        // A founder that was cut off while it made its system tables has promised nothing to anybody.
        Holds::Unclear(_) if report.used_epoch > Epoch(0) && report.db_init != DbInit::Initialised => None,
        Holds::Unclear(what) => Some(what.clone()),
        Holds::Nothing if report.db_init == DbInit::Initialised => {
            Some("a volume that was part of a cluster".to_owned())
        }
        Holds::Nothing => None,
    }
}

/// The permission, when everything speaks for it; credentials are made in the same transaction.
fn permit(o: &Observation, epoch: Epoch) -> Vec<Commit> {
    let (Ok(members), Ok(settings)) = (electorate(o), &o.juju.settings) else {
        return Vec::new();
    };
    let Some(founder) = founder(&members).cloned() else {
        return Vec::new();
    };
    let mut commits = Vec::new();
    match o.juju.app.credentials {
        Credentials::Absent => commits.push(Commit::Credentials),
        Credentials::Unreadable(_) => return Vec::new(),
        Credentials::Known { .. } => {}
    }
    // A name once given stays: what was rendered from it on other units must not change under them.
    let name = o.juju.app.formation.as_ref().map_or_else(|| settings.cluster_name.clone(), |f| f.name.clone());
    let before = o.juju.app.formation.as_ref();
    let mut former: BTreeSet<IpAddr> = before.map(|f| f.former.clone()).unwrap_or_default();
    former.extend(before.and_then(|f| f.members.get(&f.founder)));
    let lower_case_table_names = before.map_or(settings.lower_case_table_names, |f| f.lower_case_table_names);
    commits.push(Commit::Formation(Formation { epoch, name, members, founder, former, lower_case_table_names }));
    commits
}

/// The history that the formation has brought forth.
fn founded(o: &Observation, formation: &Formation) -> Option<History> {
    o.history().map(|uuid| History::first(uuid, formation.epoch))
}

/// Whether the permission has come to nothing, so that a new one harms nobody: its founder is gone from the plan, has
/// moved, or has used it up and holds no history; and nobody else is up or holds anything.
fn failed(o: &Observation, formation: &Formation) -> bool {
    let Planned::Known(planned) = &o.juju.planned else {
        return false;
    };
    let nobody_up = o.reports().into_values().all(|r| r.is_none_or(|r| r.server == Server::Stopped));
    if !nobody_up {
        return false;
    }
    if !planned.contains(&formation.founder) {
        // As long as Juju shows it, a hook of it may still be running that has seen the permission.
        return !o.sees(&formation.founder);
    }
    let Some(report) = o.report_of(&formation.founder) else {
        return false;
    };
    let empty = !matches!(report.holds, Holds::History(_));
    let used = report.used_epoch >= formation.epoch;
    let moved = report.address.is_some_and(|now| formation.members.get(&formation.founder) != Some(&now));
    empty && (used || (moved && report.used_epoch < formation.epoch))
}

/// The generation whose predecessors the server may forget: the leader's server is asked, once everybody's files hold
/// the new passwords.
pub(super) fn to_settle(o: &Observation) -> Option<u32> {
    let Credentials::Known { generation, settled } = o.juju.app.credentials else {
        return None;
    };
    let everybody_knows = || {
        o.reports()
            .values()
            .all(|r| r.as_ref().is_none_or(|r| r.db_init < DbInit::Agreed || r.credentials_seen >= generation))
    };
    (o.juju.leader && settled < generation && everybody_knows()).then_some(generation)
}

/// Written in the hook that also asks the server: both must succeed for the hook to succeed.
fn settled(o: &Observation) -> Vec<Commit> {
    match to_settle(o) {
        Some(generation) if o.node.server.synced().is_some() => vec![Commit::CredentialsSettled { generation }],
        Some(_) | None => Vec::new(),
    }
}
