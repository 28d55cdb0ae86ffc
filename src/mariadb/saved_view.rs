//! Which of Galera's saved views may be restored. Galera saves every primary component that it was part of, also one in
//! which this server was still receiving its copy, and one that a component without quorum falls into when its servers
//! stop one after the other. Restored, such a view goes on alone from an older copy. So the agent keeps a copy of what was
//! saved while the server was a full member, and the gate lets nothing else be restored.
//!
//! A view is never restored beside the nil UUID: servers that all lack a history begin a new one together, each with its own
//! data (seen with Galera 26.4.23 after a crash within `ALTER TABLE`).

use std::path::PathBuf;

use super::{Paths, datadir, grastate, halfway};
use crate::host::{FileError, Mode, file};

fn saved(paths: &Paths) -> PathBuf {
    paths.datadir().join("gvwstate.dat")
}

/// The name of the copy on the volume: it goes where the data goes.
pub const FILE: &str = "mariadb-galera-full-view";

fn kept(paths: &Paths) -> PathBuf {
    paths.volume.join(FILE)
}

/// What is saved now. To be read before the server is asked: what is saved after its answer may be another view.
pub fn read(paths: &Paths) -> Option<String> {
    file::read_to_string_opt(saved(paths)).ok().flatten()
}

/// Keeps a copy of what was saved while the server was a full member.
///
/// # Errors
/// When it cannot be written.
pub fn keep(paths: &Paths, view: &str) -> Result<(), FileError> {
    file::write_atomic(kept(paths), view.as_bytes(), &Mode::new(0o600)).map(drop)
}

/// Saves a view again that a clean stop has removed: for the only member of a cluster, which nobody else can be waiting for.
///
/// # Errors
/// When it cannot be written.
pub fn put_back(paths: &Paths, view: &str) -> Result<(), FileError> {
    file::write_atomic(saved(paths), view.as_bytes(), &Mode::owned(0o600, "mysql", "mysql")).map(drop)
}

/// Whether the saved view is one that was saved while the server was a full member. Galera rewrites the rest of the file
/// when it restores a view: the server's own identity is another one with every start.
pub fn is_full_members(paths: &Paths) -> bool {
    let view = |text: String| Some(text.split_once("#vwbeg")?.1.split_once("#vwend")?.0.to_owned());
    let kept = file::read_to_string_opt(kept(paths)).ok().flatten().and_then(view);
    kept.is_some() && kept == read(paths).and_then(view)
}

/// Whether Galera will restore a view by itself at the next start.
pub fn will_be_restored(paths: &Paths) -> bool {
    is_full_members(paths) && !datadir::is_nil(paths) && read(paths).is_some_and(|text| grastate::is_saved_view(&text))
}

/// Before a start: removes a saved view that must not be restored. An empty or cut-off one would stop the server's start.
///
/// # Errors
/// When it cannot be removed.
pub fn drop_unusable(paths: &Paths) -> anyhow::Result<()> {
    if read(paths).is_none() || will_be_restored(paths) { Ok(()) } else { discard(paths) }
}

/// Removes the saved view, when what it proves of the data is written down.
///
/// # Errors
/// When it cannot be removed, or the position of the data cannot be found.
pub fn discard(paths: &Paths) -> anyhow::Result<()> {
    halfway::note(paths)?;
    Ok(remove(paths)?)
}

/// Removes the saved view and what it proves.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(paths: &Paths) -> Result<(), FileError> {
    file::remove_opt(saved(paths)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_members_view_is_restored() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        file::create_dir_all_with(paths.datadir(), &Mode::new(0o755)).unwrap();
        let save = |text: &str| file::write_atomic(saved(&paths), text.as_bytes(), &Mode::new(0o600)).unwrap();
        let state = |uuid: &str| {
            let text = grastate::render(uuid, None, false);
            file::write_atomic(paths.datadir().join("grastate.dat"), text.as_bytes(), &Mode::new(0o600)).unwrap();
        };
        let of_three = "my_uuid: a\n#vwbeg\nmember: a\n#vwend\n";
        state("6a1f0d52-8f2e-11ee-b9d1-0242ac120002");
        save(of_three);
        keep(&paths, of_three).unwrap();
        drop_unusable(&paths).unwrap();
        assert_eq!(read(&paths).as_deref(), Some(of_three));
        save(&of_three.replace("my_uuid: a", "my_uuid: a2"));
        assert!(will_be_restored(&paths), "the same view, restored once and not come about");
        for other in ["my_uuid: a\n#vwbeg\nmember: b\n#vwend\n", "", "my_uuid: a"] {
            save(other);
            drop_unusable(&paths).unwrap();
            assert_eq!(read(&paths), None, "{other:?}");
        }
        drop_unusable(&paths).unwrap();
        save(of_three);
        state(grastate::NIL);
        assert!(!will_be_restored(&paths), "beside the nil UUID");
    }
}
