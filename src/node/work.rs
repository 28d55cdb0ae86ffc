//! Work on backups that goes on beside everything else, as the status shows it: how far it is, and when a backup was last
//! proved to restore.

use std::path::PathBuf;

use crate::host::clock::{self, Timestamp};
use crate::host::{FileError, Mode, file};
use crate::mariadb::Paths;

/// Where on the data volume a backup is proved.
pub const SCRATCH: &str = "data.verify";

fn path(paths: &Paths) -> PathBuf {
    paths.run.join("work")
}

fn lock_path(paths: &Paths) -> PathBuf {
    paths.run.join("work.lock")
}

fn made_path(paths: &Paths) -> PathBuf {
    paths.state.join("last-backup")
}

fn proof_path(paths: &Paths) -> PathBuf {
    paths.state.join("last-proof")
}

/// Shown as long as it is there; gone with its process, in whatever way that ends.
pub struct Shown {
    paths: Paths,
    what: &'static str,
    lock: Option<file::Lock>,
}

impl Shown {
    /// Of this work.
    pub fn new(paths: &Paths, what: &'static str) -> Self {
        let made = file::create_dir_all_with(&paths.run, &Mode::new(0o755));
        // Of two at once the first is shown.
        let lock = made.ok().and_then(|_| file::try_lock(lock_path(paths)).ok().flatten());
        let shown = Self { paths: paths.clone(), what, lock };
        shown.tell(0);
        shown
    }

    /// How far it is.
    pub fn tell(&self, percent: u8) {
        if self.lock.is_some() {
            let text = format!("{} {percent} %", self.what);
            let _only_shown = file::write_atomic(path(&self.paths), text.as_bytes(), &Mode::new(0o644));
        }
    }
}

/// What goes on, such as `backup 40 %`.
pub fn now(paths: &Paths) -> Option<String> {
    if !file::is_locked(lock_path(paths)).unwrap_or(false) {
        return None;
    }
    file::read_to_string_opt(path(paths)).ok().flatten()
}

/// What a status shows of everything beside the server: in steps of ten percent, because each is a hook; the age of a proof
/// not at all, it is as old as the last pass.
pub fn shown(paths: &Paths) -> String {
    let work = now(paths).map(|text| {
        let mut words: Vec<&str> = text.split(' ').collect();
        let tens = words.get(1).and_then(|percent| percent.parse::<u8>().ok()).map(|n| (n / 10 * 10).to_string());
        if let Some((at, tens)) = words.get_mut(1).zip(tens.as_deref()) {
            *at = tens;
        }
        words.join(" ")
    });
    let parts =
        [super::bring::shown(paths), super::planned::shown(paths), super::turn::shown(paths), work.unwrap_or_default()];
    parts.join(" ")
}

/// Whether a process of this machine makes a backup; yes, when it cannot be told.
pub fn is_backing_up(paths: &Paths) -> bool {
    file::is_locked(paths.run.join(crate::backup::LOCK)).unwrap_or(true)
}

/// Remembers that a backup was proved.
///
/// # Errors
/// When it cannot be written.
pub fn note_proof(paths: &Paths, at: Timestamp) -> Result<(), FileError> {
    note(paths, proof_path(paths), at)
}

/// Remembers that a backup was made.
///
/// # Errors
/// When it cannot be written.
pub fn note_made(paths: &Paths, at: Timestamp) -> Result<(), FileError> {
    note(paths, made_path(paths), at)
}

fn note(paths: &Paths, path: PathBuf, at: Timestamp) -> Result<(), FileError> {
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    file::write_atomic(path, at.to_string().as_bytes(), &Mode::new(0o644)).map(drop)
}

/// When this unit last proved a backup.
pub fn last_proved(paths: &Paths) -> Option<Timestamp> {
    stamp(proof_path(paths))
}

/// When this unit last made a backup.
pub fn last_made(paths: &Paths) -> Option<Timestamp> {
    stamp(made_path(paths))
}

fn stamp(path: PathBuf) -> Option<Timestamp> {
    Timestamp::parse(file::read_to_string_opt(path).ok().flatten()?.trim())
}

/// How long ago this unit last proved a backup, in words.
pub fn last_proof(paths: &Paths) -> Option<String> {
    let ago = clock::now().unix_seconds() - last_proved(paths)?.unix_seconds();
    Some(super::backups::in_words(u64::try_from(ago).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_as_long_as_somebody_is_at_it() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert_eq!(now(&paths), None);
        let shown = Shown::new(&paths, "backup");
        shown.tell(40);
        assert_eq!(now(&paths).as_deref(), Some("backup 40 %"));
        drop(shown);
        // A process that another test starts at this moment holds all locks of this one until it runs its program.
        let over = (0..100).any(|_| {
            now(&paths).is_none() || {
                clock::sleep(std::time::Duration::from_millis(20));
                false
            }
        });
        assert!(over);
        note_proof(&paths, clock::now()).unwrap();
        assert!(last_proof(&paths).unwrap().ends_with(" s"));
    }
}
