//! Bringing data back beside what is here, for a restore. A process of its own does it, because it takes as long as it takes
//! and everybody serves meanwhile; what came of it is written on the volume. Putting it in place is two renames, which may
//! be cut off anywhere and are gone on with.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::stores::Stores;
use crate::backup;
use crate::backup::store::Patience;
use crate::cluster::{Bringing, Brought, ClusterUuid, Epoch, Position, Source};
use crate::host::service_manager::{self as systemd, State, Wait};
use crate::host::{Command, Mode, file};
use crate::mariadb::datadir;
use crate::mariadb::grastate::{self, Grastate};
use crate::mariadb::{PROGRAM, Paths, halfway};

/// Its name on the volume.
pub const FILE: &str = "mariadb-galera-restore.json";
/// The service that does it.
const UNIT: &str = "mariadb-galera-restore.service";

/// What is written on the volume.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Text {
    epoch: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Under which number the data is put aside whose place it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aside: Option<u32>,
}

/// What the process is told; gone with the boot, and written anew then.
#[derive(Serialize, Deserialize)]
struct Request {
    backup: String,
    stores: Stores,
}

fn path(paths: &Paths) -> PathBuf {
    paths.volume.join(FILE)
}

fn lock_path(paths: &Paths) -> PathBuf {
    paths.run.join("restore.lock")
}

fn request_path(paths: &Paths) -> PathBuf {
    paths.run.join("restore.json")
}

fn progress_path(paths: &Paths) -> PathBuf {
    paths.run.join("restore.percent")
}

/// Where the data lies that was brought back.
fn folder(paths: &Paths, epoch: u32) -> PathBuf {
    paths.volume.join(format!("data.restore-{epoch}"))
}

/// Where the data lies that was put aside under this number.
fn aside(paths: &Paths, branch: u32) -> PathBuf {
    paths.volume.join(format!("data.aside-{branch}"))
}

fn read(paths: &Paths) -> Option<Text> {
    let text = file::read_to_string_opt(path(paths)).ok().flatten()?;
    // One that cannot be read is that of a decision which nobody asks for.
    Some(serde_json::from_str(&text).unwrap_or_default())
}

fn write(paths: &Paths, text: &Text) -> anyhow::Result<()> {
    let text = serde_json::to_string(text).context("cannot write down how far the restore is")?;
    file::write_atomic(path(paths), text.as_bytes(), &Mode::new(0o600))?;
    Ok(())
}

/// How far it is.
pub fn observe(paths: &Paths) -> Option<Brought> {
    let text = read(paths)?;
    let result = match (&text.position, text.problem) {
        (Some(position), _) => {
            position.parse().map_or_else(|why| Bringing::Failed(format!("cannot read {FILE}: {why}")), Bringing::Ready)
        }
        (None, Some(why)) => Bringing::Failed(why),
        (None, None) if file::is_locked(lock_path(paths)).unwrap_or(true) => Bringing::Working,
        (None, None) => Bringing::Interrupted,
    };
    Some(Brought { epoch: Epoch(text.epoch), result })
}

/// How much of it is done, for people.
pub fn percent(paths: &Paths) -> Option<u8> {
    if !file::is_locked(lock_path(paths)).unwrap_or(false) {
        return None;
    }
    file::read_to_string_opt(progress_path(paths)).ok().flatten()?.trim().parse().ok()
}

/// What a status shows of it: in steps of ten percent, because each is a hook.
pub fn shown(paths: &Paths) -> String {
    match observe(paths).map(|brought| brought.result) {
        None => String::new(),
        Some(Bringing::Working) => format!("restore={}", percent(paths).unwrap_or(0) / 10 * 10),
        Some(Bringing::Interrupted) => "restore=interrupted".to_owned(),
        Some(Bringing::Ready(_)) => "restore=ready".to_owned(),
        Some(Bringing::Failed(_)) => "restore=failed".to_owned(),
    }
}

