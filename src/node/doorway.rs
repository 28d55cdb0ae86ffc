//! Who is about to found or to restart a cluster says so before asking whether anybody else is: of two at the same moment one
//! at least hears of the other. A permission alone does not keep them apart, because a hook goes on for a while with the
//! permission that it began with.

use std::path::PathBuf;
use std::time::Duration;

use super::live::Live;
use super::observe;
use crate::cluster::Server;
use crate::host::file::{self, Lock};
use crate::mariadb::Paths;
use crate::mariadb::start::{self, Permission};

/// The agent looks whether it is held, for a moment.
const PATIENCE: Duration = Duration::from_secs(5);

fn path(paths: &Paths) -> PathBuf {
    paths.run.join("bootstrap.lock")
}

/// Says so until it is dropped, or until this process ends in whatever way.
///
/// # Errors
/// When another hook does.
pub fn enter(paths: &Paths) -> anyhow::Result<Lock> {
    file::create_dir_all_with(&paths.run, &crate::host::Mode::new(0o755))?;
    Ok(file::lock(path(paths), PATIENCE)?)
}

/// What others are told of it, read now and not at the agent's last look.
pub fn tell(paths: &Paths, live: &mut Live) {
    // What cannot be told is said to be so: then nobody bootstraps beside it.
    live.bootstraps = file::is_locked(path(paths)).unwrap_or(true);
    // Before the gate has let it through, and behind it.
    let first = || matches!(start::permission(paths), Ok(Some(Permission::Bootstrap { .. })));
    if !live.bootstraps && !live.primary && (start::begins_a_cluster(paths) || first()) {
        // What the agent saw last may be older than the start, and the hook may have died behind it.
        match observe::server() {
            Server::Starting => live.bootstraps = true,
            Server::Answers(galera) => live.primary = galera.primary,
            Server::Stopped | Server::Silent(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_the_doorway_is_seen_there() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let seen = || {
            let mut live = Live::default();
            tell(&paths, &mut live);
            live.bootstraps
        };
        assert!(!seen());
        let inside = enter(&paths).unwrap();
        assert!(seen() && seen());
        drop(inside);
        assert!(!seen());
    }
}
