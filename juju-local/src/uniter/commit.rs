//! What an agent notes of a hook: that it has begun, ended or failed. `flush` makes true what the hook has asked for.

use crate::model::{HookInfo, MemberLocal, Pending, State, StatusInfo, UnitName};

pub use super::flush::flush;
use super::secret_hooks;
use serde::{Deserialize, Serialize};

/// What the agent notes when a hook is over, run or passed over.
pub fn finished(state: &mut State, me: &UnitName, hook: &HookInfo, seen: &Seen, now: u64) {
    secret_hooks::finished(state, me, hook, seen.secret_latest, now);
    let config_hash = seen.config_hash.clone();
    let leads = state.is_leader(me);
    let interval = state.update_status_interval();
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
    match hook.name.as_str() {
        "install" => local.installed = true,
        // Leadership that was lost while the hook ran has to be won, and told, again.
        "leader-elected" => local.elected = leads,
        "leader-settings-changed" => local.leader_settings_told = Some(seen.leader_settings),
        "update-status" => local.update_status_at = now + spread(interval, me, local.hooks_run),
        "config-changed" => {
            local.config_queued = false;
            local.config_hash = Some(config_hash);
            if !local.started {
                local.start_queued = true;
            }
        }
        "start" => {
            if local.started {
                // The machine has booted, and the agent on it.
                local.leader_settings_told = None;
            } else {
                local.update_status_at = now + spread(interval, me, local.hooks_run);
            }
            local.start_queued = false;
            local.started = true;
            local.boot = seen.boot;
            if never_set(&unit.workload) {
                unit.workload = StatusInfo::new("unknown", "", now);
            }
        }
        "upgrade-charm" => {
            local.upgrade_due = false;
            local.config_queued = true;
        }
        "stop" => {
            local.stopped = true;
            unit.workload = StatusInfo::new("maintenance", "", now);
        }
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
    if let Some(id) = hook.relation.filter(|_| hook.name.ends_with("-relation-broken")) {
        state.leave_scope(id, me);
    }
    state.synchronize(me, now);
}

/// Whether a unit's status is still one that it was given before its charm had a say.
fn never_set(status: &StatusInfo) -> bool {
    let given = [
        ("waiting", "waiting for machine"),
        ("waiting", "agent initialising"),
        ("maintenance", "installing charm software"),
    ];
    given.contains(&(status.status.as_str(), status.message.as_str()))
}

/// A fifth more or less, drawn from the unit's name and what it has done: timers of several units drift apart, and the
/// same model does the same again.
fn spread(seconds: u64, me: &UnitName, count: u64) -> u64 {
    let text = format!("{me} {count}");
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    seconds * (80 + (hash >> 32) % 41) / 100
}

/// Puts a hook back that was ended on its own wish, as by a reboot: it runs again and has not failed.
pub fn requeue(state: &mut State, me: &UnitName) {
    if let Some(pending) = state.units.get_mut(me).and_then(|unit| unit.local.pending.as_mut()) {
        pending.queued = true;
    }
}

/// What an agent does first on every pass: a hook that it finds half-done, because it died with it, has failed; relations
/// are entered and left.
pub fn look(state: &mut State, me: &UnitName, now: u64) {
    let half_done = |p: &&Pending| !p.failed && !p.queued && p.resolved.is_none();
    let pending = state.units.get(me).and_then(|unit| unit.local.pending.as_ref());
    if let Some(hook) = pending.filter(half_done).map(|p| p.hook.clone()) {
        failed(state, me, &hook, now);
    }
    state.synchronize(me, now);
}

/// The versions a hook could have read: anything newer is another hook's business.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    pub config_hash: String,
    pub boot: u32,
    pub unit_version: u64,
    pub app_version: u64,
    pub secret_latest: u32,
    pub leader_settings: u64,
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
            leader_settings: state.applications.get(&me.app).map_or(0, |a| a.leader_settings_version),
            secret_latest: hook.secret.as_ref().and_then(|id| state.secrets.get(id)).map_or(0, |s| s.latest),
        }
    }
}

/// Marks a hook as begun, so that an agent that dies with it finds it on its return.
pub fn begin(state: &mut State, me: &UnitName, hook: &HookInfo, now: u64) {
    let Some(unit) = state.units.get_mut(me) else {
        return;
    };
    // `resolved` begins the waiting times anew.
    let again = unit.local.pending.as_ref().filter(|p| p.resolved.is_none());
    let attempts = again.map_or(0, |p| p.attempts);
    unit.local.pending = Some(Pending {
        hook: hook.clone(),
        failed: false,
        attempts,
        retry_at: 0,
        resolved: None,
        queued: false,
        failed_at: 0,
    });
    unit.local.hooks_run += 1;
    match hook.name.as_str() {
        "install" if never_set(&unit.workload) => {
            unit.workload = StatusInfo::new("maintenance", "installing charm software", now)
        }
        "stop" => unit.workload = StatusInfo::new("maintenance", "stopping charm software", now),
        "remove" => unit.workload = StatusInfo::new("maintenance", "cleaning up prior to charm deletion", now),
        _ => {}
    }
    if hook.name != "update-status" {
        unit.agent = StatusInfo::new("executing", &format!("running {} hook", hook.name), now);
    }
}

/// The charm's files are those of this revision now. A hook that has failed with the files before is tried again with
/// these, and then there is no upgrade-charm.
pub fn upgraded(state: &mut State, me: &UnitName, revision: u32) {
    if let Some(unit) = state.units.get_mut(me) {
        let forced = unit.local.pending.is_some();
        unit.local.upgrade_due = unit.local.upgrade_due || (unit.local.installed && !forced);
        unit.local.charm_revision = Some(revision);
    }
}

/// Marks a hook as failed: again after 5 s, doubling to 5 min.
pub fn failed(state: &mut State, me: &UnitName, hook: &HookInfo, now: u64) {
    let Some(unit) = state.units.get_mut(me) else {
        return;
    };
    let attempts = unit.local.pending.as_ref().map_or(0, |p| p.attempts) + 1;
    let backoff = spread((5u64 << (attempts - 1).min(6)).min(300), me, unit.local.hooks_run);
    unit.local.pending = Some(Pending {
        hook: hook.clone(),
        failed: true,
        attempts,
        retry_at: now + backoff,
        resolved: None,
        queued: false,
        failed_at: now,
    });
    // The error is the unit's, not its agent's.
    unit.agent = StatusInfo::new("idle", "", now);
}
