//! Observe, decide, act, publish: the whole program on one screen.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;

use crate::cluster::{
    Commit, Decision, Event, Level, Node, Observation, State, Status, Step, Unit, decide, judge, objecting,
};
use crate::host::clock::{self, Moment};
use crate::host::owned::Edit;
use crate::invocation::{self, HookName};
use crate::juju::{self, log};
use crate::mariadb::{Paths, install, running};
use crate::model::observe::Model;
use crate::model::peer_data::TooNew;
use crate::model::{credentials, observe, publish, s3};
use crate::node::act::{Hands, Outcome, act};
use crate::node::quiet::{self, Quiet};
use crate::node::stores::Stores;
use crate::node::{agent_service, bring, departure, live, shown, turn, work};
use crate::translate;

/// A founding takes a few looks; a pass that still finds new things to do after so many goes on in the next hook.
pub const ROUNDS_MAX: usize = 6;

/// What was seen longer ago than this is not committed: leadership may have gone and come back since, which Juju does
/// not show. A lease lasts 30 s at least.
pub const COMMIT_WITHIN: Duration = Duration::from_secs(15);
/// As long as the server waits for a restart and this unit gives turns or has one: others hear of it by Juju.
const LOOK_AT_TURN_S: u32 = 15;
/// How often what keeps backups from being made is looked at again: no hook tells when a secret is granted.
const LOOK_AT_TROUBLE_S: u32 = 60;

/// For so long a status tells of an edit by hand that was put back.
const SHOW_EDITS_FOR: Duration = Duration::from_secs(24 * 3600);

/// One hook.
///
/// # Errors
/// When Juju should run the same hook again.
pub fn run_hook(hook: &HookName) -> anyhow::Result<()> {
    let paths = Paths::default();
    match hook {
        HookName::Unknown(name) => {
            log::debug(&format!("hook {name} is none of ours"));
            return Ok(());
        }
        HookName::Remove => return agent_service::remove(),
        HookName::SecretRemove { secret, revision } => credentials::forget_revision(secret, *revision),
        HookName::Leaving => departure::begin(&paths)?,
        HookName::VolumeAttached => departure::cancel(&paths)?,
        HookName::UpgradeCharm | HookName::Ordinary(_) => {}
    }
    // Juju forgets between two hooks that this unit is leaving; the machine does not.
    let event = if departure::has_begun(&paths) { Event::Leaving } else { Event::Ordinary };
    if event == Event::Ordinary {
        match agent_service::renew(&paths) {
            Ok(true) => {
                log::info(
                    "another revision of the charm: its files and its node agent are in place, the server goes on",
                );
            }
            Ok(false) => {}
            // The next hook tries again; a full disk must not keep this unit from looking after its server.
            Err(why) => log::error(&format!("cannot put this revision's files in place yet: {why:#}")),
        }
    }
    let me = invocation::unit_name()?;
    if *hook == HookName::Ordinary("update-status".to_owned()) && event == Event::Ordinary && nothing_new(&paths)? {
        return Ok(());
    }
    quiet::forget(&paths)?;
    let seen = Moment::now();
    let mut model = match observe::observe(&me, event) {
        // A refresh to an older revision. The server goes on; Juju's retries would mend nothing.
        Err(why) if event == Event::Ordinary && why.is::<TooNew>() => {
            log::error(&format!("{why:#}"));
            publish::unit_status(&Status { level: Level::Blocked, message: format!("{why:#}") })?;
            return Ok(());
        }
        seen => seen?,
    };
    model.juju.now_s = u64::try_from(clock::now().unix_seconds()).unwrap_or(0);
    translate::calendar(&mut model);
    translate::server_options(&mut model);
    translate::busy_members(&mut model);
    let edits = paths.owned().edits(SHOW_EDITS_FOR);
    let mut pass = pass(&paths, &model);
    for Edit { name, kept, .. } in paths.owned().edits(SHOW_EDITS_FOR) {
        if edits.iter().all(|known| known.kept != kept) {
            log::warning(&format!("{name} was edited by hand and is put back; the edit is kept in {}", kept.display()));
        }
    }
    if seen.elapsed() > COMMIT_WITHIN {
        pass.now.commits.clear();
        pass.now.look_again_s = Some(5);
    }
    let wrote = publish(&paths, &model, &mut pass)?;
    if !wrote && pass.found_nothing_to_do() {
        quiet::remember(&paths, &Quiet::new(&paths, model.unannounced(), &pass.observation.node))?;
    }
    let asks = |name: &str| name.starts_with(s3::ENDPOINT) || ["config-changed", "leader-elected"].contains(&name);
    if let (HookName::Ordinary(name), Some(options), true) = (hook, &model.options, model.juju.leader) {
        if asks(name) {
            s3::ask(&options.s3, me.app())?;
        }
    }
    if matches!(hook, HookName::Ordinary(name) if name == "start") || *hook == HookName::UpgradeCharm {
        juju::port::open_tcp(3306)?;
        if let Some(version) = install::noted_version(&paths) {
            juju::status::set_workload_version(&version)?;
        }
    }
    match pass.outcome {
        // Only an installation that did not succeed is Juju's to repeat: everything else is looked at again by itself.
        Outcome::Failed(why) if matches!(pass.decision.steps.last(), Some(Step::Install)) => Err(why),
        Outcome::Failed(_) | Outcome::Skipped(_) | Outcome::Done => Ok(()),
    }
}

