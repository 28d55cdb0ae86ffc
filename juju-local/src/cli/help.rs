//! Examples for each command and where to read on, below its help. A test reads them: each is a command that works.

use clap::CommandFactory as _;

use super::Cli;
use super::show::table;

/// A command, examples of it, and commands that belong to it.
const EXAMPLES: &[(&str, &[&str], &[&str])] = &[
    (
        "deploy",
        &[
            "deploy ./my.charm",
            "deploy ./my.charm db -n 3 --config profile=testing --storage data=2G",
            "deploy ./my.charm --config options.yaml --bind database-peers=internal",
            "deploy ./my.charm --resource image=./file.bin --trust",
        ],
        &["refresh", "add-unit", "integrate", "status"],
    ),
    (
        "refresh",
        &["refresh db --path ./my.charm", "refresh db --path ./my.charm --resource image=./file.bin --force-units"],
        &["deploy", "resolved"],
    ),
    ("attach-resource", &["attach-resource db image=./file.bin"], &["deploy", "refresh"]),
    ("trust", &["trust db", "trust db --remove"], &["deploy"]),
    (
        "add-unit",
        &["add-unit db", "add-unit db -n 2", "add-unit db --to 0", "add-unit db --attach-storage data/0"],
        &["remove-unit", "add-machine"],
    ),
    (
        "remove-unit",
        &["remove-unit db/1", "remove-unit db/1 db/2 --force --no-prompt", "remove-unit db/1 --destroy-storage"],
        &["add-unit"],
    ),
    ("remove-application", &["remove-application db --no-prompt"], &["destroy-model"]),
    ("integrate", &["integrate db web", "integrate db:database web:backend"], &["remove-relation", "status"]),
    ("remove-relation", &["remove-relation db web", "remove-relation 4"], &["integrate"]),
    ("expose", &["expose db"], &["unexpose"]),
    ("unexpose", &["unexpose db"], &["expose"]),
    ("resolved", &["resolved db/0", "resolved db/0 --no-retry", "resolved --all"], &["debug-log", "status"]),
    (
        "config",
        &[
            "config db",
            "config db profile",
            "config db profile=testing",
            "config db --reset profile",
            "config db --file options.yaml",
        ],
        &["model-config"],
    ),
    (
        "model-config",
        &["model-config", "model-config agent-version=2.9.50", "model-config --reset update-status-hook-interval"],
        &["config"],
    ),
    (
        "run",
        &[
            "run db/leader backup",
            "run db/0 db/1 restore to=here n=5 --wait 5m",
            "run db/0 backup --background",
            "run db/0 backup --format json",
        ],
        &["actions", "operations", "show-task", "exec"],
    ),
    ("run-action", &["run-action db/0 backup --wait"], &["run"]),
    ("operations", &["operations", "operations --apps db --status failed"], &["show-operation", "show-task"]),
    ("show-operation", &["show-operation 1", "show-operation 1 --wait 2m"], &["operations", "show-task"]),
    ("show-task", &["show-task 2", "show-task 2 --format yaml"], &["show-operation"]),
    ("cancel-task", &["cancel-task 2"], &["operations"]),
    ("actions", &["actions db", "actions db --schema"], &["run", "show-action"]),
    ("show-action", &["show-action db backup"], &["actions", "run"]),
    (
        "status",
        &[
            "status",
            "status db --relations --storage",
            "status blocked --format line",
            "status --watch 2s",
            "status --format json",
        ],
        &["show-unit", "wait-for", "machines"],
    ),
    ("machines", &["machines"], &["status", "add-machine"]),
    ("add-machine", &["add-machine", "add-machine -n 2"], &["machines", "remove-machine", "add-unit"]),
    ("remove-machine", &["remove-machine 1", "remove-machine 1 --force --no-prompt"], &["add-machine"]),
    (
        "wait-for",
        &[
            "wait-for application db",
            "wait-for unit db/0 --query status==\"blocked\" --timeout 2m",
            "wait-for machine 0 --query status==\"down\"",
            "wait-for model test --query forEach(units,u=>u.workload-status==\"active\")",
        ],
        &["status"],
    ),
    ("show-unit", &["show-unit db/0", "show-unit db/0 --endpoint peers --app"], &["status"]),
    ("show-application", &["show-application db"], &["status"]),
    (
        "debug-log",
        &[
            "debug-log --replay",
            "debug-log --tail --include db/0 --level WARNING",
            "debug-log --lines 50 --include-module unit.db/0",
        ],
        &["status"],
    ),
    ("storage", &["storage", "storage --format yaml"], &["show-storage"]),
    ("show-storage", &["show-storage data/0"], &["storage"]),
    ("add-storage", &["add-storage db/0 logs", "add-storage db/0 logs=2,1G"], &["storage", "detach-storage"]),
    ("attach-storage", &["attach-storage db/1 data/0"], &["detach-storage"]),
    ("detach-storage", &["detach-storage data/0"], &["attach-storage", "remove-storage"]),
    ("remove-storage", &["remove-storage data/0", "remove-storage data/0 --force"], &["detach-storage"]),
    ("secrets", &["secrets", "secrets --owner db"], &["show-secret"]),
    (
        "show-secret",
        &[
            "show-secret password --reveal",
            "show-secret password --reveal --revision 1",
            "show-secret password --revisions",
        ],
        &["secrets"],
    ),
    (
        "add-secret",
        &["add-secret password user=db", "add-secret key text#file=./key.pem --info backup"],
        &["grant-secret", "update-secret"],
    ),
    (
        "update-secret",
        &["update-secret password user=other", "update-secret password --auto-prune"],
        &["remove-secret"],
    ),
    ("remove-secret", &["remove-secret password", "remove-secret password --revision 1"], &["add-secret"]),
    ("grant-secret", &["grant-secret password db,web"], &["revoke-secret"]),
    ("revoke-secret", &["revoke-secret password web"], &["grant-secret"]),
    (
        "exec",
        &["exec --unit db/0 -- ls -l", "exec --application db relation-ids peers", "exec --all hostname"],
        &["ssh", "run"],
    ),
    ("ssh", &["ssh db/0", "ssh db/leader uptime", "ssh 0 journalctl -b"], &["scp", "exec"]),
    ("scp", &["scp db/0:/etc/hosts .", "scp -r ./dir db/0:/root/"], &["ssh"]),
    ("models", &["models"], &["switch", "add-model"]),
    ("add-model", &["add-model test", "add-model test --no-switch"], &["models", "destroy-model"]),
    ("switch", &["switch", "switch test"], &["models"]),
    ("destroy-model", &["destroy-model test --no-prompt"], &["models", "purge-cache"]),
    ("purge-cache", &["purge-cache"], &["destroy-model"]),
    ("completion", &["completion bash"], &["man"]),
    ("man", &["man /usr/local/share/man/man1"], &["completion"]),
    (
        "fault",
        &["fault power-off db/0", "fault cut db/0 --from db/1", "fault fill db/0 data", "fault list", "fault clear"],
        &["status"],
    ),
];

