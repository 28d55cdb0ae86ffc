//! A model of its own for each test, driven through the `juju` command line: juju-local's, or with JUJU=juju a real one.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The application's name in every test.
pub(crate) const APP: &str = "mariadb-galera";

/// A model that is destroyed when the test ends, however it ends.
pub(crate) struct Model {
    name: String,
    juju: String,
}

impl Model {
    pub(crate) fn new(name: &str) -> Self {
        let default = concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/juju-local");
        let juju = std::env::var("JUJU").ok().filter(|j| j != "juju-local").unwrap_or_else(|| default.to_owned());
        let model = Self { name: format!("e2e-{name}"), juju };
        model.destroy();
        let added = model.bare(&["add-model", &model.name]);
        assert!(added.status.success(), "cannot add the model: {}", text(&added.stderr));
        model
    }

    fn bare(&self, args: &[&str]) -> Output {
        Command::new(&self.juju).args(args).output().expect("juju runs")
    }

    fn destroy(&self) {
        self.bare(&["destroy-model", &self.name, "--no-prompt"]);
    }

    /// Runs a command in this model, whatever its end.
    pub(crate) fn try_run(&self, args: &[&str]) -> Output {
        let mut all = vec![args[0], "-m", &self.name];
        all.extend(&args[1..]);
        self.bare(&all)
    }

    /// Runs a command that must succeed; its output.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.try_run(args);
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command that must fail; what it says.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.try_run(args);
        assert!(!output.status.success(), "{args:?} should have been refused: {}", text(&output.stdout));
        text(&output.stderr)
    }

    pub(crate) fn deploy(&self, count: u32) {
        self.deploy_as(APP, count);
    }

    pub(crate) fn deploy_as(&self, app: &str, count: u32) {
        let charm = concat!(env!("CARGO_MANIFEST_DIR"), "/mariadb-galera_amd64.charm");
        let charm = if cfg!(target_arch = "aarch64") { charm.replace("amd64", "arm64") } else { charm.to_owned() };
        self.run(&["deploy", &charm, app, "-n", &count.to_string(), "--config", "profile=testing"]);
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["status", "--format", "json"])).expect("status is JSON")
    }

    /// An application's units in order, with what status says of each.
    pub(crate) fn units(&self, app: &str) -> Vec<(String, Value)> {
        let status = self.status();
        let units = status["applications"][app]["units"].as_object().cloned().unwrap_or_default();
        let mut units: Vec<(String, Value)> = units.into_iter().collect();
        units.sort_by_key(|(name, _)| name.rsplit('/').next().and_then(|n| n.parse::<u32>().ok()));
        units
    }

    pub(crate) fn names(&self, app: &str) -> Vec<String> {
        self.units(app).into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn leader(&self, app: &str) -> String {
        let leader = self.units(app).into_iter().find(|(_, body)| body["leader"] == Value::Bool(true));
        leader.expect("somebody leads").0
    }

    pub(crate) fn address(&self, unit: &str) -> String {
        let app = unit.split('/').next().unwrap_or_default();
        let found = self.units(app).into_iter().find(|(name, _)| name == unit).expect("the unit is there");
        found.1["public-address"].as_str().expect("it has an address").to_owned()
    }

    /// Waits until something holds; says meanwhile what it waits for.
    pub(crate) fn wait(&self, what: &str, seconds: u64, mut holds: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        println!("{}: waiting for {what}", self.name);
        while !holds(self) {
            if begin.elapsed() > Duration::from_secs(seconds) {
                println!("{}", text(&self.try_run(&["status"]).stdout));
                println!("{}", text(&self.try_run(&["debug-log", "--replay", "--level", "INFO", "-n", "40"]).stdout));
                panic!("waited {seconds} s in vain for {what}");
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        println!("{}: {what} after {:.1} s", self.name, begin.elapsed().as_secs_f64());
    }

    /// Waits until exactly so many units are members of one cluster, and say so.
    pub(crate) fn settled(&self, app: &str, count: usize, seconds: u64) {
        let message = format!("Synced, {count} of {count} members");
        self.wait(&format!("{count} members of {app}"), seconds, |model| {
            let units = model.units(app);
            units.len() == count
                && units.iter().all(|(_, body)| {
                    body["workload-status"]["current"] == "active"
                        && body["workload-status"]["message"] == message.as_str()
                })
        });
    }

    /// Runs a command as root on a unit's machine.
    pub(crate) fn shell(&self, unit: &str, command: &str) -> String {
        self.run(&["ssh", unit, command])
    }

    /// Rows of a query on a unit's own server.
    pub(crate) fn sql(&self, unit: &str, query: &str) -> String {
        self.shell(unit, &format!("mariadb --no-auto-rehash -NBe \"{query}\"")).trim().to_owned()
    }

    /// An action's results.
    pub(crate) fn action(&self, unit: &str, words: &[&str]) -> Value {
        let mut args = vec!["run", unit];
        args.extend(words);
        args.extend(["--format", "json"]);
        let all: Value = serde_json::from_str(&self.run(&args)).expect("results are JSON");
        all.as_object().and_then(|map| map.values().next()).map(|one| one["results"].clone()).expect("one result")
    }

    /// Every member serves the same history, says db-init 3, and has the same rows.
    pub(crate) fn one_cluster(&self, app: &str) {
        let names = self.names(app);
        let mut histories = Vec::new();
        for unit in &names {
            let size = self.sql(
                unit,
                "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='wsrep_cluster_size'",
            );
            assert_eq!(size, names.len().to_string(), "{unit} sees another cluster");
            histories.push(self.sql(
                unit,
                "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='wsrep_cluster_state_uuid'",
            ));
            assert!(self.shell(unit, "cat /var/lib/mysql/mariadb-galera.json").contains("\"db-init\":3"), "{unit}");
        }
        histories.dedup();
        assert_eq!(histories.len(), 1, "two histories: {histories:?}");
    }

    /// Writes a row through each unit and finds all of them on each.
    pub(crate) fn rows_everywhere(&self, app: &str) {
        let names = self.names(app);
        self.sql(
            &names[0],
            "CREATE DATABASE IF NOT EXISTS e2e; CREATE TABLE IF NOT EXISTS e2e.t (who VARCHAR(64) PRIMARY KEY)",
        );
        for unit in &names {
            self.sql(unit, &format!("REPLACE INTO e2e.t VALUES ('{unit}')"));
        }
        let counts: Vec<String> = names
            .iter()
            .map(|unit| self.sql(unit, "SET SESSION wsrep_sync_wait=1; SELECT COUNT(*) FROM e2e.t"))
            .collect();
        assert!(counts.iter().all(|c| *c == counts[0]) && counts[0] != "0", "rows differ: {counts:?}");
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.destroy();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