/// Whether everything that Juju and the machine change without a hook is as the last quiet pass saw it.
fn nothing_new(paths: &Paths) -> anyhow::Result<bool> {
    let Some(quiet) = quiet::recall(paths) else {
        return Ok(false);
    };
    // Juju and the server are asked side by side.
    let (juju, node) = std::thread::scope(|scope| {
        let juju = scope.spawn(observe::unannounced);
        let node = crate::node::observe::observe(paths, quiet.address);
        (juju.join(), node)
    });
    let juju = juju.map_err(|_| anyhow::anyhow!("cannot ask Juju: internal error"))??;
    Ok(quiet.holds(paths, &juju, &node))
}

/// What a pass came to: the last decision that was acted upon, what became of it, and how things stand now.
struct Pass {
    decision: Decision,
    outcome: Outcome,
    observation: Observation,
    now: Decision,
    settled: bool,
    /// What keeps backups from being made.
    trouble: Option<String>,
}

impl Pass {
    /// Whether the member is well and all that was done is what every pass does.
    fn found_nothing_to_do(&self) -> bool {
        let well = matches!(&self.now.state, State::Synced { missing, .. } if missing.is_empty());
        let routine = self.decision.steps.iter().all(|step| *step == Step::Configure);
        // What keeps backups from being made may be mended where no hook tells of it: a secret is granted.
        well && routine && matches!(self.outcome, Outcome::Done) && self.trouble.is_none()
    }
}

/// Looks, decides and acts until there is nothing new to do.
fn pass(paths: &Paths, model: &Model) -> Pass {
    let secrets = model.passwords.as_ref().map(translate::secrets);
    let stores = translate::stores(model);
    let stores = stores.unwrap_or_else(|why| Stores { problem: Some(format!("{why:#}")), ..Stores::default() });
    let mut settled = false;
    let mut acted: Option<(Decision, Outcome)> = None;
    let (mut observation, mut now) = look_and_decide(paths, model);
    for _ in 0..ROUNDS_MAX {
        let repeated = acted.as_ref().is_some_and(|(before, _)| before.steps == now.steps);
        if now.steps.is_empty() || repeated {
            break;
        }
        // What every pass does is no news, and changes nothing that would have to be looked at again.
        let news = now.steps.iter().any(|step| *step != Step::Configure);
        if news {
            log::info(&describe(&now));
        }
        let wanted = translate::wanted(model, &observation);
        let running = observation.node.server.synced().is_some();
        let planned = || translate::planned(model);
        let stores = Some(&stores);
        let outcome = carry_out(
            &now.steps,
            &mut Hands {
                paths,
                wanted: wanted.as_ref(),
                secrets: secrets.as_ref(),
                stores,
                planned: &planned,
                running,
                progress: &mut show_progress,
            },
        );
        settled |=
            matches!(outcome, Outcome::Done) && now.steps.iter().any(|s| matches!(s, Step::SettleCredentials { .. }));
        let go_on = news && matches!(outcome, Outcome::Done);
        acted = Some((now.clone(), outcome));
        if news || !matches!(acted, Some((_, Outcome::Done))) {
            (observation, now) = look_and_decide(paths, model);
        }
        if !go_on {
            break;
        }
    }
    // The files may hold newer passwords than they did at the first look, and the others wait to hear of it.
    observation.node.credentials_seen = crate::node::observe::credentials_seen(paths);
    observation.node.turned = turn::observe(paths);
    let (decision, outcome) = acted.unwrap_or_else(|| (now.clone(), Outcome::Done));
    Pass { decision, outcome, observation, now, settled, trouble: stores.trouble() }
}

