//! The secret tools.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::key_values::{file_text, scalars};
use super::leadership::is_leader;
use super::relations::relation;
use crate::controller::Controller;
use crate::jujuc::Call;
use crate::jujuc::flags::{Flags, ToolError, failure, usage};
use crate::jujuc::output::{FORMAT, OUTPUT, Outcome, Said, nothing, say};
use crate::model::{Owner, Secret};
use crate::uniter::context::{Context, SecretChange};

const LABEL: &[&str] = &["label"];
const SET_FLAGS: &[&[&str]] = &[LABEL, &["description"], &["owner"], &["rotate"], &["expire"], &["file"]];

/// Runs one secret tool.
pub(super) fn call(controller: &Controller, context: &mut Context, call: &Call) -> Outcome {
    match call.tool.as_str() {
        "secret-add" => add(controller, context, call),
        "secret-set" => set(controller, context, call),
        "secret-get" => get(controller, context, call),
        "secret-remove" => {
            let flags = Flags::parse(&call.args, &[&["revision"]], &[])?;
            let id = managed(controller, context, flags.rest.first())?;
            let revision = flags
                .value("revision")
                .map(|r| r.parse().map_err(|_| usage(format!("invalid revision {r:?}"))))
                .transpose()?;
            context.buffered.secrets.push(SecretChange::Remove { id, revision });
            nothing()
        }
        "secret-grant" | "secret-revoke" => {
            let flags = Flags::parse(&call.args, &[&["r", "relation"], &["unit"], &["app", "application"]], &[])?;
            let id = managed(controller, context, flags.rest.first())?;
            let relation = relation(context, &flags)?;
            let application = context.snapshot.relations[&relation].remote_app(&context.unit.app);
            let revoke = call.tool == "secret-revoke";
            context.buffered.secrets.push(SecretChange::Grant { id, application, relation, revoke });
            nothing()
        }
        "secret-info-get" => {
            let flags = Flags::parse(&call.args, &[LABEL, FORMAT, OUTPUT], &[])?;
            let id = find(controller, context, &flags)?;
            let secret = live(controller, &id)?;
            if !controller.read(|state| secret.managed_by(state, &context.unit)) {
                return Err(failure(format!("secret {id:?} not found")));
            }
            let owner = if matches!(secret.owner, Owner::Unit(_)) { "unit" } else { "application" };
            let info = json!({"revision": secret.latest, "label": secret.label, "owner": owner,
                "description": secret.description, "rotation": secret.rotate});
            say(&json!({id: info}), &flags, "yaml")
        }
        _ => {
            let flags = Flags::parse(&call.args, &[FORMAT, OUTPUT], &[])?;
            let ids: Vec<String> = controller.read(|state| {
                state
                    .secrets
                    .iter()
                    .filter(|(_, s)| s.managed_by(state, &context.unit))
                    .map(|(id, _)| id.clone())
                    .collect()
            });
            say(&json!(ids), &flags, "smart")
        }
    }
}

fn live(controller: &Controller, id: &str) -> Result<Secret, ToolError> {
    controller.read(|state| state.secrets.get(id).cloned()).ok_or_else(|| failure(format!("secret {id:?} not found")))
}

/// A secret that this unit may change, from its URI.
fn managed(controller: &Controller, context: &mut Context, uri: Option<&String>) -> Result<String, ToolError> {
    let uri = uri.ok_or_else(|| usage("missing secret URI"))?;
    let id = uri.rsplit(['/', ':']).next().unwrap_or(uri).to_owned();
    let created =
        context.buffered.secrets.iter().any(|c| matches!(c, SecretChange::Create { id: other, .. } if *other == id));
    if created {
        return Ok(id);
    }
    let secret = controller
        .read(|state| state.secrets.get(&id).cloned())
        .ok_or_else(|| failure(format!("secret {uri:?} not found")))?;
    let own = match &secret.owner {
        Owner::Application(app) => *app == context.unit.app && is_leader(controller, context),
        Owner::Unit(unit) => *unit == context.unit,
        Owner::Model => false,
    };
    if own { Ok(id) } else { Err(failure("permission denied")) }
}

