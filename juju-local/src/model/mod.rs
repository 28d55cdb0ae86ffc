//! The model's state: what Juju's controller would keep in its database, and the transitions that commands and
//! committed hooks make. No machine, no process and no clock in here.

mod changes;
mod faults;
mod lease;
mod ports;
mod relation;
pub mod secret;
mod secret_content;
mod secret_view;
mod storage;
mod task;
mod units;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::charm_files::Charm;
pub use changes::{ModelError, random_hex};
pub use faults::{Faults, Frozen, HookFault, Path, Slow};
pub use lease::LEASE;
pub use ports::{PortChanges, PortRange, Ports, port_list};
pub use relation::{Bag, Endpoint, Relation};
pub use secret::{Content, Grantee, Owner, Secret, SecretText};
pub use secret_content::check_content;
pub use storage::{Storage, Wanted};

/// Everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    pub name: String,
    pub uuid: String,
    pub config: BTreeMap<String, String>,
    pub applications: BTreeMap<String, Application>,
    pub units: BTreeMap<UnitName, Unit>,
    pub machines: BTreeMap<u32, Machine>,
    pub relations: BTreeMap<u32, Relation>,
    pub secrets: BTreeMap<String, Secret>,
    pub storage: BTreeMap<String, Storage>,
    pub tasks: BTreeMap<u32, Task>,
    pub next_machine: u32,
    pub next_relation: u32,
    pub next_task: u32,
    pub next_storage: BTreeMap<String, u32>,
    #[serde(default)]
    pub faults: Faults,
    /// How far the model's clock was moved, in seconds.
    #[serde(default)]
    pub clock_ahead: u64,
    /// Bugs of charms.
    #[serde(default)]
    pub findings: Vec<crate::watchful::Finding>,
    /// How often each unit has thrown its dice.
    #[serde(default)]
    pub drawn: BTreeMap<UnitName, u64>,
}

/// `app/0`; ordered by application and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName {
    pub app: String,
    pub number: u32,
}

/// Whether Juju takes this for an application's name: words of lower-case letters and digits with hyphens between them, the
/// first begins with a letter, the others have one. It is part of file names, hence the limit.
///
/// # Errors
/// When it is none.
pub fn check_application_name(name: &str) -> Result<(), ModelError> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let word = |word: &str| word.chars().all(known) && word.chars().any(|c| c.is_ascii_lowercase());
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('-').all(word) && name.len() <= 200 {
        return Ok(());
    }
    Err(ModelError::new(format!(
        "invalid application name {name:?}; use lower-case letters, digits and hyphens, a letter first and in each part, \
         at most 200"
    )))
}

impl TryFrom<String> for UnitName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (app, number) = text.split_once('/').ok_or_else(|| format!("{text:?} is not a valid unit name"))?;
        let number = number.parse().map_err(|_| format!("{text:?} is not a valid unit name"))?;
        Ok(Self { app: app.to_owned(), number })
    }
}

impl From<UnitName> for String {
    fn from(unit: UnitName) -> Self {
        unit.to_string()
    }
}

impl std::fmt::Display for UnitName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.app, self.number)
    }
}