/// The same for people.
pub fn in_words(paths: &Paths) -> Option<String> {
    match observe(paths)?.result {
        Bringing::Working => Some(format!("restore: {} % is brought back", percent(paths).unwrap_or(0))),
        Bringing::Interrupted => Some("restore: is about to be brought back".to_owned()),
        Bringing::Ready(_) => Some("restore: the data is here, all members stop for it".to_owned()),
        Bringing::Failed(why) => Some(format!("restore: {why}")),
    }
}

/// Begins, or goes on from the beginning. Returns at once.
///
/// # Errors
/// When the process cannot be started.
pub fn begin(paths: &Paths, epoch: Epoch, to: &Source, stores: Option<&Stores>) -> anyhow::Result<()> {
    let text = |before| Text { epoch: epoch.0, before, ..Text::default() };
    let backup = match to {
        Source::Before(branch) => {
            write(paths, &text(Some(branch.0)))?;
            return before(paths, epoch.0, branch.0);
        }
        Source::Backup(backup) => backup.clone(),
    };
    let Some(_free) = file::try_lock(lock_path(paths))? else {
        return Ok(());
    };
    let stores = stores.cloned().unwrap_or_default();
    let request = serde_json::to_string(&Request { backup, stores }).context("cannot write the request")?;
    file::create_dir_all_with(&paths.run, &Mode::new(0o755))?;
    file::write_atomic(request_path(paths), request.as_bytes(), &Mode::new(0o600))?;
    write(paths, &text(None))?;
    drop(_free);
    systemd::reset_failed(UNIT)?;
    Command::new("systemd-run")
        .args(["--quiet", "--collect", "--no-block", "--property=Nice=5"])
        .args([&format!("--unit={UNIT}"), PROGRAM, "bring-back", &epoch.to_string()])
        .run()
        .context("cannot start the restore")?;
    Ok(())
}

/// What was put aside lies here already.
fn before(paths: &Paths, epoch: u32, branch: u32) -> anyhow::Result<()> {
    let text = |position, problem| Text { epoch, before: Some(branch), position, problem, aside: None };
    let (aside, folder) = (aside(paths, branch), folder(paths, epoch));
    if !file::exists(&folder)? && !file::exists(&aside)? {
        let problem = format!("{} is not there any more", aside.display());
        return write(paths, &text(None, Some(problem)));
    }
    if !file::exists(&folder)? {
        file::rename(&aside, &folder)?;
    }
    if let Some((uuid, seqno)) = datadir::noted_position(&folder) {
        return write(paths, &text(Some(format!("{uuid}:{seqno}")), None));
    }
    file::rename(&folder, &aside)?;
    write(paths, &text(None, Some(format!("{} holds no position to go on from", aside.display()))))
}

/// The process: brings a backup back, and writes down what came of it.
///
/// # Errors
/// When nothing can be written down.
pub fn work(paths: &Paths, epoch: u32) -> anyhow::Result<()> {
    file::create_dir_all_with(&paths.run, &Mode::new(0o755))?;
    let _at_it = file::lock(lock_path(paths), Duration::from_secs(10))?;
    let text = |position, problem| Text { epoch, position, problem, ..Text::default() };
    // Called off, or another one asked for, before this process ran.
    if read(paths).is_none_or(|now| now.epoch != epoch || now.position.is_some()) {
        return Ok(());
    }
    let done = bring(paths, epoch);
    let _told = file::remove_opt(progress_path(paths));
    let result = match done {
        Ok(position) => text(Some(position.to_string()), None),
        Err(why) => {
            file::remove_dir_all_opt(folder(paths, epoch))?;
            text(None, Some(format!("{why:#}")))
        }
    };
    write(paths, &result)?;
    Ok(())
}

