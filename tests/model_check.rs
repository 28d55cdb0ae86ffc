//! The model check: every order of events that Juju, Galera and the machines permit, up to a number of faults, searched
//! breadth first around the real `cluster::decide`. Each promise is checked in every state; from states picked evenly the
//! faults end and the cluster must become healthy. Mistakes made on purpose show that the search finds them.
//!
//! `CHECK_SECONDS` is the time for each search (default 5). Printed: states, depth, and whether that was all of them.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a search keeps time and stops where it fails")]

#[path = "model_check/event.rs"]
mod event;
#[path = "model_check/healing.rs"]
mod healing;
#[path = "model_check/search.rs"]
mod search;
mod support;
#[path = "model_check/table.rs"]
mod table;

use std::time::Duration;

use event::Event;
use mariadb_galera::cluster::{Holds, Journal, LastView, Server, Unit};
use support::promise::{Planted, Promise};
use support::setting::setting;
use support::world::{End, World, unit};
use table::{Checked, Planting};

/// How many faults of each kind a run may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Budget {
    kills: u8,
    refusals: u8,
    stale: u8,
    leaders: u8,
    power: u8,
    shutdowns: u8,
    deaths: u8,
    disks: u8,
    cuts: u8,
    writes: u8,
    adds: u8,
    removals: u8,
    hands: u8,
    forces: u8,
    restores: u8,
    options: u8,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    world: World,
    left: Budget,
}

impl State {
    fn events(&self) -> Vec<Event> {
        let (w, left) = (&self.world, &self.left);
        let mut events = Vec::new();
        for (u, m) in &w.machines {
            let u = || u.clone();
            if !m.powered {
                events.push(Event::PowerOn(u()));
                if left.disks > 0 {
                    events.push(Event::DiskLost(u()));
                }
                continue;
            }
            match &m.hook {
                Some(hook) if hook.ready => {
                    events.push(Event::End(u()));
                    if left.refusals > 0 {
                        events.push(Event::EndRefused(u()));
                    }
                }
                Some(_) => events.push(Event::GoOn(u())),
                None => {
                    events.push(Event::Begin(u()));
                    if left.stale > 0 {
                        events.push(Event::BeginStale(u()));
                    }
                    if m.leaving && m.node.server == Server::Stopped && !m.may_start {
                        events.push(Event::Gone(u()));
                    }
                }
            }
            if left.kills > 0 && m.hook.is_some() {
                events.push(Event::Kill(u()));
            }
            if left.power > 0 {
                events.push(Event::PowerOff(u()));
            }
            if left.shutdowns > 0 {
                events.push(Event::ShutDown(u()));
            }
            if left.deaths > 0 && m.node.server != Server::Stopped {
                events.push(Event::ServerDies(u()));
            }
            if m.node.server.synced().is_some() {
                if m.queued > 0 {
                    events.push(Event::Apply(u()));
                }
                if left.writes > 0 {
                    events.push(Event::Write(u()));
                }
            }
            if w.may_wait(&u()) {
                events.push(Event::Stalls(u()));
            }
            if m.node.server.primary().is_some() && m.node.server.synced().is_none() {
                events.push(Event::Transfer(u()));
            }
            // A person is slower than the moment between asking the others and starting the server.
            let nobody_starts = w.machines.values().all(|m| m.hook.as_ref().is_none_or(|hook| !hook.noted));
            if left.hands > 0 && m.node.stalled && w.primaries().is_empty() && nobody_starts {
                events.push(Event::ByHand(u()));
            }
            let idle = m.hook.is_none() && w.leader.as_ref() == Some(&u());
            if left.forces > 0 && idle && m.node.server.primary().is_none() && nobody_starts {
                events.push(Event::Force(u()));
            }
            if left.restores > 0 && idle {
                events.extend([Event::Restore(None), Event::Confirm]);
                events.extend(w.machines.keys().cloned().map(|by| Event::Restore(Some(by))));
            }
            if left.removals > 0 && !m.leaving && w.planned().len() > 1 {
                events.push(Event::Remove(u()));
            }
        }
        let leaderless = w.leader.as_ref().is_none_or(|l| !w.machines.contains_key(l));
        for u in w.machines.keys().filter(|u| w.leader.as_ref() != Some(u)) {
            if leaderless || left.leaders > 0 {
                events.push(Event::Leader(u.clone()));
            }
        }
        if !w.far_side.is_empty() {
            events.push(Event::Mend);
        } else if left.cuts > 0 {
            events.extend(w.machines.keys().cloned().map(Event::Cut));
        }
        if left.options > 0 {
            events.push(Event::Options);
        }
        if left.adds > 0 {
            let number = w.machines.keys().map(Unit::number).max().map_or(0, |n| n + 1);
            events.push(Event::Add(unit(&format!("db/{number}"))));
        }
        events.push(Event::Views);
        events
    }

