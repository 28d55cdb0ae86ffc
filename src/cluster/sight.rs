//! What follows from an observation without deciding anything: who is there, who is planned, whose history it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::identity::{ClusterUuid, Epoch, Unit};
use super::observation::{Observation, Peer, Peers, Planned};
use super::report::{DbInit, Holds, Report};

impl Observation {
    /// What this unit says.
    pub fn report(&self) -> Report {
        let mut report = self.node.report();
        let by_force = self.juju.app.recovery.as_ref().filter(|recovery| recovery.by_force());
        if let Some(answer) = &mut report.answer {
            answer.stands &= by_force.is_some_and(|recovery| recovery.epoch == answer.epoch);
        }
        let branch = self.juju.app.history.as_ref().map_or(Epoch::default(), |history| history.branch);
        let behind = by_force.filter(|recovery| recovery.chosen.is_none() && !recovery.members.contains(&self.me));
        if let Some(recovery) = behind.filter(|_| report.server.primary().is_some() && report.branch >= branch) {
            report.objects = recovery.epoch;
        }
        report
    }

    /// What a unit has said; this unit's own report is made from the machine itself.
    pub fn report_of(&self, unit: &Unit) -> Option<Report> {
        if *unit == self.me {
            return Some(self.report());
        }
        match &self.juju.peers {
            Peers::NotYet => None,
            Peers::Known(peers) => peers.get(unit).and_then(Peer::report).cloned(),
        }
    }

    /// Planned units that Juju has not introduced: nothing is known of them, not even that they are silent.
    pub fn strangers(&self) -> BTreeSet<Unit> {
        match &self.juju.planned {
            Planned::Known(planned) => planned.iter().filter(|unit| !self.sees(unit)).cloned().collect(),
            Planned::Unknown(_) => BTreeSet::new(),
        }
    }

    /// Whether Juju still shows a unit, planned or not.
    pub fn sees(&self, unit: &Unit) -> bool {
        *unit == self.me || matches!(&self.juju.peers, Peers::Known(peers) if peers.contains_key(unit))
    }

    /// All units that Juju plans or has introduced, with their reports.
    pub fn reports(&self) -> BTreeMap<Unit, Option<Report>> {
        let mut units: BTreeSet<Unit> = BTreeSet::from([self.me.clone()]);
        if let Planned::Known(planned) = &self.juju.planned {
            units.extend(planned.iter().cloned());
        }
        if let Peers::Known(peers) = &self.juju.peers {
            // A unit that is still listed although Juju no longer plans it is on its way out, or a ghost.
            let ghost = |unit: &Unit| match &self.juju.planned {
                Planned::Known(planned) => !planned.contains(unit),
                Planned::Unknown(_) => false,
            };
            units.extend(peers.keys().filter(|unit| !ghost(unit)).cloned());
        }
        units.into_iter().map(|unit| (unit.clone(), self.report_of(&unit))).collect()
    }

    /// The history that this application owns, from the leader's word or, before that, from the members of the
    /// formation: the founder is the first, and those who joined it say the same when it is gone again.
    pub fn history(&self) -> Option<ClusterUuid> {
        if let Some(history) = &self.juju.app.history {
            return Some(history.uuid.clone());
        }
        let formation = self.juju.app.formation.as_ref()?;
        // A founder that has gone for good may have been joined by units that came later than the permission.
        let founder_is_gone = !self.sees(&formation.founder);
        let mut said = self.reports().into_iter().filter_map(|(unit, report)| {
            if !founder_is_gone && !formation.members.contains_key(&unit) {
                return None;
            }
            let report = report?;
            match (report.db_init, report.holds) {
                (DbInit::Initialised, Holds::History(uuid)) => Some(uuid),
                (DbInit::New | DbInit::Agreed | DbInit::Waiting | DbInit::Initialised, _) => None,
            }
        });
        let first = said.next()?;
        said.all(|uuid| uuid == first).then_some(first)
    }

    /// The history that this unit is to receive: when those who told us of it are gone again, the journal still knows.
    pub fn expected_history(&self) -> Option<ClusterUuid> {
        self.history().or_else(|| self.node.journal.entry()?.uuid.clone())
    }

    /// Units that are not in this member's view, whatever they last said: one that has just died has not said so.
    /// Empty when this unit has no view of its own, or sees itself in none (addresses that cannot be compared).
    pub fn absent(&self) -> BTreeSet<Unit> {
        let Some(galera) = self.node.server.primary() else {
            return BTreeSet::new();
        };
        if !self.node.address.is_some_and(|mine| galera.view.contains(&mine)) {
            return BTreeSet::new();
        }
        let out_of_sight = |report: &Report| report.address.is_some_and(|address| !galera.view.contains(&address));
        self.reports()
            .into_iter()
            .filter(|(unit, report)| *unit != self.me && report.as_ref().is_some_and(out_of_sight))
            .map(|(unit, _)| unit)
            .collect()
    }

    /// The addresses of all units that may be members, this one included, sorted. A unit that Juju has not introduced
    /// yet is known from the formation: a newcomer must find the cluster before it has met anybody.
    pub fn member_addresses(&self) -> Vec<IpAddr> {
        let reports = self.reports();
        let mut addresses: Vec<IpAddr> = reports.values().flatten().filter_map(|report| report.address).collect();
        for (unit, address) in self.juju.app.formation.iter().flat_map(|formation| &formation.members) {
            if matches!(reports.get(unit), Some(None)) {
                addresses.push(*address);
            }
        }
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// The addresses of everybody else that may be a member.
    pub fn other_addresses(&self) -> Vec<IpAddr> {
        self.member_addresses().into_iter().filter(|address| Some(*address) != self.node.address).collect()
    }
}
