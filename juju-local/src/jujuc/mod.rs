//! Hook tools: `client` is the thin program under every tool's name inside a machine, `server` answers it from the
//! unit's agent, `tools` knows what each tool does, `flags` how it is called, `output` what it answers.

pub mod client;
mod flags;
mod go_yaml;
mod machine_file;
mod output;
pub mod server;
#[cfg(test)]
mod tests;
mod tools;

use serde::{Deserialize, Serialize};

/// A tool's call, one JSON object on the agent's socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    /// `JUJU_CONTEXT_ID`; empty for juju-exec.
    pub context: String,
    pub tool: String,
    pub args: Vec<String>,
    pub cwd: String,
    pub stdin: Option<String>,
    /// The unit of a juju-exec.
    pub unit: Option<String>,
}

/// Its answer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// The tool wants to read its standard input; call again with it.
    pub need_stdin: bool,
}

/// Tools of all versions.
pub const TOOLS: &[&str] = &[
    "action-fail",
    "action-get",
    "action-log",
    "action-set",
    "application-version-set",
    "close-port",
    "config-get",
    "credential-get",
    "goal-state",
    "is-leader",
    "juju-log",
    "juju-reboot",
    "network-get",
    "open-port",
    "opened-ports",
    "relation-get",
    "relation-ids",
    "relation-list",
    "relation-set",
    "resource-get",
    "state-delete",
    "state-get",
    "state-set",
    "status-get",
    "status-set",
    "storage-add",
    "storage-get",
    "storage-list",
    "unit-get",
];
/// Until 3.6.
pub const LEADER_TOOLS: &[&str] = &["leader-get", "leader-set"];
/// Until 3.6 too; of charms on Kubernetes, and of metrics that nobody collects any more.
pub const LEGACY_TOOLS: &[&str] = &[
    "add-metric",
    "k8s-raw-get",
    "k8s-raw-set",
    "k8s-spec-get",
    "k8s-spec-set",
    "payload-register",
    "payload-status-set",
    "payload-unregister",
    "pod-spec-get",
    "pod-spec-set",
];
/// From 3.0.
pub const NEW_TOOLS: &[&str] = &[
    "relation-model-get",
    "secret-add",
    "secret-get",
    "secret-grant",
    "secret-ids",
    "secret-info-get",
    "secret-remove",
    "secret-revoke",
    "secret-set",
];

/// The tools that an agent of this major version offers.
pub fn tools_of(major: u32) -> Vec<&'static str> {
    let mut tools = TOOLS.to_vec();
    if major < 4 {
        tools.extend(LEADER_TOOLS);
        tools.extend(LEGACY_TOOLS);
    }
    if major >= 3 {
        tools.extend(NEW_TOOLS);
    }
    tools
}
