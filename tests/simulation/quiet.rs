//! Quiet passes (`src/node/quiet.rs`), where options change: there, `update-status` wakes up nobody whom everything else has
//! forgotten.

use mariadb_galera::cluster::{Node, Observation, Planned, Server, State, Unit};

use super::plan::{MINUTE, Ms};
use super::world::{World, name};

const WHOLE_LOOK_EVERY: Ms = 30 * MINUTE;

/// What the last pass saw that found nothing to do and wrote nothing.
#[derive(Clone, Debug)]
pub(crate) struct Quiet {
    since: Ms,
    leader: bool,
    planned: Planned,
    node: Node,
}

impl World {
    /// Whether this hook has no need to look around. Any other one forgets what it would be held against.
    pub(crate) fn is_quiet(&mut self, unit: &Unit, called: &str) -> bool {
        let machine = &self.machines[unit];
        let note = machine.quiet.as_ref().filter(|_| called == "update-status" && !machine.leaving);
        let holds = note.is_some_and(|quiet| {
            let young = self.now < quiet.since + WHOLE_LOOK_EVERY;
            let juju =
                quiet.leader == self.state.is_leader(&name(unit)) && quiet.planned == Planned::Known(self.planned());
            young && juju && quiet.node == facts(self.seen_here(unit))
        });
        if !holds {
            self.machine(unit).quiet = None;
        }
        holds
    }

    /// A pass has found nothing to do and written nothing.
    pub(crate) fn remember_quiet(&mut self, unit: &Unit, state: &State, o: &Observation) {
        if self.has_turns() && matches!(state, State::Synced { missing, .. } if missing.is_empty()) {
            let (leader, planned) = (o.juju.leader, o.juju.planned.clone());
            let quiet = Quiet { since: self.now, leader, planned, node: facts(o.node.clone()) };
            self.machine(unit).quiet = Some(quiet);
        }
    }
}

/// Everything that was seen of this machine, but for the numbers that rise with every write.
fn facts(mut node: Node) -> Node {
    if let Server::Answers(galera) = &mut node.server {
        (galera.seqno, galera.conf_id) = (None, None);
    }
    node
}
