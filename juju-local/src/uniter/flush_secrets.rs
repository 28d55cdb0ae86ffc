//! The secrets' part of a hook's transaction: in Juju's order, and with what its controller refuses.

use crate::model::{Owner, Secret, State, UnitName};

use super::context::SecretChange;

/// What the controller refuses.
pub(super) fn check(state: &State, me: &UnitName, changes: &[SecretChange]) -> Result<(), String> {
    let is_own = |id: &String| state.secrets.get(id).is_none_or(|secret| secret.managed_by(state, me));
    for change in changes {
        match change {
            SecretChange::Create { id, owner, text, .. } => {
                if matches!(owner, Owner::Application(_)) && !state.is_leader(me) {
                    return Err("creating secrets: permission denied".to_owned());
                }
                label_is_free(state, id, owner, text.label.as_deref())
                    .map_err(|why| format!("creating secrets: {why}"))?;
            }
            SecretChange::Update { id, text, .. } => {
                if !is_own(id) {
                    return Err("updating secrets: permission denied".to_owned());
                }
                if let Some(secret) = state.secrets.get(id) {
                    label_is_free(state, id, &secret.owner, text.label.as_deref())
                        .map_err(|why| format!("updating secrets: {why}"))?;
                }
            }
            SecretChange::Remove { id, revision } => check_removal(state, me, id, *revision)?,
            SecretChange::Track { .. } => {}
            SecretChange::Grant { id, relation, .. } => {
                let peer = relation.and_then(|id| state.relations.get(&id)).is_some_and(|relation| relation.peer);
                // See juju#23086: mended in 4.0.15.
                if peer && state.is_at_least("4.0") && !state.is_at_least("4.0.15") {
                    return Err(
                        "granting secrets access: granting access to a secret over a peer relation is not supported"
                            .to_owned(),
                    );
                }
                if !is_own(id) {
                    let doing = if relation.is_some() { "granting" } else { "revoking" };
                    return Err(format!("{doing} secrets access: permission denied"));
                }
            }
        }
    }
    Ok(())
}

fn label_is_free(state: &State, id: &str, owner: &Owner, label: Option<&str>) -> Result<(), String> {
    match label.and_then(|label| Some((label, state.owned_label(owner, label)?))) {
        Some((label, other)) if other != id => Err(format!("secret with label {label:?} already exists")),
        Some(_) | None => Ok(()),
    }
}

fn check_removal(state: &State, me: &UnitName, id: &str, revision: Option<u32>) -> Result<(), String> {
    let found = state.secrets.get(id);
    if found.is_some_and(|secret| !secret.managed_by(state, me)) {
        return Err("removing secrets: permission denied".to_owned());
    }
    let there = found.is_some_and(|secret| revision.is_none_or(|revision| secret.revisions.contains_key(&revision)));
    // What is gone can be removed once more since 3.6.11.
    if there || state.is_at_least("3.6.11") {
        return Ok(());
    }
    let revision = revision.map(|revision| format!(" revision {revision}")).unwrap_or_default();
    Err(format!("removing secrets: secret {id:?}{revision} not found"))
}

/// Creates, updates, deletes, grants, and what is tracked last.
pub(super) fn apply(state: &mut State, me: &UnitName, changes: &[SecretChange]) {
    let mut ordered: Vec<&SecretChange> = changes.iter().collect();
    ordered.sort_by_key(|change| match change {
        SecretChange::Create { .. } => 0,
        SecretChange::Update { .. } => 1,
        SecretChange::Remove { .. } => 2,
        SecretChange::Grant { .. } => 3,
        SecretChange::Track { .. } => 4,
    });
    let by_prefix = !state.is_at_least("3.6.11");
    for change in ordered {
        match change {
            SecretChange::Create { id, owner, text, at } => {
                state.secrets.insert(id.clone(), Secret::new(owner.clone(), text.clone(), *at));
            }
            SecretChange::Update { id, text, at } => {
                if let Some(secret) = state.secrets.get_mut(id) {
                    secret.update(text.clone(), *at);
                }
            }
            SecretChange::Remove { id, revision: None } => drop(state.secrets.remove(id)),
            SecretChange::Remove { id, revision: Some(revision) } => remove_revision(state, id, *revision, by_prefix),
            SecretChange::Track { id } => {
                if let Some(secret) = state.secrets.get_mut(id) {
                    let latest = secret.latest;
                    secret.consumers.entry(me.clone()).or_default().tracked = latest;
                }
            }
            SecretChange::Grant { id, to, relation } => {
                if let Some(secret) = state.secrets.get_mut(id) {
                    secret.grant(to, *relation);
                }
            }
        }
    }
}

/// Before 3.6.11 revisions were found by the beginning of their number: 1 took 10 with it (juju#20782).
fn remove_revision(state: &mut State, id: &str, revision: u32, by_prefix: bool) {
    let Some(secret) = state.secrets.get_mut(id) else {
        return;
    };
    let hit = |other: &u32| *other == revision || (by_prefix && other.to_string().starts_with(&revision.to_string()));
    let hits: Vec<u32> = secret.revisions.keys().copied().filter(hit).collect();
    if hits.into_iter().any(|revision| secret.remove_revision(revision)) {
        state.secrets.remove(id);
    }
}
