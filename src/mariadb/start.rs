//! The server's gate: nothing starts mariadbd but through here (`ExecStartPre`), whoever asks. Without a permission the
//! start is refused; a bootstrap's permission is turned into an ordinary one *before* the server starts, so that neither
//! systemd nor a reboot nor a crash can bootstrap twice. Then the position is recovered and passed in, because a start
//! without it can form a cluster with a nil UUID and diverged data.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::grastate::{self, Grastate};
use super::{Paths, datadir, halfway, saved_view};
use crate::host::{Mode, file};

/// What the server may do when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "may")]
pub enum Permission {
    /// Join the others, or restore the saved view with them.
    Join,
    /// Once: be the first of a new cluster, or of a recovered one.
    Bootstrap {
        epoch: u32,
        /// The history and position from which; none for a new cluster.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<(String, u64)>,
    },
}

/// Gives a permission.
///
/// # Errors
/// When it cannot be written.
pub fn permit(paths: &Paths, permission: &Permission) -> anyhow::Result<()> {
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    let text = serde_json::to_string(permission).context("cannot write the start permission")?;
    file::write_atomic(paths.permission(), text.as_bytes(), &Mode::new(0o600))?;
    Ok(())
}

/// Takes the permission back: the server cannot be started by anybody.
///
/// # Errors
/// When it cannot be removed.
pub fn forbid(paths: &Paths) -> anyhow::Result<()> {
    file::remove_opt(paths.permission())?;
    Ok(())
}

/// The permission as it stands.
///
/// # Errors
/// When it is there and cannot be read.
pub fn permission(paths: &Paths) -> anyhow::Result<Option<Permission>> {
    let Some(text) = file::read_to_string_opt(paths.permission())? else {
        return Ok(None);
    };
    serde_json::from_str(&text).map(Some).context("cannot read the start permission")
}

/// Runs before every start of the server.
///
/// # Errors
/// When the server must not start; systemd shows the text.
pub fn gate(paths: &Paths) -> anyhow::Result<()> {
    let permission = permission(paths)?.context(
        "this unit has no permission to start its server: it has not joined a cluster, was stopped, or has left",
    )?;
    begin(paths, "")?;
    saved_view::drop_unusable(paths)?;
    let mut arguments = Vec::new();
    match permission {
        Permission::Join if halfway::read(paths).is_some() => anyhow::bail!(
            "the server died within a statement that changes tables: it waits for a member that serves and gives it a full \
             copy, or for the restart of the cluster"
        ),
        Permission::Join => {
            if let Some((uuid, seqno)) = datadir::measure(paths)? {
                if matches!(datadir::look(paths), datadir::Found::Torn(_)) {
                    // Galera believes a given position only when its own file names the same history.
                    datadir::write_state(paths, &grastate::render(&uuid, None, false))?;
                }
                arguments.push(format!("--wsrep_start_position={uuid}:{seqno}"));
            }
        }
        Permission::Bootstrap { epoch: _, from: None } => {
            permit(paths, &Permission::Join)?;
            arguments.push(NEW_CLUSTER.to_owned());
        }
        Permission::Bootstrap { epoch, from: Some((uuid, seqno)) } => {
            let measured = datadir::measure(paths)?;
            if measured.as_ref() != Some(&(uuid.clone(), seqno)) {
                let found = measured.map_or_else(|| "none".to_owned(), |(u, s)| format!("{u}:{s}"));
                anyhow::bail!(
                    "permission {epoch} to restart the cluster is for position {uuid}:{seqno}, but this unit is at {found}"
                );
            }
            permit(paths, &Permission::Join)?;
            if halfway::read(paths).is_some() {
                // It may be behind the statement whose number it has not: who is at a lower one needs a full copy.
                datadir::drop_write_set_cache(paths)?;
            }
            mark_safe(paths, &uuid, seqno)?;
            saved_view::remove(paths)?;
            arguments.push(format!("--wsrep_start_position={uuid}:{seqno}"));
            arguments.push(NEW_CLUSTER.to_owned());
        }
    }
    halfway::forget(paths)?;
    begin(paths, &arguments.join(" "))
}