fn look_and_decide(paths: &Paths, model: &Model) -> (Observation, Decision) {
    let observation = look(paths, model);
    let decision = decide(&observation);
    (observation, decision)
}

fn look(paths: &Paths, model: &Model) -> Observation {
    let node: Node = crate::node::observe::observe(paths, model.address);
    let mut observation = Observation { me: model.me.clone(), juju: model.juju.clone(), node, rivals: BTreeSet::new() };
    if let Some(recovery) = model.juju.app.recovery.as_ref().filter(|r| r.by_force() && model.juju.leader) {
        let behind = observation.reports().into_keys().filter(|unit| !recovery.members.contains(unit)).collect();
        observation.rivals = primary_now(&observation, behind);
    }
    observation
}

/// Those of the units that say, now, that they are part of a primary component.
fn primary_now(observation: &Observation, units: BTreeSet<Unit>) -> BTreeSet<Unit> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = units
            .into_iter()
            .filter_map(|unit| {
                let address = observation.report_of(&unit)?.address?;
                Some((unit, scope.spawn(move || live::primary(address).is_some())))
            })
            .collect();
        asked.into_iter().filter_map(|(unit, says)| says.join().unwrap_or(false).then_some(unit)).collect()
    })
}

/// Members of another primary component: asked of those that this one's server does not see. Two of them can only come
/// of something done by hand, and every client that writes makes it worse.
fn rivals(observation: &Observation) -> BTreeSet<Unit> {
    // A view that counts more members than it lists may leave out one of its own; the agent asks again when it is whole.
    if observation.node.server.primary().is_none_or(|galera| galera.view.len() != galera.size as usize) {
        return BTreeSet::new();
    }
    let rivals = primary_now(observation, observation.absent());
    if rivals.is_empty() {
        return rivals;
    }
    // One of them may have joined since the server was looked at.
    let node = Node { server: crate::node::observe::server(), ..observation.node.clone() };
    let still = Observation { node, ..observation.clone() }.absent();
    rivals.intersection(&still).cloned().collect()
}

fn show_progress(text: &str) {
    let status = Status { level: Level::Maintenance, message: text.to_owned() };
    if let Err(why) = publish::unit_status(&status) {
        log::warning(&format!("cannot show progress: {why:#}"));
    }
}

fn carry_out(steps: &[Step], hands: &mut Hands<'_>) -> Outcome {
    let outcome = act(steps, hands);
    match &outcome {
        Outcome::Done => {}
        Outcome::Skipped(why) => log::info(&format!("not done: {why}")),
        Outcome::Failed(why) => log::error(&format!("{why:#}")),
    }
    outcome
}

