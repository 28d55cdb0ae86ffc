//! Relations: their endpoints, who is in scope, what is in the databags, how they begin and how they end.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Application, Life, ModelError, State, UnitName};

/// The endpoint that every charm provides without saying so, and its interface.
pub(super) const IMPLICIT: &str = "juju-info";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Relation {
    /// The requiring one first.
    pub endpoints: Vec<Endpoint>,
    pub peer: bool,
    pub life: Life,
    /// Units that have entered and not begun to leave: those that the other side sees.
    pub scope: BTreeSet<UnitName>,
    /// Units that have entered and not left yet. A dying relation is gone when it is empty.
    #[serde(default)]
    pub inside: BTreeSet<UnitName>,
    /// Only between a subordinate and its principal on the same machine.
    #[serde(default)]
    pub container: bool,
    pub unit_bags: BTreeMap<UnitName, Bag>,
    pub app_bags: BTreeMap<String, Bag>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub app: String,
    pub name: String,
    pub interface: String,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.app, self.name)
    }
}

impl Relation {
    pub(crate) fn new(endpoints: Vec<Endpoint>, peer: bool, container: bool) -> Self {
        Self {
            app_bags: endpoints.iter().map(|e| (e.app.clone(), Bag::default())).collect(),
            endpoints,
            peer,
            life: Life::Alive,
            scope: BTreeSet::new(),
            inside: BTreeSet::new(),
            container,
            unit_bags: BTreeMap::new(),
        }
    }

    pub fn endpoint_of(&self, app: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|e| e.app == app)
    }

    /// The application on the other side; a peer relation's other side is the same application.
    pub fn remote_app(&self, app: &str) -> String {
        self.endpoints.iter().find(|e| e.app != app).map_or_else(|| app.to_owned(), |e| e.app.clone())
    }

    /// Whether it is there for an application that has not asked for it: no hook tells it.
    pub fn implicit_for(&self, app: &str) -> bool {
        self.endpoints.get(1).is_some_and(|e| e.app == app && e.name == IMPLICIT)
    }

    /// `a:ep b:ep`, or `a:ep` for a peer relation.
    pub fn key(&self) -> String {
        key(&self.endpoints)
    }
}

