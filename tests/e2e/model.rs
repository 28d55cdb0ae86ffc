//! One Juju model of a test's own: how `juju` is called, what is read from it, and that nothing of it is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No single command takes longer: making twelve machines at once included.
const COMMAND_SECONDS: &str = "420";

/// What a command said.
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A unit as `juju status` shows it.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) workload: String,
    pub(crate) message: String,
    pub(crate) agent: String,
    pub(crate) leader: bool,
    pub(crate) address: Option<IpAddr>,
}

/// An application as `juju status` shows it, units in the order of their numbers.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) status: String,
    pub(crate) message: String,
    pub(crate) units: Vec<Unit>,
}

impl App {
    /// The unit that Juju made the leader.
    pub(crate) fn leader(&self) -> Option<&Unit> {
        self.units.iter().find(|unit| unit.leader)
    }

    /// Everything that an operator sees of it, on a few lines.
    pub(crate) fn described(&self) -> String {
        let units: Vec<String> =
            self.units.iter().map(|u| format!("{} {}/{} {:?}", u.name, u.workload, u.agent, u.message)).collect();
        format!("{} {:?}; {}", self.status, self.message, units.join("; "))
    }
}

/// Tells a story on a model of its own, and fails when the story has complaints. Says so when it is not asked for.
pub(crate) fn scenario(word: &str, story: impl FnOnce(&Model)) {
    if std::env::var("RUN_E2E").as_deref() != Ok("1") {
        println!("skipped: {word} makes machines; set RUN_E2E=1");
        return;
    }
    let begin = Instant::now();
    let model = Model::add(word);
    let told = catch_unwind(AssertUnwindSafe(|| story(&model)));
    let mut complaints = model.take_complaints();
    complaints.extend(model.findings());
    if let Err(why) = told {
        let text = why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied());
        complaints.push(format!("the story ended here: {}", text.unwrap_or("a panic without words")));
    }
    println!("[{word}] told in {} s", begin.elapsed().as_secs());
    if !complaints.is_empty() {
        model.show_end();
    }
    drop(model);
    // Last, after all that was shown: whoever reads only the end of a run reads what is wrong.
    assert!(complaints.is_empty(), "{} complaint(s):\n- {}", complaints.len(), complaints.join("\n- "));
}

/// What a unit tells the others of its server, and of its restarts in turn, moves on while hooks run.
const MEASURED: &str = "strict-measured=position,view,turn";
/// Operators ask for passwords; they are to have them.
const REVEALING: &str = "strict-revealing-actions=get-password,set-password";

/// Any number: the stories are told on a model that shuffles and is strict.
fn shuffle_seed() -> Option<String> {
    std::env::var("E2E_SHUFFLE").ok().filter(|seed| !seed.is_empty())
}

/// A model. Dropping it destroys it with all its machines.
pub(crate) struct Model {
    juju: PathBuf,
    name: String,
    complaints: Mutex<Vec<String>>,
}

impl Model {
    /// Adds one; the word is part of its name.
    pub(crate) fn add(word: &str) -> Self {
        let name = format!("e2e-{word}-{}", std::process::id());
        let model = Self { juju: juju(), name, complaints: Mutex::default() };
        println!("[{word}] model {} by {}", model.name, model.juju.display());
        // Adding a model switches to it; somebody else's current model is put back.
        let before = model.call(&["switch"]);
        let added = model.call(&["add-model", &model.name]);
        assert!(added.ok, "cannot add a model: {}", added.err);
        if before.ok && before.out.trim() != "default" {
            model.call(&["switch", before.out.trim()]);
        }
        if let Some(seed) = shuffle_seed().filter(|_| model.is_local()) {
            println!(
                "[{word}] orders that Juju leaves open are drawn from seed {seed}; what looks like a bug is reported"
            );
            let seed = format!("shuffle-seed={seed}");
            model.juju(&["model-config", &seed, "strict=true", "trace=true", MEASURED, REVEALING]);
        }
        model
    }

    /// What juju-local has found suspicious, where it was asked to look.
    fn findings(&self) -> Option<String> {
        shuffle_seed().filter(|_| self.is_local())?;
        let said = self.attempt(&["findings"]);
        (!said.ok).then(|| format!("juju-local has findings: {}{}", said.out.trim(), said.err.trim()))
    }

