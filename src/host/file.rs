//! Files that survive a power cut: whole or not at all, with the right owner from their first moment, and not touched
//! when they already are what they should be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, Gid, Uid};

use super::clock::{self, Deadline};

/// Why a file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {operation} {}", .path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    /// `/etc/passwd` or `/etc/group` has no such name.
    #[error("cannot find the {kind} {name} on this machine")]
    NoSuchName { kind: &'static str, name: String },
    /// Somebody else held the lock for too long.
    #[error("cannot lock {} within {} s: another process holds it", .path.display(), .limit.as_secs_f64())]
    Locked { path: PathBuf, limit: Duration },
}

/// Keeps what kind of error it was: a full disk stays one.
impl From<FileError> for io::Error {
    fn from(why: FileError) -> Self {
        match why {
            FileError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => source,
            FileError::Io { ref source, .. } => Self::new(source.kind(), why),
            FileError::NoSuchName { .. } | FileError::Locked { .. } => Self::other(why),
        }
    }
}

type Result<T> = std::result::Result<T, FileError>;

/// Who may do what with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Permission bits, such as `0o640`.
    pub mode: u32,
    /// User and group by name; the running user's when not given.
    pub owner: Option<(String, String)>,
}

impl Mode {
    /// These bits, owned by whoever runs.
    pub fn new(mode: u32) -> Self {
        Self { mode, owner: None }
    }

    /// These bits, owned by `user` and `group`.
    pub fn owned(mode: u32, user: &str, group: &str) -> Self {
        Self { mode, owner: Some((user.to_owned(), group.to_owned())) }
    }

    fn ids(&self) -> Result<(Uid, Gid)> {
        match &self.owner {
            Some((user, group)) => Ok((Uid::from_raw(user_id(user)?), Gid::from_raw(group_id(group)?))),
            None => Ok((rustix::process::geteuid(), rustix::process::getegid())),
        }
    }
}

/// The text of a file.
///
/// # Errors
/// When it cannot be read, is absent or is no UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(failed("read", path))
}

/// The text of a file, `None` when there is none.
///
/// # Errors
/// When it cannot be read or is no UTF-8.
pub fn read_to_string_opt(path: impl AsRef<Path>) -> Result<Option<String>> {
    let path = path.as_ref();
    absent_is_none(fs::read_to_string(path)).map_err(failed("read", path))
}

/// The bytes of a file, `None` when there is none.
///
/// # Errors
/// When it cannot be read.
pub fn read_opt(path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
    let path = path.as_ref();
    absent_is_none(fs::read(path)).map_err(failed("read", path))
}

/// Makes `path` hold exactly `bytes` with these permissions: readers see the old file or the new one, also after a
/// power cut. Returns whether anything had to change.
///
/// # Errors
/// When it cannot be written; the old file is then untouched.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8], mode: &Mode) -> Result<bool> {
    let path = path.as_ref();
    let (uid, gid) = mode.ids()?;
    if has_mode(path, mode.mode, uid, gid)? && read_opt(path)?.as_deref() == Some(bytes) {
        return Ok(false);
    }
    replace(path, mode.mode, uid, gid, |file| file.write_all(bytes))?;
    Ok(true)
}

/// Copies a file, by rename and with its own permissions, so that a program may be replaced while it runs. Returns
/// whether anything had to change.
///
/// # Errors
/// When it cannot be read or written; the old copy is then untouched.
pub fn copy_atomic(from: impl AsRef<Path>, to: impl AsRef<Path>, mode: &Mode) -> Result<bool> {
    let (from, to) = (from.as_ref(), to.as_ref());
    let (uid, gid) = mode.ids()?;
    if has_mode(to, mode.mode, uid, gid)? && same_content(from, to)? {
        return Ok(false);
    }
    let mut source = File::open(from).map_err(failed("read", from))?;
    replace(to, mode.mode, uid, gid, |file| io::copy(&mut source, file).map(drop))?;
    Ok(true)
}

/// Makes `link` point to `target`, in place of whatever file or link was there. Returns whether anything had to change.
///
/// # Errors
/// When it cannot be made.
pub fn symlink_atomic(target: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<bool> {
    let (target, link) = (target.as_ref(), link.as_ref());
    if fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(false);
    }
    let temporary = temporary_beside(link)?;
    std::os::unix::fs::symlink(target, &temporary).map_err(failed("link", &temporary))?;
    rename(&temporary, link).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    Ok(true)
}

