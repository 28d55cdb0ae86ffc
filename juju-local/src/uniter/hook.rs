//! One hook from its beginning to its commit, or to its failure.

use std::sync::Arc;
use std::time::Duration;

use super::commit::{self, Seen};
use super::context::{Buffered, Context, Kind, Reboot};
use super::process::{execute, program};
use crate::controller::Controller;
use crate::model::{HookInfo, State, UnitName};
use crate::watchful::shuffle::Dice;
use crate::watchful::{self, Step, Strict};

const OPERATION: &str = "juju.worker.uniter.operation";
/// How often a hook is run once more by the strict watch, until it changes nothing.
const AGAIN_MAX: u32 = 3;

/// Runs a hook. The caller holds the machine.
pub(super) fn run(controller: &Arc<Controller>, me: &UnitName, machine: u32, hook: &HookInfo, dice: Dice) {
    let (mut snapshot, seen) = {
        let mut world = controller.lock();
        let begin = Step::Begin { unit: me.clone(), hook: hook.clone(), now: controller.now() };
        // Only what a charm has buffered can be refused.
        let _ = controller.step(&mut world, &begin);
        controller.save(&world);
        (world.state.clone(), Seen::now(&world.state, me, hook))
    };
    controller.memory.remember(&mut snapshot, me, Some(hook), dice);
    let depth = watchful::hook_begins(controller, me, hook);
    let mut context = Context::new(me, Kind::Hook(hook.clone()), snapshot.clone());
    if let Some(fault) = snapshot.faults.hooks.get(me).filter(|fault| fault.fits(&hook.name)) {
        context.kill_after_tools = fault.kill_after_tools;
        context.delay_tools = Duration::from_millis(fault.delay_tools_ms.unwrap_or(0));
    }
    let Some(program) = program(controller, machine, me, &format!("hooks/{}", hook.name)) else {
        finish(controller, me, hook, &seen);
        controller.log(&me.tag(), "INFO", OPERATION, &format!("skipped {:?} hook (missing)", hook.name));
        return;
    };
    let ended = execute(controller, machine, context, std::slice::from_ref(&program.path));
    let failed = |why: &str| {
        fail(controller, me, hook, &format!("hook {:?} (via {}) failed: {why}", hook.name, program.handler))
    };
    if ended.context.reboot == Some(Reboot::Now) {
        // Killed on its own wish: what it has changed is dropped, and it runs again after the boot.
        controller.log(&me.tag(), "INFO", OPERATION, &format!("hook {:?} asked for a reboot at once", hook.name));
        controller.change(|state| commit::requeue(state, me));
        return controller.reboot(machine);
    }
    if !ended.end.succeeded() {
        return failed(&ended.end.to_string());
    }
    watchful::check_texts(controller, &ended.context);
    watchful::check_refused(controller, &ended.context);
    if let Err(why) = flush(controller, me, hook, &ended.context.buffered, depth) {
        return failed(&why);
    }
    controller.memory.ended(me, hook);
    if Strict::of(&snapshot).idempotent {
        run_again(controller, me, machine, hook, snapshot, &ended.context.buffered, &program.path, depth);
    }
    finish(controller, me, hook, &seen);
    controller.log(&me.tag(), "INFO", OPERATION, &format!("ran {:?} hook (via {})", hook.name, program.handler));
    if ended.context.reboot == Some(Reboot::After) {
        controller.reboot(machine);
    }
}

/// Makes what a hook has changed true, or refuses it because somebody wants that.
fn flush(
    controller: &Controller,
    me: &UnitName,
    hook: &HookInfo,
    buffered: &Buffered,
    depth: u32,
) -> Result<(), String> {
    let mut world = controller.lock();
    let refuse = world.state.faults.hooks.get(me).is_some_and(|fault| fault.fail_commit && fault.fits(&hook.name));
    if refuse {
        world.state.faults.hook_has_failed(me);
        return Err("cannot apply changes: injected fault".to_owned());
    }
    let changes = watchful::changes_before(&world.state, me);
    controller.step(&mut world, &Step::Flush { unit: me.clone(), buffered: buffered.clone() })?;
    changes.made(controller, &world.state, me, depth);
    Ok(())
}