/// The command line's grammar with everything that `--help` shows.
pub(super) fn grammar() -> clap::Command {
    let mut command = Cli::command().after_help(
        "Examples:\n  juju-local deploy ./my.charm -n 3\n  juju-local status --watch 2s\n  \
         juju-local run my/leader some-action\n  juju-local fault power-off my/0\n  \
         juju-local destroy-model --no-prompt\n\n\
         juju-local help COMMAND says more about one; juju-local commands lists them with nothing else.",
    );
    for (name, examples, others) in EXAMPLES {
        let mut text = String::from("Examples:\n");
        for example in *examples {
            text.push_str(&format!("  juju-local {example}\n"));
        }
        if !others.is_empty() {
            text.push_str(&format!("\nSee also: {}", others.join(", ")));
        }
        command = command.mut_subcommand(name, |command| command.after_help(text));
    }
    let list = format!("Commands:\n{}", commands(&command));
    command.mut_subcommand("commands", |command| command.after_help(list))
}

/// Every command with its summary.
pub(super) fn commands(grammar: &clap::Command) -> String {
    let shown = grammar.get_subcommands().filter(|command| !command.is_hide_set());
    let mut rows: Vec<Vec<String>> = shown
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            vec![command.get_name().to_owned(), about]
        })
        .collect();
    rows.sort();
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn examples() {
        grammar().debug_assert();
        for (name, examples, others) in EXAMPLES {
            for example in *examples {
                assert_eq!(example.split(' ').next(), Some(*name));
                let words = ["juju-local"].into_iter().chain(example.split(' '));
                if let Err(why) = Cli::try_parse_from(words) {
                    panic!("{example}: {why}");
                }
            }
            for other in *others {
                assert!(grammar().find_subcommand(other).is_some(), "{name}: there is no {other} to see");
            }
        }
        let undocumented: Vec<String> = grammar()
            .get_subcommands()
            .filter(|command| !command.is_hide_set() && command.get_about().is_none())
            .map(|command| command.get_name().to_owned())
            .collect();
        assert_eq!(undocumented, Vec::<String>::new());
    }
}
