//! The faults end: power, network and time for everybody, hooks in turn. What has to come of it.

use mariadb_galera::cluster::{Server, State as ClusterState, Unit, decide};

use super::State;
use super::support::promise::{Broken, Promise};
use super::support::world::World;

/// The way back that did not end well.
#[derive(Debug)]
pub(super) struct Unwell {
    pub(super) broken: Broken,
    pub(super) way: Vec<String>,
}

/// More rounds of hooks than any cluster here needs.
const ROUNDS_MAX: usize = 40;

impl State {
    /// What the end of all faults has to bring.
    pub(super) fn promised(&self) -> Promise {
        if self.world.app.history.is_some() { Promise::Heals } else { Promise::Forms }
    }

    /// Whether it comes.
    pub(super) fn heals(&self) -> Result<(), Box<Unwell>> {
        let mut way = vec!["all faults end".to_owned()];
        self.way_back(&mut way).map_err(|broken| Box::new(Unwell { broken, way }))
    }

    fn way_back(&self, way: &mut Vec<String>) -> Result<(), Broken> {
        let broken = |how: String| Err(Broken { promise: self.promised(), how });
        let mut w = self.world.clone();
        w.far_side.clear();
        for u in w.machines.keys().cloned().collect::<Vec<_>>() {
            if !w.machines[&u].powered {
                w.give_power(&u);
            }
        }
        for _ in 0..ROUNDS_MAX {
            let before = w.clone();
            for u in before.machines.keys() {
                whole_hook(&mut w, u, way);
            }
            if let Some(broken) = w.broken.first() {
                return Err(broken.clone());
            }
            let synced = w.primaries().into_values().map(|members| members.len()).max().unwrap_or(0);
            let waits = w.machines.values().any(|machine| machine.node.turned.waits);
            if w == before && synced == w.machines.len() && !waits {
                return Ok(());
            }
            if w != before {
                continue;
            }
            w.time_passes();
            if w != before {
                way.push("time passes".to_owned());
                continue;
            }
            let states: Vec<_> = w.machines.keys().map(|u| (u.clone(), decide(&w.observe(u)).state)).collect();
            // The newest copies last ran with somebody who is really gone: that is a person's decision.
            let gone = |state: &ClusterState| {
                let ClusterState::MembersGone { missing, .. } = state else {
                    return false;
                };
                missing.iter().all(|name| !w.machines.keys().any(|u| u.to_string() == *name))
            };
            let leader = w.leader.clone().unwrap();
            if states.iter().any(|(_, state)| gone(state)) && w.force(&leader) {
                way.push(format!("{leader}: bootstrap-cluster force=true"));
                continue;
            }
            // Their data went with those who were removed: a person knows where it is.
            if states.iter().all(|(_, state)| matches!(state, ClusterState::NoMemberLeft(_))) {
                return Ok(());
            }
            let states: Vec<_> = states.iter().map(|(u, state)| format!("{u}: {}", state.status())).collect();
            let of = w.machines.len();
            return broken(format!("{synced} of {of} Synced, and nothing moves: {}", states.join("; ")));
        }
        broken("it never comes to rest".to_owned())
    }
}

/// A hook from beginning to end, and Galera's part meanwhile.
fn whole_hook(w: &mut World, u: &Unit, way: &mut Vec<String>) {
    if w.leader.as_ref().is_none_or(|l| !w.machines.contains_key(l)) {
        w.lead(u);
        way.push(format!("{u} leads"));
    }
    w.calm();
    if w.machines[u].hook.is_none() {
        w.begin(u, false);
    }
    let mut steps = Vec::new();
    while let Some(hook) = w.machines[u].hook.as_ref().filter(|hook| !hook.ready) {
        steps.extend(hook.step().map(|step| format!("{step:?}")));
        w.go_on(u);
        w.calm();
    }
    w.end(u, true);
    if !steps.is_empty() {
        way.push(format!("{u}: a hook: {}", steps.join(", ")));
    }
    if w.machines[u].leaving && w.machines[u].node.server == Server::Stopped {
        w.forget(u);
    }
}
