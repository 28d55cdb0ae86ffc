//! Planned backups on this machine: a process of its own makes one that was ordered, and removes those that are no longer
//! kept, because both take as long as they take. What came of it is written down and outlives the process and the boot.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::stores::Stores;
use super::{backups, live, observe, work};
use crate::backup::store::{Patience, Store};
use crate::backup::{self, BackupError, Catalogue, Keep, Kind, Progress, Wanted, retention};
use crate::cluster::{LocalState, Made, Making, MakingResult, Order, Server};
use crate::host::service_manager::{self as systemd, State};
use crate::host::{Command, Mode, clock, file};
use crate::mariadb::{PROGRAM, Paths};

/// The service that does it.
const UNIT: &str = "mariadb-galera-backup.service";
/// So often an order is begun whose process ended in the middle.
const TRY_COUNT: u32 = 3;
/// A member that gives its data to another is waited for.
const BUSY_LIMIT: Duration = Duration::from_secs(300);
/// A reason is published to everybody: its beginning says what happened.
const REASON_LENGTH_MAX: usize = 400;

/// What is written down of an order.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Text {
    number: u32,
    #[serde(default)]
    tries: u32,
    /// Nothing more will come of it.
    #[serde(default)]
    over: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default)]
    full: bool,
    #[serde(default)]
    verified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// What the process is told. Holds secrets: gone with the boot, and written anew then.
#[derive(Serialize, Deserialize)]
pub struct Request {
    /// The order that it is for.
    pub number: u32,
    /// The backup to make; without one, only those are removed that are no longer kept.
    pub backup: Option<backup::Order>,
    /// Whether it is proved.
    pub verify: bool,
    /// Where backups are.
    pub stores: Stores,
    /// How long they are kept.
    pub keep: Keep,
    /// Whose they are.
    pub application: String,
    pub model_uuid: String,
}

fn path(paths: &Paths) -> PathBuf {
    paths.state.join("planned-backup.json")
}

fn expired_path(paths: &Paths) -> PathBuf {
    paths.state.join("expired-backups")
}

fn lock_path(paths: &Paths) -> PathBuf {
    paths.run.join("planned.lock")
}

fn request_path(paths: &Paths) -> PathBuf {
    paths.run.join("planned.json")
}

fn read(paths: &Paths) -> Option<Text> {
    let text = file::read_to_string_opt(path(paths)).ok().flatten()?;
    // One that cannot be read is that of an order which nobody asks for.
    Some(serde_json::from_str(&text).unwrap_or_default())
}

fn write(paths: &Paths, text: &Text) -> anyhow::Result<()> {
    let text = serde_json::to_string(text).context("cannot write down what became of the planned backup")?;
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    file::write_atomic(path(paths), text.as_bytes(), &Mode::new(0o600))?;
    Ok(())
}

/// A service that has just been started may not hold the lock yet.
fn is_at_work(paths: &Paths) -> bool {
    file::is_locked(lock_path(paths)).unwrap_or(true)
        || systemd::state(UNIT).is_ok_and(|state| matches!(state, State::Active | State::Activating | State::Pending))
}

/// How far it is.
pub fn observe(paths: &Paths) -> Option<Making> {
    let text = read(paths)?;
    let number = text.number;
    let result = match text.over {
        true => {
            let Text { id, full, verified, problem, .. } = text;
            MakingResult::Made(Made { number, id, full, verified, problem })
        }
        false if is_at_work(paths) => MakingResult::Working,
        false => MakingResult::Interrupted,
    };
    Some(Making { number, result })
}