    /// The state after an event.
    fn after(&self, event: &Event) -> Self {
        let mut next = self.clone();
        let (w, left) = (&mut next.world, &mut next.left);
        match event {
            Event::Begin(u) => {
                w.begin(u, false);
                // Nobody can tell a hook that changes nothing from none at all; what it heard matters to stale ones only.
                if w.would_change_nothing(u) {
                    w.machine(u).hook = None;
                }
                if left.stale == 0 {
                    w.machine(u).heard.clear();
                }
            }
            Event::BeginStale(u) => {
                left.stale -= 1;
                w.begin(u, true);
            }
            Event::GoOn(u) => {
                w.go_on(u);
                // Steps that nobody else can see are one, unless something may happen between them.
                while left.kills + left.power + left.shutdowns == 0 && w.next_is_local(u) {
                    w.go_on(u);
                }
            }
            Event::End(u) => w.end(u, true),
            Event::EndRefused(u) => {
                left.refusals -= 1;
                w.end(u, false);
            }
            Event::Kill(u) => {
                left.kills -= 1;
                w.machine(u).hook = None;
            }
            Event::Leader(u) => {
                left.leaders = left.leaders.saturating_sub(1);
                w.lead(u);
            }
            Event::PowerOff(u) => {
                left.power -= 1;
                w.cut_power(u);
            }
            Event::ShutDown(u) => {
                left.shutdowns -= 1;
                w.leave_group(u);
                w.cut_power(u);
            }
            Event::PowerOn(u) => w.give_power(u),
            Event::ServerDies(u) => {
                left.deaths -= 1;
                w.crash(u);
            }
            Event::DiskLost(u) => {
                left.disks -= 1;
                let machine = w.machine(u);
                (machine.node.journal, machine.node.holds) = (Journal::Absent, Holds::Nothing);
                (machine.seqno, machine.saved_view) = (0, None);
                (machine.node.answer, machine.turns) = (None, Vec::new());
                (machine.node.last_view, machine.node.aside) = (LastView::default(), Vec::new());
                (machine.node.brought, machine.brought) = (None, None);
                machine.asides.clear();
                w.give_power(u);
            }
            Event::Cut(u) => {
                left.cuts -= 1;
                w.far_side.insert(u.clone());
            }
            Event::Mend => w.far_side.clear(),
            Event::Views => w.views(),
            Event::Transfer(u) => {
                w.transfer(u);
            }
            Event::Apply(u) => {
                let machine = w.machine(u);
                machine.seqno += std::mem::take(&mut machine.queued);
            }
            Event::Write(u) => {
                if w.write_through(u) {
                    left.writes -= 1;
                }
            }
            Event::Stalls(u) => w.waits(u),
            Event::ByHand(u) => {
                if w.bootstrap_by_hand(u) {
                    left.hands -= 1;
                }
            }
            Event::Force(u) => {
                if w.force(u) {
                    left.forces -= 1;
                }
            }
            Event::Restore(by) => {
                let leader = w.leader.clone().filter(|leader| w.machines.contains_key(leader));
                if leader.is_some_and(|leader| w.go_back(&leader, by.as_ref()).is_ok()) {
                    left.restores -= 1;
                }
            }
            Event::Confirm => {
                if w.confirm() {
                    left.restores -= 1;
                }
            }
            Event::Options => {
                left.options -= 1;
                w.options += 1;
            }
            Event::Add(u) => {
                left.adds -= 1;
                w.add(u);
            }
            Event::Remove(u) => {
                left.removals -= 1;
                w.machine(u).leaving = true;
            }
            Event::Gone(u) => w.forget(u),
        }
        next
    }
}

