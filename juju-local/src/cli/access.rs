//! `exec`, `ssh` and `scp`: commands and files on a unit's machine.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Session;
use super::actions::end_of;
use super::args::{Format, Output, duration};
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Access {
    /// Run a command on units, in a hook's context
    ///
    /// One word is a shell command as it stands; of several each stays one word. What the command writes with hook
    /// tools counts, also when it leaves with an error.
    Exec(Exec),
    /// Open a shell on a unit's machine, or run a command there
    ///
    /// As root, and without any ssh: options of ssh are refused.
    #[command(override_usage = "juju-local ssh [OPTIONS] UNIT|MACHINE [COMMAND]...")]
    Ssh {
        /// A unit as in db/0 or db/leader, or a machine's number
        #[arg(value_name = "UNIT|MACHINE")]
        target: String,
        /// Without a terminal of its own
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
        pty: Option<bool>,
        /// There are no keys
        #[arg(long, hide = true)]
        no_host_key_checks: bool,
        /// There is nothing between
        #[arg(long, hide = true)]
        proxy: bool,
        /// What to run instead of a shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        words: Vec<String>,
    },
    /// Copy files from or to a unit: UNIT:PATH on one side
    Scp {
        /// What to copy, and last where to
        #[arg(required = true, num_args = 2.., value_name = "PATH")]
        paths: Vec<String>,
        /// A directory with all that is in it
        #[arg(short, long)]
        recursive: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    /// Units, as in db/0,db/leader
    #[arg(short, long, value_delimiter = ',')]
    unit: Vec<String>,
    /// Applications, with all their units
    #[arg(short, long, visible_alias = "app", value_delimiter = ',')]
    application: Vec<String>,
    /// Machines by their numbers: there is no hook's context then
    #[arg(long, value_delimiter = ',', value_name = "NUMBER")]
    machine: Vec<String>,
    /// On all machines
    #[arg(long, conflicts_with_all = ["unit", "application", "machine"])]
    all: bool,
    /// Do not wait: not supported
    #[arg(long, hide = true)]
    background: bool,
    /// Commands of one group run one after the other: they do in any case
    #[arg(long, hide = true)]
    execution_group: Option<String>,
    /// Beside each other, or one after the other: units of one machine wait for each other in any case
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    parallel: Option<bool>,
    /// How long to wait; the command goes on behind that
    #[arg(long, value_parser = duration, default_value = "5m")]
    wait: Duration,
    /// Times are in UTC in any case
    #[arg(long, hide = true)]
    utc: bool,
    #[command(flatten)]
    output: Output,
    /// What to run
    #[arg(required = true, value_name = "COMMAND")]
    words: Vec<String>,
}

pub(super) fn run(session: &Session, command: Access) -> anyhow::Result<ExitCode> {
    match command {
        Access::Exec(wanted) => exec(session, wanted),
        Access::Ssh { target, words, pty: _, no_host_key_checks: _, proxy: _ } => {
            let (model, words) = own_options(words)?;
            match model {
                Some(model) => ssh(&Session::new(Some(&model)), &target, &words),
                None => ssh(session, &target, &words),
            }
        }
        Access::Scp { paths, recursive } => {
            if let Some((to, sources)) = paths.split_last() {
                sources.iter().try_for_each(|from| scp(session, from, to, recursive))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Options that stand behind the unit, as `ssh UNIT -m MODEL COMMAND` has them; what follows is the command's.
fn own_options(words: Vec<String>) -> anyhow::Result<(Option<String>, Vec<String>)> {
    let mut model = None;
    let mut rest = words.into_iter().peekable();
    while let Some(word) = rest.next_if(|word| word.starts_with('-')) {
        match word.split_once('=').unwrap_or((word.as_str(), "")) {
            ("--", _) => break,
            ("-m" | "--model", "") => model = Some(rest.next().context("option needs an argument: -m")?),
            ("-m" | "--model", name) => model = Some(name.to_owned()),
            ("--no-host-key-checks" | "--proxy" | "--pty", _) => {}
            _ => anyhow::bail!(
                "cannot pass {word} to ssh: machines are entered without it; put a command with options behind --"
            ),
        }
    }
    Ok((model, rest.collect()))
}

/// Runs a command in a hook's context, or on machines without one, and shows what it said.
fn exec(session: &Session, wanted: Exec) -> anyhow::Result<ExitCode> {
    if wanted.background {
        anyhow::bail!("cannot exec with --background: juju-local waits until the command has ended; see --wait");
    }
    let command = shell_words(&wanted.words);
    let mut all = Map::new();
    let machines = if wanted.all {
        let report = session.ask(&Request::Status)?;
        report["machines"].as_object().into_iter().flatten().map(|(id, _)| id.clone()).collect()
    } else {
        wanted.machine
    };
    for machine in &machines {
        let output = inside(session, machine)?.args(["/bin/bash", "-c", &command]).stdin(Stdio::null()).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(1);
        let mut results = json!({"return-code": code});
        for (stream, said) in [("stdout", text(&output.stdout)), ("stderr", text(&output.stderr))] {
            if !said.is_empty() {
                results[stream] = json!(said);
            }
        }
        let id = session.ask(&Request::TaskNumber)?.to_string();
        all.insert(machine.clone(), json!({"id": id, "machine": machine, "results": results, "status": "completed"}));
    }
    if machines.is_empty() || !wanted.unit.is_empty() || !wanted.application.is_empty() {
        if wanted.unit.is_empty() && wanted.application.is_empty() {
            anyhow::bail!("You must specify a target, either through --all, --machine, --application or --unit");
        }
        let targets = format!("{} {}", wanted.unit.join(" "), wanted.application.join(" "));
        let request = Request::Exec { units: wanted.unit, applications: wanted.application, command };
        let (model, (reply, said)) = (session.model.clone(), mpsc::channel());
        std::thread::spawn(move || reply.send(super::client::ask(&model, &request)));
        let said = said.recv_timeout(wanted.wait);
        let said = said.map_err(|_| anyhow::anyhow!("timed out waiting for results from: {}", targets.trim()))??;
        all.extend(said.as_object().cloned().unwrap_or_default());
    }
    let done: Vec<Value> = all.values().cloned().collect();
    match wanted.output.format() {
        Format::Plain => {
            let said = heard(&all);
            if !said.is_empty() {
                wanted.output.text(&said)?;
            }
        }
        Format::Yaml | Format::Json => wanted.output.value(&Value::Object(all))?,
    }
    Ok(end_of(&done))
}

/// What commands have said, both streams, below the names of their units or machines where there are several.
fn heard(all: &Map<String, Value>) -> String {
    let mut out = String::new();
    for (target, one) in all {
        if all.len() > 1 {
            out.push_str(&format!("{target}:\n"));
        }
        for stream in ["stdout", "stderr"] {
            let said = one["results"][stream].as_str().unwrap_or_default();
            out.push_str(said);
            if !said.is_empty() && !said.ends_with('\n') {
                out.push('\n');
            }
        }
        if all.len() > 1 {
            out.push('\n');
        }
    }
    out
}

/// One word is a shell command as it stands; several are quoted, so that each stays one.
fn shell_words(words: &[String]) -> String {
    match words {
        [one] => one.clone(),
        many => many.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A command that will run on a machine, or a unit's machine, as root and with a login's environment.
fn inside(session: &Session, unit: &str) -> anyhow::Result<Command> {
    let machine = session.ask(&Request::Machine { unit: unit.to_owned() })?;
    let leader = machine["leader"].as_u64().with_context(|| {
        let remedy = if unit.contains('/') {
            format!("fault power-on {unit} starts it")
        } else {
            "status shows whose it is".to_owned()
        };
        format!("cannot reach {unit}: its machine is not running; juju-local {remedy}")
    })?;
    let mut command = Command::new("nsenter");
    command.args(["-t", &leader.to_string(), "-a", "--wdns=/root", "--"]).env_clear();
    command.env("HOME", "/root").env("USER", "root").env("LANG", "C.UTF-8");
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("TERM", std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()));
    Ok(command)
}

/// A shell on a unit's machine, or a command in it.
fn ssh(session: &Session, unit: &str, words: &[String]) -> anyhow::Result<ExitCode> {
    let mut command = inside(session, unit)?;
    if words.is_empty() {
        command.args(["/bin/bash", "-l"]);
    } else {
        command.args(["/bin/bash", "-c", &words.join(" ")]);
    }
    // In its place: signals and the terminal are the shell's own from now on, and so is the exit code.
    Err(command.exec()).context("cannot enter the machine")
}

/// One side of a copy.
enum Place<'a> {
    Here(&'a Path),
    There { unit: &'a str, path: &'a str },
}

impl<'a> Place<'a> {
    fn parse(text: &'a str) -> Self {
        match text.split_once(':') {
            Some((unit, path)) if unit.contains('/') && !unit.starts_with(['.', '/']) => Self::There { unit, path },
            Some(_) | None => Self::Here(Path::new(text)),
        }
    }
}

/// Copies one file, or with `recursive` a directory, from or to a unit. The machine's side is read and written by a
/// process in the machine: paths and links mean there what they mean there.
fn scp(session: &Session, from: &str, to: &str, recursive: bool) -> anyhow::Result<()> {
    let fine = |status: ExitStatus| {
        if status.success() { Ok(()) } else { Err(anyhow::anyhow!("cannot copy {from} to {to}")) }
    };
    match (Place::parse(from), Place::parse(to)) {
        (Place::There { unit, path }, Place::Here(target)) if recursive => {
            let (parent, name) = split(path)?;
            let mut reader = inside(session, unit)?;
            let mut source =
                reader.args(["tar", "-C", parent, "-cf", "-", "--", name]).stdout(Stdio::piped()).spawn()?;
            let stream = source.stdout.take().context("cannot read from the machine")?;
            let target = target.to_str().context("cannot use a path that is no text")?;
            fine(Command::new("tar").args(["-C", target, "-xf", "-"]).stdin(stream).status()?)?;
            fine(source.wait()?)
        }
        (Place::Here(source), Place::There { unit, path }) if recursive => {
            let (parent, name) = split(source.to_str().context("cannot use a path that is no text")?)?;
            let mut tar = Command::new("tar");
            let mut source = tar.args(["-C", parent, "-cf", "-", "--", name]).stdout(Stdio::piped()).spawn()?;
            let stream = source.stdout.take().context("cannot read the directory")?;
            let path = if path.is_empty() { "." } else { path };
            fine(
                inside(session, unit)?
                    .args(["tar", "-C", path, "--no-same-owner", "-xf", "-"])
                    .stdin(stream)
                    .status()?,
            )?;
            fine(source.wait()?)
        }
        (Place::There { unit, path }, Place::Here(target)) => {
            let (_, name) = split(path)?;
            let target = if target.is_dir() { target.join(name) } else { target.to_owned() };
            let output = inside(session, unit)?.args(["cat", "--", path]).stderr(Stdio::inherit()).output()?;
            fine(output.status)?;
            fs::write(&target, output.stdout).with_context(|| format!("cannot write {}", target.display()))
        }
        (Place::Here(source), Place::There { unit, path }) => {
            let file = fs::File::open(source).with_context(|| format!("cannot read {}", source.display()))?;
            let (_, name) = split(source.to_str().context("cannot use a path that is no text")?)?;
            // A directory is written into, as scp does.
            let script = "to=${1:-.}; if [ -d \"$to\" ]; then to=$to/$2; fi; exec cat > \"$to\"";
            fine(inside(session, unit)?.args(["sh", "-c", script, "scp", path, name]).stdin(file).status()?)
        }
        (Place::Here(_), Place::Here(_)) | (Place::There { .. }, Place::There { .. }) => {
            anyhow::bail!("cannot copy {from} to {to}: one side must be a unit's, as in mysql/0:/etc/hosts")
        }
    }
}

/// A path's directory and name.
fn split(path: &str) -> anyhow::Result<(&str, &str)> {
    let path = path.trim_end_matches('/');
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    if name.is_empty() || name == ".." {
        anyhow::bail!("cannot copy {path:?}: name a file or a directory");
    }
    Ok((if parent.is_empty() { "/" } else { parent }, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_paths() {
        let words = |list: &[&str]| shell_words(&list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["ls | wc"]), "ls | wc");
        assert_eq!(words(&["echo", "it's", "a b"]), r"'echo' 'it'\''s' 'a b'");
        assert_eq!(split("/etc/hosts").unwrap(), ("/etc", "hosts"));
        assert_eq!(split("/etc/").unwrap(), ("/", "etc"));
        assert_eq!(split("notes").unwrap(), (".", "notes"));
        assert_eq!(split("/").unwrap_err().to_string(), "cannot copy \"\": name a file or a directory");
        assert!(matches!(Place::parse("./a/b:c"), Place::Here(_)));
        assert!(matches!(Place::parse("db/0:/x"), Place::There { unit: "db/0", path: "/x" }));
    }

    #[test]
    fn options_behind_the_unit() {
        let check = |line: &str| match own_options(line.split_whitespace().map(str::to_owned).collect()) {
            Ok((model, words)) => format!("{} {}", model.unwrap_or_default(), words.join(" ")),
            Err(why) => why.to_string(),
        };
        assert_eq!(check("ls -l"), " ls -l");
        assert_eq!(check("-m other ls -m x"), "other ls -m x");
        assert_eq!(check("--model=other -- -x"), "other -x");
        assert_eq!(check("-m"), "option needs an argument: -m");
        assert!(check("-L 8080:x:80").starts_with("cannot pass -L to ssh"));
    }
}
