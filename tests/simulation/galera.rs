//! Galera with time: servers that start, stop, leave and die.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mariadb_galera::cluster::{Galera, Holds, LocalState, Server, Unit};
use rand::RngExt as _;

use super::Planted;
use super::plan::{Ms, SECOND};
use super::transfer::Transfer;
use super::views::View;
use super::world::{Event, Machine, Permission, World};

/// `pc.wait_prim_timeout` and what the service manager adds.
const TIRED: Ms = 32 * SECOND;

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
    /// In a component that the group layer calls primary, and in which nobody has the data: it serves nobody, ends never,
    /// and takes in whoever comes (seen with Galera 26.4, `docs/facts.md`).
    pub(crate) hollow: Option<View>,
    /// Nobody in its last view had the data: those who were in it lost sight of each other, and when all are back together
    /// they are what they were.
    pub(crate) was_hollow: bool,
    /// It was in some primary component, hollow ones included: it looks for the others for ever.
    pub(crate) arrived: bool,
    /// The last write that it has received; the volume's tip follows.
    pub(crate) received: Option<usize>,
    /// Accepts connections: not before it was once Synced.
    pub(crate) open: bool,
    /// Galera has given up in it.
    pub(crate) given_up: bool,
    pub(crate) frozen: bool,
    pub(crate) transfer: Option<Transfer>,
    /// Has received everything, and the others do not know yet: should they go now, it is nobody's copy.
    pub(crate) whole: bool,
    /// The group's name and addresses, as of its start.
    pub(crate) group: String,
    pub(crate) members: BTreeSet<IpAddr>,
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
        if self.ends_at_once(unit) {
            let machine = self.machine(unit);
            // By then the gate has turned the permission into an ordinary one.
            if let (Permission::Bootstrap { from: Some(_) }, false) = (permission, keeps) {
                (machine.permission, machine.volume.saved_view) = (Some(Permission::Join), None);
                self.goes_on(unit);
            }
            self.after(2 * SECOND, Event::Up(unit.clone(), pid));
            return;
        }
        let machine = self.machine(unit);
        let mut node = Node {
            primary: false,
            state: LocalState::Undefined,
            // The gate (`src/node/saved_view.rs`): what was saved by one that was still receiving is not restored.
            view: machine.volume.saved_view.clone().filter(|view| machine.volume.full_in == Some(view.id)),
            hollow: None,
            was_hollow: false,
            arrived: false,
            received: machine.volume.tip,
            open: false,
            given_up: false,
            frozen: false,
            transfer: None,
            whole: false,
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
                if from.is_some() {
                    self.goes_on(unit);
                }
                let machine = self.machine(unit);
                node.received = machine.volume.tip;
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
        let looks = machine.node().is_some_and(|n| !n.open && !n.primary && !n.arrived && !n.frozen);
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
        self.leave_hollow(unit);
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
}
