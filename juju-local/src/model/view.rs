//! The model as commands show it, in Juju's shapes.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

pub use super::secret_view::{revisions, secret, secret_access, secrets};
use super::{Life, State, StatusInfo, UnitName};

/// An application's status: the leader's word, or the worst of its units.
pub fn application_status(state: &State, app: &str) -> StatusInfo {
    if let Some(status) = state.applications.get(app).and_then(|a| a.status.clone()) {
        return status;
    }
    let order = ["error", "blocked", "maintenance", "waiting", "active", "terminated", "unknown"];
    state
        .units_of(app)
        .map(|(name, _)| workload(state, name))
        .min_by_key(|s| order.iter().position(|o| *o == s.status).unwrap_or(order.len()))
        .unwrap_or_else(|| StatusInfo::new("unknown", "", 0))
}

/// A unit's workload status, with a failed hook on top.
fn workload(state: &State, name: &UnitName) -> StatusInfo {
    let unit = &state.units[name];
    match &unit.local.pending {
        Some(pending) if pending.failed => {
            StatusInfo::new("error", &format!("hook failed: {:?}", pending.hook.name), pending.failed_at)
        }
        Some(_) | None if is_lost(state, unit) => {
            let message = format!("agent lost, see 'juju-local debug-log --replay --include {name}'");
            StatusInfo::new("unknown", &message, unit.agent.since)
        }
        Some(_) | None => unit.workload.clone(),
    }
}

/// What a failed hook was about: the data of the unit's status.
pub fn error_data(state: &State, name: &UnitName) -> Option<Value> {
    let pending = state.units.get(name)?.local.pending.as_ref().filter(|p| p.failed)?;
    let mut data = json!({"hook": pending.hook.name});
    if let Some(relation) = pending.hook.relation {
        data["relation-id"] = json!(relation);
    }
    if let Some(unit) = &pending.hook.remote_unit {
        data["remote-unit"] = json!(unit);
    }
    Some(data)
}

fn is_lost(state: &State, unit: &super::Unit) -> bool {
    state.machines.get(&unit.machine).is_some_and(|m| m.created && !m.powered)
}

fn shown(info: &StatusInfo) -> Value {
    let mut map = Map::new();
    map.insert("current".to_owned(), json!(info.status));
    if !info.message.is_empty() {
        map.insert("message".to_owned(), json!(info.message));
    }
    map.insert("since".to_owned(), json!(time(info.since)));
    Value::Object(map)
}

/// As Juju prints times.
pub fn time(seconds: u64) -> String {
    stamp(seconds, "%d %b %Y %H:%M:%SZ")
}

/// As in JSON and YAML.
pub fn utc(seconds: u64) -> String {
    stamp(seconds, "%Y-%m-%dT%H:%M:%SZ")
}

/// As goal-state prints them.
pub fn goal_time(seconds: u64) -> String {
    stamp(seconds, "%Y-%m-%d %H:%M:%SZ")
}

fn stamp(seconds: u64, format: &str) -> String {
    let at = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_default();
    at.strftime(format).to_string()
}

/// `juju status --format json`.
pub fn status(state: &State) -> Value {
    let machines: Map<String, Value> = state
        .machines
        .iter()
        .map(|(id, machine)| {
            let current = if machine.powered && machine.created { "started" } else if machine.created { "down" } else { "pending" };
            let body = json!({"juju-status": {"current": current}, "dns-name": machine.address,
                "ip-addresses": [machine.address], "instance-id": format!("juju-{}-{id}", state.name), "hostname": format!("juju-{}-{id}", state.name)});
            (id.to_string(), body)
        })
        .collect();
    let applications: Map<String, Value> = state
        .applications
        .iter()
        .map(|(name, app)| {
            let principals = state.units_of(name).filter(|(_, unit)| unit.principal.is_none());
            let units: Map<String, Value> =
                principals.map(|(unit, _)| (unit.to_string(), status_of(state, unit))).collect();
            let mut relations: Map<String, Value> = Map::new();
            for relation in state.relations.values() {
                if let Some(endpoint) = relation.endpoint_of(name) {
                    let remote = relation.remote_app(name);
                    relations.insert(endpoint.name.clone(), json!([{"related-application": remote, "interface": endpoint.interface, "scope": if relation.container { "container" } else { "global" }}]));
                }
            }
            let mut body = json!({"charm": format!("local:{}-{}", app.charm.name, app.revision), "charm-name": app.charm.name,
                "charm-origin": "local", "charm-rev": app.revision, "exposed": false,
                "application-status": shown(&application_status(state, name)), "relations": relations, "units": units});
            let principals: BTreeSet<&String> = state
                .relations
                .values()
                .filter(|r| r.container && app.charm.subordinate && r.endpoint_of(name).is_some())
                .flat_map(|r| r.endpoints.iter().map(|e| &e.app).filter(|other| *other != name))
                .collect();
            if !principals.is_empty() {
                body["subordinate-to"] = json!(principals);
            }
            if !app.workload_version.is_empty() {
                body["version"] = json!(app.workload_version);
            }
            if app.life != Life::Alive {
                body["life"] = json!("dying");
            }
            (name.clone(), body)
        })
        .collect();
    json!({
        "model": {"name": state.name, "type": "iaas", "controller": "juju-local", "cloud": "localhost",
            "version": state.setting("agent-version"), "model-status": {"current": "available"}, "uuid": state.uuid},
        "machines": machines, "applications": applications, "storage": storage(state)["storage"],
    })
}

