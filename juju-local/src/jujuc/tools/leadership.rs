//! The leader tools, and whether this unit is the leader.

use serde_json::{Value, json};

use super::key_values::pairs;
use crate::controller::Controller;
use crate::jujuc::flags::{Flags, failure};
use crate::jujuc::output::{FORMAT, OUTPUT, Outcome, nothing, say};
use crate::uniter::context::Context;

/// True is asked anew each time; false stays for the rest of the run.
pub(super) fn is_leader(controller: &Controller, context: &mut Context) -> bool {
    if context.leader == Some(false) {
        return false;
    }
    let leader = controller.read(|state| state.is_leader(&context.unit));
    context.leader = Some(leader);
    leader
}

pub(super) fn ask(controller: &Controller, context: &mut Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[])?;
    say(&json!(is_leader(controller, context)), &flags, "smart")
}

pub(super) fn get(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[])?;
    let app = &context.snapshot.applications[&context.unit.app];
    let value = match flags.rest.first().filter(|key| *key != "-") {
        Some(key) => app.leader_settings.get(key).map_or(Value::Null, |v| json!(v)),
        None => json!(app.leader_settings),
    };
    say(&value, &flags, "smart")
}

pub(super) fn set(controller: &Controller, context: &mut Context, args: &[String]) -> Outcome {
    let pairs = pairs(args)?;
    if !is_leader(controller, context) {
        return Err(failure("cannot write leadership settings: cannot write settings: not the leader"));
    }
    let app = context.unit.app.clone();
    controller.change(|state| state.set_leader_settings(&app, &pairs));
    nothing()
}
