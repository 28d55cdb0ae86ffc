//! What each hook tool does, but for the secret ones. Reads come from the hook's snapshot; writes are buffered, but for
//! statuses, versions and logs, which Juju applies at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Call;
use super::flags::{Flags, ToolError, failure, usage};
use super::output::{FORMAT, OUTPUT, print};
use crate::controller::Controller;
use crate::model::{Life, StatusInfo, UnitName};
use crate::uniter::context::{Context, Kind};

/// A tool's success.
pub(super) enum Said {
    Text(String),
    NeedStdin,
}

type Outcome = Result<Said, ToolError>;

const RELATION: &[&str] = &["r", "relation"];

/// Runs one tool.
pub(super) fn call(controller: &Controller, context: &mut Context, call: &Call) -> Outcome {
    let args = &call.args;
    let major = context.snapshot.major();
    if !super::tools_of(major).contains(&call.tool.as_str()) {
        return Err(failure(format!("unknown command: {}", call.tool)));
    }
    if args.iter().any(|a| a == "--help" || a == "-h") {
        return Ok(Said::Text(format!("Usage: {} [options] ...\n", call.tool)));
    }
    match call.tool.as_str() {
        "relation-ids" => relation_ids(context, args),
        "relation-list" => relation_list(context, args),
        "relation-get" => relation_get(controller, context, args),
        "relation-set" => relation_set(controller, context, call),
        "relation-model-get" => {
            let flags = Flags::parse(args, &[RELATION, FORMAT, OUTPUT], &[])?;
            relation(context, &flags)?;
            say(&json!({"uuid": context.snapshot.uuid}), &flags, "smart")
        }
        "config-get" => config_get(context, args),
        "is-leader" => {
            let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[])?;
            say(&json!(is_leader(controller, context)), &flags, "smart")
        }
        "leader-get" => {
            let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[])?;
            let app = &context.snapshot.applications[&context.unit.app];
            let value = match flags.rest.first().filter(|key| *key != "-") {
                Some(key) => app.leader_settings.get(key).map_or(Value::Null, |v| json!(v)),
                None => json!(app.leader_settings),
            };
            say(&value, &flags, "smart")
        }
        "leader-set" => {
            let pairs = pairs(args)?;
            if !is_leader(controller, context) {
                return Err(failure("cannot write leadership settings: cannot write settings: not the leader"));
            }
            let app = context.unit.app.clone();
            controller.change(|state| {
                if let Some(app) = state.applications.get_mut(&app) {
                    for (key, value) in &pairs {
                        if value.is_empty() {
                            app.leader_settings.remove(key);
                        } else {
                            app.leader_settings.insert(key.clone(), value.clone());
                        }
                    }
                }
            });
            nothing()
        }
        "status-set" => status_set(controller, context, args),
        "status-get" => status_get(controller, context, args),
        "application-version-set" => {
            let flags = Flags::parse(args, &[], &[])?;
            let version = flags.rest.first().ok_or_else(|| usage("no version specified"))?.clone();
            let app = context.unit.app.clone();
            controller.change(|state| {
                if let Some(app) = state.applications.get_mut(&app) {
                    app.workload_version.clone_from(&version);
                }
            });
            nothing()
        }
        "network-get" => network_get(context, args),
        "unit-get" => {
            let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[])?;
            match flags.rest.first().map(String::as_str) {
                Some("private-address" | "public-address") => {
                    let address = context.snapshot.address_of(&context.unit);
                    say(&json!(address), &flags, "smart")
                }
                Some(other) => Err(usage(format!("unknown setting {other:?}"))),
                None => Err(usage("no setting specified")),
            }
        }
        "open-port" | "close-port" => {
            let flags = Flags::parse(args, &[&["endpoints"]], &[])?;
            let port = flags.rest.first().ok_or_else(|| usage("no port or range specified"))?;
            context.buffered.ports.insert(parse_port(port)?, call.tool == "open-port");
            nothing()
        }
        "opened-ports" => {
            let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[&["endpoints"]])?;
            let mut ports: BTreeSet<String> = context.snapshot.units[&context.unit].ports.clone();
            for (port, open) in &context.buffered.ports {
                if *open {
                    ports.insert(port.clone());
                } else {
                    ports.remove(port);
                }
            }
            say(&json!(ports), &flags, "smart")
        }
        "goal-state" => goal_state(context, args),
        "juju-log" => juju_log(controller, context, args),
        "juju-reboot" => {
            let flags = Flags::parse(args, &[], &[&["now"]])?;
            if matches!(context.kind, Kind::Action { .. }) {
                return Err(failure("juju-reboot is not supported when running an action."));
            }
            if flags.switch("now") {
                return Err(failure("juju-reboot --now is not supported by juju-local; use juju-reboot"));
            }
            context.reboot = true;
            nothing()
        }
        "action-get" | "action-set" | "action-fail" | "action-log" => action(controller, context, &call.tool, args),
        "state-get" | "state-set" | "state-delete" => unit_state(context, call),
        "storage-list" | "storage-get" | "storage-add" => storage(context, &call.tool, args),
        name if name.starts_with("secret-") => super::secrets::call(controller, context, call),
        name => Err(failure(format!("{name} is not supported by juju-local"))),
    }
}

