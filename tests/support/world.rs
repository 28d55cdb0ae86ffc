//! A world around `cluster::decide`: units with volumes and servers, a Juju whose databags become visible only when a hook
//! ends well, and Galera ([`super::galera`]). Stories tell it, the model check searches it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use mariadb_galera::cluster::{
    AppBag, ClusterUuid, Decision, Epoch, Event, Holds, Installed, Journal, Juju, LastView, LocalState, MinClusterSize,
    Node, Observation, Order, Peer, Peers, Planned, Position, Report, Server, Settings, Source, Step, Turned, Unit,
    Volume, Word, decide, forced_call,
};

use super::galera::View;
use super::hook::Hook;
use super::planned::Schedule;
use super::promise::{Broken, Planted, Promise};
use super::restore::Beside;

/// One machine with its unit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    pub(crate) node: Node,
    /// Committed writes on this copy's disk.
    pub(crate) seqno: u64,
    /// Writes that the others have handed over and that are not on disk yet.
    pub(crate) queued: u64,
    /// The last primary view that the running server was part of.
    pub(crate) view: Option<View>,
    /// Galera's saved view: there after a crash, gone after a clean stop.
    pub(crate) saved_view: Option<View>,
    pub(crate) powered: bool,
    pub(crate) leaving: bool,
    /// Whether the gate lets the server start after a power cut.
    pub(crate) may_start: bool,
    /// The branch in the name that the server's file gives the group, and in the one that the running server uses.
    pub(crate) named: Epoch,
    pub(crate) group: Epoch,
    /// Where this copy's content turned away from others under the same UUID: branch, and the number of its last write
    /// before. Two copies whose turns differ hold different writes under the same numbers.
    pub(crate) turns: Vec<(Epoch, u64)>,
    /// What the others see: the last report of a hook that ended well.
    pub(crate) published: Option<Report>,
    /// What this unit's last hook was told of the others.
    pub(crate) heard: BTreeMap<Unit, Peer>,
    /// The hook that is running.
    /// Restarted in its turn, and no hook has seen it back.
    pub(crate) restarts: bool,
    pub(crate) hook: Option<Hook>,
    /// Data that was brought back, and from where.
    pub(crate) brought: Option<(Source, Beside)>,
    /// Data that was put aside, by the branch that took its place.
    pub(crate) asides: BTreeMap<Epoch, Beside>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// Shared between states until one of them changes it.
    pub(crate) machines: BTreeMap<Unit, Rc<Machine>>,
    pub(crate) app: AppBag,
    pub(crate) leader: Option<Unit>,
    pub(crate) min: Option<u32>,
    /// Those on the far side of a network cut; they see each other.
    pub(crate) far_side: BTreeSet<Unit>,
    /// What clients were told is safe, by history and branch.
    pub(crate) acknowledged: BTreeMap<(ClusterUuid, Epoch), u64>,
    /// Promises that were broken; nothing may ever be in here.
    pub(crate) broken: Vec<Broken>,
    /// Permissions that a unit has written down as used.
    pub(crate) used: BTreeSet<Epoch>,
    /// A mistake that is made on purpose.
    pub(crate) planted: Option<Planted>,
    pub(crate) histories: u32,
    /// What the wall says.
    /// How often a person has changed options that only a start takes.
    pub(crate) options: u8,
    /// What the leader hears of who is busy.
    pub(crate) busy: BTreeMap<Unit, u64>,
    pub(crate) now_s: u64,
    /// Planned backups.
    pub(crate) schedule: Option<Schedule>,
    /// The last order that each unit has begun to carry out.
    pub(crate) ordered: BTreeMap<Unit, Order>,
    gone: BTreeSet<Unit>,
}

/// How a hook ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Well,
    /// Killed after so many steps: what was done stays, nothing is published.
    KilledAfter(usize),
}

fn forget_views(o: &mut Observation) {
    if let Peers::Known(peers) = &mut o.juju.peers {
        for (unit, peer) in peers {
            if let Peer::Said(Report { answer: Some(answer), .. }) = peer {
                answer.view = alone(unit);
            }
        }
    }
    if let Some(answer) = &mut o.node.answer {
        answer.view = alone(&o.me);
    }
}

