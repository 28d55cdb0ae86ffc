//! The pure middle: what state the cluster is in and what this unit should do next.
//! Standard library only: no input or output, no clock, no randomness. The same observation gives the same decision,
//! in production, in the stories of `tests/decide/` and wherever else the protocol is checked.

mod branches;
mod by_force;
mod decision;
mod formation;
mod identity;
mod judgement;
mod member;
mod observation;
mod recovery;
mod report;
mod restore;
mod schedule;
mod sight;
mod state;
mod turn;

pub use branches::{Begins, stands_in_the_way};
pub use by_force::{Refusal, Word, forced_call, none_went_on};
pub use decision::{Commit, Decision, Level, Status, Step};
pub use identity::{ClusterUuid, Epoch, Position, Unit, group_name};
pub use judgement::{judge, sentence};
pub use observation::{
    AppBag, BadSetting, Cause, Credentials, Event, Formation, History, Installed, Journal, JournalEntry, Juju,
    MinClusterSize, Node, Observation, Peer, Peers, Planned, Recovery, Restart, Settings, Volume,
};
pub use recovery::{TIME_TO_OBJECT_S, objecting};
pub use report::{Answer, DbInit, Galera, Holds, LastView, LocalState, Report, Server};
pub use restore::{Bringing, Brought, Ended, NoRestore, Replaced, Restore, Source, call_off, confirm, restore, undo};
pub use schedule::{Calendar, Due, Made, Making, MakingResult, Order, Plan, Ran};
pub use state::State;
pub use turn::{Turn, Turned};

/// After so many seconds a process that was begun is looked for.
const LOOK_AT_PROCESS_S: u32 = 5;

/// Decides what this unit does now. Total: it always has an answer, and waiting is an answer.
///
/// The order matters: what forbids everything else comes first (leaving, a volume that is not ours, options that do
/// not make sense), then the leader's share of the work, then this unit's own next step.
pub fn decide(observation: &Observation) -> Decision {
    let mut decision = member::decide(observation);
    if decision.state.permits_leading() {
        let beside = restore::beside(observation)
            .or_else(|| turn::beside(observation))
            .or_else(|| schedule::beside(observation));
        if beside.is_some() {
            // Begun, it is a process that may die before anybody has seen it at work.
            let soon = decision.look_again_s.map_or(LOOK_AT_PROCESS_S, |s| s.min(LOOK_AT_PROCESS_S));
            decision.look_again_s = Some(soon);
        }
        decision.steps.extend(beside);
    }
    if decision.state.permits_leading() {
        decision.commits = formation::commits(observation);
        if decision.commits.is_empty() {
            decision.commits = recovery::commits(observation);
        }
        if decision.commits.is_empty() {
            decision.commits = turn::commits(observation);
        }
        if decision.commits.is_empty() {
            decision.commits = schedule::commits(observation);
        }
        let next = schedule::look_again_s(observation);
        decision.look_again_s = decision.look_again_s.into_iter().chain(next).min();
    }
    decision
}
