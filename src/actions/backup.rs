//! `backup`, also `create-backup`: the unit's data into the store, now.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde_json::Value;

use super::list_backups;
use crate::backup::{self, Phase, Progress, Wanted};
use crate::cluster::{LocalState, Server};
use crate::invocation;
use crate::juju::action;
use crate::mariadb::Paths;
use crate::model::observe::Model;
use crate::model::publish::Beside;
use crate::node::{backups, live, observe, planned, work};
use crate::translate;

/// Results `backup-id`, `type`, `size-bytes`, `note` and, when it was proved, `verified`.
pub(super) fn run(params: &BTreeMap<String, Value>) -> anyhow::Result<BTreeMap<String, Value>> {
    let wanted = wanted(params)?;
    let (force, proved) = (super::flag(params, "force")?, super::flag(params, "verify")?);
    let model = super::model()?;
    permitted(&model, force)?;
    let stores = translate::stores(&model)?;
    let order = translate::order(&model, &stores, wanted, &invocation::action(), "asked for by an action")?;
    stores.try_out()?;
    let store = stores.main()?;
    let mut told = Told::new("backup");
    let made = backup::take(store.as_ref(), &order, &mut |progress| told.tell(progress));
    let made = made.map_err(|why| anyhow::anyhow!(why.in_words()))?;
    let _noted_for_monitoring = work::note_made(&Paths::default(), made.ended);
    let mut results = BTreeMap::from([
        ("backup-id".to_owned(), Value::from(made.id.clone())),
        ("type".to_owned(), made.kind.to_string().into()),
        ("size-bytes".to_owned(), made.stored_bytes.into()),
    ]);
    if let Some(note) = made.note {
        results.insert("note".to_owned(), note.into());
    }
    if proved {
        results.insert("verified".to_owned(), prove(&made.id, &model, &mut told)?.into());
    }
    // The backup is there: that older ones could not be removed is no reason to call it failed.
    let request = translate::planned(&model)?;
    match planned::expire(&request.stores, request.keep, &request.application, &request.model_uuid) {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => drop(results.insert("removed".to_owned(), removed.join(" ").into())),
        Err(why) => action::log(&format!("older backups stay: {why:#}"))?,
    }
    Ok(results)
}

/// What kind of backup, and of what.
fn wanted(params: &BTreeMap<String, Value>) -> anyhow::Result<Wanted> {
    let databases = super::text(params, "databases", "").split(',').map(str::trim).filter(|name| !name.is_empty());
    let databases: BTreeSet<String> = databases.map(ToOwned::to_owned).collect();
    if params.contains_key("databases") && databases.is_empty() {
        anyhow::bail!("databases names none: leave it out for all of them");
    }
    let kind = super::text(params, "type", "full");
    if kind != "logical" && params.contains_key("databases") {
        anyhow::bail!("databases is for type=logical: a {kind} backup is of all data");
    }
    match kind {
        "full" => Ok(Wanted::Full),
        "incremental" => Ok(Wanted::Incremental),
        "logical" => Ok(Wanted::Logical { databases: databases.into_iter().collect() }),
        other => anyhow::bail!("type {other:?} is not full, incremental or logical"),
    }
}

/// Proves a backup, and says how in a sentence.
///
/// # Errors
/// When it could not be tried, or is no good.
pub(super) fn prove(id: &str, model: &Model, told: &mut Told) -> anyhow::Result<String> {
    let stores = translate::stores(model)?;
    let proof = backups::prove(&stores, id, &model.me.to_string(), &mut |progress| told.tell(progress))?;
    Ok(format!("{} tables with {} rows, on MariaDB {}", proof.tables, proof.rows, proof.server_version))
}

/// Whether this unit may copy its data now.
pub(super) fn permitted(model: &Model, force: bool) -> anyhow::Result<()> {
    if let Some(open) = &model.juju.app.restore {
        anyhow::bail!("a restore of {} is under way; make a backup when it is done, see juju status", open.to);
    }
    let server = observe::server();
    let synced = matches!(&server, Server::Answers(galera) if galera.primary && galera.state == LocalState::Synced);
    if synced || (force && matches!(server, Server::Answers(_))) {
        return Ok(());
    }
    let word = live::word(&server);
    if matches!(server, Server::Answers(_)) {
        anyhow::bail!("this unit is {word}, not Synced: take another one, or force=true if this copy is what you want")
    }
    anyhow::bail!("this unit's server is {word}: take a unit that is Synced")
}

/// Tells the operator how far it is: a line of the action, and the unit's status.
pub(super) struct Told {
    what: &'static str,
    shown: Option<(Phase, u8)>,
    work: work::Shown,
    status: Option<Beside>,
}

impl Told {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, shown: None, work: work::Shown::new(&Paths::default(), what), status: Beside::of_now() }
    }

    /// Every ten percent, and when something else begins.
    pub(super) fn tell(&mut self, progress: Progress) {
        let percent = progress.percent().unwrap_or(0);
        self.work.tell(percent);
        let now = (progress.phase, percent / 10);
        if self.shown == Some(now) {
            return;
        }
        self.shown = Some(now);
        let doing = match progress.phase {
            Phase::Copying => "copying",
            Phase::Reading => "reading",
            Phase::Loading => "loading",
            Phase::Preparing => "preparing",
            Phase::Checking => "checking",
        };
        // Of checking and preparing tables and steps are counted.
        let amount = match progress.phase {
            Phase::Copying | Phase::Reading => format!(" ({})", backups::size(progress.done)),
            Phase::Loading | Phase::Preparing | Phase::Checking => String::new(),
        };
        let line = format!("{}: {doing} {percent} %{amount}", self.what);
        // Nobody may be listening any more.
        let _told = action::log(&line);
        if let Some(status) = &self.status {
            status.show(&format!("{} {percent} %", self.what));
        }
    }
}

/// Proves one that is there already: `verify-backup`.
pub(super) fn verify_backup(params: &BTreeMap<String, Value>) -> anyhow::Result<BTreeMap<String, Value>> {
    let id = super::text(params, "backup-id", "");
    anyhow::ensure!(!id.is_empty(), "backup-id is missing: list-backups shows them");
    let model = super::model()?;
    if let Some(unit) = list_backups::kept_elsewhere(&model, id)? {
        anyhow::bail!("the backup {id} is in the archive of {unit}: juju run {unit} verify-backup backup-id={id}");
    }
    let mut told = Told::new("verify");
    let said = prove(id, &model, &mut told).with_context(|| format!("cannot verify {id}"))?;
    Ok(BTreeMap::from([("backup-id".to_owned(), id.into()), ("verified".to_owned(), said.into())]))
}
