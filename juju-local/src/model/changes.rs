//! What commands change in the model. Each either happens whole or is refused with a sentence.

use std::collections::BTreeMap;

use rand::RngExt as _;
use serde_json::Value;

use super::storage::Wanted;
use super::{Application, Endpoint, Life, SPACES, State, UnitName, check_application_name};
use crate::charm_files::Charm;

/// Why a command was refused: one sentence, with the remedy where there is one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ModelError(pub String);

impl ModelError {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl State {
    /// A model without anything in it.
    pub fn new(name: &str) -> Self {
        let mut uuid = random_hex(32);
        for at in [8, 13, 18, 23] {
            uuid.insert(at, '-');
        }
        Self { name: name.to_owned(), uuid, ..Self::default() }
    }

    /// Binds an application's endpoints to network spaces, as `--bind` says it: `SPACE`, `ENDPOINT=SPACE`, several of them.
    ///
    /// # Errors
    /// When there is no such endpoint or space.
    pub fn bind(&mut self, app: &str, text: &str) -> Result<(), ModelError> {
        let application = self.applications.get_mut(app);
        let application = application.ok_or_else(|| ModelError::new(format!("application {app:?} not found")))?;
        for word in text.split_whitespace() {
            let (endpoint, space) = word.split_once('=').unwrap_or(("", word));
            let charm = &application.charm;
            let known = endpoint.is_empty()
                || [&charm.peers, &charm.provides, &charm.requires].iter().any(|role| role.contains_key(endpoint))
                || charm.extra_bindings.iter().any(|name| name == endpoint);
            if !known {
                return Err(ModelError::new(format!("charm {:?} has no endpoint {endpoint:?} to bind", charm.name)));
            }
            if !SPACES.iter().any(|(name, _)| *name == space) {
                let names = SPACES.map(|(name, _)| name).join(", ");
                return Err(ModelError::new(format!("space {space:?} not found; there are: {names}")));
            }
            application.bindings.insert(endpoint.to_owned(), space.to_owned());
        }
        Ok(())
    }

    /// Adds an application without units.
    ///
    /// # Errors
    /// When the name is taken or a value does not fit.
    pub fn add_application(
        &mut self,
        name: &str,
        charm: Charm,
        archive: &str,
        config: &BTreeMap<String, Value>,
        storage: &BTreeMap<String, String>,
    ) -> Result<(), ModelError> {
        check_application_name(name)?;
        if self.applications.contains_key(name) {
            return Err(ModelError::new(format!(
                "cannot deploy application {name:?}: already exists; remove it first, or deploy under another name"
            )));
        }
        let typed = config
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(k, v)| Ok((k.clone(), charm.parse_option(k, v).map_err(|e| ModelError::new(e.to_string()))?)))
            .collect::<Result<_, ModelError>>()?;
        for store in storage.keys() {
            if !charm.storage.contains_key(store) {
                let known = charm.storage.keys().cloned().collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has: {known}") };
                return Err(ModelError::new(format!(
                    "charm {:?} has no storage called {store:?}; {known}",
                    charm.name
                )));
            }
        }
        if let Some((store, _)) = storage.iter().find(|(_, text)| text.split(',').all(str::is_empty)) {
            return Err(ModelError::new(format!(
                "cannot deploy application {name:?}: storage directive of {store:?} is empty; write {store}=2G, or \
                 {store}=2,500M for two"
            )));
        }
        let mut storage_sizes = BTreeMap::new();
        let mut storage_counts = BTreeMap::new();
        for (store, text) in storage {
            let wanted = Wanted::parse(text)?;
            let spec = &charm.storage[store];
            // What is asked for is wanted once, also where the charm does without.
            let count = wanted.count.unwrap_or(spec.minimum_count.max(1));
            let most = spec.maximum_count.unwrap_or(u32::MAX);
            if count < spec.minimum_count || count > most {
                let (what, bound) = if count > most { ("most", most) } else { ("least", spec.minimum_count) };
                return Err(ModelError::new(format!(
                    "cannot deploy application {name:?}: charm {:?} store {store:?}: at {what} {bound} instances \
                     {}, {count} specified",
                    charm.name,
                    if count > most { "supported" } else { "required" }
                )));
            }
            storage_counts.insert(store.clone(), count);
            spec.is_enough(wanted.size.as_deref()).map_err(|why| {
                ModelError::new(format!("cannot deploy application {name:?}: storage {store:?}: {why}"))
            })?;
            storage_sizes.extend(wanted.size.map(|size| (store.clone(), size)));
        }
        let peers = charm.peers.clone();
        self.applications.insert(
            name.to_owned(),
            Application {
                name: name.to_owned(),
                charm,
                archive: archive.to_owned(),
                revision: 0,
                config: typed,
                storage_sizes,
                storage_counts,
                next_unit: 0,
                leader: None,
                lease_until: 0,
                status: None,
                workload_version: String::new(),
                leader_settings: BTreeMap::new(),
                life: Life::Alive,
                bindings: BTreeMap::new(),
                exposed: false,
                leader_settings_version: 0,
                endpoints_since: BTreeMap::new(),
                force_units: false,
                trust: false,
                resources: BTreeMap::new(),
            },
        );
        for (endpoint, interface) in peers {
            self.add_relation(vec![Endpoint { app: name.to_owned(), name: endpoint, interface }], true, false);
        }
        Ok(())
    }

