//! Since when this server has not been part of a primary component: written by the agent, which looks every second.
//! Turns time into a fact, because the decision knows no clock.

use std::path::PathBuf;
use std::time::Duration;

use crate::host::{Mode, clock, file};
use crate::mariadb::{Paths, start};

/// With a saved view Galera re-forms the cluster by itself once all are back: that gets its time.
pub const GRACE_WITH_VIEW: Duration = Duration::from_secs(45);
/// Without one (a clean stop forgets it) nothing will happen by itself.
pub const GRACE_WITHOUT: Duration = Duration::from_secs(8);

fn path(paths: &Paths) -> PathBuf {
    paths.run.join("outage-since")
}

/// Notes what the agent sees; returns whether the server has been out for so long that help is due.
pub fn note(paths: &Paths, primary: bool) -> bool {
    let noted = if primary {
        file::remove_opt(path(paths)).map(drop)
    } else if matches!(file::exists(path(paths)), Ok(false)) {
        let now = clock::now().unix_seconds().to_string();
        file::write_atomic(path(paths), now.as_bytes(), &Mode::new(0o644)).map(drop)
    } else {
        Ok(())
    };
    // What cannot be noted is not known: without a note nobody is called stalled.
    noted.is_ok() && !primary && stalled(paths)
}

/// Whether the noted outage has lasted long enough.
pub fn stalled(paths: &Paths) -> bool {
    let Ok(Some(text)) = file::read_to_string_opt(path(paths)) else {
        return false;
    };
    let Ok(since) = text.trim().parse::<i64>() else {
        return false;
    };
    let grace = if start::has_saved_view(paths) { GRACE_WITH_VIEW } else { GRACE_WITHOUT };
    clock::now().unix_seconds().saturating_sub(since) >= i64::try_from(grace.as_secs()).unwrap_or(i64::MAX)
}
