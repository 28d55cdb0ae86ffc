//! What was run: operations and their tasks, and the actions that an application has.

use clap::Subcommand;

use super::Session;
use super::args::Output;
use super::show::table;
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Operations {
    /// List what was run
    #[command(name = "operations", alias = "list-operations")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show what was run, and its results
    #[command(visible_alias = "show-task", alias = "show-action-output", alias = "show-action-status")]
    ShowOperation {
        id: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Stop an action
    #[command(alias = "cancel-action")]
    CancelTask { id: u32 },
    /// List an application's actions
    #[command(alias = "list-actions")]
    Actions {
        application: String,
        /// With the parameters that each takes
        #[arg(long)]
        schema: bool,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(session: &Session, command: Operations) -> anyhow::Result<()> {
    match command {
        Operations::List { output } => {
            let tasks = session.ask(&Request::Tasks)?;
            output.write(&tasks, || {
                let keys = ["id", "status", "unit", "action"];
                let mut rows = vec![["ID", "Status", "Unit", "Action"].map(ToOwned::to_owned).to_vec()];
                for task in tasks.as_array().into_iter().flatten() {
                    rows.push(keys.iter().map(|key| task[*key].as_str().unwrap_or_default().to_owned()).collect());
                }
                table(&rows)
            })
        }
        Operations::ShowOperation { id, output } => output.value(&session.ask(&Request::Task { id })?),
        Operations::CancelTask { id } => session.ask(&Request::CancelTask { id }).map(|_| ()),
        Operations::Actions { application, schema, output } => {
            let actions = session.ask(&Request::Actions { application })?;
            if schema {
                return output.value(&actions);
            }
            output.write(&actions, || {
                let mut rows = vec![["Action", "Description"].map(ToOwned::to_owned).to_vec()];
                for (name, body) in actions.as_object().into_iter().flatten() {
                    let text = body["description"].as_str().unwrap_or_default();
                    rows.push(vec![name.clone(), text.lines().next().unwrap_or_default().to_owned()]);
                }
                table(&rows)
            })
        }
    }
}
