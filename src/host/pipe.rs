//! Programs in a row, each one's output the next one's input, with us reading at the end or writing at the beginning.
//! Whoever fails first is reported; the broken pipes that follow from it are not. Nothing here grows with the data.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::clock;
use super::command::{self, Command, CommandError};

/// What a pipe holds: the largest that an ordinary user gets. Larger ones wake programs less often.
const PIPE_BYTES: usize = 1 << 20;
/// What is kept of a program's complaints.
const COMPLAINT_BYTES: usize = 8 * 1024;

type Watch = Box<dyn FnOnce(&mut Tap) -> io::Result<()> + Send>;
type Told = Box<dyn FnMut(&str) + Send>;

/// Programs, and what stands between them.
pub struct Row {
    programs: Vec<Command>,
    /// Behind which program it stands.
    tap: Option<(usize, Watch)>,
    told: Option<Told>,
}

impl Row {
    /// Begins with this program. All of them end with the thread that starts them, even when nobody can tell them to.
    pub fn of(first: Command) -> Self {
        Self { programs: vec![first], tap: None, told: None }
    }

    /// The next program reads what the last one writes.
    #[must_use]
    pub fn then(mut self, next: Command) -> Self {
        self.programs.push(next);
        self
    }

    /// Between the last program so far and the next one, the stream goes through our hands.
    #[must_use]
    pub fn tapped(mut self, watch: impl FnOnce(&mut Tap) -> io::Result<()> + Send + 'static) -> Self {
        self.tap = Some((self.programs.len() - 1, Box::new(watch)));
        self
    }

    /// Hands on each line that the first program writes to stderr.
    #[must_use]
    pub fn told(mut self, told: impl FnMut(&str) + Send + 'static) -> Self {
        self.told = Some(Box::new(told));
        self
    }

    /// Starts them; what the last one writes is to be read.
    ///
    /// # Errors
    /// When one cannot be started; then none runs.
    pub fn reading(self) -> Result<Outflow, CommandError> {
        let (mut running, _, output) = self.start(Stdio::null(), Stdio::piped())?;
        let pipe = output.ok_or_else(|| running.no_pipe())?;
        Ok(Outflow { pipe: Some(pipe), running })
    }

    /// Starts them; the first one waits for what is to be written.
    ///
    /// # Errors
    /// When one cannot be started; then none runs.
    pub fn writing(self) -> Result<Inflow, CommandError> {
        let (mut running, input, _) = self.start(Stdio::piped(), Stdio::null())?;
        let pipe = input.ok_or_else(|| running.no_pipe())?;
        widen(&pipe);
        Ok(Inflow { pipe: Some(pipe), running })
    }

    /// Starts them; we write to the first one and read what the last one writes, each in a thread of its own.
    ///
    /// # Errors
    /// When one cannot be started; then none runs.
    pub fn through(self) -> Result<(Feed, Outflow), CommandError> {
        let (mut running, input, output) = self.start(Stdio::piped(), Stdio::piped())?;
        let (Some(feed), Some(pipe)) = (input, output) else { return Err(running.no_pipe()) };
        widen(&feed);
        Ok((Feed { pipe: feed }, Outflow { pipe: Some(pipe), running }))
    }

    /// Starts them with nothing to read and nobody to write to.
    ///
    /// # Errors
    /// When one cannot be started; then none runs.
    pub fn alone(self) -> Result<Running, CommandError> {
        let (running, _, _) = self.start(Stdio::null(), Stdio::null())?;
        Ok(running)
    }

