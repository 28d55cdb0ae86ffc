//! Machines lose their power and get it back; what stood still goes on; everything mends.

use mariadb_galera::cluster::{Epoch, Holds, Unit};

use super::galera::Process;
use super::juju::{APP, name};
use super::plan::SECOND;
use super::world::{Event, Permission, Switch, Volume, World};

impl World {
    pub(crate) fn created(&mut self, unit: &Unit) {
        let id = self.state.units[&name(unit)].machine;
        let address = self.machines[unit].address.to_string();
        if let Some(machine) = self.state.machines.get_mut(&id) {
            (machine.created, machine.address) = (true, address);
        }
        self.machine(unit).created = true;
        self.version += 1;
        self.after(0, Event::Look(unit.clone()));
    }

    pub(crate) fn power(&mut self, unit: &Unit, switch: Switch) {
        let Some(machine) = self.machines.get(unit) else {
            return;
        };
        let (powered, created) = (machine.powered, machine.created);
        match switch {
            Switch::On if !powered => self.power_on(unit),
            Switch::Cut if powered && created => self.power_off(unit, true),
            Switch::CutInChange if powered && created => {
                self.interrupt_change(unit);
                self.power_off(unit, true);
            }
            Switch::ShutDown if powered && created => {
                self.server_leaves(unit);
                self.power_off(unit, false);
            }
            Switch::CutAndLoseDisk if powered && created && self.others_hold_everything(unit) => {
                self.power_off(unit, true);
                self.say(format!("{unit}: the data volume is lost"));
                self.copies_went = true;
                self.machine(unit).volume = Volume::empty();
            }
            Switch::On | Switch::Cut | Switch::CutInChange | Switch::ShutDown | Switch::CutAndLoseDisk => {}
        }
    }

    /// Losing the only copy of an acknowledged write is no story that a charm can end well: then a person restores a
    /// backup. Nor is a volume lost that has a journal entry only, because then nothing is; or one that begins a branch, with
    /// restored data or by force, before another is on it.
    fn others_hold_everything(&self, unit: &Unit) -> bool {
        let Some(acknowledged) = self.writes.acknowledged else {
            return false;
        };
        let planned = self.planned();
        let branch = |volume: &Volume| volume.journal.as_ref().map_or(Epoch::default(), |entry| entry.branch);
        let own = branch(&self.machines[unit].volume);
        self.machines.iter().any(|(other, m)| {
            let whole = branch(&m.volume) >= own
                && m.volume.history().is_some()
                && m.volume.tip.is_some_and(|tip| self.writes.holds(tip, acknowledged));
            other != unit && planned.contains(other) && whole
        })
    }

    fn set_power(&mut self, unit: &Unit, on: bool) {
        let id = self.state.units[&name(unit)].machine;
        if let Some(machine) = self.state.machines.get_mut(&id) {
            machine.powered = on;
            machine.boot += u32::from(on);
        }
        self.version += 1;
        self.machine(unit).powered = on;
        self.after(0, Event::Links);
    }

    fn power_off(&mut self, unit: &Unit, silent: bool) {
        self.say(format!("{unit}: power off"));
        self.server_dies(unit, silent);
        self.set_power(unit, false);
        self.interrupt_bringing(unit);
        self.interrupt_backup(unit);
        let machine = self.machine(unit);
        machine.frozen = false;
        machine.server = Process::Down;
        machine.note_of_turns.forget_run_directory();
        machine.quiet = None;
        if machine.hook.take().is_some_and(|hook| hook.noted) && machine.volume.holds == Holds::Nothing {
            // Cut off while it made the system tables.
            machine.volume.holds = Holds::Unclear("data without grastate.dat".to_owned());
        }
        (machine.outage_since, machine.pass_wanted, machine.pass_failed) = (None, false, false);
        if let (Some(Permission::Bootstrap { from: None }), Holds::Nothing) =
            (&machine.permission, &machine.volume.holds)
        {
            machine.volume.holds = Holds::Unclear("data without grastate.dat".to_owned());
        }
    }

    fn power_on(&mut self, unit: &Unit) {
        self.say(format!("{unit}: power on"));
        self.set_power(unit, true);
        let boot = self.draw(4 * SECOND..20 * SECOND);
        self.start_server(unit, boot);
    }

    pub(crate) fn thaw(&mut self, unit: &Unit, whole_machine: bool) {
        let Some(machine) = self.machines.get_mut(unit) else {
            return;
        };
        if whole_machine {
            machine.frozen = false;
        } else if let Some(node) = machine.node_mut() {
            node.frozen = false;
        }
        self.version += 1;
        self.after(0, Event::Links);
    }

    /// The faults are over: power, network, controller and everything that stood still come back.
    pub(crate) fn mend(&mut self) {
        self.say("everything mends");
        self.mended = true;
        (self.controller_up, self.sides, self.burst) = (true, None, 0);
        self.version += 1;
        for unit in self.machines.keys().cloned().collect::<Vec<_>>() {
            let machine = self.machine(&unit);
            (machine.kill_next_hook, machine.refuse_next, machine.frozen) = (false, false, false);
            if let Some(node) = machine.node_mut() {
                node.frozen = false;
            }
            if !machine.powered {
                self.power_on(&unit);
            }
        }
        let now = self.seconds();
        self.state.application(APP).expect("the application is there");
        self.state.leases(now, |_, _| true);
        self.after(0, Event::Links);
    }
}
