//! Making a backup: the server's pages straight into the store, through compression and encryption, with nothing kept
//! on this machine. It exists when its manifest is there; until then whoever looks sees that it does not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::{self, Attempt};
use super::base::{self, Base};
use super::catalogue::Catalogue;
use super::error::{BackupError, concise};
use super::key;
use super::logical;
use super::manifest::{self, Cluster, Encryption, FORMAT, Kind, Manifest, Part};
use super::peek::{self, Seen};
use super::private::{self, Private};
use super::pump::{self, Broken};
use super::store::Store;
use super::stream::{Cuts, Sink};
use super::waits::{self, Watch};
use super::written;
use super::{Phase, Progress};
use crate::host::pipe::{Outflow, Row};
use crate::host::{Command, FileError, file, tree};
use crate::mariadb::Paths;

/// Held in the run directory while a backup is made.
pub const LOCK: &str = "backup.lock";
/// For the lock that one backup at a time holds.
const LOCK_LIMIT: Duration = Duration::from_millis(500);
/// Uploads that began longer ago are nobody's.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// What is to be made, and of what.
/// It holds a password: written only where nobody else reads.
#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    pub unit: String,
    /// This machine.
    pub host: String,
    pub application: String,
    pub model_uuid: String,
    pub cluster: Cluster,
    pub wanted: Wanted,
    /// Public keys; without any the backup is not encrypted.
    pub recipients: Vec<String>,
    /// A user, an action, or "schedule".
    pub who: String,
    pub why: String,
    /// The account that may back up, and its password.
    pub account: String,
    pub password: String,
    /// For compression.
    pub threads: u32,
    pub datadir: PathBuf,
    pub socket: PathBuf,
}

/// What kind of backup, and what it builds on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// All pages.
    Full,
    /// What has changed since the newest backup of this data directory. Where there is none, all pages.
    Incremental,
    /// What has changed since this one. Where that cannot be, all pages.
    IncrementalTo(String),
    /// All tables as text and statements, or those of these databases.
    Logical { databases: Vec<String> },
}

/// Makes a backup. On an error nothing is left that looks like one, and `failed.json` says why.
///
/// # Errors
/// When it could not be made.
pub fn take(store: &dyn Store, order: &Order, told: &mut dyn FnMut(Progress)) -> Result<Manifest, BackupError> {
    take_cut(store, order, Cuts::default(), told)
}

/// The same with other sizes of objects and chunks.
///
/// # Errors
/// When it could not be made.
pub fn take_cut(
    store: &dyn Store,
    order: &Order,
    cuts: Cuts,
    told: &mut dyn FnMut(Progress),
) -> Result<Manifest, BackupError> {
    let run = Paths::default().run;
    private::make_run(&run)?;
    // Held until the process ends, in whatever way: so those of this unit that are unfinished have no writer.
    // A program that another thread starts at this moment has a copy of the last one's lock until it runs.
    let _lock = file::lock(run.join(LOCK), LOCK_LIMIT).map_err(|why| match why {
        FileError::Locked { .. } => BackupError::Busy,
        FileError::Io { .. } | FileError::NoSuchName { .. } => BackupError::File(why),
    })?;
    // A server that does not answer is a matter for mariadb-backup's words.
    let _none = waits::end_orphans(&order.account, &order.socket);
    key::check_recipients(&order.recipients)?;
    let catalogue = Catalogue::read(store)?;
    attempt::clean_up(store, &catalogue, order)?;
    // Others' leftovers only cost room: not being able to remove them is no reason against a backup.
    let _left = store.sweep(ABANDONED);
    if let Wanted::Logical { databases } = &order.wanted {
        return logical::take(store, &catalogue, order, databases, cuts, told);
    }
    let base = base::choose(&catalogue, order)?;
    let total = tree::bytes(&order.datadir, &base::is_not_copied)?;
    base::check_room(store, &catalogue, order, &base, total)?;
    let told = &mut Told { total, told };
    let mut attempted =
        || Attempt::run(store, order, base.kind(), |attempt| copy(store, order, cuts, &base, attempt, told));
    match attempted() {
        // A burst of writes; what follows may be slower.
        Err(BackupError::Outrun) => attempted(),
        result => result,
    }
}

struct Told<'a> {
    total: u64,
    told: &'a mut dyn FnMut(Progress),
}

