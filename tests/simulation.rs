//! The simulation: whole clusters of one to nine units in virtual time, around the real `cluster::decide`, the charm's own
//! databag texts and `juju-local`'s own engine. A seed draws what goes wrong. First the promises are checked while things
//! break; then everything mends, and everything must become healthy in time.
//!
//! `SEEDS=50000` runs that many, `FIRST=n` begins there, `SEED=n` replays one and prints every event, and with `KEEP=2,5`
//! only these of its faults.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test reads its settings, keeps time and stops where it fails"
)]

#[path = "simulation/branches.rs"]
mod branches;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/galera.rs"]
mod galera;
#[path = "simulation/hollow.rs"]
mod hollow;
#[path = "simulation/juju.rs"]
mod juju;
#[path = "simulation/observe.rs"]
mod observe;
#[path = "simulation/person.rs"]
mod person;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/planned.rs"]
mod planned;
#[path = "simulation/power.rs"]
mod power;
#[path = "simulation/quiet.rs"]
mod quiet;
#[path = "simulation/restore.rs"]
mod restore;
#[path = "simulation/run.rs"]
mod run;
#[path = "support/setting.rs"]
mod setting;
#[path = "simulation/steps.rs"]
mod steps;
#[path = "simulation/transfer.rs"]
mod transfer;
#[path = "simulation/turns.rs"]
mod turns;
#[path = "simulation/views.rs"]
mod views;
#[path = "simulation/world.rs"]
mod world;
#[path = "simulation/writes.rs"]
mod writes;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use plan::Plan;
use run::{Ending, Outcome, run, shrink};
use setting::setting;

/// Mistakes that the simulation has to find. They are made here, around the decision, and nowhere in the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// The journal forgets which permission was used.
    ForgetsUsedEpoch,
    /// The gate leaves the permission to bootstrap as it is: every start uses it.
    KeepsTheFlag,
    /// Positions are compared the wrong way round.
    TakesTheLowest,
    /// `db-init` starts over with every step.
    ForgetsDbInit,
    /// Nobody ever calls an outage one.
    NeverStalled,
    /// The leader's permission is lost.
    NeverPermits,
    /// The agent does not write down whom its server sees.
    ForgetsTheView,
    /// The gate lets a view be restored beside the nil UUID.
    RestoresWithoutAHistory,
    /// Who serves says nothing to a restart by force that leaves it behind.
    NobodyObjects,
    /// The servers of all branches find each other.
    OneNameForAll,
    /// Who was left behind joins with the copy that it has.
    KeepsItsCopy,
    /// Whoever hears of a turn takes it for its own.
    TurnsForAll,
    /// Nobody hears that others refuse the options.
    NobodyRefuses,
    /// Whoever gives a turn or has one looks for it only when somebody calls.
    NeverLooksForItsTurn,
}

/// What was seen in one run, or in many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) faults: std::collections::BTreeMap<&'static str, u64>,
    pub(crate) hooks: u64,
    pub(crate) hooks_failed: u64,
    pub(crate) views: u64,
    pub(crate) hollow: u64,
    pub(crate) restored: u64,
    pub(crate) incremental: u64,
    pub(crate) full: u64,
    pub(crate) failed_transfers: u64,
    pub(crate) bootstraps: u64,
    pub(crate) recoveries: u64,
    pub(crate) credentials: u64,
    /// Restarts by force: asked for, opened, and begun as a branch.
    pub(crate) asked: u64,
    pub(crate) forced: u64,
    pub(crate) branches: u64,
    /// Writes acknowledged by those who were left behind and did not know it yet.
    pub(crate) given_up: u64,
    /// Restores that have begun.
    pub(crate) restores: u64,
    /// Planned backups that were made.
    pub(crate) backups: u64,
    /// Restarts in turn, options with which a server did not start, and those that a person took back.
    pub(crate) restarts: u64,
    pub(crate) refused: u64,
    pub(crate) taken_back: u64,
    /// For how long one of them served, with Juju and the newest branch in reach.
    pub(crate) late_max: u64,
}

