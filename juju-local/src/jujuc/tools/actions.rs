//! The action tools: an action's parameters, its results, its log.

use serde_json::{Map, Value};

use super::Run;
use crate::jujuc::flags::{FORMAT, OUTPUT, Spec, ToolError, failure, usage};
use crate::jujuc::output::{Outcome, nothing};
use crate::uniter::context::Kind;

pub(super) const GET: Spec = Spec {
    name: "action-get",
    args: "[<key>[.<key>.<key>...]]",
    summary: "Get action parameters.",
    flags: &[FORMAT, OUTPUT],
    details: "Prints the value of the parameter at the key, whose parts lead down into maps.\n\
        Without a key, all parameters are printed.",
};
pub(super) const SET: Spec = Spec {
    name: "action-set",
    args: "<key>=<value> [<key>=<value> ...]",
    summary: "Set action results.",
    flags: &[],
    details: "Adds values to the results of the action. The parts of a key make nested maps.\n\
        Each part starts and ends with a lowercase letter or digit and has only these and hyphens.\n\
        Reserved: \"stdout\", \"stdout-encoding\", \"stderr\", \"stderr-encoding\".",
};
pub(super) const FAIL: Spec = Spec {
    name: "action-fail",
    args: "[\"<failure message>\"]",
    summary: "Set action fail status with message.",
    flags: &[],
    details: "The action goes on; when it ends it counts as failed, with this message.",
};
pub(super) const LOG: Spec = Spec {
    name: "action-log",
    args: "<message>",
    summary: "Record a progress message for the current action.",
    flags: &[],
    details: "",
};

const RESERVED: [&str; 4] = ["stdout", "stdout-encoding", "stderr", "stderr-encoding"];

/// The action that runs: its number and its parameters.
fn action<'a>(run: &'a Run<'_>) -> Result<(u32, &'a Value), ToolError> {
    match &run.context.kind {
        Kind::Action { task, params, .. } => Ok((*task, params)),
        Kind::Hook(_) | Kind::Commands => Err(failure("not running an action")),
    }
}

pub(super) fn get(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(1)?;
    let (_, params) = action(run)?;
    let value = match run.flags.rest.first() {
        None => params.clone(),
        Some(path) => path.split('.').try_fold(params, |at, key| at.get(key)).cloned().unwrap_or(Value::Null),
    };
    run.say(&value)
}

pub(super) fn set(run: &mut Run<'_>) -> Outcome {
    let mut values = Vec::new();
    for pair in &run.flags.rest {
        let (path, value) =
            pair.split_once('=').ok_or_else(|| usage(format!("argument {pair:?} must be of the form key...=value")))?;
        let keys: Vec<&str> = path.split('.').collect();
        for key in &keys {
            if !is_key(key) {
                return Err(usage(format!(
                    "key {key:?} must start and end with lowercase alphanumeric, and contain only lowercase \
                     alphanumeric, hyphens and periods"
                )));
            }
            if RESERVED.contains(key) {
                return Err(usage(format!("cannot set reserved action key {key:?}")));
            }
        }
        values.push((keys, value));
    }
    action(run)?;
    for (keys, value) in values {
        insert(&mut run.context.results, &keys, value);
    }
    nothing()
}

fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !key.starts_with('-')
        && !key.ends_with('-')
}

/// Puts a value at the end of a path of keys; what was there and is in the way goes.
fn insert(at: &mut Value, keys: &[&str], value: &str) {
    let Some((first, rest)) = keys.split_first() else {
        return;
    };
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    let slot = &mut at[*first];
    if rest.is_empty() {
        *slot = Value::String(value.to_owned());
    } else {
        insert(slot, rest, value);
    }
}

pub(super) fn fail(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(1)?;
    action(run)?;
    let message = run.flags.rest.first().cloned();
    let default = || "action failed without reason given, check action for errors".to_owned();
    run.context.failed = Some(message.unwrap_or_else(default));
    nothing()
}

pub(super) fn log(run: &mut Run<'_>) -> Outcome {
    if run.flags.rest.is_empty() {
        return Err(usage("no message specified"));
    }
    let (task, _) = action(run)?;
    let message = run.flags.rest.join(" ");
    run.controller.change(|state| {
        if let Some(task) = state.tasks.get_mut(&task) {
            task.log.push(message);
        }
    });
    nothing()
}
