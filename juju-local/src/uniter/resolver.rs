//! What a unit does next: a pure comparison of what its agent has done with what the model says. Nothing is queued;
//! many changes collapse into one hook. The order follows Juju 3.6's resolver.

use crate::model::{HookInfo, Life, Resolution, State, Task, UnitName};
use crate::watchful::shuffle::Dice;
use serde::{Deserialize, Serialize};

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    Hook(HookInfo),
    Action(u32),
    /// A command that `juju exec` or `juju-exec` asked for.
    Exec,
    /// Swap the charm's files.
    Upgrade,
    /// The failed hook counts as run.
    Skip,
    /// The unit is gone.
    Terminate,
}

/// What is not in the model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// Unix seconds.
    pub now: u64,
    pub exec_waiting: bool,
}

/// The next operation, if anything is to be done.
pub fn next_op(state: &State, me: &UnitName, wishes: Wishes) -> Option<Op> {
    let unit = state.units.get(me)?;
    let application = state.applications.get(&me.app)?;
    let local = &unit.local;
    let machine = state.machines.get(&unit.machine)?;
    if local.removed || unit.life == Life::Dead || unit.force {
        return Some(Op::Terminate);
    }
    if !machine.powered || !machine.created {
        return None;
    }
    let dice = Dice::of(state, me);
    let action = || {
        let mine = |task: &Task| task.unit == *me && task.status == "pending" && !state.runs_beside(task);
        state.tasks.iter().find(|(_, task)| mine(task)).map(|(id, _)| Op::Action(*id))
    };
    let commands = || if local.installed { action().or(wishes.exec_waiting.then_some(Op::Exec)) } else { None };
    if let Some(pending) = &local.pending {
        match pending.resolved {
            Some(Resolution::Skip) => return Some(Op::Skip),
            Some(Resolution::Retry) => return Some(Op::Hook(pending.hook.clone())),
            None => {}
        }
        if let Some(op) = commands() {
            return Some(op);
        }
        let retries = state.setting("automatically-retry-hooks") != "false";
        let due = !pending.failed || (retries && wishes.now >= pending.retry_at);
        return due.then(|| Op::Hook(pending.hook.clone()));
    }
    if local.charm_revision.is_none() {
        return Some(Op::Upgrade);
    }
    if local.charm_revision != Some(application.revision) && local.installed {
        return Some(Op::Upgrade);
    }
    if local.installed {
        if local.started && local.boot != machine.boot {
            return Some(Op::Hook(HookInfo::plain("start")));
        }
        if let Some(hook) = relation_created(state, me) {
            return Some(Op::Hook(hook));
        }
        // News come when they come: a hook of a relation may be due before anything of the rest is heard of.
        if local.started && unit.life == Life::Alive && dice.turns("relations first") {
            if let Some(hook) = relation_hook(state, me) {
                return Some(Op::Hook(hook));
            }
        }
        if state.is_leader(me) && !local.elected {
            return Some(Op::Hook(HookInfo::plain("leader-elected")));
        }
        if !local.start_queued {
            if let Some(hook) = secret_hook(state, me).filter(|_| unit.life == Life::Alive) {
                return Some(Op::Hook(hook));
            }
            if let Some(op) = commands() {
                return Some(op);
            }
        }
    }
    // A dying unit hears of its storages and of its relations' end in any order.
    let leaves_first = unit.life == Life::Dying && local.installed && dice.turns("relations before storage");
    if let Some(hook) = relation_hook(state, me).filter(|_| leaves_first) {
        return Some(Op::Hook(hook));
    }
    if let Some(hook) = storage_hook(state, me) {
        return Some(Op::Hook(hook));
    }
    if local.start_queued {
        return Some(Op::Hook(HookInfo::plain("start")));
    }
    if unit.life == Life::Dying {
        return Some(dying(state, me));
    }
    let hook = if !local.installed {
        HookInfo::plain("install")
    } else if local.upgrade_due {
        HookInfo::plain("upgrade-charm")
    } else if local.config_hash.as_deref() != Some(state.config_hash(me).as_str()) {
        HookInfo::plain("config-changed")
    } else if let Some(hook) = relation_hook(state, me) {
        hook
    } else if local.started && wishes.now >= local.update_status_at {
        HookInfo::plain("update-status")
    } else {
        return None;
    };
    Some(Op::Hook(hook))
}

fn dying(state: &State, me: &UnitName) -> Op {
    let local = &state.units[me].local;
    if !local.installed {
        return Op::Terminate;
    }
    if let Some(hook) = relation_hook(state, me) {
        return Op::Hook(hook);
    }
    Op::Hook(HookInfo::plain(if local.stopped { "remove" } else { "stop" }))
}

