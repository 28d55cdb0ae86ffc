//! Who sees whom: links that are noticed late, components, and views by the quorum formula.

use std::collections::{BTreeMap, BTreeSet};

use mariadb_galera::cluster::{Epoch, Holds, LocalState, Unit};

use super::plan::{Ms, SECOND};
use super::world::{Event, Machine, World};

/// `evs.suspect_timeout`: for so long a silent member is waited for.
const SUSPECT: Ms = 5 * SECOND;

/// A primary view. Whoever leaves in order is taken out of it: that is the `L` of the quorum formula.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct View {
    pub(crate) id: u64,
    pub(crate) members: BTreeSet<Unit>,
}

/// The connection of two servers: as it is, and as they take it to be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    actual: bool,
    since: Ms,
    perceived: bool,
}

impl World {
    /// Whether two servers have a connection now.
    pub(crate) fn linked(&self, a: &Unit, b: &Unit) -> bool {
        let (Some(one), Some(other)) = (self.machines.get(a), self.machines.get(b)) else {
            return false;
        };
        let (Some(x), Some(y)) = (one.node(), other.node()) else {
            return false;
        };
        let alive = !x.frozen && !y.frozen && !x.given_up && !y.given_up;
        let know = x.members.contains(&other.address) || y.members.contains(&one.address);
        alive && know && x.group == y.group && self.reaches(a, b)
    }

    /// Servers notice who is there and who is not, and views form.
    pub(crate) fn links(&mut self) {
        let up: Vec<Unit> = self.machines.iter().filter(|(_, m)| m.node().is_some()).map(|(u, _)| u.clone()).collect();
        let mut all: Vec<(Unit, Unit)> = Vec::new();
        for (index, other) in up.iter().enumerate() {
            all.extend(up[..index].iter().map(|one| (one.clone(), other.clone())));
        }
        let now = self.now;
        let mut next: Option<Ms> = None;
        for (a, b) in &all {
            let actual = self.linked(a, b);
            let jitter = 100 * (self.order_free_jitter(a, b) % 10);
            let link = self.links.entry((a.clone(), b.clone())).or_default();
            if link.actual != actual {
                (link.actual, link.since) = (actual, now);
            }
            if link.perceived != link.actual {
                let delay = if link.actual { 300 } else { SUSPECT };
                let due = link.since + delay + jitter;
                if due <= now {
                    link.perceived = link.actual;
                } else {
                    next = Some(next.map_or(due, |n: Ms| n.min(due)));
                }
            }
        }
        if let Some(next) = next {
            self.at(next, Event::Links);
        }
        self.components(&up);
    }

    /// Differs from pair to pair and from time to time, without drawing.
    fn order_free_jitter(&self, a: &Unit, b: &Unit) -> u64 {
        u64::from(a.number()) * 7 + u64::from(b.number()) * 3 + self.plan.seed + self.views
    }

    fn components(&mut self, up: &[Unit]) {
        self.forget_ghosts();
        let mut left: BTreeSet<Unit> =
            up.iter().filter(|u| self.machines[*u].node().is_some_and(|n| !n.given_up)).cloned().collect();
        while let Some(first) = left.pop_first() {
            let mut component = BTreeSet::from([first.clone()]);
            let mut found = vec![first];
            let mut settled = true;
            while let Some(unit) = found.pop() {
                let links: Vec<(Unit, Link)> = self
                    .links
                    .iter()
                    .filter_map(|((a, b), link)| match (*a == unit, *b == unit) {
                        (true, _) => Some((b.clone(), *link)),
                        (_, true) => Some((a.clone(), *link)),
                        (false, false) => None,
                    })
                    .collect();
                for (other, link) in links.into_iter().filter(|(_, link)| link.perceived) {
                    // One that is silent is waited for: until then no view forms.
                    settled &= link.actual;
                    if left.remove(&other) {
                        component.insert(other.clone());
                        found.push(other);
                    }
                }
            }
            let frozen =
                component.iter().any(|u| self.machines[u].frozen || self.machines[u].node().is_some_and(|n| n.frozen));
            if settled && !frozen {
                self.view_of(&component);
            }
        }
    }

    /// Servers whose machine lost its power are waited for like any other that is silent.
    fn forget_ghosts(&mut self) {
        let (machines, now) = (&self.machines, self.now);
        let gone = |u: &Unit| machines.get(u).is_none_or(|m| m.node().is_none());
        let mut next = None;
        self.links.retain(|(a, b), link| {
            if !gone(a) && !gone(b) {
                return true;
            }
            if link.actual {
                (link.actual, link.since) = (false, now);
            }
            next = next.max(Some(link.since + SUSPECT).filter(|due| *due > now));
            link.perceived && link.since + SUSPECT > now
        });
        if let Some(due) = next {
            self.at(due, Event::Links);
        }
    }

