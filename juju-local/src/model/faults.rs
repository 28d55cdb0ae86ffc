//! What is broken on purpose and stays broken until it is mended. It is part of the model: a controller that comes back
//! still knows what to mend.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{State, UnitName};

/// Everything that lasts. Where a machine tells the fault itself (no power, a full disk), it is not written down here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Faults {
    pub cuts: BTreeSet<Cut>,
    pub frozen: BTreeSet<Frozen>,
    pub slow: BTreeMap<UnitName, Slow>,
    pub hooks: BTreeMap<UnitName, HookFault>,
    /// Applications that are to have no leader.
    #[serde(default)]
    pub leaderless: BTreeSet<String>,
}

/// A way that packets do not get through. Nobody on one side stands for everybody, this host included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cut {
    pub from: Option<UnitName>,
    pub to: Option<UnitName>,
}

/// The same between machines, by their numbers.
pub type Path = (Option<u32>, Option<u32>);

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |unit: &Option<UnitName>| unit.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string);
        write!(f, "{} -> {}", name(&self.from), name(&self.to))
    }
}

/// A service whose processes are stopped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Frozen {
    pub unit: UnitName,
    pub service: String,
    /// The machine's boot: with the next one the processes are gone.
    pub boot: u32,
}

/// What is done to packets on their way to a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slow {
    pub delay_ms: u32,
    pub jitter_ms: u32,
    pub loss_percent: f64,
}

impl std::fmt::Display for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "delay {} ms, jitter {} ms, loss {} %", self.delay_ms, self.jitter_ms, self.loss_percent)
    }
}

/// A hook that is to be slow, or to end badly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookFault {
    /// Only this hook.
    pub name: Option<String>,
    /// Once: the hook is killed at the tool call after these.
    pub kill_after_tools: Option<u32>,
    /// Once: what the hook has changed is refused.
    pub fail_commit: bool,
    /// Each tool call of each hook waits first.
    pub delay_tools_ms: Option<u64>,
}

impl HookFault {
    pub fn fits(&self, hook: &str) -> bool {
        self.name.as_ref().is_none_or(|name| name == hook)
    }
}

impl std::fmt::Display for HookFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.kill_after_tools.map(|count| format!("killed after {count} tools")));
        parts.extend(self.fail_commit.then(|| "its commit fails".to_owned()));
        parts.extend(self.delay_tools_ms.map(|delay| format!("each tool waits {delay} ms")));
        write!(f, "{}: {}", self.name.as_deref().unwrap_or("any hook"), parts.join(", "))
    }
}

impl Faults {
    /// Cuts these units off from others, or from everybody when none are named.
    pub fn cut(&mut self, units: &[UnitName], from: &[UnitName], one_way: bool) {
        let others: Vec<Option<UnitName>> =
            if from.is_empty() { vec![None] } else { from.iter().cloned().map(Some).collect() };
        for unit in units {
            for other in &others {
                self.cuts.insert(Cut { from: Some(unit.clone()), to: other.clone() });
                if !one_way {
                    self.cuts.insert(Cut { from: other.clone(), to: Some(unit.clone()) });
                }
            }
        }
    }

    /// Mends every cut that touches these units; all of them when none are named.
    pub fn heal(&mut self, units: &[UnitName]) {
        let touches = |end: &Option<UnitName>| end.as_ref().is_some_and(|unit| units.contains(unit));
        self.cuts.retain(|cut| !units.is_empty() && !touches(&cut.from) && !touches(&cut.to));
        self.slow.retain(|unit, _| !units.is_empty() && !units.contains(unit));
    }

    /// What was done to a unit goes with it.
    pub fn forget(&mut self, unit: &UnitName) {
        self.heal(std::slice::from_ref(unit));
        self.frozen.retain(|frozen| frozen.unit != *unit);
        self.hooks.remove(unit);
    }

    /// A hook was killed, or its changes were refused: that happens once. Slowness stays.
    pub fn hook_has_failed(&mut self, unit: &UnitName) {
        if let Some(fault) = self.hooks.get_mut(unit) {
            fault.kill_after_tools = None;
            fault.fail_commit = false;
            if fault.delay_tools_ms.is_none() {
                self.hooks.remove(unit);
            }
        }
    }
}

impl State {
    /// The cuts as the network sees them.
    pub fn blocked_paths(&self) -> BTreeSet<Path> {
        let machine = |unit: &Option<UnitName>| match unit {
            None => Some(None),
            // A unit that went in the meantime has no machine any more.
            Some(unit) => self.units.get(unit).map(|u| Some(u.machine)),
        };
        self.faults.cuts.iter().filter_map(|cut| Some((machine(&cut.from)?, machine(&cut.to)?))).collect()
    }

    /// Services that are frozen in the present boot of their machines.
    pub fn frozen(&self) -> Vec<&Frozen> {
        let boot = |unit| Some(self.machines.get(&self.units.get(unit)?.machine)?.boot);
        self.faults.frozen.iter().filter(|frozen| boot(&frozen.unit) == Some(frozen.boot)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn unit(number: u32) -> UnitName {
        UnitName { app: "db".to_owned(), number }
    }

    fn check(faults: &Faults, expected: Expect) {
        let mut lines: Vec<String> = faults.cuts.iter().map(ToString::to_string).collect();
        lines.extend(faults.slow.iter().map(|(unit, slow)| format!("{unit}: {slow}")));
        lines.extend(faults.hooks.iter().map(|(unit, fault)| format!("{unit}: {fault}")));
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn cuts_add_up_and_heal_by_unit() {
        let mut faults = Faults::default();
        faults.cut(&[unit(0)], &[], false);
        faults.cut(&[unit(1)], &[unit(2), unit(3)], true);
        faults.slow.insert(unit(3), Slow { delay_ms: 100, jitter_ms: 5, loss_percent: 0.5 });
        check(
            &faults,
            expect![[r#"
                * -> db/0
                db/0 -> *
                db/1 -> db/2
                db/1 -> db/3
                db/3: delay 100 ms, jitter 5 ms, loss 0.5 %"#]],
        );
        faults.heal(&[unit(3)]);
        check(
            &faults,
            expect![[r#"
                * -> db/0
                db/0 -> *
                db/1 -> db/2"#]],
        );
        faults.heal(&[]);
        check(&faults, expect![""]);
    }

    #[test]
    fn a_hook_fails_once_and_is_slow_until_cleared() {
        let mut faults = Faults::default();
        let fault = HookFault { kill_after_tools: Some(3), delay_tools_ms: Some(20), ..HookFault::default() };
        faults.hooks.insert(unit(0), fault);
        check(&faults, expect!["db/0: any hook: killed after 3 tools, each tool waits 20 ms"]);
        faults.hook_has_failed(&unit(0));
        check(&faults, expect!["db/0: any hook: each tool waits 20 ms"]);
        faults.hooks.insert(unit(0), HookFault { fail_commit: true, ..HookFault::default() });
        faults.hook_has_failed(&unit(0));
        check(&faults, expect![""]);
    }

    #[test]
    fn a_removed_unit_takes_its_faults_with_it() {
        let mut faults = Faults::default();
        faults.cut(&[unit(0)], &[unit(1)], false);
        faults.hooks.insert(unit(0), HookFault { fail_commit: true, ..HookFault::default() });
        faults.frozen.insert(Frozen { unit: unit(0), service: "x".to_owned(), boot: 1 });
        faults.forget(&unit(0));
        check(&faults, expect![""]);
        assert!(faults.frozen.is_empty());
    }
}
