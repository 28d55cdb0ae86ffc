//! Planned backups: one unit at a time makes one when the calendar says so. The leader names the unit and remembers what
//! came of it. Nothing depends on it that could cost data: two backups at once, or none, are a nuisance and no danger.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::decision::{Commit, Step};
use super::identity::Unit;
use super::observation::{Event, Observation, Planned};
use super::report::DbInit;

/// What the calendar says, for whom it concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Calendar {
    /// It was not asked: this unit does not lead, or the calendar cannot be read now.
    #[default]
    Unknown,
    /// No backups are planned.
    Unset,
    /// Asked by the leader, just now.
    Says(Due),
}

/// What the calendar says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Due {
    /// A backup should have been made since the last one was.
    pub now: bool,
    /// The next one is to hold everything.
    pub full: bool,
    /// No backup has been proved to restore for longer than was asked for.
    pub verify: bool,
    /// When the next time comes, in seconds since 1970; `None` when there is none any more.
    pub next_s: Option<u64>,
    /// How busy the members are that have answered: write-sets of their clients in the last minute. Asked for when a
    /// unit is to be named.
    pub busy: BTreeMap<Unit, u64>,
}

/// What the leader remembers of planned backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The calendar's times behind this one ask for a backup: when the last one was ordered, or the schedule set. Zero when
    /// there is none.
    pub since_s: u64,
    /// When the last full one was ordered that exists; zero for none.
    pub full_s: u64,
    /// When one was last proved to restore; zero for never.
    pub verified_s: u64,
    /// Of the last order. Never the same for two of them.
    pub number: u32,
    /// The open order.
    pub order: Option<Order>,
    /// What came of the one before.
    pub last: Option<Ran>,
}

/// An order to one unit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// Its number.
    pub number: u32,
    /// Who makes the backup.
    pub unit: Unit,
    /// Whether it holds everything, or what has changed since the last one.
    pub full: bool,
    /// Whether it is proved to restore at once.
    pub verify: bool,
    /// Since when it is due, in seconds since 1970.
    pub at_s: u64,
    /// Who has tried, or has gone meanwhile.
    pub tried: BTreeSet<Unit>,
}

/// What came of an order, as a unit tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Made {
    /// The order's number.
    pub number: u32,
    /// The backup, if there is one.
    pub id: Option<String>,
    /// It holds everything, whatever was ordered.
    pub full: bool,
    /// It was proved to restore.
    pub verified: bool,
    /// Why there is none, or why it is no good.
    pub problem: Option<String>,
}

/// What came of the last order, as the leader remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ran {
    /// The unit that made it, or was the last to try.
    pub unit: Unit,
    /// What it said.
    pub made: Made,
    /// When the leader heard of it, in seconds since 1970.
    pub at_s: u64,
}

/// How far a unit is with an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Making {
    /// The order's number.
    pub number: u32,
    /// What came of it, as far as that is known.
    pub result: MakingResult,
}

/// What came of an order on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MakingResult {
    /// At it.
    Working,
    /// Was at it, and was stopped by whatever it was: it has to begin again.
    Interrupted,
    /// Nothing more will come of it.
    Made(Made),
}

impl Making {
    /// What others hear of it.
    pub(super) fn made(&self) -> Option<Made> {
        match &self.result {
            MakingResult::Made(made) => Some(made.clone()),
            MakingResult::Working | MakingResult::Interrupted => None,
        }
    }
}

impl Plan {
    /// When planned backups were asked for. Units remember what they were ordered: numbers never begin anew.
    fn begun(before: Option<&Self>, now_s: u64) -> Self {
        Self { since_s: now_s, number: before.map_or(0, |plan| plan.number), ..Self::default() }
    }

    /// What is remembered when there is no schedule any more.
    fn ended(&self) -> Self {
        Self { number: self.number, ..Self::default() }
    }

    /// Whether there is a schedule.
    pub fn is_on(&self) -> bool {
        self.since_s > 0
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.full { "full" } else { "incremental" };
        write!(f, "{kind} backup {} by {}", self.number, self.unit)?;
        if self.verify { f.write_str(", verified") } else { Ok(()) }
    }
}

/// What this unit does about planned backups, when it has nothing more pressing to do.
pub(super) fn beside(o: &Observation) -> Option<Step> {
    let plan = o.juju.app.plan.as_ref().filter(|_| o.juju.event == Event::Ordinary)?;
    let entry = o.node.journal.entry().filter(|entry| entry.db_init == DbInit::Initialised)?;
    let on_it = o.juju.app.history.as_ref().is_some_and(|history| history.branch == entry.branch);
    if !on_it || o.node.server.synced().is_none() || o.juju.app.restore.is_some() || o.juju.app.recovery.is_some() {
        return None;
    }
    let making = o.node.making.as_ref();
    if let Some(order) = plan.order.as_ref().filter(|order| order.unit == o.me) {
        let begin = making.is_none_or(|making| {
            making.number < order.number || making.number == order.number && making.result == MakingResult::Interrupted
        });
        let other_at_work = making.is_some_and(|m| m.number < order.number && m.result == MakingResult::Working);
        return (begin && !other_at_work).then(|| Step::BackUp(order.clone()));
    }
    let last = plan.last.as_ref().map_or(0, |ran| ran.made.number);
    let at_work = making.is_some_and(|making| making.result == MakingResult::Working);
    (o.node.expired < last && !at_work).then_some(Step::ExpireBackups(last))
}

