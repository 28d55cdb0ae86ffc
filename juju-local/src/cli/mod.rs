//! The command line: Juju's grammar, one controller behind it. `client` talks to it, `show` prints, `query` understands
//! wait-for's expressions, `commands` and its neighbours are what each command does.

mod access;
mod actions;
mod client;
mod commands;
mod disks;
mod fault;
mod log;
mod models;
mod query;
mod secrets;
mod show;
mod wait;
mod watchful;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use fault::FaultCommand;
use secrets::SecretCommand;

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
        /// The charm's archive, as in ./my.charm
        charm: String,
        /// The application's name; the charm's own otherwise
        name: Option<String>,
        /// How many
        #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        num_units: u32,
        /// key=value, or a YAML file of the application's options
        #[arg(long)]
        config: Vec<String>,
        /// name=size or name=count,size, as in data=2G
        #[arg(long)]
        storage: Vec<String>,
        /// The number of an existing machine, instead of a new one
        #[arg(long)]
        to: Option<String>,
        /// Which endpoints are on which network space, as in "database-peers=internal"; a space alone is for all others.
        /// There are two, alpha and internal, and every machine is on both
        #[arg(long, default_value = "")]
        bind: String,
        /// name=path of a file for one of the charm's resources
        #[arg(long)]
        resource: Vec<String>,
        /// Changes nothing here: machines run the release of this host
        #[arg(long)]
        base: Option<String>,
        /// Trust the application with the cloud's credentials, of which there are none
        #[arg(long)]
        trust: bool,
        /// Detached storage that the unit gets in the place of a new one, as in data/0
        #[arg(long)]
        attach_storage: Vec<String>,
    },
    /// Replace an application's charm
    Refresh {
        application: String,
        #[arg(long)]
        path: String,
        /// name=path of a file for one of the charm's resources
        #[arg(long)]
        resource: Vec<String>,
        /// Units in error too: their failed hook is tried again with the new charm
        #[arg(long)]
        force_units: bool,
    },
    /// Give an application a file for one of its charm's resources: `attach-resource APPLICATION name=path`
    AttachResource { application: String, resource: String },
    /// Add units
    AddUnit {
        application: String,
        /// How many
        #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        num_units: u32,
        #[arg(long)]
        to: Option<String>,
        /// Detached storage that the unit gets in the place of a new one, as in data/0
        #[arg(long)]
        attach_storage: Vec<String>,
    },
    /// Remove units; their machines go with them, their storage stays
    RemoveUnit {
        #[arg(required = true)]
        units: Vec<String>,
        /// Their storage goes too
        #[arg(long)]
        destroy_storage: bool,
        #[command(flatten)]
        removal: Removal,
    },
    /// Remove an application with its units
    RemoveApplication {
        #[arg(required = true)]
        applications: Vec<String>,
        /// Their storage goes too
        #[arg(long)]
        destroy_storage: bool,
        #[command(flatten)]
        removal: Removal,
    },
    #[command(flatten)]
    Disks(disks::Disks),
    /// Show or set an application's options
    Config {
        application: String,
        /// key to show, or key=value to set
        values: Vec<String>,
        #[arg(long, value_delimiter = ',')]
        reset: Vec<String>,
        #[arg(long)]
        file: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Yaml)]
        format: Format,
    },
    /// Run an action on units and wait for it: `run UNIT... ACTION [key=value]...`
    Run {
        #[arg(required = true, num_args = 1..)]
        words: Vec<String>,
        /// A YAML file of parameters
        #[arg(long)]
        params: Option<String>,
        /// How long to wait for the results, as in 90s or 5m; 10m otherwise
        #[arg(long, value_parser = duration)]
        wait: Option<Duration>,
        /// Do not wait
        #[arg(long)]
        background: bool,
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
        /// Parameters are texts, whatever they look like
        #[arg(long)]
        string_args: bool,
    },
    /// As `run`, in Juju 2.9's spelling: does not wait unless told to
    RunAction {
        #[arg(required = true, num_args = 1..)]
        words: Vec<String>,
        #[arg(long)]
        params: Option<String>,
        #[arg(long, num_args = 0..=1, default_missing_value = "10m", require_equals = true, value_parser = duration)]
        wait: Option<Duration>,
        #[arg(long, value_enum, default_value_t = Format::Yaml)]
        format: Format,
    },
    /// List what was run
    Operations {
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
    },
    /// Show what was run, and its results
    #[command(visible_alias = "show-task", alias = "show-action-output", alias = "show-action-status")]
    ShowOperation {
        id: u32,
        #[arg(long, value_enum, default_value_t = Format::Yaml)]
        format: Format,
    },
    /// Stop an action
    #[command(alias = "cancel-action")]
    CancelTask { id: u32 },
    /// List an application's actions
    Actions {
        application: String,
        #[arg(long)]
        schema: bool,
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
    },
    /// Relate two applications
    #[command(alias = "relate")]
    Integrate { a: String, b: String },
    /// Remove a relation
    RemoveRelation { a: String, b: String },
    /// Show the model
    Status {
        /// Only these applications or units
        filters: Vec<String>,
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
        /// Show again every so often, as in 2s
        #[arg(long, value_parser = duration)]
        watch: Option<Duration>,
        #[arg(long)]
        relations: bool,
        #[arg(long)]
        storage: bool,
    },
    /// Wait until an application or unit fits a query, as in `wait-for application db --query 'status=="active"'`
    WaitFor(WaitFor),
    /// Show a unit with its databags
    ShowUnit {
        unit: String,
        #[arg(long, value_enum, default_value_t = Format::Yaml)]
        format: Format,
    },
    /// Show an application
    ShowApplication {
        application: String,
        #[arg(long, value_enum, default_value_t = Format::Yaml)]
        format: Format,
    },
    #[command(flatten)]
    Secret(SecretCommand),
    /// List storage
    Storage {
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
    },
    /// Run a command on units, in a hook's context
    Exec {
        #[arg(short, long)]
        unit: Vec<String>,
        #[arg(short, long)]
        application: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
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
    Scp {
        from: String,
        to: String,
        /// A directory with all that is in it
        #[arg(short, long)]
        recursive: bool,
    },
    /// Show the model's log
    DebugLog(DebugLog),
    /// Run a failed hook again, or pass over it
    Resolved {
        #[arg(required = true)]
        units: Vec<String>,
        #[arg(long)]
        no_retry: bool,
    },
    /// Show or set the model's settings
    ModelConfig {
        /// key to show, or key=value to set
        values: Vec<String>,
        #[arg(long, value_enum, default_value_t = Format::Yaml)]
        format: Format,
    },
    /// List models
    Models {
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
    },
    /// Add a model and switch to it
    AddModel {
        name: String,
        /// Stay with the model that is worked on now
        #[arg(long)]
        no_switch: bool,
    },
    /// Choose the model that commands work on
    Switch { name: Option<String> },
    /// Remove a model with everything in it
    DestroyModel {
        name: Option<String>,
        /// Storage goes with its model in any case
        #[arg(long)]
        destroy_storage: bool,
        #[command(flatten)]
        removal: Removal,
    },
    /// Remove the cached base image and packages
    PurgeCache,
    #[command(flatten)]
    Watchful(watchful::Watchful),
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

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    #[value(alias = "tabular", alias = "short")]
    Plain,
    Yaml,
    Json,
}

