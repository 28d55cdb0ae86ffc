//! Leadership: a lease that its holder renews as long as its agent lives. The clock and what is reachable come from
//! outside.

use super::{Life, ModelError, State, Unit, UnitName};

/// How long a lease lasts, in seconds.
pub const LEASE: u64 = 60;

impl State {
    /// Renews and hands out leadership. `usable` says whether a unit's agent is there to hold it.
    pub fn leases(&mut self, now: u64, usable: impl Fn(&UnitName, &Unit) -> bool) {
        let apps: Vec<String> = self.applications.keys().cloned().collect();
        for app in apps {
            if self.faults.leaderless.contains(&app) {
                continue;
            }
            let there = |name: &UnitName| self.units.get(name).is_some_and(|unit| usable(name, unit));
            let leader = self.applications[&app].leader.clone();
            let holds = leader.as_ref().is_some_and(there);
            let lapsed = leader.is_none() || (!holds && now > self.applications[&app].lease_until);
            if holds {
                self.applications.entry(app).and_modify(|application| application.lease_until = now + LEASE);
            } else if lapsed {
                let could = self.units_of(&app).filter(|(name, unit)| unit.life == Life::Alive && there(name));
                let could: Vec<&UnitName> = could.map(|(name, _)| name).collect();
                let next = crate::watchful::shuffle::first_leader(self, &app, &could).cloned();
                self.give_lease(&app, next, now);
            }
        }
    }

    /// Moves leadership, as if the old leader's lease had lapsed.
    ///
    /// # Errors
    /// When the unit is not one of the application's.
    pub fn lead(&mut self, app: &str, unit: &UnitName, now: u64) -> Result<(), ModelError> {
        if unit.app != app || !self.units.contains_key(unit) {
            return Err(ModelError::new(format!("unit {unit} is not a unit of application {app:?}")));
        }
        self.faults.leaderless.remove(app);
        self.give_lease(app, Some(unit.clone()), now);
        Ok(())
    }

    /// Takes the leadership away and gives it to nobody, until it is given or the fault is cleared.
    ///
    /// # Errors
    /// When there is no such application.
    pub fn lead_none(&mut self, app: &str, now: u64) -> Result<(), ModelError> {
        self.application(app)?;
        self.faults.leaderless.insert(app.to_owned());
        self.give_lease(app, None, now);
        Ok(())
    }

    fn give_lease(&mut self, app: &str, to: Option<UnitName>, now: u64) {
        let Some(application) = self.applications.get_mut(app) else {
            return;
        };
        let changed = application.leader != to;
        application.leader.clone_from(&to);
        application.lease_until = now + LEASE;
        // Whoever leads again later is told so again.
        let others = self.units.iter_mut().filter(|(name, _)| changed && name.app == app && Some(*name) != to.as_ref());
        for (_, unit) in others {
            unit.local.elected = false;
        }
    }
}
