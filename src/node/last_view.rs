//! Who was with this member when it was last part of a primary component: written by the agent as soon as Galera says
//! so, with or without Juju, beside the journal on the data volume. After a full stop it tells whether those who are back
//! may go on without the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::cluster::{Epoch, LastView, Server, Unit};
use crate::host::{Mode, file};
use crate::mariadb::Paths;

/// Its name on the volume.
pub const FILE: &str = "mariadb-galera-view.json";

fn path(paths: &Paths) -> PathBuf {
    paths.volume.join(FILE)
}

/// What stands in the file: the last view on each branch of the history that this volume has been on.
type Text = BTreeMap<u32, ViewText>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct ViewText {
    members: BTreeMap<IpAddr, Option<String>>,
    #[serde(default)]
    since: u32,
}

/// One that cannot be read is none, as before the first view.
fn text(paths: &Paths) -> Text {
    let text = file::read_to_string_opt(path(paths)).ok().flatten();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The last view on a branch, or, as long as there is none on it, on the one before.
pub fn read(paths: &Paths, branch: Epoch) -> LastView {
    let Some((_, view)) = text(paths).into_iter().rfind(|(on, _)| *on <= branch.0) else {
        return LastView::default();
    };
    let unit = |unit: Option<String>| unit.and_then(|unit| unit.parse().ok());
    let members = view.members.into_iter().map(|(address, name)| (address, unit(name))).collect();
    LastView { members, since: Epoch(view.since) }
}

/// Replaces the one on this branch, on disk before this returns.
///
/// # Errors
/// When the volume cannot be written.
pub fn write(paths: &Paths, branch: Epoch, view: &LastView) -> anyhow::Result<()> {
    let mut text = text(paths);
    let members = view.members.iter().map(|(at, unit)| (*at, unit.as_ref().map(Unit::to_string))).collect();
    text.insert(branch.0, ViewText { members, since: view.since.0 });
    // The one before is needed until the volume has followed: whoever dies in between decides by it.
    while text.len() > 2 {
        text.pop_first();
    }
    let text = serde_json::to_string(&text).context("cannot write the last view")?;
    file::write_atomic(path(paths), text.as_bytes(), &Mode::owned(0o600, "root", "root"))?;
    Ok(())
}

/// What a full member sees, with the names that are known and the last restart that a pass has heard of. `None` when this
/// server is none, or does not say whom it sees: then what was written before stands.
pub fn of(server: &Server, names: &BTreeMap<IpAddr, String>, restart: u32) -> Option<LastView> {
    server.synced()?;
    let seen: &BTreeSet<IpAddr> = &server.primary()?.view;
    let name = |address: &IpAddr| names.get(address).and_then(|name| name.parse().ok());
    let members = seen.iter().map(|address| (*address, name(address))).collect();
    (!seen.is_empty()).then_some(LastView { members, since: Epoch(restart) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_survives_the_disk_and_a_torn_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        file::create_dir_all_with(&paths.volume, &Mode::new(0o755)).unwrap();
        let zero = Epoch::default();
        assert_eq!(read(&paths, zero), LastView::default());
        let members = [("10.0.0.9".parse().unwrap(), "db/0".parse().ok()), ("10.0.0.10".parse().unwrap(), None)];
        let view = LastView { members: members.into(), since: zero };
        write(&paths, zero, &view).unwrap();
        assert_eq!((read(&paths, zero), read(&paths, Epoch(3))), (view.clone(), view.clone()));
        let alone = LastView { members: [("10.0.0.9".parse().unwrap(), None)].into(), since: Epoch(3) };
        write(&paths, Epoch(3), &alone).unwrap();
        assert_eq!((read(&paths, zero), read(&paths, Epoch(3))), (view, alone));
        file::write_atomic(path(&paths), b"{\"10.0.0.9\": ", &Mode::new(0o600)).unwrap();
        assert_eq!(read(&paths, zero), LastView::default());
    }
}
