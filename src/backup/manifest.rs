//! What is written beside a backup's data. Each of these objects carries a seal, the checksum of its own text, because
//! one flipped bit in a position or a size would be as bad as one in the data.

use std::fmt::{self, Write as _};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::host::clock::{self, Timestamp};

/// What this revision writes, and the highest that it reads.
pub const FORMAT: u32 = 1;

/// The objects' names within a backup's folder.
pub const MANIFEST: &str = "manifest.json";
pub const PROOF: &str = "verified.json";
pub const FAILED: &str = "failed.json";
/// Followed by the writer's token.
pub const BEGUN: &str = "begun.";
/// Followed by a number.
pub const DATA: &str = "data.";

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl From<Sha256> for Checksum {
    fn from(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Checksum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(serde::de::Error::custom("not 64 hexadecimal digits"));
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(serde::de::Error::custom)?;
            *byte = u8::from_str_radix(pair, 16).map_err(serde::de::Error::custom)?;
        }
        Ok(Self(bytes))
    }
}

/// What kind of backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// All pages.
    Full,
    /// The pages that changed since another one.
    Incremental,
    /// Statements.
    Logical,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
            Self::Logical => "logical",
        })
    }
}

/// A place in a cluster's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub uuid: String,
    pub seqno: u64,
}

/// A place in the binary logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binlog {
    pub file: String,
    pub position: u64,
}

/// From where to where in the engine's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lsn {
    pub from: u64,
    pub to: u64,
}

/// Whose data they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub name: String,
    pub uuid: String,
    pub branch: u32,
}

/// For whom it is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    pub recipients: Vec<String>,
}

/// One object of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Within the backup's folder.
    pub name: String,
    pub bytes: u64,
    /// Of each chunk, in order: together they are the object's.
    pub chunks: Vec<Checksum>,
}

/// A backup. It exists from the moment that this is in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    pub format: u32,
    pub id: String,
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
    /// Where it ends in the cluster's history; unknown for a server that is no member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binlog: Option<Binlog>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsn: Option<Lsn>,
    pub unit: String,
    pub application: String,
    pub model_uuid: String,
    pub cluster: Cluster,
    /// Which data directory; without it no incremental can build on this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    pub server_version: String,
    pub tool: String,
    pub compression: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    pub raw_bytes: u64,
    pub stored_bytes: u64,
    /// Of each chunk but an object's last.
    pub chunk_bytes: u64,
    pub files: Vec<Part>,
    #[serde(with = "stamp")]
    pub began: Timestamp,
    #[serde(with = "stamp")]
    pub ended: Timestamp,
    pub who: String,
    pub why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The first thing in a backup's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Begun {
    pub format: u32,
    pub token: String,
    pub unit: String,
    pub host: String,
    pub application: String,
    pub model_uuid: String,
    pub kind: Kind,
    #[serde(with = "stamp")]
    pub at: Timestamp,
    /// When its writer was last alive: written anew every few minutes.
    #[serde(with = "stamp")]
    pub alive: Timestamp,
    pub who: String,
    pub why: String,
}

/// In place of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failed {
    pub format: u32,
    #[serde(with = "stamp")]
    pub at: Timestamp,
    pub reason: String,
    pub unit: String,
    pub application: String,
    pub model_uuid: String,
    pub kind: Kind,
    pub who: String,
    pub why: String,
}

/// What came of the last try to restore it for a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Proof {
    pub format: u32,
    #[serde(with = "stamp")]
    pub at: Timestamp,
    pub how: String,
    pub unit: String,
    pub server_version: String,
    /// Tables of users.
    pub tables: u64,
    pub rows: u64,
    /// Of all users' tables: names, row counts and the server's own checksums.
    pub checksum: String,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Why an object's text is no good; completes "its manifest ...".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Made by somebody who knows more.
    #[error("was made by a newer revision of this charm (format {0}): refresh this application first")]
    Newer(u64),
    /// Not as it was written.
    #[error("is damaged: {0}")]
    Damaged(String),
}

const SEAL: &str = ",\n  \"seal\": \"";
const SEAL_END: &str = "\"\n}\n";

/// The text of an object, with its seal.
pub fn write<T: Serialize>(value: &T) -> Vec<u8> {
    // Maps with keys that are no text could not be written; there are none.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut sealed = text.strip_suffix("\n}").unwrap_or(&text).to_owned();
    let seal = Checksum::of(sealed.as_bytes());
    let _infallible = write!(sealed, "{SEAL}{seal}{SEAL_END}");
    sealed.into_bytes()
}

/// Reads such a text.
///
/// # Errors
/// When it was made by a newer revision, or is not what was written.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    #[derive(Deserialize)]
    struct Head {
        format: u64,
    }
    let damaged = |why: serde_json::Error| Unreadable::Damaged(why.to_string());
    let head: Head = serde_json::from_slice(bytes).map_err(damaged)?;
    // First of all: a newer revision may seal in another way.
    if head.format > u64::from(FORMAT) {
        return Err(Unreadable::Newer(head.format));
    }
    let sealed = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix(SEAL_END)).and_then(|text| {
        let (text, seal) = text.rsplit_once(SEAL)?;
        Some(Checksum::of(text.as_bytes()).to_string() == seal)
    });
    if sealed != Some(true) {
        return Err(Unreadable::Damaged("its text is not the one that was written".to_owned()));
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// A backup's name: the second at which it began.
pub fn is_id(text: &str) -> bool {
    Timestamp::parse(text).is_some_and(|stamp| stamp.to_string() == text)
}

/// The name of the n-th data object within its folder, from 1.
pub fn data_name(number: usize) -> String {
    format!("{DATA}{number:04}")
}

/// What the wall clock says, to the second, as it is written: what is in hand and what is read again are the same.
pub(super) fn now() -> Timestamp {
    to_the_second(clock::now())
}

/// That moment without its fraction.
pub(super) fn to_the_second(moment: Timestamp) -> Timestamp {
    Timestamp::from_unix_seconds(moment.unix_seconds()).unwrap_or(moment)
}

mod stamp {
    //! Moments as text.

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Timestamp;

    pub(super) fn serialize<S: Serializer>(value: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text).ok_or_else(|| serde::de::Error::custom("no moment in time"))
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
