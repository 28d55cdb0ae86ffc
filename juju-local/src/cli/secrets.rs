//! Secrets: those that charms keep, and those that the operator hands to them.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;
use clap::Subcommand;

use super::Session;
use super::args::{Output, option_file, pairs};
use super::client::print;
use super::show::table;
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Secrets {
    /// List secrets
    #[command(name = "secrets")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show a secret; its content only with --reveal
    ShowSecret {
        id: String,
        #[arg(long)]
        reveal: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Add a user secret: `add-secret NAME key=value...`, or key#file=PATH for a value that a file holds
    AddSecret {
        name: String,
        values: Vec<String>,
        /// A YAML file of keys and values
        #[arg(long)]
        file: Option<String>,
    },
    /// Replace a user secret's content
    UpdateSecret {
        id: String,
        values: Vec<String>,
        #[arg(long)]
        file: Option<String>,
    },
    /// Let an application read a user secret
    GrantSecret { id: String, application: String },
    /// Take that back
    RevokeSecret { id: String, application: String },
}

pub(super) fn run(session: &Session, command: Secrets) -> anyhow::Result<()> {
    match command {
        Secrets::List { output } => {
            let secrets = session.ask(&Request::Secrets)?;
            output.write(&secrets, || {
                let mut rows = vec![["ID", "Label", "Owner", "Rotation", "Revision"].map(ToOwned::to_owned).to_vec()];
                for (id, s) in secrets.as_object().into_iter().flatten() {
                    let text = |key: &str| s[key].as_str().unwrap_or_default().to_owned();
                    let revision = s["revision"].to_string();
                    rows.push(vec![id.clone(), text("label"), text("owner"), text("rotation"), revision]);
                }
                table(&rows)
            })?;
        }
        Secrets::ShowSecret { id, reveal, output } => {
            output.value(&session.ask(&Request::ShowSecret { id, reveal })?)?;
        }
        Secrets::AddSecret { name, values, file } => {
            let content = content(&values, file.as_deref())?;
            let uri = session.ask(&Request::AddSecret { name, content })?;
            print(uri.as_str().unwrap_or_default());
        }
        Secrets::UpdateSecret { id, values, file } => {
            session.ask(&Request::UpdateSecret { id, content: content(&values, file.as_deref())? })?;
        }
        Secrets::GrantSecret { id, application } => {
            session.ask(&Request::GrantSecret { id, application, revoke: false })?;
        }
        Secrets::RevokeSecret { id, application } => {
            session.ask(&Request::GrantSecret { id, application, revoke: true })?;
        }
    }
    Ok(())
}

/// A secret's content; values that are no one else's business come from files, not from the process list.
fn content(words: &[String], file: Option<&str>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut content = match file {
        Some(file) => option_file(file, None)?,
        None => BTreeMap::new(),
    };
    for (key, value) in pairs(words)? {
        match key.strip_suffix("#file") {
            Some(key) => {
                let text = fs::read_to_string(&value).with_context(|| format!("cannot read secret file {value}"))?;
                content.insert(key.to_owned(), text);
            }
            None => {
                content.insert(key, value);
            }
        }
    }
    if content.is_empty() {
        anyhow::bail!("cannot make a secret without content; give key=value, key#file=PATH or --file PATH");
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(result: anyhow::Result<BTreeMap<String, String>>) -> String {
        result.map_or_else(|why| why.to_string(), |map| format!("{map:?}"))
    }

    #[test]
    fn contents() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "deep").unwrap();
        let word = format!("key#file={}", file.path().display());
        assert_eq!(shown(content(&["user=x".to_owned(), word], None)), r#"{"key": "deep", "user": "x"}"#);
        assert!(shown(content(&[], None)).starts_with("cannot make a secret without content"));
    }
}
