//! Talking to a program while it runs: both of its pipes are read and its input is written, whichever is ready, until it
//! ends or its time is over.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::clock::Deadline;

// A background child may keep the pipe open for ever; Juju itself waits a tenth of a second for such.
const DRAIN: Duration = Duration::from_millis(200);

/// What a program has written so far.
#[derive(Default)]
pub(super) struct Talk {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Talk {
    /// Feeds and reads the child until it ends; `None` when it did not in time.
    pub(super) fn until_exit(
        &mut self,
        child: &mut Child,
        stdin: Vec<u8>,
        end: Deadline,
    ) -> io::Result<Option<ExitStatus>> {
        let (mut input, mut out, mut err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        unblock(input.as_ref())?;
        unblock(out.as_ref())?;
        unblock(err.as_ref())?;
        let ended = watch_end(child);
        let mut written = 0;
        let mut status = None;
        let mut end = end;
        loop {
            if status.is_none() {
                status = child.try_wait()?;
                if status.is_some() {
                    end = Deadline::after(DRAIN);
                }
            }
            if status.is_some() && out.is_none() && err.is_none() {
                return Ok(status);
            }
            if end.passed() {
                return Ok(status);
            }
            // Without a descriptor for the child's end we look at short intervals.
            let tick = if status.is_none() && ended.is_none() { Duration::from_millis(10) } else { Duration::MAX };
            let watch_child = if status.is_none() { ended.as_ref() } else { None };
            wait_ready(input.as_ref(), out.as_ref(), err.as_ref(), watch_child, end.left().min(tick))?;

            if let Some(pipe) = &mut input {
                // A program may end without having read everything: that is its own business.
                if feed(pipe, &stdin, &mut written) {
                    input = None;
                }
            }
            if drain(out.as_mut(), &mut self.stdout)? {
                out = None;
            }
            if drain(err.as_mut(), &mut self.stderr)? {
                err = None;
            }
        }
    }
}

fn unblock(pipe: Option<&impl AsFd>) -> io::Result<()> {
    if let Some(pipe) = pipe {
        let flags = rustix::fs::fcntl_getfl(pipe)?;
        rustix::fs::fcntl_setfl(pipe, flags | rustix::fs::OFlags::NONBLOCK)?;
    }
    Ok(())
}

fn watch_end(child: &Child) -> Option<OwnedFd> {
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).ok()?)?;
    rustix::process::pidfd_open(id, rustix::process::PidfdFlags::empty()).ok()
}

fn wait_ready(
    input: Option<&impl AsFd>,
    out: Option<&impl AsFd>,
    err: Option<&impl AsFd>,
    ended: Option<&OwnedFd>,
    limit: Duration,
) -> io::Result<()> {
    let mut fds = Vec::with_capacity(4);
    if let Some(pipe) = input {
        fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::OUT));
    }
    if let Some(pipe) = out {
        fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
    }
    if let Some(pipe) = err {
        fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
    }
    if let Some(ended) = ended {
        fds.push(PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN));
    }
    let limit = Timespec::try_from(limit.min(Duration::from_secs(3600))).map_err(io::Error::other)?;
    match rustix::event::poll(&mut fds, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is nothing more to write.
fn feed(pipe: &mut impl Write, bytes: &[u8], written: &mut usize) -> bool {
    while *written < bytes.len() {
        match pipe.write(&bytes[*written..]) {
            Ok(count) => *written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
    true
}

/// Whether the pipe has come to its end.
fn drain(pipe: Option<&mut impl Read>, into: &mut Vec<u8>) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(true) };
    let mut chunk = [0; 16 * 1024];
    // One turn is bounded, or a program that writes without pause would keep us from looking at the clock.
    for _ in 0..64 {
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(true),
            Ok(count) => into.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
