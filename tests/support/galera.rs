//! Galera as far as our protocol can tell: views by the quorum formula, saved views, state transfer, and writes that are
//! acknowledged when everybody in the view has them, but are on disk only where they were made until they are applied.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mariadb_galera::cluster::{ClusterUuid, Epoch, Galera, Holds, Journal, LastView, LocalState, Server, Unit};

use super::promise::{Planted, Promise};
use super::world::{Machine, World};

/// A primary view: its number grows with every new one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct View {
    pub(crate) id: u32,
    pub(crate) members: BTreeSet<Unit>,
}

impl Machine {
    /// The branch that its content is on.
    pub(crate) fn branch(&self) -> Epoch {
        self.turns.last().map_or(Epoch::default(), |(branch, _)| *branch)
    }

    /// The server starts with the files as they are now.
    pub(crate) fn start(&mut self) {
        self.node.server = Server::Starting;
        self.node.turned.waits = false;
        self.group = self.named;
    }
}

impl World {
    /// Running servers by the side of the cut that they are on, and by the name of their group.
    fn sides(&self) -> Vec<BTreeSet<Unit>> {
        let mut sides: BTreeMap<(bool, Epoch), BTreeSet<Unit>> = BTreeMap::new();
        for (unit, machine) in &self.machines {
            let up = matches!(machine.node.server, Server::Starting | Server::Answers(_));
            // Without a directory for its data it only tries.
            let has_volume = matches!(machine.node.journal, Journal::Known(_));
            if machine.powered && up && has_volume {
                let one_name = self.planted == Some(Planted::OneNameForAll);
                let group = if one_name { Epoch::default() } else { machine.group };
                sides.entry((self.far_side.contains(unit), group)).or_default().insert(unit.clone());
            }
        }
        sides.into_values().collect()
    }

    /// Everybody notices who is there: views form and fall apart, and small transfers happen.
    pub(crate) fn views(&mut self) {
        for side in self.sides() {
            self.view_of(&side);
        }
    }

    fn view_of(&mut self, side: &BTreeSet<Unit>) {
        let primary = |w: &Self, u: &Unit| w.machines[u].node.server.primary().is_some();
        let newest = side.iter().filter(|u| primary(self, u)).filter_map(|u| self.machines[u].view.clone()).max();
        if let Some(before) = newest {
            let stay: BTreeSet<Unit> = side
                .iter()
                .filter(|u| primary(self, u) && self.machines[*u].view.as_ref() == Some(&before))
                .cloned()
                .collect();
            // Who has left cleanly is no longer in `before`: that is the `L` of the formula.
            if 2 * stay.len() > before.members.len() {
                // A leaver is out of the view before the others have agreed on the next one.
                let sizes = side.iter().filter_map(|u| self.machines[u].node.server.primary()).map(|g| g.size as usize);
                let agreed = stay == *side && before.members == *side && sizes.into_iter().all(|n| n == side.len());
                if !agreed {
                    self.form(&stay, side);
                }
            } else {
                for unit in side.iter().filter(|u| primary(self, u)).cloned().collect::<Vec<_>>() {
                    self.lose_majority(&unit);
                }
            }
            return;
        }
        // Without a primary component only the whole last view can bring one back, from memory or from disk.
        let last = |w: &Self, u: &Unit| {
            let machine = &w.machines[u];
            if machine.node.server == Server::Starting { machine.saved_view.clone() } else { machine.view.clone() }
        };
        let Some(view) = side.iter().filter_map(|u| last(self, u)).max() else {
            return;
        };
        let back = view.members.iter().all(|u| side.contains(u) && last(self, u).as_ref() == Some(&view));
        if back && !view.members.is_empty() {
            self.form(&view.members.clone(), side);
        }
    }

    fn lose_majority(&mut self, unit: &Unit) {
        let machine = self.machine(unit);
        if let Server::Answers(galera) = &mut machine.node.server {
            (galera.primary, galera.ready, galera.state) = (false, false, LocalState::Undefined);
            (galera.size, galera.conf_id) = (1, None);
            galera.view.clear();
        }
    }

