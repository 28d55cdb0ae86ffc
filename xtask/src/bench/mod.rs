//! `cargo xtask bench`: every number in docs/benchmarks.md comes from here.

mod archive;
mod backups;
mod formation;
mod hook;
mod hooks_count;
mod juju_local;
mod load;
mod model;
mod options;
mod recovery;
mod search;
mod size;

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::build;

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct Request {
    /// Only these; all without
    sections: Vec<Section>,
    /// Write docs/benchmarks.md as well
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// The archive, the binary and its libraries
    Size,
    /// A quiet update-status pass, against a minimal charm on Python's ops
    Hook,
    /// From packages installed everywhere to three Synced members, against the plain sequence
    Formation,
    /// Hooks from deploy to quiet, for clusters of several sizes
    HooksCount,
    /// Coming back after a crash, after a full outage, and the agent's cost at rest
    Recovery,
    /// Making backups and bringing them back, and what clients notice of it
    Backups,
    /// Changing options: a rolling restart under load, and a change that changes nothing
    Options,
    /// What juju-local itself costs: hooks, tool calls, machines, a model at rest
    JujuLocal,
    /// How fast the model check and the simulation are
    Search,
}

/// One measured line.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured.
    what: String,
    /// Ours.
    ours: String,
    /// What it is compared with, or the limit.
    against: String,
    /// Whether it is as good as promised; `None` where nothing was promised.
    kept: Option<bool>,
}

/// Measures, prints, and fails when a promise is broken.
pub(crate) fn run(request: &Request) -> anyhow::Result<()> {
    let sections = if request.sections.is_empty() { Section::value_variants() } else { request.sections.as_slice() };
    let mut rows = Vec::new();
    for section in sections {
        eprintln!("measuring {section:?}");
        let measured = match section {
            Section::Size => size::measure(),
            Section::Hook => hook::measure(),
            Section::Formation => formation::measure(),
            Section::HooksCount => hooks_count::measure(),
            Section::Recovery => recovery::measure(),
            Section::Backups => backups::measure(),
            Section::Options => options::measure(),
            Section::JujuLocal => juju_local::measure(),
            Section::Search => search::measure(),
        };
        rows.extend(measured.with_context(|| format!("cannot measure {section:?}"))?);
    }
    let text = format!("{}\n{}", head()?, table(&rows));
    print!("{text}");
    if request.write {
        fs::write(build::root().join("docs/benchmarks.md"), &text).context("cannot write docs/benchmarks.md")?;
    }
    let broken: Vec<&str> = rows.iter().filter(|row| row.kept == Some(false)).map(|row| row.what.as_str()).collect();
    if !broken.is_empty() {
        anyhow::bail!("cannot keep the promise for: {}", broken.join(", "));
    }
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn table(rows: &[Row]) -> String {
    let mut text = "| what | measured | compared with | promise |\n|---|---|---|---|\n".to_owned();
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

/// The machine and the versions, without which a number means nothing.
fn head() -> anyhow::Result<String> {
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
        "# Benchmarks\n\nWritten by `cargo xtask bench --write`; nothing here was typed by hand.\n\n\
         - machine: {count} × {processor}, {} GiB\n- system: {os}, {}\n- compiler: {}\n",
        memory_kib / (1024 * 1024),
        fs::read_to_string("/proc/sys/kernel/osrelease").map(|r| format!("Linux {}", r.trim())).unwrap_or_default(),
        String::from_utf8_lossy(&compiler.stdout).trim(),
    ))
}
