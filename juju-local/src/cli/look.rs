//! Looking at the model: status, one unit or application, its log, and waiting for something.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::Session;
use super::args::{Format, Output, duration, write_out};
use super::client::{print, say};
use super::log::{DebugLog, debug_log};
use super::show::{Paint, formatted};
use super::status::{Sections, lines, summary, tabular};
use super::wait::{WaitFor, wait_for};
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Look {
    /// Show the model: applications, units, machines
    Status(Status),
    /// Wait until an application, unit, machine or the model fits a query
    WaitFor(WaitFor),
    /// Show units with their databags
    ShowUnit {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
        /// Only the relation data of this endpoint
        #[arg(long)]
        endpoint: Option<String>,
        /// Only the relation data of this related unit
        #[arg(long, value_name = "UNIT")]
        related_unit: Option<String>,
        /// Only the applications' relation data
        #[arg(long)]
        app: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Show applications
    ShowApplication {
        /// One or more applications
        #[arg(required = true)]
        applications: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Show the model's log
    DebugLog(DebugLog),
}

/// How `status` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    #[value(alias = "plain")]
    Tabular,
    Json,
    Yaml,
    /// A line for each unit
    #[value(aliases = ["short", "oneline"])]
    Line,
    /// Counts
    Summary,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Only what fits one of these: names of applications, units and machines, with * for any text, or a status, as in
    /// "blocked"
    filters: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = StatusFormat::Tabular)]
    format: StatusFormat,
    /// Show again every so often, as in 2s
    #[arg(long, value_parser = duration)]
    watch: Option<Duration>,
    /// With the relations
    #[arg(long, visible_alias = "integrations")]
    relations: bool,
    /// With the storage
    #[arg(long)]
    storage: bool,
    /// Colours, also where no terminal is
    #[arg(long, overrides_with = "no_color")]
    color: bool,
    /// No colours
    #[arg(long)]
    no_color: bool,
    /// Times are in UTC in any case
    #[arg(long)]
    utc: bool,
    /// Write it to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
}

