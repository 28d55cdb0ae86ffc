//! From a stream into a server: what makes the tables first, then their rows, several pieces at once, and last what would
//! act on them.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::index::{End, How, Index, Table};
use super::{ACCOUNTS, END, INDEX, SCHEMA, TRIGGERS, schema};
use crate::backup::bring::{blame, is_about_the_disk, read_all};
use crate::backup::error::{BackupError, concise, in_words};
use crate::backup::manifest::Manifest;
use crate::backup::store::Store;
use crate::backup::stream::Source;
use crate::backup::{Phase, Progress};
use crate::host::pipe::{Feed, Outflow, Row};
use crate::host::{Command, CommandError, Mode, beside, clock, file};
use crate::mariadb::sql::{Session, SqlError};

/// One statement of it takes so long at most.
const STATEMENT_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Values are what they were, whatever a server would think of new ones. Unique keys are checked all the same: without,
/// the engine fills empty tables in another way, which was seen to hang for ever beside a reader (`docs/facts.md`).
const SETTINGS: &str = "SET SESSION time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', \
    foreign_key_checks = 0, check_constraint_checks = 0, system_versioning_insert_history = 1, \
    innodb_lock_wait_timeout = 100000000, lock_wait_timeout = 86400, max_error_count = 1000, max_statement_time = 0, \
    wait_timeout = 604800";
/// What a server does with a piece that got into another's way.
const TRY_COUNT: u32 = 10;
/// Texts in the stream that are read whole.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// A server to fill, and how.
pub(super) struct Target<'a> {
    pub(super) socket: &'a str,
    /// Where files are handed over to it.
    pub(super) folder: &'a Path,
    pub(super) threads: u32,
    /// No statement loads more than about so many bytes: what a cluster has to take at once.
    pub(super) part_bytes: u64,
    /// Carries out what makes accounts too.
    pub(super) accounts: bool,
    /// Before anything is made.
    pub(super) before: &'a mut dyn FnMut(&Index) -> Result<(), BackupError>,
}

/// What was loaded.
#[derive(Debug, Default)]
pub(super) struct Filled {
    pub(super) index: Option<Index>,
    pub(super) rows: u64,
}

/// Fills it. `key` opens what is encrypted.
pub(super) fn fill(
    store: &dyn Store,
    made: &Manifest,
    key: Option<&Path>,
    target: &mut Target<'_>,
    told: &mut dyn FnMut(Progress),
) -> Result<Filled, BackupError> {
    let unzip = Command::new("zstd").args(["-d", "-q", "-c"]);
    let row = match key {
        Some(key) => Row::of(Command::new("age").arg("-d").arg("-i").arg(key)).then(unzip),
        None => Row::of(unzip),
    };
    let (feed, outflow) = row.through().map_err(|why| blame(made, "unpacked", why))?;
    let end = outflow.end();
    thread::scope(|scope| {
        let (full, filled) = mpsc::sync_channel(0);
        let (empty, emptied) = mpsc::channel();
        let source = Source::new(store, made);
        let stop = end.clone();
        let reader = scope.spawn(move || {
            let read = read_all(source, &emptied, &full);
            if read.is_err() {
                // Half of a stream must not look like the whole.
                stop.now();
            }
            read
        });
        scope.spawn(move || hand_on(feed, &filled, &empty));
        let mut archive = tar::Archive::new(outflow);
        let unpacked = unpack(&mut archive, made, target, told);
        let unpacked = match (unpacked, archive.into_inner().finish()) {
            (Ok(filled), finished) => finished.map(|()| filled).map_err(|why| blame(made, "unpacked", why)),
            // Where the stream is no good, the programs before us may know why.
            (Err(BackupError::Unfit { .. }), Err(why)) if knows_why(&why) => Err(blame(made, "unpacked", why)),
            (Err(why), _) => Err(why),
        };
        // Its reader may wait for programs that wait for us.
        end.now();
        let read = reader.join().unwrap_or_else(|why| std::panic::resume_unwind(why));
        // What is damaged is the cause of everything else.
        read.and(unpacked)
    })
}

