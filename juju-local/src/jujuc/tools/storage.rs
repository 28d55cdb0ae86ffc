//! The storage tools: which storages a unit has, and where they are.

use serde_json::json;

use crate::jujuc::flags::{Flags, failure, usage};
use crate::jujuc::output::{FORMAT, OUTPUT, Outcome, say};
use crate::uniter::context::Context;

/// Runs one storage tool.
pub(super) fn call(context: &Context, tool: &str, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[FORMAT, OUTPUT, &["s"]], &[])?;
    let state = &context.snapshot;
    let hook_storage = context.kind.hook().and_then(|h| h.storage.clone());
    let local = &state.units[&context.unit].local.storage_attached;
    match tool {
        "storage-list" => {
            let ids: Vec<&String> = state
                .storage
                .iter()
                .filter(|(id, s)| {
                    s.unit.as_ref() == Some(&context.unit)
                        && (local.contains(*id) || hook_storage.as_ref() == Some(*id))
                })
                .filter(|(_, s)| flags.rest.first().is_none_or(|name| s.name == *name))
                .map(|(id, _)| id)
                .collect();
            say(&json!(ids), &flags, "smart")
        }
        "storage-get" => {
            let id = flags
                .value("s")
                .map(ToOwned::to_owned)
                .or(hook_storage)
                .ok_or_else(|| usage("no storage instance specified"))?;
            let storage = state
                .storage
                .get(&id)
                .filter(|s| s.unit.as_ref() == Some(&context.unit))
                .ok_or_else(|| usage("storage not found"))?;
            let value = match flags.rest.first().map(String::as_str) {
                None => json!({"kind": storage.kind, "location": storage.location}),
                Some("kind") => json!(storage.kind),
                Some("location") => json!(storage.location),
                Some(other) => return Err(failure(format!("invalid storage attribute {other:?}"))),
            };
            say(&value, &flags, "smart")
        }
        _ => Err(failure("storage-add is not supported by juju-local")),
    }
}
