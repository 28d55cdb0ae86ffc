//! `exec`, `ssh` and `scp`: commands and files on a unit's machine.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::Context as _;
use clap::Subcommand;

use super::Session;
use super::args::Format;
use super::client::{print, say};
use super::show::formatted;
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Access {
    /// Run a command on units, in a hook's context
    Exec {
        #[arg(short, long)]
        unit: Vec<String>,
        #[arg(short, long)]
        application: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
        #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Open a shell on a unit's machine, or run a command there
    Ssh {
        unit: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Copy a file from or to a unit: UNIT:PATH on one side
    Scp {
        from: String,
        to: String,
        /// A directory with all that is in it
        #[arg(short, long)]
        recursive: bool,
    },
}

pub(super) fn run(session: &Session, command: Access) -> anyhow::Result<ExitCode> {
    match command {
        Access::Exec { unit, application, format, words } => exec(session, &unit, application, format, &words),
        Access::Ssh { unit, words } => ssh(session, &unit, &words),
        Access::Scp { from, to, recursive } => scp(session, &from, &to, recursive).map(|()| ExitCode::SUCCESS),
    }
}

/// Runs a command in a hook's context and shows what it said.
fn exec(
    session: &Session,
    unit: &[String],
    application: Option<String>,
    format: Format,
    words: &[String],
) -> anyhow::Result<ExitCode> {
    let units = unit.iter().flat_map(|u| u.split(',')).map(ToOwned::to_owned).collect();
    let results = session.ask(&Request::Exec { units, application, command: shell_words(words) })?;
    let all = results.as_object().cloned().unwrap_or_default();
    let code = all.values().filter_map(|r| r["return-code"].as_i64()).find(|c| *c != 0).unwrap_or(0);
    if format != Format::Plain {
        print(&formatted(&results, format)?);
        return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
    }
    for (unit, result) in &all {
        if all.len() > 1 {
            print(&format!("{unit}:"));
        }
        let text = result["stdout"].as_str().unwrap_or_default();
        if !text.is_empty() {
            print(text);
        }
        let errors = result["stderr"].as_str().unwrap_or_default().trim_end();
        if !errors.is_empty() {
            say(errors);
        }
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
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

/// A command that will run on a unit's machine, as root and with a login's environment.
fn inside(session: &Session, unit: &str) -> anyhow::Result<Command> {
    let machine = session.ask(&Request::Machine { unit: unit.to_owned() })?;
    let leader = machine["leader"].as_u64().with_context(|| {
        format!("cannot reach {unit}: its machine is not running; juju-local fault power-on {unit} starts it")
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
    let status = command.status().context("cannot enter the machine")?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
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
}
