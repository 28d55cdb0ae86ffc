//! What a unit says of itself in `juju status`: its status, its application's, the workload's version.

use serde_json::{Map, Value, json};

use super::leadership::is_leader;
use crate::controller::Controller;
use crate::jujuc::flags::{Flags, failure, usage};
use crate::jujuc::output::{FORMAT, OUTPUT, Outcome, nothing, say};
use crate::model::StatusInfo;
use crate::uniter::context::Context;

pub(super) fn set(controller: &Controller, context: &mut Context, args: &[String]) -> Outcome {
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

pub(super) fn get(controller: &Controller, context: &mut Context, args: &[String]) -> Outcome {
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

pub(super) fn set_version(controller: &Controller, context: &Context, args: &[String]) -> Outcome {
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
