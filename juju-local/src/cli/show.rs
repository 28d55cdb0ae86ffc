//! Printing: tables as Juju draws them, YAML, JSON.

use anyhow::Context as _;
use serde_json::Value;

use super::Format;

/// A value as `--format` asks; what has no table of its own is printed as YAML.
pub(super) fn formatted(value: &Value, format: Format) -> anyhow::Result<String> {
    match format {
        Format::Json => Ok(value.to_string()),
        Format::Yaml | Format::Plain => serde_yaml::to_string(value).context("cannot print as YAML"),
    }
}

/// Columns as wide as their longest cell, two spaces between.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|c| rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    rows.iter()
        .map(|row| {
            let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
            format!("{}\n", line.trim_end())
        })
        .collect()
}

fn text(value: &Value, path: &[&str]) -> String {
    match path.iter().try_fold(value, |at, key| at.get(key)) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|c| (*c).to_owned()).collect()
}

/// `juju status`.
pub(super) fn status(status: &Value, relations: bool, storage: bool) -> String {
    let mut out = table(&[
        row(["Model", "Controller", "Cloud/Region", "Version"]),
        vec![
            text(status, &["model", "name"]),
            "juju-local".to_owned(),
            "localhost".to_owned(),
            text(status, &["model", "version"]),
        ],
    ]);
    let empty = serde_json::Map::new();
    let apps = status["applications"].as_object().unwrap_or(&empty);
    if apps.is_empty() {
        out.push_str("\nModel is empty.\n");
        return out;
    }
    let mut rows = vec![row(["App", "Version", "Status", "Scale", "Charm", "Rev", "Exposed", "Message"])];
    let mut units = vec![row(["Unit", "Workload", "Agent", "Machine", "Public address", "Ports", "Message"])];
    for (name, app) in apps {
        let members = app["units"].as_object().unwrap_or(&empty);
        rows.push(vec![
            name.clone(),
            text(app, &["version"]),
            text(app, &["application-status", "current"]),
            members.len().to_string(),
            text(app, &["charm-name"]),
            text(app, &["charm-rev"]),
            "no".to_owned(),
            text(app, &["application-status", "message"]),
        ]);
        let mut members: Vec<(&String, &Value)> = members.iter().collect();
        members.sort_by_key(|(unit, _)| unit.rsplit('/').next().and_then(|n| n.parse::<u32>().ok()));
        for (unit, body) in members {
            let star = if body["leader"] == Value::Bool(true) { "*" } else { "" };
            let ports =
                body["open-ports"].as_array().map(|p| p.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","));
            units.push(vec![
                format!("{unit}{star}"),
                text(body, &["workload-status", "current"]),
                text(body, &["juju-status", "current"]),
                text(body, &["machine"]),
                text(body, &["public-address"]),
                ports.unwrap_or_default(),
                text(body, &["workload-status", "message"]),
            ]);
        }
    }
    out.push('\n');
    out.push_str(&table(&rows));
    out.push('\n');
    out.push_str(&table(&units));
    let mut machines = vec![row(["Machine", "State", "Address", "Inst id"])];
    for (id, machine) in status["machines"].as_object().unwrap_or(&empty) {
        machines.push(vec![
            id.clone(),
            text(machine, &["juju-status", "current"]),
            text(machine, &["dns-name"]),
            text(machine, &["instance-id"]),
        ]);
    }
    out.push('\n');
    out.push_str(&table(&machines));
    if relations {
        let mut rows = vec![row(["Application", "Endpoint", "Related application", "Interface"])];
        for (name, app) in apps {
            for (endpoint, list) in app["relations"].as_object().unwrap_or(&empty) {
                for relation in list.as_array().into_iter().flatten() {
                    rows.push(vec![
                        name.clone(),
                        endpoint.clone(),
                        text(relation, &["related-application"]),
                        text(relation, &["interface"]),
                    ]);
                }
            }
        }
        out.push('\n');
        out.push_str(&table(&rows));
    }
    if storage {
        out.push('\n');
        out.push_str(&storages(&status["storage"]));
    }
    let findings = super::watchful::lines(&status["findings"]);
    if !findings.is_empty() {
        out.push('\n');
        out.push_str(&findings);
    }
    out
}

/// `juju storage`.
pub(super) fn storages(all: &Value) -> String {
    let empty = serde_json::Map::new();
    let mut rows = vec![row(["Unit", "Storage ID", "Type", "Size", "Status", "Location"])];
    for (id, body) in all.as_object().unwrap_or(&empty) {
        for (unit, place) in body["attachments"]["units"].as_object().unwrap_or(&empty) {
            rows.push(vec![
                unit.clone(),
                id.clone(),
                text(body, &["kind"]),
                text(body, &["size"]),
                text(body, &["status", "current"]),
                text(place, &["location"]),
            ]);
        }
    }
    rows[1..].sort();
    table(&rows)
}

/// One task's results as plain text.
pub(super) fn task(task: &Value) -> String {
    let mut out = String::new();
    let mut results = task["results"].as_object().cloned().unwrap_or_default();
    results.remove("return-code");
    for stream in ["stdout", "stderr"] {
        if let Some(Value::String(text)) = results.remove(stream) {
            out.push_str(&text);
        }
    }
    if !results.is_empty() {
        out.push_str(&serde_yaml::to_string(&results).unwrap_or_default());
    }
    out
}
