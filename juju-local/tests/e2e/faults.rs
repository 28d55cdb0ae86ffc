//! What each fault does, seen on the machines themselves.

use std::time::{Duration, Instant};

use super::host;
use super::model::Model;

fn list(model: &Model) -> String {
    model.run(&["fault", "list"]).unwrap()
}

fn fault(model: &Model, line: &str) {
    let words: Vec<&str> = ["fault"].into_iter().chain(line.split(' ')).collect();
    model.run(&words).unwrap_or_else(|why| panic!("fault {line}: {why}"));
}

fn refused(model: &Model, line: &str, sentence: &str) {
    let words: Vec<&str> = ["fault"].into_iter().chain(line.split(' ')).collect();
    match model.run(&words) {
        Ok(said) => panic!("fault {line} was not refused: {said}"),
        Err(why) => assert_eq!(why, format!("ERROR {sentence}"), "fault {line}"),
    }
}

fn on(model: &Model, unit: &str, command: &str) -> String {
    model.run(&["ssh", unit, command]).unwrap_or_else(|why| panic!("{unit}: {command}: {why}"))
}

pub(crate) fn what_is_not_there_is_refused(model: &Model) {
    for line in
        ["kill small/9 --pid 1", "freeze small/9 --service x", "cut small/0 --from small/9", "fill small/9 data"]
    {
        refused(model, line, "unit \"small/9\" not found; see juju-local status");
    }
    refused(model, "heal db", "\"db\" is not a valid unit name");
    refused(model, "freeze small/0 --service nope", "small/0 has no service \"nope\"");
    refused(model, "kill small/0 --service nope", "small/0 has no service \"nope\"");
    refused(model, "fill small/0 logs", "small/0 has no storage \"logs\"; it has: data");
    refused(model, "cut small/0 --from small/0", "cannot cut small/0 from small/0: that is the same machine");
    refused(model, "wipe small/0 /nope", "small/0 has no directory /nope");
    refused(model, "wipe small/0 /", "cannot wipe /: the machine does not run without /bin");
    for (line, wanted) in [
        ("hook small/0", "--kill-after-tools <K>|--fail-commit|--delay-tools <MS>"),
        ("kill small/0", "--service <SERVICE>|--pid <PID>"),
        ("kill small/0 --pid 0", "0 is not in 1..="),
    ] {
        let words: Vec<&str> = ["fault"].into_iter().chain(line.split(' ')).collect();
        let said = model.command(&words).output().unwrap();
        let why = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.code() == Some(2) && why.contains(wanted), "fault {line}: {why}");
    }
    refused(model, "clock --advance 99999999d", "cannot move the clock past the year 9000");
    for empty in ["cuts: []", "frozen: []", "filled: []", "hooks: {}", "slow: {}", "powered-off: []"] {
        assert!(list(model).contains(empty), "{empty} is in {}", list(model));
    }
}

/// A service of two processes, which both count.
const TICKING: &str = "cat > /etc/systemd/system/ticking.service <<\\EOF\n[Service]\n\
    ExecStart=/bin/sh -c '(while :; do echo >> /root/child; sleep 0.05; done) & while :; do echo >> /root/main; sleep 0.05; done'\n\
    [Install]\nWantedBy=multi-user.target\nEOF\nsystemctl daemon-reload; systemctl enable -q --now ticking";

/// How far both have counted.
fn ticks(model: &Model, unit: &str) -> (u64, u64) {
    let counted = on(model, unit, "wc -l < /root/main; wc -l < /root/child");
    let mut counted = counted.lines().map(|line| line.trim().parse().unwrap());
    (counted.next().unwrap(), counted.next().unwrap())
}

fn ticks_on(model: &Model, unit: &str) -> bool {
    let before = ticks(model, unit);
    std::thread::sleep(Duration::from_millis(700));
    let after = ticks(model, unit);
    assert_eq!(after.0 > before.0, after.1 > before.1, "one of both: {before:?} {after:?}");
    after.0 > before.0
}

pub(crate) fn frozen_services_thaw(model: &Model) {
    on(model, "small/0", TICKING);
    model.until("the service to tick", || ticks_on(model, "small/0"));
    let manager = "systemctl show -p MainPID,ActiveState,NRestarts ticking";
    let before = on(model, "small/0", manager);
    fault(model, "freeze small/0 --service ticking");
    assert!(!ticks_on(model, "small/0"), "a frozen service ticks");
    assert!(list(model).contains("small/0 ticking"), "{}", list(model));
    assert_eq!(on(model, "small/0", manager), before, "the service manager saw nothing");
    fault(model, "thaw small/0 --service ticking");
    assert!(ticks_on(model, "small/0"), "a thawed service does not tick");
    assert_eq!(on(model, "small/0", manager), before);
    assert!(list(model).contains("frozen: []"), "{}", list(model));

    // A service manager that wants to end a frozen service can, and thawing what is gone is no mistake.
    fault(model, "freeze small/0 --service ticking");
    on(model, "small/0", "systemctl restart ticking");
    assert!(ticks_on(model, "small/0"));
    fault(model, "thaw small/0 --service ticking");
    on(model, "small/0", "systemctl stop ticking");
    refused(model, "freeze small/0 --service ticking", "service \"ticking\" of small/0 does not run");
    on(model, "small/0", "systemctl start ticking");
}

