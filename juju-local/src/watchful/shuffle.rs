//! Orders that Juju leaves open, drawn from a seed: each unit has dice of its own, and each operation a throw. Which
//! throw is next is part of the model, so that the same operations draw the same again.

use crate::model::{HookInfo, Life, State, UnitName};

/// The numbers of one unit's one operation; without a seed every question has Juju's usual answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dice(Option<u64>);

/// The longest pause before a hook, in milliseconds.
const PAUSE_MAX: u64 = 300;
/// One in so many operations moves leadership, where that is asked for.
const MOVE_ONE_IN: u64 = 12;

impl Dice {
    /// For a unit's next operation.
    pub fn of(state: &State, unit: &UnitName) -> Self {
        let throw = state.drawn.get(unit).copied().unwrap_or(0);
        Self(seed(state).map(|seed| mix(&format!("{seed} {unit} {throw}"))))
    }

    /// Whether there is a seed.
    pub(super) fn is_thrown(self) -> bool {
        self.0.is_some()
    }

    /// A number below `end` for a question; 0 without a seed.
    pub fn below(self, question: &str, end: u64) -> u64 {
        self.0.map_or(0, |number| mix(&format!("{number} {question}")) % end.max(1))
    }

    /// Whether the less usual answer is taken this time.
    pub fn turns(self, question: &str) -> bool {
        self.below(question, 2) == 1
    }

    /// The order in which relations are visited: any, with peers last or among the others.
    pub fn relations(self, state: &State, mut ids: Vec<u32>) -> Vec<u32> {
        if self.0.is_some() {
            let mixed = self.turns("peers among the others");
            let peer = |id: &u32| !mixed && state.relations.get(id).is_some_and(|relation| relation.peer);
            ids.sort_by_key(|id| (peer(id), self.below(&format!("relation {id}"), u64::MAX)));
        }
        ids
    }

    /// How long a unit dawdles before a hook, in milliseconds.
    pub fn pause_ms(self) -> u64 {
        self.below("pause", PAUSE_MAX + 1)
    }

    /// Whoever leads from now on, when leadership moves.
    pub fn next_leader(self, state: &State, unit: &UnitName) -> Option<UnitName> {
        let moves = self.0.is_some() && state.setting("shuffle-leadership") == "true";
        if !moves || self.below("leadership moves", MOVE_ONE_IN) != 0 {
            return None;
        }
        let others: Vec<&UnitName> =
            usable(state, &unit.app).into_iter().filter(|name| !state.is_leader(name)).collect();
        self.pick("next leader", &others).map(|name| (*name).clone())
    }

    fn pick<'a, T>(self, question: &str, items: &'a [T]) -> Option<&'a T> {
        let index = self.below(question, u64::try_from(items.len()).unwrap_or(1));
        items.get(usize::try_from(index).unwrap_or(0))
    }
}

/// Which of the units that could is the first to lead; the first by name without a seed.
pub fn first_leader<'a>(state: &State, app: &str, units: &[&'a UnitName]) -> Option<&'a UnitName> {
    Dice(seed(state).map(|seed| mix(&format!("{seed} {app}")))).pick("first leader", units).copied()
}

/// An operation was begun: the next one draws other numbers.
pub fn throw(state: &mut State, unit: &UnitName) {
    if seed(state).is_some() {
        *state.drawn.entry(unit.clone()).or_default() += 1;
    }
}

fn seed(state: &State) -> Option<u64> {
    state.setting("shuffle-seed").parse().ok()
}

fn usable<'a>(state: &'a State, app: &'a str) -> Vec<&'a UnitName> {
    let on = |machine: u32| state.machines.get(&machine).is_some_and(|m| m.powered && m.created);
    let there = state.units_of(app).filter(|(_, unit)| unit.life == Life::Alive && on(unit.machine));
    there.map(|(name, _)| name).collect()
}

/// The members whose bags a run reads as they were when it was last told of them. Juju's agent keeps them from hook to
/// hook, or has none and reads what is there now.
pub fn stale(state: &State, unit: &UnitName, hook: Option<&HookInfo>, dice: Dice) -> Vec<(u32, UnitName)> {
    let Some(local) = state.units.get(unit).map(|u| &u.local) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (id, relation) in &local.relations {
        let asked = hook.filter(|hook| hook.relation == Some(*id)).and_then(|hook| hook.remote_unit.as_ref());
        let others = relation.members.keys().filter(|member| Some(*member) != asked);
        let old = others.filter(|member| dice.turns(&format!("relation {id} {member}")));
        found.extend(old.map(|member| (*id, member.clone())));
    }
    found
}

/// FNV's hash, stirred so that neighbours have nothing in common.
pub(super) fn mix(text: &str) -> u64 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn state(seed: &str) -> (State, UnitName) {
        let mut state = State::default();
        state.config.insert("shuffle-seed".to_owned(), seed.to_owned());
        (state, UnitName { app: "db".to_owned(), number: 0 })
    }

    #[test]
    fn without_a_seed_nothing_changes() {
        let (mut state, me) = state("");
        throw(&mut state, &me);
        let dice = Dice::of(&state, &me);
        assert!(state.drawn.is_empty() && !dice.turns("x") && dice.pause_ms() == 0);
        assert_eq!(dice.relations(&state, vec![3, 1, 2]), [3, 1, 2]);
    }

    #[test]
    fn a_seed_is_a_story() {
        let tell = |seed: &str| {
            let (mut state, me) = state(seed);
            let orders: Vec<String> = (0..4)
                .map(|_| {
                    let dice = Dice::of(&state, &me);
                    throw(&mut state, &me);
                    format!("{:?} {}", dice.relations(&state, vec![1, 2, 3]), dice.turns("x"))
                })
                .collect();
            orders.join(", ")
        };
        expect!["[1, 2, 3] true, [3, 1, 2] true, [3, 1, 2] false, [2, 1, 3] false"].assert_eq(&tell("1"));
        expect!["[3, 1, 2] true, [2, 1, 3] false, [1, 3, 2] false, [3, 1, 2] true"].assert_eq(&tell("2"));
        assert_eq!(tell("1"), tell("1"));
    }

    #[test]
    fn every_answer_comes_up() {
        let (mut state, me) = state("5");
        let answers: std::collections::BTreeSet<u64> = (0..200)
            .map(|_| {
                throw(&mut state, &me);
                Dice::of(&state, &me).below("x", 8)
            })
            .collect();
        assert_eq!(answers.len(), 8);
    }
    /// The bag of the unit that a hook is about is read as it is; the others' may be older.
    #[test]
    fn only_others_are_stale() {
        let (mut state, me) = state("9");
        let other = |number: u32| UnitName { app: "db".to_owned(), number };
        let members = [1, 2].map(|number| (other(number), crate::model::MemberLocal::default())).into();
        let relation = crate::model::RelationLocal { members, ..Default::default() };
        let local = crate::model::Local { relations: [(1, relation)].into(), ..Default::default() };
        state.units.insert(me.clone(), crate::model::Unit { local, ..Default::default() });
        let hook = HookInfo { relation: Some(1), remote_unit: Some(other(1)), ..HookInfo::plain("x") };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            throw(&mut state, &me);
            let dice = Dice::of(&state, &me);
            let names: Vec<String> =
                stale(&state, &me, Some(&hook), dice).into_iter().map(|(_, unit)| unit.to_string()).collect();
            seen.insert(names.join(" "));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["", "db/2"]);
    }
}
