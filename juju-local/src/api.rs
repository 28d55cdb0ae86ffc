//! What the command line and the controller say to each other over the controller's Unix socket: one JSON object per
//! line; a long request is answered by lines of progress before the final one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A command, as far as the controller has a part in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Request {
    Ping,
    Deploy {
        charm: String,
        name: Option<String>,
        num_units: u32,
        config: BTreeMap<String, String>,
        storage: BTreeMap<String, String>,
        to: Option<String>,
    },
    Refresh {
        application: String,
        charm: String,
    },
    AddUnit {
        application: String,
        num_units: u32,
        to: Option<String>,
    },
    RemoveUnit {
        units: Vec<String>,
        force: bool,
    },
    RemoveApplication {
        application: String,
        force: bool,
    },
    GetConfig {
        application: String,
    },
    SetConfig {
        application: String,
        set: BTreeMap<String, String>,
        reset: Vec<String>,
    },
    Run {
        units: Vec<String>,
        action: String,
        params: BTreeMap<String, Value>,
    },
    Task {
        id: u32,
    },
    Tasks,
    CancelTask {
        id: u32,
    },
    Actions {
        application: String,
    },
    Status,
    ShowUnit {
        unit: String,
    },
    ShowApplication {
        application: String,
    },
    Secrets,
    ShowSecret {
        id: String,
        reveal: bool,
    },
    AddSecret {
        name: String,
        content: BTreeMap<String, String>,
    },
    UpdateSecret {
        id: String,
        content: BTreeMap<String, String>,
    },
    GrantSecret {
        id: String,
        application: String,
        revoke: bool,
    },
    Storage,
    Exec {
        units: Vec<String>,
        application: Option<String>,
        command: String,
    },
    Resolved {
        unit: String,
        no_retry: bool,
    },
    ModelConfig {
        set: BTreeMap<String, String>,
    },
    Integrate {
        a: String,
        b: String,
    },
    RemoveRelation {
        a: String,
        b: String,
    },
    Machine {
        unit: String,
    },
    Fault(Fault),
    DestroyModel,
    /// Ends the controller; machines and their services go on. On purpose: until it is started again, and nothing but
    /// faults can be asked of it.
    Stop {
        on_purpose: bool,
    },
}

impl Request {
    /// Whether this can be asked while the controller is stopped on purpose: what concerns machines and no agent.
    #[must_use]
    pub fn needs_no_agents(&self) -> bool {
        matches!(self, Self::Ping | Self::Machine { .. } | Self::Fault(_) | Self::DestroyModel | Self::Stop { .. })
    }
}

/// What is broken on purpose.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum Fault {
    Kill {
        unit: String,
        service: Option<String>,
        pid: Option<u32>,
        signal: String,
    },
    PowerOff {
        units: Vec<String>,
    },
    PowerOn {
        units: Vec<String>,
    },
    Reboot {
        units: Vec<String>,
    },
    Leadership {
        application: String,
        unit: String,
    },
    Hook {
        unit: String,
        kill_after_tools: Option<u32>,
        name: Option<String>,
        fail_commit: bool,
        delay_tools_ms: Option<u64>,
    },
    Freeze {
        unit: String,
        service: String,
    },
    Thaw {
        unit: String,
        service: String,
    },
    Cut {
        units: Vec<String>,
        from: Vec<String>,
        one_way: bool,
    },
    Heal {
        units: Vec<String>,
    },
    Slow {
        unit: String,
        delay_ms: u32,
        jitter_ms: u32,
        loss_percent: f64,
    },
    Wipe {
        unit: String,
        path: String,
    },
    Fill {
        unit: String,
        storage: String,
        leave: u64,
    },
    Unfill {
        unit: String,
        storage: String,
    },
    List,
    Clear,
}

/// One line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// What is being done now.
    Progress(String),
    /// The last line: it worked.
    Done(Value),
    /// The last line: it did not, and why, with the remedy.
    Failed(String),
}
