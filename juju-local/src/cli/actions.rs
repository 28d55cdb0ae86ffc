//! `run` and `run-action`: parameters typed as YAML, progress and log lines on standard error, results on standard output.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::Session;
use super::args::{Format, duration};
use super::client::{print, say};
use super::show::{formatted, task};
use crate::api::Request;

/// How long `run` waits for an action unless it is told otherwise.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Subcommand)]
pub(super) enum Actions {
    /// Run an action on units and wait for it: `run UNIT... ACTION [key=value]...`
    Run {
        #[arg(required = true, num_args = 1..)]
        words: Vec<String>,
        /// A YAML file of parameters
        #[arg(long)]
        params: Option<String>,
        /// How long to wait for the results, as in 90s or 5m; 10m otherwise
        #[arg(long, value_parser = duration)]
        wait: Option<Duration>,
        /// Do not wait
        #[arg(long)]
        background: bool,
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
        /// Parameters are texts, whatever they look like
        #[arg(long)]
        string_args: bool,
    },
    /// As `run`, in Juju 2.9's spelling: does not wait unless told to
    RunAction {
        #[arg(required = true, num_args = 1..)]
        words: Vec<String>,
        #[arg(long)]
        params: Option<String>,
        #[arg(long, num_args = 0..=1, default_missing_value = "10m", require_equals = true, value_parser = duration)]
        wait: Option<Duration>,
        #[arg(long, value_enum, default_value_t = Format::Yaml)]
        format: Format,
    },
}

pub(super) fn run(session: &Session, command: Actions) -> anyhow::Result<ExitCode> {
    match command {
        Actions::Run { words, params, wait, background, format, string_args } => {
            let wait = if background { None } else { Some(wait.unwrap_or(PATIENCE)) };
            let run = Run { words: &words, params: params.as_deref(), wait, format, string_args, old: false };
            run_action(session, &run)
        }
        Actions::RunAction { words, params, wait, format } => {
            let run = Run { words: &words, params: params.as_deref(), wait, format, string_args: false, old: true };
            run_action(session, &run)
        }
    }
}

/// What the two spellings have in common.
struct Run<'a> {
    words: &'a [String],
    params: Option<&'a str>,
    /// How long to wait for the results; not at all otherwise.
    wait: Option<Duration>,
    format: Format,
    /// Parameters are texts, whatever they look like.
    string_args: bool,
    /// Juju 2.9's shapes.
    old: bool,
}

/// Runs an action; fails when one of the units did.
fn run_action(session: &Session, run: &Run<'_>) -> anyhow::Result<ExitCode> {
    let units: Vec<String> = run.words.iter().take_while(|w| w.contains('/') && !w.contains('=')).cloned().collect();
    let mut rest = run.words.iter().skip(units.len());
    let action = rest.next().cloned().context("no action specified; usage: run UNIT... ACTION [key=value]...")?;
    if units.is_empty() {
        anyhow::bail!("no unit specified; usage: run UNIT... ACTION [key=value]...");
    }
    let params = params(run.params, rest, run.string_args)?;
    let ids = session.ask(&Request::Run { units: units.clone(), action, params: params.into_iter().collect() })?;
    let ids: Vec<u32> = serde_json::from_value(ids).context("cannot read the controller's answer")?;
    let first = ids.first().context("cannot read the controller's answer: it ran nothing")?;
    let tasks: Vec<Value> =
        ids.iter().map(|id| session.ask(&Request::Task { id: *id })).collect::<anyhow::Result<_>>()?;
    let count = if ids.len() == 1 { "1 task".to_owned() } else { format!("{} tasks", ids.len()) };
    let Some(wait) = run.wait else {
        if run.old {
            ids.iter().for_each(|id| print(&format!("Action queued with id: \"{id}\"")));
        } else {
            say(&format!("Scheduled operation {first} with {count}"));
            tasks.iter().for_each(|task| say(&format!("  - task {} on {}", text(task, "id"), tag(text(task, "unit")))));
            say(&format!("\nCheck operation status with 'juju-local show-operation {first}'"));
        }
        return Ok(ExitCode::SUCCESS);
    };
    if !run.old {
        say(&format!("Running operation {first} with {count}"));
        tasks.iter().for_each(|task| say(&format!("  - task {} on {}", text(task, "id"), tag(text(task, "unit")))));
        say("");
    }
    let done = results(session, &ids, wait)?;
    show(&done, run)?;
    let failed: Vec<&Value> = done.iter().filter(|task| task["status"] != "completed").collect();
    if failed.is_empty() || run.old {
        return Ok(ExitCode::SUCCESS);
    }
    let plural = if failed.len() == 1 { "task" } else { "tasks" };
    say(&format!("ERROR the following {plural} failed:"));
    for task in failed {
        say(&format!(" - id {:?} with return code {}", text(task, "id"), task["results"]["return-code"]));
    }
    say("\nuse 'juju-local show-task' to inspect the failure");
    Ok(ExitCode::FAILURE)
}

