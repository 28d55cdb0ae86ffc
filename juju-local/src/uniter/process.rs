//! One process of a charm on its machine: which file is started, what it says, how it ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::context::{Context, Kind};
use super::environment::environment;
use crate::controller::{Controller, Running, left};
use crate::machine::open_below;
use crate::model::UnitName;
use crate::watchful::Watcher;

/// How long the pipes may take to run dry when the process is gone. A child that keeps them open is not waited for.
const DRAIN: Duration = Duration::from_millis(100);
/// Juju reads its charms' output into a buffer of this size; a longer line becomes several.
const LINE_MAX: u64 = 4096;
/// What is kept of an action's output. Juju keeps all of it, and so falls over later than this.
const KEPT_MAX: usize = 8 << 20;

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exited(i32),
    Signalled(i32),
    /// It never ran; the text is the kernel's reason, as Juju words it.
    NotStarted(String),
}

impl End {
    pub(super) fn succeeded(&self) -> bool {
        *self == Self::Exited(0)
    }

    /// An action's return-code: what ends by a signal has none of its own.
    pub(super) fn return_code(&self) -> i32 {
        match self {
            Self::Exited(code) => *code,
            Self::Signalled(_) | Self::NotStarted(_) => -1,
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signalled(number) => write!(f, "signal: {}", signal_name(*number)),
            Self::NotStarted(why) => f.write_str(why),
        }
    }
}

/// As Go's runtime calls them.
fn signal_name(number: i32) -> String {
    let names = [
        (1, "hangup"),
        (2, "interrupt"),
        (3, "quit"),
        (4, "illegal instruction"),
        (6, "aborted"),
        (7, "bus error"),
        (8, "floating point exception"),
        (9, "killed"),
        (11, "segmentation fault"),
        (13, "broken pipe"),
        (14, "alarm clock"),
        (15, "terminated"),
    ];
    let known = names.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

/// A process that is over, with what it said and what it has left in its context.
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) context: Context,
}

/// The file that is started for a hook or an action.
pub(super) struct Program {
    /// In the machine.
    pub(super) path: String,
    /// As Juju's log names the way to it.
    pub(super) handler: &'static str,
}

/// Where the unit's charm lies, on the host.
pub(super) fn charm_dir(controller: &Controller, machine: u32, me: &UnitName) -> PathBuf {
    controller.machines.root(machine).join(format!("var/lib/juju/agents/{}/charm", me.tag()))
}

/// `dispatch` when there is one, else the file of that name; `None` when there is neither.
pub(super) fn program(controller: &Controller, machine: u32, me: &UnitName, path: &str) -> Option<Program> {
    let inside = |name: &str| format!("/var/lib/juju/agents/{}/charm/{name}", me.tag());
    let there = |name: &str| open(controller, machine, &inside(name), OFlags::PATH).is_ok();
    if there("dispatch") {
        return Some(Program { path: inside("dispatch"), handler: "hook dispatching script: dispatch" });
    }
    there(path).then(|| Program { path: inside(path), handler: "explicit, bespoke hook script" })
}

/// A file of a machine, with links followed as its own processes would follow them.
fn open(controller: &Controller, machine: u32, path: &str, flags: OFlags) -> rustix::io::Result<File> {
    let root = controller.machines.view(machine).unwrap_or_else(|| controller.machines.root(machine));
    open_below(&root, Path::new(path), flags, Mode::empty())
}

