//! What the steps of a decision do to a machine.

use std::collections::BTreeSet;

use mariadb_galera::cluster::{
    Answer, AppBag, Credentials, DbInit, Epoch, Holds, Installed, Journal, JournalEntry, LastView, LocalState,
    Position, Server, Step, Turned, Unit, stands_in_the_way,
};

use super::galera::{View, answers};
use super::promise::{Planted, Promise};
use super::world::{Machine, World};

impl World {
    pub(crate) fn journal(&mut self, me: &Unit) -> &mut JournalEntry {
        match &mut self.machine(me).node.journal {
            Journal::Known(entry) => entry,
            Journal::Absent | Journal::Unreadable(_) => panic!("{me} acts without a journal"),
        }
    }

    fn db_init(&self, me: &Unit) -> DbInit {
        match &self.machines[me].node.journal {
            Journal::Known(entry) => entry.db_init,
            Journal::Absent | Journal::Unreadable(_) => DbInit::New,
        }
    }

    pub(crate) fn apply(&mut self, me: &Unit, step: &Step, app: &AppBag) {
        let before = self.db_init(me);
        if self.planted == Some(Planted::ForgetsDbInit) && before != DbInit::New {
            self.journal(me).db_init = DbInit::New;
        }
        self.carry_out(me, step, app);
        let after = self.db_init(me);
        if after < before && *step != Step::AdoptVolume {
            self.break_promise(Promise::DbInitForward, format!("db-init of {me} goes from {before} to {after}"));
        }
    }

    fn carry_out(&mut self, me: &Unit, step: &Step, app: &AppBag) {
        match step {
            Step::AdoptVolume => {
                self.leave_group(me);
                self.machine(me).may_start = false;
                self.machine(me).node.answer = None;
                self.machine(me).node.journal = Journal::Known(JournalEntry::adopted());
            }
            Step::Install => self.machine(me).node.installed = Installed::Yes,
            Step::Configure => {
                self.read_options(me);
                if let Credentials::Known { generation, .. } = app.credentials {
                    self.machine(me).node.credentials_seen = generation;
                }
                self.machine(me).named = self.journal(me).branch;
            }
            Step::Advance(next) => self.journal(me).db_init = *next,
            Step::Bootstrap { epoch, .. } => {
                let noted = self.journal(me).used_epoch == *epoch || self.note_bootstrap(me, step);
                if noted {
                    self.bootstrap(me, step);
                }
            }
            Step::SetUpAccounts => {
                self.journal(me).accounts = true;
                self.machine(me).seqno += 10;
            }
            Step::MarkInitialised(uuid) => {
                let entry = self.journal(me);
                entry.db_init = DbInit::Initialised;
                entry.uuid = Some(uuid.clone());
            }
            Step::Expect(uuid) => self.journal(me).uuid = Some(uuid.clone()),
            Step::Join => {
                let machine = self.machine(me);
                machine.may_start = true;
                machine.node.answer = None;
                if machine.node.server == Server::Stopped {
                    machine.start();
                }
            }
            Step::TakeBranch(branch) => {
                self.leave_group(me);
                self.machine(me).may_start = false;
                let entry = self.journal(me);
                (entry.branch, entry.uuid) = (entry.branch.max(*branch), None);
            }
            Step::MoveAside(branch) => {
                self.leave_group(me);
                let machine = self.machine(me);
                machine.may_start = false;
                machine.node.answer = None;
                machine.set_aside(*branch);
                let entry = self.journal(me);
                (entry.branch, entry.uuid) = (entry.branch.max(*branch), None);
            }
            Step::StopAndAnswer(epoch) => {
                self.leave_group(me);
                self.answer_call(me, *epoch);
            }
            Step::BringBack { epoch, to } => self.bring_back(me, *epoch, to),
            Step::ForgetBrought(_) => self.forget_brought(me),
            Step::DropAside(branch) => self.drop_aside(me, *branch),
            Step::BackUp(order) => self.back_up(me, order),
            Step::PassTurn(number) => self.machine(me).node.turned.number = *number,
            Step::Restart(number) => self.restart(me, *number),
            Step::ExpireBackups(number) => self.machine(me).node.expired = *number,
            Step::RenewAccounts => self.journal(me).restored = false,
            Step::Stop | Step::Leave => {
                self.leave_group(me);
                self.machine(me).may_start = false;
            }
            Step::AnswerCall(epoch) => self.answer_call(me, *epoch),
            Step::SettleCredentials { .. } => {}
        }
    }

    /// The file is written for the options as they are now; a server that runs takes them when it starts.
    fn read_options(&mut self, me: &Unit) {
        let mark = self.mark();
        let turned = &mut self.machine(me).node.turned;
        if turned.options != mark {
            *turned = Turned { options: mark, number: turned.number, waits: true, refused: None };
            let machine = self.machine(me);
            machine.node.turned.waits = machine.node.server != Server::Stopped;
        }
    }

    /// The turn is used up first. Nobody else is asked here, unlike on a real machine: the order of turns alone must do.
    fn restart(&mut self, me: &Unit, number: u32) {
        if self.machines[me].node.server.primary().is_none() {
            return;
        }
        let away = |machine: &Machine| machine.restarts && machine.node.server.synced().is_none();
        if let Some((other, _)) = self.machines.iter().find(|(unit, machine)| *unit != me && away(machine)) {
            let how = format!("{me} is restarted while {other} is not back");
            self.break_promise(Promise::OneRestart, how);
        }
        self.leave_group(me);
        let machine = self.machine(me);
        (machine.node.turned.number, machine.restarts) = (number, true);
        (machine.may_start, machine.node.answer) = (true, None);
        machine.start();
    }

