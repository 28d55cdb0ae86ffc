//! Looks after what happens without a command: machines that reboot, power off, or were half made when a controller died;
//! filesystems that are wanted elsewhere; subordinates that have come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Controller;
use crate::model::UnitName;

const EVERY: Duration = Duration::from_millis(300);
/// How often in a row a machine must be found in a new state. A reboot has it off for a moment too.
const PATIENCE: u32 = 10;

/// Goes on until the controller stops.
pub(super) fn start(controller: &Arc<Controller>) {
    let controller = Arc::clone(controller);
    std::thread::spawn(move || {
        let mut seen = Seen::default();
        while !controller.lock().stopping {
            look(&controller, &mut seen);
            if !controller.is_stopped() {
                super::disks::settle(&controller);
                super::machines::start_agents(&controller);
                super::machines::forget_unmade(&controller);
            }
            std::thread::sleep(EVERY);
        }
    });
}

#[derive(Default)]
struct Seen {
    /// The boot that the model counts, and the first process that belonged to it.
    boots: BTreeMap<u32, (u32, u32)>,
    /// How often in a row a machine was found off.
    off: BTreeMap<u32, u32>,
    /// The same for a machine that runs again.
    back: BTreeMap<u32, u32>,
    /// Machines that were found off, not switched off: they are on again when they run.
    lost: BTreeSet<u32>,
}

fn look(controller: &Controller, seen: &mut Seen) {
    let machines: Vec<(u32, bool, u32)> = controller
        .read(|s| s.machines.iter().filter(|(_, m)| m.created).map(|(id, m)| (*id, m.powered, m.boot)).collect());
    seen.boots.retain(|id, _| machines.iter().any(|(known, _, _)| known == id));
    for (id, powered, boot) in machines {
        if !powered && !seen.lost.contains(&id) {
            seen.off.remove(&id);
            continue;
        }
        match controller.machines.leader(id) {
            Some(leader) => {
                if !powered {
                    // Found off before. Whoever switches it on says so, soon; else it was a reboot that took long.
                    let times = seen.back.entry(id).or_default();
                    *times += 1;
                    if *times < PATIENCE {
                        continue;
                    }
                }
                let lost = seen.lost.remove(&id) && !powered;
                seen.off.remove(&id);
                seen.back.remove(&id);
                let before = seen.boots.insert(id, (boot, leader));
                // A new first process in a boot that is known already: the machine has booted by itself.
                if lost || before.is_some_and(|(known, first)| known == boot && first != leader) {
                    note(controller, id, true, "has booted by itself");
                    seen.boots.insert(id, (boot + 1, leader));
                }
            }
            None => {
                let times = seen.off.entry(id).or_default();
                *times += 1;
                if *times == PATIENCE {
                    seen.lost.insert(id);
                    note(controller, id, false, "is off, and nobody has switched it off");
                }
            }
        }
    }
}

fn note(controller: &Controller, id: u32, on: bool, what: &str) {
    controller.log("controller", "WARNING", "juju.machine", &format!("machine {id} {what}"));
    controller.change(|state| {
        if let Some(machine) = state.machines.get_mut(&id) {
            machine.powered = on;
            machine.boot += u32::from(on);
        }
    });
    controller.save(&controller.lock());
    if on {
        super::faults::after_boot(controller, id);
    }
}

/// Makes the machines that a controller has promised and not made before it died.
pub(super) fn make_missing(controller: &Arc<Controller>) {
    let units: Vec<UnitName> = controller.read(|state| {
        let missing = |machine: u32| state.machines.get(&machine).is_some_and(|m| !m.created);
        state.units.iter().filter(|(_, unit)| missing(unit.machine)).map(|(name, _)| name.clone()).collect()
    });
    let added: Vec<u32> = controller
        .read(|state| state.machines.iter().filter(|(_, m)| m.kept && !m.created).map(|(id, _)| *id).collect());
    for machine in added {
        let controller = Arc::clone(controller);
        std::thread::spawn(move || {
            let log = |level: &str, text: &str| controller.log("controller", level, "juju.machine", text);
            match controller.make_machine(machine, &[], &|text| log("INFO", text)) {
                Ok(()) => controller.save(&controller.lock()),
                Err(why) => log("ERROR", &format!("cannot make machine {machine}: {why:#}")),
            }
        });
    }
    for unit in units {
        let controller = Arc::clone(controller);
        std::thread::spawn(move || {
            let log = |level: &str, text: &str| controller.log(&unit.tag(), level, "juju.machine", text);
            if let Err(why) = controller.provision(&unit, &|text| log("INFO", text)) {
                log("ERROR", &format!("cannot make the machine: {why:#}"));
            }
        });
    }
}
