//! Galera with time: servers that start, stop and die, links that are noticed late, and views by the quorum formula.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mariadb_galera::cluster::{Galera, Holds, LocalState, Server, Unit};
use rand::RngExt as _;

use super::Planted;
use super::plan::{Ms, SECOND};
use super::transfer::Transfer;
use super::world::{Event, Machine, Permission, World};

/// `evs.suspect_timeout`: for so long a silent member is waited for.
const SUSPECT: Ms = 5 * SECOND;
/// `pc.wait_prim_timeout` and what the service manager adds.
const TIRED: Ms = 32 * SECOND;

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

/// The server's process.
#[derive(Clone, Debug)]
pub(crate) enum Process {
    Down,
    /// In its gate, recovering, or between two tries of the service manager.
    Starting,
    Up(Node),
}

/// A running server.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) primary: bool,
    pub(crate) state: LocalState,
    /// The last primary view: of this process, or saved by the one before.
    pub(crate) view: Option<View>,
    /// The last write that it has received; the volume's tip follows.
    pub(crate) received: Option<usize>,
    /// Accepts connections: not before it was once Synced.
    pub(crate) open: bool,
    /// Galera has given up in it.
    pub(crate) given_up: bool,
    pub(crate) frozen: bool,
    pub(crate) transfer: Option<Transfer>,
    /// The group's name and addresses, as of its start.
    group: String,
    members: BTreeSet<IpAddr>,
}

impl Machine {
    pub(crate) fn node(&self) -> Option<&Node> {
        match &self.server {
            Process::Up(node) => Some(node),
            Process::Down | Process::Starting => None,
        }
    }

    pub(crate) fn node_mut(&mut self) -> Option<&mut Node> {
        match &mut self.server {
            Process::Up(node) => Some(node),
            Process::Down | Process::Starting => None,
        }
    }

    /// A server in a primary component.
    pub(crate) fn primary(&self) -> Option<&Node> {
        self.node().filter(|node| node.primary)
    }

    pub(crate) fn full(&self) -> bool {
        self.primary().is_some_and(|n| matches!(n.state, LocalState::Synced | LocalState::Donor | LocalState::Joined))
    }
}

impl World {
    /// The server as its own machine sees it.
    pub(crate) fn server(&self, unit: &Unit) -> Server {
        let machine = &self.machines[unit];
        let node = match &machine.server {
            Process::Down => return Server::Stopped,
            Process::Starting => return Server::Starting,
            Process::Up(node) if node.frozen => return Server::Silent("no answer in time".to_owned()),
            Process::Up(node) if !node.open => return Server::Starting,
            Process::Up(node) => node,
        };
        let holds = match &machine.volume.holds {
            Holds::History(uuid) => Some(uuid.clone()),
            Holds::Nothing | Holds::Unclear(_) => None,
        };
        let members = node.view.as_ref().filter(|_| node.primary).map(|view| view.members.clone()).unwrap_or_default();
        Server::Answers(Galera {
            primary: node.primary,
            connected: !node.given_up,
            ready: node.primary && matches!(node.state, LocalState::Synced | LocalState::Donor),
            state: node.state,
            uuid: holds,
            seqno: Some(self.writes.seqno(node.received)),
            conf_id: node.view.as_ref().map(|view| view.id),
            size: u32::try_from(members.len()).unwrap_or(0),
            view: members.iter().filter_map(|u| Some(self.machines.get(u)?.address)).collect(),
        })
    }

    /// systemd starts the server, if the gate may let it through.
    pub(crate) fn start_server(&mut self, unit: &Unit, delay: Ms) {
        let machine = self.machine(unit);
        if machine.permission.is_none() || !machine.powered || !matches!(machine.server, Process::Down) {
            return;
        }
        machine.pid += 1;
        machine.server = Process::Starting;
        let (pid, gate) = (machine.pid, self.draw(300..4000));
        self.after(delay + gate, Event::Up(unit.clone(), pid));
    }

