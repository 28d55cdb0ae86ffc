//! What each command does.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::client::{ask, choose, current, exists, models, print, say, start};
use super::show::{formatted, status, table, task};
use super::{Cli, Command, FaultCommand, Removal, query};
use crate::api::{Fault, Request};
use crate::controller::model_dir;
use crate::uniter::agent::seconds;

/// Runs a command to its exit code.
pub(super) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let model = current(cli.model.as_deref());
    let ask = |request: &Request| ask(&model, request);
    match cli.command {
        Command::Deploy { charm, name, num_units, config, storage, to, base: _, trust: _ } => {
            let charm = absolute(&charm)?;
            let request =
                Request::Deploy { charm, name, num_units, config: options(&config)?, storage: pairs(&storage)?, to };
            let done = ask(&request)?;
            say(&format!("Deployed {} with {num_units} unit(s).", done["application"].as_str().unwrap_or_default()));
        }
        Command::Refresh { application, path } => {
            let revision = ask(&Request::Refresh { application: application.clone(), charm: absolute(&path)? })?;
            say(&format!("Refreshed {application} to revision {revision}."));
        }
        Command::AddUnit { application, num_units, to } => {
            ask(&Request::AddUnit { application, num_units, to })?;
        }
        Command::RemoveUnit { units, removal } => {
            confirm(&removal, &format!("remove {}", units.join(" ")))?;
            ask(&Request::RemoveUnit { units: units.clone(), force: removal.force })?;
            for unit in units {
                say(&format!("will remove unit {unit}"));
            }
        }
        Command::RemoveApplication { application, removal } => {
            confirm(&removal, &format!("remove application {application}"))?;
            ask(&Request::RemoveApplication { application: application.clone(), force: removal.force })?;
            say(&format!("will remove application {application}"));
        }
        Command::Config { application, values, reset, file, format } => {
            config(&ask, application, &values, reset, file.as_deref(), &format)?;
        }
        Command::Run { words, params, wait, background, format, string_args } => {
            let wait = if background { None } else { Some(wait.unwrap_or_else(|| "10m".to_owned())) };
            return run_action(&ask, &words, params.as_deref(), wait.as_deref(), &format, string_args);
        }
        Command::RunAction { words, params, wait, format } => {
            return run_action(&ask, &words, params.as_deref(), wait.as_deref(), &format, false);
        }
        Command::Operations { format } => {
            let tasks = ask(&Request::Tasks)?;
            if format == "plain" {
                let mut rows = vec![["ID", "Status", "Unit", "Action"].map(ToOwned::to_owned).to_vec()];
                for task in tasks.as_array().into_iter().flatten() {
                    rows.push(
                        ["id", "status", "unit", "action"]
                            .iter()
                            .map(|k| task[*k].as_str().unwrap_or_default().to_owned())
                            .collect(),
                    );
                }
                print(&table(&rows));
            } else {
                print(&formatted(&tasks, &format)?);
            }
        }
        Command::ShowOperation { id, format } => print(&formatted(&ask(&Request::Task { id })?, &format)?),
        Command::CancelTask { id } => {
            ask(&Request::CancelTask { id })?;
        }
        Command::Actions { application, schema, format } => {
            let actions = ask(&Request::Actions { application })?;
            if format == "plain" && !schema {
                let mut rows = vec![["Action", "Description"].map(ToOwned::to_owned).to_vec()];
                for (name, body) in actions.as_object().into_iter().flatten() {
                    let text = body["description"].as_str().unwrap_or_default();
                    rows.push(vec![name.clone(), text.lines().next().unwrap_or_default().to_owned()]);
                }
                print(&table(&rows));
            } else {
                print(&formatted(&actions, if format == "plain" { "yaml" } else { &format })?);
            }
        }
        Command::Integrate { a, b } => {
            ask(&Request::Integrate { a, b })?;
        }
        Command::RemoveRelation { a, b } => {
            ask(&Request::RemoveRelation { a, b })?;
        }
        Command::Status { application, format, watch, relations, storage } => loop {
            let mut report = ask(&Request::Status)?;
            if let (Some(application), Some(apps)) = (&application, report["applications"].as_object_mut()) {
                apps.retain(|name, _| name == application);
            }
            let text =
                if format == "tabular" { status(&report, relations, storage) } else { formatted(&report, &format)? };
            match &watch {
                None => {
                    print(&text);
                    break;
                }
                Some(every) => {
                    print(&format!("\x1b[2J\x1b[H{text}"));
                    std::thread::sleep(Duration::from_secs(
                        seconds(every).context("cannot read --watch; use for example 2s")?,
                    ));
                }
            }
        },
        Command::WaitFor { kind, name, query, timeout, summary } => {
            return wait_for(&ask, &kind, &name, &query, &timeout, summary);
        }
        Command::ShowUnit { unit, format } => print(&formatted(&ask(&Request::ShowUnit { unit })?, &format)?),
        Command::ShowApplication { application, format } => {
            print(&formatted(&ask(&Request::ShowApplication { application })?, &format)?);
        }
        Command::Secrets { format } => {
            let secrets = ask(&Request::Secrets)?;
            if format == "tabular" {
                let mut rows = vec![["ID", "Label", "Owner", "Rotation", "Revision"].map(ToOwned::to_owned).to_vec()];
                for (id, s) in secrets.as_object().into_iter().flatten() {
                    let text = |key: &str| s[key].as_str().unwrap_or_default().to_owned();
                    rows.push(vec![
                        id.clone(),
                        text("label"),
                        text("owner"),
                        text("rotation"),
                        s["revision"].to_string(),
                    ]);
                }
                print(&table(&rows));
            } else {
                print(&formatted(&secrets, &format)?);
            }
        }
        Command::ShowSecret { id, reveal, format } => {
            print(&formatted(&ask(&Request::ShowSecret { id, reveal })?, &format)?)
        }
        Command::AddSecret { name, values } => {
            let uri = ask(&Request::AddSecret { name, content: pairs(&values)? })?;
            print(uri.as_str().unwrap_or_default());
        }
        Command::UpdateSecret { id, values } => {
            ask(&Request::UpdateSecret { id, content: pairs(&values)? })?;
        }
        Command::GrantSecret { id, application } => {
            ask(&Request::GrantSecret { id, application, revoke: false })?;
        }
        Command::RevokeSecret { id, application } => {
            ask(&Request::GrantSecret { id, application, revoke: true })?;
        }
        Command::Storage { format } => print(&formatted(&ask(&Request::Storage)?, &format)?),
        Command::Exec { unit, application, format, words } => return exec(&ask, unit, application, &format, &words),
        Command::Ssh { unit, words } => return ssh(&ask, &model, &unit, &words),
        Command::Scp { from, to } => scp(&ask, &from, &to)?,
        Command::DebugLog { replay, include, level, tail, lines } => {
            debug_log(&model, replay, &include, &level, tail, lines)?
        }
        Command::Resolved { unit, no_retry } => {
            ask(&Request::Resolved { unit, no_retry })?;
        }
        Command::ModelConfig { values } => {
            let settings = ask(&Request::ModelConfig { set: pairs(&values)? })?;
            if values.is_empty() {
                print(&formatted(&settings, "yaml")?);
            }
        }
        Command::Models => {
            let mut rows = vec![vec!["Model".to_owned()]];
            rows.extend(models().into_iter().map(|name| vec![if name == model { format!("{name}*") } else { name }]));
            print(&table(&rows));
        }
        Command::AddModel { name } => {
            if exists(&name) {
                anyhow::bail!("model {name:?} already exists; use juju-local switch {name}");
            }
            start(&name)?;
            choose(&name)?;
            say(&format!("Added {name:?} model"));
        }
        Command::Switch { name } => match name {
            None => print(&model),
            Some(name) => {
                if !exists(&name) {
                    anyhow::bail!("model {name:?} not found; see juju-local models");
                }
                choose(&name)?;
                say(&format!("{model} -> {name}"));
            }
        },
        Command::DestroyModel { name, removal } => destroy(&name.unwrap_or(model), &removal)?,
        Command::PurgeCache => {
            let left = models();
            if !left.is_empty() {
                anyhow::bail!("the machines of {} stand on the cache; destroy them first", left.join(", "));
            }
            crate::machine::purge_cache()?;
        }
        Command::Fault(fault) => return self::fault(&ask, &model, fault),
        Command::Controller { name } => crate::controller::run(&name)?,
    }
    Ok(ExitCode::SUCCESS)
}