const NEW_CLUSTER: &str = "--wsrep-new-cluster";

/// What the next process gets. Empty as long as the gate has not let it pass: a refused start restarts no cluster.
fn begin(paths: &Paths, arguments: &str) -> anyhow::Result<()> {
    file::create_dir_all_with(&paths.run, &Mode::new(0o755))?;
    let text = format!("START_ARGUMENTS={arguments}\n");
    file::write_atomic(paths.start_environment(), text.as_bytes(), &Mode::new(0o644))?;
    Ok(())
}

/// Whether the server that runs, or is on its way up, was told to be the first of its cluster.
pub fn begins_a_cluster(paths: &Paths) -> bool {
    let text = file::read_to_string_opt(paths.start_environment());
    matches!(text, Ok(Some(text)) if text.contains(NEW_CLUSTER))
}

/// The position that the server was last started with, or is kept from starting with, as it was recovered before; `None`
/// when it had none.
pub fn last_position(paths: &Paths) -> Option<String> {
    if let Some((uuid, seqno)) = halfway::read(paths) {
        return Some(format!("{uuid}:{seqno}"));
    }
    let text = file::read_to_string_opt(paths.start_environment()).ok()??;
    let (_, position) = text.split_once("--wsrep_start_position=")?;
    position.split_whitespace().next().map(ToOwned::to_owned)
}

/// Tells Galera that this copy may begin. Keeps everything else that the state file says.
fn mark_safe(paths: &Paths, uuid: &str, seqno: u64) -> anyhow::Result<()> {
    let written = match datadir::look(paths) {
        datadir::Found::State(Grastate { seqno: Some(_), .. }) => Some(seqno),
        datadir::Found::State(Grastate { seqno: None, .. }) | datadir::Found::Torn(_) => None,
        datadir::Found::Nothing | datadir::Found::Odd(_) => {
            anyhow::bail!("cannot read grastate.dat of the copy to restart from")
        }
    };
    Ok(datadir::write_state(paths, &grastate::render(uuid, written, true))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_permission_nothing_starts() {
        let dir = tempfile::tempdir().unwrap();
        let why = gate(&Paths::under(dir.path())).unwrap_err().to_string();
        assert!(why.starts_with("this unit has no permission to start its server"), "{why}");
    }

    #[test]
    fn a_bootstrap_is_permitted_once() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        permit(&paths, &Permission::Bootstrap { epoch: 1, from: None }).unwrap();
        gate(&paths).unwrap();
        let read = || file::read_to_string(paths.start_environment()).unwrap();
        assert_eq!(read(), "START_ARGUMENTS=--wsrep-new-cluster\n");
        gate(&paths).unwrap();
        assert_eq!(read(), "START_ARGUMENTS=\n");
        forbid(&paths).unwrap();
        assert!(gate(&paths).is_err());
    }

    #[test]
    fn a_bootstrap_from_another_position_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let uuid = "6a1f0d52-8f2e-11ee-b9d1-0242ac120002";
        file::create_dir_all_with(paths.datadir(), &Mode::new(0o755)).unwrap();
        let state = grastate::render(uuid, Some(41), true);
        file::write_atomic(paths.datadir().join("grastate.dat"), state.as_bytes(), &Mode::new(0o644)).unwrap();
        permit(&paths, &Permission::Bootstrap { epoch: 2, from: Some((uuid.to_owned(), 42)) }).unwrap();
        let why = gate(&paths).unwrap_err().to_string();
        assert!(why.ends_with(&format!("but this unit is at {uuid}:41")), "{why}");
        assert!(
            matches!(permission(&paths).unwrap(), Some(Permission::Bootstrap { .. })),
            "the permission is kept for a look"
        );
    }
}
