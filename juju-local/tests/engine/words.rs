//! A story's commands as words, and the charms that they describe.

use std::collections::BTreeMap;

use juju_local::charm_files::{ActionSpec, Charm, ConfigOption, StorageSpec};
use serde_json::Value;

/// A command's words: `key=value` ones, and the others in their order.
pub(crate) struct Words {
    pub(crate) plain: Vec<String>,
    pub(crate) named: BTreeMap<String, String>,
}

impl Words {
    pub(crate) fn new(text: &str) -> Self {
        let (named, plain): (Vec<&str>, Vec<&str>) = text.split_whitespace().partition(|word| word.contains('='));
        let pair = |word: &str| {
            let (key, value) = word.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        };
        Self { plain: plain.into_iter().map(ToOwned::to_owned).collect(), named: named.into_iter().map(pair).collect() }
    }

    pub(crate) fn at(&self, index: usize) -> &str {
        self.plain.get(index).map_or("", String::as_str)
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.plain.iter().any(|w| w == word)
    }

    pub(crate) fn number(&self, key: &str) -> Option<u32> {
        self.named.get(key).map(|text| text.parse().unwrap())
    }

    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        let text = self.named.get(key).map(String::as_str).unwrap_or_default();
        text.split(',').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect()
    }

    /// `a:b,c:d`; a part without a colon stands for itself.
    fn pairs(&self, key: &str) -> BTreeMap<String, String> {
        let split = |part: String| match part.split_once(':') {
            Some((a, b)) => (a.to_owned(), b.to_owned()),
            None => (part.clone(), part),
        };
        self.list(key).into_iter().map(split).collect()
    }

    /// `charm NAME provides=ENDPOINT:INTERFACE storage=NAME:LEAST-MOST:LOCATION options=NAME:DEFAULT ...`
    pub(crate) fn charm(&self) -> Charm {
        let option = |(name, default): (String, String)| {
            let kind = if default.parse::<i64>().is_ok() { "int" } else { "string" };
            let default = default.parse::<i64>().map_or(Value::from(default), Value::from);
            (name, ConfigOption { kind: kind.to_owned(), default: Some(default), description: String::new() })
        };
        let storage = |(name, text): (String, String)| {
            let (range, location) = text.split_once(':').unwrap_or((&text, ""));
            let (least, most) = range.split_once('-').unwrap_or((range, range));
            let spec = StorageSpec {
                kind: "filesystem".to_owned(),
                location: location.to_owned(),
                minimum_count: least.parse().unwrap(),
                maximum_count: most.parse().ok(),
                multiple: range != "1",
                ..StorageSpec::default()
            };
            (name, spec)
        };
        let actions = self.list("actions").into_iter().map(|name| (name, action()));
        Charm {
            name: self.at(1).to_owned(),
            subordinate: self.has("subordinate"),
            provides: self.pairs("provides"),
            requires: self.pairs("requires"),
            peers: self.pairs("peers"),
            limits: self.pairs("limits").into_iter().map(|(name, limit)| (name, limit.parse().unwrap())).collect(),
            container: self.list("container").into_iter().collect(),
            storage: self.pairs("storage").into_iter().map(storage).collect(),
            config: self.pairs("options").into_iter().map(option).collect(),
            actions: actions.collect(),
            ..Charm::default()
        }
    }
}

fn action() -> ActionSpec {
    serde_json::from_value(serde_json::json!({"description": "", "parallel": false, "schema": {"type": "object"}}))
        .unwrap()
}
