//! Planned backups: a calendar that asks for one every three minutes, and processes that take their time and may die.
//! Nothing is drawn for them, so that the rest of a seed's story does not depend on them.

use mariadb_galera::cluster::{Calendar, Commit, Due, Juju, Made, Making, MakingResult, Order, Plan, Unit};

use super::plan::{Ms, SECOND};
use super::world::{Event, World};

const EVERY_S: u64 = 180;
const FULL_EVERY_S: u64 = 3 * EVERY_S;
const TAKES: Ms = 20 * SECOND;

/// An order that a machine carries out, or did: on the root disk, which a lost volume does not take along.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    order: Order,
    /// `None` once it has died in the middle.
    ready_at: Option<Ms>,
}

impl World {
    /// What the calendar says; of every other seed.
    pub(crate) fn calendar(&self, juju: &Juju) -> Calendar {
        if self.plan.seed % 2 == 0 {
            return Calendar::Unset;
        }
        if !juju.leader {
            return Calendar::Unknown;
        }
        let next = |every_s: u64, after_s: u64| (after_s / every_s + 1) * every_s;
        let plan = juju.app.plan.clone().filter(Plan::is_on);
        let (since_s, full_s) = plan.as_ref().map_or((juju.now_s, 0), |plan| (plan.since_s, plan.full_s));
        Calendar::Says(Due {
            now: next(EVERY_S, since_s) <= juju.now_s,
            full: full_s == 0 || next(FULL_EVERY_S, full_s) <= juju.now_s,
            verify: plan.is_none_or(|plan| plan.verified_s == 0),
            next_s: Some(next(EVERY_S, juju.now_s)),
            busy: [].into(),
        })
    }

    /// `src/node/planned.rs`: begun here, and gone on with by nobody but this process.
    pub(crate) fn back_up(&mut self, me: &Unit, order: &Order) {
        let ready_at = Some(self.now + TAKES);
        self.machine(me).making = Some(Process { order: order.clone(), ready_at });
        self.after(TAKES, Event::Look(me.clone()));
    }

    /// The machine has lost its power: nobody is at it any more.
    pub(crate) fn interrupt_backup(&mut self, unit: &Unit) {
        let now = self.now;
        if let Some(process) = self.machine(unit).making.as_mut() {
            process.ready_at = process.ready_at.filter(|at| *at <= now);
        }
    }

    /// How far it is.
    pub(crate) fn making(&self, unit: &Unit) -> Option<Making> {
        let Process { order, ready_at } = self.machines[unit].making.as_ref()?;
        let number = order.number;
        let result = match ready_at {
            None => MakingResult::Interrupted,
            Some(at) if *at > self.now => MakingResult::Working,
            // Every seventh comes to nothing: a full disk, a store that is away.
            Some(_) => MakingResult::Made(Made {
                number,
                id: (number % 7 != 0).then(|| number.to_string()),
                full: order.full,
                verified: order.verify,
                problem: (number % 7 == 0).then(|| "no room".to_owned()),
            }),
        };
        Some(Making { number, result })
    }

    /// An order is never given twice, and never while another one is open.
    pub(crate) fn check_plan(&mut self, commit: &Commit) {
        let Commit::Plan(plan) = commit else { return };
        if let Some(order) = &plan.order {
            if order.number <= self.ordered {
                self.break_promise(format!("backup {} is ordered behind {}", order.number, self.ordered));
            }
            self.ordered = order.number;
        } else if plan.last.as_ref().is_some_and(|ran| ran.made.id.is_some()) {
            self.stats.backups += 1;
        }
    }
}
