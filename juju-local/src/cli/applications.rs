//! Applications and their units: deploying, growing, relating, exposing, mending, removing.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;
use clap::Subcommand;

use super::Session;
use super::args::{Removal, confirm, option_file, pairs};
use super::client::say;
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Applications {
    /// Deploy a charm from its archive, each unit on a machine of its own
    Deploy {
        /// The charm's archive, as in ./my.charm
        charm: String,
        /// The application's name; the charm's own otherwise
        name: Option<String>,
        /// How many
        #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        num_units: u32,
        /// key=value, or a YAML file of the application's options
        #[arg(long)]
        config: Vec<String>,
        /// name=size, as in data=2G
        #[arg(long)]
        storage: Vec<String>,
        /// The number of an existing machine, instead of a new one
        #[arg(long)]
        to: Option<String>,
        /// Which endpoints are on which network space, as in "database-peers=internal"; a space alone is for all others.
        /// There are two, alpha and internal, and every machine is on both
        #[arg(long, default_value = "")]
        bind: String,
        /// Changes nothing here: machines run the release of this host
        #[arg(long)]
        base: Option<String>,
        /// Taken and ignored: there is no cloud to trust anybody with
        #[arg(long)]
        trust: bool,
    },
    /// Replace an application's charm
    Refresh {
        application: String,
        /// The new revision's archive
        #[arg(long)]
        path: String,
    },
    /// Add units
    AddUnit {
        application: String,
        /// How many
        #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        num_units: u32,
        /// The number of an existing machine, instead of a new one
        #[arg(long)]
        to: Option<String>,
    },
    /// Remove units; their machines go with them
    RemoveUnit {
        #[arg(required = true)]
        units: Vec<String>,
        #[command(flatten)]
        removal: Removal,
    },
    /// Remove an application with its units
    RemoveApplication {
        #[arg(required = true)]
        applications: Vec<String>,
        #[command(flatten)]
        removal: Removal,
    },
    /// Relate two applications
    #[command(alias = "relate")]
    Integrate { a: String, b: String },
    /// Remove a relation
    RemoveRelation { a: String, b: String },
    /// Run a failed hook again, or pass over it
    #[command(alias = "resolve")]
    Resolved {
        #[arg(required = true)]
        units: Vec<String>,
        /// Count the hook as done
        #[arg(long)]
        no_retry: bool,
    },
}

pub(super) fn run(session: &Session, command: Applications) -> anyhow::Result<()> {
    match command {
        Applications::Deploy { charm, name, num_units, config, storage, to, bind, base, trust: _ } => {
            if let Some(base) = base {
                say(&format!("--base {base} changes nothing here: machines run the same release as this host"));
            }
            let charm = absolute(&charm)?;
            let (config, storage) = (options(&config, name.as_deref())?, sizes(&storage)?);
            let request = Request::Deploy { charm, name, num_units, config, storage, to, bind };
            let done = session.ask(&request)?;
            say(&format!("Deployed {} with {num_units} unit(s).", done["application"].as_str().unwrap_or_default()));
        }
        Applications::Refresh { application, path } => {
            let request = Request::Refresh { application: application.clone(), charm: absolute(&path)? };
            let revision = session.ask(&request)?;
            say(&format!("Refreshed {application} to revision {revision}."));
        }
        Applications::AddUnit { application, num_units, to } => {
            session.ask(&Request::AddUnit { application, num_units, to })?;
        }
        Applications::RemoveUnit { units, removal } => {
            confirm(&removal, &format!("remove {}", units.join(" ")))?;
            session.ask(&Request::RemoveUnit { units: units.clone(), force: removal.force })?;
            for unit in units {
                say(&format!("will remove unit {unit}"));
            }
        }
        Applications::RemoveApplication { applications, removal } => {
            confirm(&removal, &format!("remove application {}", applications.join(" ")))?;
            for application in applications {
                session.ask(&Request::RemoveApplication { application: application.clone(), force: removal.force })?;
                say(&format!("will remove application {application}"));
            }
        }
        Applications::Integrate { a, b } => {
            session.ask(&Request::Integrate { a, b })?;
        }
        Applications::RemoveRelation { a, b } => {
            session.ask(&Request::RemoveRelation { a, b })?;
        }
        Applications::Resolved { units, no_retry } => {
            for unit in units {
                session.ask(&Request::Resolved { unit, no_retry })?;
            }
        }
    }
    Ok(())
}

fn absolute(path: &str) -> anyhow::Result<String> {
    let absolute = fs::canonicalize(path)
        .with_context(|| format!("cannot find charm {path:?}; name its file, as in ./my.charm"))?;
    Ok(absolute.display().to_string())
}

/// `--config` as key=value or a YAML file, flat or with the application's name on top.
fn options(words: &[String], application: Option<&str>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for word in words {
        if word.contains('=') {
            all.extend(pairs(std::slice::from_ref(word))?);
        } else {
            all.extend(option_file(word, application)?);
        }
    }
    Ok(all)
}

/// `--storage` as Juju writes it: NAME=[POOL,][COUNT,]SIZE in any order. There is one pool, and one of each.
fn sizes(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    pairs(words)?
        .into_iter()
        .map(|(name, text)| {
            let is_size = |part: &&str| {
                part.starts_with(|c: char| c.is_ascii_digit()) && part.ends_with(|c: char| c.is_ascii_alphabetic())
            };
            let size = text
                .split(',')
                .find(is_size)
                .with_context(|| format!("cannot read storage {name}={text}: name its size, as in {name}=2G"))?;
            if crate::machine::size_in_bytes(size).is_none() {
                anyhow::bail!("cannot read storage size {size:?}; write for example 500M, 2G or 1T");
            }
            if let Some(count) = text.split(',').filter_map(|part| part.parse::<u32>().ok()).find(|count| *count != 1) {
                anyhow::bail!("cannot attach {count} storages {name:?}: juju-local gives each unit one of each");
            }
            Ok((name, size.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn shown(result: anyhow::Result<BTreeMap<String, String>>) -> String {
        result.map_or_else(|why| why.to_string(), |map| format!("{map:?}"))
    }

    #[test]
    fn storage() {
        let check = |text: &str, expected: Expect| expected.assert_eq(&shown(sizes(&[text.to_owned()])));
        check("data=2G", expect![[r#"{"data": "2G"}"#]]);
        check("data=rootfs,1,500M", expect![[r#"{"data": "500M"}"#]]);
        check("data=2X", expect![[r#"cannot read storage size "2X"; write for example 500M, 2G or 1T"#]]);
        check("data=rootfs", expect!["cannot read storage data=rootfs: name its size, as in data=2G"]);
        check("data=2,1G", expect![[r#"cannot attach 2 storages "data": juju-local gives each unit one of each"#]]);
        check("2G", expect![[r#"expected key=value, got "2G""#]]);
    }
}