/// The order up to which backups were removed that are no longer kept.
pub fn expired(paths: &Paths) -> u32 {
    let text = file::read_to_string_opt(expired_path(paths)).ok().flatten().unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// What a status shows of it.
pub fn shown(paths: &Paths) -> String {
    observe(paths).map_or(String::new(), |making| {
        let word = match making.result {
            MakingResult::Working => "working",
            MakingResult::Interrupted => "interrupted",
            MakingResult::Made(_) => "over",
        };
        format!("planned={} {word}", making.number)
    })
}

/// Begins to carry an order out, or begins anew. Returns at once.
///
/// # Errors
/// When the process cannot be started.
pub fn begin(paths: &Paths, order: &Order, mut request: Request) -> anyhow::Result<()> {
    let before = read(paths).filter(|text| text.number == order.number);
    let tries = before.map_or(0, |text| text.tries);
    if tries >= TRY_COUNT {
        let problem = Some(format!("its process ended in the middle {tries} times"));
        return write(paths, &Text { number: order.number, tries, over: true, problem, ..Text::default() });
    }
    if is_at_work(paths) {
        return Ok(());
    }
    request.number = order.number;
    request.verify = order.verify;
    let Some(backup) = &mut request.backup else {
        let problem = Some("the cluster's name or its credentials cannot be read".to_owned());
        return write(paths, &Text { number: order.number, tries, over: true, problem, ..Text::default() });
    };
    backup.wanted = if order.full { Wanted::Full } else { Wanted::Incremental };
    write(paths, &Text { number: order.number, tries: tries + 1, ..Text::default() })?;
    start(paths, &request)
}

/// Begins to remove what is no longer kept. Returns at once.
///
/// # Errors
/// When the process cannot be started.
pub fn begin_to_expire(paths: &Paths, number: u32, request: Request) -> anyhow::Result<()> {
    if is_at_work(paths) {
        return Ok(());
    }
    start(paths, &Request { number, backup: None, ..request })
}

fn start(paths: &Paths, request: &Request) -> anyhow::Result<()> {
    let text = serde_json::to_string(request).context("cannot write the request")?;
    file::create_dir_all_with(&paths.run, &Mode::new(0o755))?;
    file::write_atomic(request_path(paths), text.as_bytes(), &Mode::new(0o600))?;
    systemd::reset_failed(UNIT)?;
    Command::new("systemd-run")
        .args(["--quiet", "--collect", "--no-block", "--property=Nice=5"])
        .args([&format!("--unit={UNIT}"), PROGRAM, "planned-backup"])
        .run()
        .context("cannot start the planned backup")?;
    Ok(())
}

/// The process.
///
/// # Errors
/// When nothing can be written down, or what is no longer kept cannot be removed.
pub fn run(paths: &Paths) -> anyhow::Result<()> {
    file::create_dir_all_with(&paths.run, &Mode::new(0o755))?;
    let _at_it = file::lock(lock_path(paths), Duration::from_secs(10))?;
    let request = file::read_to_string(request_path(paths))?;
    let request: Request = serde_json::from_str(&request).context("cannot read the request")?;
    // It holds passwords, and is written anew when this process has to begin again.
    file::remove_opt(request_path(paths))?;
    if let Some(order) = &request.backup {
        let before = read(paths).filter(|text| text.number == request.number && !text.over);
        let Some(before) = before else { return Ok(()) };
        write(paths, &make(paths, &request, order, before))?;
    }
    let removed = expire(&request.stores, request.keep, &request.application, &request.model_uuid);
    // Even if not all could be removed: the next backup tries again.
    file::write_atomic(expired_path(paths), request.number.to_string().as_bytes(), &Mode::new(0o644))?;
    removed.map(drop)
}

fn make(paths: &Paths, request: &Request, order: &backup::Order, before: Text) -> Text {
    let shown = work::Shown::new(paths, "backup");
    let mut told = |progress: Progress| shown.tell(progress.percent().unwrap_or(0));
    let reason = |why: anyhow::Error| format!("{why:#}").chars().take(REASON_LENGTH_MAX).collect::<String>();
    let taken = permitted().and_then(|()| {
        let store = request.stores.main()?;
        backup::take(store.as_ref(), order, &mut told).map_err(|why| anyhow::anyhow!(why.in_words()))
    });
    let made = match taken {
        Ok(made) => made,
        Err(why) => return Text { over: true, problem: Some(reason(why)), ..before },
    };
    // For monitoring only.
    let _noted = work::note_made(paths, made.ended);
    let mut text = Text { over: true, id: Some(made.id.clone()), full: made.kind == Kind::Full, ..before };
    if request.verify {
        match backups::prove(&request.stores, &made.id, &order.unit, &mut told) {
            Ok(_) => text.verified = true,
            Err(why) => text.problem = Some(reason(why.context(format!("cannot verify {}", made.id)))),
        }
    }
    text
}

/// A member that lags or gives its data to another has other things to do, for a while.
fn permitted() -> anyhow::Result<()> {
    let end = clock::Deadline::after(BUSY_LIMIT);
    loop {
        let server = observe::server();
        match &server {
            Server::Answers(galera) if galera.primary && galera.state == LocalState::Synced => return Ok(()),
            Server::Answers(galera) if galera.primary && !end.passed() => clock::sleep(Duration::from_secs(2)),
            Server::Answers(_) | Server::Stopped | Server::Starting | Server::Silent(_) => {
                anyhow::bail!("this unit's server is {}, not Synced", live::word(&server))
            }
        }
    }
}

/// Removes what is no longer kept, where new backups go and in this machine's archive. Returns their names.
///
/// # Errors
/// When a store refuses or cannot be used; the others are seen to all the same.
pub fn expire(stores: &Stores, keep: Keep, application: &str, model_uuid: &str) -> anyhow::Result<Vec<String>> {
    let places = stores.places(Patience::long());
    let (mut removed, mut problem) = (Vec::new(), places.problem.map(anyhow::Error::msg));
    for store in places.bucket.iter().chain([&places.archive]) {
        match expire_in(store.as_ref(), keep, application, model_uuid) {
            Ok(ids) => removed.extend(ids),
            Err(why) => drop(problem.get_or_insert(why)),
        }
    }
    problem.map_or(Ok(removed), Err)
}

fn expire_in(store: &dyn Store, keep: Keep, application: &str, model_uuid: &str) -> anyhow::Result<Vec<String>> {
    let in_words = |why: BackupError| anyhow::anyhow!(why.in_words());
    let catalogue = Catalogue::read(store).map_err(|why| in_words(why.into()))?;
    let expired = retention::expired(&catalogue, &keep, clock::now(), application, model_uuid);
    for entry in expired.iter().filter_map(|id| catalogue.entry(id)) {
        retention::remove(store, entry)
            .map_err(in_words)
            .with_context(|| format!("cannot remove the backup {} from {}", entry.id, store.describe()))?;
    }
    Ok(expired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_interrupted_until_somebody_says_what_came_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert_eq!((observe(&paths), expired(&paths)), (None, 0));
        file::create_dir_all_with(&paths.run, &Mode::new(0o755)).unwrap();
        write(&paths, &Text { number: 3, tries: 1, ..Text::default() }).unwrap();
        assert_eq!(observe(&paths), Some(Making { number: 3, result: MakingResult::Interrupted }));
        let lock = file::try_lock(lock_path(&paths)).unwrap();
        assert_eq!(shown(&paths), "planned=3 working");
        drop(lock);
        let problem = Some("no room".to_owned());
        write(&paths, &Text { number: 3, tries: 1, over: true, problem: problem.clone(), ..Text::default() }).unwrap();
        let made = Made { number: 3, id: None, full: false, verified: false, problem };
        assert_eq!(observe(&paths), Some(Making { number: 3, result: MakingResult::Made(made) }));
    }
}
