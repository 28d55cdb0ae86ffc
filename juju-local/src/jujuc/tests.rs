//! Stories about tools, without machines: files of commands with what they print underneath. A line with `>` is a tool's
//! call in a unit's context; the others change the model or open and close a context. `UPDATE_EXPECT=1` rewrites them.

mod no_machines;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Call;
use super::output::Said;
use crate::charm_files::{Charm, ConfigOption, ResourceSpec, StorageSpec};
use crate::controller::Controller;
use crate::model::{HookInfo, State, UnitName};
use crate::uniter::commit::{self, Seen};
use crate::uniter::context::{Context, Kind};
use crate::uniter::resolver::{Op, Wishes, next_op};

#[test]
fn stories() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/jujuc/tests");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    files.sort();
    assert!(files.len() > 5);
    for file in files {
        let told = Story::new().tell(&fs::read_to_string(&file).unwrap());
        expect_test::expect_file![&file].assert_eq(&told);
    }
}

struct Story {
    _dir: tempfile::TempDir,
    controller: Arc<Controller>,
    /// What runs, with what it could have seen.
    running: BTreeMap<UnitName, (Context, Seen)>,
    /// `$name`, and what stands for it.
    names: BTreeMap<String, String>,
}

impl Story {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machines = no_machines::NoMachines::new(dir.path());
        let controller = Controller::open("test", dir.path(), Arc::new(machines)).unwrap();
        controller.change(|state| state.uuid = "00000000-0000-4000-8000-000000000000".to_owned());
        Self { _dir: dir, controller, running: BTreeMap::new(), names: BTreeMap::new() }
    }

    /// The text again, with what each command prints under it.
    fn tell(&mut self, text: &str) -> String {
        let mut told = String::new();
        let commands = text.lines().filter(|line| line.is_empty() || line.starts_with(['#', ':']));
        for line in commands {
            told.push_str(line);
            told.push('\n');
            if let Some(command) = line.strip_prefix(':') {
                let said = self.command(command.trim());
                for line in self.with_names(&said).lines() {
                    let _ = writeln!(told, "  {line}");
                }
            }
        }
        told
    }

    /// What differs from run to run has a name instead: ids, and times of today.
    fn with_names(&self, text: &str) -> String {
        let time = regex_lite::Regex::new(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ").unwrap();
        let text = time.replace_all(text, "TIME").into_owned();
        self.names.iter().fold(text, |text, (name, value)| text.replace(value, &format!("${name}")))
    }

    fn command(&mut self, line: &str) -> String {
        if let Some((unit, call)) = line.split_once("> ").filter(|(unit, _)| unit.contains('/') && !unit.contains(' '))
        {
            return self.tool(&name(unit), call);
        }
        // `$name = unit> tool`
        if let Some((variable, rest)) = line.split_once(" = ").filter(|(variable, _)| variable.starts_with('$')) {
            let said = self.command(rest);
            let value = said.trim().rsplit(':').next().unwrap_or_default().to_owned();
            self.names.insert(variable.trim_start_matches('$').to_owned(), value);
            return String::new();
        }
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.change(&words).unwrap_or_else(|why| format!("{why}\n"))
    }

    fn change(&mut self, words: &[&str]) -> Result<String, String> {
        let controller = Arc::clone(&self.controller);
        let change = |change: &dyn Fn(&mut State) -> Result<(), crate::model::ModelError>| {
            controller.change(|state| change(state)).map_err(|why| why.to_string())
        };
        match words {
            ["deploy", app, rest @ ..] => {
                let units: u32 = rest.first().and_then(|n| n.parse().ok()).unwrap_or(1);
                change(&|state| {
                    state.add_application(app, charm(), "", &BTreeMap::new(), &BTreeMap::new())?;
                    (0..units).try_for_each(|_| state.add_unit(app, None, 0).map(|_| ()))
                })?;
                self.settle();
            }
            ["deploy-beside", app, machine] => {
                let charm = Charm { storage: BTreeMap::new(), ..charm() };
                change(&|state| {
                    state.add_application(app, charm.clone(), "", &BTreeMap::new(), &BTreeMap::new())?;
                    state.add_unit(app, machine.parse().ok(), 0).map(|_| ())
                })?;
                self.settle();
            }
            // No hook has run on it yet.
            ["arrive", app] => {
                change(&|state| state.add_unit(app, None, 0).map(|_| ()))?;
                self.power();
            }
            ["relate", a, b] => {
                change(&|state| state.integrate(a, b).map(|_| ()))?;
                self.settle();
            }
            ["unrelate", a, b] => {
                change(&|state| state.remove_relation(a, b))?;
                self.settle();
            }
            ["drop-relation", id] => {
                let id: u32 = id.parse().unwrap();
                controller.change(|state| state.relations.remove(&id));
            }
            ["remove-unit", unit] => change(&|state| state.remove_unit(&name(unit), false))?,
            ["version", version] => {
                controller.change(|state| state.config.insert("agent-version".to_owned(), (*version).to_owned()));
            }
            ["lead", unit] => change(&|state| state.lead(&name(unit).app, &name(unit), 0))?,
            ["config", app, key, value] => {
                change(&|state| state.set_config(app, &[((*key).to_owned(), (*value).into())].into(), &[]))?;
            }
            ["advance", by] => controller.advance_clock(crate::cli::clock_seconds(by)?).unwrap(),
            ["settle"] => return Ok(self.settle()),
            // The context of the unit's next hook, of a command, of an action.
            ["next", unit] => return Ok(self.next(&name(unit))),
            ["begin", unit] => self.begin(&name(unit), Kind::Commands),
            ["action", unit, params] => {
                let params: Value = serde_json::from_str(params).unwrap();
                self.begin(&name(unit), Kind::Action { task: 1, name: "act".to_owned(), params });
            }
            ["end", unit] => return Ok(self.end(&name(unit))),
            ["fail", unit] => drop(self.running.remove(&name(unit))),
            ["write", unit, path, text] => {
                let path = self.path(&name(unit), path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text.replace("\\n", "\n")).unwrap();
            }
            ["link", unit, path, target] => {
                std::os::unix::fs::symlink(target, self.path(&name(unit), path)).unwrap();
            }
            ["cat", unit, path] => return Ok(fs::read_to_string(self.path(&name(unit), path)).unwrap()),
            ["log"] => return Ok(self.log()),
            // Any other command, as the command line would send it.
            ["ask", request] => return self.ask(request),
            ["resource", app, resource, text] => {
                let file = self.controller.dir.join("given");
                fs::write(&file, text).unwrap();
                let request = json!({"request": "attach-resource", "application": app, "name": resource, "path": file});
                return self.ask(&request.to_string());
            }
            other => panic!("no such command: {other:?}"),
        }
        Ok(String::new())
    }

    fn ask(&self, request: &str) -> Result<String, String> {
        let request = serde_json::from_str(&self.filled(request)).map_err(|why| why.to_string())?;
        crate::controller::requests::handle(&self.controller, request, &|_| ())
            .map(|value| match value {
                Value::Null => String::new(),
                Value::String(text) => format!("{text}\n"),
                other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                    super::go_yaml::document(&other)
                }
            })
            .map_err(|why| format!("{why:#}"))
    }

    fn path(&self, unit: &UnitName, path: &str) -> std::path::PathBuf {
        let machine = self.controller.read(|state| state.units[unit].machine);
        self.controller.machines.root(machine).join(path.trim_start_matches('/'))
    }

    /// What was logged, without the times; each line is told once.
    fn log(&self) -> String {
        let path = self.controller.dir.join("debug.log");
        let text = fs::read_to_string(&path).unwrap();
        fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
        let line = |line: &str| {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            format!("{} {}\n", words[0], words[2])
        };
        text.lines().map(line).collect()
    }

    /// Machines come up, and hooks run that do nothing, until all is quiet. Prints those about secrets and upgrades.
    fn settle(&mut self) -> String {
        self.power();
        let units: Vec<UnitName> = self.controller.read(|state| state.units.keys().cloned().collect());
        let mut ran = String::new();
        for _ in 0..200 {
            let mut quiet = true;
            for unit in &units {
                let said = self.next(unit);
                quiet = quiet && said == "nothing\n";
                if said.contains("secret-") || said.contains("upgrade-charm") {
                    let _ = write!(ran, "{unit}: {said}");
                }
                if self.running.contains_key(unit) {
                    let _ = write!(ran, "{}", self.end(unit));
                }
            }
            if quiet {
                return ran;
            }
        }
        panic!("no end of hooks:\n{ran}");
    }

    fn power(&self) {
        self.controller.change(|state| {
            for (id, machine) in &mut state.machines {
                machine.created = true;
                machine.address = format!("10.89.7.{}", id + 10);
            }
            state.leases(0, |_, _| true);
        });
    }

    /// Opens the context of the next hook; says which one it is.
    fn next(&mut self, unit: &UnitName) -> String {
        let now = self.controller.now();
        self.controller.change(|state| commit::look(state, unit, now));
        let op = self.controller.read(|state| next_op(state, unit, Wishes { now, exec_waiting: false }));
        match op {
            Some(Op::Upgrade) => {
                self.controller.change(|state| {
                    let revision = state.applications[&unit.app].revision;
                    commit::upgraded(state, unit, revision);
                });
                "upgrade\n".to_owned()
            }
            Some(Op::Hook(hook)) => {
                let said = shown(&hook);
                if hook.name == "update-status" {
                    self.controller.change(|state| {
                        state.units.get_mut(unit).unwrap().local.update_status_at = now + 100_000_000;
                    });
                    return "nothing\n".to_owned();
                }
                self.begin(unit, Kind::Hook(hook));
                said
            }
            Some(Op::Terminate | Op::Action(_) | Op::Exec | Op::Skip) | None => "nothing\n".to_owned(),
        }
    }

    fn begin(&mut self, unit: &UnitName, kind: Kind) {
        let now = self.controller.now();
        let seen = self.controller.change(|state| match &kind {
            Kind::Hook(hook) => {
                commit::begin(state, unit, hook, now);
                Seen::now(state, unit, hook)
            }
            Kind::Action { .. } | Kind::Commands => Seen::default(),
        });
        let context = self.controller.read(|state| Context::new(unit, kind, state.clone()));
        self.running.insert(unit.clone(), (context, seen));
    }

    fn end(&mut self, unit: &UnitName) -> String {
        let now = self.controller.now();
        let (context, seen) = self.running.remove(unit).expect("something runs");
        let flushed = self.controller.change(|state| {
            commit::flush(state, unit, &context.buffered)?;
            if let Kind::Hook(hook) = &context.kind {
                commit::finished(state, unit, hook, &seen, now);
            }
            Ok::<_, String>(())
        });
        let mut said = flushed.map_or_else(|why| format!("{why}\n"), |()| String::new());
        if context.results != json!({}) {
            let _ = write!(said, "results:\n{}", super::go_yaml::document(&context.results));
        }
        if let Some(message) = context.failed {
            let _ = writeln!(said, "failed: {message}");
        }
        if let Some(reboot) = context.reboot {
            let _ = writeln!(said, "reboot: {reboot:?}");
        }
        said
    }

    fn filled(&self, word: &str) -> String {
        self.names.iter().fold(word.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
    }

    /// One call; in a context of its own where none is open.
    fn tool(&mut self, unit: &UnitName, call: &str) -> String {
        let (call, stdin) = match call.split_once(" << ") {
            Some((call, stdin)) => (call, Some(stdin.replace("\\n", "\n"))),
            None => (call, None),
        };
        let alone = !self.running.contains_key(unit);
        if alone {
            self.begin(unit, Kind::Commands);
        }
        let mut words: Vec<String> = words(call).iter().map(|word| self.filled(word)).collect();
        let tool = words.remove(0);
        // A word for what no line can hold.
        let long = |word: String| word.replace("LONG-KEY", &"k".repeat(300)).replace("LONG-VALUE", &"v".repeat(70_000));
        let args = words.into_iter().map(long).collect();
        let mut request =
            Call { context: String::new(), tool, args, cwd: "/charm".to_owned(), stdin: None, unit: None };
        let (context, _) = self.running.get_mut(unit).unwrap();
        let mut answer = super::tools::call(&self.controller, context, &request);
        if matches!(answer, Ok(Said::NeedStdin)) {
            request.stdin = Some(stdin.expect("the tool reads standard input"));
            answer = super::tools::call(&self.controller, context, &request);
        }
        let mut said = match answer {
            Ok(Said::Text(text)) if text.is_empty() || text.ends_with('\n') => text,
            Ok(Said::Text(text)) => format!("{text}%\n"),
            Ok(Said::NeedStdin) => "asks for standard input twice\n".to_owned(),
            Err(why) => format!("ERROR {}\nexit {}\n", why.message, why.code),
        };
        if alone {
            said.push_str(&self.end(unit));
        }
        said
    }
}

