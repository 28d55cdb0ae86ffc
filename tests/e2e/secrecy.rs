//! Where a password must not be: what Juju shows to everybody, its log, arguments of processes, files that anybody may
//! read. Every hunt is shown to find something that is planted or certainly there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::model::Model;

/// Collects the arguments of all processes of this machine, which are those of juju-local's machines too.
pub(crate) struct Processes {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Processes {
    pub(crate) fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !told.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                    if let Ok(arguments) = std::fs::read(entry.path().join("cmdline")) {
                        seen.insert(String::from_utf8_lossy(&arguments).replace('\0', " "));
                    }
                }
                std::thread::sleep(Duration::from_millis(60));
            }
            seen
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The names of the passwords that occur in a text; never the passwords, because test output is read by many.
fn found(passwords: &[(String, String)], text: &str) -> Vec<String> {
    passwords.iter().filter(|(_, password)| text.contains(password)).map(|(name, _)| name.clone()).collect()
}

/// The log and the processes know no password.
pub(crate) fn not_in_log_or_processes(model: &Model, passwords: &[(String, String)], processes: &BTreeSet<String>) {
    let log = model.juju(&["debug-log", "--replay", "--level", "DEBUG"]);
    model.hold(log.contains("ran \"start\" hook"), "the log that is searched for passwords is the model's");
    let in_log = found(passwords, &log);
    model.hold(in_log.is_empty(), &format!("no password in debug-log {in_log:?}"));

    let arguments = processes.iter().cloned().collect::<Vec<_>>().join("\n");
    if model.is_local() {
        let there = arguments.contains("mariadbd") && arguments.contains("mariadb-galera agent");
        model.hold(there, "the processes that are searched for passwords are the machines'");
    }
    let others = processes.iter().filter(|line| !is_answer(line)).cloned().collect::<Vec<_>>().join("\n");
    let in_arguments = found(passwords, &others);
    model.hold(
        in_arguments.is_empty(),
        &format!("no password in the arguments of {} processes {in_arguments:?}", processes.len()),
    );
}

/// Whether these are the arguments with which `get-password` answers, and no others: Juju takes an action's results as
/// arguments and in no other way.
fn is_answer(arguments: &str) -> bool {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    matches!(words.as_slice(), [tool, password, username]
        if tool.rsplit('/').next() == Some("action-set")
            && password.starts_with("password=")
            && username.starts_with("username="))
}

/// What `show-unit` shows of a unit knows no password.
pub(crate) fn not_in_databags(model: &Model, units: &[String], passwords: &[(String, String)]) {
    for unit in units {
        let shown = model.juju(&["show-unit", unit]);
        let here = found(passwords, &shown);
        model.hold(shown.contains("db-init") && here.is_empty(), &format!("no password in show-unit {unit} {here:?}"));
    }
}

/// No file of a unit's machine that the user `nobody` may read holds a password.
pub(crate) fn not_in_readable_files(model: &Model, unit: &str, passwords: &[(String, String)]) {
    // The words are handed over in a file of root's: on a command line they would be what this forbids. One more word
    // stands in a file that anybody may read, and must be found.
    let local = tempfile::NamedTempFile::new().unwrap();
    let planted = "e2e-planted-4f1c";
    let mut words: Vec<&str> = passwords.iter().map(|(_, password)| password.as_str()).collect();
    words.push(planted);
    std::fs::write(local.path(), words.join("\n") + "\n").unwrap();
    let target = "/var/tmp/e2e-words";
    model.juju(&["scp", local.path().to_str().unwrap(), &format!("{unit}:{target}")]);
    let hunt = format!(
        "chmod 600 {target}; printf 'e2e-planted%s\\n' -4f1c > /var/tmp/e2e-planted; chmod 644 /var/tmp/e2e-planted; \
         runuser -u nobody -- grep -rlFs -D skip --exclude-dir=proc --exclude-dir=sys -f - / < {target}; \
         rm -f {target} /var/tmp/e2e-planted"
    );
    let said = model.on(unit, &hunt);
    let files: Vec<&str> = said.out.lines().map(str::trim).filter(|line| line.starts_with('/')).collect();
    model.hold(
        files == ["/var/tmp/e2e-planted"],
        &format!("no password in a file of {unit} that anybody may read: {files:?}"),
    );

    // Arguments as they are now, read on the machine itself: for a Juju whose machines are elsewhere.
    let arguments = model.on(unit, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '").out;
    let here = found(passwords, &arguments);
    model.hold(
        arguments.contains("mariadbd") && here.is_empty(),
        &format!("no password in the arguments of {unit}'s processes {here:?}"),
    );
}
