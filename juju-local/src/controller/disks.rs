//! Brings the filesystems of storages where the model says they should be.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::Controller;
use super::requests::{commit, unit_or_leader};
use crate::api::DiskRequest;
use crate::machine::Mount;
use crate::model::{ModelError, State, Wanted};

/// Changes what should be where; returns the names of new instances.
pub(super) fn serve(controller: &Arc<Controller>, request: DiskRequest) -> anyhow::Result<Value> {
    match request {
        DiskRequest::Add { unit, storage } => {
            let unit = unit_or_leader(controller, unit)?;
            commit(controller, |state| {
                let mut made = Vec::new();
                for (name, text) in &storage {
                    let wanted = Wanted::parse(text)?;
                    made.extend(state.add_storage_of_size(&unit, name, wanted.count.unwrap_or(1), wanted.size)?);
                }
                Ok::<_, ModelError>(json!(made))
            })
        }
        DiskRequest::Attach { unit, ids } => {
            let unit = unit_or_leader(controller, unit)?;
            commit(controller, |state| ids.iter().try_for_each(|id| state.attach_storage(&unit, id)))?;
            Ok(Value::Null)
        }
        DiskRequest::Detach { ids } => {
            commit(controller, |state| ids.iter().try_for_each(|id| state.detach_storage(id)))?;
            Ok(Value::Null)
        }
        DiskRequest::Remove { ids, force } => {
            commit(controller, |state| ids.iter().try_for_each(|id| state.remove_storage(id, force)))?;
            Ok(Value::Null)
        }
    }
}

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

/// Takes a filesystem off its machine. The caller holds the disks.
pub(super) fn detach(controller: &Controller, id: &str, machine: Option<u32>) {
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
