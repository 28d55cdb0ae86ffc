//! Machines as systemd-nspawn containers, each in a session of its own so that they outlive the controller.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::command::{attempt, run};
use super::network::{Network, outside_mtu};
use super::{Machines, Mount, base, storage};

/// The machines of one model.
pub struct Containers {
    model: String,
    dir: PathBuf,
    network: Network,
    /// Several machines are made at once; one of them makes the bridge.
    bridge: Mutex<()>,
}

impl Containers {
    /// The machines of the model in this directory.
    ///
    /// # Errors
    /// When no network is free.
    pub fn open(model: &str, dir: &Path) -> anyhow::Result<Self> {
        Ok(Self { model: model.to_owned(), dir: dir.to_owned(), network: Network::open(dir)?, bridge: Mutex::new(()) })
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

    /// The launcher's pid: it must still be the one we started.
    fn launcher(&self, id: u32) -> Option<u32> {
        let pid: u32 = fs::read_to_string(self.machine_dir(id).join("pid")).ok()?.trim().parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&command).contains(&self.short_name(id)).then_some(pid)
    }

    /// The machine's own process 1, as the host numbers it.
    fn leader(&self, id: u32) -> Option<u32> {
        let launcher = self.launcher(id)?;
        let children = fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    fn start(&self, id: u32, address: &str, mounts: &[Mount]) -> anyhow::Result<()> {
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
        let mut command = Command::new("setsid");
        command.args([
            "systemd-nspawn",
            "-q",
            "--register=no",
            "--keep-unit",
            "--resolv-conf=off",
            "--console=pipe",
            "-b",
        ]);
        command.arg("-D").arg(&root).arg("-M").arg(self.short_name(id));
        command.arg(format!("--network-bridge={}", self.network.bridge()));
        command.arg(format!("--bind={}:/var/lib/juju/run", dir.join("run").display()));
        command.arg(format!("--bind={}:/var/cache/apt/archives", dir.join("archives").display()));
        for mount in mounts {
            storage::mount(&dir, mount)?;
            command.arg(format!("--bind={}:{}", storage::mount_point(&dir, &mount.id).display(), mount.location));
        }
        // Services must be left to the machine's own systemd, and nobody's network setup may fight over the address.
        command.arg("--hostname").arg(self.hostname(id));
        let log = fs::File::create(dir.join("console.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().context("cannot start systemd-nspawn")?;
        fs::write(dir.join("pid"), child.id().to_string())?;
        // Somebody must collect the launcher when it ends.
        std::thread::spawn(move || child.wait());
        // The network first: services that start with the machine look for others at once.
        self.connect(id, address)?;
        self.wait_for_systemd(id)
    }

    /// Gives the machine its address, as soon as it has a network of its own.
    fn connect(&self, id: u32, address: &str) -> anyhow::Result<()> {
        let begin = Instant::now();
        let leader = loop {
            // The cable's end appears in the machine's own network once the launcher has made it.
            if let Some(leader) = self.leader(id) {
                if attempt("nsenter", &["-t", &leader.to_string(), "-n", "ip", "link", "show", "host0"]) {
                    break leader.to_string();
                }
            }
            // A launcher that has only just been forked does not look like one yet.
            let gone = begin.elapsed() > Duration::from_secs(2) && self.launcher(id).is_none();
            if gone || begin.elapsed() > Duration::from_secs(15) {
                anyhow::bail!("machine {id} did not start: {}", self.console_tail(id));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let inside = |args: &[&str]| {
            let mut all = vec!["-t", leader.as_str(), "-n", "ip"];
            all.extend(args);
            run("nsenter", &all)
        };
        inside(&["link", "set", "lo", "up"])?;
        inside(&["addr", "replace", &format!("{address}/24"), "dev", "host0"])?;
        inside(&["link", "set", "host0", "mtu", &outside_mtu(), "up"])?;
        attempt("ip", &["link", "set", &format!("vb-{}", self.short_name(id)), "mtu", &outside_mtu(), "up"]);
        inside(&["route", "replace", "default", "via", &self.network.gateway()])?;
        Ok(())
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

    /// Up to the basic target: services behind it may take as long as they like.
    fn wait_for_systemd(&self, id: u32) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            if let Some(leader) = self.leader(id) {
                if attempt(
                    "nsenter",
                    &["-t", &leader.to_string(), "-a", "systemctl", "-q", "is-active", "basic.target"],
                ) {
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        anyhow::bail!("machine {id} did not come up within 30 s: {}", self.console_tail(id))
    }

    fn settings(&self, id: u32) -> anyhow::Result<(String, Vec<Mount>)> {
        let text = fs::read_to_string(self.machine_dir(id).join("settings"))
            .with_context(|| format!("cannot find machine {id}"))?;
        let mut lines = text.lines();
        let address = lines.next().unwrap_or_default().to_owned();
        let mounts = lines
            .filter_map(|line| {
                let mut parts = line.split('\t');
                Some(Mount {
                    id: parts.next()?.to_owned(),
                    location: parts.next()?.to_owned(),
                    size: parts.next()?.to_owned(),
                })
            })
            .collect();
        Ok((address, mounts))
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
}

impl Machines for Containers {
    fn create(&self, id: u32, address: &str, mounts: &[Mount], progress: &dyn Fn(&str)) -> anyhow::Result<()> {
        let image = base::ensure(progress)?;
        self.network_up()?;
        let dir = self.machine_dir(id);
        for part in ["upper", "work", "root", "run", "storage", "archives/partial"] {
            fs::create_dir_all(dir.join(part))?;
        }
        // Packages that earlier machines have downloaded, as links: each machine has a directory of its own, so that
        // they do not wait for each other's lock.
        for entry in fs::read_dir(base::archives()).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|e| e == "deb") {
                let _ = fs::hard_link(entry.path(), dir.join("archives").join(entry.file_name()));
            }
        }
        let lines: Vec<String> = mounts.iter().map(|m| format!("{}\t{}\t{}", m.id, m.location, m.size)).collect();
        fs::write(dir.join("settings"), format!("{address}\n{}\n", lines.join("\n")))?;
        let etc = dir.join("upper/etc");
        fs::create_dir_all(&etc)?;
        // The overlay's copy of a directory must have the mode of the original.
        fs::set_permissions(&etc, fs::metadata(image.join("etc"))?.permissions())?;
        let hostname = self.hostname(id);
        fs::write(etc.join("hostname"), format!("{hostname}\n"))?;
        fs::write(
            etc.join("hosts"),
            format!("127.0.0.1 localhost\n{address} {hostname}\n::1 localhost ip6-localhost\n"),
        )?;
        if Path::new("/etc/resolv.conf").exists() {
            fs::copy("/etc/resolv.conf", etc.join("resolv.conf"))?;
        }
        progress(&format!("machine {id}: starting at {address}"));
        self.start(id, address, mounts)
    }

    fn address(&self, id: u32, first_host: u32) -> String {
        self.network.address(first_host.clamp(2, 200) + id % 50)
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
        if let Some(leader) = self.leader(id) {
            // Process 1 of a process namespace takes all others with it.
            attempt("kill", &["-KILL", &leader.to_string()]);
        }
        if !self.wait_until_down(id, Duration::from_secs(10)) {
            anyhow::bail!("cannot cut the power of machine {id}: its launcher does not end");
        }
        for entry in fs::read_dir(self.machine_dir(id).join("archives")).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|e| e == "deb") {
                let _ = fs::hard_link(entry.path(), base::archives().join(entry.file_name()));
            }
        }
        Ok(())
    }

    fn power_on(&self, id: u32) -> anyhow::Result<()> {
        let (address, mounts) = self.settings(id)?;
        self.network_up()?;
        self.start(id, &address, &mounts)
    }

    fn reboot(&self, id: u32) -> anyhow::Result<()> {
        if let Some(leader) = self.leader(id) {
            // systemd's own signal for an orderly power-off.
            attempt("kill", &["-RTMIN+4", &leader.to_string()]);
        }
        if !self.wait_until_down(id, Duration::from_secs(90)) {
            self.power_off(id)?;
        }
        self.power_on(id)
    }

    fn network(&self, id: u32, up: bool) -> anyhow::Result<()> {
        run("ip", &["link", "set", &format!("vb-{}", self.short_name(id)), if up { "up" } else { "down" }]).map(|_| ())
    }

    fn destroy(&self, id: u32) -> anyhow::Result<()> {
        let dir = self.machine_dir(id);
        if !dir.exists() {
            return Ok(());
        }
        self.power_off(id)?;
        storage::unmount_all(&dir);
        let root = dir.join("root");
        if storage::is_mounted(&root) && !attempt("umount", &[&root.display().to_string()]) {
            run("umount", &["-l", &root.display().to_string()])?;
        }
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
    }

    fn destroy_all(&self) -> anyhow::Result<()> {
        let ids: Vec<u32> = fs::read_dir(self.dir.join("machines"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        for id in ids {
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
