//! A model behind the command line, juju-local's or Juju's: commands in it, what its log and status say, charms packed for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::package;

/// `JUJU` names Juju's own program, or another build of juju-local; otherwise it is the one that was built with this.
fn program() -> String {
    let named = super::word("JUJU").filter(|juju| juju != "juju-local");
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_juju-local").to_owned())
}

pub(crate) fn is_juju_local() -> bool {
    program().ends_with("juju-local")
}

/// How long a model has to keep quiet to be called settled, and how long it may take.
fn patience() -> (Duration, Duration) {
    if is_juju_local() {
        (Duration::from_millis(350), Duration::from_secs(20))
    } else {
        (Duration::from_secs(10), Duration::from_secs(1200))
    }
}

/// One model.
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Model {
    pub(crate) fn new(name: &str) -> Self {
        let model = Self { name: format!("conf-{name}-{}", std::process::id()), dir: tempfile::tempdir().unwrap() };
        std::fs::write(model.dir.path().join("blob.txt"), "a blob\n").unwrap();
        std::fs::write(model.dir.path().join("other.txt"), "another blob\n").unwrap();
        let made = model.juju(&["add-model", &model.name, "--no-switch"]);
        assert!(made.status.success(), "cannot add a model: {}", String::from_utf8_lossy(&made.stderr));
        if !is_juju_local() {
            model.juju(&["model-config", "logging-config=<root>=INFO;unit=DEBUG"]);
        }
        model
    }

    /// A command, ended when it does not end by itself.
    pub(crate) fn juju(&self, words: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        // The first machine of a host needs a base image, which takes its time.
        let more = if words.first() == Some(&"deploy") { 400 } else { 15 };
        let limit = (patience().1 + Duration::from_secs(more)).as_secs().to_string();
        command.args([limit, program()]).args(words);
        command.env("JUJU_MODEL", &self.name).current_dir(self.dir.path()).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// What a command says, with its errors and exit code when it fails.
    pub(crate) fn say(&self, words: &[&str]) -> Vec<String> {
        let output = self.juju(words);
        let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            let told: Vec<&str> = errors.lines().filter(|line| line.starts_with("ERROR")).collect();
            let shown = if told.is_empty() { errors.lines().take(1).collect() } else { told };
            lines.extend(shown.into_iter().map(|line| format!("! {line}")));
            lines.push(format!("exit {}", output.status.code().unwrap_or(-1)));
        }
        lines
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.juju(words);
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    pub(crate) fn status(&self) -> Value {
        self.json(&["status", "--format", "json"])
    }

    /// All units with what is known of them, subordinates too.
    pub(crate) fn units(status: &Value) -> BTreeMap<String, Value> {
        let mut units = BTreeMap::new();
        let list = |value: &Value| value.as_object().cloned().unwrap_or_default();
        for (_, application) in list(&status["applications"]) {
            for (name, unit) in list(&application["units"]) {
                units.extend(list(&unit["subordinates"]));
                units.insert(name, unit);
            }
        }
        units
    }

    /// Waits until nobody has anything to do: agents are idle, or in error, and stay so.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let (quiet, limit) = patience();
        let begun = Instant::now();
        let mut before = Value::Null;
        let mut since = Instant::now();
        loop {
            let status = self.status();
            let units = Self::units(&status);
            let busy: Vec<String> = units
                .iter()
                .filter(|(_, unit)| {
                    unit["juju-status"]["current"] != "idle" && unit["workload-status"]["current"] != "error"
                })
                .map(|(name, unit)| format!("{name} {}", unit["juju-status"]))
                .collect();
            let applications = status["applications"].clone();
            if !busy.is_empty() || applications != before || status.is_null() {
                since = Instant::now();
                before = applications;
            } else if since.elapsed() >= quiet {
                return Ok(());
            }
            if begun.elapsed() > limit {
                return Err(format!("never settled: {busy:?}"));
            }
            std::thread::sleep(Duration::from_millis(70));
        }
    }

    /// Waits until a unit's workload has a status.
    pub(crate) fn becomes(&self, unit: &str, wanted: &str) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let units = Self::units(&self.status());
            let now = units.get(unit).map_or(Value::Null, |unit| unit["workload-status"]["current"].clone());
            if now == wanted {
                return Ok(());
            }
            if begun.elapsed() > patience().1 {
                return Err(format!("{unit} never became {wanted}; it is {now}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until a unit or an application has gone.
    pub(crate) fn gone(&self, name: &str) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let status = self.status();
            let there = status["applications"].get(name).is_some() || Self::units(&status).contains_key(name);
            if !there && status.is_object() {
                return Ok(());
            }
            if begun.elapsed() > patience().1 {
                return Err(format!("{name} never went"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What a shell on a unit prints in a hook's context; its failure otherwise.
    pub(crate) fn exec(&self, unit: &str, command: &str) -> Result<String, String> {
        let output = self.juju(&["exec", "--unit", unit, "--format", "json", "--", command]);
        let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let Ok(said) = serde_json::from_slice::<Value>(&output.stdout) else {
            return Err(if errors.is_empty() { "exec said nothing".to_owned() } else { errors });
        };
        let unit = &said[unit];
        let results = if unit["results"].is_object() { &unit["results"] } else { unit };
        let text = |key: &str| results[key].as_str().unwrap_or_default().to_owned();
        if results["return-code"] == 0 {
            Ok(text("stdout"))
        } else {
            Err(format!("{}{}exit {}", text("stdout"), text("stderr"), results["return-code"]))
        }
    }

    /// The lines of one entity in the log, each as (level and module, message).
    pub(crate) fn log(&self, entity: &str) -> Vec<(String, String)> {
        let output = self.juju(&["debug-log", "--replay", "--no-tail", "--include", entity]);
        let mut lines: Vec<(String, String)> = Vec::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let words: Vec<&str> = line.splitn(5, ' ').collect();
            if let [who, _, level, module, message] = words[..] {
                if who.ends_with(':') {
                    lines.push((format!("{level} {}", module.trim_end_matches(':')), message.to_owned()));
                }
            }
        }
        lines
    }

    /// Packs a charm: the probe with the files of a variant laid over it, and what is planned for its units.
    pub(crate) fn pack(&self, charm: &str, plans: &BTreeMap<String, String>) -> PathBuf {
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        let probe = super::folder().join("charms/probe");
        package::collect(&probe, &mut files);
        if charm != "probe" {
            let variant = super::folder().join("charms").join(charm);
            assert!(variant.is_dir(), "there is no charm {charm}");
            package::collect(&variant, &mut files);
        }
        // Files that a variant does without.
        if let Some(list) = files.remove("without") {
            for name in std::fs::read_to_string(list).unwrap().lines() {
                files.retain(|file, _| file != name && !file.starts_with(&format!("{name}/")));
            }
        }
        let path = self.dir.path().join(format!("{charm}.charm"));
        let texts = plans.iter().map(|(name, text)| (format!("plan/{name}"), text.clone())).collect();
        package::pack(&files, &texts, &path);
        path
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if super::word("CONFORMANCE_KEEP").is_none() {
            let _ = self.juju(&["destroy-model", &self.name, "--no-prompt", "--force", "--destroy-storage"]);
        }
    }
}
