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

/// `juju status --format json`. `base` is the release that machines run.
pub fn status(state: &State, base: &str, now: u64) -> Value {
    let machines: Map<String, Value> =
        state.machines.iter().map(|(id, body)| (id.to_string(), machine(state, *id, body, base))).collect();
    let applications: Map<String, Value> =
        state.applications.keys().map(|name| (name.clone(), application_in_status(state, name))).collect();
    json!({
        "model": {"name": state.name, "type": "iaas", "controller": "juju-local", "cloud": "localhost",
            "version": state.setting("agent-version"), "uuid": state.uuid,
            "model-status": {"current": "available"}, "sla": "unsupported"},
        "machines": machines, "applications": applications, "integrations": integrations(state),
        "storage": storage(state), "controller": {"timestamp": stamp(now, "%H:%M:%SZ")},
    })
}

/// `ubuntu@24.04`, as a map.
fn base_of(text: &str) -> Value {
    let (name, channel) = text.split_once('@').unwrap_or((text, ""));
    json!({"name": name, "channel": channel.trim_end_matches("/stable")})
}

fn machine(state: &State, id: u32, machine: &super::Machine, base: &str) -> Value {
    let (agent, running) = match (machine.created, machine.powered) {
        (true, true) => ("started", "running"),
        (true, false) => ("down", "stopped"),
        (false, _) => ("pending", "pending"),
    };
    let name = format!("juju-{}-{id}", state.name);
    let addresses: Vec<String> = match machine.address.strip_prefix(super::SPACES[0].1) {
        Some(rest) => super::SPACES.map(|(_, prefix)| format!("{prefix}{rest}")).to_vec(),
        None => Vec::new(),
    };
    let mut body = json!({"juju-status": {"current": agent, "version": state.setting("agent-version")},
        "hostname": name, "instance-id": name, "display-name": name,
        "machine-status": {"current": running, "message": capital(running)},
        "modification-status": {"current": "idle"}, "base": base_of(base),
        "constraints": format!("arch={}", std::env::consts::ARCH), "hardware": "virt-type=container"});
    if !addresses.is_empty() {
        body["dns-name"] = json!(machine.address);
        body["network-interfaces"] = json!({"host0": {"ip-addresses": addresses, "mac-address": super::mac_address(&machine.address),
                "is-up": machine.powered, "space": "alpha internal"}});
        body["ip-addresses"] = json!(addresses);
    }
    body
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn application_in_status(state: &State, name: &str) -> Value {
    let app = &state.applications[name];
    let principals = state.units_of(name).filter(|(_, unit)| unit.principal.is_none());
    let units: Map<String, Value> =
        principals.map(|(unit, _)| (unit.to_string(), unit_in_status(state, unit))).collect();
    let mut relations: Map<String, Value> = Map::new();
    for relation in state.relations.values() {
        let Some(endpoint) = relation.endpoint_of(name) else {
            continue;
        };
        let scope = if relation.container { "container" } else { "global" };
        let one =
            json!({"related-application": relation.remote_app(name), "interface": endpoint.interface, "scope": scope});
        if let Value::Array(list) = relations.entry(endpoint.name.clone()).or_insert_with(|| json!([])) {
            list.push(one);
        }
    }
    let mut body = json!({"charm": charm_url(app), "charm-name": app.charm.name,
        "charm-origin": "local", "charm-rev": app.revision, "exposed": app.exposed,
        "application-status": shown(&application_status(state, name)), "endpoint-bindings": bindings(app)});
    if let Some(base) = app.charm.bases.first() {
        body["base"] = base_of(base);
    }
    for (key, map) in [("relations", relations), ("units", units)] {
        if !map.is_empty() || key == "units" {
            body[key] = Value::Object(map);
        }
    }
    if app.charm.subordinate {
        let principals = principals_of(state, name);
        if !principals.is_empty() {
            body["subordinate-to"] = json!(principals);
        }
    }
    if !app.workload_version.is_empty() {
        body["version"] = json!(app.workload_version);
    }
    if app.life != Life::Alive {
        body["life"] = json!(app.life);
    }
    body
}

/// The applications on whose machines a subordinate stands.
fn principals_of<'a>(state: &'a State, name: &str) -> BTreeSet<&'a String> {
    let stands_on = state.relations.values().filter(|r| r.container && r.endpoint_of(name).is_some());
    stands_on.flat_map(|r| r.endpoints.iter().map(|e| &e.app)).filter(|other| *other != name).collect()
}

