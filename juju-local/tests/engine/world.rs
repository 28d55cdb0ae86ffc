//! A model, its units' agents, and a clock that only the story moves. Machines are there as soon as they are asked for.

use std::collections::BTreeMap;

use juju_local::charm_files::Charm;
use juju_local::model::{HookInfo, ModelError, Resolution, State, StatusInfo, UnitName, view};
use juju_local::uniter::commit::{self, Seen};
use juju_local::uniter::context::Buffered;
use juju_local::uniter::resolver::{Op, Wishes, choices, next_op};
use serde_json::Value;

use super::words::Words;

#[derive(Default)]
pub(crate) struct World {
    state: State,
    charms: BTreeMap<String, Charm>,
    now: u64,
    /// Hooks that fail the next time.
    failing: Vec<(UnitName, String)>,
    /// What happens while a hook runs, once.
    during: Vec<(UnitName, String, String)>,
    commands: Vec<UnitName>,
    said: Vec<String>,
}

fn unit(text: &str) -> UnitName {
    UnitName::try_from(text.to_owned()).unwrap()
}

fn seconds(text: &str) -> u64 {
    juju_local::uniter::agent::seconds(text).unwrap()
}

impl World {
    /// Carries out one command; returns what it has to say.
    pub(crate) fn obey(&mut self, command: &str) -> Vec<String> {
        let before = self.state.clone();
        if let Err(why) = self.command(command) {
            self.state = before;
            self.said.push(format!("ERROR {}", why.0));
        }
        self.settle();
        std::mem::take(&mut self.said)
    }

    fn command(&mut self, command: &str) -> Result<(), ModelError> {
        let words = Words::new(command);
        let (first, second, third) = (words.at(1).to_owned(), words.at(2), words.at(3));
        match words.at(0) {
            "charm" => {
                self.charms.insert(first, words.charm());
            }
            "deploy" => self.deploy(&words)?,
            "add-unit" => {
                for _ in 0..words.number("n").unwrap_or(1) {
                    self.state.add_unit_with(&first, words.number("to"), &words.list("attach"), self.now)?;
                }
            }
            "remove-unit" => self.state.remove_unit_with(&unit(&first), words.has("force"), words.has("destroy"))?,
            "remove-application" => {
                self.state.remove_application_with(&first, words.has("force"), words.has("destroy"))?;
            }
            "integrate" => {
                self.state.integrate(&first, second)?;
            }
            "remove-relation" => self.state.remove_relation(&first, second)?,
            "config" => {
                let set = words.named.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
                self.state.set_config(&first, &set, &words.list("reset"))?;
            }
            "trust" => self.state.set_trust(&first, true)?,
            "refresh" => {
                let charm =
                    Charm { name: self.state.application(&first)?.charm.name.clone(), ..self.charms[second].clone() };
                self.state.refresh(&first, charm, "", words.has("force"))?;
            }
            "model-config" => self.state.set_model_config(&words.named, &[], self.now),
            "lead" if second == "none" => self.state.lead_none(&first, self.now)?,
            "lead" => self.state.lead(&first, &unit(second), self.now)?,
            "leader-set" => self.state.set_leader_settings(&first, &words.named),
            "set" | "set-app" => self.write(&unit(&first), second, words.at(0) == "set-app", &words.named)?,
            "status-set" => self.status(&unit(&first)).workload = StatusInfo::new(second, third, self.now),
            "fail" => self.failing.push((unit(&first), second.to_owned())),
            "during" => self.during.push((unit(&first), second.to_owned(), words_behind(command, 3))),
            "resolved" => {
                let resolution = if words.has("no-retry") { Resolution::Skip } else { Resolution::Retry };
                self.status(&unit(&first)).local.pending.as_mut().unwrap().resolved = Some(resolution);
            }
            "action" => {
                self.state.enqueue(&unit(&first), second, &Value::Object(Default::default()), self.now)?;
            }
            "exec" => self.commands.push(unit(&first)),
            "add-storage" => {
                self.state.add_storage(&unit(&first), second, words.number("count").unwrap_or(1))?;
            }
            "attach-storage" => self.state.attach_storage(&unit(&first), second)?,
            "detach-storage" => self.state.detach_storage(&first)?,
            "remove-storage" => self.state.remove_storage(&first, words.has("force"))?,
            "power-off" => self.state.machines.get_mut(&first.parse().unwrap()).unwrap().powered = false,
            "power-on" | "reboot" => {
                let machine = self.state.machines.get_mut(&first.parse().unwrap()).unwrap();
                machine.powered = true;
                machine.boot += 1;
                if let Some(address) = words.named.get("address") {
                    machine.address.clone_from(address);
                }
            }
            "add-machine" => {
                self.state.add_machine(true);
            }
            "remove-machine" => self.state.remove_machine(first.parse().unwrap(), words.has("force"))?,
            "machines" => {
                for id in self.state.machines.keys() {
                    let units = self.state.units.iter().filter(|(_, unit)| unit.machine == *id);
                    let units: Vec<String> = units.map(|(name, _)| name.to_string()).collect();
                    self.said.push(format!("{id}: {}", units.join(" ")).trim_end().to_owned());
                }
            }
            "restart" => self.state.agents_restarted(),
            "advance" => self.advance(seconds(&first)),
            "run" => self.run(&words),
            "step" => {
                let step = self.one(&unit(&first));
                assert!(step, "{first} has nothing to do");
            }
            "choices" => {
                let open = choices(&self.state, &unit(&first), self.wishes(&unit(&first)));
                let open: Vec<String> = open.iter().map(|op| format!("  {}", self.shown(op))).collect();
                self.said.extend(open);
            }
            "members" => self.members(&unit(&first), second),
            "status" => self.statuses(),
            "storage" => self.storages(),
            "leader" => {
                let leader = self.state.application(&first)?.leader.as_ref();
                self.said.push(leader.map_or("nobody".to_owned(), ToString::to_string));
            }
            other => panic!("no such command: {other}"),
        }
        Ok(())
    }

