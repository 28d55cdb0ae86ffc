//! `restore`, `undo-restore`, `confirm-restore`: a person's decision, written down for all units to carry out. What comes of
//! it is shown in their statuses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{backup, list_backups};
use crate::backup::store::Patience;
use crate::backup::{Live, load, room};
use crate::cluster::{self, Commit, Observation, Restore, Source, Unit};
use crate::mariadb::{Paths, SOCKET};
use crate::model::observe::Model;
use crate::model::publish;
use crate::node::backups::{self, Listed};
use crate::node::stores::archive;
use crate::node::{live, observe, shown};
use crate::translate;

/// Results `restore` (its number), `backup-id`, `unit` (who brings it back) and `message`.
pub(super) fn run(params: &BTreeMap<String, Value>) -> anyhow::Result<BTreeMap<String, Value>> {
    let id = super::text(params, "backup-id", "");
    anyhow::ensure!(!id.is_empty(), "backup-id is missing: list-backups shows what there is");
    if let Some(loaded) = load_some(id)? {
        return Ok(loaded);
    }
    // First: of some databases the unit loads them that keeps the backup, whoever leads.
    let (unit, bytes) = who_has(&super::model()?, id)?;
    let (model, o) = leader("restore")?;
    check_room(&o, bytes)?;
    let decided = cluster::restore(&o, Source::Backup(id.to_owned()), &unit)?;
    decide(&model, &decided)?;
    Ok(BTreeMap::from([
        ("restore".to_owned(), decided.epoch.to_string().into()),
        ("backup-id".to_owned(), id.into()),
        ("unit".to_owned(), unit.to_string().into()),
        (
            "message".to_owned(),
            "the backup is brought back while the cluster serves on; then all members stop and begin with it. Follow it in juju status; undo-restore goes back"
                .into(),
        ),
    ]))
}

/// A backup of some databases goes into the running cluster, and nobody stops. Nothing when it is another one, or not to be
/// found from here. Results `backup-id`, `databases`, `tables`, `rows` and `message`.
fn load_some(id: &str) -> anyhow::Result<Option<BTreeMap<String, Value>>> {
    let model = super::model()?;
    let stores = translate::stores(&model)?;
    // Whoever asks for it in the other way says what is wrong with it.
    let Ok((_, chain)) = stores.find(id, Patience::short()) else { return Ok(None) };
    if chain.iter().all(|made| made.databases.is_empty()) {
        return Ok(None);
    }
    backup::permitted(&model, false)?;
    let (store, chain) = stores.find(id, Patience::long())?;
    let paths = Paths::default();
    let live = Live { socket: SOCKET.into(), datadir: paths.datadir(), volume: paths.volume, threads: 2 };
    let mut told = backup::Told::new("restore");
    let identity = stores.identity.as_deref();
    let loaded = load(store.as_ref(), &chain, identity, &live, &mut |progress| told.tell(progress));
    let loaded = loaded.map_err(|why| anyhow::anyhow!(why.in_words()))?;
    let mut message = "the databases are there on all units".to_owned();
    if !loaded.here_only.is_empty() {
        message = format!(
            "{message}; only on this unit are the rows of {}, which are not InnoDB",
            loaded.here_only.join(", ")
        );
    }
    Ok(Some(BTreeMap::from([
        ("backup-id".to_owned(), id.into()),
        ("databases".to_owned(), loaded.databases.join(",").into()),
        ("tables".to_owned(), loaded.tables.into()),
        ("rows".to_owned(), loaded.rows.into()),
        ("message".to_owned(), message.into()),
    ])))
}

/// Results `restore`, `unit`, `position` and `message`; of one that is called off before it has begun, the last of them.
pub(super) fn undo() -> anyhow::Result<BTreeMap<String, Value>> {
    let (model, o) = leader("undo-restore")?;
    if let Some(commits) = cluster::call_off(&o) {
        publish::commit(&model, &commits)?;
        shown::look_soon(&Paths::default())?;
        let message = "the restore that was under way is called off: everything stays as it is";
        return Ok(BTreeMap::from([("message".to_owned(), message.into())]));
    }
    let decided = cluster::undo(&o)?;
    let position = o.juju.app.history.as_ref().and_then(|history| history.replaced.as_ref());
    let position = position.map(|replaced| replaced.position.to_string()).unwrap_or_default();
    decide(&model, &decided)?;
    Ok(BTreeMap::from([
        ("restore".to_owned(), decided.epoch.to_string().into()),
        ("unit".to_owned(), decided.unit.to_string().into()),
        ("position".to_owned(), position.into()),
        (
            "message".to_owned(),
            "all members stop and begin with the data from before the restore; what was written since is kept in its place"
                .into(),
        ),
    ]))
}

