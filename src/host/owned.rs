//! Files that belong to this program. What it has written is remembered: an edit by hand is kept aside and can be told, and
//! what an earlier revision wrote and this one does not is removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::file::{self, FileError};
use super::{Mode, clock};

/// So many edits of one file are kept.
const EDITS_MAX: usize = 5;

/// The files of this program, and where it remembers them.
#[derive(Clone, Debug)]
pub struct Owned {
    state: PathBuf,
}

/// A file that somebody else has edited, as it was before it was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The file's name, without its folder.
    pub name: String,
    /// Where the edited text is kept.
    pub kept: PathBuf,
    /// How long ago it was put there.
    pub age: Duration,
}

/// By path: checksums of what was written, the last one last. Two of them, while a new text is on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    files: BTreeMap<PathBuf, Vec<String>>,
}

impl Owned {
    /// Remembered in this folder.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self { state: state.into() }
    }

    /// As [`file::write_atomic`]. What somebody else has made of the file since it was last written is kept aside first.
    ///
    /// # Errors
    /// When something cannot be written; the file is then untouched.
    pub fn write(&self, path: impl AsRef<Path>, bytes: &[u8], mode: &Mode) -> Result<bool, FileError> {
        let path = path.as_ref();
        let (mut note, sum) = (self.read(), checksum(bytes));
        let known = note.files.get(path).cloned().unwrap_or_default();
        if let Some(there) = file::read_opt(path)?.filter(|there| there != bytes) {
            if !known.is_empty() && !known.contains(&checksum(&there)) {
                self.keep(path, &there)?;
            }
            // Before the file: whoever dies in between leaves nothing that looks like somebody else's.
            let both = known.last().cloned().into_iter().chain([sum.clone()]).collect();
            self.note(&mut note, path, both)?;
        }
        let changed = file::write_atomic(path, bytes, mode)?;
        self.note(&mut note, path, vec![sum])?;
        Ok(changed)
    }

    /// Removes every file that was written and is none of these. One that somebody has edited is kept aside. Returns what
    /// was removed.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn prune(&self, still: &[&str]) -> Result<Vec<PathBuf>, FileError> {
        let mut note = self.read();
        let gone: Vec<PathBuf> =
            note.files.keys().filter(|path| !still.iter().any(|s| Path::new(s) == path.as_path())).cloned().collect();
        for path in &gone {
            let sums = note.files.get(path).cloned().unwrap_or_default();
            if let Some(there) = file::read_opt(path)?.filter(|there| !sums.contains(&checksum(there))) {
                self.keep(path, &there)?;
            }
            file::remove_opt(path)?;
            note.files.remove(path);
            self.save(&note)?;
        }
        Ok(gone)
    }

    /// What was edited and put back no longer ago than this, the latest first.
    pub fn edits(&self, within: Duration) -> Vec<Edit> {
        let folder = self.folder();
        let names = file::list_opt(&folder).ok().flatten().unwrap_or_default();
        let mut edits: Vec<Edit> = names
            .into_iter()
            .filter_map(|kept| {
                let (name, _) = kept.rsplit_once('.')?;
                let (name, kept) = (name.to_owned(), folder.join(&kept));
                let age = file::age_opt(&kept).ok()??;
                (age <= within).then_some(Edit { name, kept, age })
            })
            .collect();
        edits.sort_by_key(|edit| (edit.age, edit.kept.clone()));
        edits
    }

    /// What tells, without reading them, whether somebody has touched one of the files.
    pub fn stamp(&self) -> String {
        let stamps = self.read().files.into_keys().map(|path| file::identity(&path).ok().flatten().unwrap_or_default());
        stamps.collect::<Vec<_>>().join(" ")
    }

    fn folder(&self) -> PathBuf {
        self.state.join("edited")
    }

    /// Keeps a text aside, and no more than the last few of its file.
    fn keep(&self, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = self.folder();
        // Whatever the file's own mode: it may hold a password.
        file::create_dir_all_with(&folder, &Mode::new(0o700))?;
        let of_file = |kept: &String| kept.rsplit_once('.').is_some_and(|(rest, _)| rest == name);
        let mut kept: Vec<String> = file::list_opt(&folder)?.unwrap_or_default().into_iter().filter(of_file).collect();
        kept.sort_by_key(|kept| kept.rsplit_once('.').and_then(|(_, at)| at.parse::<i64>().ok()));
        for old in kept.iter().take(kept.len().saturating_sub(EDITS_MAX - 1)) {
            file::remove_opt(folder.join(old))?;
        }
        let at = clock::now().unix_seconds();
        file::write_atomic(folder.join(format!("{name}.{at}")), bytes, &Mode::new(0o600)).map(drop)
    }

    fn path(&self) -> PathBuf {
        self.state.join("owned-files.json")
    }

    /// What cannot be read was never written: then no edit is seen, and nothing is removed.
    fn read(&self) -> Note {
        let text = file::read_to_string_opt(self.path()).ok().flatten();
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    fn note(&self, note: &mut Note, path: &Path, sums: Vec<String>) -> Result<(), FileError> {
        if note.files.get(path) == Some(&sums) {
            return Ok(());
        }
        note.files.insert(path.to_owned(), sums);
        self.save(note)
    }

    fn save(&self, note: &Note) -> Result<(), FileError> {
        file::create_dir_all_with(&self.state, &Mode::new(0o700))?;
        // Paths are texts here, which always have a JSON form.
        let text = serde_json::to_string(note).unwrap_or_default();
        file::write_atomic(self.path(), text.as_bytes(), &Mode::new(0o600)).map(drop)
    }
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn fixture() -> (tempfile::TempDir, Owned, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (owned, path) = (Owned::new(dir.path().join("state")), dir.path().join("server.cnf"));
        (dir, owned, path)
    }

    #[test]
    fn an_edit_is_put_back_and_kept() {
        let (_dir, owned, path) = fixture();
        let write = |text: &str| owned.write(&path, text.as_bytes(), &Mode::new(0o644)).unwrap();
        assert!(write("one") && !write("one") && write("two"));
        assert_eq!(owned.edits(DAY), [], "what it wrote itself is no edit");
        let before = owned.stamp();
        std::fs::write(&path, "by hand").unwrap();
        assert_ne!(owned.stamp(), before);
        assert!(write("two"));
        let edits = owned.edits(DAY);
        assert_eq!(edits.len(), 1);
        assert_eq!(edits[0].name, "server.cnf");
        assert_eq!(std::fs::read_to_string(&edits[0].kept).unwrap(), "by hand");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        std::fs::remove_file(&path).unwrap();
        assert!(write("two"));
        assert_eq!(owned.edits(DAY).len(), 1, "of a file that was removed there is nothing to keep");
    }

    #[test]
    fn whoever_died_on_the_way_has_edited_nothing() {
        let (_dir, owned, path) = fixture();
        owned.write(&path, b"one", &Mode::new(0o644)).unwrap();
        // The note says that two is on its way; the file holds one still, or two already.
        let mut note = owned.read();
        owned.note(&mut note, &path, vec![checksum(b"one"), checksum(b"two")]).unwrap();
        owned.write(&path, b"three", &Mode::new(0o644)).unwrap();
        owned.note(&mut note, &path, vec![checksum(b"three"), checksum(b"four")]).unwrap();
        std::fs::write(&path, "four").unwrap();
        owned.write(&path, b"five", &Mode::new(0o644)).unwrap();
        assert_eq!(owned.edits(DAY), []);
    }

    #[test]
    fn what_an_earlier_revision_wrote_goes() {
        let (dir, owned, path) = fixture();
        let old = dir.path().join("old.cnf");
        owned.write(&path, b"one", &Mode::new(0o644)).unwrap();
        owned.write(&old, b"old", &Mode::new(0o644)).unwrap();
        std::fs::write(&old, "edited").unwrap();
        let still = path.display().to_string();
        assert_eq!(owned.prune(&[&still]).unwrap(), std::slice::from_ref(&old));
        assert_eq!(owned.prune(&[&still]).unwrap(), Vec::<PathBuf>::new());
        assert!(path.exists() && !old.exists());
        assert_eq!(owned.edits(DAY)[0].name, "old.cnf");
    }

    #[test]
    fn the_last_few_edits_are_kept() {
        let (_dir, owned, path) = fixture();
        std::fs::create_dir_all(owned.folder()).unwrap();
        for at in 0..9 {
            std::fs::write(owned.folder().join(format!("server.cnf.{at}")), "x").unwrap();
        }
        owned.keep(&path, b"last").unwrap();
        let kept = owned.edits(DAY);
        assert_eq!(kept.len(), EDITS_MAX);
        assert!(kept.iter().all(|edit| !edit.kept.ends_with("server.cnf.4")), "the oldest went: {kept:?}");
    }
}
