//! Directories with everything in them: how much is there, whether it would survive a power cut, and whether a file is
//! still the one it was.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::file::{FileError, failed};

/// What plain files below a directory take up on disk, in bytes, without those whose name is to be passed over. What
/// vanishes meanwhile counts nothing, and neither does a directory that is not there.
///
/// # Errors
/// When a directory cannot be read.
pub fn bytes(path: impl AsRef<Path>, passed_over: &dyn Fn(&str) -> bool) -> Result<u64, FileError> {
    let path = path.as_ref();
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed("list", path)(error)),
    };
    let mut sum = 0;
    for entry in entries {
        let entry = entry.map_err(failed("list", path))?;
        // Not followed where it is a link.
        let Ok(found) = entry.metadata() else { continue };
        if found.is_dir() {
            sum += bytes(entry.path(), passed_over)?;
        } else if found.is_file() && !passed_over(&entry.file_name().to_string_lossy()) {
            // Sparse files take up less than their length.
            sum += found.blocks() * 512;
        }
    }
    Ok(sum)
}

/// How long a plain file is; nothing where there is none.
pub fn file_bytes(path: impl AsRef<Path>) -> u64 {
    fs::symlink_metadata(path).map_or(0, |found| if found.is_file() { found.len() } else { 0 })
}

/// Returns when everything on the filesystem of this directory would survive a power cut.
///
/// # Errors
/// When the filesystem cannot write it.
pub fn sync(path: impl AsRef<Path>) -> Result<(), FileError> {
    let path = path.as_ref();
    let directory = File::open(path).map_err(failed("open", path))?;
    rustix::fs::syncfs(&directory).map_err(|error| failed("flush the filesystem of", path)(error.into()))
}

/// What tells a file from any other that had or will have its name: its number and the moment it was made. Renaming and
/// writing do not change that. `None` where the filesystem does not know, and where nothing is.
///
/// # Errors
/// When it cannot be looked at.
pub fn incarnation(path: impl AsRef<Path>) -> Result<Option<String>, FileError> {
    let path = path.as_ref();
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let found = match rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted) {
        Ok(found) => found,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed("look at", path)(error.into())),
    };
    let known = found.stx_mask & wanted.bits() == wanted.bits();
    let nanos = i128::from(found.stx_btime.tv_sec) * 1_000_000_000 + i128::from(found.stx_btime.tv_nsec);
    Ok(known.then(|| format!("{}-{nanos}", found.stx_ino)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_directory_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/one"), vec![b'x'; 100_000]).unwrap();
        fs::write(dir.path().join("two"), vec![b'x'; 100_000]).unwrap();
        sync(dir.path()).unwrap();
        let all = bytes(dir.path(), &|_| false).unwrap();
        assert!((200_000..300_000).contains(&all), "{all}");
        assert_eq!(bytes(dir.path(), &|name| name == "two").unwrap() * 2, all);
        assert_eq!(bytes(dir.path().join("none"), &|_| false).unwrap(), 0);
    }

    #[test]
    fn a_file_made_anew_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("file"), dir.path().join("moved"));
        fs::write(&path, "one").unwrap();
        let Some(first) = incarnation(&path).unwrap() else { return };
        fs::write(&path, "written again").unwrap();
        fs::rename(&path, &moved).unwrap();
        assert_eq!(incarnation(&moved).unwrap().as_ref(), Some(&first));
        assert_eq!(incarnation(&path).unwrap(), None);
        fs::copy(&moved, &path).unwrap();
        assert_ne!(incarnation(&path).unwrap(), Some(first));
    }
}
