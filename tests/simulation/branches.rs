//! What a restart by force may give up and what not: nobody is left behind who could have objected, nothing is lost that a
//! counted copy holds, and whoever was left behind stops serving when it can learn of it.

use std::collections::{BTreeMap, BTreeSet};

use mariadb_galera::cluster::{Cause, Epoch, Juju, Peers, Recovery, TIME_TO_OBJECT_S, Unit};

use super::plan::{MINUTE, Ms, SECOND};
use super::world::{World, name};

/// A hook that is running when the call becomes visible hears nothing of it. One that goes on for longer than this leaves
/// its unit no time to object.
const HEARS_WITHIN: Ms = 10 * SECOND;
/// Reached by Juju, and beside a member of the newest branch that Juju reaches too, a member of an older one serves no
/// longer than this.
const SERVES_ON_FOR: Ms = MINUTE;

/// Restarts by force, as far as anybody has come with them.
#[derive(Debug, Default)]
pub(crate) struct Branches {
    /// The newest on which anybody has served.
    pub(crate) newest: Epoch,
    last: Option<Call>,
    /// Members of older branches that could know better, and since when.
    late: BTreeMap<Unit, Ms>,
}

/// The last call by force.
#[derive(Debug)]
struct Call {
    epoch: Epoch,
    at: Ms,
    /// Those who would be left behind and can object: all the time they serve, Juju reaches them, and they have hooks.
    able: BTreeSet<Unit>,
    /// Hooks that were running when it became visible.
    running: BTreeMap<Unit, u64>,
}

impl World {
    /// A call by force has become visible.
    pub(crate) fn call_by_force(&mut self, call: &Recovery) {
        let running = self.machines.iter().filter_map(|(unit, m)| Some((unit.clone(), m.hook.as_ref()?.number)));
        self.branches.last = Some(Call {
            epoch: call.epoch,
            at: self.now,
            able: self.machines.keys().filter(|unit| !call.members.contains(unit)).cloned().collect(),
            running: running.collect(),
        });
        self.watch_branches();
    }

    /// Once a second: who could object, and who serves on.
    pub(crate) fn watch_branches(&mut self) {
        if let Some(mut call) = self.branches.last.take() {
            if self.now - call.at <= TIME_TO_OBJECT_S * SECOND {
                let able = std::mem::take(&mut call.able);
                call.able = able.into_iter().filter(|unit| self.can_object(unit, &call)).collect();
            }
            self.branches.last = Some(call);
        }
        if self.branches.newest > Epoch::default() {
            self.watch_the_late();
        }
    }

    /// Serves, and will have a hook soon.
    fn can_object(&self, unit: &Unit, call: &Call) -> bool {
        let Some(machine) = self.machines.get(unit) else {
            return false;
        };
        let in_error = || {
            let local = self.state.units.get(&name(unit)).map(|unit| &unit.local);
            local.is_none_or(|local| local.pending.as_ref().is_some_and(|pending| pending.failed))
        };
        let same_hook = machine.hook.as_ref().is_some_and(|hook| call.running.get(unit) == Some(&hook.number));
        let busy = same_hook && self.now - call.at > HEARS_WITHIN;
        let left_behind = self.branch_of(unit).is_some_and(|branch| branch < self.branches.newest);
        let serves = self.server(unit).primary().is_some();
        serves && !left_behind && !busy && self.reaches_controller(unit) && !in_error()
    }

    /// A hook has come to nothing: what it had to say was not heard.
    pub(crate) fn excuse(&mut self, unit: &Unit) {
        self.branches.last.iter_mut().for_each(|call| {
            call.able.remove(unit);
        });
    }

    /// The branch of what a running server has received.
    pub(crate) fn branch_of(&self, unit: &Unit) -> Option<Epoch> {
        self.machines[unit].node()?.received.map(|write| self.writes.branch(write))
    }

    /// A unit is about to restart the cluster.
    pub(crate) fn restarts(&mut self, me: &Unit, epoch: Epoch, juju: &Juju) {
        let Some(recovery) = juju.app.recovery.as_ref().filter(|recovery| recovery.epoch == epoch) else {
            return;
        };
        if recovery.cause == Cause::Restore {
            self.nothing_is_lost(&recovery.clone());
            return;
        }
        if recovery.by_force() {
            self.nobody_objects(me, epoch, juju);
        }
        self.the_newest_is_chosen(me, &recovery.members);
    }

