//! The engine: `juju-local`'s own model, resolver and commit decide which hook runs next and what becomes visible when. A
//! hook here is the charm's pass with its ends cut off and joined to this world; databags go through the charm's own text.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use juju_local::charm_files::{Charm, StorageSpec};
use juju_local::model::{HookInfo, State, StatusInfo, UnitName};
use juju_local::uniter::commit::{self, Seen};
use juju_local::uniter::context::{Context, Kind};
use juju_local::uniter::resolver::{Op, Wishes, next_op};
use mariadb_galera::agent::{LOOK_EVERY, PASS_GAP, PASS_GAP_FAILED};
use mariadb_galera::charm::{COMMIT_WITHIN, ROUNDS_MAX};
use mariadb_galera::cluster::{Commit, Decision, Epoch, Juju, Level, Peers, Server, Step, Unit, decide};
use mariadb_galera::invocation::{self, HookName, PEER_ENDPOINT};
use mariadb_galera::model::peer_data;
use mariadb_galera::node::{last_view, outage, shown};

use super::Planted;
use super::plan::{Ms, SECOND};
use super::turns::Restarting;
pub(crate) use super::world::name;
use super::world::{Event, Note, World};

pub(crate) const APP: &str = "db";
/// The peer relation: the only one.
pub(crate) const PEERS: u32 = 0;

/// A hook or an agent's pass that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) number: u64,
    pub(crate) hook: Option<HookInfo>,
    pub(crate) context: Context,
    seen: Seen,
    /// What Juju said when it was asked.
    looked: Option<Looked>,
    /// The first half of a bootstrap is done: the permission is noted as used.
    pub(crate) noted: bool,
    pub(crate) refuse: bool,
    /// What an action is about to write.
    pub(crate) call: Option<Commit>,
    pub(crate) begun: Ms,
    pub(crate) restart: Restarting,
}

#[derive(Clone, Debug)]
struct Looked {
    at: Ms,
    juju: Juju,
    now: Decision,
    /// The step that is under way.
    next: usize,
    acted: Option<Vec<Step>>,
    failed: Option<String>,
    settled: bool,
    rounds: usize,
}

/// A model with our application in it, and no units.
pub(crate) fn model() -> State {
    let mut state = State::new("simulation");
    let data = StorageSpec {
        kind: "filesystem".to_owned(),
        location: "/var/lib/mysql".to_owned(),
        minimum_count: 1,
        ..StorageSpec::default()
    };
    let charm = Charm {
        name: APP.to_owned(),
        peers: [(PEER_ENDPOINT.to_owned(), "mariadb_galera_peers".to_owned())].into(),
        storage: [("data".to_owned(), data)].into(),
        actions: super::person::actions(),
        config: super::turns::config(),
        ..Charm::default()
    };
    state.add_application(APP, charm, "", &BTreeMap::new(), &BTreeMap::new()).expect("the name is free");
    state
}

impl World {
    /// The agent's loop and the engine's: once a second on every machine that is awake.
    pub(crate) fn look(&mut self, unit: &Unit) {
        if !self.machines.contains_key(unit) {
            return;
        }
        let every = Ms::try_from(LOOK_EVERY.as_millis()).expect("a second");
        self.after(every, Event::Look(unit.clone()));
        let machine = &self.machines[unit];
        if !machine.powered || machine.frozen {
            return;
        }
        if machine.installed {
            self.agent(unit);
        }
        self.engine(unit);
    }

    /// What `src/agent/mod.rs` does in one turn.
    fn agent(&mut self, unit: &Unit) {
        let server = self.server(unit);
        let now = self.now;
        let names = self.machines[unit].note.as_ref().map(|n| n.units.clone()).unwrap_or_default();
        let restart = self.machines[unit].note.as_ref().map_or(0, |n| n.restart);
        let machine = self.machine(unit);
        if let Some(view) = last_view::of(&server, &names, restart) {
            let branch = machine.volume.journal.as_ref().map_or(Epoch::default(), |entry| entry.branch);
            machine.volume.last_view.insert(branch, view);
        }
        let meant_to_run = !machine.leaving && (machine.answer.is_some() || machine.permission.is_some());
        if !meant_to_run || server.primary().is_some() {
            machine.outage_since = None;
        } else {
            machine.outage_since.get_or_insert(now);
        }
        let stalled = self.stalled(unit);
        let reaches = self.reaches_controller(unit);
        let beside = self.beside(unit);
        let machine = self.machine(unit);
        let Some(note) = &machine.note else {
            return;
        };
        let waited = now - machine.last_pass;
        let untrue = note.fingerprint != shown::fingerprint(&server, stalled, &beside);
        let due = untrue || note.look_again_s.is_some_and(|s| waited >= Ms::from(s) * SECOND);
        let gap = if machine.pass_failed { PASS_GAP_FAILED } else { PASS_GAP };
        if due && u128::from(waited) >= gap.as_millis() && !machine.pass_wanted {
            machine.last_pass = now;
            // Without a controller juju-exec fails; the next try is later.
            machine.pass_wanted = reaches;
            machine.pass_failed = !reaches;
        }
    }

