//! Observe, decide, act, publish: the whole program on one screen.

use anyhow::Context as _;

use crate::cluster::{Commit, Decision, Event, Level, Node, Observation, Status, Step, decide, judge};
use crate::invocation::{self, HookName};
use crate::juju::{self, log};
use crate::mariadb::{Paths, install};
use crate::model::observe::Model;
use crate::model::{credentials, observe, publish};
use crate::node::act::{Hands, Outcome, act};
use crate::node::{Wanted, agent_service, departure, shown};
use crate::translate;

/// A founding takes a few looks; a pass that still finds new things to do after so many goes on in the next hook.
const ROUNDS_MAX: usize = 6;

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
        HookName::UpgradeCharm if agent_service::is_installed() => agent_service::install()?,
        HookName::UpgradeCharm | HookName::Ordinary(_) => {}
    }
    // Juju forgets between two hooks that this unit is leaving; the machine does not.
    let event = if departure::has_begun(&paths) { Event::Leaving } else { Event::Ordinary };
    let me = invocation::unit_name()?;
    let model = observe::observe(&me, event)?;
    let pass = pass(&paths, &model);
    publish(&paths, &model, &pass)?;
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

/// What a pass came to: the last decision that was acted upon, what became of it, and how things stand now.
struct Pass {
    decision: Decision,
    outcome: Outcome,
    observation: Observation,
    now: Decision,
    settled: bool,
}

/// Looks, decides and acts until there is nothing new to do.
fn pass(paths: &Paths, model: &Model) -> Pass {
    let secrets = model.passwords.as_ref().map(translate::secrets);
    let mut settled = false;
    let mut acted: Option<(Decision, Outcome)> = None;
    for _ in 0..ROUNDS_MAX {
        let observation = look(paths, model);
        let decision = decide(&observation);
        let repeated = acted.as_ref().is_some_and(|(before, _)| before.steps == decision.steps);
        if decision.steps.is_empty() || repeated {
            break;
        }
        // What every pass does is no news.
        let news = decision.steps.iter().any(|step| *step != Step::Configure);
        if news {
            log::info(&describe(&decision))
        } else {
            log::debug(&describe(&decision))
        }
        let wanted = translate::wanted(model, &observation);
        let outcome = carry_out(paths, &decision.steps, wanted.as_ref(), secrets.as_ref());
        settled |= matches!(outcome, Outcome::Done)
            && decision.steps.iter().any(|s| matches!(s, Step::SettleCredentials { .. }));
        let go_on = matches!(outcome, Outcome::Done);
        acted = Some((decision, outcome));
        if !go_on {
            break;
        }
    }
    let observation = look(paths, model);
    let now = decide(&observation);
    let (decision, outcome) = acted.unwrap_or_else(|| (now.clone(), Outcome::Done));
    Pass { decision, outcome, observation, now, settled }
}

fn look(paths: &Paths, model: &Model) -> Observation {
    let node: Node = crate::node::observe::observe(paths, model.address);
    Observation { me: model.me.clone(), juju: model.juju.clone(), node }
}

fn carry_out(
    paths: &Paths,
    steps: &[Step],
    wanted: Option<&Wanted>,
    secrets: Option<&crate::node::Secrets>,
) -> Outcome {
    let mut progress = |text: &str| {
        let status = Status { level: Level::Maintenance, message: text.to_owned() };
        if let Err(why) = publish::unit_status(&status) {
            log::warning(&format!("cannot show progress: {why:#}"));
        }
    };
    let outcome = act(steps, &mut Hands { paths, wanted, secrets, progress: &mut progress });
    match &outcome {
        Outcome::Done => {}
        Outcome::Skipped(why) => log::info(&format!("not done: {why}")),
        Outcome::Failed(why) => log::error(&format!("{why:#}")),
    }
    outcome
}

/// Databags first, status last.
fn publish(paths: &Paths, model: &Model, pass: &Pass) -> anyhow::Result<()> {
    let report = pass.observation.node.report();
    publish::report(model, &report)?;
    let commits: Vec<Commit> = pass
        .now
        .commits
        .iter()
        .filter(|c| pass.settled || !matches!(c, Commit::CredentialsSettled { .. }))
        .cloned()
        .collect();
    publish::commit(model, &commits)?;
    let status = match &pass.outcome {
        Outcome::Failed(why) => Status { level: Level::Blocked, message: format!("{why:#}; tries again by itself") },
        Outcome::Skipped(_) | Outcome::Done => pass.now.state.status(),
    };
    publish::unit_status(&status)?;
    if model.juju.leader && pass.observation.juju.event == Event::Ordinary {
        publish::application_status(&judge(&pass.observation, &pass.now.state))?;
    }
    let stands = &pass.observation.node;
    let look_again_s = match &pass.outcome {
        Outcome::Done if commits.is_empty() => pass.now.look_again_s,
        // Something is due as soon as this hook's own writing is visible, or worth another try.
        Outcome::Done | Outcome::Skipped(_) | Outcome::Failed(_) => Some(5),
    };
    let note = shown::Shown {
        unit: model.me.to_string(),
        fingerprint: shown::fingerprint(&stands.server, stands.stalled),
        look_again_s,
        charm_dir: invocation::charm_dir(),
        exec: juju::Version::current().map_or("juju-exec", juju::Version::exec_program).to_owned(),
        expected: pass.observation.history().map(|uuid| uuid.to_string()),
    };
    shown::write(paths, &note).context("cannot leave a note for the agent")
}

/// The decision on one line, for the log.
fn describe(decision: &Decision) -> String {
    let steps = decision.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("{}: {steps}", decision.state)
}