/// One unit, with its subordinates under it.
fn unit_in_status(state: &State, name: &UnitName) -> Value {
    let unit = &state.units[name];
    let mut agent = shown(&agent(state, name));
    agent["version"] = json!(state.setting("agent-version"));
    if unit.life != Life::Alive {
        agent["life"] = json!(unit.life);
    }
    let mut body = json!({"workload-status": shown(&workload(state, name)), "juju-status": agent});
    if let Some(data) = error_data(state, name) {
        body["workload-status"]["data"] = data;
    }
    if unit.principal.is_none() {
        body["machine"] = json!(unit.machine.to_string());
    }
    let address = state.address_of(name);
    if !address.is_empty() {
        body["public-address"] = json!(address);
    }
    if state.is_leader(name) {
        body["leader"] = json!(true);
    }
    if unit.life != Life::Alive {
        body["life"] = json!(unit.life);
    }
    if !unit.ports.is_empty() {
        body["open-ports"] = json!(unit.ports.ranges());
    }
    let subordinates: Map<String, Value> =
        state.subordinates_of(name).map(|unit| (unit.to_string(), unit_in_status(state, unit))).collect();
    if !subordinates.is_empty() {
        body["subordinates"] = Value::Object(subordinates);
    }
    body
}

fn charm_url(app: &super::Application) -> String {
    format!("local:{}-{}", app.charm.name, app.revision)
}

/// Every endpoint and its network space; the empty name stands for all others.
fn bindings(app: &super::Application) -> Map<String, Value> {
    let default = app.bindings.get("").map_or(super::SPACES[0].0, String::as_str);
    [&app.charm.peers, &app.charm.provides, &app.charm.requires]
        .into_iter()
        .flat_map(|role| role.keys())
        .chain(&app.charm.extra_bindings)
        .map(String::as_str)
        .chain([""])
        .map(|name| (name.to_owned(), json!(app.bindings.get(name).map_or(default, String::as_str))))
        .collect()
}

/// Every relation with both its ends, which only the tables show.
fn integrations(state: &State) -> Value {
    let one = |(id, relation): (&u32, &super::Relation)| {
        let ends: Vec<String> = relation.endpoints.iter().map(|e| format!("{}:{}", e.app, e.name)).collect();
        let message = if relation.life == Life::Alive { "" } else { "removing" };
        let kind = match (relation.peer, relation.container) {
            (true, _) => "peer",
            (false, true) => "subordinate",
            (false, false) => "regular",
        };
        json!({"id": id, "requirer": ends.first(), "provider": ends.last(), "message": message,
            "interface": relation.endpoints.first().map(|e| &e.interface),
            "type": kind})
    };
    Value::Array(state.relations.iter().map(one).collect())
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
                let together = !relation.container || state.principal_of(member) == state.principal_of(name);
                let other = *member != name && (relation.peer || member.app == remote);
                relation.scope.contains(*member) && other && together
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
    let mut body = json!({
        "machine": unit.machine.to_string(), "opened-ports": unit.ports.ranges(), "public-address": state.address_of(name),
        "charm": state.applications.get(&name.app).map(charm_url),
        "leader": state.is_leader(name), "life": unit.life, "relation-info": relations, "hooks-run": unit.local.hooks_run,
    });
    if let Some(version) = state.applications.get(&name.app).map(|app| &app.workload_version).filter(|v| !v.is_empty())
    {
        body["workload-version"] = json!(version);
    }
    json!({name.to_string(): body})
}

