//! What goes wrong in one run, and when: a list drawn from a seed. A run is determined by its seed and this list, so that a
//! shorter list with the same seed is a smaller story.

use std::fmt;

use super::restore::{CONFIRM, RESTORE, UNDO};
use super::turns::Change;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Milliseconds of virtual time.
pub(crate) type Ms = u64;
pub(crate) const SECOND: Ms = 1000;
pub(crate) const MINUTE: Ms = 60 * SECOND;

/// One thing that goes wrong, or is done by an operator. Units are picked by an index among those that are there at that
/// moment, so that a list stays meaningful when others are dropped from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// These lose their power, the next always a little later than the one before.
    PowerCut { picks: Vec<usize>, stagger: Ms, off: Ms },
    /// These lose their power in the middle of a statement that changes tables.
    CutInChange { picks: Vec<usize>, off: Ms },
    /// The machines are shut down in order and switched on again.
    ShutDown { picks: Vec<usize>, stagger: Ms, off: Ms },
    /// The server is killed, maybe in the middle of a statement that changes tables; systemd starts it again.
    KillServer { pick: usize, in_change: bool },
    /// The server stands still (a debugger, a disk that does not answer).
    FreezeServer { pick: usize, last: Ms },
    /// The whole machine stands still, hooks and agents too (a virtual machine that is paused).
    FreezeMachine { pick: usize, last: Ms },
    /// The network falls into groups; one of them keeps the controller.
    Partition { sides: Vec<u8>, controller: u8, last: Ms },
    /// The leader is cut off from the others, alone or with one of them. Juju reaches all, or the leader's side only.
    CutLeaderOff { with: Option<usize>, juju_reaches_all: bool, last: Ms },
    /// A person takes silence for loss, and runs `bootstrap-cluster force=true` so many times.
    Force { tries: u8, pause: Ms },
    /// A person runs this action on the leader: a restore, or what follows one.
    Ask { action: &'static str },
    /// The running hook is killed, or the next one.
    KillHook { pick: usize },
    /// Juju refuses what the next hook writes.
    RefuseCommit { pick: usize },
    /// Leadership moves.
    Lead { pick: usize },
    /// Nobody can talk to Juju.
    ControllerDown { last: Ms },
    /// A machine loses its power, and its data volume comes back empty.
    DiskLost { pick: usize, off: Ms },
    /// `juju add-unit`.
    Add,
    /// `juju remove-unit`.
    Remove { pick: usize },
    /// Clients write much faster for a while: caches no longer reach back far.
    Burst { writes: u32 },
    /// `juju config`.
    Options { change: Change },
}

impl Fault {
    /// Its kind, for the table.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::PowerCut { .. } => "power cut",
            Self::CutInChange { .. } => "power cut within DDL",
            Self::ShutDown { .. } => "shutdown",
            Self::KillServer { .. } => "server killed",
            Self::FreezeServer { .. } => "server frozen",
            Self::FreezeMachine { .. } => "machine frozen",
            Self::Partition { .. } => "partition",
            Self::CutLeaderOff { .. } => "leader cut off",
            Self::Force { .. } => "restart by force",
            Self::Ask { action } => action,
            Self::KillHook { .. } => "hook killed",
            Self::RefuseCommit { .. } => "commit refused",
            Self::Lead { .. } => "leader moved",
            Self::ControllerDown { .. } => "controller down",
            Self::DiskLost { .. } => "disk lost",
            Self::Add => "unit added",
            Self::Remove { .. } => "unit removed",
            Self::Burst { .. } => "burst of writes",
            Self::Options { change: Change::Bad } => "bad options",
            Self::Options { .. } => "options changed",
        }
    }
}

/// A fault with its moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) at: Ms,
    pub(crate) fault: Fault,
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", clock(self.at), self.fault)
    }
}

/// Everything that determines a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) units: u32,
    pub(crate) faults: Vec<Timed>,
    /// When the faults stop and everything mends.
    pub(crate) mend_at: Ms,
}

/// At most so many units: more only slow every commit down, and `min-cluster-size` goes no further.
pub(crate) const UNITS_MAX: u32 = 9;

impl Plan {
    /// Leaves these of the seed's faults only, by their numbers from 1.
    ///
    /// # Panics
    /// When the list has something else in it.
    pub(crate) fn keep(&mut self, list: &str) {
        let all = std::mem::take(&mut self.faults);
        let numbers = list.split(',').filter(|word| !word.is_empty());
        self.faults = numbers
            .map(|word| {
                let fault = word.trim().parse::<usize>().ok().and_then(|number| all.get(number.checked_sub(1)?));
                fault.unwrap_or_else(|| panic!("KEEP={list}: {word:?} is no number from 1 to {}", all.len())).clone()
            })
            .collect();
    }

