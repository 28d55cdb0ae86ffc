//! The server's gate as the service manager calls it: what the volume needs first, then the gate itself.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::cluster::ClusterUuid;
use crate::host::file;
use crate::mariadb::datadir::{self, Found};
use crate::mariadb::grastate::Grastate;
use crate::mariadb::start::{self, Permission};
use crate::mariadb::{CNF, Paths, halfway, running, saved_view};

use super::live::{self, Live};
use super::shown::{self, Shown};
use super::{journal, last_view, turn};

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
    start::gate(paths)?;
    // Last: only what starts is what runs. A disk that is too full for a note keeps no server from starting.
    let _counted = turn::note_start(paths, is_alone_or_beside_others(paths));
    let _noted = file::read_to_string_opt(CNF).and_then(|text| running::note_start(paths, &text.unwrap_or_default()));
    Ok(())
}

/// Whether others serve our history and will go on to do so. Then there is nothing to restore: the saved view only makes
/// this server return as the one that died, and the others take ten seconds to tell the two apart (measured with Galera
/// 26.4.23). Should they all die before it is in, the restart is by the members' positions.
fn others_serve(paths: &Paths) -> bool {
    let (journal, note) = (journal::read(paths), shown::read(paths));
    let Some((entry, history)) = journal.entry().and_then(|entry| Some((entry, entry.uuid.as_ref()?))) else {
        return false;
    };
    let Some(Shown { unit: me, units, .. }) = note else {
        return false;
    };
    let last_view: BTreeSet<IpAddr> = last_view::read(paths, entry.branch).members.into_keys().collect();
    let own: BTreeSet<IpAddr> = units.iter().filter(|(_, unit)| **unit == me).map(|(address, _)| *address).collect();
    let others: BTreeSet<IpAddr> =
        units.into_keys().chain(last_view.iter().copied()).filter(|a| !own.contains(a)).collect();
    let mut serving = live::serving(history.as_str(), &others);
    // Whatever address it was reached under, what our own agent saw last says nothing.
    serving.retain(|live| live.unit != me);
    go_on_without(&own, last_view.len(), &serving)
}

/// Whether there is anybody to join, or nobody else belongs to the cluster.
fn is_alone_or_beside_others(paths: &Paths) -> bool {
    let Some(Shown { unit: me, units, .. }) = shown::read(paths) else { return false };
    let others = units.into_iter().filter(|(_, unit)| *unit != me).map(|(address, _)| address).collect();
    let said = live::primaries(&others);
    said.is_empty() || said.values().any(Option::is_some)
}

/// For seconds after our server died the others count it as one of them. A majority of those whom we saw last goes on; one
/// that does not list us any more has gone on.
fn go_on_without(own: &BTreeSet<IpAddr>, seen: usize, serving: &[Live]) -> bool {
    let without_us = |live: &Live| !own.is_empty() && !live.view.is_empty() && live.view.is_disjoint(own);
    2 * serving.len() > seen.max(1) || serving.iter().any(without_us)
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
    use crate::host::Mode;
    use crate::mariadb::grastate;

    #[test]
    fn a_directory_is_made_only_to_join_on_a_volume_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
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
    fn the_saved_view_is_given_up_only_when_the_others_go_on_without_us() {
        let view = |addresses: &[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
        let live = |addresses: &[&str]| Live { view: view(addresses), ..Live::default() };
        let own = view(&["10.0.0.1"]);
        let (two, three) = (live(&["10.0.0.1", "10.0.0.2"]), live(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]));
        assert!(!go_on_without(&own, 2, &[]));
        assert!(!go_on_without(&own, 2, &[two]), "in three seconds it has no majority");
        assert!(!go_on_without(&own, 3, std::slice::from_ref(&three)));
        assert!(go_on_without(&own, 3, &[three.clone(), three]));
        assert!(go_on_without(&own, 3, &[live(&["10.0.0.3"])]), "it has gone on alone");
        assert!(!go_on_without(&own, 3, &[live(&[])]), "it does not say whom it sees");
    }

    #[test]
    fn data_of_another_history_is_not_started() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
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
