//! Starting a hook pass of our own unit through Juju: one at a time, beside the loop, because it waits for its turn
//! behind other hooks of the machine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::host::{Command, file};
use crate::node::shown::Shown;

/// Longer than any hook should take; then the next try.
const LIMIT: Duration = Duration::from_secs(900);

/// Runs passes.
#[derive(Clone, Default)]
pub(super) struct Runner {
    busy: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
}

impl Runner {
    /// Whether the last pass could not run.
    pub(super) fn last_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Starts one; false while one is under way.
    pub(super) fn start(&self, note: &Shown) -> bool {
        if self.busy.swap(true, Ordering::SeqCst) {
            return false;
        }
        let (runner, note) = (self.clone(), note.clone());
        std::thread::spawn(move || {
            let result = run(&note);
            if let Err(why) = &result {
                // The unit's journal; a controller that is away is not an error of this member.
                super::log(&format!("{why:#}"));
            }
            runner.failed.store(result.is_err(), Ordering::Relaxed);
            runner.busy.store(false, Ordering::SeqCst);
        });
        true
    }
}

fn run(note: &Shown) -> anyhow::Result<()> {
    let dir = Path::new(&note.charm_dir);
    // An archive of links has no dispatch; any link is the same program, which believes the path below.
    let program =
        if file::exists(dir.join("dispatch"))? { dir.join("dispatch") } else { dir.join("hooks/update-status") };
    let command = format!("JUJU_DISPATCH_PATH=hooks/agent-event {}", program.display());
    let exec = which::which_in(&note.exec, Some("/usr/bin:/usr/local/bin:/snap/bin"), "/")
        .map_err(|_| anyhow::anyhow!("cannot start a hook pass: {} is not on this machine", note.exec))?;
    Command::new(exec).args(["-u", &note.unit, &command]).timeout(LIMIT).run()?;
    Ok(())
}