/// Waits until all tasks have ended; shows what they log meanwhile.
fn results(session: &Session, ids: &[u32], wait: Duration) -> anyhow::Result<Vec<Value>> {
    let until = Instant::now() + wait;
    let mut logged: BTreeMap<u32, usize> = BTreeMap::new();
    loop {
        let tasks: Vec<Value> =
            ids.iter().map(|id| session.ask(&Request::Task { id: *id })).collect::<anyhow::Result<_>>()?;
        for (id, task) in ids.iter().zip(&tasks) {
            let lines = task["log"].as_array().map(Vec::as_slice).unwrap_or_default();
            let shown = logged.entry(*id).or_default();
            for line in lines.iter().skip(*shown) {
                say(&format!("{} {}", text(task, "unit"), line.as_str().unwrap_or_default()));
            }
            *shown = lines.len();
        }
        if tasks.iter().all(|task| !["pending", "running"].contains(&text(task, "status"))) {
            return Ok(tasks);
        }
        if Instant::now() > until {
            anyhow::bail!(
                "timed out waiting for results; the action goes on, juju-local show-operation {} shows them later",
                ids.first().copied().unwrap_or_default()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn show(done: &[Value], run: &Run<'_>) -> anyhow::Result<()> {
    if run.old {
        let map: Map<String, Value> = done.iter().map(|task| (tag(text(task, "unit")), old_shape(task))).collect();
        print(&formatted(&Value::Object(map), run.format)?);
        return Ok(());
    }
    if run.format != Format::Plain {
        let map: Map<String, Value> = done.iter().map(|t| (text(t, "unit").to_owned(), t.clone())).collect();
        print(&formatted(&Value::Object(map), run.format)?);
        return Ok(());
    }
    for value in done {
        if done.len() > 1 {
            print(&format!("{}:", text(value, "unit")));
        }
        let shown = task(value);
        if !shown.is_empty() {
            print(&shown);
        }
        if let Some(message) = value["message"].as_str() {
            say(&format!("Action id {} failed: {message}", text(value, "id")));
        }
    }
    Ok(())
}

/// A task as `juju run-action --wait` printed it.
fn old_shape(task: &Value) -> Value {
    let mut shape = json!({"UnitId": task["unit"], "id": task["id"], "results": task["results"],
        "status": task["status"], "timing": task["timing"]});
    for key in ["message", "log"] {
        if let Some(value) = task.get(key) {
            shape[key] = value.clone();
        }
    }
    shape
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
        let text = fs::read_to_string(file).with_context(|| format!("cannot read parameters file {file}"))?;
        given = serde_yaml::from_str(&text).with_context(|| format!("cannot read parameters file {file}"))?;
    }
    for word in words {
        let (key, value) =
            word.split_once('=').with_context(|| format!("argument {word:?} must be of the form key...=value"))?;
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
        check("word", false, expect![[r#"argument "word" must be of the form key...=value"#]]);
    }
}