    /// A new primary view of `side`, carried by those who `stay`.
    fn form(&mut self, stay: &BTreeSet<Unit>, side: &BTreeSet<Unit>) {
        let id = self.machines.values().flat_map(|m| [&m.view, &m.saved_view]).flatten().map(|v| v.id).max();
        let view = View { id: id.unwrap_or(0) + 1, members: side.clone() };
        let full = |w: &Self, u: &Unit| match &w.machines[u].node.server {
            Server::Answers(galera) if galera.state == LocalState::Joining => None,
            Server::Answers(_) | Server::Starting | Server::Stopped | Server::Silent(_) => {
                match &w.machines[u].node.holds {
                    Holds::History(uuid) => Some((w.machines[u].seqno + w.machines[u].queued, uuid.clone())),
                    Holds::Nothing | Holds::Unclear(_) => None,
                }
            }
        };
        // Who is gone was waited for (`evs.suspect_timeout`, 5 s): by then everybody has applied what was in flight.
        for unit in stay {
            if self.machines[unit].queued > 0 {
                let machine = self.machine(unit);
                machine.seqno += std::mem::take(&mut machine.queued);
            }
        }
        let first = stay.iter().filter_map(|u| Some((full(self, u)?, u))).max();
        let turns = first.as_ref().map(|(_, u)| self.machines[*u].turns.clone()).unwrap_or_default();
        let Some((seqno, uuid)) = first.map(|(position, _)| position) else {
            // Nobody is left who has the data: those who were receiving it start over.
            for unit in side {
                let machine = self.machine(unit);
                machine.start();
                machine.view = None;
            }
            return;
        };
        let branch = turns.last().map_or(Epoch::default(), |(branch, _)| *branch);
        if self.acknowledged.get(&(uuid.clone(), branch)).is_some_and(|acknowledged| *acknowledged > seqno) {
            self.break_promise(
                Promise::WritesSurvive,
                format!("acknowledged writes of {uuid} are lost: {side:?} go on from {seqno}"),
            );
        }
        for unit in side {
            let joining = !stay.contains(unit) || full(self, unit).is_none();
            if joining {
                self.take_in(unit, &uuid, seqno, &turns);
            } else {
                let machine = self.machine(unit);
                // The others of the view send what it has not.
                machine.queued = seqno - machine.seqno;
                machine.node.server = answers(&uuid, LocalState::Synced);
            }
            let machine = self.machine(unit);
            machine.view = Some(view.clone());
            machine.saved_view = Some(view.clone());
            machine.node.stalled = false;
        }
        let addresses: BTreeSet<IpAddr> = side.iter().filter_map(|u| self.machines[u].node.address).collect();
        for unit in side {
            if let Server::Answers(galera) = &mut self.machine(unit).node.server {
                galera.size = u32::try_from(side.len()).expect("few units");
                galera.view.clone_from(&addresses);
            }
            self.note_view(unit);
        }
        self.check_one_history();
    }

    /// A member joins a view: it has all but the last writes, or needs a full copy, which takes a while.
    fn take_in(&mut self, unit: &Unit, uuid: &ClusterUuid, seqno: u64, turns: &[(Epoch, u64)]) {
        let foreign = match &self.machines[unit].node.holds {
            Holds::History(own) if own == uuid => {
                self.check_content(unit, turns);
                let machine = self.machine(unit);
                machine.queued = seqno.saturating_sub(machine.seqno);
                machine.node.server = answers(uuid, LocalState::Synced);
                return;
            }
            Holds::History(own) => Some(own.clone()),
            Holds::Nothing | Holds::Unclear(_) => None,
        };
        if let Some(own) = foreign {
            self.break_promise(
                Promise::CopiesSurvive,
                format!("{unit} holds history {own}, which is overwritten with {uuid}"),
            );
        }
        let machine = self.machine(unit);
        machine.node.holds = Holds::Unclear("a state transfer is not complete".to_owned());
        (machine.seqno, machine.queued) = (0, 0);
        machine.node.server = answers(uuid, LocalState::Joining);
    }

