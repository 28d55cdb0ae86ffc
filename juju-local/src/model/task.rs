//! An action that was asked for: which ones may run beside hooks, and how one ends.

use serde_json::{Map, Value};

use super::{State, Task, UnitName};

impl State {
    /// Whether a task's action is declared to run beside hooks and other actions.
    pub fn runs_beside(&self, task: &Task) -> bool {
        self.action_spec(task).is_some_and(|spec| spec.parallel)
    }

    /// The actions of a task's group run one at a time.
    pub fn execution_group(&self, task: &Task) -> &str {
        self.action_spec(task).map_or("", |spec| spec.execution_group.as_str())
    }

    fn action_spec(&self, task: &Task) -> Option<&crate::charm_files::ActionSpec> {
        self.applications.get(&task.unit.app)?.charm.actions.get(&task.action)
    }

    /// Actions that wait and need not wait for anything else: not even for a hook that runs.
    pub fn tasks_beside(&self, unit: &UnitName) -> Vec<u32> {
        let ready = self.units.get(unit).is_some_and(|u| u.local.installed && !u.local.removed);
        let waits = |task: &Task| task.unit == *unit && task.status == "pending" && self.runs_beside(task);
        self.tasks.iter().filter(|(_, task)| ready && waits(task)).map(|(id, _)| *id).collect()
    }

    /// An action is over. One that is being cancelled is aborted, whatever else became of it.
    pub fn end_task(&mut self, id: u32, status: &str, message: String, results: Map<String, Value>, now: u64) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.status = if task.status == "aborting" { "aborted" } else { status }.to_owned();
            task.message = message;
            task.results = Value::Object(results);
            task.completed = now;
        }
    }

    /// The actions whose agent went away with them.
    pub fn end_lost_tasks(&mut self, now: u64) {
        let running = |task: &Task| ["running", "aborting"].contains(&task.status.as_str());
        let lost: Vec<u32> = self.tasks.iter().filter(|(_, task)| running(task)).map(|(id, _)| *id).collect();
        for id in lost {
            self.lose_task(id, now);
        }
    }

    /// An agent that comes back does not begin an action again that it had begun.
    pub fn lose_task(&mut self, id: u32, now: u64) {
        self.end_task(id, "failed", "action terminated".to_owned(), Map::new(), now);
    }

    /// Takes an action back: one that waits is cancelled, one that runs is to be killed.
    pub fn cancel(&mut self, id: u32) -> Result<bool, super::ModelError> {
        let task = self
            .tasks
            .get_mut(&id)
            .ok_or_else(|| super::ModelError::new(format!("task {:?} not found", id.to_string())))?;
        let (status, kill) = match task.status.as_str() {
            "pending" => ("cancelled", false),
            "running" => ("aborting", true),
            _ => return Ok(false),
        };
        status.clone_into(&mut task.status);
        Ok(kill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charm_files::{ActionSpec, Charm};
    use expect_test::{Expect, expect};
    use std::collections::BTreeMap;

    /// A unit with three tasks: 1 may run beside hooks, 2 may not, 3 is in a group.
    fn check(act: impl FnOnce(&mut State, &UnitName) -> String, expected: Expect) {
        let spec = |parallel: bool, group: &str| ActionSpec {
            description: String::new(),
            schema: serde_json::json!({"type": "object", "properties": {}}),
            parallel,
            execution_group: group.to_owned(),
        };
        let actions = [("beside", spec(true, "")), ("alone", spec(false, "")), ("grouped", spec(true, "g"))];
        let actions = actions.map(|(name, spec)| (name.to_owned(), spec)).into();
        let mut state = State::new("m");
        state
            .add_application("db", Charm { actions, ..Charm::default() }, "", &BTreeMap::new(), &BTreeMap::new())
            .unwrap();
        let me = state.add_unit("db", None, 0).unwrap();
        for action in ["beside", "alone", "grouped"] {
            state.enqueue(&me, action, &serde_json::json!({}), 0).unwrap();
        }
        state.units.get_mut(&me).unwrap().local.installed = true;
        let said = act(&mut state, &me);
        let tasks: Vec<String> = state.tasks.values().map(|task| format!("{} {}", task.status, task.message)).collect();
        expected.assert_eq(&format!("{said}: {}", tasks.join(", ")));
    }

    #[test]
    fn which_run_beside_hooks() {
        check(|state, me| format!("{:?}", state.tasks_beside(me)), expect!["[1, 3]: pending , pending , pending "]);
        check(
            |state, _| state.execution_group(&state.tasks[&3]).to_owned(),
            expect!["g: pending , pending , pending "],
        );
        check(
            |state, me| {
                state.units.get_mut(me).unwrap().local.installed = false;
                format!("{:?}", state.tasks_beside(me))
            },
            expect!["[]: pending , pending , pending "],
        );
    }

    #[test]
    fn ends() {
        let run = |state: &mut State, id: u32| "running".clone_into(&mut state.tasks.get_mut(&id).unwrap().status);
        check(|state, _| format!("{:?}", state.cancel(1).unwrap()), expect!["false: cancelled , pending , pending "]);
        check(
            |state, _| {
                run(state, 1);
                let kill = state.cancel(1).unwrap();
                state.end_task(1, "failed", "signal: killed".to_owned(), Map::new(), 1);
                format!("{kill:?} {:?}", state.cancel(1).unwrap())
            },
            expect!["true false: aborted signal: killed, pending , pending "],
        );
        check(
            |state, _| {
                run(state, 2);
                state.end_lost_tasks(1);
                "lost".to_owned()
            },
            expect!["lost: pending , failed action terminated, pending "],
        );
        check(
            |state, _| state.cancel(9).unwrap_err().to_string(),
            expect![[r#"task "9" not found: pending , pending , pending "#]],
        );
    }
}
