//! The unit agent's socket: one thread a unit, one call at a time per context.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, mpsc};

use super::output::Said;
use super::{Answer, Call, tools};
use crate::controller::Controller;
use crate::model::UnitName;
use crate::uniter::agent::ExecRequest;

/// Listens until the unit is gone.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(controller: &Arc<Controller>, unit: &UnitName, path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
        Err(why) => return Err(why),
    }
    let listener = UnixListener::bind(path)?;
    let (controller, unit, path) = (Arc::clone(controller), unit.clone(), path.to_owned());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if !controller.unit_lives(&unit) {
                break;
            }
            let Ok(stream) = stream else {
                break;
            };
            let (controller, unit) = (Arc::clone(&controller), unit.clone());
            std::thread::spawn(move || serve(&controller, &unit, stream));
        }
        let _ = std::fs::remove_file(path);
    });
    Ok(())
}

fn serve(controller: &Arc<Controller>, unit: &UnitName, stream: UnixStream) {
    let mut line = String::new();
    let mut reader = BufReader::new(&stream);
    if reader.read_line(&mut line).is_err() || line.is_empty() {
        return;
    }
    let answer = match serde_json::from_str::<Call>(&line) {
        Err(why) => Answer { code: 1, stderr: format!("ERROR bad request: {why}\n"), ..Answer::default() },
        Ok(call) if call.context.is_empty() => exec(controller, unit, &call),
        Ok(call) => tool(controller, unit, &call),
    };
    if let Ok(mut text) = serde_json::to_string(&answer) {
        text.push('\n');
        let mut stream = &stream;
        let _ = stream.write_all(text.as_bytes());
    }
}

fn exec(controller: &Arc<Controller>, unit: &UnitName, call: &Call) -> Answer {
    let (reply, result) = mpsc::channel();
    let request = ExecRequest { command: call.args.first().cloned().unwrap_or_default(), reply };
    controller.enqueue_exec(unit, request);
    match result.recv() {
        Ok(result) => Answer { code: result.code, stdout: result.stdout, stderr: result.stderr, need_stdin: false },
        Err(_) => Answer { code: 1, stderr: "ERROR the unit agent has stopped\n".to_owned(), ..Answer::default() },
    }
}

fn tool(controller: &Arc<Controller>, unit: &UnitName, call: &Call) -> Answer {
    let delay = controller.contexts().get(&call.context).map(|context| context.delay_tools).unwrap_or_default();
    if !delay.is_zero() {
        std::thread::sleep(delay);
    }
    let mut contexts = controller.contexts();
    let Some(context) = contexts.get_mut(&call.context).filter(|context| context.unit == *unit) else {
        let expected = contexts.values().find(|c| c.unit == *unit).map(|c| c.id.clone()).unwrap_or_default();
        let stderr = format!("ERROR bad request: expected context id {expected:?}, got {:?}\n", call.context);
        return Answer { code: 1, stderr, ..Answer::default() };
    };
    context.tools_called += 1;
    if context.kill_after_tools.is_some_and(|k| context.tools_called > k) {
        drop(contexts);
        controller.kill_context(&call.context);
        controller.hook_has_failed(unit);
        return Answer { code: 1, stderr: "ERROR connection is shut down\n".to_owned(), ..Answer::default() };
    }
    let begun = std::time::Instant::now();
    let outcome = tools::call(controller, context, call);
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    controller.tell_tool(context, call, outcome.as_ref().map_or_else(|error| error.code, |_| 0), ms);
    crate::watchful::check_call(controller, context, call);
    match outcome {
        Ok(Said::Text(stdout)) => Answer { stdout, ..Answer::default() },
        Ok(Said::NeedStdin) => Answer { need_stdin: true, ..Answer::default() },
        Err(error) => {
            crate::watchful::note_refusal(context, &call.tool, &error.message);
            Answer { code: error.code, stderr: format!("ERROR {}\n", error.message), ..Answer::default() }
        }
    }
}
