//! The faults as the command line names them.

use clap::Subcommand;

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
    /// Cut the power: sudden, disks kept
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
    /// Shut down in order and start again
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
    /// Make a unit's next hook end badly
    Hook {
        /// The unit
        unit: String,
        /// Kill it at its tool call number K + 1
        #[arg(long)]
        kill_after_tools: Option<u32>,
        /// Only this hook
        #[arg(long)]
        name: Option<String>,
        /// Refuse its changes after it has ended well
        #[arg(long)]
        fail_commit: bool,
    },
    /// Take units off the network
    Cut {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Put them back
    Heal {
        /// One or more units
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Stop or start the controller; machines and their services go on
    Controller {
        /// stop or start
        verb: String,
    },
    /// What is broken now
    List,
    /// Mend it all
    Clear,
}
