//! What goes wrong: each fault of the plan, as it happens to the machines, the network and the engine's model.

use std::collections::BTreeSet;

use mariadb_galera::cluster::Unit;

use super::juju::APP;
use super::plan::{Fault, Ms, UNITS_MAX};
use super::world::{Event, Switch, World, name, unit_of};

impl World {
    /// A fault happens.
    pub(crate) fn fault(&mut self, index: usize) {
        let fault = self.plan.faults[index].fault.clone();
        *self.stats.faults.entry(fault.kind()).or_default() += 1;
        self.say(format!("FAULT {fault:?}"));
        match fault {
            Fault::PowerCut { picks, stagger, off } => self.powers(&picks, stagger, off, Switch::Cut),
            Fault::CutInChange { picks, off } => self.powers(&picks, 0, off, Switch::CutInChange),
            Fault::ShutDown { picks, stagger, off } => self.powers(&picks, stagger, off, Switch::ShutDown),
            Fault::DiskLost { pick, off } => self.powers(&[pick], 0, off, Switch::CutAndLoseDisk),
            Fault::KillServer { pick, in_change } => {
                if let Some(unit) = self.pick(pick) {
                    if in_change {
                        self.interrupt_change(&unit);
                    }
                    self.server_dies(&unit, false);
                }
            }
            Fault::FreezeServer { pick, last } => {
                if let Some(unit) = self.pick(pick) {
                    if self.freeze_server(&unit) {
                        self.after(last, Event::Thaw(unit, false));
                    }
                }
            }
            Fault::FreezeMachine { pick, last } => {
                if let Some(unit) = self.pick(pick).filter(|unit| self.machines[unit].powered) {
                    self.machine(&unit).frozen = true;
                    self.after(last, Event::Thaw(unit, true));
                }
            }
            Fault::Partition { sides, controller, last } => {
                let sides = self.machines.keys().enumerate().map(|(i, unit)| (unit.clone(), sides[i % sides.len()]));
                self.sides = Some((sides.collect(), Some(controller)));
                self.after(last, Event::MendNetwork);
            }
            Fault::CutLeaderOff { with, juju_reaches_all, last } => {
                let leader = self.state.applications[APP].leader.as_ref().map(unit_of);
                let there = [leader, with.and_then(|pick| self.pick(pick))];
                let sides = there.into_iter().flatten().map(|unit| (unit, 1));
                self.sides = Some((sides.collect(), (!juju_reaches_all).then_some(1)));
                self.after(last, Event::MendNetwork);
            }
            Fault::Force { tries, pause } => self.person(tries, pause),
            Fault::Ask { action } => self.asks(action),
            Fault::KillHook { pick } => {
                if let Some(unit) = self.pick(pick) {
                    self.machine(&unit).kill_next_hook = true;
                }
            }
            Fault::RefuseCommit { pick } => {
                if let Some(unit) = self.pick(pick) {
                    self.machine(&unit).refuse_next = true;
                }
            }
            Fault::Lead { pick } => {
                if let Some(unit) = self.pick(pick) {
                    let now = self.seconds();
                    self.state.lead(APP, &name(&unit), now).expect("the unit is there");
                }
            }
            Fault::ControllerDown { last } => {
                self.controller_up = false;
                self.after(last, Event::ControllerUp);
            }
            Fault::Add => {
                if self.machines.len() < UNITS_MAX as usize {
                    self.add_unit();
                }
            }
            Fault::Remove { pick } => self.remove(pick),
            Fault::Burst { writes } => self.burst = writes,
            Fault::Options { change } => self.change_options(change),
        }
        self.version += 1;
        self.after(0, Event::Links);
    }

    fn powers(&mut self, picks: &[usize], stagger: Ms, off: Ms, switch: Switch) {
        let units: BTreeSet<Unit> = picks.iter().filter_map(|pick| self.pick(*pick)).collect();
        for (index, unit) in units.into_iter().enumerate() {
            let at = self.now + stagger * index as Ms;
            self.at(at, Event::Power(unit.clone(), switch));
            let late = self.draw(0..5000);
            self.at(at + off + late, Event::Power(unit, Switch::On));
        }
    }

    /// Removes a unit, if that leaves one that is planned. Removing the last is removing the application.
    fn remove(&mut self, pick: usize) {
        let Some(unit) = self.pick(pick) else {
            return;
        };
        let planned = self.planned();
        if planned.len() < 2 || !planned.contains(&unit) {
            return;
        }
        self.copies_went = true;
        self.say(format!("{unit} is removed"));
        self.state.remove_unit(&name(&unit), false).expect("the unit is there");
    }
}