#[derive(Debug, Args)]
struct WaitFor {
    #[arg(value_enum)]
    kind: Kind,
    name: String,
    /// An expression that must be true, as in forEach(units, u => u.workload-status == "active")
    #[arg(long, default_value = "life==\"alive\" && status==\"active\"")]
    query: String,
    #[arg(long, default_value = "10m", value_parser = duration)]
    timeout: Duration,
    /// Show each change meanwhile
    #[arg(long)]
    summary: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Application,
    Unit,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Application => "application",
            Self::Unit => "unit",
        })
    }
}

#[derive(Debug, Args)]
struct DebugLog {
    /// From the beginning, and end at its end
    #[arg(long)]
    replay: bool,
    /// Only these, as in unit-db-0, db/0 or unit-db-*
    #[arg(short, long)]
    include: Vec<String>,
    /// Not these
    #[arg(short = 'x', long)]
    exclude: Vec<String>,
    /// Only these modules, as in unit.db/0.juju-log
    #[arg(long)]
    include_module: Vec<String>,
    /// At least this level
    #[arg(short, long, default_value = "DEBUG")]
    level: String,
    /// Go on showing what comes
    #[arg(long)]
    tail: bool,
    /// End at its end, on a terminal too
    #[arg(long, conflicts_with = "tail")]
    no_tail: bool,
    /// This many of the last lines first
    #[arg(short = 'n', long)]
    lines: Option<usize>,
    /// End after this many lines
    #[arg(long)]
    limit: Option<usize>,
}

