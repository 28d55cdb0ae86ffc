//! What was found: kept in the model, once for each thing, and said in the log.

use serde::{Deserialize, Serialize};

use crate::controller::Controller;
use crate::model::{State, UnitName};

/// What kind of bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Idempotent,
    Secrets,
    Background,
    Slow,
    Loops,
    Tools,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Idempotent => "idempotent",
            Self::Secrets => "secrets",
            Self::Background => "background",
            Self::Slow => "slow",
            Self::Loops => "loops",
            Self::Tools => "tools",
        })
    }
}

/// One bug of a charm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    pub kind: Kind,
    pub unit: UnitName,
    /// The hook or action.
    pub during: String,
    /// One sentence without any secret value.
    pub what: String,
    pub times: u32,
    /// Unix seconds.
    pub first: u64,
    pub last: u64,
}

impl State {
    /// Keeps a finding; the same one again only counts. Says whether it is new.
    pub fn find(&mut self, kind: Kind, unit: &UnitName, during: &str, what: &str, now: u64) -> bool {
        let same = |f: &&mut Finding| f.kind == kind && f.unit == *unit && f.during == during && f.what == what;
        if let Some(known) = self.findings.iter_mut().find(same) {
            known.times += 1;
            known.last = now;
            return false;
        }
        let (unit, during, what) = (unit.clone(), during.to_owned(), what.to_owned());
        self.findings.push(Finding { kind, unit, during, what, times: 1, first: now, last: now });
        true
    }
}

impl Controller {
    /// Keeps a finding and says it in the log.
    pub fn report(&self, kind: Kind, unit: &UnitName, during: &str, what: &str) {
        let mut world = self.lock();
        if world.state.find(kind, unit, during, what, self.now()) {
            self.log(&unit.tag(), "ERROR", "juju-local.strict", &format!("{kind}: {during}: {what}"));
        }
        self.save(&world);
    }
}
