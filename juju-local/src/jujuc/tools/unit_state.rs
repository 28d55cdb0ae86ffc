//! The state tools: keys and values that a unit keeps for itself on the controller.

use serde_json::json;

use super::Run;
use super::key_values::need_stdin;
use crate::jujuc::flags::{FORMAT, Flag, OUTPUT, Spec, Takes, failure};
use crate::jujuc::output::{Outcome, nothing};

/// Bytes.
const KEY_MAX: usize = 256;
const VALUE_MAX: usize = 64 * 1024;

pub(super) const GET: Spec = Spec {
    name: "state-get",
    args: "[<key>]",
    summary: "Print server-side-state value.",
    flags: &[
        FORMAT,
        OUTPUT,
        Flag {
            names: &["strict"],
            takes: Takes::Nothing,
            usage: "Return an error if the requested key does not exist",
        },
    ],
    details: "Prints the value of a key that this unit has set; all of them without a key or for \"-\".",
};
pub(super) const SET: Spec = Spec {
    name: "state-set",
    args: "<key>=<value> [<key>=<value> ...]",
    summary: "Set server-side-state values.",
    flags: &[Flag { names: &["file"], takes: Takes::Text(""), usage: "file containing key-value pairs" }],
    details: "--file takes a YAML map, from standard input for \"-\". An empty value is kept as it is. Kept once the hook has\n\
        ended well.",
};
pub(super) const DELETE: Spec = Spec {
    name: "state-delete",
    args: "<key>",
    summary: "Delete server-side-state key value pair.",
    flags: &[],
    details: "",
};

pub(super) fn get(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(1)?;
    let mut values = run.context.snapshot.units[&run.context.unit].charm_state.clone();
    for (key, change) in &run.context.buffered.state {
        match change {
            Some(value) => values.insert(key.clone(), value.clone()),
            None => values.remove(key),
        };
    }
    let key = run.flags.rest.first().filter(|key| *key != "-");
    let value = match key {
        None => json!(values),
        Some(key) if run.flags.switch("strict") && !values.contains_key(key) => {
            return Err(failure(format!("{key:?} not found")));
        }
        Some(key) => json!(values.get(key).cloned().unwrap_or_default()),
    };
    run.say(&value)
}

pub(super) fn set(run: &mut Run<'_>) -> Outcome {
    let Some(changes) = run.key_values()? else {
        return need_stdin();
    };
    for (key, value) in &changes {
        if key.len() > KEY_MAX {
            return Err(failure(format!("max allowed key length ({KEY_MAX}) exceeded")));
        }
        if value.len() > VALUE_MAX {
            return Err(failure(format!("max allowed value length ({VALUE_MAX}) exceeded")));
        }
    }
    run.context.buffered.state.extend(changes.into_iter().map(|(k, v)| (k, Some(v))));
    nothing()
}

pub(super) fn delete(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(1)?;
    if let Some(key) = run.flags.rest.first() {
        run.context.buffered.state.insert(key.clone(), None);
    }
    nothing()
}
