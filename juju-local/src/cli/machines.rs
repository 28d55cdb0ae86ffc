//! Machines: which there are, those that the operator adds for `--to`, and their removal.

use clap::Subcommand;
use serde_json::json;

use super::Session;
use super::args::{Output, Removal, confirm};
use super::client::{print, say};
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
        #[command(flatten)]
        removal: Removal,
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
        Machines::RemoveMachine { machines, removal } => {
            confirm(&removal, &format!("remove machine {}", machines.join(" ")))?;
            session.ask(&Request::RemoveMachine { machines: machines.clone(), force: removal.force })?;
            machines.iter().for_each(|id| say(&format!("will remove machine {id}")));
        }
    }
    Ok(())
}
