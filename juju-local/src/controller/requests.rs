//! Commands, one connection each.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::rollback::provision;
use super::{Controller, faults, operations};
use crate::api::{Reply, Request};
use crate::charm_files::{Archive, Charm};
use crate::model::{Owner, Resolution, Secret, State, UnitName, view};
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

fn handle(controller: &Arc<Controller>, request: Request, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Value> {
    if controller.is_stopped() && !request.needs_no_agents() {
        anyhow::bail!(super::STOPPED);
    }
    match request {
        Request::Ping => Ok(json!({"pid": std::process::id()})),
        Request::Deploy { charm, name, num_units, config, storage, to, bind, base, force } => {
            check_deployable(controller, &charm, base.as_deref(), force, progress)?;
            deploy(controller, &charm, name, num_units, &config, &storage, to.as_deref(), &bind, progress)
        }
        Request::AddUnit { application, num_units, to } => {
            add_units(controller, &application, num_units, to.as_deref(), progress)
        }
        Request::Refresh { application, charm } => {
            let (read, file) = keep_charm(controller, &charm)?;
            commit(controller, |state| state.refresh(&application, read, &file)).map(|revision| json!(revision))
        }
        Request::RemoveUnit { units, force } => {
            let names = units.into_iter().map(name).collect::<anyhow::Result<Vec<_>>>()?;
            commit(controller, |state| {
                for unit in &names {
                    state.unit(unit)?;
                }
                names.iter().try_for_each(|unit| state.remove_unit(unit, force))
            })?;
            if force {
                names.iter().for_each(|unit| controller.kill_running(unit));
            }
            Ok(Value::Null)
        }
        Request::RemoveApplication { application, force } => {
            commit(controller, |state| state.remove_application(&application, force)).map(|()| Value::Null)
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
        Request::Run { units, action, params } => operations::run(controller, units, &action, params),
        Request::Task { id } => controller.read(|state| operations::task(state, id)),
        Request::Operation { id } => controller.read(|state| operations::operation(state, id)),
        Request::Operations => Ok(controller.read(operations::all)),
        Request::CancelTask { id } => {
            let running = controller.change(|state| {
                let task = state.tasks.get_mut(&id)?;
                let unit = (task.status == "running").then(|| task.unit.clone());
                if ["pending", "running"].contains(&task.status.as_str()) {
                    "cancelled".clone_into(&mut task.status);
                }
                Some(unit)
            });
            match running {
                None => anyhow::bail!("task {:?} not found", id.to_string()),
                Some(None) => Ok(Value::Null),
                Some(Some(unit)) => {
                    controller.kill_running(&unit);
                    Ok(Value::Null)
                }
            }
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
        Request::Status => {
            Ok(controller.read(|state| view::status(state, &crate::machine::host_base(), controller.now())))
        }
        Request::ShowUnit { unit } => {
            let unit = name(unit)?;
            controller.read(|state| state.unit(&unit).map(|_| view::unit(state, &unit))).map_err(Into::into)
        }
        Request::ShowApplication { application } => controller
            .read(|state| state.application(&application).map(|_| view::application(state, &application)))
            .map_err(Into::into),
        Request::Secrets => Ok(controller.read(view::secrets)),
        Request::ShowSecret { id, reveal } => controller.read(|state| {
            let id = find_secret(state, &id)?;
            Ok(json!({id.clone(): view::secret(state, &id, reveal)}))
        }),
        Request::AddSecret { name, content } => commit(controller, |state| {
            if state.secrets.values().any(|s| s.owner == Owner::Model && s.label == name) {
                return Err(crate::model::ModelError::new(format!("secret with name {name:?} already exists")));
            }
            let id = crate::model::random_hex(20);
            state.secrets.insert(
                id.clone(),
                Secret {
                    owner: Owner::Model,
                    label: name.clone(),
                    description: String::new(),
                    rotate: "never".to_owned(),
                    revisions: [(1, content.clone())].into(),
                    latest: 1,
                    consumers: BTreeMap::new(),
                    grants: BTreeMap::new(),
                },
            );
            Ok(json!(format!("secret:{id}")))
        }),
        Request::UpdateSecret { id, content } => {
            let mut world = controller.lock();
            let id = find_secret(&world.state, &id)?;
            if let Some(secret) = world.state.secrets.get_mut(&id) {
                secret.set_content(content);
            }
            controller.save(&world);
            controller.wake();
            Ok(Value::Null)
        }
        Request::GrantSecret { id, application, revoke } => {
            let mut world = controller.lock();
            let id = find_secret(&world.state, &id)?;
            world.state.application(&application)?;
            if let Some(secret) = world.state.secrets.get_mut(&id) {
                if revoke {
                    secret.grants.remove(&application);
                } else {
                    secret.grants.insert(application, u32::MAX);
                }
            }
            controller.save(&world);
            controller.wake();
            Ok(Value::Null)
        }
        Request::Storage => Ok(controller.read(view::storage)),
        Request::Exec { units, applications, command } => exec(controller, units, &applications, &command),
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
        Request::ModelConfig { set, reset } => {
            const KNOWN: [&str; 5] = [
                "agent-version",
                "update-status-hook-interval",
                "automatically-retry-hooks",
                "peer-application-echo",
                "first-address-host",
            ];
            if let Some(unknown) = set.keys().chain(&reset).find(|key| !KNOWN.contains(&key.as_str())) {
                anyhow::bail!("unknown model setting {unknown:?}; known: {}", KNOWN.join(", "));
            }
            if let Some(version) = set.get("agent-version") {
                let fine = ["2.9", "3.", "4."].iter().any(|prefix| version.starts_with(prefix));
                if !fine {
                    anyhow::bail!("agent-version {version:?} is not 2.9.x, 3.x or 4.x");
                }
            }
            if set.is_empty() && reset.is_empty() {
                return Ok(controller.read(|state| view::settings(state, &KNOWN)));
            }
            commit(controller, |state| {
                state.config.extend(set.clone());
                state.config.retain(|key, _| !reset.contains(key));
                Ok::<_, crate::model::ModelError>(view::settings(state, &KNOWN))
            })
        }
        Request::Integrate { a, b } => commit(controller, |state| state.integrate(&a, &b)).map(|id| json!(id)),
        Request::RemoveRelation { a, b } => {
            commit(controller, |state| state.remove_relation(&a, &b)).map(|()| Value::Null)
        }
        Request::Expose { application, exposed } => commit(controller, |state| {
            state.application(&application)?;
            state.applications.entry(application).and_modify(|app| app.exposed = exposed);
            Ok::<_, crate::model::ModelError>(Value::Null)
        }),
        Request::Machine { unit } => {
            let machine = match unit.parse() {
                Ok(id) if controller.read(|state| state.machines.contains_key(&id)) => id,
                Ok(id) => anyhow::bail!("machine {id} not found; see juju-local machines"),
                Err(_) => {
                    let unit = unit_or_leader(controller, unit)?;
                    controller.read(|state| state.unit(&unit).map(|u| u.machine))?
                }
            };
            Ok(json!({"machine": machine, "leader": controller.machines.leader(machine)}))
        }
        Request::Fault(fault) => faults::apply(controller, fault),
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
            let units: Vec<UnitName> = controller.running().keys().cloned().collect();
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

fn find_secret(state: &State, id: &str) -> anyhow::Result<String> {
    state
        .secret_id(id)
        .or_else(|| {
            state.secrets.iter().find(|(_, s)| s.owner == Owner::Model && s.label == id).map(|(id, _)| id.clone())
        })
        .with_context(|| format!("secret {id:?} not found"))
}

/// Changes the model and saves it; a refused change leaves everything as it was.
pub(super) fn commit<T, E: Into<anyhow::Error>>(
    controller: &Controller,
    change: impl FnOnce(&mut State) -> Result<T, E>,
) -> anyhow::Result<T> {
    let mut world = controller.lock();
    let mut next = world.state.clone();
    let result = change(&mut next).map_err(Into::into)?;
    // What is not on disk is not done: the next controller would not know of it.
    let before = std::mem::replace(&mut world.state, next);
    if let Err(why) = controller.try_save(&world) {
        world.state = before;
        return Err(why.context(format!("cannot save the model in {}", controller.dir.display())));
    }
    drop(world);
    controller.wake();
    Ok(result)
}

/// What Juju refuses to deploy unless it is forced to, and what a charm asks for that machines here do not get.
fn check_deployable(
    controller: &Controller,
    path: &str,
    base: Option<&str>,
    force: bool,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<()> {
    let mut archive = Archive::open(Path::new(path))?;
    let charm = Charm::read(&mut archive, &controller.read(|state| state.setting("agent-version")))?;
    let host = crate::machine::host_base();
    if let Some(base) = base {
        charm.check_base(base, force)?;
        if base != host {
            progress(&format!("machines run {host}, the release of this host, and not {base}"));
        }
    }
    if archive.cannot_dispatch() {
        progress(
            "dispatch cannot be run (its mode lacks x): every hook will fail; set the mode and pack the charm again",
        );
    }
    if crate::charm_files::check_profile(&mut archive, force)? {
        progress("lxd-profile.yaml is not applied: machines of juju-local are no LXD containers");
    }
    Ok(())
}

/// Reads a charm and keeps its archive in the model's directory.
fn keep_charm(controller: &Controller, path: &str) -> anyhow::Result<(Charm, String)> {
    let path = Path::new(path);
    let version = controller.read(|state| state.setting("agent-version"));
    let charm = Charm::read(&mut Archive::open(path)?, &version)?;
    let file = format!("{}-{}.charm", charm.name, crate::model::random_hex(8));
    let kept = controller.dir.join("charms").join(&file);
    if let Err(why) = std::fs::copy(path, &kept) {
        let _ = std::fs::remove_file(&kept);
        return Err(why).with_context(|| format!("cannot keep the charm's archive in {}", kept.display()));
    }
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
    to: Option<&str>,
    bind: &str,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Value> {
    crate::machine::check_room_for(num_units)?;
    let (read, file) = keep_charm(controller, charm)?;
    let name = name.unwrap_or_else(|| read.name.clone());
    let now = controller.now();
    let to = machine(to)?;
    let units = commit(controller, |state| {
        state.add_application(&name, read, &file, config, storage)?;
        state.bind(&name, bind)?;
        (0..num_units).map(|_| state.add_unit(&name, to, now)).collect::<Result<Vec<_>, _>>()
    })?;
    provision(controller, &units, progress)?;
    Ok(json!({"application": name, "units": units}))
}

fn machine(to: Option<&str>) -> anyhow::Result<Option<u32>> {
    to.map(|to| to.parse().with_context(|| format!("placement {to:?} is not a machine's number"))).transpose()
}

fn add_units(
    controller: &Arc<Controller>,
    app: &str,
    count: u32,
    to: Option<&str>,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Value> {
    crate::machine::check_room_for(count)?;
    let now = controller.now();
    let to = machine(to)?;
    if to.is_some()
        && controller.read(|s| s.application(app).is_ok_and(|a| a.charm.storage.values().any(|s| s.minimum_count > 0)))
    {
        anyhow::bail!("juju-local cannot attach storage to a machine that runs already; leave --to out");
    }
    let units =
        commit(controller, |state| (0..count).map(|_| state.add_unit(app, to, now)).collect::<Result<Vec<_>, _>>())?;
    provision(controller, &units, progress)?;
    Ok(json!({"units": units}))
}

fn exec(controller: &Arc<Controller>, units: Vec<String>, apps: &[String], command: &str) -> anyhow::Result<Value> {
    let mut names =
        units.into_iter().map(|unit| unit_or_leader(controller, unit)).collect::<anyhow::Result<Vec<_>>>()?;
    for app in apps {
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
    let begun = controller.now();
    let waiting: Vec<_> = names
        .into_iter()
        .map(|unit| {
            let (reply, result) = mpsc::channel();
            controller.enqueue_exec(&unit, ExecRequest { command: command.to_owned(), reply });
            (unit, result)
        })
        .collect();
    let mut results = Vec::new();
    for (unit, result) in waiting {
        let result = result.recv().map_err(|_| anyhow::anyhow!("unit {unit} went away before it ran the command"))?;
        let mut said = json!({"return-code": result.code});
        for (stream, text) in [("stdout", result.stdout), ("stderr", result.stderr)] {
            if !text.is_empty() {
                said[stream] = json!(text);
            }
        }
        results.push((unit, said));
    }
    commit(controller, |state| {
        Ok::<_, anyhow::Error>(operations::executed(state, command, results, begun, controller.now()))
    })
}
