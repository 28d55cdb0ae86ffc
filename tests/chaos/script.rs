//! A scenario as text: what is done to the cluster, line by line, and what is waited for in between.

use std::fmt;

/// A scenario.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) name: String,
    /// About how long it takes, for the choice of those that fit into a run.
    pub(crate) seconds: u64,
    /// Whether it needs a model of its own, because it breaks more than it mends.
    pub(crate) own_model: bool,
    /// Whether it needs the kernel's packet scheduler netem, which not every kernel has.
    pub(crate) needs_netem: bool,
    pub(crate) lines: Vec<Line>,
}

/// One line, with its number in the file.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) step: Step,
}

/// What a line asks for. Words in braces stand for units; they are filled in when the line's turn comes.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// `victim is founder`
    Name { name: String, role: String },
    /// `deploy galera 3 min-cluster-size=2`
    Deploy { app: String, unit_count: u32, config: Vec<String> },
    /// `fault kill {victim} --service mariadb`, `juju add-unit galera`
    Juju(Vec<String>),
    /// `refused TEXT: juju ...`
    Refused { sentence: String, words: Vec<String> },
    /// `on {victim}: COMMAND`
    On { unit: String, command: String },
    /// `sleep 5`
    Sleep(u64),
    /// `wait 60 CONDITION`
    Wait(u64, Condition),
    /// `check CONDITION`: now, and the scenario goes on when it is not so.
    Check(Condition),
    /// `hook-kills 5 galera`: so many hooks are killed, each at another tool call.
    HookKills { count: u64, app: String },
}

/// What can be waited for.
#[derive(Debug, PartialEq)]
pub(crate) enum Condition {
    /// `healthy galera`: all units active in one primary component, with the history of before.
    Healthy(String),
    /// `says {unit}: TEXT`: in its status message.
    Says { unit: String, text: String },
    /// `app galera says: TEXT`
    AppSays { app: String, text: String },
    /// `sees {unit} 2`: its server is in a primary component of so many.
    Sees { unit: String, size: u32 },
    /// `state {unit} Donor/Desynced`: Galera's word for it.
    State { unit: String, state: String },
    /// `refuses {unit}`: a write through it is turned down, with Galera's own error or because no server listens.
    Refuses(String),
    /// `serves {unit}`: a write through it is acknowledged.
    Serves(String),
    /// `log galera: TEXT`: a unit of the application has logged it since the scenario began.
    Log { app: String, text: String },
    /// `journal {unit} SERVICE: TEXT`: as Log, on the machine.
    Journal { unit: String, service: String, text: String },
    /// `gone galera/3` or `gone galera`
    Gone(String),
    /// `units galera 4`
    Units { app: String, count: usize },
    /// `runs galera: gcache.size = 50331648;`: every server says so among the provider's options.
    Runs { app: String, text: String },
    /// `apart a b`: two clusters, and nothing of one is in the other.
    Apart(String, String),
}

/// A line that means nothing.
#[derive(Debug)]
pub(crate) struct Mistake {
    name: String,
    number: usize,
    line: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tests/chaos/{}.txt, line {}: cannot understand {:?}", self.name, self.number, self.line)
    }
}

/// Reads a scenario.
pub(crate) fn read(name: &str, text: &str) -> Result<Script, Mistake> {
    let mut script =
        Script { name: name.to_owned(), seconds: 60, own_model: false, needs_netem: false, lines: Vec::new() };
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mistake = || Mistake { name: name.to_owned(), number: index + 1, line: line.to_owned() };
        match words(line).as_slice() {
            ["takes", seconds] => script.seconds = seconds.parse().map_err(|_| mistake())?,
            ["own", "model"] => script.own_model = true,
            ["needs", "netem"] => script.needs_netem = true,
            _ => {
                let step = step(line).ok_or_else(mistake)?;
                script.lines.push(Line { number: index + 1, text: line.to_owned(), step });
            }
        }
    }
    Ok(script)
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn step(line: &str) -> Option<Step> {
    Some(match words(line).as_slice() {
        [name, "is", role] => Step::Name { name: (*name).to_owned(), role: (*role).to_owned() },
        ["deploy", app, count, config @ ..] => {
            Step::Deploy { app: (*app).to_owned(), unit_count: count.parse().ok()?, config: owned(config) }
        }
        ["fault", _, ..] => Step::Juju(owned(&words(line))),
        ["juju", rest @ ..] if !rest.is_empty() => Step::Juju(owned(rest)),
        ["refused", ..] => {
            let (sentence, command) = line.strip_prefix("refused")?.split_once(": juju ")?;
            Step::Refused { sentence: sentence.trim().to_owned(), words: owned(&words(command)) }
        }
        ["on", ..] => {
            let (unit, command) = line.strip_prefix("on")?.split_once(": ")?;
            Step::On { unit: unit.trim().to_owned(), command: command.trim().to_owned() }
        }
        ["sleep", seconds] => Step::Sleep(seconds.parse().ok()?),
        ["wait", seconds, ..] => {
            let rest = line.strip_prefix("wait")?.trim_start().strip_prefix(seconds)?;
            Step::Wait(seconds.parse().ok()?, condition(rest.trim())?)
        }
        ["check", ..] => Step::Check(condition(line.strip_prefix("check")?.trim())?),
        ["hook-kills", count, app] => Step::HookKills { count: count.parse().ok()?, app: (*app).to_owned() },
        _ => return None,
    })
}

