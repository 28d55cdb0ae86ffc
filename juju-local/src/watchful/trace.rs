//! The story of a model, one JSON object a line: who asked for what, what each unit did and why, what came of it. No
//! secret is in it: a value is a mark that is the same wherever the value was.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::leaks::Values;
use super::patch::{self, Change};
use super::step::Step;
use crate::controller::{Controller, World};
use crate::model::{State, UnitName};
use crate::uniter::resolver::Op;

/// Where a model's trace lies.
pub fn path(model_dir: &Path) -> PathBuf {
    model_dir.join("trace.jsonl")
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub(super) enum Event {
    /// From here on everything is told.
    Model {
        state: Value,
    },
    /// What commands, tools and the passing of time have changed since the line before.
    Outside {
        changes: Vec<Change>,
    },
    Command {
        request: Value,
    },
    Operation {
        unit: UnitName,
        now: u64,
        exec_waiting: bool,
        operation: Op,
        reason: String,
    },
    /// What an agent has done to the model, and what that has changed.
    Step {
        step: Value,
        refused: Option<String>,
        changes: Vec<Change>,
    },
    /// A charm's process begins.
    Run {
        context: String,
        variables: Map<String, Value>,
    },
    Tool {
        context: String,
        tool: String,
        args: Vec<String>,
        exit: i32,
        ms: u64,
    },
    End {
        context: String,
        end: String,
        ms: u64,
    },
}

/// An open trace.
pub(super) struct Tracer {
    path: PathBuf,
    file: File,
    /// Those whose marks are everywhere in the file.
    concealed: Values,
    /// As a reader of the file knows the model.
    known: Value,
    salt: String,
}

impl Tracer {
    fn open(dir: &Path) -> std::io::Result<Self> {
        let path = path(dir);
        let file = appending(&path)?;
        let (known, salt) = (Value::Null, crate::model::random_hex(16));
        Ok(Self { path, file, concealed: Values::default(), known, salt })
    }

    /// What was no secret when it was told is marked from the beginning, once it is one.
    fn conceal(&mut self, values: &Values) {
        if *values == self.concealed {
            return;
        }
        self.concealed = values.clone();
        let Ok(told) = fs::read_to_string(&self.path) else {
            return;
        };
        let marked = values.mark_json(&told, &self.salt);
        if marked == told {
            return;
        }
        let new = self.path.with_extension("new");
        let replaced = fs::write(&new, marked).and_then(|()| fs::rename(&new, &self.path));
        if let Ok(file) = replaced.and_then(|()| appending(&self.path)) {
            self.file = file;
        }
    }

    fn write(&mut self, event: &Event) {
        let at = jiff::Timestamp::now().to_string();
        if let Ok(Value::Object(mut line)) = serde_json::to_value(event) {
            line.insert("at".to_owned(), at.into());
            // A full disk ends the story; it does not end the model.
            let _ = writeln!(self.file, "{}", Value::Object(line));
        }
    }

    fn mask(&self, value: Value, values: &Values) -> Value {
        masked(value, false, &|text: &str, whole: bool| values.mark(text, whole, &self.salt))
    }

    /// Brings the reader up to date.
    fn sync(&mut self, state: &State) -> Vec<Change> {
        let values = Values::of(state, None);
        self.conceal(&values);
        let now = self.mask(serde_json::to_value(state).unwrap_or_default(), &values);
        let changes = patch::diff(&self.known, &now);
        self.known = now;
        changes
    }

    fn outside(&mut self, state: &State) {
        let first = self.known.is_null();
        let changes = self.sync(state);
        if first {
            self.write(&Event::Model { state: self.known.clone() });
        } else if !changes.is_empty() {
            self.write(&Event::Outside { changes });
        }
    }
}

fn appending(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Marks in the place of secrets: everything in a secret's content, and known values anywhere else.
fn masked(value: Value, whole: bool, mark: &dyn Fn(&str, bool) -> String) -> Value {
    match value {
        Value::String(text) => mark(&text, whole).into(),
        Value::Array(items) => items.into_iter().map(|item| masked(item, whole, mark)).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, item)| {
                let content = whole || ["content", "revisions"].contains(&key.as_str());
                (key, masked(item, content, mark))
            })
            .collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

impl Controller {
    /// Does something with the open trace, where the model is traced.
    fn tracing(&self, state: &State, tell: impl FnOnce(&mut Tracer)) {
        let mut tracer = self.memory.tracer();
        if state.setting("trace") != "true" {
            *tracer = None;
            return;
        }
        if tracer.is_none() {
            match Tracer::open(&self.dir) {
                Ok(open) => *tracer = Some(open),
                Err(why) => {
                    self.log("controller", "ERROR", "juju-local.trace", &format!("cannot write the trace: {why}"));
                }
            }
        }
        if let Some(tracer) = tracer.as_mut() {
            tell(tracer);
        }
    }

    /// Makes a change to the model, and tells of it.
    ///
    /// # Errors
    /// When the change is refused; the model is then as it was.
    pub(crate) fn step(&self, world: &mut World, step: &Step) -> Result<(), String> {
        self.tracing(&world.state, |tracer| tracer.outside(&world.state));
        let result = step.apply(&mut world.state);
        self.tracing(&world.state, |tracer| {
            let step = serde_json::to_value(step).unwrap_or_default();
            let step = tracer.mask(step, &Values::of(&world.state, None));
            let changes = tracer.sync(&world.state);
            tracer.write(&Event::Step { step, refused: result.clone().err(), changes });
        });
        result
    }

    /// Tells what a unit is about to do.
    pub(crate) fn tell_operation(&self, state: &State, unit: &UnitName, now: u64, exec_waiting: bool, op: &Op) {
        self.tracing(state, |tracer| {
            tracer.outside(state);
            let (unit, operation, reason) = (unit.clone(), op.clone(), reason(state, unit, op));
            tracer.write(&Event::Operation { unit, now, exec_waiting, operation, reason });
        });
    }

    /// Tells what somebody has asked for.
    pub(crate) fn tell_command(&self, request: &crate::api::Request) {
        let request = serde_json::to_value(request).unwrap_or_default();
        let name = request["request"].as_str().unwrap_or_default();
        let asks = ["ping", "status", "task", "tasks", "secrets", "storage", "actions", "machine", "findings"];
        if asks.contains(&name) || name.starts_with("show-") || name.starts_with("get-") {
            return;
        }
        let world = self.lock();
        self.tracing(&world.state, |tracer| {
            let request = tracer.mask(request, &Values::of(&world.state, None));
            tracer.write(&Event::Command { request });
        });
    }

    /// Tells of a charm's process: the variables that say what it is there for.
    pub(crate) fn tell_run(&self, context: &str, env: &std::collections::BTreeMap<String, String>) {
        const TOLD: [&str; 12] = [
            "JUJU_UNIT_NAME",
            "JUJU_DISPATCH_PATH",
            "JUJU_RELATION_ID",
            "JUJU_REMOTE_APP",
            "JUJU_REMOTE_UNIT",
            "JUJU_DEPARTING_UNIT",
            "JUJU_STORAGE_ID",
            "JUJU_SECRET_ID",
            "JUJU_SECRET_LABEL",
            "JUJU_SECRET_REVISION",
            "JUJU_ACTION_UUID",
            "JUJU_VERSION",
        ];
        let told = TOLD.iter().filter_map(|name| Some(((*name).to_owned(), json!(env.get(*name)?))));
        let (context, variables) = (context.to_owned(), told.collect());
        let world = self.lock();
        self.tracing(&world.state, |tracer| tracer.write(&Event::Run { context, variables }));
    }

    pub(crate) fn tell_end(&self, context: &str, end: &str, ms: u64) {
        let world = self.lock();
        let (context, end) = (context.to_owned(), end.to_owned());
        self.tracing(&world.state, |tracer| tracer.write(&Event::End { context, end, ms }));
    }

    /// Tells of a hook tool's call.
    pub(crate) fn tell_tool(
        &self,
        context: &crate::uniter::context::Context,
        call: &crate::jujuc::Call,
        exit: i32,
        ms: u64,
    ) {
        let world = self.lock();
        self.tracing(&world.state, |tracer| {
            let values = Values::of(&world.state, Some(context));
            let args = call.args.iter().map(|arg| values.mark(arg, false, &tracer.salt)).collect();
            tracer.write(&Event::Tool { context: context.id.clone(), tool: call.tool.clone(), args, exit, ms });
        });
    }
}

/// Why a unit does this now, in a few words.
fn reason(state: &State, unit: &UnitName, op: &Op) -> String {
    let hook = match op {
        Op::Hook(hook) => hook,
        Op::Action(_) => return "somebody has asked for it".to_owned(),
        Op::Exec => return "a command waits".to_owned(),
        Op::Upgrade => return "the application has another charm than the unit".to_owned(),
        Op::Skip => return "the operator passes over the failed hook".to_owned(),
        Op::Terminate => return "the unit is dead".to_owned(),
    };
    let local = state.units.get(unit).map(|u| &u.local);
    if let Some(pending) = local.and_then(|local| local.pending.as_ref()) {
        return if pending.failed {
            format!("it failed {} times", pending.attempts)
        } else {
            "it was cut off".to_owned()
        };
    }
    let kind = hook.name.rsplit('-').next().unwrap_or_default();
    let relation = hook.relation.and_then(|id| Some((state.relations.get(&id)?, local?.relations.get(&id)?)));
    match (kind, relation, &hook.remote_unit) {
        ("changed", Some((there, known)), Some(remote)) => {
            let version = there.unit_bags.get(remote).map_or(0, |bag| bag.version);
            match known.members.get(remote) {
                Some(member) if member.owes_changed => "it follows joined".to_owned(),
                Some(member) => format!("the bag of {remote} has version {version} and was read at {}", member.version),
                None => format!("{remote} is a member"),
            }
        }
        ("changed", Some((there, known)), None) => {
            let app = hook.remote_app.clone().unwrap_or_default();
            let version = there.app_bags.get(&app).map_or(0, |bag| bag.version);
            format!("the bag of {app} has version {version} and was read at {}", known.app_version)
        }
        ("joined", _, Some(remote)) => format!("{remote} is in scope and not introduced"),
        ("departed", _, Some(remote)) => format!("{remote} was introduced and is not in scope"),
        _ => "the model has what the unit has not done".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Owner, Secret, SecretText};
    use expect_test::expect;

    #[test]
    fn what_becomes_a_secret_is_marked_from_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let mut tracer = Tracer::open(dir.path()).unwrap();
        let mut state = State::new("m");
        let (mut told, password) = (state.clone(), "a \"horse\"\nof 8");
        told.config.insert("http-proxy".to_owned(), password.to_owned());
        tracer.outside(&told);
        let read = || fs::read_to_string(path(dir.path())).unwrap();
        assert!(read().contains("horse"), "nobody knows yet");
        state.config.insert("http-proxy".to_owned(), password.to_owned());
        let content = [("password".to_owned(), password.to_owned())].into();
        let text = SecretText { content: Some(content), ..SecretText::default() };
        state.secrets.insert("x".to_owned(), Secret::new(Owner::Model, text, 0));
        tracer.outside(&state);
        assert!(!read().contains("horse"), "{}", read());
        tracer.write(&Event::End { context: String::new(), end: "later".to_owned(), ms: 0 });
        assert_eq!(read().lines().count(), 3);
        // The same mark before and after: whoever tells it again sees one value.
        let proxy = |line: &str| line.split("secret-").nth(1).map(|rest| rest[..16].to_owned());
        let lines: Vec<String> = read().lines().map(ToOwned::to_owned).collect();
        assert_eq!(proxy(&lines[0]), proxy(&lines[1]));
        assert!(proxy(&lines[0]).is_some());
    }

    #[test]
    fn secrets_are_marked() {
        let mark = |text: &str, whole: bool| if whole { "MARK".to_owned() } else { text.replace("horse", "MARK") };
        let told = json!({"flush": {"buffered": {"secrets": [{"Create": {"label": "pin", "content": {"pin": "1"}}}],
            "relations": {"1": {"unit": {"key": "a horse"}}}}}, "revisions": {"1": {"pin": "1"}}, "count": 1});
        expect![[r#"{"count":1,"flush":{"buffered":{"relations":{"1":{"unit":{"key":"a MARK"}}},"secrets":[{"Create":{"content":{"pin":"MARK"},"label":"pin"}}]}},"revisions":{"1":{"pin":"MARK"}}}"#]].assert_eq(&masked(told, false, &mark).to_string());
    }
}
