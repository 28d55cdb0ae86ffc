//! The data directory: what lies in it, and making the first one.

use std::path::Path;
use std::time::Duration;

use super::grastate::{self, Grastate};
use super::{Paths, halfway, server_program};
use crate::host::{Command, CommandError, FileError, Mode, beside, file, machine};

/// Why a directory could not be prepared or measured.
#[derive(Debug, thiserror::Error)]
pub enum DatadirError {
    #[error(transparent)]
    File(#[from] FileError),
    /// A program failed.
    #[error("cannot {what}")]
    Program { what: &'static str, source: CommandError },
    /// The recovery run named no position.
    #[error("cannot find the position of the data: the server's recovery run named none: {0}")]
    NoPosition(String),
}

/// What lies in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No directory, or an empty one.
    Nothing,
    /// Galera's state file and what it says.
    State(Grastate),
    /// Data with a state file that makes no sense: Galera overwrites it in place, so a power cut can leave half of one.
    Torn(String),
    /// Data without a state file.
    Odd(String),
}

/// Looks without changing anything.
pub fn look(paths: &Paths) -> Found {
    look_in(&paths.datadir())
}

fn look_in(dir: &Path) -> Found {
    let names = match file::list_opt(dir) {
        Ok(None) => return Found::Nothing,
        Ok(Some(names)) => names,
        Err(why) => return Found::Odd(why.to_string()),
    };
    match file::read_to_string_opt(dir.join("grastate.dat")) {
        Ok(Some(text)) => match grastate::parse(&text) {
            Ok(state) => Found::State(state),
            Err(why) => Found::Torn(why),
        },
        Ok(None) if names.iter().all(|name| name == "lost+found") => Found::Nothing,
        Ok(None) => Found::Odd("data without grastate.dat".to_owned()),
        Err(why) => Found::Odd(why.to_string()),
    }
}

/// Whether anything but our own files lies on the volume beside the data directory.
///
/// # Errors
/// When the volume cannot be read.
pub fn foreign_files(paths: &Paths, ours: &[&str]) -> Result<Vec<String>, FileError> {
    let names = file::list_opt(&paths.volume)?.unwrap_or_default();
    Ok(names
        .into_iter()
        .filter(|name| {
            let flag = name.starts_with("debian-") && name.ends_with(".flag");
            !(name == "lost+found"
                || name == "data"
                || name.starts_with("data.")
                || flag
                || ours.contains(&name.as_str()))
        })
        .collect())
}

/// Makes the first data directory: the system tables that the package made, or new ones. Whole or not at all.
///
/// # Errors
/// When the tables cannot be made.
pub fn make_first(paths: &Paths) -> Result<(), DatadirError> {
    let dir = paths.datadir();
    if look(paths) != Found::Nothing {
        return Ok(());
    }
    let packaged = paths.packaged();
    if !file::exists(packaged.join("mysql"))? {
        file::remove_dir_all_opt(&packaged)?;
        make_system_tables(&packaged)?;
    }
    // An empty directory may be in the way.
    file::remove_dir_all_opt(&dir)?;
    file::rename(&packaged, &dir)?;
    Ok(())
}

/// Makes a data directory with nothing but the system tables, where there is none.
///
/// # Errors
/// When the tables cannot be made.
pub fn make_system_tables(dir: &Path) -> Result<(), DatadirError> {
    file::create_dir_all_with(dir, &Mode::owned(0o750, "mysql", "mysql"))?;
    Command::new("mariadb-install-db")
        .args(["--no-defaults", "--user=mysql", "--auth-root-authentication-method=socket", "--skip-test-db"])
        .arg(format!("--datadir={}", dir.display()))
        .timeout(Duration::from_secs(120))
        .run()
        .map_err(|source| DatadirError::Program { what: "make the system tables", source })?;
    Ok(())
}

/// Data that was moved aside and is still on the volume: the directories' paths.
///
/// # Errors
/// When the volume cannot be read.
pub fn aside(paths: &Paths) -> Result<Vec<String>, FileError> {
    let mut names = file::list_opt(&paths.volume)?.unwrap_or_default();
    names.retain(|name| name.starts_with("data.aside-"));
    names.sort();
    Ok(names.into_iter().map(|name| paths.volume.join(name).display().to_string()).collect())
}

/// Moves the data that the cluster went on without out of its way. What was moved before stays where it is.
///
/// # Errors
/// When it cannot be moved, or something lies in its place.
pub fn set_aside(paths: &Paths, branch: u32) -> Result<(), FileError> {
    if look(paths) == Found::Nothing {
        return Ok(());
    }
    let mut target = paths.volume.join(format!("data.aside-{branch}"));
    let mut again = 1;
    while file::exists(&target)? {
        again += 1;
        target = paths.volume.join(format!("data.aside-{branch}.{again}"));
    }
    ready_to_lie(paths)?;
    file::rename(paths.datadir(), &target)
}

/// With the server stopped: makes of the data what can lie beside others and be gone back to. How far it goes is written into
/// its state file, because finding it out later would take a server that meddles with the one that runs then; the cache
/// for incremental transfers goes, which is of use to nobody there and takes room.
///
/// # Errors
/// When the files cannot be written. That the position cannot be found out is none: then nobody goes back to it.
pub fn ready_to_lie(paths: &Paths) -> Result<(), FileError> {
    let unclean = !matches!(look(paths), Found::State(Grastate { uuid: None, .. } | Grastate { seqno: Some(_), .. }));
    if let (true, Ok(Some((uuid, seqno)))) = (unclean, measure(paths)) {
        write_state(paths, &grastate::render(&uuid, Some(seqno), false))?;
    }
    drop_write_set_cache(paths)
}

/// Room on the volume for other data beside those that are there, in bytes: what a server that starts on them makes for itself,
/// its engine's log, is as large as now. `None` when it cannot be told.
pub fn room_for_another(paths: &Paths) -> Option<u64> {
    let free = machine::disk_space(&paths.volume).ok()?.free;
    let log = beside::size_opt(paths.datadir().join("ib_logfile0")).ok()?.unwrap_or(0);
    Some(free.saturating_sub(log))
}

/// Writes the state file of the data.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_state(paths: &Paths, text: &str) -> Result<(), FileError> {
    let mode = Mode::owned(0o660, "mysql", "mysql");
    file::write_atomic(paths.datadir().join("grastate.dat"), text.as_bytes(), &mode).map(drop)
}

