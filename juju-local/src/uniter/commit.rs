//! Making a finished hook true: its buffered changes in one transaction, and the agent's own bookkeeping.

use crate::model::{HookInfo, Life, MemberLocal, Owner, Pending, Secret, State, StatusInfo, UnitName};

use super::context::{Buffered, SecretChange};
use serde::{Deserialize, Serialize};

/// Applies what a hook has buffered; all or nothing.
///
/// # Errors
/// What Juju's controller refuses at this moment: leadership that was lost meanwhile, a label that is taken.
pub fn flush(state: &mut State, me: &UnitName, buffered: &Buffered) -> Result<(), String> {
    let leader = state.is_leader(me);
    if !leader && buffered.relations.values().any(|r| !r.app.is_empty()) {
        return Err(format!(
            "cannot apply changes: prerequisites failed: {:?} is not leader of {:?}",
            me.to_string(),
            me.app
        ));
    }
    for change in &buffered.secrets {
        match change {
            SecretChange::Create { owner, label, .. } => {
                if matches!(owner, Owner::Application(_)) && !leader {
                    return Err("cannot apply changes: creating secrets: permission denied".to_owned());
                }
                let taken = !label.is_empty() && state.secrets.values().any(|s| s.owner == *owner && s.label == *label);
                if taken {
                    return Err(format!(
                        "cannot apply changes: creating secrets: secret with label {label:?} already exists"
                    ));
                }
            }
            SecretChange::Update { id, .. } | SecretChange::Remove { id, .. } => {
                if state.secrets.get(id).is_some_and(|s| !s.managed_by(state, me)) {
                    return Err("cannot apply changes: updating secrets: permission denied".to_owned());
                }
            }
            SecretChange::Track { .. } | SecretChange::Grant { .. } => {}
        }
    }
    for (id, changes) in &buffered.relations {
        let Some(relation) = state.relations.get_mut(id) else {
            continue;
        };
        relation.unit_bags.entry(me.clone()).or_default().apply(&changes.unit);
        relation.app_bags.entry(me.app.clone()).or_default().apply(&changes.app);
    }
    if let Some(unit) = state.units.get_mut(me) {
        for (key, value) in &buffered.state {
            match value {
                Some(value) => unit.charm_state.insert(key.clone(), value.clone()),
                None => unit.charm_state.remove(key),
            };
        }
        for (port, open) in &buffered.ports {
            if *open {
                unit.ports.insert(port.clone());
            } else {
                unit.ports.remove(port);
            }
        }
    }
    for change in &buffered.secrets {
        apply_secret(state, me, change);
    }
    Ok(())
}

fn apply_secret(state: &mut State, me: &UnitName, change: &SecretChange) {
    match change {
        SecretChange::Create { id, owner, label, description, content } => {
            state.secrets.insert(
                id.clone(),
                Secret {
                    owner: owner.clone(),
                    label: label.clone(),
                    description: description.clone(),
                    rotate: "never".to_owned(),
                    revisions: [(1, content.clone())].into(),
                    latest: 1,
                    consumers: Default::default(),
                    grants: Default::default(),
                },
            );
        }
        SecretChange::Update { id, label, description, content } => {
            if let Some(secret) = state.secrets.get_mut(id) {
                if let Some(content) = content {
                    secret.set_content(content.clone());
                }
                if let Some(label) = label {
                    secret.label.clone_from(label);
                }
                if let Some(description) = description {
                    secret.description.clone_from(description);
                }
            }
        }
        SecretChange::Remove { id, revision } => match revision {
            None => {
                state.secrets.remove(id);
            }
            Some(revision) => {
                if let Some(secret) = state.secrets.get_mut(id) {
                    secret.revisions.remove(revision);
                }
            }
        },
        SecretChange::Track { id } => {
            if let Some(secret) = state.secrets.get_mut(id) {
                let latest = secret.latest;
                secret.consumers.entry(me.clone()).or_default().tracked = latest;
            }
        }
        SecretChange::Grant { id, application, relation, revoke } => {
            if let Some(secret) = state.secrets.get_mut(id) {
                if *revoke {
                    secret.grants.remove(application);
                } else {
                    secret.grants.insert(application.clone(), *relation);
                }
            }
        }
    }
}