fn bring(paths: &Paths, epoch: u32) -> anyhow::Result<Position> {
    let request = file::read_to_string(request_path(paths))?;
    let request: Request = serde_json::from_str(&request).context("cannot read the request")?;
    let folder = folder(paths, epoch);
    file::remove_dir_all_opt(&folder)?;
    let (store, chain) = request.stores.find(&request.backup, Patience::long())?;
    let mut shown = None;
    let mut told = |progress: backup::Progress| {
        let percent = progress.percent().filter(|percent| Some(*percent) != shown);
        if let Some(percent) = percent {
            shown = Some(percent);
            let _only_shown =
                file::write_atomic(progress_path(paths), percent.to_string().as_bytes(), &Mode::new(0o644));
        }
    };
    backup::bring_back(store.as_ref(), &chain, request.stores.identity.as_deref(), &folder, &mut told)?;
    let last = chain.last().context("cannot find the backup")?;
    let position =
        Position { uuid: new_history()?, seqno: last.position.as_ref().map_or(0, |position| position.seqno) };
    let state = grastate::render(position.uuid.as_str(), Some(position.seqno), false);
    file::write_atomic(folder.join("grastate.dat"), state.as_bytes(), &Mode::owned(0o660, "mysql", "mysql"))?;
    Ok(position)
}

/// A history that nobody has had.
fn new_history() -> anyhow::Result<ClusterUuid> {
    let mut text: Vec<char> = (0..32).map(|_| char::from_digit(rand::random_range(0..16), 16).unwrap_or('0')).collect();
    // A random UUID says so in two of its digits (RFC 9562, version 4).
    text[12] = '4';
    text[16] = ['8', '9', 'a', 'b'][rand::random_range(0..4)];
    let part = |from: usize, to: usize| text[from..to].iter().collect::<String>();
    let text = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
    text.parse().map_err(anyhow::Error::msg)
}

/// Puts what was brought back in the place of what is here, which is kept under the number of the branch that begins.
/// May be cut off anywhere and run again.
///
/// # Errors
/// When what was brought back is not there.
pub fn put(paths: &Paths, epoch: Epoch, branch: Epoch, position: &Position) -> anyhow::Result<()> {
    let (folder, data) = (folder(paths, epoch.0), paths.datadir());
    let aside = aside(paths, branch.0);
    // Cut off under an earlier permission: what it has put aside is what this one is asked for later.
    let text = read(paths).filter(|text| text.epoch == epoch.0);
    let earlier = text.as_ref().and_then(|text| text.aside).filter(|earlier| *earlier != branch.0);
    if let Some(earlier) = earlier.map(|earlier| self::aside(paths, earlier)) {
        if file::exists(&earlier)? && !file::exists(&aside)? {
            file::rename(&earlier, &aside)?;
        }
    }
    if let Some(text) = text.filter(|text| text.aside != Some(branch.0)) {
        write(paths, &Text { aside: Some(branch.0), ..text })?;
    }
    if file::exists(&folder)? {
        if file::exists(&data)? {
            // A second copy under this number would be one that an interrupted try has made of nothing.
            anyhow::ensure!(!file::exists(&aside)?, "{} is in the way", aside.display());
            datadir::ready_to_lie(paths)?;
            file::rename(&data, &aside)?;
        }
        file::rename(&folder, &data)?;
    }
    let is_it = matches!(datadir::look(paths),
        datadir::Found::State(Grastate { uuid: Some(uuid), .. }) if uuid == position.uuid.as_str());
    anyhow::ensure!(is_it, "what was brought back for the restore is not in {}", data.display());
    halfway::forget(paths)?;
    Ok(())
}

/// The restore has begun with it: nothing needs to be remembered.
///
/// # Errors
/// When it cannot be removed.
pub fn done(paths: &Paths) -> anyhow::Result<()> {
    file::remove_opt(path(paths))?;
    file::remove_opt(request_path(paths))?;
    Ok(())
}

