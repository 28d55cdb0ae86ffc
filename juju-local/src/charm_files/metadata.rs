//! `metadata.yaml`: a charm's name, its endpoints, its storage, and what it assumes of Juju.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CharmError, numbers, plain};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StorageSpec {
    pub kind: String,
    /// Empty when the charm leaves it open.
    pub location: String,
    pub minimum_size: Option<String>,
    /// How many instances a unit must have; zero for optional ones.
    pub minimum_count: u32,
    /// How many it may have; nothing for any number.
    #[serde(default)]
    pub maximum_count: Option<u32>,
    /// Each instance is in a directory of its own below the location.
    #[serde(default)]
    pub multiple: bool,
}

/// A file that the operator gives beside the charm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceSpec {
    /// Its name on the machine.
    pub filename: String,
    pub description: String,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) subordinate: bool,
    #[serde(default)]
    pub(super) provides: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) requires: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) peers: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) extra_bindings: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) storage: BTreeMap<String, StorageText>,
    #[serde(default)]
    pub(super) resources: BTreeMap<String, ResourceText>,
    #[serde(default)]
    pub(super) assumes: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct StorageText {
    #[serde(rename = "type")]
    kind: String,
    location: Option<String>,
    minimum_size: Option<Value>,
    multiple: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct ResourceText {
    #[serde(rename = "type")]
    kind: Option<String>,
    filename: Option<String>,
    description: Option<String>,
}

impl Metadata {
    /// Name and summary, once all that every charm must say of itself is there.
    pub(super) fn name_and_summary(&self) -> Result<(String, String), CharmError> {
        let mandatory = |field: &str, value: Option<&String>| {
            value
                .filter(|v| !v.is_empty())
                .cloned()
                .ok_or_else(|| CharmError(format!("metadata.yaml: {field} is missing; add it and pack again")))
        };
        let name = mandatory("name", self.name.as_ref())?;
        let summary = mandatory("summary", self.summary.as_ref())?;
        mandatory("description", self.description.as_ref())?;
        check_name(&name)?;
        Ok((name, summary))
    }
}

fn check_name(name: &str) -> Result<(), CharmError> {
    let ends_in_number = name.rsplit('-').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    let fine = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !(name.contains('-') && ends_in_number);
    if fine {
        Ok(())
    } else {
        Err(CharmError(format!(
            "metadata.yaml: name {name:?} is not lower-case letters, digits and hyphens without a number at the end"
        )))
    }
}

/// `juju >= 2.9`, nested in any-of and all-of.
pub(super) fn check_assumes(assumes: &[Value], agent_version: &str) -> Result<(), CharmError> {
    fn holds(value: &Value, version: &str) -> bool {
        match value {
            Value::String(text) => {
                let words: Vec<&str> = text.split_whitespace().collect();
                match words.as_slice() {
                    ["juju", op, wanted] => {
                        if *op == ">=" {
                            numbers(version) >= numbers(wanted)
                        } else {
                            *op == "<" && numbers(version) < numbers(wanted)
                        }
                    }
                    _ => false,
                }
            }
            Value::Object(map) => map.iter().all(|(key, list)| {
                let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
                match key.as_str() {
                    "any-of" => list.iter().any(|v| holds(v, version)),
                    "all-of" => list.iter().all(|v| holds(v, version)),
                    _ => false,
                }
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
        }
    }
    match assumes.iter().find(|a| !holds(a, agent_version)) {
        None => Ok(()),
        Some(unmet) => Err(CharmError(format!(
            "Charm feature requirements cannot be met: charm requires {}, the model is at {agent_version}; see juju-local model-config agent-version",
            unmet.as_str().map_or_else(|| unmet.to_string(), ToOwned::to_owned)
        ))),
    }
}

pub(super) fn storage(texts: BTreeMap<String, StorageText>) -> Result<BTreeMap<String, StorageSpec>, CharmError> {
    let mut read = BTreeMap::new();
    for (store, text) in texts {
        if !["filesystem", "block"].contains(&text.kind.as_str()) {
            return Err(CharmError(format!(
                "metadata.yaml: storage {store}: type {:?} is not filesystem or block",
                text.kind
            )));
        }
        if text.kind == "block" {
            return Err(CharmError(format!(
                "metadata.yaml: storage {store}: block storage is not supported by juju-local; use filesystem"
            )));
        }
        let (minimum_count, maximum_count) = match &text.multiple {
            None => (1, Some(1)),
            Some(multiple) => {
                let range = &multiple["range"];
                count_range(&plain(range)).ok_or_else(|| {
                    CharmError(format!("metadata.yaml: storage {store}: range {range} is none; write 2, 0-3, 1+ or 1-"))
                })?
            }
        };
        read.insert(
            store.clone(),
            StorageSpec {
                kind: text.kind,
                location: text.location.unwrap_or_default(),
                minimum_size: text.minimum_size.as_ref().map(plain),
                minimum_count,
                maximum_count,
                multiple: text.multiple.is_some(),
            },
        );
    }
    Ok(read)
}

/// `2`, `0-3`, `1+` and `1-`: how many at least, and at most; nothing of what is no range.
fn count_range(text: &str) -> Option<(u32, Option<u32>)> {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let (least, most) = match text.split_once(['-', '+']) {
        None => (number(text)?, Some(number(text)?)),
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) if text.contains('-') => (number(least)?, Some(number(most)?)),
        Some(_) => return None,
    };
    most.is_none_or(|most| most > 0 && least <= most).then_some((least, most))
}

/// What endpoints say beside their interfaces: how many relations they take at most, and which stay on one machine.
pub(super) fn limits_and_scopes(metadata: &Metadata) -> (BTreeMap<String, u32>, BTreeSet<String>) {
    let roles = [&metadata.provides, &metadata.requires, &metadata.peers];
    let endpoints = || roles.into_iter().flatten();
    let limit = |value: &Value| value.get("limit")?.as_u64()?.try_into().ok().filter(|limit| *limit > 0);
    let limits = endpoints().filter_map(|(name, value)| Some((name.clone(), limit(value)?))).collect();
    let container = |value: &Value| value.get("scope").and_then(Value::as_str) == Some("container");
    let container = endpoints().filter(|(_, value)| container(value)).map(|(name, _)| name.clone()).collect();
    (limits, container)
}

/// Files; images are for Kubernetes and nobody asks for them on a machine.
pub(super) fn resources(texts: BTreeMap<String, ResourceText>) -> Result<BTreeMap<String, ResourceSpec>, CharmError> {
    let mut read = BTreeMap::new();
    for (name, text) in texts {
        let wrong = |why: &str| CharmError(format!("metadata.yaml: resource {name}: {why}"));
        match text.kind.as_deref().unwrap_or("file") {
            "oci-image" => continue,
            "file" => {}
            _ => return Err(wrong("type is not file or oci-image")),
        }
        let filename = text.filename.filter(|f| !f.is_empty()).ok_or_else(|| wrong("filename is missing"))?;
        if filename.contains('/') || filename == ".." {
            return Err(wrong("filename cannot contain a directory"));
        }
        read.insert(name, ResourceSpec { filename, description: text.description.unwrap_or_default() });
    }
    Ok(read)
}

/// The endpoints of one role with their interfaces. `taken` are the names that are used already, over all roles.
pub(super) fn endpoints(
    role: &str,
    map: BTreeMap<String, Value>,
    taken: &mut BTreeSet<String>,
) -> Result<BTreeMap<String, String>, CharmError> {
    map.into_iter()
        .map(|(name, value)| {
            let interface = match &value {
                Value::String(interface) => Some(interface.clone()),
                Value::Object(map) => map.get("interface").and_then(Value::as_str).map(ToOwned::to_owned),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
            };
            if role != "requires"
                && interface.as_ref().is_some_and(|i| i == "juju" || i.starts_with("juju-"))
            {
                return Err(CharmError(format!("metadata.yaml: {role}: {name}: interfaces of Juju's own are reserved")));
            }
            if !taken.insert(name.clone()) {
                return Err(CharmError(format!(
                    "metadata.yaml: endpoint {name:?} is there twice; names are unique over provides, requires and peers"
                )));
            }
            let given = value.as_object().map_or(&value, |map| map.get("interface").unwrap_or(&Value::Null));
            let wrong = if given.is_null() { "interface is missing" } else { "interface is no text; put it in quotes" };
            let interface =
                interface.ok_or_else(|| CharmError(format!("metadata.yaml: {role}: {name}: {wrong}")))?;
            Ok((name, interface))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::charm_files::tests::{check, check_at};
    use expect_test::expect;

    #[test]
    fn names_endpoints_and_storage() {
        check(&[], expect![[r#"db ["ubuntu@24.04/stable"] {}"#]]);
        check(
            &["metadata.yaml +peers: {a: b, c: {interface: d}}"],
            expect![[r#"db ["ubuntu@24.04/stable"] {"a": "b", "c": "d"}"#]],
        );
        check(&["metadata.yaml 644 name: db"], expect!["metadata.yaml: summary is missing; add it and pack again"]);
        check(
            &["metadata.yaml 644 name: Db\nsummary: s\ndescription: d"],
            expect![[
                r#"metadata.yaml: name "Db" is not lower-case letters, digits and hyphens without a number at the end"#
            ]],
        );
        check(
            &["metadata.yaml +peers: {a: b}\nprovides: {a: c}"],
            expect![[
                r#"metadata.yaml: endpoint "a" is there twice; names are unique over provides, requires and peers"#
            ]],
        );
        check(
            &["metadata.yaml +provides: {juju-x: c}"],
            expect![[r#"metadata.yaml: provides: endpoint name "juju-x" is reserved; rename it"#]],
        );
        check(
            &["metadata.yaml +requires: {a: {limit: 1}}"],
            expect!["metadata.yaml: requires: a: interface is missing"],
        );
        check(
            &["metadata.yaml +requires: {a: {interface: true}}"],
            expect!["metadata.yaml: requires: a: interface is no text; put it in quotes"],
        );
        check(
            &["metadata.yaml +storage: {data: {type: disk}}"],
            expect![[r#"metadata.yaml: storage data: type "disk" is not filesystem or block"#]],
        );
    }

    #[test]
    fn assumes() {
        let one = "metadata.yaml +assumes: [juju >= 3.4]";
        check(&[one], expect![[r#"db ["ubuntu@24.04/stable"] {}"#]]);
        check_at(
            "2.9.49",
            &[one],
            expect![
                "Charm feature requirements cannot be met: charm requires juju >= 3.4, the model is at 2.9.49; see juju-local model-config agent-version"
            ],
        );
        let nested = "metadata.yaml +assumes: [{any-of: [{all-of: [juju >= 2.9, juju < 3]}, juju >= 3.6]}]";
        check_at("2.9.49", &[nested], expect![[r#"db ["ubuntu@24.04/stable"] {}"#]]);
        check_at("3.6.12", &[nested], expect![[r#"db ["ubuntu@24.04/stable"] {}"#]]);
        check_at(
            "3.5.1",
            &[nested],
            expect![[
                r#"Charm feature requirements cannot be met: charm requires {"any-of":[{"all-of":["juju >= 2.9","juju < 3"]},"juju >= 3.6"]}, the model is at 3.5.1; see juju-local model-config agent-version"#
            ]],
        );
    }
}