    /// What is sent to a member with an older copy fits only on a copy of the same writes.
    fn check_content(&mut self, unit: &Unit, turns: &[(Epoch, u64)]) {
        let machine = &self.machines[unit];
        // Where it turned away and has received nothing since, it has nothing that the others have not.
        let own: Vec<_> = machine.turns.iter().copied().filter(|(_, behind)| *behind < machine.seqno).collect();
        let same = turns.starts_with(&own);
        let before = turns.get(own.len()).is_none_or(|(_, seqno)| machine.seqno <= *seqno);
        if !same || !before {
            self.break_promise(
                Promise::WritesSurvive,
                format!(
                    "{unit} joins with other writes under the same numbers: {:?} at {}, the cluster {turns:?}",
                    machine.turns, machine.seqno
                ),
            );
        }
    }

    /// The agent writes down whom a full member sees.
    fn note_view(&mut self, unit: &Unit) {
        let machine = &self.machines[unit];
        let Some(galera) = machine.node.server.primary().filter(|_| machine.node.server.synced().is_some()) else {
            return;
        };
        let name = |address: &IpAddr| self.machines.iter().find(|(_, m)| m.node.address == Some(*address));
        let members = galera.view.iter().map(|at| (*at, name(at).map(|(unit, _)| unit.clone()))).collect();
        let since = self.app.restarted.as_ref().map_or(Epoch::default(), |restart| restart.epoch);
        self.machine(unit).node.last_view = LastView { members, since };
    }

    /// A full copy arrives, when somebody in the view can give one.
    pub(crate) fn transfer(&mut self, unit: &Unit) -> bool {
        let machine = &self.machines[unit];
        let receiving =
            matches!(&machine.node.server, Server::Answers(g) if g.primary && g.state == LocalState::Joining);
        let Some(view) = machine.view.clone().filter(|_| receiving && machine.powered) else {
            return false;
        };
        let donor = view.members.iter().filter(|u| self.reaches(unit, u)).find_map(|u| {
            let donor = &self.machines[u];
            donor.node.server.synced().map(|uuid| (uuid.clone(), donor.seqno + donor.queued, donor.turns.clone()))
        });
        let Some((uuid, seqno, turns)) = donor else {
            return false;
        };
        let machine = self.machine(unit);
        (machine.seqno, machine.queued, machine.turns) = (seqno, 0, turns);
        machine.node.holds = Holds::History(uuid.clone());
        if let Server::Answers(galera) = &mut machine.node.server {
            (galera.state, galera.ready) = (LocalState::Synced, true);
        }
        self.note_view(unit);
        true
    }

    /// A client writes through this member and gets its answer when everybody in the view has the write. Only the member
    /// itself has it on disk by then.
    pub(crate) fn write_through(&mut self, unit: &Unit) -> bool {
        let Some(view) = self.accepting(unit) else {
            return false;
        };
        let uuid = self.machines[unit].node.server.synced().expect("it accepts writes").clone();
        for member in &view.members {
            let own = member == unit;
            let machine = self.machine(member);
            if own {
                (machine.seqno, machine.queued) = (machine.seqno + machine.queued + 1, 0)
            } else {
                machine.queued += 1
            }
        }
        let seqno = self.machines[unit].seqno;
        let branch = self.machines[unit].branch();
        // What is acknowledged by members that were left behind is given up with the rest of theirs.
        let given_up = self.acknowledged.keys().any(|(known, newer)| *known == uuid && *newer > branch);
        if !given_up {
            let acknowledged = self.acknowledged.entry((uuid, branch)).or_default();
            *acknowledged = seqno.max(*acknowledged);
        }
        true
    }

