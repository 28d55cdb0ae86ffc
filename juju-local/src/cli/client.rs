//! Talking to a model's controller, and starting it where it does not run.

use std::fs;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use super::interrupt;
use crate::api::{Reply, Request};
use crate::controller::{STOPPED, is_stopped, model_dir};
use crate::machine::{STATE_ROOT, check_host, check_room, remove_tree};

/// Whether nobody wants to be told what goes well.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on, or not.
pub(super) fn be_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// One line for people, on standard error.
pub(super) fn say(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        complain(text);
    }
}

/// The same for what went wrong, and for questions.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// One text for people or programs, on standard output.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    if out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes())).is_err() {
        // Nobody reads any more, as in `debug-log --tail | head`: a command that goes on for ever would go on unheard.
        std::process::exit(1);
    }
}

/// The model that is worked on: named, in the environment as Juju has it, chosen, or the default one.
pub(super) fn current(model: Option<&str>) -> String {
    let named = model.map(ToOwned::to_owned).or_else(|| std::env::var("JUJU_MODEL").ok());
    if let Some(model) = named.filter(|name| !name.is_empty()) {
        // Juju's names may say whose model it is, and on which controller.
        let short = model.strip_prefix("juju-local:").unwrap_or(&model);
        return short.strip_prefix("admin/").unwrap_or(short).to_owned();
    }
    let chosen = fs::read_to_string(Path::new(STATE_ROOT).join("current")).unwrap_or_default();
    if chosen.trim().is_empty() { "default".to_owned() } else { chosen.trim().to_owned() }
}

pub(super) fn choose(model: &str) -> anyhow::Result<()> {
    fs::create_dir_all(STATE_ROOT).with_context(|| format!("cannot create {STATE_ROOT}"))?;
    fs::write(Path::new(STATE_ROOT).join("current"), model).context("cannot write the current model's name")
}

/// Whether there is a model of this name; one that was only begun counts too, so that it can be removed.
pub(super) fn exists(model: &str) -> bool {
    !model.is_empty() && !model.contains('/') && !model.starts_with('.') && model_dir(model).is_dir()
}

pub(super) fn models() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(Path::new(STATE_ROOT).join("models"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

pub(super) fn connects(model: &str) -> bool {
    connect(model).is_ok()
}

fn connect(model: &str) -> std::io::Result<UnixStream> {
    UnixStream::connect(model_dir(model).join("controller.socket"))
}

/// Starts the controller in a session of its own, and waits until it answers.
pub(super) fn start(model: &str) -> anyhow::Result<()> {
    if connect(model).is_ok() {
        return Ok(());
    }
    check_host()?;
    let valid = model.starts_with(|c: char| c.is_ascii_lowercase())
        && model.len() <= 32
        && model.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !valid {
        anyhow::bail!(
            "{model:?} is not a valid name for a model: use lower-case letters, digits and hyphens, at most 32"
        );
    }
    let dir = model_dir(model);
    if dir.exists() {
        return start_in(model, &dir);
    }
    // The state, its journal and the log.
    check_room("a model", 16)?;
    start_in(model, &dir).inspect_err(|_| {
        // Nothing is half made. Another one may have been faster after all.
        if !is_locked(model) {
            let _ = remove_tree(&dir);
            let _ = fs::remove_dir(Path::new(STATE_ROOT).join("models"));
            let _ = fs::remove_dir(STATE_ROOT);
        }
    })
}

fn start_in(model: &str, dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("controller.log"))?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut controller = Command::new("setsid")
        .arg(program)
        .args(["controller", "--name", model])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .current_dir("/")
        .spawn()
        .context("cannot start the controller")?;
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        if connect(model).is_ok() {
            return Ok(());
        }
        // Another one may have been faster: then this one has ended, and that one answers.
        if controller.try_wait().is_ok_and(|ended| ended.is_some()) && !is_locked(model) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = fs::read_to_string(dir.join("controller.log")).unwrap_or_default();
    let said = log.lines().rev().find_map(|line| line.strip_prefix("ERROR ")).or(log.lines().last());
    anyhow::bail!("the controller did not start: {}", said.unwrap_or("no message"))
}

/// Whether a controller runs on the model, answering or not.
fn is_locked(model: &str) -> bool {
    let Ok(lock) = fs::File::open(model_dir(model).join("lock")) else {
        return false;
    };
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
}

/// Asks a model's controller; shows progress meanwhile.
pub(super) fn ask(model: &str, request: &Request) -> anyhow::Result<Value> {
    if connect(model).is_err() {
        super::models::check_there(model, request)?;
        if is_stopped(model) && !request.needs_no_agents() {
            anyhow::bail!(STOPPED);
        }
        start(model)?;
    }
    let mut stream = connect(model).context("cannot reach the controller")?;
    let _asked = interrupt::Asked::now();
    let mut text = serde_json::to_string(request)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let bar = std::io::stderr().is_terminal().then(indicatif::ProgressBar::new_spinner);
    for line in BufReader::new(stream).lines() {
        let line = line.with_context(|| died(model))?;
        match serde_json::from_str(&line).context("cannot read the controller's answer")? {
            Reply::Progress(text) => match &bar {
                Some(bar) => {
                    bar.enable_steady_tick(Duration::from_millis(120));
                    bar.set_message(text);
                }
                None => say(&text),
            },
            Reply::Done(value) => {
                if let Some(bar) = &bar {
                    bar.finish_and_clear();
                }
                return Ok(value);
            }
            Reply::Failed(why) => {
                if let Some(bar) = &bar {
                    bar.finish_and_clear();
                }
                anyhow::bail!(why);
            }
        }
    }
    anyhow::bail!(died(model))
}

fn died(model: &str) -> String {
    let log = model_dir(model).join("controller.log");
    format!("the controller ended before it answered; see {}, and status for what was done", log.display())
}