fn limit() -> Duration {
    Duration::from_secs(setting("CHECK_SECONDS", 1).unwrap_or(5))
}

/// New units on new machines.
fn fresh(units: u32, left: Budget) -> State {
    let mut world = World::default();
    for number in 0..units {
        world.add(&unit(&format!("db/{number}")));
    }
    State { world, left }
}

/// A cluster that has gone on without its leader, which is cut off from it and not from Juju.
fn cut_off(units: u32, left: Budget) -> State {
    let mut state = formed(units, left);
    let w = &mut state.world;
    w.far_side.extend(w.leader.clone());
    w.calm();
    w.time_passes();
    w.settle();
    state
}

/// And a person has called for a restart by force, and everybody has heard of it.
fn overheard(units: u32) -> State {
    let mut state = cut_off(units, Budget::default());
    let w = &mut state.world;
    let leader = w.leader.clone().unwrap();
    assert!(w.force(&leader), "nobody answers it");
    for unit in w.machines.keys().cloned().collect::<Vec<_>>() {
        w.hook(&unit, End::Well);
    }
    w.time_passes();
    state
}

/// The first brings data of another history along.
fn bringing(units: u32, left: Budget) -> State {
    let mut state = fresh(units, left);
    let foreign = "ffffffff-0000-4000-8000-000000000000".parse().unwrap();
    state.world.machine(&unit("db/0")).node.holds = Holds::History(foreign);
    state
}

/// A cluster that has formed and is quiet, with a first write.
fn formed(units: u32, left: Budget) -> State {
    let mut state = fresh(units, left);
    state.world.settle();
    state.world.write(1);
    state.world.settle();
    state
}

#[test]
fn planted_mistakes_are_found() {
    let some = Budget { leaders: 1, power: 1, ..Budget::default() };
    let outage = Budget { shutdowns: 2, writes: 1, ..Budget::default() };
    let mut planting = Planting::default();
    for (planted, promise, start) in [
        (Planted::NeverPermits, Promise::Forms, fresh(2, Budget::default())),
        (Planted::NeverStalled, Promise::Heals, formed(2, Budget { shutdowns: 2, ..Budget::default() })),
        (Planted::MakesCredentialsAgain, Promise::CredentialsOnce, fresh(2, some)),
        (Planted::PublishesTooSoon, Promise::CredentialsOnce, fresh(2, some)),
        (Planted::ForgetsDbInit, Promise::DbInitForward, fresh(2, some)),
        (Planted::IgnoresTheSilent, Promise::WritesSurvive, formed(2, outage)),
        (
            Planted::IgnoresTheView,
            Promise::WritesSurvive,
            formed(3, Budget { power: 1, removals: 2, writes: 1, ..some }),
        ),
        (Planted::NobodyObjects, Promise::OneHistory, overheard(3)),
        (
            Planted::OneNameForAll,
            Promise::WritesSurvive,
            formed(2, Budget { power: 2, forces: 1, writes: 2, ..Budget::default() }),
        ),
        (Planted::ForgetsUsedEpoch, Promise::PermissionsOnce, fresh(2, some)),
        (Planted::AsksNobody, Promise::OneHistory, formed(2, Budget { shutdowns: 2, hands: 1, ..Budget::default() })),
        (Planted::TakesTheLowest, Promise::WritesSurvive, formed(3, Budget { power: 1, ..outage })),
        (Planted::EpochsStartOver, Promise::PermissionsOnce, fresh(2, some)),
        (Planted::AnswersMeansReady, Promise::ReadyMeansReady, formed(2, Budget { power: 1, ..Budget::default() })),
        (Planted::OverlooksData, Promise::CopiesSurvive, bringing(2, some)),
        (Planted::TurnsForAll, Promise::OneRestart, formed(3, Budget { options: 1, ..Budget::default() })),
    ] {
        planting.finds(planted, promise, start);
    }
    planting.print();
}

