//! Charms that are not ours, of all kinds: scripts in `hooks/`, one `dispatch`, Python's ops, a subordinate; related,
//! refreshed, scaled and removed on real machines. `CHARM` names one more, related by its endpoint `CHARM_ENDPOINT`.
//! Passes over itself without `RUN_E2E=1`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed, which is its purpose")]

#[path = "support/leftovers.rs"]
mod leftovers;
#[path = "support/package.rs"]
mod package;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Model {
    name: String,
    dir: tempfile::TempDir,
}

impl Model {
    fn new(name: &str) -> Self {
        let model = Self { name: format!("foreign-{name}-{}", std::process::id()), dir: tempfile::tempdir().unwrap() };
        model.run(&format!("add-model {} --no-switch", model.name));
        model
    }

    fn try_run(&self, words: &str) -> Result<String, String> {
        let mut command = Command::new(program());
        command.args(words.split(' ')).env("JUJU_MODEL", &self.name).current_dir(self.dir.path());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn run(&self, words: &str) -> String {
        self.try_run(words).unwrap_or_else(|why| panic!("{words}: {why}"))
    }

    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.run(&format!("{words} --format json"))).unwrap()
    }

    /// Waits for a unit's status and its message.
    fn until(&self, unit: &str, status: &str) {
        self.wait(&format!("{unit} to be {status:?}"), || {
            let all = self.json("status");
            let application = &all["applications"][unit.split('/').next().unwrap_or_default()];
            let workload = &application["units"][unit]["workload-status"];
            let now = [&workload["current"], &workload["message"]].map(|text| text.as_str().unwrap_or_default());
            now.join(" ").trim_end() == status
        });
    }

    fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            if begun.elapsed() > Duration::from_secs(60) {
                let (status, log) = (self.try_run("status"), self.try_run("debug-log --replay -n 60"));
                panic!("waited in vain for {what}\n{}\n{}", status.unwrap_or_default(), log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn results(&self, unit: &str, action: &str) -> Value {
        self.json(&format!("run {unit} {action}"))[unit]["results"].clone()
    }

    /// Packs one of the charms; `texts` are put beside or in place of its files.
    fn pack(&self, charm: &str, texts: &[(&str, &str)], more: Option<&Path>) -> String {
        let mut files = BTreeMap::new();
        package::collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(charm), &mut files);
        if let Some(folder) = more {
            let mut modules = BTreeMap::new();
            package::collect(folder, &mut modules);
            files.extend(modules.into_iter().map(|(name, file)| (format!("venv/{name}"), file)));
        }
        files.retain(|name, _| !texts.iter().any(|(text, _)| text == name));
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let path = self.dir.path().join(format!("{charm}.charm"));
        package::pack(&files, &texts, &path);
        path.display().to_string()
    }

    /// The model goes, and everything with it.
    fn destroy(&self) {
        let subnet = leftovers::subnet(&self.name);
        self.run("destroy-model --no-prompt --destroy-storage");
        leftovers::nothing_is_left(&self.name, &subnet);
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.try_run("destroy-model --no-prompt --force");
    }
}

/// The juju-local that was built beside this test, or another one.
fn program() -> String {
    let built = std::env::var("JUJU").ok().filter(|juju| juju.ends_with("/juju-local"));
    built.unwrap_or_else(|| env!("CARGO_BIN_EXE_juju-local").to_owned())
}

fn asked_for() -> bool {
    // Juju itself takes its machines from a cloud: what is left on this host says nothing about it.
    let juju = std::env::var("JUJU").unwrap_or_default();
    std::env::var_os("RUN_E2E").is_some() && (juju.is_empty() || juju.ends_with("juju-local"))
}

