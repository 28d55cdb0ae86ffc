//! The verbs of the files:
//!
//! - `deploy CHARM APP ARGUMENTS` packs a charm of `charms/` (with what was planned before) and deploys it
//! - `refresh APP CHARM ARGUMENTS` packs another one for it
//! - `refused VERB` holds when that verb fails, in whatever words
//! - `$ WORDS` is a command of juju's, `keep NAME $ WORDS` keeps what it prints as `{NAME}`
//! - `exec UNIT` runs its commands in one context, as `juju exec` does
//! - `on UNIT HOOK [of REMOTE] [fails]` plans its commands for the next such hook or action
//! - `here UNIT` waits until a command `pause` of a hook is reached, `go UNIT` ends it
//! - `becomes UNIT STATUS` waits for a workload status, `task ID` shows an action's results
//! - `settle` waits until nobody has anything to do, `gone NAME` until a unit or application has gone
//! - `events UNIT [sorted] [WORD]` shows the hooks since the last time, without update-status
//! - `status NAME` shows a unit's or application's status, `log UNIT WORD` its lines of the log with
//!   that word, `levels UNIT WORD` only their levels
//! - `action UNIT NAME [key=value...]` runs an action and shows its results
//! - `let NAME UNIT: COMMAND` keeps what a command prints as `{NAME}`; `until UNIT: COMMAND` repeats it until it succeeds

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use regex_lite::Regex;
use serde_json::Value;

use super::model::Model;
use super::play::{Planned, Player};
use super::script::Step;

