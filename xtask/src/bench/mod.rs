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
mod page;
mod recovery;
mod search;
mod size;

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct Request {
    /// Only these; all without
    sections: Vec<Section>,
    /// Write what was measured into docs/benchmarks.md as well
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
    let machine = page::machine()?;
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
        let measured = measured.with_context(|| format!("cannot measure {section:?}"))?;
        let name = section.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let part = page::part(&name, &machine, &measured);
        println!("{part}");
        if request.write {
            page::write(&name, part)?;
        }
        rows.extend(measured);
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
