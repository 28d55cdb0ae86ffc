//! Applications and their units: deploying, growing, relating, exposing, mending, removing.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::Session;
use super::args::{option_file, option_words, pairs};
use super::client::say;
use super::removals::{self, Going};
use super::show::{text, units};
use crate::api::{Deployment, Request};

#[derive(Debug, Subcommand)]
pub(super) enum Applications {
    /// Deploy a charm from its archive or directory, each unit on a machine of its own
    Deploy(Box<Deploy>),
    /// Replace an application's charm
    #[command(alias = "upgrade-charm")]
    Refresh {
        /// The application
        application: String,
        /// The new revision's archive or directory
        #[arg(long)]
        path: String,
        /// name=path of a file for one of the charm's resources
        #[arg(long)]
        resource: Vec<String>,
        /// Units in error too: their failed hook is tried again with the new charm
        #[arg(long)]
        force_units: bool,
    },
    /// Give an application a file for one of its charm's resources
    AttachResource {
        /// The application
        application: String,
        /// name=path
        resource: String,
    },
    /// Trust an application with the cloud's credentials, of which there are none: it is told by config-changed
    Trust {
        /// The application
        application: String,
        /// No more
        #[arg(long)]
        remove: bool,
    },
    /// Add units to an application
    AddUnit {
        /// The application
        application: String,
        /// How many
        #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        num_units: u32,
        /// The number of an existing machine, instead of a new one
        #[arg(long)]
        to: Option<String>,
        /// Detached storage that the unit gets in the place of a new one, as in data/0
        #[arg(long)]
        attach_storage: Vec<String>,
    },
    /// Remove units; their machines go with them, their storage stays
    RemoveUnit {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
        /// Their storage goes too
        #[arg(long)]
        destroy_storage: bool,
        #[command(flatten)]
        going: Going,
    },
    /// Remove applications with their units
    RemoveApplication {
        /// One or more applications
        #[arg(required = true)]
        applications: Vec<String>,
        /// Their storage goes too
        #[arg(long)]
        destroy_storage: bool,
        #[command(flatten)]
        going: Going,
    },
    /// Relate two applications
    #[command(alias = "relate")]
    Integrate {
        /// APPLICATION or APPLICATION:ENDPOINT
        a: String,
        /// The other side
        b: String,
    },
    /// Remove a relation
    RemoveRelation {
        /// APPLICATION or APPLICATION:ENDPOINT; or the relation's number alone
        a: String,
        /// The other side
        b: Option<String>,
        /// Without waiting for its hooks: not supported
        #[arg(long, hide = true)]
        force: bool,
    },
    /// Record that an application may be reached from outside
    ///
    /// Status and other commands show it. Machines can be reached from this host in any case.
    Expose {
        /// The application
        application: String,
        /// Only these endpoints: not supported
        #[arg(long, hide = true)]
        endpoints: Option<String>,
        /// Only these spaces: not supported
        #[arg(long, hide = true)]
        to_spaces: Option<String>,
        /// Only these networks: not supported
        #[arg(long, hide = true)]
        to_cidrs: Option<String>,
    },
    /// Take that back
    Unexpose {
        /// The application
        application: String,
    },
    /// Run a failed hook again, or pass over it
    #[command(alias = "resolve")]
    Resolved {
        /// Units in an error state
        #[arg(required_unless_present = "all")]
        units: Vec<String>,
        /// All units in an error state
        #[arg(long, conflicts_with = "units")]
        all: bool,
        /// Count the hook as done
        #[arg(long)]
        no_retry: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// The charm: its archive as in ./my.charm, or a directory, which is packed as it is
    charm: String,
    /// The application's name; the charm's own otherwise
    name: Option<String>,
    /// How many
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    num_units: u32,
    /// key=value, or a YAML file of the application's options
    #[arg(long)]
    config: Vec<String>,
    /// name=size or name=count,size, as in data=2G
    #[arg(long)]
    storage: Vec<String>,
    /// The number of an existing machine, instead of a new one
    #[arg(long)]
    to: Option<String>,
    /// Which endpoints are on which network space, as in "database-peers=internal"; a space alone is for all others.
    /// There are two, alpha and internal, and every machine is on both
    #[arg(long, default_value = "")]
    bind: String,
    /// One that the charm's manifest names; machines run the release of this host all the same
    #[arg(long, alias = "series")]
    base: Option<String>,
    /// Trust the application with the cloud's credentials, of which there are none
    #[arg(long)]
    trust: bool,
    /// name=path of a file for one of the charm's resources
    #[arg(long)]
    resource: Vec<String>,
    /// Detached storage that the unit gets in the place of a new one, as in data/0
    #[arg(long)]
    attach_storage: Vec<String>,
    /// Also where Juju would refuse for the base or the profile
    #[arg(long)]
    force: bool,
    /// Taken and ignored: machines have what this host has
    #[arg(long)]
    constraints: Option<String>,
    /// Channels are a store's: not supported
    #[arg(long, hide = true)]
    channel: Option<String>,
    /// Revisions are a store's: not supported
    #[arg(long, hide = true)]
    revision: Option<String>,
    /// Overlays are for bundles: not supported
    #[arg(long, hide = true)]
    overlay: Option<String>,
    /// Only for bundles in Juju: not supported
    #[arg(long, hide = true)]
    dry_run: bool,
}

pub(super) fn run(session: &Session, command: Applications) -> anyhow::Result<()> {
    match command {
        Applications::Deploy(wanted) => deploy(session, *wanted)?,
        Applications::Refresh { application, path, resource, force_units } => {
            let (packed, resources) = (charm(&path, true)?, resources(&resource)?);
            let charm = packed.path()?;
            let request = Request::Refresh { application: application.clone(), charm, resources, force_units };
            let revision = session.ask(&request)?;
            say(&format!("Refreshed {application} to revision {revision}."));
        }
        Applications::AttachResource { application, resource } => {
            for (name, path) in resources(&[resource])? {
                session.ask(&Request::AttachResource { application: application.clone(), name, path })?;
            }
        }
        Applications::Trust { application, remove } => {
            session.ask(&Request::Trust { application, trust: !remove })?;
        }
        Applications::AddUnit { application, num_units, to, attach_storage } => {
            session.ask(&Request::AddUnit { application, num_units, to, attach_storage })?;
        }
        Applications::RemoveUnit { units, destroy_storage, going } => {
            removals::of_units(session, units, destroy_storage, &going)?;
        }
        Applications::RemoveApplication { applications, destroy_storage, going } => {
            removals::of_applications(session, applications, destroy_storage, &going)?;
        }
        Applications::Integrate { a, b } => {
            session.ask(&Request::Integrate { a, b })?;
        }
        Applications::RemoveRelation { a, b, force } => {
            if force {
                anyhow::bail!("cannot remove a relation by force: juju-local runs its last hooks; leave --force out");
            }
            let (a, b) = match b {
                Some(b) => (a, b),
                None => ends_of(session, &a)?,
            };
            session.ask(&Request::RemoveRelation { a, b })?;
        }
        Applications::Expose { application, endpoints, to_spaces, to_cidrs } => {
            if endpoints.or(to_spaces).or(to_cidrs).is_some() {
                anyhow::bail!("cannot expose in part: juju-local records only whether an application is exposed");
            }
            session.ask(&Request::Expose { application, exposed: true })?;
        }
        Applications::Unexpose { application } => {
            session.ask(&Request::Expose { application, exposed: false })?;
        }
        Applications::Resolved { mut units, all, no_retry } => {
            if all {
                units = failed_units(&session.ask(&Request::Status)?);
            }
            for unit in units {
                session.ask(&Request::Resolved { unit, no_retry })?;
            }
        }
    }
    Ok(())
}

fn deploy(session: &Session, wanted: Deploy) -> anyhow::Result<()> {
    let unsupported = [
        ("--channel", wanted.channel.is_some(), "there is no store to have channels"),
        ("--revision", wanted.revision.is_some(), "there is no store to have revisions"),
        ("--overlay", wanted.overlay.is_some(), "bundles are not supported"),
        ("--dry-run", wanted.dry_run, "Juju has it for bundles, which are not supported"),
    ];
    if let Some((option, _, why)) = unsupported.iter().find(|(_, given, _)| *given) {
        anyhow::bail!("cannot deploy with {option}: {why}");
    }
    if wanted.constraints.is_some() {
        say("--constraints changes nothing here: machines have what this host has");
    }
    if wanted.charm.ends_with(".yaml") || wanted.charm.ends_with(".yml") {
        anyhow::bail!(
            "cannot deploy {}: bundles are not supported, deploy each charm and integrate them",
            wanted.charm
        );
    }
    let packed = charm(&wanted.charm, false)?;
    let request = Request::Deploy(Deployment {
        charm: packed.path()?,
        name: wanted.name.clone(),
        num_units: wanted.num_units,
        config: options(&wanted.config, wanted.name.as_deref())?,
        storage: pairs(&wanted.storage)?,
        to: wanted.to,
        bind: wanted.bind,
        resources: resources(&wanted.resource)?,
        attach_storage: wanted.attach_storage,
        trust: wanted.trust,
        base: wanted.base,
        force: wanted.force,
    });
    let done = session.ask(&request)?;
    let units = done["units"].as_array().map_or(0, Vec::len);
    say(&format!("Deployed {} with {units} unit(s).", done["application"].as_str().unwrap_or_default()));
    Ok(())
}

/// `name=path`, each with the file's whole path.
fn resources(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    pairs(words)?
        .into_iter()
        .map(|(name, path)| {
            let whole = fs::canonicalize(&path).with_context(|| format!("cannot find resource file {path:?}"))?;
            Ok((name, whole.to_str().context("cannot use a path that is no text")?.to_owned()))
        })
        .collect()
}

/// Both ends of the relation with this number.
fn ends_of(session: &Session, number: &str) -> anyhow::Result<(String, String)> {
    let report = session.ask(&Request::Status)?;
    let relation = report["integrations"].as_array().into_iter().flatten().find(|one| text(one, &["id"]) == number);
    let relation = relation.with_context(|| {
        format!("relation {number:?} not found; name both sides, or a number that show-unit shows as relation-id")
    })?;
    let end = |key: &str| relation[key].as_str().unwrap_or_default().to_owned();
    Ok((end("provider"), end("requirer")))
}

/// Units whose hook has failed.
fn failed_units(report: &Value) -> Vec<String> {
    let failed = |(_, unit): &(&String, &Value)| unit["workload-status"]["current"] == "error";
    units(report).filter(failed).map(|(name, _)| name.clone()).collect()
}

/// A charm as the controller can read it.
enum Packed {
    Archive(PathBuf),
    /// Packed here for this one command: a file without a name, so that nothing stays whatever happens.
    Directory(fs::File),
}

impl Packed {
    fn path(&self) -> anyhow::Result<String> {
        match self {
            Self::Archive(path) => Ok(path.to_str().context("cannot use a path that is no text")?.to_owned()),
            Self::Directory(file) => Ok(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())),
        }
    }
}

/// Finds the charm that the command line names. As in Juju, `deploy` takes as a path only what looks like one.
fn charm(path: &str, is_path: bool) -> anyhow::Result<Packed> {
    if !is_path && !path.starts_with(['.', '/']) {
        anyhow::bail!(
            "juju-local runs local charms only, and {path:?} is a name; write the path of an archive or directory, as in ./{path}"
        );
    }
    let found = fs::canonicalize(path).with_context(|| format!("cannot find charm {path:?}"))?;
    if !found.is_dir() {
        return Ok(Packed::Archive(found));
    }
    let file = tempfile::tempfile().context("cannot make a file to pack the charm in")?;
    crate::charm_files::pack(&found, &file)?;
    Ok(Packed::Directory(file))
}

/// `--config` as key=value or a YAML file, flat or with the application's name on top.
fn options(words: &[String], application: Option<&str>) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for word in words {
        if word.contains('=') {
            all.extend(option_words(std::slice::from_ref(word))?);
        } else {
            all.extend(option_file(word, application)?);
        }
    }
    Ok(all)
}