    /// Replaces an application's charm; every unit follows on its own, those in error only when forced.
    ///
    /// # Errors
    /// When an endpoint or a storage in use would vanish.
    pub fn refresh(&mut self, app: &str, charm: Charm, archive: &str, force_units: bool) -> Result<u32, ModelError> {
        let application = self.application(app)?;
        let before = application.charm.clone();
        let revision = application.revision + 1;
        self.may_become(app, &charm)?;
        let endpoints = |charm: &Charm| -> BTreeMap<String, String> {
            [&charm.peers, &charm.provides, &charm.requires].into_iter().flat_map(|e| e.clone()).collect()
        };
        let had = endpoints(&before);
        let added = endpoints(&charm).into_keys().filter(|endpoint| !had.contains_key(endpoint));
        let since: BTreeMap<String, u32> = added.map(|endpoint| (endpoint, revision)).collect();
        let peers: Vec<(String, String)> = charm
            .peers
            .iter()
            .filter(|(peer, _)| since.contains_key(*peer))
            .map(|(p, i)| (p.clone(), i.clone()))
            .collect();
        let stores = charm.storage.clone();
        if let Some(application) = self.applications.get_mut(app) {
            // An option that has changed its type is set no more.
            application.config.retain(|name, _| {
                let kind = |charm: &Charm| charm.config.get(name).map(|option| option.kind.clone());
                kind(&charm).is_some() && kind(&charm) == kind(&before)
            });
            application.endpoints_since.extend(since);
            application.charm = charm;
            archive.clone_into(&mut application.archive);
            application.revision = revision;
            application.force_units = force_units;
        }
        for (endpoint, interface) in peers {
            self.add_relation(vec![Endpoint { app: app.to_owned(), name: endpoint, interface }], true, false);
        }
        let units: Vec<UnitName> =
            self.units_of(app).filter(|(_, u)| u.life == Life::Alive).map(|(name, _)| name.clone()).collect();
        for (store, spec) in stores.iter().filter(|(store, _)| !before.storage.contains_key(*store)) {
            for unit in &units {
                self.add_storage(unit, store, spec.minimum_count)?;
            }
        }
        Ok(revision)
    }

    fn may_become(&self, app: &str, charm: &Charm) -> Result<(), ModelError> {
        let before = &self.application(app)?.charm;
        let refused =
            |why: String| Err(ModelError::new(format!("cannot refresh {app:?} to charm {:?}: {why}", charm.name)));
        if charm.name != before.name {
            return refused(format!("the application runs charm {:?}, which is another one", before.name));
        }
        if charm.subordinate != before.subordinate {
            return refused("cannot change an application's subordinacy".to_owned());
        }
        if let Some(peer) = before.peers.keys().find(|peer| !charm.peers.contains_key(*peer)) {
            return refused(format!("would break relation \"{app}:{peer}\""));
        }
        for relation in self.relations.values() {
            let Some(endpoint) = relation.endpoint_of(app).filter(|_| !relation.implicit_for(app)) else {
                continue;
            };
            let had = |charm: &Charm| {
                let all = [&charm.peers, &charm.provides, &charm.requires];
                all.map(|role| role.get(&endpoint.name) == Some(&endpoint.interface))
            };
            if had(charm) != had(before) {
                return refused(format!("would break relation {:?}", relation.key()));
            }
        }
        for (name, was) in &before.storage {
            if let Some(why) = charm.storage.get(name).and_then(|is| was.cannot_become(is)) {
                return refused(format!("existing storage {name:?} {why}"));
            }
        }
        let used = |name: &String| {
            self.storage.values().any(|s| s.name == *name && s.unit.as_ref().is_some_and(|unit| unit.app == app))
        };
        match before.storage.keys().find(|name| !charm.storage.contains_key(*name) && used(name)) {
            Some(name) => refused(format!("in-use storage {name:?} removed")),
            None => Ok(()),
        }
    }

