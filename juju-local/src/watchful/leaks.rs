//! Where the values of secrets turn up and should not: in arguments, logs, databags, statuses and action results.

use crate::controller::Controller;
use crate::jujuc::Call;
use crate::model::{Owner, State};
use crate::uniter::context::{Context, Kind as Run, SecretChange};

use super::findings::Kind;

/// Shorter values turn up by chance.
const SHORTEST: usize = 8;
/// A line of a long value that is looked for alone: logs hold lines.
const SHORTEST_LINE: usize = 24;
/// What keys of these endings hold is told to everybody who connects.
const PUBLIC: [&str; 9] = ["username", "user", "host", "hostname", "endpoint", "endpoints", "database", "cert", "ca"];

/// Values that are nobody's business, each with the words for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Values(Vec<(String, String)>);

impl Values {
    /// The secrets of a model, and those that a run is about to make.
    pub(super) fn of(state: &State, context: Option<&Context>) -> Self {
        let mut values = Self::default();
        for (id, secret) in &state.secrets {
            let name = match (&secret.owner, secret.label.is_empty()) {
                (Owner::Model | Owner::Application(_) | Owner::Unit(_), false) => secret.label.clone(),
                (Owner::Model | Owner::Application(_) | Owner::Unit(_), true) => id.clone(),
            };
            for content in secret.revisions.values() {
                content.iter().for_each(|(key, value)| values.add(&name, key, value));
            }
        }
        for change in context.map(|c| c.buffered.secrets.as_slice()).unwrap_or_default() {
            let (id, text) = match change {
                SecretChange::Create { id, text, .. } | SecretChange::Update { id, text, .. } => (id, text),
                SecretChange::Remove { .. } | SecretChange::Track { .. } | SecretChange::Grant { .. } => continue,
            };
            let known = state.secrets.get(id).map(|secret| &secret.label);
            let name = text.label.as_ref().or(known).filter(|label| !label.is_empty()).unwrap_or(id);
            text.content.iter().flatten().for_each(|(key, value)| values.add(name, key, value));
        }
        // Long ones first: a value that holds another one is masked as a whole.
        values.0.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        values
    }

