//! Options that change while the cluster runs, and restarts in turn for them, of every third seed: what `src/node/turn.rs`
//! does to a machine, and what nobody may do to the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use juju_local::charm_files::ConfigOption;
use juju_local::model::State;
use mariadb_galera::cluster::{Credentials, Galera, Juju, LocalState, MakingResult, Peer, Peers, Server, Turned, Unit};
use mariadb_galera::model::peer_data;

use super::Planted;
use super::juju::{APP, PEERS, Running};
use super::plan::{MINUTE, Ms, SECOND};
use super::steps::Done;
use super::views::View;
use super::world::{Machine, Permission, World, name};

/// The one option: a number that stands for all of them.
const OPTION: &str = "options";
/// As long as the server waits for a restart and this unit gives turns or has one (`src/charm.rs`).
const LOOK_AT_TURN_S: u32 = 15;
/// A server that ended so often on its way up does not start with its file (`src/node/turn.rs`).
const STARTS_MAX: u32 = 3;
/// So long, with everybody in place and heard of, nobody waits for a restart in vain. A hook that was killed runs again after
/// some seconds.
const NEXT_WITHIN: Ms = 90 * SECOND;
/// So long after it has become visible everybody has heard of a refusal, who has hooks.
const HEARD_WITHIN: Ms = 2 * MINUTE;

/// A hole: a start also counts when nobody served whom the server could have joined. One that was cut off or away while
/// options changed has ended often enough by the time at which it finds the others, and refuses options with which it would
/// have started: nobody is restarted until they change again. Without it, a start counts only while another serves.
/// That alone does not do either: transfers come to nothing too, and end a server that has read its options and lived with them.
const STARTS_COUNT_IN_AN_OUTAGE: bool = true;

/// What a person does to options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Something that only a start takes.
    New,
    /// Something that a running server takes over.
    Taken,
    /// Something with which no server starts.
    Bad,
    /// Those before, whatever they were.
    Back,
}

/// Options as they were once. Their mark is their place among all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// The part of the server's file that only a start takes.
    file: u32,
    pub(crate) bad: bool,
}

impl Options {
    pub(crate) const FIRST: Self = Self { file: 0, bad: false };
}

/// What is written down on the machine; see `src/node/turn.rs`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    number: u32,
    options: Option<usize>,
    starts: u32,
    refused: Option<usize>,
    good: Option<u32>,
    /// The server's file, and what it was started with; the latter is in the run directory.
    file: u32,
    running: Option<u32>,
    /// Stopped in its turn, and not a full member since.
    away: bool,
}

impl Note {
    fn waits(&self) -> bool {
        self.running.is_some_and(|running| running != self.file)
    }

    fn refuses(&self) -> Option<usize> {
        self.refused.filter(|of| self.options == Some(*of))
    }

    /// A reboot.
    pub(crate) fn forget_run_directory(&mut self) {
        self.running = None;
    }
}

/// How far a restart is.
#[derive(Debug, Default)]
pub(crate) struct Restarting {
    part: u8,
    /// Saved again behind the stop: the only member goes on by it.
    view: Option<View>,
}

/// As much of `config.yaml` as is needed here.
pub(crate) fn config() -> BTreeMap<String, ConfigOption> {
    let option = ConfigOption { kind: "int".to_owned(), default: Some(0.into()), description: String::new() };
    [(OPTION.to_owned(), option)].into()
}

/// The options' mark, as a hook sees it.
fn mark(state: &State) -> usize {
    let set = state.applications[APP].config.get(OPTION).and_then(serde_json::Value::as_u64);
    set.and_then(|mark| usize::try_from(mark).ok()).unwrap_or_default()
}

impl World {
    /// Whether options change in this run.
    pub(crate) fn has_turns(&self) -> bool {
        self.plan.has_turns()
    }

    pub(crate) fn change_options(&mut self, change: Change) {
        let before = mark(&self.state);
        let Options { file, bad } = self.options[before];
        let next = u32::try_from(self.options.len()).unwrap_or(u32::MAX);
        // A cluster that forms with options with which no server starts has none before to fall back to.
        let formed = self.state.relations[&PEERS].app_bags[APP].values.contains_key("history");
        let new = match change {
            Change::Back => None,
            Change::Taken => Some(Options { file, bad }),
            Change::New | Change::Bad => Some(Options { file: next, bad: change == Change::Bad && formed }),
        };
        self.options.extend(new);
        self.set_options(if new.is_some() { self.options.len() - 1 } else { before.saturating_sub(1) });
    }

