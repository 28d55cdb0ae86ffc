//! Running other programs: a clean environment, both pipes read while the program runs, a time limit that ends the
//! whole process group. What is given on stdin never appears in an error or a log.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use super::clock::Deadline;
use super::talk::Talk;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// No hook may hang: who needs longer says so.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

const STDERR_KEPT: usize = 2000;

/// A program to run, and how.
#[derive(Clone)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    directory: Option<PathBuf>,
    user: Option<String>,
    stdin: Option<Vec<u8>>,
    timeout: Duration,
}

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// The exit code; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Its stdout as text; what is no UTF-8 becomes a replacement character.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its stderr as text, likewise.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Why a program did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("cannot run {command}")]
    Start { command: String, source: io::Error },
    /// Talking to it failed.
    #[error("cannot run {command} to its end")]
    Talk { command: String, source: io::Error },
    /// It ended, but not with 0.
    #[error("cannot run {command}: it ended with {}{}", ending(*.code, *.signal), said(.stderr))]
    Failed { command: String, code: Option<i32>, signal: Option<i32>, stderr: String },
    /// It took too long and was ended.
    #[error("cannot run {command} within {} s{}", .limit.as_secs_f64(), said(.stderr))]
    TimedOut { command: String, limit: Duration, stderr: String },
}

impl CommandError {
    /// Whether there is no such program.
    pub fn is_program_missing(&self) -> bool {
        match self {
            Self::Start { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Talk { .. } | Self::Failed { .. } | Self::TimedOut { .. } => false,
        }
    }

    /// What the program wrote to stderr, as far as it is kept.
    pub fn stderr(&self) -> &str {
        match self {
            Self::Failed { stderr, .. } | Self::TimedOut { stderr, .. } => stderr,
            Self::Start { .. } | Self::Talk { .. } => "",
        }
    }
}

impl Command {
    /// A program by name or path, with `PATH`, `LANG=C.UTF-8` and `HOME=/root` for its whole environment.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let env = [("PATH", PATH), ("LANG", "C.UTF-8"), ("HOME", "/root")];
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            directory: None,
            user: None,
            stdin: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// One more argument. Every user of the machine can read it, and errors repeat it: never a secret.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// An environment variable, on top of the clean environment or in place of what is there.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Passes on those of our own variables whose name begins with `prefix`.
    #[must_use]
    pub fn inherit_env(mut self, prefix: &str) -> Self {
        for (name, value) in super::env_with_prefix(prefix) {
            self.env.insert(name.into(), value.into());
        }
        self
    }

    /// The directory to run in; ours otherwise.
    #[must_use]
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Who it runs as, in a row of programs (`host::pipe`): this user with the user's own group; otherwise whoever we are.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    /// What the program reads. Without it stdin is empty.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// How long it may take before its process group is killed. One minute otherwise.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Runs it; anything but exit code 0 is an error.
    ///
    /// # Errors
    /// When it cannot be started, fails, or takes too long.
    pub fn run(self) -> Result<Output, CommandError> {
        let command = self.to_string();
        let output = self.output()?;
        if output.success() {
            return Ok(output);
        }
        Err(failed(command, output.status, &output.stderr_text()))
    }

    /// Runs it; every way of ending by itself is fine.
    ///
    /// # Errors
    /// When it cannot be started, or takes too long.
    pub fn output(self) -> Result<Output, CommandError> {
        let command = self.to_string();
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child = self
            .prepare()
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| CommandError::Start { command: command.clone(), source })?;
        let limit = self.timeout;
        let mut talk = Talk::default();
        match talk.until_exit(&mut child, self.stdin.unwrap_or_default(), Deadline::after(limit)) {
            Ok(Some(status)) => Ok(Output { status, stdout: talk.stdout, stderr: talk.stderr }),
            Ok(None) => {
                end_group(&mut child);
                Err(CommandError::TimedOut { command, limit, stderr: tail(&talk.stderr) })
            }
            Err(source) => {
                end_group(&mut child);
                Err(CommandError::Talk { command, source })
            }
        }
    }

    /// Starts it in a process group of its own and does not wait: no pipes, and what is given as stdin is ignored.
    /// Returns its process id.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_detached(self) -> Result<u32, CommandError> {
        let command = self.to_string();
        let child = self.prepare().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|source| CommandError::Start { command, source })?;
        let id = child.id();
        // A long-lived parent would collect one zombie per child that nobody waits for.
        std::thread::spawn(move || drop(child.wait()));
        Ok(id)
    }

    /// The same program, which the kernel ends when the thread that starts it has ended, in whatever way.
    pub(super) fn ends_with_us(mut self) -> Self {
        let mut args = vec![OsString::from("--pdeathsig"), OsString::from("KILL")];
        if let Some(user) = self.user.take() {
            args.extend(["--reuid", &user, "--regid", &user, "--init-groups"].map(OsString::from));
        }
        args.extend([OsString::from("--"), std::mem::replace(&mut self.program, OsString::from("setpriv"))]);
        args.append(&mut self.args);
        self.args = args;
        self
    }

    pub(super) fn prepare(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        // A group of its own, so that the time limit also ends what the program has started.
        command.args(&self.args).env_clear().envs(&self.env).process_group(0);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

/// Program and arguments as a person would type them.
impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.program.to_string_lossy())?;
        for arg in &self.args {
            let arg = arg.to_string_lossy();
            let plain = !arg.is_empty() && !arg.contains(|c: char| c.is_whitespace() || "'\"\\$`&|;<>*?()".contains(c));
            if plain { write!(f, " {arg}")? } else { write!(f, " '{}'", arg.replace('\'', "'\\''"))? }
        }
        Ok(())
    }
}

