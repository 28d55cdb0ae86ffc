//! Scenarios in which things break while clients write: `tests/chaos/*.txt`, one file each. At the end of each every
//! acknowledged row must be there exactly once on every member, whatever happened in between.
//!
//! `CHAOS_ONLY` names some of them. Otherwise `CHAOS_BUDGET_S` is the time there is: the scenarios are parted so that
//! each part fits, and `CHAOS_SEED` chooses one. `E2E_KEEP=1` keeps models for a look around.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::disallowed_methods, reason = "the tests stand outside the charm and drive programs themselves")]

#[path = "e2e/client.rs"]
#[expect(dead_code, reason = "the end-to-end tests have clients of their own kind")]
mod client;
#[path = "chaos/condition.rs"]
mod condition;
#[path = "chaos/ledger.rs"]
mod ledger;
#[path = "e2e/model.rs"]
#[expect(dead_code, reason = "the end-to-end tests ask more of a model")]
mod model;
#[path = "chaos/play.rs"]
mod play;
#[path = "chaos/script.rs"]
mod script;
#[path = "support/setting.rs"]
mod setting;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use model::Model;
use play::Stage;
use script::Script;
use setting::setting;

/// Forming the cluster that scenarios share, and its machines.
const FORMATION_SECONDS: u64 = 35;

#[test]
fn chaos() {
    if std::env::var("RUN_CHAOS").as_deref() != Ok("1") {
        println!("skipped: chaos makes machines; set RUN_CHAOS=1");
        return;
    }
    let seed = setting("CHAOS_SEED", 0).unwrap_or(1);
    let only: Vec<String> =
        std::env::var("CHAOS_ONLY").unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect();
    let budget = setting("CHAOS_BUDGET_S", 1);
    let all = scripts();
    let mut chosen: Vec<&Script> = if only.is_empty() {
        let parts = parts(&all, budget.unwrap_or(u64::MAX));
        let part = (seed % parts.len() as u64) as usize;
        println!("[chaos] part {} of {}, seed {seed}", part + 1, parts.len());
        parts[part].clone()
    } else {
        all.iter().filter(|script| only.iter().any(|word| script.name.contains(word.as_str()))).collect()
    };
    assert!(!chosen.is_empty(), "no scenario has one of these words in its name: {only:?}");
    chosen.sort_by_key(|script| (script.own_model, script.name.clone()));
    let names: Vec<&str> = chosen.iter().map(|script| script.name.as_str()).collect();
    println!("[chaos] {} of {} scenarios, seed {seed}: {}", names.len(), all.len(), names.join(" "));

    let mut shared = None;
    let mut report = Vec::new();
    let mut complaints = Vec::new();
    for script in chosen {
        let begin = Instant::now();
        println!("[chaos] --- {}", script.name);
        if script.needs_netem && !has_netem() {
            let line = format!("{:<34} skipped: this kernel lacks the packet scheduler netem", script.name);
            println!("[chaos] {line}");
            report.push(line);
            continue;
        }
        let told = match tell(script, &mut shared, seed) {
            Ok(outcome) => format!(
                "{}; longest gap {:.1} s ({}), of all {:.1} s",
                outcome.figures,
                outcome.longest_gap.0.as_secs_f32(),
                outcome.longest_gap.1,
                outcome.longest_silence.as_secs_f32()
            ),
            Err(why) => {
                complaints.push(format!("{}: {why}", script.name));
                "FAILED".to_owned()
            }
        };
        let line = format!("{:<34} {:>4} s  {told}", script.name, begin.elapsed().as_secs());
        println!("[chaos] {line}");
        report.push(line);
    }
    println!("\n[chaos] seed {seed}\n{}", report.join("\n"));
    assert!(complaints.is_empty(), "{} scenario(s) failed:\n- {}", complaints.len(), complaints.join("\n- "));
}

