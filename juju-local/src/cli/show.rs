//! Printing: tables with Juju's columns, colours on a terminal, YAML, JSON.

use std::io::IsTerminal as _;

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

/// Whether words of a status have their colour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// On a terminal, unless it or its user does not want any; `asked` settles it.
    pub(super) fn on_terminal(asked: Option<bool>) -> Self {
        let dumb = std::env::var_os("NO_COLOR").is_some() || std::env::var("TERM").is_ok_and(|term| term == "dumb");
        Self(asked.unwrap_or_else(|| !dumb && std::io::stdout().is_terminal()))
    }

    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self(false)
    }

    #[cfg(test)]
    pub(super) fn coloured() -> Self {
        Self(true)
    }

    /// Green for what is well, red for what needs somebody, yellow for what may end by itself.
    pub(super) fn status(self, word: &str) -> String {
        let colour = match word {
            _ if !self.0 => None,
            "active" | "idle" | "started" | "running" | "attached" | "completed" => Some(32),
            "error" | "blocked" | "failed" | "lost" | "down" | "stopped" => Some(31),
            "waiting" | "maintenance" | "executing" | "allocating" | "pending" | "detaching" => Some(33),
            _ => None,
        };
        colour.map_or_else(|| word.to_owned(), |colour| format!("\x1b[{colour}m{word}\x1b[0m"))
    }
}

/// How wide a cell is on a terminal: what sets colours takes no room.
fn width(cell: &str) -> usize {
    let mut parts = cell.split('\x1b');
    let first = parts.next().unwrap_or_default().chars().count();
    first + parts.map(|part| part.split_once('m').map_or(0, |(_, rest)| rest.chars().count())).sum::<usize>()
}

/// Columns as wide as their longest cell, two spaces between.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    aligned(rows, &[])
}

/// The same with some columns, numbers mostly, to the right.
pub(super) fn aligned(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().filter_map(|r| r.get(c)).map(|cell| width(cell)).max().unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let room = " ".repeat(widths[column] - width(cell));
                let (before, after) = if right.contains(&column) { (room.as_str(), "") } else { ("", room.as_str()) };
                line.push_str(&format!("{before}{cell}{after}  "));
            }
            format!("{}\n", line.trim_end())
        })
        .collect()
}

/// What stands at a path of keys, as text.
pub(super) fn text(value: &Value, path: &[&str]) -> String {
    path.iter().try_fold(value, |at, key| at.get(key)).map(super::args::plain).unwrap_or_default()
}

/// Every unit of a status report, subordinates beside those that they stand under.
pub(super) fn units(report: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let apps = report["applications"].as_object().into_iter().flatten();
    let principals = apps.flat_map(|(_, app)| app["units"].as_object().into_iter().flatten());
    principals.flat_map(|(name, unit)| {
        let below = unit["subordinates"].as_object().into_iter().flatten();
        below.chain([(name, unit)])
    })
}

pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|c| (*c).to_owned()).collect()
}

/// `2G` as `2.0 GiB`.
pub(super) fn size(text: &str) -> String {
    let Some(bytes) = crate::machine::size_in_bytes(text) else {
        return text.to_owned();
    };
    let mib = bytes >> 20;
    match mib {
        0..1024 => format!("{mib} MiB"),
        1024..1_048_576 => format!("{}.{} GiB", mib >> 10, (mib % 1024) * 10 / 1024),
        _ => format!("{}.{} TiB", mib >> 20, (mib % 1_048_576) * 10 / 1_048_576),
    }
}
