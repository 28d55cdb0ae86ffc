//! One unit's agent: a thread that asks the resolver, runs what it says on the machine, and commits.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::commit::{self, Seen};
use super::context::{Context, Kind};
use super::environment::environment;
use super::resolver::{Op, Wishes, next_op};
use crate::controller::Controller;
use crate::model::{HookInfo, StatusInfo, UnitName};

/// A command that somebody wants run in this unit's context.
pub struct ExecRequest {
    pub command: String,
    /// A charm's own call from inside the machine commits like a hook; an operator's does as well.
    pub reply: Sender<ExecResult>,
}

#[derive(Clone, Debug, Default)]
pub struct ExecResult {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs until the unit is gone or the controller stops.
pub fn run(controller: &Arc<Controller>, me: &UnitName) {
    loop {
        let op = {
            let mut world = controller.lock();
            loop {
                if world.stopping || !world.state.units.contains_key(me) {
                    return;
                }
                controller.leases(&mut world);
                commit::look(&mut world.state, me, controller.now());
                let exec_waiting = world.execs.get(me).is_some_and(|queue| !queue.is_empty());
                if let Some(op) = next_op(&world.state, me, Wishes { now: controller.now(), exec_waiting }) {
                    break op;
                }
                if let Some(unit) = world.state.units.get_mut(me) {
                    if unit.agent.status != "idle" && unit.local.installed && unit.local.pending.is_none() {
                        unit.agent = StatusInfo::new("idle", "", controller.now());
                    }
                }
                world = controller.wait(world, Duration::from_millis(500));
            }
        };
        perform(controller, me, op);
    }
}

fn perform(controller: &Arc<Controller>, me: &UnitName, op: Op) {
    match op {
        Op::Terminate => terminate(controller, me),
        Op::Upgrade => upgrade(controller, me),
        Op::Skip => {
            let mut world = controller.lock();
            let pending = world.state.units.get(me).and_then(|u| u.local.pending.clone());
            if let Some(pending) = pending {
                let seen = Seen::now(&world.state, me, &pending.hook);
                commit::finished(&mut world.state, me, &pending.hook, &seen, controller.now());
            }
            controller.save(&world);
        }
        Op::Hook(hook) => run_hook(controller, me, &hook),
        Op::Action(task) => run_action(controller, me, task),
        Op::Exec => run_exec(controller, me),
    }
    controller.wake();
}

fn terminate(controller: &Arc<Controller>, me: &UnitName) {
    let mut world = controller.lock();
    let was_cut = world.state.blocked_paths();
    world.state.unit_dead(me);
    world.execs.remove(me);
    let cut = world.state.blocked_paths();
    controller.save(&world);
    drop(world);
    controller.unit_gone(me);
    if cut != was_cut {
        if let Err(why) = controller.machines.block(&cut) {
            controller.log(&me.tag(), "ERROR", "juju.machine", &format!("{why:#}"));
        }
    }
    controller.remove_empty_machines();
}

/// Where the unit's charm lies, on the host.
fn charm_dir(controller: &Controller, machine: u32, me: &UnitName) -> PathBuf {
    controller.machines.root(machine).join(format!("var/lib/juju/agents/{}/charm", me.tag()))
}

fn upgrade(controller: &Arc<Controller>, me: &UnitName) {
    let (machine, revision, archive) = {
        let world = controller.lock();
        let (Some(unit), Some(app)) = (world.state.units.get(me), world.state.applications.get(&me.app)) else {
            return;
        };
        (unit.machine, app.revision, controller.dir.join("charms").join(&app.archive))
    };
    let result = crate::charm_files::expand(&archive, &charm_dir(controller, machine, me))
        .map_err(anyhow::Error::from)
        .and_then(|()| controller.install_tools(machine, me));
    let mut world = controller.lock();
    match result {
        Err(why) => {
            controller.log(&me.tag(), "ERROR", "juju.worker.uniter", &format!("cannot write the charm: {why:#}"));
            let _unused = controller.wait(world, Duration::from_secs(2));
        }
        Ok(()) => {
            commit::upgraded(&mut world.state, me, revision);
            controller.save(&world);
        }
    }
}

/// What became of a process.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
    killed: bool,
}

