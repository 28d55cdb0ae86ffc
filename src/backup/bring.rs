//! Bringing a backup back: read, compared, decrypted, unpacked and made consistent beside the place where the data are
//! to be. They are there whole or not at all.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use super::error::{BackupError, concise};
use super::key;
use super::logical;
use super::manifest::{Kind, Manifest};
use super::private::Private;
use super::store::Store;
use super::stream::Source;
use super::{Phase, Progress};
use crate::host::pipe::Row;
use crate::host::{Command, CommandError, Mode, beside, file, machine, tree};

/// On their way they have this behind their name.
const UNFINISHED: &str = ".part";
/// What mariadb-backup takes for its own pages, in bytes: at least its default.
const PREPARE_MEMORY: std::ops::RangeInclusive<u64> = (96 << 20)..=(512 << 20);

/// Makes a data directory of a chain of backups, the full one first. It belongs to the server's user and has no history
/// in a cluster: that is the caller's to decide.
///
/// # Errors
/// When it could not be made; then `into` is as it was.
pub fn bring_back(
    store: &dyn Store,
    chain: &[Manifest],
    identity: Option<&str>,
    into: &Path,
    told: &mut dyn FnMut(Progress),
) -> Result<(), BackupError> {
    if file::exists(into)? && file::list_opt(into).ok().flatten().is_none_or(|names| !names.is_empty()) {
        return Err(BackupError::Occupied { path: into.to_owned() });
    }
    if let Some(some) = chain.iter().find(|made| !made.databases.is_empty()) {
        let databases = some.databases.join(", ");
        return Err(BackupError::Partial { id: some.id.clone(), databases });
    }
    let mut laid_out = LaidOut::new(into)?;
    lay_out(store, chain, identity, &laid_out.path, told)?;
    // What the unpacker has written may still be in memory only.
    tree::sync(&laid_out.path)?;
    beside::remove_dir_if_empty(into)?;
    file::rename(&laid_out.path, into)?;
    laid_out.finished = true;
    Ok(())
}

/// A directory that is removed unless it was finished, with what lies beside it.
struct LaidOut {
    path: PathBuf,
    finished: bool,
}

impl LaidOut {
    fn new(into: &Path) -> Result<Self, BackupError> {
        let laid_out = Self { path: with_ending(into, UNFINISHED), finished: false };
        // Of one that was killed.
        laid_out.remove()?;
        Ok(laid_out)
    }

    fn remove(&self) -> Result<(), BackupError> {
        file::remove_dir_all_opt(&self.path)?;
        file::remove_dir_all_opt(changes_beside(&self.path))?;
        Ok(())
    }
}

