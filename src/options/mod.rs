//! The options about the server, each described once: its name, what it becomes in the server's file, which values it takes.
//! Pure: knows neither Juju nor a machine. `config.yaml` and the operator's table are tested against it.

mod extra;
mod table;
mod value;

pub use extra::{Extra, Line, normalised};
pub use table::{DESCRIPTIONS, OWNED};
pub use value::{Kind, bytes, names_a_zone};

use std::collections::BTreeMap;

use serde_json::Value;

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Its name for Juju.
    pub name: &'static str,
    /// What it sets.
    pub sets: Sets,
    /// Which values it takes.
    pub kind: Kind,
    /// When a change of it takes effect.
    pub takes: Takes,
}

/// What an option sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sets {
    /// A variable of the server.
    Variable(&'static str),
    /// An option of Galera's, within `wsrep_provider_options`.
    Provider(&'static str),
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// At once.
    AtOnce,
    /// When the server is restarted.
    Restart,
    /// Never behind the forming of the cluster.
    Formation,
}

/// What is set, as the server's file says it. Options without a value are left to the charm's own rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chosen {
    /// Variables of the server.
    pub variables: BTreeMap<&'static str, String>,
    /// Galera's own options.
    pub provider: BTreeMap<&'static str, String>,
    /// `extra-config`.
    pub extra: Extra,
}

impl Chosen {
    /// What a cluster that forms is to have.
    pub fn lower_case_table_names(&self) -> u8 {
        u8::from(self.variables.get(LOWER_CASE).is_some_and(|text| text == "1"))
    }

    /// Puts the value in its place with which the cluster has formed.
    #[must_use]
    pub fn with_lower_case_table_names(mut self, formed: u8) -> Self {
        self.variables.insert(LOWER_CASE, formed.to_string());
        self
    }
}

const LOWER_CASE: &str = "lower_case_table_names";

/// An option with a value that cannot be used: its name, and what is wrong.
pub type Wrong = (&'static str, String);

/// The option that sets a variable of the server, or one of Galera's own.
pub fn option_of(name: &str) -> Option<&'static Description> {
    DESCRIPTIONS.iter().find(|description| match description.sets {
        Sets::Variable(variable) => variable == name,
        Sets::Provider(option) => option == name,
    })
}

/// Checks the values of all options about the server.
///
/// # Errors
/// All that cannot be used.
pub fn read(values: &BTreeMap<String, Value>) -> Result<Chosen, Vec<Wrong>> {
    let (mut chosen, mut wrong) = (Chosen::default(), Vec::new());
    for description in &DESCRIPTIONS {
        let text = match values.get(description.name) {
            None | Some(Value::Null) => continue,
            Some(value) => description.kind.read(value),
        };
        match (text, description.sets) {
            (Ok(None), _) => {}
            (Ok(Some(text)), Sets::Variable(name)) => drop(chosen.variables.insert(name, text)),
            (Ok(Some(text)), Sets::Provider(name)) => drop(chosen.provider.insert(name, text)),
            (Err(problem), _) => wrong.push((description.name, problem)),
        }
    }
    let set = chosen.variables.get("character_set_server");
    if let Some((_, collation)) = set.and_then(|set| table::CHARACTER_SETS.iter().find(|(name, _)| name == set)) {
        chosen.variables.insert("collation_server", (*collation).to_owned());
    }
    match extra::read(values.get(EXTRA)) {
        Ok(extra) => chosen.extra = extra,
        Err(problem) => wrong.push((EXTRA, problem)),
    }
    if let Err(problem) = in_order(&chosen) {
        wrong.push(problem);
    }
    if wrong.is_empty() { Ok(chosen) } else { Err(wrong) }
}

/// The free block of server options.
pub const EXTRA: &str = "extra-config";

/// A member that is suspected must be given up no earlier than it is suspected.
fn in_order(chosen: &Chosen) -> Result<(), Wrong> {
    // Galera's defaults (wsrep_provider_options of 26.4).
    let seconds = |name: &str, default: f64| {
        let text = chosen.provider.get(name)?;
        Some(text.strip_prefix("PT")?.strip_suffix('S')?.parse().unwrap_or(default))
    };
    let suspect = seconds("evs.suspect_timeout", 5.0).unwrap_or(5.0);
    let inactive = seconds("evs.inactive_timeout", 15.0).unwrap_or(15.0);
    if suspect < inactive {
        return Ok(());
    }
    let problem = format!(
        "a member is given up after {inactive} s (inactive-timeout) and suspected only after {suspect} s (suspect-timeout): \
         it must be the other way round"
    );
    Err(("suspect-timeout", problem))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
