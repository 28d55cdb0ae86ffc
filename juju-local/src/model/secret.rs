//! Secrets: owners, revisions and their times, who reads and who tracks what.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan as _;
use serde::{Deserialize, Serialize};

use super::{State, UnitName};

/// Keys and values.
pub type Content = BTreeMap<String, String>;

/// Stands where the number of a relation would, for what the operator has granted.
pub const OPERATOR: u32 = u32::MAX;

/// How long after a hook that did not help it is run again, in seconds.
const AGAIN: u64 = 300;

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
    /// Unix seconds; its first revision may be gone.
    #[serde(default)]
    pub created: u64,
    /// never, hourly, daily, ...
    pub rotate: String,
    /// Unix seconds.
    #[serde(default)]
    pub next_rotate: Option<u64>,
    pub revisions: BTreeMap<u32, Content>,
    #[serde(default)]
    pub times: BTreeMap<u32, Times>,
    pub latest: u32,
    pub consumers: BTreeMap<UnitName, Consumer>,
    /// Applications that may read, with the relation that says so.
    pub grants: BTreeMap<String, u32>,
    /// Single units that may.
    #[serde(default)]
    pub unit_grants: BTreeMap<UnitName, u32>,
    /// Of a user secret: revisions that nobody tracks any more go by themselves.
    #[serde(default)]
    pub auto_prune: bool,
}

/// When a revision was made, and when it ends; Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    pub created: u64,
    pub expires: Option<u64>,
    /// After a secret-expired that has not removed it.
    pub told_again: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Consumer {
    pub tracked: u32,
    pub label: String,
}

/// What is said of a secret when it is made or changed; what is not said stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretText {
    pub label: Option<String>,
    pub description: Option<String>,
    pub rotate: Option<String>,
    /// Unix seconds.
    pub expires: Option<u64>,
    pub content: Option<Content>,
}

impl SecretText {
    /// What is said later counts.
    pub fn merge(&mut self, later: Self) {
        let Self { label, description, rotate, expires, content } = later;
        self.label = label.or(self.label.take());
        self.description = description.or(self.description.take());
        self.rotate = rotate.or(self.rotate.take());
        self.expires = expires.or(self.expires);
        self.content = content.or(self.content.take());
    }
}

/// Who is allowed to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    Application(String),
    Unit(UnitName),
}

impl Secret {
    pub fn new(owner: Owner, text: SecretText, now: u64) -> Self {
        let mut secret = Self {
            owner,
            label: String::new(),
            description: String::new(),
            created: now,
            rotate: "never".to_owned(),
            next_rotate: None,
            revisions: BTreeMap::new(),
            times: BTreeMap::new(),
            latest: 0,
            consumers: BTreeMap::new(),
            grants: BTreeMap::new(),
            unit_grants: BTreeMap::new(),
            auto_prune: false,
        };
        secret.update(text, now);
        secret
    }

    /// The same content makes no new revision.
    pub fn update(&mut self, text: SecretText, now: u64) {
        let SecretText { label, description, rotate, expires, content } = text;
        if let Some(content) = content.filter(|content| self.revisions.get(&self.latest) != Some(content)) {
            self.latest += 1;
            self.revisions.insert(self.latest, content);
            self.times.insert(self.latest, Times { created: now, ..Times::default() });
        }
        self.label = label.unwrap_or(std::mem::take(&mut self.label));
        self.description = description.unwrap_or(std::mem::take(&mut self.description));
        if let Some(rotate) = rotate.filter(|rotate| *rotate != self.rotate) {
            self.next_rotate = next_rotation(&rotate, now);
            self.rotate = rotate;
        }
        if expires.is_some() {
            let times = self.times.entry(self.latest).or_default();
            (times.expires, times.told_again) = (expires, 0);
        }
        self.prune();
    }

    /// Removes a revision; true when none is left.
    pub fn remove_revision(&mut self, revision: u32) -> bool {
        self.revisions.remove(&revision);
        self.times.remove(&revision);
        self.revisions.is_empty()
    }

    pub fn prune(&mut self) {
        if self.auto_prune {
            for revision in self.obsolete() {
                self.remove_revision(revision);
            }
        }
    }

    /// Whether a unit was ever allowed to read it.
    pub fn readable_by(&self, unit: &UnitName) -> bool {
        self.is_own(unit) || self.grants.contains_key(&unit.app) || self.unit_grants.contains_key(unit)
    }

    /// Whether a unit may change it.
    pub fn managed_by(&self, state: &State, unit: &UnitName) -> bool {
        match &self.owner {
            Owner::Application(app) => *app == unit.app && state.is_leader(unit),
            Owner::Unit(owner) => owner == unit,
            Owner::Model => false,
        }
    }

    /// Whether it belongs to this unit or its application: its label is that unit's label too.
    pub fn is_own(&self, unit: &UnitName) -> bool {
        match &self.owner {
            Owner::Application(app) => *app == unit.app,
            Owner::Unit(owner) => owner == unit,
            Owner::Model => false,
        }
    }