    /// The numbers of the seed's faults that are left, for `keep`.
    pub(crate) fn kept(&self) -> String {
        let all = Self::draw(self.seed).faults;
        let number = |fault: &Timed| all.iter().position(|other| other == fault).map(|at| (at + 1).to_string());
        self.faults.iter().filter_map(number).collect::<Vec<_>>().join(",")
    }

    /// Whether options change.
    pub(crate) fn has_turns(&self) -> bool {
        has_turns(self.seed)
    }

    /// Draws a plan.
    pub(crate) fn draw(seed: u64) -> Self {
        // Another stream than the run's own, which must not change when faults are dropped.
        let mut rng = StdRng::seed_from_u64(seed ^ 0x6a75_6a75);
        let units = *pick(&mut rng, &[1, 2, 2, 3, 3, 3, 3, 3, 4, 5, 5, 6, 7, 8, UNITS_MAX]);
        // A quarter of the runs breaks things while the cluster forms, the rest lets it form first.
        let begin = if rng.random_ratio(1, 4) { 10 * SECOND } else { 4 * MINUTE };
        let length = rng.random_range(3..=12) * MINUTE;
        let count = rng.random_range(1..=9);
        let mut faults: Vec<Timed> = (0..count)
            .map(|_| Timed { at: begin + rng.random_range(0..length), fault: draw(&mut rng, units) })
            .collect();
        // A stream of its own for these: all other seeds stay what they were.
        let mut rng = StdRng::seed_from_u64(seed ^ 0x666f_7263);
        let by_force =
            if rng.random_ratio(1, 3) { by_force(&mut rng, units, begin, begin + length) } else { Vec::new() };
        let last = by_force.iter().map(|timed| timed.at + 2 * MINUTE).max().unwrap_or_default();
        faults.extend(by_force);
        let mut rng = StdRng::seed_from_u64(seed ^ 0x7265_7374);
        let restores = if rng.random_ratio(1, 3) { restores(&mut rng, begin, begin + length) } else { Vec::new() };
        let last = restores.iter().map(|timed| timed.at + 2 * MINUTE).max().unwrap_or_default().max(last);
        faults.extend(restores);
        let mend_at = last.max(begin + length);
        if has_turns(seed) {
            let mut rng = StdRng::seed_from_u64(seed ^ 0x7475_726e);
            faults.extend(options(&mut rng, begin, mend_at));
        }
        faults.sort_by_key(|timed| timed.at);
        Self { seed, units, faults, mend_at }
    }
}

fn pick<'a, T>(rng: &mut StdRng, items: &'a [T]) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

/// A person loses patience: at any moment, when some stay away after a full stop, or when the leader has lost sight of the
/// others.
fn by_force(rng: &mut StdRng, units: u32, begin: Ms, end: Ms) -> Vec<Timed> {
    let at = rng.random_range(begin..end);
    let mut faults = Vec::new();
    let mut patience = 0;
    match rng.random_range(0..5) {
        0 => {}
        1 | 2 => {
            let units = units as usize;
            let first = rng.random_range(0..16);
            let away = rng.random_range(1..=units.div_ceil(2));
            let off = rng.random_range(90 * SECOND..6 * MINUTE);
            let stagger = *pick(rng, &[0, 300, 2 * SECOND]);
            // Those who stay away go first or last: they have less, or more, than the others.
            let (one, other) = *pick(rng, &[(0, 0), (0, 4 * SECOND), (4 * SECOND, 0)]);
            let picks = (first..first + away).collect();
            faults.push(Timed { at: at + one, fault: Fault::PowerCut { picks, stagger, off } });
            let picks = (first + away..first + units).collect();
            faults.push(Timed { at: at + other, fault: Fault::PowerCut { picks, stagger, off: 2 * SECOND } });
            patience = rng.random_range(20 * SECOND..2 * MINUTE);
        }
        _ => {
            let with = rng.random_ratio(1, 3).then(|| rng.random_range(0..16));
            let last = rng.random_range(MINUTE..5 * MINUTE);
            let juju_reaches_all = rng.random_ratio(1, 2);
            faults.push(Timed { at, fault: Fault::CutLeaderOff { with, juju_reaches_all, last } });
            patience = rng.random_range(50 * SECOND..2 * MINUTE);
            if rng.random_ratio(1, 3) {
                // The one that went on goes in its turn.
                let fault = Fault::Remove { pick: rng.random_range(0..16) };
                let later = patience + rng.random_range(20 * SECOND..90 * SECOND);
                faults.push(Timed { at: at + later, fault });
            }
        }
    }
    let (tries, pause) = (rng.random_range(1..=4), rng.random_range(5 * SECOND..50 * SECOND));
    faults.push(Timed { at: at + patience, fault: Fault::Force { tries, pause } });
    faults
}