    fn start(
        self,
        first: Stdio,
        last: Stdio,
    ) -> Result<(Running, Option<ChildStdin>, Option<ChildStdout>), CommandError> {
        let count = self.programs.len();
        let (mut tap, mut told) = (self.tap, self.told);
        // From here on whoever returns early ends those that run already: they are dropped.
        let mut running = Running::default();
        let (mut input, mut output) = (None, None);
        let (mut next, mut last) = (Some(first), Some(last));
        for (index, command) in self.programs.into_iter().enumerate() {
            let line = command.to_string();
            let stdout = if index + 1 == count { last.take() } else { None }.unwrap_or_else(Stdio::piped);
            let mut child = command
                .ends_with_us()
                .prepare()
                .stdin(next.take().unwrap_or_else(Stdio::null))
                .stdout(stdout)
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|source| CommandError::Start { command: line.clone(), source })?;
            let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            if let Some(pipe) = &stdout {
                widen(pipe);
            }
            let told = told.take();
            let complaint = std::thread::spawn(move || listen(stderr, told));
            running.group.lock().push(child);
            running.programs.push(Program { line, complaint: Some(complaint) });
            match (stdin, index) {
                (Some(pipe), 0) => input = Some(pipe),
                (Some(to), _) => running.connect(to),
                (None, _) => {}
            }
            match stdout {
                Some(pipe) if index + 1 == count => output = Some(pipe),
                Some(from) if tap.as_ref().is_some_and(|(behind, _)| *behind == index) => {
                    running.watch = tap.take().map(|(_, watch)| (from, watch));
                    next = Some(Stdio::piped());
                }
                Some(pipe) => next = Some(Stdio::from(pipe)),
                None => {}
            }
        }
        Ok((running, input, output))
    }
}

/// The stream on its way from one program to the next. Once it is dropped, the one sees a broken pipe and the other an
/// end.
pub struct Tap {
    from: ChildStdout,
    to: ChildStdin,
}

impl Tap {
    /// Hands on up to so many bytes without looking at them, and returns how many there were: fewer at the end only.
    ///
    /// # Errors
    /// When the next program does not read any more.
    pub fn pass(&mut self, limit: u64) -> io::Result<u64> {
        let mut passed = 0;
        while passed < limit {
            let wanted = usize::try_from(limit - passed).unwrap_or(PIPE_BYTES).min(PIPE_BYTES);
            // The pages change hands: nothing is copied.
            let flags = rustix::pipe::SpliceFlags::MOVE;
            match rustix::pipe::splice(&self.from, None, &self.to, None, wanted, flags) {
                Ok(0) => break,
                Ok(count) => passed += count as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(passed)
    }
}

impl Read for Tap {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.from.read(into)
    }
}

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the last program writes. Dropped unfinished, all programs are ended.
pub struct Outflow {
    pipe: Option<ChildStdout>,
    running: Running,
}

impl Outflow {
    /// Waits for all of them.
    ///
    /// # Errors
    /// The first one that failed.
    pub fn finish(mut self) -> Result<(), CommandError> {
        self.pipe = None;
        self.running.finish()
    }

    /// Ends them from another thread.
    pub fn end(&self) -> End {
        self.running.end()
    }
}

impl Read for Outflow {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.pipe.as_mut().map_or(Ok(0), |pipe| pipe.read(into))
    }
}