    /// What did not hold so far; it is not told again.
    pub(crate) fn take_complaints(&self) -> Vec<String> {
        std::mem::take(&mut *self.complaints.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether machines are ours to break: the faults are juju-local's own.
    pub(crate) fn is_local(&self) -> bool {
        self.juju.file_name().is_some_and(|name| name.to_string_lossy().starts_with("juju-local"))
    }

    /// Runs a command of `juju` on this model.
    pub(crate) fn attempt(&self, words: &[&str]) -> Said {
        let mut all = vec![words[0], "--model", &self.name];
        all.extend(&words[1..]);
        self.call(&all)
    }

    /// Runs an action on a unit, to whatever end.
    pub(crate) fn act(&self, unit: &str, action: &[&str]) -> Said {
        // Juju gives up after a minute, and backups may take longer.
        let mut words = vec!["run", "--wait=400s", "--format", "json", unit];
        words.extend(action);
        let mut said = self.attempt(&words);
        // Juju itself leaves with 0 when an action has called `action-fail` and left with 0.
        let task = only(&said.out);
        said.ok &= task["status"] == "completed";
        said.err = format!("{}{}", text(&task["message"]), said.err);
        said.out = task["results"].to_string();
        said
    }

    /// As [`Self::attempt`], for commands that have to succeed.
    pub(crate) fn juju(&self, words: &[&str]) -> String {
        let said = self.attempt(words);
        assert!(said.ok, "juju {} failed: {}", words.join(" "), said.err.trim());
        said.out
    }

    fn call(&self, words: &[&str]) -> Said {
        let output = Command::new("timeout")
            .args(["--kill-after=10", COMMAND_SECONDS])
            .arg(&self.juju)
            .args(words)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Runs a command and reads its JSON.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let mut all = words.to_vec();
        all.extend(["--format", "json"]);
        let text = self.juju(&all);
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("juju {} is not JSON ({why}): {text}", words.join(" ")))
    }

    /// Deploys the packed charm as the smallest server that runs.
    pub(crate) fn deploy(&self, app: &str, unit_count: u32, config: &[&str]) {
        self.deploy_bound(app, unit_count, config, "");
    }

    /// The same, with endpoints on network spaces.
    pub(crate) fn deploy_bound(&self, app: &str, unit_count: u32, config: &[&str], bind: &str) {
        let charm = charm();
        let count = unit_count.to_string();
        let mut words = vec!["deploy", charm.to_str().unwrap(), app, "-n", &count, "--config", "profile=testing"];
        for option in config {
            words.extend(["--config", option]);
        }
        if !bind.is_empty() {
            words.extend(["--bind", bind]);
        }
        self.step(&format!("deploy {app} -n {count} {}", config.join(" ")));
        self.juju(&words);
    }

    /// An application, now.
    pub(crate) fn app(&self, name: &str) -> App {
        let status = self.json(&["status"]);
        let body = &status["applications"][name];
        let mut units: Vec<Unit> = body["units"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, unit)| Unit {
                name: name.clone(),
                workload: text(&unit["workload-status"]["current"]),
                message: text(&unit["workload-status"]["message"]),
                agent: text(&unit["juju-status"]["current"]),
                leader: unit["leader"].as_bool().unwrap_or(false),
                address: text(&unit["public-address"]).parse().ok(),
            })
            .collect();
        units.sort_by_key(|unit| unit_number(&unit.name));
        let shown = &body["application-status"];
        App { status: text(&shown["current"]), message: text(&shown["message"]), units }
    }

    /// Runs a shell command as root on a unit's machine.
    pub(crate) fn on(&self, unit: &str, command: &str) -> Said {
        self.exec(unit, &[command])
    }

    /// The same for a command and its words, or a line for the shell.
    fn exec(&self, unit: &str, command: &[&str]) -> Said {
        let mut words = vec!["exec", "--format", "json", "--unit", unit, "--"];
        words.extend(command);
        let mut said = self.attempt(&words);
        let results = &only(&said.out)["results"];
        said.ok &= results["return-code"] == 0;
        said.out = text(&results["stdout"]);
        said.err = format!("{}{}", text(&results["stderr"]), said.err);
        said
    }

