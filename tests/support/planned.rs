//! Planned backups: a calendar of so many hours, and what becomes of orders.

use mariadb_galera::cluster::{Calendar, Due, Made, Making, MakingResult, Order, Plan, Unit};

use super::world::World;

const HOUR_S: u64 = 3_600;

/// When backups are due: every so many hours since 1970, and how many hours lie between full ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Schedule {
    pub(crate) every_h: u64,
    pub(crate) full_every_h: u64,
}

impl World {
    /// What the calendar says to this unit.
    pub(crate) fn calendar(&self, me: &Unit) -> Calendar {
        let Some(schedule) = &self.schedule else { return Calendar::Unset };
        if self.leader.as_ref() != Some(me) {
            return Calendar::Unknown;
        }
        let next = |every_h: u64, after_s: u64| (after_s / (every_h * HOUR_S) + 1) * every_h * HOUR_S;
        let plan = self.app.plan.clone().filter(Plan::is_on);
        let since_s = plan.as_ref().map_or(self.now_s, |plan| plan.since_s);
        let full_s = plan.as_ref().map_or(0, |plan| plan.full_s);
        let verified_s = plan.as_ref().map_or(0, |plan| plan.verified_s);
        Calendar::Says(Due {
            now: next(schedule.every_h, since_s) <= self.now_s,
            full: full_s == 0 || next(schedule.full_every_h, full_s) <= self.now_s,
            verify: self.now_s >= verified_s + 7 * 24 * HOUR_S,
            next_s: Some(next(schedule.every_h, self.now_s)),
            busy: self.busy.clone(),
        })
    }

    pub(crate) fn back_up(&mut self, me: &Unit, order: &Order) {
        self.machine(me).node.making = Some(Making { number: order.number, result: MakingResult::Working });
        self.ordered.insert(me.clone(), order.clone());
    }

    /// The process of a planned backup ends: with a backup, with a reason, or in the middle.
    pub(crate) fn backup_ends(&mut self, me: &Unit, problem: Option<&str>, killed: bool) {
        let order = self.ordered[me].clone();
        let made = Made {
            number: order.number,
            id: problem.is_none().then(|| format!("backup-{}", order.number)),
            full: order.full,
            verified: order.verify && problem.is_none(),
            problem: problem.map(ToOwned::to_owned),
        };
        let result = if killed { MakingResult::Interrupted } else { MakingResult::Made(made) };
        let node = &mut self.machine(me).node;
        node.making = Some(Making { number: order.number, result });
        if !killed {
            node.expired = order.number;
        }
    }
}
