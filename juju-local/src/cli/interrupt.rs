//! Ctrl-C: one sentence, and what goes on without whoever asked for it.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Questions that a controller has not answered yet.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// A question to a controller, from now until it is dropped.
pub(super) struct Asked;

impl Asked {
    pub(super) fn now() -> Self {
        ASKED.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        ASKED.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Says so when this process is interrupted, and ends it.
pub(super) fn watch() {
    let watched = ctrlc::set_handler(|| {
        let goes_on = if ASKED.load(Ordering::SeqCst) > 0 {
            "; the controller goes on with what it was asked for, juju-local status shows how far it is"
        } else {
            ""
        };
        // Whatever is drawn on this line of a terminal stays.
        let line = if std::io::stderr().is_terminal() { "\n" } else { "" };
        let _ = writeln!(std::io::stderr(), "{line}ERROR interrupted{goes_on}");
        std::process::exit(1);
    });
    // Then the system ends the process, without a word.
    drop(watched);
}