/// The same with days, in whole seconds.
pub(crate) fn clock_seconds(text: &str) -> Result<u64, String> {
    match text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()) {
        Some(days) => days.checked_mul(24 * 3600).ok_or_else(|| format!("{text:?} is too long")),
        None => duration(text).map(|duration| duration.as_secs()),
    }
}

/// `90`, `90s`, `5m`, `1h30m`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write for example 90s, 5m or 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        total += match unit {
            "ms" => Duration::from_millis(number),
            "" | "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60).ok_or_else(wrong)?),
            "h" => Duration::from_secs(number.checked_mul(3600).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn grammar() {
        Cli::command().debug_assert();
        for line in [
            "deploy ./x.charm db -n 3 --config a=b --storage data=2G --base ubuntu@24.04",
            "run db/0 db/1 backup to=s3 --wait 5m --format json",
            "run-action db/0 backup --wait",
            "show-task 3",
            "status db --format=tabular --watch 2s",
            "wait-for unit db/0 --query 'x' --timeout 90s",
            "exec --unit db/0 -- mariadb --execute select",
            "remove-unit db/0 db/1 --force --no-prompt",
            "fault hook db/0 --kill-after-tools 3 --name start",
            "add-storage db/0 logs=2,1G more",
            "fault leadership db --none",
            "fault cut db/0 db/1 --from db/2 db/3 --one-way",
            "fault slow db/0 --delay 100 --jitter 10 --loss 0.5",
            "fault fill db/0 data --leave 4096",
            "fault clock --advance 30d",
            "add-secret name user=x --info text --file f",
            "update-secret name user=x --auto-prune --name other",
            "remove-secret name --revision 1",
            "show-secret name --reveal --revision 2",
            "attach-resource db image=./file",
            "destroy-model test --no-prompt --destroy-storage --force",
        ] {
            let words = ["juju-local"].into_iter().chain(line.split(' '));
            if let Err(why) = Cli::try_parse_from(words) {
                panic!("{line}: {why}");
            }
        }
        for line in [
            "run",
            "wait-for machine 0",
            "status --format xml",
            "run db/0 x --wait soon",
            "remove-unit",
            "fault slow db/0 --delay 1 --loss 101",
            "fault controller pause",
        ] {
            assert!(Cli::try_parse_from(["juju-local"].into_iter().chain(line.split(' '))).is_err(), "{line}");
        }
    }

    #[test]
    fn durations() {
        let check = |text: &str| duration(text).map_or_else(|why| why, |d| format!("{d:?}"));
        assert_eq!(check("90"), "90s");
        assert_eq!(check("1h30m"), "5400s");
        assert_eq!(check("500ms"), "500ms");
        assert_eq!(check("soon"), "\"soon\" is no duration; write for example 90s, 5m or 1h30m");
        assert!(duration("").is_err() && duration("5x").is_err());
    }
}
