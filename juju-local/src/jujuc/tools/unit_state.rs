//! The state tools: keys and values that a unit keeps for itself on the controller.

use std::collections::BTreeMap;

use serde_json::json;

use super::key_values::{pairs, scalars};
use crate::jujuc::Call;
use crate::jujuc::flags::{Flags, failure, usage};
use crate::jujuc::output::{FORMAT, OUTPUT, Outcome, Said, nothing, say};
use crate::uniter::context::Context;

/// Runs one state tool.
pub(super) fn call(context: &mut Context, call: &Call) -> Outcome {
    let flags = Flags::parse(&call.args, &[FORMAT, OUTPUT, &["file"]], &[&["strict"]])?;
    let mut values = context.snapshot.units[&context.unit].charm_state.clone();
    for (key, change) in &context.buffered.state {
        match change {
            Some(value) => values.insert(key.clone(), value.clone()),
            None => values.remove(key),
        };
    }
    match call.tool.as_str() {
        "state-get" => {
            let key = flags.rest.first().filter(|key| *key != "-");
            let value = match key {
                None => json!(values),
                Some(key) if flags.switch("strict") && !values.contains_key(key) => {
                    return Err(failure(format!("{key:?} not found")));
                }
                Some(key) => json!(values.get(key).cloned().unwrap_or_default()),
            };
            say(&value, &flags, "smart")
        }
        "state-set" => {
            let mut changes = match (flags.value("file"), &call.stdin) {
                (None, _) => BTreeMap::new(),
                (Some("-"), None) => return Ok(Said::NeedStdin),
                (Some("-"), Some(text)) => scalars(text)?,
                (Some(_), _) => {
                    return Err(failure("state-set --file PATH is not supported by juju-local; use --file -"));
                }
            };
            changes.extend(pairs(&flags.rest)?);
            context.buffered.state.extend(changes.into_iter().map(|(k, v)| (k, Some(v))));
            nothing()
        }
        _ => {
            let key = flags.rest.first().ok_or_else(|| usage("no key specified"))?;
            context.buffered.state.insert(key.clone(), None);
            nothing()
        }
    }
}