fn name(text: &str) -> UnitName {
    UnitName::try_from(text.to_owned()).unwrap()
}

fn shown(hook: &HookInfo) -> String {
    let mut said = hook.name.clone();
    if let Some(unit) = &hook.remote_unit {
        let _ = write!(said, " {unit}");
    }
    if let Some(secret) = &hook.secret {
        let _ = write!(said, " secret:{secret}");
    }
    if let Some(revision) = hook.secret_revision {
        let _ = write!(said, " revision {revision}");
    }
    said + "\n"
}

/// Words as a shell splits them: spaces, both kinds of quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None, ' ') => words.extend(word.take()),
            (Some(_) | None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A charm with a bit of everything.
fn charm() -> Charm {
    let names = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let option = |kind: &str, default: Option<Value>| ConfigOption {
        kind: kind.to_owned(),
        default,
        description: String::new(),
    };
    let storage = json!({"kind": "filesystem", "location": "/srv/data", "minimum_size": null, "minimum_count": 1});
    let storage: StorageSpec = serde_json::from_value(storage).unwrap();
    Charm {
        name: "probe".to_owned(),
        peers: names(&[("peers", "peer")]),
        provides: names(&[("db", "sql"), ("web", "http")]),
        requires: names(&[("backend", "sql")]),
        extra_bindings: vec!["extra".to_owned()],
        storage: [("data".to_owned(), storage)].into(),
        config: [
            ("colour".to_owned(), option("string", Some(json!("blue")))),
            ("empty".to_owned(), option("string", Some(json!("")))),
            ("count".to_owned(), option("int", Some(json!(3)))),
            ("ratio".to_owned(), option("float", Some(json!(2.0)))),
            ("loud".to_owned(), option("boolean", Some(json!(true)))),
            ("token".to_owned(), option("secret", None)),
        ]
        .into(),
        resources: [("blob".to_owned(), ResourceSpec { filename: "blob.bin".to_owned(), description: String::new() })]
            .into(),
        ..Charm::default()
    }
}