/// A person goes back to a backup, and mostly thinks better of it.
fn restores(rng: &mut StdRng, begin: Ms, end: Ms) -> Vec<Timed> {
    let mut at = rng.random_range(begin..end);
    let mut faults = Vec::new();
    for action in [RESTORE, UNDO, UNDO, CONFIRM, RESTORE].into_iter().take(rng.random_range(1..=5)) {
        faults.push(Timed { at, fault: Fault::Ask { action } });
        at += rng.random_range(2 * SECOND..5 * MINUTE);
    }
    faults
}

/// One that is the same whatever else is drawn.
fn has_turns(seed: u64) -> bool {
    seed % 3 == 0
}

/// Options change now and then, and sometimes again before everybody has heard of it.
fn options(rng: &mut StdRng, begin: Ms, end: Ms) -> Vec<Timed> {
    let mut at = begin + rng.random_range(0..2 * MINUTE);
    let mut faults = Vec::new();
    while at < end {
        let change = match rng.random_range(0..13) {
            0..=6 => Change::New,
            7 => Change::Taken,
            8 | 9 => Change::Bad,
            _ => Change::Back,
        };
        faults.push(Timed { at, fault: Fault::Options { change } });
        if rng.random_ratio(1, 5) {
            // One has started with them by itself, and is the only one that waits when they are taken back.
            let kill = Fault::KillServer { pick: rng.random_range(0..16), in_change: false };
            faults.push(Timed { at: at + rng.random_range(500..8 * SECOND), fault: kill });
            at += rng.random_range(8 * SECOND..30 * SECOND);
            faults.push(Timed { at, fault: Fault::Options { change: Change::Back } });
        }
        let pause = if rng.random_ratio(1, 4) { 300..20 * SECOND } else { MINUTE..7 * MINUTE };
        at += rng.random_range(pause);
    }
    faults
}

fn draw(rng: &mut StdRng, units: u32) -> Fault {
    let span = |rng: &mut StdRng| {
        let longest = *pick(rng, &[3 * SECOND, 20 * SECOND, 90 * SECOND, 4 * MINUTE]);
        rng.random_range(500..longest)
    };
    let any = |rng: &mut StdRng| rng.random_range(0..16);
    // Mostly one, sometimes some, often all: full stops are what recoveries are for.
    let some = |rng: &mut StdRng| -> Vec<usize> {
        let first: usize = rng.random_range(0..16);
        let count = match rng.random_range(0..6) {
            0 | 1 => 1,
            2 => rng.random_range(1..=units as usize),
            3 => (units as usize).div_ceil(2),
            _ => units as usize + 1,
        };
        (first..first + count).collect()
    };
    match rng.random_range(0..23) {
        0..=2 => {
            let stagger = *pick(rng, &[0, 0, 300, 2 * SECOND, 8 * SECOND]);
            Fault::PowerCut { picks: some(rng), stagger, off: span(rng) }
        }
        3 | 4 => {
            let stagger = *pick(rng, &[0, 400, 3 * SECOND, 10 * SECOND]);
            Fault::ShutDown { picks: some(rng), stagger, off: span(rng) }
        }
        5 | 6 => Fault::KillServer { pick: any(rng), in_change: rng.random_ratio(1, 3) },
        7 => Fault::FreezeServer { pick: any(rng), last: span(rng) },
        8 => Fault::FreezeMachine { pick: any(rng), last: span(rng) },
        9..=11 => {
            let groups = rng.random_range(2..=3);
            let sides = (0..16).map(|_| rng.random_range(0..groups)).collect();
            Fault::Partition { sides, controller: rng.random_range(0..groups), last: span(rng) }
        }
        12 | 13 => Fault::KillHook { pick: any(rng) },
        14 => Fault::RefuseCommit { pick: any(rng) },
        15 => Fault::Lead { pick: any(rng) },
        16 => Fault::ControllerDown { last: span(rng) },
        17 => Fault::DiskLost { pick: any(rng), off: span(rng) },
        18 => Fault::Add,
        19 | 20 => Fault::Remove { pick: any(rng) },
        21 => Fault::CutInChange { picks: some(rng), off: span(rng) },
        _ => Fault::Burst { writes: rng.random_range(20..200) },
    }
}

/// Virtual time as it is printed.
pub(crate) fn clock(at: Ms) -> String {
    format!("{:02}:{:02}:{:02}.{:03}", at / (60 * MINUTE), at / MINUTE % 60, at / SECOND % 60, at % SECOND)
}
