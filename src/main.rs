//! Turns an invocation into an exit code; nothing else.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mariadb_galera::invocation::{self, Invocation};
use mariadb_galera::{actions, agent, charm, mariadb, node, probe};

/// Runs MariaDB Galera clusters under Juju. Juju enters through hooks and actions; these are the other ways in.
#[derive(Debug, Parser)]
#[command(name = "mariadb-galera", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The node agent: watches the local server and keeps what Juju shows true
    Agent,
    /// Exit 0 only when the local server may take traffic
    Ready,
    /// Tell the agent that Galera's view has changed (wsrep_notify_cmd)
    Notify {
        /// What Galera says of it; the agent looks for itself
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        ignored: Vec<String>,
    },
    /// Bring a backup back beside the data, for a restore that was asked for
    BringBack {
        /// The number of the decision
        epoch: u32,
    },
    /// Make the backup that is planned now, and remove those that are no longer kept
    PlannedBackup,
    /// The server's gate: permits its start and finds its position (ExecStartPre)
    StartArguments,
}

fn main() -> ExitCode {
    let result = match invocation::read(&std::env::args().next().unwrap_or_default()) {
        Invocation::Hook(hook) => charm::run_hook(&hook),
        Invocation::Action(name) => actions::run(&name),
        Invocation::Command => match Cli::parse().command {
            Command::Agent => agent::run(),
            Command::Ready => probe::run(),
            Command::Notify { .. } => {
                agent::notify();
                Ok(())
            }
            Command::BringBack { epoch } => node::bring::work(&mariadb::Paths::default(), epoch),
            Command::PlannedBackup => node::planned::run(&mariadb::Paths::default()),
            Command::StartArguments => node::gate::pass(&mariadb::Paths::default()),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // The one place that prints a chain of errors.
            let _ = writeln!(std::io::stderr(), "{why:#}");
            ExitCode::FAILURE
        }
    }
}
