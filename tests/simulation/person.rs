//! A person who takes silence for loss: `bootstrap-cluster force=true` on whoever leads, carried out by the engine like any
//! action, with the product's own rules for when it is refused.

use std::collections::BTreeMap;

use juju_local::charm_files::ActionSpec;
use juju_local::uniter::commit;
use juju_local::uniter::context::{Context, Kind};
use mariadb_galera::cluster::{Commit, Observation, Unit, Word, forced_call};
use serde_json::json;

use super::juju::{APP, Running};
use super::plan::{Ms, SECOND};
use super::restore::{CONFIRM, RESTORE, UNDO};
use super::world::{Event, World, name};

pub(crate) const ACTION: &str = "bootstrap-cluster";

/// As much of `actions.yaml` as is needed here.
pub(crate) fn actions() -> BTreeMap<String, ActionSpec> {
    let spec = || {
        let schema = json!({"type": "object", "properties": {"force": {"type": "boolean"}}});
        ActionSpec { description: String::new(), schema, parallel: false, execution_group: String::new() }
    };
    [ACTION, RESTORE, UNDO, CONFIRM].map(|name| (name.to_owned(), spec())).into()
}

impl World {
    /// A person turns to the leader, and again after a while: what is refused now need not be then.
    pub(crate) fn person(&mut self, tries: u8, pause: Ms) {
        let leader = self.state.applications[APP].leader.clone().filter(|_| self.controller_up);
        // Whoever is away carries it out when it is back: Juju keeps what was asked for.
        if let Some(leader) = leader {
            let now = self.seconds();
            self.say(format!("a person runs {ACTION} force=true on {leader}"));
            self.state.enqueue(&leader, ACTION, &json!({"force": true}), now).expect("the action is there");
            self.stats.asked += 1;
            self.version += 1;
        }
        if tries > 1 {
            self.after(pause, Event::Person(tries - 1, pause));
        }
    }

    pub(crate) fn begin_action(&mut self, unit: &Unit, id: u32) {
        let task = self.state.tasks.remove(&id).expect("the resolver has seen it");
        let kind = Kind::Action { task: id, name: task.action, params: task.params };
        let context = Context::new(&name(unit), kind, self.state.clone());
        self.run(unit, None, context);
    }

    /// `src/actions/bootstrap_cluster.rs`: everybody is asked, and then the call is opened or the action fails.
    pub(crate) fn act(&mut self, unit: &Unit, mut running: Running) {
        if let Some(call) = running.call.take() {
            self.open(unit, running, call);
        } else {
            match self.decided(unit, &running) {
                Ok((call, time)) => {
                    let number = running.number;
                    running.call = Some(call);
                    self.machine(unit).hook = Some(running);
                    return self.after(time, Event::Hook(unit.clone(), number));
                }
                Err(why) => self.say(format!("{unit}: refused: {why}")),
            }
        }
        self.version += 1;
        self.engine(unit);
    }

    /// What a person's decision comes to, and how long it takes to hear everybody.
    fn decided(&mut self, unit: &Unit, running: &Running) -> Result<(Commit, Ms), String> {
        if let Kind::Action { name, .. } = &running.context.kind {
            if name != ACTION {
                let (name, time) = (name.clone(), self.draw(20..500));
                return Ok((self.decision(unit, running, &name)?, time));
            }
        }
        let juju = self.ask_juju(unit, running)?;
        if !juju.leader {
            return Err("only the leader can restart the cluster".to_owned());
        }
        let o = self.observation(unit, &juju);
        let words = self.words(&o);
        let call = forced_call(&o, &words).map_err(|why| why.to_string())?;
        let silence = words.values().any(|word| *word == Word::Silence);
        let time = if silence { self.draw(2 * SECOND..5 * SECOND) } else { self.draw(20..500) };
        Ok((Commit::Recovery(call), time))
    }

    /// What the units' agents say when they are asked over the network.
    fn words(&self, o: &Observation) -> BTreeMap<Unit, Word> {
        let known = o.reports().into_iter().map(|(unit, report)| (unit, report.is_some_and(|r| r.address.is_some())));
        known.map(|(unit, known)| (unit.clone(), if known { self.word(&o.me, &unit) } else { Word::Silence })).collect()
    }

    fn word(&self, me: &Unit, other: &Unit) -> Word {
        if !self.reaches(me, other) || !self.machines[other].installed {
            Word::Silence
        } else if self.server(other).primary().is_some() {
            Word::Primary(self.machines[other].volume.journal.as_ref().map(|entry| entry.branch))
        } else {
            Word::Out
        }
    }

    /// Whether a unit that is asked over the network says that it serves.
    pub(crate) fn says_primary(&self, me: &Unit, other: &Unit) -> bool {
        matches!(self.word(me, other), Word::Primary(_))
    }

    /// The action ends, and Juju takes what it wrote or refuses it.
    fn open(&mut self, unit: &Unit, mut running: Running, commit: Commit) {
        super::steps::write(&mut running.context, &commit);
        let taken = if running.refuse {
            Err("refused on purpose".to_owned())
        } else if self.reaches_controller(unit) {
            commit::flush(&mut self.state, &name(unit), &running.context.buffered)
        } else {
            Err("cannot reach the controller".to_owned())
        };
        match taken {
            Ok(()) => {
                self.visible(unit, &commit);
                if let Commit::Recovery(call) = &commit {
                    self.stats.forced += 1;
                    self.call_by_force(call);
                }
            }
            Err(why) => self.say(format!("{unit}: the action comes to nothing: {why}")),
        }
    }
}
