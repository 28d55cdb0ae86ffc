//! What one running hook, action or command sees, and what it has said so far.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Content, Grantee, HookInfo, Owner, PortChanges, SecretText, State, StatusInfo, UnitName};

/// The context of one run.
#[derive(Debug)]
pub struct Context {
    pub id: String,
    pub unit: UnitName,
    pub kind: Kind,
    /// As of the start: relation membership, other units' settings, options.
    pub snapshot: State,
    pub buffered: Buffered,
    /// What was asked for once and does not change any more.
    pub cache: Cache,
    /// Once false, false for the rest of the hook.
    pub leader: Option<bool>,
    pub tools_called: u32,
    pub kill_after_tools: Option<u32>,
    /// Before each answer.
    pub delay_tools: Duration,
    pub results: Value,
    pub failed: Option<String>,
    /// Writes that were refused, each with the reason.
    pub refused: Vec<String>,
    /// Asked for by juju-reboot.
    pub reboot: Option<Reboot>,
}

/// When the machine is to reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reboot {
    /// Once the hook has ended well.
    After,
    /// At once: the hook is killed, and runs again after the boot.
    Now,
}

/// What a run reads once, at its first look.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    pub config: Option<BTreeMap<String, Value>>,
    pub leader_settings: Option<BTreeMap<String, String>>,
    pub goal_state: Option<Value>,
    pub status: Option<StatusInfo>,
}

/// Why it runs.
#[derive(Clone, Debug)]
pub enum Kind {
    Hook(HookInfo),
    Action { task: u32, name: String, params: Value },
    Commands,
}

impl Kind {
    /// The hook, when it is one.
    pub fn hook(&self) -> Option<&HookInfo> {
        match self {
            Self::Hook(hook) => Some(hook),
            Self::Action { .. } | Self::Commands => None,
        }
    }

    /// The name that logs show.
    pub fn name(&self) -> &str {
        match self {
            Self::Hook(hook) => &hook.name,
            Self::Action { name, .. } => name,
            Self::Commands => "run-commands",
        }
    }
}

/// Changes that become true together when the run ends well, or not at all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Buffered {
    pub relations: BTreeMap<u32, RelationChanges>,
    pub state: BTreeMap<String, Option<String>>,
    #[serde(with = "crate::model::port_list")]
    pub ports: PortChanges,
    /// Names, and how many more of each.
    pub storage: Vec<(String, u32)>,
    pub secrets: Vec<SecretChange>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RelationChanges {
    pub unit: BTreeMap<String, String>,
    pub app: BTreeMap<String, String>,
}

/// `at` is when it was said, in Unix seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SecretChange {
    Create {
        id: String,
        owner: Owner,
        text: SecretText,
        at: u64,
    },
    Update {
        id: String,
        text: SecretText,
        at: u64,
    },
    Remove {
        id: String,
        revision: Option<u32>,
    },
    Track {
        id: String,
    },
    /// Without a relation it is taken back.
    Grant {
        id: String,
        to: Grantee,
        relation: Option<u32>,
    },
}

impl Context {
    pub fn new(unit: &UnitName, kind: Kind, snapshot: State) -> Self {
        let id = format!("{unit}-{}-{}", kind.name(), crate::model::random_hex(16));
        Self {
            id,
            unit: unit.clone(),
            kind,
            snapshot,
            buffered: Buffered::default(),
            cache: Cache::default(),
            leader: None,
            tools_called: 0,
            kill_after_tools: None,
            delay_tools: Duration::ZERO,
            results: Value::Object(serde_json::Map::new()),
            failed: None,
            refused: Vec::new(),
            reboot: None,
        }
    }

    /// The members of a relation that this agent has introduced: joined delivered, departed not.
    pub fn members(&self, relation: u32) -> BTreeSet<UnitName> {
        let mut members: BTreeSet<UnitName> = self.snapshot.units[&self.unit]
            .local
            .relations
            .get(&relation)
            .map(|r| r.members.keys().cloned().collect())
            .unwrap_or_default();
        if let Some(hook) = self.kind.hook().filter(|h| h.relation == Some(relation)) {
            if let Some(remote) = &hook.remote_unit {
                if hook.name.ends_with("-joined") {
                    members.insert(remote.clone());
                } else if hook.name.ends_with("-departed") {
                    members.remove(remote);
                }
            }
        }
        members
    }

    /// This unit's or application's databag with this run's own changes on top.
    pub fn own_bag(&self, relation: u32, app: bool) -> BTreeMap<String, String> {
        let stored = self
            .snapshot
            .relations
            .get(&relation)
            .and_then(|r| if app { r.app_bags.get(&self.unit.app) } else { r.unit_bags.get(&self.unit) });
        let mut values = stored.map(|bag| bag.values.clone()).unwrap_or_default();
        if let Some(changes) = self.buffered.relations.get(&relation) {
            for (key, value) in if app { &changes.app } else { &changes.unit } {
                if value.is_empty() {
                    values.remove(key);
                } else {
                    values.insert(key.clone(), value.clone());
                }
            }
        }
        values
    }

    /// What this run has said of a secret that it has created.
    pub fn created_secret(&self, id: &str) -> Option<(&Owner, &SecretText, u64)> {
        self.buffered.secrets.iter().find_map(|change| match change {
            SecretChange::Create { id: other, owner, text, at } if other == id => Some((owner, text, *at)),
            SecretChange::Create { .. }
            | SecretChange::Update { .. }
            | SecretChange::Remove { .. }
            | SecretChange::Track { .. }
            | SecretChange::Grant { .. } => None,
        })
    }

    /// What this run has said of a secret, made now or before; the last word first.
    pub fn secret_text(&mut self, id: &str) -> Option<&mut SecretText> {
        self.buffered.secrets.iter_mut().rev().find_map(|change| match change {
            SecretChange::Create { id: other, text, .. } | SecretChange::Update { id: other, text, .. }
                if other == id =>
            {
                Some(text)
            }
            SecretChange::Create { .. }
            | SecretChange::Update { .. }
            | SecretChange::Remove { .. }
            | SecretChange::Track { .. }
            | SecretChange::Grant { .. } => None,
        })
    }

    /// Its content, if this run has given it one.
    pub fn pending_content(&mut self, id: &str) -> Option<Content> {
        self.secret_text(id).and_then(|text| text.content.clone())
    }

    /// Whether this run has removed a secret with all its revisions.
    pub fn has_removed(&self, id: &str) -> bool {
        let gone = |c: &SecretChange| matches!(c, SecretChange::Remove { id: other, revision: None } if other == id);
        self.buffered.secrets.iter().any(gone)
    }
}
