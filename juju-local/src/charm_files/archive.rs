//! The zip around a charm: entry rules, and writing it out on a machine.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path};

use super::CharmError;

/// Where the list of an expanded charm's files is kept, beside the charm directory.
const LIST: &str = ".charm-files";

/// An open `.charm` file.
pub struct Archive {
    zip: zip::ZipArchive<fs::File>,
}

impl Archive {
    /// Opens a file and checks every entry's name, kind and link target.
    ///
    /// # Errors
    /// Names the file or entry that cannot be used.
    pub fn open(path: &Path) -> Result<Self, CharmError> {
        let file =
            fs::File::open(path).map_err(|why| CharmError(format!("cannot open charm {}: {why}", path.display())))?;
        let zip = zip::ZipArchive::new(file)
            .map_err(|why| CharmError(format!("cannot read {} as a charm archive (zip): {why}", path.display())))?;
        let mut archive = Self { zip };
        archive.check()?;
        Ok(archive)
    }

    fn check(&mut self) -> Result<(), CharmError> {
        for index in 0..self.zip.len() {
            let mut entry = self
                .zip
                .by_index(index)
                .map_err(|why| CharmError(format!("cannot read archive entry {index}: {why}")))?;
            let name = entry_name(&entry)?;
            if !inside(Path::new(&name)) {
                return Err(CharmError(format!("archive entry {name:?} leads out of scope; pack the charm again")));
            }
            if entry.is_symlink() {
                let mut target = String::new();
                entry
                    .read_to_string(&mut target)
                    .map_err(|why| CharmError(format!("cannot read link {name:?}: {why}")))?;
                if target.starts_with('/') {
                    return Err(CharmError(format!("symlink {name:?} is absolute; make it relative")));
                }
                let depth = Path::new(&name).components().count().saturating_sub(1);
                if !stays_inside(Path::new(&target), depth) {
                    return Err(CharmError(format!("symlink {name:?} leads out of scope; point it inside the charm")));
                }
            }
        }
        Ok(())
    }

    /// A text file at the archive's root; `None` when it is not there.
    ///
    /// # Errors
    /// When it is there and is no text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, CharmError> {
        let Ok(mut entry) = self.zip.by_name(name) else {
            return Ok(None);
        };
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(|why| CharmError(format!("cannot read {name}: {why}")))?;
        Ok(Some(text))
    }

    /// Whether Juju would find anything to run.
    pub fn has_hooks(&self) -> bool {
        self.zip
            .file_names()
            .flatten()
            .any(|name| name == "dispatch" || (name.starts_with("hooks/") && name.len() > "hooks/".len()))
    }
}

fn entry_name<R: Read>(entry: &zip::read::ZipFile<'_, R>) -> Result<String, CharmError> {
    entry
        .name()
        .map(|name| name.into_owned())
        .map_err(|why| CharmError(format!("cannot read an archive entry's name: {why}")))
}

fn inside(path: &Path) -> bool {
    path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
}

fn stays_inside(target: &Path, depth: usize) -> bool {
    let mut depth = depth;
    for component in target.components() {
        match component {
            Component::ParentDir if depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Writes a charm out, over what an earlier revision left: every file of the archive is written, files that only the
/// earlier revision had go, files that the charm made itself stay.
///
/// # Errors
/// When the archive or the directory cannot be used.
pub fn expand(archive: &Path, dir: &Path) -> Result<(), CharmError> {
    let mut opened = Archive::open(archive)?;
    let broken = |what: &str, why: &dyn std::fmt::Display| CharmError(format!("cannot write {what}: {why}"));
    fs::create_dir_all(dir).map_err(|why| broken(&dir.display().to_string(), &why))?;
    let list = dir.with_file_name(LIST);
    let before: BTreeSet<String> =
        fs::read_to_string(&list).unwrap_or_default().lines().map(ToOwned::to_owned).collect();
    let mut now = BTreeSet::new();
    for index in 0..opened.zip.len() {
        let mut entry = opened.zip.by_index(index).map_err(|why| broken("an entry", &why))?;
        let name = entry_name(&entry)?.trim_end_matches('/').to_owned();
        let path = dir.join(&name);
        if entry.is_dir() {
            fs::create_dir_all(&path).map_err(|why| broken(&name, &why))?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|why| broken(&name, &why))?;
        }
        // Removed first: a program that runs from the old file keeps it, and a link is not written through.
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => return Err(broken(&name, &why)),
        }
        if entry.is_symlink() {
            let mut target = String::new();
            entry.read_to_string(&mut target).map_err(|why| broken(&name, &why))?;
            std::os::unix::fs::symlink(target, &path).map_err(|why| broken(&name, &why))?;
        } else {
            let mode = entry.unix_mode().unwrap_or(0o644) & 0o777;
            let hook = name.strip_prefix("hooks/").is_some_and(|rest| !rest.contains('/'));
            let mode = if hook { mode | 0o100 } else { mode };
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&path)
                .map_err(|why| broken(&name, &why))?;
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(|why| broken(&name, &why))?;
            file.write_all(&content).map_err(|why| broken(&name, &why))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(|why| broken(&name, &why))?;
        }
        now.insert(name);
    }
    for gone in before.difference(&now) {
        let _ = fs::remove_file(dir.join(gone));
    }
    fs::write(&list, now.into_iter().collect::<Vec<_>>().join("\n")).map_err(|why| broken(LIST, &why))
}