    /// The gate, and what it lets through.
    pub(crate) fn server_up(&mut self, unit: &Unit, pid: u64) {
        if self.machines.get(unit).is_none_or(|m| m.pid != pid) {
            return;
        }
        if self.machines[unit].frozen {
            self.after(SECOND, Event::Up(unit.clone(), pid));
            return;
        }
        let keeps = self.planted == Some(Planted::KeepsTheFlag);
        let others_serve = self.others_serve(unit);
        let restores_anyway = self.planted == Some(Planted::RestoresWithoutAHistory);
        let machine = self.machine(unit);
        if others_serve {
            (machine.volume.saved_view, machine.volume.halfway) = (None, None);
        }
        let halfway = machine.volume.halfway.clone().filter(|_| !restores_anyway);
        if halfway.is_some() && machine.permission == Some(Permission::Join) {
            machine.volume.saved_view = None;
            self.after(2 * SECOND, Event::Up(unit.clone(), pid));
            return;
        }
        let (Some(permission), Some(files)) = (machine.permission.clone(), machine.files.clone()) else {
            machine.server = Process::Down;
            return;
        };
        if !machine.volume.directory {
            // systemd tries again, for ever.
            self.after(2 * SECOND, Event::Up(unit.clone(), pid));
            return;
        }
        let mut node = Node {
            primary: false,
            state: LocalState::Undefined,
            // The gate (`src/node/saved_view.rs`): what was saved by one that was still receiving is not restored.
            view: machine.volume.saved_view.clone().filter(|view| machine.volume.full_in == Some(view.id)),
            received: machine.volume.tip,
            open: false,
            given_up: false,
            frozen: false,
            transfer: None,
            group: files.group,
            members: files.members,
        };
        let fresh = match permission {
            Permission::Join => false,
            Permission::Bootstrap { from } => {
                // Turned into an ordinary one before the server starts.
                if !keeps {
                    machine.permission = Some(Permission::Join);
                }
                machine.volume.saved_view = None;
                node.view = None;
                if let (Some(_), Some(history)) = (&from, machine.volume.halfway.take()) {
                    machine.volume.holds = Holds::History(history);
                }
                if from.is_none() {
                    if let Holds::History(uuid) = machine.volume.holds.clone() {
                        self.break_promise(format!("{unit} founds over history {uuid}"));
                    }
                    let history = self.new_history();
                    let first = self.writes.add(None, history.clone());
                    let machine = self.machine(unit);
                    machine.volume.holds = Holds::History(history);
                    machine.volume.tip = Some(first);
                    node.received = Some(first);
                }
                true
            }
        };
        // A process that was there before is another one to the others.
        self.links.retain(|(a, b), _| a != unit && b != unit);
        self.machine(unit).server = Process::Up(node);
        if fresh {
            let alone = BTreeSet::from([unit.clone()]);
            self.form(&alone, &alone);
        } else {
            self.after(TIRED, Event::Tired(unit.clone(), pid));
        }
        self.after(0, Event::Links);
    }

    /// The gate (`src/node/gate.rs`): while others serve there is nothing to restore.
    fn others_serve(&self, unit: &Unit) -> bool {
        let ours = |unit: &Unit| self.machines[unit].volume.journal.as_ref().and_then(|entry| entry.uuid.clone());
        let Some(history) = ours(unit).map(Holds::History) else {
            return false;
        };
        let serves = |other: &Unit, machine: &Machine| {
            let full = machine.primary().filter(|n| matches!(n.state, LocalState::Synced | LocalState::Donor));
            full.and_then(|n| n.view.clone())
                .filter(|_| other != unit && machine.volume.holds == history && self.reaches(unit, other))
        };
        let views: Vec<View> = self.machines.iter().filter_map(|(other, machine)| serves(other, machine)).collect();
        let seen = self.last_view(unit).members.len().max(1);
        2 * views.len() > seen || views.iter().any(|view| !view.members.contains(unit))
    }

    /// The server is about to die within a statement that changes tables: Galera has marked the data with the nil UUID.
    pub(crate) fn interrupt_change(&mut self, unit: &Unit) {
        let machine = self.machine(unit);
        let view = machine.primary().filter(|n| matches!(n.state, LocalState::Synced | LocalState::Donor));
        let full = view.and_then(|n| n.view.as_ref()).is_some_and(|v| machine.volume.full_in == Some(v.id));
        if let (true, Holds::History(uuid)) = (full, machine.volume.holds.clone()) {
            machine.volume.halfway = Some(uuid);
            machine.volume.holds = Holds::Unclear("the server died within a statement that changes tables".to_owned());
        }
    }

    /// A server without a primary component since its start ends, and is started again with files that may be newer.
    pub(crate) fn tired(&mut self, unit: &Unit, pid: u64) {
        let Some(machine) = self.machines.get(unit).filter(|m| m.pid == pid && m.powered) else {
            return;
        };
        let looks = machine.node().is_some_and(|n| !n.open && !n.primary && !n.frozen);
        if looks && !machine.frozen {
            self.server_dies(unit, false);
        } else if looks {
            self.after(SECOND, Event::Tired(unit.clone(), pid));
        }
    }