/// A package and what it needs, from where pip of this host takes its packages; kept for the next time.
fn package_of_python(package: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(package);
    if folder.join("modules").join(package).is_dir() {
        return folder.join("modules");
    }
    let pip = folder.join("pip");
    let run = |program: &Path, words: &[&str]| {
        let output = Command::new(program).args(words).output().unwrap();
        assert!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    };
    run(Path::new("python3"), &["-m", "venv", &pip.display().to_string()]);
    let modules = folder.join("modules.making");
    let target = modules.display().to_string();
    let words = ["install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target", &target, package];
    run(&pip.join("bin/pip"), &words);
    std::fs::rename(&modules, folder.join("modules")).unwrap();
    folder.join("modules")
}

/// The endpoint of another charm's that stands opposite to this one: its role, and the interface.
fn opposite(charm: &str, endpoint: &str) -> (&'static str, String) {
    // Every charm has this one, and says nothing of it.
    if endpoint == "juju-info" {
        return ("requires", endpoint.to_owned());
    }
    let mut archive = zip::ZipArchive::new(std::fs::File::open(charm).unwrap()).unwrap();
    let mut text = String::new();
    archive.by_name("metadata.yaml").unwrap().read_to_string(&mut text).unwrap();
    let metadata: Value = serde_yaml::from_str(&text).unwrap();
    for (theirs, ours) in [("provides", "requires"), ("requires", "provides")] {
        let found = &metadata[theirs][endpoint];
        if let Some(interface) = found.as_str().or(found["interface"].as_str()) {
            return (ours, interface.to_owned());
        }
    }
    panic!("{charm} has no endpoint {endpoint:?}");
}

#[test]
fn scripts_and_python_live_together() {
    if !asked_for() {
        return;
    }
    let modules = package_of_python("ops");
    let model = Model::new("all");
    let web = model.pack("web", &[], None);
    let snake = model.pack("snake", &[], Some(&modules));
    let metadata = "name: counter\nsummary: s\ndescription: d\npeers: {cluster: {interface: counter-cluster}}\n";
    let other = std::env::var("CHARM").ok().zip(std::env::var("CHARM_ENDPOINT").ok());
    let counter = match &other {
        None => model.pack("counter", &[], None),
        Some((charm, endpoint)) => {
            let (role, interface) = opposite(charm, endpoint);
            let (mut requires, mut provides) = ("website: {interface: http}".to_owned(), String::new());
            match role {
                "requires" => requires = format!("{requires}, other: {{interface: {interface}}}"),
                _ => provides = format!("provides: {{other: {{interface: {interface}}}}}\n"),
            }
            let text = format!("{metadata}requires: {{{requires}}}\n{provides}");
            model.pack("counter", &[("metadata.yaml", &text)], None)
        }
    };
    model.run(&format!("deploy {web} web"));
    model.run(&format!("deploy {counter} counter"));
    model.run(&format!("deploy {snake} giver"));
    model.run(&format!("deploy {snake} taker"));
    model.run("integrate web:website counter:website");
    model.run("integrate giver:give taker:take");
    if let Some((charm, endpoint)) = &other {
        model.run(&format!("deploy {charm} other"));
        model.run(&format!("integrate counter:other other:{endpoint}"));
    }
    model.until("web/0", "active serving");
    model.until("counter/0", "active 1 pages");
    model.until("giver/0", "active hello");
    model.until("taker/0", "active hello");

    // Actions of all three kinds.
    assert_eq!(model.results("web/0", "fetch")["page"], "hello");
    assert_eq!(model.results("counter/0", "count least=1")["pages"], "1");
    // Whoever says `action-fail` and leaves with 0 is no failure of `run` itself.
    let failed = model.run("run counter/0 count least=2");
    assert!(failed.contains("failed: only 1"), "{failed}");
    assert!(model.run("run giver/0 fail").contains("failed: as asked"));
    assert!(model.try_run("run giver/0 rotate").unwrap_err().contains("password"));

    // Secrets of the application and of the unit, a new revision that the other side is told of, and the old one's end.
    let mut known = Value::Null;
    model.wait("the taker to know both secrets", || {
        known = model.results("taker/0", "report");
        known["password"] == "first" && known["giver-0"] == "of-giver/0"
    });
    assert!(known["file"].as_str().unwrap().starts_with("data/"), "{known}");
    model.results("giver/0", "rotate password=second");
    model.until("taker/0", "active told by password");
    let known = model.results("taker/0", "report");
    assert_eq!((&known["before"], &known["password"]), (&"first".into(), &"second".into()));
    model.wait("the old revision to be removed", || model.results("giver/0", "report")["removed"] == "1");

    // A process of the machine's calls the charm by itself.
    model.run("run giver/0 notify");
    model.until("giver/0", "active noticed");

    // Config goes through a relation, a refresh through the hook for it.
    model.run("config web text=changed");
    model.wait("the page to change", || model.results("web/0", "fetch")["page"] == "changed");
    let web = model.pack("web", &[("revision-note", "two")], None);
    model.run(&format!("refresh web --path {web}"));
    model.until("web/0", "active serving after upgrade two");
    model.run(&format!("refresh giver --path {snake}"));
    model.until("giver/0", "active hello");

    // Up and down.
    model.run("add-unit web");
    model.run("add-unit giver");
    model.until("counter/0", "active 2 pages");
    model.wait("the second giver's secret", || model.results("taker/0", "report")["giver-1"] == "of-giver/1");
    model.run("remove-unit web/1 --no-prompt");
    model.run("remove-unit giver/1 --no-prompt");
    model.until("counter/0", "active 1 pages");
    model.wait("the units to go", || {
        let status = model.json("status").to_string();
        !status.contains("web/1") && !status.contains("giver/1")
    });
    model.run("remove-relation giver:give taker:take");
    model.wait("the taker to forget", || model.results("taker/0", "report")["password"].is_null());
    model.run("remove-application counter --no-prompt");
    model.wait("the application to go", || model.json("status")["applications"]["counter"].is_null());
    if other.is_some() {
        model.wait("the other charm to be well", || {
            let all = model.json("status");
            all["applications"]["other"]["units"]["other/0"]["workload-status"]["current"] != "error"
        });
    }
    model.destroy();
}

