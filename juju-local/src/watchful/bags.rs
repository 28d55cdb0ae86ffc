//! What agents keep of each other's databags from one run of a charm to the next.

use std::collections::BTreeMap;

use super::shuffle::{Dice, stale};
use crate::model::{HookInfo, State, UnitName};

/// The bags as an agent has last read them: who, in which relation, of whom. Juju's agent keeps what it has read, whatever
/// ran then, until it is told that the bag has changed; so what a charm reads may be old, but never older than what it has
/// read before.
#[derive(Default)]
pub(super) struct Bags(BTreeMap<(UnitName, u32, UnitName), BTreeMap<String, String>>);

impl Bags {
    /// What a run of a unit's charm reads. Without a seed that is what is there.
    pub(super) fn read(&mut self, snapshot: &mut State, unit: &UnitName, hook: Option<&HookInfo>, dice: Dice) {
        if !dice.is_thrown() {
            return self.0.clear();
        }
        let old = stale(snapshot, unit, hook, dice);
        let Some(local) = snapshot.units.get(unit).map(|u| &u.local) else { return };
        for (id, relation) in snapshot.relations.iter_mut().filter(|(id, _)| local.relations.contains_key(id)) {
            for (member, bag) in relation.unit_bags.iter_mut().filter(|(member, _)| *member != unit) {
                let key = (unit.clone(), *id, member.clone());
                match self.0.get(&key) {
                    Some(known) if old.contains(&(*id, member.clone())) => bag.values.clone_from(known),
                    _ => {
                        self.0.insert(key, bag.values.clone());
                    }
                }
            }
        }
    }

    /// Nothing is kept of a unit that has departed.
    pub(super) fn ended(&mut self, unit: &UnitName, hook: &HookInfo) {
        if let (Some(id), Some(remote), true) =
            (hook.relation, &hook.remote_unit, hook.name.ends_with("-relation-departed"))
        {
            self.0.remove(&(unit.clone(), id, remote.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shuffle::throw;
    use super::*;
    use crate::model::{Bag, Local, MemberLocal, Relation, RelationLocal, Unit};

    /// A bag counts up, and its number is read in hooks and by commands, which throw their own dice.
    #[test]
    fn what_is_read_is_old_at_times_and_never_older_than_before() {
        let (me, other) = (UnitName { app: "db".to_owned(), number: 0 }, UnitName { app: "db".to_owned(), number: 1 });
        let mut state = State::default();
        state.config.insert("shuffle-seed".to_owned(), "3".to_owned());
        let members = [(other.clone(), MemberLocal::default())].into();
        let local =
            Local { relations: [(1, RelationLocal { members, ..Default::default() })].into(), ..Default::default() };
        state.units.insert(me.clone(), Unit { local, ..Default::default() });
        state.relations.insert(1, Relation::new(Vec::new(), true, false));
        let (mut bags, mut last, mut olds) = (Bags::default(), 0, 0);
        for now in 1..200 {
            let values = [("n".to_owned(), now.to_string())].into();
            let bag = Bag { values, ..Default::default() };
            state.relations.get_mut(&1).unwrap().unit_bags.insert(other.clone(), bag);
            throw(&mut state, &me);
            let mut snapshot = state.clone();
            let hook = (now % 5 == 0).then(|| HookInfo::plain("update-status"));
            bags.read(&mut snapshot, &me, hook.as_ref(), Dice::of(&state, &me));
            let read: i32 = snapshot.relations[&1].unit_bags[&other].values["n"].parse().unwrap();
            assert!(read >= last && read <= now, "{read} after {last}, and it is {now}");
            olds += i32::from(read < now);
            last = read;
        }
        assert!(olds > 20, "only {olds} were old");
    }
}