/// How far data goes that lies elsewhere, from its state file alone; `None` when that does not say.
pub fn noted_position(dir: &Path) -> Option<(String, u64)> {
    match look_in(dir) {
        Found::State(Grastate { uuid: Some(uuid), seqno: Some(seqno), .. }) => Some((uuid, seqno)),
        Found::State(_) | Found::Torn(_) | Found::Odd(_) | Found::Nothing => None,
    }
}

/// Deletes what was set aside under this number.
///
/// # Errors
/// When it cannot be removed.
pub fn drop_aside(paths: &Paths, branch: u32) -> Result<(), FileError> {
    let name = format!("data.aside-{branch}");
    for found in file::list_opt(&paths.volume)?.unwrap_or_default() {
        if found == name || found.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.')) {
            file::remove_dir_all_opt(paths.volume.join(found))?;
        }
    }
    Ok(())
}

/// Moves what an interrupted founding has left out of the way; nothing is deleted.
///
/// # Errors
/// When it cannot be moved.
pub fn move_aside(paths: &Paths, epoch: u32) -> Result<(), FileError> {
    let aside = paths.volume.join(format!("data.interrupted-{epoch}"));
    // One of an earlier try under the same permission is the same leftover.
    file::remove_dir_all_opt(&aside)?;
    file::rename(paths.datadir(), &aside)
}

/// An empty directory for the first state transfer to fill.
///
/// # Errors
/// When it cannot be made.
pub fn make_empty(paths: &Paths) -> Result<(), FileError> {
    file::remove_dir_all_opt(paths.packaged())?;
    file::create_dir_all_with(paths.datadir(), &Mode::owned(0o750, "mysql", "mysql"))?;
    Ok(())
}

/// Whether the state file has the nil UUID, which marks data as not to be used.
pub fn is_nil(paths: &Paths) -> bool {
    matches!(look(paths), Found::State(Grastate { uuid: None, .. }))
}

