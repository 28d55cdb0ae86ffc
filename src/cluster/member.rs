//! This unit's own next step: volume, formation, joining, staying, leaving.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::by_force::went_on;
use super::decision::{Decision, Step};
use super::formation;
use super::identity::{ClusterUuid, Epoch, Unit};
use super::observation::{
    Credentials, Event, Formation, Installed, Journal, JournalEntry, Observation, Peers, Planned, Volume,
};
use super::recovery;
use super::report::{DbInit, Galera, Holds, LocalState, Report, Server};
use super::restore;
use super::state::State;

/// Decides this unit's share; the leader's is added elsewhere.
pub(super) fn decide(o: &Observation) -> Decision {
    if o.juju.event == Event::Leaving {
        let gone = o.node.server == Server::Stopped;
        return if gone { Decision::wait(State::Leaving) } else { Decision::act(State::Leaving, vec![Step::Leave]) };
    }
    if let Volume::Missing(why) = &o.node.volume {
        return Decision::wait(State::NoVolume(why.clone()));
    }
    let entry = match (&o.node.journal, &o.node.holds) {
        (Journal::Unreadable(why), _) => return Decision::wait(State::ForeignVolume(format!("journal: {why}"))),
        (Journal::Absent, Holds::Nothing) => {
            // The journal comes first: the packages may create a data directory, which must not look foreign after a crash.
            return Decision::act(
                State::Installing("volume taken over".to_owned()),
                vec![Step::AdoptVolume, Step::Install],
            );
        }
        (Journal::Absent, Holds::History(uuid)) => {
            return Decision::wait(State::ForeignVolume(format!("it holds history {uuid}")));
        }
        (Journal::Absent, Holds::Unclear(what)) => return Decision::wait(State::ForeignVolume(what.clone())),
        (Journal::Known(entry), _) => entry,
    };
    if let Installed::No(what) = &o.node.installed {
        return Decision::act(State::Installing(what.clone()), vec![Step::Install]);
    }
    if let Err(bad) = &o.juju.settings {
        // Reported and nothing else: a typing error must never touch a running server.
        return Decision::wait(State::Misconfigured(bad.clone()));
    }
    if matches!(o.juju.peers, Peers::NotYet) {
        return Decision::wait(State::NoPeerRelation);
    }
    match entry.db_init {
        DbInit::New => newcomer(o),
        DbInit::Agreed | DbInit::Waiting => candidate(o, entry),
        DbInit::Initialised => member(o, entry),
    }
}

/// A unit that has agreed to nothing yet.
fn newcomer(o: &Observation) -> Decision {
    let Some(formation) = &o.juju.app.formation else {
        return Decision::wait(formation::electing(o));
    };
    if let Some(decision) = unusable(o) {
        return decision;
    }
    match &o.juju.app.credentials {
        Credentials::Absent => Decision::wait(State::NoCredentials("the leader has not made them yet".to_owned())),
        Credentials::Unreadable(why) => Decision::wait(State::NoCredentials(why.clone())),
        Credentials::Known { .. } => {
            let next = if formation.members.contains_key(&o.me) { DbInit::Agreed } else { DbInit::Waiting };
            Decision::act(
                State::WaitingForFounder(formation.founder.clone()),
                vec![Step::Configure, Step::Advance(next)],
            )
        }
    }
}

/// A volume that should be empty and is not.
fn unusable(o: &Observation) -> Option<Decision> {
    match &o.node.holds {
        Holds::Nothing => None,
        Holds::History(uuid) => Some(Decision::wait(State::ForeignVolume(format!("it holds history {uuid}")))),
        Holds::Unclear(what) => Some(Decision::wait(State::ForeignVolume(what.clone()))),
    }
}

