//! What the operator does with secrets: looks at all of them, and keeps user secrets, which belong to the model.

use serde_json::{Value, json};

use super::Controller;
use super::requests::commit;
use crate::model::secret::OPERATOR;
use crate::model::{Content, Grantee, ModelError, Owner, Secret, SecretText, State, check_content, view};

/// Finds a secret by its URI, its id or a user secret's name.
fn find(state: &State, id: &str) -> Result<String, ModelError> {
    let named = || state.owned_label(&Owner::Model, id).cloned();
    state.secret_id(id).or_else(named).ok_or_else(|| ModelError::new(format!("secret {id:?} not found")))
}

/// The same, where only a user secret will do.
fn user_secret<'a>(state: &'a mut State, id: &str) -> Result<(String, &'a mut Secret), ModelError> {
    let found = find(state, id)?;
    match state.secrets.get_mut(&found) {
        Some(secret) if secret.owner == Owner::Model => Ok((found, secret)),
        Some(_) | None => Err(ModelError::new(format!("secret {id:?} belongs to a charm: only the charm changes it"))),
    }
}

fn check(state: &State, content: &Content) -> Result<(), ModelError> {
    if !state.is_at_least("3.3") {
        let version = state.setting("agent-version");
        return Err(ModelError::new(format!("user secrets need Juju 3.3; the model is at {version}")));
    }
    check_content(content, state.is_at_least("3.6.9")).map_err(ModelError::new)
}

fn name_is_free(state: &State, name: &str, id: Option<&str>) -> Result<(), ModelError> {
    match state.owned_label(&Owner::Model, name) {
        Some(other) if Some(other.as_str()) != id => {
            Err(ModelError::new(format!("secret with name {name:?} already exists")))
        }
        Some(_) | None => Ok(()),
    }
}

fn text(words: &str) -> Option<String> {
    (!words.is_empty()).then(|| words.to_owned())
}

pub(super) fn show(
    controller: &Controller,
    id: &str,
    reveal: bool,
    revision: Option<u32>,
    revisions: bool,
) -> anyhow::Result<Value> {
    controller.read(|state| {
        let id = find(state, id)?;
        let secret = &state.secrets[&id];
        if let Some(revision) = revision.filter(|revision| !secret.revisions.contains_key(revision)) {
            anyhow::bail!("secret {id:?} revision {revision} not found");
        }
        let mut body = view::secret(state, secret, reveal.then(|| revision.unwrap_or(secret.latest)));
        if let Some(revision) = revision {
            body["revision"] = json!(revision);
        }
        if revisions {
            body["revisions"] = view::revisions(secret);
        }
        Ok(json!({id: body}))
    })
}

pub(super) fn add(controller: &Controller, name: &str, content: Content, info: &str) -> anyhow::Result<Value> {
    let now = controller.now();
    commit(controller, |state| {
        check(state, &content)?;
        name_is_free(state, name, None)?;
        let id = crate::model::random_hex(20);
        let text =
            SecretText { label: text(name), description: text(info), content: Some(content), ..SecretText::default() };
        state.secrets.insert(id.clone(), Secret::new(Owner::Model, text, now));
        Ok::<_, ModelError>(json!(format!("secret:{id}")))
    })
}

pub(super) fn update(
    controller: &Controller,
    id: &str,
    content: Content,
    name: Option<String>,
    info: Option<String>,
    auto_prune: bool,
) -> anyhow::Result<Value> {
    let now = controller.now();
    commit(controller, |state| {
        check(state, &content)?;
        let found = find(state, id)?;
        if let Some(name) = &name {
            name_is_free(state, name, Some(&found))?;
        }
        let (_, secret) = user_secret(state, id)?;
        secret.auto_prune = secret.auto_prune || auto_prune;
        let content = (!content.is_empty()).then_some(content);
        secret.update(SecretText { label: name, description: info, content, ..SecretText::default() }, now);
        Ok::<_, ModelError>(Value::Null)
    })
}

pub(super) fn grant(controller: &Controller, id: &str, applications: &str, revoke: bool) -> anyhow::Result<Value> {
    commit(controller, |state| {
        for application in applications.split(',') {
            state.application(application)?;
            let (_, secret) = user_secret(state, id)?;
            secret.grant(&Grantee::Application(application.to_owned()), (!revoke).then_some(OPERATOR));
        }
        Ok::<_, ModelError>(Value::Null)
    })
}

pub(super) fn remove(controller: &Controller, id: &str, revision: Option<u32>) -> anyhow::Result<Value> {
    commit(controller, |state| {
        let (found, secret) = user_secret(state, id)?;
        let gone = match revision {
            None => true,
            Some(revision) if secret.revisions.contains_key(&revision) => secret.remove_revision(revision),
            Some(revision) => {
                return Err(ModelError::new(format!("secret {found:?} revision {revision} not found")));
            }
        };
        if gone {
            state.secrets.remove(&found);
        }
        Ok(Value::Null)
    })
}
