//! Storage: which there is, and where.

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Map, Value};

use super::Session;
use super::args::Output;
use super::show::Paint;
use super::status::storages;
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Storage {
    /// List storage
    #[command(name = "storage", alias = "list-storage")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one storage or several
    ShowStorage {
        /// As in data/0
        #[arg(required = true)]
        ids: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(session: &Session, command: Storage) -> anyhow::Result<()> {
    match command {
        Storage::List { output } => {
            let all = session.ask(&Request::Storage)?;
            output.write(&all, || storages(&all["storage"], Paint::on_terminal(None)))
        }
        Storage::ShowStorage { ids, output } => {
            let all = session.ask(&Request::Storage)?;
            let mut shown = Map::new();
            for id in ids {
                let one = all["storage"].get(&id);
                let one = one.with_context(|| format!("storage {id:?} not found; see juju-local storage"))?;
                shown.insert(id, one.clone());
            }
            output.value(&Value::Object(shown))
        }
    }
}
