//! docs/benchmarks.md: a part for each section, with the machine on which it was measured. Others stay as they are.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::Context as _;
use clap::ValueEnum as _;

use super::{Row, Section};
use crate::build;

const TOP: &str = "# Benchmarks\n\nWritten by `cargo xtask bench --write`; nothing here was typed by hand.\n";

/// What a section has measured, under its name.
pub(super) fn part(name: &str, machine: &str, rows: &[Row]) -> String {
    let mut text =
        format!("## {name}\n\n{machine}\n\n| what | measured | compared with | promise |\n|---|---|---|---|\n");
    for row in rows {
        let kept = match row.kept {
            Some(true) => "kept",
            Some(false) => "BROKEN",
            None => "",
        };
        text.push_str(&format!("| {} | {} | {} | {kept} |\n", row.what, row.ours, row.against));
    }
    text
}

/// Puts a part in the place of the one that was there.
pub(super) fn write(name: &str, part: String) -> anyhow::Result<()> {
    let path = build::root().join("docs/benchmarks.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    fs::write(path, with(&before, name, part)).context("cannot write docs/benchmarks.md")
}

fn with(before: &str, name: &str, part: String) -> String {
    let named = before.split("\n## ").skip(1).filter_map(|part| {
        let (name, rest) = part.split_once('\n')?;
        Some((name.to_owned(), format!("## {name}\n{}\n", rest.trim_end_matches('\n'))))
    });
    let mut parts: BTreeMap<String, String> = named.collect();
    parts.insert(name.to_owned(), part);
    let order = Section::value_variants().iter().filter_map(|section| section.to_possible_value());
    let parts = order.filter_map(|value| parts.remove(value.get_name()));
    std::iter::once(TOP.to_owned()).chain(parts).collect::<Vec<_>>().join("\n")
}

/// The machine and the versions, without which a number means nothing.
pub(super) fn machine() -> anyhow::Result<String> {
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let os =
        os.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown").trim_matches('"').to_owned();
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches([' ', '\t', ':']);
    let count = std::thread::available_parallelism().context("cannot count the processors")?;
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let compiler = Command::new("rustc").arg("--version").output().context("cannot run rustc")?;
    Ok(format!(
        "{count} × {processor}, {} GiB; {os}, {}; {}",
        memory_kib / (1024 * 1024),
        fs::read_to_string("/proc/sys/kernel/osrelease").map(|r| format!("Linux {}", r.trim())).unwrap_or_default(),
        String::from_utf8_lossy(&compiler.stdout).trim(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_anew_stays() {
        let part = |name: &str, ours: &str| {
            let row = Row { what: "w".to_owned(), ours: ours.to_owned(), against: String::new(), kept: Some(true) };
            part(name, "a machine", &[row])
        };
        let mut page = String::new();
        for (name, ours) in [("juju-local", "1 s"), ("size", "2 MB"), ("juju-local", "3 s")] {
            page = with(&page, name, part(name, ours));
        }
        assert_eq!(page, format!("{TOP}\n{}\n{}", part("size", "2 MB"), part("juju-local", "3 s")));
    }
}