/// What the agent notes when a hook is over, run or passed over.
pub fn finished(state: &mut State, me: &UnitName, hook: &HookInfo, seen: &Seen, now: u64) {
    let interval = crate::uniter::agent::seconds(&state.setting("update-status-hook-interval")).unwrap_or(300);
    let config_hash = seen.config_hash.clone();
    let peers_to_enter: Vec<u32> = if hook.name == "install" { state.relations_of(&me.app) } else { Vec::new() };
    if hook.name == "config-changed" {
        for relation in state.relations_of(&me.app) {
            if state.relations[&relation].scope.contains(me) {
                state.tell_address(relation, me);
            }
        }
    }
    let Some(unit) = state.units.get_mut(me) else {
        return;
    };
    let local = &mut unit.local;
    local.pending = None;
    local.update_status_at = now + interval;
    match hook.name.as_str() {
        "install" => local.installed = true,
        "leader-elected" => local.elected = true,
        "config-changed" => {
            local.config_hash = Some(config_hash);
            if !local.started {
                local.start_queued = true;
            }
        }
        "start" => {
            local.start_queued = false;
            local.started = true;
            local.boot = seen.boot;
            if unit.workload.status == "maintenance" && unit.workload.message == "installing charm software" {
                unit.workload = StatusInfo::new("unknown", "", now);
            }
        }
        "upgrade-charm" => {
            local.upgrade_due = false;
            local.config_hash = None;
        }
        "stop" => local.stopped = true,
        "remove" => {
            local.removed = true;
            unit.workload = StatusInfo::new("terminated", "", now);
        }
        "secret-changed" => {
            if let Some(id) = &hook.secret {
                local.secrets_told.insert(id.clone(), seen.secret_latest);
            }
        }
        "secret-remove" => {
            if let (Some(id), Some(revision)) = (&hook.secret, hook.secret_revision) {
                local.secrets_removed_told.entry(id.clone()).or_default().insert(revision);
            }
        }
        _ => {}
    }
    if let Some(storage) = &hook.storage {
        if hook.name.ends_with("-storage-attached") {
            local.storage_attached.insert(storage.clone());
        } else {
            local.storage_attached.remove(storage);
        }
    }
    if let Some(id) = hook.relation {
        let relation = local.relations.entry(id).or_default();
        let kind = hook.name.rsplit('-').next().unwrap_or_default();
        match (kind, &hook.remote_unit) {
            ("created", _) => relation.created = true,
            ("joined", Some(unit)) => {
                relation.members.insert(unit.clone(), MemberLocal { version: 0, owes_changed: true });
            }
            ("changed", Some(unit)) => {
                relation.members.insert(unit.clone(), MemberLocal { version: seen.unit_version, owes_changed: false });
            }
            ("changed", None) => relation.app_version = seen.app_version,
            ("departed", Some(unit)) => {
                relation.members.remove(unit);
            }
            ("broken", _) => relation.broken = true,
            _ => {}
        }
    }
    for id in peers_to_enter {
        if state.relations.get(&id).is_some_and(|r| r.life == Life::Alive) {
            state.enter_scope(id, me);
        }
    }
}

/// The versions a hook could have read: anything newer is another hook's business.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    pub config_hash: String,
    pub boot: u32,
    pub unit_version: u64,
    pub app_version: u64,
    pub secret_latest: u32,
}

impl Seen {
    /// As of the hook's start.
    pub fn now(state: &State, me: &UnitName, hook: &HookInfo) -> Self {
        let relation = hook.relation.and_then(|id| state.relations.get(&id));
        Self {
            config_hash: state.config_hash(me),
            boot: state.units.get(me).and_then(|u| state.machines.get(&u.machine)).map_or(0, |m| m.boot),
            unit_version: relation
                .zip(hook.remote_unit.as_ref())
                .and_then(|(r, unit)| r.unit_bags.get(unit))
                .map_or(0, |bag| bag.version),
            app_version: relation.and_then(|r| r.app_bags.get(&r.remote_app(&me.app))).map_or(0, |bag| bag.version),
            secret_latest: hook.secret.as_ref().and_then(|id| state.secrets.get(id)).map_or(0, |s| s.latest),
        }
    }
}

/// Marks a hook as begun, so that an agent that dies with it finds it on its return.
pub fn begin(state: &mut State, me: &UnitName, hook: &HookInfo, now: u64) {
    let Some(unit) = state.units.get_mut(me) else {
        return;
    };
    let attempts = unit.local.pending.as_ref().map_or(0, |p| p.attempts);
    unit.local.pending = Some(Pending { hook: hook.clone(), failed: false, attempts, retry_at: 0, resolved: None });
    unit.local.hooks_run += 1;
    let unset = unit.workload.status == "waiting"
        && ["waiting for machine", "agent initialising"].contains(&unit.workload.message.as_str());
    match hook.name.as_str() {
        "install" if unset => unit.workload = StatusInfo::new("maintenance", "installing charm software", now),
        "stop" => unit.workload = StatusInfo::new("maintenance", "stopping charm software", now),
        "remove" => unit.workload = StatusInfo::new("maintenance", "cleaning up prior to charm deletion", now),
        _ => {}
    }
    if hook.name != "update-status" {
        unit.agent = StatusInfo::new("executing", &format!("running {} hook", hook.name), now);
    }
}

/// The charm's files are those of this revision now.
pub fn upgraded(state: &mut State, me: &UnitName, revision: u32) {
    if let Some(unit) = state.units.get_mut(me) {
        unit.local.upgrade_due = unit.local.installed;
        unit.local.charm_revision = Some(revision);
    }
}

/// Marks a hook as failed: again after 5 s, doubling to 5 min.
pub fn failed(state: &mut State, me: &UnitName, hook: &HookInfo, now: u64) {
    let Some(unit) = state.units.get_mut(me) else {
        return;
    };
    let attempts = unit.local.pending.as_ref().map_or(0, |p| p.attempts) + 1;
    let backoff = (5u64 << (attempts - 1).min(6)).min(300);
    unit.local.pending =
        Some(Pending { hook: hook.clone(), failed: true, attempts, retry_at: now + backoff, resolved: None });
}