/// A directory with these permissions, corrected when it is there with others. Missing parents are made for everybody
/// to pass through. Returns whether anything had to change.
///
/// # Errors
/// When it cannot be made, or something else has its name.
pub fn create_dir_all_with(path: impl AsRef<Path>, mode: &Mode) -> Result<bool> {
    let path = path.as_ref();
    let (uid, gid) = mode.ids()?;
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            let source = io::ErrorKind::NotADirectory.into();
            return Err(FileError::Io { operation: "create directory", path: path.to_owned(), source });
        }
        Ok(found)
            if found.mode() & 0o7777 == mode.mode && found.uid() == uid.as_raw() && found.gid() == gid.as_raw() =>
        {
            return Ok(false);
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(parent)
                    .map_err(failed("create directory", parent))?;
            }
            // Closed until the owner is right; somebody else may have been quicker, and that is as good.
            match fs::DirBuilder::new().mode(mode.mode & 0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("create directory", path)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Err(error) => return Err(failed("look at", path)(error)),
    }
    rustix::fs::chown(path, Some(uid), Some(gid)).map_err(|e| failed("change the owner of", path)(e.into()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode.mode)).map_err(failed("change the mode of", path))?;
    Ok(true)
}

/// Removes a file or link for good, also across a power cut. Returns whether there was one.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove_opt(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let there = absent_is_none(fs::remove_file(path)).map_err(failed("remove", path))?.is_some();
    if there {
        match sync_parent(path) {
            // Somebody has removed the directory too.
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            synced => synced?,
        }
    }
    Ok(there)
}

/// Removes a directory with everything in it. Returns whether there was one.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove_dir_all_opt(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    Ok(absent_is_none(fs::remove_dir_all(path)).map_err(failed("remove", path))?.is_some())
}

/// Renames within one filesystem, and returns when the new name would survive a power cut.
///
/// # Errors
/// When it cannot be renamed.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    fs::rename(from, to).map_err(failed("rename", from))?;
    sync_parent(to)?;
    if from.parent() != to.parent() {
        sync_parent(from)?;
    }
    Ok(())
}

/// The names in a directory, sorted; `None` when there is no directory.
///
/// # Errors
/// When it cannot be read.
pub fn list_opt(path: impl AsRef<Path>) -> Result<Option<Vec<String>>> {
    let path = path.as_ref();
    let Some(entries) = absent_is_none(fs::read_dir(path)).map_err(failed("list", path))? else { return Ok(None) };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(failed("list", path))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(Some(names))
}

/// Whether something has this name; a link counts even when it leads nowhere.
///
/// # Errors
/// When that cannot be told: "may not look" is not "absent".
pub fn exists(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    Ok(absent_is_none(fs::symlink_metadata(path)).map_err(failed("look at", path))?.is_some())
}

/// Where a link leads; `None` when there is nothing or no link.
///
/// # Errors
/// When it cannot be read.
pub fn read_link_opt(path: impl AsRef<Path>) -> Result<Option<PathBuf>> {
    let path = path.as_ref();
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(None),
        Err(error) => Err(failed("read the link", path)(error)),
    }
}

/// How long ago a file was last written; `None` when there is none.
///
/// # Errors
/// When it cannot be looked at.
pub fn age_opt(path: impl AsRef<Path>) -> Result<Option<Duration>> {
    let path = path.as_ref();
    let Some(found) = absent_is_none(fs::metadata(path)).map_err(failed("look at", path))? else { return Ok(None) };
    // A file from the future is as fresh as can be.
    Ok(Some(found.modified().ok().and_then(|time| time.elapsed().ok()).unwrap_or_default()))
}

/// Tells, without reading it, whether a file is the one that was there before, untouched; `None` when there is none.
///
/// # Errors
/// When it cannot be looked at.
pub fn identity(path: impl AsRef<Path>) -> Result<Option<String>> {
    let path = path.as_ref();
    let Some(found) = absent_is_none(fs::metadata(path)).map_err(failed("look at", path))? else { return Ok(None) };
    // The second time changes with every write, rename and change of mode, and nobody can set it.
    Ok(Some(format!("{}:{}:{}.{}", found.ino(), found.size(), found.ctime(), found.ctime_nsec())))
}

/// The program that is running.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn current_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(failed("find", Path::new("the running program")))
}

/// Gives one file or directory to a user and a group.
///
/// # Errors
/// When there is no such name, or it is not permitted.
pub fn set_owner(path: impl AsRef<Path>, user: &str, group: &str) -> Result<()> {
    let path = path.as_ref();
    let (uid, gid) = (Uid::from_raw(user_id(user)?), Gid::from_raw(group_id(group)?));
    rustix::fs::chown(path, Some(uid), Some(gid)).map_err(|error| failed("change the owner of", path)(error.into()))
}

/// Changes the permission bits.
///
/// # Errors
/// When the path is not there, or is not ours.
pub fn set_mode(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed("change the mode of", path))
}

/// The number of a user of this machine.
///
/// # Errors
/// When there is no such user.
pub fn user_id(name: &str) -> Result<u32> {
    let text = read_to_string("/etc/passwd")?;
    id_in(&text, name).ok_or_else(|| FileError::NoSuchName { kind: "user", name: name.to_owned() })
}

