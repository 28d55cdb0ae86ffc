//! One run from its plan to its end, and the search for a shorter plan that ends the same way.

use mariadb_galera::cluster::Unit;

use super::plan::{MINUTE, Ms, Plan, SECOND};
use super::world::{Event, World, name};
use super::{Planted, Stats};

/// Within this time after the last fault everything must be healthy.
const HEAL_WITHIN: Ms = 20 * MINUTE;
/// Healthy for so long is healthy.
const STAYS: Ms = 10 * SECOND;
/// The leader looks for whose turn is next every 15 s.
const STAYS_WITH_TURNS: Ms = MINUTE;
/// So long in a state that asks for a person is waiting for one.
const BLOCKED_FOR: Ms = 6 * MINUTE;

/// States whose status tells a person to run `bootstrap-cluster`, when nothing else moves.
const REMEDIED: [&str; 2] = ["members-gone: ", "left-behind: "];

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Healthy so many milliseconds after everything mended.
    Healed(Ms),
    /// In a state whose remedy is a restart by force, and healthy behind that.
    Forced {
        /// As below, when the person decided.
        newest_was_there: bool,
    },
    /// In another state that the documents name for what has happened; a person decides.
    Blocked {
        /// The newest acknowledged write is on a volume that is there: waiting was caution, and no more.
        newest_is_there: bool,
    },
    /// A promise was broken.
    Broken(String),
}

pub(crate) struct Outcome {
    pub(crate) ending: Ending,
    pub(crate) log: Vec<String>,
    pub(crate) stats: Stats,
    pub(crate) time: Ms,
    pub(crate) writes: u64,
}

/// Runs a plan to its end.
pub(crate) fn run(plan: &Plan, planted: Option<Planted>) -> Outcome {
    let mut world = World::new(plan.clone(), planted);
    world.at(SECOND, Event::Second);
    let (mut healthy_since, mut blocked_since) = (None, None);
    let (mut decided, mut heal_until, mut unhealthy_since) = (None, plan.mend_at + HEAL_WITHIN, plan.mend_at);
    let ending = loop {
        let Some(event) = world.next() else {
            break Ending::Broken("nothing is left to happen".to_owned());
        };
        let second = matches!(event, Event::Second);
        world.happen(event);
        if let Some(why) = world.broken.clone() {
            break Ending::Broken(why);
        }
        if !second || !world.mended {
            continue;
        }
        let health = world.healthy();
        if health.is_err() {
            healthy_since = None;
        }
        let since = *healthy_since.get_or_insert(world.now);
        if health.is_ok() && world.now - since >= if plan.has_turns() { STAYS_WITH_TURNS } else { STAYS } {
            break match decided {
                Some(newest_was_there) => Ending::Forced { newest_was_there },
                None => Ending::Healed(since - plan.mend_at),
            };
        }
        if !world.waits_for_a_person() {
            blocked_since = None;
        } else if world.now - *blocked_since.get_or_insert(world.now) >= BLOCKED_FOR {
            let newest_is_there = world.newest_is_there();
            if !REMEDIED.iter().any(|word| world.says(word)) {
                break Ending::Blocked { newest_is_there };
            }
            // The remedy that the status names has to be one.
            if decided.replace(newest_is_there).is_none() {
                heal_until = world.now + HEAL_WITHIN;
            }
            blocked_since = None;
            world.person(1, 0);
        }
        if health.is_ok() {
            unhealthy_since = world.now;
        } else if world.now - unhealthy_since >= BLOCKED_FOR && world.take_options_back() {
            (unhealthy_since, heal_until) = (world.now, world.now + HEAL_WITHIN);
        }
        if let (Err(why), true) = (health, world.now > heal_until) {
            break Ending::Broken(format!("not healthy {} min after everything mended: {why}", HEAL_WITHIN / MINUTE));
        }
    };
    Outcome { ending, log: world.log, stats: world.stats, time: world.now, writes: world.writes.count }
}