/// The same hook once more, as it is run after an agent that died before it could note what it had done. It sees the
/// model of the first run with that run's changes, and so has nothing left to change. What a charm tells of its machine may
/// have moved on meanwhile: then the next run must have nothing left.
#[expect(clippy::too_many_arguments, reason = "they are all that the first run knew")]
fn run_again(
    controller: &Arc<Controller>,
    me: &UnitName,
    machine: u32,
    hook: &HookInfo,
    mut snapshot: State,
    first: &Buffered,
    program: &str,
    depth: u32,
) {
    let mut buffered = first.clone();
    let mut differs = Vec::new();
    for _ in 0..AGAIN_MAX {
        // Whoever was deposed meanwhile could not have made the changes that the model has now.
        if commit::flush(&mut snapshot, me, &buffered).is_err() {
            return;
        }
        let Some((found, context)) = once_more(controller, me, machine, hook, &snapshot, program) else { return };
        watchful::check_texts(controller, &context);
        buffered = context.buffered;
        if let Err(why) = flush(controller, me, hook, &buffered, depth) {
            let why = format!("another run is not committed: {why}");
            controller.log(&me.tag(), "WARNING", "juju-local.strict", &why);
        }
        differs = found;
        if differs.is_empty() {
            return;
        }
    }
    for what in &differs {
        controller.report(watchful::Kind::Idempotent, me, &hook.name, &format!("another run {what}"));
    }
}

/// Runs a hook on what an earlier run has left; says what differs then. `None` when that says nothing.
fn once_more(
    controller: &Arc<Controller>,
    me: &UnitName,
    machine: u32,
    hook: &HookInfo,
    snapshot: &State,
    program: &str,
) -> Option<(Vec<String>, Context)> {
    controller.log(&me.tag(), "INFO", "juju-local.strict", &format!("run {:?} hook once more", hook.name));
    let leader_settings = |state: &State| state.applications.get(&me.app).map(|app| app.leader_settings.clone());
    let settings = controller.read(leader_settings).unwrap_or_default();
    let context = Context::new(me, Kind::Hook(hook.clone()), snapshot.clone());
    let ended = execute(controller, machine, context, &[program.to_owned()]);
    // Who has become leader meanwhile, or is none any more, has reason to do something else.
    if controller.read(|state| state.is_leader(me)) != snapshot.is_leader(me) {
        return None;
    }
    if !ended.end.succeeded() {
        let world = controller.lock();
        let on = !world.stopping && world.state.machines.get(&machine).is_some_and(|m| m.powered);
        drop(world);
        if on && controller.unit_lives(me) {
            let why = format!("another run fails: {}", ended.end);
            controller.report(watchful::Kind::Idempotent, me, &hook.name, &why);
        }
        return None;
    }
    let mut after = snapshot.clone();
    let flushed = commit::flush(&mut after, me, &ended.context.buffered);
    let mut differs = watchful::compare(snapshot, &after, me);
    let settings_now = controller.read(leader_settings).unwrap_or_default();
    differs.extend(watchful::keys(&settings, &settings_now, "its application's leader settings"));
    differs.extend(flushed.err().map(|why| format!("makes changes that are refused: {why}")));
    Some((differs, ended.context))
}

fn finish(controller: &Controller, me: &UnitName, hook: &HookInfo, seen: &Seen) {
    let (unit, hook, seen) = (me.clone(), hook.clone(), seen.clone());
    let mut world = controller.lock();
    let _ = controller.step(&mut world, &Step::Finished { unit, hook, seen, now: controller.now() });
    controller.save(&world);
}

fn fail(controller: &Controller, me: &UnitName, hook: &HookInfo, why: &str) {
    controller.log(&me.tag(), "ERROR", OPERATION, why);
    let mut world = controller.lock();
    let powered =
        world.state.units.get(me).and_then(|u| world.state.machines.get(&u.machine)).is_some_and(|m| m.powered);
    if powered && !world.stopping {
        let failed = Step::Failed { unit: me.clone(), hook: hook.clone(), now: controller.now() };
        let _ = controller.step(&mut world, &failed);
    }
    // Else the agent died with the hook: found half-done on its return and run again.
    controller.save(&world);
}
