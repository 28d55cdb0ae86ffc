//! Packs charms for tests: files of folders with their modes and links, and texts beside them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// All files below a folder by their names in it; those that are there already are replaced.
pub(crate) fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) {
    gather(folder, folder, files);
}

fn gather(top: &Path, folder: &Path, files: &mut BTreeMap<String, PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            gather(top, &path, files);
        } else {
            files.insert(path.strip_prefix(top).unwrap().display().to_string(), path);
        }
    }
}

/// Writes the archive.
pub(crate) fn pack(files: &BTreeMap<String, PathBuf>, texts: &BTreeMap<String, String>, to: &Path) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(to).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for (name, file) in files {
        let of = std::fs::symlink_metadata(file).unwrap();
        if of.is_symlink() {
            let target = std::fs::read_link(file).unwrap();
            zip.add_symlink(name, target.to_string_lossy(), options).unwrap();
            continue;
        }
        zip.start_file(name, options.unix_permissions(of.permissions().mode() & 0o777)).unwrap();
        zip.write_all(&std::fs::read(file).unwrap()).unwrap();
    }
    for (name, text) in texts {
        zip.start_file(name, options.unix_permissions(0o644)).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}
