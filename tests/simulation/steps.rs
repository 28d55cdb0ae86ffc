//! What a decision's steps do to a machine, what its commitments do to the databag, and the promises that both must keep.

use juju_local::model::{Owner, SecretText};
use juju_local::uniter::context::{Context, SecretChange};
use mariadb_galera::cluster::{
    Answer, Commit, Credentials, DbInit, Epoch, Holds, JournalEntry, Juju, LastView, Position, Recovery, Step, Unit,
    group_name, stands_in_the_way,
};
use mariadb_galera::model::peer_data::{self, Bag, CredentialsText};

use super::Planted;
use super::juju::{APP, PEERS, Running};
use super::plan::{Ms, SECOND};
use super::world::{Files, Machine, Permission, World};

const LABEL: &str = "database-peers.mariadb-galera.app";

/// What became of a step.
pub(crate) enum Done {
    Yes,
    /// It has another half, or waits.
    NotYet,
    No(String),
}

impl World {
    /// How long a step takes.
    pub(crate) fn duration(&mut self, step: &Step) -> Ms {
        let range = match step {
            Step::Install => 5 * SECOND..25 * SECOND,
            Step::AdoptVolume | Step::PassTurn(_) | Step::Advance(_) | Step::Expect(_) | Step::MarkInitialised(_) => {
                5..30
            }
            Step::Configure => 10..100,
            Step::Join => 50..300,
            Step::SetUpAccounts | Step::RenewAccounts => 500..4 * SECOND,
            Step::SettleCredentials { .. } => 50..500,
            Step::Bootstrap { .. } => 100..2 * SECOND,
            Step::Stop | Step::TakeBranch(_) | Step::MoveAside(_) => 500..3 * SECOND,
            // Each of its parts.
            Step::Restart(_) => 100..2 * SECOND,
            Step::StopAndAnswer(_) => 500..20 * SECOND,
            Step::BringBack { .. } | Step::ForgetBrought(_) | Step::DropAside(_) => 50..500,
            Step::BackUp(_) | Step::ExpireBackups(_) => 50..500,
            Step::AnswerCall(_) => 500..15 * SECOND,
            Step::Leave => 500..4 * SECOND,
        };
        self.draw(range)
    }

    fn journal(&mut self, me: &Unit) -> &mut JournalEntry {
        self.machine(me)
            .volume
            .journal
            .as_mut()
            .expect("a step that needs the journal comes behind the one that makes it")
    }

    /// A step is done, or refuses.
    pub(crate) fn apply(&mut self, me: &Unit, step: &Step, juju: &Juju, running: &mut Running) -> Done {
        match step {
            Step::Install => self.machine(me).installed = true,
            Step::AdoptVolume => {
                if self.machines[me].volume.journal.is_none() {
                    self.stop(me);
                    self.machine(me).answer = None;
                    self.machine(me).volume.journal = Some(JournalEntry::adopted());
                }
            }
            Step::Configure => self.configure(me, juju, running),
            Step::Advance(next) => {
                let before = self.journal(me).db_init;
                self.journal(me).db_init = before.max(*next);
            }
            Step::Bootstrap { epoch, from, branch, ask, put } => {
                return self.bootstrap(me, (*epoch, *branch, put.is_some()), from.as_ref(), ask, juju, running);
            }
            Step::SetUpAccounts => {
                let view = self.machines[me].node().filter(|n| n.primary).and_then(|n| n.view.clone());
                let Some(view) = view else {
                    return Done::No("the server does not answer".to_owned());
                };
                self.write_through(me, &view, false);
                self.journal(me).accounts = true;
            }
            Step::MarkInitialised(uuid) => {
                let entry = self.journal(me);
                entry.db_init = DbInit::Initialised;
                entry.uuid = Some(uuid.clone());
            }
            Step::Expect(uuid) => self.journal(me).uuid = Some(uuid.clone()),
            Step::Join => {
                let machine = self.machine(me);
                machine.answer = None;
                machine.permission = Some(Permission::Join);
                machine.volume.directory = true;
                self.start_server(me, 0);
            }
            Step::Stop => self.stop(me),
            Step::AnswerCall(epoch) => {
                if self.server(me).primary().is_some() {
                    return Done::No("the server has found its way back into a primary component".to_owned());
                }
                self.stop(me);
                self.answer(me, *epoch);
            }
            Step::SettleCredentials { .. } => {}
            Step::TakeBranch(branch) => {
                self.stop(me);
                let entry = self.journal(me);
                (entry.branch, entry.uuid) = (entry.branch.max(*branch), None);
            }
            Step::MoveAside(branch) => {
                self.stop(me);
                self.machine(me).answer = None;
                if self.planted != Some(Planted::KeepsItsCopy) {
                    self.set_aside(me, *branch);
                }
                let entry = self.journal(me);
                (entry.branch, entry.uuid) = (entry.branch.max(*branch), None);
            }
            Step::StopAndAnswer(epoch) => {
                self.stop(me);
                self.answer(me, *epoch);
            }
            Step::BringBack { epoch, to } => self.bring_back(me, *epoch, to),
            Step::ForgetBrought(_) => self.forget_brought(me),
            Step::BackUp(order) => self.back_up(me, order),
            Step::ExpireBackups(number) => self.machine(me).expired = *number,
            Step::PassTurn(number) => self.pass_turn(me, *number),
            Step::Restart(number) => return self.restart(me, *number, juju, running),
            Step::DropAside(branch) => drop(self.machine(me).volume.asides.remove(branch)),
            Step::RenewAccounts => {
                let view = self.machines[me].node().filter(|n| n.primary).and_then(|n| n.view.clone());
                let Some(view) = view else {
                    return Done::No("the server does not answer".to_owned());
                };
                self.write_through(me, &view, false);
                self.journal(me).restored = false;
            }
            Step::Leave => {
                if self.another_leaves_first(me) {
                    return Done::NotYet;
                }
                self.stop(me);
            }
        }
        self.only_forward(me);
        if self.planted == Some(Planted::ForgetsDbInit) {
            if let Some(entry) = self.machine(me).volume.journal.as_mut() {
                entry.db_init = DbInit::New;
            }
        }
        Done::Yes
    }

