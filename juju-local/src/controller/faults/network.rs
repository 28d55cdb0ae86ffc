//! What does not get through between machines, or late.

use super::{Controller, machine_of};
use crate::model::{Slow, State, UnitName};

pub(super) fn cut(controller: &Controller, units: &[UnitName], from: &[UnitName], one_way: bool) -> anyhow::Result<()> {
    for unit in units {
        for other in from {
            if machine_of(controller, unit)? == machine_of(controller, other)? {
                anyhow::bail!("cannot cut {unit} from {other}: that is the same machine");
            }
        }
    }
    let before = controller.change(|state| {
        let before = state.faults.cuts.clone();
        state.faults.cut(units, from, one_way);
        before
    });
    // What the kernel cannot do is not listed as done.
    block(controller).inspect_err(|_| controller.change(|state| state.faults.cuts = before))
}

/// The network is whole again for these units, or for all: neither cut nor slow.
pub(super) fn heal(controller: &Controller, units: &[UnitName]) -> anyhow::Result<()> {
    let slow = |state: &State| state.faults.slow.keys().cloned().collect::<Vec<_>>();
    let before = controller.read(slow);
    controller.change(|state| state.faults.heal(units));
    let after = controller.read(slow);
    for unit in before.iter().filter(|unit| !after.contains(unit)) {
        controller.machines.slow(machine_of(controller, unit)?, None)?;
    }
    block(controller)
}

pub(super) fn slow(controller: &Controller, unit: &UnitName, how: Slow) -> anyhow::Result<()> {
    controller.machines.slow(machine_of(controller, unit)?, Some(&how))?;
    controller.change(|state| state.faults.slow.insert(unit.clone(), how));
    Ok(())
}

/// A machine that boots gets a new cable, which is not slow.
pub(in crate::controller) fn after_boot(controller: &Controller, machine: u32) {
    let slow = controller.read(|state| {
        let here = |unit: &UnitName| state.units.get(unit).is_some_and(|u| u.machine == machine);
        state.faults.slow.iter().find(|(unit, _)| here(unit)).map(|(_, how)| how.clone())
    });
    if let Some(how) = slow {
        if let Err(why) = controller.machines.slow(machine, Some(&how)) {
            controller.log("controller", "ERROR", "juju.machine", &format!("machine {machine}: {why:#}"));
        }
    }
}

fn block(controller: &Controller) -> anyhow::Result<()> {
    controller.machines.block(&controller.read(State::blocked_paths))
}