#[test]
fn three_units_form() {
    let mut checked = Checked::default();
    checked.search("forming, hooks in any order", fresh(3, Budget::default()));
    checked
        .search("forming, hooks killed and refused", fresh(3, Budget { kills: 1, refusals: 1, ..Budget::default() }));
    checked.search(
        "forming, stale peers and a moving leader",
        fresh(3, Budget { stale: 1, leaders: 2, ..Budget::default() }),
    );
    checked.search("forming, power cuts", fresh(3, Budget { power: 2, leaders: 1, ..Budget::default() }));
    checked.search(
        "forming, units come and go",
        fresh(2, Budget { adds: 1, removals: 1, leaders: 1, ..Budget::default() }),
    );
    checked.print();
}

#[test]
fn four_units_form_and_stay() {
    let mut checked = Checked::default();
    checked.search("four forming, a moving leader", fresh(4, Budget { leaders: 1, power: 1, ..Budget::default() }));
    checked.search(
        "four formed, power cuts and shutdowns",
        formed(4, Budget { power: 2, shutdowns: 2, writes: 1, ..Budget::default() }),
    );
    checked.print();
}

#[test]
fn three_units_stay_one_cluster() {
    let mut checked = Checked::default();
    checked
        .search("formed, power cuts of all and writes", formed(3, Budget { power: 3, writes: 2, ..Budget::default() }));
    checked.search(
        "formed, all are shut down in order",
        formed(3, Budget { shutdowns: 3, writes: 1, leaders: 1, ..Budget::default() }),
    );
    checked.search(
        "formed, the network is cut",
        formed(3, Budget { cuts: 1, power: 2, writes: 2, leaders: 1, ..Budget::default() }),
    );
    checked.search(
        "formed, servers die, hooks are killed",
        formed(3, Budget { deaths: 3, kills: 1, writes: 1, ..Budget::default() }),
    );
    checked.search(
        "formed, a disk is lost",
        formed(3, Budget { power: 1, disks: 1, kills: 1, writes: 2, leaders: 1, ..Budget::default() }),
    );
    checked.search(
        "formed, one is down while others are removed",
        formed(3, Budget { power: 2, removals: 2, writes: 1, leaders: 1, ..Budget::default() }),
    );
    checked.search(
        "formed, a person restarts it by force",
        formed(3, Budget { power: 3, forces: 1, writes: 2, ..Budget::default() }),
    );
    checked.search(
        "formed, a person restarts it by force, twice, hooks are killed",
        formed(2, Budget { power: 3, forces: 2, kills: 1, writes: 2, ..Budget::default() }),
    );
    checked.search(
        "formed, a person restarts by force what is cut off",
        cut_off(3, Budget { forces: 1, writes: 1, kills: 1, ..Budget::default() }),
    );
    checked.search(
        "formed, a person goes back to a backup, and takes it back",
        formed(3, Budget { restores: 2, writes: 2, leaders: 1, ..Budget::default() }),
    );
    checked.search(
        "formed, a person goes back to a backup, power is cut, hooks are killed and refused",
        formed(2, Budget { restores: 2, power: 1, kills: 1, refusals: 1, writes: 1, ..Budget::default() }),
    );
    checked.search(
        "formed, a person goes back to a backup while a unit is added",
        formed(2, Budget { restores: 2, adds: 1, leaders: 1, writes: 1, ..Budget::default() }),
    );
    checked.search(
        "formed, options change, servers die, a moving leader",
        formed(3, Budget { options: 1, deaths: 1, leaders: 1, kills: 1, ..Budget::default() }),
    );
    checked.search(
        "formed, options change twice while units come and go",
        formed(2, Budget { options: 2, adds: 1, removals: 1, ..Budget::default() }),
    );
    checked.search(
        "formed, units come and go",
        formed(3, Budget { adds: 1, removals: 2, writes: 1, leaders: 1, ..Budget::default() }),
    );
    checked.print();
}
