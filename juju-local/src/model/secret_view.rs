//! Secrets as commands show them, in Juju's shapes: content only where it is asked for.

use serde_json::{Map, Value, json};

use super::secret::OPERATOR;
use super::view::utc;
use super::{Owner, Secret, State};

/// `juju secrets`: owners and revisions, never content.
pub fn secrets(state: &State) -> Value {
    let all: Map<String, Value> =
        state.secrets.iter().map(|(id, one)| (id.clone(), secret(state, one, None))).collect();
    Value::Object(all)
}

/// Who may read it, as the owner is told.
pub fn secret_access(state: &State, secret: &Secret) -> Value {
    let scope = |relation: &u32| match state.relations.get(relation) {
        _ if *relation == OPERATOR => format!("model-{}", state.uuid),
        Some(relation) => format!("relation-{}", relation.key().replace(':', ".").replace(' ', "#")),
        None => String::new(),
    };
    let apps = secret.grants.iter().map(|(app, relation)| (format!("application-{app}"), scope(relation)));
    let units = secret.unit_grants.iter().map(|(unit, relation)| (unit.tag(), scope(relation)));
    let entry = |(target, scope): (String, String)| json!({"target": target, "scope": scope, "role": "view"});
    Value::Array(apps.chain(units).map(entry).collect())
}

/// What `juju show-secret` shows of one; with the content of a revision where one is named.
pub fn secret(state: &State, secret: &Secret, reveal: Option<u32>) -> Value {
    let owner = match &secret.owner {
        Owner::Application(app) => app.clone(),
        Owner::Unit(unit) => unit.to_string(),
        Owner::Model => "<model>".to_owned(),
    };
    let mut body = json!({"revision": secret.latest, "owner": owner, "created": utc(secret.created),
        "updated": utc(secret.updated())});
    // The operator names user secrets; charms label theirs.
    let name = if secret.owner == Owner::Model { "name" } else { "label" };
    for (key, text) in [(name, &secret.label), ("description", &secret.description)] {
        if !text.is_empty() {
            body[key] = json!(text);
        }
    }
    if secret.owner != Owner::Model {
        body["rotation"] = json!(secret.rotate);
    }
    let times = secret.times.get(&secret.latest);
    for (key, at) in [("expires", times.and_then(|times| times.expires)), ("rotates", secret.next_rotate)] {
        if let Some(at) = at {
            body[key] = json!(utc(at));
        }
    }
    if secret.is_granted() {
        body["access"] = secret_access(state, secret);
    }
    // Not Juju's: who has read it, and which revision they stay with.
    if !secret.consumers.is_empty() {
        let consumers = secret.consumers.iter().map(|(unit, consumer)| (unit.to_string(), json!(consumer.tracked)));
        body["consumers"] = Value::Object(consumers.collect());
    }
    if let Some(content) = reveal.and_then(|revision| secret.revisions.get(&revision)) {
        body["content"] = json!({"Data": content});
    }
    body
}

/// All revisions, as `--revisions` lists them.
pub fn revisions(secret: &Secret) -> Value {
    let one = |revision: &u32| {
        let times = secret.times.get(revision).cloned().unwrap_or_default();
        let mut body = json!({"revision": revision, "created": utc(times.created), "updated": utc(times.created)});
        if let Some(at) = times.expires {
            body["expires"] = json!(utc(at));
        }
        body
    };
    Value::Array(secret.revisions.keys().map(one).collect())
}