fn copy(
    store: &dyn Store,
    order: &Order,
    cuts: Cuts,
    base: &Base,
    attempt: &mut Attempt<'_>,
    told: &mut Told<'_>,
) -> Result<Manifest, BackupError> {
    let private = Private::new()?;
    let notes = private.folder("notes")?;
    let seen = Arc::new(Seen::default());
    let before = base::incarnation(order)?;
    let row = programs(order, base, &private, &notes, &seen)?;
    let outflow = row.reading().map_err(|source| BackupError::Program { what: WHAT, source })?;
    let sink = Sink::new(store, &attempt.id, cuts);
    let files = pump(outflow, sink, &seen, order, attempt, told)?;
    let written = written::read(&notes)?;
    // A copy of a directory that was replaced meanwhile is nobody's base.
    let incarnation = before.filter(|known| base::incarnation(order).ok().flatten().as_ref() == Some(known));
    let recipients = order.recipients.clone();
    Ok(Manifest {
        format: FORMAT,
        id: attempt.id.clone(),
        kind: base.kind(),
        parent: base.parent(),
        databases: Vec::new(),
        position: written::position(&seen.galera()),
        gtid: written.gtid,
        binlog: written.binlog,
        lsn: Some(written.lsn),
        unit: order.unit.clone(),
        application: order.application.clone(),
        model_uuid: order.model_uuid.clone(),
        cluster: order.cluster.clone(),
        incarnation,
        server_version: written.server_version,
        tool: written.tool,
        compression: "zstd".to_owned(),
        encryption: (!recipients.is_empty()).then_some(Encryption { recipients }),
        raw_bytes: seen.raw_bytes(),
        stored_bytes: files.iter().map(|part| part.bytes).sum(),
        chunk_bytes: cuts.chunk_bytes,
        files,
        began: attempt.at(),
        ended: manifest::now(),
        who: order.who.clone(),
        why: order.why.clone(),
        note: base.note(),
    })
}

const WHAT: &str = "copy the server's data";

fn programs(
    order: &Order,
    base: &Base,
    private: &Private,
    notes: &std::path::Path,
    seen: &Arc<Seen>,
) -> Result<Row, BackupError> {
    let login = private.write("login.cnf", &login(order))?;
    let mut copier = Command::new("mariadb-backup")
        // First, and instead of all others: what the server is set to it asks the server.
        .arg(format!("--defaults-file={}", login.display()))
        .args(["--backup", "--stream=xbstream", "--galera-info", "--open-files-limit=65535"])
        .arg(format!("--extra-lsndir={}", notes.display()))
        .directory(private.path());
    if let Base::Parent { lsn, .. } = base {
        copier = copier.arg(format!("--incremental-lsn={lsn}"));
    }
    let compressor = Command::new("zstd").args(["-1", "-q", "-c", &format!("-T{}", order.threads.max(1))]);
    let (seen, datadir) = (Arc::clone(seen), order.datadir.clone());
    let size_of = move |path: &str| {
        let path = path.strip_suffix(".delta").unwrap_or(path);
        std::path::Path::new(path).is_relative().then(|| datadir.join(path)).map_or(0, tree::file_bytes)
    };
    let row = Row::of(copier).tapped(move |tap| peek::watch(tap, &seen, &size_of)).then(compressor);
    if order.recipients.is_empty() {
        return Ok(row);
    }
    let recipients = private.write("recipients", &key::lines(&order.recipients))?;
    Ok(row.then(Command::new("age").arg("-R").arg(recipients)))
}

/// What mariadb-backup needs to find the server and to log in, in a file that nobody else may read.
fn login(order: &Order) -> String {
    let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!(
        "[mariadb-backup]\nuser=\"{}\"\npassword=\"{}\"\nsocket=\"{}\"\ndatadir=\"{}\"\n",
        quote(&order.account),
        quote(&order.password),
        quote(&order.socket.display().to_string()),
        quote(&order.datadir.display().to_string()),
    )
}

/// Into the store, and a look now and then whether the copy moves.
fn pump(
    outflow: Outflow,
    sink: Sink<'_>,
    seen: &Seen,
    order: &Order,
    attempt: &mut Attempt<'_>,
    told: &mut Told<'_>,
) -> Result<Vec<Part>, BackupError> {
    let mut watch = Watch::new();
    let pumped = pump::run(outflow, sink, attempt, &mut |kind| {
        let done = if kind == Kind::Full { seen.raw_bytes() } else { seen.covered_bytes() };
        (told.told)(Progress { phase: Phase::Copying, done: done.min(told.total), total: told.total });
        watch.look(seen.raw_bytes(), &order.account, &order.socket);
    });
    pumped.map_err(|why| match why {
        Broken::Store(why) => BackupError::Store(why),
        Broken::Programs(why) if watch.gave_way() => BackupError::GaveWay { source: concise(why) },
        // mariadb-backup 10.11: "Try increasing the innodb_log_file_size".
        Broken::Programs(why) if why.stderr().contains("innodb_log_file_size") => BackupError::Outrun,
        Broken::Programs(why) => BackupError::Program { what: WHAT, source: concise(why) },
    })
}