impl World {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Created(unit) => self.created(&unit),
            Event::Look(unit) => self.look(&unit),
            Event::Hook(unit, number) => self.go_on(&unit, number),
            Event::Links => self.links(),
            Event::Up(unit, pid) => self.server_up(&unit, pid),
            Event::Tired(unit, pid) => self.tired(&unit, pid),
            Event::Transfer(unit, pid) => self.transfer(&unit, pid),
            Event::Transferred(unit, pid) => self.transferred(&unit, pid),
            Event::CaughtUp(unit, pid) => self.caught_up(&unit, pid),
            Event::Apply(unit, pid) => self.apply_writes(&unit, pid),
            Event::Write => self.write(),
            // Faults that end after the mend would be faults after it.
            Event::Fault(_)
            | Event::Person(..)
            | Event::Power(..)
            | Event::Thaw(..)
            | Event::MendNetwork
            | Event::ControllerUp
                if self.mended => {}
            Event::Fault(index) => self.fault(index),
            Event::Person(tries, pause) => self.person(tries, pause),
            Event::Power(unit, switch) => self.power(&unit, switch),
            Event::Thaw(unit, whole) => self.thaw(&unit, whole),
            Event::MendNetwork => {
                self.say("the network is mended");
                self.sides = None;
                self.version += 1;
                self.after(0, Event::Links);
            }
            Event::ControllerUp => {
                self.say("the controller is back");
                self.controller_up = true;
                self.version += 1;
            }
            Event::Mend => self.mend(),
            Event::Second => {
                self.leases();
                self.watch_branches();
                self.watch_turns();
                self.after(SECOND, Event::Second);
            }
        }
    }

    /// Whether every unit is in a state that the documents name for units that were removed and volumes that were lost
    /// (`docs/cluster-states.md`): `members-gone`, `left-behind` where nobody is left who went on, `no-usable-copy` and
    /// `no-member-left`. Newcomers wait beside them.
    fn waits_for_a_person(&self) -> bool {
        // A member whose machine died before its agent had looked at it as a full one: with whom it ran is not known.
        let unseen = self.state.units.values().any(|unit| {
            let message = &unit.workload.message;
            message.starts_with("members-gone: ") && message.contains("the member that gave the newest copy here")
        });
        // Whoever begins a branch with options with which no server starts is alone on it, and waits for those left behind.
        let went = self.copies_went || self.options.iter().any(|options| options.bad);
        unseen || went && REMEDIED.iter().chain(&["no-member-left: ", "no-usable-copy: "]).any(|word| self.says(word))
    }

    /// Whether any unit's status begins so.
    fn says(&self, word: &str) -> bool {
        self.state.units.values().any(|unit| unit.workload.message.starts_with(word))
    }

    fn newest_is_there(&self) -> bool {
        let newest = self.writes.acknowledged;
        let has = |unit: &Unit| {
            let volume = &self.machines[unit].volume;
            let whole = volume.history().is_some() && self.state.units.contains_key(&name(unit));
            whole && newest.is_none_or(|w| volume.tip.is_some_and(|tip| self.writes.holds(tip, w)))
        };
        self.machines.keys().any(has)
    }
}

/// Drops faults from a failing plan while it still fails for the same kind of reason: halves first, then single ones.
pub(crate) fn shrink(plan: Plan, planted: Option<Planted>) -> Plan {
    let kind = |plan: &Plan| match run(plan, planted).ending {
        Ending::Broken(why) => why
            .split_whitespace()
            .find(|w| ["lost:", "healthy", "components"].contains(w))
            .map_or_else(|| Some(String::new()), |word| Some(word.to_owned())),
        Ending::Healed(_) | Ending::Forced { .. } | Ending::Blocked { .. } => None,
    };
    let Some(wanted) = kind(&plan) else {
        return plan;
    };
    let mut best = plan;
    let mut size = best.faults.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < best.faults.len() {
            let mut shorter = best.clone();
            shorter.faults.drain(from..(from + size).min(best.faults.len()));
            if kind(&shorter).as_ref() == Some(&wanted) {
                best = shorter;
            } else {
                from += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    best
}