/// A unit that has the credentials and has never been Synced.
fn candidate(o: &Observation, entry: &JournalEntry) -> Decision {
    let Some(formation) = &o.juju.app.formation else {
        // The databag cannot lose a formation; if it seems to, nothing here may act on the memory of one.
        return Decision::wait(State::FormationRefused(
            "the formation is gone from the application databag".to_owned(),
        ));
    };
    if let Some(decision) = left_behind(o, entry) {
        return decision;
    }
    // A recovery can name a founder that died between its bootstrap and its report.
    if let Some(decision) = recovery::decide(o, entry) {
        return decision;
    }
    if let Some(decision) = recovery::stand_aside(o) {
        return decision;
    }
    if formation.founder == o.me && o.juju.app.history.is_none() {
        found(o, entry, formation)
    } else {
        join(o, formation)
    }
}

/// The founder's way from permission to a cluster of one.
fn found(o: &Observation, entry: &JournalEntry, formation: &Formation) -> Decision {
    if let Some(galera) = o.node.server.primary() {
        return match (&galera.uuid, galera.state) {
            (Some(uuid), LocalState::Synced | LocalState::Donor) => {
                let mut steps = Vec::new();
                if !entry.accounts {
                    steps.push(Step::SetUpAccounts);
                }
                steps.push(Step::MarkInitialised(uuid.clone()));
                Decision::act(State::Founding, steps)
            }
            (_, LocalState::Undefined | LocalState::Joining | LocalState::Joined) | (None, _) => {
                Decision::wait(State::Founding)
            }
        };
    }
    // It died before it had a history, and looks for itself: stopped, it founds again under the next permission.
    let lost = o.node.stalled && entry.used_epoch >= formation.epoch && matches!(o.node.holds, Holds::Unclear(_));
    match &o.node.server {
        Server::Starting if lost => return Decision::act(State::Founding, vec![Step::Stop]),
        Server::Starting => return soon(State::Founding),
        Server::Silent(why) => return soon(State::Silent(why.clone())),
        Server::Answers(_) => return soon(State::Founding),
        Server::Stopped => {}
    }
    match &o.node.holds {
        // Used up, and nothing to show for it: cut off while it made the system tables, or before. Nothing was ever
        // promised to anybody, so under the next permission the leftovers are moved aside.
        Holds::Nothing | Holds::Unclear(_) if entry.used_epoch >= formation.epoch => {
            Decision::wait(State::FoundingInterrupted(formation.epoch))
        }
        Holds::Unclear(what) if entry.used_epoch == Epoch::default() => {
            Decision::wait(State::ForeignVolume(what.clone()))
        }
        Holds::Nothing | Holds::Unclear(_) => match formation::contradiction(o, formation) {
            Some(why) => Decision::wait(State::FormationRefused(why)),
            None => Decision::act(
                State::Founding,
                vec![
                    Step::Configure,
                    Step::Bootstrap {
                        epoch: formation.epoch,
                        from: None,
                        branch: Epoch::default(),
                        ask: others(o, formation),
                        put: None,
                    },
                ],
            ),
        },
        // The bootstrap happened and the machine died: the history here is the only one. Starting as an ordinary
        // member lets Galera restore its own saved view; when there is none, a recovery follows.
        Holds::History(_) if entry.used_epoch > Epoch::default() => {
            Decision::act(State::Founding, vec![Step::Configure, Step::Join])
        }
        Holds::History(uuid) => Decision::wait(State::ForeignVolume(format!("it holds history {uuid}"))),
    }
}

