//! What a pass sees: Juju's side as of its hook, with databags that may be old, and its machine as it is now.

use std::collections::{BTreeMap, BTreeSet};

use juju_local::model::Life;
use mariadb_galera::cluster::{
    Answer, AppBag, Calendar, Credentials, Epoch, Event as Called, Holds, Installed, Journal, Juju, LastView,
    MinClusterSize, Node, Observation, Peer, Peers, Planned, Settings, TIME_TO_OBJECT_S, Unit, Volume,
};
use mariadb_galera::model::peer_data::{self, Bag};

use super::Planted;
use super::juju::{APP, PEERS, Running};
use super::plan::SECOND;
use super::world::{World, name, unit_of};

impl World {
    pub(crate) fn ask_juju(&mut self, unit: &Unit, running: &Running) -> Result<Juju, String> {
        let (me, snapshot) = (name(unit), &running.context.snapshot);
        let alive = snapshot.units.iter().filter(|(_, u)| u.life == Life::Alive);
        let mut juju = Juju {
            event: if self.machines[unit].leaving { Called::Leaving } else { Called::Ordinary },
            leader: false,
            planned: Planned::Known(alive.map(|(name, _)| unit_of(name)).collect()),
            peers: Peers::NotYet,
            app: AppBag::default(),
            now_s: self.now / SECOND,
            settings: Ok(Settings {
                cluster_name: APP.to_owned(),
                min_cluster_size: MinClusterSize::Auto,
                restore_keep_days: Some(1),
                lower_case_table_names: 0,
            }),
            calendar: Calendar::Unknown,
            busy: BTreeMap::new(),
        };
        let local = &snapshot.units[&me].local;
        let entered = snapshot.relations.get(&PEERS).is_some_and(|r| r.scope.contains(&me))
            || local.relations.get(&PEERS).is_some_and(|r| r.created);
        if !local.installed || !entered {
            return Ok(juju);
        }
        // Asked when the hook has begun, unlike everything above.
        let introduced = running.context.members(PEERS);
        juju.leader = self.state.is_leader(&me);
        let about = running.hook.as_ref().and_then(|hook| hook.remote_unit.clone());
        let mut peers = BTreeMap::new();
        for member in introduced {
            // Juju drops what it has read of the hook's own unit; of others it may show what it read before.
            let stale = about.as_ref() != Some(&member) && self.rng_ratio(1, 4);
            let before = self.machines[unit].heard.get(&member).filter(|_| stale).cloned();
            let live = || snapshot.relations[&PEERS].unit_bags.get(&member).map(|bag| bag.values.clone());
            let bag: Bag = before.or_else(live).unwrap_or_default();
            peers.insert(unit_of(&member), peer_data::read_peer(&bag));
            self.machine(unit).heard.insert(member, bag);
        }
        juju.peers = Peers::Known(peers);
        let bag = running.context.own_bag(PEERS, true);
        let credentials = match peer_data::read_credentials(&bag)? {
            None => Credentials::Absent,
            Some(text) => match text.secret_id.as_deref().and_then(|id| snapshot.secret_id(id)) {
                Some(id) if snapshot.secrets[&id].readable_by(&me) => {
                    Credentials::Known { generation: text.generation, settled: text.settled }
                }
                Some(_) | None => Credentials::Unreadable("cannot read the secret".to_owned()),
            },
        };
        juju.app = peer_data::read_app(&bag, credentials)?;
        juju.calendar = self.calendar(&juju);
        juju.busy = self.busy(&juju);
        Ok(juju)
    }

    fn rng_ratio(&mut self, n: u64, of: u64) -> bool {
        self.draw(0..of) < n
    }

    /// What a pass sees of its own machine.
    pub(crate) fn seen_here(&self, unit: &Unit) -> Node {
        let machine = &self.machines[unit];
        Node {
            installed: if machine.installed { Installed::Yes } else { Installed::No("packages".to_owned()) },
            volume: Volume::Mounted,
            journal: machine.volume.journal.clone().map_or(Journal::Absent, Journal::Known),
            holds: machine.volume.history().cloned().map_or_else(|| machine.volume.holds.clone(), Holds::History),
            server: self.server(unit),
            address: Some(machine.address),
            stalled: self.stalled(unit),
            answer: machine.answer.clone().map(|answer| Answer {
                stands: self.now.saturating_sub(machine.answered_at) >= TIME_TO_OBJECT_S * SECOND,
                ..answer
            }),
            credentials_seen: machine.credentials_seen,
            last_view: self.last_view(unit),
            aside: machine.volume.asides.keys().map(|branch| format!("/data.aside-{branch}")).collect(),
            brought: self.brought(unit),
            making: self.making(unit),
            expired: machine.expired,
            turned: self.turned(unit),
        }
    }

    /// What a pass sees.
    pub(crate) fn observation(&self, unit: &Unit, juju: &Juju) -> Observation {
        let node = self.seen_here(unit);
        let mut o = Observation { me: unit.clone(), juju: juju.clone(), node, rivals: BTreeSet::new() };
        // Those whom a restart by force leaves behind are asked (`src/charm.rs`).
        if let Some(recovery) = juju.app.recovery.as_ref().filter(|recovery| recovery.by_force() && juju.leader) {
            let behind = o.reports().into_keys().filter(|other| !recovery.members.contains(other));
            o.rivals = behind.filter(|other| self.says_primary(unit, other)).collect();
        }
        self.plant(&mut o);
        o
    }

    /// The mistakes that are made in what a unit sees.
    fn plant(&self, o: &mut Observation) {
        if let (Some(Planted::TurnsForAll), Some(turn)) = (self.planted, o.juju.app.turn.as_mut()) {
            turn.unit = turn.unit.as_ref().map(|_| o.me.clone());
        }
        let Peers::Known(peers) = &mut o.juju.peers else { return };
        for peer in peers.values_mut() {
            match (self.planted, peer) {
                (Some(Planted::NobodyObjects), Peer::Said(report)) => report.objects = Epoch::default(),
                (Some(Planted::NobodyRefuses), Peer::Said(report)) => report.turned.refused = None,
                (_, Peer::Said(_) | Peer::Silent | Peer::Garbled(_)) => {}
            }
        }
    }

    /// What `src/node/last_view.rs` reads: the view on the volume's branch, or else on the one before.
    pub(crate) fn last_view(&self, unit: &Unit) -> LastView {
        let machine = &self.machines[unit];
        let volume = &machine.volume;
        let branch = volume.journal.as_ref().map_or(Epoch::default(), |entry| entry.branch);
        if self.planted == Some(Planted::ForgetsTheView) {
            // As if every copy had been alone, and part of everything.
            return LastView { members: [(machine.address, Some(unit.clone()))].into(), since: Epoch(u32::MAX) };
        }
        let view = volume.last_view.range(..=branch).next_back().map(|(_, view)| view.clone());
        view.unwrap_or_default()
    }
}
