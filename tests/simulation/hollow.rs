//! Components without the data: all that were full members have gone, and those who were receiving remain. To the group layer
//! that is a primary component, to everybody above it none. It takes in whoever comes, and of two primary components that meet
//! the older one lasts: who restarts the cluster beside a hollow one gives up (seen with Galera 26.4).

use std::collections::BTreeSet;

use mariadb_galera::cluster::{LocalState, Unit};

use super::views::View;
use super::world::{Event, World};

impl World {
    /// Nobody in this component has the data.
    pub(crate) fn become_hollow(&mut self, side: &BTreeSet<Unit>) {
        self.views += 1;
        self.stats.hollow += 1;
        let view = View { id: self.views, members: side.clone() };
        let names = side.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        self.say(format!("view {} of {names}, of whom nobody has the data", view.id));
        for unit in side {
            let node = self.machine(unit).node_mut().expect("it is up");
            (node.hollow, node.was_hollow) = (Some(view.clone()), false);
            (node.arrived, node.primary) = (true, false);
            if node.state != LocalState::Joining || node.transfer.is_none() {
                node.state = LocalState::Undefined;
            }
        }
    }

    /// Whether a hollow component decides what becomes of these.
    pub(crate) fn hollow(&mut self, side: &BTreeSet<Unit>) -> bool {
        let of = |w: &Self, unit: &Unit| w.machines[unit].node().and_then(|node| node.hollow.clone());
        let Some(before) = side.iter().filter_map(|unit| of(self, unit)).max_by_key(|view| view.id) else {
            return false;
        };
        let stay = side.iter().filter(|unit| of(self, unit).is_some_and(|view| view.id == before.id)).count();
        let served = side.iter().filter_map(|unit| Some(self.machines[unit].primary()?.view.as_ref()?.id)).max();
        match served {
            Some(served) => {
                // The older one lasts.
                let gives_up = |unit: &&Unit| {
                    if served < before.id { of(self, unit).is_some() } else { self.machines[*unit].primary().is_some() }
                };
                let newer: Vec<Unit> = side.iter().filter(gives_up).cloned().collect();
                newer.iter().for_each(|unit| self.give_up(unit));
                true
            }
            None if 2 * stay > before.members.len() => {
                if before.members != *side || stay != side.len() {
                    self.become_hollow(side);
                }
                true
            }
            None => {
                // To the group layer it is the last primary view, and the one before it is forgotten.
                for unit in side {
                    let node = self.machine(unit).node_mut().expect("it is up");
                    if let Some(lost) = node.hollow.take() {
                        (node.view, node.was_hollow) = (Some(lost), true);
                    }
                }
                false
            }
        }
    }

    /// A clean leave: the others do not count it any more.
    pub(crate) fn leave_hollow(&mut self, unit: &Unit) {
        let Some(view) = self.machines[unit].node().and_then(|node| node.hollow.clone()) else {
            return;
        };
        for machine in self.machines.values_mut() {
            let hollow = machine.node_mut().and_then(|node| node.hollow.as_mut());
            if let Some(other) = hollow.filter(|other| **other == view) {
                other.members.remove(unit);
            }
        }
    }

    /// Galera gives up in a server, which stays up.
    pub(crate) fn give_up(&mut self, unit: &Unit) {
        self.say(format!("{unit}: Galera gives up"));
        let node = self.machine(unit).node_mut().expect("it is up");
        (node.given_up, node.primary, node.open, node.state) = (true, false, true, LocalState::Undefined);
        node.hollow = None;
        self.links.retain(|(a, b), _| a != unit && b != unit);
        self.after(300, Event::Links);
    }
}
