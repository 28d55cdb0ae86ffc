//! Commands that an operator or a charm's own service wants run in a unit's context.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::context::{Context, Kind};
use super::process::{End, execute};
use crate::controller::Controller;
use crate::model::UnitName;
use crate::watchful::Step;
use crate::watchful::shuffle::Dice;

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

/// Runs the first of those that wait.
pub(super) fn run(controller: &Arc<Controller>, me: &UnitName, machine: u32, dice: Dice) {
    let (request, mut context) = {
        let mut world = controller.lock();
        let Some(request) = world.execs.get_mut(me).and_then(|queue| queue.pop_front()) else {
            return;
        };
        (request, Context::new(me, Kind::Commands, world.state.clone()))
    };
    controller.memory.remember(&mut context.snapshot, me, None, dice);
    let argv = ["/bin/bash".to_owned(), "-c".to_owned(), request.command.clone()];
    let ended = execute(controller, machine, context, &argv);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut result =
        ExecResult { code: ended.end.return_code(), stdout: text(&ended.stdout), stderr: text(&ended.stderr) };
    if let End::NotStarted(why) = &ended.end {
        result.stderr.push_str(&format!("{why}\n"));
    }
    // Whatever the command's end: Juju's own tests say that its writes are kept.
    let mut world = controller.lock();
    let flush = Step::Flush { unit: me.clone(), buffered: ended.context.buffered };
    if let Err(why) = controller.step(&mut world, &flush) {
        result.code = 1;
        result.stderr.push_str(&format!("{why}\n"));
    }
    controller.save(&world);
    drop(world);
    if ended.context.reboot.is_some() {
        controller.reboot(machine);
    }
    // The asker may have gone away; its command has run all the same.
    let _ = request.reply.send(result);
}