    pub(crate) fn stalled(&self, unit: &Unit) -> bool {
        let machine = &self.machines[unit];
        let grace = if machine.volume.saved_view.is_some() { outage::GRACE_WITH_VIEW } else { outage::GRACE_WITHOUT };
        let out = machine.outage_since.is_some_and(|since| u128::from(self.now - since) >= grace.as_millis());
        out && self.planted != Some(Planted::NeverStalled)
    }

    /// Asks the resolver when something may have changed.
    pub(crate) fn engine(&mut self, unit: &Unit) {
        if !self.reaches_controller(unit) {
            return;
        }
        let (me, now) = (name(unit), self.seconds());
        let machine = &self.machines[unit];
        let Some(local) = self.state.units.get(&me).map(|u| &u.local) else {
            return;
        };
        let due = now >= local.update_status_at || local.pending.as_ref().is_some_and(|p| now >= p.retry_at);
        if machine.hook.is_some() || !(machine.pass_wanted || due || machine.polled != self.version) {
            return;
        }
        let wishes = Wishes { now, exec_waiting: machine.pass_wanted };
        let version = self.version;
        match next_op(&self.state, &me, wishes) {
            None => self.machine(unit).polled = version,
            Some(Op::Hook(hook)) => {
                commit::begin(&mut self.state, &me, &hook, now);
                self.begin(unit, Some(hook));
            }
            Some(Op::Exec) => self.begin(unit, None),
            Some(Op::Upgrade) => {
                let revision = self.state.applications[APP].revision;
                commit::upgraded(&mut self.state, &me, revision);
                self.version += 1;
            }
            Some(Op::Terminate) => {
                self.say(format!("{unit} is gone"));
                let id = self.state.units[&me].machine;
                self.state.unit_dead(&me);
                self.state.machines.remove(&id);
                self.machines.remove(unit);
                self.version += 1;
                self.after(0, Event::Links);
            }
            Some(Op::Action(id)) => self.begin_action(unit, id),
            Some(op @ Op::Skip) => self.break_promise(format!("{unit}: nobody asked for {op:?}")),
        }
    }

    fn begin(&mut self, unit: &Unit, hook: Option<HookInfo>) {
        self.stats.hooks += 1;
        let kind = hook.clone().map_or(Kind::Commands, Kind::Hook);
        let context = Context::new(&name(unit), kind, self.state.clone());
        if hook.is_none() {
            self.machine(unit).pass_wanted = false;
        }
        self.run(unit, hook, context);
    }

    pub(crate) fn run(&mut self, unit: &Unit, hook: Option<HookInfo>, context: Context) {
        let seen = hook.as_ref().map(|hook| Seen::now(&self.state, &name(unit), hook)).unwrap_or_default();
        let begun = self.now;
        let machine = self.machine(unit);
        machine.hook_number += 1;
        let refuse = std::mem::take(&mut machine.refuse_next);
        let number = machine.hook_number;
        let restart = Restarting::default();
        let (looked, noted, call) = (None, false, None);
        machine.hook = Some(Running { number, hook, context, seen, looked, noted, refuse, call, begun, restart });
        let time = self.draw(20..250);
        self.after(time, Event::Hook(unit.clone(), number));
    }

    /// A running hook goes on: it looks, or its step is done.
    pub(crate) fn go_on(&mut self, unit: &Unit, number: u64) {
        let Some(machine) = self.machines.get_mut(unit).filter(|m| m.powered) else {
            return;
        };
        if machine.frozen {
            self.after(SECOND, Event::Hook(unit.clone(), number));
            return;
        }
        let Some(mut running) = machine.hook.take_if(|hook| hook.number == number) else {
            return;
        };
        if std::mem::take(&mut machine.kill_next_hook) {
            self.say(format!("{unit}: {} is killed", running.context.kind.name()));
            self.fail(unit, &running);
            return;
        }
        if matches!(running.context.kind, Kind::Action { .. }) {
            return self.act(unit, running);
        }
        let Some(mut looked) = running.looked.take() else {
            match self.first_look(unit, &running) {
                Some(looked) => self.go_on_with(unit, running, looked),
                None => self.end(unit, running, None),
            }
            return;
        };
        // A step's time has passed: now it is done.
        if let Some(step) = looked.now.steps.get(looked.next).cloned() {
            match self.apply(unit, &step, &looked.juju, &mut running) {
                super::steps::Done::Yes => looked.next += 1,
                super::steps::Done::NotYet => {}
                super::steps::Done::No(why) => {
                    self.say(format!("{unit}: not done: {step}: {why}"));
                    looked.failed = Some(why);
                }
            }
        }
        self.go_on_with(unit, running, looked);
    }