/// Whether a program failed by itself, and not because we did not read any more.
fn knows_why(why: &CommandError) -> bool {
    let said = why.stderr().to_lowercase();
    !said.is_empty() && !said.contains("broken pipe") && !said.contains("unexpected eof")
}

fn hand_on(mut feed: Feed, filled: &Receiver<Vec<u8>>, empty: &mpsc::Sender<Vec<u8>>) {
    for chunk in filled {
        // Who does not read any more has a reason, and is asked for it elsewhere.
        if feed.write_all(&chunk).is_err() {
            return;
        }
        let _last = empty.send(chunk);
    }
}

/// A file to load.
struct Part {
    piece: String,
    path: PathBuf,
}

/// What the threads that load have come to.
#[derive(Default)]
struct Come {
    rows: BTreeMap<String, u64>,
    problem: Option<BackupError>,
}

fn unpack(
    archive: &mut tar::Archive<Outflow>,
    made: &Manifest,
    target: &mut Target<'_>,
    told: &mut dyn FnMut(Progress),
) -> Result<Filled, BackupError> {
    let come = Mutex::new(Come::default());
    let mut texts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut index: Option<Index> = None;
    let mut end: Option<End> = None;
    let unreadable = |why: io::Error| broken(made, &why);
    {
        let mut entries = archive.entries().map_err(unreadable)?;
        for text in [INDEX, SCHEMA, TRIGGERS, ACCOUNTS] {
            let Some(entry) = entries.next() else { return Err(unfit(made, format!("its {text} is missing"))) };
            let mut entry = entry.map_err(unreadable)?;
            let name = name_of(&entry);
            let mut bytes = Vec::new();
            (&mut entry).take(TEXT_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
            if name != text {
                return Err(unfit(made, format!("{name} is in it in place of {text}")));
            }
            texts.insert(name, bytes);
        }
        let mut text = |name: &str| texts.remove(name).unwrap_or_default();
        let read: Index = serde_json::from_slice(&text(INDEX)).map_err(|why| unfit(made, why.to_string()))?;
        (target.before)(&read)?;
        carry_out(made, target.socket, text(SCHEMA))?;
        let read = &*index.insert(read);
        thread::scope(|scope| -> Result<(), BackupError> {
            let (send, parts) = mpsc::sync_channel::<Part>(0);
            let parts = std::sync::Arc::new(Mutex::new(parts));
            for _ in 0..target.threads.max(1) {
                let (parts, come, socket) = (parts.clone(), &come, target.socket);
                scope.spawn(move || load_all(made, socket, read, &parts, come));
            }
            drop(parts);
            let mut done = 0;
            let mut number = 0;
            for entry in entries {
                let mut entry = entry.map_err(unreadable)?;
                let name = name_of(&entry);
                if name == END {
                    let mut bytes = Vec::new();
                    (&mut entry).take(TEXT_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
                    end = Some(serde_json::from_slice(&bytes).map_err(|why| unfit(made, why.to_string()))?);
                    continue;
                }
                let mut rest = Rows::new(entry);
                while !rest.over {
                    number += 1;
                    let path = target.folder.join(number.to_string());
                    let bytes = rest.write(&path, target.part_bytes).map_err(|why| match why {
                        Cut::Stream(why) => unreadable(why),
                        Cut::Disk(why) => BackupError::Staged { source: why },
                    })?;
                    done += bytes;
                    told(Progress { phase: Phase::Loading, done, total: made.raw_bytes });
                    if come.lock().unwrap_or_else(PoisonError::into_inner).problem.is_some() {
                        return Ok(());
                    }
                    if send.send(Part { piece: name.clone(), path }).is_err() {
                        // They all have given up, and said why.
                        return Ok(());
                    }
                }
            }
            Ok(())
        })?;
    }
    let come = come.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(why) = come.problem {
        return Err(why);
    }
    let Some(end) = end else { return Err(unfit(made, "it has no end".to_owned())) };
    for piece in &end.pieces {
        let is = come.rows.get(&piece.name).copied().unwrap_or(0);
        if is != piece.rows {
            let table = index.as_ref().and_then(|index| index.table_of(&piece.name)).map(Table::shown);
            let table = table.unwrap_or_else(|| piece.name.clone());
            return Err(unfit(made, format!("{is} rows of {table} were loaded instead of {}", piece.rows)));
        }
    }
    let mut text = |name: &str| texts.remove(name).unwrap_or_default();
    let (triggers, accounts) = (text(TRIGGERS), text(ACCOUNTS));
    if target.accounts {
        carry_out(made, target.socket, accounts)?;
    }
    carry_out(made, target.socket, triggers)?;
    Ok(Filled { index, rows: come.rows.values().sum() })
}

fn name_of<R: Read>(entry: &tar::Entry<'_, R>) -> String {
    String::from_utf8_lossy(&entry.path_bytes()).into_owned()
}

fn unfit(made: &Manifest, why: String) -> BackupError {
    BackupError::Unfit { id: made.id.clone(), why }
}

/// The stream is cut off or no tar. Whoever wrote it into the pipe may know better, and is asked first.
fn broken(made: &Manifest, why: &io::Error) -> BackupError {
    unfit(made, format!("its stream cannot be read: {why}"))
}

fn carry_out(made: &Manifest, socket: &str, statements: Vec<u8>) -> Result<(), BackupError> {
    if statements.is_empty() {
        return Ok(());
    }
    schema::carry_out(socket, statements).map_err(|why| {
        if matches!(&why, CommandError::Failed { stderr, .. } if !is_about_the_disk(stderr)) {
            return unfit(made, format!("a server does not take it: {}", in_words(&concise(why))));
        }
        BackupError::Program { what: "make the tables of a backup", source: concise(why) }
    })
}

#[derive(Debug)]
enum Cut {
    Stream(io::Error),
    Disk(io::Error),
}

/// Rows as they come, cut where one ends.
struct Rows<R> {
    from: R,
    /// The beginning of the next part, without an end of a row, and whether its last byte stands for the next one.
    held: Vec<u8>,
    escaped: bool,
    over: bool,
}

impl<R: Read> Rows<R> {
    fn new(from: R) -> Self {
        Self { from, held: Vec::new(), escaped: false, over: false }
    }
}

impl<R: Read> Rows<R> {
    /// Writes the next part of about so many bytes; returns how many there were.
    fn write(&mut self, path: &Path, part_bytes: u64) -> Result<u64, Cut> {
        // In a folder that only the server's user and we may pass.
        let mut file = beside::create_passing(path, 0o644).map_err(|why| Cut::Disk(why.into()))?;
        let mut written = self.held.len() as u64;
        file.write_all(&self.held).map_err(Cut::Disk)?;
        self.held.clear();
        let mut block = vec![0; 1 << 18];
        loop {
            let count = match self.from.read(&mut block) {
                Ok(0) => {
                    self.over = true;
                    return Ok(written);
                }
                Ok(count) => count,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Err(why) => return Err(Cut::Stream(why)),
            };
            let block = &block[..count];
            if part_bytes == u64::MAX {
                file.write_all(block).map_err(Cut::Disk)?;
                written += count as u64;
                continue;
            }
            let full = written + count as u64 >= part_bytes;
            let mut last = None;
            for (at, byte) in block.iter().enumerate() {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'\n' => last = Some(at + 1),
                    _ => {}
                }
            }
            let cut = if full { last.unwrap_or(count) } else { count };
            file.write_all(&block[..cut]).map_err(Cut::Disk)?;
            written += cut as u64;
            if full && last.is_some() {
                self.held = block[cut..].to_vec();
                return Ok(written);
            }
        }
    }
}

fn load_all(made: &Manifest, socket: &str, index: &Index, parts: &Mutex<Receiver<Part>>, come: &Mutex<Come>) {
    let come = || come.lock().unwrap_or_else(PoisonError::into_inner);
    let mut session = None;
    loop {
        // Held while waiting: the others wait for the lock instead.
        let part = parts.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(part) = part else { return };
        // Taken all the same: who hands them over must not wait for ever.
        if come().problem.is_some() {
            continue;
        }
        let loaded = index
            .table_of(&part.piece)
            .ok_or_else(|| unfit(made, format!("{} belongs to no table", part.piece)))
            .and_then(|table| load(&mut session, made, socket, table, &part.path));
        let loaded = loaded.and_then(|rows| {
            beside::remove_passing(&part.path)?;
            Ok(rows)
        });
        match loaded {
            Ok(rows) => *come().rows.entry(part.piece).or_default() += rows,
            Err(why) => drop(come().problem.get_or_insert(why)),
        }
    }
}

fn load(
    session: &mut Option<Session>,
    made: &Manifest,
    socket: &str,
    table: &Table,
    path: &Path,
) -> Result<u64, BackupError> {
    let session = match session {
        Some(session) => session,
        None => {
            let mut new = Session::open_at(socket, STATEMENT_LIMIT)?;
            new.run("prepare a session", SETTINGS)?;
            session.insert(new)
        }
    };
    let mut again = 0;
    let rows = loop {
        match session.change("load a table", &table.load(path)) {
            Ok(rows) => break rows,
            // ER_LOCK_DEADLOCK, ER_LOCK_WAIT_TIMEOUT: all of the statement is taken back.
            Err(why) if why.code().is_some_and(|code| [1213, 1205].contains(&code)) && again < TRY_COUNT => {
                again += 1;
                clock::sleep(Duration::from_millis(100 * u64::from(again)));
            }
            Err(why) => return Err(refused(made, table, why)),
        }
    };
    if session.warning_count() == 0 {
        return Ok(rows);
    }
    let warnings = session.rows("look what was lost", "SHOW WARNINGS")?;
    let words: Vec<&str> =
        table.columns.iter().filter(|column| column.how == How::Words).map(|column| column.name.as_str()).collect();
    for warning in &warnings {
        let cell = |index: usize| warning.get(index).cloned().flatten().unwrap_or_default();
        let (level, code, text) = (cell(0), cell(1), cell(2));
        // WARN_DATA_TRUNCATED: an ENUM that held none of its words holds none again.
        let harmless =
            level == "Note" || code == "1265" && words.iter().any(|name| text.contains(&format!("'{name}'")));
        if !harmless {
            return Err(unfit(made, format!("a value of {} would be lost: {text}", table.shown())));
        }
    }
    Ok(rows)
}

fn refused(made: &Manifest, table: &Table, why: SqlError) -> BackupError {
    // ER_DISK_FULL, ER_RECORD_FILE_FULL, and what says nothing about the backup.
    let here = why.code().is_none_or(|code| [1021, 1114, 1290, 1317, 1047].contains(&code));
    if here || is_about_the_disk(&in_words(&why)) {
        return BackupError::Table { table: table.shown(), source: why };
    }
    unfit(made, format!("a server does not take {}: {}", table.shown(), in_words(&why)))
}

/// A folder for what is handed over, which the server may read.
pub(super) fn folder(path: &Path) -> Result<(), BackupError> {
    file::create_dir_all_with(path, &Mode::owned(0o750, "mysql", "mysql"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One byte at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut into[..1])
        }
    }

    #[test]
    fn parts_end_where_rows_end() {
        let dir = tempfile::tempdir().unwrap();
        let text = b"1\ta\\\nb\n2\t\\\\\n3\tc\n4\t\\\\\\\nd\n".to_vec();
        let mut rows = Rows::new(Drops(&text));
        let mut parts: Vec<Vec<u8>> = Vec::new();
        while !rows.over {
            let path = dir.path().join(parts.len().to_string());
            rows.write(&path, 3).unwrap();
            parts.push(file::read_opt(&path).unwrap().unwrap());
        }
        assert_eq!(parts.concat(), text);
        assert_eq!(parts.iter().filter(|part| !part.is_empty()).count(), 4);
        assert!(parts.iter().all(|part| part.is_empty() || part.ends_with(b"\n")), "{parts:?}");
        let whole = dir.path().join("whole");
        let mut rows = Rows::new(&text[..]);
        assert_eq!(rows.write(&whole, u64::MAX).ok(), Some(text.len() as u64));
    }
}