/// What the leader commits about planned backups, when nothing is more pressing.
pub(super) fn commits(o: &Observation) -> Vec<Commit> {
    let (true, Planned::Known(planned)) = (o.juju.leader, &o.juju.planned) else {
        return Vec::new();
    };
    if o.juju.app.history.is_none() || o.juju.app.restore.is_some() || o.juju.app.recovery.is_some() {
        return Vec::new();
    }
    match (&o.juju.calendar, &o.juju.app.plan) {
        (Calendar::Unknown, _) | (Calendar::Unset, None) => Vec::new(),
        (Calendar::Unset, Some(plan)) => plan.is_on().then(|| Commit::Plan(plan.ended())).into_iter().collect(),
        (Calendar::Says(due), Some(plan)) if plan.is_on() => {
            let next = match &plan.order {
                Some(order) => go_on(o, planned, due, plan, order),
                None if due.now => order(o, planned, due, plan),
                None => None,
            };
            next.map(Commit::Plan).into_iter().collect()
        }
        (Calendar::Says(_), before) => vec![Commit::Plan(Plan::begun(before.as_ref(), o.juju.now_s))],
    }
}

/// When the leader has to look again, in seconds from now.
pub(super) fn look_again_s(o: &Observation) -> Option<u32> {
    let Calendar::Says(Due { next_s: Some(next_s), .. }) = &o.juju.calendar else {
        return None;
    };
    // A second later it has certainly passed. Longer than a day: the clock may be set meanwhile.
    let wait = next_s.saturating_sub(o.juju.now_s).saturating_add(1).min(86_400);
    u32::try_from(wait).ok()
}

/// The first order for a time of the calendar. However many times have passed without one, it is one.
fn order(o: &Observation, planned: &BTreeSet<Unit>, due: &Due, plan: &Plan) -> Option<Plan> {
    let now_s = o.juju.now_s;
    let unit = choose(o, planned, due, plan, &BTreeSet::new())?;
    let number = plan.number + 1;
    let (full, verify, tried) = (due.full, due.verify, BTreeSet::new());
    let order = Order { number, unit, full, verify, at_s: now_s, tried };
    Some(Plan { since_s: now_s, number, order: Some(order), ..plan.clone() })
}

/// What becomes of an open order.
fn go_on(o: &Observation, planned: &BTreeSet<Unit>, due: &Due, plan: &Plan, order: &Order) -> Option<Plan> {
    let made = o.report_of(&order.unit).and_then(|report| report.made).filter(|made| made.number == order.number);
    let gone = !able(o, planned, &order.unit);
    if made.is_none() && !gone {
        return None;
    }
    let exists = made.as_ref().is_some_and(|made| made.id.is_some());
    if !exists {
        let mut tried = order.tried.clone();
        tried.insert(order.unit.clone());
        if let Some(unit) = choose(o, planned, due, plan, &tried) {
            let number = plan.number + 1;
            let order = Order { number, unit, tried, ..order.clone() };
            return Some(Plan { number, order: Some(order), ..plan.clone() });
        }
    }
    // Nobody else can: the one that has gone goes on when it is back.
    let made = made?;
    let (full_s, verified_s) = (
        if exists && made.full { order.at_s } else { plan.full_s },
        if made.verified { o.juju.now_s } else { plan.verified_s },
    );
    let last = Some(Ran { unit: order.unit.clone(), made, at_s: o.juju.now_s });
    Some(Plan { full_s, verified_s, order: None, last, ..plan.clone() })
}

/// Who makes it: for an incremental one whoever has made the last, because it builds on that one's data; otherwise the
/// member whose clients write least, the leader last of equals.
fn choose(o: &Observation, planned: &BTreeSet<Unit>, due: &Due, plan: &Plan, tried: &BTreeSet<Unit>) -> Option<Unit> {
    let able: Vec<&Unit> = planned.iter().filter(|unit| !tried.contains(unit) && able(o, planned, unit)).collect();
    let last = plan.last.as_ref().map(|ran| &ran.unit).filter(|unit| !due.full && able.contains(unit));
    let busy = |unit: &Unit| due.busy.get(unit).copied().unwrap_or(u64::MAX);
    let least = || able.iter().copied().min_by_key(|unit| (busy(unit), **unit == o.me, unit.number()));
    last.or_else(least).cloned()
}

/// A member that serves, as far as this unit can tell.
fn able(o: &Observation, planned: &BTreeSet<Unit>, unit: &Unit) -> bool {
    let branch = o.juju.app.history.as_ref().map(|history| history.branch);
    let serves = o.report_of(unit).is_some_and(|report| {
        report.db_init == DbInit::Initialised && Some(report.branch) == branch && report.server.synced().is_some()
    });
    serves && planned.contains(unit) && !o.absent().contains(unit)
}
