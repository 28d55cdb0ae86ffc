//! Models: which there are, which one is worked on, and how one goes without leaving anything.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::Session;
use super::args::{Output, Removal, confirm, pairs};
use super::client::{ask, choose, connects, exists, models, print, say, start};
use super::show::{aligned, row, text};
use crate::api::Request;
use crate::controller::{is_stopped, model_dir};
use crate::machine::{Containers, Machines as _, STATE_ROOT, check_host, remove_tree};

/// Of the one controller that there is, as far as anybody outside can tell.
const CONTROLLER_UUID: &str = "6a756a75-6c6f-4361-8c00-000000000000";

#[derive(Debug, Subcommand)]
pub(super) enum Models {
    /// List models
    #[command(name = "models", alias = "list-models")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Add a model and switch to it
    AddModel {
        name: String,
        /// Stay with the model that is worked on now
        #[arg(long)]
        no_switch: bool,
        /// Settings of the model, as key=value
        #[arg(long)]
        config: Vec<String>,
        /// Nobody needs any here
        #[arg(long, hide = true)]
        credential: Option<String>,
    },
    /// Show a model
    ShowModel {
        name: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Show what machines of a model are asked to have: nothing, they have what this host has
    ModelConstraints {
        #[command(flatten)]
        output: Output,
    },
    /// Choose the model that commands work on
    Switch { name: Option<String> },
    /// Remove a model with everything in it
    DestroyModel {
        name: Option<String>,
        /// Storage goes with its model in any case
        #[arg(long)]
        destroy_storage: bool,
        /// Storage is nothing without its model: not supported
        #[arg(long, hide = true, conflicts_with = "destroy_storage")]
        release_storage: bool,
        /// It waits for nobody in any case
        #[arg(long, hide = true)]
        no_wait: bool,
        /// It waits for nobody in any case
        #[arg(long, short = 't', hide = true, value_parser = super::args::duration)]
        timeout: Option<std::time::Duration>,
        /// Without asking
        #[arg(long, alias = "yes", short_alias = 'y')]
        no_prompt: bool,
        /// Taken as it is without: the charms' last hooks do not run in any case
        #[arg(long)]
        force: bool,
    },
    /// Remove the cached base image and packages
    PurgeCache,
}

pub(super) fn run(session: &Session, command: Models) -> anyhow::Result<()> {
    match command {
        Models::List { output } => list(&session.model, &output),
        Models::AddModel { name, no_switch, config, credential: _ } => add(&name, no_switch, &config),
        Models::ShowModel { name, output } => show(name.as_deref().unwrap_or(&session.model), &output),
        Models::ModelConstraints { output } => {
            output.write(&json!({"arch": std::env::consts::ARCH}), || format!("arch={}", std::env::consts::ARCH))
        }
        Models::Switch { name } => switch(&session.model, name.as_deref()),
        Models::DestroyModel { release_storage: true, .. } => {
            anyhow::bail!("cannot destroy a model with --release-storage: its filesystems are nothing without it")
        }
        Models::DestroyModel { name, no_prompt, force, .. } => {
            destroy(name.as_deref().unwrap_or(&session.model), &Removal { force, no_prompt, no_wait: true })
        }
        Models::PurgeCache => purge_cache(),
    }
}

fn list(model: &str, output: &Output) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for name in models() {
        let report = report(&name);
        let status = if report.is_some() { "available" } else { "stopped" };
        let count = |key: &str| report.as_ref().and_then(|report| report[key].as_object()).map(Map::len);
        let apps = report.as_ref().and_then(|report| report["applications"].as_object());
        let units = apps.map(|apps| apps.values().filter_map(|app| app["units"].as_object()).map(Map::len).sum());
        let mut body = json!({"name": format!("admin/{name}"), "short-name": name, "model-type": "iaas",
            "controller-name": "juju-local", "cloud": "localhost", "type": "juju-local", "life": "alive",
            "status": {"current": status}});
        if let Some(report) = &report {
            body["model-uuid"] = report["model"]["uuid"].clone();
            body["agent-version"] = report["model"]["version"].clone();
        }
        for (key, value) in [("machine-count", count("machines")), ("unit-count", units)] {
            if let Some(value) = value {
                body[key] = json!(value);
            }
        }
        all.push(body);
    }
    let value = json!({"models": all, "current-model": model});
    output.write(&value, || {
        let mut rows = vec![row(["Model", "Cloud/Region", "Type", "Status", "Machines", "Units"])];
        for one in &all {
            let name = text(one, &["short-name"]);
            let known = |key: &str| if one[key].is_null() { "-".to_owned() } else { text(one, &[key]) };
            rows.push(vec![
                if name == model { format!("{name}*") } else { name },
                text(one, &["cloud"]),
                text(one, &["type"]),
                text(one, &["status", "current"]),
                known("machine-count"),
                known("unit-count"),
            ]);
        }
        format!("Controller: juju-local\n\n{}", aligned(&rows, &[4, 5]))
    })
}

