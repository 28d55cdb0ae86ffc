//! Some databases of a logical backup into a server that runs and serves: only where none of them is. What is half there
//! bears a mark in its comment, and goes when the load fails or, after a crash, before the next one.

use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use super::fill::{self, Target};
use super::index::{self, Database, Index};
use super::staging::Staging;
use crate::backup::Progress;
use crate::backup::error::BackupError;
use crate::backup::manifest::Manifest;
use crate::backup::private::{self, Private};
use crate::backup::store::Store;
use crate::host::{FileError, Mode, file};
use crate::mariadb::Paths;
use crate::mariadb::sql::{Session, SqlError, quote_identifier, quote_text};

const ANSWER_LIMIT: Duration = Duration::from_secs(60 * 60);
const LOCK_LIMIT: Duration = Duration::from_millis(500);
/// What a cluster has to take at once: each part is one transaction.
const PART_BYTES: u64 = 4 << 20;
/// On the volume, while a load is under way.
const MARKER: &str = "data.load.json";
/// The comment of a database that is half there begins so.
const HALF: &str = "half restored from the backup";

/// A server that serves.
#[derive(Clone, Debug)]
pub struct Live {
    pub socket: PathBuf,
    pub datadir: PathBuf,
    /// Where it is noted what is half there.
    pub volume: PathBuf,
    pub threads: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub databases: Vec<String>,
    pub tables: usize,
    pub rows: u64,
    /// Tables whose rows Galera does not replicate: they are on this member only.
    pub here_only: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    mark: String,
    databases: Vec<String>,
}

/// Restores the databases of a backup of some.
///
/// # Errors
/// When one of them is there already; then nothing was touched. When it fails; then what it made is gone again.
pub fn load(
    store: &dyn Store,
    chain: &[Manifest],
    identity: Option<&str>,
    live: &Live,
    told: &mut dyn FnMut(Progress),
) -> Result<Loaded, BackupError> {
    let [made] = chain else { return Err(BackupError::NotPartial { id: last_id(chain) }) };
    if made.databases.is_empty() {
        return Err(BackupError::NotPartial { id: made.id.clone() });
    }
    if made.encryption.is_some() && identity.is_none() {
        return Err(BackupError::NoIdentity { id: made.id.clone() });
    }
    let run = Paths::default().run;
    private::make_run(&run)?;
    let _lock = file::lock(run.join("load.lock"), LOCK_LIMIT).map_err(|why| match why {
        FileError::Locked { .. } => BackupError::Loading,
        FileError::Io { .. } | FileError::NoSuchName { .. } => BackupError::File(why),
    })?;
    clean_up(live)?;
    let mut session = open(live)?;
    let there = index::databases(&mut session)?;
    let taken: Vec<String> = made.databases.iter().filter(|name| is_in(&there, name)).cloned().collect();
    if !taken.is_empty() {
        return Err(BackupError::DatabaseExists { id: made.id.clone(), databases: taken.join(", ") });
    }
    let private = Private::new()?;
    let key = match identity.filter(|_| made.encryption.is_some()) {
        Some(identity) => Some(private.write("identity", &format!("{}\n", identity.trim()))?),
        None => None,
    };
    let staging = Staging::of(&mut session, &live.datadir, "load")?;
    staging.check_room(super::index::PIECE_BYTES)?;
    let marker = Marker {
        mark: format!("{HALF} {} ({:08x})", made.id, rand::rng().random::<u32>()),
        databases: made.databases.clone(),
    };
    let text = serde_json::to_string(&marker).unwrap_or_default();
    file::write_atomic(live.volume.join(MARKER), text.as_bytes(), &Mode::new(0o600))?;
    let loaded = fill_databases(store, made, key.as_deref(), live, &marker, staging.path(), told);
    let loaded = loaded.and_then(|loaded| {
        file::remove_opt(live.volume.join(MARKER))?;
        Ok(loaded)
    });
    if loaded.is_err() {
        // What could not be removed now is removed by the next one.
        let _left = clean_up(live);
    }
    loaded
}