/// The content that arguments and files name.
fn content(
    controller: &Controller,
    context: &Context,
    call: &Call,
    flags: &Flags,
) -> Result<Result<BTreeMap<String, String>, Said>, ToolError> {
    let mut content = match flags.value("file") {
        None => BTreeMap::new(),
        Some(name) => match file_text(controller, context, call, name)? {
            None => return Ok(Err(Said::NeedStdin)),
            Some(text) => scalars(&text)?,
        },
    };
    for pair in &flags.rest {
        let trimmed = pair.trim_end_matches('=');
        let (key, value) = trimmed.split_once('=').ok_or_else(|| usage(format!("key value {pair:?} not valid")))?;
        let value = format!("{value}{}", &pair[trimmed.len()..]);
        let (key, value) = match key.split_once('#') {
            None => (key, value),
            Some((key, "base64")) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(&value);
                let text = bytes.ok().and_then(|b| String::from_utf8(b).ok());
                (key, text.ok_or_else(|| usage(format!("key {key:?}: value is not base64 of a text")))?)
            }
            Some((key, "file")) => (key, file_text(controller, context, call, &value)?.unwrap_or_default()),
            Some((_, kind)) => return Err(usage(format!("key suffix {kind:?} not valid"))),
        };
        content.insert(key.to_owned(), value);
    }
    for (key, value) in &content {
        if !valid_key(key) {
            return Err(usage(format!("key {key:?} not valid")));
        }
        if value.is_empty() {
            return Err(usage(format!("key value {:?} not valid", format!("{key}="))));
        }
        if value.len() > 1_000_000 {
            return Err(failure(format!("secret content for key {key:?} too large: {} bytes", value.len())));
        }
    }
    Ok(Ok(content))
}

/// `^([a-z](?:-?[a-z0-9]){2,})$`
fn valid_key(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.chars().filter(|c| *c != '-').count() >= 3
        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !key.ends_with('-')
        && !key.contains("--")
}

fn add(controller: &Controller, context: &mut Context, call: &Call) -> Outcome {
    let flags = Flags::parse(&call.args, SET_FLAGS, &[])?;
    let content = match content(controller, context, call, &flags)? {
        Ok(content) => content,
        Err(said) => return Ok(said),
    };
    if content.is_empty() {
        return Err(usage("missing secret value or filename"));
    }
    let owner = match flags.value("owner").unwrap_or("application") {
        "application" => {
            if !is_leader(controller, context) {
                return Err(failure("this unit is not the leader"));
            }
            Owner::Application(context.unit.app.clone())
        }
        "unit" => Owner::Unit(context.unit.clone()),
        other => return Err(usage(format!("secret owner {other:?} not valid"))),
    };
    let label = flags.value("label").unwrap_or_default().to_owned();
    let repeated = |c: &SecretChange| matches!(c, SecretChange::Create { label: other, .. } if !label.is_empty() && *other == label);
    if context.buffered.secrets.iter().any(repeated) {
        return Err(failure(format!("secret with label {label:?} already exists")));
    }
    let id = crate::model::random_hex(20);
    context.buffered.secrets.push(SecretChange::Create {
        id: id.clone(),
        owner,
        label,
        description: flags.value("description").unwrap_or_default().to_owned(),
        content,
    });
    Ok(Said::Text(format!("secret:{id}\n")))
}

fn set(controller: &Controller, context: &mut Context, call: &Call) -> Outcome {
    let mut flags = Flags::parse(&call.args, SET_FLAGS, &[])?;
    if flags.rest.is_empty() {
        return Err(usage("missing secret URI"));
    }
    let uri = flags.rest.remove(0);
    let id = managed(controller, context, Some(&uri))?;
    let content = match content(controller, context, call, &flags)? {
        Ok(content) => content,
        Err(said) => return Ok(said),
    };
    context.buffered.secrets.push(SecretChange::Update {
        id,
        label: flags.value("label").map(ToOwned::to_owned),
        description: flags.value("description").map(ToOwned::to_owned),
        content: (!content.is_empty()).then_some(content),
    });
    nothing()
}