fn condition(text: &str) -> Option<Condition> {
    let (head, tail) = text.split_once(": ").map_or((text, None), |(head, tail)| (head, Some(tail.trim().to_owned())));
    let one = |word: &&str| (*word).to_owned();
    Some(match (words(head).as_slice(), tail) {
        (["healthy", app], None) => Condition::Healthy(one(app)),
        (["says", unit], Some(text)) => Condition::Says { unit: one(unit), text },
        (["app", app, "says"], Some(text)) => Condition::AppSays { app: one(app), text },
        (["sees", unit, size], None) => Condition::Sees { unit: one(unit), size: size.parse().ok()? },
        (["state", unit, state], None) => Condition::State { unit: one(unit), state: one(state) },
        (["refuses", unit], None) => Condition::Refuses(one(unit)),
        (["serves", unit], None) => Condition::Serves(one(unit)),
        (["runs", app], Some(text)) => Condition::Runs { app: one(app), text },
        (["log", app], Some(text)) => Condition::Log { app: one(app), text },
        (["journal", unit, service], Some(text)) => Condition::Journal { unit: one(unit), service: one(service), text },
        (["gone", who], None) => Condition::Gone(one(who)),
        (["units", app, count], None) => Condition::Units { app: one(app), count: count.parse().ok()? },
        (["apart", a, b], None) => Condition::Apart(one(a), one(b)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: Expect) {
        let shown = match read("x", text) {
            Err(mistake) => mistake.to_string(),
            Ok(script) => {
                let lines: Vec<String> = script.lines.iter().map(|l| format!("{} {:?}", l.number, l.step)).collect();
                format!(
                    "{} s{}\n{}",
                    script.seconds,
                    if script.own_model { ", own model" } else { "" },
                    lines.join("\n")
                )
            }
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn lines_are_understood() {
        check(
            "# what it is about\ntakes 40\n\nv is founder\nfault kill {v} --service mariadb\nwait 60 healthy galera\n\
             check says {v}: waiting for the majority: all\non {v}: touch /x; ls\nrefused not found: juju status --x",
            expect![[r#"
                40 s
                4 Name { name: "v", role: "founder" }
                5 Juju(["fault", "kill", "{v}", "--service", "mariadb"])
                6 Wait(60, Healthy("galera"))
                7 Check(Says { unit: "{v}", text: "waiting for the majority: all" })
                8 On { unit: "{v}", command: "touch /x; ls" }
                9 Refused { sentence: "not found", words: ["status", "--x"] }"#]],
        );
        check(
            "own model\ndeploy galera 3",
            expect![[r#"
            60 s, own model
            2 Deploy { app: "galera", unit_count: 3, config: [] }"#]],
        );
    }

    #[test]
    fn mistakes_are_named() {
        check("sleep long", expect![[r#"tests/chaos/x.txt, line 1: cannot understand "sleep long""#]]);
        check(
            "\nwait 5 happy galera",
            expect![[r#"tests/chaos/x.txt, line 2: cannot understand "wait 5 happy galera""#]],
        );
        check(
            "wait healthy galera",
            expect![[r#"tests/chaos/x.txt, line 1: cannot understand "wait healthy galera""#]],
        );
        check("juju", expect![[r#"tests/chaos/x.txt, line 1: cannot understand "juju""#]]);
    }
}
