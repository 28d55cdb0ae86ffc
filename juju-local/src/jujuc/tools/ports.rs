//! Ports that a unit wants to have open, for all endpoints or for some.

use serde_json::{Value, json};

use super::Run;
use crate::jujuc::flags::{FORMAT, Flag, OUTPUT, Spec, Takes, failure, usage};
use crate::jujuc::output::{Outcome, nothing};
use crate::model::PortRange;
use crate::uniter::flush::{check_port, endpoints};

const WORDS: &str = "<port>[/<protocol>] or <from>-<to>[/<protocol>] or icmp";
const FLAGS: &[Flag] = &[
    Flag {
        names: &["endpoints"],
        takes: Takes::Text(""),
        usage: "a comma-delimited list of application endpoints to target with this operation",
    },
    Flag { names: &["format"], takes: Takes::Text(""), usage: "deprecated format flag" },
];
const DETAILS: &str = "The protocol is tcp, udp or icmp; tcp where none is named. It counts for all endpoints where none are named,\n\
    and becomes true once the hook has ended well. Ports can be reached from outside where the application is exposed.";

pub(super) const OPEN: Spec = Spec {
    name: "open-port",
    args: WORDS,
    summary: "Register a request to open a port or port range.",
    flags: FLAGS,
    details: DETAILS,
};
pub(super) const CLOSE: Spec = Spec {
    name: "close-port",
    args: WORDS,
    summary: "Register a request to close a port or port range.",
    flags: FLAGS,
    details: DETAILS,
};
pub(super) const OPENED: Spec = Spec {
    name: "opened-ports",
    args: "",
    summary: "List all ports or port ranges opened by the unit.",
    flags: &[
        FORMAT,
        OUTPUT,
        Flag {
            names: &["endpoints"],
            takes: Takes::Nothing,
            usage: "display the list of target application endpoints for each port range",
        },
    ],
    details: "What this hook opens and closes is in the list already.",
};

pub(super) fn open(run: &mut Run<'_>) -> Outcome {
    change(run, true)
}

pub(super) fn close(run: &mut Run<'_>) -> Outcome {
    change(run, false)
}

fn change(run: &mut Run<'_>, open: bool) -> Outcome {
    let text = run.flags.rest.first().ok_or_else(|| usage("no port or range specified"))?;
    let range: PortRange = text.to_lowercase().parse().map_err(usage)?;
    run.flags.at_most(1)?;
    let endpoints = run.flags.value("endpoints").unwrap_or_default().to_owned();
    for endpoint in endpoints.split(',').map(str::trim) {
        let (me, buffered) = (&run.context.unit, &run.context.buffered.ports);
        run.controller.read(|state| check_port(state, me, buffered, &range, open)).map_err(failure)?;
        run.context.buffered.ports.insert((endpoint.to_owned(), range.clone()), open);
    }
    nothing()
}

pub(super) fn opened(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(0)?;
    let mut ports = run.context.snapshot.units[&run.context.unit].ports.clone();
    let all = endpoints(&run.context.snapshot, &run.context.unit);
    ports.apply(&run.context.buffered.ports, &all);
    let shown = |range: &PortRange| -> Value {
        if !run.flags.switch("endpoints") {
            return json!(range.to_string());
        }
        let endpoints: Vec<&str> = ports.endpoints_of(range).map(|e| if e.is_empty() { "*" } else { e }).collect();
        json!(format!("{range} ({})", endpoints.join(", ")))
    };
    run.say(&Value::Array(ports.ranges().iter().map(shown).collect()))
}
