//! Whether juju-local does what Juju does: texts of commands and expected output, one or several for each paragraph of
//! the contract, played on real machines by a probe charm of shell. With `JUJU=juju` they are played by Juju itself.
//! Passes over itself without `RUN_CONFORMANCE=1`; `CONFORMANCE_ONLY` names files by words in their names.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed, which is its purpose")]

#[path = "conformance/contract.rs"]
mod contract;
#[path = "conformance/model.rs"]
mod model;
#[path = "support/package.rs"]
mod package;
#[path = "conformance/play.rs"]
mod play;
#[path = "conformance/script.rs"]
mod script;
#[path = "conformance/verbs.rs"]
mod verbs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use contract::{Contract, Results};
use script::Script;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn word(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The files that are asked for, by the model that they share.
fn scripts(only: &[String]) -> BTreeMap<String, Vec<Script>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "txt") && !file.ends_with("contract.txt"));
    files.sort();
    let mut scripts: BTreeMap<String, Vec<Script>> = BTreeMap::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if only.is_empty() || only.iter().any(|word| name.contains(word.as_str())) {
            let script = Script::read(&file);
            if model::is_juju_local() || !script.local_only {
                scripts.entry(script.model.clone()).or_default().push(script);
            }
        }
    }
    scripts
}

#[test]
fn every_file_is_read_and_names_rules_of_the_contract() {
    let contract = Contract::read(&folder().join("contract.txt"));
    for script in scripts(&[]).values().flatten() {
        for rule in script.rules() {
            assert!(contract.has(&rule), "{}: the contract has no rule {rule}", script.name());
        }
        assert_eq!(script.text(), std::fs::read_to_string(&script.file).unwrap(), "{}", script.name());
    }
}

#[test]
fn juju_does_what_the_contract_says() {
    if word("RUN_CONFORMANCE").is_none() {
        return;
    }
    let only: Vec<String> =
        word("CONFORMANCE_ONLY").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let contract = Contract::read(&folder().join("contract.txt"));
    let waiting = Mutex::new(scripts(&only));
    assert!(!waiting.lock().unwrap().is_empty(), "no file has one of these words in its name: {only:?}");
    let results = Mutex::new(Results::default());
    let jobs = word("CONFORMANCE_JOBS").map_or(2, |jobs| jobs.parse().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().pop_first();
                    let Some((model, scripts)) = next else { return };
                    play::play(&model, scripts, &results);
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    print!("{}", contract.table(&results, only.is_empty()));
    assert!(results.played > 0, "nothing was played");
    if let Some(why) = contract.complaint(&results, only.is_empty()) {
        panic!("{why}");
    }
}
