//! Another revision of the charm, and back, while a client writes: the agents are replaced, the servers never notice.
//! OLD_CHARM names the archive of a real earlier revision, which takes part then.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::client::{OPERATOR, Writer};
use super::model::{Model, charm};

const PROGRAM: &str = "bin/mariadb-galera";
const STARTED: &str = "systemctl show --property ExecMainStartTimestampMonotonic mariadb";
/// What the running agent is, whatever lies in its place on disk.
const AGENT: &str = "sha256sum < /proc/$(systemctl show --value --property MainPID mariadb-galera-agent)/exe";
/// What lies in the charm's directory.
const CHARM: &str = "sha256sum < /var/lib/juju/agents/unit-*/charm/bin/mariadb-galera";
const OURS: &str = "/etc/mysql/mariadb.conf.d/90-mariadb-galera.cnf";

/// One cluster of three.
pub(crate) fn there_and_back(m: &Model, app: &str) {
    let folder = tempfile::tempdir().unwrap();
    let next = next_build(&charm(), folder.path());
    // Nothing else has the files looked at.
    m.juju(&["model-config", "update-status-hook-interval=10s"]);
    m.deploy(app, 3, &[]);
    let uuid = m.one_cluster(app, 3, 300);
    under_load(m, app, &[("the next build", &next), ("the build before", &charm())]);
    edits_are_kept(m, app);
    m.hold(m.one_cluster(app, 3, 60) == uuid, "it is the same cluster");
    if let Some(old) = std::env::var_os("OLD_CHARM").map(PathBuf::from) {
        from_an_earlier_revision(m, &old);
    }
}

/// The revision that formed the cluster need not know what this one writes, and gets it back.
fn from_an_earlier_revision(m: &Model, old: &Path) {
    let app = "old";
    m.step("an earlier revision");
    m.juju(&["deploy", old.to_str().unwrap(), app, "-n", "3", "--config", "profile=testing"]);
    let uuid = m.one_cluster(app, 3, 300);
    under_load(m, app, &[("this build", &charm()), ("the earlier revision", old), ("this build again", &charm())]);
    m.juju(&["add-unit", app]);
    m.hold(m.one_cluster(app, 4, 300) == uuid, "it is the same cluster, and grows");
}

fn under_load(m: &Model, app: &str, builds: &[(&str, &Path)]) {
    let units = m.app(app).units;
    let told = m.run(&units[0].name, &["get-password", &format!("username={OPERATOR}")]);
    let password = told["password"].as_str().unwrap().to_owned();
    let started: Vec<String> = units.iter().map(|unit| m.on(&unit.name, STARTED).out).collect();
    let writer = Writer::start(units[0].address.unwrap(), &password, "refresh");
    for (what, build) in builds {
        m.step(&format!("refresh to {what}"));
        m.juju(&["refresh", app, "--path", build.to_str().unwrap()]);
        for unit in &units {
            m.until(&format!("{}'s agent is of {what}", unit.name), 90, || {
                let (agent, expected) = (m.on(&unit.name, AGENT).out, checksum(build));
                let (agent, there) = (agent.trim(), m.on(&unit.name, CHARM).out);
                let so = agent.starts_with(&expected) && there.starts_with(&expected);
                if so { Ok(()) } else { Err(format!("{agent}; {there}; {}", m.app(app).described())) }
            });
        }
        m.one_cluster(app, units.len(), 60);
    }
    let written = writer.stop();
    m.hold(written.failed.is_empty(), &format!("no write failed: {:?}", written.failed.first()));
    m.step(&format!("  {} written, longest gap {} ms", written.acknowledged, written.longest_gap.as_millis()));
    let now: Vec<String> = units.iter().map(|unit| m.on(&unit.name, STARTED).out).collect();
    m.hold(now == started, &format!("no server was restarted: {started:?} {now:?}"));
    let log = m.attempt(&["debug-log", "--replay", "--level", "ERROR"]).out;
    m.hold(log.trim().is_empty(), &format!("nothing failed: {}", log.lines().next().unwrap_or_default()));
}

/// What a person has written into the charm's files is put back, kept and told.
fn edits_are_kept(m: &Model, app: &str) {
    let unit = format!("{app}/0");
    m.step("a file of the charm's is edited by hand");
    let before = m.on(&unit, &format!("cat {OURS}")).out;
    m.on(&unit, &format!("echo 'wait_timeout = 5' >> {OURS}"));
    m.soon("it is put back", 30, || {
        let (now, said) = (m.on(&unit, &format!("cat {OURS}")).out, m.app(app).described());
        let told = said.contains("90-mariadb-galera.cnf was edited by hand and is put back");
        if now == before && told { Ok(()) } else { Err(said) }
    });
    let kept = m.on(&unit, "tail -n 1 /var/lib/mariadb-galera/edited/90-mariadb-galera.cnf.*").out;
    m.hold(kept.trim() == "wait_timeout = 5", &format!("the edit is kept: {kept:?}"));
    let mode = m.on(&unit, &format!("stat -c '%a %U:%G' {OURS}")).out;
    m.hold(mode.trim() == "644 root:root", &format!("the file has its mode: {mode:?}"));
}

/// The same charm with another program, as the next revision would have.
fn next_build(of: &Path, folder: &Path) -> PathBuf {
    let path = folder.join("next.charm");
    let mut archive = ZipArchive::new(std::fs::File::open(of).unwrap()).unwrap();
    let mut next = ZipWriter::new(std::fs::File::create(&path).unwrap());
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).unwrap();
        if entry.name().unwrap() == PROGRAM {
            // What stands behind its end changes nothing of what a program does.
            let program = [program(of), b"the next build".to_vec()].concat();
            next.start_file(PROGRAM, SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
            next.write_all(&program).unwrap();
        } else {
            next.raw_copy_file(entry).unwrap();
        }
    }
    next.start_file("NEWS", SimpleFileOptions::default().unix_permissions(0o644)).unwrap();
    next.finish().unwrap();
    path
}

fn program(charm: &Path) -> Vec<u8> {
    let mut archive = ZipArchive::new(std::fs::File::open(charm).unwrap()).unwrap();
    let mut bytes = Vec::new();
    archive.by_name(PROGRAM).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn checksum(charm: &Path) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(program(charm)).iter().map(|byte| format!("{byte:02x}")).collect()
}
