//! What the operator has asked for: the units that are to be, also those that have not started yet.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::tool::{self, Error};
use super::types::UnitName;

/// How far one of them is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Goal {
    /// A unit's status (`waiting`, `active`, `dying`, ...) or a relation's (`joining`, `joined`, ...).
    #[serde(default)]
    pub status: String,
}

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct GoalState {
    /// Our application's units, this one included.
    #[serde(default)]
    pub units: BTreeMap<UnitName, Goal>,
    /// By endpoint, and then by the name of an application or unit at the other end.
    #[serde(default)]
    pub relations: BTreeMap<String, BTreeMap<String, Goal>>,
}

impl GoalState {
    /// The units that are meant to stay, in order.
    pub fn planned_units(&self) -> impl Iterator<Item = &UnitName> {
        self.units.iter().filter(|(_, goal)| goal.status != "dying").map(|(unit, _)| unit)
    }
}

/// Asks for it.
///
/// # Errors
/// When Juju does not answer.
pub fn get() -> Result<GoalState, Error> {
    Ok(tool::read::<Option<GoalState>>("goal-state", &[])?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_leave_are_not_planned_and_those_that_come_are() {
        let text = r#"{"units":{"db/10":{"status":"allocating"},"db/2":{"status":"waiting","since":"2026-01-01 10:00:00Z"},
            "db/1":{"status":"dying","since":"2026-01-01 10:00:00Z"}},
            "relations":{"database-peers":{"db":{"status":"joined"}}}}"#;
        let goal: GoalState = tool::parse("goal-state", text).unwrap();
        assert_eq!(goal.planned_units().map(ToString::to_string).collect::<Vec<_>>(), ["db/2", "db/10"]);
        assert_eq!(goal.relations["database-peers"]["db"].status, "joined");
        assert_eq!(tool::parse::<GoalState>("goal-state", "{\"units\":{}}").unwrap(), GoalState::default());
    }
}
