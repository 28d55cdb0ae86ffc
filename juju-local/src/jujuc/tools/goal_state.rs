//! What the operator wants there to be: the units of this application, and of those that it is related to.

use serde_json::{Map, Value, json};

use super::Run;
use crate::jujuc::flags::{OUTPUT, PLAIN_FORMAT, Spec};
use crate::jujuc::output::Outcome;
use crate::model::view::goal_time;
use crate::model::{Life, State, Unit, UnitName};

pub(super) const GET: Spec = Spec {
    name: "goal-state",
    args: "",
    summary: "Print the status of the charm's peers and related units.",
    flags: &[PLAIN_FORMAT, OUTPUT],
    details: "Lists this application's own units, and for each endpoint the applications and units on the other side,\n\
        with status and time. Units that are still being made are there too; those that leave are \"dying\".",
};

pub(super) fn get(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(0)?;
    let (controller, app) = (run.controller, run.context.unit.app.clone());
    let value = run.context.cache.goal_state.get_or_insert_with(|| controller.read(|state| goal(state, &app))).clone();
    run.say(&value)
}

fn goal(state: &State, app: &str) -> Value {
    let units: Map<String, Value> = state.units_of(app).map(entry).collect();
    let mut relations: Map<String, Value> = Map::new();
    for relation in state.relations.values().filter(|r| !r.peer) {
        let Some(endpoint) = relation.endpoint_of(app) else {
            continue;
        };
        let remote = relation.remote_app(app);
        let sides = relations.entry(endpoint.name.clone()).or_insert_with(|| json!({}));
        if let Some(sides) = sides.as_object_mut() {
            let status = if relation.life == Life::Alive { "joined" } else { "dying" };
            sides.extend(state.units_of(&remote).map(entry));
            sides.insert(remote, json!({"status": status}));
        }
    }
    json!({"units": units, "relations": relations})
}

fn entry((name, unit): (&UnitName, &Unit)) -> (String, Value) {
    let status = if unit.life == Life::Alive { unit.workload.status.clone() } else { "dying".to_owned() };
    let mut entry = json!({"status": status});
    if unit.workload.since > 0 {
        entry["since"] = json!(goal_time(unit.workload.since));
    }
    (name.to_string(), entry)
}
