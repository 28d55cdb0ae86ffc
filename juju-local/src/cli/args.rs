//! What several commands have in common on the command line: how to print, how long to wait, whether to ask first, and
//! key=value.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::client::complain;
use super::show;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[value(name = "tabular", alias = "plain", alias = "smart")]
    Plain,
    Yaml,
    Json,
}

/// Where a command's result goes, and in which shape; a command that has no table of its own prints YAML.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// How to print: for people, or for programs
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write it to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
}

impl Output {
    pub(super) fn format(&self) -> Format {
        self.format.unwrap_or(Format::Plain)
    }

    /// The format that was asked for, if any was.
    pub(super) fn given_format(&self) -> Option<Format> {
        self.format
    }

    /// Prints a value, with `table` for people.
    pub(super) fn write(&self, value: &Value, table: impl FnOnce() -> String) -> anyhow::Result<()> {
        self.text(&match self.format() {
            Format::Plain => table(),
            format @ (Format::Yaml | Format::Json) => show::formatted(value, format)?,
        })
    }

    /// Prints a value that has no table.
    pub(super) fn value(&self, value: &Value) -> anyhow::Result<()> {
        self.text(&show::formatted(value, self.format())?)
    }

    /// Prints a text as it is.
    pub(super) fn text(&self, text: &str) -> anyhow::Result<()> {
        write_out(self.output.as_deref(), text)
    }
}

/// To a file, or to standard output.
pub(super) fn write_out(file: Option<&str>, text: &str) -> anyhow::Result<()> {
    match file {
        None => super::client::print(text),
        Some(file) => {
            let end = if text.ends_with('\n') { "" } else { "\n" };
            fs::write(file, format!("{text}{end}")).with_context(|| format!("cannot write {file}"))?;
        }
    }
    Ok(())
}

/// `90`, `90s`, `5m`, `1h30m`, `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write for example 90s, 5m or 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let more = match unit {
            "ms" => Duration::from_millis(number),
            "" | "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60).ok_or_else(wrong)?),
            "h" => Duration::from_secs(number.checked_mul(3600).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        total = total.checked_add(more).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// The same with days, in whole seconds.
pub(crate) fn clock_seconds(text: &str) -> Result<u64, String> {
    match text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()) {
        Some(days) => days.checked_mul(24 * 3600).ok_or_else(|| format!("{text:?} is too long")),
        None => duration(text).map(|duration| duration.as_secs()),
    }
}

/// How a removal goes.
#[derive(Debug, Args)]
pub(super) struct Removal {
    /// Without running the charm's last hooks
    #[arg(long)]
    pub(super) force: bool,
    /// Without asking
    #[arg(long, alias = "yes", short_alias = 'y')]
    pub(super) no_prompt: bool,
    /// It waits for nobody in any case
    #[arg(long, hide = true)]
    pub(super) no_wait: bool,
}

/// Asks, whoever is there to answer, before something is removed.
pub(super) fn confirm(removal: &Removal, what: &str) -> anyhow::Result<()> {
    if removal.no_prompt {
        return Ok(());
    }
    complain(&format!("This will {what}. Continue [y/N]? "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        Ok(())
    } else {
        anyhow::bail!("aborted: answer y, or give --no-prompt")
    }
}

/// `key=value` words.
pub(super) fn pairs(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    words
        .iter()
        .map(|word| {
            let (key, value) = word
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .with_context(|| format!("expected key=value, got {word:?}"))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// What Juju takes of a file of options at most.
const OPTION_FILE_BYTES_MAX: u64 = 5 << 20;

/// A YAML map's values as texts; with an application's name, what stands below it where the file has several.
pub(super) fn option_file(path: &str, application: Option<&str>) -> anyhow::Result<BTreeMap<String, Value>> {
    small_enough(path)?;
    let mut map: BTreeMap<String, Value> = yaml_file("options", path)?;
    if let Some(application) = application {
        if let Some(Value::Object(inner)) = map.get(application) {
            map = inner.clone().into_iter().collect();
        } else if map.values().all(Value::is_object) && !map.is_empty() {
            let found = map.keys().cloned().collect::<Vec<_>>().join(", ");
            anyhow::bail!("no settings found for {application:?} in {path}; it has those of {found}");
        }
    }
    Ok(map)
}

/// `key=value` words as an application's options; `key=@FILE` is what the file holds.
pub(super) fn option_words(words: &[String]) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut options = BTreeMap::new();
    for (key, value) in pairs(words)? {
        let value = match value.strip_prefix('@') {
            None => value,
            Some(path) => {
                small_enough(path)?;
                fs::read_to_string(path).with_context(|| format!("cannot read option file {path}"))?
            }
        };
        options.insert(key, value.into());
    }
    Ok(options)
}

fn small_enough(path: &str) -> anyhow::Result<()> {
    if fs::metadata(path).is_ok_and(|file| file.len() > OPTION_FILE_BYTES_MAX) {
        anyhow::bail!("cannot use options file {path}: size of option file is larger than 5M");
    }
    Ok(())
}

/// A YAML file that somebody wrote for one command: options, parameters, a secret.
pub(super) fn yaml_file<T: serde::de::DeserializeOwned>(of_what: &str, path: &str) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {of_what} file {path}"))?;
    serde_yaml::from_str(&text)
        .map_err(|why| anyhow::anyhow!("cannot read {of_what} file {path}: {}", crate::charm_files::in_words(&why)))
}

/// A value alone, as `config APP KEY` shows it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::io::Write as _;

    #[test]
    fn durations() {
        let check = |text: &str| duration(text).map_or_else(|why| why, |d| format!("{d:?}"));
        assert_eq!(check("90"), "90s");
        assert_eq!(check("1h30m"), "5400s");
        assert_eq!(check("500ms"), "500ms");
        assert_eq!(check("soon"), "\"soon\" is no duration; write for example 90s, 5m or 1h30m");
        assert_eq!((clock_seconds("30d"), clock_seconds("90s")), (Ok(2_592_000), Ok(90)));
        assert!(duration("").is_err() && duration("5x").is_err() && duration("18446744073709551615s1s").is_err());
    }

    #[test]
    fn option_files() {
        let check = |text: &str, expected: Expect| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let path = file.path().to_str().unwrap();
            let read = option_file(path, Some("db"));
            expected.assert_eq(&read.map_or_else(
                |why| format!("{why:#}").replace(path, "FILE"),
                |map| map.iter().map(|(k, v)| format!("{k}={}", plain(v))).collect::<Vec<_>>().join(" "),
            ));
        };
        check("{a: 1, b: true, c: x y}", expect!["a=1 b=true c=x y"]);
        check("db: {a: 1}\nweb: {b: 2}", expect!["a=1"]);
        check("web: {b: 2}", expect![[r#"no settings found for "db" in FILE; it has those of web"#]]);
        check("{}", expect![""]);
    }
}
