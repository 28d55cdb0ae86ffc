//! The whole cluster in one status line and one sentence, from everybody's reports.

use std::collections::{BTreeMap, BTreeSet};

use super::decision::{Level, Status};
use super::identity::{ClusterUuid, Unit};
use super::observation::Observation;
use super::report::Report;
use super::restore::Ended;
use super::schedule::{Made, Ran};
use super::state::State;

/// The application's status: what the leader shows for everybody.
pub fn judge(o: &Observation, own: &State) -> Status {
    let status = stands(o, own);
    let restore = match (&o.juju.app.restore, &o.juju.app.ended) {
        (Some(restore), _) => format!("; restore of {} by {}", restore.to, restore.unit),
        (None, Some(Ended { to, problem: Some(why), .. })) => format!("; {to} was not restored: {why}"),
        (None, Some(Ended { problem: None, .. }) | None) => String::new(),
    };
    let backup = match o.juju.app.plan.as_ref().and_then(|plan| plan.last.as_ref()) {
        Some(Ran { unit, made: Made { problem: Some(why), .. }, .. }) => {
            format!("; the last planned backup failed on {unit}: {why}")
        }
        Some(Ran { made: Made { problem: None, .. }, .. }) | None => String::new(),
    };
    Status { message: status.message + &restore + &backup, ..status }
}

fn stands(o: &Observation, own: &State) -> Status {
    // Without a majority here, what the others last said may be from before the failure: only our own view counts.
    if matches!(
        own,
        State::Misconfigured(_)
            | State::DataBeforeFormation { .. }
            | State::Electing { .. }
            | State::NoMemberLeft(_)
            | State::NonPrimary { .. }
            | State::Disconnected
            | State::Starting { .. }
            | State::AnsweringCall { .. }
            | State::Restoring { .. }
            | State::Recovering
            | State::WaitingForRecovery(_)
            | State::MembersGone { .. }
            | State::NoUsableCopy
            | State::TwoHistories { .. }
            | State::LeftBehind { serves: false, .. }
    ) {
        return own.status();
    }
    if !o.rivals.is_empty() {
        let rivals = o.rivals.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        return Status {
            level: Level::Blocked,
            message: format!(
                "two primary components: apart from this one, writes are also accepted by {rivals}; stop writing, decide which side to keep, save the other's data and remove its units; nothing was destroyed"
            ),
        };
    }
    let reports = o.reports();
    let histories = serving(&reports);
    if histories.len() > 1 {
        let sides = histories
            .iter()
            .map(|(uuid, units)| {
                format!("{} on {uuid}", units.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            })
            .collect::<Vec<_>>()
            .join(", ");
        return Status {
            level: Level::Blocked,
            message: format!(
                "two histories: {sides}; stop writing and decide which one to keep, nothing was destroyed"
            ),
        };
    }
    // A member that has just died has not said so: our own server's view knows better who is there.
    let absent = o.absent();
    let synced: BTreeSet<&Unit> = histories.values().flatten().copied().filter(|unit| !absent.contains(unit)).collect();
    if let Some(size) = o.node.server.primary().map(|galera| galera.size as usize).filter(|size| *size < synced.len()) {
        return Status { level: Level::Active, message: format!("{size} of {} members Synced", reports.len()) };
    }
    let missing: Vec<String> = reports.keys().filter(|unit| !synced.contains(unit)).map(ToString::to_string).collect();
    match (synced.len(), missing.is_empty()) {
        (0, _) => own.status(),
        (n, true) => Status { level: Level::Active, message: format!("{n} of {n} members Synced") },
        (n, false) => Status {
            level: Level::Active,
            message: format!("{n} of {} members Synced, waiting for {}", reports.len(), missing.join(", ")),
        },
    }
}

/// One sentence for `get-cluster-status`: is it well, how many failures does it survive, who is missing.
pub fn sentence(o: &Observation, own: &State) -> String {
    let reports = o.reports();
    let histories = serving(&reports);
    if let State::NonPrimary { .. }
    | State::Disconnected
    | State::Starting { .. }
    | State::AnsweringCall { .. }
    | State::Restoring { .. }
    | State::Recovering
    | State::MembersGone { .. }
    | State::NoUsableCopy
    | State::TwoHistories { .. } = own
    {
        return format!("This member does not serve: {}.", own.status().message);
    }
    if let State::LeftBehind { serves: false, .. } = own {
        return format!("Nobody can join this member: {}.", own.status().message);
    }
    if !o.rivals.is_empty() {
        return format!("Alarm: {}.", judge(o, own).message);
    }
    match histories.len() {
        0 => format!("No member serves: {}.", own.status().message),
        1 => {
            let absent = o.absent();
            let members: Vec<&Unit> =
                histories.values().flatten().copied().filter(|unit| !absent.contains(unit)).collect();
            let n = members.len();
            let missing: Vec<String> =
                reports.keys().filter(|u| !members.contains(u)).map(ToString::to_string).collect();
            let survives = match n.saturating_sub(1) / 2 {
                0 => "it survives no failure".to_owned(),
                1 => "it survives the failure of one member".to_owned(),
                k => format!("it survives the failure of {k} members, one after the other or at once"),
            };
            if missing.is_empty() {
                format!("Healthy: {n} of {n} members are Synced in one primary component, {survives}.")
            } else {
                format!(
                    "Degraded: {n} of {} members are Synced, missing {}, {survives}.",
                    reports.len(),
                    missing.join(" and ")
                )
            }
        }
        _ => format!("Alarm: {}.", judge(o, own).message),
    }
}

/// Who serves which history.
fn serving(reports: &BTreeMap<Unit, Option<Report>>) -> BTreeMap<ClusterUuid, Vec<&Unit>> {
    let mut histories: BTreeMap<ClusterUuid, Vec<&Unit>> = BTreeMap::new();
    for (unit, report) in reports {
        if let Some(uuid) = report.as_ref().and_then(|r| r.server.synced()) {
            histories.entry(uuid.clone()).or_default().push(unit);
        }
    }
    histories
}
