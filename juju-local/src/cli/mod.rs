//! The command line: Juju's grammar, one controller behind it. `client` talks to it, `show` prints, `query` understands
//! wait-for's expressions.

mod client;
mod commands;
mod query;
mod show;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// A Juju for one machine: runs any machine charm from its .charm file, without a controller or a cloud.
#[derive(Debug, Parser)]
#[command(
    name = "juju-local",
    version,
    about,
    after_help = "Examples:\n  \
    juju-local deploy ./mariadb-galera_amd64.charm -n 3 --config profile=testing\n  \
    juju-local status --watch 2s\n  \
    juju-local run mariadb-galera/leader get-cluster-status\n  \
    juju-local fault power-off mariadb-galera/0\n  \
    juju-local destroy-model --no-prompt"
)]
struct Cli {
    /// The model to work on; the one that `switch` chose otherwise
    #[arg(short, long, global = true)]
    model: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Deploy a charm from its archive, each unit on a machine of its own
    Deploy {
        charm: String,
        name: Option<String>,
        #[arg(short, long, default_value_t = 1)]
        num_units: u32,
        /// key=value, or a YAML file of the application's options
        #[arg(long)]
        config: Vec<String>,
        /// name=size, as in data=2G
        #[arg(long)]
        storage: Vec<String>,
        #[arg(long)]
        to: Option<String>,
        #[arg(long)]
        base: Option<String>,
        #[arg(long)]
        trust: bool,
    },
    /// Replace an application's charm
    Refresh {
        application: String,
        #[arg(long)]
        path: String,
    },
    /// Add units
    AddUnit {
        application: String,
        #[arg(short, long, default_value_t = 1)]
        num_units: u32,
        #[arg(long)]
        to: Option<String>,
    },
    /// Remove units; their machines go with them
    RemoveUnit {
        #[arg(required = true)]
        units: Vec<String>,
        #[command(flatten)]
        removal: Removal,
    },
    /// Remove an application with its units
    RemoveApplication {
        application: String,
        #[command(flatten)]
        removal: Removal,
    },
    /// Show or set an application's options
    Config {
        application: String,
        /// key to show, or key=value to set
        values: Vec<String>,
        #[arg(long, value_delimiter = ',')]
        reset: Vec<String>,
        #[arg(long)]
        file: Option<String>,
        #[arg(long, default_value = "yaml")]
        format: String,
    },
    /// Run an action on units and wait for it: `run UNIT... ACTION [key=value]...`
    Run {
        #[arg(required = true, num_args = 1..)]
        words: Vec<String>,
        /// A YAML file of parameters
        #[arg(long)]
        params: Option<String>,
        #[arg(long)]
        wait: Option<String>,
        #[arg(long)]
        background: bool,
        #[arg(long, default_value = "plain")]
        format: String,
        #[arg(long)]
        string_args: bool,
    },
    /// As `run`, in Juju 2.9's spelling: does not wait unless told to
    RunAction {
        #[arg(required = true, num_args = 1..)]
        words: Vec<String>,
        #[arg(long)]
        params: Option<String>,
        #[arg(long, num_args = 0..=1, default_missing_value = "10m", require_equals = true)]
        wait: Option<String>,
        #[arg(long, default_value = "yaml")]
        format: String,
    },
    /// List what was run
    Operations {
        #[arg(long, default_value = "plain")]
        format: String,
    },
    /// Show what was run, and its results
    ShowOperation {
        id: u32,
        #[arg(long, default_value = "yaml")]
        format: String,
    },
    /// Stop an action
    CancelTask { id: u32 },
    /// List an application's actions
    Actions {
        application: String,
        #[arg(long)]
        schema: bool,
        #[arg(long, default_value = "plain")]
        format: String,
    },
    /// Relate two applications
    #[command(alias = "relate")]
    Integrate { a: String, b: String },
    /// Remove a relation
    RemoveRelation { a: String, b: String },
    /// Show the model
    Status {
        /// Only this application
        application: Option<String>,
        #[arg(long, default_value = "tabular")]
        format: String,
        /// Show again every so often, as in 2s
        #[arg(long)]
        watch: Option<String>,
        #[arg(long)]
        relations: bool,
        #[arg(long)]
        storage: bool,
    },
    /// Wait until an application or unit fits a query, as in `wait-for application db --query 'status=="active"'`
    WaitFor {
        /// application or unit
        kind: String,
        name: String,
        #[arg(long, default_value = "status==\"active\"")]
        query: String,
        #[arg(long, default_value = "10m")]
        timeout: String,
        #[arg(long)]
        summary: bool,
    },
    /// Show a unit with its databags
    ShowUnit {
        unit: String,
        #[arg(long, default_value = "yaml")]
        format: String,
    },
    /// Show an application
    ShowApplication {
        application: String,
        #[arg(long, default_value = "yaml")]
        format: String,
    },
    /// List secrets
    Secrets {
        #[arg(long, default_value = "tabular")]
        format: String,
    },
    /// Show a secret; its content only with --reveal
    ShowSecret {
        id: String,
        #[arg(long)]
        reveal: bool,
        #[arg(long, default_value = "yaml")]
        format: String,
    },
    /// Add a user secret: `add-secret NAME key=value...`
    AddSecret { name: String, values: Vec<String> },
    /// Replace a user secret's content
    UpdateSecret { id: String, values: Vec<String> },
    /// Let an application read a user secret
    GrantSecret { id: String, application: String },
    /// Take that back
    RevokeSecret { id: String, application: String },
    /// List storage
    Storage {
        #[arg(long, default_value = "yaml")]
        format: String,
    },
    /// Run a command on units, in a hook's context
    Exec {
        #[arg(short, long)]
        unit: Vec<String>,
        #[arg(short, long)]
        application: Option<String>,
        #[arg(long, default_value = "plain")]
        format: String,
        #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Open a shell on a unit's machine, or run a command there
    Ssh {
        unit: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Copy a file from or to a unit: UNIT:PATH on one side
    Scp { from: String, to: String },
    /// Show the model's log
    DebugLog {
        /// From the beginning, and end at its end
        #[arg(long)]
        replay: bool,
        /// Only these, as in unit-db-0
        #[arg(short, long)]
        include: Vec<String>,
        /// At least this level
        #[arg(short, long, default_value = "DEBUG")]
        level: String,
        /// Go on showing what comes
        #[arg(long)]
        tail: bool,
        #[arg(short = 'n', long)]
        lines: Option<usize>,
    },
    /// Run a failed hook again, or pass over it
    Resolved {
        unit: String,
        #[arg(long)]
        no_retry: bool,
    },
    /// Show or set the model's settings
    ModelConfig { values: Vec<String> },
    /// List models
    Models,
    /// Add a model and switch to it
    AddModel { name: String },
    /// Choose the model that commands work on
    Switch { name: Option<String> },
    /// Remove a model with everything in it
    DestroyModel {
        name: Option<String>,
        #[command(flatten)]
        removal: Removal,
    },
    /// Remove the cached base image and packages
    PurgeCache,
    /// Break something on purpose
    #[command(subcommand)]
    Fault(FaultCommand),
    /// The process behind a model
    #[command(hide = true)]
    Controller {
        #[arg(long)]
        name: String,
    },
}

#[derive(Debug, Args)]
struct Removal {
    /// Without running the charm's last hooks
    #[arg(long)]
    force: bool,
    /// Without asking
    #[arg(long, alias = "yes")]
    no_prompt: bool,
}

#[derive(Debug, Subcommand)]
enum FaultCommand {
    /// Send a signal to a service or process
    Kill {
        unit: String,
        #[arg(long)]
        service: Option<String>,
        #[arg(long)]
        pid: Option<u32>,
        #[arg(long, default_value = "KILL")]
        signal: String,
    },
    /// Cut the power: sudden, disks kept
    PowerOff {
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Give the power back
    PowerOn {
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Shut down in order and start again
    Reboot {
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Move the leadership
    Leadership { application: String, unit: String },
    /// Make a unit's next hook end badly
    Hook {
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
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Put them back
    Heal {
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Stop or start the controller; machines and their services go on
    Controller { verb: String },
    /// What is broken now
    List,
    /// Mend it all
    Clear,
}

/// Parses and runs; 2 for wrong usage, 1 for failure.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(why) => {
            client::say(&format!("ERROR {why:#}"));
            ExitCode::FAILURE
        }
    }
}