/// Removes what nobody asks for any more. What was put aside before goes back to its place.
///
/// # Errors
/// When it cannot be removed.
pub fn forget(paths: &Paths, epoch: Epoch) -> anyhow::Result<()> {
    // Gone by itself when it has ended.
    if systemd::state(UNIT)? != State::Absent {
        systemd::stop(UNIT, Wait::AtMost(Duration::from_secs(30)))?;
    }
    let folder = folder(paths, epoch.0);
    match read(paths).and_then(|text| text.before) {
        Some(branch) if file::exists(&folder)? => {
            file::rename(&folder, aside(paths, branch))?;
        }
        Some(_) => {}
        None => drop(file::remove_dir_all_opt(&folder)?),
    }
    file::remove_opt(progress_path(paths))?;
    done(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6a1f0d52-8f2e-11ee-b9d1-0242ac120002";
    const RESTORED: &str = "11111111-2222-4333-8444-555555555555";

    fn data(paths: &Paths, name: &str, uuid: &str) {
        let folder = paths.volume.join(name);
        file::create_dir_all_with(&folder, &Mode::new(0o755)).unwrap();
        let state = grastate::render(uuid, Some(7), false);
        file::write_atomic(folder.join("grastate.dat"), state.as_bytes(), &Mode::new(0o600)).unwrap();
    }

    fn names(paths: &Paths) -> Vec<String> {
        file::list_opt(&paths.volume).unwrap().unwrap()
    }

    #[test]
    fn a_new_history_is_a_random_uuid() {
        let (one, other) = (new_history().unwrap(), new_history().unwrap());
        assert!(one != other && one.as_str().len() == 36 && one.as_str().as_bytes()[14] == b'4', "{one}");
    }

    /// Putting in place was cut off before the first rename, between the two, or behind the second.
    fn cut_off(cut: u32) -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        data(&paths, if cut == 0 { "data" } else { "data.aside-9" }, UUID);
        data(&paths, if cut == 2 { "data" } else { "data.restore-8" }, RESTORED);
        (dir, paths)
    }

    #[test]
    fn putting_in_place_goes_on_wherever_it_was_cut_off() {
        let position: Position = format!("{RESTORED}:7").parse().unwrap();
        for cut in 0..3 {
            let (_dir, paths) = cut_off(cut);
            put(&paths, Epoch(8), Epoch(9), &position).unwrap();
            assert_eq!(names(&paths), ["data", "data.aside-9"]);
        }
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        data(&paths, "data", UUID);
        let why = put(&paths, Epoch(8), Epoch(9), &position).unwrap_err().to_string();
        assert!(why.starts_with("what was brought back for the restore is not in"), "{why}");
        assert_eq!(names(&paths), ["data"], "nothing is moved for nothing");
    }

    #[test]
    fn another_permission_takes_over_what_the_one_before_has_put_aside() {
        let position: Position = format!("{RESTORED}:7").parse().unwrap();
        for cut in 0..3 {
            let (_dir, paths) = cut_off(cut);
            let aside = Some(9);
            write(&paths, &Text { epoch: 8, aside, ..Text::default() }).unwrap();
            put(&paths, Epoch(8), Epoch(11), &position).unwrap();
            assert_eq!(names(&paths), ["data", "data.aside-11", FILE], "cut off at {cut}");
        }
    }

    #[test]
    fn what_was_aside_goes_back_to_its_place_when_nobody_asks_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        data(&paths, "data.aside-4", UUID);
        begin(&paths, Epoch(8), &Source::Before(Epoch(4)), None).unwrap();
        let ready = Bringing::Ready(format!("{UUID}:7").parse().unwrap());
        assert_eq!(observe(&paths), Some(Brought { epoch: Epoch(8), result: ready }));
        assert_eq!(names(&paths), ["data.restore-8", FILE]);
        begin(&paths, Epoch(8), &Source::Before(Epoch(5)), None).unwrap();
        assert!(matches!(observe(&paths), Some(Brought { result: Bringing::Ready(_), .. })), "it is there already");
    }
}