/// Why the kernel would not start this file. The launcher in the machine's namespaces is no judge of that: it hands
/// what is no program to a shell, which Juju never does.
fn refusal(controller: &Controller, machine: u32, path: &str) -> Option<String> {
    let unusable = |why: &str| Some(format!("exec: {path:?}: {why}"));
    let file = match open(controller, machine, path, OFlags::RDONLY) {
        Ok(file) => file,
        Err(why) => return Some(format!("fork/exec {path}: {}", std::io::Error::from(why))),
    };
    let Ok(metadata) = file.metadata() else {
        return unusable("input/output error");
    };
    if metadata.is_dir() {
        return unusable("is a directory");
    }
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 == 0 {
        return unusable("permission denied");
    }
    let mut head = [0; 256];
    let length = file.read_at(&mut head, 0).unwrap_or(0);
    match executable(&head[..length]) {
        Executable::Binary => None,
        Executable::Script(interpreter) => open(controller, machine, &interpreter, OFlags::PATH)
            .is_err()
            .then(|| format!("fork/exec {path}: no such file or directory")),
        Executable::Neither => Some(format!("fork/exec {path}: exec format error")),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Executable {
    Binary,
    Script(String),
    Neither,
}

/// What the kernel sees in a file's first bytes.
fn executable(head: &[u8]) -> Executable {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        return match line.split_whitespace().next() {
            Some(interpreter) => Executable::Script(interpreter.to_owned()),
            None => Executable::Neither,
        };
    }
    // The machine type of a program for another processor differs from this program's.
    let own = File::open("/proc/self/exe").and_then(|file| {
        let mut machine = [0; 2];
        file.read_exact_at(&mut machine, 18).map(|()| machine)
    });
    let same = own.is_ok_and(|own| head.get(18..20) == Some(&own[..]));
    if head.starts_with(b"\x7fELF") && same { Executable::Binary } else { Executable::Neither }
}

/// Runs one process in a context: tools answer while it runs, and stop answering when it ends.
pub(super) fn execute(controller: &Arc<Controller>, machine: u32, context: Context, argv: &[String]) -> Ended {
    let env = environment(&context);
    let (me, id, kind) = (context.unit.clone(), context.id.clone(), context.kind.clone());
    let refused = match &kind {
        Kind::Hook(_) | Kind::Action { .. } => argv.first().and_then(|path| refusal(controller, machine, path)),
        Kind::Commands => None,
    };
    if let Some(why) = refused {
        return Ended { end: End::NotStarted(why), stdout: Vec::new(), stderr: Vec::new(), context };
    }
    controller.tell_run(&id, &env);
    let begun = Instant::now();
    controller.contexts().insert(id.clone(), context);
    let spawned = controller.machines.spawn(machine, argv, &env, &env["JUJU_CHARM_DIR"]);
    let (end, stdout, stderr) = match spawned {
        Err(why) => (End::NotStarted(why.to_string()), Vec::new(), Vec::new()),
        Ok(child) => {
            let task = match &kind {
                Kind::Action { task, .. } => Some(*task),
                Kind::Hook(_) | Kind::Commands => None,
            };
            controller.running().insert(id.clone(), Running { unit: me.clone(), task, pid: child.id() });
            let watcher = Watcher::start(controller, machine, &me, &id, &kind, &child);
            let pid = child.id();
            left::note(&controller.dir, pid);
            let result = collect(controller, &me, child, &kind);
            left::forget(&controller.dir, pid);
            if let Some(watcher) = watcher {
                watcher.end(&result.1, &result.2);
            }
            controller.running().remove(&id);
            result
        }
    };
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    controller.tell_end(&id, &end.to_string(), ms);
    let context = controller.contexts().remove(&id);
    // Nobody else removes a context; an empty one is what a process without tools has left.
    let context = context.unwrap_or_else(|| Context::new(&me, kind, controller.read(Clone::clone)));
    Ended { end, stdout, stderr, context }
}

/// Waits for a process and both its pipes, but for the pipes no longer than Juju does.
fn collect(controller: &Arc<Controller>, me: &UnitName, mut child: Child, kind: &Kind) -> (End, Vec<u8>, Vec<u8>) {
    let pipes: [(Option<Box<dyn Read + Send>>, &str); 2] = [
        (child.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>), "DEBUG"),
        (child.stderr.take().map(|p| Box::new(p) as Box<dyn Read + Send>), "WARNING"),
    ];
    let texts: [Arc<Mutex<Vec<u8>>>; 2] = Default::default();
    let mut readers = Vec::new();
    for ((pipe, level), text) in pipes.into_iter().zip(&texts) {
        let (Some(pipe), text, controller) = (pipe, Arc::clone(text), Arc::clone(controller)) else {
            continue;
        };
        // What an operator's command says is answered to him, and is in no log.
        let (tag, module) = (me.tag(), format!("unit.{me}.{}", kind.name()));
        let logged = !matches!(kind, Kind::Commands);
        readers.push(std::thread::spawn(move || {
            read_lines(pipe, |line| {
                if logged {
                    let line = line.strip_suffix(b"\n").unwrap_or(line);
                    controller.log(&tag, level, &module, &String::from_utf8_lossy(line));
                }
                let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
                let room = KEPT_MAX.saturating_sub(text.len()).min(line.len());
                text.extend_from_slice(&line[..room]);
            });
        }));
    }
    let status = child.wait();
    let until = Instant::now() + DRAIN;
    while Instant::now() < until && !readers.iter().all(std::thread::JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let end = status.map_or_else(|why| End::NotStarted(why.to_string()), ended);
    let [stdout, stderr] = texts.map(|text| std::mem::take(&mut *text.lock().unwrap_or_else(PoisonError::into_inner)));
    (end, stdout, stderr)
}

fn ended(status: ExitStatus) -> End {
    // The launcher dies of what its child has died of.
    match status.signal() {
        Some(number) => End::Signalled(number),
        None => End::Exited(status.code().unwrap_or(-1)),
    }
}

/// Hands on each line with its end, in pieces where it is long.
fn read_lines(pipe: impl Read, mut each: impl FnMut(&[u8])) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => each(&line),
        }
    }
}

