//! Restores: a person's decision as an action of the leader's, data brought back beside what is there, and the two renames.

use mariadb_galera::cluster::{
    Bringing, Brought, Commit, Epoch, Holds, Position, Recovery, Source, Unit, confirm, restore, undo,
};

use super::juju::{APP, Running};
use super::plan::{MINUTE, Ms, SECOND};
use super::world::{Event, World};

pub(crate) const RESTORE: &str = "restore";
pub(crate) const UNDO: &str = "undo-restore";
pub(crate) const CONFIRM: &str = "confirm-restore";

/// What lies in a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) holds: Holds,
    pub(crate) tip: Option<usize>,
}

/// Data that is brought back, or was.
#[derive(Clone, Debug)]
pub(crate) struct Beside {
    epoch: Epoch,
    to: Source,
    content: Option<Content>,
    /// When it is there; `None` once whoever was at it has died.
    ready_at: Option<Ms>,
}

impl World {
    /// A person turns to the leader.
    pub(crate) fn asks(&mut self, action: &'static str) {
        let Some(leader) = self.state.applications[APP].leader.clone().filter(|_| self.controller_up) else {
            return;
        };
        let now = self.seconds();
        self.say(format!("a person runs {action} on {leader}"));
        self.state.enqueue(&leader, action, &serde_json::json!({}), now).expect("the action is there");
        self.version += 1;
    }

    /// What the decision comes to. The archive of any unit may be the one that has the backup.
    pub(crate) fn decision(&mut self, unit: &Unit, running: &Running, action: &str) -> Result<Commit, String> {
        let juju = self.ask_juju(unit, running)?;
        if !juju.leader {
            return Err(format!("only the leader can decide {action}"));
        }
        let o = self.observation(unit, &juju);
        let refused = |why: mariadb_galera::cluster::NoRestore| why.to_string();
        match action {
            CONFIRM => o.juju.app.history.as_ref().and_then(confirm).ok_or_else(|| "nothing is kept".to_owned()),
            UNDO => undo(&o).map(Commit::Restore).map_err(refused),
            _ => {
                let units: Vec<Unit> = self.planned().into_iter().collect();
                let any = usize::try_from(self.draw(0..16)).unwrap_or(0);
                let by = units.get(any % units.len().max(1)).unwrap_or(unit);
                restore(&o, Source::Backup("monday".to_owned()), by).map(Commit::Restore).map_err(refused)
            }
        }
    }

    /// `src/node/bring.rs`: begun here, and gone on with by nobody but this process.
    pub(crate) fn bring_back(&mut self, me: &Unit, epoch: Epoch, to: &Source) {
        let (content, time) = match to {
            Source::Before(branch) => {
                // Behind a power cut it may lie where it is brought back to.
                let here = self.machines[me].volume.brought.clone().filter(|b| b.to == *to).and_then(|b| b.content);
                (self.machine(me).volume.asides.remove(branch).or(here), 0)
            }
            Source::Backup(_) => {
                let (uuid, back) = (self.new_history(), self.draw(0..200));
                // Somebody has backed up what was there then.
                let then = self.writes.acknowledged.map(|write| self.writes.back(write, back));
                let tip = Some(self.writes.add(then, uuid.clone()));
                (Some(Content { holds: Holds::History(uuid), tip }), self.draw(2 * SECOND..3 * MINUTE))
            }
        };
        let ready_at = Some(self.now + time);
        self.machine(me).volume.brought = Some(Beside { epoch, to: to.clone(), content, ready_at });
        self.after(time, Event::Look(me.clone()));
    }

    pub(crate) fn forget_brought(&mut self, me: &Unit) {
        let volume = &mut self.machine(me).volume;
        if let Some(Beside { to: Source::Before(branch), content: Some(content), .. }) = volume.brought.take() {
            volume.asides.insert(branch, content);
        }
    }

    /// The machine has lost its power: nobody is at it any more.
    pub(crate) fn interrupt_bringing(&mut self, unit: &Unit) {
        let now = self.now;
        if let Some(brought) = self.machine(unit).volume.brought.as_mut() {
            brought.ready_at = brought.ready_at.filter(|at| *at <= now);
        }
    }

    /// How far it is.
    pub(crate) fn brought(&self, unit: &Unit) -> Option<Brought> {
        let brought = self.machines[unit].volume.brought.as_ref()?;
        let result = match (&brought.content, brought.ready_at) {
            (Some(Content { holds: Holds::History(uuid), tip }), Some(at)) if at <= self.now => {
                Bringing::Ready(Position { uuid: uuid.clone(), seqno: self.writes.seqno(*tip) })
            }
            (Some(_), Some(at)) if at > self.now => Bringing::Working,
            (Some(_), None) => Bringing::Interrupted,
            (Some(_) | None, _) => Bringing::Failed("it is not there any more".to_owned()),
        };
        Some(Brought { epoch: brought.epoch, result })
    }

    /// What a status shows of it.
    pub(crate) fn beside(&self, unit: &Unit) -> String {
        format!("{:?} {:?}", self.brought(unit).map(|b| b.result), self.making(unit).map(|m| m.result))
    }

    /// The data goes aside under this number.
    pub(crate) fn set_aside(&mut self, me: &Unit, branch: Epoch) {
        let volume = &mut self.machine(me).volume;
        if volume.holds != Holds::Nothing {
            let content =
                Content { holds: std::mem::replace(&mut volume.holds, Holds::Nothing), tip: volume.tip.take() };
            volume.asides.insert(branch, content);
        }
        (volume.tip, volume.halfway, volume.directory) = (None, None, false);
    }

    /// Puts what was brought back in its place, when it is what the permission is for.
    pub(crate) fn put(&mut self, me: &Unit, branch: Epoch, position: &Position) -> bool {
        let ready = self.brought(me).is_some_and(|brought| brought.result == Bringing::Ready(position.clone()));
        let Some(content) = self.machine(me).volume.brought.take().and_then(|b| b.content).filter(|_| ready) else {
            return false;
        };
        self.set_aside(me, branch);
        let volume = &mut self.machine(me).volume;
        (volume.holds, volume.tip, volume.directory) = (content.holds, content.tip, true);
        (volume.cache_from, volume.full_in, volume.saved_view) = (u64::MAX, None, None);
        self.stats.restores += 1;
        true
    }

    /// Everything that was promised is put aside, and the leader knows where.
    pub(crate) fn nothing_is_lost(&mut self, recovery: &Recovery) {
        let Some(promised) = self.writes.acknowledged else {
            return;
        };
        let holds = |unit: &Unit| {
            let tip = self.machines.get(unit).and_then(|machine| machine.volume.tip);
            tip.is_some_and(|tip| self.writes.holds(tip, promised))
        };
        let known = recovery.before.as_ref().is_some_and(|(unit, _)| holds(unit));
        // Whoever is removed meanwhile takes what only it has along: that was the person's decision.
        let planned = self.planned();
        if !known && recovery.members.iter().filter(|unit| planned.contains(unit)).any(holds) {
            let at = self.writes.seqno(Some(promised));
            self.break_promise(format!("acknowledged write {at} is lost: a restore does not know who has it"));
        }
    }
}
