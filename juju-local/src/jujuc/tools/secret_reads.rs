//! Reading secrets: which one is meant, who may, and which revision this unit gets.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::Run;
use super::secret_writes::secret_id;
use crate::jujuc::flags::{FORMAT, Flag, OUTPUT, PLAIN_FORMAT, Spec, Takes, ToolError, failure, usage};
use crate::jujuc::go_yaml;
use crate::jujuc::output::{Outcome, json};
use crate::model::{Content, Owner, Secret, SecretText, State};
use crate::uniter::context::SecretChange;

const LABEL: Flag =
    Flag { names: &["label"], takes: Takes::Text(""), usage: "a label used to identify the secret in hooks" };

pub(super) const GET: Spec = Spec {
    name: "secret-get",
    args: "<ID> [key[#base64]]",
    summary: "Get the content of a secret.",
    flags: &[
        PLAIN_FORMAT,
        OUTPUT,
        LABEL,
        Flag { names: &["peek"], takes: Takes::Nothing, usage: "get the latest revision just this time" },
        Flag {
            names: &["refresh"],
            takes: Takes::Nothing,
            usage: "get the latest revision and also get this same revision for subsequent calls",
        },
    ],
    details: "The first read takes the latest revision and later ones get the same, but for --peek, which looks at the latest\n\
        once, and --refresh, which stays with it. The secret is named by its ID or by a label; both together give it the label.",
};
pub(super) const INFO: Spec = Spec {
    name: "secret-info-get",
    args: "<ID>",
    summary: "Get a secret's metadata info.",
    flags: &[PLAIN_FORMAT, OUTPUT, LABEL],
    details: "For the owner: of an application's secrets the leader.",
};
pub(super) const IDS: Spec = Spec {
    name: "secret-ids",
    args: "",
    summary: "Print secret IDs.",
    flags: &[FORMAT, OUTPUT],
    details: "Prints the ids of this unit's secrets, and for the leader those of the application.",
};

pub(super) fn ids(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(0)?;
    let me = &run.context.unit;
    let mut ids: BTreeSet<String> = run.controller.read(|state| {
        state.secrets.iter().filter(|(_, s)| s.managed_by(state, me)).map(|(id, _)| id.clone()).collect()
    });
    for change in &run.context.buffered.secrets {
        match change {
            SecretChange::Create { id, .. } => drop(ids.insert(id.clone())),
            SecretChange::Remove { id, revision: None } => drop(ids.remove(id)),
            SecretChange::Remove { .. }
            | SecretChange::Update { .. }
            | SecretChange::Track { .. }
            | SecretChange::Grant { .. } => {}
        }
    }
    run.say(&json!(ids))
}

/// The secret that this run has created under a label.
fn created_by_label(run: &Run<'_>, label: &str) -> Option<String> {
    run.context.buffered.secrets.iter().find_map(|change| match change {
        SecretChange::Create { id, text, .. } if text.label.as_deref() == Some(label) => Some(id.clone()),
        SecretChange::Create { .. }
        | SecretChange::Update { .. }
        | SecretChange::Remove { .. }
        | SecretChange::Track { .. }
        | SecretChange::Grant { .. } => None,
    })
}

fn by_label(run: &Run<'_>, label: &str) -> Option<String> {
    created_by_label(run, label)
        .or_else(|| run.controller.read(|state| state.secret_by_label(&run.context.unit, label)))
        .filter(|id| !run.context.has_removed(id))
}

fn stored(run: &Run<'_>, id: &str) -> Result<Secret, ToolError> {
    let found = run.controller.read(|state| state.secrets.get(id).cloned());
    found.filter(|_| !run.context.has_removed(id)).ok_or_else(|| failure(format!("secret {id:?} not found")))
}

/// The version from which owners and their peers track revisions like everybody else.
fn owners_track(state: &State) -> bool {
    state.is_at_least("3.3.1") || (state.is_at_least("3.1.7") && !state.is_at_least("3.2"))
}

