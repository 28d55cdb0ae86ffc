//! Which of Galera's saved views may be restored. Galera saves every primary component that it was part of, also one in
//! which this server was still receiving its copy, and one that a component without quorum falls into when its servers
//! stop one after the other. Restored, such a view goes on alone from an older copy. So the agent keeps a copy of what was
//! saved while the server was a full member, and the gate lets nothing else be restored.

use std::path::PathBuf;

use crate::cluster::Server;
use crate::host::{FileError, Mode, file};
use crate::mariadb::Paths;

fn saved(paths: &Paths) -> PathBuf {
    paths.datadir().join("gvwstate.dat")
}

fn kept(paths: &Paths) -> PathBuf {
    paths.state.join("full-member-view")
}

/// What is saved now. To be read before the server is asked: what is saved after its answer may be another view.
pub fn read(paths: &Paths) -> Option<String> {
    file::read_to_string_opt(saved(paths)).ok().flatten()
}

/// Keeps a copy of it, when the server is a full member. Returns whether there is something new to remember.
///
/// # Errors
/// When it cannot be written.
pub fn keep(paths: &Paths, view: &str, server: &Server) -> Result<bool, FileError> {
    if server.synced().is_none() {
        return Ok(false);
    }
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    file::write_atomic(kept(paths), view.as_bytes(), &Mode::new(0o600))?;
    Ok(true)
}

/// Before a start: removes a saved view that no full member has saved.
///
/// # Errors
/// When it cannot be removed.
pub fn drop_others(paths: &Paths) -> Result<(), FileError> {
    let Some(view) = read(paths) else {
        return Ok(());
    };
    if file::read_to_string_opt(kept(paths))?.as_deref() != Some(view.as_str()) {
        discard(paths)?;
    }
    Ok(())
}

/// Removes the saved view.
///
/// # Errors
/// When it cannot be removed.
pub fn discard(paths: &Paths) -> Result<(), FileError> {
    file::remove_opt(saved(paths)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cluster::{Galera, LocalState};

    #[test]
    fn only_a_full_members_view_is_restored() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name| dir.path().join(name);
        let paths = Paths { volume: at("volume"), state: at("state"), run: at("run") };
        file::create_dir_all_with(paths.datadir(), &Mode::new(0o755)).unwrap();
        let save = |text: &str| file::write_atomic(saved(&paths), text.as_bytes(), &Mode::new(0o600)).unwrap();
        let server = |state| {
            let uuid = "6a1f0d52-8f2e-11ee-b9d1-0242ac120002".parse().ok();
            let (primary, connected, ready, view) = (true, true, true, BTreeSet::new());
            Server::Answers(Galera {
                primary,
                connected,
                ready,
                state,
                uuid,
                seqno: None,
                conf_id: None,
                size: 2,
                view,
            })
        };
        save("of three");
        assert!(keep(&paths, "of three", &server(LocalState::Synced)).unwrap());
        drop_others(&paths).unwrap();
        assert_eq!(read(&paths).as_deref(), Some("of three"));
        save("of two who receive");
        assert!(!keep(&paths, "of two who receive", &server(LocalState::Joining)).unwrap());
        drop_others(&paths).unwrap();
        assert_eq!(read(&paths), None);
        drop_others(&paths).unwrap();
    }
}
