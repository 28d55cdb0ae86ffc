//! What the command line and the controller say to each other over the controller's Unix socket: one JSON object per
//! line; a long request is answered by lines of progress before the final one.

use std::collections::BTreeMap;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A command, as far as the controller has a part in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Request {
    Ping,
    Deploy(Deployment),
    Refresh {
        application: String,
        charm: String,
        #[serde(default)]
        resources: BTreeMap<String, String>,
        #[serde(default)]
        force_units: bool,
    },
    AttachResource {
        application: String,
        name: String,
        path: String,
    },
    AddUnit {
        application: String,
        num_units: u32,
        to: Option<String>,
        #[serde(default)]
        attach_storage: Vec<String>,
    },
    RemoveUnit {
        units: Vec<String>,
        force: bool,
        #[serde(default)]
        destroy_storage: bool,
    },
    RemoveApplication {
        application: String,
        force: bool,
        #[serde(default)]
        destroy_storage: bool,
    },
    Disk(DiskRequest),
    AddMachine {
        count: u32,
    },
    RemoveMachine {
        machines: Vec<String>,
        force: bool,
    },
    Trust {
        application: String,
        trust: bool,
    },
    GetConfig {
        application: String,
    },
    SetConfig {
        application: String,
        set: BTreeMap<String, Value>,
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
    Operation {
        id: u32,
    },
    Operations,
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
        revision: Option<u32>,
        revisions: bool,
    },
    AddSecret {
        name: String,
        content: BTreeMap<String, String>,
        info: String,
    },
    UpdateSecret {
        id: String,
        content: BTreeMap<String, String>,
        name: Option<String>,
        info: Option<String>,
        auto_prune: bool,
    },
    RemoveSecret {
        id: String,
        revision: Option<u32>,
    },
    GrantSecret {
        id: String,
        /// One, or several with commas between.
        application: String,
        revoke: bool,
    },
    Storage,
    /// The number of a task that nobody but the asker runs.
    TaskNumber,
    Exec {
        units: Vec<String>,
        applications: Vec<String>,
        command: String,
    },
    Resolved {
        unit: String,
        no_retry: bool,
    },
    ModelConfig {
        set: BTreeMap<String, String>,
        #[serde(default)]
        reset: Vec<String>,
    },
    /// Records who may reach an application; nothing here keeps anybody out.
    Expose {
        application: String,
        exposed: bool,
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
    /// The charms' bugs that were found.
    Findings {
        clear: bool,
    },
    DestroyModel,
    /// Ends the controller; machines and their services go on. On purpose: until it is started again, and nothing but
    /// faults can be asked of it.
    Stop {
        on_purpose: bool,
    },
}

/// A charm that becomes an application, and how.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deployment {
    pub charm: String,
    pub name: Option<String>,
    pub num_units: u32,
    pub config: BTreeMap<String, Value>,
    pub storage: BTreeMap<String, String>,
    pub to: Option<String>,
    #[serde(default)]
    pub bind: String,
    /// Paths by resource.
    #[serde(default)]
    pub resources: BTreeMap<String, String>,
    #[serde(default)]
    pub attach_storage: Vec<String>,
    #[serde(default)]
    pub trust: bool,
    #[serde(default)]
    pub base: Option<String>,
    #[serde(default)]
    pub force: bool,
}

/// What is done to storage.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "disk")]
pub enum DiskRequest {
    /// Names of storages, and what `--storage` would say of each.
    Add {
        unit: String,
        storage: BTreeMap<String, String>,
    },
    Attach {
        unit: String,
        ids: Vec<String>,
    },
    Detach {
        ids: Vec<String>,
    },
    Remove {
        ids: Vec<String>,
        force: bool,
    },
}

impl Request {
    /// Whether this can be asked while the controller is stopped on purpose: what concerns machines and no agent.
    #[must_use]
    pub fn needs_no_agents(&self) -> bool {
        matches!(self, Self::Ping | Self::Machine { .. } | Self::Fault(_) | Self::DestroyModel | Self::Stop { .. })
    }
}