    /// The view in which this member accepts writes, if it does: all of it is there and agrees.
    fn accepting(&self, unit: &Unit) -> Option<View> {
        let machine = &self.machines[unit];
        machine.node.server.synced()?;
        let view = machine.view.clone()?;
        let agree = view.members.iter().all(|u| {
            self.machines.get(u).is_some_and(|m| {
                m.powered
                    && m.view.as_ref() == Some(&view)
                    && m.node.server.primary().is_some()
                    && self.reaches(unit, u)
            })
        });
        agree.then_some(view)
    }

    /// Invariant 1: at no time do two components with different members accept writes.
    pub(crate) fn check_one_history(&mut self) {
        let mut accepting: BTreeMap<View, ClusterUuid> = BTreeMap::new();
        let newest = self.machines.values().map(|machine| machine.branch()).max().unwrap_or_default();
        for unit in self.machines.keys() {
            // Those who were left behind may come back at the very moment, and serve until they have learnt that they were.
            if self.machines[unit].branch() < newest {
                continue;
            }
            if let (Some(view), Some(uuid)) = (self.accepting(unit), self.machines[unit].node.server.synced()) {
                accepting.insert(view, uuid.clone());
            }
        }
        let uuids: BTreeSet<&ClusterUuid> = accepting.values().collect();
        if accepting.len() > 1 {
            self.break_promise(Promise::OneHistory, format!("two components accept writes: {accepting:?}"));
        } else if let Some(uuid) = uuids.into_iter().next() {
            let other = self.acknowledged.keys().find(|(known, _)| known != uuid).cloned();
            if let Some((other, _)) = other {
                self.break_promise(
                    Promise::OneHistory,
                    format!("a second history {uuid} is served; {other} has acknowledged writes"),
                );
            }
        }
    }

    pub(crate) fn reaches(&self, a: &Unit, b: &Unit) -> bool {
        self.far_side.contains(a) == self.far_side.contains(b)
    }

    /// A clean stop: whoever sees the leaver takes it out of the view, and its own view is forgotten.
    pub(crate) fn leave_group(&mut self, unit: &Unit) {
        if let Some(view) =
            self.machines[unit].view.clone().filter(|_| self.machines[unit].node.server.primary().is_some())
        {
            let others = view.members.iter().filter(|u| *u != unit && self.reaches(unit, u));
            for other in others.cloned().collect::<Vec<_>>() {
                let hears =
                    |m: &Machine| m.powered && m.view.as_ref() == Some(&view) && m.node.server.primary().is_some();
                if self.machines.get(&other).is_some_and(|machine| hears(machine)) {
                    let machine = self.machine(&other);
                    // The leave comes after what was written before it, and takes seconds.
                    machine.seqno += std::mem::take(&mut machine.queued);
                    for known in [&mut machine.view, &mut machine.saved_view].into_iter().flatten() {
                        if known.id == view.id {
                            known.members.remove(unit);
                        }
                    }
                }
            }
        }
        let machine = self.machine(unit);
        machine.seqno += machine.queued;
        machine.queued = 0;
        machine.node.server = Server::Stopped;
        (machine.view, machine.saved_view) = (None, None);
    }

    /// The server dies where it stands: what it had not applied is gone, the view on disk stays.
    pub(crate) fn crash(&mut self, unit: &Unit) {
        let machine = self.machine(unit);
        machine.queued = 0;
        machine.view = None;
        machine.restarts = false;
        if machine.powered && machine.may_start {
            machine.start();
        } else {
            machine.node.server = Server::Stopped;
        }
    }
}

/// A server in a primary component.
pub(crate) fn answers(uuid: &ClusterUuid, state: LocalState) -> Server {
    Server::Answers(Galera {
        primary: true,
        connected: true,
        ready: state == LocalState::Synced,
        state,
        uuid: Some(uuid.clone()),
        seqno: None,
        conf_id: None,
        size: 1,
        view: BTreeSet::new(),
    })
}
