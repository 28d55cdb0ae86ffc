//! What this machine has: memory, processors, disk space, mounts.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::file::{self, FileError};

/// Why the machine could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A file of the kernel could not be read.
    #[error("cannot measure the machine")]
    Read(#[from] FileError),
    /// The kernel speaks differently from what we know.
    #[error("cannot find {what} in {file}")]
    Unknown { what: &'static str, file: &'static str },
    /// The filesystem did not answer.
    #[error("cannot measure the filesystem of {}", .path.display())]
    Disk { path: PathBuf, source: io::Error },
}

/// How much memory the server may count on, in bytes: what is built in, or less where a control group says so.
///
/// # Errors
/// When `/proc/meminfo` cannot be read.
pub fn memory_limit() -> Result<u64, MachineError> {
    let total = total_memory(&file::read_to_string("/proc/meminfo")?)
        .ok_or(MachineError::Unknown { what: "MemTotal", file: "/proc/meminfo" })?;
    let groups = file::read_to_string_opt("/proc/self/cgroup")?.unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|path| {
        // A controller that is not mounted sets no limit.
        file::read_to_string_opt(path).ok().flatten().and_then(|text| group_limit(&text))
    });
    Ok(limits.fold(total, u64::min))
}

/// How many processors may be used at once.
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The room on a filesystem, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total: u64,
    /// What an ordinary user may still fill.
    pub free: u64,
}

/// The room on the filesystem that holds `path`.
///
/// # Errors
/// When there is no such path, or the filesystem does not answer.
pub fn disk_space(path: impl AsRef<Path>) -> Result<DiskSpace, MachineError> {
    let path = path.as_ref();
    let found = rustix::fs::statvfs(path)
        .map_err(|error| MachineError::Disk { path: path.to_owned(), source: error.into() })?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(DiskSpace { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
}

/// Whether something is mounted exactly at `path`.
///
/// # Errors
/// When `/proc/self/mountinfo` cannot be read.
pub fn is_mount_point(path: impl AsRef<Path>) -> Result<bool, MachineError> {
    let path = path.as_ref();
    // The kernel lists mounts by their real place.
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let text = file::read_to_string("/proc/self/mountinfo")?;
    Ok(mount_points(&text).any(|mount| mount == real))
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files that may limit this process: its own group's and all groups above it, in both generations.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, name) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let group = Path::new(path.trim_start_matches('/'));
        files.extend(group.ancestors().map(|group| Path::new(root).join(group).join(name)));
    }
    files
}

/// `None` for "max"; the older generation's huge number for "none" loses against the built-in memory anyway.
fn group_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn mount_points(mountinfo: &str) -> impl Iterator<Item = PathBuf> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape)
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes
            .get(at + 1..at + 4)
            .filter(|_| bytes[at] == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    PathBuf::from(std::ffi::OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_kibibytes() {
        assert_eq!(total_memory("MemTotal:        2014168 kB\nMemFree: 1 kB\n"), Some(2_014_168 * 1024));
        assert_eq!(total_memory("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn limits_of_all_groups_above_count() {
        let files: Vec<_> =
            limit_files("0::/system.slice/x.service\n").iter().map(|path| path.display().to_string()).collect();
        assert_eq!(
            files,
            [
                "/sys/fs/cgroup/system.slice/x.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        let old = limit_files("9:cpu,cpuacct:/a\n4:memory:/a\n1:name=systemd:/a\n");
        assert_eq!(old[0], Path::new("/sys/fs/cgroup/memory/a/memory.limit_in_bytes"));
        assert_eq!(old.len(), 2);
        assert_eq!((group_limit("max\n"), group_limit("536870912\n")), (None, Some(536_870_912)));
    }

    #[test]
    fn this_machine_has_something() {
        assert!(memory_limit().unwrap() > 64 << 20);
        assert!(cpu_count() >= 1);
        let space = disk_space("/").unwrap();
        assert!(space.total >= space.free && space.total > 0);
        assert_eq!(
            disk_space("/no/such/place").unwrap_err().to_string(),
            "cannot measure the filesystem of /no/such/place"
        );
    }

    #[test]
    fn mount_points_are_told_from_directories() {
        assert!(is_mount_point("/proc").unwrap());
        assert!(!is_mount_point("/proc/self").unwrap());
        let line = "36 35 98:0 /m /var/lib/my\\040sql\\134 rw,noatime shared:1 - ext4 /dev/root rw";
        assert_eq!(mount_points(line).collect::<Vec<_>>(), [Path::new("/var/lib/my sql\\")]);
    }
}