    fn add(&mut self, secret: &str, key: &str, value: &str) {
        let public = PUBLIC.iter().any(|end| key.rsplit('-').next() == Some(*end));
        let value = value.trim_matches('\n');
        if public || value.len() < SHORTEST {
            return;
        }
        let name = format!("{key:?} of secret {secret:?}");
        if value.contains('\n') {
            let lines = value.lines().filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----"));
            lines.for_each(|line| self.0.push((name.clone(), line.to_owned())));
        }
        self.0.push((name, value.to_owned()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the values in a text, each once.
    pub(super) fn within(&self, text: &str) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.0.iter().filter(|(_, value)| text.contains(value)).map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The text with a mark in the place of each value, or of all of it: the same for the same value.
    pub(super) fn mark(&self, text: &str, whole: bool, salt: &str) -> String {
        let mark = |value: &str| format!("secret-{:016x}", super::shuffle::mix(&format!("{salt}{value}")));
        if whole {
            return mark(text);
        }
        self.0.iter().fold(text.to_owned(), |text, (_, value)| {
            if text.contains(value) { text.replace(value.as_str(), &mark(value)) } else { text }
        })
    }

    /// JSON with the same marks, whatever stands before quotes and ends of lines there.
    pub(super) fn mark_json(&self, json: &str, salt: &str) -> String {
        self.0.iter().fold(json.to_owned(), |json, (name, value)| {
            let quoted = serde_json::Value::from(value.as_str()).to_string();
            let mark = Self(vec![(name.clone(), value.clone())]).mark(value, false, salt);
            json.replace(quoted.trim_matches('"'), &mark)
        })
    }

    /// The text with stars in the place of values.
    pub(super) fn mask(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (_, value)| text.replace(value.as_str(), "***"))
    }
}

/// Whether an action is known to answer with a secret, because somebody asked it to.
pub(super) fn reveals(state: &State, context: &Context) -> bool {
    let Run::Action { name, .. } = &context.kind else {
        return false;
    };
    state.setting("strict-revealing-actions").split(',').any(|known| known.trim() == name)
}

/// Looks at the arguments of a hook tool that has just run.
pub fn check_call(controller: &Controller, context: &Context, call: &Call) {
    let found = controller.read(|state| {
        if !super::Strict::of(state).secrets || (call.tool == "action-set" && reveals(state, context)) {
            return Vec::new();
        }
        let values = Values::of(state, Some(context));
        let names = values.within(&call.args.join("\n"));
        names.into_iter().map(|name| said(&call.tool, name)).collect()
    });
    for what in found {
        controller.report(Kind::Secrets, &context.unit, context.kind.name(), &what);
    }
    // A program that a charm starts with a secret may live only until the next tool.
    let machine = controller.read(|state| state.units.get(&context.unit).map(|unit| unit.machine));
    let values = controller.read(|state| {
        if super::Strict::of(state).secrets { Values::of(state, Some(context)) } else { Values::default() }
    });
    if let Some(machine) = machine {
        super::strict::check_processes(controller, machine, &context.unit, context.kind.name(), &values);
    }
}

/// What tells Juju something. One that only asks may be refused and the charm none the worse for it.
const WRITES: [&str; 14] = [
    "action-set",
    "application-version-set",
    "close-port",
    "leader-set",
    "open-port",
    "relation-set",
    "secret-add",
    "secret-grant",
    "secret-revoke",
    "secret-set",
    "state-delete",
    "state-set",
    "status-set",
    "storage-add",
];

/// Remembers that a tool was refused what it was to write.
pub fn note_refusal(context: &mut Context, tool: &str, why: &str) {
    if WRITES.contains(&tool) {
        context.refused.push(format!("{tool} failed and the hook went on as if it had not: {why}"));
    }
}

fn said(tool: &str, name: &str) -> String {
    let place = match tool {
        "juju-log" | "action-log" => "the log",
        "status-set" => "a status message",
        "action-set" | "action-fail" => "an action's result",
        "secret-add" | "secret-set" => {
            return format!(
                "{name} is in the arguments of {tool}, for all the machine to see: use KEY#file=PATH or --file"
            );
        }
        "relation-set" | "state-set" | "leader-set" => {
            return format!("{name} is in the arguments of {tool}, for all the machine to see: use --file");
        }
        _ => return format!("{name} is in the arguments of {tool}, for all the machine to see"),
    };
    format!("{name} is in {place} ({tool})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn values_are_named_and_masked() {
        let mut values = Values::default();
        values.add("admin", "password", "correct-horse");
        values.add("admin", "username", "administrator");
        values.add("admin", "pin", "1234");
        values.add(
            "tls",
            "key",
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nshort\n-----END PRIVATE KEY-----\n",
        );
        let check = |text: &str, expected: Expect| {
            expected.assert_eq(&format!("{:?} {}", values.within(text), values.mask(text)));
        };
        check(
            "mysql -u administrator -pcorrect-horse 1234",
            expect![[r#"["\"password\" of secret \"admin\""] mysql -u administrator -p*** 1234"#]],
        );
        check("a line: MIIEvQIBADANBgkqhkiG9w0BAQEF", expect![[r#"["\"key\" of secret \"tls\""] a line: ***"#]]);
        check("-----BEGIN PRIVATE KEY----- short", expect!["[] -----BEGIN PRIVATE KEY----- short"]);
        check("nothing", expect!["[] nothing"]);
    }

    #[test]
    fn places() {
        let check = |tool: &str, expected: Expect| expected.assert_eq(&said(tool, "\"password\" of secret \"admin\""));
        check("juju-log", expect![[r#""password" of secret "admin" is in the log (juju-log)"#]]);
        check(
            "secret-add",
            expect![[
                r#""password" of secret "admin" is in the arguments of secret-add, for all the machine to see: use KEY#file=PATH or --file"#
            ]],
        );
        check(
            "relation-set",
            expect![[
                r#""password" of secret "admin" is in the arguments of relation-set, for all the machine to see: use --file"#
            ]],
        );
        check(
            "is-leader",
            expect![[r#""password" of secret "admin" is in the arguments of is-leader, for all the machine to see"#]],
        );
    }
}
