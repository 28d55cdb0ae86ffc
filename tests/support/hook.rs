//! A hook that may be overtaken, killed or refused between any two of its steps.

use mariadb_galera::cluster::{Credentials, Decision, Juju, Peer, Peers, Report, State, Step, Unit, decide};

use super::promise::{Planted, Promise};
use super::world::World;

/// A hook between two of its steps: Juju's answers are those of its start, the machine is looked at anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hook {
    pub(crate) juju: Juju,
    now: Decision,
    next: usize,
    /// The first half of a bootstrap is done: the permission is noted as used.
    pub(crate) noted: bool,
    acted: Option<Vec<Step>>,
    report: Report,
    rounds: u8,
    /// Leadership has gone and may have come back since the hook began, which takes longer than a commit may.
    pub(crate) overtaken: bool,
    /// Nothing is left to do but to end.
    pub(crate) ready: bool,
}

impl Hook {
    /// The step that comes next.
    pub(crate) fn step(&self) -> Option<&Step> {
        self.now.steps.get(self.next)
    }
}

impl World {
    /// What stands for the options as they are now.
    pub(crate) fn mark(&self) -> String {
        if self.options == 0 { String::new() } else { self.options.to_string() }
    }

    /// A hook begins: Juju is asked. A stale one hears of the others what the last one heard.
    pub(crate) fn begin(&mut self, me: &Unit, stale: bool) {
        let peers = if stale { self.machines[me].heard.clone() } else { self.peers(me) };
        let juju = self.juju(me, peers.clone());
        let o = self.seen(me, juju.clone());
        let now = decide(&o);
        self.check_readiness(me, &now, &o.juju);
        let ready = now.steps.is_empty();
        let report = o.report();
        let machine = self.machine(me);
        // A turn ends with what a hook has seen.
        machine.restarts &= machine.node.server.synced().is_none();
        machine.heard = peers;
        machine.hook =
            Some(Hook { juju, now, next: 0, noted: false, acted: None, report, rounds: 0, overtaken: false, ready });
    }

    /// Who shows itself as ready is a full member of the application's history.
    fn check_readiness(&mut self, me: &Unit, now: &Decision, juju: &Juju) {
        let shows = matches!(now.state, State::Synced { .. } | State::Donor { .. });
        let serves = self.machines[me].node.server.synced().cloned();
        let history = juju.app.history.as_ref().map(|history| history.uuid.clone());
        // The founder is the first to know the history.
        if shows && (serves.is_none() || (history.is_some() && serves != history)) {
            let how = format!("{me} shows {:?} and serves {serves:?} of {history:?}", now.state.status());
            self.break_promise(Promise::ReadyMeansReady, how);
        }
    }

    /// Nobody restarts the cluster by force who has heard that it lives.
    fn check_objections(&mut self, me: &Unit, step: &Step, juju: &Juju) {
        let (Step::Bootstrap { epoch, .. }, Peers::Known(peers)) = (step, &juju.peers) else {
            return;
        };
        let objects = |peer: &Peer| peer.report().is_some_and(|report| report.objects == *epoch);
        if let Some((unit, _)) = peers.iter().find(|(_, peer)| objects(peer)) {
            let how = format!("{me} restarts the cluster by force, and has heard from {unit} that it serves");
            self.break_promise(Promise::OneHistory, how);
        }
    }

    /// Whether the hook that has just begun will leave everything as it is.
    pub(crate) fn would_change_nothing(&self, me: &Unit) -> bool {
        let machine = &self.machines[me];
        let Some(hook) = &machine.hook else {
            return true;
        };
        let up_to_date = match self.app.credentials {
            Credentials::Known { generation, .. } => machine.node.credentials_seen == generation,
            Credentials::Absent | Credentials::Unreadable(_) => true,
        };
        let up_to_date = up_to_date && machine.node.turned.options == self.mark();
        let routine = hook.now.steps.iter().all(|step| *step == Step::Configure) && up_to_date;
        routine && hook.now.commits.is_empty() && machine.published.as_ref() == Some(&hook.report)
    }

