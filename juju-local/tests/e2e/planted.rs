//! Small charms with one bug each (`tests/planted`), and the option that shows it.

use std::io::Write as _;

use super::model::Model;

/// Charm, application, units, what makes the bug visible, and where it is then seen.
const BUGS: [(&str, &str, Seen); 11] = [
    ("early", "early", Seen::Failure("install")),
    ("homeless", "homeless", Seen::Failure("install")),
    (
        "careless",
        "careless",
        Seen::Finding(
            "tools",
            "relation-set failed and the hook went on as if it had not: cannot write relation settings",
        ),
    ),
    ("leaky", "leaky-argv", Seen::Finding("secrets", "is in the arguments of a process")),
    ("leaky", "leaky-log", Seen::Finding("secrets", "is in its stdout, and so in the log")),
    ("leaky", "leaky-databag", Seen::Finding("secrets", "is in the databag of peers:")),
    ("leaky", "leaky-status", Seen::Finding("secrets", "is in a status message")),
    ("echoing", "echoing", Seen::Finding("loops", "the echo of what it wrote itself")),
    ("counting", "counting", Seen::Finding("idempotent", "changes \"count\" in its databag of peers:")),
    ("daemonic", "daemonic", Seen::Finding("background", "process \"sleep 1000\" outlives it and holds its output")),
    ("sleeping", "sleeping", Seen::Finding("slow", "cannot run meanwhile: it is on the same machine")),
];

enum Seen {
    /// Juju itself is enough: this hook fails.
    Failure(&'static str),
    /// The strict watch says this, of this kind.
    Finding(&'static str, &'static str),
}

pub(crate) fn every_bug_is_seen(model: &Model) {
    for name in
        ["clean", "trusting", "early", "homeless", "careless", "leaky", "echoing", "counting", "daemonic", "sleeping"]
    {
        planted(model, name);
    }
    run(model, "model-config strict=true strict-hook-limit=4s");
    a_clean_charm_gets_no_finding(model);
    for (charm, app, seen) in BUGS {
        // One of two is no leader.
        let units = if app == "careless" { 2 } else { 1 };
        run(model, &format!("deploy ./{charm}.charm {app} -n {units}"));
        if app == "sleeping" {
            let machine = &status(model)["applications"][app]["units"]["sleeping/0"]["machine"];
            run(model, &format!("add-unit sleeping --to {}", machine.as_str().unwrap()));
        }
        shown(model, app, &seen);
        run(model, &format!("remove-application {app} --force --no-prompt"));
        model.until("the application to go", || status(model)["applications"][app].is_null());
        let _ = model.run(&["findings", "--clear"]);
    }
    stale_reads_are_shuffled_in(model);
}

fn planted(model: &Model, name: &str) {
    let path = format!("{}/tests/planted/{name}.sh", env!("CARGO_MANIFEST_DIR"));
    pack(model, name, &std::fs::read_to_string(path).unwrap(), None);
}

/// A charm with a peer relation, an option and this dispatch.
pub(crate) fn pack(model: &Model, name: &str, dispatch: &str, actions: Option<&str>) {
    let metadata = format!("{{name: {name}, summary: s, description: d, peers: {{peers: {{interface: planted}}}}}}");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(model.dir.path().join(format!("{name}.charm"))).unwrap());
    let mut files = vec![
        ("metadata.yaml", metadata.as_str()),
        ("manifest.yaml", "bases: [{name: ubuntu, channel: 24.04/stable}]"),
        ("config.yaml", "options: {word: {type: string, default: none}}"),
        ("dispatch", dispatch),
    ];
    files.extend(actions.map(|actions| ("actions.yaml", actions)));
    for (name, content) in files {
        zip.start_file(name, zip::write::SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

pub(crate) fn run(model: &Model, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    model.run(&words).unwrap_or_else(|why| panic!("{line}: {why}"))
}

fn status(model: &Model) -> serde_json::Value {
    serde_json::from_str(&run(model, "status --format json")).unwrap()
}

pub(crate) fn active(model: &Model, app: &str, units: usize) {
    let query =
        format!("len(units) == {units} && forEach(units, u => u.status == 'active' && u.agent-status == 'idle')");
    model.run(&["wait-for", "application", app, "--query", &query, "--timeout", "60s"]).unwrap();
}

/// Exactly what `findings` prints, whether there are any or not.
fn findings(model: &Model) -> String {
    let output = model.command(&["findings", "--format", "json"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(output.status.success(), text == "[]", "{text}");
    text
}

fn a_clean_charm_gets_no_finding(model: &Model) {
    run(model, "deploy ./clean.charm -n 2");
    active(model, "clean", 2);
    run(model, "config clean word=other");
    model.until("the word to reach the peer", || run(model, "show-unit clean/1").contains("word: other"));
    active(model, "clean", 2);
    let log = run(model, "debug-log --replay");
    assert!(log.contains("run \"config-changed\" hook once more"), "{log}");
    assert_eq!(findings(model), "[]");
    run(model, "remove-application clean --no-prompt");
    model.until("the clean charm to go", || status(model)["applications"]["clean"].is_null());
    assert_eq!(findings(model), "[]");
}

fn shown(model: &Model, app: &str, seen: &Seen) {
    match seen {
        Seen::Failure(hook) => {
            let status = format!("hook failed: \"{hook}\"");
            model.until(&status, || run(model, "status").contains(&status));
            assert_eq!(findings(model), "[]", "{app}");
        }
        Seen::Finding(kind, text) => {
            let found = || -> Vec<serde_json::Value> { serde_json::from_str(&findings(model)).unwrap() };
            model.until(&format!("{app}: {text}"), || {
                found().iter().any(|f| f["kind"] == *kind && f["what"].as_str().unwrap().contains(text))
            });
            // A bug is shown by the option that should, and no password is shown by any.
            let others: Vec<_> = found().into_iter().filter(|f| f["kind"] != *kind).collect();
            assert!(others.is_empty() || app == "echoing", "{app}: {others:?}");
            assert!(!findings(model).contains("correct-horse"), "{app}");
            assert!(run(model, "status").contains(kind), "{app}");
        }
    }
}

fn stale_reads_are_shuffled_in(model: &Model) {
    run(model, "model-config strict=false");
    run(model, "deploy ./trusting.charm -n 2");
    active(model, "trusting", 2);
    let failed = || {
        let log = run(model, "debug-log --replay --include unit-trusting-*");
        log.contains("hook \"peers-relation-changed\" (via hook dispatching script: dispatch) failed: exit status 1")
    };
    let change = |word: usize| {
        run(model, &format!("config trusting word=w{word}"));
        // In the application's bag and in the leader's own, whoever that is.
        model.until("the word to reach the peer", || {
            failed() || run(model, "show-unit trusting/1").matches(&format!("word: w{word}")).count() == 2
        });
        let idle = || {
            let units = status(model)["applications"]["trusting"]["units"].clone();
            units.as_object().is_some_and(|all| all.values().all(|unit| unit["juju-status"]["current"] == "idle"))
        };
        model.until("both to have heard of it", || failed() || idle());
    };
    (0..3).for_each(change);
    assert!(!failed(), "without shuffling everything is read as it is");
    run(model, "model-config shuffle-seed=7");
    (10..30).take_while(|_| !failed()).for_each(change);
    assert!(failed(), "no read was stale");
}