#[test]
fn a_subordinate_stands_beside_any_charm() {
    if !asked_for() {
        return;
    }
    let model = Model::new("beside");
    let web = model.pack("web", &[], None);
    let watcher = model.pack("watcher", &[], None);
    model.run(&format!("deploy {web} web"));
    model.run(&format!("deploy {watcher} watcher"));
    model.run("integrate web:juju-info watcher:host");
    let beside = |unit: &str, principal: &str| {
        model.wait(&format!("{unit} beside {principal}"), || {
            let units = &model.json("status")["applications"]["web"]["units"];
            let status = &units[principal]["subordinates"][unit]["workload-status"];
            status["current"] == "active" && status["message"] == format!("beside {principal}")
        });
    };
    beside("watcher/0", "web/0");
    model.run("add-unit web");
    beside("watcher/1", "web/1");
    model.run("remove-unit web/1 --no-prompt");
    model.wait("both to go", || !model.json("status").to_string().contains("watcher/1"));
    model.destroy();
}

/// What charms' own tests do with juju, they can do with juju-local.
#[test]
fn a_library_for_tests_drives_it() {
    if !asked_for() {
        return;
    }
    let library = package_of_python("jubilant");
    let model = Model::new("charms");
    let (web, watcher) = (model.pack("web", &[], None), model.pack("watcher", &[], None));
    let driven = format!("foreign-driven-{}", std::process::id());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/drive/drive.py");
    let mut python = Command::new("python3");
    python.arg(script).args([&program(), &driven, &web, &watcher]).env("PYTHONPATH", library);
    let said = python.env_remove("JUJU_MODEL").stdin(Stdio::null()).output().unwrap();
    if !said.status.success() {
        let _ = model.try_run(&format!("destroy-model {driven} --no-prompt --force"));
        panic!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    }
    model.destroy();
    assert!(!model.run("models").contains(&driven));
}
