//! A model of juju-local for one measurement. It goes when the measurement is over, whatever came of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::build::{self, Profile};

/// A unit's name and what Juju shows of it.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) workload: String,
    pub(crate) agent: String,
}

/// The model.
#[derive(Debug)]
pub(crate) struct Model {
    program: PathBuf,
    name: String,
}

impl Model {
    /// Adds it, without changing which model the user works on.
    pub(crate) fn add(name: &str) -> anyhow::Result<Self> {
        let model = Self { program: build::executable("juju-local", Profile::Release)?, name: name.to_owned() };
        let chosen = model.bare(&["switch"]).unwrap_or_default();
        model.bare(&["add-model", name])?;
        if !chosen.trim().is_empty() {
            // It may be gone by now; then nothing is chosen, as before.
            let _ = model.bare(&["switch", chosen.trim()]);
        }
        Ok(model)
    }

    /// Runs a command on the model and returns what it prints.
    pub(crate) fn juju(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["--model", self.name.as_str()];
        all.extend(words);
        self.bare(&all)
    }

    fn bare(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.program).args(words).output().context("cannot run juju-local")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("cannot run juju-local {}: {}", words.join(" "), said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs an action and returns its results; it has to complete.
    pub(crate) fn act(&self, unit: &str, action: &[&str]) -> anyhow::Result<Value> {
        let said: Value = serde_json::from_str(&self.juju(&[&["run", "--format", "json", unit], action].concat())?)?;
        let task = &said[unit];
        // Juju leaves with 0 when an action has called `action-fail` and left with 0.
        if task["status"] != "completed" {
            bail!("cannot run {} on {unit}: {}", action.join(" "), task["message"]);
        }
        Ok(task["results"].clone())
    }

    /// Runs a shell script on a unit's machine and returns what it prints.
    pub(crate) fn shell(&self, unit: &str, script: &str) -> anyhow::Result<String> {
        self.juju(&["ssh", unit, script])
    }

    /// Deploys an archive under a name.
    pub(crate) fn deploy(&self, charm: &Path, name: &str, more: &[&str]) -> anyhow::Result<()> {
        let charm = charm.to_str().context("cannot name the archive in UTF-8")?;
        let mut words = vec!["deploy", charm, name];
        words.extend(more);
        self.juju(&words).map(drop)
    }

    /// The units of an application.
    pub(crate) fn units(&self, application: &str) -> anyhow::Result<Vec<Unit>> {
        let status: Value = serde_json::from_str(&self.juju(&["status", "--format", "json"])?)?;
        let units = status["applications"][application]["units"].as_object().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(units
            .iter()
            .map(|(name, unit)| Unit {
                name: name.clone(),
                workload: text(&unit["workload-status"]["current"]),
                agent: text(&unit["juju-status"]["current"]),
            })
            .collect())
    }

    /// Waits until this many units are active and have nothing left to run.
    pub(crate) fn wait_active(&self, application: &str, count: usize) -> anyhow::Result<()> {
        self.wait(&format!("{count} active units of {application}"), || {
            let units = self.units(application)?;
            Ok(units.len() == count && units.iter().all(|unit| unit.workload == "active" && unit.agent == "idle"))
        })
    }

    /// Waits until something holds, looking five times a second.
    pub(crate) fn wait(&self, what: &str, holds: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(900);
        while !holds()? {
            if Instant::now() > until {
                bail!("cannot see {what} within 900 s:\n{}", self.juju(&["status"])?);
            }
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// The process behind the model.
    pub(crate) fn controller(&self) -> anyhow::Result<u32> {
        let wanted = ["controller", "--name", self.name.as_str()];
        for entry in fs::read_dir("/proc").context("cannot list processes")? {
            let path = entry?.path();
            // Processes come and go while we look.
            let command = fs::read(path.join("cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
            if words.windows(3).any(|three| three.iter().zip(wanted).all(|(word, wanted)| *word == wanted.as_bytes())) {
                let pid = path.file_name().and_then(|name| name.to_str()?.parse().ok());
                return pid.context("cannot read the controller's process number");
            }
        }
        bail!("cannot find the controller of model {}", self.name)
    }

    /// How many hooks of this name have run; all hooks with an empty name.
    pub(crate) fn hooks_run(&self, name: &str) -> anyhow::Result<usize> {
        let log = self.juju(&["debug-log", "--replay"])?;
        let needle = if name.is_empty() { "ran \"".to_owned() } else { format!("ran \"{name}\" hook") };
        Ok(log.lines().filter(|line| line.contains(&needle) && line.contains("\" hook")).count())
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if let Err(why) = self.bare(&["destroy-model", &self.name, "--force", "--no-prompt"]) {
            eprintln!("{why:#}");
        }
    }
}
