//! The strict watch over a run: what it leaves behind, how long it takes, and which secrets it lets slip.

use std::os::fd::AsRawFd;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::findings::Kind;
use super::leaks::{Values, reveals};
use super::loops::own_versions;
use super::processes::{Process, of_machine};
use crate::controller::Controller;
use crate::model::{HookInfo, State, UnitName};
use crate::uniter::context::{Context, Kind as Run};

/// How often arguments of processes are looked at while a charm runs.
const LOOK: Duration = Duration::from_millis(250);
/// How long a process may take to end after its hook.
const GRACE: Duration = Duration::from_millis(300);

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strict {
    pub(crate) idempotent: bool,
    pub(crate) secrets: bool,
    background: bool,
    slow: bool,
    loops: bool,
    pub(super) tools: bool,
}

impl Strict {
    pub(crate) fn of(state: &State) -> Self {
        // It was checked when it was set.
        Self::parse(&state.setting("strict")).unwrap_or_default()
    }

    /// `true`, `false`, or a list of what is looked for.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut strict = Self::default();
        for word in text.split(',').map(str::trim) {
            let all = word == "true";
            let known = ["idempotent", "secrets", "background", "slow", "loops", "tools", "true", "false"];
            if !known.contains(&word) {
                let list = known[..6].join(", ");
                return Err(format!("strict {word:?} is unknown; write true, false or a list of {list}"));
            }
            strict.idempotent |= all || word == "idempotent";
            strict.secrets |= all || word == "secrets";
            strict.background |= all || word == "background";
            strict.slow |= all || word == "slow";
            strict.loops |= all || word == "loops";
            strict.tools |= all || word == "tools";
        }
        Ok(strict)
    }
}

/// Watches one process of a charm from its start to its end.
pub(crate) struct Watcher {
    watch: Arc<Watch>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

struct Watch {
    controller: Arc<Controller>,
    strict: Strict,
    machine: u32,
    unit: UnitName,
    context: String,
    name: String,
    group: u32,
    pipes: Vec<String>,
    /// Juju has no limit for hooks; an action may take its time.
    limit: Option<(Duration, String)>,
}

impl Watcher {
    /// `None` when nothing is looked for.
    pub(crate) fn start(
        controller: &Arc<Controller>,
        machine: u32,
        unit: &UnitName,
        context: &str,
        kind: &Run,
        child: &Child,
    ) -> Option<Self> {
        let (strict, text) = controller.read(|state| (Strict::of(state), state.setting("strict-hook-limit")));
        if strict == Strict::default() || matches!(kind, Run::Commands) {
            return None;
        }
        let pipes = [child.stdout.as_ref().map(AsRawFd::as_raw_fd), child.stderr.as_ref().map(AsRawFd::as_raw_fd)];
        let link =
            |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?.into_os_string().into_string().ok();
        let limit = crate::uniter::agent::seconds(&text).map(|limit| (Duration::from_secs(limit), text));
        let watch = Arc::new(Watch {
            controller: Arc::clone(controller),
            limit: limit.filter(|_| strict.slow && kind.hook().is_some()),
            strict,
            machine,
            unit: unit.clone(),
            context: context.to_owned(),
            name: kind.name().to_owned(),
            group: child.id(),
            pipes: pipes.into_iter().flatten().filter_map(link).collect(),
        });
        let (stop, stopped) = mpsc::channel();
        let thread = {
            let (watch, begun) = (Arc::clone(&watch), Instant::now());
            let mut slow = watch.limit.clone();
            std::thread::spawn(move || {
                while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                    watch.arguments();
                    if let Some((_, text)) = slow.take_if(|(limit, _)| begun.elapsed() > *limit) {
                        watch.too_slow(&text);
                    }
                }
            })
        };
        Some(Self { watch, stop, thread })
    }

    /// The process is over, and this is what it has said.
    pub(crate) fn end(self, stdout: &[u8], stderr: &[u8]) {
        // The thread ends on this word; when it is gone already there is nothing to end.
        let _ = self.stop.send(());
        let _ = self.thread.join();
        self.watch.arguments();
        self.watch.left_behind();
        for (name, bytes) in [("stdout", stdout), ("stderr", stderr)] {
            self.watch.said(name, &String::from_utf8_lossy(bytes));
        }
    }
}

impl Watch {
    fn report(&self, kind: Kind, what: &str) {
        self.controller.report(kind, &self.unit, &self.name, what);
    }

    /// The model's secrets and those of this run.
    fn values(&self) -> Values {
        let contexts = self.controller.contexts();
        self.controller.read(|state| Values::of(state, contexts.get(&self.context)))
    }

    fn processes(&self) -> Vec<Process> {
        self.controller.machines.leader(self.machine).map(of_machine).unwrap_or_default()
    }

    fn arguments(&self) {
        if self.strict.secrets {
            check_processes(&self.controller, self.machine, &self.unit, &self.name, &self.values());
        }
    }

    fn too_slow(&self, limit: &str) {
        let waiting = self.controller.waiting_for(self.machine);
        let waiting: Vec<String> = waiting.iter().filter(|unit| **unit != self.unit).map(ToString::to_string).collect();
        let others = if waiting.is_empty() {
            String::new()
        } else {
            format!(", and {} cannot run meanwhile: it is on the same machine", waiting.join(" and "))
        };
        self.report(Kind::Slow, &format!("it runs for longer than {limit}{others}"));
    }