pub(super) fn get(run: &mut Run<'_>) -> Outcome {
    let label = run.flags.text("label").map(ToOwned::to_owned);
    let named = run.flags.rest.first().map(|uri| secret_id(uri)).transpose()?;
    if named.is_none() && label.is_none() {
        return Err(usage("require either a secret URI or label"));
    }
    if run.flags.switch("peek") && run.flags.switch("refresh") {
        return Err(usage("specify one of --peek or --refresh but not both"));
    }
    run.flags.at_most(2)?;
    let id = match (&named, &label) {
        (Some(id), _) => id.clone(),
        (None, label) => {
            let label = label.clone().unwrap_or_default();
            by_label(run, &label).ok_or_else(|| failure(format!("consumer label {label:?} not found")))?
        }
    };
    let content = content(run, &id, label.filter(|_| named.is_some()), named.is_some())?;
    let Some(key) = run.flags.rest.get(1) else {
        let map: Map<String, Value> = content.into_iter().map(|(key, value)| (key, json!(value))).collect();
        return run.say(&Value::Object(map));
    };
    let (key, encoded) = key.strip_suffix("#base64").map_or((key.as_str(), false), |key| (key, true));
    let value = content.get(key).ok_or_else(|| failure(format!("secret key value {key:?} not found")))?;
    let shown = if encoded { base64::engine::general_purpose::STANDARD.encode(value) } else { value.clone() };
    run.say(&json!(shown))
}

/// The content that this unit gets; `label` is the one to know it by from now on.
fn content(run: &mut Run<'_>, id: &str, label: Option<String>, by_uri: bool) -> Result<Content, ToolError> {
    let newest = run.flags.switch("peek") || run.flags.switch("refresh");
    if let Some(label) = &label {
        let other = by_label(run, label).filter(|other| other != id);
        if other.is_some() {
            return Err(failure(format!("secret with label {label:?} already exists")));
        }
    }
    if run.context.created_secret(id).is_some() {
        if let (Some(text), Some(label)) = (run.context.secret_text(id), label) {
            text.label = Some(label);
        }
        return Ok(run.context.pending_content(id).unwrap_or_default());
    }
    let secret = stored(run, id)?;
    let me = run.context.unit.clone();
    if !run.controller.read(|state| state.may_read(&secret, &me)) {
        return Err(denied(run));
    }
    let owner = run.controller.read(|state| secret.managed_by(state, &me));
    if let Some(label) = label.clone().filter(|label| owner && *label != secret.label) {
        let text = SecretText { label: Some(label), ..SecretText::default() };
        match run.context.secret_text(id) {
            Some(before) => before.merge(text),
            None => {
                let at = run.controller.now();
                run.context.buffered.secrets.push(SecretChange::Update { id: id.to_owned(), text, at });
            }
        }
    }
    // Until 3.6.11 what the hook itself had just written was not found by its label.
    let finds_own_writing = by_uri || run.context.snapshot.is_at_least("3.6.12");
    if let Some(content) = run.context.pending_content(id).filter(|_| newest && finds_own_writing) {
        if run.flags.switch("refresh") && secret.is_granted() {
            run.context.buffered.secrets.push(SecretChange::Track { id: id.to_owned() });
        }
        return Ok(content);
    }
    let live = secret.is_own(&me) && !owners_track(&run.context.snapshot);
    // The leader is not held to a revision while nobody else was given its application's secret.
    let revision = if live || (owner && !secret.is_granted()) {
        secret.latest
    } else {
        let label = label.filter(|_| !owner);
        track(run, id, label)
    };
    let revision = if run.flags.switch("peek") { secret.latest } else { revision };
    secret.revisions.get(&revision).cloned().ok_or_else(|| failure(format!("secret revision {revision} not found")))
}

