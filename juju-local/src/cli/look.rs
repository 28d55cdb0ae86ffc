//! Looking at the model: status, one unit or application, its log, and waiting for something.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;

use super::Session;
use super::args::{Format, Output, duration};
use super::client::print;
use super::log::{DebugLog, debug_log};
use super::show::formatted;
use super::status::status;
use super::wait::{WaitFor, wait_for};
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Look {
    /// Show the model
    Status {
        /// Only these applications or units
        filters: Vec<String>,
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
        /// Show again every so often, as in 2s
        #[arg(long, value_parser = duration)]
        watch: Option<Duration>,
        #[arg(long)]
        relations: bool,
        #[arg(long)]
        storage: bool,
    },
    /// Wait until an application or unit fits a query, as in `wait-for application db --query 'status=="active"'`
    WaitFor(WaitFor),
    /// Show a unit with its databags
    ShowUnit {
        unit: String,
        #[command(flatten)]
        output: Output,
    },
    /// Show an application
    ShowApplication {
        application: String,
        #[command(flatten)]
        output: Output,
    },
    /// Show the model's log
    DebugLog(DebugLog),
}

pub(super) fn run(session: &Session, command: Look) -> anyhow::Result<ExitCode> {
    match command {
        Look::Status { filters, format, watch, relations, storage } => loop {
            let mut report = session.ask(&Request::Status)?;
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
        Look::WaitFor(wanted) => return wait_for(session, &wanted),
        Look::ShowUnit { unit, output } => output.value(&session.ask(&Request::ShowUnit { unit })?)?,
        Look::ShowApplication { application, output } => {
            output.value(&session.ask(&Request::ShowApplication { application })?)?;
        }
        Look::DebugLog(options) => debug_log(&session.model, &options)?,
    }
    Ok(ExitCode::SUCCESS)
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
