//! Plays files in their model, step by step, and compares what is said with what is expected. The verbs are in `verbs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use super::contract::Results;
use super::model::Model;
use super::script::{Part, Script, Step};

/// Plays all files of one model.
pub(crate) fn play(name: &str, scripts: Vec<Script>, results: &Mutex<Results>) {
    let mut player = Player::new(Model::new(name), results);
    let mut broken_setup = false;
    let setup = super::folder().join("models").join(name);
    let setup = setup.exists().then(|| Script::read(&setup));
    for mut script in setup.into_iter().chain(scripts) {
        let begun = Instant::now();
        // What the setup could not do, the files cannot do without.
        let in_setup = script.file.parent().is_some_and(|folder| folder.ends_with("models"));
        player.stuck = player.stuck && broken_setup;
        player.file(&mut script);
        broken_setup |= in_setup && player.stuck;
        let complaints = std::mem::take(&mut player.complaints);
        let count = complaints.len();
        let verdict = if count == 0 { "holds".to_owned() } else { format!("{count} DO NOT HOLD") };
        let mut text = format!("{:<52}{:>6.1} s  {verdict}\n", script.name(), begun.elapsed().as_secs_f64());
        complaints.iter().for_each(|complaint| text.push_str(complaint));
        print!("{text}");
        if player.update {
            std::fs::write(&script.file, script.text()).unwrap();
        }
        let mut results = results.lock().unwrap();
        results.played += 1;
        if count > 0 {
            results.broken.push(format!("{} does not hold", script.name()));
        }
    }
}

/// What a hook will do, and has not done yet.
pub(crate) struct Planned {
    pub(crate) id: String,
    /// Which part of the file it is, and for which rules.
    pub(crate) part: usize,
    pub(crate) rules: Vec<String>,
    pub(crate) unit: String,
    /// Its name as a file of the charm, and what is in that, when the charm is not deployed yet.
    pub(crate) in_charm: Option<(String, String)>,
}

/// A model being played in.
pub(crate) struct Player<'a> {
    pub(crate) model: Model,
    /// How many of a unit's events were shown.
    pub(crate) shown: BTreeMap<String, usize>,
    /// What `let` has kept.
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) deployed: BTreeSet<String>,
    pub(crate) planned: Vec<Planned>,
    pub(crate) plans: usize,
    pub(crate) update: bool,
    complaints: Vec<String>,
    /// Something was waited for in vain in this file.
    stuck: bool,
    results: &'a Mutex<Results>,
}

impl<'a> Player<'a> {
    fn new(model: Model, results: &'a Mutex<Results>) -> Self {
        Self {
            model,
            shown: BTreeMap::new(),
            values: BTreeMap::new(),
            deployed: BTreeSet::new(),
            planned: Vec::new(),
            plans: 0,
            update: super::word("UPDATE_EXPECT").is_some(),
            complaints: Vec::new(),
            stuck: false,
            results,
        }
    }

    fn file(&mut self, script: &mut Script) {
        let mut rules: Vec<String> = Vec::new();
        for part in 0..script.parts.len() {
            if let Part::Rules(now, _) = &script.parts[part] {
                rules.clone_from(now);
            }
            let Part::Step(step) = &mut script.parts[part] else { continue };
            let before = whole(step);
            // Each wait in vain is long, and what follows it says nothing more.
            if self.stuck {
                self.results.lock().unwrap().failed.extend(rules.iter().cloned());
                continue;
            }
            if let Err(why) = self.step(step, part, &rules) {
                self.stuck = ["settle", "gone", "becomes"].iter().any(|verb| step.verb.starts_with(verb));
                let rest = if self.stuck { "; the rest of the file is left out" } else { "" };
                self.complain(script, part, &rules, &[format!("cannot: {why}{rest}")]);
                continue;
            }
            let settled = ["settle", "gone", "events"].iter().any(|verb| step.verb.starts_with(verb));
            // What a plan says is judged when its hook has run.
            if !step.verb.starts_with("on ") {
                let now = whole(step);
                self.judge(script, part, &rules, &before, &now);
            }
            if settled {
                self.carried_out(script, false);
            }
        }
        self.carried_out(script, true);
    }

    /// What plans have said meanwhile; at the end also that they were never carried out.
    fn carried_out(&mut self, script: &mut Script, end: bool) {
        for plan in std::mem::take(&mut self.planned) {
            let lines = self.model.probe_lines(&plan.unit, &format!("plan {} ", plan.id));
            let Part::Step(step) = &mut script.parts[plan.part] else { continue };
            let ran = lines.iter().any(|line| line == "end");
            if !ran && !end {
                self.planned.push(plan);
                continue;
            }
            let before = whole(step);
            step.says.clear();
            if ran {
                self.spread(step, &lines);
            } else {
                step.says.push("(did not run)".to_owned());
            }
            let now = whole(step);
            self.judge(script, plan.part, &plan.rules, &before, &now);
        }
    }

    fn judge(&mut self, script: &Script, part: usize, rules: &[String], expected: &[String], said: &[String]) {
        if expected == said || self.update {
            self.results.lock().unwrap().held.extend(rules.iter().cloned());
        } else {
            self.complain(script, part, rules, &difference(expected, said));
        }
    }

    fn complain(&mut self, script: &Script, part: usize, rules: &[String], lines: &[String]) {
        let Part::Step(step) = &script.parts[part] else { return };
        self.results.lock().unwrap().failed.extend(rules.iter().cloned());
        let mut text = format!("  {}:{}: {} ({})\n", script.name(), step.line, step.verb, rules.join(" "));
        lines.iter().for_each(|line| text.push_str(&format!("      {line}\n")));
        self.complaints.push(text);
    }
}

/// All that a step says, its commands between.
fn whole(step: &Step) -> Vec<String> {
    let mut lines = step.says.clone();
    for (command, says) in &step.commands {
        lines.push(format!("> {command}"));
        lines.extend(says.iter().map(|line| format!("  {line}")));
    }
    lines
}

/// The lines around what differs: `-` was expected, `+` was said.
fn difference(expected: &[String], said: &[String]) -> Vec<String> {
    // The longest common subsequence, from the end.
    let mut longest = vec![vec![0_usize; said.len() + 1]; expected.len() + 1];
    for (i, a) in expected.iter().enumerate().rev() {
        for (j, b) in said.iter().enumerate().rev() {
            longest[i][j] = if a == b { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut lines, mut command) = (0, 0, Vec::new(), None);
    while i < expected.len() || j < said.len() {
        if i < expected.len() && j < said.len() && expected[i] == said[j] {
            if expected[i].starts_with("> ") {
                command = Some(expected[i].clone());
            }
            (i, j) = (i + 1, j + 1);
            continue;
        }
        lines.extend(command.take());
        if j == said.len() || (i < expected.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            lines.push(format!("- {}", expected[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", said[j]));
            j += 1;
        }
    }
    lines
}
