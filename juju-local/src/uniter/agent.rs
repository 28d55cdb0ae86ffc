//! One unit's agent: a thread that asks the resolver and does what it says. `hook`, `action` and `exec` know how each
//! of them runs.

use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::commit::{self, Seen};
pub use super::exec::{ExecRequest, ExecResult};
use super::process::charm_dir;
pub use super::process::tools_dir;
use super::resolver::{Op, Wishes, next_op};
use super::{action, exec, hook};
use crate::controller::Controller;
use crate::machine::{open_below, remove_tree};
use crate::model::{StatusInfo, UnitName};
use crate::watchful::Step;
use crate::watchful::shuffle::Dice;

/// Runs until the unit is gone or the controller stops.
pub fn run(controller: &Arc<Controller>, me: &UnitName) {
    loop {
        let (op, dice) = {
            let mut world = controller.lock();
            loop {
                if world.stopping || !world.state.units.contains_key(me) {
                    return;
                }
                controller.leases(&mut world);
                commit::look(&mut world.state, me, controller.now());
                action::start_beside(controller, &mut world, me);
                let exec_waiting = world.execs.get(me).is_some_and(|queue| !queue.is_empty());
                let now = controller.now();
                if let Some(op) = next_op(&world.state, me, Wishes { now, exec_waiting }) {
                    controller.tell_operation(&world.state, me, now, exec_waiting, &op);
                    let dice = Dice::of(&world.state, me);
                    let _ = controller.step(&mut world, &Step::Throw { unit: me.clone() });
                    break (op, dice);
                }
                if let Some(unit) = world.state.units.get_mut(me) {
                    if unit.agent.status != "idle" && unit.local.installed && unit.local.pending.is_none() {
                        unit.agent = StatusInfo::new("idle", "", controller.now());
                    }
                }
                world = controller.wait(world, Duration::from_millis(500));
            }
        };
        if matches!(op, Op::Hook(_)) {
            std::thread::sleep(Duration::from_millis(dice.pause_ms()));
        }
        perform(controller, me, op, dice);
        // Whoever has heard in a hook that he leads may count on it until its end.
        let busy = |unit: &UnitName| controller.running().values().any(|running| running.unit == *unit);
        let next = controller.read(|state| {
            dice.next_leader(state, me)
                .filter(|_| !state.applications.get(&me.app).and_then(|app| app.leader.as_ref()).is_some_and(busy))
        });
        if let Some(next) = next {
            controller.log(&me.tag(), "INFO", "juju-local.shuffle", &format!("leadership moves to {next}"));
            let now = controller.now();
            // One that has gone in this moment does not lead.
            let _ = controller.change(|state| state.lead(&next.app, &next, now));
        }
        controller.wake();
    }
}

fn perform(controller: &Arc<Controller>, me: &UnitName, op: Op, dice: Dice) {
    let Some(machine) = controller.read(|state| state.units.get(me).map(|unit| unit.machine)) else {
        return;
    };
    match op {
        Op::Terminate => terminate(controller, me),
        Op::Upgrade => upgrade(controller, me, machine),
        Op::Skip => skip(controller, me),
        // An action knows which lock it needs.
        Op::Action(task) => action::run(controller, me, machine, task, dice),
        Op::Hook(hook) => {
            controller.holding_machine(me, machine, "", || hook::run(controller, me, machine, &hook, dice))
        }
        Op::Exec => controller.holding_machine(me, machine, "", || exec::run(controller, me, machine, dice)),
    }
}

fn skip(controller: &Controller, me: &UnitName) {
    let mut world = controller.lock();
    let pending = world.state.units.get(me).and_then(|u| u.local.pending.clone());
    if let Some(pending) = pending {
        let seen = Seen::now(&world.state, me, &pending.hook);
        let (unit, hook, now) = (me.clone(), pending.hook, controller.now());
        let _ = controller.step(&mut world, &Step::Finished { unit, hook, seen, now });
    }
    controller.save(&world);
}

fn terminate(controller: &Arc<Controller>, me: &UnitName) {
    controller.kill_running(me);
    let machine = controller.read(|state| state.units.get(me).map(|unit| unit.machine));
    let mut world = controller.lock();
    let was_cut = world.state.blocked_paths();
    world.state.unit_dead(me);
    world.execs.remove(me);
    let cut = world.state.blocked_paths();
    controller.save(&world);
    drop(world);
    controller.unit_gone(me);
    if cut != was_cut {
        if let Err(why) = controller.machines.block(&cut) {
            controller.log(&me.tag(), "ERROR", "juju.machine", &format!("{why:#}"));
        }
    }
    controller.remove_empty_machines();
    if let Some(machine) = machine.filter(|id| controller.read(|state| state.machines.contains_key(id))) {
        if let Err(why) = uninstall(&controller.machines.root(machine), me) {
            controller.log(&me.tag(), "ERROR", "juju.worker.deployer", &format!("cannot remove the agent: {why:#}"));
        }
    }
    crate::controller::kept::sweep(controller);
}

/// Takes a unit's charm, state and tools from a machine that stays, as Juju's deployer does.
fn uninstall(root: &Path, me: &UnitName) -> anyhow::Result<()> {
    for parent in ["/var/lib/juju/agents", "/var/lib/juju/tools"] {
        // Below a root that a charm may have changed, a link leads no further than the machine.
        let there = open_below(root, Path::new(parent), OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
        let Ok(there) = there else {
            continue;
        };
        remove_tree(&Path::new("/proc/self/fd").join(there.as_raw_fd().to_string()).join(me.tag()))?;
    }
    Ok(())
}

fn upgrade(controller: &Arc<Controller>, me: &UnitName, machine: u32) {
    let Some((revision, archive)) = controller
        .read(|state| state.applications.get(&me.app).map(|app| (app.revision, app.archive.clone())))
        .map(|(revision, archive)| (revision, controller.dir.join("charms").join(archive)))
    else {
        return;
    };
    let result = crate::charm_files::expand(&archive, &charm_dir(controller, machine, me))
        .map_err(anyhow::Error::from)
        .and_then(|()| controller.install_tools(machine, me));
    let mut world = controller.lock();
    match result {
        Err(why) => {
            controller.log(&me.tag(), "ERROR", "juju.worker.uniter", &format!("cannot write the charm: {why:#}"));
            let _unused = controller.wait(world, Duration::from_secs(2));
        }
        Ok(()) => {
            let _ = controller.step(&mut world, &Step::Upgraded { unit: me.clone(), revision });
            controller.save(&world);
        }
    }
}

/// `5m`, `30s`, `1h` as seconds.
pub fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    match unit {
        "" | "s" => Some(number),
        "m" => Some(number * 60),
        "h" => Some(number * 3600),
        _ => None,
    }
}
