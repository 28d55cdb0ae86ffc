//! Making true what a hook has asked for: all of it in one transaction, or nothing.

use crate::model::{PortChanges, PortRange, State, UnitName};

use super::context::{Buffered, RelationChanges};
use super::flush_secrets;

/// Bytes: of one unit's state, and of one bag of a relation.
const STATE_MAX: usize = 2 * 1024 * 1024;
const BAG_MAX: usize = 16 * 1024 * 1024;

/// Applies what a hook has buffered; all or nothing.
///
/// # Errors
/// What Juju's controller refuses at this moment: leadership that was lost meanwhile, a label that is taken, a port that
/// another unit has opened, too much of anything.
pub fn flush(state: &mut State, me: &UnitName, buffered: &Buffered) -> Result<(), String> {
    let refused = |why: String| format!("cannot apply changes: {why}");
    check(state, me, buffered).map_err(refused)?;
    let mut with_storage = (!buffered.storage.is_empty()).then(|| state.clone());
    for (name, count) in &buffered.storage {
        let Some(with_storage) = &mut with_storage else { continue };
        with_storage.add_storage(me, name, *count).map_err(|why| refused(format!("adding storage: {why}")))?;
    }
    if let Some(with_storage) = with_storage {
        *state = with_storage;
    }
    for (id, changes) in &buffered.relations {
        let Some(relation) = state.relations.get_mut(id) else {
            continue;
        };
        relation.unit_bags.entry(me.clone()).or_default().apply(&changes.unit);
        relation.app_bags.entry(me.app.clone()).or_default().apply(&changes.app);
    }
    let endpoints = endpoints(state, me);
    if let Some(unit) = state.units.get_mut(me) {
        for (key, value) in &buffered.state {
            match value {
                Some(value) => unit.charm_state.insert(key.clone(), value.clone()),
                None => unit.charm_state.remove(key),
            };
        }
        unit.ports.apply(&buffered.ports, &endpoints);
    }
    flush_secrets::apply(state, me, &buffered.secrets);
    Ok(())
}

fn check(state: &State, me: &UnitName, buffered: &Buffered) -> Result<(), String> {
    if !state.is_leader(me) && buffered.relations.values().any(|r| !r.app.is_empty()) {
        return Err(format!("prerequisites failed: {:?} is not leader of {:?}", me.to_string(), me.app));
    }
    for (id, changes) in &buffered.relations {
        check_bags(state, me, *id, changes)?;
    }
    check_state(state, me, buffered)?;
    let known = endpoints(state, me);
    for ((endpoint, range), open) in &buffered.ports {
        if !endpoint.is_empty() && !known.contains(endpoint) {
            return Err(format!("endpoint {endpoint:?} for application {:?} not found", me.app));
        }
        check_port(state, me, &PortChanges::new(), range, *open)?;
    }
    flush_secrets::check(state, me, &buffered.secrets)
}

fn check_bags(state: &State, me: &UnitName, id: u32, changes: &RelationChanges) -> Result<(), String> {
    let Some(relation) = state.relations.get(&id) else {
        return Ok(());
    };
    for (bag, changes) in [(relation.unit_bags.get(me), &changes.unit), (relation.app_bags.get(&me.app), &changes.app)]
    {
        let mut bag = bag.cloned().unwrap_or_default();
        bag.apply(changes);
        let size: usize = bag.values.iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > BAG_MAX {
            return Err(format!("max allowed size ({BAG_MAX}) of settings of relation {:?} exceeded", relation.key()));
        }
    }
    Ok(())
}

fn check_state(state: &State, me: &UnitName, buffered: &Buffered) -> Result<(), String> {
    let Some(unit) = state.units.get(me).filter(|_| !buffered.state.is_empty()) else {
        return Ok(());
    };
    let kept = unit.charm_state.iter().filter(|(key, _)| !buffered.state.contains_key(*key));
    let set = buffered.state.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
    let size: usize = kept.chain(set).map(|(key, value)| key.len() + value.len()).sum();
    if size > STATE_MAX { Err(format!("max allowed charm state size ({STATE_MAX}) exceeded")) } else { Ok(()) }
}

/// The names that ports can be opened for.
pub fn endpoints(state: &State, me: &UnitName) -> Vec<String> {
    let charm = state.applications.get(&me.app).map(|app| &app.charm);
    let roles = charm.into_iter().flat_map(|charm| [&charm.peers, &charm.provides, &charm.requires]);
    let extra = charm.into_iter().flat_map(|charm| charm.extra_bindings.iter());
    roles.flat_map(|role| role.keys()).chain(extra).cloned().collect()
}

/// Whether a unit can open or close a range, with what it is about to change.
///
/// # Errors
/// Names the range that is in the way, and whose it is.
pub fn check_port(
    state: &State,
    me: &UnitName,
    pending: &PortChanges,
    range: &PortRange,
    open: bool,
) -> Result<(), String> {
    let Some(unit) = state.units.get(me) else {
        return Ok(());
    };
    let verb = if open { "open" } else { "close" };
    let refuse = |other: &PortRange, whose: &UnitName| {
        let (me, whose) = (me.to_string(), whose.to_string());
        Err(format!("cannot {verb} {range} (unit {me:?}): port range conflicts with {other} (unit {whose:?})"))
    };
    let mut own = unit.ports.clone();
    own.apply(pending, &endpoints(state, me));
    if let Some(other) = own.conflict(range) {
        return refuse(&other, me);
    }
    let neighbours = state.units.iter().filter(|(name, other)| open && *name != me && other.machine == unit.machine);
    for (name, neighbour) in neighbours {
        if let Some(other) = neighbour.ports.overlap(range) {
            return refuse(&other, name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Relation, Unit};

    #[test]
    fn quotas() {
        let me = UnitName { app: "a".to_owned(), number: 0 };
        let mut state = State::default();
        state.units.insert(me.clone(), Unit::default());
        let relation = serde_json::json!({"endpoints": [{"app": "a", "name": "peers", "interface": "p"}], "peer": true,
            "life": "alive", "scope": [], "unit_bags": {}, "app_bags": {}});
        let relation: Relation = serde_json::from_value(relation).unwrap();
        state.relations.insert(0, relation);
        let mut check = |keys: usize, bytes: usize, in_bag: bool| {
            let values = (0..keys).map(|i| (format!("{i:04}"), "x".repeat(bytes - 4)));
            let mut buffered = Buffered::default();
            if in_bag {
                buffered.relations.entry(0).or_default().unit.extend(values);
            } else {
                buffered.state.extend(values.map(|(key, value)| (key, Some(value))));
            }
            flush(&mut state, &me, &buffered).err().unwrap_or_default()
        };
        assert_eq!(check(32, 64 * 1024, false), "");
        assert_eq!(
            check(33, 64 * 1024, false),
            "cannot apply changes: max allowed charm state size (2097152) exceeded"
        );
        assert_eq!(check(16, 1024 * 1024, true), "");
        assert_eq!(
            check(17, 1024 * 1024, true),
            "cannot apply changes: max allowed size (16777216) of settings of relation \"a:peers\" exceeded"
        );
        // What was refused has changed nothing.
        assert_eq!(state.units[&me].charm_state.len(), 32);
        assert_eq!(state.relations[&0].unit_bags[&me].values.len(), 16);
    }
}
