//! What backups there are, in words for people and for other members: those of a store, and those that another unit keeps
//! in its archive and tells of when it is asked.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::stores::{Stores, archive};
use super::{shown, work};
use crate::AGENT_PORT;
use crate::backup::store::{Directory, Patience, Store};
use crate::backup::{self, Catalogue, Entry, Progress, Proof, Shape, verify};
use crate::host::clock::{self, Timestamp};
use crate::host::net;
use crate::mariadb::Paths;

/// Much more than any list is.
const BYTES_MAX: usize = 16 << 20;

/// One backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listed {
    /// Its name: when it began.
    pub id: String,
    /// Full, incremental or logical.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of a logical one of some databases: these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
    /// Finished, failed, in progress, broken, or foreign.
    pub status: String,
    /// Bytes of data in it, and as they are stored.
    pub raw_bytes: u64,
    pub stored_bytes: u64,
    /// Seconds that it took.
    pub seconds: u64,
    /// Seconds since it ended, or began when it did not end.
    pub age_seconds: u64,
    /// How long ago it was proved to restore, or what was wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// When it was proved to restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
    pub encrypted: bool,
    /// The unit that made it, or does.
    pub unit: String,
    /// Who asked for it, and why.
    pub asked_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Where it is kept.
    pub place: String,
    /// The unit on whose machine that is; empty for a store that all units reach.
    pub kept_by: String,
}

impl Listed {
    /// Whether it can be brought back, as far as is known.
    pub fn is_usable(&self) -> bool {
        self.status == "finished" || self.status == "foreign"
    }
}

/// Everything in a store. `application` and model tell ours from others'.
///
/// # Errors
/// When the store refuses.
pub fn list(store: &dyn Store, kept_by: &str, application: &str, model_uuid: &str) -> anyhow::Result<Vec<Listed>> {
    let catalogue = Catalogue::read(store)?;
    let now = clock::now();
    let place = if kept_by.is_empty() { store.describe() } else { format!("archive of {kept_by}") };
    let ended = !kept_by.is_empty() && !work::is_backing_up(&Paths::default());
    let listed = catalogue.entries().iter().map(|entry| {
        let own = entry.is_of(application, model_uuid);
        let mut listed = listed(&catalogue, entry, own, now);
        // Nobody on this machine writes, and nobody else writes here.
        if ended && listed.status == "in progress" {
            listed.status = "failed: interrupted".to_owned();
        }
        Listed { place: place.clone(), kept_by: kept_by.to_owned(), ..listed }
    });
    Ok(listed.collect())
}

fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.unix_seconds() - from.unix_seconds()).unwrap_or(0)
}

fn listed(catalogue: &Catalogue, entry: &Entry, own: bool, now: Timestamp) -> Listed {
    let began = entry.began().unwrap_or(now);
    let bare = Listed { id: entry.id.clone(), age_seconds: seconds(began, now), ..Listed::default() };
    match &entry.shape {
        Shape::Finished(made) => Listed {
            kind: made.kind.to_string(),
            databases: made.databases.clone(),
            status: match catalogue.chain(&entry.id) {
                Ok(chain) => match catalogue.found_bad(&chain) {
                    Some((bad, problem)) if bad == entry.id => format!("broken: found no good: {problem}"),
                    Some((bad, problem)) => format!("broken: it builds on {bad}, which was found no good: {problem}"),
                    None if own => "finished".to_owned(),
                    None => "foreign".to_owned(),
                },
                Err(why) => format!("broken: {}", why.in_words()),
            },
            raw_bytes: made.raw_bytes,
            stored_bytes: made.stored_bytes,
            seconds: seconds(made.began, made.ended),
            age_seconds: seconds(made.ended, now),
            verified_at: entry.proof.as_ref().filter(|proof| proof.problem.is_none()).map(|proof| proof.at.to_string()),
            verified: entry.proof.as_ref().map(|proof| match &proof.problem {
                None => format!("{} ago", in_words(seconds(proof.at, now))),
                Some(problem) => format!("no: {problem}"),
            }),
            parent: made.parent.clone(),
            position: made.position.as_ref().map(|position| format!("{}:{}", position.uuid, position.seqno)),
            gtid: made.gtid.clone(),
            encrypted: made.encryption.is_some(),
            unit: made.unit.clone(),
            asked_by: format!("{} ({})", made.who, made.why),
            note: made.note.clone(),
            ..bare
        },
        Shape::Failed(failed) => Listed {
            kind: failed.kind.to_string(),
            status: format!("failed: {}", failed.reason),
            unit: failed.unit.clone(),
            asked_by: format!("{} ({})", failed.who, failed.why),
            ..bare
        },
        Shape::Unfinished(begun) => {
            let first = begun.first();
            Listed {
                kind: first.map(|begun| begun.kind.to_string()).unwrap_or_default(),
                status: if entry.is_in_progress(now) { "in progress" } else { "failed: interrupted" }.to_owned(),
                stored_bytes: entry.data_bytes(),
                unit: first.map(|begun| begun.unit.clone()).unwrap_or_default(),
                asked_by: first.map(|begun| format!("{} ({})", begun.who, begun.why)).unwrap_or_default(),
                ..bare
            }
        }
        Shape::Unreadable(why) => Listed { status: format!("broken: its manifest {why}"), ..bare },
    }
}

