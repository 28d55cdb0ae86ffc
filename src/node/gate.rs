//! The server's gate as the service manager calls it: what the volume needs first, then the gate itself.

use std::net::IpAddr;

use crate::cluster::ClusterUuid;
use crate::host::net;
use crate::mariadb::datadir::{self, Found};
use crate::mariadb::grastate::Grastate;
use crate::mariadb::start::{self, Permission};
use crate::mariadb::{Paths, halfway, saved_view};

use super::{journal, last_view, live};

/// Runs before every start of the server.
///
/// # Errors
/// When the server must not start; systemd shows the text.
pub fn pass(paths: &Paths) -> anyhow::Result<()> {
    if let Some((here, ours)) = another_history(paths) {
        anyhow::bail!(
            "the data is history {here} where this volume belongs to {ours}: started, it would be replaced by a full copy"
        );
    }
    if joins_with_nothing(paths) {
        datadir::make_empty(paths)?;
    }
    if (saved_view::read(paths).is_some() || halfway::read(paths).is_some()) && others_serve(paths) {
        saved_view::remove(paths)?;
        halfway::forget(paths)?;
    }
    start::gate(paths)
}

/// Whether one of those whom this member saw last serves our history now. Then there is nothing to restore: the saved view
/// only makes this server return as the one that died, and the others take ten seconds to tell the two apart (measured with
/// Galera 26.4.23). Should they all die before it is in, the restart is by the members' positions.
fn others_serve(paths: &Paths) -> bool {
    let journal = journal::read(paths);
    let Some((entry, history)) = journal.entry().and_then(|entry| Some((entry, entry.uuid.as_ref()?))) else {
        return false;
    };
    let seen = last_view::read(paths, entry.branch).members;
    let others: Vec<IpAddr> = seen.into_keys().filter(|address| !net::is_local(*address)).collect();
    live::anyone_serves(history.as_str(), &others)
}

/// The history in the state file and the journal's, when they are not the same.
fn another_history(paths: &Paths) -> Option<(String, ClusterUuid)> {
    let ours = journal::read(paths).entry()?.uuid.clone()?;
    match datadir::look(paths) {
        Found::State(Grastate { uuid: Some(here), .. }) if here != ours.as_str() => Some((here, ours)),
        Found::State(_) | Found::Torn(_) | Found::Odd(_) | Found::Nothing => None,
    }
}

/// The volume was exchanged for an empty one while the machine was off, and taken over since. The boot has started the
/// server before any hook could look, by the permission that it had before: without a directory to fill it would fail
/// over and over, always on its way up.
fn joins_with_nothing(paths: &Paths) -> bool {
    matches!(start::permission(paths), Ok(Some(Permission::Join)))
        && journal::read(paths).entry().is_some()
        && datadir::look(paths) == Found::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Mode, file};
    use crate::mariadb::grastate;

    #[test]
    fn a_directory_is_made_only_to_join_on_a_volume_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name| dir.path().join(name);
        let paths = Paths { volume: at("volume"), state: at("state"), run: at("run") };
        file::create_dir_all_with(&paths.volume, &Mode::new(0o755)).unwrap();
        assert!(!joins_with_nothing(&paths), "no permission");
        start::permit(&paths, &Permission::Join).unwrap();
        assert!(!joins_with_nothing(&paths), "nobody has taken the volume over, or it is not mounted");
        let journal = br#"{"format":1,"db-init":1,"used-epoch":0,"accounts":false}"#;
        file::write_atomic(paths.volume.join(journal::FILE), journal, &Mode::new(0o600)).unwrap();
        assert!(joins_with_nothing(&paths));
        start::permit(&paths, &Permission::Bootstrap { epoch: 1, from: None }).unwrap();
        assert!(!joins_with_nothing(&paths), "a founder brings tables along");
        start::permit(&paths, &Permission::Join).unwrap();
        file::create_dir_all_with(paths.datadir(), &Mode::new(0o755)).unwrap();
        file::write_atomic(paths.datadir().join("ibdata1"), b"x", &Mode::new(0o600)).unwrap();
        assert!(!joins_with_nothing(&paths), "there is data");
    }

    #[test]
    fn data_of_another_history_is_not_started() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name| dir.path().join(name);
        let paths = Paths { volume: at("volume"), state: at("state"), run: at("run") };
        let (ours, other) = ("6a1f0d52-8f2e-11ee-b9d1-0242ac120002", "11111111-2222-3333-4444-555555555555");
        file::create_dir_all_with(paths.datadir(), &Mode::new(0o755)).unwrap();
        let journal = format!("{{\"format\":1,\"db-init\":3,\"uuid\":\"{ours}\",\"used-epoch\":0,\"accounts\":false}}");
        file::write_atomic(paths.volume.join(journal::FILE), journal.as_bytes(), &Mode::new(0o600)).unwrap();
        start::permit(&paths, &Permission::Join).unwrap();
        for (uuid, refused) in [(ours, false), (other, true)] {
            let state = grastate::render(uuid, Some(7), false);
            file::write_atomic(paths.datadir().join("grastate.dat"), state.as_bytes(), &Mode::new(0o600)).unwrap();
            let passed = pass(&paths);
            assert_eq!(passed.is_err(), refused, "{passed:?}");
        }
    }
}
