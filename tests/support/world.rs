//! A small world around `cluster::decide`: units with volumes and servers, databags that become visible only when a
//! hook ends well, and a Galera that forms views, saves them and transfers state without ever failing by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use mariadb_galera::cluster::{
    Answer, AppBag, ClusterUuid, Commit, Credentials, DbInit, Decision, Event, Galera, Holds, Installed, Journal,
    JournalEntry, Juju, LocalState, MinClusterSize, Node, Observation, Peer, Peers, Planned, Position, Report, Server,
    Settings, Step, Unit, Volume, decide,
};

/// One machine with its unit.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) node: Node,
    /// Committed writes on this copy.
    pub(crate) seqno: u64,
    /// Galera's saved view: there after a crash, gone after a clean stop.
    pub(crate) saved_view: Option<BTreeSet<Unit>>,
    pub(crate) powered: bool,
    pub(crate) leaving: bool,
    /// Whether the gate lets the server start after a power cut.
    pub(crate) may_start: bool,
    /// What the others see: the last report of a hook that ended well.
    pub(crate) published: Option<Report>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) machines: BTreeMap<Unit, Machine>,
    pub(crate) app: AppBag,
    pub(crate) leader: Option<Unit>,
    pub(crate) min: Option<u32>,
    histories: u32,
}

/// How a hook ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Well,
    /// Killed after so many steps: what was done stays, nothing is published.
    KilledAfter(usize),
}

pub(crate) fn unit(name: &str) -> Unit {
    name.parse().expect("a unit name")
}

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(number + 9).expect("few units")))
}

impl World {
    /// Adds a unit on a fresh machine; the first becomes leader.
    pub(crate) fn add(&mut self, name: &Unit) {
        let node = Node {
            installed: Installed::No("mariadb-server".to_owned()),
            volume: Volume::Mounted,
            journal: Journal::Absent,
            holds: Holds::Nothing,
            server: Server::Stopped,
            address: Some(address(name.number())),
            answer: None,
            stalled: false,
            credentials_seen: 0,
        };
        let machine = Machine {
            node,
            seqno: 0,
            saved_view: None,
            powered: true,
            leaving: false,
            may_start: false,
            published: None,
        };
        self.machines.insert(name.clone(), machine);
        self.leader.get_or_insert_with(|| name.clone());
    }

    fn planned(&self) -> BTreeSet<Unit> {
        self.machines.iter().filter(|(_, m)| !m.leaving).map(|(u, _)| u.clone()).collect()
    }

    /// What a hook of this unit sees.
    pub(crate) fn observe(&self, me: &Unit) -> Observation {
        let peers = self
            .machines
            .iter()
            .filter(|(unit, machine)| *unit != me && !machine.leaving)
            .map(|(unit, machine)| {
                let peer = machine.published.clone().map_or(Peer::Silent, Peer::Said);
                (unit.clone(), peer)
            })
            .collect();
        let machine = &self.machines[me];
        Observation {
            me: me.clone(),
            juju: Juju {
                event: if machine.leaving { Event::Leaving } else { Event::Ordinary },
                leader: self.leader.as_ref() == Some(me),
                planned: Planned::Known(self.planned()),
                peers: Peers::Known(peers),
                app: self.app.clone(),
                settings: Ok(Settings {
                    cluster_name: "db".to_owned(),
                    min_cluster_size: self.min.map_or(MinClusterSize::Auto, MinClusterSize::AtLeast),
                }),
            },
            node: machine.node.clone(),
        }
    }

    /// One hook: look, decide, do, publish. Returns the decision.
    pub(crate) fn hook(&mut self, me: &Unit, end: End) -> Decision {
        let decision = decide(&self.observe(me));
        for (done, step) in decision.steps.iter().enumerate() {
            if end == End::KilledAfter(done) {
                return decision;
            }
            self.apply(me, step);
        }
        if end != End::Well {
            return decision;
        }
        for commit in &decision.commits {
            self.commit(commit);
        }
        if let Some(machine) = self.machines.get_mut(me) {
            machine.published = Some(machine.node.report());
        }
        decision
    }

    fn journal(&mut self, me: &Unit) -> &mut JournalEntry {
        let machine = self.machines.get_mut(me).expect("the unit exists");
        match &mut machine.node.journal {
            Journal::Known(entry) => entry,
            Journal::Absent | Journal::Unreadable(_) => panic!("{me} acts without a journal"),
        }
    }