/// A secret's id from its URI or label.
fn find(controller: &Controller, context: &Context, flags: &Flags) -> Result<String, ToolError> {
    match (flags.rest.first(), flags.value("label")) {
        (Some(uri), _) => Ok(uri.rsplit(['/', ':']).next().unwrap_or(uri).to_owned()),
        (None, Some(label)) => {
            let created = context.buffered.secrets.iter().find_map(|c| match c {
                SecretChange::Create { id, label: other, .. } if other == label => Some(id.clone()),
                SecretChange::Create { .. }
                | SecretChange::Update { .. }
                | SecretChange::Remove { .. }
                | SecretChange::Track { .. }
                | SecretChange::Grant { .. } => None,
            });
            created
                .or_else(|| controller.read(|state| state.secret_by_label(&context.unit, label)))
                .ok_or_else(|| failure(format!("secret {label:?} not found")))
        }
        (None, None) => Err(usage("require either a secret URI or label")),
    }
}

fn get(controller: &Controller, context: &mut Context, call: &Call) -> Outcome {
    let flags = Flags::parse(&call.args, &[LABEL, FORMAT, OUTPUT], &[&["peek"], &["refresh"]])?;
    if flags.switch("peek") && flags.switch("refresh") {
        return Err(usage("specify one of --peek or --refresh but not both"));
    }
    let by_uri = flags.rest.first().is_some_and(|a| a.starts_with("secret:") || a.len() == 20);
    let (mut look, key) = if by_uri || flags.value("label").is_none() {
        (Flags::parse(&call.args, &[LABEL, FORMAT, OUTPUT], &[&["peek"], &["refresh"]])?, flags.rest.get(1))
    } else {
        (Flags::parse(&call.args, &[LABEL, FORMAT, OUTPUT], &[&["peek"], &["refresh"]])?, flags.rest.first())
    };
    if by_uri || flags.value("label").is_none() {
        look.rest.truncate(1);
    } else {
        look.rest.clear();
    }
    let id = find(controller, context, &look)?;
    let values = match context.pending_secret(&id) {
        Some(content)
            if flags.switch("peek") || flags.switch("refresh") || controller.read(|s| !s.secrets.contains_key(&id)) =>
        {
            content.clone()
        }
        Some(_) | None => tracked(controller, context, &id, &flags)?,
    };
    match key {
        None => {
            say(&Value::Object(values.into_iter().map(|(k, v)| (k, json!(v))).collect::<Map<_, _>>()), &flags, "yaml")
        }
        Some(key) => {
            let (key, encoded) = key.strip_suffix("#base64").map_or((key.as_str(), false), |k| (k, true));
            let value = values.get(key).ok_or_else(|| failure(format!("secret value {key:?} not found")))?;
            let shown = if encoded { base64::engine::general_purpose::STANDARD.encode(value) } else { value.clone() };
            say(&json!(shown), &flags, "smart")
        }
    }
}

/// Reads what this consumer tracks; the first read fixes it, at once and on the controller.
fn tracked(
    controller: &Controller,
    context: &mut Context,
    id: &str,
    flags: &Flags,
) -> Result<BTreeMap<String, String>, ToolError> {
    let secret = live(controller, id)?;
    if !secret.readable_by(&context.unit) {
        return Err(failure("permission denied"));
    }
    let unit = context.unit.clone();
    let owner_leader = controller.read(|state| secret.managed_by(state, &unit));
    let label = flags.value("label").filter(|_| !flags.rest.is_empty()).map(ToOwned::to_owned);
    let refresh = flags.switch("refresh");
    let tracked = controller.change(|state| {
        let secret = state.secrets.get_mut(id)?;
        let latest = secret.latest;
        if owner_leader {
            return Some(latest);
        }
        let consumer = secret.consumers.entry(unit.clone()).or_default();
        if consumer.tracked == 0 || refresh {
            consumer.tracked = latest;
        }
        if let Some(label) = label {
            consumer.label = label;
        }
        Some(consumer.tracked)
    });
    let revision = if flags.switch("peek") { secret.latest } else { tracked.unwrap_or(secret.latest) };
    secret.revisions.get(&revision).cloned().ok_or_else(|| failure(format!("secret revision {revision} not found")))
}
