//! What a unit does next: a pure comparison of what its agent has done with what the model says. Nothing is queued;
//! many changes collapse into one hook. The order follows Juju 3.6's resolver.

use serde::{Deserialize, Serialize};

use super::secret_hooks;
use crate::model::{Application, HookInfo, Life, Local, Machine, Pending, Resolution, State, Task, Unit, UnitName};
use crate::watchful::shuffle::Dice;

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
    choices(state, me, wishes).into_iter().next()
}

/// The operations that may come next. Juju gives no promise which of them does; they are in the order of their names and
/// numbers, peer relations last.
pub fn choices(state: &State, me: &UnitName, wishes: Wishes) -> Vec<Op> {
    let all = || {
        let unit = state.units.get(me)?;
        let application = state.applications.get(&me.app)?;
        let machine = state.machines.get(&unit.machine)?;
        let pass = Pass { state, me, unit, local: &unit.local, application, machine, wishes };
        PRIORITY.iter().find_map(|(_, look)| look(&pass))
    };
    all().unwrap_or_default()
}

/// One look at everything.
struct Pass<'a> {
    state: &'a State,
    me: &'a UnitName,
    unit: &'a Unit,
    local: &'a Local,
    application: &'a Application,
    machine: &'a Machine,
    wishes: Wishes,
}

/// What one part of the agent wants: nothing, so that the next is asked; or one of these, and if there is none of them the
/// agent waits.
type Wanted = Option<Vec<Op>>;

/// What the part looks at, in words, and how it looks.
type Part = (&'static str, fn(&Pass<'_>) -> Wanted);

/// Whom the agent asks first, on every pass anew.
const PRIORITY: [Part; 18] = [
    ("a dead unit ends", dead),
    ("a machine must run", machine_runs),
    ("an interrupted deployment goes on", deploy),
    ("a machine has booted", rebooted),
    ("a relation is new", relations_created),
    ("relations, where that is drawn", relations_first),
    ("leadership", leadership),
    ("secrets", secrets),
    ("actions", actions),
    ("commands", commands),
    ("storage", storage),
    ("a hook has failed, or is to be run anew", pending),
    ("a hook is queued behind another", queued),
    ("a dying unit goes", dying),
    ("install comes before everything else", install),
    ("another charm", upgrade),
    ("options, address or trust", config),
    ("relations, and then the clock", relations_or_clock),
];

fn one(op: Op) -> Wanted {
    Some(vec![op])
}

fn plain(name: &str) -> Wanted {
    one(Op::Hook(HookInfo::plain(name)))
}

fn any(hooks: Vec<HookInfo>) -> Wanted {
    (!hooks.is_empty()).then(|| hooks.into_iter().map(Op::Hook).collect())
}

impl Pass<'_> {
    /// No hook is pending, and none is queued behind another.
    fn idle(&self) -> bool {
        self.local.pending.is_none() && next_queued(self.local).is_none()
    }

    fn failed(&self) -> Option<&Pending> {
        self.local.pending.as_ref().filter(|pending| pending.failed)
    }

    fn alive(&self) -> bool {
        self.unit.life == Life::Alive
    }

    /// A principal outlives its subordinates.
    fn end(&self) -> Wanted {
        match self.state.subordinates_of(self.me).next() {
            Some(_) => Some(Vec::new()),
            None => one(Op::Terminate),
        }
    }
}

fn dead(pass: &Pass<'_>) -> Wanted {
    if pass.local.removed || pass.unit.life == Life::Dead || pass.unit.force { pass.end() } else { None }
}

fn machine_runs(pass: &Pass<'_>) -> Wanted {
    (!pass.machine.powered || !pass.machine.created).then(Vec::new)
}

fn deploy(pass: &Pass<'_>) -> Wanted {
    if pass.local.charm_revision.is_none() { one(Op::Upgrade) } else { None }
}

fn rebooted(pass: &Pass<'_>) -> Wanted {
    let local = pass.local;
    let since = local.started && !local.stopped && local.boot != pass.machine.boot;
    if since && local.pending.is_none() { plain("start") } else { None }
}

fn relations_created(pass: &Pass<'_>) -> Wanted {
    if !pass.idle() || !pass.local.installed || !pass.alive() {
        return None;
    }
    let fresh = |id: &u32| {
        let relation = &pass.state.relations[id];
        relation.life == Life::Alive
            && relation.inside.contains(pass.me)
            && !relation.implicit_for(&pass.me.app)
            && !pass.local.relations.get(id).is_some_and(|r| r.created)
    };
    let ids = pass.state.relations_of(&pass.me.app).into_iter().filter(fresh);
    any(ids.map(|id| hook(pass, id, "created", None, None)).collect())
}

