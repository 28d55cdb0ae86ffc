//! Everything that there is in one run: machines with volumes and servers, the engine's model, the network, and the queue of
//! what happens next. Time is a number; nothing here looks at a clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use juju_local::model::{State, UnitName};
use mariadb_galera::cluster::{Answer, ClusterUuid, DbInit, Epoch, Holds, JournalEntry, LastView, Position, Unit};
use mariadb_galera::model::peer_data::Bag;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::branches::Branches;
use super::galera::Process;
use super::juju::Running;
use super::plan::{Ms, Plan, clock};
use super::planned;
use super::quiet::Quiet;
use super::restore::{Beside, Content};
use super::turns;
use super::views::{Link, View};
use super::writes::Writes;
use super::{Planted, Stats};

/// What a data volume holds: it survives everything but its own loss.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub(crate) journal: Option<JournalEntry>,
    pub(crate) holds: Holds,
    /// The history of which this is a whole copy all the same: its server died within a statement that changes tables.
    pub(crate) halfway: Option<ClusterUuid>,
    /// The last write that is on disk; an index into [`Writes`].
    pub(crate) tip: Option<usize>,
    /// Galera's saved view: there after a crash, gone after a clean stop.
    pub(crate) saved_view: Option<View>,
    /// The last view in which this was a full member.
    pub(crate) full_in: Option<u64>,
    /// What the agent has written down, by branch.
    pub(crate) last_view: BTreeMap<Epoch, LastView>,
    /// The oldest sequence number in the write-set cache.
    pub(crate) cache_from: u64,
    /// What was put aside, by the branch that took its place.
    pub(crate) asides: BTreeMap<Epoch, Content>,
    /// Data that is brought back.
    pub(crate) brought: Option<Beside>,
    /// The data directory exists, be it empty: without one the server does not start.
    pub(crate) directory: bool,
    /// The highest db-init that it ever had, whatever its journal says.
    pub(crate) reached: DbInit,
}

impl Volume {
    pub(crate) fn empty() -> Self {
        Self {
            journal: None,
            holds: Holds::Nothing,
            halfway: None,
            tip: None,
            saved_view: None,
            full_in: None,
            last_view: BTreeMap::new(),
            cache_from: 0,
            asides: BTreeMap::new(),
            brought: None,
            directory: false,
            reached: DbInit::New,
        }
    }

    /// The history of which there is a whole copy.
    pub(crate) fn history(&self) -> Option<&ClusterUuid> {
        match &self.holds {
            Holds::History(uuid) => Some(uuid),
            Holds::Nothing | Holds::Unclear(_) => self.halfway.as_ref(),
        }
    }
}

/// What the gate lets the server do when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    Join,
    Bootstrap { from: Option<Position> },
}

/// What the last hook pass has left for the agent.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) fingerprint: String,
    pub(crate) look_again_s: Option<u32>,
    pub(crate) units: BTreeMap<IpAddr, String>,
    /// The last restart that the pass has heard of.
    pub(crate) restart: u32,
}

/// The server's files, as far as they matter here.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) members: BTreeSet<IpAddr>,
    pub(crate) group: String,
}

/// One machine with its unit.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) address: IpAddr,
    pub(crate) created: bool,
    pub(crate) powered: bool,
    pub(crate) frozen: bool,
    pub(crate) volume: Volume,
    pub(crate) installed: bool,
    pub(crate) permission: Option<Permission>,
    pub(crate) files: Option<Files>,
    pub(crate) answer: Option<Answer>,
    pub(crate) answered_at: Ms,
    pub(crate) leaving: bool,
    pub(crate) credentials_seen: u32,
    pub(crate) note: Option<Note>,
    /// In the run directory: a reboot forgets it.
    pub(crate) outage_since: Option<Ms>,
    pub(crate) server: Process,
    /// Raised with every start and end of the server's process: what was meant for an older one is void.
    pub(crate) pid: u64,
    pub(crate) hook: Option<Running>,
    pub(crate) hook_number: u64,
    pub(crate) kill_next_hook: bool,
    pub(crate) refuse_next: bool,
    /// The agent has asked for a pass, and it has not run.
    pub(crate) pass_wanted: bool,
    /// The last planned backup, and the order up to which old ones were removed.
    pub(crate) making: Option<planned::Process>,
    pub(crate) expired: u32,
    /// What the machine knows of turns and options.
    pub(crate) note_of_turns: turns::Note,
    pub(crate) quiet: Option<Quiet>,
    pub(crate) pass_failed: bool,
    pub(crate) last_pass: Ms,
    /// The model's number when the engine was last asked.
    pub(crate) polled: u64,
    /// Other units' databags as the last hook read them.
    pub(crate) heard: BTreeMap<UnitName, Bag>,
}