impl Stats {
    fn add(&mut self, other: &Self) {
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.hooks += other.hooks;
        self.hooks_failed += other.hooks_failed;
        self.views += other.views;
        self.hollow += other.hollow;
        self.restored += other.restored;
        self.incremental += other.incremental;
        self.full += other.full;
        self.failed_transfers += other.failed_transfers;
        self.bootstraps += other.bootstraps;
        self.recoveries += other.recoveries;
        self.credentials += other.credentials;
        self.asked += other.asked;
        self.forced += other.forced;
        self.branches += other.branches;
        self.given_up += other.given_up;
        self.restores += other.restores;
        self.backups += other.backups;
        self.restarts += other.restarts;
        self.refused += other.refused;
        self.taken_back += other.taken_back;
        self.late_max = self.late_max.max(other.late_max);
    }
}

/// Everything that many runs came to.
#[derive(Default)]
struct Sum {
    runs: u64,
    milliseconds: u64,
    writes: u64,
    stats: Stats,
    heals: Vec<u64>,
    /// Waited for a person, who restarted them by force.
    forced: u64,
    blocked: u64,
    blocked_for_nothing: u64,
    failed: Option<(u64, String)>,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.runs += 1;
        self.milliseconds += outcome.time;
        self.writes += outcome.writes;
        self.stats.add(&outcome.stats);
        match outcome.ending {
            Ending::Healed(after) => self.heals.push(after),
            Ending::Forced { newest_was_there } => {
                self.forced += 1;
                self.blocked_for_nothing += u64::from(newest_was_there);
            }
            Ending::Blocked { newest_is_there } => {
                self.blocked += 1;
                self.blocked_for_nothing += u64::from(newest_is_there);
            }
            Ending::Broken(why) => {
                // The lowest seed, so that the same range names the same one however threads take turns.
                if self.failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                    self.failed = Some((seed, why));
                }
            }
        }
    }

    fn print(&mut self, wall: f64) {
        // Most clusters have healed by themselves before the last fault ends.
        let before = self.heals.iter().filter(|time| **time == 0).count();
        self.heals.retain(|time| *time > 0);
        self.heals.sort_unstable();
        let at = |part: f64| self.heals.get(((self.heals.len() as f64 - 1.0) * part) as usize).copied().unwrap_or(0);
        let hours = self.milliseconds as f64 / 3_600_000.0;
        let s = &self.stats;
        println!(
            "{} seeds in {wall:.1} s: {hours:.0} cluster-hours, {:.0} per wall minute",
            self.runs,
            hours / wall * 60.0
        );
        println!("faults: {:?}", s.faults);
        println!(
            "hooks {} ({} failed), views {} (restored {}, without the data {}), transfers incremental {} full {} failed {}, bootstraps {}, recoveries {}, writes {}",
            s.hooks,
            s.hooks_failed,
            s.views,
            s.restored,
            s.hollow,
            s.incremental,
            s.full,
            s.failed_transfers,
            s.bootstraps,
            s.recoveries,
            self.writes
        );
        println!(
            "planned backups: {}; restores begun: {}; restarts by force: asked for {}, opened {}, begun {}; writes given up behind them {}; served on for {:.0} s at most",
            s.backups,
            s.restores,
            s.asked,
            s.forced,
            s.branches,
            s.given_up,
            s.late_max as f64 / 1000.0
        );
        println!(
            "restarts in turn: {}; options refused by a unit: {}, taken back by a person: {}",
            s.restarts, s.refused, s.taken_back
        );
        println!(
            "healthy when everything mended: {before}; the other {} healed in median {:.0} s, p99 {:.0} s, max {:.0} s; healed by force {}; blocked as documented {}; of both with the newest write at hand {}",
            self.heals.len(),
            at(0.5) as f64 / 1000.0,
            at(0.99) as f64 / 1000.0,
            at(1.0) as f64 / 1000.0,
            self.forced,
            self.blocked,
            self.blocked_for_nothing
        );
    }
}

/// Runs seeds on all processors until the first failure has been reached from below.
fn many(first: u64, count: u64, planted: Option<Planted>) -> Sum {
    let next = AtomicU64::new(first);
    let sum = Mutex::new(Sum::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || sum.lock().unwrap().failed.as_ref().is_some_and(|(f, _)| *f < seed) {
                        return;
                    }
                    let outcome = run(&Plan::draw(seed), planted);
                    sum.lock().unwrap().add(seed, outcome);
                }
            });
        }
    });
    sum.into_inner().unwrap()
}

