//! Since when this server has not been part of a primary component: written by the agent, which looks every second.
//! Turns time into a fact, because the decision knows no clock.

use std::path::PathBuf;
use std::time::Duration;

use crate::host::{FileError, Mode, clock, file};
use crate::mariadb::{Paths, saved_view};

/// With a saved view Galera re-forms the cluster by itself once all are back: that gets its time. One that is receiving its
/// copy has a view too, and is not out because that takes long.
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
        clock::uptime_seconds()
            .and_then(|now| file::write_atomic(path(paths), now.to_string().as_bytes(), &Mode::new(0o644)).map(drop))
    } else {
        Ok(())
    };
    // What cannot be noted is not known: without a note nobody is called stalled.
    noted.is_ok() && !primary && stalled(paths)
}

/// A server that is about to restart the cluster has its time again.
///
/// # Errors
/// When the note cannot be removed.
pub fn begin_anew(paths: &Paths) -> Result<(), FileError> {
    file::remove_opt(path(paths)).map(drop)
}

/// Whether the noted outage has lasted long enough.
pub fn stalled(paths: &Paths) -> bool {
    let Ok(Some(text)) = file::read_to_string_opt(path(paths)) else {
        return false;
    };
    let (Ok(since), Ok(now)) = (text.trim().parse::<u64>(), clock::uptime_seconds()) else {
        return false;
    };
    let grace = if saved_view::read(paths).is_some() { GRACE_WITH_VIEW } else { GRACE_WITHOUT };
    now.saturating_sub(since) >= grace.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_measured_by_a_clock_that_nobody_sets() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        file::create_dir_all_with(&paths.run, &Mode::new(0o755)).unwrap();
        assert!(!note(&paths, false), "it has just begun");
        let noted: u64 = file::read_to_string(path(&paths)).unwrap().parse().unwrap();
        let up = clock::uptime_seconds().unwrap();
        assert!(noted <= up && up - noted < 5, "{noted} {up}");
        let long_ago = up - GRACE_WITHOUT.as_secs();
        file::write_atomic(path(&paths), long_ago.to_string().as_bytes(), &Mode::new(0o644)).unwrap();
        assert!(stalled(&paths) && note(&paths, false));
        assert!(!note(&paths, true) && !stalled(&paths), "it is over");
    }
}