impl Player<'_> {
    /// Does one step and puts what it says into it.
    pub(crate) fn step(&mut self, step: &mut Step, part: usize, rules: &[String]) -> Result<(), String> {
        let verb = step.verb.clone();
        let (name, rest) = verb.split_once(' ').unwrap_or((&verb, ""));
        let rest = self.filled(rest);
        let words: Vec<&str> = rest.split_whitespace().collect();
        match (name, words.as_slice()) {
            ("deploy", [charm, app, more @ ..]) => {
                let plans = self.plans_in_charm(app);
                let path = self.model.pack(charm, &plans).display().to_string();
                self.deployed.insert((*app).to_owned());
                let words = [&["deploy", &path, app], more].concat();
                step.says = self.model.say(&words);
            }
            ("refused", [verb, ..]) => {
                let mut refused = Step { verb: rest.clone(), ..Step::default() };
                self.step(&mut refused, part, rules)?;
                if !refused.says.iter().any(|line| line.starts_with("! ERROR")) {
                    return Err(format!("{verb} was not refused"));
                }
            }
            ("refresh", [app, charm, more @ ..]) => {
                let path = self.model.pack(charm, &self.plans_in_charm(app)).display().to_string();
                step.says = self.model.say(&[&["refresh", app, "--path", &path], more].concat());
            }
            ("$", _) => {
                let words = shell_words(&rest);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                step.says = self.normal(self.model.say(&words));
            }
            ("keep", [name, "$", words @ ..]) => {
                let words = shell_words(&words.join(" "));
                let said = self.model.say(&words.iter().map(String::as_str).collect::<Vec<_>>());
                self.values.insert((*name).to_owned(), said.join(" "));
            }
            ("exec", [unit]) => {
                let script = format!(". $CHARM_DIR/lib.sh; plan=exec; {}", self.commands(step, "; "));
                let said = self.model.exec(unit, &script)?;
                let lines: Vec<String> =
                    said.lines().filter_map(|line| line.strip_prefix("probe exec ")).map(str::to_owned).collect();
                self.spread(step, &lines);
            }
            ("on", [unit, hook, how @ ..]) => self.plan(step, part, rules, (unit, hook), how)?,
            ("here", [unit]) => {
                let look = "for i in $(seq 100); do [ -e /tmp/here ] && exit; sleep 0.1; done; exit 1";
                step.says = self.model.say(&["ssh", unit, look]);
            }
            ("go", [unit]) => step.says = self.model.say(&["ssh", unit, "touch /tmp/go"]),
            ("becomes", [unit, status]) => self.model.becomes(unit, status)?,
            ("task", [id]) => {
                let output = self.model.juju(&["show-task", id, "--format", "json"]);
                step.says = self.normal(task(&serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)));
            }
            ("settle", []) => self.model.settle()?,
            ("gone", [name]) => self.model.gone(name)?,
            ("events", [unit, filter @ ..]) => self.events(step, unit, filter),
            ("status", [name]) => step.says = self.normal(self.status(name)?),
            ("log", [unit, ..]) => {
                let wanted = rest[unit.len()..].trim();
                let lines = self.model.log(&entity(unit)).into_iter().map(|(of, said)| format!("{of}: {said}"));
                step.says = self.normal(lines.filter(|line| line.contains(wanted)).collect());
            }
            ("levels", [unit, ..]) => {
                let wanted = rest[unit.len()..].trim();
                let lines = self.model.log(&entity(unit)).into_iter().filter(|(_, said)| said.contains(wanted));
                step.says = lines.map(|(of, _)| of.split(' ').next().unwrap_or_default().to_owned()).collect();
            }
            ("action", [unit, action, ..]) => {
                let output = self.model.juju(&[&["run"], words.as_slice(), &["--format", "json"]].concat());
                let said: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
                step.says = if said[*unit].is_object() {
                    self.normal(task(&said[*unit]))
                } else {
                    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
                    let lines = errors.lines().filter(|line| line.starts_with("ERROR"));
                    self.normal(lines.map(|line| format!("! {line}")).collect())
                };
                if step.says.is_empty() {
                    return Err(format!("{action} said nothing"));
                }
            }
            ("let" | "until", [first, ..]) => {
                let (left, command) = rest.split_once(": ").ok_or("a colon is missing")?;
                let unit = left.split(' ').next_back().unwrap_or_default();
                let begun = Instant::now();
                let said = loop {
                    match self.model.exec(unit, command) {
                        Ok(said) => break said,
                        Err(why) if name == "let" || begun.elapsed() > Duration::from_secs(8) => return Err(why),
                        Err(_) => std::thread::sleep(Duration::from_millis(100)),
                    }
                };
                if name == "let" {
                    self.values.insert((*first).to_owned(), said.trim().to_owned());
                }
            }
            _ => return Err("no such verb".to_owned()),
        }
        Ok(())
    }

    fn filled(&self, text: &str) -> String {
        let text = text.replace("{dir}", &self.model.dir.path().display().to_string());
        self.values.iter().fold(text, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    /// The commands of a block for the probe's `run`.
    fn commands(&self, step: &Step, between: &str) -> String {
        let each = step.commands.iter().enumerate();
        let each = each.map(|(i, (command, _))| format!("run {i} '{}'", self.filled(command).replace('\'', r"'\''")));
        each.collect::<Vec<_>>().join(between)
    }

    fn plans_in_charm(&self, app: &str) -> std::collections::BTreeMap<String, String> {
        let of_app = self.planned.iter().filter(|plan| plan.unit.split('/').next() == Some(app));
        of_app.filter_map(|plan| plan.in_charm.clone()).collect()
    }

    fn plan(
        &mut self,
        step: &Step,
        part: usize,
        rules: &[String],
        (unit, hook): (&str, &str),
        how: &[&str],
    ) -> Result<(), String> {
        self.plans += 1;
        let id = format!("{}", self.plans);
        let mut text = format!("# {id}\n{}\necho \"probe $plan end\"\n", self.commands(step, "\n"));
        let mut file = hook.to_owned();
        match how {
            [] => {}
            ["fails"] => text.push_str("exit 1\n"),
            ["of", remote] => {
                let _ = write!(file, "@{}", remote.replace('/', "-"));
            }
            _ => return Err("only `fails` and `of REMOTE` can follow".to_owned()),
        }
        let dashed = unit.replace('/', "-");
        let app = unit.split('/').next().unwrap_or_default();
        let in_charm = if self.deployed.contains(app) {
            let folder = format!("/var/lib/probe/{dashed}/plan");
            let write = format!("mkdir -p {folder}; cat >{folder}/{file} <<\\PLAN\n{text}PLAN");
            self.model.exec(unit, &write)?;
            None
        } else {
            Some((format!("{dashed}.{file}"), text))
        };
        self.planned.push(Planned { id, part, rules: rules.to_vec(), unit: unit.to_owned(), in_charm });
        Ok(())
    }

    /// Gives each command of a block the lines that begin with its number.
    pub(crate) fn spread(&self, step: &mut Step, lines: &[String]) {
        for (index, (_, says)) in step.commands.iter_mut().enumerate() {
            let prefix = format!("{index} ");
            *says = self.normal(lines.iter().filter_map(|l| l.strip_prefix(&prefix)).map(str::to_owned).collect());
        }
    }

    /// What comes late is waited for, when something is expected.
    fn events(&mut self, step: &mut Step, unit: &str, filter: &[&str]) {
        let expected = std::mem::take(&mut step.says);
        let begun = Instant::now();
        loop {
            let all = self.model.probe_lines(unit, "event ");
            let from = self.shown.get(unit).copied().unwrap_or_default();
            let mut lines: Vec<String> = all.iter().skip(from).cloned().collect();
            lines.retain(|line| !line.starts_with("update-status") || filter.contains(&"update-status"));
            let words = filter.iter().filter(|word| **word != "sorted").collect::<Vec<_>>();
            lines.retain(|line| words.is_empty() || words.iter().any(|word| line.contains(**word)));
            if filter.contains(&"sorted") {
                lines.sort();
            }
            // In which order relations are made known is left open.
            lines.chunk_by_mut(|a, b| is_created(a) && is_created(b)).for_each(<[String]>::sort);
            step.says = self.normal(lines);
            if step.says == expected || self.update || begun.elapsed() > Duration::from_millis(1500) {
                self.shown.insert(unit.to_owned(), all.len());
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn status(&self, name: &str) -> Result<Vec<String>, String> {
        let status = self.model.status();
        let shown = |of: &Value| {
            let text = |key: &str| of[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}", text("current"), text("message")).trim_end().to_owned()
        };
        if let Some(unit) = Model::units(&status).get(name) {
            return Ok(vec![shown(&unit["workload-status"]), shown(&unit["juju-status"])]);
        }
        let application = &status["applications"][name];
        if application.is_null() {
            return Err(format!("there is no {name}"));
        }
        let version = application["version"].as_str().filter(|version| !version.is_empty());
        let version = version.map(|version| format!("version {version}"));
        Ok([shown(&application["application-status"])].into_iter().chain(version).collect())
    }

    /// Without what differs from run to run.
    fn normal(&self, lines: Vec<String>) -> Vec<String> {
        let rules = [
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d)?", "<time>"),
            (r"([0-9a-f]{2}:){5}[0-9a-f]{2}", "<mac>"),
            (r"\b\d+\.\d+\.\d+\.\d+(:\d+)?\b", "<address>"),
            (r"([a-z0-9]+/\d+-[a-z-]+-)[0-9a-f]{6,}", "${1}<random>"),
            (r"\b[0-9a-z]{20}\b", "<id>"),
            (r"\b([a-z][a-z-]*):\d+\b", "${1}:N"),
            (r"\b(data|more)/\d+\b", "${1}/N"),
            // Advice that follows the reason.
            (r"^(! ERROR .*(is missing and required|is not allowed|not defined on unit \S*))[,;] .*", "${1}"),
            // What was being done when that was found out is told differently from release to release.
            (r"^stderr: .*(secret with label)", "stderr: ${1}"),
        ];
        let mut lines: Vec<String> = lines.iter().map(|line| line.replace(&self.model.name, "<model>")).collect();
        for (pattern, instead) in rules {
            let pattern = Regex::new(pattern).unwrap();
            lines = lines.iter().map(|line| pattern.replace_all(line, instead).into_owned()).collect();
        }
        lines
    }
}

fn is_created(event: &str) -> bool {
    event.contains("-relation-created ")
}

fn entity(unit: &str) -> String {
    format!("unit-{}", unit.replace('/', "-"))
}

impl Model {
    /// What the probe has written about itself into the log.
    pub(crate) fn probe_lines(&self, unit: &str, kind: &str) -> Vec<String> {
        let prefix = format!("probe {kind}");
        let lines = self.log(&entity(unit)).into_iter();
        lines.filter_map(|(_, said)| said.strip_prefix(&prefix).map(str::to_owned)).collect()
    }
}

/// A task: its status and message, then its results.
fn task(task: &Value) -> Vec<String> {
    let mut lines = vec![task["status"].as_str().unwrap_or_default().to_owned()];
    let log = task["log"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let stamp = Regex::new(r"^\S+ \S+ [+-]\d{4} UTC ").unwrap();
    lines.extend(log.map(|line| format!("log: {}", stamp.replace(line, ""))));
    lines.extend(task["message"].as_str().map(|message| format!("message: {message}")));
    for (key, value) in task["results"].as_object().into_iter().flatten() {
        // The probe's own lines are in the events.
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut said = text.lines().filter(|line| !line.starts_with("probe ")).peekable();
        if key == "stdout" && said.peek().is_none() {
            continue;
        }
        lines.extend(said.map(|line| format!("{key}: {line}")));
    }
    lines
}

/// Words; single quotes hold what is between them together.
fn shell_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
