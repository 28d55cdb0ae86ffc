//! What a `.charm` file says: metadata, options, actions, manifest; read strictly, because Juju does.

mod archive;
mod schema;

use std::collections::BTreeMap;

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
        let endpoints = |role: &str, map: BTreeMap<String, Value>| -> Result<BTreeMap<String, String>, CharmError> {
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
            config: read_config(archive)?,
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
                        let parse = |v: &str| -> Vec<u32> {
                            v.split(['.', '-']).map(|p| p.parse().unwrap_or(0)).chain([0, 0, 0]).take(3).collect()
                        };
                        if *op == ">=" {
                            parse(version) >= parse(wanted)
                        } else {
                            *op == "<" && parse(version) < parse(wanted)
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

fn read_config(archive: &mut Archive) -> Result<BTreeMap<String, ConfigOption>, CharmError> {
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
            ("string" | "secret", Some(value)) => value.is_string(),
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
        for key in ["required", "additionalProperties"] {
            if let Some(value) = body.get(key) {
                schema.insert(key.to_owned(), value.clone());
            }
        }
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
