//! A directory as a charm's archive, the way Juju 3 packs what `deploy` is given as a directory.

use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zip::write::SimpleFileOptions;

use super::CharmError;

/// What Juju leaves out of any directory, and what it leaves out at its top.
const IGNORED: [&str; 6] = [".git", ".svn", ".hg", ".bzr", ".tox", ".jujuignore"];
const IGNORED_AT_TOP: [&str; 3] = ["build", "revision", "version"];

/// Writes a directory's files, links and modes as an archive.
///
/// # Errors
/// Names what cannot be packed.
pub fn pack(dir: &Path, file: impl Write + Seek) -> Result<(), CharmError> {
    if !dir.join("metadata.yaml").is_file() {
        let source = dir.join("charmcraft.yaml").exists();
        let remedy = if source { "it is a charm's source: pack it with charmcraft" } else { "is this a charm?" };
        return Err(CharmError(format!("cannot pack {}: it has no metadata.yaml; {remedy}", dir.display())));
    }
    if dir.join(".jujuignore").exists() {
        return Err(CharmError(format!(
            "cannot pack {}: juju-local does not read .jujuignore; pack the charm with charmcraft, or remove that file",
            dir.display()
        )));
    }
    let mut zip = zip::ZipWriter::new(file);
    add(&mut zip, dir, "")?;
    zip.finish().map(drop).map_err(|why| CharmError(format!("cannot pack {}: {why}", dir.display())))
}

fn add<W: Write + Seek>(zip: &mut zip::ZipWriter<W>, dir: &Path, prefix: &str) -> Result<(), CharmError> {
    let broken =
        |path: &Path, why: &dyn std::fmt::Display| CharmError(format!("cannot pack {}: {why}", path.display()));
    let mut entries: Vec<fs::DirEntry> =
        fs::read_dir(dir).and_then(Iterator::collect).map_err(|why| broken(dir, &why))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let file_name = entry.file_name();
        let name = file_name.to_str().ok_or_else(|| broken(&path, &"its name is no text"))?;
        if IGNORED.contains(&name) || (prefix.is_empty() && IGNORED_AT_TOP.contains(&name)) {
            continue;
        }
        let meta = fs::symlink_metadata(&path).map_err(|why| broken(&path, &why))?;
        let options = SimpleFileOptions::default().unix_permissions(meta.permissions().mode() & 0o777);
        let inside = format!("{prefix}{name}");
        if meta.is_symlink() {
            let target = fs::read_link(&path).map_err(|why| broken(&path, &why))?;
            let target = target.to_str().ok_or_else(|| broken(&path, &"its target is no text"))?.to_owned();
            zip.add_symlink(inside, target, options).map_err(|why| broken(&path, &why))?;
        } else if meta.is_dir() {
            zip.add_directory(inside.as_str(), options).map_err(|why| broken(&path, &why))?;
            add(zip, &path, &format!("{inside}/"))?;
        } else if meta.is_file() {
            zip.start_file(inside, options).map_err(|why| broken(&path, &why))?;
            let mut file = fs::File::open(&path).map_err(|why| broken(&path, &why))?;
            std::io::copy(&mut file, zip).map_err(|why| broken(&path, &why))?;
        } else {
            return Err(broken(&path, &"it is neither a file, a directory nor a link"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charm_files::{Archive, Charm, expand};

    #[test]
    fn a_directory_becomes_a_charm() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path();
        let packed = || {
            let file = tempfile::NamedTempFile::new().unwrap();
            pack(dir, file.as_file()).map(|()| file)
        };
        assert!(packed().unwrap_err().0.ends_with("it has no metadata.yaml; is this a charm?"));
        fs::write(dir.join("charmcraft.yaml"), "").unwrap();
        assert!(packed().unwrap_err().0.ends_with("pack it with charmcraft"));
        fs::write(dir.join("metadata.yaml"), "{name: db, summary: s, description: d}").unwrap();
        fs::create_dir_all(dir.join("hooks/.git")).unwrap();
        fs::write(dir.join("hooks/.git/x"), "").unwrap();
        fs::write(dir.join("run"), "#!/bin/sh").unwrap();
        fs::set_permissions(dir.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("../run", dir.join("hooks/install")).unwrap();
        fs::write(dir.join("revision"), "7").unwrap();
        let file = packed().unwrap();
        let mut archive = Archive::open(file.path()).unwrap();
        assert_eq!(Charm::read(&mut archive, "3.6.12").unwrap().name, "db");
        let out = tempfile::tempdir().unwrap();
        let charm = out.path().join("charm");
        expand(file.path(), &charm).unwrap();
        assert_eq!(fs::read_link(charm.join("hooks/install")).unwrap(), Path::new("../run"));
        assert_eq!(fs::metadata(charm.join("run")).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(!charm.join("revision").exists() && !charm.join("hooks/.git").exists());
        fs::write(dir.join(".jujuignore"), "x").unwrap();
        assert!(packed().unwrap_err().0.contains("does not read .jujuignore"));
    }
}
