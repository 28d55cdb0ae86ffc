//! Brings the filesystems of storages where the model says they should be, and takes machines away that nobody needs.

use std::sync::{Arc, PoisonError};

use super::Controller;
use crate::machine::Mount;
use crate::model::State;

/// One turn: what is new is attached, what is no longer used is detached. What does not work is tried again next time.
pub(super) fn settle(controller: &Controller) {
    let _alone = controller.disks.lock().unwrap_or_else(PoisonError::into_inner);
    for (id, machine) in controller.read(State::storage_to_attach) {
        match mount(controller, &id).map_or(Ok(()), |mount| controller.machines.attach(machine, &mount)) {
            Ok(()) => change(controller, |state| state.storage_attached(&id, machine)),
            Err(why) => complain(controller, machine, &format!("cannot attach storage {id}: {why:#}")),
        }
    }
    for (id, machine) in controller.read(State::storage_to_detach) {
        detach(controller, &id, machine);
    }
}

fn detach(controller: &Controller, id: &str, machine: Option<u32>) {
    let destroy = controller.read(|state| state.storage.get(id).is_some_and(|s| s.destroy));
    let off = machine.map_or(Ok(()), |machine| controller.machines.detach(machine, id));
    match off.and_then(|()| if destroy { controller.machines.discard(id) } else { Ok(()) }) {
        Ok(()) => change(controller, |state| state.storage_detached(id)),
        Err(why) => complain(controller, machine.unwrap_or_default(), &format!("cannot detach storage {id}: {why:#}")),
    }
}

fn mount(controller: &Controller, id: &str) -> Option<Mount> {
    let found = |state: &State| state.storage.get(id).map(|s| (s.location.clone(), s.size.clone()));
    controller.read(found).map(|(location, size)| Mount { id: id.to_owned(), location, size })
}

fn change(controller: &Controller, what: impl FnOnce(&mut State)) {
    controller.change(what);
    controller.save(&controller.lock());
}

fn complain(controller: &Controller, machine: u32, what: &str) {
    controller.log(&format!("machine-{machine}"), "ERROR", "juju.worker.storageprovisioner", what);
}

/// Starts the agents of units that came without a command of their own: subordinates.
pub(super) fn start_agents(controller: &Arc<Controller>) {
    let ready = |state: &State| -> Vec<crate::model::UnitName> {
        let made = |machine: u32| state.machines.get(&machine).is_some_and(|m| m.created);
        state.units.iter().filter(|(_, u)| u.principal.is_some() && made(u.machine)).map(|(n, _)| n.clone()).collect()
    };
    for unit in controller.read(ready) {
        controller.agent_may_start(&unit);
    }
}

impl Controller {
    /// Removes machines that no unit is on. Their filesystems are taken off first: they may be wanted elsewhere.
    pub fn remove_empty_machines(&self) {
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
            detach(self, &id, Some(machine));
        }
        self.machines.destroy(machine)
    }
}
