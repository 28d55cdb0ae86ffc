//! Printing: tables as Juju draws them, YAML, JSON.

use anyhow::Context as _;
use serde_json::Value;

use super::args::Format;

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

pub(super) fn text(value: &Value, path: &[&str]) -> String {
    match path.iter().try_fold(value, |at, key| at.get(key)) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|c| (*c).to_owned()).collect()
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
