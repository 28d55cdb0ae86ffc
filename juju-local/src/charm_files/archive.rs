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
            // Bits 12 to 15 are the kind; an archive without them was made by a tool that knows files only.
            let kind = entry.unix_mode().map_or(0, |mode| mode & 0o170_000);
            if ![0, 0o040_000, 0o100_000, 0o120_000].contains(&kind) {
                return Err(CharmError(format!(
                    "archive entry {name:?} is neither a file, a directory nor a link; leave it out"
                )));
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
            } else {
                // Read to its end, where its checksum is: the units would find out one by one.
                std::io::copy(&mut entry, &mut std::io::sink()).map_err(|why| {
                    CharmError(format!("archive entry {name:?} is damaged ({why}); pack the charm again"))
                })?;
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

    /// Where a file lies that should lie at the root.
    pub(super) fn elsewhere(&self, name: &str) -> Option<String> {
        let end = format!("/{name}");
        self.zip.file_names().flatten().find(|path| path.ends_with(&end)).map(|path| path.to_string())
    }

    /// Whether there is a dispatch that cannot be run: every hook will fail, with Juju too.
    pub fn cannot_dispatch(&mut self) -> bool {
        self.zip
            .by_name("dispatch")
            .is_ok_and(|entry| !entry.is_symlink() && entry.unix_mode().is_none_or(|mode| mode & 0o111 == 0))
    }

    /// Whether dispatch is a folder, which nobody can run.
    pub(super) fn has_dispatch_folder(&self) -> bool {
        self.zip.file_names().flatten().any(|name| name.starts_with("dispatch/"))
    }

    /// Whether Juju would find anything to run.
    pub fn has_hooks(&self) -> bool {
        let hook = |rest: &str| !rest.is_empty() && !rest.contains('/');
        self.zip
            .file_names()
            .flatten()
            .any(|name| name.contains("dispatch") || name.strip_prefix("hooks/").is_some_and(hook))
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
    let metadata = opened.text("metadata.yaml")?.and_then(|text| super::yaml("metadata.yaml", &text).ok());
    let hooks = super::rules::hook_names(&metadata.unwrap_or_default());
    let mut now = BTreeSet::new();
    for index in 0..opened.zip.len() {
        let mut entry = opened.zip.by_index(index).map_err(|why| broken("an entry", &why))?;
        let name = entry_name(&entry)?.trim_end_matches('/').to_owned();
        let path = dir.join(&name);
        if entry.is_dir() {
            make_dirs(dir, &name, &mut now).map_err(|why| broken(&name, &why))?;
            continue;
        }
        if let Some((parent, _)) = name.rsplit_once('/') {
            make_dirs(dir, parent, &mut now).map_err(|why| broken(&name, &why))?;
        }
        // Removed first: a program that runs from the old file keeps it, and a link is not written through.
        clear(&path).map_err(|why| broken(&name, &why))?;
        if entry.is_symlink() {
            let mut target = String::new();
            entry.read_to_string(&mut target).map_err(|why| broken(&name, &why))?;
            std::os::unix::fs::symlink(target, &path).map_err(|why| broken(&name, &why))?;
        } else {
            let mode = entry.unix_mode().unwrap_or(0o644) & 0o777;
            let hook = name.strip_prefix("hooks/").is_some_and(|rest| hooks.contains(rest));
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
    // In reverse, so that a directory comes after what was in it; it stays when the charm has put something there.
    for gone in before.difference(&now).collect::<Vec<_>>().into_iter().rev() {
        let path = dir.join(gone);
        let _ = if is_dir(&path) { fs::remove_dir(&path) } else { fs::remove_file(&path) };
    }
    fs::write(&list, now.into_iter().collect::<Vec<_>>().join("\n")).map_err(|why| broken(LIST, &why))
}

/// A directory itself, not a link to one.
fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Removes what stands where a file shall be.
fn clear(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(why) => Err(why),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

/// Makes a directory with its parents. A link that the charm or an earlier revision left in the way goes: followed from
/// here, outside of the machine, it could lead to the host's own files.
fn make_dirs(dir: &Path, name: &str, written: &mut BTreeSet<String>) -> std::io::Result<()> {
    let mut at = String::new();
    for part in name.split('/') {
        if !at.is_empty() {
            at.push('/');
        }
        at.push_str(part);
        let path = dir.join(&at);
        // A link of this very archive was checked to stay inside.
        if !is_dir(&path) && !written.contains(&at) {
            clear(&path)?;
            fs::create_dir(&path)?;
        }
        written.insert(at.clone());
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use zip::write::SimpleFileOptions;

    /// An archive of these entries: `NAME/`, `NAME -> TARGET` or `NAME MODE CONTENT`.
    pub(in crate::charm_files) fn archive(entries: &[&str]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut zip = zip::ZipWriter::new(file.reopen().unwrap());
        for entry in entries {
            let options = SimpleFileOptions::default();
            if let Some((name, target)) = entry.split_once(" -> ") {
                zip.add_symlink(name, target, options).unwrap();
            } else if let Some(name) = entry.strip_suffix('/') {
                zip.add_directory(name, options).unwrap();
            } else {
                let mut words = entry.splitn(3, ' ');
                let (name, mode, content) =
                    (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
                zip.start_file(name, options.unix_permissions(u32::from_str_radix(mode, 8).unwrap())).unwrap();
                zip.write_all(content.as_bytes()).unwrap();
            }
        }
        zip.finish().unwrap();
        file
    }

    fn refused(entry: &str, expected: Expect) {
        expected.assert_eq(&Archive::open(archive(&[entry]).path()).err().map_or("fine".to_owned(), |why| why.0));
    }

    #[test]
    fn entries() {
        refused("hooks/start -> ../dispatch", expect!["fine"]);
        refused("lib/x -> ../../etc", expect![[r#"symlink "lib/x" leads out of scope; point it inside the charm"#]]);
        refused("x -> /etc/passwd", expect![[r#"symlink "x" is absolute; make it relative"#]]);
        refused("../x 644", expect![[r#"archive entry "../x" leads out of scope; pack the charm again"#]]);
        let text = tempfile::NamedTempFile::new().unwrap();
        fs::write(text.path(), "no zip").unwrap();
        assert!(Archive::open(text.path()).err().unwrap().0.contains("as a charm archive (zip)"));
        assert!(Archive::open(Path::new("/nowhere.charm")).err().unwrap().0.starts_with("cannot open charm /nowhere"));
    }

    /// What lies in a directory, one line each: mode, name and content.
    fn listing(dir: &Path) -> String {
        let mut lines = Vec::new();
        let mut todo = vec![dir.to_owned()];
        while let Some(at) = todo.pop() {
            for entry in fs::read_dir(&at).unwrap().flatten() {
                let (path, meta) = (entry.path(), entry.metadata().unwrap());
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                let mode = meta.permissions().mode() & 0o777;
                if meta.is_dir() {
                    lines.push(format!("{name}/"));
                    todo.push(path);
                } else if meta.is_symlink() {
                    lines.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
                } else {
                    lines.push(format!("{name} {mode:o} {}", fs::read_to_string(&path).unwrap()));
                }
            }
        }
        lines.sort();
        lines.join("\n")
    }

    #[test]
    fn a_later_revision_replaces_an_earlier_one() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("charm");
        let write = |entries: &[&str], expected: Expect| {
            expand(archive(entries).path(), &dir).unwrap();
            expected.assert_eq(&listing(&dir));
        };
        write(
            &[
                "dispatch 755 one",
                "hooks/install 644 i",
                "hooks/helper 644 h",
                "hooks/start -> ../dispatch",
                "lib/",
                "lib/a 600 a",
                "x 644 file",
            ],
            expect![[r"
                dispatch 755 one
                hooks/
                hooks/helper 644 h
                hooks/install 744 i
                hooks/start -> ../dispatch
                lib/
                lib/a 600 a
                x 644 file"]],
        );
        // What the charm made itself, and a link to outside that it put where the next revision has a directory.
        fs::write(dir.join("state"), "own").unwrap();
        fs::create_dir(home.path().join("outside")).unwrap();
        std::os::unix::fs::symlink(home.path().join("outside"), dir.join("new")).unwrap();
        write(
            &["dispatch 755 two", "new/b 644 b", "x/y 644 now a directory"],
            expect![[r"
                dispatch 755 two
                new/
                new/b 644 b
                state 644 own
                x/
                x/y 644 now a directory"]],
        );
        assert_eq!(listing(&home.path().join("outside")), "");
        write(
            &["dispatch 755 three", "x 644 a file again"],
            expect![[r"
            dispatch 755 three
            state 644 own
            x 644 a file again"]],
        );
    }
}
