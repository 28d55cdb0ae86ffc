//! `wait-for`: asks for the status until it fits a query, and says what it saw last when it never did.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::Session;
use super::args::duration;
use super::client::say;
use super::query::Query;
use super::show::units;
use crate::api::Request;

#[derive(Debug, Args)]
pub(super) struct WaitFor {
    #[arg(value_enum)]
    kind: Kind,
    name: String,
    /// An expression that must be true, as in forEach(units, u => u.workload-status == "active")
    #[arg(long)]
    query: Option<String>,
    #[arg(long, default_value = "10m", value_parser = duration)]
    timeout: Duration,
    /// Show each change meanwhile
    #[arg(long)]
    summary: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Application,
    Unit,
    Machine,
    Model,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Application => "application",
            Self::Unit => "unit",
            Self::Machine => "machine",
            Self::Model => "model",
        })
    }
}

/// Waits; fails when the time is out.
pub(super) fn wait_for(session: &Session, wanted: &WaitFor) -> anyhow::Result<ExitCode> {
    let text = wanted.query.clone().unwrap_or_else(|| default_query(wanted.kind).to_owned());
    let query = Query::parse(&text).map_err(|why| anyhow::anyhow!(why))?;
    let until = Instant::now() + wanted.timeout;
    let mut last = String::new();
    loop {
        let report = session.ask(&Request::Status)?;
        match scope(&report, wanted.kind, &wanted.name) {
            Some(values) => {
                let seen = |key: &str| values.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                let now = format!("{} {:?} is {}: {}", wanted.kind, wanted.name, seen("status"), seen("message"));
                if now != last && wanted.summary {
                    say(&now);
                }
                last = now;
                if query.holds(&values).map_err(|why| anyhow::anyhow!(why))? {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            // What is not there is dead, to those who ask for that.
            None if text.contains("dead") => return Ok(ExitCode::SUCCESS),
            None => last = format!("{} {:?} is not there", wanted.kind, wanted.name),
        }
        if Instant::now() > until {
            anyhow::bail!("timed out waiting for {} {:?} to fit {}; last seen: {last}", wanted.kind, wanted.name, text);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// What is waited for when nothing is said.
fn default_query(kind: Kind) -> &'static str {
    match kind {
        Kind::Application | Kind::Unit => "life==\"alive\" && status==\"active\"",
        Kind::Machine => "life==\"alive\" && status==\"started\"",
        Kind::Model => "life==\"alive\" && status==\"available\"",
    }
}

/// The names that a query about this application or unit knows.
fn scope(report: &Value, kind: Kind, name: &str) -> Option<Map<String, Value>> {
    match kind {
        Kind::Application => {
            let body = report["applications"].get(name)?;
            let units: Vec<Value> = units(report)
                .filter(|(unit, _)| unit.split('/').next() == Some(name))
                .map(|(unit, body)| Value::Object(common(unit, body, "workload-status")))
                .collect();
            let mut scope = common(name, body, "application-status");
            scope.insert("charm".to_owned(), body["charm-name"].clone());
            scope.insert("exposed".to_owned(), body["exposed"].clone());
            scope.insert("units".to_owned(), units.into());
            Some(scope)
        }
        Kind::Unit => {
            let (_, body) = units(report).find(|(unit, _)| *unit == name)?;
            Some(common(name, body, "workload-status"))
        }
        Kind::Machine => Some(common(name, report["machines"].get(name)?, "juju-status")),
        Kind::Model => {
            let body = (report["model"]["name"] == name).then_some(&report["model"])?;
            let mut scope = common(name, body, "model-status");
            for (key, status) in [("applications", "application-status"), ("machines", "juju-status")] {
                let all = report[key].as_object().into_iter().flatten();
                let all: Vec<Value> = all.map(|(name, body)| Value::Object(common(name, body, status))).collect();
                scope.insert(key.to_owned(), all.into());
            }
            let units: Vec<Value> =
                units(report).map(|(name, body)| Value::Object(common(name, body, "workload-status"))).collect();
            scope.insert("units".to_owned(), units.into());
            Some(scope)
        }
    }
}

fn common(name: &str, body: &Value, key: &str) -> Map<String, Value> {
    let text = |value: &Value| json!(value.as_str().unwrap_or_default());
    let (status, message) = (text(&body[key]["current"]), text(&body[key]["message"]));
    let mut scope = Map::from_iter([
        ("name".to_owned(), json!(name)),
        ("life".to_owned(), json!(body["life"].as_str().unwrap_or("alive"))),
        ("status".to_owned(), status.clone()),
        ("message".to_owned(), message.clone()),
        ("workload-status".to_owned(), status),
        ("workload-message".to_owned(), message),
    ]);
    if key == "workload-status" {
        scope.insert("agent-status".to_owned(), text(&body["juju-status"]["current"]));
        scope.insert("machine".to_owned(), text(&body["machine"]));
        scope.insert("public-address".to_owned(), text(&body["public-address"]));
        scope.insert("leader".to_owned(), json!(body["leader"] == json!(true)));
    }
    scope
}