/// What is broken on purpose. It is sent as the command line reads it, so its help texts are here.
#[derive(Debug, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum Fault {
    /// Send a signal to a service or process
    #[command(group = clap::ArgGroup::new("target").args(["service", "pid"]).required(true))]
    Kill {
        /// The unit on whose machine
        unit: String,
        /// The service whose processes get it, as in mariadb
        #[arg(long)]
        service: Option<String>,
        /// The process that gets it, by its number on the machine
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        pid: Option<u32>,
        /// Its name or number
        #[arg(long, default_value = "KILL")]
        signal: String,
    },
    /// Stop all processes of a service as they stand, as if they hung
    Freeze {
        /// The unit on whose machine
        unit: String,
        /// The service, as in mariadb
        #[arg(long)]
        service: String,
    },
    /// Let them go on
    Thaw {
        /// The unit on whose machine
        unit: String,
        /// The service, as in mariadb
        #[arg(long)]
        service: String,
    },
    /// Cut the power of all of them at once: sudden, disks kept
    PowerOff {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Give the power back
    PowerOn {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
        /// With another address, as after a new lease
        #[arg(long)]
        new_address: bool,
    },
    /// Shut down in order and start again, all of them at once
    Reboot {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
        /// With another address, as after a new lease
        #[arg(long)]
        new_address: bool,
    },
    /// Move the leadership
    Leadership {
        /// Whose leadership
        application: String,
        /// The unit that leads from now on
        #[arg(required_unless_present = "none")]
        unit: Option<String>,
        /// Nobody leads until a unit is named, or the fault is cleared
        #[arg(long, conflicts_with = "unit")]
        #[serde(default)]
        none: bool,
    },
    /// Make a unit's next hook end badly, or its hooks slow; replaces what was said of this unit before
    #[command(group = clap::ArgGroup::new("what").multiple(true).required(true)
        .args(["kill_after_tools", "fail_commit", "delay_tools_ms"]))]
    Hook {
        /// The unit
        unit: String,
        /// Kill it at its tool call number K + 1; once
        #[arg(long, value_name = "K")]
        kill_after_tools: Option<u32>,
        /// Only this hook
        #[arg(long)]
        name: Option<String>,
        /// Refuse its changes after it has ended well; once
        #[arg(long)]
        fail_commit: bool,
        /// Let each tool call wait so many milliseconds, until `clear`
        #[arg(long = "delay-tools", value_name = "MS")]
        delay_tools_ms: Option<u64>,
    },
    /// Take units off the network, or cut them from others only; lasts over reboots
    Cut {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
        /// Only between the units and these; everything else gets through
        #[arg(long, num_args = 1.., value_name = "UNIT")]
        from: Vec<String>,
        /// Only what the units send is lost; what is sent to them arrives
        #[arg(long)]
        one_way: bool,
    },
    /// Mend the network: neither cut nor slow
    Heal {
        /// Units; all when none is named
        units: Vec<String>,
    },
    /// Delay packets on their way to a unit; needs the kernel's packet scheduler netem
    Slow {
        /// The unit
        unit: String,
        /// Milliseconds
        #[arg(long = "delay", value_name = "MS")]
        delay_ms: u32,
        /// How much the delay varies, in milliseconds
        #[arg(long = "jitter", value_name = "MS", default_value_t = 0)]
        jitter_ms: u32,
        /// How many in a hundred are lost
        #[arg(long = "loss", value_name = "PCT", default_value_t = 0.0, value_parser = percent)]
        loss_percent: f64,
    },
    /// Remove everything in a directory of a machine, on or off
    Wipe {
        /// The unit on whose machine
        unit: String,
        /// The directory; one without which the machine does not run is refused
        path: String,
    },
    /// Take the free space of a unit's storage
    Fill {
        /// The unit
        unit: String,
        /// The storage, as in data or data/0
        storage: String,
        /// How much stays free
        #[arg(long, value_name = "BYTES", default_value_t = 0)]
        leave: u64,
    },
    /// Give that space back
    Unfill {
        /// The unit
        unit: String,
        /// The storage, as in data or data/0
        storage: String,
    },
    /// Move the model's clock: leases, retries, update-status and the times of secrets follow it, machines do not
    Clock {
        /// How far forward, as in 90s, 2h or 30d; it stays there
        #[arg(long, value_name = "DURATION", value_parser = crate::cli::clock_seconds)]
        advance: u64,
    },
    // These two break nothing: the command line has them beside the faults.
    #[command(skip)]
    List,
    #[command(skip)]
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

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| format!("{text:?} is no percentage from 0 to 100"))
}
