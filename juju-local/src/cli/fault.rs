//! `fault` on the command line: the faults themselves, stopping the controller, and what shows and mends it all.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::Session;
use super::args::Format;
use super::client::{connects, print, start};
use super::models::check_there;
use super::show::formatted;
use crate::api::{Fault, Request};
use crate::controller::{allow_start, is_stopped};

#[derive(Debug, Subcommand)]
pub(super) enum FaultCommand {
    #[command(flatten)]
    Fault(Fault),
    /// Stop or start the controller: agents and hooks end, machines and their services go on
    Controller {
        /// What to do
        verb: Verb,
    },
    /// What is broken now
    List,
    /// Mend it all: power, network, services, disks, hooks and the controller. What was wiped stays lost
    Clear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Verb {
    /// Until it is started again, only faults, ssh, scp and destroy-model can be asked for
    Stop,
    /// Go on where it was
    Start,
}

/// Asks for a fault, and shows what there is to show.
pub(super) fn run(session: &Session, command: FaultCommand) -> anyhow::Result<ExitCode> {
    let model = session.model.as_str();
    let mut start_again = false;
    let fault = match command {
        FaultCommand::Fault(fault) => fault,
        FaultCommand::Controller { verb: Verb::Stop } => {
            session.ask(&Request::Stop { on_purpose: true })?;
            wait_for_its_end(model);
            return Ok(ExitCode::SUCCESS);
        }
        FaultCommand::Controller { verb: Verb::Start } => {
            start_controller(session)?;
            return Ok(ExitCode::SUCCESS);
        }
        FaultCommand::List => Fault::List,
        FaultCommand::Clear => {
            start_again = is_stopped(model);
            Fault::Clear
        }
    };
    let result = session.ask(&Request::Fault(fault))?;
    if start_again {
        start_controller(session)?;
    }
    if result != Value::Null {
        print(&formatted(&result, Format::Yaml)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// A process that runs while the controller is stopped on purpose serves faults only: another one takes over.
fn start_controller(session: &Session) -> anyhow::Result<()> {
    let model = session.model.as_str();
    check_there(model, &Request::Ping)?;
    if is_stopped(model) {
        allow_start(model)?;
        if connects(model) {
            session.ask(&Request::Stop { on_purpose: false })?;
            wait_for_its_end(model);
        }
    }
    start(model)
}

/// It answers before it ends: whoever asks in that moment would be cut off.
fn wait_for_its_end(model: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    while connects(model) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
}
