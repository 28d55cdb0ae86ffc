//! The storage tools: which storages a unit has, where they are, and the wish for more.

use std::collections::BTreeMap;

use serde_json::json;

use super::Run;
use crate::jujuc::flags::{FORMAT, Flag, OUTPUT, Spec, Takes, ToolError, failure, usage};
use crate::jujuc::output::{Outcome, nothing};
use crate::model::Storage;

pub(super) const LIST: Spec = Spec {
    name: "storage-list",
    args: "[<storage-name>]",
    summary: "List storage attached to the unit.",
    flags: &[FORMAT, OUTPUT],
    details: "Lists the ids of attached storage, of all names or of one.",
};
pub(super) const GET: Spec = Spec {
    name: "storage-get",
    args: "[<key>]",
    summary: "Print information for the storage instance with the specified ID.",
    flags: &[FORMAT, OUTPUT, Flag { names: &["s"], takes: Takes::Id, usage: "specify a storage instance by id" }],
    details: "Keys are \"kind\" and \"location\"; both are printed without a key. In a storage's hook -s may be left out.",
};
pub(super) const ADD: Spec = Spec {
    name: "storage-add",
    args: "<charm storage name>[=count] ...",
    summary: "Add storage instances.",
    flags: &[],
    details: "Wishes for more instances of storage that the charm declares as multiple; made once the hook has ended well.",
};

/// What is attached: told of by its hook, or being told of now.
fn attached<'a>(run: &'a Run<'_>) -> BTreeMap<&'a String, &'a Storage> {
    let context = &run.context;
    let local = &context.snapshot.units[&context.unit].local.storage_attached;
    let hook = context.kind.hook().and_then(|h| h.storage.as_ref());
    let all = context.snapshot.storage.iter().filter(|(_, storage)| storage.unit.as_ref() == Some(&context.unit));
    all.filter(|(id, _)| local.contains(*id) || hook == Some(*id)).collect()
}

pub(super) fn list(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(1)?;
    let name = run.flags.rest.first();
    let ids: Vec<&String> =
        attached(run).into_iter().filter(|(_, s)| name.is_none_or(|name| s.name == *name)).map(|(id, _)| id).collect();
    run.say(&json!(ids))
}

pub(super) fn get(run: &mut Run<'_>) -> Outcome {
    let storage = chosen(run)?;
    run.flags.at_most(1)?;
    let value = match run.flags.rest.first().map(String::as_str) {
        None => json!({"kind": storage.kind, "location": storage.location}),
        Some("kind") => json!(storage.kind),
        Some("location") => json!(storage.location),
        Some(other) => return Err(failure(format!("invalid storage attribute {other:?}"))),
    };
    run.say(&value)
}

fn chosen<'a>(run: &'a Run<'_>) -> Result<&'a Storage, ToolError> {
    let named = run.flags.value("s");
    let hook = run.context.kind.hook().and_then(|h| h.storage.as_deref());
    let id = named.or(hook).ok_or_else(|| usage("no storage instance specified"))?;
    let found = attached(run).into_iter().find(|(known, _)| *known == id);
    found
        .map(|(_, storage)| storage)
        .ok_or_else(|| usage(format!("invalid value {id:?} for option -s: storage not found")))
}

pub(super) fn add(run: &mut Run<'_>) -> Outcome {
    if run.flags.rest.is_empty() {
        return Err(usage("storage add requires a storage directive"));
    }
    let mut wishes = Vec::new();
    for word in &run.flags.rest {
        let (name, count) = word.split_once('=').map_or((word.as_str(), "1"), |(name, count)| (name, count));
        let count: u32 = match count.parse() {
            Ok(0) => return Err(usage(format!("cannot parse count: expected a positive number, got {count:?}"))),
            Ok(count) => count,
            Err(_) => return Err(usage(format!("only count can be specified for {name:?}"))),
        };
        wishes.push((name.to_owned(), count));
    }
    // All of them or none; once more when the hook has ended.
    let mut tried = run.context.snapshot.clone();
    for (name, count) in run.context.buffered.storage.iter().chain(&wishes) {
        tried.add_storage(&run.context.unit, name, *count).map_err(|why| failure(why.to_string()))?;
    }
    run.context.buffered.storage.extend(wishes);
    nothing()
}
