//! A backup on its way: its name and its beginning in the store, and what is left of it when it comes to nothing.

use std::time::Duration;

use rand::RngExt as _;

use super::catalogue::{Catalogue, Entry, Shape};
use super::error::BackupError;
use super::manifest::{self, BEGUN, Begun, DATA, FAILED, FORMAT, Failed, Kind, MANIFEST, Manifest, data_name};
use super::store::{Store, StoreError, StoreExt as _};
use super::take::Order;
use crate::host::clock::{self, Timestamp};

/// How often a name is looked for; each try is a second later.
const TRY_COUNT: usize = 60;

/// A backup that has begun. Dropped without an end, it is a failed one.
pub(super) struct Attempt<'a> {
    store: &'a dyn Store,
    pub(super) id: String,
    begun: Begun,
    over: bool,
}

impl<'a> Attempt<'a> {
    /// Begins one. What the work returns makes it a backup; when it comes to nothing, only the reason is left.
    pub(super) fn run(
        store: &'a dyn Store,
        order: &Order,
        kind: Kind,
        work: impl FnOnce(&mut Self) -> Result<Manifest, BackupError>,
    ) -> Result<Manifest, BackupError> {
        let mut attempt = Self::begin(store, order, kind)?;
        match work(&mut attempt) {
            Ok(manifest) => {
                attempt.finish(&manifest)?;
                Ok(manifest)
            }
            Err(why) => {
                attempt.fail(&why);
                Err(why)
            }
        }
    }

    /// Finds a name that nobody else has, and begins.
    fn begin(store: &'a dyn Store, order: &Order, kind: Kind) -> Result<Self, BackupError> {
        for _ in 0..TRY_COUNT {
            let at = clock::now();
            let id = at.to_string();
            if store.list(&format!("{id}/"))?.is_empty() {
                let begun = begun(order, kind, manifest::to_the_second(at));
                let own = format!("{id}/{BEGUN}{}", begun.token);
                store.put_bytes(&own, &manifest::write(&begun))?;
                let mut attempt = Self { store, id, begun, over: false };
                // Of two in the same second at least one sees the other, and goes.
                if store.list(&format!("{}/", attempt.id))?.iter().all(|object| object.name == own) {
                    return Ok(attempt);
                }
                attempt.over = true;
                store.delete(&own)?;
                clock::sleep(Duration::from_millis(rand::rng().random_range(0..2000)));
            }
            clock::sleep(until_next_second(at));
        }
        Err(BackupError::Busy)
    }

    pub(super) fn kind(&self) -> Kind {
        self.begun.kind
    }

    pub(super) fn at(&self) -> Timestamp {
        self.begun.at
    }

    /// Says that we are still at it.
    pub(super) fn sign_of_life(&mut self) {
        self.begun.alive = manifest::now();
        // The next one comes in a few minutes; if the store is gone, writing the data says so.
        let _missed = self.store.put_bytes(&self.beginning(), &manifest::write(&self.begun));
    }

    /// Makes it a backup.
    fn finish(mut self, manifest: &Manifest) -> Result<(), BackupError> {
        let name = format!("{}/{MANIFEST}", self.id);
        if let Err(why) = self.store.put_bytes(&name, &manifest::write(manifest)) {
            let why = BackupError::Store(why);
            self.fail(&why);
            return Err(why);
        }
        self.over = true;
        Ok(())
    }

    /// Leaves only the reason.
    fn fail(&mut self, why: &BackupError) {
        self.over = true;
        // The store may be what is broken: then the next backup of this unit cleans up.
        let _left = give_up(self.store, &self.id, &[&self.begun], &why.in_words());
    }

    fn beginning(&self) -> String {
        format!("{}/{BEGUN}{}", self.id, self.begun.token)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.over {
            let _left = give_up(self.store, &self.id, &[&self.begun], "interrupted");
        }
    }
}

fn begun(order: &Order, kind: Kind, at: Timestamp) -> Begun {
    Begun {
        format: FORMAT,
        token: format!("{:016x}", rand::rng().random::<u64>()),
        unit: order.unit.clone(),
        host: order.host.clone(),
        application: order.application.clone(),
        model_uuid: order.model_uuid.clone(),
        kind,
        at,
        alive: at,
        who: order.who.clone(),
        why: order.why.clone(),
    }
}

fn until_next_second(at: Timestamp) -> Duration {
    Duration::from_secs_f64((1.0 - at.unix_seconds_f64().fract()).clamp(0.01, 1.0))
}

/// Turns what this unit has left unfinished into failed ones. Nobody writes them any more: one at a time is made.
pub(super) fn clean_up(store: &dyn Store, catalogue: &Catalogue, order: &Order) -> Result<(), StoreError> {
    let own = |begun: &Begun| {
        (&begun.unit, &begun.application, &begun.model_uuid) == (&order.unit, &order.application, &order.model_uuid)
    };
    for entry in catalogue.entries() {
        let Shape::Unfinished(begun) = &entry.shape else { continue };
        if begun.is_empty() || !begun.iter().all(own) {
            continue;
        }
        // An upload that was cut off may have left what no listing shows; begun anew and dropped, it goes.
        drop(store.put(&format!("{}/{}", entry.id, data_name(data_count(entry) + 1)))?);
        let begun: Vec<&Begun> = begun.iter().collect();
        give_up(store, &entry.id, &begun, "interrupted: its process ended in the middle")?;
    }
    Ok(())
}

fn data_count(entry: &Entry) -> usize {
    let data = format!("{}/{DATA}", entry.id);
    entry.objects.iter().filter(|object| object.name.starts_with(&data)).count()
}

/// Removes a backup's data and leaves the reason.
fn give_up(store: &dyn Store, id: &str, begun: &[&Begun], reason: &str) -> Result<(), StoreError> {
    // A manifest whose writing failed may be there all the same, and would outlive its data.
    store.delete(&format!("{id}/{MANIFEST}"))?;
    for object in store.list(&format!("{id}/{DATA}"))? {
        store.delete(&object.name)?;
    }
    if let Some(first) = begun.first() {
        let failed = Failed {
            format: FORMAT,
            at: manifest::now(),
            reason: reason.to_owned(),
            unit: first.unit.clone(),
            application: first.application.clone(),
            model_uuid: first.model_uuid.clone(),
            kind: first.kind,
            who: first.who.clone(),
            why: first.why.clone(),
        };
        store.put_bytes(&format!("{id}/{FAILED}"), &manifest::write(&failed))?;
    }
    for begun in begun {
        store.delete(&format!("{id}/{BEGUN}{}", begun.token))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
