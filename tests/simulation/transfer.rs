//! State transfers: what was missed while the donor's cache reaches back far enough, else a full copy. They take time and fail.

use mariadb_galera::cluster::{Holds, LocalState, Unit};
use rand::RngExt as _;

use super::plan::SECOND;
use super::world::{Event, World};

#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) donor: Unit,
    pub(crate) donor_pid: u64,
    pub(crate) full: bool,
}

impl World {
    /// Those who received from a donor that is gone find out when their transfer should have ended.
    pub(crate) fn end_donations(&mut self, unit: &Unit) {
        if let Some(donor) = self.machines[unit].node().and_then(|n| n.transfer.clone()).map(|t| t.donor) {
            self.donor_is_free(&donor, unit);
        }
    }

    fn donor_is_free(&mut self, donor: &Unit, receiver: &Unit) {
        let busy = self.machines.iter().any(|(u, m)| {
            u != receiver && m.node().and_then(|n| n.transfer.as_ref()).is_some_and(|t| t.donor == *donor)
        });
        let node = self.machines.get_mut(donor).and_then(|m| m.node_mut());
        if let Some(node) = node.filter(|n| !busy && n.state == LocalState::Donor) {
            node.state = LocalState::Synced;
        }
    }

    /// A joiner asks for its data.
    pub(crate) fn transfer(&mut self, unit: &Unit, pid: u64) {
        let Some(machine) = self.machines.get(unit).filter(|m| m.pid == pid) else {
            return;
        };
        let Some(node) =
            machine.primary().filter(|n| n.state == LocalState::Joining && n.transfer.is_none() && !n.whole)
        else {
            return;
        };
        let own = node.received.filter(|_| matches!(machine.volume.holds, Holds::History(_)));
        let view = node.view.clone().expect("a primary node has a view");
        let can = |w: &Self, donor: &Unit| {
            let machine = &w.machines[donor];
            let full = machine.primary().filter(|n| matches!(n.state, LocalState::Synced))?;
            let tip = full.received?;
            let at = w.writes.seqno(own);
            let reaches_back = w.writes.seqno(Some(tip)).saturating_sub(w.cache).max(machine.volume.cache_from);
            Some(own.is_some_and(|own| w.writes.holds(tip, own) && at >= reaches_back))
        };
        let donors = view.members.iter().filter(|u| *u != unit && self.linked(unit, u));
        let donor = donors.filter_map(|u| Some((can(self, u)?, u.clone()))).max_by_key(|(incremental, _)| *incremental);
        let Some((incremental, donor)) = donor else {
            self.after(SECOND, Event::Transfer(unit.clone(), pid));
            return;
        };
        let donor_pid = self.machines[&donor].pid;
        if !incremental {
            self.overwrites(unit, &donor);
        }
        let time = if incremental { self.draw(800..4000) } else { self.draw(6000..45_000) };
        self.say(format!(
            "{unit}: receives {} from {donor}",
            if incremental { "what it missed" } else { "a full copy" }
        ));
        self.machine(&donor).node_mut().expect("a donor is up").state = LocalState::Donor;
        let machine = self.machine(unit);
        if !incremental {
            machine.volume.holds = Holds::Unclear("data without a history (nil UUID)".to_owned());
            machine.volume.tip = None;
        }
        let node = machine.node_mut().expect("a joiner is up");
        node.transfer = Some(Transfer { donor, donor_pid, full: !incremental });
        self.after(time, Event::Transferred(unit.clone(), pid));
    }

    pub(crate) fn transferred(&mut self, unit: &Unit, pid: u64) {
        let Some(machine) = self.machines.get_mut(unit).filter(|m| m.pid == pid) else {
            return;
        };
        let Some(transfer) = machine.node_mut().and_then(|n| n.transfer.take()) else {
            return;
        };
        self.donor_is_free(&transfer.donor, unit);
        let joined = self.machines[unit].primary().is_some();
        let donor = self.machines.get(&transfer.donor).filter(|m| m.pid == transfer.donor_pid && m.full());
        let bad_luck = self.rng.random_ratio(1, 25);
        let from = donor.and_then(|m| Some((m.volume.holds.clone(), m.node()?.received?)));
        let from = from.filter(|_| joined && !bad_luck && self.linked(unit, &transfer.donor));
        let Some((holds, tip)) = from else {
            self.stats.failed_transfers += 1;
            self.say(format!("{unit}: the transfer fails"));
            // An incremental one that does not fit leaves the server up, and Galera in it given up.
            if !transfer.full && self.rng.random_ratio(1, 2) {
                self.give_up(unit);
            } else {
                self.server_dies(unit, false);
            }
            return;
        };
        *(if transfer.full { &mut self.stats.full } else { &mut self.stats.incremental }) += 1;
        let seqno = self.writes.seqno(Some(tip));
        let machine = self.machine(unit);
        machine.volume.holds = holds;
        machine.volume.tip = Some(tip);
        if transfer.full {
            machine.volume.cache_from = seqno;
        }
        let node = machine.node_mut().expect("it is up");
        (node.received, node.whole) = (Some(tip), true);
        let catch_up = self.draw(200..2500);
        self.after(catch_up, Event::CaughtUp(unit.clone(), pid));
    }

    pub(crate) fn caught_up(&mut self, unit: &Unit, pid: u64) {
        let Some(machine) = self.machines.get(unit).filter(|m| m.pid == pid) else {
            return;
        };
        let Some(view) = machine.primary().filter(|n| n.whole).and_then(|n| n.view.clone()) else {
            return;
        };
        // What was written meanwhile waited here to be applied.
        let full = view.members.iter().filter_map(|u| self.machines.get(u).filter(|m| m.full())?.node()?.received);
        let Some(received) = full.max_by_key(|write| (self.writes.seqno(Some(*write)), *write)) else {
            return;
        };
        let machine = self.machine(unit);
        (machine.volume.tip, machine.volume.full_in) = (Some(received), Some(view.id));
        let node = machine.node_mut().expect("it is up");
        (node.received, node.state, node.open, node.whole) = (Some(received), LocalState::Synced, true, false);
    }
}
