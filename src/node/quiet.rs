//! What the last pass saw that found nothing to do and wrote nothing. As long as that is still so, an update-status
//! pass has no need to ask Juju again for what Juju announces by hooks of its own (`docs/decisions/0006-quiet-passes.md`).

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::cluster::{Node, Server};
use crate::host::{Mode, clock, file};
use crate::mariadb::Paths;

/// So many seconds after a whole look around the next one is due, whatever has happened.
const WHOLE_LOOK_EVERY_S: i64 = 30 * 60;

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Quiet {
    since: i64,
    juju: String,
    node: String,
    /// The charm's files outside of its own folders.
    files: String,
    /// The address that Juju told.
    pub address: Option<IpAddr>,
}

impl Quiet {
    /// From what was seen now; `juju` is what Juju changes without a hook.
    pub fn new(paths: &Paths, juju: String, node: &Node) -> Self {
        let files = paths.owned().stamp();
        Self { since: clock::now().unix_seconds(), juju, node: facts(node), files, address: node.address }
    }

    /// Whether this is what is seen now.
    pub fn holds(&self, paths: &Paths, juju: &str, node: &Node) -> bool {
        self.juju == juju && self.node == facts(node) && self.files == paths.owned().stamp()
    }
}

/// Everything that was seen of this machine, but for the numbers that rise with every write.
fn facts(node: &Node) -> String {
    let mut node = node.clone();
    if let Server::Answers(galera) = &mut node.server {
        (galera.seqno, galera.conf_id) = (None, None);
    }
    format!("{node:?}")
}

/// In the run directory: a reboot forgets it.
fn path(paths: &Paths) -> PathBuf {
    paths.run.join("quiet.json")
}

/// Leaves the note.
///
/// # Errors
/// When it cannot be written.
pub fn remember(paths: &Paths, quiet: &Quiet) -> anyhow::Result<()> {
    file::create_dir_all_with(&paths.run, &Mode::new(0o755))?;
    let text = serde_json::to_string(quiet).context("cannot write what a quiet pass saw")?;
    file::write_atomic(path(paths), text.as_bytes(), &Mode::new(0o600))?;
    Ok(())
}

/// The note, when it is young enough. One that cannot be read is none.
pub fn recall(paths: &Paths) -> Option<Quiet> {
    let text = file::read_to_string_opt(path(paths)).ok()??;
    let quiet: Quiet = serde_json::from_str(&text).ok()?;
    // A clock that was set back makes it look young for ever: then it counts as old.
    let age = clock::now().unix_seconds().saturating_sub(quiet.since);
    (0..WHOLE_LOOK_EVERY_S).contains(&age).then_some(quiet)
}

/// Before anything is done or written: a pass that dies in the middle must not look like one that found nothing to do.
///
/// # Errors
/// When the note cannot be removed.
pub fn forget(paths: &Paths) -> anyhow::Result<()> {
    file::remove_opt(path(paths))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::observe;

    #[test]
    fn a_note_holds_until_something_differs_or_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let node = observe::observe(&paths, "10.0.0.9".parse().ok());
        assert_eq!(recall(&paths), None);
        let file = dir.path().join("server.cnf");
        paths.owned().write(&file, b"ours", &Mode::new(0o644)).unwrap();
        remember(&paths, &Quiet::new(&paths, "leads".to_owned(), &node)).unwrap();
        let quiet = recall(&paths).unwrap();
        assert!(quiet.holds(&paths, "leads", &node) && !quiet.holds(&paths, "follows", &node));
        assert!(!quiet.holds(&paths, "leads", &Node { stalled: !node.stalled, ..node.clone() }));

        let long_ago = Quiet { since: quiet.since - WHOLE_LOOK_EVERY_S, ..quiet.clone() };
        remember(&paths, &long_ago).unwrap();
        assert_eq!(recall(&paths), None);
        let tomorrow = Quiet { since: quiet.since + 86_400, ..quiet.clone() };
        remember(&paths, &tomorrow).unwrap();
        assert_eq!(recall(&paths), None, "a clock that was set back");
        file::write_atomic(&file, b"by hand", &Mode::new(0o644)).unwrap();
        assert!(!quiet.holds(&paths, "leads", &node), "somebody has edited a file");
        forget(&paths).unwrap();
        forget(&paths).unwrap();
    }
}