    fn set_options(&mut self, mark: usize) {
        let set = [(OPTION.to_owned(), mark.to_string().into())].into();
        self.state.set_config(APP, &set, &[]).expect("the option is there");
        self.say(format!(
            "options {mark}{}",
            if self.options[mark].bad { ", with which no server starts" } else { "" }
        ));
        self.version += 1;
    }

    /// Servers do not come up by themselves: newcomers know no options before, and while nobody serves nobody blames options.
    /// A person takes them back.
    pub(crate) fn take_options_back(&mut self) -> bool {
        let fails = |unit: &Unit| {
            let note = &self.machines[unit].note_of_turns;
            self.server(unit).synced().is_none() && self.is_bad(note.file)
        };
        if !self.options[mark(&self.state)].bad || !self.machines.keys().any(fails) {
            return false;
        }
        let fine = self.options.iter().rposition(|options| !options.bad).unwrap_or_default();
        self.say("a person takes the options back");
        self.stats.taken_back += 1;
        self.set_options(fine);
        true
    }

    fn is_bad(&self, file: u32) -> bool {
        self.options.iter().any(|options| options.bad && options.file == file)
    }

    /// `turn::observe`.
    pub(crate) fn turned(&self, unit: &Unit) -> Turned {
        let note = &self.machines[unit].note_of_turns;
        Turned {
            options: note.options.map(|mark| mark.to_string()).unwrap_or_default(),
            number: note.number,
            waits: note.waits(),
            refused: note.refuses().map(|_| "it ends with an error".to_owned()),
        }
    }

    /// `turn::settings` and what `src/node/configure.rs` makes of them.
    pub(crate) fn write_options(&mut self, me: &Unit, members: &BTreeSet<IpAddr>, running: &Running) {
        let set = mark(&running.context.snapshot);
        let asked = self.options[set].file;
        let others_serve = {
            let mut others = self.at_addresses(me, members).peekable();
            others.peek().is_none() || others.any(|unit| unit.is_some_and(|unit| self.says_primary(me, unit)))
        };
        let synced = self.server(me).synced().is_some();
        let refused_elsewhere = self.refused_elsewhere(me, set, running);
        let note = &mut self.machine(me).note_of_turns;
        let to_blame = note.starts >= STARTS_MAX && others_serve;
        if note.options != Some(set) {
            (note.options, note.starts, note.refused) = (Some(set), 0, None);
        }
        let unsuccessful = to_blame && note.starts >= STARTS_MAX && note.good.is_some_and(|good| good != asked);
        let refuses = unsuccessful && note.refused != Some(set);
        if refuses {
            note.refused = Some(set);
        }
        let not_now = refused_elsewhere || !(others_serve || synced);
        note.file = note.good.filter(|_| note.refuses().is_some() || not_now).unwrap_or(asked);
        if synced && !note.waits() {
            (note.starts, note.good) = (0, Some(note.file));
        }
        if refuses {
            self.stats.refused += 1;
            self.say(format!("{me}: the server does not start with options {set}"));
        }
    }

    /// Whether another unit has said that its server does not start with these options, as far as this hook can see.
    fn refused_elsewhere(&self, me: &Unit, set: usize, running: &Running) -> bool {
        let bags = &running.context.snapshot.relations[&PEERS].unit_bags;
        let refuses = |peer: &Peer| {
            let turned = peer.report().map(|report| &report.turned);
            turned.is_some_and(|turned| turned.refused.is_some() && turned.options == set.to_string())
        };
        let heard = self.planted != Some(Planted::NobodyRefuses);
        heard && bags.iter().any(|(unit, bag)| *unit != name(me) && refuses(&peer_data::read_peer(&bag.values)))
    }

