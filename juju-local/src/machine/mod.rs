//! The machines: systemd-nspawn containers on overlays of one cached base image, each with its own systemd, apt and
//! network address; `base` makes the image, `network` the bridge, `cut` its faults, `storage` the filesystems, `container`
//! the rest.

mod base;
mod cgroup;
mod command;
mod container;
mod cut;
mod host;
mod network;
mod process;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};

pub use base::{host_base, purge_cache};
pub use container::Containers;
pub use host::{check_host, check_root};
pub(crate) use host::{check_room, check_room_for};
pub(crate) use storage::bytes as size_in_bytes;

/// A filesystem that a machine sees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// `data/0`.
    pub id: String,
    /// Where the machine sees it.
    pub location: String,
    /// `1G`, `500M`.
    pub size: String,
}

/// What the controller needs of machines. The tests of the engine bring a simpler kind.
pub trait Machines: Send + Sync {
    /// Makes and starts a machine; idempotent.
    ///
    /// # Errors
    /// When the host cannot.
    fn create(&self, id: u32, address: &str, mounts: &[Mount], progress: &dyn Fn(&str)) -> anyhow::Result<()>;
    /// The address for a machine that is not made yet.
    fn address(&self, id: u32, first_host: u32) -> String;
    /// The network's address with this last number.
    fn address_of_host(&self, host: u32) -> String;
    /// Gives a machine that is made another address, from its next start on.
    ///
    /// # Errors
    /// When its files cannot be written.
    fn readdress(&self, id: u32, address: &str) -> anyhow::Result<()>;
    /// The machine's root directory, as the host sees it.
    fn root(&self, id: u32) -> PathBuf;
    /// The machine's files as its own processes see them, mounts included; only while it runs.
    fn view(&self, id: u32) -> Option<PathBuf>;
    /// The host's end of the machine's `/var/lib/juju/run`.
    fn run_dir(&self, id: u32) -> PathBuf;
    /// The machine's first process, as the host numbers it; another one after each boot, none when it is off.
    fn leader(&self, id: u32) -> Option<u32>;
    /// Starts a program in a machine, with nothing but this environment, in a process group of its own.
    ///
    /// # Errors
    /// When the machine is not running.
    fn spawn(&self, id: u32, argv: &[String], env: &BTreeMap<String, String>, cwd: &str) -> io::Result<Child>;
    /// Cuts the power: every process dies at once, disks are kept.
    ///
    /// # Errors
    /// When that cannot be done.
    fn power_off(&self, id: u32) -> anyhow::Result<()>;
    /// Starts a machine that is off.
    ///
    /// # Errors
    /// When it does not come up.
    fn power_on(&self, id: u32) -> anyhow::Result<()>;
    /// Shuts down in order and starts again.
    ///
    /// # Errors
    /// When it does not come up.
    fn reboot(&self, id: u32) -> anyhow::Result<()>;
    /// Keeps packets from these ways between machines, and from no others. It outlasts reboots.
    ///
    /// # Errors
    /// When the kernel cannot.
    fn block(&self, paths: &BTreeSet<crate::model::Path>) -> anyhow::Result<()>;
    /// Delays what goes to a machine that is on, until it boots again or this is taken back.
    ///
    /// # Errors
    /// When the kernel cannot.
    fn slow(&self, id: u32, how: Option<&crate::model::Slow>) -> anyhow::Result<()>;
    /// Makes a filesystem appear on a machine, on or off, until it is detached; idempotent.
    ///
    /// # Errors
    /// When the host cannot.
    fn attach(&self, id: u32, mount: &Mount) -> anyhow::Result<()>;
    /// Takes a filesystem off a machine and keeps it, with its data; idempotent.
    ///
    /// # Errors
    /// When something on the machine uses it.
    fn detach(&self, id: u32, storage: &str) -> anyhow::Result<()>;
    /// Removes a detached filesystem with its data; idempotent.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn discard(&self, storage: &str) -> anyhow::Result<()>;
    /// Takes the free space of a storage but for so many bytes; returns what is left.
    ///
    /// # Errors
    /// When there is no such storage.
    fn fill(&self, id: u32, storage: &str, leave: u64) -> anyhow::Result<u64>;
    /// Gives that space back.
    ///
    /// # Errors
    /// When it cannot be given back.
    fn unfill(&self, id: u32, storage: &str) -> anyhow::Result<()>;
    /// The storages that are filled.
    fn filled(&self, id: u32) -> Vec<String>;
    /// Where a directory of a machine that is off lies on the host, storages included.
    ///
    /// # Errors
    /// When there is none, or links lead out of it.
    fn at_rest(&self, id: u32, path: &str) -> anyhow::Result<PathBuf>;
    /// Removes a machine and everything it had.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    fn destroy(&self, id: u32) -> anyhow::Result<()>;
    /// Removes what the machines shared.
    ///
    /// # Errors
    /// When something cannot be removed.
    fn destroy_all(&self) -> anyhow::Result<()>;
    /// Whether a machine runs.
    fn is_up(&self, id: u32) -> bool;
}

/// Where everything is kept on the host.
pub const STATE_ROOT: &str = "/var/lib/juju-local";

/// Opens a file below a root, with links followed as processes that live there follow them.
pub(crate) fn open_below(root: &Path, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<fs::File> {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // A machine's root may be reached by a link of the kernel's; below it every link is the machine's.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            // Something was mounted or renamed somewhere on the host meanwhile, and there is ".." on the way: openat2(2).
            Err(rustix::io::Errno::AGAIN) if tries < 1000 => {
                tries += 1;
                std::thread::yield_now();
            }
            found => return found.map(fs::File::from),
        }
    }
}

/// Removes a directory. An agent that was writing in it when its machine went away may need a moment to notice.
pub(crate) fn remove_tree(dir: &Path) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(dir) {
            Ok(()) => return Ok(()),
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(why) if tries == 40 => return Err(why).with_context(|| format!("cannot remove {}", dir.display())),
            Err(_) => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}
