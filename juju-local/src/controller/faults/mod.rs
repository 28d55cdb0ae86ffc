//! What is broken on purpose: `process` signals services, `network` cuts and slows, `disk` wipes and fills; power,
//! leadership and hooks are here.

mod disk;
mod network;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::Controller;
use crate::api::Fault;
use crate::model::{HookFault, Slow, UnitName};

pub(super) use network::after_boot;

/// Breaks something, or mends it.
pub(super) fn apply(controller: &Arc<Controller>, fault: Fault) -> anyhow::Result<Value> {
    match fault {
        Fault::Kill { unit, service, pid, signal } => {
            let unit = known(controller, unit)?;
            match (service, pid) {
                (Some(service), None) => process::signal_service(controller, &unit, &service, &signal)?,
                (None, Some(pid)) => process::signal_process(controller, &unit, pid, &signal)?,
                (Some(_), Some(_)) | (None, None) => anyhow::bail!("name either --service or --pid"),
            }
        }
        Fault::Freeze { unit, service } => process::freeze(controller, &known(controller, unit)?, &service)?,
        Fault::Thaw { unit, service } => process::thaw(controller, &known(controller, unit)?, &service)?,
        Fault::PowerOff { units } => at_once(&machines(controller, units)?, |machine| {
            power(controller, machine, false);
            controller.machines.power_off(machine)
        })?,
        Fault::PowerOn { units, new_address } => {
            let machines = machines(controller, units)?;
            let addresses = if new_address { new_addresses(controller, &machines)? } else { BTreeMap::new() };
            at_once(&machines, |machine| {
                let address = addresses.get(&machine);
                if address.is_some() && controller.machines.leader(machine).is_some() {
                    anyhow::bail!("machine {machine} is on: it gets another address when it starts, use fault reboot");
                }
                readdress(controller, machine, address)?;
                power_on(controller, machine)
            })?;
        }
        Fault::Reboot { units, new_address } => {
            let machines = machines(controller, units)?;
            let addresses = if new_address { new_addresses(controller, &machines)? } else { BTreeMap::new() };
            at_once(&machines, |machine| reboot(controller, machine, addresses.get(&machine)))?;
        }
        Fault::Leadership { application, unit, none: _ } => lead(controller, &application, unit)?,
        Fault::Hook { unit, kill_after_tools, name, fail_commit, delay_tools_ms } => {
            let unit = known(controller, unit)?;
            let fault = HookFault { kill_after_tools, name, fail_commit, delay_tools_ms };
            controller.change(|state| state.faults.hooks.insert(unit, fault));
        }
        Fault::Cut { units, from, one_way } => {
            network::cut(controller, &all_known(controller, units)?, &all_known(controller, from)?, one_way)?;
        }
        Fault::Heal { units } => network::heal(controller, &all_known(controller, units)?)?,
        Fault::Slow { unit, delay_ms, jitter_ms, loss_percent } => {
            network::slow(controller, &known(controller, unit)?, Slow { delay_ms, jitter_ms, loss_percent })?;
        }
        Fault::Wipe { unit, path } => disk::wipe(controller, &known(controller, unit)?, &path)?,
        Fault::Fill { unit, storage, leave } => {
            let left = disk::fill(controller, &known(controller, unit)?, &storage, leave)?;
            return Ok(json!({"bytes-left": left}));
        }
        Fault::Unfill { unit, storage } => disk::unfill(controller, &known(controller, unit)?, &storage)?,
        Fault::Clock { advance } => controller.advance_clock(advance)?,
        Fault::List => return Ok(list(controller)),
        Fault::Clear => clear(controller)?,
    }
    controller.save(&controller.lock());
    controller.wake();
    Ok(Value::Null)
}

/// A unit that there is; `db/leader` is one too.
fn known(controller: &Controller, unit: String) -> anyhow::Result<UnitName> {
    let unit = super::requests::unit_or_leader(controller, unit)?;
    controller.read(|state| state.unit(&unit).map(|_| ()))?;
    Ok(unit)
}

fn all_known(controller: &Controller, units: Vec<String>) -> anyhow::Result<Vec<UnitName>> {
    units.into_iter().map(|unit| known(controller, unit)).collect()
}

fn machine_of(controller: &Controller, unit: &UnitName) -> anyhow::Result<u32> {
    Ok(controller.read(|state| state.unit(unit).map(|u| u.machine))?)
}

/// All of them are looked up before anything is done to the first.
fn machines(controller: &Controller, units: Vec<String>) -> anyhow::Result<Vec<u32>> {
    let mut machines = all_known(controller, units)?
        .iter()
        .map(|unit| machine_of(controller, unit))
        .collect::<anyhow::Result<Vec<_>>>()?;
    machines.sort_unstable();
    machines.dedup();
    Ok(machines)
}

/// Power fails everywhere in the same moment, and machines that come up do not wait for each other.
fn at_once(machines: &[u32], act: impl Fn(u32) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = machines.iter().map(|machine| scope.spawn(move || act(*machine))).collect();
        let ends: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        ends.into_iter().try_for_each(|end| end.unwrap_or_else(|_| Err(anyhow::anyhow!("internal error"))))
    })
}