pub(super) fn nothing() -> Outcome {
    Ok(Said::Text(String::new()))
}

pub(super) fn say(value: &Value, flags: &Flags, default: &str) -> Outcome {
    if flags.value("o").is_some() {
        return Err(failure("--output is not supported by juju-local; redirect the output"));
    }
    print(value, flags.value("format"), default).map(Said::Text)
}

/// True is asked anew each time; false stays for the rest of the run.
pub(super) fn is_leader(controller: &Controller, context: &mut Context) -> bool {
    if context.leader == Some(false) {
        return false;
    }
    let leader = controller.read(|state| state.is_leader(&context.unit));
    context.leader = Some(leader);
    leader
}

fn endpoint_of(context: &Context, relation: u32) -> String {
    let relation = context.snapshot.relations.get(&relation);
    relation.and_then(|r| r.endpoint_of(&context.unit.app)).map(|e| e.name.clone()).unwrap_or_default()
}

/// Relations that this unit has entered.
fn entered(context: &Context) -> Vec<u32> {
    let broken = context.kind.hook().filter(|h| h.name.ends_with("-relation-broken")).and_then(|h| h.relation);
    let unit = &context.snapshot.units[&context.unit];
    context
        .snapshot
        .relations
        .iter()
        .filter(|(id, r)| {
            r.endpoint_of(&context.unit.app).is_some()
                && unit.local.installed
                && (r.scope.contains(&context.unit)
                    || unit.local.relations.get(*id).is_some_and(|l| l.created && !l.broken))
                && Some(**id) != broken
        })
        .map(|(id, _)| *id)
        .collect()
}

/// The relation that `-r` or the hook names.
pub(super) fn relation(context: &Context, flags: &Flags) -> Result<u32, ToolError> {
    let Some(text) = flags.value("r") else {
        return context.kind.hook().and_then(|h| h.relation).ok_or_else(|| usage("no relation id specified"));
    };
    let number = text.rsplit(':').next().unwrap_or(text);
    let id: u32 =
        number.parse().map_err(|_| usage(format!("invalid value {text:?} for option -r: invalid relation id")))?;
    let own = context.kind.hook().and_then(|h| h.relation) == Some(id);
    if entered(context).contains(&id) || own {
        Ok(id)
    } else {
        Err(usage(format!("invalid value {text:?} for option -r: relation not found")))
    }
}

fn relation_ids(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[])?;
    flags.at_most(1)?;
    let hook_endpoint = context.kind.hook().and_then(|h| h.relation).map(|id| endpoint_of(context, id));
    let endpoint = flags.rest.first().cloned().or(hook_endpoint).ok_or_else(|| usage("no endpoint name specified"))?;
    let ids: Vec<String> = entered(context)
        .into_iter()
        .filter(|id| endpoint_of(context, *id) == endpoint)
        .map(|id| format!("{endpoint}:{id}"))
        .collect();
    say(&json!(ids), &flags, "smart")
}

