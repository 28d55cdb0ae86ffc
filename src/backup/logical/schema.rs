//! The statements that make databases, tables, views, routines, triggers, events and accounts: `mariadb-dump` writes them,
//! `mariadb` carries them out.

use std::time::Duration;

use crate::backup::error::{BackupError, concise};
use crate::host::{Command, CommandError};

const LIMIT: Duration = Duration::from_secs(60 * 60);

/// As text.
pub(super) struct Schema {
    /// Databases, tables, sequences, routines and views.
    pub(super) schema: Vec<u8>,
    /// What must not act while rows are loaded: triggers and events.
    pub(super) triggers: Vec<u8>,
    /// Users, roles and their rights, and what those need; nothing where only some databases are wanted.
    pub(super) accounts: Vec<u8>,
    /// Views that show nothing any more, and so are not in it.
    pub(super) left_out: Vec<String>,
}

/// Reads it. `databases` is never empty.
pub(super) fn read(socket: &str, databases: &[&str], with_accounts: bool) -> Result<Schema, BackupError> {
    let mut left_out = Vec::new();
    let (mut schema, mut triggers) = (Vec::new(), Vec::new());
    if !databases.is_empty() {
        let common = ["--no-data", "--skip-add-drop-table", "--skip-lock-tables", "--skip-add-locks", "--databases"];
        let first = ["--skip-triggers", "--routines"];
        schema = dump(socket, &[&first[..], &common[..], databases].concat(), &mut left_out)?;
        let then = ["--no-create-info", "--no-create-db", "--triggers", "--events", "--skip-routines"];
        triggers = dump(socket, &[&then[..], &common[..], databases].concat(), &mut Vec::new())?;
    }
    let accounts = match with_accounts {
        true => dump(socket, &["--system=users,plugins,udfs,servers", "--insert-ignore"], &mut Vec::new())?,
        false => Vec::new(),
    };
    Ok(Schema { schema, triggers, accounts, left_out })
}

fn dump(socket: &str, args: &[&str], left_out: &mut Vec<String>) -> Result<Vec<u8>, BackupError> {
    let command = |force: &[&str]| {
        Command::new("mariadb-dump")
            .args(["--no-defaults", "--user=root", "--default-character-set=utf8mb4", "--skip-dump-date"])
            .arg(format!("--socket={socket}"))
            .args(force)
            .args(args)
            .timeout(LIMIT)
    };
    let failed = |source: CommandError| {
        if is_about_a_change(source.stderr()) {
            return BackupError::TablesChanged { table: "the tables".to_owned() };
        }
        BackupError::Program { what: "read how the tables are made", source: concise(source) }
    };
    match command(&[]).run() {
        Ok(output) => Ok(output.stdout),
        // A view of something that is gone: the rest is wanted all the same.
        Err(why) if is_about_a_view(&why) => {
            let output = command(&["--force"]).output().map_err(failed)?;
            let said = output.stderr_text();
            let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
            if let Some(other) = lines.iter().find(|line| !is_view_line(line)) {
                let stderr = (*other).to_owned();
                let command = "mariadb-dump".to_owned();
                return Err(failed(CommandError::Failed { command, code: output.code(), signal: None, stderr }));
            }
            left_out.extend(lines.iter().filter_map(|line| view_in(line)));
            left_out.sort();
            left_out.dedup();
            Ok(output.stdout)
        }
        Err(why) => Err(failed(why)),
    }
}

/// Gone since it was listed, made anew, or just being changed on all members of a cluster.
fn is_about_a_change(stderr: &str) -> bool {
    let signs = ["(1213)", "(1146)", "(1412)", "(1049)", "(1305)", "Couldn't read status information for table"];
    signs.iter().any(|sign| stderr.contains(sign))
}

fn is_about_a_view(why: &CommandError) -> bool {
    why.stderr().lines().any(is_view_line)
}

fn is_view_line(line: &str) -> bool {
    line.contains("references invalid") || line.contains("(1356)")
}

/// `mariadb-dump: Couldn't execute 'SHOW FIELDS FROM `v`': View 'd.v' references invalid ...` → `d.v`.
fn view_in(line: &str) -> Option<String> {
    Some(line.split_once("View '")?.1.split_once('\'')?.0.to_owned())
}

/// Carries statements out.
///
/// # Errors
/// What the first one that failed said.
pub(super) fn carry_out(socket: &str, statements: Vec<u8>) -> Result<(), CommandError> {
    Command::new("mariadb")
        .args(["--no-defaults", "--user=root", "--default-character-set=utf8mb4", "--batch", "--max-allowed-packet=1G"])
        .arg(format!("--socket={socket}"))
        .arg("--init-command=SET SESSION foreign_key_checks = 0, wsrep_sync_wait = 0")
        .stdin(statements)
        .timeout(LIMIT)
        .run()
        .map(drop)
}