    /// Who is at each of these addresses, `me` left out.
    fn at_addresses<'a>(
        &'a self,
        me: &'a Unit,
        members: &'a BTreeSet<IpAddr>,
    ) -> impl Iterator<Item = Option<&'a Unit>> {
        let own = self.machines[me].address;
        let at = |address: &IpAddr| self.machines.iter().find(|(_, m)| m.address == *address).map(|(unit, _)| unit);
        members.iter().filter(move |address| **address != own).map(at)
    }

    /// The gate has let the server start. Whether it ends on its way up, because of its file.
    pub(crate) fn ends_at_once(&mut self, unit: &Unit) -> bool {
        let mut others = self.machines.keys().filter(|other| *other != unit).peekable();
        let counts =
            STARTS_COUNT_IN_AN_OUTAGE || others.peek().is_none() || others.any(|other| self.says_primary(unit, other));
        let note = &mut self.machine(unit).note_of_turns;
        (note.starts, note.running) = (note.starts + u32::from(counts), Some(note.file));
        let file = note.file;
        self.is_bad(file)
    }

    /// When this unit has to look for its turn, or for whose turn is next.
    pub(crate) fn look_at_turn_s(&self, unit: &Unit, juju: &Juju) -> Option<u32> {
        let turn = juju.app.turn.as_ref().and_then(|turn| turn.unit.as_ref());
        let concerned = juju.leader || turn == Some(unit);
        let looks = self.planted != Some(Planted::NeverLooksForItsTurn);
        (self.machines[unit].note_of_turns.waits() && concerned && looks).then_some(LOOK_AT_TURN_S)
    }

    /// Whose clients write how much: not what they do here, so that leaders and founders come first now and then.
    pub(crate) fn busy(&self, juju: &Juju) -> BTreeMap<Unit, u64> {
        let busy = |unit: Unit| {
            let much = (u64::from(unit.number()) * 7 + self.plan.seed) % 4;
            (unit, much)
        };
        if juju.leader && self.has_turns() { self.planned().into_iter().map(busy).collect() } else { BTreeMap::new() }
    }

    pub(crate) fn pass_turn(&mut self, me: &Unit, number: u32) {
        self.machine(me).note_of_turns.number = number;
    }

    /// `turn::restart`, of which the process may die between any two parts.
    pub(crate) fn restart(&mut self, me: &Unit, number: u32, juju: &Juju, running: &mut Running) -> Done {
        running.restart.part += 1;
        match running.restart.part {
            1 => {
                let server = self.server(me);
                let Some(own) = server.primary() else {
                    return Done::No("the server is not part of a primary component any more".to_owned());
                };
                let members = self.observation(me, juju).member_addresses().into_iter().collect();
                if let Some(why) = self.somebody_lacks(me, own, &members) {
                    return Done::No(why);
                }
                self.pass_turn(me, number);
                let machine = &self.machines[me];
                let alone = own.size == 1 && members.iter().all(|address| *address == machine.address);
                running.restart.view = machine.volume.saved_view.clone().filter(|_| alone);
            }
            2 => {
                self.may_be_restarted(me, juju, running);
                self.stats.restarts += 1;
                self.stop(me);
                self.machine(me).note_of_turns.away = true;
            }
            _ => {
                let view = std::mem::take(&mut running.restart).view;
                let machine = self.machine(me);
                machine.volume.saved_view = view.or(machine.volume.saved_view.take());
                machine.answer = None;
                machine.permission = Some(Permission::Join);
                self.start_server(me, 0);
                return Done::Yes;
            }
        }
        // These moments are short, and deaths that are drawn by time alone would pass them by.
        if !self.mended && self.draw(0..12) == 0 {
            self.machine(me).kill_next_hook = true;
        }
        Done::NotYet
    }

    /// Of the others, asked now, whoever does not serve beside us.
    fn somebody_lacks(&self, me: &Unit, own: &Galera, members: &BTreeSet<IpAddr>) -> Option<String> {
        let beside = |other: &Unit| {
            let server = self.server(other);
            let same = |galera: &Galera| {
                let alone = galera.size <= 1;
                let full = galera.state == LocalState::Synced || galera.state == LocalState::Donor && alone;
                full && galera.ready && galera.conf_id == own.conf_id && galera.uuid == own.uuid
            };
            self.says_primary(me, other) && server.primary().is_some_and(same)
        };
        self.at_addresses(me, members).find_map(|other| match other {
            Some(other) if beside(other) => None,
            Some(other) => Some(format!("{other} does not serve beside us")),
            None => Some("nobody serves at an address".to_owned()),
        })
    }

    /// Promises: for turns one server is down at a time, and nobody is restarted for options that somebody refuses.
    fn may_be_restarted(&mut self, me: &Unit, juju: &Juju, running: &Running) {
        self.watch_turns();
        let planned = self.planned();
        let away = |unit: &&Unit| *unit != me && planned.contains(unit) && self.machines[*unit].note_of_turns.away;
        if let Some(other) = self.machines.keys().find(away).cloned() {
            self.break_promise(format!("{me} is restarted in turn while {other} is not back from its restart"));
        }
        let own = self.turned(me).options;
        let refuses =
            |peer: &Peer| peer.report().is_some_and(|r| r.turned.refused.is_some() && r.turned.options == own);
        let heard = match &juju.peers {
            Peers::Known(peers) => peers.iter().find(|(unit, peer)| planned.contains(unit) && refuses(peer)),
            Peers::NotYet => None,
        };
        if let Some((other, _)) = heard {
            self.break_promise(format!("{me} is restarted for options {own}, and has heard that {other} refuses them"));
        }
        let bags = &running.context.snapshot.relations[&PEERS].unit_bags;
        let long_since = |unit: &&Unit| {
            let said = bags.get(&name(unit)).is_some_and(|bag| refuses(&peer_data::read_peer(&bag.values)));
            let since = self.refusals.get(*unit).is_some_and(|since| since + HEARD_WITHIN < running.begun);
            *unit != me && said && since
        };
        if let Some(other) = planned.iter().find(long_since) {
            self.break_promise(format!("{me} is restarted for options {own}, which {other} refuses"));
        }
    }

    /// Once a second: who is back, and who says that it refuses the options as they are for it.
    pub(crate) fn watch_turns(&mut self) {
        if !self.has_turns() {
            return;
        }
        let back: Vec<Unit> = self.machines.keys().filter(|u| self.server(u).synced().is_some()).cloned().collect();
        for unit in back {
            self.machine(&unit).note_of_turns.away = false;
        }
        let refuse: BTreeSet<Unit> =
            self.machines.iter().filter(|(_, m)| m.note_of_turns.refuses().is_some()).map(|(u, _)| u.clone()).collect();
        self.refusals.retain(|unit, _| refuse.contains(unit));
        for unit in refuse {
            let bag = self.state.relations[&PEERS].unit_bags.get(&name(&unit));
            let peer = bag.map(|bag| peer_data::read_peer(&bag.values));
            let turned = self.turned(&unit);
            if peer.as_ref().and_then(Peer::report).is_some_and(|report| report.turned == turned) {
                self.refusals.entry(unit).or_insert(self.now);
            }
        }
        let waits = self.could_be_restarted();
        self.waits_since = waits.as_ref().map(|_| self.waits_since.unwrap_or(self.now));
        if let Some(unit) = waits.filter(|_| self.waits_since.is_some_and(|since| since + NEXT_WITHIN < self.now)) {
            self.break_promise(format!("{unit} waits for a restart, and nothing happens"));
        }
    }

    /// Somebody who waits for a restart, while everybody serves and has said how it stands.
    fn could_be_restarted(&self) -> Option<Unit> {
        let set = mark(&self.state);
        let waits = self.machines.iter().find(|(_, m)| m.note_of_turns.waits())?.0.clone();
        let relation = &self.state.relations[&PEERS];
        let planned = self.planned();
        let in_place = |(unit, machine): (&Unit, &Machine)| {
            let note = &machine.note_of_turns;
            let works = self.making(unit).is_some_and(|making| making.result == MakingResult::Working);
            let Server::Answers(galera) = self.server(unit) else { return false };
            let serves = galera.primary && galera.state == LocalState::Synced && galera.size as usize == planned.len();
            let peer = relation.unit_bags.get(&name(unit)).map(|bag| peer_data::read_peer(&bag.values));
            let said = peer.as_ref().and_then(Peer::report).is_some_and(|report| {
                report.turned == self.turned(unit) && report.server.synced() == galera.uuid.as_ref()
            });
            let ready = note.options == Some(set) && note.refuses().is_none() && !works;
            serves && said && ready && planned.contains(unit) && self.reaches_controller(unit)
        };
        let app = peer_data::read_app(&relation.app_bags[APP].values, Credentials::Absent).ok()?;
        let idle = app.restore.is_none() && app.recovery.is_none() && app.history.is_some();
        (idle && self.machines.iter().all(in_place) && self.state.applications[APP].leader.is_some()).then_some(waits)
    }

    /// Promise: in the end everybody has heard of the options, nobody waits and no turn is open; or some refuse them, and
    /// then with good reason.
    pub(crate) fn turns_are_over(&self) -> Result<(), String> {
        if !self.has_turns() {
            return Ok(());
        }
        let set = mark(&self.state);
        let notes = || self.machines.iter().map(|(unit, machine)| (unit, &machine.note_of_turns));
        if let Some((unit, _)) = notes().find(|(_, note)| note.options != Some(set)) {
            return Err(format!("{unit} has not read the options"));
        }
        let refuses = notes().find(|(_, note)| note.refuses().is_some());
        if let (Some((unit, _)), false) = (refuses, self.options[set].bad || STARTS_COUNT_IN_AN_OUTAGE) {
            return Err(format!("{unit} refuses options with which servers start"));
        }
        if let (None, Some((unit, _))) = (refuses, notes().find(|(_, note)| note.waits())) {
            return Err(format!("{unit} waits for a restart"));
        }
        let bag = &self.state.relations[&PEERS].app_bags[APP].values;
        match peer_data::read_app(bag, Credentials::Absent)?.turn.and_then(|turn| turn.unit) {
            Some(unit) => Err(format!("the turn of {unit} is open")),
            None => Ok(()),
        }
    }
}
