//! What the leader writes, when it becomes visible; and the promises about permissions.

use mariadb_galera::cluster::{Cause, Commit, Credentials, Epoch, Recovery, Restart};

use super::promise::{Planted, Promise};
use super::world::World;

impl World {
    pub(crate) fn commit(&mut self, commit: &Commit) {
        match commit {
            Commit::Credentials => {
                if self.app.credentials != Credentials::Absent {
                    self.break_promise(Promise::CredentialsOnce, "the credentials are made a second time".to_owned());
                }
                self.app.credentials = Credentials::Known { generation: 1, settled: 1 };
            }
            Commit::Formation(_) if self.planted == Some(Planted::NeverPermits) => {}
            Commit::Formation(formation) => {
                let mut formation = formation.clone();
                if self.planted == Some(Planted::MakesCredentialsAgain) && self.app.formation.is_some() {
                    self.commit(&Commit::Credentials);
                }
                if self.planted == Some(Planted::EpochsStartOver) {
                    formation.epoch = Epoch(1);
                }
                let before = self.app.formation.as_ref().map_or(Epoch::default(), |f| f.epoch);
                if formation.epoch <= before {
                    self.break_promise(
                        Promise::PermissionsOnce,
                        format!("permission {} follows permission {before}", formation.epoch),
                    );
                }
                self.app.formation = Some(formation);
            }
            Commit::History(history) => self.app.history = Some(history.clone()),
            Commit::Recovery(recovery) => self.call(recovery.clone()),
            Commit::CloseRecovery => self.app.recovery = None,
            Commit::Restore(restore) => self.decided(restore),
            Commit::EndRestore(ended) => (self.app.restore, self.app.ended) = (None, Some(ended.clone())),
            Commit::ForgetEnded => self.app.ended = None,
            Commit::Turn(turn) => self.app.turn = Some(turn.clone()),
            Commit::Plan(plan) => self.app.plan = Some(plan.clone()),
            Commit::CredentialsSettled { generation } => {
                self.app.credentials = Credentials::Known { generation: *generation, settled: *generation };
            }
        }
    }

    pub(crate) fn call(&mut self, mut recovery: Recovery) {
        if self.planted == Some(Planted::TakesTheLowest) && recovery.chosen.is_some() {
            let answers = recovery.members.iter().filter_map(|unit| {
                let position = self.machines.get(unit)?.published.as_ref()?.answer.as_ref()?.position.clone()?;
                Some((unit.clone(), position))
            });
            recovery.chosen = answers.min_by_key(|(_, position)| position.seqno);
        }
        if recovery.epoch < self.app.last_epoch {
            self.break_promise(
                Promise::PermissionsOnce,
                format!("call {} follows call {}", recovery.epoch, self.app.last_epoch),
            );
        }
        if recovery.cause == Cause::Restore && recovery.chosen.is_some() {
            self.check_before(recovery.before.as_ref());
        }
        self.app.last_epoch = recovery.epoch;
        if let Some((unit, _)) = &recovery.chosen {
            self.app.restarted = Some(Restart { epoch: recovery.epoch, unit: unit.clone() });
        }
        self.app.recovery = Some(recovery);
    }
}