/// A new member's way into a cluster that others formed.
fn join(o: &Observation, formation: &Formation) -> Decision {
    if let Some(why) = formation::contradiction(o, formation) {
        return Decision::wait(State::FormationRefused(why));
    }
    let Some(expected) = o.expected_history() else {
        return Decision::wait(State::WaitingForFounder(formation.founder.clone()));
    };
    // A founder that was removed before the leader owned its history, and before anybody had a copy of it.
    let gone = |planned: &BTreeSet<Unit>| !planned.contains(&formation.founder) && !o.sees(&formation.founder);
    let founder_gone = matches!(&o.juju.planned, Planned::Known(planned) if gone(planned)) && o.history().is_none();
    let owned = o.juju.app.history.is_some();
    // A full member already, which has not said so: nothing is missing.
    let serves = o.node.server.synced().is_some();
    if (owned || founder_gone) && no_member_is_left(o) && !serves {
        // As long as it looks for the founder, nobody can found anew.
        let looks = !owned && o.node.stalled && o.node.server == Server::Starting;
        let state = State::NoMemberLeft(expected);
        return if looks { Decision::act(state, vec![Step::Stop]) } else { Decision::wait(state) };
    }
    // With nobody to look for, the server would look for itself alone, and for ever.
    if o.other_addresses().is_empty() && !serves {
        return Decision::wait(State::WaitingForFounder(formation.founder.clone()));
    }
    match &o.node.server {
        Server::Stopped => match &o.node.holds {
            // A transfer that was cut off leaves a directory without a history: the next transfer replaces it, and
            // nothing of ours was ever in it, because this unit has never been Synced.
            Holds::Nothing | Holds::Unclear(_) => {
                Decision::act(State::Joining, vec![Step::Expect(expected), Step::Configure, Step::Join])
            }
            Holds::History(uuid) if *uuid == expected => {
                Decision::act(State::Joining, vec![Step::Expect(expected), Step::Configure, Step::Join])
            }
            Holds::History(uuid) => Decision::wait(State::WrongHistory { here: uuid.to_string(), expected }),
        },
        Server::Starting => keeps_starting(o, expected, State::Joining),
        Server::Silent(why) => soon(State::Silent(why.clone())),
        Server::Answers(galera) => running(o, galera, &expected, true),
    }
}

/// A server on its way up. It may look in the wrong place: its next try reads the files anew. With data of another history
/// the gate refuses it, over and over, until somebody says so.
fn keeps_starting(o: &Observation, expected: ClusterUuid, state: State) -> Decision {
    match &o.node.holds {
        Holds::History(uuid) if *uuid != expected => {
            Decision::act(State::WrongHistory { here: uuid.to_string(), expected }, vec![Step::Stop])
        }
        Holds::History(_) | Holds::Nothing | Holds::Unclear(_) => Decision::act(state, vec![Step::Configure]),
    }
}

/// Whether everybody who was ever a member is gone for good. A unit that has not said anything may be one.
fn no_member_is_left(o: &Observation) -> bool {
    let newcomer = |report: &Option<Report>| report.as_ref().is_some_and(|r| r.db_init != DbInit::Initialised);
    matches!(o.juju.planned, Planned::Known(_)) && o.reports().values().all(newcomer)
}

/// A unit that has been Synced before.
fn member(o: &Observation, entry: &JournalEntry) -> Decision {
    let expected = match (o.history(), &entry.uuid) {
        // A restore has begun here, and the leader has not heard of it yet; or it has begun elsewhere.
        (Some(_), Some(journal)) if entry.branch > recovery::branch(o) => journal.clone(),
        (Some(cluster), Some(journal)) if cluster != *journal && !superseded(o, entry, journal) => {
            return Decision::wait(State::WrongHistory { here: journal.to_string(), expected: cluster });
        }
        (Some(cluster), _) => cluster,
        (None, Some(journal)) => journal.clone(),
        (None, None) => return Decision::wait(State::ForeignVolume("journal names no history".to_owned())),
    };
    let mut decision = member_of(o, entry, &expected);
    // Moved aside was the history that the volume belonged to.
    if entry.uuid.is_none() && decision.steps.contains(&Step::Join) {
        decision.steps.insert(0, Step::Expect(expected));
    }
    decision
}

/// Whether a restore has begun elsewhere since this volume was last part of the cluster.
fn superseded(o: &Observation, entry: &JournalEntry, journal: &ClusterUuid) -> bool {
    let history = o.juju.app.history.as_ref();
    history.is_some_and(|history| entry.branch < history.branch && history.knows(journal))
}

