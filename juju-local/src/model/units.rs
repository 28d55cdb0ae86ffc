//! Units and machines: how they come, and how they go.

use super::{Life, Machine, ModelError, Owner, State, StatusInfo, Unit, UnitName};

impl State {
    /// A subordinate's principal, or the unit itself.
    pub fn principal_of<'a>(&'a self, unit: &'a UnitName) -> &'a UnitName {
        self.units.get(unit).and_then(|u| u.principal.as_ref()).unwrap_or(unit)
    }

    /// The subordinates of a unit.
    pub fn subordinates_of<'a>(&'a self, unit: &'a UnitName) -> impl Iterator<Item = &'a UnitName> {
        self.units.iter().filter(move |(_, u)| u.principal.as_ref() == Some(unit)).map(|(name, _)| name)
    }

    /// Adds a unit, on a new machine unless one is named.
    ///
    /// # Errors
    /// When there is no such application or machine.
    pub fn add_unit(&mut self, app: &str, to: Option<u32>, now: u64) -> Result<UnitName, ModelError> {
        self.add_unit_with(app, to, &[], now)
    }

    /// The same, with storages that are there already in the place of new ones.
    ///
    /// # Errors
    /// As above, and when one of them is not free.
    pub fn add_unit_with(
        &mut self,
        app: &str,
        to: Option<u32>,
        attach: &[String],
        now: u64,
    ) -> Result<UnitName, ModelError> {
        let application = self.application(app)?;
        if application.life != Life::Alive {
            return Err(ModelError::new(format!("application {app:?} is being removed")));
        }
        if application.charm.subordinate {
            return Err(ModelError::new(format!(
                "cannot add unit to application {app:?}: application is a subordinate; integrate it with a principal"
            )));
        }
        let machine = match to {
            Some(id) if self.machines.contains_key(&id) => id,
            Some(id) => return Err(ModelError::new(format!("machine {id} not found"))),
            None => self.add_machine(false),
        };
        // A new machine is made with its unit's filesystems; to another one they are brought.
        let name = self.place(app, machine, None, to.is_none(), attach, now)?;
        for id in attach {
            self.attach_storage(&name, id)?;
        }
        Ok(name)
    }

    /// Adds a machine; one that the operator has added stays without units.
    pub fn add_machine(&mut self, kept: bool) -> u32 {
        let id = self.next_machine;
        self.next_machine += 1;
        self.machines.insert(id, Machine { powered: true, kept, ..Machine::default() });
        id
    }

