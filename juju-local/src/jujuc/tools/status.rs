//! What a unit says of itself in `juju status`: its status, its application's, the workload's version.

use serde_json::{Map, Value, json};

use super::Run;
use crate::jujuc::flags::{FORMAT, Flag, OUTPUT, Spec, Takes, failure, usage};
use crate::jujuc::output::{Outcome, nothing};
use crate::model::StatusInfo;

pub(super) const SET: Spec = Spec {
    name: "status-set",
    args: "<maintenance | blocked | waiting | active> [message]",
    summary: "Set status information.",
    flags: &[Flag {
        names: &["application"],
        takes: Takes::Nothing,
        usage: "set this status for the application to which the unit belongs if the unit is the leader",
    }],
    details: "Shown at once, whatever becomes of the hook. The message is one word: quote it.",
};
pub(super) const GET: Spec = Spec {
    name: "status-get",
    args: "",
    summary: "Print status information.",
    flags: &[
        FORMAT,
        OUTPUT,
        Flag { names: &["include-data"], takes: Takes::Nothing, usage: "print all status data" },
        Flag {
            names: &["application"],
            takes: Takes::Nothing,
            usage: "print status for all units of this application if this unit is the leader",
        },
    ],
    details: "Prints the status word; with --include-data the message and data as well.",
};
pub(super) const VERSION: Spec = Spec {
    name: "application-version-set",
    args: "<new-version>",
    summary: "Specify which version of the application is deployed.",
    flags: &[],
    details: "Shown in status at once; the last unit to say one wins.",
};

pub(super) fn set(run: &mut Run<'_>) -> Outcome {
    const ALLOWED: [&str; 4] = ["maintenance", "blocked", "waiting", "active"];
    let status = run.flags.rest.first().ok_or_else(|| usage("invalid args, require <status> [message]"))?.clone();
    if !ALLOWED.contains(&status.as_str()) {
        return Err(usage(format!("invalid status {status:?}, expected one of [{}]", ALLOWED.join(" "))));
    }
    run.flags.at_most(2)?;
    let message = run.flags.rest.get(1).map_or("", String::as_str);
    let info = StatusInfo::new(&status, message, run.controller.now());
    if run.flags.switch("application") {
        if !run.is_leader() {
            return Err(failure("this unit is not the leader"));
        }
        let app = run.context.unit.app.clone();
        run.controller.change(|state| {
            if let Some(app) = state.applications.get_mut(&app) {
                app.status = Some(info);
            }
        });
    } else {
        let name = run.context.unit.clone();
        run.context.cache.status = Some(info.clone());
        run.controller.change(|state| {
            if let Some(unit) = state.units.get_mut(&name) {
                unit.workload = info;
            }
        });
    }
    nothing()
}

fn shown(info: &StatusInfo, data: bool) -> Value {
    if data {
        json!({"status": info.status, "message": info.message, "status-data": {}})
    } else {
        json!({"status": info.status})
    }
}

pub(super) fn get(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(0)?;
    let data = run.flags.switch("include-data");
    if run.flags.switch("application") {
        if !run.is_leader() {
            return Err(failure("finding application status: this unit is not the leader"));
        }
        let app = &run.context.unit.app;
        let value = run.controller.read(|state| {
            let mut map = shown(&crate::model::view::application_status(state, app), data);
            let units: Map<String, Value> =
                state.units_of(app).map(|(name, unit)| (name.to_string(), shown(&unit.workload, data))).collect();
            map["units"] = Value::Object(units);
            json!({"application-status": map})
        });
        return run.say(&value);
    }
    let (controller, me) = (run.controller, run.context.unit.clone());
    let read = || controller.read(|state| state.units.get(&me).map(|u| u.workload.clone())).unwrap_or_default();
    let info = run.context.cache.status.get_or_insert_with(read).clone();
    if !data && run.format() == "smart" { run.say(&json!(info.status)) } else { run.say(&shown(&info, data)) }
}

pub(super) fn set_version(run: &mut Run<'_>) -> Outcome {
    let version = run.flags.rest.first().ok_or_else(|| usage("no version specified"))?.clone();
    run.flags.at_most(1)?;
    let app = run.context.unit.app.clone();
    run.controller.change(|state| {
        if let Some(app) = state.applications.get_mut(&app) {
            app.workload_version = version;
        }
    });
    nothing()
}
