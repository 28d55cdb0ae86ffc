//! `findings`: the bugs of charms that the strict watch has found; `trace` and `replay`: what has happened in a model,
//! and whether the engine would do it again.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::Value;

use super::Session;
use super::args::Format;
use super::client::print;
use super::show::{formatted, table};
use crate::api::Request;
use crate::controller::model_dir;
use crate::watchful::{Finding, replay, trace_path};

#[derive(Debug, Subcommand)]
pub(super) enum Watchful {
    /// Show the bugs that `model-config strict=true` has found; leaves with 1 when there are any
    Findings {
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
        /// Forget them when they are shown
        #[arg(long)]
        clear: bool,
    },
    /// Show what has happened, one JSON object a line, since `model-config trace=true`
    Trace {
        /// Go on showing what comes
        #[arg(long)]
        tail: bool,
    },
    /// Ask the engine again what a trace says that it did, and name the first difference
    Replay {
        /// A file that `trace` has written, or a model's own
        trace: PathBuf,
    },
}

pub(super) fn run(session: &Session, command: Watchful) -> anyhow::Result<ExitCode> {
    let model = &session.model;
    match command {
        Watchful::Findings { format, clear } => {
            let found = session.ask(&Request::Findings { clear })?;
            let text = match format {
                Format::Plain => lines(&found),
                Format::Yaml | Format::Json => formatted(&found, format)?,
            };
            if !text.is_empty() {
                print(&text);
            }
            let none = found.as_array().is_none_or(Vec::is_empty);
            Ok(if none { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Watchful::Trace { tail } => {
            let path = trace_path(&model_dir(model));
            if !path.exists() {
                anyhow::bail!("model {model:?} is not traced; juju-local model-config trace=true does");
            }
            let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let (mut lines, mut line, mut seen) = (BufReader::new(file), String::new(), 0);
            loop {
                if lines.read_line(&mut line)? == 0 && !tail {
                    return Ok(ExitCode::SUCCESS);
                }
                if line.ends_with('\n') {
                    print(&line);
                    line.clear();
                    seen += 1;
                } else if replaced(lines.get_ref(), &path) {
                    // What has become a secret is marked in another file of as many lines.
                    lines = BufReader::new(File::open(&path)?);
                    line.clear();
                    for _ in 0..seen {
                        lines.read_line(&mut String::new())?;
                    }
                } else {
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
        }
        Watchful::Replay { trace } => {
            let text = fs::read_to_string(&trace).with_context(|| format!("cannot read {}", trace.display()))?;
            print(&replay(&text).map_err(|why| anyhow::anyhow!("{}: {why}", trace.display()))?.to_string());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether another file is there now.
fn replaced(file: &File, path: &Path) -> bool {
    let inode = |metadata: std::io::Result<fs::Metadata>| metadata.map(|metadata| metadata.ino()).ok();
    inode(fs::metadata(path)).is_some_and(|now| Some(now) != inode(file.metadata()))
}

/// A line for each finding, as at the end of `status`.
pub(super) fn lines(found: &Value) -> String {
    let found: Vec<Finding> = serde_json::from_value(found.clone()).unwrap_or_default();
    if found.is_empty() {
        return String::new();
    }
    let mut rows = vec![["Finding", "Unit", "During", "Times", "What"].map(ToOwned::to_owned).to_vec()];
    for finding in found {
        let (kind, unit, times) = (finding.kind.to_string(), finding.unit.to_string(), finding.times.to_string());
        rows.push(vec![kind, unit, finding.during, times, finding.what]);
    }
    table(&rows)
}
