//! The hooks about secrets: which one is due, and what is noted when one has run.

use crate::model::{HookInfo, Secret, State, UnitName};

/// The secret hook that is due: expired before rotate, changed and remove.
pub(super) fn next(state: &State, me: &UnitName, now: u64) -> Option<HookInfo> {
    let hook = |name: &str, id: &str, revision: Option<u32>| HookInfo {
        name: format!("secret-{name}"),
        secret: Some(id.to_owned()),
        secret_revision: revision,
        ..HookInfo::default()
    };
    let own = || state.secrets.iter().filter(|(_, secret)| secret.managed_by(state, me));
    own()
        .find_map(|(id, secret)| Some(hook("expired", id, Some(secret.expired(now)?))))
        .or_else(|| own().find(|(_, secret)| secret.rotation_due(now)).map(|(id, _)| hook("rotate", id, None)))
        .or_else(|| {
            let changed = state.secrets.iter().find(|(id, secret)| is_news(state, me, id, secret));
            changed.map(|(id, _)| hook("changed", id, None))
        })
        .or_else(|| {
            let told = &state.units.get(me)?.local.secrets_removed_told;
            own().find_map(|(id, secret)| {
                let known = told.get(id);
                let news = secret.obsolete().into_iter().find(|rev| !known.is_some_and(|t| t.contains(rev)))?;
                Some(hook("remove", id, Some(news)))
            })
        })
}

/// Whether there is a revision that this consumer has not been told of.
fn is_news(state: &State, me: &UnitName, id: &str, secret: &Secret) -> bool {
    let Some(consumer) = secret.consumers.get(me).filter(|_| state.may_read(secret, me)) else {
        return false;
    };
    // The owner's leader wrote it and is not told of its own writing; once others read it too, Juju tells it all the same
    // (juju#19035).
    if secret.managed_by(state, me) && !secret.is_granted() {
        return false;
    }
    let told = state.units.get(me).and_then(|unit| unit.local.secrets_told.get(id)).copied();
    secret.latest > told.unwrap_or(consumer.tracked).max(consumer.tracked)
}

/// What is noted when a secret hook is over, run or passed over. `latest` is the newest revision as the hook began.
pub(super) fn finished(state: &mut State, me: &UnitName, hook: &HookInfo, latest: u32, now: u64) {
    let Some(id) = &hook.secret else {
        return;
    };
    let revision = hook.secret_revision;
    match (hook.name.as_str(), state.secrets.get_mut(id)) {
        ("secret-rotate", Some(secret)) => secret.rotated(latest, now),
        ("secret-expired", Some(secret)) => secret.expiry_told(revision.unwrap_or(0), now),
        _ => {}
    }
    let Some(unit) = state.units.get_mut(me) else {
        return;
    };
    match hook.name.as_str() {
        "secret-changed" => drop(unit.local.secrets_told.insert(id.clone(), latest)),
        "secret-remove" => {
            unit.local.secrets_removed_told.entry(id.clone()).or_default().extend(revision);
        }
        _ => {}
    }
}
