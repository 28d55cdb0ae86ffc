//! Storage and machines: what moves, what is added, what goes.

use clap::Subcommand;
use serde_json::Value;

use super::client::{print, say};
use super::commands::{Ask, pairs};
use crate::api::{DiskRequest, Request};

#[derive(Debug, Subcommand)]
pub(super) enum Disks {
    /// Add storage to a unit: NAME, NAME=COUNT, NAME=SIZE or NAME=COUNT,SIZE
    AddStorage {
        /// As in db/0
        unit: String,
        /// As in logs=2,1G
        #[arg(required = true)]
        storage: Vec<String>,
    },
    /// Give detached storage to a unit
    AttachStorage {
        /// As in db/1
        unit: String,
        /// As in data/0
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Take storage off its unit, and keep it with its data
    DetachStorage {
        /// As in data/0
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Remove storage with its data; it must be detached
    RemoveStorage {
        /// As in data/0
        #[arg(required = true)]
        ids: Vec<String>,
        /// Attached storage too: it is detached first
        #[arg(long)]
        force: bool,
    },
    /// Add machines without units, for `--to`
    AddMachine {
        /// How many
        #[arg(short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        num: u32,
    },
    /// Remove machines
    RemoveMachine {
        /// Their numbers
        #[arg(required = true)]
        machines: Vec<String>,
        /// With the units on them, and without their last hooks
        #[arg(long)]
        force: bool,
        /// Without asking
        #[arg(long)]
        no_prompt: bool,
    },
    /// Trust an application with the cloud's credentials: it is told by config-changed
    Trust {
        /// The application
        application: String,
        /// No more
        #[arg(long)]
        remove: bool,
    },
}

/// Carries out one of them.
pub(super) fn run(ask: Ask<'_>, command: Disks) -> anyhow::Result<()> {
    match command {
        Disks::AddStorage { unit, storage } => {
            let named = |word: &String| if word.contains('=') { word.clone() } else { format!("{word}=") };
            let storage = pairs(&storage.iter().map(named).collect::<Vec<_>>())?;
            let made = ask(&Request::Disk(DiskRequest::Add { unit: unit.clone(), storage }))?;
            for id in made.as_array().into_iter().flatten().filter_map(Value::as_str) {
                say(&format!("added storage {id} to {unit}"));
            }
        }
        Disks::AttachStorage { unit, ids } => {
            ask(&Request::Disk(DiskRequest::Attach { unit: unit.clone(), ids: ids.clone() }))?;
            ids.iter().for_each(|id| say(&format!("attaching {id} to {unit}")));
        }
        Disks::DetachStorage { ids } => {
            ask(&Request::Disk(DiskRequest::Detach { ids: ids.clone() }))?;
            ids.iter().for_each(|id| say(&format!("detaching {id}")));
        }
        Disks::RemoveStorage { ids, force } => {
            ask(&Request::Disk(DiskRequest::Remove { ids: ids.clone(), force }))?;
            ids.iter().for_each(|id| say(&format!("removing {id}")));
        }
        Disks::AddMachine { num } => {
            let made = ask(&Request::AddMachine { count: num })?;
            made.as_array().into_iter().flatten().for_each(|id| print(&format!("created machine {id}")));
        }
        Disks::RemoveMachine { machines, force, no_prompt: _ } => {
            ask(&Request::RemoveMachine { machines: machines.clone(), force })?;
            machines.iter().for_each(|id| say(&format!("will remove machine {id}")));
        }
        Disks::Trust { application, remove } => {
            ask(&Request::Trust { application, trust: !remove })?;
        }
    }
    Ok(())
}