/// News come when they come: a hook of a relation may be due before anything of the rest is heard of.
fn relations_first(pass: &Pass<'_>) -> Wanted {
    let drawn = || Dice::of(pass.state, pass.me).turns("relations first");
    let may = pass.idle() && pass.local.started && pass.alive() && drawn();
    any(if may { relation_hooks(pass) } else { Vec::new() })
}

fn leadership(pass: &Pass<'_>) -> Wanted {
    if !pass.idle() || !pass.local.installed || !pass.alive() {
        return None;
    }
    if pass.state.is_leader(pass.me) {
        return if pass.local.elected { None } else { plain("leader-elected") };
    }
    let untold = pass.local.leader_settings_told != Some(pass.application.leader_settings_version);
    if untold && pass.state.major() < 4 { plain("leader-settings-changed") } else { None }
}

fn secrets(pass: &Pass<'_>) -> Wanted {
    let may = pass.idle() && pass.local.installed && pass.alive();
    any(may.then(|| secret_hooks::next(pass.state, pass.me, pass.wishes.now)).flatten().into_iter().collect())
}

/// Also while a hook has failed.
fn actions(pass: &Pass<'_>) -> Wanted {
    if !pass.local.installed || !(pass.idle() || pass.failed().is_some()) {
        return None;
    }
    let mine = |task: &Task| task.unit == *pass.me && task.status == "pending" && !pass.state.runs_beside(task);
    let next = pass.state.tasks.iter().find(|(_, task)| mine(task));
    next.and_then(|(id, _)| one(Op::Action(*id)))
}

fn commands(pass: &Pass<'_>) -> Wanted {
    let may = pass.local.installed && (pass.idle() || pass.failed().is_some());
    if may && pass.wishes.exec_waiting { one(Op::Exec) } else { None }
}

/// The first install waits for all storage.
fn storage(pass: &Pass<'_>) -> Wanted {
    if pass.local.pending.is_some() {
        return None;
    }
    let mine = || pass.state.storage.iter().filter(|(_, s)| s.unit.as_ref() == Some(pass.me));
    let due = mine().filter_map(|(id, storage)| {
        let attached = pass.local.storage_attached.contains(id);
        let kind = match (storage.life, attached) {
            (Life::Alive, false) if storage.machine == Some(pass.unit.machine) && pass.alive() => "attached",
            (Life::Dying | Life::Dead, true) => "detaching",
            (Life::Alive | Life::Dying | Life::Dead, _) => return None,
        };
        Some(HookInfo {
            name: format!("{}-storage-{kind}", storage.name),
            storage: Some(id.clone()),
            ..HookInfo::default()
        })
    });
    let coming = |(id, s): (&String, &_)| is_coming(s) && !pass.local.storage_attached.contains(id);
    let wait = || !pass.local.installed && pass.alive() && mine().any(coming);
    let mut hooks: Vec<HookInfo> = due.collect();
    // A dying unit hears of its storages' end and of its relations' in any order.
    if !hooks.is_empty() && !pass.alive() && pass.idle() {
        let storages = hooks.len();
        hooks.extend(relation_hooks(pass));
        if Dice::of(pass.state, pass.me).turns("relations before storage") {
            hooks.rotate_left(storages);
        }
    }
    any(hooks).or_else(|| wait().then(Vec::new))
}

fn is_coming(storage: &crate::model::Storage) -> bool {
    storage.life == Life::Alive
}

fn pending(pass: &Pass<'_>) -> Wanted {
    let pending = pass.local.pending.as_ref()?;
    // A queued leader-elected is not run by a unit that leads no more.
    let deposed = pending.hook.name == "leader-elected" && !pass.state.is_leader(pass.me);
    let again = || one(Op::Hook(pending.hook.clone()));
    if pending.resolved == Some(Resolution::Skip) || deposed {
        return one(Op::Skip);
    }
    let newer = pass.local.charm_revision != Some(pass.application.revision);
    if pending.failed && newer && pass.application.force_units {
        return one(Op::Upgrade);
    }
    let retries = pass.state.setting("automatically-retry-hooks") != "false";
    let due = !pending.failed || pending.resolved.is_some() || (retries && pass.wishes.now >= pending.retry_at);
    if due { again() } else { Some(Vec::new()) }
}

