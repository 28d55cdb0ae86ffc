//! Storage: which there is and where, what is added, what moves, what goes.

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Map, Value};

use super::Session;
use super::args::{Output, pairs};
use super::client::say;
use super::show::Paint;
use super::status::storages;
use crate::api::{DiskRequest, Request};

#[derive(Debug, Subcommand)]
pub(super) enum Storage {
    /// List storage
    #[command(name = "storage", alias = "list-storage")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one storage or several
    #[command(name = "show-storage")]
    Show {
        /// As in data/0
        #[arg(required = true)]
        ids: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Add storage to a unit: NAME, NAME=COUNT, NAME=SIZE or NAME=COUNT,SIZE
    #[command(name = "add-storage")]
    Add {
        /// As in db/0
        unit: String,
        /// As in logs=2,1G
        #[arg(required = true)]
        storage: Vec<String>,
    },
    /// Give detached storage to a unit
    #[command(name = "attach-storage")]
    Attach {
        /// As in db/1
        unit: String,
        /// As in data/0
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Take storage off its unit, and keep it with its data
    #[command(name = "detach-storage")]
    Detach {
        /// As in data/0
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Remove storage with its data; it must be detached
    #[command(name = "remove-storage")]
    Remove {
        /// As in data/0
        #[arg(required = true)]
        ids: Vec<String>,
        /// Attached storage too: it is detached first
        #[arg(long)]
        force: bool,
    },
}

pub(super) fn run(session: &Session, command: Storage) -> anyhow::Result<()> {
    let disk = |request: DiskRequest| session.ask(&Request::Disk(request));
    match command {
        Storage::List { output } => {
            let all = session.ask(&Request::Storage)?;
            output.write(&all, || storages(&all["storage"], Paint::on_terminal(None)))?;
        }
        Storage::Show { ids, output } => {
            let all = session.ask(&Request::Storage)?;
            let mut shown = Map::new();
            for id in ids {
                let one = all["storage"].get(&id);
                let one = one.with_context(|| format!("storage {id:?} not found; see juju-local storage"))?;
                shown.insert(id, one.clone());
            }
            output.value(&Value::Object(shown))?;
        }
        Storage::Add { unit, storage } => {
            let named = |word: &String| if word.contains('=') { word.clone() } else { format!("{word}=") };
            let storage = pairs(&storage.iter().map(named).collect::<Vec<_>>())?;
            let made = disk(DiskRequest::Add { unit: unit.clone(), storage })?;
            for id in made.as_array().into_iter().flatten().filter_map(Value::as_str) {
                say(&format!("added storage {id} to {unit}"));
            }
        }
        Storage::Attach { unit, ids } => {
            disk(DiskRequest::Attach { unit: unit.clone(), ids: ids.clone() })?;
            ids.iter().for_each(|id| say(&format!("attaching {id} to {unit}")));
        }
        Storage::Detach { ids } => {
            disk(DiskRequest::Detach { ids: ids.clone() })?;
            ids.iter().for_each(|id| say(&format!("detaching {id}")));
        }
        Storage::Remove { ids, force } => {
            disk(DiskRequest::Remove { ids: ids.clone(), force })?;
            ids.iter().for_each(|id| say(&format!("removing {id}")));
        }
    }
    Ok(())
}
