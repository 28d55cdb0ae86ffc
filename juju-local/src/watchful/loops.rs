//! Hooks that only answer each other: every change of a databag has a depth, how many changes it has behind it of
//! which each was made by a hook that the one before had caused. What comes from outside has depth 0.

use std::collections::BTreeMap;

use crate::model::{HookInfo, State, UnitName};

/// So many hooks of one relation may follow from each other.
const ENOUGH: u32 = 20;

/// Depths and counts since somebody outside did something.
#[derive(Clone, Debug, Default)]
pub(super) struct Loops {
    /// Of the newest change of each bag: of a unit, or of an application.
    depths: BTreeMap<(u32, String), u32>,
    counts: BTreeMap<(UnitName, u32), u32>,
}

impl Loops {
    pub(super) fn outside(&mut self) {
        self.counts.clear();
    }

    /// A hook begins: how deep it is, and whether that is too deep. Said once, when it becomes so.
    pub(super) fn begins(&mut self, unit: &UnitName, hook: &HookInfo) -> (u32, bool) {
        let (Some(relation), true) = (hook.relation, hook.name.ends_with("-relation-changed")) else {
            return (0, false);
        };
        let bag = hook.remote_unit.as_ref().map(ToString::to_string).or_else(|| hook.remote_app.clone());
        let depth = self.depths.get(&(relation, bag.unwrap_or_default())).copied().unwrap_or(0);
        let count = self.counts.entry((unit.clone(), relation)).or_default();
        *count = if depth == 0 { 0 } else { *count + 1 };
        (depth, *count == ENOUGH + 1 && depth > ENOUGH)
    }

    /// A hook of this depth has changed a bag.
    pub(super) fn wrote(&mut self, relation: u32, bag: &str, depth: u32) {
        self.depths.insert((relation, bag.to_owned()), depth + 1);
    }
}

/// The versions of a unit's own bags.
pub(super) fn own_versions(state: &State, unit: &UnitName) -> BTreeMap<(u32, String), u64> {
    let mut versions = BTreeMap::new();
    for (id, relation) in &state.relations {
        if let Some(bag) = relation.unit_bags.get(unit) {
            versions.insert((*id, unit.to_string()), bag.version);
        }
        if let Some(bag) = relation.app_bags.get(&unit.app) {
            versions.insert((*id, unit.app.clone()), bag.version);
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(app: &str, unit: Option<u32>) -> HookInfo {
        let remote_unit = unit.map(|number| UnitName { app: app.to_owned(), number });
        let name = "peers-relation-changed".to_owned();
        HookInfo { name, relation: Some(1), remote_app: Some(app.to_owned()), remote_unit, ..HookInfo::default() }
    }

    fn unit(app: &str) -> UnitName {
        UnitName { app: app.to_owned(), number: 0 }
    }

    /// The echo of an own write, answered by another write each time.
    #[test]
    fn an_echo_that_writes_is_a_loop() {
        let mut loops = Loops::default();
        loops.wrote(1, "db", 0);
        let said: Vec<u32> = (1..=50)
            .filter(|_| {
                let (depth, too_deep) = loops.begins(&unit("db"), &changed("db", None));
                loops.wrote(1, "db", depth);
                too_deep
            })
            .collect();
        assert_eq!(said, [21]);
    }

    #[test]
    fn ping_pong_is_a_loop() {
        let mut loops = Loops::default();
        let mut said = Vec::new();
        loops.wrote(1, "a/0", 0);
        for round in 1..=50 {
            for (me, other) in [("b", "a"), ("a", "b")] {
                let (depth, too_deep) = loops.begins(&unit(me), &changed(other, Some(0)));
                loops.wrote(1, &format!("{me}/0"), depth);
                said.extend(too_deep.then(|| format!("{me} {round}")));
            }
        }
        assert_eq!(said, ["b 21", "a 21"]);
    }

    #[test]
    fn many_changes_from_outside_are_none() {
        let mut loops = Loops::default();
        for _ in 0..50 {
            loops.wrote(1, "db", 0);
            assert!(!loops.begins(&unit("db"), &changed("db", None)).1);
        }
        // Nor is a long conversation in which an operator has a part.
        for round in 0..50 {
            if round % 10 == 0 {
                loops.outside();
            }
            let (depth, too_deep) = loops.begins(&unit("db"), &changed("db", None));
            loops.wrote(1, "db", depth);
            assert!(!too_deep);
        }
    }
}