fn relation_list(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[RELATION, FORMAT, OUTPUT], &[&["app"]])?;
    flags.at_most(0)?;
    let id = relation(context, &flags)?;
    if flags.switch("app") {
        return say(&json!(context.snapshot.relations[&id].remote_app(&context.unit.app)), &flags, "smart");
    }
    let members: Vec<String> = context.members(id).iter().map(ToString::to_string).collect();
    say(&json!(members), &flags, "smart")
}

fn relation_get(controller: &Controller, context: &mut Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[RELATION, FORMAT, OUTPUT], &[&["app"]])?;
    flags.at_most(2)?;
    let id = relation(context, &flags)?;
    let key = flags.rest.first().map(String::as_str).filter(|key| *key != "-");
    let hook = context.kind.hook().filter(|h| h.relation == Some(id));
    let target = match flags.rest.get(1) {
        Some(target) => target.clone(),
        None => match hook.map(|h| (&h.remote_unit, &h.remote_app)) {
            Some((Some(unit), _)) if !flags.switch("app") => unit.to_string(),
            Some((_, Some(app))) => app.clone(),
            Some((Some(_) | None, None)) | None => return Err(usage("no unit or application specified")),
        },
    };
    let app = !target.contains('/') || flags.switch("app");
    if app && !flags.switch("app") && flags.rest.get(1).is_some() {
        return Err(usage(format!("expected unit name, got application name {target:?}")));
    }
    let values = if app {
        app_bag(controller, context, id, target.split('/').next().unwrap_or(&target))?
    } else {
        let unit = UnitName::try_from(target.clone()).map_err(usage)?;
        if unit == context.unit {
            context.own_bag(id, false)
        } else {
            let relation = &context.snapshot.relations[&id];
            let bag = relation.unit_bags.get(&unit).ok_or_else(|| {
                failure(format!(
                    "cannot read settings for unit {:?} in relation {:?}: unit {:?}: settings not found",
                    unit.to_string(),
                    relation.key(),
                    unit.to_string()
                ))
            })?;
            bag.values.clone()
        }
    };
    let value = match key {
        None => json!(values),
        Some(key) => values.get(key).map_or(Value::Null, |v| json!(v)),
    };
    say(&value, &flags, "smart")
}

fn app_bag(
    controller: &Controller,
    context: &mut Context,
    id: u32,
    app: &str,
) -> Result<BTreeMap<String, String>, ToolError> {
    let relation = &context.snapshot.relations[&id];
    if app == context.unit.app {
        // On an ordinary relation only the leader may read its own application's bag.
        if !relation.peer && !is_leader(controller, context) {
            return Err(failure("permission denied"));
        }
        return Ok(context.own_bag(id, true));
    }
    match relation.app_bags.get(app) {
        Some(bag) => Ok(bag.values.clone()),
        None => Err(failure(format!("application {app:?} is not part of this relation"))),
    }
}

fn pairs(args: &[String]) -> Result<BTreeMap<String, String>, ToolError> {
    let mut read = BTreeMap::new();
    for arg in args {
        let (key, value) = arg
            .split_once('=')
            .filter(|(k, _)| !k.is_empty())
            .ok_or_else(|| usage(format!("expected \"key=value\", got {arg:?}")))?;
        if read.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(usage(format!("key {key:?} specified more than once")));
        }
    }
    Ok(read)
}

/// A file of the caller's, or its standard input.
pub(super) fn file_text(
    controller: &Controller,
    context: &Context,
    call: &Call,
    name: &str,
) -> Result<Option<String>, ToolError> {
    if name == "-" {
        return Ok(call.stdin.clone());
    }
    let path = Path::new(&call.cwd).join(name);
    let machine = context.snapshot.units[&context.unit].machine;
    let view = controller
        .machines
        .view(machine)
        .ok_or_else(|| failure(format!("open {}: the machine is down", path.display())))?;
    let on_host = view.join(path.strip_prefix("/").unwrap_or(&path));
    std::fs::read_to_string(&on_host).map(Some).map_err(|why| failure(format!("open {}: {why}", path.display())))
}