/// One unit, with its subordinates under it.
fn status_of(state: &State, name: &UnitName) -> Value {
    let unit = &state.units[name];
    let mut body = json!({"workload-status": shown(&workload(state, name)), "juju-status": shown(&agent(state, name)),
        "public-address": state.address_of(name)});
    if let Some(data) = error_data(state, name) {
        body["workload-status"]["data"] = data;
    }
    if unit.principal.is_none() {
        body["machine"] = json!(unit.machine.to_string());
    }
    if state.is_leader(name) {
        body["leader"] = json!(true);
    }
    if unit.life != Life::Alive {
        body["life"] = json!("dying");
    }
    if !unit.ports.is_empty() {
        body["open-ports"] = json!(unit.ports);
    }
    let subordinates: Map<String, Value> =
        state.subordinates_of(name).map(|unit| (unit.to_string(), status_of(state, unit))).collect();
    if !subordinates.is_empty() {
        body["subordinates"] = Value::Object(subordinates);
    }
    body
}

fn agent(state: &State, name: &UnitName) -> StatusInfo {
    let unit = &state.units[name];
    if is_lost(state, unit) {
        return StatusInfo::new("lost", "agent is not communicating with the server", unit.agent.since);
    }
    unit.agent.clone()
}

/// `juju show-unit`.
pub fn unit(state: &State, name: &UnitName) -> Value {
    let unit = &state.units[name];
    let mut relations = Vec::new();
    for (id, relation) in &state.relations {
        let Some(endpoint) = relation.endpoint_of(&name.app) else {
            continue;
        };
        let remote = relation.remote_app(&name.app);
        let members: Map<String, Value> = relation
            .unit_bags
            .iter()
            .filter(|(member, _)| {
                relation.scope.contains(*member) && *member != name && (relation.peer || member.app == remote)
            })
            .map(|(member, bag)| (member.to_string(), json!({"in-scope": true, "data": bag.values})))
            .collect();
        let mut body = json!({"relation-id": id, "endpoint": endpoint.name,
            "related-endpoint": relation.endpoint_of(&remote).map(|e| e.name.clone()),
            "application-data": relation.app_bags.get(&remote).map(|b| b.values.clone()).unwrap_or_default(),
            "related-units": members});
        if let Some(bag) = relation.unit_bags.get(name) {
            body["local-unit"] = json!({"in-scope": relation.scope.contains(name), "data": bag.values});
        }
        relations.push(body);
    }
    json!({name.to_string(): {
        "machine": unit.machine.to_string(), "opened-ports": unit.ports.ranges(), "public-address": state.address_of(name),
        "charm": state.applications.get(&name.app).map(|a| format!("local:{}-{}", a.charm.name, a.revision)),
        "leader": state.is_leader(name), "life": unit.life, "relation-info": relations, "provider-id": "",
        "address": state.address_of(name), "hooks-run": unit.local.hooks_run,
    }})
}

/// `juju show-application`.
pub fn application(state: &State, name: &str) -> Value {
    let app = &state.applications[name];
    let bindings: Map<String, Value> = [&app.charm.peers, &app.charm.provides, &app.charm.requires]
        .into_iter()
        .flat_map(|m| m.keys())
        .map(|e| (e.clone(), json!("alpha")))
        .collect();
    json!({name: {"charm": app.charm.name, "charm-origin": "local", "charm-rev": app.revision, "base": app.charm.bases.first(),
        "channel": "", "principal": !app.charm.subordinate, "exposed": false, "remote": false, "life": app.life, "endpoint-bindings": bindings}})
}

/// `juju storage`.
pub fn storage(state: &State) -> Value {
    let all: Map<String, Value> = state
        .storage
        .iter()
        .map(|(id, s)| {
            let unit = s.unit.as_ref();
            let attached = unit.and_then(|u| state.units.get(u)).is_some_and(|u| u.local.storage_attached.contains(id));
            let current = match (unit, s.life, attached) {
                (None, Life::Alive, _) => "detached",
                (_, Life::Dying | Life::Dead, _) => "detaching",
                (Some(_), Life::Alive, true) => "attached",
                (Some(_), Life::Alive, false) => "pending",
            };
            let mut body = json!({"kind": s.kind, "life": s.life, "status": {"current": current}, "size": s.size});
            if let Some(unit) = unit {
                body["attachments"] = json!({"units": {unit.to_string(): {"location": s.location}}});
            }
            (id.clone(), body)
        })
        .collect();
    json!({"storage": all})
}

/// One task as `juju run` and `show-operation` print it.
pub fn task(state: &State, id: u32) -> Value {
    let Some(task) = state.tasks.get(&id) else {
        return Value::Null;
    };
    let mut body = json!({"id": id.to_string(), "unit": task.unit.to_string(), "status": task.status, "action": task.action,
        "results": task.results, "timing": {"enqueued": time(task.enqueued), "started": time(task.started), "completed": time(task.completed)}});
    if !task.message.is_empty() {
        body["message"] = json!(task.message);
    }
    if !task.log.is_empty() {
        body["log"] = json!(task.log);
    }
    body
}
