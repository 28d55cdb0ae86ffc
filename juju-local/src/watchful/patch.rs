//! What differs between two JSON values, and making the one out of the other.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One place that differs: the way to it, and what is there now; nothing where it was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) at: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub(super) now: Option<Value>,
}

/// A null that is written is a value like any other.
fn there<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// What leads from one value to the other. Lists are replaced as a whole.
pub(super) fn diff(from: &Value, to: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    walk(from, to, &mut Vec::new(), &mut changes);
    changes
}

fn walk(from: &Value, to: &Value, at: &mut Vec<String>, changes: &mut Vec<Change>) {
    if from == to {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        // A place that holds nothing must not read as one that was removed.
        changes.push(Change { at: at.clone(), now: Some(to.clone()) });
        return;
    };
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        let at = at.iter().cloned().chain([key.clone()]).collect();
        changes.push(Change { at, now: None });
    }
    for (key, value) in new {
        at.push(key.clone());
        match old.get(key) {
            Some(known) => walk(known, value, at, changes),
            None => changes.push(Change { at: at.clone(), now: Some(value.clone()) }),
        }
        at.pop();
    }
}

/// Makes the changes.
pub(super) fn apply(value: &mut Value, changes: &[Change]) {
    for change in changes {
        let Some((last, way)) = change.at.split_last() else {
            *value = change.now.clone().unwrap_or_default();
            continue;
        };
        let mut here = &mut *value;
        for key in way {
            if !here.is_object() {
                *here = Value::Object(Map::new());
            }
            here = &mut here[key.as_str()];
        }
        match (&change.now, here) {
            (Some(now), here) => here[last.as_str()] = now.clone(),
            (None, Value::Object(map)) => {
                map.remove(last);
            }
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(from: Value, to: Value, expected: Expect) {
        let changes = diff(&from, &to);
        // What is written down and read again says the same.
        let text = serde_json::to_string(&changes).unwrap();
        let changes: Vec<Change> = serde_json::from_str(&text).unwrap();
        let mut made = from;
        apply(&mut made, &changes);
        assert_eq!(made, to);
        expected.assert_eq(&text);
    }

    #[test]
    fn there_and_back() {
        check(json!({"a": 1}), json!({"a": 1}), expect!["[]"]);
        check(json!({"a": 1}), json!({"a": null}), expect![[r#"[{"at":["a"],"now":null}]"#]]);
        let (from, to) = (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 3}, "d": [1]}));
        check(from, to, expect![[r#"[{"at":["a","c"]},{"at":["a","b"],"now":3},{"at":["d"],"now":[1]}]"#]]);
        check(json!({"a": {"b": 1}}), json!({"a": 2}), expect![[r#"[{"at":["a"],"now":2}]"#]]);
        check(json!(1), json!({"a": {}}), expect![[r#"[{"at":[],"now":{"a":{}}}]"#]]);
    }
}