    /// Gives a machine up that the operator has added; it goes when no unit is on it.
    ///
    /// # Errors
    /// When there is no such machine, or units are on it and nobody forces them off.
    pub fn remove_machine(&mut self, id: u32, force: bool) -> Result<(), ModelError> {
        if !self.machines.contains_key(&id) {
            return Err(ModelError::new(format!("machine {id} not found")));
        }
        let on: Vec<UnitName> = self.units.iter().filter(|(_, u)| u.machine == id).map(|(n, _)| n.clone()).collect();
        if !on.is_empty() && !force {
            let names: Vec<String> = on.iter().map(ToString::to_string).collect();
            return Err(ModelError::new(format!(
                "cannot remove machine {id}: machine has units {} assigned; remove them first, or use --force",
                names.join(", ")
            )));
        }
        for unit in on {
            self.unit_dying(&unit, true, false);
        }
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.kept = false;
        }
        Ok(())
    }

    /// The unit of a subordinate application on a principal's machine, if it is not there yet.
    pub(super) fn add_subordinate(&mut self, app: &str, principal: &UnitName, now: u64) {
        let wanted = self.applications.get(app).is_some_and(|a| a.charm.subordinate && a.life == Life::Alive);
        let there = self.subordinates_of(principal).any(|unit| unit.app == app);
        let machine = self.units.get(principal).filter(|u| u.life == Life::Alive).map(|u| u.machine);
        if let Some(machine) = machine.filter(|_| wanted && !there) {
            // The application is there, and the places of its storage were free when the two were related.
            let _name = self.place(app, machine, Some(principal.clone()), false, &[], now);
        }
    }

    fn place(
        &mut self,
        app: &str,
        machine: u32,
        principal: Option<UnitName>,
        fresh: bool,
        attach: &[String],
        now: u64,
    ) -> Result<UnitName, ModelError> {
        let application =
            self.applications.get_mut(app).ok_or_else(|| ModelError::new(format!("application {app:?} not found")))?;
        let name = UnitName { app: app.to_owned(), number: application.next_unit };
        application.next_unit += 1;
        let (sizes, counts) = (application.storage_sizes.clone(), application.storage_counts.clone());
        let stores = application.charm.storage.clone();
        for (store, spec) in stores {
            if !spec.multiple && !spec.location.is_empty() {
                self.place_is_free(machine, &name, &spec.location)?;
            }
            let given = attach.iter().filter(|id| self.storage.get(*id).is_some_and(|s| s.name == store)).count();
            let wanted = counts.get(&store).copied().unwrap_or(spec.minimum_count);
            let count = wanted.saturating_sub(u32::try_from(given).unwrap_or(u32::MAX));
            let size = sizes.get(&store).cloned().or_else(|| spec.minimum_size.clone());
            for _ in 0..count {
                let size = size.as_deref().unwrap_or("1G");
                self.make_storage(&name, &store, &spec, size, fresh.then_some(machine));
            }
        }
        let unit = Unit {
            machine,
            principal,
            workload: StatusInfo::new("waiting", "waiting for machine", now),
            agent: StatusInfo::new("allocating", "", now),
            ..Unit::default()
        };
        self.units.insert(name.clone(), unit);
        Ok(name)
    }

    /// Begins a unit's removal; its storage is kept.
    ///
    /// # Errors
    /// When there is no such unit, or it goes only with its principal.
    pub fn remove_unit(&mut self, name: &UnitName, force: bool) -> Result<(), ModelError> {
        self.remove_unit_with(name, force, false)
    }

    /// The same, with its storage if that is the wish.
    ///
    /// # Errors
    /// As above.
    pub fn remove_unit_with(&mut self, name: &UnitName, force: bool, destroy_storage: bool) -> Result<(), ModelError> {
        if self.unit(name)?.principal.is_some() {
            return Err(ModelError::new(format!(
                "unit {:?} is a subordinate, to remove use remove-relation. Note: this will remove all units of {:?}",
                name.to_string(),
                name.app
            )));
        }
        self.unit_dying(name, force, destroy_storage);
        Ok(())
    }

    /// As in Juju up to 3.6, a unit leaves every relation's scope at this moment, so that the survivors' departed hooks
    /// run beside its own last ones. Its subordinates go with it.
    pub(super) fn unit_dying(&mut self, name: &UnitName, force: bool, destroy_storage: bool) {
        let Some(unit) = self.units.get_mut(name) else {
            return;
        };
        if unit.life == Life::Alive {
            unit.life = Life::Dying;
        }
        unit.force = unit.force || force;
        for storage in self.storage.values_mut().filter(|s| s.unit.as_ref() == Some(name)) {
            storage.life = Life::Dying;
            storage.destroy = storage.destroy || destroy_storage;
        }
        for relation in self.relations.values_mut() {
            relation.scope.remove(name);
        }
        let subordinates: Vec<UnitName> = self.subordinates_of(name).cloned().collect();
        for subordinate in subordinates {
            self.unit_dying(&subordinate, force, destroy_storage);
        }
    }

    /// Begins the removal of an application with all its units; their storage is kept.
    ///
    /// # Errors
    /// When there is no such application.
    pub fn remove_application(&mut self, app: &str, force: bool) -> Result<(), ModelError> {
        self.remove_application_with(app, force, false)
    }

    /// The same, with their storage if that is the wish.
    ///
    /// # Errors
    /// As above.
    pub fn remove_application_with(&mut self, app: &str, force: bool, destroy_storage: bool) -> Result<(), ModelError> {
        let application =
            self.applications.get_mut(app).ok_or_else(|| ModelError::new(format!("application {app:?} not found")))?;
        application.life = Life::Dying;
        let units: Vec<UnitName> = self.units_of(app).map(|(name, _)| name.clone()).collect();
        for relation in self.relations.values_mut().filter(|r| r.endpoint_of(app).is_some()) {
            relation.life = Life::Dying;
        }
        for unit in units {
            self.unit_dying(&unit, force, destroy_storage);
        }
        self.bury();
        Ok(())
    }

    /// A unit is dead: it and what was only its own go. Its lease is revoked at once.
    pub fn unit_dead(&mut self, name: &UnitName) {
        self.units.remove(name);
        self.faults.forget(name);
        for storage in self.storage.values_mut().filter(|s| s.unit.as_ref() == Some(name)) {
            storage.unit = None;
            storage.life = Life::Dying;
        }
        for relation in self.relations.values_mut() {
            relation.scope.remove(name);
            relation.inside.remove(name);
        }
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
        self.bury();
    }

    /// Removes what is dying and empty: relations that nobody is in, applications without units and without ordinary
    /// relations.
    pub(super) fn bury(&mut self) {
        self.bury_relations();
        let related = |app: &str| self.relations.values().any(|r| !r.peer && r.endpoint_of(app).is_some());
        let gone = |app: &&String| {
            self.applications[*app].life != Life::Alive && self.units_of(app).next().is_none() && !related(app)
        };
        let apps: Vec<String> = self.applications.keys().filter(gone).cloned().collect();
        for app in apps {
            self.applications.remove(&app);
            self.relations.retain(|_, r| r.endpoint_of(&app).is_none());
            self.secrets.retain(|_, s| s.owner != Owner::Application(app.clone()));
        }
    }

    /// Machines that no unit is on, and that nobody asked for.
    pub fn empty_machines(&self) -> Vec<u32> {
        let unused = |id: u32| self.units.values().all(|u| u.machine != id);
        self.machines.iter().filter(|(id, m)| !m.kept && unused(**id)).map(|(id, _)| *id).collect()
    }

    /// The agents have started anew: what they only remembered is forgotten.
    pub fn agents_restarted(&mut self) {
        for unit in self.units.values_mut() {
            unit.local.leader_settings_told = None;
        }
    }
}