type Ask<'a> = &'a dyn Fn(&Request) -> anyhow::Result<Value>;

fn absolute(path: &str) -> anyhow::Result<String> {
    let absolute = fs::canonicalize(path)
        .with_context(|| format!("cannot find charm {path:?}; name its file, as in ./my.charm"))?;
    Ok(absolute.display().to_string())
}

fn pairs(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    words
        .iter()
        .map(|word| {
            let (key, value) = word.split_once('=').with_context(|| format!("expected key=value, got {word:?}"))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// `--config` as key=value or a YAML file, flat or with the application's name on top.
fn options(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for word in words {
        if word.contains('=') {
            all.extend(pairs(std::slice::from_ref(word))?);
        } else {
            all.extend(option_file(word)?);
        }
    }
    Ok(all)
}

fn option_file(path: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read options file {path}"))?;
    let map: BTreeMap<String, Value> =
        serde_yaml::from_str(&text).with_context(|| format!("cannot read options file {path}"))?;
    let map = match map.values().next() {
        Some(Value::Object(inner)) if map.len() == 1 => inner.clone().into_iter().collect(),
        _ => map,
    };
    Ok(map.into_iter().map(|(k, v)| (k, v.as_str().map_or_else(|| v.to_string(), ToOwned::to_owned))).collect())
}

fn confirm(removal: &Removal, what: &str) -> anyhow::Result<()> {
    if removal.no_prompt || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    say(&format!("This will {what}. Continue [y/N]? "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) { Ok(()) } else { anyhow::bail!("aborted") }
}

fn config(
    ask: Ask<'_>,
    application: String,
    values: &[String],
    reset: Vec<String>,
    file: Option<&str>,
    format: &str,
) -> anyhow::Result<()> {
    let (set, show): (Vec<String>, Vec<String>) = values.iter().cloned().partition(|v| v.contains('='));
    let mut set = pairs(&set)?;
    if let Some(file) = file {
        set.extend(option_file(file)?);
    }
    if !set.is_empty() || !reset.is_empty() {
        ask(&Request::SetConfig { application, set, reset })?;
        return Ok(());
    }
    let all = ask(&Request::GetConfig { application })?;
    match show.as_slice() {
        [] => print(&formatted(&all, format)?),
        [key] => {
            let setting = all["settings"]
                .get(key)
                .with_context(|| format!("key {key:?} not found in the application's options"))?;
            let value = &setting["value"];
            print(
                &value
                    .as_str()
                    .map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, ToOwned::to_owned),
            );
        }
        _ => anyhow::bail!("can only show one option at a time"),
    }
    Ok(())
}

fn run_action(
    ask: Ask<'_>,
    words: &[String],
    params: Option<&str>,
    wait: Option<&str>,
    format: &str,
    string_args: bool,
) -> anyhow::Result<ExitCode> {
    let units: Vec<String> = words.iter().take_while(|w| w.contains('/') && !w.contains('=')).cloned().collect();
    let mut rest = words.iter().skip(units.len());
    let action = rest.next().cloned().context("no action specified; usage: run UNIT... ACTION [key=value]...")?;
    if units.is_empty() {
        anyhow::bail!("no unit specified; usage: run UNIT... ACTION [key=value]...");
    }
    let mut given: Map<String, Value> = Map::new();
    if let Some(file) = params {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read parameters file {file}"))?;
        given = serde_yaml::from_str(&text).with_context(|| format!("cannot read parameters file {file}"))?;
    }
    for word in rest {
        let (key, value) =
            word.split_once('=').with_context(|| format!("argument {word:?} must be of the form key...=value"))?;
        let value = if string_args {
            Value::from(value)
        } else {
            serde_yaml::from_str(value).unwrap_or_else(|_| Value::from(value))
        };
        let value = if value.is_null() { Value::from("") } else { value };
        let mut at = &mut given;
        let mut keys = key.split('.').peekable();
        while let Some(part) = keys.next() {
            if keys.peek().is_none() {
                at.insert(part.to_owned(), value.clone());
                break;
            }
            let slot = at.entry(part.to_owned()).or_insert_with(|| Value::Object(Map::new()));
            at = slot.as_object_mut().with_context(|| format!("parameter {key:?} is both a value and a map"))?;
        }
    }
    let ids = ask(&Request::Run { units: units.clone(), action, params: given.into_iter().collect() })?;
    let ids: Vec<u32> = serde_json::from_value(ids)?;
    let Some(wait) = wait else {
        say(&format!(
            "Scheduled operation {} with {} task(s)\nCheck operation status with 'juju-local show-operation {}'",
            ids[0],
            ids.len(),
            ids[0]
        ));
        return Ok(ExitCode::SUCCESS);
    };
    say(&format!("Running operation {} with {} task(s)", ids[0], ids.len()));
    let until = Instant::now() + Duration::from_secs(seconds(wait).context("cannot read --wait; use for example 5m")?);
    let mut logged = BTreeMap::new();
    let done = loop {
        let tasks: Vec<Value> = ids.iter().map(|id| ask(&Request::Task { id: *id })).collect::<anyhow::Result<_>>()?;
        for (id, task) in ids.iter().zip(&tasks) {
            let lines = task["log"].as_array().cloned().unwrap_or_default();
            let shown: &mut usize = logged.entry(*id).or_default();
            for line in lines.iter().skip(*shown) {
                say(&format!("{} {}", task["unit"].as_str().unwrap_or_default(), line.as_str().unwrap_or_default()));
            }
            *shown = lines.len();
        }
        if tasks.iter().all(|t| !["pending", "running"].contains(&t["status"].as_str().unwrap_or_default())) {
            break tasks;
        }
        if Instant::now() > until {
            anyhow::bail!("timed out waiting for results; see juju-local show-operation {}", ids[0]);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let failed = done.iter().any(|t| t["status"] != "completed");
    if format == "plain" {
        for task_value in &done {
            if done.len() > 1 {
                print(&format!("{}:", task_value["unit"].as_str().unwrap_or_default()));
            }
            let text = task(task_value);
            if !text.is_empty() {
                print(&text);
            }
            if let Some(message) = task_value["message"].as_str() {
                say(&format!("Action id {} failed: {message}", task_value["id"].as_str().unwrap_or_default()));
            }
        }
    } else {
        let map: Map<String, Value> =
            done.iter().map(|t| (t["unit"].as_str().unwrap_or_default().to_owned(), t.clone())).collect();
        print(&formatted(&Value::Object(map), format)?);
    }
    if failed {
        say(&format!(
            "ERROR the following task failed:\n - id {:?} with return code {}",
            ids[0].to_string(),
            done[0]["results"]["return-code"]
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn wait_for(
    ask: Ask<'_>,
    kind: &str,
    name: &str,
    query: &str,
    timeout: &str,
    summary: bool,
) -> anyhow::Result<ExitCode> {
    let until =
        Instant::now() + Duration::from_secs(seconds(timeout).context("cannot read --timeout; use for example 5m")?);
    let mut last = String::new();
    loop {
        let report = ask(&Request::Status)?;
        let body = match kind {
            "application" => report["applications"].get(name).cloned(),
            "unit" => {
                name.split_once('/').and_then(|(app, _)| report["applications"].get(app)?["units"].get(name).cloned())
            }
            other => anyhow::bail!("cannot wait for {other:?}; use application or unit"),
        };
        if let Some(body) = body {
            let key = if kind == "unit" { "workload-status" } else { "application-status" };
            let text = |path: &[&str]| {
                path.iter().try_fold(&body, |at, k| at.get(k)).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let units = body["units"].as_object().map_or(0, Map::len);
            let values = BTreeMap::from([
                ("name".to_owned(), name.to_owned()),
                ("status".to_owned(), text(&[key, "current"])),
                ("message".to_owned(), text(&[key, "message"])),
                ("workload-status".to_owned(), text(&[key, "current"])),
                ("workload-message".to_owned(), text(&[key, "message"])),
                ("agent-status".to_owned(), text(&["juju-status", "current"])),
                ("life".to_owned(), body["life"].as_str().unwrap_or("alive").to_owned()),
                ("len(units)".to_owned(), units.to_string()),
            ]);
            let now = format!("{kind} {name:?} is {}: {}", values["status"], values["message"]);
            if now != last && summary {
                say(&now);
            }
            last = now;
            if query::holds(query, &values).map_err(|why| anyhow::anyhow!(why))? {
                return Ok(ExitCode::SUCCESS);
            }
        } else {
            last = format!("{kind} {name:?} not found");
        }
        if Instant::now() > until {
            anyhow::bail!("timed out waiting for {kind} {name:?} to fit {query}; last seen: {last}");
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn exec(
    ask: Ask<'_>,
    unit: Vec<String>,
    application: Option<String>,
    format: &str,
    words: &[String],
) -> anyhow::Result<ExitCode> {
    let units = unit.iter().flat_map(|u| u.split(',')).map(ToOwned::to_owned).collect();
    let results = ask(&Request::Exec { units, application, command: shell_words(words) })?;
    let all = results.as_object().cloned().unwrap_or_default();
    let code = all.values().filter_map(|r| r["return-code"].as_i64()).find(|c| *c != 0).unwrap_or(0);
    if format == "plain" {
        for (unit, result) in &all {
            if all.len() > 1 {
                print(&format!("{unit}:"));
            }
            let text = result["stdout"].as_str().unwrap_or_default();
            if !text.is_empty() {
                print(text);
            }
            let errors = result["stderr"].as_str().unwrap_or_default().trim_end();
            if !errors.is_empty() {
                say(errors);
            }
        }
    } else {
        print(&formatted(&results, format)?);
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// One word is a shell command as it stands; several are quoted, so that each stays one.
fn shell_words(words: &[String]) -> String {
    match words {
        [one] => one.clone(),
        many => many.iter().map(|w| format!("'{}'", w.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" "),
    }
}

/// The leading process of a unit's machine.
fn leader_of(ask: Ask<'_>, unit: &str) -> anyhow::Result<(String, PathBuf)> {
    let machine = ask(&Request::Machine { unit: unit.to_owned() })?;
    let root = PathBuf::from(machine["root"].as_str().unwrap_or_default());
    let launcher = fs::read_to_string(root.with_file_name("pid")).context("the unit's machine is not running")?;
    let launcher = launcher.trim();
    let children = fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children"))
        .context("the unit's machine is not running")?;
    let leader = children.split_whitespace().next().context("the unit's machine is not running")?.to_owned();
    Ok((leader, root))
}

fn ssh(ask: Ask<'_>, _model: &str, unit: &str, words: &[String]) -> anyhow::Result<ExitCode> {
    let (leader, _) = leader_of(ask, unit)?;
    let mut command = Process::new("nsenter");
    command.args(["-t", &leader, "-a", "--wdns=/root", "--"]).env_clear();
    command
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("TERM", std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()));
    if words.is_empty() {
        command.args(["/bin/bash", "-l"]);
    } else {
        command.args(["/bin/bash", "-c", &words.join(" ")]);
    }
    let status = command.status().context("cannot enter the machine")?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

fn scp(ask: Ask<'_>, from: &str, to: &str) -> anyhow::Result<()> {
    let place = |text: &str| -> anyhow::Result<PathBuf> {
        match text.split_once(':') {
            Some((unit, path)) if unit.contains('/') => {
                let (leader, _) = leader_of(ask, unit)?;
                // The machine's own view: storages are mounted in there and not in its root directory outside.
                Ok(Path::new("/proc").join(leader).join("root").join(path.trim_start_matches('/')))
            }
            _ => Ok(PathBuf::from(text)),
        }
    };
    let (source, mut target) = (place(from)?, place(to)?);
    if target.is_dir() {
        target = target.join(source.file_name().context("the source has no file name")?);
    }
    fs::copy(&source, &target).with_context(|| format!("cannot copy {from} to {to}"))?;
    Ok(())
}

fn debug_log(
    model: &str,
    replay: bool,
    include: &[String],
    level: &str,
    tail: bool,
    lines: Option<usize>,
) -> anyhow::Result<()> {
    let levels = ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];
    let least = levels
        .iter()
        .position(|l| *l == level.to_uppercase())
        .with_context(|| format!("level {level:?} is not one of {}", levels.join(", ")))?;
    let wanted = |line: &str| {
        let mut words = line.split_whitespace();
        let entity = words.next().unwrap_or_default().trim_end_matches(':');
        let at = words.nth(1).and_then(|word| levels.iter().position(|l| *l == word)).unwrap_or(levels.len());
        at >= least
            && (include.is_empty()
                || include.iter().any(|i| i == entity || i.replace('/', "-") == entity.trim_start_matches("unit-")))
    };
    let path = model_dir(model).join("debug.log");
    let mut file = fs::File::open(&path).with_context(|| format!("model {model:?} has no log yet"))?;
    let mut text = String::new();
    file.read_to_string(&mut text).or_else(|_| Ok::<_, anyhow::Error>(0))?;
    let all: Vec<&str> = text.lines().filter(|l| wanted(l)).collect();
    let count = lines.unwrap_or(if replay { all.len() } else { 10 });
    for line in all.iter().skip(all.len().saturating_sub(count)) {
        print(line);
    }
    // Juju goes on showing what comes on a terminal; in a pipe it would never end.
    let follow = tail || (!replay && lines.is_none() && std::io::stdout().is_terminal());
    if !follow {
        return Ok(());
    }
    file.seek(SeekFrom::End(0))?;
    let mut reader = BufReader::new(file);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            std::thread::sleep(Duration::from_millis(200));
        } else if wanted(&line) {
            print(&line);
        }
    }
}

fn destroy(model: &str, removal: &Removal) -> anyhow::Result<()> {
    if !exists(model) {
        anyhow::bail!("model {model:?} not found; see juju-local models");
    }
    confirm(removal, &format!("destroy model {model:?} with all its machines and data"))?;
    ask(model, &Request::DestroyModel)?;
    let root = Path::new(crate::machine::STATE_ROOT);
    if current(None) == model {
        let _ = fs::remove_file(root.join("current"));
    }
    // Only what is empty goes: other models stay.
    let _ = fs::remove_dir(root.join("models"));
    let _ = fs::remove_dir(root);
    say(&format!("Model {model:?} destroyed"));
    Ok(())
}

fn fault(ask: Ask<'_>, model: &str, fault: FaultCommand) -> anyhow::Result<ExitCode> {
    let fault = match fault {
        FaultCommand::Kill { unit, service, pid, signal } => Fault::Kill { unit, service, pid, signal },
        FaultCommand::PowerOff { units } => Fault::PowerOff { units },
        FaultCommand::PowerOn { units } => Fault::PowerOn { units },
        FaultCommand::Reboot { units } => Fault::Reboot { units },
        FaultCommand::Leadership { application, unit } => Fault::Leadership { application, unit },
        FaultCommand::Hook { unit, kill_after_tools, name, fail_commit } => {
            Fault::Hook { unit, kill_after_tools, name, fail_commit }
        }
        FaultCommand::Cut { units } => Fault::Cut { units },
        FaultCommand::Heal { units } => Fault::Heal { units },
        FaultCommand::Controller { verb } => {
            match verb.as_str() {
                "stop" => {
                    ask(&Request::Stop)?;
                }
                "start" => start(model)?,
                other => anyhow::bail!("cannot {other:?} the controller; use stop or start"),
            }
            return Ok(ExitCode::SUCCESS);
        }
        FaultCommand::List => Fault::List,
        FaultCommand::Clear => Fault::Clear,
    };
    let result = ask(&Request::Fault(fault))?;
    if result != json!(null) {
        print(&formatted(&result, "yaml")?);
    }
    Ok(ExitCode::SUCCESS)
}