    /// The answer to a call, with the server stopped.
    fn answer(&mut self, me: &Unit, epoch: Epoch) {
        let machine = &self.machines[me];
        let position = match (machine.volume.history(), machine.volume.tip) {
            (Some(uuid), Some(tip)) => {
                let seqno = self.writes.seqno(Some(tip));
                let shown = if self.planted == Some(Planted::TakesTheLowest) { 1_000_000 - seqno } else { seqno };
                Some(Position { uuid: uuid.clone(), seqno: shown })
            }
            (Some(_) | None, _) => None,
        };
        let (view, halfway) = (self.last_view(me), machine.volume.halfway.is_some());
        let now = self.now;
        let machine = self.machine(me);
        machine.answer = Some(Answer { epoch, position, view, halfway, stands: false });
        machine.answered_at = now;
    }

    fn configure(&mut self, me: &Unit, juju: &Juju, running: &Running) {
        let Some(formation) = &juju.app.formation else {
            return;
        };
        let members = self.observation(me, juju).member_addresses().into_iter().collect();
        self.write_options(me, &members, running);
        let one_name = self.planted == Some(Planted::OneNameForAll);
        let branch = if one_name { Epoch::default() } else { self.journal(me).branch };
        let group = group_name(&formation.name, branch);
        let machine = self.machine(me);
        machine.files = Some(Files { members, group });
        if let Credentials::Known { generation, .. } = juju.app.credentials {
            machine.credentials_seen = generation;
        }
    }

    /// Without a permission nobody starts it again, neither systemd nor a reboot.
    pub(crate) fn stop(&mut self, me: &Unit) {
        self.machine(me).permission = None;
        self.server_leaves(me);
    }

    /// Leavers agree among themselves who goes first, and wait for a view that is settled (`src/node/departure.rs`).
    fn another_leaves_first(&self, me: &Unit) -> bool {
        if self.server(me).primary().is_none() {
            return false;
        }
        self.machines.iter().any(|(other, m)| other < me && m.leaving && m.node().is_some() && self.reaches(me, other))
    }

    /// A bootstrap in its two halves: the permission is written down as used, then the server is started.
    fn bootstrap(
        &mut self,
        me: &Unit,
        (epoch, branch, put): (Epoch, Epoch, bool),
        from: Option<&Position>,
        ask: &[std::net::IpAddr],
        juju: &Juju,
        running: &mut Running,
    ) -> Done {
        if running.noted {
            running.noted = false;
            self.configure(me, juju, running);
            let machine = self.machine(me);
            machine.permission = Some(Permission::Bootstrap { from: from.cloned() });
            machine.volume.directory = true;
            machine.outage_since = None;
            if from.is_none() {
                machine.volume.holds = Holds::Nothing;
            }
            self.start_server(me, 0);
            // The hook waits until the server runs; whether it does shows at the next look.
            return Done::Yes;
        }
        let entry = self.journal(me).clone();
        if entry.used_epoch >= epoch {
            return Done::No(format!("permission {epoch} was used already"));
        }
        let volume = &self.machines[me].volume;
        let fits = match (from, &volume.holds) {
            (Some(_), _) if put => true,
            (None, Holds::Nothing) => true,
            (None, Holds::Unclear(_)) => entry.used_epoch > Epoch::default(),
            (None, Holds::History(_)) => false,
            (Some(position), _) => volume.history().is_some_and(|uuid| {
                let here = self.writes.seqno(volume.tip);
                *uuid == position.uuid && (here == position.seqno || self.planted == Some(Planted::TakesTheLowest))
            }),
        };
        if !fits {
            return Done::No("the data is not what the permission is for".to_owned());
        }
        let in_the_way = |other: &Machine| {
            let serves = other.volume.journal.as_ref().map(|theirs| theirs.branch);
            stands_in_the_way(serves, entry.branch)
        };
        let rival = self.machines.iter().find(|(other, m)| {
            *other != me
                && ask.contains(&m.address)
                && self.reaches(me, other)
                && (m.bootstraps() || self.server(other).primary().is_some() && in_the_way(m))
        });
        if let Some((other, _)) = rival {
            return Done::No(format!("{other} is part of a primary component, or about to bootstrap one"));
        }
        // What the others have is looked at before this copy goes aside.
        self.restarts(me, epoch, juju);
        if let Some(position) = from.filter(|_| put) {
            if !self.put(me, branch, position) {
                return Done::No("what was brought back is not there".to_owned());
            }
        }
        if !self.granted.contains(&(epoch, me.clone())) {
            self.break_promise(format!("{me} bootstraps with permission {epoch}, which does not name it"));
        }
        if !self.used.insert(epoch) {
            self.break_promise(format!("permission {epoch} is used a second time, by {me}"));
        }
        self.stats.bootstraps += 1;
        if self.planted != Some(Planted::ForgetsUsedEpoch) {
            self.journal(me).used_epoch = epoch;
        }
        let entry = self.journal(me);
        entry.branch = branch;
        entry.restored |= put;
        if let Some(position) = from {
            entry.uuid = Some(position.uuid.clone());
        }
        let machine = self.machine(me);
        machine.answer = None;
        let members = [(machine.address, Some(me.clone()))].into();
        let since = if from.is_some() { epoch } else { Epoch::default() };
        machine.volume.last_view.insert(branch, LastView { members, since });
        self.stop(me);
        running.noted = true;
        Done::NotYet
    }