    fn view_of(&mut self, side: &BTreeSet<Unit>) {
        if self.hollow(side) {
            return;
        }
        let newest = side.iter().filter_map(|u| self.machines[u].primary()?.view.clone()).max_by_key(|v| v.id);
        if let Some(before) = newest {
            let in_it = |w: &Self, u: &Unit| {
                w.machines[u].primary().and_then(|n| n.view.as_ref()).is_some_and(|v| v.id == before.id)
            };
            let stay: BTreeSet<Unit> = side.iter().filter(|u| in_it(self, u)).cloned().collect();
            if 2 * stay.len() > before.members.len() {
                let agreed = stay == *side && before.members == *side;
                if !agreed
                    || stay.iter().any(|u| self.machines[u].node().is_some_and(|n| n.view.as_ref() != Some(&before)))
                {
                    self.form(&stay, side);
                }
                return;
            }
            for unit in side.iter().filter(|u| self.machines[*u].primary().is_some()).cloned().collect::<Vec<_>>() {
                self.say(format!("{unit}: no majority"));
                let node = self.machine(&unit).node_mut().expect("it is up");
                node.primary = false;
                if node.state != LocalState::Joining {
                    node.state = LocalState::Undefined;
                }
            }
        }
        // Without a primary component only the whole last view can bring one back, from memory or from disk.
        let last = |w: &Self, u: &Unit| w.machines[u].node().and_then(|n| n.view.clone());
        let Some(view) = side.iter().filter_map(|u| last(self, u)).max_by_key(|v| v.id) else {
            return;
        };
        let back = view.members.iter().all(|u| side.contains(u) && last(self, u).is_some_and(|v| v.id == view.id));
        if back && view.members.iter().any(|u| self.machines[u].node().is_some_and(|n| n.was_hollow)) {
            self.become_hollow(side);
        } else if back && !view.members.is_empty() {
            self.stats.restored += 1;
            self.form(&view.members.clone(), side);
        }
    }

    /// A new primary view of `side`, carried by those who `stay`.
    pub(crate) fn form(&mut self, stay: &BTreeSet<Unit>, side: &BTreeSet<Unit>) {
        self.views += 1;
        self.stats.views += 1;
        let view = View { id: self.views, members: side.clone() };
        let copy = |w: &Self, u: &Unit| {
            let node = w.machines[u].node().filter(|n| n.state != LocalState::Joining)?;
            matches!(w.machines[u].volume.holds, Holds::History(_)).then_some(node.received).flatten()
        };
        let Some(tip) = stay.iter().filter_map(|u| copy(self, u)).max_by_key(|w| (self.writes.seqno(Some(*w)), *w))
        else {
            if side.iter().any(|u| self.machines[u].volume.halfway.is_some()) {
                self.break_promise(format!("a new history beside the old one, begun by {side:?}"));
            }
            self.become_hollow(side);
            return;
        };
        let names = side.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let seqno = self.writes.seqno(Some(tip));
        self.say(format!("view {} of {names} at {seqno}", view.id));
        let given_up = self.writes.branch(tip) < self.branches.newest;
        if !given_up && self.writes.acknowledged.is_some_and(|w| !self.writes.holds(tip, w)) {
            let acknowledged = self.writes.seqno(self.writes.acknowledged);
            self.break_promise(format!("acknowledged write {acknowledged} is lost: {names} go on from {seqno}"));
        }
        // A new view is an event among the writes, with a number of its own; it is no promise to any client.
        let event = self.writes.add(Some(tip), self.writes.history(tip).clone());
        for unit in side {
            let own = copy(self, unit);
            let lag = self.draw(20..1500);
            let stays = stay.contains(unit);
            let machine = self.machine(unit);
            machine.volume.saved_view = Some(view.clone());
            let node = machine.node_mut().expect("it is up");
            (node.view, node.was_hollow) = (Some(view.clone()), false);
            let was_receiving = node.primary && node.state == LocalState::Joining;
            (node.primary, node.arrived) = (true, true);
            if own == Some(tip) {
                if !stays || !matches!(node.state, LocalState::Donor | LocalState::Joined) {
                    node.state = LocalState::Synced;
                    node.open = true;
                }
                node.received = Some(event);
                let pid = machine.pid;
                machine.volume.full_in = Some(view.id);
                self.after(lag, Event::Apply(unit.clone(), pid));
            } else if node.whole && stays && was_receiving {
                // Goes on to catch up.
            } else if !was_receiving || node.transfer.is_none() {
                node.whole = false;
                node.state = LocalState::Joining;
                let pid = machine.pid;
                if let Some(own) = own.filter(|own| !self.writes.holds(tip, *own)) {
                    self.diverged(unit, own, tip);
                }
                self.after(200, Event::Transfer(unit.clone(), pid));
            }
        }
        self.one_primary_component();
    }

    /// A copy meets a group that does not have all of it.
    fn diverged(&mut self, unit: &Unit, own: usize, tip: usize) {
        let (here, there) = (self.writes.history(own).clone(), self.writes.history(tip).clone());
        let (a, b) = (self.writes.seqno(Some(own)), self.writes.seqno(Some(tip)));
        self.break_promise(format!("{unit} holds {here}:{a}, which is mixed with or replaced by {there}:{b}"));
    }

    /// Promise 1: at no time do two components accept writes. On two branches they may, as long as those who were left
    /// behind cannot know it (`branches.rs`).
    pub(crate) fn one_primary_component(&mut self) {
        let mut accepting: BTreeMap<Option<Epoch>, BTreeMap<u64, Unit>> = BTreeMap::new();
        for unit in self.machines.keys() {
            if let Some(view) = self.accepting(unit) {
                accepting.entry(self.branch_of(unit)).or_default().insert(view.id, unit.clone());
            }
        }
        if let Some(two) = accepting.into_values().find(|views| views.len() > 1) {
            self.break_promise(format!("two components accept writes: {two:?}"));
        }
    }

    /// The view in which this member accepts writes, if it does: all of it is there and agrees.
    pub(crate) fn accepting(&self, unit: &Unit) -> Option<&View> {
        let node = self.machines.get(unit)?.primary()?;
        if !matches!(node.state, LocalState::Synced | LocalState::Donor) || node.frozen {
            return None;
        }
        let view = node.view.as_ref()?;
        let agree = view.members.iter().all(|u| {
            let same = self.machines.get(u).and_then(Machine::primary).is_some_and(|n| n.view.as_ref() == Some(view));
            same && (u == unit || self.linked(unit, u))
        });
        agree.then_some(view)
    }
}