fn member_of(o: &Observation, entry: &JournalEntry, expected: &ClusterUuid) -> Decision {
    if let Some(decision) = left_behind(o, entry) {
        return decision;
    }
    if let Some(decision) = recovery::decide(o, entry) {
        return decision;
    }
    match &o.node.server {
        Server::Answers(galera) => running(o, galera, expected, false),
        Server::Starting => keeps_starting(o, expected.clone(), starting(o)),
        Server::Silent(why) => soon(State::Silent(why.clone())),
        Server::Stopped => match &o.node.holds {
            Holds::History(uuid) if uuid != expected => {
                Decision::wait(State::WrongHistory { here: uuid.to_string(), expected: expected.clone() })
            }
            // Without a usable copy the start ends in a state transfer, which needs a living cluster to come from;
            // without one the server finds nobody and changes nothing.
            Holds::History(_) | Holds::Nothing | Holds::Unclear(_) => {
                Decision::act(starting(o), vec![Step::Configure, Step::Join])
            }
        },
    }
}

/// The cluster was restarted by force since this volume was last part of it. A copy that was counted then follows; any
/// other may hold writes under sequence numbers that meanwhile mean something else, and never meets the cluster again.
fn left_behind(o: &Observation, entry: &JournalEntry) -> Option<Decision> {
    let history = o.juju.app.history.as_ref().filter(|history| entry.branch < history.branch)?;
    let branch = history.branch;
    // An answer stands only as long as the server has not been started since.
    let held_still = o.node.answer.as_ref().is_some_and(|answer| answer.epoch >= branch);
    let follows = match &o.node.holds {
        Holds::Nothing => true,
        Holds::Unclear(_) => entry.db_init != DbInit::Initialised,
        Holds::History(uuid) if !history.knows(uuid) => return None,
        // A restore has begun with other data.
        Holds::History(uuid) if *uuid != history.uuid => false,
        Holds::History(_) => history.kept.contains(&o.me) && held_still,
    };
    if follows {
        return Some(Decision::act(State::Starting { missing: Vec::new() }, vec![Step::TakeBranch(branch)]));
    }
    // Not before there is another copy to receive.
    let serves = |r: &Report| r.branch == branch && r.server.synced().is_some();
    let reports = o.reports();
    let restarted = reports.values().flatten().any(serves);
    // A person who decides once more, because nobody serves there, counts every copy that can be had.
    let by_force = o.juju.app.recovery.as_ref().filter(|recovery| recovery.by_force() && !restarted);
    let called = by_force.is_some_and(|recovery| recovery.members.contains(&o.me));
    if called && o.node.server.primary().is_none() {
        return None;
    }
    let has_copy = |report: &Option<Report>| report.as_ref().is_none_or(|r| matches!(r.holds, Holds::History(_)));
    if !called && !reports.values().any(has_copy) {
        return Some(soon(State::NoUsableCopy));
    }
    let on_it = |report: &Option<Report>| report.as_ref().is_some_and(|report| went_on(o, report));
    let others = reports.into_iter().filter(|(_, report)| on_it(report)).map(|(unit, _)| unit).collect();
    let restored = history.restores.contains(&branch);
    let state = State::LeftBehind { branch, restored, serves: restarted, others };
    Some(match (restarted, called) {
        (true, _) => Decision::act(state, vec![Step::MoveAside(branch)]),
        (false, true) => Decision::act(state, vec![Step::Stop]),
        (false, false) => soon(state),
    })
}

