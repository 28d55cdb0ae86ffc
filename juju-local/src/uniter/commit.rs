//! What an agent notes of a hook: that it has begun, ended or failed. `flush` makes true what the hook has asked for.

use crate::model::{HookInfo, Life, MemberLocal, Pending, State, StatusInfo, UnitName};

pub use super::flush::flush;
use super::secret_hooks;

/// What the agent notes when a hook is over, run or passed over.
pub fn finished(state: &mut State, me: &UnitName, hook: &HookInfo, seen: &Seen, now: u64) {
    secret_hooks::finished(state, me, hook, seen.secret_latest, now);
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
#[derive(Clone, Debug, Default)]
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
