//! Juju's names for things: units, relations, secrets. Read once, here, and never taken apart elsewhere.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not the name it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {text:?} as {kind}")]
pub struct NameError {
    kind: &'static str,
    text: String,
}

/// A unit, `app/3`; ordered by application and number, so that `db/10` comes after `db/9`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName {
    app: String,
    number: u32,
}

impl UnitName {
    /// The application's name.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The number behind the slash.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl FromStr for UnitName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parts = text.split_once('/').and_then(|(app, number)| Some((app, digits(number)?)));
        match parts {
            Some((app, number)) if !app.is_empty() => Ok(Self { app: app.to_owned(), number }),
            Some(_) | None => Err(NameError { kind: "a unit name like app/0", text: text.to_owned() }),
        }
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.number)
    }
}

/// One relation, `endpoint:7`. The number alone makes it, and orders it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelationId {
    endpoint: String,
    number: u32,
}

impl RelationId {
    /// This side's endpoint.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The number behind the colon.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl FromStr for RelationId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parts = text.rsplit_once(':').and_then(|(endpoint, number)| Some((endpoint, digits(number)?)));
        match parts {
            Some((endpoint, number)) if !endpoint.is_empty() => Ok(Self { endpoint: endpoint.to_owned(), number }),
            Some(_) | None => Err(NameError { kind: "a relation id like endpoint:0", text: text.to_owned() }),
        }
    }
}

impl fmt::Display for RelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.endpoint, self.number)
    }
}

impl PartialEq for RelationId {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for RelationId {}

impl PartialOrd for RelationId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RelationId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number)
    }
}

impl Hash for RelationId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

/// A secret's address, kept as Juju wrote it. `secret:ID`, `secret://MODEL/ID` and the bare `ID` of `secret-ids` name the
/// same secret: only the part behind the last separator counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretUri(String);

impl SecretUri {
    /// As Juju wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part that makes it.
    pub fn id(&self) -> &str {
        self.0.rsplit(['/', ':']).next().unwrap_or_default()
    }
}

impl FromStr for SecretUri {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        let uri = Self(text.to_owned());
        let id = uri.id();
        let bare = id == text;
        // Nothing that a tool could take for a flag or for several arguments.
        let well_formed = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if well_formed && (bare || text.starts_with("secret:")) {
            return Ok(uri);
        }
        Err(NameError { kind: "a secret's address like secret:9m4e2mr0ui3e8a215n4g", text: text.to_owned() })
    }
}

impl fmt::Display for SecretUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for SecretUri {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for SecretUri {}

impl PartialOrd for SecretUri {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SecretUri {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id().cmp(other.id())
    }
}

impl Hash for SecretUri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

macro_rules! through_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.to_string()
            }
        }
    )*};
}
through_text!(UnitName, RelationId, SecretUri);

/// Digits only: the standard library would also take a sign.
fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_ordered_by_number_and_not_by_text() {
        let mut units: Vec<UnitName> = ["db/10", "db/9", "a-b/11"].map(|text| text.parse().unwrap()).to_vec();
        units.sort();
        assert_eq!(units.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a-b/11", "db/9", "db/10"]);
        for wrong in ["db", "db/", "/1", "db/-1", "db/+1", "db/1/2", "db/99999999999", ""] {
            assert!(wrong.parse::<UnitName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_relation_is_its_number() {
        let read = |text: &str| text.parse::<RelationId>();
        assert_eq!(read("database-peers:3"), read("anything:3"));
        assert!(read("a:9").unwrap() < read("a:10").unwrap());
        assert_eq!(read("a:x").unwrap_err().to_string(), "cannot read \"a:x\" as a relation id like endpoint:0");
    }

    #[test]
    fn a_secret_is_its_id_however_it_is_written() {
        let read = |text: &str| text.parse::<SecretUri>().unwrap();
        let uri = read("secret:9m4e2mr0ui3e8a215n4g");
        assert_eq!(uri, read("secret://0d53a8a6-0b4e-4b0c-8c38-2f1d4a8a1b11/9m4e2mr0ui3e8a215n4g"));
        assert_eq!(uri, read("9m4e2mr0ui3e8a215n4g"));
        assert_ne!(uri, read("secret:9m4e2mr0ui3e8a215n40"));
        assert_eq!(read("secret://m/9m4e").as_str(), "secret://m/9m4e");
        for wrong in ["", "secret:", "--help", "http://x/9m4e", "secret:a b"] {
            assert!(wrong.parse::<SecretUri>().is_err(), "{wrong}");
        }
    }
}
