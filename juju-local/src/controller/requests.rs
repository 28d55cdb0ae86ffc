//! Commands, one connection each.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::{Controller, disks, faults, machines, resources, secrets};
use crate::api::{Reply, Request};
use crate::charm_files::{Archive, Charm};
use crate::model::{Resolution, State, UnitName, view};
use crate::uniter::agent::ExecRequest;

/// Answers one command.
pub(super) fn serve(controller: &Arc<Controller>, stream: UnixStream) {
    let mut line = String::new();
    let Ok(read_half) = stream.try_clone() else {
        return;
    };
    if BufReader::new(read_half).read_line(&mut line).is_err() || line.is_empty() {
        return;
    }
    let stream = Mutex::new(stream);
    let send = |reply: &Reply| {
        if let Ok(mut text) = serde_json::to_string(reply) {
            text.push('\n');
            // A command line that was interrupted does not interrupt what it began.
            let _ = stream.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes());
        }
    };
    let progress = |text: &str| send(&Reply::Progress(text.to_owned()));
    let result = serde_json::from_str::<Request>(&line)
        .context("cannot read the request: the command line and the controller are of different versions; run juju-local fault controller stop, then start")
        .and_then(|request| {
            let stop = matches!(request, Request::Stop { .. } | Request::DestroyModel);
            let result = handle(controller, request, &progress);
            if stop && result.is_ok() {
                send(&Reply::Done(Value::Null));
                std::process::exit(0);
            }
            result
        });
    match result {
        Ok(value) => send(&Reply::Done(value)),
        Err(why) => send(&Reply::Failed(format!("{why:#}"))),
    }
}