/// Shows how much is given on stdin, not what.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stdin = self.stdin.as_ref().map(Vec::len);
        f.debug_struct("Command").field("line", &self.to_string()).field("stdin_bytes", &stdin).finish_non_exhaustive()
    }
}

/// How a program failed.
pub(super) fn failed(command: String, status: ExitStatus, stderr: &str) -> CommandError {
    CommandError::Failed { command, code: status.code(), signal: status.signal(), stderr: tail(stderr.as_bytes()) }
}

fn end_group(child: &mut Child) {
    kill_group(child);
    let _status = child.wait();
}

/// Kills a program that was not waited for yet, and what it has started.
pub(super) fn kill_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // The only way this fails is that nobody is left.
        let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

fn ending(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

fn said(stderr: &str) -> String {
    let mut text = String::new();
    if !stderr.is_empty() {
        let _infallible = write!(text, ": {stderr}");
    }
    text
}

/// The end of what a program complained about: the last lines usually say why.
fn tail(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let text = text.trim();
    let start = text.len().saturating_sub(STDERR_KEPT);
    let start = (start..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    if start == 0 { text.to_owned() } else { format!("... {}", &text[start..]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::Moment;

    fn shell(script: &str) -> Command {
        Command::new("sh").args(["-c", script])
    }

    #[test]
    fn the_environment_is_clean() {
        let text = Command::new("env").env("GIVEN", "yes").run().unwrap().stdout_text();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["GIVEN=yes", "HOME=/root", "LANG=C.UTF-8", &format!("PATH={PATH}")]);
    }

    #[test]
    fn more_than_a_pipe_holds_goes_through_in_both_directions() {
        let much = vec![b'x'; 3_000_000];
        let output = shell("tee /dev/stderr").stdin(much.clone()).run().unwrap();
        assert!(output.stdout == much && output.stderr == much);
    }

    #[test]
    fn a_program_may_leave_its_stdin_unread() {
        assert!(Command::new("true").stdin(vec![b'x'; 1_000_000]).run().is_ok());
    }

    #[test]
    fn a_failure_tells_command_code_and_complaint_but_not_stdin() {
        let error = shell("echo too bad >&2; exit 3").stdin("sesame").run().unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot run sh -c 'echo too bad >&2; exit 3': it ended with exit code 3: too bad"
        );
        let command = shell("true").stdin("sesame");
        assert!(!format!("{command:?}{command}").contains("sesame"));
    }

    #[test]
    fn signals_and_missing_programs_are_told_apart() {
        assert_eq!(
            shell("kill -9 $$").run().unwrap_err().to_string(),
            "cannot run sh -c 'kill -9 $$': it ended with signal 9"
        );
        let error = Command::new("no-such-program").run().unwrap_err();
        assert!(error.is_program_missing());
        assert_eq!(error.to_string(), "cannot run no-such-program");
    }

    #[test]
    fn the_time_limit_ends_the_whole_group() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let script = format!("echo begun >&2; (sleep 0.6; touch {}) & sleep 30", mark.display());
        let before = Moment::now();
        let error = shell(&script).timeout(Duration::from_millis(200)).run().unwrap_err();
        assert!(matches!(&error, CommandError::TimedOut { stderr, .. } if stderr == "begun"), "{error}");
        assert!(before.elapsed() < Duration::from_secs(5));
        super::super::clock::sleep(Duration::from_millis(700));
        assert!(!mark.exists(), "a grandchild outlived the time limit");
    }

    #[test]
    fn a_background_child_that_keeps_the_pipe_does_not_keep_us() {
        let before = Moment::now();
        let output = shell("echo done; sleep 3 &").run().unwrap();
        assert_eq!(output.stdout_text(), "done\n");
        assert!(before.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_flood_does_not_outlast_the_time_limit() {
        let before = Moment::now();
        assert!(shell("exec yes").timeout(Duration::from_millis(100)).run().is_err());
        assert!(before.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn detached_programs_run_on_their_own_and_leave_no_zombie() {
        let id = Command::new("true").spawn_detached().unwrap();
        let process = std::path::PathBuf::from(format!("/proc/{id}"));
        let end = Deadline::after(Duration::from_secs(5));
        while process.exists() {
            assert!(!end.passed(), "process {id} was never collected");
            super::super::clock::sleep(Duration::from_millis(10));
        }
    }
}