/// Removes what Galera keeps for incremental transfers.
///
/// # Errors
/// When it cannot be removed.
pub fn drop_write_set_cache(paths: &Paths) -> Result<(), FileError> {
    let dir = paths.datadir();
    let names = file::list_opt(&dir)?.unwrap_or_default();
    for name in names.iter().filter(|name| *name == "galera.cache" || name.starts_with("gcache.page.")) {
        file::remove_opt(dir.join(name))?;
    }
    Ok(())
}

/// How far the data goes, with the server stopped: from the state file after a clean stop, else by a recovery run, which
/// rolls the engine's own log forward. `None`: there is no copy of a history here. A torn state file does not matter: the
/// engine knows the history too. The nil UUID does, unless it is known why it is there.
///
/// # Errors
/// When a recovery run fails: no answer is better than a wrong one.
pub fn measure(paths: &Paths) -> Result<Option<(String, u64)>, DatadirError> {
    if is_nil(paths) {
        return Ok(halfway::read(paths));
    }
    let dir = &paths.datadir();
    let uuid = match look_in(dir) {
        Found::State(Grastate { uuid: Some(uuid), seqno: Some(seqno), .. }) => return Ok(Some((uuid, seqno))),
        Found::State(Grastate { uuid: Some(uuid), seqno: None, .. }) => Some(uuid),
        Found::Torn(_) => None,
        Found::State(Grastate { uuid: None, .. }) | Found::Nothing | Found::Odd(_) => return Ok(None),
    };
    // The engine may know no position, or one of another history than the state file: not usable.
    Ok(engine_position(dir)?.filter(|(found, _)| uuid.as_ref().is_none_or(|uuid| uuid == found)))
}

/// The engine's own position, by a recovery run of the stopped server.
///
/// # Errors
/// When the run fails: no answer is better than a wrong one.
pub(super) fn engine_position(dir: &Path) -> Result<Option<(String, u64)>, DatadirError> {
    // Its own error log: two runs must not read each other's.
    let output = Command::new(server_program())
        .args(["--user=mysql", "--wsrep-recover", "--disable-log-error", "--skip-networking", "--wsrep-notify-cmd="])
        .arg(format!("--datadir={}", dir.display()))
        .timeout(Duration::from_secs(3600))
        .run()
        .map_err(|source| DatadirError::Program { what: "recover the position of the data", source })?;
    let log = output.stderr_text();
    match grastate::recovered_position(&log) {
        Some((found, Some(seqno))) if found != grastate::NIL => Ok(Some((found, seqno))),
        Some(_) => Ok(None),
        None => Err(DatadirError::NoPosition(log.lines().last().unwrap_or_default().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_aside_says_how_far_it_goes_and_holds_no_cache() {
        const UUID: &str = "6a1f0d52-8f2e-11ee-b9d1-0242ac120002";
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let data = paths.datadir();
        file::create_dir_all_with(&data, &Mode::new(0o755)).unwrap();
        for name in ["galera.cache", "gcache.page.000001", "ibdata1", "ib_logfile0"] {
            file::write_atomic(data.join(name), b"bytes", &Mode::new(0o600)).unwrap();
        }
        let state = grastate::render(UUID, Some(17), false);
        file::write_atomic(data.join("grastate.dat"), state.as_bytes(), &Mode::new(0o600)).unwrap();
        let room = room_for_another(&paths).unwrap();
        assert!(room <= machine::disk_space(dir.path()).unwrap().free.saturating_sub(5) + (1 << 30), "{room}");
        set_aside(&paths, 4).unwrap();
        let aside = paths.volume.join("data.aside-4");
        assert_eq!(file::list_opt(&aside).unwrap().unwrap(), ["grastate.dat", "ib_logfile0", "ibdata1"]);
        assert_eq!(noted_position(&aside), Some((UUID.to_owned(), 17)));
        let unclean = grastate::render(UUID, None, false);
        file::write_atomic(aside.join("grastate.dat"), unclean.as_bytes(), &Mode::new(0o600)).unwrap();
        assert_eq!(noted_position(&aside), None, "finding it out would take a server beside the one that runs");
    }
}
