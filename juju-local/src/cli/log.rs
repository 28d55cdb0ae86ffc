//! `debug-log`: the model's log, filtered, from its beginning or its end, and on.

use std::fs;
use std::io::{BufReader, IsTerminal as _};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::client::print;
use crate::controller::model_dir;

#[derive(Debug, Args)]
pub(super) struct DebugLog {
    /// From the beginning
    #[arg(long)]
    replay: bool,
    /// Only these, as in unit-db-0, db/0 or unit-db-*
    #[arg(short, long)]
    include: Vec<String>,
    /// Not these
    #[arg(short = 'x', long)]
    exclude: Vec<String>,
    /// Only these modules, as in unit.db/0.juju-log
    #[arg(long)]
    include_module: Vec<String>,
    /// Not these modules
    #[arg(long)]
    exclude_module: Vec<String>,
    /// At least this level
    #[arg(short, long, default_value = "DEBUG")]
    level: String,
    /// Go on showing what comes
    #[arg(long)]
    tail: bool,
    /// End at its end, on a terminal too
    #[arg(long, conflicts_with = "tail")]
    no_tail: bool,
    /// Times are in UTC in any case
    #[arg(long, hide = true)]
    utc: bool,
    /// This many of the last lines first
    #[arg(short = 'n', long)]
    lines: Option<usize>,
    /// So many of the latest lines, and no more
    #[arg(long)]
    limit: Option<usize>,
}

const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

/// Shows the log.
pub(super) fn debug_log(model: &str, options: &DebugLog) -> anyhow::Result<()> {
    let least = LEVELS
        .iter()
        .position(|level| *level == options.level.to_uppercase())
        .with_context(|| format!("cannot show level {:?}; use one of {}", options.level, LEVELS.join(", ")))?;
    let path = model_dir(model).join("debug.log");
    let file = fs::File::open(&path)
        .with_context(|| format!("cannot find a log of model {model:?}; see juju-local models"))?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut filter = Filter { least, options, passing: false };
    let mut shown: Vec<String> = Vec::new();
    while whole_line(&mut reader, &mut line)? {
        let text = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
        if filter.passes(&text) {
            shown.push(text);
        }
    }
    // So many of the latest, as Juju's help says; zero is as many as there are.
    let limit = options.limit.filter(|limit| *limit > 0);
    let count = options.lines.or(limit).unwrap_or(if options.replay { shown.len() } else { 10 });
    let mut left = limit.unwrap_or(usize::MAX);
    for text in shown.iter().skip(shown.len().saturating_sub(count)).take(left) {
        print(text);
    }
    left = left.saturating_sub(shown.len().min(count));
    // Juju goes on showing what comes on a terminal; in a pipe it would never end.
    let on_terminal = options.lines.is_none() && std::io::stdout().is_terminal();
    let follow = options.tail || (on_terminal && !options.no_tail);
    while follow && left > 0 {
        if whole_line(&mut reader, &mut line)? {
            let text = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
            if filter.passes(&text) {
                print(&text);
                left -= 1;
            }
        } else if path.exists() {
            std::thread::sleep(Duration::from_millis(200));
        } else {
            anyhow::bail!("model {model:?} is destroyed, and its log with it");
        }
    }
    Ok(())
}

/// Reads on; false when the line is not whole yet.
fn whole_line(reader: &mut impl std::io::BufRead, line: &mut Vec<u8>) -> anyhow::Result<bool> {
    reader.read_until(b'\n', line).context("cannot read the log")?;
    Ok(line.ends_with(b"\n"))
}

struct Filter<'a> {
    least: usize,
    options: &'a DebugLog,
    /// Whether the last line that said whose it is was shown: the lines of a longer message follow it.
    passing: bool,
}

impl Filter<'_> {
    fn passes(&mut self, line: &str) -> bool {
        let mut words = line.split(' ');
        let entity = words.next().and_then(|word| word.strip_suffix(':'));
        let level = words.nth(1).and_then(|word| LEVELS.iter().position(|l| *l == word));
        if let (Some(entity), Some(level)) = (entity, level) {
            let module = words.next().unwrap_or_default();
            let named = |list: &[String]| list.iter().any(|pattern| fits(pattern, entity));
            let modules = &self.options.include_module;
            self.passing = level >= self.least
                && (self.options.include.is_empty() || named(&self.options.include))
                && !named(&self.options.exclude)
                && !self.options.exclude_module.iter().any(|m| module.starts_with(m.as_str()))
                && (modules.is_empty() || modules.iter().any(|m| module.starts_with(m.as_str())));
        }
        self.passing
    }
}

/// `unit-db-0`, `db/0`, `unit-db-*`.
fn fits(pattern: &str, entity: &str) -> bool {
    match pattern.split_once('/') {
        Some((app, number)) => entity == format!("unit-{app}-{number}"),
        None => match pattern.strip_suffix('*') {
            Some(start) => entity.starts_with(start),
            None => entity == pattern,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Words {
        #[command(flatten)]
        options: DebugLog,
    }

    #[test]
    fn filters() {
        let log = [
            "unit-db-0: 10:00:00 INFO juju.worker hook ran",
            "unit-db-0: 10:00:01 ERROR unit.db/0.start it failed",
            "  and this is why",
            "unit-db-1: 10:00:02 DEBUG unit.db/1.start fine",
            "controller: 10:00:03 WARNING juju.controller slow",
        ];
        let check = |words: &str, expected: &str| {
            let options = Words::parse_from(words.split_whitespace()).options;
            let least = LEVELS.iter().position(|l| *l == options.level).unwrap();
            let mut filter = Filter { least, options: &options, passing: false };
            let passed: Vec<String> =
                (0..log.len()).filter(|i| filter.passes(log[*i])).map(|i| i.to_string()).collect();
            assert_eq!(passed.join(" "), expected, "{words}");
        };
        check("x", "0 1 2 3 4");
        check("x --level WARNING", "1 2 4");
        check("x --include unit-db-0", "0 1 2");
        check("x --include db/1 --include controller", "3 4");
        check("x --exclude unit-db-*", "4");
        check("x --include-module unit.db", "1 2 3");
        check("x --exclude-module juju", "1 2 3");
    }
}