/// Databags first, status last. Returns whether anything was written that Juju makes visible.
fn publish(paths: &Paths, model: &Model, pass: &mut Pass) -> anyhow::Result<bool> {
    let report = pass.observation.report();
    let mut wrote = publish::report(model, &report)?;
    let commits: Vec<Commit> = pass
        .now
        .commits
        .iter()
        .filter(|c| pass.settled || !matches!(c, Commit::CredentialsSettled { .. }))
        .cloned()
        .collect();
    publish::commit(model, &commits)?;
    if commits.contains(&Commit::CloseRecovery) {
        let serving = objecting(&pass.observation).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let by_force = pass.observation.juju.app.recovery.as_ref().is_some_and(|recovery| recovery.by_force());
        if by_force && pass.now.state == State::NoUsableCopy {
            log::warning("the restart by force is dropped: none of those who answered has a copy that can be used");
        }
        if !serving.is_empty() {
            log::warning(&format!("the restart by force is dropped: {serving} would be left behind and serves"));
        }
    }
    wrote |= !commits.is_empty();
    let status = match &pass.outcome {
        Outcome::Failed(why) => Status { level: Level::Blocked, message: format!("{why:#}; tries again by itself") },
        Outcome::Skipped(_) | Outcome::Done => with_work(paths, &pass.now.state, pass.trouble.as_deref()),
    };
    wrote |= publish::unit_status(&status)?;
    if model.juju.leader && pass.observation.juju.event == Event::Ordinary {
        pass.observation.rivals = rivals(&pass.observation);
        let judged = judge(&pass.observation, &pass.now.state);
        wrote |= publish::application_status(&beside_trouble(judged, pass.trouble.as_deref()))?;
    }
    let stands = &pass.observation.node;
    let trouble_again_s = pass.trouble.as_ref().map(|_| LOOK_AT_TROUBLE_S);
    let turn = model.juju.app.turn.as_ref().and_then(|turn| turn.unit.as_ref());
    let concerned = model.juju.leader || turn == Some(&model.me);
    let turn_again_s = (stands.turned.waits && concerned).then_some(LOOK_AT_TURN_S);
    let look_again_s = match &pass.outcome {
        Outcome::Done if commits.is_empty() => {
            [pass.now.look_again_s, trouble_again_s, turn_again_s].into_iter().flatten().min()
        }
        // Something is due as soon as this hook's own writing is visible, or worth another try.
        Outcome::Done | Outcome::Skipped(_) | Outcome::Failed(_) => Some(5),
    };
    let note = shown::Shown {
        unit: model.me.to_string(),
        fingerprint: shown::fingerprint(&stands.server, stands.stalled, &work::shown(paths)),
        look_again_s,
        charm_dir: invocation::charm_dir(),
        exec: juju::Version::current().map_or("juju-exec", juju::Version::exec_program).to_owned(),
        expected: pass.observation.history().map(|uuid| uuid.to_string()),
        units: pass
            .observation
            .reports()
            .into_iter()
            .filter_map(|(unit, report)| Some((report?.address?, unit.to_string())))
            .collect(),
        model_uuid: invocation::model_uuid(),
        restart: model.juju.app.restarted.as_ref().map_or(0, |restart| restart.epoch.0),
    };
    shown::write(paths, &note).context("cannot leave a note for the agent")?;
    Ok(wrote)
}

/// The state's status, and what goes on beside it.
fn with_work(paths: &Paths, state: &State, trouble: Option<&str>) -> Status {
    let status = state.status();
    if !matches!(state, State::Synced { .. } | State::Donor { .. }) {
        let suspicion = if status.level == Level::Blocked { None } else { turn::suspicion(paths) };
        let message = suspicion.map_or(status.message.clone(), |why| format!("{}; {why}", status.message));
        return Status { message, ..status };
    }
    if let Some(why) = turn::observe(paths).refused {
        let message = format!(
            "the server does not start with the new options, and runs with those before: {why}; change them with juju config"
        );
        return Status { level: Level::Blocked, message };
    }
    let proof = work::last_proof(paths).map(|ago| format!("backup verified {ago} ago"));
    let waits = running::waiting(paths).unwrap_or_default();
    let not_yet = turn::held(paths).map_or(String::new(), |why| format!(" (not yet: {why})"));
    let restart = (!waits.is_empty()).then(|| format!("waits for a restart: {}{not_yet}", waits.join(" ")));
    let edits = paths.owned().edits(SHOW_EDITS_FOR);
    let names: BTreeSet<&str> = edits.iter().map(|edit| edit.name.as_str()).collect();
    let edit = edits.first().map(|Edit { kept, .. }| {
        let (names, kept) = (names.into_iter().collect::<Vec<_>>().join(" "), kept.parent().unwrap_or(kept).display());
        format!("{names} was edited by hand and is put back, use juju config (the edit is in {kept})")
    });
    let beside = [bring::in_words(paths), work::now(paths), restart, proof, edit].into_iter().flatten();
    let message = beside.fold(status.message, |message, text| format!("{message}; {text}"));
    beside_trouble(Status { message, ..status }, trouble)
}

/// What keeps backups from being made is an operator's to mend, when nothing else is.
fn beside_trouble(status: Status, trouble: Option<&str>) -> Status {
    match trouble {
        Some(trouble) if status.level == Level::Active => {
            Status { level: Level::Blocked, message: format!("no backups can be made: {trouble}; {}", status.message) }
        }
        Some(_) | None => status,
    }
}

/// The decision on one line, for the log.
fn describe(decision: &Decision) -> String {
    let steps = decision.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("{}: {steps}", decision.state)
}
