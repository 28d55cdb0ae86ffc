//! Making, changing and removing secrets: all of it takes effect with the hook's transaction.

use base64::Engine as _;

use super::Run;
use super::key_values::{need_stdin, scalars};
use crate::jujuc::flags::{Flag, Spec, Takes, ToolError, failure, usage};
use crate::jujuc::output::{Outcome, Said, nothing};
use crate::model::{Content, Owner, SecretText, check_content};
use crate::uniter::context::SecretChange;

const FLAGS: &[Flag] = &[
    Flag {
        names: &["expire"],
        takes: Takes::Text(""),
        usage: "either a duration or time when the secret should expire",
    },
    Flag { names: &["rotate"], takes: Takes::Text(""), usage: "the secret rotation policy" },
    Flag { names: &["description"], takes: Takes::Text(""), usage: "the secret description" },
    Flag { names: &["label"], takes: Takes::Text(""), usage: "a label used to identify the secret in hooks" },
    Flag { names: &["file"], takes: Takes::Text(""), usage: "a YAML file containing secret key values" },
    Flag {
        names: &["owner"],
        takes: Takes::Text("application"),
        usage: "the owner of the secret, either the application or unit",
    },
];

pub(super) const ADD: Spec = Spec {
    name: "secret-add",
    args: "[key[#base64|#file]=value...]",
    summary: "Add a new secret.",
    flags: FLAGS,
    details: "Prints the new secret's URI. A value behind key#base64= is encoded already, one behind key#file= is the content\n\
        of that file. The application owns the secret, so that only the leader can make it, or with --owner unit this unit.",
};
pub(super) const SET: Spec = Spec {
    name: "secret-set",
    args: "<ID> [key[#base64]=value...]",
    summary: "Update an existing secret.",
    flags: FLAGS,
    details: "New values replace all that were there before; without values only what the flags name is changed.",
};
pub(super) const REMOVE: Spec = Spec {
    name: "secret-remove",
    args: "<ID>",
    summary: "Remove an existing secret.",
    flags: &[Flag { names: &["revision"], takes: Takes::Number, usage: "remove the specified revision" }],
    details: "Without --revision the whole secret is removed.",
};

pub(super) fn add(run: &mut Run<'_>) -> Outcome {
    if run.flags.rest.is_empty() && run.flags.text("file").is_none() {
        return Err(usage("missing secret value or filename"));
    }
    let Some(text) = text(run, 0)? else {
        return need_stdin();
    };
    if text.content.is_none() {
        return Err(failure("empty secret value not valid"));
    }
    let owner = if run.flags.value("owner") == Some("unit") {
        Owner::Unit(run.context.unit.clone())
    } else if run.is_leader() {
        Owner::Application(run.context.unit.app.clone())
    } else {
        return Err(failure("this unit is not the leader"));
    };
    if let Some(label) = &text.label {
        let repeated =
            |c: &SecretChange| matches!(c, SecretChange::Create { text, .. } if text.label.as_ref() == Some(label));
        if run.context.buffered.secrets.iter().any(repeated) {
            return Err(failure(format!("secret with label {label:?} already exists")));
        }
    }
    let id = crate::model::random_hex(20);
    let at = run.controller.now();
    run.context.buffered.secrets.push(SecretChange::Create { id: id.clone(), owner, text, at });
    Ok(Said::Text(format!("secret:{id}\n")))
}

pub(super) fn set(run: &mut Run<'_>) -> Outcome {
    let id = run.secret_uri()?;
    let Some(text) = text(run, 1)? else {
        return need_stdin();
    };
    run.managed(&id)?;
    // Before 3.6 each secret-set made its own revision (LP2081034).
    let merges = run.context.snapshot.is_at_least("3.6") || run.context.created_secret(&id).is_some();
    match run.context.secret_text(&id).filter(|_| merges) {
        Some(before) => before.merge(text),
        None => {
            let at = run.controller.now();
            run.context.buffered.secrets.push(SecretChange::Update { id, text, at });
        }
    }
    nothing()
}

pub(super) fn remove(run: &mut Run<'_>) -> Outcome {
    let id = run.secret_uri()?;
    run.flags.at_most(1)?;
    let revision: Option<u32> = run.flags.value("revision").and_then(|r| r.parse().ok()).filter(|r| *r > 0);
    let known = run.controller.read(|state| state.secrets.contains_key(&id));
    let created = run.context.created_secret(&id).is_some();
    if known {
        run.managed(&id)?;
    }
    if revision.is_none() {
        // What was said of it before is void.
        run.context.buffered.secrets.retain(|change| match change {
            SecretChange::Create { id: other, .. }
            | SecretChange::Update { id: other, .. }
            | SecretChange::Remove { id: other, .. }
            | SecretChange::Track { id: other }
            | SecretChange::Grant { id: other, .. } => *other != id,
        });
    }
    if !created {
        run.context.buffered.secrets.push(SecretChange::Remove { id, revision });
    }
    nothing()
}

/// An id as it stands at the end of a URI.
pub(super) fn secret_id(uri: &str) -> Result<String, ToolError> {
    let rest = uri.strip_prefix("secret:").unwrap_or(uri);
    let id = rest.rsplit('/').next().unwrap_or(rest);
    let fine = id.len() == 20 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if fine { Ok(id.to_owned()) } else { Err(usage(format!("secret URI {uri:?} not valid"))) }
}

