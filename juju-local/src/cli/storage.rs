//! Storage: which there is, and where.

use clap::Subcommand;

use super::Session;
use super::args::Output;
use super::show::storages;
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Storage {
    /// List storage
    #[command(name = "storage", alias = "list-storage")]
    List {
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(session: &Session, command: Storage) -> anyhow::Result<()> {
    match command {
        Storage::List { output } => {
            let all = session.ask(&Request::Storage)?;
            output.write(&all, || storages(&all["storage"]))
        }
    }
}