/// A YAML or JSON map of scalars as texts.
pub(super) fn scalars(text: &str) -> Result<BTreeMap<String, String>, ToolError> {
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let values: BTreeMap<String, Value> = serde_json::from_str(text)
        .or_else(|_| serde_yaml::from_str(text))
        .map_err(|why| failure(format!("cannot parse file: {why}")))?;
    values
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            Value::Null => Ok((key, String::new())),
            Value::Bool(_) | Value::Number(_) => Ok((key, value.to_string())),
            Value::Array(_) | Value::Object(_) => Err(failure(format!("cannot parse file: {key} is not a scalar"))),
        })
        .collect()
}

fn relation_set(controller: &Controller, context: &mut Context, call: &Call) -> Outcome {
    let flags = Flags::parse(&call.args, &[RELATION, &["file"]], &[&["app"]])?;
    let id = relation(context, &flags)?;
    let mut changes = match flags.value("file") {
        None => BTreeMap::new(),
        Some(name) => match file_text(controller, context, call, name)? {
            None => return Ok(Said::NeedStdin),
            Some(text) => scalars(&text)?,
        },
    };
    changes.extend(pairs(&flags.rest)?);
    if flags.switch("app") && !is_leader(controller, context) {
        return Err(failure("cannot write relation settings"));
    }
    let buffered = context.buffered.relations.entry(id).or_default();
    if flags.switch("app") {
        buffered.app.extend(changes)
    } else {
        buffered.unit.extend(changes)
    }
    nothing()
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

fn status_set(controller: &Controller, context: &mut Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[], &[&["application"]])?;
    flags.at_most(2)?;
    let status = flags.rest.first().ok_or_else(|| usage("invalid args, require <status> [message]"))?.clone();
    let allowed = ["maintenance", "blocked", "waiting", "active"];
    if !allowed.contains(&status.as_str()) {
        return Err(usage(format!("invalid status {status:?}, expected one of [{}]", allowed.join(" "))));
    }
    let info = StatusInfo::new(&status, flags.rest.get(1).map_or("", String::as_str), controller.now());
    if flags.switch("application") {
        if !is_leader(controller, context) {
            return Err(failure("this unit is not the leader"));
        }
        let app = context.unit.app.clone();
        controller.change(|state| {
            if let Some(app) = state.applications.get_mut(&app) {
                app.status = Some(info);
            }
        });
    } else {
        let name = context.unit.clone();
        controller.change(|state| {
            if let Some(unit) = state.units.get_mut(&name) {
                unit.workload = info;
            }
        });
    }
    nothing()
}

fn status_get(controller: &Controller, context: &mut Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[&["include-data"], &["application"]])?;
    let shown = |info: &StatusInfo| {
        if flags.switch("include-data") {
            json!({"status": info.status, "message": info.message, "status-data": {}})
        } else {
            json!({"status": info.status})
        }
    };
    if flags.switch("application") {
        if !is_leader(controller, context) {
            return Err(failure("finding application status: this unit is not the leader"));
        }
        let value = controller.read(|state| {
            let app = &context.unit.app;
            let mut map = shown(&crate::model::view::application_status(state, app));
            let units: Map<String, Value> =
                state.units_of(app).map(|(name, unit)| (name.to_string(), shown(&unit.workload))).collect();
            map["units"] = Value::Object(units);
            json!({"application-status": map})
        });
        return say(&value, &flags, "smart");
    }
    let info = controller.read(|state| state.units.get(&context.unit).map(|u| u.workload.clone())).unwrap_or_default();
    let plain = !flags.switch("include-data") && flags.value("format").is_none_or(|f| f == "smart");
    if plain { say(&json!(info.status), &flags, "smart") } else { say(&shown(&info), &flags, "smart") }
}

