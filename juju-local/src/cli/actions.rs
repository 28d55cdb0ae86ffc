//! `run` and `run-action`: parameters typed as YAML, progress and log lines on standard error, results on standard
//! output.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::Session;
use super::args::{Format, Output, duration, yaml_file};
use super::client::{complain, print, say};
use super::show::formatted;
use crate::api::Request;

/// How long `run` waits for an action unless it is told otherwise, as Juju does.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same of the older spelling with a bare `--wait`, which has no limit in Juju.
const OLD_PATIENCE: &str = "24h";

#[derive(Debug, Subcommand)]
pub(super) enum Actions {
    /// Run an action on units and wait for its results
    ///
    /// Parameters are read as YAML: n=5 is a number, on=true is a truth value; a.b=c goes into a map.
    /// A line of the action's log is shown as soon as it is written.
    #[command(override_usage = "juju-local run [OPTIONS] UNIT... ACTION [KEY=VALUE]...")]
    Run {
        /// Units of one application, db/0 or db/leader; then the action; then its parameters
        #[arg(required = true, num_args = 1.., value_name = "WORD")]
        words: Vec<String>,
        /// A YAML file of parameters; those on the command line win
        #[arg(long, value_name = "FILE")]
        params: Option<String>,
        /// How long to wait for the results, as in 90s or 5m; 60s otherwise
        #[arg(long, value_parser = duration, conflicts_with = "background")]
        wait: Option<Duration>,
        /// Do not wait
        #[arg(long)]
        background: bool,
        /// Parameters are texts, whatever they look like
        #[arg(long)]
        string_args: bool,
        /// Times are in UTC in any case
        #[arg(long)]
        utc: bool,
        /// Results have no colours in any case
        #[arg(long, hide = true)]
        no_color: bool,
        #[command(flatten)]
        output: Output,
    },
    /// As `run`, in Juju 2.9's spelling: does not wait unless told to
    #[command(override_usage = "juju-local run-action [OPTIONS] UNIT... ACTION [KEY=VALUE]...")]
    RunAction {
        /// Units of one application, then the action, then its parameters
        #[arg(required = true, num_args = 1.., value_name = "WORD")]
        words: Vec<String>,
        /// A YAML file of parameters
        #[arg(long, value_name = "FILE")]
        params: Option<String>,
        /// Wait for the results, for good or for so long
        #[arg(long, value_parser = duration, num_args = 0..=1, require_equals = true)]
        #[arg(default_missing_value = OLD_PATIENCE)]
        wait: Option<Duration>,
        /// Parameters are texts, whatever they look like
        #[arg(long)]
        string_args: bool,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(session: &Session, command: Actions) -> anyhow::Result<ExitCode> {
    match command {
        Actions::Run { words, params, wait, background, string_args, utc: _, no_color: _, output } => {
            let wait = if background { None } else { Some(wait.unwrap_or(PATIENCE)) };
            let operation = begin(session, &words, params.as_deref(), string_args)?;
            run_new(session, &operation, wait, &output)
        }
        Actions::RunAction { words, params, wait, string_args, output } => {
            let operation = begin(session, &words, params.as_deref(), string_args)?;
            run_old(session, &operation, wait, &output).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// What was begun, as the controller tells it.
struct Operation {
    number: Value,
    tasks: Vec<Value>,
}

/// Queues the action that the words of the command line name.
fn begin(session: &Session, words: &[String], file: Option<&str>, string_args: bool) -> anyhow::Result<Operation> {
    let units: Vec<String> = words.iter().take_while(|w| w.contains('/') && !w.contains('=')).cloned().collect();
    let mut rest = words.iter().skip(units.len());
    if units.is_empty() {
        anyhow::bail!("no unit specified; usage: run UNIT... ACTION [key=value]...");
    }
    let action = rest.next().cloned().context("no action specified; usage: run UNIT... ACTION [key=value]...")?;
    if !is_name(&action) {
        anyhow::bail!("invalid unit or action name {action:?}");
    }
    let params = params(file, rest, string_args)?.into_iter().collect();
    let begun = session.ask(&Request::Run { units, action, params })?;
    let tasks = begun["tasks"].as_array().cloned().context("cannot read the controller's answer")?;
    Ok(Operation { number: begun["operation"].clone(), tasks })
}

fn run_new(
    session: &Session,
    operation: &Operation,
    wait: Option<Duration>,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let (number, tasks) = (&operation.number, &operation.tasks);
    let Some(wait) = wait else {
        match tasks.as_slice() {
            [one] => say(&format!("Scheduled operation {number} with task {}", text(one, "id"))),
            many => {
                say(&format!("Scheduled operation {number} with {} tasks", many.len()));
                let ids: Map<String, Value> =
                    many.iter().map(|t| (text(t, "unit").to_owned(), json!({"id": t["id"]}))).collect();
                print(&formatted(&Value::Object(ids), Format::Yaml)?);
            }
        }
        say(&format!("Check operation status with 'juju-local show-operation {number}'"));
        let task = if let [one] = tasks.as_slice() { text(one, "id") } else { "<id>" };
        say(&format!("Check task status with 'juju-local show-task {task}'"));
        return Ok(ExitCode::SUCCESS);
    };
    let count = if tasks.len() == 1 { "1 task".to_owned() } else { format!("{} tasks", tasks.len()) };
    say(&format!("Running operation {number} with {count}"));
    tasks.iter().for_each(|task| say(&format!("  - task {} on {}", text(task, "id"), tag(text(task, "unit")))));
    say("");
    let done = results(session, tasks, wait)?;
    output.write(&by_unit(&done), || plain_results(&done).unwrap_or_default())?;
    Ok(end_of(&done))
}

/// How `run` and `exec` leave: Juju looks at what the processes left with, so an action that said `action-fail` and left
/// with 0 is a success here, whatever its task says (Juju 3.6, cmd/juju/action/common.go).
pub(super) fn end_of(tasks: &[Value]) -> ExitCode {
    let code = |task: &&Value| task["results"]["return-code"].as_i64().is_some_and(|code| code > 0);
    let failed: Vec<&Value> = tasks.iter().filter(code).collect();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    let plural = if failed.len() == 1 { "" } else { "s" };
    complain(&format!("ERROR the following task{plural} failed:"));
    for task in failed {
        complain(&format!(" - id {:?} with return code {}", text(task, "id"), task["results"]["return-code"]));
    }
    complain(&format!("\nuse 'juju-local show-task' to inspect the failure{plural}"));
    ExitCode::FAILURE
}

fn run_old(session: &Session, operation: &Operation, wait: Option<Duration>, output: &Output) -> anyhow::Result<()> {
    let Some(wait) = wait else {
        for task in &operation.tasks {
            print(&format!("Action queued with id: \"{}\"", text(task, "id")));
        }
        return Ok(());
    };
    let done = results(session, &operation.tasks, wait)?;
    let map: Map<String, Value> = done.iter().map(|task| (tag(text(task, "unit")), old_shape(task))).collect();
    output.value(&Value::Object(map))
}

fn by_unit(tasks: &[Value]) -> Value {
    Value::Object(tasks.iter().map(|task| (text(task, "unit").to_owned(), task.clone())).collect())
}

/// Waits until all tasks have ended; shows what they log meanwhile.
fn results(session: &Session, tasks: &[Value], wait: Duration) -> anyhow::Result<Vec<Value>> {
    let ids: Vec<u32> = tasks.iter().filter_map(|task| text(task, "id").parse().ok()).collect();
    let until = Instant::now() + wait;
    let mut logged: BTreeMap<u32, usize> = BTreeMap::new();
    say(&format!("Waiting for task {}...\n", ids.first().copied().unwrap_or_default()));
    loop {
        let tasks: Vec<Value> =
            ids.iter().map(|id| session.ask(&Request::Task { id: *id })).collect::<anyhow::Result<_>>()?;
        for (id, task) in ids.iter().zip(&tasks) {
            let lines = task["log"].as_array().map(Vec::as_slice).unwrap_or_default();
            let shown = logged.entry(*id).or_default();
            for line in lines.iter().skip(*shown) {
                let unit = if ids.len() > 1 { format!("{} ", text(task, "unit")) } else { String::new() };
                say(&format!("{unit}{}", line.as_str().unwrap_or_default()));
            }
            *shown = lines.len();
        }
        let running = |task: &&Value| ["pending", "running"].contains(&text(task, "status"));
        let left: Vec<&str> = tasks.iter().filter(running).map(|task| text(task, "unit")).collect();
        if left.is_empty() {
            return Ok(tasks);
        }
        if Instant::now() > until {
            anyhow::bail!(
                "timed out waiting for results from: unit {}; it goes on, and juju-local show-task {} shows them later",
                left.join(", unit "),
                ids.first().copied().unwrap_or_default()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Results for people: of one task why it failed, its values and what it has said, of several a map.
pub(super) fn plain_results(tasks: &[Value]) -> anyhow::Result<String> {
    let values = |task: &Value| -> anyhow::Result<String> {
        let mut results = task["results"].as_object().cloned().unwrap_or_default();
        for own in ["return-code", "stdout", "stderr", "stdout-encoding", "stderr-encoding"] {
            results.remove(own);
        }
        match (results.is_empty(), task["results"].is_object()) {
            (false, _) => formatted(&Value::Object(results), Format::Yaml),
            (true, true) => Ok(String::new()),
            (true, false) => Ok(format!("Task {} {}\n", text(task, "id"), text(task, "status"))),
        }
    };
    if let [task] = tasks {
        let mut out = String::new();
        if task["status"] == "failed" {
            out = format!("Action id {} failed: {}\n", text(task, "id"), text(task, "message"));
        }
        // The line after the values is there without values, too.
        out.push_str(&values(task)?);
        out.push('\n');
        for stream in ["stdout", "stderr"] {
            let said = task["results"][stream].as_str().unwrap_or_default();
            if !said.is_empty() {
                out.push_str(&format!("{}\n", said.trim_matches('\n')));
            }
        }
        return Ok(out);
    }
    let mut map = Map::new();
    for task in tasks {
        let mut one = json!({"id": task["id"], "output": values(task)?, "status": task["status"]});
        if let Some(message) = task.get("message") {
            one["message"] = message.clone();
        }
        map.insert(text(task, "unit").to_owned(), one);
    }
    formatted(&Value::Object(map), Format::Yaml)
}

/// A task as `juju run-action --wait` printed it.
fn old_shape(task: &Value) -> Value {
    let mut shape = task.clone();
    if let Value::Object(map) = &mut shape {
        map.remove("unit").map(|unit| map.insert("UnitId".to_owned(), unit));
    }
    shape
}

/// Lower-case letters, digits and hyphens, as actions and their parameters are called.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// `unit-mysql-0`.
fn tag(unit: &str) -> String {
    format!("unit-{}", unit.replace('/', "-"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Parameters from a file and from the command line, which wins; `a.b=c` goes into a map.
fn params<'a>(
    file: Option<&str>,
    words: impl Iterator<Item = &'a String>,
    string_args: bool,
) -> anyhow::Result<Map<String, Value>> {
    let mut given: Map<String, Value> = Map::new();
    if let Some(file) = file {
        given = yaml_file("parameters", file)?;
    }
    for word in words {
        let (key, value) = word
            .split_once('=')
            .with_context(|| format!("argument {word:?} must be of the form key.key.key...=value"))?;
        let value = if string_args {
            Value::from(value)
        } else {
            serde_yaml::from_str(value).unwrap_or_else(|_| Value::from(value))
        };
        let value = if value.is_null() { Value::from("") } else { value };
        let (parents, last) = key.rsplit_once('.').map_or((None, key), |(parents, last)| (Some(parents), last));
        let mut at = &mut given;
        for parent in parents.into_iter().flat_map(|p| p.split('.')) {
            let slot = at.entry(parent.to_owned()).or_insert_with(|| Value::Object(Map::new()));
            at = slot.as_object_mut().with_context(|| format!("parameter {key:?} is both a value and a map"))?;
        }
        at.insert(last.to_owned(), value);
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(words: &str, string_args: bool, expected: Expect) {
        let words: Vec<String> = words.split(' ').map(ToOwned::to_owned).collect();
        let given = params(None, words.iter(), string_args).map(Value::Object);
        expected.assert_eq(&given.map_or_else(|why| why.to_string(), |value| value.to_string()));
    }

    #[test]
    fn parameters() {
        check("n=5 on=true name=x ratio=0.5", false, expect![[r#"{"n":5,"name":"x","on":true,"ratio":0.5}"#]]);
        check("n=5 on=true", true, expect![[r#"{"n":"5","on":"true"}"#]]);
        check("list=[1,b] empty= text='5'", false, expect![[r#"{"empty":"","list":[1,"b"],"text":"5"}"#]]);
        check("a.b.c=1 a.d=2", false, expect![[r#"{"a":{"b":{"c":1},"d":2}}"#]]);
        check("a=1 a.b=2", false, expect![[r#"parameter "a.b" is both a value and a map"#]]);
        check("sql=a=b", false, expect![[r#"{"sql":"a=b"}"#]]);
        check("word", false, expect![[r#"argument "word" must be of the form key.key.key...=value"#]]);
    }
}
