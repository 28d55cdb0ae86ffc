//! Why a backup was not made, not proved, or not brought back. Each text says what a person can do, or what is wrong
//! with which backup.

use std::path::PathBuf;

use super::store::StoreError;
use crate::host::machine::MachineError;
use crate::host::{CommandError, FileError};
use crate::mariadb::sql::SqlError;

const LINES_KEPT: usize = 3;

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of this machine.
    #[error(transparent)]
    File(#[from] FileError),
    /// This machine could not be measured.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A program failed that is not to blame on the backup.
    #[error("cannot {what}")]
    Program { what: &'static str, source: CommandError },
    /// The copy and a change of tables waited for each other.
    #[error("cannot copy the server's data beside a change of tables that waited for the copy; try again")]
    GaveWay { source: CommandError },
    /// The redo log was written over before it was read.
    #[error(
        "cannot copy the server's data: more was written meanwhile than its redo log holds; try again when less is written, or use another profile than testing, whose redo log is small"
    )]
    Outrun,
    /// No such backup.
    #[error("cannot find a backup {id} in {store}")]
    Unknown { id: String, store: String },
    /// It never became one.
    #[error("cannot use the backup {id}: it failed: {reason}")]
    Failed { id: String, reason: String },
    /// It is not whole yet, or never will be.
    #[error("cannot use the backup {id}: it was not finished")]
    Unfinished { id: String },
    /// Its manifest is no good to us.
    #[error("cannot use the backup {id}: its manifest {why}")]
    Manifest { id: String, why: String },
    /// One of those that it builds on.
    #[error("cannot use the backup {id}: it builds on the backup {parent}, which {why}")]
    Parent { id: String, parent: String, why: String },
    /// It has some databases only.
    #[error(
        "cannot replace all data by the backup {id}: it has only the databases {databases}; restore loads them into the running cluster"
    )]
    Partial { id: String, databases: String },
    /// It has all databases, or is a copy of a data directory.
    #[error("cannot load the backup {id} into a running server: it was not made of some databases")]
    NotPartial { id: String },
    /// What it has is there.
    #[error(
        "cannot load the backup {id}: there is a database of this name already: {databases}; drop or rename it, or restore a backup of everything"
    )]
    DatabaseExists { id: String, databases: String },
    /// All bytes are as they were written, and yet they make no sense here.
    #[error("cannot use the backup {id}: {why}")]
    Unfit { id: String, why: String },
    /// Nobody has such a database.
    #[error("cannot back up databases={wanted}: no such database of users; there are: {there}")]
    NoDatabase { wanted: String, there: String },
    /// The server refuses.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A table cannot be read or written.
    #[error("cannot copy the rows of {table}")]
    Table { table: String, source: SqlError },
    /// Somebody has changed tables since the snapshot.
    #[error("cannot copy {table} as of one moment, because somebody changed tables meanwhile; try again")]
    TablesChanged { table: String },
    /// Commits could not be held.
    #[error("cannot see all tables at one moment, because the server did not hold commits in time: {why}; try again")]
    NoSnapshot { why: String },
    /// The disk on which the server writes tables' rows.
    #[error("cannot write tables as text: {} has room for {free} bytes, and about {need} are needed", .path.display())]
    NoRoomToStage { path: PathBuf, free: u64, need: u64 },
    /// A file that the server and we hand each other.
    #[error("cannot hand over a table's rows")]
    Staged { source: std::io::Error },
    /// Databases are being loaded.
    #[error("cannot load a backup: another one is being loaded on this unit")]
    Loading,
    /// An object is gone.
    #[error("cannot use the backup {id}: its object {object} is missing")]
    MissingObject { id: String, object: String },
    /// An object has another size.
    #[error("cannot use the backup {id}: its object {object} has {is} bytes instead of {should}")]
    Size { id: String, object: String, is: u64, should: u64 },
    /// An object has other bytes.
    #[error("cannot use the backup {id}: its object {object} is damaged in chunk {chunk} of {chunk_count}")]
    Damaged { id: String, object: String, chunk: usize, chunk_count: usize },
    /// All bytes are as they were written, and yet nothing comes of them.
    #[error("cannot use the backup {id}: it cannot be {what}")]
    Useless { id: String, what: &'static str, source: CommandError },
    /// It would not fit into the store.
    #[error("cannot back up to {store}: it has room for {free} bytes, and about {need} are needed")]
    NoRoomInStore { store: String, free: u64, need: u64 },
    /// It would not fit onto the disk.
    #[error("cannot bring back the backup {id}: {} has room for {free} bytes, and {need} are needed", .path.display())]
    NoRoom { id: String, path: PathBuf, free: u64, need: u64 },
    /// Something is where the data should go.
    #[error("cannot bring back a backup into {}: something is there already", .path.display())]
    Occupied { path: PathBuf },
    /// Encrypted, and nobody gave a key.
    #[error("cannot read the backup {id}: it is encrypted, and no age identity was given (backup-key)")]
    NoIdentity { id: String },
    /// Encrypted for somebody else.
    #[error("cannot read the backup {id}: the given age identity is not one of those that it was encrypted for")]
    WrongIdentity { id: String },
    /// The key is no key.
    #[error("cannot use the given age identity: {why}")]
    BadIdentity { why: String },
    /// The recipients are none.
    #[error("cannot encrypt for backup-recipients: {why}")]
    BadRecipients { why: String },
    /// Another one is being made on this unit.
    #[error("cannot begin a backup: another one is running on this unit")]
    Busy,
    /// A program wrote something that we do not understand.
    #[error("cannot understand what mariadb-backup wrote: {what}")]
    Odd { what: String },
    /// A throwaway server could not be used, for a reason that is not the backup's.
    #[error("cannot check a backup on a server of its own: {why}")]
    Server { why: String },
}

