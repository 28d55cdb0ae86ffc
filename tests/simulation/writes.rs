//! What clients write. Every write has an identity of its own, because a lost one and its successor can have the same
//! sequence number.

use mariadb_galera::cluster::{ClusterUuid, Epoch, LocalState, Unit};

use super::juju::{APP, PEERS};
use super::views::View;
use super::world::{Event, World};

/// Clients write only from the moment at which the application owns its history. Who removes a founder that is cut off from
/// Juju behind its bootstrap removes the only copy of what was written by then, and nobody knew of it: the others form anew,
/// as soon as it has stopped serving.
const CLIENTS_WRITE_BEFORE_THE_HISTORY_IS_OWNED: bool = false;

#[derive(Debug)]
struct Write {
    before: Option<usize>,
    seqno: u64,
    history: ClusterUuid,
    branch: Epoch,
}

/// All writes that there ever were.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    all: Vec<Write>,
    /// The last one that a client was told is safe, on the newest branch.
    pub(crate) acknowledged: Option<usize>,
    pub(crate) count: u64,
}

impl Writes {
    pub(crate) fn add(&mut self, before: Option<usize>, history: ClusterUuid) -> usize {
        let branch = before.map_or(Epoch::default(), |b| self.all[b].branch);
        self.push(before, history, branch)
    }

    /// The first of a branch: from here on these are other writes than those of the branch before.
    pub(crate) fn begin_branch(&mut self, before: usize, branch: Epoch) -> usize {
        self.push(Some(before), self.all[before].history.clone(), branch)
    }

    fn push(&mut self, before: Option<usize>, history: ClusterUuid, branch: Epoch) -> usize {
        let seqno = before.map_or(0, |b| self.all[b].seqno + 1);
        self.all.push(Write { before, seqno, history, branch });
        self.all.len() - 1
    }

    /// So many writes before this one, or the first.
    pub(crate) fn back(&self, write: usize, count: u64) -> usize {
        let mut at = write;
        for _ in 0..count {
            at = self.all[at].before.unwrap_or(at);
        }
        at
    }

    pub(crate) fn seqno(&self, write: Option<usize>) -> u64 {
        write.map_or(0, |w| self.all[w].seqno)
    }

    pub(crate) fn history(&self, write: usize) -> &ClusterUuid {
        &self.all[write].history
    }

    pub(crate) fn branch(&self, write: usize) -> Epoch {
        self.all[write].branch
    }

    /// How far two copies are the same.
    pub(crate) fn common(&self, one: usize, other: usize) -> u64 {
        let (mut low, mut high) = (one, other);
        while low != high {
            if self.all[low].seqno > self.all[high].seqno {
                std::mem::swap(&mut low, &mut high);
            }
            match self.all[high].before {
                Some(before) => high = before,
                None => return 0,
            }
        }
        self.all[low].seqno
    }

    /// Whether a copy that ends with `tip` has this write.
    pub(crate) fn holds(&self, tip: usize, write: usize) -> bool {
        let mut at = tip;
        while self.all[at].seqno > self.all[write].seqno {
            match self.all[at].before {
                Some(before) => at = before,
                None => return false,
            }
        }
        at == write
    }
}

impl World {
    /// A client writes through some member. It gets its answer when everybody in the view has the write; only the member
    /// itself has it on disk by then. A write that hangs is no promise, and leaves nothing behind here.
    pub(crate) fn write(&mut self) {
        let pause = if self.burst > 0 { 20..60 } else { 300..2500 };
        self.burst = self.burst.saturating_sub(1);
        let pause = self.draw(pause);
        self.after(pause, Event::Write);
        let any = usize::try_from(self.draw(0..64)).unwrap_or(0);
        let Some(unit) = self.pick(any) else {
            return;
        };
        let owned = self.state.relations[&PEERS].app_bags[APP].values.contains_key("history");
        let Some(view) = self.accepting(&unit).filter(|_| owned || CLIENTS_WRITE_BEFORE_THE_HISTORY_IS_OWNED).cloned()
        else {
            return;
        };
        self.write_through(&unit, &view, true);
    }

    pub(crate) fn write_through(&mut self, unit: &Unit, view: &View, acknowledged: bool) {
        let Some(before) = self.machines[unit].node().and_then(|n| n.received) else {
            return;
        };
        let history = self.writes.history(before).clone();
        let write = self.writes.add(Some(before), history);
        self.writes.count += 1;
        for member in &view.members {
            let machine = self.machine(member);
            if !machine.full() {
                continue;
            }
            let pid = machine.pid;
            let node = machine.node_mut().expect("a full member is up");
            node.received = Some(write);
            if member == unit {
                machine.volume.tip = Some(write);
            } else {
                let lag = self.draw(20..1500);
                self.after(lag, Event::Apply(member.clone(), pid));
            }
        }
        if acknowledged && self.writes.branch(write) < self.branches.newest {
            // Of those who were left behind and do not know it yet.
            self.stats.given_up += 1;
        } else if acknowledged {
            if self.writes.acknowledged.is_some_and(|w| !self.writes.holds(write, w)) {
                self.break_promise(format!("{unit} writes without the writes acknowledged before"));
            }
            self.writes.acknowledged = Some(write);
            self.one_primary_component();
        }
    }

    pub(crate) fn apply_writes(&mut self, unit: &Unit, pid: u64) {
        if let Some(machine) = self.machines.get_mut(unit).filter(|m| m.pid == pid && !m.frozen) {
            if let Some(node) = machine.node().filter(|n| !n.frozen && n.state != LocalState::Joining) {
                machine.volume.tip = node.received;
            }
        }
    }
}