fn fill_databases(
    store: &dyn Store,
    made: &Manifest,
    key: Option<&std::path::Path>,
    live: &Live,
    marker: &Marker,
    folder: &std::path::Path,
    told: &mut dyn FnMut(Progress),
) -> Result<Loaded, BackupError> {
    let socket = live.socket.to_string_lossy();
    let mut session = open(live)?;
    let mut create = |index: &Index| -> Result<(), BackupError> {
        let foreign = index.databases.iter().find(|database| !marker.databases.contains(&database.name));
        if let Some(foreign) = foreign {
            return Err(BackupError::Unfit {
                id: made.id.clone(),
                why: format!("its manifest does not name the database {}", foreign.name),
            });
        }
        for database in &index.databases {
            session.run("create a database", &create_statement(database, &marker.mark))?;
        }
        Ok(())
    };
    let mut target = Target {
        socket: &socket,
        folder,
        threads: live.threads,
        part_bytes: PART_BYTES,
        accounts: false,
        before: &mut create,
    };
    let filled = fill::fill(store, made, key, &mut target, told)?;
    let index = filled.index.unwrap_or(Index { databases: Vec::new(), tables: Vec::new() });
    for database in &index.databases {
        let (name, comment) = (quote_identifier(&database.name), quote_text(&database.comment));
        session.run("finish a database", &format!("ALTER DATABASE {name} COMMENT = {comment}"))?;
    }
    let here_only = index.tables.iter().filter(|table| !table.is_in_snapshot()).map(index::Table::shown);
    Ok(Loaded {
        databases: index.databases.iter().map(|database| database.name.clone()).collect(),
        tables: index.tables.len(),
        rows: filled.rows,
        here_only: here_only.collect(),
    })
}

fn create_statement(database: &Database, mark: &str) -> String {
    format!(
        "CREATE DATABASE {} CHARACTER SET {} COLLATE {} COMMENT {}",
        quote_identifier(&database.name),
        database.charset,
        database.collation,
        quote_text(mark)
    )
}

fn last_id(chain: &[Manifest]) -> String {
    chain.last().map(|made| made.id.clone()).unwrap_or_default()
}

fn is_in(there: &[Database], name: &str) -> bool {
    there.iter().any(|database| database.name == name)
}

fn open(live: &Live) -> Result<Session, SqlError> {
    Session::open_at(&live.socket.to_string_lossy(), ANSWER_LIMIT)
}

/// Removes what a load that was killed has left half there. Returns the databases' names.
///
/// # Errors
/// When the server does not answer, or a load is under way.
pub fn clean_up_load(live: &Live) -> Result<Vec<String>, BackupError> {
    let run = Paths::default().run;
    private::make_run(&run)?;
    match file::try_lock(run.join("load.lock"))? {
        Some(_lock) => clean_up(live),
        None => Err(BackupError::Loading),
    }
}

fn clean_up(live: &Live) -> Result<Vec<String>, BackupError> {
    let path = live.volume.join(MARKER);
    let Some(text) = file::read_to_string_opt(&path)? else { return Ok(Vec::new()) };
    let mut dropped = Vec::new();
    // It is written whole or not at all: one that cannot be read is nobody's.
    if let Ok(marker) = serde_json::from_str::<Marker>(&text) {
        let mut session = open(live)?;
        session.run("prepare a session", "SET SESSION foreign_key_checks = 0")?;
        for database in index::databases(&mut session)? {
            // One of the same name that somebody has made since bears no mark of ours.
            if marker.databases.contains(&database.name) && database.comment == marker.mark {
                let statement = format!("DROP DATABASE IF EXISTS {}", quote_identifier(&database.name));
                session.run("drop a database that is half there", &statement)?;
                dropped.push(database.name);
            }
        }
    }
    file::remove_opt(&path)?;
    Ok(dropped)
}
