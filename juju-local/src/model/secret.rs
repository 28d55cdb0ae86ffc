//! Secrets: owners, revisions, who reads and who tracks what.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{State, UnitName};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    Application(String),
    Unit(UnitName),
    /// A user secret, owned by the model.
    Model,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Secret {
    pub owner: Owner,
    pub label: String,
    pub description: String,
    pub rotate: String,
    pub revisions: BTreeMap<u32, BTreeMap<String, String>>,
    pub latest: u32,
    pub consumers: BTreeMap<UnitName, Consumer>,
    /// Applications that may read, with the relation that says so.
    pub grants: BTreeMap<String, u32>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Consumer {
    pub tracked: u32,
    pub label: String,
}

impl Secret {
    /// Whether a unit may read it.
    pub fn readable_by(&self, unit: &UnitName) -> bool {
        match &self.owner {
            Owner::Application(app) if *app == unit.app => true,
            Owner::Unit(owner) if owner == unit => true,
            Owner::Application(_) | Owner::Unit(_) | Owner::Model => self.grants.contains_key(&unit.app),
        }
    }

    /// Whether a unit may change it.
    pub fn managed_by(&self, state: &State, unit: &UnitName) -> bool {
        match &self.owner {
            Owner::Application(app) => *app == unit.app && state.is_leader(unit),
            Owner::Unit(owner) => owner == unit,
            Owner::Model => false,
        }
    }

    /// Replaces the content; the same content makes no new revision.
    pub fn set_content(&mut self, content: BTreeMap<String, String>) {
        if self.revisions.get(&self.latest) == Some(&content) {
            return;
        }
        self.latest += 1;
        self.revisions.insert(self.latest, content);
    }

    /// Revisions below the latest that nobody tracks.
    pub fn obsolete(&self) -> BTreeSet<u32> {
        self.revisions
            .keys()
            .filter(|rev| **rev < self.latest && self.consumers.values().all(|c| c.tracked != **rev))
            .copied()
            .collect()
    }
}

impl State {
    /// Finds a secret by URI in any of its spellings.
    pub fn secret_id(&self, uri: &str) -> Option<String> {
        let id = uri.rsplit(['/', ':']).next().unwrap_or(uri);
        self.secrets.contains_key(id).then(|| id.to_owned())
    }

    /// The label that a unit knows a secret by: the owner's own, or the consumer's.
    pub fn secret_by_label(&self, unit: &UnitName, label: &str) -> Option<String> {
        self.secrets
            .iter()
            .find(|(_, secret)| {
                let own = match &secret.owner {
                    Owner::Application(app) => *app == unit.app,
                    Owner::Unit(owner) => owner == unit,
                    Owner::Model => false,
                };
                (own && secret.label == label) || secret.consumers.get(unit).is_some_and(|c| c.label == label)
            })
            .map(|(id, _)| id.clone())
    }
}
