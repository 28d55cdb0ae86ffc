//! A hook that is run twice: what the second run has changed, by name and never by value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use crate::model::{State, UnitName};

/// What a unit has changed between two states, but for the keys of its databags that the model's `strict-measured` names:
/// they tell what is measured on its machine, and that moves on.
pub fn compare(before: &State, after: &State, unit: &UnitName) -> Vec<String> {
    let mut found = Vec::new();
    let empty = BTreeMap::new();
    let measured = before.setting("strict-measured");
    let lasting = |bag: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let names = || measured.split(',').map(str::trim);
        bag.iter().filter(|(key, _)| !names().any(|name| name == *key)).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    for (id, new) in &after.relations {
        let old = before.relations.get(id);
        let endpoint = new.endpoint_of(&unit.app).map(|e| e.name.as_str()).unwrap_or_default();
        let own = old.and_then(|r| r.unit_bags.get(unit)).map_or(&empty, |bag| &bag.values);
        let now = new.unit_bags.get(unit).map_or(&empty, |bag| &bag.values);
        found.extend(keys(&lasting(own), &lasting(now), &format!("its databag of {endpoint}:{id}")));
        let own = old.and_then(|r| r.app_bags.get(&unit.app)).map_or(&empty, |bag| &bag.values);
        let now = new.app_bags.get(&unit.app).map_or(&empty, |bag| &bag.values);
        found.extend(keys(own, now, &format!("its application's databag of {endpoint}:{id}")));
    }
    if let (Some(old), Some(new)) = (before.units.get(unit), after.units.get(unit)) {
        found.extend(keys(&old.charm_state, &new.charm_state, "its stored state"));
        found.extend(members(old.ports.ranges().into_iter(), new.ports.ranges().into_iter(), "port"));
    }
    found.extend(members(before.storage.keys(), after.storage.keys(), "storage"));
    found.extend(secrets(before, after));
    found
}

/// The keys that differ.
pub(crate) fn keys(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>, place: &str) -> Vec<String> {
    let all: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = all.into_iter().filter(|key| old.get(*key) != new.get(*key));
    differing
        .map(|key| {
            let how = match (old.get(key), new.get(key)) {
                (None, _) => "adds",
                (Some(_), None) => "removes",
                (Some(_), Some(_)) => "changes",
            };
            format!("{how} {key:?} in {place}")
        })
        .collect()
}

fn members<T: Ord + Display>(old: impl Iterator<Item = T>, new: impl Iterator<Item = T>, what: &str) -> Vec<String> {
    let (old, new): (BTreeSet<T>, BTreeSet<T>) = (old.collect(), new.collect());
    let gone = old.difference(&new).map(|name| format!("removes {what} {name}"));
    let more = new.difference(&old).map(|name| format!("adds {what} {name}"));
    gone.chain(more).collect()
}

fn secrets(before: &State, after: &State) -> Vec<String> {
    let mut found = Vec::new();
    for (id, new) in &after.secrets {
        let name = if new.label.is_empty() { id } else { &new.label };
        let Some(old) = before.secrets.get(id) else {
            // Its id is drawn anew each time; the label is what the next reader knows it by.
            let label = if new.label.is_empty() { "without a label".to_owned() } else { format!("{:?}", new.label) };
            found.push(format!("makes another secret, {label}"));
            continue;
        };
        let empty = BTreeMap::new();
        let (was, is) = (old.revisions.get(&old.latest), new.revisions.get(&new.latest));
        found.extend(keys(was.unwrap_or(&empty), is.unwrap_or(&empty), &format!("secret {name:?}")));
        if old.label != new.label || old.description != new.description {
            found.push(format!("changes what secret {name:?} is called"));
        }
        found.extend(members(old.grants.keys(), new.grants.keys(), &format!("a grant of secret {name:?} to")));
    }
    let gone = before.secrets.iter().filter(|(id, _)| !after.secrets.contains_key(*id));
    found.extend(
        gone.map(|(id, old)| format!("removes secret {:?}", if old.label.is_empty() { id } else { &old.label })),
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Owner, Ports, Secret, Unit};
    use expect_test::{Expect, expect};

    fn secret(label: &str, password: &str) -> Secret {
        Secret {
            owner: Owner::Application("db".to_owned()),
            label: label.to_owned(),
            description: String::new(),
            created: 0,
            rotate: "never".to_owned(),
            next_rotate: None,
            times: BTreeMap::new(),
            unit_grants: BTreeMap::new(),
            auto_prune: false,
            revisions: [(1, BTreeMap::from([("password".to_owned(), password.to_owned())]))].into(),
            latest: 1,
            consumers: BTreeMap::new(),
            grants: BTreeMap::new(),
        }
    }

    fn open(port: &str) -> Ports {
        let mut ports = Ports::default();
        ports.apply(&[((String::new(), port.parse().unwrap()), true)].into(), &[]);
        ports
    }

    fn check(change: impl FnOnce(&mut State, &UnitName), expected: Expect) {
        let me = UnitName { app: "db".to_owned(), number: 0 };
        let mut before = State::default();
        before.units.insert(me.clone(), Unit { ports: open("80/tcp"), ..Unit::default() });
        before.secrets.insert("a1".to_owned(), secret("admin", "first value"));
        let mut after = before.clone();
        change(&mut after, &me);
        expected.assert_eq(&compare(&before, &after, &me).join("\n"));
    }

    #[test]
    fn what_differs_is_named() {
        check(|_, _| {}, expect![""]);
        check(
            |state, me| {
                let unit = state.units.get_mut(me).unwrap();
                unit.charm_state.insert("count".to_owned(), "2".to_owned());
                unit.ports = open("81/tcp");
            },
            expect![[r#"
                adds "count" in its stored state
                removes port 80/tcp
                adds port 81/tcp"#]],
        );
        check(
            |state, _| {
                state.secrets.insert("a1".to_owned(), secret("admin", "another value"));
                state.secrets.insert("b2".to_owned(), secret("", "x"));
            },
            expect![[r#"
                changes "password" in secret "admin"
                makes another secret, without a label"#]],
        );
        check(|state, _| state.secrets.clear(), expect![[r#"removes secret "admin""#]]);
    }
}