/// What the first program reads, beside somebody who reads what the last one writes. Dropped, it is at its end.
pub struct Feed {
    pipe: ChildStdin,
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pipe.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the first program reads. Dropped unfinished, all programs are ended.
pub struct Inflow {
    pipe: Option<ChildStdin>,
    running: Running,
}

impl Inflow {
    /// Tells them that this was all, and waits for all of them.
    ///
    /// # Errors
    /// The first one that failed.
    pub fn finish(mut self) -> Result<(), CommandError> {
        self.pipe = None;
        self.running.finish()
    }
}

impl Write for Inflow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pipe.as_mut().map_or(Ok(0), |pipe| pipe.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Programs that run. Dropped unfinished, they are ended.
#[derive(Default)]
pub struct Running {
    group: End,
    programs: Vec<Program>,
    /// What is to watch a stream, until the program behind it runs.
    watch: Option<(ChildStdout, Watch)>,
    tap: Option<JoinHandle<io::Result<()>>>,
}

struct Program {
    line: String,
    complaint: Option<JoinHandle<String>>,
}

impl Running {
    /// Waits for all of them.
    ///
    /// # Errors
    /// The first one that failed.
    pub fn finish(mut self) -> Result<(), CommandError> {
        let statuses = self.group.wait().map_err(|source| CommandError::Talk { command: self.line(), source })?;
        let tapped = self.tap.take().map_or(Ok(()), |tap| tap.join().unwrap_or(Ok(())));
        let mut consequence = None;
        for (program, status) in self.programs.iter_mut().zip(statuses) {
            let stderr = program.complaint.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
            if status.success() {
                continue;
            }
            let failed = command::failed(program.line.clone(), status, &stderr);
            if !is_broken_pipe(&failed) {
                return Err(failed);
            }
            consequence = consequence.or(Some(failed));
        }
        match (tapped, consequence) {
            // The next program did not want all of it: that is its own business.
            (Err(source), _) if source.kind() != io::ErrorKind::BrokenPipe => {
                Err(CommandError::Talk { command: self.line(), source })
            }
            (_, Some(failed)) => Err(failed),
            (_, None) => Ok(()),
        }
    }

    /// Whether one of them has ended.
    pub fn is_over(&mut self) -> bool {
        self.group.lock().iter_mut().any(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Ends them from another thread.
    pub fn end(&self) -> End {
        self.group.clone()
    }

    fn connect(&mut self, to: ChildStdin) {
        widen(&to);
        if let Some((from, watch)) = self.watch.take() {
            self.tap = Some(std::thread::spawn(move || watch(&mut Tap { from, to })));
        }
    }

    fn line(&self) -> String {
        self.programs.iter().map(|program| program.line.as_str()).collect::<Vec<_>>().join(" | ")
    }

    fn no_pipe(&mut self) -> CommandError {
        CommandError::Talk { command: self.line(), source: io::ErrorKind::BrokenPipe.into() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.now();
        // Nobody is left to report to.
        let _statuses = self.group.wait();
    }
}

/// Ends programs that run in a row.
#[derive(Clone, Default)]
pub struct End {
    children: Arc<Mutex<Vec<Child>>>,
}

impl End {
    /// Kills those that still run; their end is somebody else's to wait for.
    pub fn now(&self) {
        for child in self.lock().iter_mut() {
            // The id of a program that was waited for may be another's by now.
            if matches!(child.try_wait(), Ok(None)) {
                command::kill_group(child);
            }
        }
    }

    fn wait(&self) -> io::Result<Vec<std::process::ExitStatus>> {
        let mut pause = Duration::from_millis(1);
        loop {
            let mut statuses = Vec::new();
            for child in self.lock().iter_mut() {
                statuses.extend(child.try_wait()?);
            }
            if statuses.len() == self.lock().len() {
                return Ok(statuses);
            }
            // Short, so that a row of quick programs stays quick; the lock is free meanwhile, for who wants to end
            // them.
            clock::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Best effort: an ordinary user may have used up what pipes may hold.
fn widen(pipe: &impl std::os::fd::AsFd) {
    let _refused = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
}

/// Whether it failed because the one behind it had gone.
fn is_broken_pipe(why: &CommandError) -> bool {
    match why {
        CommandError::Failed { signal, stderr, .. } => {
            *signal == Some(rustix::process::Signal::PIPE.as_raw()) || stderr.to_lowercase().contains("broken pipe")
        }
        CommandError::Start { .. } | CommandError::Talk { .. } | CommandError::TimedOut { .. } => false,
    }
}

/// Reads to the end, and keeps the last of it.
fn listen(from: Option<ChildStderr>, mut told: Option<Told>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut line, mut block) = (Vec::new(), Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = from.read(&mut block) {
        kept.extend_from_slice(&block[..count]);
        if kept.len() > 2 * COMPLAINT_BYTES {
            kept.drain(..kept.len() - COMPLAINT_BYTES);
        }
        let Some(told) = &mut told else { continue };
        for byte in &block[..count] {
            match byte {
                b'\n' => {
                    told(&String::from_utf8_lossy(&line));
                    line.clear();
                }
                byte if line.len() < COMPLAINT_BYTES => line.push(*byte),
                _ => {}
            }
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
#[path = "pipe_tests.rs"]
mod tests;