    /// Runs statements as root on a unit's own server; columns are parted by tabs.
    pub(crate) fn sql(&self, unit: &str, statements: &str) -> Result<String, String> {
        let said = self.exec(unit, &["mariadb", "-NBe", statements]);
        if said.ok { Ok(said.out.trim_end().to_owned()) } else { Err(said.err.trim().to_owned()) }
    }

    /// What a unit's server says of itself.
    pub(crate) fn server(&self, unit: &str) -> Result<BTreeMap<String, String>, String> {
        let text = self.sql(
            unit,
            "SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'wsrep_cluster_size', 'wsrep_cluster_state_uuid',
             'wsrep_cluster_status', 'wsrep_ready', 'wsrep_local_state_comment')",
        )?;
        let pairs = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(pairs.map(|(key, value)| (key.to_lowercase(), value.to_owned())).collect())
    }

    /// How many full copies and how many incremental transfers a unit's server received in the part of the journal that
    /// these options of journalctl name. Only the transfer script's own last line tells them apart, said after the server
    /// is Synced: "SST received" and "Receiving IST" stand in the log of either. It comes from a `logger` that is gone at
    /// once: journald may not learn any more which service it belonged to, so no service is asked for.
    pub(crate) fn transfers(&self, unit: &str, of: &str) -> (usize, usize) {
        let log = self.on(unit, &format!("journalctl {of} --no-pager --output cat")).out;
        let ended = |how: &str| log.lines().filter(|l| l.contains(&format!("{how} completed on joiner"))).count();
        (ended("SST"), ended("IST"))
    }

    /// A unit's own peer databag, and the application's.
    pub(crate) fn databags(&self, unit: &str) -> (Value, Value) {
        let shown = self.json(&["show-unit", unit]);
        let endpoints = shown[unit]["relation-info"].as_array().cloned().unwrap_or_default();
        let peers = endpoints.into_iter().find(|e| e["endpoint"] == "database-peers").unwrap_or_default();
        (peers["local-unit"]["data"].clone(), peers["application-data"].clone())
    }

    /// Runs an action and returns its results; it has to complete.
    pub(crate) fn run(&self, unit: &str, action: &[&str]) -> Value {
        let said = self.act(unit, action);
        assert!(said.ok, "juju run {unit} {} failed: {}", action.join(" "), said.err.trim());
        serde_json::from_str(&said.out).unwrap_or_default()
    }

    /// Waits until the application is one cluster of so many active units, and returns its UUID. Two histories at the
    /// same time end the wait at once: no later moment makes up for them.
    pub(crate) fn one_cluster(&self, app: &str, unit_count: usize, limit_s: u64) -> String {
        self.until(&format!("{app} is one cluster of {unit_count}"), limit_s, || self.sees_one_cluster(app, unit_count))
    }

    /// The same as it is now: the UUID, or what is missing.
    pub(crate) fn sees_one_cluster(&self, app: &str, unit_count: usize) -> Result<String, String> {
        let now = self.app(app);
        let settled = now.status == "active" && now.units.iter().all(|u| u.workload == "active" && u.agent == "idle");
        if now.units.len() != unit_count || !settled {
            return Err(now.described());
        }
        let mut uuids = BTreeSet::new();
        let mut why = Vec::new();
        for unit in &now.units {
            let server = self.server(&unit.name)?;
            let is = |key: &str| server.get(key).map_or("", String::as_str);
            if is("wsrep_cluster_status") == "Primary" {
                uuids.insert(is("wsrep_cluster_state_uuid").to_owned());
            }
            let (own, _) = self.databags(&unit.name);
            let db_init = own["db-init"].as_str().unwrap_or_default();
            let seen = format!(
                "{} members, {}, ready {}, {}, db-init {db_init}",
                is("wsrep_cluster_size"),
                is("wsrep_cluster_status"),
                is("wsrep_ready"),
                is("wsrep_local_state_comment")
            );
            if seen != format!("{unit_count} members, Primary, ready ON, Synced, db-init 3") {
                why.push(format!("{}: {seen}", unit.name));
            }
        }
        assert!(uuids.len() < 2, "{app} has two primary histories: {uuids:?}");
        match uuids.pop_first() {
            Some(uuid) if why.is_empty() && !uuid.starts_with("00000000-") => Ok(uuid),
            Some(_) | None => Err(why.join("; ")),
        }
    }

    /// Looks until it is so; prints what it waits for, and ends the test with what it saw last.
    pub(crate) fn until<T>(&self, what: &str, limit_s: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
        self.step(&format!("wait until {what}"));
        let begin = Instant::now();
        loop {
            match look() {
                Ok(found) => {
                    self.step(&format!("  so after {:.1} s", begin.elapsed().as_secs_f32()));
                    return found;
                }
                Err(why) if begin.elapsed() > Duration::from_secs(limit_s) => {
                    panic!("not so within {limit_s} s: {what}; last seen: {why}")
                }
                Err(_) => std::thread::sleep(Duration::from_millis(300)),
            }
        }
    }

    /// As [`Self::until`], for what later steps do not need: a complaint, and the story goes on.
    pub(crate) fn soon(&self, what: &str, limit_s: u64, mut look: impl FnMut() -> Result<(), String>) {
        let until = Instant::now() + Duration::from_secs(limit_s);
        while let Err(why) = look() {
            if Instant::now() > until {
                self.hold(false, &format!("{what} (not within {limit_s} s; last seen: {why})"));
                return;
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        self.hold(true, what);
    }

    /// A statement that must hold. When it does not, the story goes on, and fails at its end: machine time is dear, so
    /// that one run shows everything that is wrong.
    pub(crate) fn hold(&self, so: bool, what: &str) {
        self.step(&format!("{} {what}", if so { "holds:" } else { "DOES NOT HOLD:" }));
        if !so {
            self.complaints.lock().unwrap_or_else(PoisonError::into_inner).push(what.to_owned());
        }
    }

    /// The model as a failure left it.
    fn show_end(&self) {
        println!("{}", self.attempt(&["status"]).out);
        let log = self.attempt(&["debug-log", "--replay", "--level", "INFO"]).out;
        let lines: Vec<&str> = log.lines().collect();
        println!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        if shuffle_seed().is_some() && self.is_local() {
            // Whoever looks for the cause wants all of it.
            for (end, text) in [("log", log.as_str()), ("trace", self.attempt(&["trace"]).out.as_str())] {
                let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.{end}", self.name));
                let written = std::fs::write(&path, text);
                println!("{}: {}", path.display(), written.map_or_else(|why| why.to_string(), |()| "whole".to_owned()));
            }
        }
    }

    /// One line about what is being done.
    pub(crate) fn step(&self, what: &str) {
        let word = self.name.trim_start_matches("e2e-").rsplit_once('-').map_or("", |(word, _)| word);
        println!("[{word}] {what}");
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_end();
        }
        if std::env::var("E2E_KEEP").as_deref() == Ok("1") {
            println!("kept: {} destroy-model {}", self.juju.display(), self.name);
            return;
        }
        let mut words = vec!["destroy-model", &self.name, "--no-prompt", "--force"];
        if !self.is_local() {
            words.push("--destroy-storage");
        }
        let said = self.call(&words);
        if !said.ok {
            println!("cannot destroy the model {}: {}", self.name, said.err.trim());
        }
    }
}

/// The number behind a unit's name.
pub(crate) fn unit_number(unit: &str) -> u32 {
    unit.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX)
}

/// The program in JUJU, or the juju-local that was built beside this test.
fn juju() -> PathBuf {
    match std::env::var("JUJU") {
        Ok(program) if !program.is_empty() && program != "juju-local" => PathBuf::from(program),
        Ok(_) | Err(_) => {
            let test = std::env::current_exe().unwrap();
            let built = test.ancestors().nth(2).unwrap().join("juju-local");
            assert!(built.exists(), "build it first: cargo test --workspace --no-run");
            built
        }
    }
}

/// The archive in CHARM, or the one that `cargo xtask pack` left at the top of the tree.
pub(crate) fn charm() -> PathBuf {
    if let Some(path) = std::env::var_os("CHARM") {
        return PathBuf::from(path);
    }
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("mariadb-galera_{arch}.charm"));
    assert!(packed.exists(), "pack it first: cargo xtask pack");
    packed
}

/// The one task of what `run` or `exec` printed as JSON.
fn only(printed: &str) -> Value {
    let all: Value = serde_json::from_str(printed).unwrap_or_default();
    all.as_object().and_then(|all| all.values().next()).cloned().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