impl Machine {
    /// Is about to found or to restart a cluster, and says so (`src/node/doorway.rs`).
    pub(crate) fn bootstraps(&self) -> bool {
        let starting = matches!(self.server, Process::Starting);
        let first = matches!(self.permission, Some(Permission::Bootstrap { .. }));
        (starting && first) || self.hook.as_ref().is_some_and(|hook| hook.noted)
    }
}

/// What happens at a moment.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Created(Unit),
    /// The agent's loop, and the engine's.
    Look(Unit),
    Hook(Unit, u64),
    Links,
    /// A server's process is as far as to join its group.
    Up(Unit, u64),
    /// A server that found no primary component gives up, and is started again.
    Tired(Unit, u64),
    Transfer(Unit, u64),
    Transferred(Unit, u64),
    CaughtUp(Unit, u64),
    Apply(Unit, u64),
    Write,
    Fault(usize),
    /// A person runs `bootstrap-cluster force=true`, so many times, with a pause in between.
    Person(u8, Ms),
    Power(Unit, Switch),
    Thaw(Unit, bool),
    MendNetwork,
    ControllerUp,
    Mend,
    /// Leases are looked at, and whether everything is healthy.
    Second,
}

/// What becomes of a machine's power.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Switch {
    Cut,
    CutInChange,
    CutAndLoseDisk,
    ShutDown,
    On,
}

/// An entry of the queue; of two at one moment the one that was entered first.
struct Entry(Ms, u64, Event);
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// All of it.
pub(crate) struct World {
    pub(crate) now: Ms,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    pub(crate) rng: StdRng,
    pub(crate) state: State,
    /// Raised whenever the model may have changed.
    pub(crate) version: u64,
    pub(crate) machines: BTreeMap<Unit, Machine>,
    pub(crate) controller_up: bool,
    /// The side of each unit's network; the controller's side, when it does not reach all.
    pub(crate) sides: Option<(BTreeMap<Unit, u8>, Option<u8>)>,
    pub(crate) links: BTreeMap<(Unit, Unit), Link>,
    pub(crate) views: u64,
    pub(crate) writes: Writes,
    pub(crate) branches: Branches,
    pub(crate) histories: u32,
    pub(crate) burst: u32,
    /// How many write-sets the caches hold.
    pub(crate) cache: u64,
    /// A unit was removed, or a volume lost: the one thing that a person may have to decide about.
    pub(crate) copies_went: bool,
    /// Permissions that became visible, and those that were used.
    pub(crate) granted: BTreeSet<(Epoch, Unit)>,
    pub(crate) used: BTreeSet<Epoch>,
    pub(crate) epoch: Epoch,
    /// The last planned backup that was ordered.
    pub(crate) ordered: u32,
    /// All options that there ever were.
    pub(crate) options: Vec<turns::Options>,
    /// Units that say that they refuse the options, and since when.
    pub(crate) refusals: BTreeMap<Unit, Ms>,
    /// Since when somebody could have been restarted in turn.
    pub(crate) waits_since: Option<Ms>,
    pub(crate) planted: Option<Planted>,
    pub(crate) broken: Option<String>,
    pub(crate) log: Vec<String>,
    pub(crate) stats: Stats,
    pub(crate) plan: Plan,
    pub(crate) mended: bool,
}

pub(crate) fn name(unit: &Unit) -> UnitName {
    UnitName { app: unit.app().to_owned(), number: unit.number() }
}

pub(crate) fn unit_of(name: &UnitName) -> Unit {
    name.to_string().parse().expect("the engine's names are units")
}

impl World {
    pub(crate) fn say(&mut self, what: impl fmt::Display) {
        self.log.push(format!("{} {what}", clock(self.now)));
    }

    pub(crate) fn break_promise(&mut self, what: String) {
        self.say(format!("BROKEN: {what}"));
        self.broken.get_or_insert(what);
    }