    /// Writes the leader's settings; an empty value deletes.
    pub fn set_leader_settings(&mut self, app: &str, changes: &BTreeMap<String, String>) {
        let Some(application) = self.applications.get_mut(app) else {
            return;
        };
        let before = application.leader_settings.clone();
        for (key, value) in changes {
            if value.is_empty() {
                application.leader_settings.remove(key);
            } else {
                application.leader_settings.insert(key.clone(), value.clone());
            }
        }
        application.leader_settings_version += u64::from(application.leader_settings != before);
    }

    /// Trusts an application with the cloud's credentials, or no more.
    ///
    /// # Errors
    /// When there is no such application.
    pub fn set_trust(&mut self, app: &str, trust: bool) -> Result<(), ModelError> {
        let application = self.applications.get_mut(app);
        let application = application.ok_or_else(|| ModelError::new(format!("application {app:?} not found")))?;
        application.trust = trust;
        Ok(())
    }

    /// Sets and resets options; all or none.
    ///
    /// # Errors
    /// Names the option that does not exist or does not fit.
    pub fn set_config(&mut self, app: &str, set: &BTreeMap<String, Value>, reset: &[String]) -> Result<(), ModelError> {
        let application =
            self.applications.get_mut(app).ok_or_else(|| ModelError::new(format!("application {app:?} not found")))?;
        let mut config = application.config.clone();
        let mut trust = application.trust;
        // Juju's own option beside the charm's.
        let is_trust = |name: &str| name == "trust" && !application.charm.config.contains_key(name);
        for name in reset {
            if is_trust(name) {
                trust = false;
                continue;
            }
            if !application.charm.config.contains_key(name) {
                return Err(ModelError::new(format!("unknown option {name:?}")));
            }
            config.remove(name);
        }
        for (name, value) in set {
            if is_trust(name) {
                let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                let wrong = |_| ModelError::new(format!("option \"trust\" expected boolean, got {value}"));
                trust = text.parse().map_err(wrong)?;
                continue;
            }
            if value.is_null() && application.charm.config.contains_key(name) {
                config.remove(name);
                continue;
            }
            let value = application.charm.parse_option(name, value).map_err(|e| ModelError::new(e.to_string()))?;
            config.insert(name.clone(), value);
        }
        application.config = config;
        application.trust = trust;
        Ok(())
    }

    /// Queues an action.
    ///
    /// # Errors
    /// When the unit or action does not exist, or the parameters do not fit.
    pub fn enqueue(&mut self, unit: &UnitName, action: &str, params: &Value, now: u64) -> Result<u32, ModelError> {
        self.unit(unit)?;
        let application = self.application(&unit.app)?;
        let spec = application.charm.actions.get(action).ok_or_else(|| {
            let known = application.charm.actions.keys().cloned().collect::<Vec<_>>().join(", ");
            ModelError::new(format!("action {action:?} not defined on unit {:?}; defined: {known}", unit.to_string()))
        })?;
        let params =
            crate::charm_files::validate_params(&spec.schema, params, self.major() >= 4).map_err(ModelError::new)?;
        self.next_task += 1;
        let id = self.next_task;
        self.tasks.insert(
            id,
            super::Task {
                unit: unit.clone(),
                operation: 0,
                action: action.to_owned(),
                params,
                status: "pending".to_owned(),
                message: String::new(),
                results: Value::Object(serde_json::Map::new()),
                log: Vec::new(),
                enqueued: now,
                started: 0,
                completed: 0,
            },
        );
        Ok(id)
    }
}

/// Random lower-case hexadecimal digits.
pub fn random_hex(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from_digit(rng.random_range(0..16), 16).unwrap_or('0')).collect()
}