/// `juju show-application`.
pub fn application(state: &State, name: &str) -> Value {
    let app = &state.applications[name];
    let base = app.charm.bases.first().map(|base| base.trim_end_matches("/stable"));
    let mut body = json!({"charm": app.charm.name, "charm-origin": "local", "charm-rev": app.revision, "base": base,
        "principal": !app.charm.subordinate, "exposed": app.exposed, "remote": false, "life": app.life,
        "endpoint-bindings": bindings(app)});
    if app.exposed {
        body["exposed-endpoints"] = json!({"": {"expose-to-cidrs": ["0.0.0.0/0", "::/0"]}});
    }
    json!({name: body})
}

/// `juju model-config`.
pub fn settings(state: &State, known: &[&str]) -> Value {
    let one = |key: &&str| {
        let source = if state.config.contains_key(*key) { "model" } else { "default" };
        ((*key).to_owned(), json!({"Value": typed(&state.setting(key)), "Source": source}))
    };
    Value::Object(known.iter().map(one).collect())
}

/// Switches and whole numbers as such; everything else is text, also a version that looks like a fraction.
fn typed(setting: &str) -> Value {
    let switch = setting.parse::<bool>().map(Value::from);
    switch.or_else(|_| setting.parse::<u64>().map(Value::from)).unwrap_or_else(|_| setting.into())
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
            let mut body = json!({"kind": s.kind, "life": s.life, "status": {"current": current}, "persistent": true,
                "pool": "rootfs", "size": s.size});
            if let Some(unit) = unit {
                body["attachments"] = json!({"units": {unit.to_string(): {"location": s.location, "life": s.life,
                    "machine": s.machine.map(|id| id.to_string())}}});
            }
            (id.clone(), body)
        })
        .collect();
    let filesystems: Map<String, Value> = state.storage.iter().map(filesystem).collect();
    let mut shown = json!({"storage": all});
    if !filesystems.is_empty() {
        shown["filesystems"] = Value::Object(filesystems);
    }
    shown
}

/// What holds an instance of storage: its number is that of the instance, on its machine.
fn filesystem((id, s): (&String, &super::Storage)) -> (String, Value) {
    let number = id.rsplit('/').next().unwrap_or_default();
    let size = crate::machine::size_in_bytes(&s.size).map(|bytes| bytes >> 20);
    let mut body = json!({"provider-id": id, "storage": id, "pool": "rootfs", "size": size, "life": s.life,
        "status": {"current": if s.unit.is_some() { "attached" } else { "detached" }}});
    let Some(machine) = s.machine.map(|machine| machine.to_string()) else {
        return (number.to_owned(), body);
    };
    let place = json!({"mount-point": s.location, "read-only": false, "life": s.life});
    body["attachments"] = json!({"machines": {machine.clone(): place}});
    if let Some(unit) = &s.unit {
        body["attachments"]["units"] =
            json!({unit.to_string(): {"machine": machine, "location": s.location, "life": s.life}});
    }
    (format!("{machine}/{number}"), body)
}

/// One task as `juju run` and `show-task` print it.
pub fn task(state: &State, id: u32) -> Value {
    let Some(task) = state.tasks.get(&id) else {
        return Value::Null;
    };
    let mut body = json!({"id": id.to_string(), "unit": task.unit.to_string(), "status": task.status,
        "timing": timing(task.enqueued, task.started, task.completed)});
    if task.results.as_object().is_some_and(|map| !map.is_empty()) {
        body["results"] = task.results.clone();
    }
    if !task.message.is_empty() {
        body["message"] = json!(task.message);
    }
    if !task.log.is_empty() {
        body["log"] = json!(task.log);
    }
    body
}

/// One task within its operation.
pub fn task_of_operation(state: &State, id: u32) -> Value {
    let mut body = task(state, id);
    if let Value::Object(map) = &mut body {
        map.remove("id");
        if let Some(unit) = map.remove("unit") {
            map.insert("host".to_owned(), unit);
        }
    }
    body
}

/// When something was asked for, begun and ended; what has not happened yet is left out.
pub fn timing(enqueued: u64, started: u64, completed: u64) -> Value {
    let times = [("enqueued", enqueued), ("started", started), ("completed", completed)];
    let shown = times.into_iter().filter(|(_, at)| *at > 0);
    Value::Object(shown.map(|(key, at)| (key.to_owned(), json!(stamp(at, "%Y-%m-%d %H:%M:%S +0000 UTC")))).collect())
}
