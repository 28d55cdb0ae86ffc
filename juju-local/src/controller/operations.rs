//! Operations: what one command has run, as a task on each unit. Both are numbered together, as in Juju.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Controller;
use super::requests::{commit, unit_or_leader};
use crate::model::{State, Task, UnitName, view};

/// Queues an action on units: the operation's number and its tasks.
pub(super) fn run(
    controller: &Arc<Controller>,
    units: Vec<String>,
    action: &str,
    params: BTreeMap<String, Value>,
) -> anyhow::Result<Value> {
    let now = controller.now();
    let names: Vec<UnitName> =
        units.into_iter().map(|unit| unit_or_leader(controller, unit)).collect::<anyhow::Result<_>>()?;
    if names.iter().any(|unit| unit.app != names[0].app) {
        anyhow::bail!("all units must be of the same application");
    }
    let params = Value::Object(params.into_iter().collect());
    let queued = commit(controller, |state| {
        state.next_task += 1;
        let operation = state.next_task;
        let mut tasks = Vec::new();
        for unit in &names {
            let id = state.enqueue(unit, action, &params, now)?;
            state.tasks.entry(id).and_modify(|task| task.operation = operation);
            tasks.push(view::task(state, id));
        }
        Ok::<_, crate::model::ModelError>(json!({"operation": operation, "tasks": tasks}))
    })?;
    for unit in &names {
        crate::uniter::action::start_beside(controller, &mut controller.lock(), unit);
    }
    Ok(queued)
}

/// Records commands that have run outside of any action.
pub(super) fn executed(
    state: &mut State,
    command: &str,
    results: Vec<(UnitName, Value)>,
    begun: u64,
    ended: u64,
) -> Value {
    state.next_task += 1;
    let operation = state.next_task;
    let mut tasks = Map::new();
    for (unit, results) in results {
        state.next_task += 1;
        let task = Task {
            unit: unit.clone(),
            operation,
            action: "juju-exec".to_owned(),
            params: json!({"command": command}),
            // It is the process that failed then, not the task.
            status: "completed".to_owned(),
            message: String::new(),
            results,
            log: Vec::new(),
            enqueued: begun,
            started: begun,
            completed: ended,
        };
        state.tasks.insert(state.next_task, task);
        tasks.insert(unit.to_string(), view::task(state, state.next_task));
    }
    Value::Object(tasks)
}

/// One task.
pub(super) fn task(state: &State, id: u32) -> anyhow::Result<Value> {
    match state.tasks.get(&id) {
        Some(_) => Ok(view::task(state, id)),
        None => anyhow::bail!("task {:?} not found; see juju-local operations", id.to_string()),
    }
}

/// One operation with its tasks.
pub(super) fn operation(state: &State, id: u32) -> anyhow::Result<Value> {
    let operation = shown(state, id);
    if operation.is_null() {
        anyhow::bail!("operation {:?} not found; see juju-local operations", id.to_string());
    }
    Ok(operation)
}

/// All of them, by number.
pub(super) fn all(state: &State) -> Value {
    let ids: std::collections::BTreeSet<u32> = state.tasks.iter().map(|(id, task)| belongs_to(*id, task)).collect();
    Value::Array(ids.into_iter().map(|id| json!({"id": id, "operation": shown(state, id)})).collect())
}

/// A task of a model that had no operations yet is one of its own.
fn belongs_to(id: u32, task: &Task) -> u32 {
    if task.operation == 0 { id } else { task.operation }
}

fn shown(state: &State, id: u32) -> Value {
    let tasks: Vec<(u32, &Task)> = state
        .tasks
        .iter()
        .filter(|(task, body)| belongs_to(**task, body) == id)
        .map(|(id, task)| (*id, task))
        .collect();
    let Some((_, first)) = tasks.first() else {
        return Value::Null;
    };
    let is = |status: &str| tasks.iter().any(|(_, task)| task.status == status);
    let order = ["running", "pending", "error", "failed", "aborting", "aborted", "cancelled"];
    let status = order.into_iter().find(|status| is(status)).unwrap_or("completed");
    let units: Vec<String> = tasks.iter().map(|(_, task)| task.unit.to_string()).collect();
    let begun = tasks.iter().map(|(_, task)| task.started).filter(|at| *at > 0).min().unwrap_or_default();
    let ended = if ["running", "pending"].contains(&status) {
        0
    } else {
        tasks.iter().map(|(_, task)| task.completed).max().unwrap_or_default()
    };
    let listed: Map<String, Value> =
        tasks.iter().map(|(id, _)| (id.to_string(), view::task_of_operation(state, *id))).collect();
    json!({
        "summary": format!("{} run on unit-{}", first.action, units.join(",unit-").replace('/', "-")),
        "status": status,
        "action": {"name": first.action, "parameters": first.params},
        "timing": view::timing(first.enqueued, begun, ended),
        "tasks": listed,
    })
}
