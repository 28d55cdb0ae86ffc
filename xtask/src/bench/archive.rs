//! Small charms to compare with: a folder becomes an archive, with the modes that its files have.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::build;

/// A fresh folder for a charm of this name under the build directory.
pub(crate) fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = build::target()?.join("bench").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Writes one of its files.
pub(crate) fn file(folder: &Path, name: &str, mode: u32, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Packs a folder beside itself.
pub(crate) fn pack(folder: &Path) -> anyhow::Result<PathBuf> {
    let target = folder.with_extension("charm");
    let mut zip = ZipWriter::new(File::create(&target).with_context(|| format!("cannot write {}", target.display()))?);
    add(&mut zip, folder, "")?;
    zip.finish().context("cannot finish the archive")?;
    Ok(target)
}

fn add(zip: &mut ZipWriter<File>, folder: &Path, prefix: &str) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        let about = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if about.is_dir() {
            add(zip, &path, &format!("{name}/"))?;
        } else {
            let mode = about.permissions().mode() & 0o777;
            let method = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
            zip.start_file(name, method.unix_permissions(mode))?;
            zip.write_all(&fs::read(&path)?)?;
        }
    }
    Ok(())
}