/// The server runs and answers.
fn running(o: &Observation, galera: &Galera, expected: &ClusterUuid, first_time: bool) -> Decision {
    if !galera.connected && !galera.primary {
        // "Node restart required": Galera has given up in this process and will not try again. The next look starts it.
        return Decision::act(State::Disconnected, vec![Step::Stop]);
    }
    if !galera.primary {
        let (size, missing, stalled) = (galera.size, not_running(o), o.node.stalled);
        return soon(State::NonPrimary { size, missing, stalled });
    }
    match (&galera.uuid, galera.state) {
        (Some(uuid), _) if uuid != expected => {
            // Two histories: this one stops serving before anybody writes more to it. Its data stays.
            Decision::act(State::WrongHistory { here: uuid.to_string(), expected: expected.clone() }, vec![Step::Stop])
        }
        (None, LocalState::Synced | LocalState::Donor) => Decision::act(
            State::WrongHistory { here: "without a UUID".to_owned(), expected: expected.clone() },
            vec![Step::Stop],
        ),
        (Some(uuid), LocalState::Synced | LocalState::Donor) => {
            let mut steps = Vec::new();
            if first_time {
                steps.push(Step::MarkInitialised(uuid.clone()));
            }
            if o.node.journal.entry().is_some_and(|entry| entry.restored) {
                steps.push(Step::RenewAccounts);
            }
            steps.push(Step::Configure);
            if let Some(generation) = formation::to_settle(o) {
                steps.push(Step::SettleCredentials { generation });
            }
            let state = if restore::has_just_begun(o) {
                State::Restoring { by: o.me.clone(), missing: Vec::new(), chosen: true }
            } else if galera.state == LocalState::Donor {
                State::Donor { size: galera.size }
            } else {
                State::Synced {
                    size: galera.size,
                    planned: planned_count(o),
                    missing: not_members(o),
                    aside: o.node.aside.clone(),
                }
            };
            // One that is out of sight may serve beside us, and its databag need not say that anything has changed.
            let look_again_s = (o.juju.leader && !o.absent().is_empty()).then_some(30);
            Decision { steps, commits: Vec::new(), state, look_again_s }
        }
        (_, LocalState::Undefined | LocalState::Joining) => soon(State::Joining),
        (_, LocalState::Joined) => soon(State::CatchingUp),
    }
}

fn soon(state: State) -> Decision {
    Decision { look_again_s: Some(10), ..Decision::wait(state) }
}

fn planned_count(o: &Observation) -> usize {
    match &o.juju.planned {
        Planned::Known(units) => units.len(),
        Planned::Unknown(_) => o.reports().len(),
    }
}

/// Units that are planned and are not full members now.
fn not_members(o: &Observation) -> Vec<Unit> {
    let absent = o.absent();
    o.reports()
        .into_iter()
        .filter(|(unit, report)| {
            let serves = |r: &Report| r.db_init == DbInit::Initialised && r.server.synced().is_some();
            *unit != o.me && (absent.contains(unit) || !report.as_ref().is_some_and(serves))
        })
        .map(|(unit, _)| unit)
        .collect()
}

/// A member's server is on its way up. When that has taken long, those who keep the others waiting are named; one that
/// has no copy waits for nobody, it receives one, and that takes its time.
fn starting(o: &Observation) -> State {
    let silent = |report: &Option<Report>| {
        report.as_ref().is_some_and(|r| r.db_init == DbInit::Initialised && !r.stalled && r.server.synced().is_some())
    };
    let missing = o.reports().into_iter().filter(|(unit, report)| *unit != o.me && silent(report));
    let waits = o.node.stalled && matches!(o.node.holds, Holds::History(_));
    State::Starting { missing: if waits { missing.map(|(unit, _)| unit).collect() } else { Vec::new() } }
}

/// Members whose last word was not that they run.
fn not_running(o: &Observation) -> Vec<Unit> {
    o.reports()
        .into_iter()
        .filter(|(unit, report)| {
            *unit != o.me && report.as_ref().is_none_or(|r| !matches!(r.server, Server::Answers(_)))
        })
        .map(|(unit, _)| unit)
        .collect()
}

fn others(o: &Observation, formation: &Formation) -> Vec<IpAddr> {
    let members = formation.members.values().chain(&formation.former);
    let others: BTreeSet<IpAddr> = members.copied().filter(|address| Some(*address) != o.node.address).collect();
    others.into_iter().collect()
}
