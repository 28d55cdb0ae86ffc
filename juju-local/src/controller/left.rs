//! Processes of charms, noted down while they run. A controller that was killed leaves them behind; the next one ends
//! them before anything else runs on their machines, as systemd does with what an agent has left.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// How long a killed process may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

fn dir(model: &Path) -> PathBuf {
    model.join("running")
}

/// When a process began, in the kernel's own count: a number may be another process's after a while.
fn begun(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, blanks and brackets too.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(ToOwned::to_owned)
}

/// A process group has begun. That it cannot be noted, on a full disk, is no reason not to run it.
pub(crate) fn note(model: &Path, pid: u32) {
    let dir = dir(model);
    let _ =
        fs::create_dir_all(&dir).and_then(|()| fs::write(dir.join(pid.to_string()), begun(pid).unwrap_or_default()));
}

/// It has ended.
pub(crate) fn forget(model: &Path, pid: u32) {
    let _ = fs::remove_file(dir(model).join(pid.to_string()));
}

/// Ends what the controller before has left.
pub(super) fn end_all(model: &Path) {
    for entry in fs::read_dir(dir(model)).into_iter().flatten().filter_map(Result::ok) {
        let noted = fs::read_to_string(entry.path()).unwrap_or_default();
        if let Some(pid) = entry.file_name().to_string_lossy().parse::<u32>().ok().filter(|pid| is(*pid, &noted)) {
            end(pid);
        }
        let _ = fs::remove_file(entry.path());
    }
}

/// Whether this is the process that was noted.
fn is(pid: u32, noted: &str) -> bool {
    !noted.is_empty() && begun(pid).as_deref() == Some(noted)
}

fn end(pid: u32) {
    let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    let until = Instant::now() + PATIENCE;
    while kill_process_group(group, Signal::KILL).is_ok() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
        if test_kill_process_group(group).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::Command;

    #[test]
    fn what_was_left_ends_and_nobody_else() {
        let model = tempfile::tempdir().unwrap();
        let sleep = || Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let (mut left, mut other, mut done) = (sleep(), sleep(), sleep());
        note(model.path(), left.id());
        // The number of one that has gone is another process's now.
        fs::write(dir(model.path()).join(other.id().to_string()), "1").unwrap();
        note(model.path(), done.id());
        forget(model.path(), done.id());
        let waiter = std::thread::spawn(move || left.wait().unwrap());
        end_all(model.path());
        assert_eq!(waiter.join().unwrap().signal(), Some(9));
        for child in [&mut other, &mut done] {
            assert!(child.try_wait().unwrap().is_none(), "it goes on");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(fs::read_dir(dir(model.path())).unwrap().count(), 0);
    }
}
