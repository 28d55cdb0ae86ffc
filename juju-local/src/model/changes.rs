//! What commands change in the model. Each either happens whole or is refused with a sentence.

use std::collections::BTreeMap;

use rand::RngExt as _;
use serde_json::Value;

use super::{
    Application, Bag, Endpoint, Life, Machine, Owner, Relation, SPACES, State, StatusInfo, Storage, Unit, UnitName,
};
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
        config: &BTreeMap<String, String>,
        storage: &BTreeMap<String, String>,
    ) -> Result<(), ModelError> {
        if self.applications.contains_key(name) {
            return Err(ModelError::new(format!(
                "cannot deploy application {name:?}: already exists; remove it first, or deploy under another name"
            )));
        }
        let typed = config
            .iter()
            .map(|(k, v)| Ok((k.clone(), charm.parse_option(k, v).map_err(|e| ModelError::new(e.to_string()))?)))
            .collect::<Result<_, ModelError>>()?;
        for store in storage.keys() {
            if !charm.storage.contains_key(store) {
                let known = charm.storage.keys().cloned().collect::<Vec<_>>().join(", ");
                return Err(ModelError::new(format!(
                    "charm {:?} has no storage called {store:?}; it has: {known}",
                    charm.name
                )));
            }
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
                storage_sizes: storage.clone(),
                next_unit: 0,
                leader: None,
                lease_until: 0,
                status: None,
                workload_version: String::new(),
                leader_settings: BTreeMap::new(),
                life: Life::Alive,
                bindings: BTreeMap::new(),
                exposed: false,
            },
        );
        for (endpoint, interface) in peers {
            self.add_relation(vec![Endpoint { app: name.to_owned(), name: endpoint, interface }], true);
        }
        Ok(())
    }

    fn add_relation(&mut self, endpoints: Vec<Endpoint>, peer: bool) -> u32 {
        let id = self.next_relation;
        self.next_relation += 1;
        let app_bags = endpoints.iter().map(|e| (e.app.clone(), Bag::default())).collect();
        self.relations.insert(
            id,
            Relation {
                endpoints,
                peer,
                life: Life::Alive,
                scope: Default::default(),
                unit_bags: BTreeMap::new(),
                app_bags,
            },
        );
        id
    }

    /// Adds a unit, on a new machine unless one is named.
    ///
    /// # Errors
    /// When there is no such application or machine.
    pub fn add_unit(&mut self, app: &str, to: Option<u32>, now: u64) -> Result<UnitName, ModelError> {
        let application =
            self.applications.get_mut(app).ok_or_else(|| ModelError::new(format!("application {app:?} not found")))?;
        if application.life != Life::Alive {
            return Err(ModelError::new(format!("application {app:?} is being removed")));
        }
        let name = UnitName { app: app.to_owned(), number: application.next_unit };
        let stores = application.charm.storage.clone();
        let sizes = application.storage_sizes.clone();
        let machine = match to {
            Some(id) if self.machines.contains_key(&id) => id,
            Some(id) => return Err(ModelError::new(format!("machine {id} not found"))),
            None => {
                let id = self.next_machine;
                self.next_machine += 1;
                self.machines.insert(id, Machine { powered: true, ..Machine::default() });
                id
            }
        };
        application.next_unit += 1;
        for (store, spec) in stores.into_iter().filter(|(_, spec)| spec.minimum_count > 0) {
            let number = self.next_storage.entry(store.clone()).or_default();
            let id = format!("{store}/{number}");
            *number += 1;
            let size = sizes.get(&store).cloned().or(spec.minimum_size).unwrap_or_else(|| "1G".to_owned());
            self.storage.insert(
                id,
                Storage {
                    name: store,
                    unit: name.clone(),
                    location: spec.location,
                    size,
                    kind: spec.kind,
                    life: Life::Alive,
                },
            );
        }
        self.units.insert(
            name.clone(),
            Unit {
                machine,
                workload: StatusInfo::new("waiting", "waiting for machine", now),
                agent: StatusInfo::new("allocating", "", now),
                ..Unit::default()
            },
        );
        Ok(name)
    }

    /// Begins a unit's removal. As in Juju up to 3.6, it leaves every relation's scope at this moment, so that the
    /// survivors' departed hooks run beside its own last ones.
    ///
    /// # Errors
    /// When there is no such unit.
    pub fn remove_unit(&mut self, name: &UnitName, force: bool) -> Result<(), ModelError> {
        let unit = self
            .units
            .get_mut(name)
            .ok_or_else(|| ModelError::new(format!("unit {:?} not found", name.to_string())))?;
        if unit.life == Life::Alive {
            unit.life = Life::Dying;
        }
        unit.force = unit.force || force;
        for storage in self.storage.values_mut().filter(|s| s.unit == *name) {
            storage.life = Life::Dying;
        }
        for relation in self.relations.values_mut() {
            relation.scope.remove(name);
        }
        Ok(())
    }

    /// Begins the removal of an application with all its units.
    ///
    /// # Errors
    /// When there is no such application.
    pub fn remove_application(&mut self, app: &str, force: bool) -> Result<(), ModelError> {
        let application =
            self.applications.get_mut(app).ok_or_else(|| ModelError::new(format!("application {app:?} not found")))?;
        application.life = Life::Dying;
        let units: Vec<UnitName> = self.units_of(app).map(|(name, _)| name.clone()).collect();
        for relation in self.relations.values_mut().filter(|r| r.endpoint_of(app).is_some()) {
            relation.life = Life::Dying;
        }
        for unit in units {
            self.remove_unit(&unit, force)?;
        }
        self.bury(app);
        Ok(())
    }

    /// A unit is dead: it and what was only its own go. Its lease is revoked at once.
    pub fn unit_dead(&mut self, name: &UnitName) {
        self.units.remove(name);
        self.faults.forget(name);
        self.storage.retain(|_, s| s.unit != *name);
        self.secrets.retain(|_, s| s.owner != Owner::Unit(name.clone()));
        for secret in self.secrets.values_mut() {
            secret.consumers.remove(name);
        }
        if let Some(application) = self.applications.get_mut(&name.app) {
            if application.leader.as_ref() == Some(name) {
                application.leader = None;
                application.lease_until = 0;
            }
        }
        self.bury(&name.app);
    }

    /// Removes a dying application without units, and relations that nobody is in.
    fn bury(&mut self, app: &str) {
        let empty = self.units_of(app).next().is_none();
        let dying = self.applications.get(app).is_some_and(|a| a.life != Life::Alive);
        if empty && dying {
            self.applications.remove(app);
            self.relations.retain(|_, r| r.endpoint_of(app).is_none());
            self.secrets.retain(|_, s| s.owner != Owner::Application(app.to_owned()));
        }
    }

    /// Machines that no unit is on.
    pub fn empty_machines(&self) -> Vec<u32> {
        self.machines.keys().filter(|id| self.units.values().all(|u| u.machine != **id)).copied().collect()
    }

    /// Replaces an application's charm; every unit follows on its own.
    ///
    /// # Errors
    /// When an endpoint in use would vanish.
    pub fn refresh(&mut self, app: &str, charm: Charm, archive: &str) -> Result<u32, ModelError> {
        let application =
            self.applications.get_mut(app).ok_or_else(|| ModelError::new(format!("application {app:?} not found")))?;
        if charm.name != application.charm.name {
            return Err(ModelError::new(format!(
                "cannot refresh {app:?} from charm {:?} to {:?}: another charm",
                application.charm.name, charm.name
            )));
        }
        if let Some(gone) = application.charm.peers.keys().find(|peer| !charm.peers.contains_key(*peer)) {
            return Err(ModelError::new(format!("cannot refresh {app:?}: would break relation {app:?}:{gone:?}")));
        }
        let added: Vec<(String, String)> = charm
            .peers
            .iter()
            .filter(|(peer, _)| !application.charm.peers.contains_key(*peer))
            .map(|(peer, interface)| (peer.clone(), interface.clone()))
            .collect();
        application.config.retain(|name, _| charm.config.contains_key(name));
        application.charm = charm;
        archive.clone_into(&mut application.archive);
        application.revision += 1;
        let revision = application.revision;
        for (endpoint, interface) in added {
            let id = self.add_relation(vec![Endpoint { app: app.to_owned(), name: endpoint, interface }], true);
            let members: Vec<UnitName> =
                self.units_of(app).filter(|(_, u)| u.local.installed).map(|(n, _)| n.clone()).collect();
            for member in members {
                self.enter_scope(id, &member);
            }
        }
        Ok(revision)
    }

    /// Sets and resets options; all or none.
    ///
    /// # Errors
    /// Names the option that does not exist or does not fit.
    pub fn set_config(
        &mut self,
        app: &str,
        set: &BTreeMap<String, String>,
        reset: &[String],
    ) -> Result<(), ModelError> {
        let application =
            self.applications.get_mut(app).ok_or_else(|| ModelError::new(format!("application {app:?} not found")))?;
        let mut config = application.config.clone();
        for name in reset {
            if !application.charm.config.contains_key(name) {
                return Err(ModelError::new(format!("unknown option {name:?}")));
            }
            config.remove(name);
        }
        for (name, text) in set {
            let value = application.charm.parse_option(name, text).map_err(|e| ModelError::new(e.to_string()))?;
            config.insert(name.clone(), value);
        }
        application.config = config;
        Ok(())
    }

    /// Puts a unit in a relation's scope, with the keys that Juju itself keeps in every unit's databag.
    pub fn enter_scope(&mut self, relation: u32, unit: &UnitName) {
        if let Some(relation) = self.relations.get_mut(&relation) {
            relation.scope.insert(unit.clone());
        }
        self.tell_address(relation, unit);
    }

    /// Writes a unit's address into its databag of a relation.
    pub fn tell_address(&mut self, relation: u32, unit: &UnitName) {
        let endpoint = self.relations.get(&relation).and_then(|r| r.endpoint_of(&unit.app)).map(|e| e.name.clone());
        let address = self.address_for(unit, &endpoint.unwrap_or_default());
        let major = self.major();
        let Some(relation) = self.relations.get_mut(&relation) else {
            return;
        };
        let mut own = BTreeMap::from([
            ("ingress-address".to_owned(), address.clone()),
            ("egress-subnets".to_owned(), format!("{address}/32")),
        ]);
        if major < 4 {
            own.insert("private-address".to_owned(), address);
        }
        relation.unit_bags.entry(unit.clone()).or_default().apply(&own);
    }

    /// Relates two endpoints, given as `app` or `app:endpoint`.
    ///
    /// # Errors
    /// When they do not fit together, or fit in more than one way.
    pub fn integrate(&mut self, a: &str, b: &str) -> Result<u32, ModelError> {
        let mut found = Vec::new();
        for (one, two) in [(a, b), (b, a)] {
            for provide in self.candidates(one, |charm| &charm.provides)? {
                for require in self.candidates(two, |charm| &charm.requires)? {
                    if provide.interface == require.interface {
                        found.push((provide.clone(), require));
                    }
                }
            }
        }
        match found.as_slice() {
            [] => {
                Err(ModelError::new(format!("no relations found between {a:?} and {b:?}; see the charms' endpoints")))
            }
            [(provide, require)] => {
                let endpoints = vec![require.clone(), provide.clone()];
                if self.relations.values().any(|r| r.endpoints == endpoints) {
                    return Err(ModelError::new(format!(
                        "relation {}:{} {}:{} already exists",
                        require.app, require.name, provide.app, provide.name
                    )));
                }
                let apps = [require.app.clone(), provide.app.clone()];
                let id = self.add_relation(endpoints, false);
                let units: Vec<UnitName> = self
                    .units
                    .iter()
                    .filter(|(name, unit)| apps.contains(&name.app) && unit.local.installed && unit.life == Life::Alive)
                    .map(|(name, _)| name.clone())
                    .collect();
                for unit in units {
                    self.enter_scope(id, &unit);
                }
                Ok(id)
            }
            many => Err(ModelError::new(format!(
                "ambiguous relation: {}; name the endpoints",
                many.iter()
                    .map(|(p, r)| format!("{}:{} {}:{}", r.app, r.name, p.app, p.name))
                    .collect::<Vec<_>>()
                    .join(" or ")
            ))),
        }
    }

    fn candidates(
        &self,
        text: &str,
        role: impl Fn(&Charm) -> &BTreeMap<String, String>,
    ) -> Result<Vec<Endpoint>, ModelError> {
        let (app, endpoint) = text.split_once(':').map_or((text, None), |(a, e)| (a, Some(e)));
        let application = self.application(app)?;
        Ok(role(&application.charm)
            .iter()
            .filter(|(name, _)| endpoint.is_none_or(|wanted| wanted == *name))
            .map(|(name, interface)| Endpoint { app: app.to_owned(), name: name.clone(), interface: interface.clone() })
            .collect())
    }

    /// Begins the removal of a relation.
    ///
    /// # Errors
    /// When there is none between these two.
    pub fn remove_relation(&mut self, a: &str, b: &str) -> Result<(), ModelError> {
        let fits = |endpoint: &Endpoint, text: &str| {
            text == endpoint.app || text == format!("{}:{}", endpoint.app, endpoint.name)
        };
        let relation = self
            .relations
            .values_mut()
            .find(|r| !r.peer && r.endpoints.iter().any(|e| fits(e, a)) && r.endpoints.iter().any(|e| fits(e, b)));
        match relation {
            None => Err(ModelError::new(format!("relation {a:?} {b:?} not found"))),
            Some(relation) => {
                relation.life = Life::Dying;
                Ok(())
            }
        }
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