pub(super) fn run(session: &Session, command: Look) -> anyhow::Result<ExitCode> {
    match command {
        Look::Status(wanted) => status(session, &wanted)?,
        Look::WaitFor(wanted) => return wait_for(session, &wanted),
        Look::ShowUnit { units, endpoint, related_unit, app, output } => {
            let wanted = Bags { endpoint, related_unit, app };
            let mut all = Map::new();
            for unit in units {
                let shown = session.ask(&Request::ShowUnit { unit })?;
                for (name, mut body) in shown.as_object().cloned().unwrap_or_default() {
                    wanted.keep(&mut body);
                    all.insert(name, body);
                }
            }
            output.value(&Value::Object(all))?;
        }
        Look::ShowApplication { applications, output } => {
            let mut all = Map::new();
            for application in applications {
                let shown = session.ask(&Request::ShowApplication { application })?;
                all.extend(shown.as_object().cloned().unwrap_or_default());
            }
            output.value(&Value::Object(all))?;
        }
        Look::DebugLog(options) => debug_log(&session.model, &options)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn status(session: &Session, wanted: &Status) -> anyhow::Result<()> {
    let asked = if wanted.no_color { Some(false) } else { wanted.color.then_some(true) };
    let paint = Paint::on_terminal(asked);
    let sections = Sections { relations: wanted.relations, storage: wanted.storage };
    loop {
        let mut report = session.ask(&Request::Status)?;
        keep_only(&mut report, &wanted.filters);
        let text = match wanted.format {
            StatusFormat::Tabular => {
                let findings = super::watchful::lines(&report["findings"]);
                let gap = if findings.is_empty() { "" } else { "\n" };
                format!("{}{gap}{findings}", tabular(&report, sections, paint))
            }
            StatusFormat::Line => lines(&report),
            StatusFormat::Summary => summary(&report),
            StatusFormat::Json | StatusFormat::Yaml => {
                // Only the tables need them: here each application has its own.
                if let Value::Object(map) = &mut report {
                    map.remove("integrations");
                }
                let format = if wanted.format == StatusFormat::Json { Format::Json } else { Format::Yaml };
                formatted(&report, format)?
            }
        };
        let Some(every) = wanted.watch else {
            if wanted.format == StatusFormat::Tabular
                && report["applications"] == json!({})
                && report["machines"] == json!({})
            {
                write_out(wanted.output.as_deref(), &text)?;
                say(&empty(session, &wanted.filters));
                return Ok(());
            }
            return write_out(wanted.output.as_deref(), &text);
        };
        print(&format!("\x1b[2J\x1b[H{text}"));
        std::thread::sleep(every.max(Duration::from_millis(200)));
    }
}

fn empty(session: &Session, filters: &[String]) -> String {
    if filters.is_empty() {
        format!("\nModel \"admin/{}\" is empty.", session.model)
    } else {
        format!("\nNothing matched specified filter{}.", if filters.len() == 1 { "" } else { "s" })
    }
}

/// Which of a unit's databags to show.
struct Bags {
    endpoint: Option<String>,
    related_unit: Option<String>,
    app: bool,
}

impl Bags {
    fn keep(&self, unit: &mut Value) {
        let Some(relations) = unit["relation-info"].as_array_mut() else {
            return;
        };
        relations.retain(|one| self.endpoint.as_ref().is_none_or(|wanted| one["endpoint"] == wanted.as_str()));
        for relation in relations.iter_mut().filter_map(Value::as_object_mut) {
            if self.app {
                relation.remove("local-unit");
                relation.remove("related-units");
            }
            if let (Some(wanted), Some(Value::Object(units))) = (&self.related_unit, relation.get_mut("related-units"))
            {
                units.retain(|name, _| name == wanted);
            }
        }
        if relations.is_empty() {
            unit.as_object_mut().map(|body| body.remove("relation-info"));
        }
    }
}

/// `db`, `db/0`, `db/*`.
fn like(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(end) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(end)
}

/// Leaves what fits one of the names or states, the machines that it stands on, and the relations that it is in.
fn keep_only(report: &mut Value, filters: &[String]) {
    if filters.is_empty() {
        return;
    }
    let fits = |name: &str| filters.iter().any(|filter| like(filter, name));
    let state = |body: &Value| {
        ["workload-status", "juju-status", "application-status"]
            .iter()
            .any(|key| body[*key]["current"].as_str().is_some_and(|state| filters.iter().any(|f| f == state)))
    };
    let fits_unit = |unit: &str, body: &Value| fits(unit) || unit.split('/').next().is_some_and(fits) || state(body);
    let mut machines = Vec::new();
    if let Some(apps) = report["applications"].as_object_mut() {
        for app in apps.values_mut() {
            if let Some(units) = app["units"].as_object_mut() {
                units.retain(|unit, body| {
                    let mut below = body["subordinates"].as_object().into_iter().flatten();
                    let above = below.any(|(unit, body)| fits_unit(unit, body));
                    above || fits_unit(unit, body) || body["machine"].as_str().is_some_and(fits)
                });
                machines.extend(units.values().filter_map(|u| u["machine"].as_str()).map(ToOwned::to_owned));
            }
        }
        apps.retain(|name, app| fits(name) || state(app) || app["units"].as_object().is_some_and(|u| !u.is_empty()));
    }
    if let Some(all) = report["machines"].as_object_mut() {
        all.retain(|id, _| machines.contains(id) || fits(id));
    }
    let apps = report["applications"].clone();
    if let Some(all) = report["integrations"].as_array_mut() {
        let there =
            |end: &Value| end.as_str().and_then(|end| end.split(':').next()).is_some_and(|app| apps.get(app).is_some());
        all.retain(|one| there(&one["provider"]) || there(&one["requirer"]));
    }
    if let Some(all) = report["storage"]["storage"].as_object_mut() {
        let attached = |unit: &String| {
            unit.split('/')
                .next()
                .and_then(|app| apps.get(app))
                .is_some_and(|app| app["units"].get(unit.as_str()).is_some())
        };
        all.retain(|_, body| {
            body["attachments"]["units"].as_object().into_iter().flatten().any(|(unit, _)| attached(unit))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn filters() {
        let report = json!({"machines": {"0": {}, "1": {}, "2": {}}, "applications": {
            "db": {"units": {"db/0": {"machine": "0", "workload-status": {"current": "blocked"}}, "db/1": {"machine": "1"}}}, "web": {"units": {"web/0": {"machine": "2", "subordinates": {"agent/3": {}}}}}}});
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
        check(&["blocked"], expect![[r#"["db/0"] ["0"]"#]]);
        check(&["d*"], expect![[r#"["db/0", "db/1"] ["0", "1"]"#]]);
        check(&["*/0"], expect![[r#"["db/0", "web/0"] ["0", "2"]"#]]);
        check(&["1"], expect![[r#"["db/1"] ["1"]"#]]);
        check(&["agent"], expect![[r#"["web/0"] ["2"]"#]]);
        check(&["agent/3"], expect![[r#"["web/0"] ["2"]"#]]);
    }

    #[test]
    fn databags() {
        let unit = json!({"relation-info": [
            {"endpoint": "peers", "application-data": {"a": "1"}, "local-unit": {}, "related-units": {"db/1": {}, "db/2": {}}},
            {"endpoint": "client", "application-data": {}, "related-units": {"web/0": {}}}]});
        let check = |endpoint: Option<&str>, related: Option<&str>, app: bool, expected: Expect| {
            let mut unit = unit.clone();
            Bags { endpoint: endpoint.map(str::to_owned), related_unit: related.map(str::to_owned), app }
                .keep(&mut unit);
            expected.assert_eq(&unit["relation-info"].to_string());
        };
        check(
            Some("peers"),
            Some("db/2"),
            false,
            expect![[
                r#"[{"application-data":{"a":"1"},"endpoint":"peers","local-unit":{},"related-units":{"db/2":{}}}]"#
            ]],
        );
        check(Some("client"), None, true, expect![[r#"[{"application-data":{},"endpoint":"client"}]"#]]);
        check(Some("none"), None, false, expect!["null"]);
    }
}