    /// Whether the running hook's next step is one that only this machine can see.
    pub(crate) fn next_is_local(&self, me: &Unit) -> bool {
        let hook = self.machines[me].hook.as_ref().filter(|hook| !hook.ready && !hook.noted);
        hook.and_then(|hook| hook.now.steps.get(hook.next)).is_some_and(|step| match step {
            Step::AdoptVolume
            | Step::Install
            | Step::Configure
            | Step::Advance(_)
            | Step::Expect(_)
            | Step::MarkInitialised(_)
            | Step::BringBack { .. }
            | Step::ForgetBrought(_)
            | Step::DropAside(_)
            | Step::BackUp(_)
            | Step::PassTurn(_)
            | Step::ExpireBackups(_) => true,
            Step::Bootstrap { .. }
            | Step::SetUpAccounts
            | Step::RenewAccounts
            | Step::StopAndAnswer(_)
            | Step::Join
            | Step::SettleCredentials { .. }
            | Step::Stop
            | Step::AnswerCall(_)
            | Step::TakeBranch(_)
            | Step::MoveAside(_)
            | Step::Restart(_)
            | Step::Leave => false,
        })
    }

    /// The running hook takes its next step, or looks again.
    pub(crate) fn go_on(&mut self, me: &Unit) {
        const ROUNDS_MAX: u8 = 6;
        let Some(mut hook) = self.machine(me).hook.take() else {
            return;
        };
        if let Some(step) = hook.now.steps.get(hook.next).cloned() {
            let half = matches!(step, Step::Bootstrap { .. }) && !hook.noted;
            if half {
                hook.noted = true;
                self.check_objections(me, &step, &hook.juju);
                // Refused, or written down as used and not yet done.
                hook.ready = !self.note_bootstrap(me, &step);
            } else {
                self.apply(me, &step, &hook.juju.app);
                (hook.noted, hook.next) = (false, hook.next + 1);
            }
        }
        if hook.next >= hook.now.steps.len() || hook.ready {
            let news = hook.now.steps.iter().any(|step| *step != Step::Configure);
            let done = hook.next >= hook.now.steps.len();
            hook.acted = Some(hook.now.steps.clone());
            if news || !done {
                let o = self.seen(me, hook.juju.clone());
                (hook.now, hook.report, hook.next) = (decide(&o), o.report(), 0);
                self.check_readiness(me, &hook.now, &o.juju);
                hook.rounds += 1;
            }
            let repeated = hook.acted.as_ref() == Some(&hook.now.steps);
            hook.ready = !done || !news || repeated || hook.now.steps.is_empty() || hook.rounds >= ROUNDS_MAX;
        }
        if self.planted == Some(Planted::PublishesTooSoon) {
            for commit in hook.now.commits.clone() {
                self.commit(&commit);
            }
        }
        self.machine(me).hook = Some(hook);
    }

    /// The running hook ends: well, and everybody sees what it wrote, or not, and nobody does.
    pub(crate) fn end(&mut self, me: &Unit, well: bool) {
        let Some(hook) = self.machine(me).hook.take() else {
            return;
        };
        let leads = self.leader.as_ref() == Some(me);
        let hook =
            if hook.overtaken { Hook { now: Decision { commits: Vec::new(), ..hook.now }, ..hook } } else { hook };
        // Juju refuses the whole transaction of one that wrote for the application and leads no longer.
        if !well || (!leads && !hook.now.commits.is_empty()) {
            return;
        }
        for commit in &hook.now.commits {
            self.commit(commit);
        }
        let mut report = hook.report;
        report.credentials_seen = self.machines[me].node.credentials_seen;
        report.turned = self.machines[me].node.turned.clone();
        self.machine(me).published = Some(report);
    }
}