/// The number of a group of this machine.
///
/// # Errors
/// When there is no such group.
pub fn group_id(name: &str) -> Result<u32> {
    let text = read_to_string("/etc/group")?;
    id_in(&text, name).ok_or_else(|| FileError::NoSuchName { kind: "group", name: name.to_owned() })
}

/// Held until it is dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock that this file stands for, and waits for it at most `limit`.
///
/// # Errors
/// When somebody else keeps it, or the file cannot be opened.
pub fn lock(path: impl AsRef<Path>, limit: Duration) -> Result<Lock> {
    let path = path.as_ref();
    let end = Deadline::after(limit);
    loop {
        if let Some(lock) = try_lock(path)? {
            return Ok(lock);
        }
        if end.passed() {
            return Err(FileError::Locked { path: path.to_owned(), limit });
        }
        clock::sleep(Duration::from_millis(20).min(end.left()));
    }
}

/// Takes the lock when nobody has it.
///
/// # Errors
/// When the file cannot be opened.
pub fn try_lock(path: impl AsRef<Path>) -> Result<Option<Lock>> {
    let path = path.as_ref();
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(failed("open the lock", path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(failed("lock", path)(error.into())),
    }
}

/// Whether somebody has the lock. Those who only look do not see each other.
///
/// # Errors
/// When the file is there and cannot be opened.
pub fn is_locked(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed("open the lock", path)(error)),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(failed("look at the lock", path)(error.into())),
    }
}

pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { operation, path, source }
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn id_in(text: &str, name: &str) -> Option<u32> {
    text.lines().map(|line| line.split(':')).find_map(|mut fields| {
        if fields.next() == Some(name) { fields.nth(1).and_then(|id| id.parse().ok()) } else { None }
    })
}

/// Whether a plain file with this mode and owner is there. Never true for a link: writing through one is not replacing it.
fn has_mode(path: &Path, mode: u32, uid: Uid, gid: Gid) -> Result<bool> {
    let found = absent_is_none(fs::symlink_metadata(path)).map_err(failed("look at", path))?;
    Ok(found.is_some_and(|found| {
        found.is_file() && found.mode() & 0o7777 == mode && found.uid() == uid.as_raw() && found.gid() == gid.as_raw()
    }))
}

fn same_content(left: &Path, right: &Path) -> Result<bool> {
    let mut a = File::open(left).map_err(failed("read", left))?;
    let mut b = File::open(right).map_err(failed("read", right))?;
    let size = |file: &File, path| file.metadata().map(|found| found.len()).map_err(failed("look at", path));
    if size(&a, left)? != size(&b, right)? {
        return Ok(false);
    }
    let (mut one, mut other) = (vec![0; 256 * 1024], vec![0; 256 * 1024]);
    loop {
        let count = a.read(&mut one).map_err(failed("read", left))?;
        if count == 0 {
            return Ok(true);
        }
        // Shorter than a moment ago means that somebody is writing: not the same.
        if b.read_exact(&mut other[..count]).is_err() || one[..count] != other[..count] {
            return Ok(false);
        }
    }
}

fn replace(path: &Path, mode: u32, uid: Uid, gid: Gid, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let temporary = temporary_beside(path)?;
    let fill = || -> io::Result<()> {
        // Nobody else may read it before owner and mode are right.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        fill(&mut file)?;
        // The owner first: changing it clears the set-user-id bits.
        if (uid, gid) != (rustix::process::geteuid(), rustix::process::getegid()) {
            rustix::fs::fchown(&file, Some(uid), Some(gid))?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()
    };
    let done = fill().map_err(failed("write", path)).and_then(|()| rename(&temporary, path));
    done.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// A name in the same directory that no other writer uses. What writers that were killed have left there is removed, or
/// it would pile up, secrets included.
fn temporary_beside(path: &Path) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().ok_or_else(|| failed("write", path)(io::ErrorKind::InvalidInput.into()))?;
    let prefix = format!(".{}.", name.to_string_lossy());
    let directory = directory_of(path);
    for old in list_opt(directory)?.unwrap_or_default() {
        let id =
            old.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".new")).and_then(|rest| rest.split_once('-'));
        let Some((id, _)) = id else { continue };
        if !super::is_process_alive(id) {
            // Another writer may sweep at the same time.
            let _gone = fs::remove_file(directory.join(&old));
        }
    }
    // The ending keeps it out of the server's *.cnf and systemd's *.conf directories.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(directory.join(format!("{prefix}{}-{count}.new", std::process::id())))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// A name is only as durable as the directory it stands in.
fn sync_parent(path: &Path) -> Result<()> {
    let directory = directory_of(path);
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed("flush the directory", directory))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
