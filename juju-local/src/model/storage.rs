//! Storage: instances of what charms declare, which unit has them, and where their filesystems are. `machine` makes and
//! moves the filesystems; here is what should be.

use serde::{Deserialize, Serialize};

use super::{Life, ModelError, State, UnitName};
use crate::charm_files::StorageSpec;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Storage {
    pub name: String,
    /// The unit that has it or is about to; nobody while it is detached.
    pub unit: Option<UnitName>,
    pub location: String,
    pub size: String,
    pub kind: String,
    /// Dying: on its way off its unit.
    pub life: Life,
    /// Removed with its data as soon as it is off.
    #[serde(default)]
    pub destroy: bool,
    /// Where its filesystem is.
    #[serde(default)]
    pub machine: Option<u32>,
}

/// What `--storage` says of one: `[POOL,][COUNT,][SIZE]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub count: Option<u32>,
    pub size: Option<String>,
}

impl Wanted {
    /// # Errors
    /// When a part is neither a pool, a count nor a size.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let mut wanted = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            if let Ok(count) = part.parse() {
                if count == 0 {
                    return Err(ModelError::new("count must be greater than zero, got \"0\"".to_owned()));
                }
                wanted.count = Some(count);
            } else if part.starts_with(|c: char| c.is_ascii_digit()) {
                if crate::machine::size_in_bytes(part).is_none() {
                    return Err(ModelError::new(format!(
                        "cannot read storage size {part:?}; write for example 500M, 2G or 1T"
                    )));
                }
                wanted.size = Some(part.to_owned());
            } else if !["rootfs", "loop", "tmpfs"].contains(&part) {
                return Err(ModelError::new(format!(
                    "storage pool {part:?} not found; there are: rootfs, loop, tmpfs"
                )));
            }
        }
        Ok(wanted)
    }
}

/// Where a machine sees an instance: several of one name share the location as their parent.
fn location(spec: &StorageSpec, id: &str) -> String {
    match (spec.location.is_empty(), spec.multiple) {
        (true, _) => format!("/var/lib/juju/storage/{id}"),
        (false, true) => format!("{}/{id}", spec.location.trim_end_matches('/')),
        (false, false) => spec.location.clone(),
    }
}

impl State {
    /// Adds instances of a storage to a unit; their hooks come when the filesystems are there. Returns their names.
    ///
    /// # Errors
    /// When the charm has no such storage, or the unit has as many as it may have.
    pub fn add_storage(&mut self, unit: &UnitName, name: &str, count: u32) -> Result<Vec<String>, ModelError> {
        self.add_storage_of_size(unit, name, count, None)
    }

    /// The same with a size of its own.
    ///
    /// # Errors
    /// As above.
    pub fn add_storage_of_size(
        &mut self,
        unit: &UnitName,
        name: &str,
        count: u32,
        size: Option<String>,
    ) -> Result<Vec<String>, ModelError> {
        if self.unit(unit)?.life != Life::Alive {
            return Err(ModelError::new(format!("cannot add storage to unit {unit}: unit is not alive")));
        }
        let spec = self.room_for(unit, name, count)?;
        if !spec.multiple && !spec.location.is_empty() && count > 0 {
            self.place_is_free(self.unit(unit)?.machine, unit, &spec.location)?;
        }
        spec.is_enough(size.as_deref())
            .map_err(|why| ModelError::new(format!("cannot add storage to unit {unit}: storage {name:?}: {why}")))?;
        let application = self.application(&unit.app)?;
        let size = size
            .or_else(|| application.storage_sizes.get(name).cloned())
            .or_else(|| spec.minimum_size.clone())
            .unwrap_or_else(|| "1G".to_owned());
        Ok((0..count).map(|_| self.make_storage(unit, name, &spec, &size, None)).collect())
    }

    /// Keeps filesystems out of each other's way: units on one machine may not have one place twice, or one in another.
    pub(super) fn place_is_free(&self, machine: u32, unit: &UnitName, location: &str) -> Result<(), ModelError> {
        let here = |s: &&Storage| {
            let holder = s.unit.as_ref().and_then(|unit| self.units.get(unit));
            holder.is_some_and(|holder| holder.machine == machine)
        };
        let nested = |a: &str, b: &str| std::path::Path::new(a).starts_with(b);
        let taken = |s: &&Storage| nested(&s.location, location) || nested(location, &s.location);
        match self.storage.values().filter(here).find(taken) {
            Some(other) => Err(ModelError::new(format!(
                "cannot assign unit {:?} to machine {machine}: mount point {location:?} is taken by storage {:?} of unit {}",
                unit.to_string(),
                other.name,
                other.unit.as_ref().map(ToString::to_string).unwrap_or_default()
            ))),
            None => Ok(()),
        }
    }

    /// The storage's description, when the unit may have so many more.
    fn room_for(&self, unit: &UnitName, name: &str, more: u32) -> Result<StorageSpec, ModelError> {
        let charm = &self.application(&unit.app)?.charm;
        let spec = charm.storage.get(name).ok_or_else(|| {
            ModelError::new(format!("cannot add storage to unit {unit}: charm storage {name:?} not found"))
        })?;
        let has = self.storage.values().filter(|s| s.unit.as_ref() == Some(unit) && s.name == name).count();
        let total = u32::try_from(has).unwrap_or(u32::MAX).saturating_add(more);
        match spec.maximum_count {
            Some(most) if total > most => Err(ModelError::new(format!(
                "charm {:?} store {name:?}: at most {most} instances supported, {total} specified",
                charm.name
            ))),
            Some(_) | None => Ok(spec.clone()),
        }
    }

