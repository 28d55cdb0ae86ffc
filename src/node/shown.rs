//! What the last hook pass has shown, left for the agent: as soon as it is no longer true, the agent asks for another
//! pass.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::cluster::Server;
use crate::host::{Mode, file};
use crate::mariadb::Paths;

use super::live;

/// The note.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Shown {
    /// This unit.
    pub unit: String,
    /// The facts that were shown, as [`fingerprint`] puts them.
    pub fingerprint: String,
    /// Look again after so many seconds, whatever happens.
    pub look_again_s: Option<u32>,
    /// The charm's directory.
    pub charm_dir: String,
    /// Juju's program for a hook pass from outside.
    pub exec: String,
    /// The history that this member should serve.
    pub expected: Option<String>,
    /// The units' names by their addresses, for what the agent writes down of a view.
    #[serde(default)]
    pub units: BTreeMap<IpAddr, String>,
    /// The epoch of the last restart that this pass has heard of.
    #[serde(default)]
    pub restart: u32,
    /// The model's UUID: with the application's name it tells our backups from others'.
    #[serde(default)]
    pub model_uuid: String,
}

fn path(paths: &Paths) -> PathBuf {
    paths.state.join("shown.json")
}

/// The facts that a status shows: no sequence numbers, no view numbers, nothing that changes by itself. The view's
/// addresses are one of them: Galera counts a member before it lists its address, and for that moment the status shows
/// it as missing, or even as serving apart from us. `beside` is what else goes on here.
pub fn fingerprint(server: &Server, stalled: bool, beside: &str) -> String {
    let (size, view, uuid) = match server {
        Server::Answers(galera) => (
            galera.size,
            galera.view.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            galera.uuid.as_ref().map(ToString::to_string).unwrap_or_default(),
        ),
        Server::Stopped | Server::Starting | Server::Silent(_) => (0, String::new(), String::new()),
    };
    format!("{} {size} {view} {uuid} stalled={stalled} {beside}", live::word(server))
}

/// Whether a full member was shown.
pub fn shows_synced(fingerprint: &str) -> bool {
    ["synced", "donor"].iter().any(|word| fingerprint.split(' ').next() == Some(word))
}

/// Leaves the note.
///
/// # Errors
/// When it cannot be written.
pub fn write(paths: &Paths, shown: &Shown) -> anyhow::Result<()> {
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    let text = serde_json::to_string(shown).context("cannot write what was shown")?;
    file::write_atomic(path(paths), text.as_bytes(), &Mode::new(0o600))?;
    Ok(())
}

/// Makes the agent ask for another pass at once: Juju does not tell a unit of what it has written itself.
///
/// # Errors
/// When the note cannot be written.
pub fn look_soon(paths: &Paths) -> anyhow::Result<()> {
    read(paths).map_or(Ok(()), |note| write(paths, &Shown { look_again_s: Some(0), ..note }))
}

/// Reads it.
pub fn read(paths: &Paths) -> Option<Shown> {
    let text = file::read_to_string_opt(path(paths)).ok()??;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Galera, LocalState};

    #[test]
    fn an_address_that_the_view_lists_late_is_news() {
        let shown = |addresses: &[&str], conf_id| {
            let galera = Galera {
                primary: true,
                connected: true,
                ready: true,
                state: LocalState::Synced,
                uuid: None,
                seqno: conf_id,
                conf_id,
                size: 2,
                view: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            };
            fingerprint(&Server::Answers(galera), false, "")
        };
        assert_ne!(shown(&["10.0.0.1"], Some(1)), shown(&["10.0.0.1", "10.0.0.2"], Some(1)));
        assert_eq!(shown(&["10.0.0.1", "10.0.0.2"], Some(1)), shown(&["10.0.0.2", "10.0.0.1"], Some(2)));
    }
}