    /// Decides what is next: another step, another look, or the end.
    fn go_on_with(&mut self, unit: &Unit, mut running: Running, mut looked: Looked) {
        let all_done = looked.next >= looked.now.steps.len();
        if looked.failed.is_some() || (all_done && !looked.now.steps.is_empty()) {
            let news = looked.now.steps.iter().any(|step| *step != Step::Configure);
            looked.settled |=
                looked.failed.is_none() && looked.now.steps.iter().any(|s| matches!(s, Step::SettleCredentials { .. }));
            let before = std::mem::take(&mut looked.now.steps);
            looked.rounds += 1;
            if news || looked.failed.is_some() {
                looked.now = decide(&self.observation(unit, &looked.juju));
            }
            let repeated = before == looked.now.steps;
            looked.acted = Some(before);
            let over = looked.failed.is_some() || !news || repeated || looked.rounds >= ROUNDS_MAX;
            if over {
                return self.end(unit, running, Some(looked));
            }
            looked.next = 0;
        }
        let Some(step) = looked.now.steps.get(looked.next) else {
            return self.end(unit, running, Some(looked));
        };
        if looked.next == 0 && *step != Step::Configure && !running.noted {
            let steps = looked.now.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            self.log.push(format!("{} {unit}: {}: {steps}", super::plan::clock(self.now), looked.now.state));
        }
        let time = self.duration(&looked.now.steps[looked.next]);
        let number = running.number;
        running.looked = Some(looked);
        self.machine(unit).hook = Some(running);
        self.after(time, Event::Hook(unit.clone(), number));
    }

    /// Juju is asked, once. `None` when this hook looks at nothing.
    fn first_look(&mut self, unit: &Unit, running: &Running) -> Option<Looked> {
        let me = name(unit);
        let called = running.hook.as_ref().map_or("agent-event", |hook| &hook.name);
        let departing = running.hook.as_ref().and_then(|h| h.departing_unit.as_ref()).map(ToString::to_string);
        let machine = self.machine(unit);
        match invocation::hook(called, Some(me.to_string()), departing) {
            HookName::Unknown(_) | HookName::Remove => return None,
            HookName::Leaving => machine.leaving = true,
            HookName::VolumeAttached => machine.leaving = false,
            HookName::UpgradeCharm | HookName::SecretRemove { .. } | HookName::Ordinary(_) => {}
        }
        if self.is_quiet(unit, called) {
            return None;
        }
        let juju = match self.ask_juju(unit, running) {
            Ok(juju) => juju,
            Err(why) => {
                self.break_promise(format!("{unit} cannot read the application's databag: {why}"));
                return None;
            }
        };
        let now = decide(&self.observation(unit, &juju));
        Some(Looked { at: self.now, juju, now, next: 0, acted: None, failed: None, settled: false, rounds: 0 })
    }

    /// The hook publishes and exits; Juju takes it or refuses it.
    fn end(&mut self, unit: &Unit, mut running: Running, looked: Option<Looked>) {
        let (me, now) = (name(unit), self.seconds());
        let mut commits: Vec<Commit> = Vec::new();
        if let Some(mut looked) = looked {
            let overdue = u128::from(self.now - looked.at) > COMMIT_WITHIN.as_millis();
            if overdue {
                looked.now.commits.clear();
                looked.now.look_again_s = Some(5);
            }
            let settled = looked.settled;
            let keep = |c: &Commit| settled || !matches!(c, Commit::CredentialsSettled { .. });
            commits = looked.now.commits.iter().filter(|c| keep(c)).cloned().collect();
            if self.planted == Some(Planted::NeverPermits) {
                commits.retain(|commit| !matches!(commit, Commit::Formation(_)));
            }
            self.publish(unit, &mut running, &looked, &commits);
            if matches!((&looked.failed, looked.acted.as_ref().and_then(|a| a.last())), (Some(_), Some(Step::Install)))
            {
                return self.fail(unit, &running);
            }
        }
        let reachable = self.reaches_controller(unit);
        let taken = if running.refuse {
            self.say(format!("{unit}: Juju refuses what {} wrote", running.context.kind.name()));
            Err("refused on purpose".to_owned())
        } else if reachable {
            commit::flush(&mut self.state, &me, &running.context.buffered)
        } else {
            Err("cannot reach the controller".to_owned())
        };
        if taken.is_err() {
            return self.fail(unit, &running);
        }
        for commit in &commits {
            self.visible(unit, commit);
        }
        if let Some(hook) = &running.hook {
            commit::finished(&mut self.state, &me, hook, &running.seen, now);
        } else {
            self.machine(unit).pass_failed = false;
        }
        self.version += 1;
        self.engine(unit);
    }