impl Drop for LaidOut {
    fn drop(&mut self) {
        if !self.finished {
            // The next one removes what could not be removed now.
            let _left = self.remove();
        }
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn changes_beside(path: &Path) -> PathBuf {
    with_ending(path, ".changes")
}

/// Makes the directory at `path`, which is not there yet. Whoever calls it removes it when it fails.
pub(super) fn lay_out(
    store: &dyn Store,
    chain: &[Manifest],
    identity: Option<&str>,
    path: &Path,
    told: &mut dyn FnMut(Progress),
) -> Result<(), BackupError> {
    if let [made] = chain {
        if made.kind == Kind::Logical {
            return lay_out_logical(store, made, identity, path, told);
        }
    }
    check_links(chain)?;
    if let Some(made) = chain.iter().find(|made| made.encryption.is_some() && identity.is_none()) {
        return Err(BackupError::NoIdentity { id: made.id.clone() });
    }
    check_room(chain, path)?;
    let private = Private::new()?;
    let key = identity.map(|identity| private.write("identity", &format!("{}\n", identity.trim()))).transpose()?;
    let owned = Mode::owned(0o750, "mysql", "mysql");
    let (mut done, total) = (0, chain.iter().map(|made| made.stored_bytes).sum());
    for (index, made) in chain.iter().enumerate() {
        let changes = changes_beside(path);
        let target = if index == 0 { path } else { &changes };
        file::create_dir_all_with(target, &owned)?;
        let key = key.as_deref().filter(|_| made.encryption.is_some());
        unpack(store, made, key, target, &mut |bytes| {
            done += bytes;
            told(Progress { phase: Phase::Reading, done, total });
        })?;
        let phase = Phase::Preparing;
        told(Progress { phase, done: index as u64, total: chain.len() as u64 });
        prepare(made, path, (index > 0).then_some(&*changes))?;
        told(Progress { phase, done: index as u64 + 1, total: chain.len() as u64 });
        file::remove_dir_all_opt(&changes)?;
    }
    for name in file::list_opt(path)?.unwrap_or_default().iter().filter(|name| is_left_over(name)) {
        file::remove_opt(path.join(name))?;
    }
    Ok(())
}

fn lay_out_logical(
    store: &dyn Store,
    made: &Manifest,
    identity: Option<&str>,
    path: &Path,
    told: &mut dyn FnMut(Progress),
) -> Result<(), BackupError> {
    let key = identity.filter(|_| made.encryption.is_some());
    if made.encryption.is_some() && key.is_none() {
        return Err(BackupError::NoIdentity { id: made.id.clone() });
    }
    check_room(std::slice::from_ref(made), path)?;
    let private = Private::new()?;
    let key = key.map(|identity| private.write("identity", &format!("{}\n", identity.trim()))).transpose()?;
    logical::lay_out(store, made, key.as_deref(), path, &changes_beside(path), told)
}

/// What a data directory does not need: notes of mariadb-backup, and what would be a history.
fn is_left_over(name: &str) -> bool {
    let names = ["backup-my.cnf", "grastate.dat", "gvwstate.dat", "galera.cache", "donor_galera_info"];
    let beginnings = ["xtrabackup_", "mariadb_backup_", "gcache.page."];
    names.contains(&name) || beginnings.iter().any(|beginning| name.starts_with(beginning))
}

fn check_links(chain: &[Manifest]) -> Result<(), BackupError> {
    let mut before: Option<&Manifest> = None;
    for made in chain {
        if made.kind == Kind::Logical || made.parent.as_deref() != before.map(|before| before.id.as_str()) {
            let parent = made.parent.clone().unwrap_or_else(|| "before it".to_owned());
            let why = "is not the one that was given".to_owned();
            return Err(BackupError::Parent { id: made.id.clone(), parent, why });
        }
        before = Some(made);
    }
    Ok(())
}

/// How many bytes are needed to bring back what has these sizes: a full backup and those that build on it, or a logical one.
pub fn room(logical: bool, raw_bytes: &[u64]) -> u64 {
    let all: u64 = raw_bytes.iter().sum();
    if logical {
        // Pages with room to grow, their indexes, and the engine's own log.
        return 2 * all + (512 << 20);
    }
    // The full one, grown by each of the others, and the largest of those beside it while it is applied.
    let beside = raw_bytes.iter().skip(1).max().copied().unwrap_or(0);
    // And the engine's log, temporary tables and undo logs of a server that starts on it.
    all + beside + all / 20 + (192 << 20)
}

fn check_room(chain: &[Manifest], path: &Path) -> Result<(), BackupError> {
    let Some(last) = chain.last() else { return Ok(()) };
    let raw_bytes: Vec<u64> = chain.iter().map(|made| made.raw_bytes).collect();
    let need = room(last.kind == Kind::Logical, &raw_bytes);
    let folder = path.parent().unwrap_or(path);
    let there = folder.ancestors().find(|folder| file::exists(folder).unwrap_or(false)).unwrap_or(folder);
    let free = machine::disk_space(there)?.free;
    if free >= need {
        return Ok(());
    }
    Err(BackupError::NoRoom { id: last.id.clone(), path: folder.to_owned(), free, need })
}

/// One thread reads and compares, we write to the programs: two chunks are in memory.
fn unpack(
    store: &dyn Store,
    made: &Manifest,
    key: Option<&Path>,
    target: &Path,
    told: &mut dyn FnMut(u64),
) -> Result<(), BackupError> {
    let unzip = Command::new("zstd").args(["-d", "-q", "-c"]);
    let extract = Command::new("mbstream").arg("-x").arg("-C").arg(target).user("mysql");
    let row = match key {
        Some(key) => Row::of(Command::new("age").arg("-d").arg("-i").arg(key)).then(unzip),
        None => Row::of(unzip),
    };
    let mut inflow = row.then(extract).writing().map_err(|why| blame(made, "unpacked", why))?;
    let read = thread::scope(|scope| {
        let (full, filled) = mpsc::sync_channel(0);
        let (empty, emptied) = mpsc::channel();
        let source = Source::new(store, made);
        let reader = scope.spawn(move || read_all(source, &emptied, &full));
        for chunk in filled {
            // Who does not read any more has a reason, and is asked for it below.
            if inflow.write_all(&chunk).is_err() {
                break;
            }
            told(chunk.len() as u64);
            let _last = empty.send(chunk);
        }
        reader.join().unwrap_or_else(|why| std::panic::resume_unwind(why))
    });
    // Before the programs hear that this was all: half of a stream must not look like the whole.
    read?;
    inflow.finish().map_err(|why| blame(made, "unpacked", why))
}

pub(super) fn read_all(
    mut source: Source<'_>,
    emptied: &Receiver<Vec<u8>>,
    full: &SyncSender<Vec<u8>>,
) -> Result<(), BackupError> {
    let mut made = 0;
    loop {
        let mut chunk = match emptied.try_recv() {
            Ok(chunk) => chunk,
            Err(_) if made < 2 => {
                made += 1;
                Vec::new()
            }
            Err(_) => match emptied.recv() {
                Ok(chunk) => chunk,
                Err(_) => return Ok(()),
            },
        };
        if !source.next_chunk(&mut chunk)? || full.send(chunk).is_err() {
            return Ok(());
        }
    }
}

fn prepare(made: &Manifest, path: &Path, changes: Option<&Path>) -> Result<(), BackupError> {
    let memory = machine::memory_limit()? / 16;
    let mut command = Command::new("mariadb-backup")
        .arg("--prepare")
        .arg(format!("--target-dir={}", path.display()))
        .arg(format!("--use-memory={}", memory.clamp(*PREPARE_MEMORY.start(), *PREPARE_MEMORY.end())))
        .directory(path)
        .user("mysql");
    if let Some(changes) = changes {
        command = command.arg(format!("--incremental-dir={}", changes.display()));
    }
    Row::of(command).alone().and_then(|running| running.finish()).map_err(|why| match is_tight(made, path) {
        true => {
            BackupError::Program { what: "prepare a backup with so little room left on the disk", source: concise(why) }
        }
        false => blame(made, "prepared", why),
    })
}

/// Whether a program or a server speaks of a full disk.
pub(super) fn is_about_the_disk(text: &str) -> bool {
    ["No space left", "Errcode: 28", "errno: 28", "error 28", "is full"].iter().any(|sign| text.contains(sign))
}

/// Where little room is left, a failure says nothing about the backup: the engine calls files corrupt that it could not
/// make larger, and says why long before its last words.
pub(super) fn is_tight(made: &Manifest, path: &Path) -> bool {
    machine::disk_space(path).is_ok_and(|space| space.free < made.raw_bytes.max(256 << 20))
}

/// Whether it is the backup's fault that a program failed, or the key's, or this machine's.
pub(super) fn blame(made: &Manifest, what: &'static str, why: CommandError) -> BackupError {
    let id = made.id.clone();
    let what_here = if what == "prepared" { "prepare a backup" } else { "unpack a backup" };
    let here = |why| BackupError::Program { what: what_here, source: concise(why) };
    match &why {
        CommandError::Failed { command, code, signal, stderr } => {
            let disk = is_about_the_disk(stderr);
            if command.starts_with("age ") && stderr.contains("no identity matched") {
                return BackupError::WrongIdentity { id };
            }
            if command.starts_with("age ") && stderr.contains("identit") {
                return BackupError::BadIdentity { why: key::said(stderr) };
            }
            // 127: no such program. A signal comes from somebody who wants room, or an end.
            if disk || *code == Some(127) || *signal == Some(9) || *signal == Some(15) {
                return here(why);
            }
            BackupError::Useless { id, what, source: concise(why) }
        }
        CommandError::Talk { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => {
            BackupError::Useless { id, what, source: concise(why) }
        }
        CommandError::Start { .. } | CommandError::Talk { .. } | CommandError::TimedOut { .. } => here(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::fixture::{archive, id, manifest};

    /// What is said when it is brought back to a disk with too little room, in a folder that is not there yet.
    fn refused(chain: &[Manifest]) -> String {
        let (archive, place) = (archive(), tempfile::tempdir().unwrap());
        let into = place.path().join("volume/data");
        let why = bring_back(&archive.store, chain, None, &into, &mut |_| {}).unwrap_err();
        assert!(matches!(why, BackupError::NoRoom { free, need, .. } if free < need), "{}", why.in_words());
        assert_eq!(file::list_opt(place.path()).unwrap().unwrap(), [""; 0], "nothing was begun");
        let free = machine::disk_space(place.path()).unwrap().free;
        let said = why.to_string().replace(&place.path().display().to_string(), "<place>");
        // Somebody else may write to this disk meanwhile: how much there is, but not to the byte.
        let (before, rest) = said.split_once("room for ").unwrap();
        let (told, after) = rest.split_once(' ').unwrap();
        assert!(told.parse::<u64>().unwrap().abs_diff(free) < 1 << 30, "{told} of {free}");
        format!("{before}room for <free> {after}")
    }

    #[test]
    fn a_disk_with_too_little_room_is_named_before_anything_is_written() {
        let of = |second, parent: Option<&str>, raw_bytes| Manifest { raw_bytes, ..manifest(&id(second), parent) };
        let chain = [
            of(0, None, 1_000_000_000_000_000_000),
            of(1, Some(&id(0)), 20_000_000_000_000_000),
            of(2, Some(&id(1)), 10_000_000_000_000_000),
        ];
        // All of them, the larger of the two that are applied beside the full one, and a twentieth.
        let expected = "cannot bring back the backup 2026-01-01T00:00:02Z: <place>/volume has room for <free> bytes, \
                        and 1101500000201326592 are needed";
        assert_eq!(refused(&chain), expected);
        let logical = Manifest { kind: Kind::Logical, ..of(3, None, 1_000_000_000_000_000_000) };
        let expected = "cannot bring back the backup 2026-01-01T00:00:03Z: <place>/volume has room for <free> bytes, \
                        and 2000000000536870912 are needed";
        assert_eq!(refused(&[logical]), expected);
    }

    #[test]
    fn where_there_is_room_nobody_is_refused() {
        let place = tempfile::tempdir().unwrap();
        check_room(&[manifest(&id(0), None)], &place.path().join("data")).unwrap();
        check_room(&[], &place.path().join("data")).unwrap();
    }
}