    /// The process ends where it stands: what it had not applied is gone, the view on disk stays. The others count it for a
    /// while, also when they see its connections end (seen with Galera 26.4). Unless the machine is gone too (`silent`), the
    /// service manager starts it again.
    pub(crate) fn server_dies(&mut self, unit: &Unit, silent: bool) {
        let machine = self.machine(unit);
        if !matches!(machine.server, Process::Up(_) | Process::Starting) {
            return;
        }
        self.end_donations(unit);
        let machine = self.machine(unit);
        machine.server = Process::Down;
        machine.pid += 1;
        if self.rng.random_ratio(1, 2) {
            // The cache is not always whole after a crash.
            let tip = self.machines[unit].volume.tip;
            let seqno = self.writes.seqno(tip);
            self.machine(unit).volume.cache_from = seqno;
        }
        if !silent {
            self.start_server(unit, 2 * SECOND);
        }
        self.after(300, Event::Links);
    }

    /// A clean stop. The others take the leaver out of the view, unless another leaves in the same moment (seen with Galera
    /// 26.4: then neither leave is a clean one).
    pub(crate) fn server_leaves(&mut self, unit: &Unit) {
        let machine = &self.machines[unit];
        let Process::Up(node) = machine.server.clone() else {
            let machine = self.machine(unit);
            machine.server = Process::Down;
            machine.pid += 1;
            return;
        };
        if node.primary {
            let view = node.view.clone().expect("a primary node has a view");
            let settled = view.members.iter().all(|u| {
                self.machines.get(u).is_some_and(|m| m.primary().is_some_and(|n| n.view.as_ref() == Some(&view)))
                    && (u == unit || self.reaches(unit, u))
            });
            let hears = view.members.iter().filter(|u| *u != unit && self.reaches(unit, u)).cloned();
            for other in hears.collect::<Vec<_>>() {
                let machine = self.machine(&other);
                let Some(node) = machine.node_mut().filter(|n| n.primary && n.view.as_ref() == Some(&view)) else {
                    continue;
                };
                if settled {
                    node.view.iter_mut().for_each(|view| {
                        view.members.remove(unit);
                    });
                    // The leave comes after what was written before it, and takes seconds.
                    machine.volume.tip = machine.node().and_then(|n| n.received).or(machine.volume.tip);
                    machine.volume.saved_view = machine.node().and_then(|n| n.view.clone());
                }
            }
        }
        self.end_donations(unit);
        let receiving = node.transfer.is_some_and(|t| t.full);
        let machine = self.machine(unit);
        if !receiving {
            machine.volume.tip = node.received.filter(|_| node.state != LocalState::Joining).or(machine.volume.tip);
        }
        machine.volume.saved_view = None;
        machine.server = Process::Down;
        machine.pid += 1;
        self.links.retain(|(a, b), _| a != unit && b != unit);
        self.after(300, Event::Links);
    }

    pub(crate) fn freeze_server(&mut self, unit: &Unit) -> bool {
        let node = self.machine(unit).node_mut();
        node.map(|n| n.frozen = true).is_some()
    }

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
        if back && !view.members.is_empty() {
            self.stats.restored += 1;
            self.form(&view.members.clone(), side);
        }
    }

    /// A new primary view of `side`, carried by those who `stay`.
    fn form(&mut self, stay: &BTreeSet<Unit>, side: &BTreeSet<Unit>) {
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
            // Nobody is left who has the data: those who were receiving it start over.
            side.iter().for_each(|u| self.server_dies(u, false));
            return;
        };
        let names = side.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let seqno = self.writes.seqno(Some(tip));
        self.say(format!("view {} of {names} at {seqno}", view.id));
        if self.writes.acknowledged.is_some_and(|w| !self.writes.holds(tip, w)) {
            let acknowledged = self.writes.seqno(self.writes.acknowledged);
            self.break_promise(format!("acknowledged write {acknowledged} is lost: {names} go on from {seqno}"));
        }
        for unit in side {
            let own = copy(self, unit);
            let stays = stay.contains(unit);
            let machine = self.machine(unit);
            machine.volume.saved_view = Some(view.clone());
            let node = machine.node_mut().expect("it is up");
            node.view = Some(view.clone());
            let was_receiving = node.primary && node.state == LocalState::Joining;
            node.primary = true;
            if own == Some(tip) {
                if !stays || !matches!(node.state, LocalState::Donor | LocalState::Joined) {
                    node.state = LocalState::Synced;
                    node.open = true;
                }
                machine.volume.full_in = Some(view.id);
            } else if !was_receiving || node.transfer.is_none() {
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

    /// Promise 1: at no time do two components accept writes.
    pub(crate) fn one_primary_component(&mut self) {
        let accepting: BTreeMap<u64, Unit> =
            self.machines.keys().filter_map(|u| Some((self.accepting(u)?.id, u.clone()))).collect();
        if accepting.len() > 1 {
            self.break_promise(format!("two components accept writes: {accepting:?}"));
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