fn network_get(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(
        args,
        &[RELATION, FORMAT, OUTPUT],
        &[&["bind-address"], &["ingress-address"], &["egress-subnets"], &["primary-address"]],
    )?;
    flags.at_most(1)?;
    let binding = flags.rest.first().ok_or_else(|| usage("no arguments specified"))?;
    let charm = &context.snapshot.applications[&context.unit.app].charm;
    let known = binding == "juju-info"
        || [&charm.peers, &charm.provides, &charm.requires].iter().any(|role| role.contains_key(binding))
        || charm.extra_bindings.contains(binding);
    if !known {
        return Err(failure(format!("no network config found for binding {binding:?}")));
    }
    let address = context.snapshot.address_of(&context.unit);
    let cidr = address.rsplit_once('.').map(|(net, _)| format!("{net}.0/24")).unwrap_or_default();
    let mut chosen = Map::new();
    for (flag, value) in [
        ("bind-address", json!(address)),
        ("ingress-address", json!(address)),
        ("egress-subnets", json!([format!("{address}/32")])),
        ("primary-address", json!(address)),
    ] {
        if flags.switch(flag) {
            chosen.insert(flag.to_owned(), value);
        }
    }
    let value = match chosen.len() {
        0 => json!({
            "bind-addresses": [{"mac-address": "", "interface-name": "host0",
                "addresses": [{"hostname": "", "value": address, "cidr": cidr}]}],
            "egress-subnets": [format!("{address}/32")],
            "ingress-addresses": [address],
        }),
        1 => chosen.into_iter().next().map_or(Value::Null, |(_, value)| value),
        _ => Value::Object(chosen),
    };
    say(&value, &flags, "smart")
}

fn parse_port(text: &str) -> Result<String, ToolError> {
    let wrong = || usage(format!("expected <port>[/<protocol>] or <from>-<to>[/<protocol>] or icmp; got {text:?}"));
    if text == "icmp" {
        return Ok(text.to_owned());
    }
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let ports: Vec<u32> = range.split('-').map(|p| p.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    let ordered = matches!(ports.as_slice(), [p] if (1..=65535).contains(p))
        || matches!(ports.as_slice(), [a, b] if *a >= 1 && a <= b && *b <= 65535);
    if ordered && ["tcp", "udp"].contains(&protocol) { Ok(format!("{range}/{protocol}")) } else { Err(wrong()) }
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
    let prefix = context.kind.hook().and_then(|h| h.relation).map(|id| format!("{}:{id}: ", endpoint_of(context, id)));
    let message = format!("{}{}", prefix.unwrap_or_default(), flags.rest.join(" "));
    controller.log(&context.unit.tag(), level, &format!("unit.{}.juju-log", context.unit), &message);
    nothing()
}

fn action(controller: &Controller, context: &mut Context, tool: &str, args: &[String]) -> Outcome {
    let Kind::Action { task, params, .. } = &context.kind else {
        return Err(failure("not running an action"));
    };
    let task = *task;
    match tool {
        "action-get" => {
            let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[])?;
            let value = match flags.rest.first() {
                None => params.clone(),
                Some(path) => path.split('.').try_fold(params, |at, key| at.get(key)).cloned().unwrap_or(Value::Null),
            };
            say(&value, &flags, "smart")
        }
        "action-set" => {
            let flags = Flags::parse(args, &[], &[])?;
            for pair in &flags.rest {
                let (path, value) = pair
                    .split_once('=')
                    .ok_or_else(|| usage(format!("argument {pair:?} must be of the form key...=value")))?;
                let keys: Vec<&str> = path.split('.').collect();
                for key in &keys {
                    let fine = !key.is_empty()
                        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                        && !key.starts_with('-')
                        && !key.ends_with('-');
                    if !fine {
                        return Err(usage(format!(
                            "key {key:?} must start and end with lowercase alphanumeric, and contain only lowercase alphanumeric and hyphens"
                        )));
                    }
                    if ["stdout", "stdout-encoding", "stderr", "stderr-encoding"].contains(key) {
                        return Err(usage(format!("cannot set reserved action key {key:?}")));
                    }
                }
                insert(&mut context.results, &keys, value);
            }
            nothing()
        }
        "action-fail" => {
            let flags = Flags::parse(args, &[], &[])?;
            let message = flags.rest.first().cloned();
            context.failed = Some(
                message.unwrap_or_else(|| "action failed without reason given, check action for errors".to_owned()),
            );
            nothing()
        }
        _ => {
            let flags = Flags::parse(args, &[], &[])?;
            if flags.rest.is_empty() {
                return Err(usage("no message specified"));
            }
            let message = flags.rest.join(" ");
            controller.change(|state| {
                if let Some(task) = state.tasks.get_mut(&task) {
                    task.log.push(message);
                }
            });
            nothing()
        }
    }
}

