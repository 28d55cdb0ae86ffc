//! Machines: which there are, those that the operator adds for `--to`, and their removal.

use clap::Subcommand;
use serde_json::json;

use super::Session;
use super::args::Output;
use super::client::print;
use super::removals::{self, Going};
use super::show::Paint;
use super::status::machine_table;
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Machines {
    /// List the machines
    #[command(name = "machines", alias = "list-machines")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Add machines without units, for `--to`
    AddMachine {
        /// How many
        #[arg(short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        num: u32,
    },
    /// Remove machines; with --force the units on them too
    RemoveMachine {
        /// Their numbers
        #[arg(required = true)]
        machines: Vec<String>,
        /// A machine here is nothing without its model: not supported
        #[arg(long, hide = true)]
        keep_instance: bool,
        #[command(flatten)]
        going: Going,
    },
}

pub(super) fn run(session: &Session, command: Machines) -> anyhow::Result<()> {
    match command {
        Machines::List { output } => {
            let report = session.ask(&Request::Status)?;
            let machines = report["machines"].as_object().cloned().unwrap_or_default();
            let value = json!({"model": report["model"]["name"], "machines": machines});
            output.write(&value, || machine_table(&machines, Paint::on_terminal(None)))?;
        }
        Machines::AddMachine { num } => {
            let made = session.ask(&Request::AddMachine { count: num })?;
            made.as_array().into_iter().flatten().for_each(|id| print(&format!("created machine {id}")));
        }
        Machines::RemoveMachine { keep_instance: true, .. } => {
            anyhow::bail!("cannot remove a machine with --keep-instance: nothing could use it without its model");
        }
        Machines::RemoveMachine { machines, keep_instance: false, going } => {
            removals::of_machines(session, machines, &going)?;
        }
    }
    Ok(())
}