/// Addresses that no machine has, one for each of these.
fn new_addresses(controller: &Controller, machines: &[u32]) -> anyhow::Result<BTreeMap<u32, String>> {
    let taken: BTreeSet<String> = controller.read(|state| state.machines.values().map(|m| m.address.clone()).collect());
    let mut free = (100..=254).map(|host| controller.machines.address_of_host(host)).filter(|a| !taken.contains(a));
    let one = |machine: &u32| Ok((*machine, free.next().context("no address of this network is free")?));
    machines.iter().map(one).collect()
}

/// From its next start on.
fn readdress(controller: &Controller, machine: u32, address: Option<&String>) -> anyhow::Result<()> {
    if let Some(address) = address {
        controller.machines.readdress(machine, address)?;
        controller.change(|state| {
            if let Some(machine) = state.machines.get_mut(&machine) {
                machine.address.clone_from(address);
            }
        });
    }
    Ok(())
}

/// Shuts a machine down in order and starts it again.
pub(super) fn reboot(controller: &Controller, machine: u32, address: Option<&String>) -> anyhow::Result<()> {
    power(controller, machine, false);
    readdress(controller, machine, address)?;
    controller.machines.reboot(machine)?;
    power(controller, machine, true);
    Ok(())
}

fn power_on(controller: &Controller, machine: u32) -> anyhow::Result<()> {
    controller.machines.power_on(machine)?;
    power(controller, machine, true);
    Ok(())
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
    if on {
        after_boot(controller, machine);
    }
}

/// Gives the leadership to a unit, or to nobody.
fn lead(controller: &Controller, application: &str, unit: Option<String>) -> anyhow::Result<()> {
    let (unit, now) = (unit.map(|unit| known(controller, unit)).transpose()?, controller.now());
    controller.change(|state| match &unit {
        Some(unit) => state.lead(application, unit, now),
        None => state.lead_none(application, now),
    })?;
    Ok(())
}

fn list(controller: &Controller) -> Value {
    let lines = |lines: Vec<String>| json!(lines);
    let (mut report, units) = controller.read(|state| {
        let faults = &state.faults;
        let off = |machine: &u32| state.machines.get(machine).is_some_and(|m| m.created && !m.powered);
        let off = state.units.iter().filter(|(_, unit)| off(&unit.machine)).map(|(name, _)| name.to_string());
        let map = |pairs: Vec<(String, String)>| Value::Object(pairs.into_iter().map(|(k, v)| (k, json!(v))).collect());
        let report = Map::from_iter([
            ("controller".to_owned(), json!(if controller.is_stopped() { "stopped" } else { "running" })),
            ("powered-off".to_owned(), lines(off.collect())),
            ("frozen".to_owned(), lines(state.frozen().iter().map(|f| format!("{} {}", f.unit, f.service)).collect())),
            ("cuts".to_owned(), lines(faults.cuts.iter().map(ToString::to_string).collect())),
            ("slow".to_owned(), map(faults.slow.iter().map(|(u, s)| (u.to_string(), s.to_string())).collect())),
            ("clock-ahead-seconds".to_owned(), json!(state.clock_ahead)),
            ("leaderless".to_owned(), json!(faults.leaderless)),
            ("hooks".to_owned(), map(faults.hooks.iter().map(|(u, h)| (u.to_string(), h.to_string())).collect())),
        ]);
        (report, state.units.iter().map(|(name, unit)| (name.clone(), unit.machine)).collect::<Vec<_>>())
    });
    let filled = units.iter().flat_map(|(unit, machine)| {
        controller.machines.filled(*machine).into_iter().map(move |storage| format!("{unit} {storage}"))
    });
    report.insert("filled".to_owned(), lines(filled.collect()));
    Value::Object(report)
}

/// Mends everything that it can, and says then what could not be mended.
fn clear(controller: &Controller) -> anyhow::Result<()> {
    controller.change(|state| {
        state.faults.hooks.clear();
        state.faults.leaderless.clear();
    });
    let mut ends = vec![network::heal(controller, &[]), process::thaw_all(controller)];
    let machines: Vec<(u32, bool)> =
        controller.read(|s| s.machines.iter().filter(|(_, m)| m.created).map(|(id, m)| (*id, m.powered)).collect());
    for (machine, _) in &machines {
        for storage in controller.machines.filled(*machine) {
            ends.push(controller.machines.unfill(*machine, &storage));
        }
    }
    let off: Vec<u32> = machines.iter().filter(|(_, powered)| !powered).map(|(machine, _)| *machine).collect();
    ends.push(at_once(&off, |machine| power_on(controller, machine)));
    ends.into_iter().collect()
}

/// Runs a command on a unit's machine.
fn inside(controller: &Controller, unit: &UnitName, command: &[&str]) -> anyhow::Result<Output> {
    let machine = machine_of(controller, unit)?;
    if !controller.machines.is_up(machine) {
        anyhow::bail!("the machine of {unit} is off; juju-local fault power-on {unit} starts it");
    }
    let env = BTreeMap::from([
        ("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
    ]);
    let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    Ok(controller.machines.spawn(machine, &command, &env, "/")?.wait_with_output()?)
}

/// The last line of what a command complained about.
fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or("no message").to_owned()
}