fn insert(at: &mut Value, keys: &[&str], value: &str) {
    let Some((first, rest)) = keys.split_first() else {
        return;
    };
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    let slot = &mut at[*first];
    if rest.is_empty() {
        *slot = Value::String(value.to_owned());
    } else {
        insert(slot, rest, value);
    }
}

fn unit_state(context: &mut Context, call: &Call) -> Outcome {
    let flags = Flags::parse(&call.args, &[FORMAT, OUTPUT, &["file"]], &[&["strict"]])?;
    let mut values = context.snapshot.units[&context.unit].charm_state.clone();
    for (key, change) in &context.buffered.state {
        match change {
            Some(value) => values.insert(key.clone(), value.clone()),
            None => values.remove(key),
        };
    }
    match call.tool.as_str() {
        "state-get" => {
            let key = flags.rest.first().filter(|key| *key != "-");
            let value = match key {
                None => json!(values),
                Some(key) if flags.switch("strict") && !values.contains_key(key) => {
                    return Err(failure(format!("{key:?} not found")));
                }
                Some(key) => json!(values.get(key).cloned().unwrap_or_default()),
            };
            say(&value, &flags, "smart")
        }
        "state-set" => {
            let mut changes = match (flags.value("file"), &call.stdin) {
                (None, _) => BTreeMap::new(),
                (Some("-"), None) => return Ok(Said::NeedStdin),
                (Some("-"), Some(text)) => scalars(text)?,
                (Some(_), _) => {
                    return Err(failure("state-set --file PATH is not supported by juju-local; use --file -"));
                }
            };
            changes.extend(pairs(&flags.rest)?);
            context.buffered.state.extend(changes.into_iter().map(|(k, v)| (k, Some(v))));
            nothing()
        }
        _ => {
            let key = flags.rest.first().ok_or_else(|| usage("no key specified"))?;
            context.buffered.state.insert(key.clone(), None);
            nothing()
        }
    }
}

fn storage(context: &Context, tool: &str, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[FORMAT, OUTPUT, &["s"]], &[])?;
    let state = &context.snapshot;
    let hook_storage = context.kind.hook().and_then(|h| h.storage.clone());
    let local = &state.units[&context.unit].local.storage_attached;
    match tool {
        "storage-list" => {
            let ids: Vec<&String> = state
                .storage
                .iter()
                .filter(|(id, s)| s.unit == context.unit && (local.contains(*id) || hook_storage.as_ref() == Some(*id)))
                .filter(|(_, s)| flags.rest.first().is_none_or(|name| s.name == *name))
                .map(|(id, _)| id)
                .collect();
            say(&json!(ids), &flags, "smart")
        }
        "storage-get" => {
            let id = flags
                .value("s")
                .map(ToOwned::to_owned)
                .or(hook_storage)
                .ok_or_else(|| usage("no storage instance specified"))?;
            let storage =
                state.storage.get(&id).filter(|s| s.unit == context.unit).ok_or_else(|| usage("storage not found"))?;
            let value = match flags.rest.first().map(String::as_str) {
                None => json!({"kind": storage.kind, "location": storage.location}),
                Some("kind") => json!(storage.kind),
                Some("location") => json!(storage.location),
                Some(other) => return Err(failure(format!("invalid storage attribute {other:?}"))),
            };
            say(&value, &flags, "smart")
        }
        _ => Err(failure("storage-add is not supported by juju-local")),
    }
}