    /// What a unit calls it: by a label of its own, or by the owner's where it is one of the owner's units.
    pub fn label_for(&self, unit: &UnitName) -> &str {
        match self.consumers.get(unit) {
            Some(consumer) if !consumer.label.is_empty() => &consumer.label,
            Some(_) | None if self.is_own(unit) => &self.label,
            Some(_) | None => "",
        }
    }

    pub fn is_granted(&self) -> bool {
        !self.grants.is_empty() || !self.unit_grants.is_empty()
    }

    /// Allows or forbids. An application that may not read takes its units with it.
    pub fn grant(&mut self, to: &Grantee, relation: Option<u32>) {
        match (to, relation) {
            (Grantee::Application(app), Some(relation)) => drop(self.grants.insert(app.clone(), relation)),
            (Grantee::Unit(unit), Some(relation)) => drop(self.unit_grants.insert(unit.clone(), relation)),
            (Grantee::Application(app), None) => {
                self.grants.remove(app);
                self.unit_grants.retain(|unit, _| unit.app != *app);
            }
            (Grantee::Unit(unit), None) => drop(self.unit_grants.remove(unit)),
        }
    }

    /// Revisions below the latest that nobody tracks.
    pub fn obsolete(&self) -> BTreeSet<u32> {
        self.revisions
            .keys()
            .filter(|rev| **rev < self.latest && self.consumers.values().all(|c| c.tracked != **rev))
            .copied()
            .collect()
    }

    pub fn rotation_due(&self, now: u64) -> bool {
        self.next_rotate.is_some_and(|at| now >= at)
    }

    /// After a secret-rotate: the next one is due in its turn where there is a new revision, soon where there is none.
    pub fn rotated(&mut self, before: u32, now: u64) {
        self.next_rotate =
            if self.latest > before { next_rotation(&self.rotate, now) } else { self.next_rotate.map(|_| now + AGAIN) };
    }

    /// A revision whose time is over.
    pub fn expired(&self, now: u64) -> Option<u32> {
        let over = |times: &Times| times.expires.is_some_and(|at| now >= at) && now >= times.told_again;
        self.times
            .iter()
            .find(|(revision, times)| over(times) && self.revisions.contains_key(revision))
            .map(|(r, _)| *r)
    }

    /// After a secret-expired: it comes again until the revision is removed.
    pub fn expiry_told(&mut self, revision: u32, now: u64) {
        if let Some(times) = self.times.get_mut(&revision) {
            times.told_again = now + AGAIN;
        }
    }

    pub fn updated(&self) -> u64 {
        self.times.values().map(|times| times.created).max().unwrap_or(0)
    }
}

/// Words that `--rotate` takes.
pub const POLICIES: [&str; 7] = ["never", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly"];

fn next_rotation(policy: &str, now: u64) -> Option<u64> {
    let after = match policy {
        "hourly" => 1.hour(),
        "daily" => 1.day(),
        "weekly" => 1.week(),
        "monthly" => 1.month(),
        "quarterly" => 3.months(),
        "yearly" => 1.year(),
        _ => return None,
    };
    let now = jiff::Timestamp::from_second(i64::try_from(now).ok()?).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    u64::try_from(now.checked_add(after).ok()?.timestamp().as_second()).ok()
}

impl State {
    /// Finds a secret by URI in any of its spellings.
    pub fn secret_id(&self, uri: &str) -> Option<String> {
        let id = uri.rsplit(['/', ':']).next().unwrap_or(uri);
        self.secrets.contains_key(id).then(|| id.to_owned())
    }

    /// The label that a unit knows a secret by: the owner's own, or the consumer's.
    pub fn secret_by_label(&self, unit: &UnitName, label: &str) -> Option<String> {
        let owned = self.secrets.iter().find(|(_, secret)| secret.is_own(unit) && secret.label == label);
        let consumed =
            || self.secrets.iter().find(|(_, secret)| secret.consumers.get(unit).is_some_and(|c| c.label == label));
        owned.or_else(consumed).map(|(id, _)| id.clone())
    }

    /// The secret that an owner has under this label.
    pub fn owned_label(&self, owner: &Owner, label: &str) -> Option<&String> {
        let found = self.secrets.iter().find(|(_, s)| !label.is_empty() && s.owner == *owner && s.label == label);
        found.map(|(id, _)| id)
    }

    /// Whether a unit may read a secret: what a relation has allowed ends with it.
    pub fn may_read(&self, secret: &Secret, unit: &UnitName) -> bool {
        // Without a relation: granted by the operator.
        let lives = |id: &u32| *id == OPERATOR || self.relations.contains_key(id);
        let granted = [secret.grants.get(&unit.app), secret.unit_grants.get(unit)];
        secret.is_own(unit) || granted.into_iter().flatten().any(lives)
    }
}
