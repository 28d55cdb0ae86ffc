//! Restores: data that is brought back beside what is there, put in its place, and put back again.

use mariadb_galera::cluster::{
    Bringing, Brought, Commit, Epoch, Holds, NoRestore, Position, Restore, Source, Unit, call_off, confirm, restore,
    undo,
};

use super::promise::Promise;
use super::world::{Machine, World};

/// A data directory that lies beside the one in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Beside {
    pub(crate) holds: Holds,
    pub(crate) seqno: u64,
    pub(crate) turns: Vec<(Epoch, u64)>,
}

/// How far every backup of these stories goes.
const BACKED_UP: u64 = 5;

impl Machine {
    fn take_out(&mut self) -> Beside {
        Beside {
            holds: std::mem::replace(&mut self.node.holds, Holds::Nothing),
            seqno: std::mem::take(&mut self.seqno),
            turns: std::mem::take(&mut self.turns),
        }
    }

    /// The data goes aside under this number.
    pub(crate) fn set_aside(&mut self, branch: Epoch) {
        if self.node.holds != Holds::Nothing {
            let content = self.take_out();
            self.node.aside.push(format!("/data.aside-{branch}"));
            self.asides.insert(branch, content);
        }
    }

    fn forget_aside(&mut self, branch: Epoch) -> Option<Beside> {
        self.node.aside.retain(|path| *path != format!("/data.aside-{branch}"));
        self.asides.remove(&branch)
    }
}

impl World {
    /// A person goes back to a backup, or takes the last restore back. Refused as the action refuses.
    pub(crate) fn go_back(&mut self, leader: &Unit, by: Option<&Unit>) -> Result<(), NoRestore> {
        let o = self.observe(leader);
        if let Some(commits) = call_off(&o).filter(|_| by.is_none()) {
            commits.iter().for_each(|commit| self.commit(commit));
            return Ok(());
        }
        let decided = match by {
            Some(unit) => restore(&o, Source::Backup("monday".to_owned()), unit)?,
            None => undo(&o)?,
        };
        self.commit(&Commit::Restore(decided));
        Ok(())
    }

    /// A person does not need what a restore has put aside.
    pub(crate) fn confirm(&mut self) -> bool {
        let commit = self.app.history.as_ref().and_then(confirm);
        commit.iter().for_each(|commit| self.commit(commit));
        commit.is_some()
    }

    pub(crate) fn decided(&mut self, restore: &Restore) {
        (self.app.restore, self.app.ended) = (Some(restore.clone()), None);
        self.app.last_epoch = restore.epoch;
    }

    /// Done at once: how long it takes is nobody's business here but a story's, which cuts in before.
    pub(crate) fn bring_back(&mut self, me: &Unit, epoch: Epoch, to: &Source) {
        let content = match to {
            Source::Backup(_) => {
                self.histories += 1;
                let text = format!("{:08x}-0000-4000-8000-000000000000", self.histories);
                let holds = Holds::History(text.parse().expect("a UUID"));
                Some(Beside { holds, seqno: BACKED_UP, turns: Vec::new() })
            }
            Source::Before(branch) => self.machine(me).forget_aside(*branch),
        };
        let result = match &content {
            Some(Beside { holds: Holds::History(uuid), seqno, .. }) => {
                Bringing::Ready(Position { uuid: uuid.clone(), seqno: *seqno })
            }
            Some(_) | None => Bringing::Failed("it is not there any more".to_owned()),
        };
        let machine = self.machine(me);
        machine.brought = content.map(|content| (to.clone(), content));
        machine.node.brought = Some(Brought { epoch, result });
    }

    pub(crate) fn forget_brought(&mut self, me: &Unit) {
        let machine = self.machine(me);
        machine.node.brought = None;
        if let Some((Source::Before(branch), content)) = machine.brought.take() {
            machine.node.aside.push(format!("/data.aside-{branch}"));
            machine.asides.insert(branch, content);
        }
    }

    /// The data that was brought back takes the place of what is there.
    pub(crate) fn put(&mut self, me: &Unit, branch: Epoch) -> bool {
        let machine = self.machine(me);
        let Some((_, content)) = machine.brought.take() else {
            return false;
        };
        machine.set_aside(branch);
        (machine.node.holds, machine.seqno, machine.turns) = (content.holds, content.seqno, content.turns);
        machine.node.brought = None;
        true
    }

    /// Everything that was acknowledged is put aside somewhere: a person may want it back.
    pub(crate) fn check_before(&mut self, before: Option<&(Unit, Position)>) {
        let Some(history) = self.app.history.clone() else {
            return;
        };
        let acknowledged = self.acknowledged.get(&(history.uuid.clone(), history.branch)).copied().unwrap_or(0);
        let kept = before.filter(|(_, position)| position.uuid == history.uuid).map_or(0, |(_, at)| at.seqno);
        if kept < acknowledged {
            let how = format!("a restore puts {kept} aside, and {acknowledged} was acknowledged");
            self.break_promise(Promise::WritesSurvive, how);
        }
    }

    /// A restore begins: what everybody else has is given up, and what is acknowledged from here on is not.
    pub(crate) fn give_up_all(&mut self) {
        self.acknowledged.clear();
    }

    pub(crate) fn drop_aside(&mut self, me: &Unit, branch: Epoch) {
        self.machine(me).forget_aside(branch);
    }
}