/// Whether a datagram that one sends arrives at the other, where nobody listens: the kernel counts those.
fn arrives(model: &Model, from: &str, to: &str) -> bool {
    let count = || on(model, to, "awk '/^Udp: [0-9]/ {print $3}' /proc/net/snmp");
    let address = on(model, to, FIRST_ADDRESS);
    let before = count();
    for _ in 0..3 {
        on(model, from, &format!("echo > /dev/udp/{}/9 || true", address.trim()));
        std::thread::sleep(Duration::from_millis(50));
    }
    count() != before
}

/// In the first of the network spaces.
const FIRST_ADDRESS: &str = "hostname -I | cut -d' ' -f1";

/// The same for this host, which has an answer only when both ways are open.
fn host_reaches(model: &Model, unit: &str) -> bool {
    let address = on(model, unit, FIRST_ADDRESS);
    // Nobody listens: who is there says so at once.
    host(&format!("timeout 2 bash -c '</dev/tcp/{}/9' 2>&1; echo $?", address.trim())).contains("refused")
}

pub(crate) fn cuts_part_whom_they_say(model: &Model) {
    let ways = || {
        let mut open = Vec::new();
        for from in 0..3 {
            for to in (0..3).filter(|to| *to != from) {
                if arrives(model, &format!("small/{from}"), &format!("small/{to}")) {
                    open.push(format!("{from}{to}"));
                }
            }
        }
        open.join(" ")
    };
    assert_eq!(ways(), "01 02 10 12 20 21");
    fault(model, "cut small/0 --from small/1");
    assert_eq!(ways(), "02 12 20 21");
    assert!(host_reaches(model, "small/0"), "--from cuts the units only");
    fault(model, "cut small/2 --from small/0 small/1 --one-way");
    assert_eq!(ways(), "02 12");
    assert!(
        list(model).contains("small/2 -> small/1") && !list(model).contains("small/1 -> small/2"),
        "{}",
        list(model)
    );
    fault(model, "heal small/1");
    assert_eq!(ways(), "01 02 10 12 21");
    fault(model, "heal");
    assert_eq!(ways(), "01 02 10 12 20 21");

    // Off the network altogether, also after another boot.
    fault(model, "cut small/2");
    assert_eq!(ways(), "01 10");
    assert!(!host_reaches(model, "small/2"));
    fault(model, "reboot small/2");
    model.until("small/2 to be up", || model.run(&["ssh", "small/2", "true"]).is_ok());
    assert!(!host_reaches(model, "small/2") && !arrives(model, "small/0", "small/2"));
    fault(model, "heal small/2");
    assert!(host_reaches(model, "small/2") && arrives(model, "small/0", "small/2"));
    assert!(list(model).contains("cuts: []"), "{}", list(model));
    model.wait(3);
}

pub(crate) fn wiped_directories_are_empty(model: &Model) {
    let files = "mkdir -p /srv/data/deep/er && echo x | tee /srv/data/a /srv/data/.b /srv/data/deep/er/c > /dev/null";
    let left = |unit| on(model, unit, "ls -A /srv/data");
    on(model, "small/0", files);
    assert_ne!(left("small/0"), "lost+found");
    fault(model, "wipe small/0 /srv/data");
    assert_eq!(left("small/0"), "lost+found");

    // Off: a disk that was exchanged in between.
    on(model, "small/1", files);
    on(model, "small/1", "mkdir -p /srv/own && echo x > /srv/own/file && ln -s /etc /srv/link && sync");
    refused(model, "wipe small/1 /srv/link", "cannot wipe /etc: the machine does not run without /etc");
    fault(model, "power-off small/1");
    let etc = host("ls -A /etc | wc -l");
    let why = model.run(&["fault", "wipe", "small/1", "/srv/link"]).unwrap_err();
    assert!(why.contains("/srv/link is not a directory"), "{why}");
    assert_eq!(host("ls -A /etc | wc -l"), etc, "a link on a machine that is off leads to the host");
    fault(model, "wipe small/1 /srv/data");
    fault(model, "wipe small/1 /srv/own");
    fault(model, "power-on small/1");
    assert_eq!(left("small/1"), "lost+found");
    assert_eq!(on(model, "small/1", "ls -A /srv/own"), "");
    model.wait(3);
}