    fn left_behind(&self) {
        let left = || -> Vec<Process> {
            let all = self.processes().into_iter();
            all.filter(|process| process.belongs_to(self.group, &self.pipes, &self.context)).collect()
        };
        if !self.strict.background || left().is_empty() {
            return;
        }
        std::thread::sleep(GRACE);
        let values = self.values();
        for process in left() {
            let how = if process.holds(&self.pipes) { "and holds its output, which nobody reads any more" } else { "" };
            let line = values.mask(&process.arguments.join(" "));
            self.report(Kind::Background, format!("process {line:?} outlives it {how}").trim_end());
        }
    }

    fn said(&self, stream: &str, text: &str) {
        let contexts = self.controller.contexts();
        let asked = self.controller.read(|state| contexts.get(&self.context).is_some_and(|run| reveals(state, run)));
        drop(contexts);
        if self.strict.secrets && !asked {
            for name in self.values().within(text) {
                self.report(Kind::Secrets, &format!("{name} is in its {stream}, and so in the log"));
            }
        }
    }
}

/// Looks at what the machine's processes show everybody.
pub(super) fn check_processes(controller: &Controller, machine: u32, unit: &UnitName, during: &str, values: &Values) {
    if values.is_empty() {
        return;
    }
    let processes = controller.machines.leader(machine).map(of_machine).unwrap_or_default();
    for process in processes.iter().filter(|process| !process.is_tool()) {
        let program = process.arguments.first().map(String::as_str).unwrap_or_default();
        for name in values.within(&process.arguments.join("\n")) {
            let what = format!("{name} is in the arguments of a process, {:?}", values.mask(program));
            controller.report(Kind::Secrets, unit, during, &what);
        }
    }
}

/// Looks at what a run is about to publish: its databags, and an action's results.
pub(crate) fn check_texts(controller: &Controller, context: &Context) {
    let found = controller.read(|state| {
        let mut found = Vec::new();
        // Where Juju has no secrets, databags are all that a charm has.
        if !Strict::of(state).secrets || state.major() < 3 {
            return found;
        }
        let values = Values::of(state, Some(context));
        for (id, changes) in &context.buffered.relations {
            let endpoint = state.relations.get(id).and_then(|r| r.endpoint_of(&context.unit.app));
            let endpoint = endpoint.map(|e| e.name.clone()).unwrap_or_default();
            for (key, value) in changes.unit.iter().chain(&changes.app) {
                let names = values.within(value).into_iter();
                found.extend(names.map(|name| format!("{name} is in the databag of {endpoint}:{id}, under {key:?}")));
            }
        }
        if !reveals(state, context) && context.results.as_object().is_some_and(|map| !map.is_empty()) {
            let mut texts = String::new();
            all_texts(&context.results, &mut texts);
            found.extend(values.within(&texts).into_iter().map(|name| format!("{name} is in an action's result")));
        }
        found
    });
    for what in found {
        controller.report(Kind::Secrets, &context.unit, context.kind.name(), &what);
    }
}

fn all_texts(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            into.push_str(text);
            into.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| all_texts(item, into)),
        Value::Object(map) => map.values().for_each(|item| all_texts(item, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A run has ended well: which of its writes were refused and did not keep it from that?
pub(crate) fn check_refused(controller: &Controller, context: &Context) {
    let values = controller.read(|state| Strict::of(state).tools.then(|| Values::of(state, Some(context))));
    for what in values.iter().flat_map(|values| context.refused.iter().map(|text| values.mask(text))) {
        controller.report(Kind::Tools, &context.unit, context.kind.name(), &what);
    }
}

/// A hook begins: how many hooks there are behind it that only answered each other.
pub(crate) fn hook_begins(controller: &Controller, unit: &UnitName, hook: &HookInfo) -> u32 {
    let (depth, too_deep) = controller.memory.loops().begins(unit, hook);
    if too_deep && controller.read(|state| Strict::of(state).loops) {
        let own = hook.remote_unit.is_none() && hook.remote_app.as_deref() == Some(&unit.app);
        let with = if own {
            "the echo of what it wrote itself to its application's databag".to_owned()
        } else {
            let remote = hook.remote_unit.as_ref().map(ToString::to_string).or_else(|| hook.remote_app.clone());
            format!("an answer of {} to what it wrote itself", remote.unwrap_or_default())
        };
        let relation = hook.relation.unwrap_or_default();
        let what =
            format!("it runs again and again for relation {relation}, each time for {with}; nothing came from outside");
        controller.report(Kind::Loops, unit, &hook.name, &what);
    }
    depth
}

/// What [`Changes::made`] compares with.
pub(crate) struct Changes(std::collections::BTreeMap<(u32, String), u64>);

/// To be asked before a hook's changes are made true.
pub(crate) fn changes_before(state: &State, unit: &UnitName) -> Changes {
    Changes(own_versions(state, unit))
}

impl Changes {
    /// A hook of this depth has made its changes true.
    pub(crate) fn made(self, controller: &Controller, state: &State, unit: &UnitName, depth: u32) {
        let mut loops = controller.memory.loops();
        for ((relation, bag), version) in own_versions(state, unit) {
            if self.0.get(&(relation, bag.clone())).copied().unwrap_or(0) != version {
                loops.wrote(relation, &bag, depth);
            }
        }
    }
}