fn run_hook(controller: &Arc<Controller>, me: &UnitName, hook: &HookInfo) {
    let now = controller.now();
    let (context, machine, seen) = {
        let mut world = controller.lock();
        commit::begin(&mut world.state, me, hook, now);
        controller.save(&world);
        let Some(machine) = world.state.units.get(me).map(|u| u.machine) else {
            return;
        };
        let seen = Seen::now(&world.state, me, hook);
        let mut context = Context::new(me, Kind::Hook(hook.clone()), world.state.clone());
        if let Some(fault) = world.state.faults.hooks.get(me).filter(|fault| fault.fits(&hook.name)) {
            context.kill_after_tools = fault.kill_after_tools;
            context.delay_tools = Duration::from_millis(fault.delay_tools_ms.unwrap_or(0));
        }
        (context, machine, seen)
    };
    let Some(program) = program(controller, machine, me, &format!("hooks/{}", hook.name)) else {
        let mut world = controller.lock();
        commit::finished(&mut world.state, me, hook, &seen, controller.now());
        controller.save(&world);
        return;
    };
    let ended = execute(controller, me, machine, context, &[program], &hook.name);
    let (ended, context) = match ended {
        Ok(pair) => pair,
        Err(why) => {
            fail(controller, me, hook, &format!("cannot run hook {:?}: {why:#}", hook.name));
            return;
        }
    };
    if ended.code != 0 {
        let how = if ended.killed { "signal: killed".to_owned() } else { format!("exit status {}", ended.code) };
        fail(controller, me, hook, &format!("hook {:?} failed: {how}", hook.name));
        return;
    }
    let mut world = controller.lock();
    let inject = world.state.faults.hooks.get(me).is_some_and(|fault| fault.fail_commit && fault.fits(&hook.name));
    if inject {
        world.state.faults.hook_has_failed(me);
    }
    let flushed = if inject {
        Err("cannot apply changes: injected fault".to_owned())
    } else {
        commit::flush(&mut world.state, me, &context.buffered)
    };
    match flushed {
        Err(why) => {
            drop(world);
            fail(controller, me, hook, &format!("hook {:?} failed: {why}", hook.name));
        }
        Ok(()) => {
            commit::finished(&mut world.state, me, hook, &seen, controller.now());
            controller.save(&world);
            drop(world);
            controller.log(
                &me.tag(),
                "INFO",
                "juju.worker.uniter.operation",
                &format!("ran {:?} hook (via hook dispatching)", hook.name),
            );
            if context.reboot.is_some() {
                let _ = controller.machines.reboot(machine);
            }
        }
    }
}

fn fail(controller: &Arc<Controller>, me: &UnitName, hook: &HookInfo, why: &str) {
    controller.log(&me.tag(), "ERROR", "juju.worker.uniter.operation", why);
    let mut world = controller.lock();
    let powered =
        world.state.units.get(me).and_then(|u| world.state.machines.get(&u.machine)).is_some_and(|m| m.powered);
    if !powered || world.stopping {
        // The agent died with the hook: found half-done on its return and run again.
        controller.save(&world);
        return;
    }
    commit::failed(&mut world.state, me, hook, controller.now());
    controller.save(&world);
}

fn run_action(controller: &Arc<Controller>, me: &UnitName, id: u32) {
    let (context, machine, name) = {
        let mut world = controller.lock();
        let Some(task) = world.state.tasks.get_mut(&id) else {
            return;
        };
        "running".clone_into(&mut task.status);
        task.started = controller.now();
        let kind = Kind::Action { task: id, name: task.action.clone(), params: task.params.clone() };
        let name = task.action.clone();
        let Some(machine) = world.state.units.get(me).map(|u| u.machine) else {
            return;
        };
        if let Some(unit) = world.state.units.get_mut(me) {
            unit.agent = StatusInfo::new("executing", &format!("running action {name}"), controller.now());
        }
        (Context::new(me, kind, world.state.clone()), machine, name)
    };
    let done = |status: &str, message: String, results: Value| {
        let mut world = controller.lock();
        if let Some(task) = world.state.tasks.get_mut(&id) {
            if task.status != "cancelled" {
                status.clone_into(&mut task.status);
            }
            task.message = message;
            task.results = results;
            task.completed = controller.now();
        }
        controller.save(&world);
    };
    let Some(program) = program(controller, machine, me, &format!("actions/{name}")) else {
        done(
            "failed",
            format!("action not implemented on unit {:?}", me.to_string()),
            Value::Object(serde_json::Map::new()),
        );
        return;
    };
    match execute(controller, me, machine, context, &[program], &name) {
        Err(why) => done("failed", format!("{why:#}"), Value::Object(serde_json::Map::new())),
        Ok((ended, context)) => {
            let mut results = context.results.as_object().cloned().unwrap_or_default();
            results.insert("return-code".to_owned(), ended.code.into());
            for (key, text) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
                if !text.is_empty() {
                    results.insert(key.to_owned(), text.clone().into());
                }
            }
            if ended.code != 0 {
                let how =
                    if ended.killed { "signal: killed".to_owned() } else { format!("exit status {}", ended.code) };
                done("failed", context.failed.unwrap_or(how), Value::Object(results));
                return;
            }
            let flushed = commit::flush(&mut controller.lock().state, me, &context.buffered);
            match (flushed, context.failed) {
                (Err(why), failed) => {
                    results.insert("return-code".to_owned(), "1".into());
                    results.insert("stderr".to_owned(), format!("{}{why}\n", ended.stderr).into());
                    done(
                        "failed",
                        failed.unwrap_or_else(|| "committing requested changes failed".to_owned()),
                        Value::Object(results),
                    );
                }
                (Ok(()), Some(message)) => done("failed", message, Value::Object(results)),
                (Ok(()), None) => done("completed", String::new(), Value::Object(results)),
            }
        }
    }
}

