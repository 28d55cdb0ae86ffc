//! Machines as systemd-nspawn containers, each in a session of its own so that they outlive the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::command::{attempt, run};
use super::network::{Network, network_unit, outside_mtu};
use super::process::{children, is_first};
use super::{Machines, Mount, base, cgroup, cut, storage};

/// The machines of one model.
pub struct Containers {
    model: String,
    dir: PathBuf,
    network: Network,
    /// Several machines are made at once; one of them makes the bridge.
    bridge: Mutex<()>,
    /// Whether the model is being destroyed: nothing may be started any more, or it would be left behind.
    closed: AtomicBool,
    starting: RwLock<()>,
}

/// Starts the container again when it was rebooted from inside: then nspawn ends with 133. Not when the power was cut.
/// The first word is the machine's directory, where it leaves its process id by itself: a controller that is killed as soon
/// as it has started it must not lose it. Of two that are started for one machine, one goes on.
/// The next words are the machine's control groups, up to `--`: nspawn makes the machine's own below them.
const LAUNCHER: &str = r#"
dir=$1
shift
exec 9>"$dir/lock"
flock -w 5 9 || { echo "the machine runs already"; exit; }
echo $$ >"$dir/pid" || exit
groups=
while [ "$1" != -- ]; do groups="$groups $1/cgroup.procs"; shift; done
shift
while :; do
  (for group in $groups; do echo 0 >"$group" || exit 1; done; exec "$@")
  code=$?
  [ $code = 133 ] && [ ! -e "$dir/off" ] && continue
  echo "systemd-nspawn ended with $code"
  exit
done
"#;

/// A second as a rule; minutes where two dozen machines boot on two cores.
const BOOT_LIMIT: Duration = Duration::from_secs(180);