fn key(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Settings with the number that every change raises: changed hooks compare it, and nothing else.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Bag {
    pub version: u64,
    pub values: BTreeMap<String, String>,
}

impl Bag {
    /// Applies changes (an empty value deletes); a change that changes nothing raises nothing.
    pub fn apply(&mut self, changes: &BTreeMap<String, String>) {
        let before = self.values.clone();
        for (key, value) in changes {
            if value.is_empty() {
                self.values.remove(key);
            } else {
                self.values.insert(key.clone(), value.clone());
            }
        }
        if self.values != before {
            self.version += 1;
        }
    }
}

impl State {
    /// All relations of an application, ordinary ones first: their teardown still finds the peers' data.
    pub fn relations_of(&self, app: &str) -> Vec<u32> {
        let mut ids: Vec<u32> =
            self.relations.iter().filter(|(_, r)| r.endpoint_of(app).is_some()).map(|(id, _)| *id).collect();
        ids.sort_by_key(|id| (self.relations[id].peer, *id));
        ids
    }

    /// The units of a relation that this one should know.
    pub fn remote_units(&self, id: u32, me: &UnitName) -> BTreeSet<UnitName> {
        let Some(relation) = self.relations.get(&id).filter(|r| r.life == Life::Alive && r.scope.contains(me)) else {
            return BTreeSet::new();
        };
        let beside = |unit: &UnitName| !relation.container || self.principal_of(unit) == self.principal_of(me);
        let other = |unit: &UnitName| unit != me && (relation.peer || unit.app != me.app);
        relation.scope.iter().filter(|unit| other(unit) && beside(unit)).cloned().collect()
    }

    pub(super) fn add_relation(&mut self, endpoints: Vec<Endpoint>, peer: bool, container: bool) -> u32 {
        let id = self.next_relation;
        self.next_relation += 1;
        self.relations.insert(id, Relation::new(endpoints, peer, container));
        id
    }

    /// What a unit's agent does before it looks for its next hook: enters the relations that there are for it, leaves
    /// those that end before it was told of them, and begins to go when its principal has no more use for it.
    pub fn synchronize(&mut self, me: &UnitName, now: u64) {
        let Some(unit) = self.units.get(me).filter(|unit| unit.local.installed) else {
            return;
        };
        let (life, principal) = (unit.life, unit.principal.clone());
        for id in self.relations_of(&me.app) {
            let (relation, local) = (&self.relations[&id], &self.units[me].local);
            let told = local.relations.get(&id).is_some_and(|r| r.created);
            match (relation.life, relation.inside.contains(me)) {
                (Life::Alive, false) if life == Life::Alive && self.runs_endpoint(me, relation) => {
                    self.enter_scope(id, me, now);
                }
                (Life::Dying | Life::Dead, true) if !told => self.leave_scope(id, me),
                (Life::Alive | Life::Dying | Life::Dead, _) => {}
            }
        }
        if let Some(principal) = principal.filter(|_| life == Life::Alive) {
            let between = |r: &super::Relation| {
                r.container && r.endpoint_of(&me.app).is_some() && r.endpoint_of(&principal.app).is_some()
            };
            if !self.relations.values().any(|r| r.life == Life::Alive && between(r)) {
                self.unit_dying(me, false, false);
            }
        }
    }

    /// Whether the charm that a unit runs has the endpoint: after a refresh it may be an older one, and upgrade-charm does
    /// not see it yet.
    fn runs_endpoint(&self, me: &UnitName, relation: &Relation) -> bool {
        let since = relation
            .endpoint_of(&me.app)
            .and_then(|endpoint| self.applications.get(&me.app)?.endpoints_since.get(&endpoint.name).copied());
        let local = &self.units[me].local;
        since.is_none_or(|since| !local.upgrade_due && local.charm_revision.is_some_and(|revision| revision >= since))
    }

    /// Puts a unit in a relation's scope, with the keys that Juju itself keeps in every unit's databag. A principal's
    /// subordinate is made at this moment.
    fn enter_scope(&mut self, id: u32, unit: &UnitName, now: u64) {
        let Some(relation) = self.relations.get_mut(&id) else {
            return;
        };
        relation.scope.insert(unit.clone());
        relation.inside.insert(unit.clone());
        let other = relation.remote_app(&unit.app);
        let container = relation.container;
        self.tell_address(id, unit);
        if container && self.units.get(unit).is_some_and(|u| u.principal.is_none()) {
            self.add_subordinate(&other, unit, now);
        }
    }

    /// Takes a unit out of a relation; the last one takes a dying relation with it.
    pub fn leave_scope(&mut self, id: u32, unit: &UnitName) {
        if let Some(relation) = self.relations.get_mut(&id) {
            relation.scope.remove(unit);
            relation.inside.remove(unit);
        }
        self.bury();
    }

    /// Removes dying relations that nobody is in, with their databags.
    pub(super) fn bury_relations(&mut self) {
        let gone = |relation: &Relation| relation.life != Life::Alive && relation.inside.is_empty();
        let ids: Vec<u32> = self.relations.iter().filter(|(_, r)| gone(r)).map(|(id, _)| *id).collect();
        for id in ids {
            self.relations.remove(&id);
            for secret in self.secrets.values_mut() {
                secret.grants.retain(|_, relation| *relation != id);
            }
            for unit in self.units.values_mut() {
                unit.local.relations.remove(&id);
            }
        }
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

    /// Relates two endpoints, given as `app` or `app:endpoint`. Units enter when their agents notice.
    ///
    /// # Errors
    /// When they do not fit together, fit in more than one way, or an endpoint has enough relations.
    pub fn integrate(&mut self, a: &str, b: &str) -> Result<u32, ModelError> {
        let mut found = Vec::new();
        for (one, two) in [(a, b), (b, a)] {
            for provide in self.candidates(one, Role::Provides)? {
                for require in self.candidates(two, Role::Requires)? {
                    if provide.interface == require.interface && self.scope_fits(&require, &provide) {
                        found.push([require, provide.clone()]);
                    }
                }
            }
        }
        if found.len() > 1 && found.iter().filter(|[_, provide]| provide.name != IMPLICIT).count() == 1 {
            found.retain(|[_, provide]| provide.name != IMPLICIT);
        }
        let endpoints = match found.as_slice() {
            [] => return Err(ModelError::new("no relations found")),
            [one] => one.to_vec(),
            many => return Err(ambiguous(a, b, many.iter().map(|pair| key(pair)).collect())),
        };
        let name = key(&endpoints);
        let refused = |why: String| ModelError::new(format!("cannot add relation {name:?}: {why}"));
        if let Some(relation) = self.relations.values().find(|r| r.endpoints == endpoints) {
            return Err(refused(if relation.life == Life::Alive {
                format!("relation {name} already exists")
            } else {
                format!("relation {name} is dying, but not yet removed")
            }));
        }
        for endpoint in &endpoints {
            let application = self.application(&endpoint.app)?;
            if application.life != Life::Alive {
                return Err(refused(format!("application {:?} is not alive", endpoint.app)));
            }
            let there = self.relations.values().filter(|r| r.endpoints.contains(endpoint)).count();
            if let Some(limit) = application.charm.limits.get(&endpoint.name) {
                if there >= usize::try_from(*limit).unwrap_or(usize::MAX) {
                    return Err(refused(format!(
                        "establishing a new relation for {endpoint} would exceed its maximum relation limit of {limit} \
                         (quota limit exceeded)"
                    )));
                }
            }
        }
        let container = endpoints.iter().any(|endpoint| self.in_container(endpoint));
        if container {
            self.subordinates_have_room(&endpoints).map_err(|why| refused(why.0))?;
        }
        Ok(self.add_relation(endpoints, false, container))
    }

    /// Each subordinate must find the places for its filesystems free on its principal's machine.
    fn subordinates_have_room(&self, endpoints: &[Endpoint]) -> Result<(), ModelError> {
        let app = |e: &Endpoint| self.applications.get(&e.app).filter(|a| a.charm.subordinate);
        for subordinate in endpoints.iter().filter_map(app) {
            let principals = endpoints.iter().filter(|e| e.app != subordinate.name);
            let has_one = |name: &UnitName| self.subordinates_of(name).any(|unit| unit.app == subordinate.name);
            for (name, unit) in principals.flat_map(|e| self.units_of(&e.app)).filter(|(name, _)| !has_one(name)) {
                for spec in subordinate.charm.storage.values().filter(|s| !s.multiple && !s.location.is_empty()) {
                    self.place_is_free(unit.machine, name, &spec.location)?;
                }
            }
        }
        Ok(())
    }

    fn in_container(&self, endpoint: &Endpoint) -> bool {
        self.applications.get(&endpoint.app).is_some_and(|a| a.charm.container.contains(&endpoint.name))
    }

    /// A relation within one machine needs a subordinate.
    fn scope_fits(&self, require: &Endpoint, provide: &Endpoint) -> bool {
        let subordinate = |e: &Endpoint| self.applications.get(&e.app).is_some_and(|a| a.charm.subordinate);
        let container = self.in_container(require) || self.in_container(provide);
        !container || subordinate(require) || subordinate(provide)
    }

    fn candidates(&self, text: &str, role: Role) -> Result<Vec<Endpoint>, ModelError> {
        let (app, wanted) = text.split_once(':').map_or((text, None), |(a, e)| (a, Some(e)));
        let application = self.application(app)?;
        let known = |name: &str| {
            let charm = &application.charm;
            name == IMPLICIT || [&charm.provides, &charm.requires, &charm.peers].iter().any(|e| e.contains_key(name))
        };
        if let Some(name) = wanted.filter(|name| !known(name)) {
            return Err(ModelError::new(format!("application {app:?} has no {name:?} relation")));
        }
        let all =
            role.endpoints(application).into_iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name));
        Ok(all.map(|(name, interface)| Endpoint { app: app.to_owned(), name, interface }).collect())
    }

    /// Begins the removal of a relation. With nobody in it, it is gone at once.
    ///
    /// # Errors
    /// When there is none between these two, or more than one.
    pub fn remove_relation(&mut self, a: &str, b: &str) -> Result<(), ModelError> {
        let fits = |endpoint: &Endpoint, text: &str| text == endpoint.app || text == endpoint.to_string();
        let between = |r: &Relation| match r.endpoints.as_slice() {
            [one, two] => (fits(one, a) && fits(two, b)) || (fits(one, b) && fits(two, a)),
            _ => false,
        };
        for text in [a, b] {
            self.application(text.split(':').next().unwrap_or(text))?;
        }
        let found: Vec<u32> = self.relations.iter().filter(|(_, r)| between(r)).map(|(id, _)| *id).collect();
        match found.as_slice() {
            [] => return Err(ModelError::new(format!("relation matching {:?} not found", format!("{a} {b}")))),
            [id] => {
                if let Some(relation) = self.relations.get_mut(id) {
                    relation.life = Life::Dying;
                }
            }
            many => return Err(ambiguous(a, b, many.iter().map(|id| self.relations[id].key()).collect())),
        }
        self.bury();
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Role {
    Provides,
    Requires,
}

impl Role {
    fn endpoints(self, application: &Application) -> BTreeMap<String, String> {
        match self {
            Self::Requires => application.charm.requires.clone(),
            Self::Provides => {
                let mut all = application.charm.provides.clone();
                all.insert(IMPLICIT.to_owned(), IMPLICIT.to_owned());
                all
            }
        }
    }
}

fn ambiguous(a: &str, b: &str, mut keys: Vec<String>) -> ModelError {
    keys.sort();
    let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    ModelError::new(format!("ambiguous relation: {:?} could refer to {}", format!("{a} {b}"), keys.join("; ")))
}
