//! The faults as the command line names them.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::Format;
use super::client::{connects, print, start};
use super::commands::Ask;
use super::models::check_there;
use super::show::formatted;
use crate::api::{Fault, Request};
use crate::controller::{allow_start, is_stopped};

#[derive(Debug, Subcommand)]
pub(super) enum FaultCommand {
    /// Send a signal to a service or process
    Kill {
        /// The unit on whose machine
        unit: String,
        /// The service whose processes get it, as in mariadb
        #[arg(long)]
        service: Option<String>,
        /// The process that gets it, by its number on the machine
        #[arg(long)]
        pid: Option<u32>,
        /// Its name or number
        #[arg(long, default_value = "KILL")]
        signal: String,
    },
    /// Stop all processes of a service as they stand, as if they hung
    Freeze {
        /// The unit on whose machine
        unit: String,
        /// The service, as in mariadb
        #[arg(long)]
        service: String,
    },
    /// Let them go on
    Thaw {
        /// The unit on whose machine
        unit: String,
        /// The service, as in mariadb
        #[arg(long)]
        service: String,
    },
    /// Cut the power of all of them at once: sudden, disks kept
    PowerOff {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Give the power back
    PowerOn {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Shut down in order and start again, all of them at once
    Reboot {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Move the leadership
    Leadership {
        /// Whose leadership
        application: String,
        /// The unit that leads from now on
        unit: String,
    },
    /// Make a unit's next hook end badly, or its hooks slow; replaces what was said of this unit before
    Hook {
        /// The unit
        unit: String,
        /// Kill it at its tool call number K + 1; once
        #[arg(long, value_name = "K")]
        kill_after_tools: Option<u32>,
        /// Only this hook
        #[arg(long)]
        name: Option<String>,
        /// Refuse its changes after it has ended well; once
        #[arg(long)]
        fail_commit: bool,
        /// Let each tool call wait so many milliseconds, until `clear`
        #[arg(long, value_name = "MS")]
        delay_tools: Option<u64>,
    },
    /// Take units off the network, or cut them from others only; lasts over reboots
    Cut {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
        /// Only between the units and these; everything else gets through
        #[arg(long, num_args = 1.., value_name = "UNIT")]
        from: Vec<String>,
        /// Only what the units send is lost; what is sent to them arrives
        #[arg(long)]
        one_way: bool,
    },
    /// Mend the network: neither cut nor slow
    Heal {
        /// Units; all when none is named
        units: Vec<String>,
    },
    /// Delay packets on their way to a unit; needs the kernel's packet scheduler netem
    Slow {
        /// The unit
        unit: String,
        /// Milliseconds
        #[arg(long, value_name = "MS")]
        delay: u32,
        /// How much the delay varies, in milliseconds
        #[arg(long, value_name = "MS", default_value_t = 0)]
        jitter: u32,
        /// How many in a hundred are lost
        #[arg(long, value_name = "PCT", default_value_t = 0.0, value_parser = percent)]
        loss: f64,
    },
    /// Remove everything in a directory of a machine, on or off
    Wipe {
        /// The unit on whose machine
        unit: String,
        /// The directory; one without which the machine does not run is refused
        path: String,
    },
    /// Take the free space of a unit's storage
    Fill {
        /// The unit
        unit: String,
        /// The storage, as in data or data/0
        storage: String,
        /// How much stays free
        #[arg(long, value_name = "BYTES", default_value_t = 0)]
        leave: u64,
    },
    /// Give that space back
    Unfill {
        /// The unit
        unit: String,
        /// The storage, as in data or data/0
        storage: String,
    },
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

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| format!("{text:?} is no percentage from 0 to 100"))
}

/// Asks for a fault, and shows what there is to show.
pub(super) fn run(ask: Ask<'_>, model: &str, command: FaultCommand) -> anyhow::Result<ExitCode> {
    let mut start_again = false;
    let fault = match command {
        FaultCommand::Kill { unit, service, pid, signal } => Fault::Kill { unit, service, pid, signal },
        FaultCommand::Freeze { unit, service } => Fault::Freeze { unit, service },
        FaultCommand::Thaw { unit, service } => Fault::Thaw { unit, service },
        FaultCommand::PowerOff { units } => Fault::PowerOff { units },
        FaultCommand::PowerOn { units } => Fault::PowerOn { units },
        FaultCommand::Reboot { units } => Fault::Reboot { units },
        FaultCommand::Leadership { application, unit } => Fault::Leadership { application, unit },
        FaultCommand::Hook { unit, kill_after_tools, name, fail_commit, delay_tools } => {
            Fault::Hook { unit, kill_after_tools, name, fail_commit, delay_tools_ms: delay_tools }
        }
        FaultCommand::Cut { units, from, one_way } => Fault::Cut { units, from, one_way },
        FaultCommand::Heal { units } => Fault::Heal { units },
        FaultCommand::Slow { unit, delay, jitter, loss } => {
            Fault::Slow { unit, delay_ms: delay, jitter_ms: jitter, loss_percent: loss }
        }
        FaultCommand::Wipe { unit, path } => Fault::Wipe { unit, path },
        FaultCommand::Fill { unit, storage, leave } => Fault::Fill { unit, storage, leave },
        FaultCommand::Unfill { unit, storage } => Fault::Unfill { unit, storage },
        FaultCommand::Controller { verb: Verb::Stop } => {
            ask(&Request::Stop { on_purpose: true })?;
            wait_for_its_end(model);
            return Ok(ExitCode::SUCCESS);
        }
        FaultCommand::Controller { verb: Verb::Start } => {
            start_controller(ask, model)?;
            return Ok(ExitCode::SUCCESS);
        }
        FaultCommand::List => Fault::List,
        FaultCommand::Clear => {
            start_again = is_stopped(model);
            Fault::Clear
        }
    };
    let result = ask(&Request::Fault(fault))?;
    if start_again {
        start_controller(ask, model)?;
    }
    if result != Value::Null {
        print(&formatted(&result, Format::Yaml)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// A process that runs while the controller is stopped on purpose serves faults only: another one takes over.
fn start_controller(ask: Ask<'_>, model: &str) -> anyhow::Result<()> {
    check_there(model, &Request::Ping)?;
    if is_stopped(model) {
        allow_start(model)?;
        if connects(model) {
            ask(&Request::Stop { on_purpose: false })?;
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