fn next_queued(local: &Local) -> Option<&'static str> {
    let all =
        [(local.upgrade_due, "upgrade-charm"), (local.config_queued, "config-changed"), (local.start_queued, "start")];
    all.into_iter().find(|(due, _)| *due).map(|(_, name)| name)
}

fn queued(pass: &Pass<'_>) -> Wanted {
    next_queued(pass.local).and_then(plain)
}

fn dying(pass: &Pass<'_>) -> Wanted {
    let local = pass.local;
    if pass.alive() {
        return None;
    }
    any(relation_hooks(pass)).or_else(|| {
        if local.started && !local.stopped {
            plain("stop")
        } else if local.installed {
            plain("remove")
        } else {
            pass.end()
        }
    })
}

fn install(pass: &Pass<'_>) -> Wanted {
    if pass.local.installed { None } else { plain("install") }
}

fn upgrade(pass: &Pass<'_>) -> Wanted {
    if pass.local.charm_revision == Some(pass.application.revision) { None } else { one(Op::Upgrade) }
}

fn config(pass: &Pass<'_>) -> Wanted {
    let told = pass.local.config_hash.as_deref() == Some(pass.state.config_hash(pass.me).as_str());
    if told { None } else { plain("config-changed") }
}

fn relations_or_clock(pass: &Pass<'_>) -> Wanted {
    let due = pass.local.started && pass.wishes.now >= pass.local.update_status_at;
    any(relation_hooks(pass)).or_else(|| if due { plain("update-status") } else { None })
}

/// At most one hook of each relation: ordinary relations first, peers last.
fn relation_hooks(pass: &Pass<'_>) -> Vec<HookInfo> {
    let ids = Dice::of(pass.state, pass.me).relations(pass.state, pass.state.relations_of(&pass.me.app));
    ids.into_iter().filter_map(|id| relation_hook(pass, id)).collect()
}

fn relation_hook(pass: &Pass<'_>, id: u32) -> Option<HookInfo> {
    let (state, me) = (pass.state, pass.me);
    let relation = &state.relations[&id];
    let known = pass.local.relations.get(&id).filter(|r| r.created && !r.broken)?;
    if relation.implicit_for(&me.app) {
        return None;
    }
    if let Some((member, _)) = known.members.iter().find(|(_, m)| m.owes_changed) {
        return Some(hook(pass, id, "changed", Some(member), None));
    }
    let remote = state.remote_units(id, me);
    let stays = pass.alive() && pass.application.life == Life::Alive;
    let untold = relation.peer && stays && state.setting("departed-defect") == "true";
    if let Some(gone) = known.members.keys().find(|member| !remote.contains(*member) && !untold) {
        return Some(hook(pass, id, "departed", Some(gone), Some(if stays { gone } else { me })));
    }
    let ends = !pass.alive() || relation.life != Life::Alive;
    if ends {
        return (!relation.peer).then(|| hook(pass, id, "broken", None, None));
    }
    let app_version = relation.app_bags.get(&relation.remote_app(&me.app)).map_or(0, |bag| bag.version);
    let echo = !relation.peer || !state.is_leader(me) || state.setting("peer-application-echo") != "false";
    if app_version > known.app_version && echo {
        return Some(hook(pass, id, "changed", None, None));
    }
    if let Some(fresh) = remote.iter().find(|member| !known.members.contains_key(*member)) {
        return Some(hook(pass, id, "joined", Some(fresh), None));
    }
    let version = |member: &UnitName| relation.unit_bags.get(member).map_or(0, |bag| bag.version);
    let behind = known.members.iter().find(|(member, local)| version(member) > local.version);
    behind.map(|(member, _)| hook(pass, id, "changed", Some(member), None))
}

fn hook(pass: &Pass<'_>, id: u32, kind: &str, remote: Option<&UnitName>, departing: Option<&UnitName>) -> HookInfo {
    let relation = &pass.state.relations[&id];
    let endpoint = relation.endpoint_of(&pass.me.app).map(|e| e.name.clone()).unwrap_or_default();
    HookInfo {
        name: format!("{endpoint}-relation-{kind}"),
        relation: Some(id),
        remote_app: Some(relation.remote_app(&pass.me.app)),
        remote_unit: remote.cloned(),
        departing_unit: departing.cloned(),
        ..HookInfo::default()
    }
}
