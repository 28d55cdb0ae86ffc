//! Options that make a charm's bugs visible: `strict` looks for them after each hook (`again`, `leaks`, `processes`,
//! `loops`) and keeps `findings`; `shuffle` draws what Juju leaves open; `trace` tells the
//! story, and `replay` tells it again to the engine. All are model settings and off by default.

mod again;
mod bags;
mod findings;
mod leaks;
mod loops;
mod patch;
mod processes;
mod replay;
pub mod shuffle;
mod step;
mod strict;
mod trace;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use again::compare;
pub(crate) use again::keys;
pub use findings::{Finding, Kind};
pub use leaks::{check_call, note_refusal};
pub use replay::{Report, replay};
pub use step::Step;
pub(crate) use strict::{Strict, Watcher, changes_before, check_refused, check_texts, hook_begins};
pub use trace::path as trace_path;

use crate::model::{HookInfo, ModelError, State, UnitName};
use shuffle::Dice;

/// What is only remembered while the controller runs.
#[derive(Default)]
pub struct Memory {
    loops: Mutex<loops::Loops>,
    bags: Mutex<bags::Bags>,
    tracer: Mutex<Option<trace::Tracer>>,
}

impl Memory {
    fn tracer(&self) -> MutexGuard<'_, Option<trace::Tracer>> {
        self.tracer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bags(&self) -> MutexGuard<'_, bags::Bags> {
        self.bags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loops(&self) -> MutexGuard<'_, loops::Loops> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A hook has ended well: the agent forgets the bag of a unit that has departed.
    pub(crate) fn ended(&self, unit: &UnitName, hook: &HookInfo) {
        self.bags().ended(unit, hook);
    }

    /// Puts what a unit knows of before in the place of what is there now, for some of the others' bags.
    pub(crate) fn remember(&self, snapshot: &mut State, unit: &UnitName, hook: Option<&HookInfo>, dice: Dice) {
        self.bags().read(snapshot, unit, hook, dice);
    }

    /// Somebody outside has done something: whatever hooks follow are no echoes.
    pub fn outside(&self) {
        self.loops().outside();
    }
}

/// Refuses what these settings cannot be.
///
/// # Errors
/// Names the setting, and what it may be.
pub fn check_settings(set: &BTreeMap<String, String>) -> Result<(), ModelError> {
    let refuse = |text: String| Err(ModelError::new(text));
    for (key, value) in set {
        match key.as_str() {
            "strict" => {
                Strict::parse(value).map_err(ModelError::new)?;
            }
            "strict-hook-limit" if crate::uniter::agent::seconds(value).is_none_or(|seconds| seconds == 0) => {
                return refuse(format!("strict-hook-limit {value:?} is no duration; write for example 90s or 5m"));
            }
            "shuffle-leadership" | "trace" if !["true", "false"].contains(&value.as_str()) => {
                return refuse(format!("{key} {value:?} is neither true nor false"));
            }
            "shuffle-seed" if !value.is_empty() && value.parse::<u64>().is_err() => {
                return refuse(format!("shuffle-seed {value:?} is no number; an empty one switches shuffling off"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn settings() {
        let check = |key: &str, value: &str, expected: Expect| {
            let said = check_settings(&BTreeMap::from([(key.to_owned(), value.to_owned())]));
            expected.assert_eq(&said.map_or_else(|why| why.to_string(), |()| "fine".to_owned()));
        };
        check("strict", "true", expect!["fine"]);
        check("strict", "secrets,slow", expect!["fine"]);
        check(
            "strict",
            "secrets,fast",
            expect![[
                r#"strict "fast" is unknown; write true, false or a list of idempotent, secrets, background, slow, loops, tools"#
            ]],
        );
        check(
            "strict-hook-limit",
            "soon",
            expect![[r#"strict-hook-limit "soon" is no duration; write for example 90s or 5m"#]],
        );
        check("shuffle-seed", "7", expect!["fine"]);
        check("shuffle-seed", "", expect!["fine"]);
        check("shuffle-seed", "x", expect![[r#"shuffle-seed "x" is no number; an empty one switches shuffling off"#]]);
        check("trace", "yes", expect![[r#"trace "yes" is neither true nor false"#]]);
    }
}