/// Result `message`.
pub(super) fn confirm() -> anyhow::Result<BTreeMap<String, Value>> {
    let (model, o) = leader("confirm-restore")?;
    let history = o.juju.app.history.as_ref();
    let Some(commit) = history.and_then(cluster::confirm) else {
        anyhow::bail!("{}", cluster::NoRestore::NothingBefore);
    };
    if let Some(open) = &o.juju.app.restore {
        anyhow::bail!("{}", cluster::NoRestore::UnderWay(open.clone()));
    }
    publish::commit(&model, &[commit])?;
    shown::look_soon(&Paths::default())?;
    let message = "what was kept from before the restore is deleted on all units";
    Ok(BTreeMap::from([("message".to_owned(), message.into())]))
}

fn leader(action: &str) -> anyhow::Result<(Model, Observation)> {
    let model = super::model()?;
    if !model.juju.leader {
        anyhow::bail!("only the leader can decide this: juju run {}/leader {action}", model.me.app());
    }
    let node = observe::observe(&Paths::default(), model.address);
    let o = Observation { me: model.me.clone(), juju: model.juju.clone(), node, rivals: BTreeSet::new() };
    Ok((model, o))
}

/// The unit that can bring it back, and how many bytes that takes.
fn who_has(model: &Model, id: &str) -> anyhow::Result<(Unit, u64)> {
    let (listed, silent) = list_backups::everywhere(model)?;
    choose(&listed, &silent, &model.me, id)
}

/// Of all that is listed: this unit, if it reaches it; else the one whose archive has it.
fn choose(listed: &[Listed], silent: &[String], me: &Unit, id: &str) -> anyhow::Result<(Unit, u64)> {
    let me = me.to_string();
    let mut found: Vec<_> = listed.iter().filter(|backup| backup.id == id).collect();
    let usable = || found.iter().filter(|backup| backup.is_usable());
    let keepers: BTreeSet<&str> = usable().map(|backup| backup.kept_by.as_str()).collect();
    // A copy of the same backup is as good as the other.
    let different: BTreeSet<_> = usable().map(|b| (&b.unit, b.raw_bytes, b.stored_bytes, &b.position)).collect();
    if different.len() > 1 {
        let keepers = keepers.into_iter().map(|kept_by| if kept_by.is_empty() { "the bucket" } else { kept_by });
        anyhow::bail!(
            "several backups are called {id}, kept by {}: which one is meant cannot be told; remove the folder {id} of the others below {}",
            keepers.collect::<Vec<_>>().join(", "),
            archive().display()
        );
    }
    found.sort_by_key(|backup| (!backup.is_usable(), !(backup.kept_by.is_empty() || backup.kept_by == me)));
    match found.first() {
        Some(backup) if !backup.is_usable() => anyhow::bail!("the backup {id} cannot be restored: {}", backup.status),
        Some(backup) if !backup.databases.is_empty() => anyhow::bail!(
            "the backup {id} has only the databases {}, and the unit that keeps it loads them: juju run {} restore backup-id={id}",
            backup.databases.join(", "),
            backup.kept_by
        ),
        Some(backup) => {
            let unit = if backup.kept_by.is_empty() { &me } else { &backup.kept_by };
            Ok((unit.parse().map_err(anyhow::Error::msg)?, room_for(listed, backup)))
        }
        None if silent.is_empty() => anyhow::bail!("there is no backup {id}: list-backups shows what there is"),
        None => anyhow::bail!(
            "no backup {id} is known here, and not everybody could be asked ({}): list-backups shows what there is",
            silent.join("; ")
        ),
    }
}

/// What it takes to bring a backup back, with what it builds on.
fn room_for(listed: &[Listed], backup: &Listed) -> u64 {
    let (mut raw_bytes, mut last) = (vec![backup.raw_bytes], backup);
    // Names of parents are older, so this ends.
    while let Some(parent) = listed
        .iter()
        .find(|other| Some(&other.id) == last.parent.as_ref() && other.kept_by == last.kept_by && other.id < last.id)
    {
        raw_bytes.push(parent.raw_bytes);
        last = parent;
    }
    raw_bytes.reverse();
    room(backup.kind == "logical", &raw_bytes)
}

