//! What each hook tool does: a module for each family of tools, and here those without a family. Reads come from the
//! hook's snapshot; writes are buffered, but for statuses, versions and logs, which Juju applies at once.

mod actions;
mod key_values;
mod leadership;
mod network;
mod relations;
mod secrets;
mod status;
mod storage;
mod unit_state;

use serde_json::{Map, Value, json};

use super::flags::{Flags, failure, usage};
use super::output::{FORMAT, OUTPUT, Outcome, Said, nothing, say};
use super::{Call, tools_of};
use crate::controller::Controller;
use crate::model::{Life, UnitName};
use crate::uniter::context::{Context, Kind, Reboot};

/// Runs one tool.
pub(super) fn call(controller: &Controller, context: &mut Context, call: &Call) -> Outcome {
    let args = &call.args;
    let major = context.snapshot.major();
    if !tools_of(major).contains(&call.tool.as_str()) {
        return Err(failure(format!("unknown command: {}", call.tool)));
    }
    if args.iter().any(|a| a == "--help" || a == "-h") {
        return Ok(Said::Text(format!("Usage: {} [options] ...\n", call.tool)));
    }
    match call.tool.as_str() {
        "relation-ids" => relations::ids(context, args),
        "relation-list" => relations::list(context, args),
        "relation-get" => relations::get(controller, context, args),
        "relation-set" => relations::set(controller, context, call),
        "relation-model-get" => relations::model_get(context, args),
        "config-get" => config_get(context, args),
        "is-leader" => leadership::ask(controller, context, args),
        "leader-get" => leadership::get(context, args),
        "leader-set" => leadership::set(controller, context, args),
        "status-set" => status::set(controller, context, args),
        "status-get" => status::get(controller, context, args),
        "application-version-set" => status::set_version(controller, context, args),
        "network-get" => network::get(context, args),
        "unit-get" => network::unit_get(context, args),
        "open-port" | "close-port" => network::change_port(context, &call.tool, args),
        "opened-ports" => network::opened_ports(context, args),
        "goal-state" => goal_state(context, args),
        "juju-log" => juju_log(controller, context, args),
        "juju-reboot" => juju_reboot(controller, context, args),
        "action-get" | "action-set" | "action-fail" | "action-log" => {
            actions::call(controller, context, &call.tool, args)
        }
        "state-get" | "state-set" | "state-delete" => unit_state::call(context, call),
        "storage-list" | "storage-get" | "storage-add" => storage::call(context, &call.tool, args),
        name if name.starts_with("secret-") => secrets::call(controller, context, call),
        name => Err(failure(format!("{name} is not supported by juju-local"))),
    }
}

fn config_get(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[&["a", "all"]])?;
    flags.at_most(1)?;
    let values = context.snapshot.effective_config(&context.unit.app);
    let value = match flags.rest.first() {
        Some(key) if flags.switch("a") => {
            return Err(usage(format!("cannot use argument --all together with key {key:?}")));
        }
        Some(key) => values.get(key).cloned().unwrap_or(Value::Null),
        None => {
            let mut map: Map<String, Value> = values.into_iter().collect();
            if flags.switch("a") {
                for name in context.snapshot.applications[&context.unit.app].charm.config.keys() {
                    map.entry(name.clone()).or_insert(Value::Null);
                }
            }
            Value::Object(map)
        }
    };
    say(&value, &flags, "smart")
}

fn goal_state(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[])?;
    if flags.value("format") == Some("smart") {
        return Err(usage("invalid value \"smart\" for option --format: unknown format \"smart\""));
    }
    let state = &context.snapshot;
    let entry = |name: &UnitName| {
        let unit = &state.units[name];
        let status = if unit.life == Life::Alive { unit.workload.status.clone() } else { "dying".to_owned() };
        json!({"status": status, "since": crate::model::view::goal_time(unit.workload.since)})
    };
    let units: Map<String, Value> =
        state.units_of(&context.unit.app).map(|(name, _)| (name.to_string(), entry(name))).collect();
    let mut relations: Map<String, Value> = Map::new();
    for relation in state.relations.values().filter(|r| !r.peer) {
        let Some(endpoint) = relation.endpoint_of(&context.unit.app) else {
            continue;
        };
        let remote = relation.remote_app(&context.unit.app);
        let mut sides: Map<String, Value> =
            state.units_of(&remote).map(|(name, _)| (name.to_string(), entry(name))).collect();
        sides.insert(remote, json!({"status": "joined"}));
        relations.insert(endpoint.name.clone(), Value::Object(sides));
    }
    say(&json!({"units": units, "relations": relations}), &flags, "yaml")
}

fn juju_log(controller: &Controller, context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[&["l", "log-level"], FORMAT], &[&["debug"]])?;
    if flags.rest.is_empty() {
        return Err(usage("no message specified"));
    }
    let level = if flags.switch("debug") { "DEBUG" } else { flags.value("l").unwrap_or("INFO") };
    let level = level.to_ascii_uppercase();
    let known = ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"].contains(&level.as_str());
    let level = if known { level.as_str() } else { "INFO" };
    let prefix = context
        .kind
        .hook()
        .and_then(|h| h.relation)
        .map(|id| format!("{}:{id}: ", relations::endpoint_of(context, id)));
    let message = format!("{}{}", prefix.unwrap_or_default(), flags.rest.join(" "));
    controller.log(&context.unit.tag(), level, &format!("unit.{}.juju-log", context.unit), &message);
    nothing()
}

fn juju_reboot(controller: &Controller, context: &mut Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[], &[&["now"]])?;
    if matches!(context.kind, Kind::Action { .. }) {
        return Err(failure("juju-reboot is not supported when running an action."));
    }
    context.reboot = Some(if flags.switch("now") { Reboot::Now } else { Reboot::After });
    if flags.switch("now") {
        controller.kill_context(&context.id);
    }
    nothing()
}
