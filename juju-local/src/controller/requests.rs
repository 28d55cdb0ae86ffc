//! Commands, one connection each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::deploy::{self, Placement};
use super::{Controller, disks, faults, kept, machines, operations, resources, secrets, settings};
use crate::api::{Reply, Request};
use crate::model::{ModelError, Resolution, State, UnitName, view};
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
        Request::Deploy(wanted) => deploy::deploy(controller, &wanted, progress),
        Request::AddUnit { application, num_units, to, attach_storage } => {
            let placement = Placement { to: to.as_deref(), attach: &attach_storage };
            deploy::add_units(controller, &application, num_units, &placement, progress)
        }
        Request::Disk(request) => disks::serve(controller, request),
        Request::AddMachine { count } => machines::add(controller, count, progress),
        Request::RemoveMachine { machines, force } => machines::remove(controller, &machines, force),
        Request::Trust { application, trust } => {
            commit(controller, |state| state.set_trust(&application, trust)).map(|()| Value::Null)
        }
        Request::Refresh { application, charm, resources, force_units } => {
            deploy::refresh(controller, &application, &charm, &resources, force_units)
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
            // One without units is gone already.
            kept::sweep(controller);
            Ok(Value::Null)
        }
        Request::GetConfig { application } => {
            controller.read(|state| settings::application(state, &application)).map_err(Into::into)
        }
        Request::SetConfig { application, set, reset } => {
            commit(controller, |state| state.set_config(&application, &set, &reset)).map(|()| Value::Null)
        }
        Request::Run { units, action, params } => operations::run(controller, units, &action, params),
        Request::Task { id } => controller.read(|state| operations::task(state, id)),
        Request::Operation { id } => controller.read(|state| operations::operation(state, id)),
        Request::Operations => Ok(controller.read(operations::all)),
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
            let mut status = view::status(state, &crate::machine::host_base(), controller.now());
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
            let _kept = kept::Keeping::new(controller);
            resources::attach(controller, &application, &[(name, path)].into())
        }
        Request::Storage => Ok(controller.read(view::storage)),
        Request::TaskNumber => commit(controller, |state| {
            state.next_task += 1;
            Ok::<_, ModelError>(json!(state.next_task))
        }),
        Request::Exec { units, applications, command } => exec(controller, units, &applications, &command),
        Request::Resolved { unit, no_retry } => {
            let unit = name(unit)?;
            commit(controller, |state| {
                let there = state.units.get_mut(&unit);
                let there = there.ok_or_else(|| ModelError::new(format!("unit {:?} not found", unit.to_string())))?;
                let pending = there.local.pending.as_mut().filter(|p| p.failed);
                let pending = pending
                    .ok_or_else(|| ModelError::new(format!("unit {:?} is not in an error state", unit.to_string())))?;
                pending.resolved = Some(if no_retry { Resolution::Skip } else { Resolution::Retry });
                Ok::<_, ModelError>(Value::Null)
            })
        }
        Request::ModelConfig { set, reset } => settings::model(controller, &set, &reset),
        Request::Integrate { a, b } => commit(controller, |state| state.integrate(&a, &b)).map(|id| json!(id)),
        Request::RemoveRelation { a, b } => {
            commit(controller, |state| state.remove_relation(&a, &b)).map(|()| Value::Null)
        }
        Request::Expose { application, exposed } => commit(controller, |state| {
            state.application(&application)?;
            state.applications.entry(application).and_modify(|app| app.exposed = exposed);
            Ok::<_, ModelError>(Value::Null)
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
    // What is not on disk is not done: the next controller would not know of it.
    let before = std::mem::replace(&mut world.state, next);
    if let Err(why) = controller.try_save(&world) {
        world.state = before;
        return Err(why.context(format!("cannot save the model in {}", controller.dir.display())));
    }
    controller.memory.outside();
    drop(world);
    controller.wake();
    Ok(result)
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