impl BackupError {
    /// Whether it is the backup that is no good; otherwise another try, with more room or the right key, may succeed.
    pub fn is_about_the_backup(&self) -> bool {
        match self {
            Self::Failed { .. }
            | Self::Manifest { .. }
            | Self::Parent { .. }
            | Self::MissingObject { .. }
            | Self::Size { .. }
            | Self::Damaged { .. }
            | Self::Unfit { .. }
            | Self::Useless { .. } => true,
            Self::Store(_)
            | Self::File(_)
            | Self::Machine(_)
            | Self::Program { .. }
            | Self::GaveWay { .. }
            | Self::Outrun
            | Self::Unknown { .. }
            | Self::Unfinished { .. }
            | Self::Partial { .. }
            | Self::NotPartial { .. }
            | Self::DatabaseExists { .. }
            | Self::NoDatabase { .. }
            | Self::Sql(_)
            | Self::Table { .. }
            | Self::TablesChanged { .. }
            | Self::NoSnapshot { .. }
            | Self::NoRoomToStage { .. }
            | Self::Staged { .. }
            | Self::Loading
            | Self::NoRoomInStore { .. }
            | Self::NoRoom { .. }
            | Self::Occupied { .. }
            | Self::NoIdentity { .. }
            | Self::WrongIdentity { .. }
            | Self::BadIdentity { .. }
            | Self::BadRecipients { .. }
            | Self::Busy
            | Self::Odd { .. }
            | Self::Server { .. } => false,
        }
    }

    /// The whole chain of causes in one line.
    pub fn in_words(&self) -> String {
        in_words(self)
    }
}

/// A program's failure without its arguments, and with no more of its complaints than the last of them: mariadb-backup
/// tells of every file that it has copied.
pub(super) fn concise(why: CommandError) -> CommandError {
    match why {
        CommandError::Failed { command, code, signal, stderr } => {
            let lines: Vec<&str> = stderr.lines().map(without_stamp).filter(|line| !line.is_empty()).collect();
            // A server's first error is the cause, and its last words are that it ends.
            let errors: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("[ERROR] ")).collect();
            let stderr = match errors.as_slice() {
                [] => lines[lines.len().saturating_sub(LINES_KEPT)..].join("; "),
                errors => errors[..errors.len().min(LINES_KEPT)].join("; "),
            };
            let command = command.split_whitespace().next().unwrap_or_default().to_owned();
            CommandError::Failed { command, code, signal, stderr }
        }
        other @ (CommandError::Start { .. } | CommandError::Talk { .. } | CommandError::TimedOut { .. }) => other,
    }
}

/// `[00] 2026-11-22 08:24:28 text` or `2026-11-22  8:24:28 0 text` → `text`.
fn without_stamp(line: &str) -> &str {
    let is_stamp = |word: &str| word.chars().all(|c| c.is_ascii_digit() || "[]-:".contains(c));
    let mut rest = line.trim();
    while let Some((word, more)) = rest.split_once(char::is_whitespace) {
        if !is_stamp(word) {
            break;
        }
        rest = more.trim_start();
    }
    rest
}

/// An error with its causes. Some of them repeat their cause in their own text.
pub(super) fn in_words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(why) = source {
        let more = why.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = why.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_last_words_are_enough() {
        let stderr = "[00] 2026-11-22 08:24:27 one\n2026-11-22  8:24:27 0 [Note] two\n\nthree\n\
                      [00] 2026-11-22 08:24:28 Failed: 5 times\n"
            .to_owned();
        let command = "mariadb-backup --defaults-file=/x --backup".to_owned();
        let why = concise(CommandError::Failed { command, code: Some(1), signal: None, stderr });
        let why = BackupError::Program { what: "copy", source: why };
        assert_eq!(
            why.in_words(),
            "cannot copy: cannot run mariadb-backup: it ended with exit code 1: [Note] two; three; Failed: 5 times"
        );
        let stderr = "2026-11-22  8:24:27 0 [Warning] Could not increase max_open_files\n\
                      2026-11-22  8:24:27 0 [ERROR] InnoDB: Cannot resize\n2026-11-22  8:24:28 0 [ERROR] Aborting\n\
                      2026-11-22  8:24:28 0 [Note] bye\n";
        let (command, stderr) = ("mariadbd --no-defaults".to_owned(), stderr.to_owned());
        let why = concise(CommandError::Failed { command, code: Some(1), signal: None, stderr }).to_string();
        assert!(why.ends_with(": InnoDB: Cannot resize; Aborting"), "a server's errors are the cause: {why}");
    }
}
