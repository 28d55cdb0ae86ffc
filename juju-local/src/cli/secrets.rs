//! Secrets on the command line: all of them to look at, user secrets to keep.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;
use base64::Engine as _;
use clap::Subcommand;
use serde_json::Value;

use super::Session;
use super::args::{Format, Output, pairs, plain};
use super::client::print;
use super::show::{row, table, text};
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Secrets {
    /// List secrets
    #[command(name = "secrets", alias = "list-secrets")]
    List {
        /// Only those of this application, unit or model
        #[arg(long)]
        owner: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Show a secret; its content only with --reveal
    ShowSecret {
        /// Its ID, or a user secret's name
        id: String,
        #[arg(long)]
        reveal: bool,
        /// Of this revision
        #[arg(short, long)]
        revision: Option<u32>,
        /// List all revisions
        #[arg(long, conflicts_with_all = ["reveal", "revision"])]
        revisions: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Add a user secret: `add-secret NAME key=value...`, key#base64= for an encoded value, key#file=PATH for a file's
    AddSecret {
        name: String,
        values: Vec<String>,
        /// A YAML file of keys and values
        #[arg(long)]
        file: Option<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        info: String,
    },
    /// Change a user secret: its content, name or description
    UpdateSecret {
        /// Its ID or name
        id: String,
        values: Vec<String>,
        #[arg(long)]
        file: Option<String>,
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        info: Option<String>,
        /// Remove revisions that nobody uses any more, now and from now on
        #[arg(long)]
        auto_prune: bool,
    },
    /// Remove a user secret, or one revision of it
    RemoveSecret {
        /// Its ID or name
        id: String,
        #[arg(long)]
        revision: Option<u32>,
    },
    /// Let applications read a user secret
    GrantSecret {
        /// Its ID or name
        id: String,
        /// One, or several with commas between
        application: String,
    },
    /// Take that back
    RevokeSecret {
        /// Its ID or name
        id: String,
        /// One, or several with commas between
        application: String,
    },
}

pub(super) fn run(session: &Session, command: Secrets) -> anyhow::Result<()> {
    match command {
        Secrets::List { owner, output } => {
            let mut secrets = session.ask(&Request::Secrets)?;
            if let (Some(owner), Some(all)) = (owner, secrets.as_object_mut()) {
                let tag = |kind: &str| owner.strip_prefix(kind).map(ToOwned::to_owned);
                let wanted = tag("application-").unwrap_or(owner.clone());
                all.retain(|_, secret| secret["owner"] == wanted || (owner == "model" && secret["owner"] == "<model>"));
            }
            output.write(&secrets, || listed(&secrets))?;
        }
        Secrets::ShowSecret { id, reveal, revision, revisions, output } => {
            let secret = session.ask(&Request::ShowSecret { id, reveal, revision, revisions })?;
            output.value(&shown(secret, output.format()))?;
        }
        Secrets::AddSecret { name, values, file, info } => {
            let content = content(&values, file.as_deref())?;
            if content.is_empty() {
                anyhow::bail!("cannot make a secret without content; give key=value, key#file=PATH or --file PATH");
            }
            print(session.ask(&Request::AddSecret { name, content, info })?.as_str().unwrap_or_default());
        }
        Secrets::UpdateSecret { id, values, file, name, info, auto_prune } => {
            let content = content(&values, file.as_deref())?;
            if content.is_empty() && name.is_none() && info.is_none() && !auto_prune {
                anyhow::bail!("cannot change nothing; give key=value, --file, --name, --info or --auto-prune");
            }
            session.ask(&Request::UpdateSecret { id, content, name, info, auto_prune })?;
        }
        Secrets::RemoveSecret { id, revision } => drop(session.ask(&Request::RemoveSecret { id, revision })?),
        Secrets::GrantSecret { id, application } => {
            session.ask(&Request::GrantSecret { id, application, revoke: false })?;
        }
        Secrets::RevokeSecret { id, application } => {
            session.ask(&Request::GrantSecret { id, application, revoke: true })?;
        }
    }
    Ok(())
}

fn listed(secrets: &Value) -> String {
    let mut rows = vec![row(["ID", "Name", "Owner", "Rotation", "Revision", "Last updated"])];
    for (id, secret) in secrets.as_object().into_iter().flatten() {
        let cell = |key: &str| secret[key].as_str().unwrap_or("-").to_owned();
        let revision = text(secret, &["revision"]);
        rows.push(vec![id.clone(), cell("name"), cell("owner"), cell("rotation"), revision, cell("updated")]);
    }
    table(&rows)
}

/// In YAML the content stands by itself, in JSON under "Data": so Juju has it.
fn shown(mut secrets: Value, format: Format) -> Value {
    if format != Format::Json {
        for secret in secrets.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            if let Some(data) = secret.get("content").and_then(|content| content.get("Data")).cloned() {
                secret["content"] = data;
            }
        }
    }
    secrets
}

/// A secret's content; values that are no one else's business come from files, not from the process list.
fn content(words: &[String], file: Option<&str>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut content = BTreeMap::new();
    if let Some(file) = file {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read secret file {file}"))?;
        // The parser's own words could repeat what is in it.
        let map: BTreeMap<String, Value> = serde_yaml::from_str(&text)
            .map_err(|_| anyhow::anyhow!("cannot read secret file {file}: it is no YAML map of keys and values"))?;
        content.extend(map.into_iter().map(|(key, value)| (key, plain(&value))));
    }
    for (key, value) in pairs(words)? {
        let (key, value) = match key.split_once('#') {
            None => (key.as_str(), value),
            Some((key, "file")) => {
                let text = fs::read_to_string(&value).with_context(|| format!("cannot read secret file {value}"))?;
                (key, text)
            }
            Some((key, "base64")) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(value).ok();
                let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
                (key, text.with_context(|| format!("the value of {key} is not base64 of a text"))?)
            }
            Some((key, suffix)) => anyhow::bail!("{key}#{suffix} is not {key}#file or {key}#base64"),
        };
        content.insert(key.to_owned(), value);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "deep").unwrap();
        let check = |words: &[&str], path: Option<&str>| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            content(&words, path).map_or_else(|why| why.to_string(), |map| format!("{map:?}"))
        };
        let word = format!("key#file={}", file.path().display());
        assert_eq!(check(&["user=x", &word, "code#base64=YQ=="], None), r#"{"code": "a", "key": "deep", "user": "x"}"#);
        assert_eq!(check(&["code#base64=?"], None), "the value of code is not base64 of a text");
        assert_eq!(check(&["code#hex=00"], None), "code#hex is not code#file or code#base64");
        // Not a word of the file comes back.
        let path = file.path().display().to_string();
        assert_eq!(
            check(&[], Some(&path)),
            format!("cannot read secret file {path}: it is no YAML map of keys and values")
        );
    }
}