/// The path of a unit's tools on the host.
pub fn tools_dir(root: &Path, me: &UnitName) -> PathBuf {
    root.join(format!("var/lib/juju/tools/{}", me.tag()))
}

/// An action's output as its results show it: text, or base64 where it is none.
pub(super) fn output(key: &str, bytes: &[u8]) -> BTreeMap<String, String> {
    use base64::Engine as _;
    match std::str::from_utf8(bytes) {
        Ok("") => BTreeMap::new(),
        Ok(text) => BTreeMap::from([(key.to_owned(), text.to_owned())]),
        Err(_) => BTreeMap::from([
            (key.to_owned(), base64::engine::general_purpose::STANDARD.encode(bytes)),
            (format!("{key}-encoding"), "base64".to_owned()),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn what_the_kernel_starts() {
        let check = |head: &[u8], expected: Expect| expected.assert_eq(&format!("{:?}", executable(head)));
        check(b"#!/bin/sh\nexit 0\n", expect![[r#"Script("/bin/sh")"#]]);
        check(b"#! /usr/bin/env python3", expect![[r#"Script("/usr/bin/env")"#]]);
        check(b"#!\n", expect!["Neither"]);
        check(b"echo hello\n", expect!["Neither"]);
        check(b"", expect!["Neither"]);
        check(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xff\xff", expect!["Neither"]);
        let mut own = [0; 64];
        File::open("/proc/self/exe").unwrap().read_exact_at(&mut own, 0).unwrap();
        check(&own, expect!["Binary"]);
    }

    #[test]
    fn ends() {
        let check = |end: End, expected: Expect| expected.assert_eq(&format!("{end}, {}", end.return_code()));
        check(End::Exited(3), expect!["exit status 3, 3"]);
        check(End::Exited(137), expect!["exit status 137, 137"]);
        check(End::Signalled(9), expect!["signal: killed, -1"]);
        check(End::Signalled(64), expect!["signal: signal 64, -1"]);
        check(End::NotStarted("exec: no".to_owned()), expect!["exec: no, -1"]);
    }

    #[test]
    fn outputs() {
        let check = |bytes: &[u8], expected: Expect| expected.assert_eq(&format!("{:?}", output("stdout", bytes)));
        check(b"", expect!["{}"]);
        check(b"hello\n", expect![[r#"{"stdout": "hello\n"}"#]]);
        check(b"\xff\xfe", expect![[r#"{"stdout": "//4=", "stdout-encoding": "base64"}"#]]);
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let text = format!("{}\nshort\nlast", "x".repeat(5000));
        let mut lengths = Vec::new();
        read_lines(text.as_bytes(), |line| lengths.push(line.len()));
        assert_eq!(lengths, [4096, 905, 6, 4]);
    }
}