    fn apply(&mut self, me: &Unit, step: &Step) {
        match step {
            Step::AdoptVolume => {
                self.machine(me).node.journal = Journal::Known(JournalEntry {
                    db_init: DbInit::New,
                    uuid: None,
                    used_epoch: Default::default(),
                    accounts: false,
                });
            }
            Step::Install => self.machine(me).node.installed = Installed::Yes,
            Step::Configure => {
                if let Credentials::Known { generation, .. } = self.app.credentials {
                    self.machine(me).node.credentials_seen = generation;
                }
            }
            Step::Advance(next) => {
                let entry = self.journal(me);
                assert!(*next >= entry.db_init, "invariant 5: {me} goes from {} to {next}", entry.db_init);
                entry.db_init = *next;
            }
            Step::Bootstrap { epoch, from, .. } => self.bootstrap(me, *epoch, from.as_ref()),
            Step::SetUpAccounts => {
                self.journal(me).accounts = true;
                self.machine(me).seqno += 10;
            }
            Step::MarkInitialised(uuid) => {
                let entry = self.journal(me);
                entry.db_init = DbInit::Initialised;
                entry.uuid = Some(uuid.clone());
            }
            Step::Join => {
                let machine = self.machine(me);
                machine.may_start = true;
                machine.node.answer = None;
                machine.node.server = Server::Starting;
            }
            Step::Stop | Step::Leave => {
                self.stop(me);
                self.machine(me).may_start = false;
            }
            Step::AnswerCall(epoch) => {
                self.stop(me);
                let machine = self.machine(me);
                machine.may_start = false;
                machine.saved_view = None;
                let position = match &machine.node.holds {
                    Holds::History(uuid) => Some(Position { uuid: uuid.clone(), seqno: machine.seqno }),
                    Holds::Nothing | Holds::Unclear(_) => None,
                };
                machine.node.answer = Some(Answer { epoch: *epoch, position });
            }
            Step::SettleCredentials { .. } => {}
        }
        self.galera();
    }

    fn bootstrap(&mut self, me: &Unit, epoch: mariadb_galera::cluster::Epoch, from: Option<&Position>) {
        assert!(self.journal(me).used_epoch < epoch, "invariant 1: {me} uses epoch {epoch} twice");
        self.journal(me).used_epoch = epoch;
        let rival = self.primaries().into_keys().next();
        assert!(rival.is_none(), "invariant 1: {me} bootstraps beside history {rival:?}");
        let uuid = match from {
            Some(position) => position.uuid.clone(),
            None => {
                let holds = &self.machines[me].node.holds;
                assert!(!matches!(holds, Holds::History(_)), "invariant 3: {me} founds over data");
                self.histories += 1;
                format!("{:08x}-0000-4000-8000-000000000000", self.histories).parse().expect("a UUID")
            }
        };
        let machine = self.machine(me);
        machine.may_start = true;
        machine.node.answer = None;
        machine.node.holds = Holds::History(uuid.clone());
        machine.node.server = answers(&uuid, machine.seqno, 1);
    }

    /// The power goes while the founder makes its system tables: the permission is used, and there is no history.
    pub(crate) fn cut_while_bootstrapping(&mut self, me: &Unit) {
        let epoch = self.app.formation.as_ref().expect("a formation").epoch;
        self.journal(me).used_epoch = epoch;
        self.machine(me).node.holds = Holds::Unclear("data without grastate.dat".to_owned());
        self.power_off(std::slice::from_ref(me));
    }

    fn machine(&mut self, me: &Unit) -> &mut Machine {
        self.machines.get_mut(me).expect("the unit exists")
    }

    /// A clean stop: the view is forgotten.
    fn stop(&mut self, me: &Unit) {
        let machine = self.machine(me);
        machine.node.server = Server::Stopped;
        machine.saved_view = None;
    }

    fn commit(&mut self, commit: &Commit) {
        match commit {
            Commit::Credentials => self.app.credentials = Credentials::Known { generation: 1, settled: 1 },
            Commit::Formation(formation) => {
                let before = self.app.formation.as_ref().map_or(Default::default(), |f| f.epoch);
                assert!(formation.epoch > before, "invariant 1: epoch {} after {before}", formation.epoch);
                self.app.formation = Some(formation.clone());
            }
            Commit::History(history) => self.app.history = Some(history.clone()),
            Commit::Recovery(recovery) => self.app.recovery = Some(recovery.clone()),
            Commit::CloseRecovery => self.app.recovery = None,
            Commit::CredentialsSettled { generation } => {
                self.app.credentials = Credentials::Known { generation: *generation, settled: *generation };
            }
        }
    }

    /// The units in each history's primary component.
    pub(crate) fn primaries(&self) -> BTreeMap<ClusterUuid, BTreeSet<Unit>> {
        let mut primaries: BTreeMap<ClusterUuid, BTreeSet<Unit>> = BTreeMap::new();
        for (unit, machine) in &self.machines {
            if let Some(uuid) = machine.node.server.synced() {
                primaries.entry(uuid.clone()).or_default().insert(unit.clone());
            }
        }
        primaries
    }

