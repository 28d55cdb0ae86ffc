//! The command line: Juju's grammar, one controller behind it. Each group of commands has a module with its grammar and
//! what it does; `args` is what they share, `client` talks to the controller, `show` and `status` print.

mod access;
mod actions;
mod applications;
mod args;
mod client;
mod config;
mod fault;
mod help;
mod interrupt;
mod log;
mod look;
mod machines;
mod models;
mod operations;
mod query;
mod removals;
mod secrets;
mod shell;
mod show;
mod status;
mod storage;
mod wait;
mod watchful;

use std::process::ExitCode;

use clap::{FromArgMatches as _, Parser, Subcommand};
use serde_json::Value;

use crate::api::Request;
pub(crate) use args::clock_seconds;

/// A Juju for one machine: runs any machine charm from its .charm file, without a controller or a cloud.
#[derive(Debug, Parser)]
#[command(name = "juju-local", version, about)]
struct Cli {
    /// The model to work on; the one that `switch` chose otherwise
    #[arg(short, long, global = true)]
    model: Option<String>,
    /// Say only results and errors
    #[arg(short, long, global = true, hide = true)]
    quiet: bool,
    #[command(flatten)]
    ignored: Ignored,
    #[command(subcommand)]
    command: Command,
}

/// What every command of Juju takes and has no meaning here: there is no log of the client's and no login.
#[derive(Debug, clap::Args)]
struct Ignored {
    #[arg(short, long, global = true, hide = true)]
    verbose: bool,
    #[arg(long, global = true, hide = true)]
    debug: bool,
    #[arg(long, global = true, hide = true)]
    show_log: bool,
    #[arg(long, global = true, hide = true)]
    logging_config: Option<String>,
    #[arg(short = 'B', long, global = true, hide = true)]
    no_browser_login: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Applications(applications::Applications),
    #[command(flatten)]
    Config(config::Config),
    #[command(flatten)]
    Actions(actions::Actions),
    #[command(flatten)]
    Operations(operations::Operations),
    #[command(flatten)]
    Look(look::Look),
    #[command(flatten)]
    Machines(machines::Machines),
    #[command(flatten)]
    Secrets(secrets::Secrets),
    #[command(flatten)]
    Storage(storage::Storage),
    #[command(flatten)]
    Access(access::Access),
    #[command(flatten)]
    Models(models::Models),
    #[command(flatten)]
    Shell(shell::Shell),
    #[command(flatten)]
    Watchful(watchful::Watchful),
    /// Break something on purpose, and mend it
    #[command(subcommand)]
    Fault(fault::FaultCommand),
    /// The process behind a model
    #[command(hide = true)]
    Controller {
        #[arg(long)]
        name: String,
    },
}

/// The model that a command works on.
struct Session {
    model: String,
}

impl Session {
    fn new(model: Option<&str>) -> Self {
        Self { model: client::current(model) }
    }

    /// Asks the model's controller.
    fn ask(&self, request: &Request) -> anyhow::Result<Value> {
        client::ask(&self.model, request)
    }
}

/// Parses and runs; 2 for wrong usage, 1 for failure.
pub fn run() -> ExitCode {
    let given = help::grammar().try_get_matches().unwrap_or_else(|why| {
        if let Some(why) = elsewhere(&why) {
            client::complain(&format!("ERROR {why}"));
            std::process::exit(2);
        }
        why.exit()
    });
    let cli = Cli::from_arg_matches(&given).unwrap_or_else(|why| why.exit());
    client::be_quiet(cli.quiet);
    interrupt::watch();
    match command(cli) {
        Ok(code) => code,
        Err(why) => {
            let why = format!("{why:#}");
            client::complain(&format!("ERROR {why}{}", remedy(&why)));
            ExitCode::FAILURE
        }
    }
}