pub(crate) fn filled_storage_has_no_room(model: &Model) {
    let write = |bytes: &str| model.run(&["ssh", "small/0", &format!("head -c {bytes} /dev/zero > /srv/data/file")]);
    let free = || on(model, "small/0", "stat -f -c '%a*%S' /srv/data");
    let bytes = || -> u64 { free().split('*').map(|n| n.trim().parse::<u64>().unwrap()).product() };
    let before = bytes();
    fault(model, "fill small/0 data --leave 1000000");
    assert!((900_000..=1_000_000).contains(&bytes()), "{} of {before} are free", bytes());
    write("500K").unwrap();
    assert!(write("5M").unwrap_err().contains("No space left"));
    fault(model, "fill small/0 data/0");
    assert!(bytes() < 8192, "{} are free", bytes());
    assert!(list(model).contains("small/0 data/0"), "{}", list(model));
    fault(model, "unfill small/0 data");
    on(model, "small/0", "rm /srv/data/file");
    write("5M").unwrap();
    on(model, "small/0", "rm /srv/data/file; sync");
    assert!(list(model).contains("filled: []"), "{}", list(model));
}

/// Where the kernel has what it takes; elsewhere it says what is missing.
pub(crate) fn slow_networks_are_slow(model: &Model) {
    let has_netem = host("unshare --net tc qdisc add dev lo root netem delay 1ms 2>&1; echo $?") == "0";
    let slow = model.run(&["fault", "slow", "small/0", "--delay", "300", "--jitter", "10"]);
    if !has_netem {
        let why = slow.unwrap_err();
        assert!(why.contains("this kernel lacks the packet scheduler netem (CONFIG_NET_SCH_NETEM)"), "{why}");
        assert!(list(model).contains("slow: {}"), "{}", list(model));
        return;
    }
    slow.unwrap();
    let answer = || {
        let begun = Instant::now();
        assert!(host_reaches(model, "small/0"));
        begun.elapsed()
    };
    assert!(answer() > Duration::from_millis(280));
    assert!(list(model).contains("delay 300 ms, jitter 10 ms"), "{}", list(model));
    fault(model, "reboot small/0");
    assert!(answer() > Duration::from_millis(280), "a new cable is not slow");
    fault(model, "heal small/0");
    assert!(answer() < Duration::from_millis(280));
    model.wait(3);
}

pub(crate) fn hooks_are_slow(model: &Model) {
    let longest = |unit| -> u64 {
        let waited = on(model, unit, "grep hooks/config-changed /root/waited | tail -n1");
        waited.rsplit(' ').next().unwrap().trim().parse().unwrap()
    };
    let ran = |unit| model.ran(unit, "config-changed");
    let change = |word: &str| {
        let before = (ran("small/0"), ran("small/1"));
        model.run(&["config", "small", &format!("word={word}")]).unwrap();
        model.until("both hooks", || ran("small/0") > before.0 && ran("small/1") > before.1);
        model.wait(3);
        (longest("small/0"), longest("small/1"))
    };
    fault(model, "hook small/0 --delay-tools 1500");
    assert!(list(model).contains("each tool waits 1500 ms"), "{}", list(model));
    let (slow, other) = change("one");
    assert!(slow >= 1500 && other < 1500, "{slow} ms and {other} ms");
    fault(model, "clear");
    assert!(change("two").0 < 1500);
}

pub(crate) fn a_stopped_controller_stays_stopped(model: &Model) {
    let starts = model.ran("small/0", "start");
    let stopped = "ERROR the controller is stopped; juju-local fault controller start starts it";
    fault(model, "controller stop");
    for command in [vec!["status"], vec!["config", "small"], vec!["exec", "--unit", "small/0", "--", "true"]] {
        assert_eq!(model.run(&command).unwrap_err(), stopped, "{command:?}");
    }
    // Machines and services go on, and faults come all the same.
    assert!(ticks_on(model, "small/0"));
    assert!(model.run(&["ssh", "small/0", "juju-exec small/0 true"]).is_err(), "an agent answers");
    fault(model, "reboot small/0");
    assert!(list(model).contains("controller: stopped"), "{}", list(model));
    assert_eq!(model.run(&["status"]).unwrap_err(), stopped);
    assert_eq!(model.ran("small/0", "start"), starts, "a hook ran without a controller");
    fault(model, "controller start");
    model.until("the start hook after the reboot", || model.ran("small/0", "start") == starts + 1);
    model.wait(3);
    assert!(list(model).contains("controller: running"), "{}", list(model));
}

pub(crate) fn clear_mends_everything(model: &Model) {
    let healthy = list(model);
    model.until("the service to tick", || ticks_on(model, "small/0"));
    for line in [
        "hook small/0 --fail-commit --name start",
        "freeze small/0 --service ticking",
        "cut small/0 small/1",
        "fill small/2 data",
        "power-off small/1",
        "controller stop",
    ] {
        fault(model, line);
    }
    let broken = list(model);
    for part in ["small/0 ticking", "* -> small/1", "small/2 data/", "its commit fails", "powered-off:\n", "stopped"] {
        assert!(broken.contains(part), "{part:?} is in {broken}");
    }
    fault(model, "clear");
    assert_eq!(list(model), healthy);
    model.wait(3);
    assert!(ticks_on(model, "small/0") && host_reaches(model, "small/1"));
    let room = on(model, "small/2", "head -c 5M /dev/zero > /srv/data/file && rm /srv/data/file && echo room");
    assert_eq!(room, "room");
}
