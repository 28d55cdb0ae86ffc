//! An action's run: alone like a hook, or beside hooks where the charm says that it may.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::context::{Context, Kind};
use super::process::{End, Ended, execute, output, program};
use crate::controller::{Controller, World};
use crate::model::{StatusInfo, UnitName};
use crate::watchful::Step;
use crate::watchful::shuffle::Dice;

/// Starts the actions that need not wait, each in a thread of its own.
pub fn start_beside(controller: &Arc<Controller>, world: &mut World, me: &UnitName) {
    let Some(machine) = world.state.units.get(me).map(|unit| unit.machine) else {
        return;
    };
    if !world.state.machines.get(&machine).is_some_and(|m| m.powered && m.created) {
        return;
    }
    for id in world.state.tasks_beside(me) {
        if world.beside.insert(id) {
            let (controller, me) = (Arc::clone(controller), me.clone());
            std::thread::spawn(move || {
                run(&controller, &me, machine, id, Dice::default());
                controller.lock().beside.remove(&id);
                controller.wake();
            });
        }
    }
}

/// Runs an action, under the lock that it needs.
pub(super) fn run(controller: &Arc<Controller>, me: &UnitName, machine: u32, id: u32, dice: Dice) {
    let (beside, group) = controller.read(|state| {
        let task = state.tasks.get(&id);
        task.map_or((false, String::new()), |task| (state.runs_beside(task), state.execution_group(task).to_owned()))
    });
    if beside && group.is_empty() {
        return run_now(controller, me, machine, id, dice);
    }
    // The lock of a group stands for the machine's own: whatever its members do is only kept from each other.
    controller.holding_machine(me, machine, &group, || run_now(controller, me, machine, id, dice));
}

fn run_now(controller: &Arc<Controller>, me: &UnitName, machine: u32, id: u32, dice: Dice) {
    let begun = {
        let mut world = controller.lock();
        let begun = begin(&mut world, me, id, controller.now());
        // Known as begun before it begins: a controller that dies meanwhile leaves an action that has failed.
        controller.save(&world);
        begun
    };
    let mut context = match begun {
        Begun::Not => return,
        Begun::Refused(why) => return done(controller, id, "failed", why, Map::new()),
        Begun::Context(context) => *context,
    };
    controller.memory.remember(&mut context.snapshot, me, None, dice);
    let name = context.kind.name().to_owned();
    let Some(program) = program(controller, machine, me, &format!("actions/{name}")) else {
        let why = format!("action not implemented on unit {:?}", me.to_string());
        return done(controller, id, "failed", why, Map::new());
    };
    let ended = execute(controller, machine, context, &[program.path]);
    finish(controller, me, machine, id, ended);
}

enum Begun {
    /// It was cancelled while it waited, or its unit is gone.
    Not,
    Refused(String),
    Context(Box<Context>),
}

fn begin(world: &mut World, me: &UnitName, id: u32, now: u64) -> Begun {
    let state = &mut world.state;
    let Some(task) = state.tasks.get(&id).filter(|task| task.status == "pending") else {
        return Begun::Not;
    };
    let Some(application) = state.applications.get(&me.app).filter(|_| state.units.contains_key(me)) else {
        return Begun::Not;
    };
    let (name, params) = (task.action.clone(), task.params.clone());
    // The charm may have been replaced since the action was asked for.
    let fits = match application.charm.actions.get(&name) {
        None => Err("not defined".to_owned()),
        Some(spec) => crate::charm_files::validate_params(&spec.schema, &params, state.major() >= 4),
    };
    let params = match fits {
        Ok(params) => params,
        Err(why) => return Begun::Refused(format!("cannot run {name:?} action: {why}")),
    };
    let beside = state.runs_beside(task);
    if let Some(task) = state.tasks.get_mut(&id) {
        "running".clone_into(&mut task.status);
        task.started = now;
    }
    if let Some(unit) = state.units.get_mut(me).filter(|_| !beside) {
        unit.agent = StatusInfo::new("executing", &format!("running action {name}"), now);
    }
    let kind = Kind::Action { task: id, name, params };
    Begun::Context(Box::new(Context::new(me, kind, state.clone())))
}

fn done(controller: &Controller, id: u32, status: &str, message: String, results: Map<String, Value>) {
    let mut world = controller.lock();
    world.state.end_task(id, status, message, results, controller.now());
    controller.save(&world);
    drop(world);
    controller.wake();
}

fn finish(controller: &Controller, me: &UnitName, machine: u32, id: u32, ended: Ended) {
    let context = ended.context;
    let mut results = context.results.as_object().cloned().unwrap_or_default();
    // These are the agent's own, whatever the charm has put under their names.
    results.insert("return-code".to_owned(), ended.end.return_code().into());
    for (key, bytes) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
        results.extend(output(key, bytes).into_iter().map(|(key, text)| (key, text.into())));
    }
    if !ended.end.succeeded() {
        let mut world = controller.lock();
        let on = world.state.machines.get(&machine).is_some_and(|m| m.powered);
        if world.stopping || (!on && matches!(ended.end, End::Signalled(_))) {
            // The agent died with the machine, and finds on its return that it had begun something.
            world.state.lose_task(id, controller.now());
            return controller.save(&world);
        }
        drop(world);
        return done(controller, id, "failed", ended.end.to_string(), results);
    }
    crate::watchful::check_texts(controller, &context);
    let flushed = {
        let mut world = controller.lock();
        let flushed = controller.step(&mut world, &Step::Flush { unit: me.clone(), buffered: context.buffered });
        controller.save(&world);
        flushed
    };
    match (flushed, context.failed) {
        (Err(why), failed) => {
            let said = results.get("stderr").and_then(Value::as_str).map(|text| format!("{text}\n"));
            results.insert("stderr".to_owned(), format!("{}{why}", said.unwrap_or_default()).into());
            results.insert("return-code".to_owned(), "1".into());
            let message = failed.unwrap_or_else(|| "committing requested changes failed".to_owned());
            done(controller, id, "failed", message, results);
        }
        (Ok(()), Some(message)) => done(controller, id, "failed", message, results),
        (Ok(()), None) => done(controller, id, "completed", String::new(), results),
    }
}
