//! What a host needs for machines: rights, programs, the kernel, room on the disk.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::{STATE_ROOT, command};

/// Files that the programs of one user may watch: each machine's systemd and its services have about seven, and all machines
/// are root's. The kernel's own limit is 128: inotify(7).
const WATCHES: &str = "/proc/sys/fs/inotify/max_user_instances";
const WATCHES_MIN: u32 = 4096;

/// Whether this process may make machines, and see those that there are.
///
/// # Errors
/// When it may not.
pub fn check_root() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!("juju-local makes machines and networks, which only root may: run it with sudo");
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    match lacking(&status) {
        Some(right) => anyhow::bail!(
            "juju-local makes machines and networks, for which it lacks {right}: run it as root outside of a container, or in one that may do everything"
        ),
        None => Ok(()),
    }
}

/// The capability, of those that machines need, which a process with this /proc/PID/status lacks. Its numbers are those of
/// capability.h.
fn lacking(status: &str) -> Option<&'static str> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let set = u64::from_str_radix(set.trim(), 16).ok()?;
    let needed = [(12, "CAP_NET_ADMIN"), (18, "CAP_SYS_CHROOT"), (21, "CAP_SYS_ADMIN"), (27, "CAP_MKNOD")];
    needed.into_iter().find(|(number, _)| set >> number & 1 == 0).map(|(_, name)| name)
}

/// Checks that this host can run machines.
///
/// # Errors
/// Names what is missing and how to get it.
pub fn check_host() -> anyhow::Result<()> {
    check_root()?;
    let tools = [
        ("debootstrap", "debootstrap"),
        ("systemd-nspawn", "systemd-container"),
        ("nft", "nftables"),
        ("ip", "iproute2"),
        ("nsenter", "util-linux"),
        ("setsid", "util-linux"),
        ("mount", "mount"),
        ("mkfs.ext4", "e2fsprogs"),
    ];
    let missing: Vec<&str> = tools.iter().filter(|(tool, _)| !on_path(tool)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        anyhow::bail!(
            "juju-local needs {}, which PATH does not have: run apt-get install {}; /usr/sbin belongs into PATH as well",
            missing.join(", "),
            missing.join(" ")
        );
    }
    if !Path::new("/sys/fs/cgroup").join("cgroup.controllers").exists() && !Path::new("/sys/fs/cgroup/systemd").exists()
    {
        anyhow::bail!(
            "juju-local needs a mounted cgroup hierarchy, which this host lacks; on a plain machine systemd mounts it"
        );
    }
    let kernel = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    // A filesystem that is a module appears in the list once it is loaded.
    if !kernel.lines().any(|line| line.trim().ends_with("overlay")) && !command::attempt("modprobe", &["overlay"]) {
        anyhow::bail!(
            "juju-local needs overlayfs, which this kernel lacks: run modprobe overlay, or take another kernel"
        );
    }
    if !Path::new("/dev/loop-control").exists() && !command::attempt("modprobe", &["loop"]) {
        anyhow::bail!("juju-local needs loop devices for storage, which this kernel lacks: run modprobe loop");
    }
    // An overlay cannot stand on an overlay, as it would in most application containers.
    fs::create_dir_all(STATE_ROOT).with_context(|| format!("cannot create {STATE_ROOT}"))?;
    let below = command::run("stat", &["-f", "-c", "%T", STATE_ROOT]).unwrap_or_default();
    if below.trim() == "overlayfs" {
        anyhow::bail!(
            "juju-local keeps machines as overlays in {STATE_ROOT}, which lies on an overlay itself: mount a volume there"
        );
    }
    let watched = fs::read_to_string(WATCHES).unwrap_or_default();
    if watched.trim().parse().is_ok_and(|now: u32| now < WATCHES_MIN) {
        fs::write(WATCHES, WATCHES_MIN.to_string()).with_context(|| {
            format!(
                "machines would hang while they start, for want of inotify instances: cannot raise {WATCHES}; \
                 run sysctl fs.inotify.max_user_instances={WATCHES_MIN} where that is allowed"
            )
        })?;
    }
    Ok(())
}

/// What a machine takes for a start, in MiB: its own files on top of the image, packages, its journal.
const ROOM_FOR_ONE_MIB: u64 = 200;

/// Checks that there is room for so many more machines, before anything of them is made.
///
/// # Errors
/// When there is not.
pub(crate) fn check_room_for(machines: u32) -> anyhow::Result<()> {
    check_room(&format!("{machines} machine(s)"), u64::from(machines) * ROOM_FOR_ONE_MIB)
}

/// Checks that there is so much room for what is to be made.
///
/// # Errors
/// When there is not.
pub(crate) fn check_room(what: &str, needed_mib: u64) -> anyhow::Result<()> {
    let Ok(stat) = rustix::fs::statvfs(STATE_ROOT) else {
        return Ok(());
    };
    let free_mib = (stat.f_bavail * stat.f_frsize) >> 20;
    if free_mib < needed_mib {
        anyhow::bail!(
            "cannot make {what}: {needed_mib} MiB are needed in {STATE_ROOT}, whose disk has {free_mib} MiB left; free some"
        );
    }
    Ok(())
}

fn on_path(tool: &str) -> bool {
    // As it is run later on.
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_named() {
        assert_eq!(lacking("Name:\tx\nCapEff:\t000001ffffffffff\n"), None);
        assert_eq!(lacking("CapEff:\t000001ffffffefff\n"), Some("CAP_NET_ADMIN"));
        assert_eq!(lacking("CapEff:\t000001ffffdfffff\n"), Some("CAP_SYS_ADMIN"));
        assert_eq!(lacking("an older kernel"), None);
    }
}