    fn deploy(&mut self, words: &Words) -> Result<(), ModelError> {
        let (charm, name) = (words.at(1), if words.has("as") { words.at(3) } else { words.at(1) });
        let charm = self.charms[charm].clone();
        let subordinate = charm.subordinate;
        let storage: BTreeMap<String, String> = words
            .named
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("storage.")?.to_owned(), value.clone())))
            .collect();
        self.state.add_application(name, charm, "", &BTreeMap::new(), &storage)?;
        for _ in 0..words.number("n").unwrap_or(u32::from(!subordinate)) {
            self.state.add_unit_with(name, words.number("to"), &words.list("attach"), self.now)?;
        }
        Ok(())
    }

    fn status(&mut self, me: &UnitName) -> &mut juju_local::model::Unit {
        self.state.units.get_mut(me).unwrap()
    }

    /// Makes true at once what takes machines a moment.
    fn settle(&mut self) {
        for (id, machine) in self.state.machines.iter_mut().filter(|(_, m)| !m.created) {
            machine.created = true;
            machine.boot = 1;
            machine.address = format!("10.89.0.{id}");
        }
        for machine in self.state.empty_machines() {
            self.state.machines.remove(&machine);
        }
        for (id, machine) in self.state.storage_to_attach() {
            self.state.storage_attached(&id, machine);
        }
        for (id, _) in self.state.storage_to_detach() {
            self.state.storage_detached(&id);
        }
        let machines = self.state.machines.clone();
        self.state.leases(self.now, |_, unit| machines.get(&unit.machine).is_some_and(|m| m.powered));
    }

    fn advance(&mut self, mut rest: u64) {
        while rest > 0 {
            let step = rest.min(10);
            self.now += step;
            rest -= step;
            self.settle();
        }
    }

    /// The named units, or all: in turn, one operation each, until none has anything to do.
    fn run(&mut self, words: &Words) {
        let named: Vec<UnitName> = words.plain.iter().skip(1).map(|text| unit(text)).collect();
        for _ in 0..500 {
            let all = self.state.units.keys().cloned().collect();
            let turn: Vec<UnitName> = if named.is_empty() { all } else { named.clone() };
            let moved = turn.iter().filter(|me| self.one(me)).count();
            if moved == 0 {
                return;
            }
        }
        panic!("the units never come to rest");
    }

    fn wishes(&self, me: &UnitName) -> Wishes {
        Wishes { now: self.now, exec_waiting: self.commands.contains(me) }
    }

    /// One pass of a unit's agent. Returns whether it had something to do.
    fn one(&mut self, me: &UnitName) -> bool {
        self.settle();
        let runs = |unit: &juju_local::model::Unit| self.state.machines[&unit.machine].powered || unit.force;
        if !self.state.units.get(me).is_some_and(runs) {
            return false;
        }
        commit::look(&mut self.state, me, self.now);
        let Some(op) = next_op(&self.state, me, self.wishes(me)) else {
            let now = self.now;
            self.status(me).agent = StatusInfo::new("idle", "", now);
            return false;
        };
        let first = self.state.units[me].local.charm_revision.is_none();
        if !(first && op == Op::Upgrade) {
            let line = format!("{me} {}", self.shown(&op));
            self.said.push(line);
        }
        match op {
            Op::Hook(hook) => self.hook(me, &hook),
            Op::Upgrade => {
                let revision = self.state.applications[&me.app].revision;
                commit::upgraded(&mut self.state, me, revision);
            }
            Op::Skip => {
                let hook = self.state.units[me].local.pending.clone().unwrap().hook;
                let seen = Seen::now(&self.state, me, &hook);
                commit::finished(&mut self.state, me, &hook, &seen, self.now);
            }
            Op::Action(id) => self.state.tasks.get_mut(&id).unwrap().status = "completed".to_owned(),
            Op::Exec => self.commands.retain(|unit| unit != me),
            Op::Terminate => self.state.unit_dead(me),
        }
        self.settle();
        true
    }

    fn hook(&mut self, me: &UnitName, hook: &HookInfo) {
        let seen = Seen::now(&self.state, me, hook);
        commit::begin(&mut self.state, me, hook, self.now);
        if let Some(at) = self.during.iter().position(|(unit, name, _)| unit == me && *name == hook.name) {
            let (_, _, command) = self.during.remove(at);
            self.said.push(format!("  meanwhile: {command}"));
            self.command(&command).unwrap();
            if !self.state.units.get(me).is_some_and(|u| self.state.machines[&u.machine].powered) {
                // The agent died with its hook.
                return;
            }
        }
        if let Some(at) = self.failing.iter().position(|(unit, name)| unit == me && *name == hook.name) {
            self.failing.remove(at);
            self.said.push("  fails".to_owned());
            commit::failed(&mut self.state, me, hook, self.now);
            return;
        }
        commit::finished(&mut self.state, me, hook, &seen, self.now);
    }

    /// As a hook of the unit that writes and ends well.
    fn write(
        &mut self,
        me: &UnitName,
        endpoint: &str,
        app: bool,
        values: &BTreeMap<String, String>,
    ) -> Result<(), ModelError> {
        let id = self.relation(me, endpoint);
        let mut buffered = Buffered::default();
        let changes = buffered.relations.entry(id).or_default();
        let bag = if app { &mut changes.app } else { &mut changes.unit };
        bag.extend(values.clone());
        commit::flush(&mut self.state, me, &buffered).map_err(ModelError::new)
    }

    fn relation(&self, me: &UnitName, endpoint: &str) -> u32 {
        let of = |id: &u32| self.state.relations[id].endpoint_of(&me.app).is_some_and(|e| e.name == endpoint);
        self.state.relations_of(&me.app).into_iter().find(of).unwrap()
    }

    fn members(&mut self, me: &UnitName, endpoint: &str) {
        let id = self.relation(me, endpoint);
        let known = &self.state.units[me].local.relations[&id];
        let names: Vec<String> = known.members.keys().map(ToString::to_string).collect();
        let bags = self.state.relations[&id].unit_bags.keys().map(ToString::to_string).collect::<Vec<_>>();
        self.said.push(format!("{endpoint}:{id}: members [{}], bags [{}]", names.join(" "), bags.join(" ")));
    }

    fn shown(&self, op: &Op) -> String {
        let hook = match op {
            Op::Hook(hook) => hook,
            Op::Action(id) => return format!("action {}", self.state.tasks[id].action),
            Op::Exec => return "exec".to_owned(),
            Op::Upgrade => return "takes the new charm".to_owned(),
            Op::Skip => return "passes over its hook".to_owned(),
            Op::Terminate => return "is gone".to_owned(),
        };
        let mut text = hook.name.clone();
        if let Some(id) = hook.relation {
            text.push_str(&format!(" {id}"));
        }
        match (&hook.remote_unit, &hook.remote_app) {
            (Some(unit), _) => text.push_str(&format!(" {unit}")),
            (None, Some(app)) => text.push_str(&format!(" {app}")),
            (None, None) => {}
        }
        if let Some(departing) = &hook.departing_unit {
            text.push_str(&format!(" departing {departing}"));
        }
        if let Some(storage) = &hook.storage {
            text.push_str(&format!(" {storage} {}", self.state.storage[storage].location));
        }
        text
    }

    fn statuses(&mut self) {
        let status = view::status(&self.state, "ubuntu@24.04", self.now);
        for (app, body) in status["applications"].as_object().unwrap() {
            self.said.push(format!("{app}: {}", word(&body["application-status"])));
            for (unit, body) in body["units"].as_object().unwrap() {
                self.said.push(format!(
                    "  {unit}: {}, agent {}",
                    word(&body["workload-status"]),
                    word(&body["juju-status"])
                ));
                for (unit, body) in body["subordinates"].as_object().into_iter().flatten() {
                    self.said.push(format!("    {unit}: {}", word(&body["workload-status"])));
                }
            }
        }
    }

    fn storages(&mut self) {
        for (id, body) in view::storage(&self.state)["storage"].as_object().unwrap() {
            let units = &body["attachments"]["units"];
            let at = units.as_object().into_iter().flatten().next();
            let at = at.map(|(unit, place)| format!(" {unit} {}", place["location"].as_str().unwrap()));
            let status = body["status"]["current"].as_str().unwrap();
            self.said.push(format!("{id} {} {status}{}", body["size"].as_str().unwrap(), at.unwrap_or_default()));
        }
    }
}

/// A command's words from one on.
fn words_behind(command: &str, index: usize) -> String {
    command.split_whitespace().skip(index).collect::<Vec<_>>().join(" ")
}

fn word(status: &Value) -> String {
    let message = status["message"].as_str().map(|message| format!(" ({message})"));
    let data = status.get("data").map(|data| format!(" {data}"));
    let parts = [message, data].into_iter().flatten().collect::<String>();
    format!("{}{parts}", status["current"].as_str().unwrap())
}
