//! Tools that are there and cannot help: those of clouds, of Kubernetes and of metrics.

use super::Run;
use crate::jujuc::flags::{FORMAT, Flag, OUTPUT, Spec, Takes, ToolError, failure};
use crate::jujuc::output::{Outcome, nothing};

pub(super) const CREDENTIAL: Spec = Spec {
    name: "credential-get",
    args: "",
    summary: "Access cloud credentials.",
    flags: &[FORMAT, OUTPUT],
    details: "Prints the cloud's credentials, where the application is trusted with them.",
};
pub(super) const METRIC: Spec = Spec {
    name: "add-metric",
    args: "key1=value1 [key2=value2 ...]",
    summary: "Add metrics.",
    flags: &[Flag {
        names: &["l", "labels"],
        takes: Takes::Text(""),
        usage: "labels to be associated with metric values",
    }],
    details: "Does nothing from Juju 3.6.11 on.",
};

/// There is no cloud here, so nobody can be trusted with its credentials.
pub(super) fn credential(run: &mut Run<'_>) -> Outcome {
    run.flags.at_most(0)?;
    let app = &run.context.unit.app;
    Err(failure(format!("cannot access cloud credentials: application {app:?} is not trusted: permission denied")))
}

pub(super) fn metric(run: &mut Run<'_>) -> Outcome {
    if run.context.snapshot.is_at_least("3.6.11") {
        return nothing();
    }
    // No charm declares metrics here: Juju says the same of one that does not.
    Err(failure("cannot record metric: metrics not allowed in this context"))
}

pub(super) fn refused(tool: &str) -> ToolError {
    failure(format!(
        "{tool} is for charms on Kubernetes or with payloads, which juju-local does not run: do not call it"
    ))
}