impl Run<'_> {
    /// The secret that the first word names.
    pub(super) fn secret_uri(&self) -> Result<String, ToolError> {
        secret_id(self.flags.rest.first().ok_or_else(|| usage("missing secret URI"))?)
    }

    /// Refuses a secret that this unit may not change.
    pub(super) fn managed(&mut self, id: &str) -> Result<(), ToolError> {
        if self.context.created_secret(id).is_some() {
            return Ok(());
        }
        let found = self.controller.read(|state| state.secrets.get(id).map(|secret| secret.owner.clone()));
        let own = match found.filter(|_| !self.context.has_removed(id)) {
            None => return Err(failure(format!("secret {id:?} not found"))),
            Some(Owner::Application(app)) => app == self.context.unit.app && self.is_leader(),
            Some(Owner::Unit(unit)) => unit == self.context.unit,
            Some(Owner::Model) => false,
        };
        if own { Ok(()) } else { Err(failure("permission denied")) }
    }
}

/// What the flags and the words from this one on say; `None` to ask for standard input first.
fn text(run: &Run<'_>, first: usize) -> Result<Option<SecretText>, ToolError> {
    let expires = run.flags.text("expire").map(|text| expiry(text, run.controller.now())).transpose()?;
    let rotate = run.flags.text("rotate").map(ToOwned::to_owned);
    if let Some(policy) = rotate.as_ref().filter(|p| !crate::model::secret::POLICIES.contains(&p.as_str())) {
        return Err(usage(format!("rotate policy {policy:?} not valid")));
    }
    if let Some(owner) = run.flags.value("owner").filter(|o| !["application", "unit"].contains(o)) {
        return Err(usage(format!("secret owner {owner:?} not valid")));
    }
    let Some(content) = content(run, &run.flags.rest[first..])? else {
        return Ok(None);
    };
    Ok(Some(SecretText {
        label: run.flags.text("label").map(ToOwned::to_owned),
        description: run.flags.text("description").map(ToOwned::to_owned),
        rotate,
        expires,
        content: (!content.is_empty()).then_some(content),
    }))
}

/// The content that words and files name.
fn content(run: &Run<'_>, words: &[String]) -> Result<Option<Content>, ToolError> {
    let mut content = Content::new();
    for word in words {
        let trimmed = word.trim_end_matches('=');
        let (key, value) = trimmed.split_once('=').ok_or_else(|| usage(format!("key value {word:?} not valid")))?;
        let value = format!("{value}{}", &word[trimmed.len()..]);
        let (key, value) = match key.split_once('#') {
            None => (key, value),
            Some((key, "base64")) => (key, decoded(key, &value)?),
            Some((key, "file")) => match run.read_file(&value).map_err(|why| usage(why.message))? {
                None => return Ok(None),
                Some(text) => (key, text),
            },
            Some(_) => return Err(usage(format!("key {key:?} not valid"))),
        };
        content.insert(key.to_owned(), value);
    }
    if let Some(name) = run.flags.text("file") {
        match run.read_file(name).map_err(|why| usage(why.message))? {
            None => return Ok(None),
            Some(text) => {
                for (key, value) in scalars(&text).map_err(|why| usage(why.message))? {
                    let (key, value) = match key.strip_suffix("#base64") {
                        Some(key) => (key.to_owned(), decoded(key, &value)?),
                        None => (key, value),
                    };
                    content.insert(key, value);
                }
            }
        }
    }
    check_content(&content, run.context.snapshot.is_at_least("3.6.9")).map_err(usage)?;
    Ok(Some(content))
}

fn decoded(key: &str, value: &str) -> Result<String, ToolError> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value);
    let bytes = bytes.map_err(|_| usage(format!("value of key {key:?} is not valid base64")))?;
    String::from_utf8(bytes).map_err(|_| {
        usage(format!("value of key {key:?} is no text, and juju-local keeps secrets as texts: encode it twice"))
    })
}

/// A time, with or without a zone, or a duration from now.
fn expiry(text: &str, now: u64) -> Result<u64, ToolError> {
    let instant = text.parse::<jiff::Timestamp>().ok();
    let civil = || text.parse::<jiff::civil::DateTime>().ok().filter(|_| text.contains('T'));
    let at = instant.or_else(|| Some(civil()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()));
    if let Some(at) = at {
        return Ok(u64::try_from(at.as_second()).unwrap_or(0));
    }
    match go_duration(text) {
        None => Err(usage(format!("expire time or duration {text:?} not valid"))),
        Some(seconds) if seconds <= 0.0 => Err(usage(format!("negative expire duration {text:?} not valid"))),
        Some(seconds) => Ok(now + std::time::Duration::try_from_secs_f64(seconds).map_or(0, |d| d.as_secs())),
    }
}

/// `1h30m`, `1.5h`, `-5s`, in seconds.
fn go_duration(text: &str) -> Option<f64> {
    let (sign, mut rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    if rest == "0" {
        return Some(0.0);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = after;
    }
    (!text.is_empty()).then_some(sign * total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries() {
        let check = |text: &str| expiry(text, 1000).map_or_else(|why| why.message, |at| at.to_string());
        assert_eq!(check("1h30m"), "6400");
        assert_eq!(check("1.5h"), "6400");
        assert_eq!(check("2026-01-01T06:06:06Z"), "1767247566");
        assert_eq!(check("2026-01-01T06:06:06"), "1767247566");
        assert_eq!(check("2026-01-01T06:06:06+01:00"), "1767243966");
        assert_eq!(check("-1h"), "negative expire duration \"-1h\" not valid");
        assert_eq!(check("soon"), "expire time or duration \"soon\" not valid");
        assert_eq!(check("5"), "expire time or duration \"5\" not valid");
    }
}
