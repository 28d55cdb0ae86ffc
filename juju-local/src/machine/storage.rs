//! A filesystem of its own for each storage, with the asked size, so that a disk can be full.

use std::fs;
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
        file.set_len(
            bytes(&mount.size).with_context(|| format!("cannot read size {:?} of storage {}", mount.size, mount.id))?,
        )?;
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
