//! One hook from its beginning to its commit, or to its failure.

use std::sync::Arc;
use std::time::Duration;

use super::commit::{self, Seen};
use super::context::{Context, Kind, Reboot};
use super::process::{Ended, execute, program};
use crate::controller::Controller;
use crate::model::{HookInfo, UnitName};

const OPERATION: &str = "juju.worker.uniter.operation";

/// Runs a hook. The caller holds the machine.
pub(super) fn run(controller: &Arc<Controller>, me: &UnitName, machine: u32, hook: &HookInfo) {
    let (snapshot, seen) = {
        let mut world = controller.lock();
        commit::begin(&mut world.state, me, hook, controller.now());
        controller.save(&world);
        (world.state.clone(), Seen::now(&world.state, me, hook))
    };
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
    let ended = execute(controller, machine, context, &[program.path]);
    let failed = |why: &str| {
        fail(controller, me, hook, &format!("hook {:?} (via {}) failed: {why}", hook.name, program.handler))
    };
    if ended.context.reboot == Some(Reboot::Now) {
        // Killed on its own wish: what it has changed is dropped, and it runs again after the boot.
        controller.log(&me.tag(), "INFO", OPERATION, &format!("hook {:?} asked for a reboot at once", hook.name));
        return controller.reboot(machine);
    }
    if !ended.end.succeeded() {
        return failed(&ended.end.to_string());
    }
    if let Err(why) = flush(controller, me, hook, &ended) {
        return failed(&why);
    }
    finish(controller, me, hook, &seen);
    controller.log(&me.tag(), "INFO", OPERATION, &format!("ran {:?} hook (via {})", hook.name, program.handler));
    if ended.context.reboot == Some(Reboot::After) {
        controller.reboot(machine);
    }
}

/// Makes what a hook has changed true, or refuses it because somebody wants that.
fn flush(controller: &Controller, me: &UnitName, hook: &HookInfo, ended: &Ended) -> Result<(), String> {
    let mut world = controller.lock();
    let refuse = world.state.faults.hooks.get(me).is_some_and(|fault| fault.fail_commit && fault.fits(&hook.name));
    if refuse {
        world.state.faults.hook_has_failed(me);
        return Err("cannot apply changes: injected fault".to_owned());
    }
    commit::flush(&mut world.state, me, &ended.context.buffered)
}

fn finish(controller: &Controller, me: &UnitName, hook: &HookInfo, seen: &Seen) {
    let mut world = controller.lock();
    commit::finished(&mut world.state, me, hook, seen, controller.now());
    controller.save(&world);
}

fn fail(controller: &Controller, me: &UnitName, hook: &HookInfo, why: &str) {
    controller.log(&me.tag(), "ERROR", OPERATION, why);
    let mut world = controller.lock();
    let powered =
        world.state.units.get(me).and_then(|u| world.state.machines.get(&u.machine)).is_some_and(|m| m.powered);
    if powered && !world.stopping {
        commit::failed(&mut world.state, me, hook, controller.now());
    }
    // Else the agent died with the hook: found half-done on its return and run again.
    controller.save(&world);
}
