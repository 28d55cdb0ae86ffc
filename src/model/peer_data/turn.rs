//! Restarts in turn in the databags: whose turn it is, and how a unit stands with them.

use serde::{Deserialize, Serialize};

use super::is_zero;
use crate::cluster::{Turn, Turned};

/// In the application's databag.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TurnText {
    number: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

/// In a unit's databag.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TurnedText {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    options: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    number: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    waits: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

impl From<&Turn> for TurnText {
    fn from(turn: &Turn) -> Self {
        Self { number: turn.number, unit: turn.unit.as_ref().map(ToString::to_string) }
    }
}

impl TryFrom<TurnText> for Turn {
    type Error = String;

    fn try_from(text: TurnText) -> Result<Self, String> {
        Ok(Self { number: text.number, unit: text.unit.map(|unit| unit.parse()).transpose()? })
    }
}

impl From<&Turned> for TurnedText {
    fn from(turned: &Turned) -> Self {
        let Turned { options, number, waits, refused } = turned.clone();
        Self { options, number, waits, refused }
    }
}

impl From<TurnedText> for Turned {
    fn from(text: TurnedText) -> Self {
        let TurnedText { options, number, waits, refused } = text;
        Self { options, number, waits, refused }
    }
}