pub(crate) fn handle(
    controller: &Arc<Controller>,
    request: Request,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Value> {
    if controller.is_stopped() && !request.needs_no_agents() {
        anyhow::bail!(super::STOPPED);
    }
    controller.tell_command(&request);
    match request {
        Request::Ping => Ok(json!({"pid": std::process::id()})),
        Request::Deploy { charm, name, num_units, config, storage, to, bind, attach_storage, trust, resources } => {
            let placement = Placement { to: to.as_deref(), attach: &attach_storage };
            let done = deploy(
                controller, &charm, name, num_units, &config, &storage, &placement, &bind, &resources, progress,
            )?;
            if let Some(name) = done["application"].as_str().filter(|_| trust) {
                commit(controller, |state| state.set_trust(name, true))?;
            }
            Ok(done)
        }
        Request::AddUnit { application, num_units, to, attach_storage } => {
            let placement = Placement { to: to.as_deref(), attach: &attach_storage };
            add_units(controller, &application, num_units, &placement, progress)
        }
        Request::Disk(request) => disks::serve(controller, request),
        Request::AddMachine { count } => machines::add(controller, count, progress),
        Request::RemoveMachine { machines, force } => machines::remove(controller, &machines, force),
        Request::Trust { application, trust } => {
            commit(controller, |state| state.set_trust(&application, trust)).map(|()| Value::Null)
        }
        Request::Refresh { application, charm, resources, force_units } => {
            let (read, file) = keep_charm(controller, &charm)?;
            resources::check(&read, &resources)?;
            let revision = commit(controller, |state| state.refresh(&application, read, &file, force_units))?;
            resources::attach(controller, &application, &resources)?;
            Ok(json!(revision))
        }
        Request::RemoveUnit { units, force, destroy_storage } => {
            let names = units.into_iter().map(name).collect::<anyhow::Result<Vec<_>>>()?;
            commit(controller, |state| {
                for unit in &names {
                    state.unit(unit)?;
                }
                names.iter().try_for_each(|unit| state.remove_unit_with(unit, force, destroy_storage))
            })?;
            if force {
                names.iter().for_each(|unit| controller.kill_running(unit));
            }
            Ok(Value::Null)
        }
        Request::RemoveApplication { application, force, destroy_storage } => {
            let members = |state: &State| state.units_of(&application).map(|(name, _)| name.clone()).collect();
            let names: Vec<UnitName> = controller.read(members);
            commit(controller, |state| state.remove_application_with(&application, force, destroy_storage))?;
            if force {
                names.iter().for_each(|unit| controller.kill_running(unit));
            }
            Ok(Value::Null)
        }
        Request::GetConfig { application } => controller.read(|state| {
            let app = state.application(&application)?;
            let values = state.effective_config(&application);
            let settings: Map<String, Value> = app
                .charm
                .config
                .iter()
                .map(|(key, option)| {
                    let source = if app.config.contains_key(key) {
                        "user"
                    } else if option.default.is_some() {
                        "default"
                    } else {
                        "unset"
                    };
                    let mut body = json!({"type": option.kind, "source": source, "description": option.description});
                    for (field, value) in [("default", option.default.clone()), ("value", values.get(key).cloned())] {
                        if let Some(value) = value {
                            body[field] = value;
                        }
                    }
                    (key.clone(), body)
                })
                .collect();
            Ok(json!({"application": application, "charm": app.charm.name, "settings": settings}))
        }),
        Request::SetConfig { application, set, reset } => {
            commit(controller, |state| state.set_config(&application, &set, &reset)).map(|()| Value::Null)
        }
        Request::Run { units, action, params } => {
            let now = controller.now();
            let mut names = Vec::new();
            for unit in units {
                names.push(unit_or_leader(controller, unit)?);
            }
            let params = Value::Object(params.into_iter().collect());
            let ids = commit(controller, |state| {
                names.iter().map(|unit| state.enqueue(unit, &action, &params, now)).collect::<Result<Vec<_>, _>>()
            })?;
            for unit in &names {
                crate::uniter::action::start_beside(controller, &mut controller.lock(), unit);
            }
            Ok(json!(ids))
        }
        Request::Task { id } => controller.read(|state| match state.tasks.get(&id) {
            Some(_) => Ok(view::task(state, id)),
            None => anyhow::bail!("operation {:?} not found", id.to_string()),
        }),
        Request::Tasks => {
            Ok(controller.read(|state| Value::Array(state.tasks.keys().map(|id| view::task(state, *id)).collect())))
        }
        Request::CancelTask { id } => {
            if commit(controller, |state| state.cancel(id))? {
                controller.kill_task(id);
            }
            Ok(Value::Null)
        }
        Request::Actions { application } => controller.read(|state| {
            let app = state.application(&application)?;
            Ok(json!(
                app.charm
                    .actions
                    .iter()
                    .map(|(k, a)| (k.clone(), json!({"description": a.description, "schema": a.schema})))
                    .collect::<Map<_, _>>()
            ))
        }),
        Request::Status => Ok(controller.read(|state| {
            let mut status = view::status(state);
            // Not a part of Juju's own, and so not there without a reason.
            if !state.findings.is_empty() {
                status["findings"] = json!(state.findings);
            }
            status
        })),
        Request::ShowUnit { unit } => {
            let unit = name(unit)?;
            controller.read(|state| state.unit(&unit).map(|_| view::unit(state, &unit))).map_err(Into::into)
        }
        Request::ShowApplication { application } => controller
            .read(|state| state.application(&application).map(|_| view::application(state, &application)))
            .map_err(Into::into),
        Request::Secrets => Ok(controller.read(view::secrets)),
        Request::ShowSecret { id, reveal, revision, revisions } => {
            secrets::show(controller, &id, reveal, revision, revisions)
        }
        Request::AddSecret { name, content, info } => secrets::add(controller, &name, content, &info),
        Request::UpdateSecret { id, content, name, info, auto_prune } => {
            secrets::update(controller, &id, content, name, info, auto_prune)
        }
        Request::GrantSecret { id, application, revoke } => secrets::grant(controller, &id, &application, revoke),
        Request::RemoveSecret { id, revision } => secrets::remove(controller, &id, revision),
        Request::AttachResource { application, name, path } => {
            resources::attach(controller, &application, &[(name, path)].into())
        }
        Request::Storage => Ok(controller.read(view::storage)),
        Request::Exec { units, application, command } => exec(controller, units, application.as_deref(), &command),
        Request::Resolved { unit, no_retry } => {
            let unit = name(unit)?;
            commit(controller, |state| {
                let pending = state.units.get_mut(&unit).and_then(|u| u.local.pending.as_mut()).filter(|p| p.failed);
                let pending = pending.ok_or_else(|| {
                    crate::model::ModelError::new(format!("unit {:?} is not in an error state", unit.to_string()))
                })?;
                pending.resolved = Some(if no_retry { Resolution::Skip } else { Resolution::Retry });
                Ok::<_, crate::model::ModelError>(Value::Null)
            })
        }
        Request::ModelConfig { set } => {
            const KNOWN: [&str; 20] = [
                "agent-version",
                "update-status-hook-interval",
                "automatically-retry-hooks",
                "peer-application-echo",
                "first-address-host",
                "departed-defect",
                "http-proxy",
                "https-proxy",
                "ftp-proxy",
                "no-proxy",
                "juju-http-proxy",
                "juju-https-proxy",
                "juju-ftp-proxy",
                "juju-no-proxy",
                "strict",
                "strict-hook-limit",
                "strict-revealing-actions",
                "shuffle-seed",
                "shuffle-leadership",
                "trace",
            ];
            crate::watchful::check_settings(&set)?;
            if let Some(unknown) = set.keys().find(|key| !KNOWN.contains(&key.as_str())) {
                anyhow::bail!("unknown model setting {unknown:?}; known: {}", KNOWN.join(", "));
            }
            if let Some(version) = set.get("agent-version") {
                let fine = ["2.9", "3.", "4."].iter().any(|prefix| version.starts_with(prefix));
                if !fine {
                    anyhow::bail!("agent-version {version:?} is not 2.9.x, 3.x or 4.x");
                }
            }
            for key in ["automatically-retry-hooks", "peer-application-echo", "departed-defect"] {
                if let Some(value) = set.get(key).filter(|value| !["true", "false"].contains(&value.as_str())) {
                    anyhow::bail!("{key}: expected true or false, got {value:?}");
                }
            }
            if let Some(text) = set.get("update-status-hook-interval") {
                crate::uniter::agent::seconds(text).with_context(|| {
                    format!(
                        "invalid update status hook interval in model configuration: {text:?}; write for example 5m"
                    )
                })?;
            }
            let now = controller.now();
            commit(controller, |state| {
                state.set_model_config(&set, now);
                Ok::<_, crate::model::ModelError>(json!(
                    KNOWN.iter().map(|key| ((*key).to_owned(), json!(state.setting(key)))).collect::<Map<_, _>>()
                ))
            })
        }
        Request::Integrate { a, b } => commit(controller, |state| state.integrate(&a, &b)).map(|id| json!(id)),
        Request::RemoveRelation { a, b } => {
            commit(controller, |state| state.remove_relation(&a, &b)).map(|()| Value::Null)
        }
        Request::Machine { unit } => {
            let unit = unit_or_leader(controller, unit)?;
            let machine = controller.read(|state| state.unit(&unit).map(|u| u.machine))?;
            Ok(json!({"machine": machine, "leader": controller.machines.leader(machine)}))
        }
        Request::Fault(fault) => {
            controller.memory.outside();
            faults::apply(controller, fault)
        }
        Request::Findings { clear } => {
            let found = controller.read(|state| json!(state.findings));
            if clear {
                controller.change(|state| state.findings.clear());
                controller.save(&controller.lock());
            }
            Ok(found)
        }
        Request::DestroyModel => {
            controller.lock().stopping = true;
            controller.wake();
            progress("removing machines");
            controller.machines.destroy_all()?;
            crate::machine::remove_tree(&controller.dir)?;
            Ok(Value::Null)
        }
        Request::Stop { on_purpose } => {
            if on_purpose {
                std::fs::write(super::stop_note(&controller.dir), "")
                    .context("cannot note that the controller stops")?;
            }
            let units: Vec<UnitName> = controller.running().values().map(|running| running.unit.clone()).collect();
            controller.lock().stopping = true;
            units.iter().for_each(|unit| controller.kill_running(unit));
            controller.save(&controller.lock());
            Ok(Value::Null)
        }
    }
}

/// `mysql/0`, or `mysql/leader`.
pub(super) fn unit_or_leader(controller: &Controller, text: String) -> anyhow::Result<UnitName> {
    match text.strip_suffix("/leader") {
        Some(app) => controller
            .read(|state| state.application(app).map(|a| a.leader.clone()))?
            .with_context(|| format!("could not determine leader for {app:?}; wait a moment")),
        None => name(text),
    }
}

fn name(text: String) -> anyhow::Result<UnitName> {
    UnitName::try_from(text).map_err(|why| anyhow::anyhow!(why))
}

/// Changes the model and saves it; a refused change leaves everything as it was.
pub(super) fn commit<T, E: Into<anyhow::Error>>(
    controller: &Controller,
    change: impl FnOnce(&mut State) -> Result<T, E>,
) -> anyhow::Result<T> {
    let mut world = controller.lock();
    let mut next = world.state.clone();
    let result = change(&mut next).map_err(Into::into)?;
    world.state = next;
    controller.memory.outside();
    controller.save(&world);
    drop(world);
    controller.wake();
    Ok(result)
}

/// Reads a charm and keeps its archive in the model's directory.
fn keep_charm(controller: &Controller, path: &str) -> anyhow::Result<(Charm, String)> {
    let path = Path::new(path);
    let version = controller.read(|state| state.setting("agent-version"));
    let charm = Charm::read(&mut Archive::open(path)?, &version)?;
    let file = format!("{}-{}.charm", charm.name, crate::model::random_hex(8));
    std::fs::copy(path, controller.dir.join("charms").join(&file)).context("cannot keep the charm's archive")?;
    Ok((charm, file))
}

#[expect(clippy::too_many_arguments, reason = "they are the command's own options")]
fn deploy(
    controller: &Arc<Controller>,
    charm: &str,
    name: Option<String>,
    num_units: u32,
    config: &BTreeMap<String, String>,
    storage: &BTreeMap<String, String>,
    placement: &Placement<'_>,
    bind: &str,
    resources: &BTreeMap<String, String>,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Value> {
    let (read, file) = keep_charm(controller, charm)?;
    resources::check(&read, resources)?;
    let name = name.unwrap_or_else(|| read.name.clone());
    let now = controller.now();
    let to = machine(placement.to)?;
    let subordinate = read.subordinate;
    if subordinate && (num_units > 1 || to.is_some()) {
        anyhow::bail!("cannot use --num-units or --to with subordinate application");
    }
    placement.fits(num_units)?;
    let units = commit(controller, |state| {
        state.add_application(&name, read, &file, config, storage)?;
        state.bind(&name, bind)?;
        let count = if subordinate { 0 } else { num_units };
        (0..count).map(|_| state.add_unit_with(&name, to, placement.attach, now)).collect::<Result<Vec<_>, _>>()
    })?;
    resources::attach(controller, &name, resources)?;
    provision(controller, &units, progress)?;
    Ok(json!({"application": name, "units": units}))
}

fn machine(to: Option<&str>) -> anyhow::Result<Option<u32>> {
    to.map(|to| to.parse().with_context(|| format!("placement {to:?} is not a machine's number"))).transpose()
}

/// Where new units go, and what they find there.
struct Placement<'a> {
    to: Option<&'a str>,
    attach: &'a [String],
}

impl Placement<'_> {
    fn fits(&self, num_units: u32) -> anyhow::Result<()> {
        if !self.attach.is_empty() && num_units != 1 {
            anyhow::bail!(
                "AttachStorage is non-empty, but NumUnits is {num_units}; add one unit with --attach-storage"
            );
        }
        Ok(())
    }
}