impl Containers {
    /// The machines of the model in this directory.
    ///
    /// # Errors
    /// When no network is free.
    pub fn open(model: &str, dir: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            model: model.to_owned(),
            dir: dir.to_owned(),
            network: Network::open(dir)?,
            bridge: Mutex::new(()),
            closed: AtomicBool::new(false),
            starting: RwLock::default(),
        })
    }

    fn machine_dir(&self, id: u32) -> PathBuf {
        self.dir.join("machines").join(id.to_string())
    }

    fn hostname(&self, id: u32) -> String {
        format!("juju-{}-{id}", self.model)
    }

    /// The name on the host, short enough for its end of the cable (15 characters).
    fn short_name(&self, id: u32) -> String {
        format!("jl{}-{id}", self.network.subnet)
    }

    /// The host's end of the machine's cable, as nspawn names it.
    fn cable(&self, id: u32) -> String {
        format!("vb-{}", self.short_name(id))
    }

    /// Keeps the model from being destroyed while something is started.
    fn enter(&self) -> anyhow::Result<RwLockReadGuard<'_, ()>> {
        let starting = self.starting.read().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::SeqCst) {
            anyhow::bail!("cannot start a machine: the model is being destroyed");
        }
        Ok(starting)
    }

    /// The launcher's pid: it must still be the one we started.
    fn launcher(&self, id: u32) -> Option<u32> {
        let pid: u32 = fs::read_to_string(self.machine_dir(id).join("pid")).ok()?.trim().parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let name = self.short_name(id);
        command.split(|byte| *byte == 0).any(|word| word == name.as_bytes()).then_some(pid)
    }

    fn start(&self, id: u32, mounts: &[Mount]) -> anyhow::Result<()> {
        if self.leader(id).is_some() {
            return Ok(());
        }
        let dir = self.machine_dir(id);
        let root = dir.join("root");
        if !storage::is_mounted(&root) {
            let image = base::ensure(&|_| ())?;
            let options = format!(
                "lowerdir={},upperdir={},workdir={}",
                image.display(),
                dir.join("upper").display(),
                dir.join("work").display()
            );
            run("mount", &["-t", "overlay", "overlay", "-o", &options, &root.display().to_string()])?;
        }
        let _ = fs::remove_file(dir.join("off"));
        let name = self.short_name(id);
        cgroup::remove(&name);
        cgroup::make(&name).with_context(|| format!("cannot make the control groups of machine {id}"))?;
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", LAUNCHER, "juju-machine"]).arg(&dir).args(cgroup::folders(&name)).arg("--").args([
            "systemd-nspawn",
            "-q",
            "--register=no",
            "--keep-unit",
            "--resolv-conf=off",
            "--console=pipe",
            "-b",
        ]);
        command.arg("-D").arg(&root).arg("-M").arg(&name);
        command.arg(format!("--network-bridge={}", self.network.bridge()));
        command.arg(format!("--bind={}:/var/lib/juju/run", dir.join("run").display()));
        command.arg(format!("--bind={}:/var/cache/apt/archives", dir.join("archives").display()));
        for mount in mounts {
            storage::mount(&dir, mount)?;
            command.arg(format!("--bind={}:{}", storage::mount_point(&dir, &mount.id).display(), mount.location));
        }
        command.arg("--hostname").arg(self.hostname(id));
        let log = fs::File::create(dir.join("console.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().context("cannot start systemd-nspawn")?;
        // Somebody must collect the launcher when it ends.
        std::thread::spawn(move || child.wait());
        self.wait_for_systemd(id)
    }

    fn console_tail(&self, id: u32) -> String {
        let log = fs::read_to_string(self.machine_dir(id).join("console.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(3).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }

    fn network_up(&self) -> anyhow::Result<()> {
        let _one = self.bridge.lock().unwrap_or_else(PoisonError::into_inner);
        self.network.up_once()
    }

    /// Up to the basic target and its address: services behind it may take as long as they like.
    fn wait_for_systemd(&self, id: u32) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < BOOT_LIMIT && !self.closed.load(Ordering::SeqCst) {
            if let Some(leader) = self.leader(id) {
                let leader = leader.to_string();
                let active = |unit| attempt("nsenter", &["-t", &leader, "-a", "systemctl", "-q", "is-active", unit]);
                if active("basic.target") && active("juju-network.service") {
                    return Ok(());
                }
            } else if begun.elapsed() > Duration::from_secs(2) && self.launcher(id).is_none() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        if self.closed.load(Ordering::SeqCst) {
            anyhow::bail!("machine {id} is not started: the model is being destroyed");
        }
        anyhow::bail!("machine {id} did not come up within {} s: {}", begun.elapsed().as_secs(), self.console_tail(id))
    }

    fn mounts(&self, id: u32) -> anyhow::Result<Vec<Mount>> {
        let text = fs::read_to_string(self.machine_dir(id).join("storages"))
            .with_context(|| format!("cannot find machine {id}"))?;
        serde_json::from_str(&text).with_context(|| format!("cannot read the storages of machine {id}"))
    }

    fn note_mounts(&self, id: u32, mounts: &[Mount]) -> anyhow::Result<()> {
        let file = self.machine_dir(id).join("storages");
        let new = file.with_extension("new");
        fs::write(&new, serde_json::to_string(mounts)?)?;
        fs::rename(new, file).with_context(|| format!("cannot note the storages of machine {id}"))
    }

    fn start_again(&self, id: u32) -> anyhow::Result<()> {
        let mounts = self.mounts(id)?;
        self.network_up()?;
        self.start(id, &mounts)
    }

    fn wait_until_down(&self, id: u32, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if self.launcher(id).is_none() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// Hands packages that machines have downloaded to a new one, as links: each machine has a directory of its own, so
    /// that they do not wait for each other's lock.
    fn seed_archives(&self, id: u32) {
        let own = self.machine_dir(id).join("archives");
        let mut sources = vec![base::archives()];
        sources
            .extend(self.ids().into_iter().filter(|other| *other != id).map(|o| self.machine_dir(o).join("archives")));
        for source in sources {
            link_packages(&source, &own);
        }
    }

    fn write_address(&self, id: u32, etc: &Path, address: &str) -> anyhow::Result<()> {
        let hosts = format!("127.0.0.1 localhost\n{address} {}\n::1 localhost ip6-localhost\n", self.hostname(id));
        fs::write(etc.join("hosts"), hosts)?;
        let unit = network_unit(address, &self.network.gateway(), &outside_mtu());
        fs::write(etc.join("systemd/system/juju-network.service"), unit)?;
        Ok(())
    }

    fn ids(&self) -> Vec<u32> {
        fs::read_dir(self.dir.join("machines"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }
}

/// Links packages from one directory to another; between filesystems they are copied.
fn link_packages(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.extension().is_some_and(|e| e == "deb") && !target.exists() && fs::hard_link(&path, &target).is_err() {
            // Under its own name only when whole: apt would take a half-made file for the package.
            let making = target.with_extension("making");
            if fs::copy(&path, &making).is_ok() {
                let _ = fs::rename(&making, &target);
            }
        }
    }
}

/// The host's resolver, as machines reach it: a stub on the host's loopback is not theirs.
fn resolver() -> Option<String> {
    let stub = |text: &str| {
        text.lines()
            .filter_map(|l| l.strip_prefix("nameserver"))
            .all(|a| a.trim().starts_with("127.") || a.trim() == "::1")
    };
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find(|text| !stub(text))
}

impl Machines for Containers {
    fn create(&self, id: u32, address: &str, mounts: &[Mount], progress: &dyn Fn(&str)) -> anyhow::Result<()> {
        let image = base::ensure(progress)?;
        let _entered = self.enter()?;
        self.network_up()?;
        let dir = self.machine_dir(id);
        for part in ["upper", "work", "root", "run", "storage", "archives/partial"] {
            fs::create_dir_all(dir.join(part))?;
        }
        self.seed_archives(id);
        fs::write(dir.join("storages"), serde_json::to_string(mounts)?)?;
        let etc = dir.join("upper/etc");
        let wants = etc.join("systemd/system/sysinit.target.wants");
        fs::create_dir_all(&wants)?;
        // The overlay's copy of a directory must have the mode of the original.
        fs::set_permissions(&etc, fs::metadata(image.join("etc"))?.permissions())?;
        fs::write(etc.join("hostname"), format!("{}\n", self.hostname(id)))?;
        if let Some(text) = resolver() {
            fs::write(etc.join("resolv.conf"), text)?;
        }
        self.write_address(id, &etc, address)?;
        if !wants.join("juju-network.service").is_symlink() {
            std::os::unix::fs::symlink("../juju-network.service", wants.join("juju-network.service"))?;
        }
        progress(&format!("machine {id}: starting at {address}"));
        self.start(id, mounts)
    }

    fn address(&self, id: u32, first_host: u32) -> String {
        let first = first_host.clamp(2, 250);
        self.network.address(first + id % (255 - first))
    }

    fn address_of_host(&self, host: u32) -> String {
        self.network.address(host)
    }

    fn readdress(&self, id: u32, address: &str) -> anyhow::Result<()> {
        let root = self.root(id);
        if !storage::is_mounted(&root) {
            anyhow::bail!("cannot reach the files of machine {id}; switch it on first");
        }
        self.write_address(id, &root.join("etc"), address)
    }

    fn root(&self, id: u32) -> PathBuf {
        self.machine_dir(id).join("root")
    }

    fn view(&self, id: u32) -> Option<PathBuf> {
        Some(Path::new("/proc").join(self.leader(id)?.to_string()).join("root"))
    }

    fn run_dir(&self, id: u32) -> PathBuf {
        self.machine_dir(id).join("run")
    }

    fn leader(&self, id: u32) -> Option<u32> {
        let mut around = children(self.launcher(id)?);
        // The launcher's child is nspawn, whose child is the machine's first process.
        around.extend(around.clone().into_iter().flat_map(children));
        around.into_iter().find(|pid| is_first(*pid))
    }

    fn spawn(&self, id: u32, argv: &[String], env: &BTreeMap<String, String>, cwd: &str) -> io::Result<Child> {
        let leader = self.leader(id).ok_or_else(|| io::Error::other(format!("machine {id} is not running")))?;
        Command::new("nsenter")
            .args(["-t", &leader.to_string(), "-a", &format!("--wdns={cwd}"), "--"])
            .args(argv)
            .env_clear()
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    }

    fn power_off(&self, id: u32) -> anyhow::Result<()> {
        fs::write(self.machine_dir(id).join("off"), "")?;
        if let Some(leader) = self.leader(id) {
            // Process 1 of a process namespace takes all others with it.
            attempt("kill", &["-KILL", &leader.to_string()]);
        }
        if !self.wait_until_down(id, Duration::from_secs(5)) {
            // A container whose first process was not there yet, or which nspawn does not let go.
            for pid in self.launcher(id).map(children).unwrap_or_default().into_iter().chain(self.launcher(id)) {
                attempt("kill", &["-KILL", &pid.to_string()]);
            }
            if !self.wait_until_down(id, Duration::from_secs(5)) {
                anyhow::bail!("cannot cut the power of machine {id}: its launcher does not end");
            }
        }
        link_packages(&self.machine_dir(id).join("archives"), &base::archives());
        Ok(())
    }

    fn power_on(&self, id: u32) -> anyhow::Result<()> {
        let _entered = self.enter()?;
        self.start_again(id)
    }

    fn reboot(&self, id: u32) -> anyhow::Result<()> {
        let _entered = self.enter()?;
        fs::write(self.machine_dir(id).join("off"), "")?;
        if let Some(leader) = self.leader(id) {
            // systemd's own signal for an orderly power-off.
            attempt("kill", &["-RTMIN+4", &leader.to_string()]);
        }
        if !self.wait_until_down(id, Duration::from_secs(90)) {
            self.power_off(id)?;
        }
        self.start_again(id)
    }

    fn block(&self, paths: &BTreeSet<crate::model::Path>) -> anyhow::Result<()> {
        cut::block(self.network.subnet, paths, &|id| self.cable(id))
    }

    fn slow(&self, id: u32, how: Option<&crate::model::Slow>) -> anyhow::Result<()> {
        cut::slow(&self.cable(id), how)
    }

    fn attach(&self, id: u32, mount: &Mount) -> anyhow::Result<()> {
        let _entered = self.enter()?;
        let dir = self.machine_dir(id);
        let mut mounts = self.mounts(id)?;
        if !mounts.iter().any(|known| known.id == mount.id) {
            mounts.push(mount.clone());
        }
        storage::unshelve(&self.dir, &dir, &mount.id)?;
        storage::mount(&dir, mount)?;
        // Noted first: a machine that boots at this moment has it from then on.
        self.note_mounts(id, &mounts)?;
        self.leader(id).map_or(Ok(()), |leader| storage::show(&dir, leader, mount))
    }

    fn detach(&self, id: u32, storage: &str) -> anyhow::Result<()> {
        let dir = self.machine_dir(id);
        if !dir.exists() {
            return Ok(());
        }
        let mut mounts = self.mounts(id)?;
        let location = mounts.iter().find(|mount| mount.id == storage).map(|mount| mount.location.clone());
        if let (Some(leader), Some(location)) = (self.leader(id), location) {
            storage::hide(leader, &location)?;
        }
        storage::unfill(&dir, storage)?;
        storage::put_away(&self.dir, &dir, storage)?;
        mounts.retain(|mount| mount.id != storage);
        self.note_mounts(id, &mounts)
    }

    fn discard(&self, storage: &str) -> anyhow::Result<()> {
        storage::discard(&self.dir, storage)
    }

    fn fill(&self, id: u32, storage: &str, leave: u64) -> anyhow::Result<u64> {
        storage::fill(&self.machine_dir(id), storage, leave)
    }

    fn unfill(&self, id: u32, storage: &str) -> anyhow::Result<()> {
        storage::unfill(&self.machine_dir(id), storage)
    }

    fn filled(&self, id: u32) -> Vec<String> {
        let dir = self.machine_dir(id);
        let mounts = self.mounts(id).unwrap_or_default();
        mounts.into_iter().map(|mount| mount.id).filter(|storage| storage::is_filled(&dir, storage)).collect()
    }

    fn at_rest(&self, id: u32, path: &str) -> anyhow::Result<PathBuf> {
        let dir = self.machine_dir(id);
        let mounts = self.mounts(id)?;
        let path = Path::new(path);
        let stored = mounts.iter().find_map(|mount| Some((mount, path.strip_prefix(&mount.location).ok()?)));
        let (top, rest) = match stored {
            Some((mount, rest)) => (storage::mount_point(&dir, &mount.id), rest),
            None => (dir.join("root"), path.strip_prefix("/").unwrap_or(path)),
        };
        if !storage::is_mounted(&top) {
            anyhow::bail!("cannot reach {} while machine {id} is off; switch it on", path.display());
        }
        // A link on the machine means a place on the machine: followed from here it would be one of the host's.
        let found = fs::canonicalize(top.join(rest)).with_context(|| format!("cannot find {}", path.display()))?;
        if !found.starts_with(fs::canonicalize(&top)?) || !found.is_dir() {
            anyhow::bail!("{} is not a directory", path.display());
        }
        Ok(found)
    }

    fn destroy(&self, id: u32) -> anyhow::Result<()> {
        let dir = self.machine_dir(id);
        if !dir.exists() {
            return Ok(());
        }
        self.power_off(id)?;
        cgroup::remove(&self.short_name(id));
        storage::unmount_all(&dir);
        let root = dir.join("root");
        if storage::is_mounted(&root) && !attempt("umount", &[&root.display().to_string()]) {
            run("umount", &["-l", &root.display().to_string()])?;
        }
        super::remove_tree(&dir)
    }

    fn destroy_all(&self) -> anyhow::Result<()> {
        // Whoever waits for a machine to come up waits no longer.
        self.closed.store(true, Ordering::SeqCst);
        let _nobody_starts = self.starting.write().unwrap_or_else(PoisonError::into_inner);
        for id in self.ids() {
            self.destroy(id)?;
        }
        let models =
            fs::read_dir(self.dir.parent().unwrap_or(&self.dir)).map_or(0, |entries| entries.flatten().count());
        self.network.down(models <= 1)
    }

    fn is_up(&self, id: u32) -> bool {
        self.leader(id).is_some()
    }
}
