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
