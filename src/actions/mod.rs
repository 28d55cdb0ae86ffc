//! An operator's requests, one file each: parameters → what to do; what came of it → results.

mod backup;
mod bootstrap_cluster;
mod get_cluster_status;
mod get_password;
mod list_backups;
mod restore;
mod set_password;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::Event;
use crate::invocation;
use crate::juju::action;
use crate::model::observe::{self, Model};

/// Runs an action. A request that cannot be fulfilled fails the action with a sentence; it never fails the unit.
///
/// # Errors
/// When Juju itself does not answer.
pub fn run(name: &str) -> anyhow::Result<()> {
    let params = action::params()?;
    let result = match name {
        "backup" | "create-backup" => backup::run(&params),
        "bootstrap-cluster" => bootstrap_cluster::run(&params),
        "get-cluster-status" => get_cluster_status::run(&params),
        "get-password" => get_password::run(&params),
        "list-backups" => list_backups::run(&params),
        "restore" => restore::run(&params),
        "undo-restore" => restore::undo(),
        "confirm-restore" => restore::confirm(),
        "verify-backup" => backup::verify_backup(&params),
        "set-password" => set_password::run(&params),
        other => Err(anyhow::anyhow!("this charm has no action {other}")),
    };
    match result {
        Ok(results) => action::set(&results)?,
        Err(why) => action::fail(&format!("{why:#}"))?,
    }
    Ok(())
}

/// A text parameter with its default.
fn text<'a>(params: &'a BTreeMap<String, Value>, name: &str, default: &'a str) -> &'a str {
    params.get(name).and_then(Value::as_str).unwrap_or(default)
}

/// A parameter that is true or false; false when it is not given.
fn flag(params: &BTreeMap<String, Value>, name: &str) -> anyhow::Result<bool> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => anyhow::bail!("{name} {other} is not true or false"),
    }
}

/// Juju's side, as an action sees it.
fn model() -> anyhow::Result<Model> {
    observe::observe(&invocation::unit_name()?, Event::Ordinary)
}

/// The account that a request names: one of those whose password is of use to a person.
fn account(params: &BTreeMap<String, Value>) -> anyhow::Result<&str> {
    const NAMED: [&str; 3] = ["charmed-operator", "charmed-stats", "charmed-backup"];
    let name = text(params, "username", NAMED[0]);
    if NAMED.contains(&name) {
        return Ok(name);
    }
    anyhow::bail!("username {name:?} is not one of {}", NAMED.join(", "))
}
