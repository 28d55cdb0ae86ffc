//! A filesystem of its own for each storage, with the asked size, so that a disk can be full.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Mount;
use super::command::{attempt, run};

fn name(id: &str) -> String {
    id.replace('/', "-")
}

/// Where a storage is mounted on the host.
pub(super) fn mount_point(machine: &Path, id: &str) -> PathBuf {
    machine.join("storage").join(name(id))
}

/// Makes and mounts a storage; idempotent.
pub(super) fn mount(machine: &Path, mount: &Mount) -> anyhow::Result<()> {
    let point = mount_point(machine, &mount.id);
    let image = point.with_extension("img");
    fs::create_dir_all(&point)?;
    if !image.exists() {
        let making = point.with_extension("making");
        let file = fs::File::create(&making)?;
        let size =
            bytes(&mount.size).with_context(|| format!("cannot read size {:?} of storage {}", mount.size, mount.id))?;
        file.set_len(size).with_context(|| format!("cannot make storage {} of {}", mount.id, mount.size))?;
        run(
            "mkfs.ext4",
            &[
                "-q",
                "-F",
                "-m0",
                "-E",
                "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
                &making.display().to_string(),
            ],
        )?;
        fs::rename(&making, &image)?;
    }
    if !is_mounted(&point) {
        run("mount", &["-o", "loop,noatime", &image.display().to_string(), &point.display().to_string()])?;
    }
    Ok(())
}

/// Where the image of a storage is while no machine has it.
fn shelf(model: &Path, id: &str) -> PathBuf {
    model.join("detached").join(name(id)).with_extension("img")
}

/// Takes a storage from the shelf to a machine's directory, if it is there.
pub(super) fn unshelve(model: &Path, machine: &Path, id: &str) -> anyhow::Result<()> {
    let (from, point) = (shelf(model, id), mount_point(machine, id));
    if from.exists() {
        fs::create_dir_all(&point)?;
        fs::rename(from, point.with_extension("img"))?;
    }
    Ok(())
}

/// Unmounts a storage on the host, and puts its image on the shelf.
pub(super) fn put_away(model: &Path, machine: &Path, id: &str) -> anyhow::Result<()> {
    let point = mount_point(machine, id);
    // Never lazily: an image that is still mounted somewhere must not be mounted again elsewhere.
    if is_mounted(&point) {
        run("umount", &[&point.display().to_string()])?;
    }
    let image = point.with_extension("img");
    if image.exists() {
        let to = shelf(model, id);
        fs::create_dir_all(to.parent().unwrap_or(model))?;
        fs::rename(image, to)?;
    }
    let _ = fs::remove_dir(point);
    Ok(())
}

/// Removes a storage from the shelf.
pub(super) fn discard(model: &Path, id: &str) -> anyhow::Result<()> {
    match fs::remove_file(shelf(model, id)) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            Err(why).with_context(|| format!("cannot remove storage {id}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Mounts a storage that the host has mounted in a running machine as well, whose first process is given.
pub(super) fn show(machine: &Path, leader: u32, mount: &Mount) -> anyhow::Result<()> {
    if is_mounted_in(leader, &mount.location) {
        return Ok(());
    }
    // The machine sees none of the host's mounts that came after it was started; the device is the same one.
    let device = fs::metadata(mount_point(machine, &mount.id))?.dev();
    let (major, minor) = (rustix::fs::major(device).to_string(), rustix::fs::minor(device).to_string());
    let script = "set -e; mkdir -p \"$1\"; mknod \"$4\" b $2 $3; trap 'rm -f \"$4\"' EXIT; \
                  mount -t ext4 -o noatime \"$4\" \"$1\"";
    let node = format!("/dev/juju-{}", name(&mount.id));
    inside(leader, &["sh", "-c", script, "show", &mount.location, &major, &minor, &node])
        .with_context(|| format!("cannot mount {} on the machine", mount.location))
}

/// Takes it out of a running machine.
pub(super) fn hide(leader: u32, location: &str) -> anyhow::Result<()> {
    if is_mounted_in(leader, location) {
        inside(leader, &["umount", location]).with_context(|| format!("cannot unmount {location} on the machine"))?;
    }
    Ok(())
}

fn inside(leader: u32, command: &[&str]) -> anyhow::Result<()> {
    let leader = leader.to_string();
    let words: Vec<&str> = ["-t", &leader, "-m", "--"].into_iter().chain(command.iter().copied()).collect();
    run("nsenter", &words).map(drop)
}

fn is_mounted_in(leader: u32, location: &str) -> bool {
    let mounts = fs::read_to_string(format!("/proc/{leader}/mounts")).unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(location))
}

/// Unmounts every storage of a machine.
pub(super) fn unmount_all(machine: &Path) {
    for entry in fs::read_dir(machine.join("storage")).into_iter().flatten().flatten() {
        if is_mounted(&entry.path()) {
            let path = entry.path().display().to_string();
            if !attempt("umount", &[&path]) {
                attempt("umount", &["-l", &path]);
            }
        }
    }
}

/// The filesystem's own directory, which programs that empty a disk or look for foreign files pass over.
fn filling(machine: &Path, id: &str) -> PathBuf {
    mount_point(machine, id).join("lost+found/juju-local-fill")
}

/// Takes the free space but for so many bytes; returns what is left.
pub(super) fn fill(machine: &Path, id: &str, leave: u64) -> anyhow::Result<u64> {
    let (point, path) = (mount_point(machine, id), filling(machine, id));
    if !is_mounted(&point) {
        anyhow::bail!("cannot find storage {id} on this host");
    }
    fs::create_dir_all(point.join("lost+found"))?;
    let file = fs::File::options().create(true).append(true).open(&path)?;
    // What others have written and the kernel has not yet given a place would be counted as free.
    rustix::fs::syncfs(&file)?;
    let free = || -> anyhow::Result<u64> {
        let stat = rustix::fs::fstatvfs(&file)?;
        Ok(stat.f_bavail * stat.f_frsize)
    };
    const BLOCK: u64 = 4096;
    let mut step = u64::MAX;
    loop {
        let left = free()?;
        let more = left.saturating_sub(leave).min(step) / BLOCK * BLOCK;
        if more == 0 {
            return Ok(left);
        }
        let end = file.metadata()?.len();
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), end, more) {
            Ok(()) => {}
            // The file's own bookkeeping needs some of the blocks that are counted as free.
            Err(rustix::io::Errno::NOSPC) => step = more / 2,
            Err(why) => return Err(why).with_context(|| format!("cannot fill storage {id}")),
        }
    }
}

/// Gives that space back.
pub(super) fn unfill(machine: &Path, id: &str) -> anyhow::Result<()> {
    match fs::remove_file(filling(machine, id)) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            Err(why).with_context(|| format!("cannot empty storage {id}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) fn is_filled(machine: &Path, id: &str) -> bool {
    filling(machine, id).exists()
}

pub(super) fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let path = path.display().to_string();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(&path))
}

/// `1G`, `500M`, `1024` (MiB, as Juju reads it).
pub(crate) fn bytes(size: &str) -> Option<u64> {
    let (number, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
    let number: u64 = number.parse().ok()?;
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" | "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_shl(shift)
}
