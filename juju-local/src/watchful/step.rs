//! The changes that an agent makes to the model, as data: what is done while units run is done again by `replay`.

use serde::{Deserialize, Serialize};

use crate::model::{HookInfo, State, UnitName};
use crate::uniter::commit::{self, Seen};
use crate::uniter::context::Buffered;

/// One change.
#[derive(Clone, Debug, Serialize, Deserialize)]
// Numbers as keys of maps do not survive a tag beside them.
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A hook is about to run.
    Begin {
        unit: UnitName,
        hook: HookInfo,
        now: u64,
    },
    /// What a run has buffered becomes true.
    Flush {
        unit: UnitName,
        buffered: Buffered,
    },
    /// A hook is over, run or passed over.
    Finished {
        unit: UnitName,
        hook: HookInfo,
        seen: Seen,
        now: u64,
    },
    Failed {
        unit: UnitName,
        hook: HookInfo,
        now: u64,
    },
    /// The charm's files are those of this revision.
    Upgraded {
        unit: UnitName,
        revision: u32,
    },
    /// The unit's dice are thrown for its next operation.
    Throw {
        unit: UnitName,
    },
}

impl Step {
    /// Does it.
    ///
    /// # Errors
    /// When Juju's controller would refuse what a run has buffered.
    pub fn apply(&self, state: &mut State) -> Result<(), String> {
        match self {
            Self::Begin { unit, hook, now } => commit::begin(state, unit, hook, *now),
            Self::Flush { unit, buffered } => return commit::flush(state, unit, buffered),
            Self::Finished { unit, hook, seen, now } => commit::finished(state, unit, hook, seen, *now),
            Self::Failed { unit, hook, now } => commit::failed(state, unit, hook, *now),
            Self::Upgraded { unit, revision } => commit::upgraded(state, unit, *revision),
            Self::Throw { unit } => super::shuffle::throw(state, unit),
        }
        Ok(())
    }
}
