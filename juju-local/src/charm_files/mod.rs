//! What a `.charm` file says: metadata, options, actions, manifest; read strictly, because Juju does.

mod archive;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use archive::{Archive, expand};
pub use schema::validate_params;

/// Why an archive is no charm: the file, what is wrong, and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CharmError(pub String);

/// Everything that Juju reads of a charm.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Charm {
    pub name: String,
    pub summary: String,
    pub subordinate: bool,
    pub provides: BTreeMap<String, String>,
    pub requires: BTreeMap<String, String>,
    pub peers: BTreeMap<String, String>,
    pub extra_bindings: Vec<String>,
    pub storage: BTreeMap<String, StorageSpec>,
    pub config: BTreeMap<String, ConfigOption>,
    pub actions: BTreeMap<String, ActionSpec>,
    pub bases: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StorageSpec {
    pub kind: String,
    pub location: String,
    pub minimum_size: Option<String>,
    /// How many instances a unit must have; zero for optional ones.
    pub minimum_count: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigOption {
    pub kind: String,
    pub default: Option<Value>,
    pub description: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionSpec {
    pub description: String,
    /// A JSON-Schema object for the parameters.
    pub schema: Value,
    pub parallel: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MetadataText {
    name: Option<String>,
    summary: Option<String>,
    description: Option<String>,
    #[serde(default)]
    subordinate: bool,
    #[serde(default)]
    provides: BTreeMap<String, Value>,
    #[serde(default)]
    requires: BTreeMap<String, Value>,
    #[serde(default)]
    peers: BTreeMap<String, Value>,
    #[serde(default)]
    extra_bindings: BTreeMap<String, Value>,
    #[serde(default)]
    storage: BTreeMap<String, StorageText>,
    #[serde(default)]
    assumes: Vec<Value>,
    #[serde(default)]
    containers: BTreeMap<String, Value>,
    series: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StorageText {
    #[serde(rename = "type")]
    kind: String,
    location: Option<String>,
    minimum_size: Option<Value>,
    multiple: Option<Value>,
}

#[derive(Deserialize)]
struct ConfigText {
    options: Option<BTreeMap<String, OptionText>>,
}

#[derive(Deserialize)]
struct OptionText {
    #[serde(rename = "type")]
    kind: Option<String>,
    default: Option<Value>,
    description: Option<String>,
}

#[derive(Deserialize)]
struct ManifestText {
    #[serde(default)]
    bases: Vec<BaseText>,
}

#[derive(Deserialize)]
struct BaseText {
    name: String,
    channel: Value,
}

impl Charm {
    /// Checks and reads an archive's files against an agent version.
    ///
    /// # Errors
    /// The first thing that Juju would refuse.
    pub fn read(archive: &mut Archive, agent_version: &str) -> Result<Self, CharmError> {
        let metadata = archive.text("metadata.yaml")?.ok_or_else(|| {
            CharmError(
                "cannot read the charm: metadata.yaml is missing at the archive's root; pack it again".to_owned(),
            )
        })?;
        let metadata: MetadataText = yaml("metadata.yaml", &metadata)?;
        let mandatory = |field: &str, value: Option<String>| {
            value
                .filter(|v| !v.is_empty())
                .ok_or_else(|| CharmError(format!("metadata.yaml: {field} is missing; add it and pack again")))
        };
        let name = mandatory("name", metadata.name)?;
        let summary = mandatory("summary", metadata.summary)?;
        mandatory("description", metadata.description)?;
        check_name(&name)?;
        if !archive.has_hooks() {
            return Err(CharmError(format!("invalid charm {name:?}: has no hooks nor dispatch file")));
        }
        let manifest = archive.text("manifest.yaml")?;
        let manifest: Option<ManifestText> = manifest.map(|text| yaml("manifest.yaml", &text)).transpose()?;
        if manifest.is_none() && (!metadata.assumes.is_empty() || !metadata.containers.is_empty()) {
            return Err(CharmError(
                "manifest.yaml is missing, which assumes and containers need; pack the charm again".to_owned(),
            ));
        }
        if metadata.series.is_some() && manifest.is_some() {
            return Err(CharmError("metadata.yaml: ambiguous metadata: series goes with format 1, manifest.yaml with format 2; drop series".to_owned()));
        }
        check_assumes(&metadata.assumes, agent_version)?;
        let mut storage = BTreeMap::new();
        for (store, text) in metadata.storage {
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
            let minimum_count = match &text.multiple {
                None => 1,
                Some(Value::Object(m)) => m.get("range").map_or(1, |r| {
                    let range = r.as_str().map_or_else(|| r.to_string(), ToOwned::to_owned);
                    range.split(['-', '+']).next().and_then(|n| n.parse().ok()).unwrap_or(0)
                }),
                Some(_) => {
                    return Err(CharmError(format!(
                        "metadata.yaml: storage {store}: multiple must be a map with range"
                    )));
                }
            };
            storage.insert(
                store.clone(),
                StorageSpec {
                    kind: text.kind,
                    location: text.location.unwrap_or_else(|| format!("/var/lib/juju/storage/{store}/0")),
                    minimum_size: text
                        .minimum_size
                        .map(|s| s.as_str().map_or_else(|| s.to_string(), ToOwned::to_owned)),
                    minimum_count,
                },
            );
        }
        let mut taken: BTreeSet<String> = metadata.extra_bindings.keys().cloned().collect();
        let mut endpoints = |role: &str,
                             map: BTreeMap<String, Value>|
         -> Result<BTreeMap<String, String>, CharmError> {
            map.into_iter()
                .map(|(name, value)| {
                    let interface = match &value {
                        Value::String(interface) => Some(interface.clone()),
                        Value::Object(map) => map.get("interface").and_then(Value::as_str).map(ToOwned::to_owned),
                        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
                    };
                    if name == "juju" || name.starts_with("juju-") && role != "requires" {
                        return Err(CharmError(format!(
                            "metadata.yaml: {role}: endpoint name {name:?} is reserved; rename it"
                        )));
                    }
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
                    let interface = interface
                        .ok_or_else(|| CharmError(format!("metadata.yaml: {role}: {name}: interface is missing")))?;
                    Ok((name, interface))
                })
                .collect()
        };
        let charm = Self {
            provides: endpoints("provides", metadata.provides)?,
            requires: endpoints("requires", metadata.requires)?,
            peers: endpoints("peers", metadata.peers)?,
            extra_bindings: metadata.extra_bindings.into_keys().collect(),
            name,
            summary,
            subordinate: metadata.subordinate,
            storage,
            config: read_config(archive, agent_version)?,
            actions: read_actions(archive)?,
            bases: manifest
                .map(|m| {
                    m.bases.iter().map(|b| format!("{}@{}", b.name, b.channel.as_str().unwrap_or_default())).collect()
                })
                .unwrap_or_default(),
        };
        if charm.subordinate {
            return Err(CharmError("metadata.yaml: subordinate charms are not supported by juju-local yet".to_owned()));
        }
        Ok(charm)
    }

    /// Types a value given as text for an option, as the command line does.
    ///
    /// # Errors
    /// Names the option, its type and the value, in Juju's words.
    pub fn parse_option(&self, name: &str, text: &str) -> Result<Value, CharmError> {
        let option = self.config.get(name).ok_or_else(|| CharmError(format!("unknown option {name:?}")))?;
        let wrong = || CharmError(format!("option {name:?} expected {}, got {text:?}", option.kind));
        match option.kind.as_str() {
            "int" => text.trim().parse::<i64>().map(Value::from).map_err(|_| wrong()),
            "float" => text.trim().parse::<f64>().map(Value::from).map_err(|_| wrong()),
            "boolean" => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "t" | "1" => Ok(Value::Bool(true)),
                "false" | "f" | "0" => Ok(Value::Bool(false)),
                _ => Err(wrong()),
            },
            "secret" if !text.is_empty() && !text.starts_with("secret:") => Err(wrong()),
            _ => Ok(Value::String(text.to_owned())),
        }
    }
}

/// A version as it compares.
fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-']).map(|p| p.parse().unwrap_or(0)).chain([0, 0, 0]).take(3).collect()
}

fn yaml<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, CharmError> {
    serde_yaml::from_str(text).map_err(|why| CharmError(format!("cannot read {file}: {why}")))
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
fn check_assumes(assumes: &[Value], agent_version: &str) -> Result<(), CharmError> {
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

fn read_config(archive: &mut Archive, agent_version: &str) -> Result<BTreeMap<String, ConfigOption>, CharmError> {
    let Some(text) = archive.text("config.yaml")? else {
        return Ok(BTreeMap::new());
    };
    let config: ConfigText = yaml("config.yaml", &text)?;
    let options = config.options.ok_or_else(|| CharmError("config.yaml: options is missing".to_owned()))?;
    let mut read = BTreeMap::new();
    for (name, option) in options {
        let kind = option.kind.unwrap_or_else(|| "string".to_owned());
        let default = option.default.filter(|d| !d.is_null());
        let fits = match (kind.as_str(), &default) {
            ("string" | "int" | "float" | "boolean" | "secret", None) => true,
            ("string", Some(value)) => value.is_string(),
            ("secret", Some(value)) => value.as_str().is_some_and(|v| v.is_empty() || v.starts_with("secret:")),
            ("int", Some(value)) => value.is_i64() || value.is_u64(),
            ("float", Some(value)) => value.is_number(),
            ("boolean", Some(value)) => value.is_boolean(),
            _ => {
                return Err(CharmError(format!(
                    "config.yaml: option {name}: type {kind:?} is not string, int, float, boolean or secret"
                )));
            }
        };
        if !fits {
            return Err(CharmError(format!("config.yaml: option {name}: default does not fit type {kind}")));
        }
        if kind == "secret" && numbers(agent_version) < numbers("3.3") {
            return Err(CharmError(format!(
                "config.yaml: option {name}: type secret needs Juju 3.3; the model is at {agent_version}"
            )));
        }
        read.insert(name, ConfigOption { kind, default, description: option.description.unwrap_or_default() });
    }
    Ok(read)
}

fn read_actions(archive: &mut Archive) -> Result<BTreeMap<String, ActionSpec>, CharmError> {
    let Some(text) = archive.text("actions.yaml")? else {
        return Ok(BTreeMap::new());
    };
    let actions: BTreeMap<String, Value> = yaml("actions.yaml", &text)?;
    let mut read = BTreeMap::new();
    for (name, body) in actions {
        let fine = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        if !fine || name == "juju" || name.starts_with("juju-") {
            return Err(CharmError(format!("actions.yaml: {name:?} is not a permitted action name")));
        }
        let field = |key: &str| body.get(key).cloned().unwrap_or(Value::Null);
        let mut schema = serde_json::Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert(
            "properties".to_owned(),
            if field("params").is_object() { field("params") } else { Value::Object(serde_json::Map::new()) },
        );
        // Whatever Juju has no use for itself is part of the schema.
        const OWN: [&str; 6] = ["description", "params", "parallel", "execution-group", "title", "type"];
        for (key, value) in body.as_object().into_iter().flatten().filter(|(key, _)| !OWN.contains(&key.as_str())) {
            schema.insert(key.clone(), value.clone());
        }
        schema::check(&Value::Object(schema.clone()))
            .map_err(|why| CharmError(format!("actions.yaml: {name}: {why}")))?;
        read.insert(
            name,
            ActionSpec {
                description: field("description").as_str().unwrap_or("No description").trim().to_owned(),
                schema: Value::Object(schema),
                parallel: field("parallel").as_bool().unwrap_or(false),
            },
        );
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::archive::tests::archive;
    use super::*;
    use expect_test::{Expect, expect};

    /// What is read of a charm with these files beside the least that every charm has.
    fn check_at(version: &str, files: &[&str], expected: Expect) {
        let mut entries = vec!["dispatch 755", "manifest.yaml 644 bases: [{name: ubuntu, channel: 24.04/stable}]"];
        if !files.iter().any(|f| f.starts_with("metadata.yaml 644 name:")) {
            entries.push("metadata.yaml 644 {name: db, summary: s, description: d}");
        }
        let texts: Vec<String> = files
            .iter()
            .map(|file| file.replace("metadata.yaml +", "metadata.yaml 644 name: db\nsummary: s\ndescription: d\n"))
            .collect();
        if texts.iter().any(|t| t.starts_with("metadata.yaml")) {
            entries.retain(|e| !e.starts_with("metadata.yaml"));
        }
        entries.extend(texts.iter().map(String::as_str));
        let file = archive(&entries);
        let read = Archive::open(file.path()).and_then(|mut archive| Charm::read(&mut archive, version));
        expected.assert_eq(&match read {
            Ok(charm) => format!("{} {:?} {:?}", charm.name, charm.bases, charm.peers),
            Err(why) => why.0,
        });
    }

    fn check(files: &[&str], expected: Expect) {
        check_at("3.6.12", files, expected);
    }

    #[test]
    fn metadata() {
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

    #[test]
    fn options_and_actions() {
        let config = |text: &str, expected: Expect| check(&[&format!("config.yaml 644 {text}")], expected);
        config("{}", expect!["config.yaml: options is missing"]);
        config(
            "options: {n: {type: int, default: 1.5}}",
            expect!["config.yaml: option n: default does not fit type int"],
        );
        config(
            "options: {n: {type: int, default: ''}}",
            expect!["config.yaml: option n: default does not fit type int"],
        );
        config(
            "options: {s: {type: secret, default: x}}",
            expect!["config.yaml: option s: default does not fit type secret"],
        );
        config(
            "options: {s: {type: text}}",
            expect![[r#"config.yaml: option s: type "text" is not string, int, float, boolean or secret"#]],
        );
        check_at(
            "2.9.49",
            &["config.yaml 644 options: {s: {type: secret}}"],
            expect!["config.yaml: option s: type secret needs Juju 3.3; the model is at 2.9.49"],
        );
        let actions = |text: &str, expected: Expect| check(&[&format!("actions.yaml 644 {text}")], expected);
        actions("{backup: , restore: {params: }}", expect![[r#"db ["ubuntu@24.04/stable"] {}"#]]);
        actions("{juju-run: {}}", expect![[r#"actions.yaml: "juju-run" is not a permitted action name"#]]);
        actions(
            "{a: {params: {x: {$ref: y}}}}",
            expect![[r#"actions.yaml: a: cannot use $ref in properties.x: Juju refuses it"#]],
        );
        actions(
            "{a: {params: {x: {type: text}}}}",
            expect![[
                r#"actions.yaml: a: cannot use type "text" in properties.x: use string, integer, number, boolean, object, array or null"#
            ]],
        );
    }

    #[test]
    fn option_values() {
        let option = |kind: &str| ConfigOption { kind: kind.to_owned(), default: None, description: String::new() };
        let kinds = ["int", "float", "boolean", "string", "secret"];
        let charm = Charm { config: kinds.iter().map(|k| ((*k).to_owned(), option(k))).collect(), ..Charm::default() };
        let check = |name: &str, text: &str, expected: &str| {
            let got = charm.parse_option(name, text).map_or_else(|why| why.0, |value| value.to_string());
            assert_eq!(got, expected);
        };
        check("int", "5", "5");
        check("int", "-1", "-1");
        check("int", "banana", r#"option "int" expected int, got "banana""#);
        check("float", "1", "1.0");
        check("boolean", "True", "true");
        check("boolean", "yes", r#"option "boolean" expected boolean, got "yes""#);
        check("string", "5", "\"5\"");
        check("secret", "secret:abc", "\"secret:abc\"");
        check("secret", "plain", r#"option "secret" expected secret, got "plain""#);
        check("colour", "red", r#"unknown option "colour""#);
    }
}
