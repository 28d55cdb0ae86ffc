//! Words for the log, and the request for a reboot.

use super::Run;
use super::relations::endpoint_of;
use crate::jujuc::flags::{Flag, Spec, Takes, failure, usage};
use crate::jujuc::output::{Outcome, nothing};
use crate::uniter::context::{Kind, Reboot};

pub(super) const LOG: Spec = Spec {
    name: "juju-log",
    args: "<message>",
    summary: "Write a message to the juju log.",
    flags: &[
        Flag { names: &["debug"], takes: Takes::Nothing, usage: "log at debug level" },
        Flag { names: &["l", "log-level"], takes: Takes::Text("INFO"), usage: "Send log message at the given level" },
        Flag { names: &["format"], takes: Takes::Text(""), usage: "deprecated format flag" },
    ],
    details: "Levels are TRACE, DEBUG, INFO, WARNING and ERROR. A message that begins with a hyphen needs -- before it.",
};
pub(super) const REBOOT: Spec = Spec {
    name: "juju-reboot",
    args: "",
    summary: "Reboot the host machine.",
    flags: &[Flag {
        names: &["now"],
        takes: Takes::Nothing,
        usage: "reboot immediately, killing the invoking process",
    }],
    details: "Without --now the machine reboots once the hook has ended well. With it the hook is killed, what it has\n\
        asked for is dropped, and it runs again after the boot.",
};

const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

pub(super) fn log(run: &mut Run<'_>) -> Outcome {
    if run.flags.rest.is_empty() {
        return Err(usage("no message specified"));
    }
    let context = &run.context;
    let module = format!("unit.{}.juju-log", context.unit);
    let asked = if run.flags.switch("debug") { "DEBUG" } else { run.flags.value("l").unwrap_or("INFO") };
    let upper = asked.to_ascii_uppercase();
    let level = LEVELS.iter().find(|level| **level == upper);
    if level.is_none() {
        let warning = format!("Specified log level of {asked:?} is not valid.");
        run.controller.log(&context.unit.tag(), "WARNING", &module, &warning);
    }
    let relation = context.kind.hook().and_then(|hook| hook.relation);
    let prefix = relation.map(|id| format!("{}:{id}: ", endpoint_of(context, id))).unwrap_or_default();
    let message = format!("{prefix}{}", run.flags.rest.join(" "));
    run.controller.log(&context.unit.tag(), level.unwrap_or(&"INFO"), &module, &message);
    nothing()
}

pub(super) fn reboot(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(0)?;
    if matches!(run.context.kind, Kind::Action { .. }) {
        return Err(failure("juju-reboot is not supported when running an action."));
    }
    if run.flags.switch("now") {
        run.context.reboot = Some(Reboot::Now);
        run.controller.kill_running(&run.context.unit);
    } else {
        run.context.reboot = Some(Reboot::After);
    }
    nothing()
}