    fn publish(&mut self, unit: &Unit, running: &mut Running, looked: &Looked, commits: &[Commit]) {
        let now = self.seconds();
        let mut wrote = !commits.is_empty();
        // What the machine was at the last look; the files may hold newer passwords than they did then.
        let observation = self.observation(unit, &looked.juju);
        let report = peer_data::write_report(&observation.report(), peer_data::Format::default());
        if !matches!(looked.juju.peers, Peers::NotYet) {
            let own = running.context.own_bag(PEERS, false);
            let changes = running.context.buffered.relations.entry(PEERS).or_default();
            changes.unit = report.into_iter().filter(|(k, v)| own.get(k).map_or("", String::as_str) != v).collect();
            wrote |= !changes.unit.is_empty();
            for commit in commits {
                super::steps::write(&mut running.context, commit);
            }
        }
        let status = looked.now.state.status();
        let word = match status.level {
            Level::Active => "active",
            Level::Maintenance => "maintenance",
            Level::Waiting => "waiting",
            Level::Blocked => "blocked",
        };
        let told = format!("{}: {}", looked.now.state.word(), status.message);
        if let Some(shown) = self.state.units.get_mut(&name(unit)) {
            if shown.workload.status != word || shown.workload.message != told {
                wrote = true;
                let other = shown.workload.message.split(':').next() != told.split(':').next();
                shown.workload = StatusInfo::new(word, &told, now);
                if other {
                    self.say(format!("{unit}: {word}: {told}"));
                }
            }
        }
        let look_again_s = if looked.failed.is_none() && commits.is_empty() {
            looked.now.look_again_s.into_iter().chain(self.look_at_turn_s(unit, &looked.juju)).min()
        } else {
            Some(5)
        };
        let names = observation.reports();
        let note = Note {
            fingerprint: shown::fingerprint(&observation.node.server, observation.node.stalled, &self.beside(unit)),
            look_again_s,
            restart: observation.juju.app.restarted.as_ref().map_or(0, |restart| restart.epoch.0),
            units: names
                .into_iter()
                .filter_map(|(u, r)| Some((r?.address?, u.to_string())))
                .collect::<BTreeMap<IpAddr, _>>(),
        };
        let routine = looked.acted.iter().flatten().all(|step| *step == Step::Configure);
        if !wrote && routine && looked.failed.is_none() {
            self.remember_quiet(unit, &looked.now.state, &observation);
        }
        self.machine(unit).note = Some(note);
    }

    fn fail(&mut self, unit: &Unit, running: &Running) {
        let (me, now) = (name(unit), self.seconds());
        self.stats.hooks_failed += 1;
        self.excuse(unit);
        match (&running.hook, &running.context.kind) {
            (Some(hook), _) => commit::failed(&mut self.state, &me, hook, now),
            (None, Kind::Action { .. }) => {}
            (None, _) => self.machine(unit).pass_failed = true,
        }
        self.version += 1;
    }

    /// Leadership and its leases.
    pub(crate) fn leases(&mut self) {
        let before = self.state.applications[APP].leader.clone();
        let now = self.seconds();
        let usable: BTreeSet<UnitName> =
            self.machines.keys().filter(|unit| self.reaches_controller(unit)).map(name).collect();
        self.state.leases(now, |unit, _| usable.contains(unit));
        let after = self.state.applications[APP].leader.clone();
        if before != after {
            self.version += 1;
            self.say(after.map_or_else(|| "nobody leads".to_owned(), |unit| format!("{unit} leads")));
        }
    }

    /// Whether everything is as it should be.
    pub(crate) fn healthy(&self) -> Result<(), String> {
        let planned = self.planned();
        let mut wrong = Vec::new();
        for (unit, machine) in &self.machines {
            let status = self.state.units.get(&name(unit)).map(|u| &u.workload);
            let full = self.server(unit).synced().is_some()
                && matches!(self.server(unit), Server::Answers(g) if g.size as usize == planned.len());
            let shown = status.is_some_and(|s| s.status == "active");
            if !planned.contains(unit) {
                wrong.push(format!("{unit} is still there"));
            } else if !full || !shown || machine.hook.as_ref().is_some_and(|h| h.hook.is_some()) {
                let said = status.map_or_else(String::new, |s| format!("{}: {}", s.status, s.message));
                wrong.push(format!(
                    "{unit} {} ({said})",
                    shown::fingerprint(&self.server(unit), self.stalled(unit), &self.beside(unit))
                ));
            }
        }
        let views: BTreeSet<_> = self.machines.values().filter_map(|m| Some(m.node()?.view.as_ref()?.id)).collect();
        if wrong.is_empty() && views.len() == 1 { self.turns_are_over() } else { Err(wrong.join("; ")) }
    }
}
