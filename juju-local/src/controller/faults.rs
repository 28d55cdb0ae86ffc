//! What is broken on purpose.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Controller, HookFault};
use crate::api::Fault;
use crate::model::UnitName;

/// Breaks something, or mends it.
pub(super) fn apply(controller: &Arc<Controller>, fault: Fault) -> anyhow::Result<Value> {
    match fault {
        Fault::Kill { unit, service, pid, signal } => {
            let machine = machine_of(controller, &unit)?;
            let command = match (service, pid) {
                (Some(service), None) => {
                    vec!["systemctl".to_owned(), "kill".to_owned(), format!("--signal={signal}"), service]
                }
                (None, Some(pid)) => vec!["kill".to_owned(), "-s".to_owned(), signal, pid.to_string()],
                (Some(_), Some(_)) | (None, None) => anyhow::bail!("name either --service or --pid"),
            };
            inside(controller, machine, &command)?;
        }
        Fault::PowerOff { units } => {
            for unit in units {
                let machine = machine_of(controller, &unit)?;
                power(controller, machine, false);
                controller.machines.power_off(machine)?;
            }
        }
        Fault::PowerOn { units } => {
            for unit in units {
                let machine = machine_of(controller, &unit)?;
                controller.machines.power_on(machine)?;
                power(controller, machine, true);
            }
        }
        Fault::Reboot { units } => {
            for unit in units {
                let machine = machine_of(controller, &unit)?;
                power(controller, machine, false);
                controller.machines.reboot(machine)?;
                power(controller, machine, true);
            }
        }
        Fault::Leadership { application, unit } => {
            let unit = name(&unit)?;
            let mut world = controller.lock();
            if unit.app != application || !world.state.units.contains_key(&unit) {
                anyhow::bail!("unit {unit} is not a unit of application {application:?}");
            }
            let now = controller.now();
            for (other, local) in &mut world.state.units {
                if other.app == application && *other != unit {
                    local.local.elected = false;
                }
            }
            if let Some(app) = world.state.applications.get_mut(&application) {
                app.leader = Some(unit);
                app.lease_until = now + super::LEASE;
            }
            controller.save(&world);
        }
        Fault::Hook { unit, kill_after_tools, name: hook, fail_commit } => {
            let unit = name(&unit)?;
            if kill_after_tools.is_none() && !fail_commit {
                anyhow::bail!("name --kill-after-tools K or --fail-commit");
            }
            let fault = HookFault { kill_after_tools, name: hook, fail_commit };
            controller.lock().hook_faults.insert(unit, fault);
        }
        Fault::Cut { units } => {
            for unit in units {
                controller.machines.network(machine_of(controller, &unit)?, false)?;
            }
        }
        Fault::Heal { units } => {
            for unit in units {
                controller.machines.network(machine_of(controller, &unit)?, true)?;
            }
        }
        Fault::List => {
            let world = controller.lock();
            let off: Vec<String> = world
                .state
                .units
                .iter()
                .filter(|(_, u)| world.state.machines.get(&u.machine).is_some_and(|m| m.created && !m.powered))
                .map(|(name, _)| name.to_string())
                .collect();
            let hooks: Vec<String> = world.hook_faults.keys().map(ToString::to_string).collect();
            return Ok(json!({"powered-off": off, "hooks": hooks}));
        }
        Fault::Clear => {
            controller.lock().hook_faults.clear();
            let off: Vec<u32> = controller
                .read(|s| s.machines.iter().filter(|(_, m)| m.created && !m.powered).map(|(id, _)| *id).collect());
            for machine in off {
                controller.machines.power_on(machine)?;
                power(controller, machine, true);
            }
        }
    }
    controller.wake();
    Ok(Value::Null)
}

fn name(text: &str) -> anyhow::Result<UnitName> {
    UnitName::try_from(text.to_owned()).map_err(|why| anyhow::anyhow!(why))
}

fn machine_of(controller: &Controller, unit: &str) -> anyhow::Result<u32> {
    let unit = super::requests::unit_or_leader(controller, unit.to_owned())?;
    controller.read(|state| state.unit(&unit).map(|u| u.machine)).map_err(|e| anyhow::anyhow!(e))
}

fn power(controller: &Controller, machine: u32, on: bool) {
    controller.change(|state| {
        if let Some(machine) = state.machines.get_mut(&machine) {
            machine.powered = on;
            if on {
                machine.boot += 1;
            }
        }
    });
    controller.save(&controller.lock());
}

fn inside(controller: &Controller, machine: u32, command: &[String]) -> anyhow::Result<()> {
    let env = BTreeMap::from([("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())]);
    let output = controller.machines.spawn(machine, command, &env, "/")?.wait_with_output()?;
    if !output.status.success() {
        anyhow::bail!("cannot do that on machine {machine}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