/// As if a copy had been alone, and part of everything.
fn alone(unit: &Unit) -> LastView {
    LastView { members: [(address(unit.number()), Some(unit.clone()))].into(), since: Epoch(u32::MAX) }
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
            last_view: LastView::default(),
            aside: Vec::new(),
            brought: None,
            making: None,
            expired: 0,
            turned: Turned::default(),
        };
        let machine = Machine {
            node,
            seqno: 0,
            queued: 0,
            view: None,
            saved_view: None,
            powered: true,
            leaving: false,
            may_start: false,
            named: Epoch::default(),
            group: Epoch::default(),
            turns: Vec::new(),
            published: None,
            heard: BTreeMap::new(),
            hook: None,
            restarts: false,
            brought: None,
            asides: BTreeMap::new(),
        };
        self.machines.insert(name.clone(), Rc::new(machine));
        self.leader.get_or_insert_with(|| name.clone());
    }

    pub(crate) fn planned(&self) -> BTreeSet<Unit> {
        self.machines.iter().filter(|(_, m)| !m.leaving).map(|(u, _)| u.clone()).collect()
    }

    /// What this unit's peers have published.
    pub(crate) fn peers(&self, me: &Unit) -> BTreeMap<Unit, Peer> {
        // One that is on its way out stays in sight until its own last hooks have run.
        let others = self.machines.iter().filter(|(unit, _)| *unit != me);
        others.map(|(unit, m)| (unit.clone(), m.published.clone().map_or(Peer::Silent, Peer::Said))).collect()
    }

    pub(crate) fn juju(&self, me: &Unit, peers: BTreeMap<Unit, Peer>) -> Juju {
        let machine = &self.machines[me];
        Juju {
            event: if machine.leaving { Event::Leaving } else { Event::Ordinary },
            leader: self.leader.as_ref() == Some(me),
            planned: Planned::Known(self.planned()),
            peers: Peers::Known(peers),
            app: self.app.clone(),
            now_s: self.now_s,
            settings: Ok(Settings {
                cluster_name: "db".to_owned(),
                min_cluster_size: self.min.map_or(MinClusterSize::Auto, MinClusterSize::AtLeast),
                restore_keep_days: Some(7),
                lower_case_table_names: 0,
            }),
            calendar: self.calendar(me),
            busy: self.busy.clone(),
        }
    }

    /// What a hook of this unit sees.
    pub(crate) fn observe(&self, me: &Unit) -> Observation {
        self.seen(me, self.juju(me, self.peers(me)))
    }

    pub(crate) fn seen(&self, me: &Unit, juju: Juju) -> Observation {
        let mut o = Observation { me: me.clone(), juju, node: self.machines[me].node.clone(), rivals: BTreeSet::new() };
        if let Some(recovery) = o.juju.app.recovery.as_ref().filter(|recovery| recovery.by_force() && o.juju.leader) {
            let behind = self.machines.iter().filter(|(u, m)| {
                !recovery.members.contains(*u) && self.reaches(me, u) && m.powered && m.node.server.primary().is_some()
            });
            o.rivals = behind.map(|(unit, _)| unit.clone()).collect();
        }
        match self.planted {
            Some(Planted::IgnoresTheSilent) => {
                if let (true, Peers::Known(peers)) = (o.node.stalled, &mut o.juju.peers) {
                    peers.retain(|_, peer| peer.report().is_some_and(|r| r.stalled || r.answer.is_some()));
                    let mut heard: BTreeSet<Unit> = peers.keys().cloned().collect();
                    heard.insert(me.clone());
                    o.juju.planned = Planned::Known(heard);
                }
                forget_views(&mut o);
            }
            Some(Planted::IgnoresTheView) => forget_views(&mut o),
            Some(Planted::TurnsForAll) => {
                if let Some(turn) = o.juju.app.turn.as_mut().filter(|turn| turn.unit.is_some()) {
                    turn.unit = Some(me.clone());
                }
            }
            Some(Planted::OverlooksData) => o.node.holds = Holds::Nothing,
            Some(Planted::NeverStalled) => o.node.stalled = false,
            Some(Planted::NobodyObjects) => {
                if let Peers::Known(peers) = &mut o.juju.peers {
                    for peer in peers.values_mut() {
                        if let Peer::Said(report) = peer {
                            report.objects = Epoch::default();
                        }
                    }
                }
            }
            Some(Planted::AnswersMeansReady) => {
                if let (Server::Answers(galera), Some(history)) = (&mut o.node.server, &o.juju.app.history) {
                    (galera.primary, galera.state) = (true, LocalState::Synced);
                    galera.uuid = Some(history.uuid.clone());
                }
            }
            Some(_) | None => {}
        }
        o
    }

    /// One hook of a single look: look, decide, do, publish. Returns the decision. Galera does what it does meanwhile.
    pub(crate) fn hook(&mut self, me: &Unit, end: End) -> Decision {
        let decision = decide(&self.observe(me));
        let app = self.app.clone();
        for (done, step) in decision.steps.iter().enumerate() {
            if end == End::KilledAfter(done) {
                return decision;
            }
            self.apply(me, step, &app);
            self.calm();
        }
        if end == End::Well {
            for commit in &decision.commits {
                self.commit(commit);
            }
            self.machine(me).published = Some(self.observe(me).report());
        }
        decision
    }

    /// The power goes while the founder makes its system tables: the permission is used, and there is no history.
    pub(crate) fn cut_while_bootstrapping(&mut self, me: &Unit) {
        let epoch = self.app.formation.as_ref().expect("a formation").epoch;
        self.journal(me).used_epoch = epoch;
        self.machine(me).node.holds = Holds::Unclear("data without grastate.dat".to_owned());
        self.power_off(std::slice::from_ref(me));
    }

    pub(crate) fn machine(&mut self, me: &Unit) -> &mut Machine {
        Rc::make_mut(self.machines.get_mut(me).expect("the unit exists"))
    }

    pub(crate) fn break_promise(&mut self, promise: Promise, how: String) {
        let broken = Broken { promise, how };
        if !self.broken.contains(&broken) {
            self.broken.push(broken);
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

    /// Galera finishes what it can: views, transfers, writes on their way to disk.
    pub(crate) fn calm(&mut self) {
        for _ in 0..10 {
            let before = self.clone();
            self.views();
            for unit in self.machines.keys().cloned().collect::<Vec<_>>() {
                self.transfer(&unit);
                let machine = self.machine(&unit);
                if machine.node.server.synced().is_some() {
                    machine.seqno += machine.queued;
                    machine.queued = 0;
                }
            }
            if *self == before {
                return;
            }
        }
    }

    /// Clients write: every member of the primary component moves on.
    pub(crate) fn write(&mut self, count: u64) {
        let Some(member) = self.primaries().into_values().flatten().next() else {
            return;
        };
        for _ in 0..count {
            self.write_through(&member);
        }
        self.calm();
    }

    /// One machine loses its power.
    pub(crate) fn cut_power(&mut self, unit: &Unit) {
        let machine = self.machine(unit);
        if machine.hook.as_ref().is_some_and(|hook| hook.noted) && machine.node.holds == Holds::Nothing {
            machine.node.holds = Holds::Unclear("data without grastate.dat".to_owned());
        }
        machine.powered = false;
        (machine.hook, machine.node.stalled) = (None, false);
        self.crash(unit);
    }

    /// It has it again: the gate lets a member's server start, and only that.
    pub(crate) fn give_power(&mut self, unit: &Unit) {
        let machine = self.machine(unit);
        machine.powered = true;
        if machine.may_start {
            machine.start();
        }
    }

    /// Machines lose power at once, and the others notice.
    pub(crate) fn power_off(&mut self, units: &[Unit]) {
        units.iter().for_each(|unit| self.cut_power(unit));
        self.calm();
    }

    /// Machines come back, and the others notice.
    pub(crate) fn power_on(&mut self, units: &[Unit]) {
        units.iter().for_each(|unit| self.give_power(unit));
        self.calm();
    }

    /// So much time passes that Galera's own way back has had its chance.
    pub(crate) fn time_passes(&mut self) {
        for unit in self.machines.keys().cloned().collect::<Vec<_>>() {
            if self.machines[&unit].powered {
                self.waits(&unit);
            }
        }
    }

    /// A unit has waited for long.
    pub(crate) fn waits(&mut self, unit: &Unit) {
        let heard = self.everybody_has_heard();
        let node = &mut self.machine(unit).node;
        node.stalled = node.server.primary().is_none();
        if let Some(answer) = node.answer.as_mut().filter(|_| heard) {
            answer.stands = true;
        }
    }

    /// Whether those who serve have had a hook since the open call by force, as Juju sees to in the time that it is given.
    fn everybody_has_heard(&self) -> bool {
        let Some(recovery) = self.app.recovery.as_ref().filter(|recovery| recovery.by_force()) else {
            return false;
        };
        let said = |machine: &Machine| machine.published.as_ref().is_some_and(|p| p.objects == recovery.epoch);
        let serves = |machine: &Machine| machine.powered && machine.node.server.primary().is_some();
        self.machines.iter().all(|(unit, m)| recovery.members.contains(unit) || !serves(m) || said(m))
    }

    /// Whether waiting would change anything for this unit.
    pub(crate) fn may_wait(&self, unit: &Unit) -> bool {
        let node = &self.machines[unit].node;
        let out = !node.stalled && node.server.primary().is_none() && matches!(node.journal, Journal::Known(_));
        let open = node
            .answer
            .as_ref()
            .is_some_and(|a| !a.stands && Some(a.epoch) == self.app.recovery.as_ref().map(|r| r.epoch));
        out || (open && self.everybody_has_heard())
    }

    /// Leadership moves. Juju refuses what the old leader writes from then on.
    pub(crate) fn lead(&mut self, unit: &Unit) {
        self.leader = Some(unit.clone());
        if self.machines[unit].hook.is_some() {
            if let Some(hook) = &mut self.machine(unit).hook {
                hook.overtaken = true;
            }
        }
    }

    /// A person restarts the cluster from this unit, by hand and on their own account.
    pub(crate) fn bootstrap_by_hand(&mut self, unit: &Unit) -> bool {
        let machine = &self.machines[unit];
        let Holds::History(uuid) = machine.node.holds.clone() else {
            return false;
        };
        let position = Position { uuid, seqno: machine.seqno };
        let branch = machine.branch();
        self.acknowledged.insert((position.uuid.clone(), branch), position.seqno);
        let (epoch, ask) = (Epoch::default(), Vec::new());
        self.bootstrap(unit, &Step::Bootstrap { epoch, from: Some(position), branch, ask, put: None });
        true
    }

    /// A person runs `bootstrap-cluster force=true` on the leader, where whoever does not answer is off, or cut off.
    /// Refused as the action refuses.
    pub(crate) fn force(&mut self, leader: &Unit) -> bool {
        let o = self.observe(leader);
        let word = |unit: &Unit| match self.machines.get(unit) {
            Some(machine) if machine.powered && self.reaches(leader, unit) => {
                let serves = machine.node.journal.entry().map(|entry| entry.branch);
                if machine.node.server.primary().is_some() { Word::Primary(serves) } else { Word::Out }
            }
            Some(_) | None => Word::Silence,
        };
        let words = o.reports().into_keys().map(|unit| (unit.clone(), word(&unit))).collect();
        let Ok(call) = forced_call(&o, &words) else {
            return false;
        };
        self.call(call);
        true
    }

    /// Juju forgets a unit that has left.
    pub(crate) fn forget(&mut self, unit: &Unit) {
        self.machines.remove(unit);
        self.gone.insert(unit.clone());
        for machine in self.machines.values_mut().map(Rc::make_mut) {
            machine.heard.remove(unit);
        }
    }

    /// Runs hooks of all units that have power until nothing changes; returns the number of rounds.
    pub(crate) fn settle(&mut self) -> usize {
        for round in 0..60 {
            let before = self.clone();
            let units: Vec<Unit> = self.machines.iter().filter(|(_, m)| m.powered).map(|(u, _)| u.clone()).collect();
            for unit in units {
                self.hook(&unit, End::Well);
            }
            if *self == before {
                assert_eq!(self.broken, Vec::new(), "promises");
                return round;
            }
        }
        panic!("does not come to rest");
    }
}