/// Every member keeps what it has, beside the data that it receives. One that does not say how much room it has may be away,
/// and is looked at when it joins.
fn check_room(o: &Observation, bytes: u64) -> anyhow::Result<()> {
    let members = o.reports().into_iter().filter_map(|(unit, report)| Some((unit, report?.address?)));
    let members: Vec<_> = members.collect();
    let free: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            members.into_iter().map(|(unit, address)| (unit, scope.spawn(move || live::primary(address)))).collect();
        asked.into_iter().filter_map(|(unit, said)| Some((unit, said.join().ok()??.free_bytes?))).collect()
    });
    enough_room(&free, bytes)
}

fn enough_room(free: &[(Unit, u64)], bytes: u64) -> anyhow::Result<()> {
    for (unit, free) in free {
        anyhow::ensure!(
            *free >= bytes,
            "{unit} has {} of room on its data volume, and the restored data need {} beside what is there: make room first",
            backups::size(*free),
            backups::size(bytes)
        );
    }
    Ok(())
}

fn decide(model: &Model, decided: &Restore) -> anyhow::Result<()> {
    publish::commit(model, &[Commit::Restore(decided.clone())])?;
    shown::look_soon(&Paths::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2026-11-22T07:28:34Z";

    /// A backup of db/0, in that unit's archive; without one, in the bucket.
    fn kept_by(unit: &str) -> Listed {
        Listed {
            id: ID.to_owned(),
            status: "finished".to_owned(),
            raw_bytes: 700,
            stored_bytes: 70,
            position: Some("6a1f0d52-8f2e-11ee-b9d1-0242ac120002:17".to_owned()),
            unit: "db/0".to_owned(),
            kept_by: unit.to_owned(),
            ..Listed::default()
        }
    }

    /// What db/0 says.
    fn chosen(listed: &[Listed]) -> String {
        let me = "db/0".parse().unwrap();
        match choose(listed, &[], &me, ID) {
            Ok((unit, bytes)) => format!("{unit} needs {bytes} bytes"),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn of_different_backups_with_one_name_none_is_chosen() {
        let one = || kept_by("db/1");
        for other in [
            Listed { unit: "db/2".to_owned(), ..kept_by("db/2") },
            Listed { raw_bytes: 701, ..kept_by("db/2") },
            Listed { stored_bytes: 71, ..kept_by("db/2") },
            Listed { position: None, ..kept_by("db/2") },
        ] {
            let expected = format!(
                "several backups are called {ID}, kept by db/1, db/2: which one is meant cannot be told; \
                 remove the folder {ID} of the others below {}",
                archive().display()
            );
            assert_eq!(chosen(&[one(), other.clone()]), expected);
            assert_eq!(chosen(&[other.clone(), one()]), expected, "whoever was heard first");
            let said = chosen(&[Listed { kept_by: String::new(), ..other.clone() }, one()]);
            assert!(
                said.starts_with(&format!("several backups are called {ID}, kept by the bucket, db/1: ")),
                "{said}"
            );
            // What cannot be brought back anyway leaves no doubt.
            let broken = Listed { status: "broken: a part of it is gone".to_owned(), ..other };
            assert_eq!(chosen(&[broken, one()]), "db/1 needs 201327327 bytes");
        }
    }

    #[test]
    fn of_copies_of_one_backup_the_nearest_is_chosen() {
        assert_eq!(chosen(&[kept_by("db/1"), kept_by("db/2")]), "db/1 needs 201327327 bytes");
        assert_eq!(chosen(&[kept_by("db/1"), kept_by("db/0")]), "db/0 needs 201327327 bytes");
        assert_eq!(
            chosen(&[kept_by("db/1"), kept_by("")]),
            "db/0 needs 201327327 bytes",
            "every unit reaches the bucket"
        );
    }

    #[test]
    fn whoever_has_too_little_room_for_a_restore_is_named() {
        let free = |room: &[(&str, u64)]| {
            let free: Vec<_> = room.iter().map(|(unit, free)| (unit.parse().unwrap(), *free)).collect();
            enough_room(&free, 3 << 30).map_or_else(|why| why.to_string(), |()| "enough".to_owned())
        };
        assert_eq!(free(&[]), "enough", "nobody has said how much room there is");
        assert_eq!(free(&[("db/0", 3 << 30), ("db/1", 4 << 30)]), "enough");
        let expected = |unit: &str| {
            format!(
                "{unit} has 3071 MiB of room on its data volume, and the restored data need 3072 MiB beside what is \
                 there: make room first"
            )
        };
        let little = (3 << 30) - 1;
        assert_eq!(free(&[("db/0", little), ("db/1", 4 << 30)]), expected("db/0"));
        assert_eq!(free(&[("db/0", 4 << 30), ("db/1", little)]), expected("db/1"));
    }
}