fn add_units(
    controller: &Arc<Controller>,
    app: &str,
    count: u32,
    placement: &Placement<'_>,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Value> {
    let now = controller.now();
    let to = machine(placement.to)?;
    placement.fits(count)?;
    let units = commit(controller, |state| {
        (0..count).map(|_| state.add_unit_with(app, to, placement.attach, now)).collect::<Result<Vec<_>, _>>()
    })?;
    provision(controller, &units, progress)?;
    Ok(json!({"units": units}))
}

fn provision(controller: &Arc<Controller>, units: &[UnitName], progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<()> {
    let results: Vec<anyhow::Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            units.iter().map(|unit| scope.spawn(move || controller.provision(unit, progress))).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| Err(anyhow::anyhow!("cannot make a machine: internal error"))))
            .collect()
    });
    results.into_iter().collect()
}

fn exec(controller: &Arc<Controller>, units: Vec<String>, app: Option<&str>, command: &str) -> anyhow::Result<Value> {
    let mut names =
        units.into_iter().map(|unit| unit_or_leader(controller, unit)).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(app) = app {
        names.extend(controller.read(|state| {
            state.application(app).map(|_| state.units_of(app).map(|(n, _)| n.clone()).collect::<Vec<_>>())
        })?);
    }
    if names.is_empty() {
        anyhow::bail!("name units with --unit or an application with --application");
    }
    for unit in &names {
        controller.read(|state| state.unit(unit).map(|_| ()))?;
    }
    let waiting: Vec<_> = names
        .into_iter()
        .map(|unit| {
            let (reply, result) = mpsc::channel();
            controller.enqueue_exec(&unit, ExecRequest { command: command.to_owned(), reply });
            (unit, result)
        })
        .collect();
    let mut results = Map::new();
    for (unit, result) in waiting {
        let result = result.recv().map_err(|_| anyhow::anyhow!("unit {unit} went away before it ran the command"))?;
        results.insert(
            unit.to_string(),
            json!({"return-code": result.code, "stdout": result.stdout, "stderr": result.stderr}),
        );
    }
    Ok(Value::Object(results))
}
