//! Real machines, made and removed: what no test below can show. Needs root and a minute, so it passes over itself
//! without `RUN_E2E=1`.
#![allow(clippy::unwrap_used, clippy::allow_attributes, reason = "a test that panics has failed, which is its purpose")]

#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/faults.rs"]
mod faults;
#[path = "support/leftovers.rs"]
mod leftovers;
#[path = "e2e/model.rs"]
mod model;
#[path = "e2e/planted.rs"]
mod planted;
#[path = "e2e/runs.rs"]
mod runs;
#[path = "e2e/several.rs"]
mod several;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use juju_local::machine::{Containers, Machines as _, Mount, check_host};
use leftovers::{host, nothing_is_left};
use model::Model;

/// Kills a process and waits for its end: until then its socket takes connections, and drops them.
fn kill(id: &str) {
    let lives = format!("grep -q '^State:.[^ZX]' /proc/{id}/status 2>/dev/null");
    host(&format!("kill -KILL {id}; while {lives}; do sleep 0.01; done"));
}

/// A model's machines, and what a shell in one of them says.
struct Site {
    dir: tempfile::TempDir,
    machines: Containers,
}

impl Site {
    fn new() -> Self {
        check_host().unwrap();
        let dir = tempfile::Builder::new().prefix("juju-local-test-").tempdir_in("/var/lib").unwrap();
        let model = dir.path().join("models/test");
        std::fs::create_dir_all(&model).unwrap();
        Self { machines: Containers::open("test", &model).unwrap(), dir }
    }