/// A duration in its two largest units, or one.
pub fn in_words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Restores a backup for a look, and keeps what was found with it.
///
/// # Errors
/// When it could not be tried, or is no good.
pub fn prove(stores: &Stores, id: &str, unit: &str, told: &mut dyn FnMut(Progress)) -> anyhow::Result<Proof> {
    // A person waits for the answer that it is not there.
    stores.find(id, Patience::short())?;
    let (store, chain) = stores.find(id, Patience::long())?;
    if let (true, None, Some(problem)) =
        (chain.iter().any(|made| made.encryption.is_some()), &stores.identity, &stores.problem)
    {
        anyhow::bail!("{problem}");
    }
    let (paths, identity) = (Paths::default(), stores.identity.as_deref());
    let proof = backup::prove(store.as_ref(), &chain, identity, &paths.volume.join(work::SCRATCH), unit, told);
    let proof = proof.map_err(|why| anyhow::anyhow!(why.in_words()))?;
    verify::record(store.as_ref(), id, &proof)?;
    if let Some(problem) = proof.problem {
        anyhow::bail!("the backup {id} is no good: {problem}");
    }
    work::note_proof(&paths, proof.at)?;
    Ok(proof)
}

/// What is kept in this machine's archive, as an agent tells it: who asks knows whose it is.
///
/// # Errors
/// When the archive cannot be read.
pub fn own_archive(paths: &Paths) -> anyhow::Result<Vec<Listed>> {
    let note = shown::read(paths).context("no hook has ended here yet")?;
    let application = note.unit.split('/').next().unwrap_or_default();
    list(&Directory::new(archive()), &note.unit, application, &note.model_uuid)
}

/// What another unit keeps in its archive.
///
/// # Errors
/// When its agent does not answer.
pub fn ask(address: IpAddr) -> anyhow::Result<Vec<Listed>> {
    const LIMIT: Duration = Duration::from_secs(20);
    let answer = net::http_get_local(SocketAddr::new(address, AGENT_PORT), "/backups", LIMIT, BYTES_MAX)?;
    serde_json::from_slice(&answer.body).context("cannot read what its agent says of its backups")
}

/// For people.
pub fn table(backups: &[Listed]) -> String {
    use std::fmt::Write as _;
    if backups.is_empty() {
        return "no backups".to_owned();
    }
    let mut text = format!(
        "{:20}  {:11}  {:9}  {:>9}  {:>7}  {:9}  {:20}  {}\n",
        "backup-id", "type", "encrypted", "size", "age", "verified", "place", "status"
    );
    for b in backups {
        let mut status = b.status.clone();
        if let Some(note) = &b.note {
            let _infallible = write!(status, " ({note})");
        }
        let _infallible = writeln!(
            text,
            "{:20}  {:11}  {:9}  {:>9}  {:>7}  {:9}  {:20}  {status}",
            b.id,
            b.kind,
            if b.encrypted { "yes" } else { "no" },
            size(b.stored_bytes),
            in_words(b.age_seconds),
            b.verified.as_deref().unwrap_or("-"),
            b.place,
        );
    }
    text
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..10_737_418_240 => format!("{} MiB", bytes >> 20),
        // Tenths: two sizes that are not the same should not look so.
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_people() {
        let one = Listed {
            id: "2026-11-22T07:28:34Z".to_owned(),
            kind: "full".to_owned(),
            status: "finished".to_owned(),
            stored_bytes: 7 << 20,
            age_seconds: 7_300,
            verified: Some("3 min ago".to_owned()),
            place: "archive of db/1".to_owned(),
            ..Listed::default()
        };
        let text = table(&[one]);
        let row = text.lines().nth(1).unwrap();
        assert!(
            row.starts_with("2026-11-22T07:28:34Z  full         no             7 MiB      2 h  3 min ago"),
            "{row}"
        );
        assert_eq!(table(&[]), "no backups");
    }
}
