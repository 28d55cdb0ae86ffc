//! The action tools: an action's parameters, its results, its log.

use serde_json::{Map, Value};

use crate::controller::Controller;
use crate::jujuc::flags::{Flags, failure, usage};
use crate::jujuc::output::{FORMAT, OUTPUT, Outcome, nothing, say};
use crate::uniter::context::{Context, Kind};

/// Runs one action tool.
pub(super) fn call(controller: &Controller, context: &mut Context, tool: &str, args: &[String]) -> Outcome {
    let Kind::Action { task, params, .. } = &context.kind else {
        return Err(failure("not running an action"));
    };
    let task = *task;
    match tool {
        "action-get" => {
            let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[])?;
            let value = match flags.rest.first() {
                None => params.clone(),
                Some(path) => path.split('.').try_fold(params, |at, key| at.get(key)).cloned().unwrap_or(Value::Null),
            };
            say(&value, &flags, "smart")
        }
        "action-set" => {
            let flags = Flags::parse(args, &[], &[])?;
            for pair in &flags.rest {
                let (path, value) = pair
                    .split_once('=')
                    .ok_or_else(|| usage(format!("argument {pair:?} must be of the form key...=value")))?;
                let keys: Vec<&str> = path.split('.').collect();
                for key in &keys {
                    let fine = !key.is_empty()
                        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                        && !key.starts_with('-')
                        && !key.ends_with('-');
                    if !fine {
                        return Err(usage(format!(
                            "key {key:?} must start and end with lowercase alphanumeric, and contain only lowercase alphanumeric and hyphens"
                        )));
                    }
                    if ["stdout", "stdout-encoding", "stderr", "stderr-encoding"].contains(key) {
                        return Err(usage(format!("cannot set reserved action key {key:?}")));
                    }
                }
                insert(&mut context.results, &keys, value);
            }
            nothing()
        }
        "action-fail" => {
            let flags = Flags::parse(args, &[], &[])?;
            let message = flags.rest.first().cloned();
            context.failed = Some(
                message.unwrap_or_else(|| "action failed without reason given, check action for errors".to_owned()),
            );
            nothing()
        }
        _ => {
            let flags = Flags::parse(args, &[], &[])?;
            if flags.rest.is_empty() {
                return Err(usage("no message specified"));
            }
            let message = flags.rest.join(" ");
            controller.change(|state| {
                if let Some(task) = state.tasks.get_mut(&task) {
                    task.log.push(message);
                }
            });
            nothing()
        }
    }
}

/// Puts a value at the end of a path of keys.
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
