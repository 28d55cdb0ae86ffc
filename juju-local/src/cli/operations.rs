//! What was run: operations and their tasks, and the actions that an application has.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::Session;
use super::args::{Format, Output, duration};
use super::client::{print, say};
use super::show::{aligned, row, table, text};
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Operations {
    /// List what was run
    ///
    /// Each `run` and each `exec` is one operation, with a task for each unit. They share one sequence of numbers.
    #[command(name = "operations", alias = "list-operations")]
    List {
        /// Only those on units of these applications
        #[arg(long, visible_alias = "apps", value_delimiter = ',', value_name = "APP")]
        applications: Vec<String>,
        /// Only those on these units
        #[arg(long, value_delimiter = ',', value_name = "UNIT")]
        units: Vec<String>,
        /// Only these actions; commands run by `exec` are called juju-exec
        #[arg(long, value_delimiter = ',', value_name = "ACTION")]
        actions: Vec<String>,
        /// Only those in these states: pending, running, completed, failed, cancelled, aborting, aborted
        #[arg(long, value_delimiter = ',', value_parser = STATES)]
        status: Vec<String>,
        /// No more than this many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// From this one on
        #[arg(long, default_value_t = 0)]
        offset: usize,
        /// Times are in UTC in any case
        #[arg(long)]
        utc: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Show what an operation has run, and the results
    ShowOperation {
        /// Its number, as `run` and `operations` tell it
        id: u32,
        #[command(flatten)]
        until: Until,
        #[command(flatten)]
        output: Output,
    },
    /// Show one task of an operation, and its results
    #[command(alias = "show-action-output", alias = "show-action-status")]
    ShowTask {
        /// Its number, as `run` and `show-operation` tell it
        id: u32,
        #[command(flatten)]
        until: Until,
        #[command(flatten)]
        output: Output,
    },
    /// Stop tasks: what has not begun does not begin, what runs is killed
    #[command(alias = "cancel-action")]
    CancelTask {
        /// Numbers of tasks
        #[arg(required = true)]
        ids: Vec<u32>,
        #[command(flatten)]
        output: Output,
    },
    /// List an application's actions
    #[command(alias = "list-actions")]
    Actions {
        /// The application
        application: String,
        /// With the parameters that each takes
        #[arg(long)]
        schema: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Show what an action does and which parameters it takes
    ShowAction {
        /// The application
        application: String,
        /// One of its actions
        action: String,
    },
}

const STATES: [&str; 7] = ["pending", "running", "completed", "failed", "cancelled", "aborting", "aborted"];

/// How long to wait for results.
#[derive(Debug, clap::Args)]
pub(super) struct Until {
    /// Wait this long for results, as in 90s or 5m
    #[arg(long, value_parser = duration, conflicts_with = "watch")]
    wait: Option<Duration>,
    /// Wait for results, however long it takes
    #[arg(long)]
    watch: bool,
    /// Times are in UTC in any case
    #[arg(long)]
    utc: bool,
}

pub(super) fn run(session: &Session, command: Operations) -> anyhow::Result<ExitCode> {
    match command {
        Operations::List { applications, units, actions, status, limit, offset, utc: _, output } => {
            let all = session.ask(&Request::Operations)?;
            let wanted = Wanted { applications, units, actions, status };
            let fitting: Vec<&Value> =
                all.as_array().into_iter().flatten().filter(|one| wanted.fits(&one["operation"])).collect();
            if fitting.is_empty() {
                say("no matching operations");
                return Ok(ExitCode::SUCCESS);
            }
            let shown: Vec<&Value> = fitting.iter().skip(offset).take(limit).copied().collect();
            let map: Map<String, Value> =
                shown.iter().map(|one| (text(one, &["id"]), one["operation"].clone())).collect();
            output.write(&Value::Object(map), || {
                let mut out = String::new();
                if shown.len() < fitting.len() {
                    let last = offset + shown.len();
                    out = format!("Displaying operation results {} to {last}.\n", offset + 1);
                    if last < fitting.len() {
                        out.push_str(&format!(
                            "Run the command again with --offset={last} --limit={limit} to see the next batch.\n\n"
                        ));
                    }
                }
                out + &operation_table(&shown)
            })?;
        }
        Operations::ShowOperation { id, until, output } => {
            output.value(&waited(session, &Request::Operation { id }, &until)?)?;
        }
        Operations::ShowTask { id, until, output } => {
            let mut task = waited(session, &Request::Task { id }, &until)?;
            match output.given_format() {
                Some(Format::Yaml | Format::Json) => {
                    if let Value::Object(map) = &mut task {
                        map.remove("unit").map(|unit| map.insert("UnitId".to_owned(), unit));
                    }
                    output.value(&task)?;
                }
                Some(Format::Plain) | None => output.text(&super::actions::plain_results(&[task])?)?,
            }
        }
        Operations::CancelTask { ids, output } => {
            let mut all = Map::new();
            for id in ids {
                session.ask(&Request::CancelTask { id })?;
                all.insert(id.to_string(), session.ask(&Request::Task { id })?);
            }
            output.value(&Value::Object(all))?;
        }
        Operations::Actions { application, schema, output } => actions(session, application, schema, &output)?,
        Operations::ShowAction { application, action } => {
            let all = session.ask(&Request::Actions { application })?;
            let Some(one) = all.get(&action) else {
                say(&format!("unknown action {action:?}\n"));
                return Ok(ExitCode::FAILURE);
            };
            print(&format!("{}\n\nArguments\n", text(one, &["description"])));
            let arguments: Map<String, Value> = one["schema"]["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, body)| (name.clone(), json!({"type": body["type"], "description": body["description"]})))
                .collect();
            print(&super::show::formatted(&Value::Object(arguments), Format::Yaml)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn actions(session: &Session, application: String, schema: bool, output: &Output) -> anyhow::Result<()> {
    if schema && output.given_format() == Some(Format::Plain) {
        anyhow::bail!("full schema not compatible with tabular output; leave --format out");
    }
    let actions = session.ask(&Request::Actions { application: application.clone() })?;
    let each = |field: &'static str| -> Map<String, Value> {
        actions.as_object().into_iter().flatten().map(|(name, body)| (name.clone(), body[field].clone())).collect()
    };
    if schema {
        return output.value(&Value::Object(each("schema")));
    }
    let descriptions = each("description");
    if descriptions.is_empty() && output.format() == Format::Plain {
        say(&format!("No actions defined for {application}."));
        return Ok(());
    }
    output.write(&Value::Object(descriptions.clone()), || {
        let mut rows = vec![row(["Action", "Description"])];
        for (name, text) in &descriptions {
            let mut name = name.as_str();
            for line in text.as_str().unwrap_or_default().lines() {
                rows.push(vec![name.to_owned(), line.to_owned()]);
                name = "";
            }
        }
        table(&rows)
    })
}

/// Which operations to list.
struct Wanted {
    applications: Vec<String>,
    units: Vec<String>,
    actions: Vec<String>,
    status: Vec<String>,
}

impl Wanted {
    fn fits(&self, operation: &Value) -> bool {
        let hosts: Vec<String> =
            operation["tasks"].as_object().into_iter().flatten().map(|(_, task)| text(task, &["host"])).collect();
        let on_one = |host: &String| {
            self.units.contains(host) || self.applications.iter().any(|app| host.split('/').next() == Some(app))
        };
        let somewhere = self.units.is_empty() && self.applications.is_empty();
        let is = |list: &[String], key: &[&str]| list.is_empty() || list.contains(&text(operation, key));
        (somewhere || hosts.iter().any(on_one))
            && is(&self.actions, &["action", "name"])
            && is(&self.status, &["status"])
    }
}

fn operation_table(operations: &[&Value]) -> String {
    let mut rows = vec![row(["ID", "Status", "Started", "Finished", "Task IDs", "Summary"])];
    for one in operations {
        let body = &one["operation"];
        let time = |key: &str| text(body, &["timing", key]).replacen(' ', "T", 1).replace(" +0000 UTC", "");
        let mut tasks: Vec<u32> =
            body["tasks"].as_object().into_iter().flatten().filter_map(|(id, _)| id.parse().ok()).collect();
        tasks.sort_unstable();
        let listed = tasks.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join(",");
        let more = if tasks.len() > 5 { "..." } else { "" };
        rows.push(vec![
            text(one, &["id"]),
            text(body, &["status"]),
            time("started"),
            time("completed"),
            format!("{listed}{more}"),
            text(body, &["summary"]),
        ]);
    }
    aligned(&rows, &[0])
}

/// Asks until it has ended, as long as one may wait.
fn waited(session: &Session, request: &Request, until: &Until) -> anyhow::Result<Value> {
    let begun = Instant::now();
    loop {
        let result = session.ask(request)?;
        let runs = ["pending", "running"].contains(&text(&result, &["status"]).as_str());
        match until.wait {
            _ if !runs => return Ok(result),
            Some(limit) if begun.elapsed() > limit => anyhow::bail!("timeout reached"),
            None if !until.watch => return Ok(result),
            Some(_) | None => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn operations() {
        let one = |id: u32, action: &str, status: &str, hosts: &[&str]| {
            let tasks: Map<String, Value> =
                (id + 1..).zip(hosts).map(|(id, host)| (id.to_string(), json!({"host": host}))).collect();
            json!({"id": id, "operation": {"summary": format!("{action} run"), "status": status, "action": {"name": action},
                "timing": {"started": "2026-11-22 21:20:01 +0000 UTC"}, "tasks": tasks}})
        };
        let all = [one(1, "backup", "completed", &["db/0"]), one(9, "juju-exec", "failed", &["db/0", "web/1"])];
        let check = |applications: &[&str], units: &[&str], actions: &[&str], status: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
            let wanted = Wanted {
                applications: own(applications),
                units: own(units),
                actions: own(actions),
                status: own(status),
            };
            all.iter()
                .filter(|one| wanted.fits(&one["operation"]))
                .map(|one| text(one, &["id"]))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(check(&[], &[], &[], &[]), "1 9");
        assert_eq!(check(&["web"], &[], &[], &[]), "9");
        assert_eq!(check(&[], &["db/0"], &["backup"], &[]), "1");
        assert_eq!(check(&[], &[], &[], &["failed", "running"]), "9");
        expect![[r#"
            ID  Status     Started              Finished  Task IDs  Summary
             1  completed  2026-11-22T21:20:01            2         backup run
             9  failed     2026-11-22T21:20:01            10,11     juju-exec run
        "#]]
        .assert_eq(&operation_table(&[&all[0], &all[1]]));
    }
}