    fn say(&self, id: u32, command: &str) -> Result<String, String> {
        let argv = ["sh", "-ec", command].map(str::to_owned);
        let env = BTreeMap::from([
            ("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned()),
        ]);
        let child = self.machines.spawn(id, &argv, &env, "/tmp").map_err(|why| why.to_string())?;
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn until(&self, id: u32, command: &str) {
        let begun = Instant::now();
        while self.say(id, command).is_err() {
            let log = self.say(id, "cat /root/boots");
            assert!(begun.elapsed() < Duration::from_secs(20), "machine {id} never managed: {command}; boots: {log:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Also after a failure: machines must not outlive the test.
        let _ = self.machines.destroy_all();
    }
}

fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = act();
    eprintln!("{what}: {:.2} s", begun.elapsed().as_secs_f64());
    result
}

/// These look at what is left on the host, and want it for themselves. `None` when they are not asked for.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static HOST: Mutex<()> = Mutex::new(());
    std::env::var_os("RUN_E2E")?;
    // One that failed has left its machines, and the next says so.
    Some(HOST.lock().unwrap_or_else(PoisonError::into_inner))
}

#[test]
fn machines_live_and_leave_nothing() {
    let Some(_alone) = alone() else { return };
    let site = Site::new();
    let disk = Mount { id: "data/0".to_owned(), location: "/srv/data".to_owned(), size: "64M".to_owned() };
    let addresses: Vec<String> = (0..3).map(|id| site.machines.address(id, 9)).collect();
    assert!(addresses[0].ends_with(".9") && addresses[1].ends_with(".10"), "{addresses:?}");
    for (id, address) in (0..).zip(&addresses[..2]) {
        let progress = |line: &str| eprintln!("{line}");
        let disks = std::slice::from_ref(&disk);
        timed("create", || site.machines.create(id, address, disks, &progress).unwrap());
    }

    // A machine is a machine: a name, an address, init, neighbours, a way out.
    assert_eq!(site.say(0, "hostname").unwrap(), "juju-test-0");
    assert_eq!(site.say(0, "pwd; cat /proc/1/comm").unwrap(), "/tmp\nsystemd");
    let both = format!("{} {}", addresses[0], addresses[0].replacen("10.89.", "10.90.", 1));
    assert_eq!(site.say(0, "hostname -I").unwrap().trim(), both, "one address in each network space");
    assert_eq!(site.say(0, "systemctl is-active juju-network").unwrap(), "active");
    // Two service managers in one control group would remove each other's.
    let groups = |id| host(&format!("grep -E ':(name=systemd)?:' /proc/{}/cgroup", site.machines.leader(id).unwrap()));
    assert!(!groups(0).is_empty() && groups(0) != groups(1), "{}", groups(0));
    let ping = format!("ping -c1 -W2 {}", addresses[1]);
    timed("install", || site.say(0, "apt-get install -qq iputils-ping >/dev/null 2>&1").unwrap());
    site.say(0, &ping).unwrap();

    // A later machine finds what an earlier one has downloaded.
    timed("create the third", || site.machines.create(2, &addresses[2], &[], &|_| ()).unwrap());
    let packages = site.say(2, "ls /var/cache/apt/archives").unwrap();
    assert!(packages.contains("iputils-ping"), "{packages}");

    // The way out has an address of its own: whoever comes and goes, the others find it where it was.
    let subnet = std::fs::read_to_string(site.dir.path().join("models/test/subnet")).unwrap();
    let bridge = host(&format!("cat /sys/class/net/jlbr{subnet}/address"));
    assert_eq!(bridge.trim(), juju_local::model::mac_address(&format!("10.89.{subnet}.1")));

    // A cut cable, and a mended one.
    site.machines.block(&BTreeSet::from([(Some(1), None)])).unwrap();
    site.say(0, &ping).unwrap_err();
    site.machines.block(&BTreeSet::new()).unwrap();
    site.until(0, &ping);

    // A disk of the asked size, which can be full.
    let full = site.say(0, "head -c 200M /dev/zero > /srv/data/big").unwrap_err();
    assert!(full.contains("No space left"), "{full}");
    site.say(0, "rm /srv/data/big; echo kept > /srv/data/file; echo kept > /root/file").unwrap();

    // Services see address and disk as soon as they start: each boot leaves both in a file.
    let service = "[Unit]\nAfter=network.target\n[Service]\nType=oneshot\n\
                   ExecStart=/bin/sh -c 'echo $(cat /srv/data/file) $(hostname -I | grep -o ^[0-9.]*) >> /root/boots'\n\
                   [Install]\nWantedBy=multi-user.target\n";
    site.say(0, &format!("cat > /etc/systemd/system/seen.service <<\\EOF\n{service}EOF\nsystemctl enable -q seen"))
        .unwrap();
    let booted = |times: usize| {
        let line = format!("kept {}\n", addresses[0]);
        site.until(0, &format!("cat > /root/want <<\\EOF\n{}EOF\ncmp /root/boots /root/want", line.repeat(times)));
    };

    let before = site.machines.leader(0);
    timed("power cut", || site.machines.power_off(0).unwrap());
    assert!(!site.machines.is_up(0));
    timed("power on", || site.machines.power_on(0).unwrap());
    assert_ne!(site.machines.leader(0), before);
    assert_eq!(site.say(0, "cat /root/file /srv/data/file").unwrap(), "kept\nkept");
    booted(1);

    timed("reboot", || site.machines.reboot(0).unwrap());
    booted(2);

    // A reboot from inside needs nobody outside.
    let before = site.machines.leader(0);
    let _ = site.say(0, "systemctl reboot");
    timed("reboot from inside", || {
        let begun = Instant::now();
        while site.machines.leader(0).is_none_or(|now| Some(now) == before) {
            assert!(begun.elapsed() < Duration::from_secs(30), "the machine did not come back");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    booted(3);
    site.until(0, &ping);

    // One goes, the others stay; then all go, and nothing is left.
    let at = site.dir.path().display().to_string();
    timed("destroy", || site.machines.destroy(1).unwrap());
    assert!(site.machines.is_up(0) && !Path::new(&format!("{at}/models/test/machines/1")).exists());
    timed("destroy all", || site.machines.destroy_all().unwrap());
    let late = site.machines.create(3, &addresses[2], &[], &|_| ()).unwrap_err();
    assert_eq!(late.to_string(), "cannot start a machine: the model is being destroyed");
    for leftover in [
        format!("grep {at} /proc/mounts"),
        format!("losetup -l | grep {at}"),
        format!("ps -eo args | grep [j]l{subnet}-"),
        format!("ip -o link | grep -E 'jl(br)?{subnet}[-:@]'"),
        format!("nft list tables | grep juju_local_{subnet}$"),
        format!("ls {at}/models/test/machines"),
        format!("find /sys/fs/cgroup -type d -path '*/juju-local/jl{subnet}-*'"),
    ] {
        assert_eq!(host(&leftover), "", "{leftover}");
    }
}

#[test]
fn a_model_outlives_its_controller_and_leaves_nothing() {
    let Some(_alone) = alone() else { return };
    let model = Model::new();
    model.run(&["deploy", "./small.charm"]).unwrap();
    model.wait(1);
    assert_eq!(model.run(&["run", "small/leader", "greet", "who=you"]).unwrap(), "text: hello you");
    let refused = model.run(&["run", "small/0", "greet", "who=5"]).unwrap_err();
    assert!(refused.ends_with("(root).who : must be of type string, given 5"), "{refused}");

    // A controller that is killed while machines are being made: the next one makes them.
    let mut adding = model.command(&["add-unit", "small", "-n", "2"]).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(150));
    kill(&model.controller());
    adding.wait().unwrap();
    model.wait(3);

    // One start hook for each boot, whoever boots the machine, and none for a controller that comes back.
    assert_eq!(model.ran("small/1", "start"), 1);
    let _ = model.run(&["ssh", "small/1", "systemctl reboot"]);
    model.until("the start hook after a reboot from inside", || model.ran("small/1", "start") == 2);
    // Cut off within the hook, it would rightly be run again.
    model.wait(3);
    model.run(&["fault", "reboot", "small/1"]).unwrap();
    model.until("the start hook after a reboot", || model.ran("small/1", "start") == 3);
    model.wait(3);
    model.run(&["fault", "controller", "stop"]).unwrap();
    model.run(&["fault", "controller", "start"]).unwrap();
    model.wait(3);
    assert_eq!(model.ran("small/1", "start"), 3);

    // A machine that switches itself off is shown as that, and comes back when it is switched on.
    let _ = model.run(&["ssh", "small/2", "systemctl poweroff"]);
    model.until("the machine to be shown as off", || {
        model.run(&["status", "small/2"]).is_ok_and(|status| status.contains("lost") && status.contains("down"))
    });
    assert!(model.run(&["ssh", "small/2", "true"]).unwrap_err().contains("fault power-on small/2"));
    model.run(&["fault", "power-on", "small/2"]).unwrap();
    model.until("the start hook after the power came back", || model.ran("small/2", "start") == 2);
    model.wait(3);
    assert_eq!(model.ran("small/2", "start"), 2);

    // Files go both ways, and links mean what they mean on the machine.
    std::fs::write(model.dir.path().join("note"), "a note").unwrap();
    model.run(&["scp", "note", "small/0:/root/"]).unwrap();
    model.run(&["ssh", "small/0", "ln -s /etc/hostname /root/link"]).unwrap();
    model.run(&["scp", "small/0:/root/link", "link"]).unwrap();
    assert_eq!(model.run(&["ssh", "small/0", "cat note"]).unwrap(), "a note");
    assert_eq!(std::fs::read_to_string(model.dir.path().join("link")).unwrap(), format!("juju-{}-0\n", model.name));

    // Removed while something is being made; what is made meanwhile goes too.
    let mut adding = model.command(&["add-unit", "small", "-n", "2"]).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(150));
    let subnet = model.subnet();
    model.run(&["destroy-model", "--no-prompt"]).unwrap();
    adding.wait().unwrap();
    nothing_is_left(&model.name, &subnet);
    assert!(model.run(&["status"]).unwrap_err().contains("not found"));
}

/// Every fault does what it says, is listed, and is undone; the model goes with faults in it and leaves nothing.
#[test]
fn faults_break_and_mend() {
    let Some(_alone) = alone() else { return };
    let model = Model::new();
    model.run(&["deploy", "./small.charm", "-n", "3"]).unwrap();
    model.wait(3);
    faults::what_is_not_there_is_refused(&model);
    faults::frozen_services_thaw(&model);
    faults::cuts_part_whom_they_say(&model);
    faults::wiped_directories_are_empty(&model);
    faults::filled_storage_has_no_room(&model);
    faults::slow_networks_are_slow(&model);
    faults::hooks_are_slow(&model);
    faults::a_stopped_controller_stays_stopped(&model);
    faults::clear_mends_everything(&model);

    model.run(&["fault", "cut", "small/0"]).unwrap();
    model.run(&["fault", "fill", "small/0", "data"]).unwrap();
    model.run(&["fault", "power-off", "small/1"]).unwrap();
    let subnet = model.subnet();
    model.run(&["destroy-model", "--no-prompt"]).unwrap();
    nothing_is_left(&model.name, &subnet);
}

#[test]
fn bad_input_is_refused_and_leaves_nothing() {
    let Some(_alone) = alone() else { return };
    let model = Model::new();
    bad_input::bad_charms_are_refused(&model);
    bad_input::bad_names_are_refused(&model);
    model.run(&["deploy", "./small.charm"]).unwrap();
    model.wait(1);
    bad_input::interrupted_commands_end(&model);
    bad_input::bad_states_can_be_removed(&model);
    bad_input::what_does_not_boot_can_be_removed(&model);
    let subnet = model.subnet();
    model.run(&["destroy-model", "--no-prompt"]).unwrap();
    nothing_is_left(&model.name, &subnet);
}

#[test]
fn hooks_and_actions_run_as_in_juju() {
    let Some(_alone) = alone() else { return };
    runs::as_juju_runs_them(&Model::new());
}

/// Each planted bug is shown by the option that is there for it.
#[test]
fn planted_bugs_are_found() {
    let Some(_alone) = alone() else { return };
    planted::every_bug_is_seen(&Model::new());
}