fn run_exec(controller: &Arc<Controller>, me: &UnitName) {
    let (request, context, machine) = {
        let mut world = controller.lock();
        let Some(request) = world.execs.get_mut(me).and_then(|queue| queue.pop_front()) else {
            return;
        };
        let Some(machine) = world.state.units.get(me).map(|u| u.machine) else {
            return;
        };
        (request, Context::new(me, Kind::Commands, world.state.clone()), machine)
    };
    let argv = ["/bin/bash".to_owned(), "-c".to_owned(), request.command.clone()];
    let result = match execute(controller, me, machine, context, &argv, "juju-exec") {
        Err(why) => ExecResult { code: 1, stdout: String::new(), stderr: format!("{why:#}\n") },
        Ok((ended, context)) => {
            let mut result = ExecResult { code: ended.code, stdout: ended.stdout, stderr: ended.stderr };
            let mut world = controller.lock();
            if let Err(why) = commit::flush(&mut world.state, me, &context.buffered) {
                result.code = 1;
                result.stderr.push_str(&why);
            }
            controller.save(&world);
            result
        }
    };
    // The asker may have gone away; its command has run all the same.
    let _ = request.reply.send(result);
}

/// What is exec'd: `dispatch` when there is one, else the file of that name; `None` when there is neither.
fn program(controller: &Controller, machine: u32, me: &UnitName, path: &str) -> Option<String> {
    let dir = charm_dir(controller, machine, me);
    let there = |name: &str| dir.join(name).symlink_metadata().is_ok();
    let name = if there("dispatch") {
        "dispatch"
    } else if there(path) {
        path
    } else {
        return None;
    };
    Some(format!("/var/lib/juju/agents/{}/charm/{name}", me.tag()))
}

/// Runs one process in a context: tools answer while it runs, and stop answering when it ends.
fn execute(
    controller: &Arc<Controller>,
    me: &UnitName,
    machine: u32,
    context: Context,
    argv: &[String],
    name: &str,
) -> anyhow::Result<(Ended, Context)> {
    let lock = controller.machine_lock(machine);
    let _held = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let env = environment(&context);
    let cwd = env["JUJU_CHARM_DIR"].clone();
    let quiet = matches!(context.kind, Kind::Action { .. } | Kind::Commands);
    controller.contexts().insert(me.clone(), context);
    let spawned = controller.machines.spawn(machine, argv, &env, &cwd);
    let ended = spawned.map_err(anyhow::Error::from).map(|child| {
        controller.running().insert(me.clone(), child.id());
        let ended = collect(controller, me, child, name, quiet);
        controller.running().remove(me);
        ended
    });
    let context = controller.contexts().remove(me);
    let context = context.ok_or_else(|| anyhow::anyhow!("cannot finish {name}: its context is gone"))?;
    Ok((ended?, context))
}

/// Waits for a process and both its pipes, but for the pipes no longer than Juju does.
fn collect(controller: &Arc<Controller>, me: &UnitName, mut child: Child, name: &str, keep: bool) -> Ended {
    let module = format!("unit.{me}.{name}");
    let mut readers = Vec::new();
    let pipes: [(Option<Box<dyn Read + Send>>, &str); 2] = [
        (child.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>), "DEBUG"),
        (child.stderr.take().map(|p| Box::new(p) as Box<dyn Read + Send>), "WARNING"),
    ];
    let texts: [Arc<std::sync::Mutex<String>>; 2] = Default::default();
    for ((pipe, level), text) in pipes.into_iter().zip(&texts) {
        let (Some(pipe), text) = (pipe, Arc::clone(text)) else {
            continue;
        };
        let (controller, tag, module) = (Arc::clone(controller), me.tag(), module.clone());
        readers.push(std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                controller.log(&tag, level, &module, &line);
                if keep {
                    let mut text = text.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    text.push_str(&line);
                    text.push('\n');
                }
            }
        }));
    }
    let status = child.wait();
    let until = Instant::now() + Duration::from_millis(100);
    while Instant::now() < until && !readers.iter().all(std::thread::JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let text = |i: usize| texts[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let (code, killed) = match status {
        Ok(status) => match status.code() {
            // The launcher passes a killed child on as 128 + the signal's number.
            Some(code) => (code, code == 137 || code == 143),
            None => (137, true),
        },
        Err(_) => (1, false),
    };
    Ended { code, stdout: text(0), stderr: text(1), killed }
}

/// `5m`, `30s`, `1h` as seconds.
pub fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    match unit {
        "" | "s" => Some(number),
        "m" => Some(number * 60),
        "h" => Some(number * 3600),
        _ => None,
    }
}

/// The path of a unit's tools on the host.
pub fn tools_dir(root: &Path, me: &UnitName) -> PathBuf {
    root.join(format!("var/lib/juju/tools/{}", me.tag()))
}