/// Why a command of Juju's is none here.
fn elsewhere(why: &clap::Error) -> Option<String> {
    const REASONS: [(&str, &[&str]); 4] = [
        (
            "there is no controller to care for and no cloud behind it",
            &[
                "bootstrap",
                "clouds",
                "credentials",
                "controllers",
                "regions",
                "add-cloud",
                "add-credential",
                "autoload-credentials",
                "destroy-controller",
                "kill-controller",
                "controller-config",
                "show-controller",
                "enable-ha",
                "migrate",
                "create-backup",
                "upgrade-controller",
                "upgrade-model",
                "add-k8s",
            ],
        ),
        (
            "models have no relations across their borders",
            &[
                "offer",
                "consume",
                "offers",
                "find-offers",
                "show-offer",
                "remove-offer",
                "remove-saas",
                "suspend-relation",
                "resume-relation",
            ],
        ),
        (
            "everything is done as root",
            &[
                "login",
                "logout",
                "register",
                "add-user",
                "users",
                "whoami",
                "show-user",
                "grant",
                "revoke",
                "change-user-password",
            ],
        ),
        (
            "machines have what this host has, and charms come from files",
            &[
                "set-constraints",
                "constraints",
                "set-model-constraints",
                "download",
                "find",
                "info",
                "diff-bundle",
                "export-bundle",
                "add-space",
                "spaces",
                "subnets",
                "reload-spaces",
                "bind",
                "create-storage-pool",
                "storage-pools",
            ],
        ),
    ];
    if why.kind() != clap::error::ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(clap::error::ContextValue::String(word)) = why.get(clap::error::ContextKind::InvalidSubcommand) else {
        return None;
    };
    let (reason, _) = REASONS.iter().find(|(_, words)| words.contains(&word.as_str()))?;
    Some(format!("juju-local has no {word:?}: {reason}; see juju-local commands"))
}

/// Where the right name stands, for those who have written a wrong one.
fn remedy(why: &str) -> &'static str {
    let what = why.split_whitespace().next().unwrap_or_default();
    match what {
        _ if !why.ends_with("not found") => "",
        "application" | "unit" | "machine" => "; see juju-local status",
        "relation" => "; see juju-local status --relations",
        "secret" => "; see juju-local secrets",
        "storage" => "; see juju-local storage",
        _ => "",
    }
}

/// Runs a command to its exit code.
fn command(cli: Cli) -> anyhow::Result<ExitCode> {
    let session = Session::new(cli.model.as_deref());
    match cli.command {
        Command::Applications(command) => applications::run(&session, command)?,
        Command::Config(command) => config::run(&session, command)?,
        Command::Actions(command) => return actions::run(&session, command),
        Command::Operations(command) => return operations::run(&session, command),
        Command::Look(command) => return look::run(&session, command),
        Command::Machines(command) => machines::run(&session, command)?,
        Command::Secrets(command) => secrets::run(&session, command)?,
        Command::Storage(command) => storage::run(&session, command)?,
        Command::Access(command) => return access::run(&session, command),
        Command::Models(command) => models::run(&session, command)?,
        Command::Shell(command) => shell::run(command)?,
        Command::Watchful(command) => return watchful::run(&session, command),
        Command::Fault(command) => return fault::run(&session, command),
        Command::Controller { name } => crate::controller::run(&name)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn remedies() {
        assert_eq!(remedy("unit \"db/9\" not found"), "; see juju-local status");
        assert_eq!(remedy("cannot read file: not found"), "");
        assert_eq!(remedy("unit \"db/9\" is busy"), "");
    }

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
            "wait-for machine 0",
            "wait-for model m --query x",
            "exec --app db --format json -- ls",
            "ssh db/leader -m other ls -l",
            "ssh 0",
            "scp -r a b db/0:/x",
            "remove-relation 3",
            "resolved --all --no-retry",
            "deploy ./x.charm --resource image=./file --trust --attach-storage data/0 --force",
            "refresh db --path x --force-units --resource image=./file",
            "remove-unit db/0 --destroy-storage",
            "add-machine -n 2",
            "remove-machine 1 --force -y",
            "secrets --owner db --format yaml",
            "model-config --reset a,b",
            "config db --reset a,b --file x.yaml",
            "status --format line -o x --no-color",
            "show-unit db/0 --app --endpoint x --related-unit y/0",
            "completion bash",
        ] {
            let words = ["juju-local"].into_iter().chain(line.split(' '));
            if let Err(why) = Cli::try_parse_from(words) {
                panic!("{line}: {why}");
            }
        }
        for line in [
            "run",
            "wait-for relation 0",
            "resolved",
            "resolved db/0 --all",
            "exec --all --unit db/0 ls",
            "status --format xml",
            "run db/0 x --wait soon",
            "remove-unit",
            "fault slow db/0 --delay 1 --loss 101",
            "fault controller pause",
        ] {
            assert!(Cli::try_parse_from(["juju-local"].into_iter().chain(line.split(' '))).is_err(), "{line}");
        }
    }
}