    fn answer_call(&mut self, me: &Unit, epoch: Epoch) {
        if self.machines[me].node.server.primary().is_some() {
            return;
        }
        self.leave_group(me);
        let machine = self.machine(me);
        machine.may_start = false;
        let position = match &machine.node.holds {
            Holds::History(uuid) => Some(Position { uuid: uuid.clone(), seqno: machine.seqno }),
            Holds::Nothing | Holds::Unclear(_) => None,
        };
        machine.node.answer =
            Some(Answer { epoch, position, view: machine.node.last_view.clone(), halfway: false, stands: false });
    }

    /// The first half of a bootstrap: whether it may be, and the permission written down as used.
    pub(crate) fn note_bootstrap(&mut self, me: &Unit, step: &Step) -> bool {
        let Step::Bootstrap { epoch, from, branch, ask, put } = step else {
            return false;
        };
        let machine = &self.machines[me];
        let interrupted = matches!(&machine.node.journal, Journal::Known(entry) if entry.used_epoch > Epoch::default());
        let in_the_way = match &machine.node.holds {
            Holds::Nothing => false,
            Holds::Unclear(_) => from.is_none() && !interrupted,
            Holds::History(_) => from.is_none(),
        };
        let own = machine.node.journal.entry().map_or(Epoch::default(), |entry| entry.branch);
        let stands = |other: &Machine| {
            let serves = other.node.journal.entry().map(|entry| entry.branch);
            other.node.server.primary().is_some() && stands_in_the_way(serves, own)
        };
        let rival = self.machines.iter().any(|(other, machine)| {
            let asked = machine.node.address.is_some_and(|address| ask.contains(&address));
            other != me
                && asked
                && machine.powered
                && self.reaches(me, other)
                && (stands(machine) || machine.hook.as_ref().is_some_and(|hook| hook.noted))
        });
        let overlooks = self.planted == Some(Planted::OverlooksData);
        if (in_the_way && !overlooks) || (rival && self.planted != Some(Planted::AsksNobody)) {
            return false;
        }
        if self.planted != Some(Planted::ForgetsUsedEpoch) {
            if self.journal(me).used_epoch >= *epoch {
                return false;
            }
            self.journal(me).used_epoch = *epoch;
        }
        if put.is_some() && !self.put(me, *branch) {
            return false;
        }
        if !self.used.insert(*epoch) {
            self.break_promise(Promise::PermissionsOnce, format!("{me} uses permission {epoch} again"));
        }
        let entry = self.journal(me);
        entry.branch = *branch;
        entry.restored |= put.is_some();
        if let Some(position) = from {
            entry.uuid = Some(position.uuid.clone());
        }
        let machine = self.machine(me);
        let members = machine.node.address.into_iter().map(|at| (at, Some(me.clone()))).collect();
        let since = if from.is_some() { *epoch } else { Epoch::default() };
        machine.node.last_view = LastView { members, since };
        self.machine(me).node.answer = None;
        true
    }

    pub(crate) fn bootstrap(&mut self, me: &Unit, step: &Step) {
        let Step::Bootstrap { from, branch, put, .. } = step else {
            return;
        };
        let at = Position::clone;
        let (uuid, seqno) = match from.as_ref().map(at) {
            // The gate measures again.
            Some(position) => {
                let machine = &self.machines[me];
                if machine.node.holds != Holds::History(position.uuid.clone()) || machine.seqno != position.seqno {
                    return;
                }
                (position.uuid, position.seqno)
            }
            None => {
                if let Holds::History(uuid) = self.machines[me].node.holds.clone() {
                    self.break_promise(Promise::CopiesSurvive, format!("{me} founds over history {uuid}"));
                }
                self.histories += 1;
                let text = format!("{:08x}-0000-4000-8000-000000000000", self.histories);
                (text.parse().expect("a UUID"), 0)
            }
        };
        let on = self.machines[me].branch();
        if *branch > on {
            // A person's decision: what only the others have, or still acknowledge, is given up.
            self.machine(me).turns.push((*branch, seqno));
            if put.is_some() {
                self.give_up_all();
            }
            self.acknowledged.retain(|(known, _), _| *known != uuid);
            self.acknowledged.insert((uuid.clone(), *branch), seqno);
        }
        if self.acknowledged.get(&(uuid.clone(), *branch)).is_some_and(|acknowledged| *acknowledged > seqno) {
            self.break_promise(
                Promise::WritesSurvive,
                format!("acknowledged writes of {uuid} are lost: {me} restarts it from {seqno}"),
            );
        }
        let id = self.machines.values().flat_map(|m| [&m.view, &m.saved_view]).flatten().map(|v| v.id).max();
        let view = View { id: id.unwrap_or(0) + 1, members: BTreeSet::from([me.clone()]) };
        let machine = self.machine(me);
        machine.may_start = true;
        machine.node.answer = None;
        machine.node.stalled = false;
        machine.node.holds = Holds::History(uuid.clone());
        machine.seqno = seqno;
        machine.node.server = answers(&uuid, LocalState::Synced);
        (machine.named, machine.group) = (*branch, *branch);
        if let Server::Answers(galera) = &mut machine.node.server {
            galera.view = machine.node.address.into_iter().collect();
        }
        (machine.view, machine.saved_view) = (Some(view.clone()), Some(view));
        self.check_one_history();
    }
}
