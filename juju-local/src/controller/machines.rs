//! Machines and agents that no unit's own command brings: those that operators add, subordinates, and the end of machines
//! that nobody needs.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::{Controller, disks};
use crate::machine::Mount;
use crate::model::{Life, ModelError, State, UnitName};

/// Makes machines without units.
pub(super) fn add(controller: &Arc<Controller>, count: u32, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Value> {
    let made = super::requests::commit(controller, |state| {
        Ok::<_, ModelError>((0..count).map(|_| state.add_machine(true)).collect::<Vec<_>>())
    })?;
    for machine in &made {
        controller.make_machine(*machine, &[], progress)?;
        controller.save(&controller.lock());
    }
    Ok(json!(made))
}

/// Gives machines up.
pub(super) fn remove(controller: &Arc<Controller>, machines: &[String], force: bool) -> anyhow::Result<Value> {
    let number = |text: &String| text.parse().map_err(|_| anyhow::anyhow!("{text:?} is not a machine's number"));
    let machines = machines.iter().map(number).collect::<anyhow::Result<Vec<u32>>>()?;
    super::requests::commit(controller, |state| {
        machines.iter().try_for_each(|machine| state.remove_machine(*machine, force))
    })?;
    let forced = controller.read(|state| {
        let on = state.units.iter().filter(|(_, unit)| unit.force && machines.contains(&unit.machine));
        on.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    });
    forced.iter().for_each(|unit| controller.kill_running(unit));
    controller.remove_empty_machines();
    Ok(Value::Null)
}

/// Starts the agents of units that came without a command of their own: subordinates.
pub(super) fn start_agents(controller: &Arc<Controller>) {
    let new: Vec<UnitName> = {
        let world = controller.lock();
        let made = |machine: u32| world.state.machines.get(&machine).is_some_and(|m| m.created);
        let units = world.state.units.iter().filter(|(_, unit)| unit.principal.is_some() && made(unit.machine));
        units.filter(|(name, _)| !world.agents.contains(*name)).map(|(name, _)| name.clone()).collect()
    };
    new.iter().for_each(|unit| controller.agent_may_start(unit));
}

/// Units that are to go before there was a machine for them: nobody but the model knows them.
pub(super) fn forget_unmade(controller: &Controller) {
    let gone = {
        let mut world = controller.lock();
        let making = controller.making.lock().unwrap_or_else(PoisonError::into_inner);
        let unmade =
            |machine: u32| !making.contains(&machine) && world.state.machines.get(&machine).is_some_and(|m| !m.created);
        let gone: Vec<UnitName> = world
            .state
            .units
            .iter()
            .filter(|(_, unit)| unit.life != Life::Alive && unmade(unit.machine))
            .map(|(name, _)| name.clone())
            .collect();
        gone.iter().for_each(|unit| world.state.unit_dead(unit));
        gone
    };
    if !gone.is_empty() {
        controller.remove_empty_machines();
    }
}

impl Controller {
    /// Makes a machine of the model.
    ///
    /// # Errors
    /// When the host cannot.
    pub(super) fn make_machine(&self, id: u32, mounts: &[Mount], progress: &dyn Fn(&str)) -> anyhow::Result<()> {
        let making = || self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let first_host = self.read(|state| state.setting("first-address-host").parse().unwrap_or(9));
        let address = self.machines.address(id, first_host);
        making().insert(id);
        let made = self.machines.create(id, &address, mounts, progress);
        if made.is_ok() {
            self.change(|state| {
                if let Some(machine) = state.machines.get_mut(&id) {
                    machine.address = address;
                    machine.created = true;
                    machine.boot = 1;
                }
            });
        }
        making().remove(&id);
        made
    }

    /// Removes machines that no unit is on. Their filesystems are taken off first: they may be wanted elsewhere.
    pub(crate) fn remove_empty_machines(&self) {
        let machines = {
            let mut world = self.lock();
            let machines = world.state.empty_machines();
            for machine in &machines {
                world.state.machines.remove(machine);
            }
            self.save(&world);
            machines
        };
        for machine in machines {
            if let Err(why) = self.remove_machine(machine) {
                self.log("controller", "ERROR", "juju.machine", &format!("cannot remove machine {machine}: {why:#}"));
            }
        }
    }

    fn remove_machine(&self, machine: u32) -> anyhow::Result<()> {
        let _alone = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        let on = |state: &State| -> Vec<String> {
            state.storage.iter().filter(|(_, s)| s.machine == Some(machine)).map(|(id, _)| id.clone()).collect()
        };
        let disks = self.read(on);
        if !disks.is_empty() {
            self.machines.power_off(machine)?;
        }
        for id in disks {
            disks::detach(self, &id, Some(machine));
        }
        self.machines.destroy(machine)
    }
}