    fn nobody_objects(&mut self, me: &Unit, epoch: Epoch, juju: &Juju) {
        let planned = self.planned();
        let call = self.branches.last.as_ref().filter(|call| call.epoch == epoch);
        if let Some(unit) = call.and_then(|call| call.able.iter().find(|unit| planned.contains(unit))) {
            self.break_promise(format!(
                "{me} restarts by force over the head of {unit}, which serves and could object"
            ));
        }
        if let Peers::Known(peers) = &juju.peers {
            let objects = |unit: &Unit| peers[unit].report().is_some_and(|report| report.objects == epoch);
            if let Some(unit) = peers.keys().find(|unit| objects(unit)) {
                self.break_promise(format!("{me} restarts by force, and has heard from {unit} that it serves"));
            }
        }
    }

    /// What is given up is what nobody holds who was counted.
    fn the_newest_is_chosen(&mut self, me: &Unit, counted: &BTreeSet<Unit>) {
        let Some(promised) = self.writes.acknowledged else {
            return;
        };
        let reaches = |unit: &Unit| {
            let volume = &self.machines.get(unit)?.volume;
            volume.history()?;
            Some(self.writes.common(volume.tip?, promised))
        };
        let best = counted.iter().filter_map(|unit| Some((reaches(unit)?, unit))).max();
        if let (Some(own), Some((best, unit))) = (reaches(me), best) {
            if best > own {
                let unit = unit.clone();
                self.break_promise(format!("{me} restarts from {own}: acknowledged write {best} of {unit} is lost"));
            }
        }
    }

    /// What a full copy replaces was moved aside, if it was left behind.
    pub(crate) fn overwrites(&mut self, unit: &Unit, donor: &Unit) {
        let received = self.machines[donor].node().and_then(|node| node.received);
        let (Some(own), Some(received)) = (self.machines[unit].volume.tip, received) else {
            return;
        };
        let older = self.writes.branch(own) < self.writes.branch(received);
        if older && !self.writes.holds(received, own) {
            let at = self.writes.seqno(Some(own));
            self.break_promise(format!("{unit} was left behind at {at}, and its data is overwritten by {donor}"));
        }
    }

    /// A server restarts the cluster from a copy: the branch that its journal names goes on there, or begins.
    pub(crate) fn goes_on(&mut self, unit: &Unit) {
        let volume = &self.machines[unit].volume;
        let (Some(entry), Some(tip)) = (&volume.journal, volume.tip) else {
            return;
        };
        let branch = entry.branch;
        if branch <= self.writes.branch(tip) {
            return;
        }
        let first = self.writes.begin_branch(tip, branch);
        self.machine(unit).volume.tip = Some(first);
        self.say(format!("{unit}: branch {branch} begins behind {}", self.writes.seqno(Some(tip))));
        self.stats.branches += 1;
        if branch > self.branches.newest {
            self.branches.newest = branch;
            // What only those left behind had is given up; from here on everything counts again.
            self.writes.acknowledged = Some(first);
        }
    }

    /// Who was left behind may serve until it has learnt of it.
    fn watch_the_late(&mut self) {
        let newest = self.branches.newest;
        let on = |unit: &Unit, branch: Epoch| self.branch_of(unit) == Some(branch);
        let there = |unit: &&Unit| self.machines[*unit].full() && self.reaches_controller(unit);
        let another = self.machines.keys().filter(there).any(|unit| on(unit, newest));
        let late = |unit: &&Unit| another && self.branch_of(unit) < Some(newest) && self.accepting(unit).is_some();
        let late: Vec<Unit> = self.machines.keys().filter(there).filter(late).cloned().collect();
        let now = self.now;
        let since = |unit: Unit| (unit.clone(), self.branches.late.get(&unit).copied().unwrap_or(now));
        self.branches.late = late.into_iter().map(since).collect();
        let longest = self.branches.late.iter().min_by_key(|(_, since)| **since);
        if let Some((unit, since)) = longest.map(|(unit, since)| (unit.clone(), *since)) {
            self.stats.late_max = self.stats.late_max.max(now - since);
            if now - since > SERVES_ON_FOR {
                self.break_promise(format!("{unit} was left behind and serves on beside branch {newest}"));
            }
        }
    }
}
