//! Making machines for units, and taking back what could not be made: a full disk or a lost network leaves no unit
//! behind that nobody can start.

use std::sync::Arc;

use super::Controller;
use crate::model::UnitName;

/// Makes the machines of new units. What fails is taken back, an application without units with it.
pub(super) fn provision(
    controller: &Arc<Controller>,
    units: &[UnitName],
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<()> {
    let results: Vec<anyhow::Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            units.iter().map(|unit| scope.spawn(move || controller.provision(unit, progress))).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| Err(anyhow::anyhow!("cannot make a machine: internal error"))))
            .collect()
    });
    let mut failed: Vec<(&UnitName, anyhow::Error)> =
        units.iter().zip(results).filter_map(|(unit, result)| Some((unit, result.err()?))).collect();
    if controller.lock().stopping {
        // The whole model goes, or the next controller goes on with it.
        return failed.into_iter().next().map_or(Ok(()), |(_, why)| Err(why));
    }
    for (unit, _) in &failed {
        give_back(controller, unit);
    }
    let gone: Vec<String> = failed.iter().map(|(unit, _)| unit.to_string()).collect();
    match failed.pop() {
        None => Ok(()),
        Some((_, why)) => Err(why.context(format!("cannot make {}, which is taken back", gone.join(", ")))),
    }
}

/// Takes back an application that has no machines of its own yet.
pub(super) fn take_back(controller: &Arc<Controller>, application: &str, units: &[UnitName]) {
    for unit in units {
        give_back(controller, unit);
    }
    // One without units is still there; the last unit takes any other with it.
    let _ = super::requests::commit(controller, |state| state.remove_application(application, true));
}

fn give_back(controller: &Arc<Controller>, unit: &UnitName) {
    let machine = controller.read(|state| state.units.get(unit).map(|unit| unit.machine));
    let made = machine.is_some_and(|id| controller.read(|state| state.machines.get(&id).is_some_and(|m| m.created)));
    // Filesystems that would have been made with the machine; others, which were to be attached, go back.
    let unmade: Vec<String> = controller.read(|state| {
        let own = state.storage.iter().filter(|(_, s)| !made && s.unit.as_ref() == Some(unit) && s.machine.is_some());
        own.map(|(id, _)| id.clone()).collect()
    });
    let taken = super::requests::commit(controller, |state| {
        state.storage.retain(|id, _| !unmade.contains(id));
        if state.units_of(&unit.app).count() == 1 {
            state.remove_application(&unit.app, true)?;
        } else {
            state.remove_unit(unit, true)?;
        }
        state.unit_dead(unit);
        if let Some(machine) = machine.filter(|_| !made) {
            state.machines.remove(&machine);
        }
        Ok::<_, crate::model::ModelError>(())
    });
    let removed = machine.filter(|_| !made).map_or(Ok(()), |id| controller.machines.destroy(id));
    for why in [taken.err(), removed.err()].into_iter().flatten() {
        controller.log(&unit.tag(), "ERROR", "juju.machine", &format!("cannot take the unit back: {why:#}"));
    }
}
