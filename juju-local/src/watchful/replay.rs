//! A trace told again to the pure engine: it must come to the same operations and the same model.

use serde_json::Value;

use super::patch::{self, Change};
use super::step::Step;
use super::trace::Event;
use crate::model::{State, UnitName};
use crate::uniter::resolver::{Op, Wishes, next_op};

/// What a replay has compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub operations: u32,
    pub steps: u32,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} operations and {} steps: the engine does the same", self.operations, self.steps)
    }
}

/// Tells a trace again.
///
/// # Errors
/// Names the first line at which the engine does something else, or that cannot be read.
pub fn replay(text: &str) -> Result<Report, String> {
    let mut report = Report::default();
    let mut state: Option<State> = None;
    for (index, line) in text.lines().enumerate() {
        let at = |why: String| format!("line {}: {why}", index + 1);
        let event: Event = serde_json::from_str(line).map_err(|why| at(format!("cannot be read: {why}")))?;
        match event {
            Event::Model { state: model } => state = Some(read(model).map_err(at)?),
            Event::Command { .. } | Event::Run { .. } | Event::Tool { .. } | Event::End { .. } => {}
            Event::Outside { changes } => {
                let known = state.take().ok_or_else(|| at(UNBEGUN.to_owned()))?;
                state = Some(changed(&known, &changes).map_err(at)?);
            }
            Event::Operation { unit, now, exec_waiting, operation, reason } => {
                let known = state.as_ref().ok_or_else(|| at(UNBEGUN.to_owned()))?;
                same_operation(known, &unit, Wishes { now, exec_waiting }, &operation, &reason).map_err(at)?;
                report.operations += 1;
            }
            Event::Step { step, refused, changes } => {
                let known = state.take().ok_or_else(|| at(UNBEGUN.to_owned()))?;
                state = Some(same_step(known, step, refused.as_ref(), &changes).map_err(at)?);
                report.steps += 1;
            }
        }
    }
    if report.operations == 0 {
        return Err("there is no operation in this trace; model-config trace=true begins one".to_owned());
    }
    Ok(report)
}

const UNBEGUN: &str = "the trace has no model before this line";

fn read(model: Value) -> Result<State, String> {
    serde_json::from_value(model).map_err(|why| format!("the model cannot be read: {why}"))
}

fn changed(state: &State, changes: &[Change]) -> Result<State, String> {
    let mut model = serde_json::to_value(state).map_err(|why| why.to_string())?;
    patch::apply(&mut model, changes);
    read(model)
}

fn same_operation(state: &State, unit: &UnitName, wishes: Wishes, told: &Op, reason: &str) -> Result<(), String> {
    let found = next_op(state, unit, wishes);
    if found.as_ref() == Some(told) {
        return Ok(());
    }
    let found = found.map_or_else(|| "nothing".to_owned(), |op| shown(&op));
    Err(format!("{unit} did {} because {reason}; the engine does {found}", shown(told)))
}

fn shown(op: &Op) -> String {
    let mut value = serde_json::to_value(op).unwrap_or_default();
    if let Some(hook) = value.get_mut("Hook").and_then(Value::as_object_mut) {
        hook.retain(|_, field| !field.is_null());
    }
    value.to_string()
}

fn same_step(state: State, step: Value, refused: Option<&String>, changes: &[Change]) -> Result<State, String> {
    let told = changed(&state, changes)?;
    let name = step.as_object().and_then(|map| map.keys().next().cloned()).unwrap_or_default();
    let step: Step = serde_json::from_value(step).map_err(|why| format!("the step cannot be read: {why}"))?;
    let mut found = state;
    let result = step.apply(&mut found);
    if result.as_ref().err() != refused {
        return Err(format!("step {name} was refused with {refused:?}; the engine says {:?}", result.err()));
    }
    let value = |state: &State| serde_json::to_value(state).map_err(|why| why.to_string());
    match patch::diff(&value(&told)?, &value(&found)?).first() {
        None => Ok(found),
        Some(change) => {
            let now = change.now.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            Err(format!("step {name}: the engine makes {} {now}, which is not what was told", change.at.join("/")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charm_files::Charm;
    use expect_test::{Expect, expect};
    use serde_json::json;
    use std::collections::BTreeMap;

    /// One unit that is about to run its update-status, and did.
    fn trace(due: u64, told: &str) -> String {
        let mut state = State::new("m");
        state.add_application("db", Charm::default(), "", &BTreeMap::new(), &BTreeMap::new()).unwrap();
        let me = state.add_unit("db", None, 0).unwrap();
        let machine = state.units[&me].machine;
        state.machines.get_mut(&machine).unwrap().created = true;
        let config_hash = Some(state.config_hash(&me));
        let local = &mut state.units.get_mut(&me).unwrap().local;
        (local.charm_revision, local.config_hash) = (Some(0), config_hash);
        (local.installed, local.started, local.update_status_at) = (true, true, due);
        local.leader_settings_told = Some(0);
        let hook = json!({"name": told, "relation": null, "remote_app": null, "remote_unit": null,
            "departing_unit": null, "storage": null, "secret": null, "secret_revision": null});
        let operation = json!({"event": "operation", "unit": "db/0", "now": 100, "exec_waiting": false,
            "operation": {"Hook": hook}, "reason": "it was time"});
        format!("{}\n{operation}\n", json!({"event": "model", "state": state}))
    }

    fn check(text: &str, expected: Expect) {
        expected.assert_eq(&replay(text).map_or_else(|why| why, |report| report.to_string()));
    }

    #[test]
    fn the_engine_is_asked_again() {
        check(&trace(90, "update-status"), expect!["1 operations and 0 steps: the engine does the same"]);
        check(
            &trace(90, "start"),
            expect![[
                r#"line 2: db/0 did {"Hook":{"name":"start"}} because it was time; the engine does {"Hook":{"name":"update-status"}}"#
            ]],
        );
        check(
            &trace(110, "update-status"),
            expect![[
                r#"line 2: db/0 did {"Hook":{"name":"update-status"}} because it was time; the engine does nothing"#
            ]],
        );
        check("", expect!["there is no operation in this trace; model-config trace=true begins one"]);
        check("{\"event\": \"outside\", \"changes\": []}", expect!["line 1: the trace has no model before this line"]);
        check("no trace", expect!["line 1: cannot be read: expected ident at line 1 column 2"]);
    }

    #[test]
    fn steps_are_made_again() {
        let begin = |hooks: u64| {
            let step = json!({"throw": {"unit": "db/0"}});
            let changes = json!([{"at": ["units", "db/0", "local", "hooks_run"], "now": hooks}]);
            format!(
                "{}{}\n",
                trace(90, "update-status"),
                json!({"event": "step", "step": step, "refused": null, "changes": changes})
            )
        };
        check(&begin(0), expect!["1 operations and 1 steps: the engine does the same"]);
        check(
            &begin(3),
            expect!["line 3: step throw: the engine makes units/db/0/local/hooks_run 0, which is not what was told"],
        );
    }
}