impl UnitName {
    /// `unit-app-0`, as paths and logs spell it.
    pub fn tag(&self) -> String {
        format!("unit-{}-{}", self.app, self.number)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    #[default]
    Alive,
    Dying,
    Dead,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusInfo {
    pub status: String,
    pub message: String,
    /// Unix seconds.
    pub since: u64,
}

impl StatusInfo {
    pub fn new(status: &str, message: &str, since: u64) -> Self {
        Self { status: status.to_owned(), message: message.to_owned(), since }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Application {
    pub name: String,
    pub charm: Charm,
    /// The archive's file name in the model's directory.
    pub archive: String,
    pub revision: u32,
    /// What the operator has set; defaults are in the charm.
    pub config: BTreeMap<String, Value>,
    pub storage_sizes: BTreeMap<String, String>,
    pub next_unit: u32,
    pub leader: Option<UnitName>,
    /// Unix seconds.
    pub lease_until: u64,
    pub status: Option<StatusInfo>,
    pub workload_version: String,
    pub leader_settings: BTreeMap<String, String>,
    pub life: Life,
    /// Endpoints, and the network space that each is bound to; an empty name stands for all others.
    #[serde(default)]
    pub bindings: BTreeMap<String, String>,
    #[serde(default)]
    pub exposed: bool,
    /// Raised by every change of the leader's settings.
    #[serde(default)]
    pub leader_settings_version: u64,
    /// How many of a storage each unit gets, where the operator said so.
    #[serde(default)]
    pub storage_counts: BTreeMap<String, u32>,
    /// Endpoints that a refresh has brought, with its revision: units enter their relations once they run it.
    #[serde(default)]
    pub endpoints_since: BTreeMap<String, u32>,
    /// The last refresh was to reach units in error too.
    #[serde(default)]
    pub force_units: bool,
    #[serde(default)]
    pub trust: bool,
    /// Files that the operator has given for the charm's resources.
    #[serde(default)]
    pub resources: BTreeMap<String, Resource>,
}

/// One of these files, as it lies in the model's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    pub file: String,
    pub revision: u32,
}

/// The default network space, and the other one. Every machine is on both, with the same last numbers.
pub const SPACES: [(&str, &str); 2] = [("alpha", "10.89."), ("internal", "10.90.")];

/// The Juju that a model is like without a setting of its own.
pub const VERSION: &str = "3.6.12";

/// The hardware address of a machine's network interface: drawn from its address, so that no two of them have the same.
#[must_use]
pub fn mac_address(address: &str) -> String {
    let parts = address.split('.').skip(1).filter_map(|part| part.parse::<u8>().ok());
    // Locally administered, as containers' are.
    parts.fold("02:6a:6c".to_owned(), |mac, part| format!("{mac}:{part:02x}"))
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Unit {
    pub machine: u32,
    /// Whose subordinate it is.
    #[serde(default)]
    pub principal: Option<UnitName>,
    pub life: Life,
    pub force: bool,
    pub workload: StatusInfo,
    pub agent: StatusInfo,
    pub charm_state: BTreeMap<String, String>,
    pub ports: Ports,
    pub local: Local,
}

/// What the unit's agent has done so far: the other half of every comparison it makes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Local {
    pub charm_revision: Option<u32>,
    pub storage_attached: BTreeSet<String>,
    pub installed: bool,
    pub start_queued: bool,
    pub started: bool,
    pub elected: bool,
    pub upgrade_due: bool,
    /// Directly behind upgrade-charm, whatever the options are.
    #[serde(default)]
    pub config_queued: bool,
    /// The version of the leader's settings that the agent was last told; nothing after a restart.
    #[serde(default)]
    pub leader_settings_told: Option<u64>,
    pub config_hash: Option<String>,
    pub relations: BTreeMap<u32, RelationLocal>,
    pub secrets_told: BTreeMap<String, u32>,
    pub secrets_removed_told: BTreeMap<String, BTreeSet<u32>>,
    pub boot: u32,
    pub stopped: bool,
    pub removed: bool,
    pub pending: Option<Pending>,
    /// Unix seconds.
    pub update_status_at: u64,
    /// The revisions of resources that lie on the machine.
    #[serde(default)]
    pub resources: BTreeMap<String, u32>,
    /// How many hooks ran, whatever their end.
    pub hooks_run: u64,
}

/// A hook that was begun and is not committed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    pub hook: HookInfo,
    /// False while it runs, or when its agent died with it.
    pub failed: bool,
    pub attempts: u32,
    /// Unix seconds.
    pub retry_at: u64,
    /// What `resolved` said: retry now, or pass over.
    pub resolved: Option<Resolution>,
    /// Put back to be run anew, as by a reboot that it asked for: no failure.
    #[serde(default)]
    pub queued: bool,
    /// Unix seconds.
    #[serde(default)]
    pub failed_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    Retry,
    Skip,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RelationLocal {
    pub created: bool,
    pub members: BTreeMap<UnitName, MemberLocal>,
    pub app_version: u64,
    pub broken: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MemberLocal {
    pub version: u64,
    /// Joined has run and its changed has not.
    pub owes_changed: bool,
}

/// Which hook, and what its environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookInfo {
    /// The full name: `database-peers-relation-changed`.
    pub name: String,
    pub relation: Option<u32>,
    pub remote_app: Option<String>,
    pub remote_unit: Option<UnitName>,
    pub departing_unit: Option<UnitName>,
    pub storage: Option<String>,
    pub secret: Option<String>,
    pub secret_revision: Option<u32>,
}

impl HookInfo {
    pub fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    pub address: String,
    pub powered: bool,
    /// How often it was started.
    pub boot: u32,
    pub created: bool,
    /// Added by the operator: stays without units.
    #[serde(default)]
    pub kept: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub unit: UnitName,
    /// The operation it belongs to: one command, on one or more units.
    #[serde(default)]
    pub operation: u32,
    pub action: String,
    pub params: Value,
    /// pending, running, completed, failed, cancelled, aborting, aborted.
    pub status: String,
    pub message: String,
    pub results: Value,
    pub log: Vec<String>,
    pub enqueued: u64,
    pub started: u64,
    pub completed: u64,
}

impl State {
    /// A model setting, or Juju's default for it.
    pub fn setting(&self, key: &str) -> String {
        if let Some(value) = self.config.get(key) {
            return value.clone();
        }
        match key {
            "agent-version" => VERSION,
            "update-status-hook-interval" => "5m",
            "automatically-retry-hooks" => "true",
            "peer-application-echo" => "true",
            "first-address-host" => "9",
            // Removed units stay among their peers for ever: Juju's own defect, and mended in 4.0.15.
            "departed-defect" if self.is_between([4, 0, 0], [4, 0, 14]) => "true",
            "departed-defect" => "false",
            "juju-no-proxy" => "127.0.0.1,localhost,::1",
            "strict" | "shuffle-leadership" | "trace" => "false",
            "strict-hook-limit" => "5m",
            _ => "",
        }
        .to_owned()
    }

    /// Seconds between two update-status hooks, more or less.
    pub fn update_status_interval(&self) -> u64 {
        crate::uniter::agent::seconds(&self.setting("update-status-hook-interval")).unwrap_or(300)
    }

    /// Changes model settings and gives some back their defaults; another interval counts from now.
    pub fn set_model_config(&mut self, set: &BTreeMap<String, String>, reset: &[String], now: u64) {
        let before = self.update_status_interval();
        self.config.extend(set.clone());
        self.config.retain(|key, _| !reset.contains(key));
        let interval = self.update_status_interval();
        if interval != before {
            for unit in self.units.values_mut() {
                unit.local.update_status_at = now + interval;
            }
        }
    }

    /// Whether the agent's version is this one or a later one.
    pub fn is_at_least(&self, version: &str) -> bool {
        crate::charm_files::numbers(&self.setting("agent-version")) >= crate::charm_files::numbers(version)
    }

    /// The agent version's major number.
    pub fn major(&self) -> u32 {
        self.setting("agent-version").split('.').next().and_then(|m| m.parse().ok()).unwrap_or(3)
    }

    fn is_between(&self, first: [u32; 3], last: [u32; 3]) -> bool {
        let version = self.setting("agent-version");
        let mut numbers = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        let version = [(); 3].map(|()| numbers.next().unwrap_or(0));
        (first..=last).contains(&version)
    }

    pub fn unit(&self, name: &UnitName) -> Result<&Unit, ModelError> {
        self.units.get(name).ok_or_else(|| ModelError::new(format!("unit {:?} not found", name.to_string())))
    }

    pub fn application(&self, name: &str) -> Result<&Application, ModelError> {
        self.applications.get(name).ok_or_else(|| ModelError::new(format!("application {name:?} not found")))
    }

    pub fn units_of<'a>(&'a self, app: &'a str) -> impl Iterator<Item = (&'a UnitName, &'a Unit)> {
        self.units.iter().filter(move |(name, _)| name.app == app)
    }

    pub fn is_leader(&self, unit: &UnitName) -> bool {
        self.applications.get(&unit.app).is_some_and(|a| a.leader.as_ref() == Some(unit))
    }

    /// Option values: the operator's over the charm's defaults.
    pub fn effective_config(&self, app: &str) -> BTreeMap<String, Value> {
        let Some(application) = self.applications.get(app) else {
            return BTreeMap::new();
        };
        let mut values: BTreeMap<String, Value> = application
            .charm
            .config
            .iter()
            .filter_map(|(name, option)| Some((name.clone(), option.default.clone()?)))
            .collect();
        values.extend(application.config.clone());
        values
    }

    /// What config-changed compares: options, own address and trust.
    pub fn config_hash(&self, unit: &UnitName) -> String {
        let address = self.units.get(unit).and_then(|u| self.machines.get(&u.machine)).map(|m| m.address.clone());
        let trust = self.applications.get(&unit.app).is_some_and(|a| a.trust);
        let plain = format!("{:?} {:?}", self.effective_config(&unit.app), address);
        if trust { format!("{plain} trust") } else { plain }
    }

    pub fn address_of(&self, unit: &UnitName) -> String {
        self.units.get(unit).and_then(|u| self.machines.get(&u.machine)).map(|m| m.address.clone()).unwrap_or_default()
    }

    /// A unit's address in the space that an endpoint is bound to.
    pub fn address_for(&self, unit: &UnitName, endpoint: &str) -> String {
        let address = self.address_of(unit);
        let bindings = self.applications.get(&unit.app).map(|application| &application.bindings);
        let space = bindings.and_then(|bindings| bindings.get(endpoint).or_else(|| bindings.get("")));
        let prefix = SPACES.iter().find(|(name, _)| space.is_some_and(|space| space == name)).map(|(_, prefix)| prefix);
        match (prefix, address.strip_prefix(SPACES[0].1)) {
            (Some(prefix), Some(rest)) => format!("{prefix}{rest}"),
            (None, _) | (_, None) => address,
        }
    }
}
