//! What each command does.

use std::collections::BTreeMap;
use std::fs;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::access::{exec, scp, ssh};
use super::actions::{self, Run};
use super::client::{ask, current, print, say};
use super::show::{formatted, status, storages, table};
use super::{Cli, Command, Format, Removal, fault, log, models, secrets, wait, watchful};
use crate::api::Request;
use crate::model::Wanted;

/// How long `run` waits for an action unless it is told otherwise.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs a command to its exit code.
pub(super) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let model = current(cli.model.as_deref());
    let ask = |request: &Request| ask(&model, request);
    match cli.command {
        Command::Deploy {
            charm,
            name,
            num_units,
            config,
            storage,
            to,
            bind,
            resource,
            base,
            trust,
            attach_storage,
        } => {
            if let Some(base) = base {
                say(&format!("--base {base} changes nothing here: machines run the same release as this host"));
            }
            let charm = absolute(&charm)?;
            let (config, storage) = (options(&config)?, sizes(&storage)?);
            let resources = resources(&resource)?;
            let request =
                Request::Deploy { charm, name, num_units, config, storage, to, bind, resources, attach_storage, trust };
            let done = ask(&request)?;
            let units = done["units"].as_array().map_or(0, Vec::len);
            say(&format!("Deployed {} with {units} unit(s).", done["application"].as_str().unwrap_or_default()));
        }
        Command::AttachResource { application, resource } => {
            for (name, path) in resources(&[resource])? {
                ask(&Request::AttachResource { application: application.clone(), name, path })?;
            }
        }
        Command::Refresh { application, path, resource, force_units } => {
            let (charm, resources) = (absolute(&path)?, resources(&resource)?);
            let revision = ask(&Request::Refresh { application: application.clone(), charm, resources, force_units })?;
            say(&format!("Refreshed {application} to revision {revision}."));
        }
        Command::AddUnit { application, num_units, to, attach_storage } => {
            ask(&Request::AddUnit { application, num_units, to, attach_storage })?;
        }
        Command::RemoveUnit { units, removal, destroy_storage } => {
            confirm(&removal, &format!("remove {}", units.join(" ")))?;
            ask(&Request::RemoveUnit { units: units.clone(), force: removal.force, destroy_storage })?;
            for unit in units {
                say(&format!("will remove unit {unit}"));
            }
        }
        Command::RemoveApplication { applications, removal, destroy_storage } => {
            confirm(&removal, &format!("remove application {}", applications.join(" ")))?;
            for application in applications {
                let force = removal.force;
                ask(&Request::RemoveApplication { application: application.clone(), force, destroy_storage })?;
                say(&format!("will remove application {application}"));
            }
        }
        Command::Config { application, values, reset, file, format } => {
            config(&ask, application, &values, reset, file.as_deref(), format)?;
        }
        Command::Disks(command) => super::disks::run(&ask, command)?,
        Command::Run { words, params, wait, background, format, string_args } => {
            let wait = if background { None } else { Some(wait.unwrap_or(PATIENCE)) };
            let run = Run { words: &words, params: params.as_deref(), wait, format, string_args, old: false };
            return actions::run(&ask, &run);
        }
        Command::RunAction { words, params, wait, format } => {
            let run = Run { words: &words, params: params.as_deref(), wait, format, string_args: false, old: true };
            return actions::run(&ask, &run);
        }
        Command::Operations { format } => {
            let tasks = ask(&Request::Tasks)?;
            if format == Format::Plain {
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
                print(&formatted(&tasks, format)?);
            }
        }
        Command::ShowOperation { id, format } => print(&formatted(&ask(&Request::Task { id })?, format)?),
        Command::CancelTask { id } => {
            ask(&Request::CancelTask { id })?;
        }
        Command::Actions { application, schema, format } => {
            let actions = ask(&Request::Actions { application })?;
            if format == Format::Plain && !schema {
                let mut rows = vec![["Action", "Description"].map(ToOwned::to_owned).to_vec()];
                for (name, body) in actions.as_object().into_iter().flatten() {
                    let text = body["description"].as_str().unwrap_or_default();
                    rows.push(vec![name.clone(), text.lines().next().unwrap_or_default().to_owned()]);
                }
                print(&table(&rows));
            } else {
                print(&formatted(&actions, format)?);
            }
        }
        Command::Integrate { a, b } => {
            ask(&Request::Integrate { a, b })?;
        }
        Command::RemoveRelation { a, b } => {
            ask(&Request::RemoveRelation { a, b })?;
        }
        Command::Status { filters, format, watch, relations, storage } => loop {
            let mut report = ask(&Request::Status)?;
            keep_only(&mut report, &filters);
            let text =
                if format == Format::Plain { status(&report, relations, storage) } else { formatted(&report, format)? };
            match watch {
                None => {
                    print(&text);
                    break;
                }
                Some(every) => {
                    print(&format!("\x1b[2J\x1b[H{text}"));
                    std::thread::sleep(every.max(Duration::from_millis(200)));
                }
            }
        },
        Command::WaitFor(wanted) => return wait::wait_for(&ask, &wanted),
        Command::ShowUnit { unit, format } => print(&formatted(&ask(&Request::ShowUnit { unit })?, format)?),
        Command::ShowApplication { application, format } => {
            print(&formatted(&ask(&Request::ShowApplication { application })?, format)?);
        }
        Command::Secret(command) => secrets::run(&ask, command)?,
        Command::Storage { format } => {
            let all = ask(&Request::Storage)?;
            print(&if format == Format::Plain { storages(&all["storage"]) } else { formatted(&all, format)? });
        }
        Command::Exec { unit, application, format, words } => return exec(&ask, &unit, application, format, &words),
        Command::Ssh { unit, words } => return ssh(&ask, &unit, &words),
        Command::Scp { from, to, recursive } => scp(&ask, &from, &to, recursive)?,
        Command::DebugLog(options) => log::debug_log(&model, &options)?,
        Command::Resolved { units, no_retry } => {
            for unit in units {
                ask(&Request::Resolved { unit, no_retry })?;
            }
        }
        Command::ModelConfig { values, format } => {
            let (set, show): (Vec<String>, Vec<String>) = values.into_iter().partition(|v| v.contains('='));
            let settings = ask(&Request::ModelConfig { set: pairs(&set)? })?;
            match show.as_slice() {
                [] if !set.is_empty() => {}
                [] => print(&formatted(&settings, format)?),
                keys => {
                    for key in keys {
                        let value = settings.get(key).with_context(|| format!("key {key:?} not found in the model"))?;
                        print(&plain(value));
                    }
                }
            }
        }
        Command::Models { format } => models::list(&model, format)?,
        Command::AddModel { name, no_switch } => models::add(&name, no_switch)?,
        Command::Switch { name } => models::switch(&model, name.as_deref())?,
        Command::DestroyModel { name, removal, destroy_storage: _ } => {
            models::destroy(&name.unwrap_or(model), &removal)?;
        }
        Command::PurgeCache => models::purge_cache()?,
        Command::Watchful(command) => return watchful::run(&ask, &model, command),
        Command::Fault(command) => return fault::run(&ask, &model, command),
        Command::Controller { name } => crate::controller::run(&name)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the model's controller.
pub(super) type Ask<'a> = &'a dyn Fn(&Request) -> anyhow::Result<Value>;

fn absolute(path: &str) -> anyhow::Result<String> {
    let absolute = fs::canonicalize(path)
        .with_context(|| format!("cannot find charm {path:?}; name its file, as in ./my.charm"))?;
    Ok(absolute.display().to_string())
}

/// `name=path`, each with the file's whole path.
fn resources(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    pairs(words)?
        .into_iter()
        .map(|(name, path)| {
            let whole = fs::canonicalize(&path).with_context(|| format!("cannot find resource file {path:?}"))?;
            Ok((name, whole.display().to_string()))
        })
        .collect()
}

pub(super) fn pairs(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    words
        .iter()
        .map(|word| {
            let (key, value) = word.split_once('=').with_context(|| format!("expected key=value, got {word:?}"))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// `--storage` as Juju writes it: NAME=[POOL,][COUNT,][SIZE] in any order.
fn sizes(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let all = pairs(words)?;
    all.values().try_for_each(|text| Wanted::parse(text).map(drop))?;
    Ok(all)
}

/// Leaves what fits one of the names of applications and units, and the machines that stand under it.
fn keep_only(report: &mut Value, filters: &[String]) {
    if filters.is_empty() {
        return;
    }
    let mut machines = Vec::new();
    if let Some(apps) = report["applications"].as_object_mut() {
        for (name, app) in apps.iter_mut() {
            let whole = filters.contains(name);
            if let Some(units) = app["units"].as_object_mut() {
                units.retain(|unit, _| whole || filters.contains(unit));
                machines.extend(units.values().filter_map(|u| u["machine"].as_str()).map(ToOwned::to_owned));
            }
        }
        apps.retain(|name, app| filters.contains(name) || app["units"].as_object().is_some_and(|u| !u.is_empty()));
    }
    if let Some(all) = report["machines"].as_object_mut() {
        all.retain(|id, _| machines.contains(id));
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
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

pub(super) fn confirm(removal: &Removal, what: &str) -> anyhow::Result<()> {
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
    format: Format,
) -> anyhow::Result<()> {
    let (set, show): (Vec<String>, Vec<String>) = values.iter().cloned().partition(|v| v.contains('='));
    let mut set = pairs(&set)?;
    for value in set.values_mut() {
        if let Some(file) = value.strip_prefix('@') {
            *value = fs::read_to_string(file).with_context(|| format!("cannot read option file {file}"))?;
        }
    }
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
            print(&plain(&setting["value"]));
        }
        _ => anyhow::bail!("can only show one option at a time"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    #[test]
    fn filters() {
        let report = json!({"machines": {"0": {}, "1": {}, "2": {}}, "applications": {
            "db": {"units": {"db/0": {"machine": "0"}, "db/1": {"machine": "1"}}}, "web": {"units": {"web/0": {"machine": "2"}}}}});
        let check = |names: &[&str], expected: Expect| {
            let mut report = report.clone();
            keep_only(&mut report, &names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
            let machines: Vec<&String> = report["machines"].as_object().unwrap().keys().collect();
            let units: Vec<&String> = report["applications"]
                .as_object()
                .unwrap()
                .values()
                .flat_map(|app| app["units"].as_object().unwrap().keys())
                .collect();
            expected.assert_eq(&format!("{units:?} {machines:?}"));
        };
        check(&[], expect![[r#"["db/0", "db/1", "web/0"] ["0", "1", "2"]"#]]);
        check(&["web"], expect![[r#"["web/0"] ["2"]"#]]);
        check(&["db/1", "web"], expect![[r#"["db/1", "web/0"] ["1", "2"]"#]]);
        check(&["none"], expect!["[] []"]);
    }
}