    /// Promise 5: `db-init` only moves forward on one volume.
    fn only_forward(&mut self, me: &Unit) {
        let Some(entry) = self.machines[me].volume.journal.clone() else {
            return;
        };
        let reached = self.machine(me).volume.reached;
        if entry.db_init < reached {
            self.break_promise(format!("db-init of {me} goes from {reached} to {}", entry.db_init));
        }
        self.machine(me).volume.reached = entry.db_init;
    }

    /// What a leader wrote has become visible to everybody.
    pub(crate) fn visible(&mut self, me: &Unit, commit: &Commit) {
        self.say(format!("{me}, leader: {commit}"));
        self.check_plan(commit);
        let new = match commit {
            Commit::Credentials => {
                let sets = self.state.secrets.values().filter(|s| s.label == LABEL).count();
                self.stats.credentials += 1;
                if sets != 1 || self.stats.credentials != 1 {
                    self.break_promise("the credentials are made a second time".to_owned());
                }
                return;
            }
            Commit::Formation(formation) => Some((formation.epoch, Some(formation.founder.clone()))),
            Commit::Recovery(Recovery { epoch, chosen, .. }) => {
                self.stats.recoveries += u64::from(chosen.is_some());
                Some((*epoch, chosen.as_ref().map(|(unit, _)| unit.clone())))
            }
            Commit::Restore(restore) => Some((restore.epoch, None)),
            Commit::History(_)
            | Commit::CloseRecovery
            | Commit::EndRestore(_)
            | Commit::ForgetEnded
            | Commit::Plan(_)
            | Commit::Turn(_)
            | Commit::CredentialsSettled { .. } => None,
        };
        let Some((epoch, to)) = new else {
            return;
        };
        let named = to.is_some() && self.granted.iter().any(|(given, _)| *given == epoch);
        if epoch < self.epoch || named {
            self.break_promise(format!("permission {epoch} follows permission {}", self.epoch));
        }
        self.epoch = epoch;
        self.granted.extend(to.map(|unit| (epoch, unit)));
    }
}

/// What a commitment writes: the databag's text, and the secret.
pub(crate) fn write(context: &mut Context, commit: &Commit) {
    let changes: Bag = match commit {
        Commit::Credentials => {
            let id = format!("credentials-{}", context.unit.number);
            context.buffered.secrets.push(SecretChange::Create {
                id: id.clone(),
                owner: Owner::Application(APP.to_owned()),
                text: SecretText {
                    label: Some(LABEL.to_owned()),
                    content: Some([("charmed-operator".to_owned(), "secret".to_owned())].into()),
                    ..SecretText::default()
                },
                at: 0,
            });
            let secret_id = Some(format!("secret:{id}"));
            peer_data::write_credentials(&CredentialsText { secret_id, values: None, generation: 1, settled: 1 })
        }
        Commit::Formation(formation) => peer_data::write_formation(formation),
        Commit::History(history) => peer_data::write_history(history),
        Commit::Recovery(recovery) => peer_data::write_recovery(Some(recovery)),
        Commit::Restore(restore) => peer_data::write_restore(restore),
        Commit::ForgetEnded => peer_data::forget_ended(),
        Commit::Plan(plan) => peer_data::write_plan(plan),
        Commit::Turn(turn) => peer_data::write_turn(turn),
        Commit::EndRestore(ended) => peer_data::write_ended(ended),
        Commit::CloseRecovery => peer_data::write_recovery(None),
        Commit::CredentialsSettled { generation } => {
            let before = peer_data::read_credentials(&context.own_bag(PEERS, true)).ok().flatten().unwrap_or_default();
            peer_data::write_credentials(&CredentialsText { settled: *generation, ..before })
        }
    };
    context.buffered.relations.entry(PEERS).or_default().app.extend(changes);
}