fn denied(run: &Run<'_>) -> ToolError {
    if run.context.snapshot.major() >= 4 {
        return failure(format!("{:?} is not allowed to read this secret", run.context.unit.to_string()));
    }
    failure("permission denied")
}

/// The revision that this unit stays with: the first read fixes it, at once and on the controller.
fn track(run: &Run<'_>, id: &str, label: Option<String>) -> u32 {
    let me = run.context.unit.clone();
    let (peek, refresh) = (run.flags.switch("peek"), run.flags.switch("refresh"));
    run.controller.change(|state| {
        let Some(secret) = state.secrets.get_mut(id) else {
            return 0;
        };
        let latest = secret.latest;
        let consumer = secret.consumers.entry(me).or_default();
        if consumer.tracked == 0 || (refresh && !peek) {
            consumer.tracked = latest;
        }
        if let Some(label) = label {
            consumer.label = label;
        }
        let tracked = consumer.tracked;
        secret.prune();
        tracked
    })
}

pub(super) fn info(run: &mut Run<'_>) -> Outcome {
    let label = run.flags.text("label").map(ToOwned::to_owned);
    let named = run.flags.rest.first().map(|uri| secret_id(uri)).transpose()?;
    let id = match (named, label) {
        (None, None) => return Err(usage("require either a secret URI or label")),
        (Some(_), Some(_)) => return Err(usage("specify either a secret URI or label but not both")),
        (Some(id), None) => id,
        (None, Some(label)) => by_label(run, &label).ok_or_else(|| failure(format!("secret {label:?} not found")))?,
    };
    run.flags.at_most(1)?;
    let secret = match run.context.created_secret(&id) {
        Some((owner, text, at)) => Secret::new(owner.clone(), text.clone(), at),
        None => {
            let secret = stored(run, &id)?;
            if !run.controller.read(|state| secret.managed_by(state, &run.context.unit)) {
                return Err(failure(format!("secret {id:?} not found")));
            }
            secret
        }
    };
    let fields = run.controller.read(|state| described(state, &secret));
    // Go prints a struct's fields in their own order.
    let text = if run.format() == "json" {
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key:?}:{}", json(value))).collect();
        format!("{{{:?}:{{{}}}}}\n", id, fields.join(","))
    } else {
        format!("{id}:\n{}", fields.iter().map(yaml_field).collect::<String>())
    };
    run.say_text(text)
}

fn yaml_field((key, value): &(&'static str, Value)) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match *key {
        // A time is no text: it has no quotes.
        "expiry" | "rotates" => format!("  {key}: {}\n", word(value)),
        "access" => {
            let entry = |one: &Value| {
                let [target, scope, role] = ["target", "scope", "role"].map(|key| word(&one[key]));
                format!("  - target: {target}\n    scope: {scope}\n    role: {role}\n")
            };
            let entries = value.as_array().into_iter().flatten().map(entry);
            format!("  access:\n{}", entries.collect::<String>())
        }
        _ => go_yaml::fields(&[(key, value.clone())]),
    }
}

fn described(state: &State, secret: &Secret) -> Vec<(&'static str, Value)> {
    let owner = if matches!(secret.owner, Owner::Unit(_)) { "unit" } else { "application" };
    let time = |at: u64| json!(crate::model::view::utc(at));
    let mut fields = vec![("revision", json!(secret.latest)), ("label", json!(secret.label)), ("owner", json!(owner))];
    if !secret.description.is_empty() {
        fields.push(("description", json!(secret.description)));
    }
    fields.push(("rotation", json!(secret.rotate)));
    if let Some(at) = secret.times.get(&secret.latest).and_then(|times| times.expires) {
        fields.push(("expiry", time(at)));
    }
    if let Some(at) = secret.next_rotate {
        fields.push(("rotates", time(at)));
    }
    if secret.is_granted() {
        fields.push(("access", crate::model::view::secret_access(state, secret)));
    }
    fields
}