/// The story of a failure: the shortest list of faults that still fails, and everything that happened.
fn story(seed: u64, planted: Option<Planted>) -> String {
    let plan = shrink(Plan::draw(seed), planted);
    let outcome = run(&plan, planted);
    let faults = plan.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    format!(
        "seed {seed} with {} units, shrunk to {} faults:\n{faults}\nSEED={seed} KEEP={} replays them\n\nevents:\n{}\n\n{:?}",
        plan.units,
        plan.faults.len(),
        plan.kept(),
        outcome.log.join("\n"),
        outcome.ending
    )
}

#[test]
fn promises_hold_and_everything_heals() {
    if let Some(seed) = setting("SEED", 0) {
        let mut plan = Plan::draw(seed);
        if let Ok(list) = std::env::var("KEEP") {
            plan.keep(&list);
        }
        let outcome = run(&plan, None);
        println!("{}\n{:?}", outcome.log.join("\n"), outcome.ending);
        if setting("SHRINK", 0).is_some() {
            println!("{}", story(seed, None));
        }
        assert!(!matches!(outcome.ending, Ending::Broken(_)), "{:?}", outcome.ending);
        return;
    }
    let begin = Instant::now();
    let (first, count) = (setting("FIRST", 0).unwrap_or(1), setting("SEEDS", 1).unwrap_or(1000));
    assert!(first.checked_add(count).is_some(), "FIRST={first} SEEDS={count}: there are no such seeds");
    let mut sum = many(first, count, None);
    sum.print(begin.elapsed().as_secs_f64());
    if let Some((seed, why)) = &sum.failed {
        panic!("{why}\n{}", story(*seed, None));
    }
    // A simulation in which nothing happens would be green too; a few seeds alone need not have everything in them.
    const ENOUGH: u64 = 1000;
    if count < ENOUGH {
        return;
    }
    let s = &sum.stats;
    let bites =
        [s.incremental, s.full, s.failed_transfers, s.recoveries, s.restored, s.hollow, s.hooks_failed, sum.writes];
    let turns = [s.restarts, s.refused];
    assert!(bites.iter().chain(&turns).all(|n| *n > 0), "the faults do not bite: {bites:?} {turns:?}");
}

#[test]
fn the_same_seed_gives_the_same_events() {
    for seed in 1..=30 {
        let plan = Plan::draw(seed);
        let (one, other) = (run(&plan, None).log, run(&plan, None).log);
        assert!(!one.is_empty());
        assert_eq!(one.join("\n"), other.join("\n"), "seed {seed}");
    }
}

#[test]
fn planted_mistakes_are_found() {
    for (planted, expected, within) in [
        (Planted::NeverPermits, "not healthy", 5),
        (Planted::ForgetsDbInit, "db-init", 5),
        (Planted::NeverStalled, "not healthy", 200),
        (Planted::TakesTheLowest, "is lost", 400),
        (Planted::ForgetsUsedEpoch, "not healthy", 1000),
        (Planted::ForgetsTheView, "is lost", 800),
        (Planted::RestoresWithoutAHistory, "a new history beside", 800),
        (Planted::KeepsTheFlag, "", 200),
        (Planted::NobodyObjects, "could object", 400),
        (Planted::OneNameForAll, "mixed with", 400),
        (Planted::KeepsItsCopy, "mixed with|overwritten|is lost|not healthy", 400),
        (Planted::TurnsForAll, "is not back from its restart", 400),
        (Planted::NobodyRefuses, "refuses", 400),
        (Planted::NeverLooksForItsTurn, "nothing happens", 400),
    ] {
        let begin = Instant::now();
        let sum = many(1, within, Some(planted));
        let Some((seed, why)) = sum.failed else {
            panic!("{planted:?} was not found within {within} seeds");
        };
        println!("planted {planted:?}: found by seed {seed} in {:.1} s: {why}", begin.elapsed().as_secs_f64());
        assert!(
            expected.split('|').any(|word| why.contains(word)),
            "{planted:?} was not found by {expected:?}, but {why}"
        );
    }
}
