//! The leader tools, and whether this unit is the leader.

use serde_json::{Value, json};

use super::Run;
use super::key_values::need_stdin;
use crate::jujuc::flags::{FORMAT, OUTPUT, Spec, failure};
use crate::jujuc::output::{Outcome, nothing};

pub(super) const ASK: Spec = Spec {
    name: "is-leader",
    args: "",
    summary: "Print application leadership status.",
    flags: &[FORMAT, OUTPUT],
    details: "Prints whether this unit leads its application. True holds for 30 seconds at least.\n\
        Once it is false it stays so until the hook ends.",
};
pub(super) const GET: Spec = Spec {
    name: "leader-get",
    args: "[<key>]",
    summary: "Print application leadership settings.",
    flags: &[FORMAT, OUTPUT],
    details: "Prints the value of a leadership setting; all of them without a key or for \"-\".",
};
pub(super) const SET: Spec = Spec {
    name: "leader-set",
    args: "<key>=<value> [...]",
    summary: "Write application leadership settings.",
    flags: &[],
    details: "Writes settings that all units of the application can read, at once. An empty value deletes.\n\
        Only the leader may.",
};

impl Run<'_> {
    /// True is asked anew each time; false stays for the rest of the run.
    pub(super) fn is_leader(&mut self) -> bool {
        if self.context.leader == Some(false) {
            return false;
        }
        let leader = self.controller.read(|state| state.is_leader(&self.context.unit));
        self.context.leader = Some(leader);
        leader
    }
}

pub(super) fn ask(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(0)?;
    let leader = run.is_leader();
    run.say(&json!(leader))
}

pub(super) fn get(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(1)?;
    let (controller, app) = (run.controller, run.context.unit.app.clone());
    let settings = run.context.cache.leader_settings.get_or_insert_with(|| {
        controller.read(|state| state.applications.get(&app).map(|app| app.leader_settings.clone())).unwrap_or_default()
    });
    let value = match run.flags.rest.first().filter(|key| *key != "-") {
        Some(key) => settings.get(key).map_or(Value::Null, |v| json!(v)),
        None => json!(settings),
    };
    run.say(&value)
}

pub(super) fn set(run: &mut Run<'_>) -> Outcome {
    let Some(changes) = run.key_values()? else {
        return need_stdin();
    };
    if !run.is_leader() {
        return Err(failure("cannot write leadership settings: cannot write settings: not the leader"));
    }
    run.context.cache.leader_settings = None;
    let app = run.context.unit.app.clone();
    run.controller.change(|state| state.set_leader_settings(&app, &changes));
    nothing()
}