fn relation_created(state: &State, me: &UnitName) -> Option<HookInfo> {
    let local = &state.units[me].local;
    state.relations_of(&me.app).into_iter().find_map(|id| {
        let relation = &state.relations[&id];
        let fresh = relation.life == Life::Alive
            && relation.scope.contains(me)
            && !local.relations.get(&id).is_some_and(|r| r.created);
        fresh.then(|| hook(state, me, id, "created", None, None))
    })
}

/// One hook of one relation, if any is due: ordinary relations first, peers last.
fn relation_hook(state: &State, me: &UnitName) -> Option<HookInfo> {
    let unit = &state.units[me];
    Dice::of(state, me).relations(state, state.relations_of(&me.app)).into_iter().find_map(|id| {
        let relation = &state.relations[&id];
        let known = unit.local.relations.get(&id).filter(|r| r.created && !r.broken)?;
        if let Some((member, _)) = known.members.iter().find(|(_, m)| m.owes_changed) {
            return Some(hook(state, me, id, "changed", Some(member), None));
        }
        let remote = relation.remote_units(me);
        if let Some(gone) = known.members.keys().find(|member| !remote.contains(*member)) {
            let departing = if unit.life == Life::Alive && state.units.get(gone).is_none_or(|u| u.life != Life::Alive) {
                gone
            } else {
                me
            };
            return Some(hook(state, me, id, "departed", Some(gone), Some(departing)));
        }
        if (relation.life != Life::Alive || unit.life != Life::Alive) && !relation.peer {
            return Some(hook(state, me, id, "broken", None, None));
        }
        if unit.life != Life::Alive || relation.life != Life::Alive {
            return None;
        }
        let app_version = relation.app_bags.get(&relation.remote_app(&me.app)).map_or(0, |bag| bag.version);
        let echo = !relation.peer || !state.is_leader(me) || state.setting("peer-application-echo") != "false";
        if app_version > known.app_version && echo {
            return Some(hook(state, me, id, "changed", None, None));
        }
        if let Some(fresh) = remote.iter().find(|member| !known.members.contains_key(*member)) {
            return Some(hook(state, me, id, "joined", Some(fresh), None));
        }
        let version = |member: &UnitName| relation.unit_bags.get(member).map_or(0, |bag| bag.version);
        known
            .members
            .iter()
            .find(|(member, local)| version(member) > local.version)
            .map(|(member, _)| hook(state, me, id, "changed", Some(member), None))
    })
}

fn hook(
    state: &State,
    me: &UnitName,
    id: u32,
    kind: &str,
    remote: Option<&UnitName>,
    departing: Option<&UnitName>,
) -> HookInfo {
    let relation = &state.relations[&id];
    let endpoint = relation.endpoint_of(&me.app).map(|e| e.name.clone()).unwrap_or_default();
    HookInfo {
        name: format!("{endpoint}-relation-{kind}"),
        relation: Some(id),
        remote_app: Some(relation.remote_app(&me.app)),
        remote_unit: remote.cloned(),
        departing_unit: departing.cloned(),
        ..HookInfo::default()
    }
}

fn storage_hook(state: &State, me: &UnitName) -> Option<HookInfo> {
    let local = &state.units[me].local;
    state.storage.iter().filter(|(_, s)| s.unit == *me).find_map(|(id, storage)| {
        let attached = local.storage_attached.contains(id);
        let kind = match (storage.life, attached) {
            (Life::Alive, false) => "attached",
            (Life::Dying | Life::Dead, true) => "detaching",
            (Life::Alive, true) | (Life::Dying | Life::Dead, false) => return None,
        };
        Some(HookInfo {
            name: format!("{}-storage-{kind}", storage.name),
            storage: Some(id.clone()),
            ..HookInfo::default()
        })
    })
}

fn secret_hook(state: &State, me: &UnitName) -> Option<HookInfo> {
    let local = &state.units[me].local;
    state.secrets.iter().find_map(|(id, secret)| {
        if let Some(consumer) = secret.consumers.get(me).filter(|_| secret.readable_by(me)) {
            // The owner's leader wrote it and is not told of its own writing.
            let told = local.secrets_told.get(id).copied().unwrap_or(consumer.tracked).max(consumer.tracked);
            if secret.latest > told && !secret.managed_by(state, me) {
                return Some(HookInfo {
                    name: "secret-changed".to_owned(),
                    secret: Some(id.clone()),
                    ..HookInfo::default()
                });
            }
        }
        if secret.managed_by(state, me) {
            let told = local.secrets_removed_told.get(id);
            let obsolete = secret.obsolete().into_iter().find(|rev| !told.is_some_and(|t| t.contains(rev)))?;
            return Some(HookInfo {
                name: "secret-remove".to_owned(),
                secret: Some(id.clone()),
                secret_revision: Some(obsolete),
                ..HookInfo::default()
            });
        }
        None
    })
}