/// A model's status. One without a controller has no agents either: asking must not start them.
fn report(name: &str) -> Option<Value> {
    if connects(name) && !is_stopped(name) { ask(name, &Request::Status).ok() } else { None }
}

/// `show-model`.
fn show(name: &str, output: &Output) -> anyhow::Result<()> {
    let short = name.rsplit(['/', ':']).next().unwrap_or(name);
    check_there(short, &Request::Status)?;
    let report = report(short).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let all = report["machines"].as_object().into_iter().flatten();
    let machines: Map<String, Value> = all
        .map(|(id, machine)| (id.clone(), json!({"cores": cores, "display-name": machine["display-name"]})))
        .collect();
    let status = if report.is_null() { "stopped" } else { "available" };
    output.value(&json!({short: {"name": format!("admin/{short}"), "short-name": short, "model-type": "iaas",
        "model-uuid": report["model"]["uuid"].as_str().unwrap_or_default(), "controller-uuid": CONTROLLER_UUID,
        "controller-name": "juju-local", "is-controller": false, "owner": "admin", "cloud": "localhost",
        "type": "juju-local", "life": "alive", "status": {"current": status}, "machines": machines,
        "users": {"admin": {"display-name": "admin", "access": "admin", "last-connection": "just now"}},
        "agent-version": report["model"]["version"].as_str().unwrap_or_default()}}))
}

/// `add-model`.
fn add(name: &str, no_switch: bool, config: &[String]) -> anyhow::Result<()> {
    let set = pairs(config)?;
    if exists(name) {
        anyhow::bail!("model {name:?} already exists; use juju-local switch {name}");
    }
    start(name)?;
    if !set.is_empty() {
        if let Err(why) = ask(name, &Request::ModelConfig { set, reset: Vec::new() }) {
            // A model that is not as it was asked for is none.
            let _ = ask(name, &Request::DestroyModel);
            return Err(why);
        }
    }
    if !no_switch {
        choose(name)?;
    }
    say(&format!("Added {name:?} model"));
    Ok(())
}

/// `switch`.
fn switch(model: &str, name: Option<&str>) -> anyhow::Result<()> {
    match name {
        None => print(model),
        Some(name) => {
            if !exists(name) {
                anyhow::bail!("model {name:?} not found; see juju-local models");
            }
            choose(name)?;
            say(&format!("{model} -> {name}"));
        }
    }
    Ok(())
}

/// `destroy-model`: through its controller where that runs; where it does not, without starting what is to go.
fn destroy(model: &str, removal: &Removal) -> anyhow::Result<()> {
    if !exists(model) {
        anyhow::bail!("model {model:?} not found; see juju-local models");
    }
    confirm(removal, &format!("destroy model {model:?} with all its machines and data"))?;
    if connects(model) {
        ask(model, &Request::DestroyModel)?;
    } else {
        check_host()?;
        let dir = model_dir(model);
        let lock = fs::File::create(dir.join("lock")).context("cannot open the model's lock")?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).with_context(|| {
            format!("cannot destroy model {model:?}: its controller runs and does not answer; end that process first")
        })?;
        Containers::open(model, &dir)?.destroy_all()?;
        remove_tree(&dir)?;
    }
    let root = Path::new(STATE_ROOT);
    if fs::read_to_string(root.join("current")).is_ok_and(|chosen| chosen.trim() == model) {
        let _ = fs::remove_file(root.join("current"));
    }
    // Only what is empty goes: other models stay.
    let _ = fs::remove_dir(root.join("models"));
    let _ = fs::remove_dir(root);
    say(&format!("Model {model:?} destroyed"));
    Ok(())
}

/// `purge-cache`.
fn purge_cache() -> anyhow::Result<()> {
    let left = models();
    if !left.is_empty() {
        anyhow::bail!("the machines of {} stand on the cache; destroy them first", left.join(", "));
    }
    crate::machine::purge_cache()
}

/// The default model needs no `add-model`; without any, most commands have nothing to say.
pub(super) fn check_there(model: &str, request: &Request) -> anyhow::Result<()> {
    let makes_one = matches!(request, Request::Deploy(_) | Request::ModelConfig { .. });
    crate::machine::check_root()?;
    if exists(model) || (makes_one && model == "default") {
        return Ok(());
    }
    if model == "default" {
        anyhow::bail!("there is no model yet; juju-local deploy makes one, and so does juju-local add-model NAME");
    }
    anyhow::bail!("model {model:?} not found; see juju-local models, or add it with juju-local add-model {model}")
}
