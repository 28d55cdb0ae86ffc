//! What a `.charm` file says, read strictly, because Juju does: `metadata`, `config` and `actions` know the files of
//! these names, `rules` what holds for all of them, `schema` an action's parameters, `archive` the zip around them, and
//! `pack` makes one. Here they become one charm.

mod actions;
mod archive;
mod config;
mod metadata;
mod pack;
mod rules;
mod schema;
mod storage;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use actions::ActionSpec;
pub use archive::{Archive, expand};
pub use config::ConfigOption;
pub use metadata::{ResourceSpec, StorageSpec};
pub use pack::pack;
pub use rules::check_profile;
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
    /// Endpoints with so many relations at most.
    #[serde(default)]
    pub limits: BTreeMap<String, u32>,
    /// Endpoints whose relations stay on one machine.
    #[serde(default)]
    pub container: BTreeSet<String>,
    pub extra_bindings: Vec<String>,
    pub storage: BTreeMap<String, StorageSpec>,
    pub config: BTreeMap<String, ConfigOption>,
    pub actions: BTreeMap<String, ActionSpec>,
    pub bases: Vec<String>,
    #[serde(default)]
    pub resources: BTreeMap<String, ResourceSpec>,
}

impl Charm {
    /// Checks and reads an archive's files against an agent version.
    ///
    /// # Errors
    /// The first thing that Juju would refuse.
    pub fn read(archive: &mut Archive, agent_version: &str) -> Result<Self, CharmError> {
        let metadata = archive.text("metadata.yaml")?.ok_or_else(|| {
            let remedy = match archive.elsewhere("metadata.yaml") {
                Some(found) => format!("it is at {found}: pack what is in that directory, not the directory"),
                None => "pack it again".to_owned(),
            };
            CharmError(format!("cannot read the charm: metadata.yaml is missing at the archive's root; {remedy}"))
        })?;
        let raw: Value = yaml("metadata.yaml", &metadata)?;
        let metadata: metadata::Metadata = yaml("metadata.yaml", &metadata)?;
        let (name, summary) = metadata.name_and_summary()?;
        if archive.has_dispatch_folder() {
            return Err(CharmError("dispatch is a folder; it has to be a program".to_owned()));
        }
        if !archive.has_hooks() {
            return Err(CharmError(format!("invalid charm {name:?}: has no hooks nor dispatch file")));
        }
        let manifest = archive.text("manifest.yaml")?;
        if let Some(text) = &manifest {
            rules::check_manifest(&yaml("manifest.yaml", text)?)?;
        }
        let manifest: Option<ManifestText> = manifest.map(|text| yaml("manifest.yaml", &text)).transpose()?;
        rules::check(&raw, manifest.is_some(), agent_version)?;
        if manifest.is_none() && !metadata.assumes.is_empty() {
            return Err(CharmError("manifest.yaml is missing, which assumes needs; pack the charm again".to_owned()));
        }
        metadata::check_assumes(&metadata.assumes, agent_version)?;
        let (limits, container) = metadata::limits_and_scopes(&metadata);
        if metadata.subordinate && !metadata.requires.keys().any(|name| container.contains(name)) {
            return Err(CharmError(format!(
                "subordinate charm {name:?} lacks \"requires\" relation with container scope"
            )));
        }
        let storage = metadata::storage(metadata.storage)?;
        let resources = metadata::resources(metadata.resources)?;
        let mut taken: BTreeSet<String> = metadata.extra_bindings.keys().cloned().collect();
        let mut endpoints = |role, map| metadata::endpoints(role, map, &mut taken);
        Ok(Self {
            provides: endpoints("provides", metadata.provides)?,
            requires: endpoints("requires", metadata.requires)?,
            peers: endpoints("peers", metadata.peers)?,
            limits,
            container,
            extra_bindings: metadata.extra_bindings.into_keys().collect(),
            name,
            summary,
            subordinate: metadata.subordinate,
            storage,
            resources,
            config: config::read(archive, agent_version)?,
            actions: actions::read(archive)?,
            bases: manifest
                .map(|m| m.bases.iter().map(|b| format!("{}@{}", b.name, plain(&b.channel))).collect())
                .unwrap_or_default(),
        })
    }
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

/// A version as it compares.
pub(crate) fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-']).map(|p| p.parse().unwrap_or(0)).chain([0, 0, 0]).take(3).collect()
}

/// A scalar as it would be written.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
}

/// What the YAML library says to a programmer, said to a charm's author or user in one line.
pub(crate) fn in_words(why: &serde_yaml::Error) -> String {
    // Below its first line it draws a picture of the place.
    let why = why.to_string();
    let why = why.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let why = why.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
    if why.contains("multiple YAML documents") {
        return "it has several documents, and one is expected".to_owned();
    }
    if why.contains("budget breached") {
        return "it is too large, too deep, or refers to itself too often".to_owned();
    }
    why.replace("expected mapping start", "expected a map")
        .replace("expected string scalar", "expected a text")
        .replace("expected sequence start", "expected a list")
}

fn yaml<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, CharmError> {
    serde_yaml::from_str(text).map_err(|why| CharmError(format!("cannot read {file}: {}", in_words(&why))))
}

#[cfg(test)]
mod tests {
    use super::archive::tests::archive;
    use super::*;
    use expect_test::Expect;

    /// What is read of a charm with these files beside the least that every charm has.
    pub(super) fn check_at(version: &str, files: &[&str], expected: Expect) {
        let mut entries = vec!["dispatch 755"];
        if !files.iter().any(|f| f.starts_with("manifest.yaml")) {
            entries.push("manifest.yaml 644 bases: [{name: ubuntu, channel: 24.04/stable}]");
        }
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

    pub(super) fn check(files: &[&str], expected: Expect) {
        check_at("3.6.12", files, expected);
    }

    #[test]
    fn yaml_that_cannot_be_read() {
        check(
            &["metadata.yaml 644 name: db\nname: b\n"],
            expect_test::expect!["cannot read metadata.yaml: line 2 column 1: duplicate mapping key: name"],
        );
        check(
            &["metadata.yaml 644 name: db\n---\nname: b\n"],
            expect_test::expect!["cannot read metadata.yaml: it has several documents, and one is expected"],
        );
        check(
            &["metadata.yaml 644 name: [x]\n"],
            expect_test::expect!["cannot read metadata.yaml: line 1 column 7: expected a text"],
        );
        check(
            &["metadata.yaml 644 - name\n"],
            expect_test::expect!["cannot read metadata.yaml: line 1 column 1: expected a map"],
        );
        check(&["dispatch/x 755 one"], expect_test::expect!["dispatch is a folder; it has to be a program"]);
    }
}