    /// Views form, state is transferred, saved views are restored.
    fn galera(&mut self) {
        let starting: Vec<Unit> = self
            .machines
            .iter()
            .filter(|(_, m)| m.powered && m.node.server == Server::Starting)
            .map(|(u, _)| u.clone())
            .collect();
        let primaries = self.primaries();
        assert!(primaries.len() <= 1, "invariant 1: two histories are served: {primaries:?}");
        if let Some((uuid, members)) = primaries.into_iter().next() {
            let seqno = members.iter().map(|u| self.machines[u].seqno).max().unwrap_or_default();
            for joiner in &starting {
                let machine = self.machine(joiner);
                machine.seqno = seqno;
                machine.node.holds = Holds::History(uuid.clone());
                machine.node.server = answers(&uuid, seqno, 1);
            }
        } else if let Some(view) = starting.iter().find_map(|u| {
            let view = self.machines[u].saved_view.clone()?;
            let all_back =
                view.iter().all(|v| starting.contains(v) && self.machines[v].saved_view.as_ref() == Some(&view));
            all_back.then_some(view)
        }) {
            let best = view.iter().max_by_key(|u| self.machines[*u].seqno).expect("a view has members").clone();
            let seqno = self.machines[&best].seqno;
            let holds = self.machines[&best].node.holds.clone();
            if let Holds::History(uuid) = holds {
                for member in &view {
                    let machine = self.machine(member);
                    machine.seqno = seqno;
                    machine.node.server = answers(&uuid, seqno, 1);
                }
                self.galera();
                return;
            }
        }
        let members: BTreeSet<Unit> = self.primaries().into_values().flatten().collect();
        let size = u32::try_from(members.len()).expect("few units");
        let view: BTreeSet<IpAddr> = members.iter().filter_map(|unit| self.machines[unit].node.address).collect();
        for member in &members {
            let machine = self.machine(member);
            if let Server::Answers(galera) = &mut machine.node.server {
                galera.size = size;
                galera.view.clone_from(&view);
            }
            machine.node.stalled = false;
            machine.saved_view = Some(members.clone());
        }
    }

    /// Clients write: every member of the primary component moves on.
    pub(crate) fn write(&mut self, count: u64) {
        for member in self.primaries().into_values().flatten() {
            self.machine(&member).seqno += count;
        }
    }

    /// The machines lose power at once. Their last view stays saved; those who remain form a new one if they can.
    pub(crate) fn power_off(&mut self, units: &[Unit]) {
        let members: BTreeSet<Unit> = self.primaries().into_values().flatten().collect();
        let lost = units.iter().filter(|u| members.contains(u)).count();
        for unit in units {
            let machine = self.machine(unit);
            machine.powered = false;
            machine.node.server = Server::Stopped;
        }
        if members.len() <= 2 * lost {
            for unit in members.iter().filter(|u| !units.contains(u)) {
                if let Server::Answers(galera) = &mut self.machine(unit).node.server {
                    galera.primary = false;
                }
            }
        }
        self.galera();
    }

    /// The machines come back: the gate lets a member's server start, and only that.
    pub(crate) fn power_on(&mut self, units: &[Unit]) {
        for unit in units {
            let machine = self.machine(unit);
            machine.powered = true;
            if machine.may_start {
                machine.node.server = Server::Starting;
            }
        }
        self.galera();
    }

    /// So much time passes that Galera's own way back has had its chance.
    pub(crate) fn time_passes(&mut self) {
        for machine in self.machines.values_mut().filter(|m| m.powered) {
            machine.node.stalled = machine.node.server.primary().is_none();
        }
    }

    /// Runs hooks of all units that have power until nothing changes; returns the number of rounds.
    pub(crate) fn settle(&mut self) -> usize {
        for round in 0..60 {
            let before = format!("{self:?}");
            let units: Vec<Unit> = self.machines.iter().filter(|(_, m)| m.powered).map(|(u, _)| u.clone()).collect();
            for unit in units {
                self.hook(&unit, End::Well);
            }
            if format!("{self:?}") == before {
                return round;
            }
        }
        panic!("does not come to rest");
    }
}

fn answers(uuid: &ClusterUuid, seqno: u64, size: u32) -> Server {
    Server::Answers(Galera {
        primary: true,
        connected: true,
        ready: true,
        state: LocalState::Synced,
        uuid: Some(uuid.clone()),
        seqno: Some(seqno),
        conf_id: Some(1),
        size,
        view: BTreeSet::new(),
    })
}