/// Plays a scenario on the shared model or one of its own. A model in which one failed is used no more.
fn tell(script: &Script, shared: &mut Option<Stage>, seed: u64) -> Result<play::Outcome, String> {
    // Those with a model of their own come last: the shared one makes room for them.
    let kept = shared.take().filter(|_| !script.own_model);
    let mut stage = kept.unwrap_or_else(|| Stage::new("chaos"));
    let told = catch_unwind(AssertUnwindSafe(|| {
        if !script.own_model && stage.clusters.is_empty() {
            stage.form();
        }
        stage.play(script, seed)
    }));
    let mut complaints = stage.m.take_complaints();
    match told {
        Ok(outcome) if complaints.is_empty() => {
            if !script.own_model {
                *shared = Some(stage);
            }
            return Ok(outcome);
        }
        Ok(_) => {}
        Err(why) => {
            let text = why.downcast_ref::<String>().cloned();
            complaints.push(text.or_else(|| why.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default());
        }
    }
    stage.clusters.clear();
    show(&stage.m);
    Err(complaints.join("; "))
}

/// Tried on the loopback of a network namespace that is gone with the command.
fn has_netem() -> bool {
    let words = ["--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"];
    std::process::Command::new("unshare").args(words).output().is_ok_and(|output| output.status.success())
}

/// What there is to see when a scenario has failed.
fn show(m: &Model) {
    println!("{}", m.attempt(&["fault", "list"]).out);
    println!("{}", m.attempt(&["status"]).out);
    let log = m.attempt(&["debug-log", "--replay", "--level", "INFO"]).out;
    let lines: Vec<&str> = log.lines().collect();
    println!("{}", lines[lines.len().saturating_sub(80)..].join("\n"));
    let status = m.attempt(&["status", "--format", "json"]).out;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
    for app in status["applications"].as_object().into_iter().flatten().map(|(_, app)| app) {
        for (unit, _) in app["units"].as_object().into_iter().flatten() {
            let read = "journalctl -u mariadb -u mariadb-galera-agent --no-pager -n 40 -o short-precise";
            println!("--- {unit}\n{}", m.attempt(&["ssh", unit, read]).out);
        }
    }
}

/// All scenarios, in an order that mixes kinds and is always the same.
fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chaos");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            all.push(script::read(&name, &text).unwrap_or_else(|mistake| panic!("{mistake}")));
        }
    }
    let mixed = |name: &str| name.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(1_099_511_628_211) ^ u64::from(byte));
    all.sort_by_key(|script| (mixed(&script.name), script.name.clone()));
    all
}

/// Parts the scenarios so that each part takes at most so long; one that takes longer is a part of its own.
fn parts(all: &[Script], budget: u64) -> Vec<Vec<&Script>> {
    let mut parts: Vec<Vec<&Script>> = Vec::new();
    let mut left = 0;
    for script in all {
        if parts.is_empty() || script.seconds > left {
            parts.push(Vec::new());
            left = budget.saturating_sub(FORMATION_SECONDS);
        }
        left = left.saturating_sub(script.seconds);
        parts.last_mut().unwrap().push(script);
    }
    parts
}

#[test]
fn every_scenario_is_understood_and_names_its_units() {
    let all = scripts();
    assert!(all.len() > 10);
    for script in &all {
        let mut known = vec!["leader".to_owned(), "follower".to_owned(), "founder".to_owned()];
        for line in &script.lines {
            if let script::Step::Name { name, .. } = &line.step {
                known.push(name.clone());
            }
            for used in line.text.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
                assert!(known.contains(&used.to_owned()), "{}: line {}: who is {used:?}?", script.name, line.number);
            }
        }
    }
}

#[test]
fn the_parts_cover_everything_once_and_fit() {
    let all = scripts();
    let parts = parts(&all, 480);
    let mut names: Vec<&str> = parts.iter().flatten().map(|script| script.name.as_str()).collect();
    names.sort_unstable();
    let mut expected: Vec<&str> = all.iter().map(|script| script.name.as_str()).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for part in &parts {
        let seconds: u64 = part.iter().map(|script| script.seconds).sum();
        assert!(seconds + FORMATION_SECONDS <= 480, "a part takes {seconds} s");
    }
}