    pub(crate) fn at(&mut self, at: Ms, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Entry(at, self.order, event)));
    }

    pub(crate) fn after(&mut self, delay: Ms, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(crate) fn draw(&mut self, range: std::ops::Range<Ms>) -> Ms {
        self.rng.random_range(range)
    }

    pub(crate) fn next(&mut self) -> Option<Event> {
        let Reverse(Entry(at, _, event)) = self.queue.pop()?;
        self.now = at;
        Some(event)
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.now / 1000
    }

    pub(crate) fn machine(&mut self, unit: &Unit) -> &mut Machine {
        self.machines.get_mut(unit).expect("the machine is there")
    }

    /// Units that are there and meant to stay.
    pub(crate) fn planned(&self) -> BTreeSet<Unit> {
        let alive = self.state.units.iter().filter(|(_, u)| u.life == juju_local::model::Life::Alive);
        alive.map(|(name, _)| unit_of(name)).collect()
    }

    pub(crate) fn pick(&self, index: usize) -> Option<Unit> {
        let units: Vec<&Unit> = self.machines.keys().collect();
        (!units.is_empty()).then(|| units[index % units.len()].clone())
    }

    /// Whether packets go from one machine to the other.
    pub(crate) fn reaches(&self, a: &Unit, b: &Unit) -> bool {
        let (Some(one), Some(other)) = (self.machines.get(a), self.machines.get(b)) else {
            return false;
        };
        let side = |unit: &Unit| self.sides.as_ref().map(|(sides, _)| sides.get(unit).copied().unwrap_or(0));
        one.powered && other.powered && !one.frozen && !other.frozen && side(a) == side(b)
    }

    /// Whether a unit's agent can talk to Juju.
    pub(crate) fn reaches_controller(&self, unit: &Unit) -> bool {
        let there = self.machines.get(unit).is_some_and(|m| m.powered && m.created && !m.frozen);
        let side = self
            .sides
            .as_ref()
            .is_none_or(|(sides, own)| own.is_none_or(|own| sides.get(unit).copied().unwrap_or(0) == own));
        self.controller_up && there && side
    }

    pub(crate) fn new(plan: Plan, planted: Option<Planted>) -> Self {
        let mut rng = StdRng::seed_from_u64(plan.seed);
        let cache = [15, 60, 400][rng.random_range(0..3)];
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            rng,
            state: super::juju::model(),
            version: 1,
            machines: BTreeMap::new(),
            controller_up: true,
            sides: None,
            links: BTreeMap::new(),
            views: 0,
            writes: Writes::default(),
            branches: Branches::default(),
            histories: 0,
            burst: 0,
            cache,
            copies_went: false,
            granted: BTreeSet::new(),
            used: BTreeSet::new(),
            epoch: Epoch::default(),
            ordered: 0,
            options: vec![turns::Options::FIRST],
            refusals: BTreeMap::new(),
            waits_since: None,
            planted,
            broken: None,
            log: Vec::new(),
            stats: Stats::default(),
            plan,
            mended: false,
        };
        (0..world.plan.units).for_each(|_| world.add_unit());
        for (index, timed) in world.plan.faults.clone().iter().enumerate() {
            world.at(timed.at, Event::Fault(index));
        }
        world.at(world.plan.mend_at, Event::Mend);
        world.at(20_000, Event::Write);
        world
    }

    pub(crate) fn add_unit(&mut self) {
        let now = self.seconds();
        let name = self.state.add_unit(super::juju::APP, None, now).expect("the application is there");
        let unit = unit_of(&name);
        // The order of addresses is another than that of the units: the founder is not always the first.
        let low = (u64::from(name.number) * 37 + self.plan.seed * 11) % 199 + 2;
        let address =
            IpAddr::V4(Ipv4Addr::new(10, 0, u8::try_from(name.number).unwrap_or(0), u8::try_from(low).unwrap_or(0)));
        let machine = Machine {
            address,
            created: false,
            powered: true,
            frozen: false,
            volume: Volume::empty(),
            installed: false,
            permission: None,
            files: None,
            answer: None,
            answered_at: 0,
            leaving: false,
            credentials_seen: 0,
            note: None,
            outage_since: None,
            server: Process::Down,
            pid: 0,
            hook: None,
            hook_number: 0,
            kill_next_hook: false,
            refuse_next: false,
            pass_wanted: false,
            making: None,
            expired: 0,
            note_of_turns: turns::Note::default(),
            quiet: None,
            pass_failed: false,
            last_pass: 0,
            polled: 0,
            heard: BTreeMap::new(),
        };
        self.machines.insert(unit.clone(), machine);
        let delay = self.draw(5000..40_000);
        self.after(delay, Event::Created(unit));
    }

    /// A history's name.
    pub(crate) fn new_history(&mut self) -> ClusterUuid {
        self.histories += 1;
        format!("{:08x}-0000-4000-8000-000000000000", self.histories).parse().expect("a UUID")
    }
}