    pub(super) fn make_storage(
        &mut self,
        unit: &UnitName,
        name: &str,
        spec: &StorageSpec,
        size: &str,
        machine: Option<u32>,
    ) -> String {
        let number = self.next_storage.entry(name.to_owned()).or_default();
        let id = format!("{name}/{number}");
        *number += 1;
        let storage = Storage {
            name: name.to_owned(),
            unit: Some(unit.clone()),
            location: location(spec, &id),
            size: size.to_owned(),
            kind: spec.kind.clone(),
            machine,
            ..Storage::default()
        };
        self.storage.insert(id.clone(), storage);
        id
    }

    fn storage_mut(&mut self, id: &str) -> Result<&mut Storage, ModelError> {
        self.storage.get_mut(id).ok_or_else(|| ModelError::new(format!("storage {id:?} not found")))
    }

    /// Gives a detached storage to a unit.
    ///
    /// # Errors
    /// When it is not detached, or the unit's charm has no room for it.
    pub fn attach_storage(&mut self, unit: &UnitName, id: &str) -> Result<(), ModelError> {
        let storage = self.storage_mut(id)?;
        let refused = |why: String| ModelError::new(format!("cannot attach storage {id} to unit {unit}: {why}"));
        if let Some(other) = &storage.unit {
            return Err(refused(format!("storage is attached to unit {other}; detach it first")));
        }
        if storage.destroy || storage.life != Life::Alive {
            return Err(refused("storage is not alive".to_owned()));
        }
        let name = storage.name.clone();
        if self.unit(unit)?.life != Life::Alive {
            return Err(refused("unit is not alive".to_owned()));
        }
        let spec = self.room_for(unit, &name, 1).map_err(|why| refused(why.0))?;
        self.place_is_free(self.unit(unit)?.machine, unit, &location(&spec, id))?;
        let storage = self.storage_mut(id)?;
        storage.unit = Some(unit.clone());
        storage.location = location(&spec, id);
        Ok(())
    }

    /// Begins to take a storage off its unit; it stays with its data.
    ///
    /// # Errors
    /// When it is on none.
    pub fn detach_storage(&mut self, id: &str) -> Result<(), ModelError> {
        let storage = self.storage_mut(id)?;
        if storage.unit.is_none() {
            return Err(ModelError::new(format!("cannot detach storage {id}: storage is not attached")));
        }
        storage.life = Life::Dying;
        Ok(())
    }

    /// Removes a storage with its data.
    ///
    /// # Errors
    /// When it is attached, unless forced.
    pub fn remove_storage(&mut self, id: &str, force: bool) -> Result<(), ModelError> {
        let storage = self.storage_mut(id)?;
        if storage.unit.is_some() && !force {
            return Err(ModelError::new(format!(
                "cannot remove storage {id}: storage is attached; use detach-storage first, or --force"
            )));
        }
        storage.destroy = true;
        storage.life = Life::Dying;
        Ok(())
    }

    /// Filesystems that must be brought to a machine, with its number.
    pub fn storage_to_attach(&self) -> Vec<(String, u32)> {
        let wanted = |storage: &Storage| {
            let unit = storage.unit.as_ref().filter(|_| storage.life == Life::Alive && storage.machine.is_none())?;
            let machine = self.units.get(unit)?.machine;
            self.machines.get(&machine).filter(|m| m.created && m.powered).map(|_| machine)
        };
        self.storage.iter().filter_map(|(id, storage)| Some((id.clone(), wanted(storage)?))).collect()
    }

    /// Filesystems that nobody uses any more where they are: off their unit, or its unit has been told.
    pub fn storage_to_detach(&self) -> Vec<(String, Option<u32>)> {
        let held = |id: &String, storage: &Storage| {
            let unit = storage.unit.as_ref().and_then(|unit| self.units.get(unit));
            unit.is_some_and(|unit| unit.local.storage_attached.contains(id))
        };
        let done = |(id, storage): &(&String, &Storage)| storage.life != Life::Alive && !held(id, storage);
        self.storage.iter().filter(done).map(|(id, storage)| (id.clone(), storage.machine)).collect()
    }

    /// A filesystem has been brought to a machine.
    pub fn storage_attached(&mut self, id: &str, machine: u32) {
        if let Some(storage) = self.storage.get_mut(id) {
            storage.machine = Some(machine);
        }
    }

    /// A filesystem has been taken off its machine: the instance is free, or gone if that was the wish.
    pub fn storage_detached(&mut self, id: &str) {
        if self.storage.get(id).is_some_and(|storage| storage.destroy) {
            self.storage.remove(id);
        } else if let Some(storage) = self.storage.get_mut(id) {
            storage.unit = None;
            storage.machine = None;
            storage.life = Life::Alive;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn wanted() {
        let check = |text: &str, expected: Expect| {
            expected.assert_eq(&match Wanted::parse(text) {
                Ok(wanted) => format!("{:?} {:?}", wanted.count, wanted.size),
                Err(why) => why.0,
            });
        };
        check("2G", expect![[r#"None Some("2G")"#]]);
        check("rootfs,3,500M", expect![[r#"Some(3) Some("500M")"#]]);
        check("2", expect!["Some(2) None"]);
        check("2X", expect![[r#"cannot read storage size "2X"; write for example 500M, 2G or 1T"#]]);
        check("ebs,2G", expect![[r#"storage pool "ebs" not found; there are: rootfs, loop, tmpfs"#]]);
    }
}
