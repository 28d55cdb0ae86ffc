//! Signals for services and processes of a machine.

use super::{Controller, complaint, inside, machine_of};
use crate::model::{Frozen, UnitName};

pub(super) fn signal_process(controller: &Controller, unit: &UnitName, pid: u32, signal: &str) -> anyhow::Result<()> {
    let output = inside(controller, unit, &["kill", "-s", signal, &pid.to_string()])?;
    if !output.status.success() {
        anyhow::bail!("cannot send {signal} to process {pid} of {unit}: {}", complaint(&output));
    }
    Ok(())
}

/// To every process of the service.
pub(super) fn signal_service(
    controller: &Controller,
    unit: &UnitName,
    service: &str,
    signal: &str,
) -> anyhow::Result<()> {
    let shown = inside(controller, unit, &["systemctl", "show", "-p", "LoadState,ActiveState", "--", service])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let is = |line: &str| shown.lines().any(|shown| shown == line);
    if !is("LoadState=loaded") {
        anyhow::bail!("{unit} has no service {service:?}");
    }
    if is("ActiveState=inactive") || is("ActiveState=failed") {
        anyhow::bail!("service {service:?} of {unit} does not run");
    }
    let output = inside(controller, unit, &["systemctl", "kill", &format!("--signal={signal}"), "--", service])?;
    if !output.status.success() {
        anyhow::bail!("cannot send {signal} to service {service:?} of {unit}: {}", complaint(&output));
    }
    Ok(())
}

/// Stops every process of a service as they stand. A signal, not the kernel's freezer: the service manager goes on
/// seeing processes of its own that it can kill, as it would when they hang by themselves.
pub(super) fn freeze(controller: &Controller, unit: &UnitName, service: &str) -> anyhow::Result<()> {
    signal_service(controller, unit, service, "STOP")?;
    let machine = machine_of(controller, unit)?;
    controller.change(|state| {
        let boot = state.machines.get(&machine).map_or(0, |m| m.boot);
        state.faults.frozen.insert(Frozen { unit: unit.clone(), service: service.to_owned(), boot });
    });
    Ok(())
}

/// Lets them go on. When the service has ended in the meantime there is nothing to do.
pub(super) fn thaw(controller: &Controller, unit: &UnitName, service: &str) -> anyhow::Result<()> {
    let was = controller.read(|state| state.frozen().iter().any(|f| f.unit == *unit && f.service == service));
    let thawed = signal_service(controller, unit, service, "CONT");
    controller.change(|state| state.faults.frozen.retain(|f| f.unit != *unit || f.service != service));
    if was { Ok(()) } else { thawed }
}

pub(super) fn thaw_all(controller: &Controller) -> anyhow::Result<()> {
    let frozen: Vec<Frozen> = controller.read(|state| state.frozen().into_iter().cloned().collect());
    frozen.iter().try_for_each(|frozen| thaw(controller, &frozen.unit, &frozen.service))
}
