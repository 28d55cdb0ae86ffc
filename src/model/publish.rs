//! Telling: what this unit reports, what the leader commits, what the operator reads. Runs last, because Juju shows it
//! to others only when the hook ends well; from what was done, not from what was hoped.

use anyhow::Context as _;

use super::credentials::{self, Passwords};
use super::observe::Model;
use super::peer_data::{self, Bag, CredentialsText};
use crate::cluster::{Commit, Level, Report, Status};
use crate::invocation::CLIENT_BINDING;
use crate::juju::status::{self as shown, Shown};
use crate::juju::{self, log};

/// Writes this unit's report, as far as it differs from what stands there. Returns whether it did.
///
/// # Errors
/// When Juju refuses.
pub fn report(model: &Model, report: &Report) -> anyhow::Result<bool> {
    let Some(relation) = &model.relation else {
        return Ok(false);
    };
    let client_address = (CLIENT_BINDING.to_owned(), model.client_address.clone().unwrap_or_default());
    let changes: Bag = peer_data::write_report(report, model.format)
        .into_iter()
        .chain([client_address])
        .filter(|(key, value)| model.own_bag.get(key).map_or("", String::as_str) != value)
        .collect();
    if changes.is_empty() {
        return Ok(false);
    }
    juju::relation::set_unit(relation, &changes).context("cannot publish this unit's report")?;
    Ok(true)
}

/// Writes what the leader commits, all in this hook's one transaction.
///
/// # Errors
/// When Juju refuses; nothing of it becomes visible then.
pub fn commit(model: &Model, commits: &[Commit]) -> anyhow::Result<()> {
    let Some(relation) = &model.relation else {
        return Ok(());
    };
    let mut changes = Bag::new();
    for commit in commits {
        log::info(&format!("leader: {commit}"));
        changes.extend(match commit {
            Commit::Credentials => peer_data::write_credentials(&credentials::keep(&Passwords::make(), None)?),
            Commit::Formation(formation) => peer_data::write_formation(formation),
            Commit::History(history) => peer_data::write_history(history),
            Commit::Recovery(recovery) => peer_data::write_recovery(Some(recovery)),
            Commit::Restore(restore) => peer_data::write_restore(restore),
            Commit::EndRestore(ended) => peer_data::write_ended(ended),
            Commit::ForgetEnded => peer_data::forget_ended(),
            Commit::Plan(plan) => peer_data::write_plan(plan),
            Commit::Turn(turn) => peer_data::write_turn(turn),
            Commit::CloseRecovery => peer_data::write_recovery(None),
            Commit::CredentialsSettled { generation } => {
                let before = model.credentials.clone().unwrap_or_default();
                peer_data::write_credentials(&CredentialsText { settled: *generation, ..before })
            }
        });
    }
    let changes = peer_data::keep_unknown(&model.app_bag, changes, model.format);
    if changes.is_empty() {
        return Ok(());
    }
    juju::relation::set_app(relation, &changes).context("cannot commit for the application")
}

/// Shows this unit's status. Returns whether it was another one.
///
/// # Errors
/// When Juju refuses.
pub fn unit_status(status: &Status) -> anyhow::Result<bool> {
    let current = shown::get_unit().context("cannot read the unit's status")?;
    set(&current, status, shown::set_unit).context("cannot show the unit's status")
}

/// Shows the application's status; the leader's part. Returns whether it was another one.
///
/// # Errors
/// When Juju refuses for another reason than that leadership has moved on.
pub fn application_status(status: &Status) -> anyhow::Result<bool> {
    let result = shown::get_application().and_then(|current| set(&current, status, shown::set_application));
    match result {
        Err(why) if why.is_not_leader() => Ok(true),
        other => other.context("cannot show the application's status"),
    }
}

/// What goes on while an action runs, behind the status that the unit has: no hook runs meanwhile that could show it.
pub struct Beside {
    before: Shown,
}

impl Beside {
    /// Behind the status of now; `None` when Juju does not tell it.
    pub fn of_now() -> Option<Self> {
        shown::get_unit().ok().map(|before| Self { before })
    }

    /// Shows it. That it cannot be shown is no reason to stop.
    pub fn show(&self, text: &str) {
        let _only_shown = shown::set_unit_again(&self.before, &format!("; {text}"));
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _only_shown = shown::set_unit_again(&self.before, "");
    }
}

/// A status that is the same already is left alone: every setting is a write in the controller.
fn set(
    current: &Shown,
    status: &Status,
    write: impl FnOnce(shown::Status, &str) -> Result<(), juju::Error>,
) -> Result<bool, juju::Error> {
    let level = match status.level {
        Level::Active => shown::Status::Active,
        Level::Maintenance => shown::Status::Maintenance,
        Level::Waiting => shown::Status::Waiting,
        Level::Blocked => shown::Status::Blocked,
    };
    let other = !current.is(level, &status.message);
    if other {
        write(level, &status.message)?;
    }
    Ok(other)
}
