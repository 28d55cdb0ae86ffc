//! `list-backups`: everything in the store, and in every unit's archive.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::backup::store::Patience;
use crate::cluster::Observation;
use crate::mariadb::Paths;
use crate::model::observe::Model;
use crate::node::backups::{self, Listed};
use crate::node::observe;
use crate::translate;

/// Result `backups`: a table, or with `format=json` a JSON text; `not-asked` names units that did not answer.
pub(super) fn run(params: &BTreeMap<String, Value>) -> anyhow::Result<BTreeMap<String, Value>> {
    let format = super::text(params, "format", "text");
    if !["text", "json"].contains(&format) {
        anyhow::bail!("format {format:?} is not text or json");
    }
    let model = super::model()?;
    let (listed, silent) = everywhere(&model)?;
    let text = if format == "json" { json!(listed).to_string() } else { backups::table(&listed) };
    let mut results = BTreeMap::from([("backups".to_owned(), Value::from(text))]);
    if !silent.is_empty() {
        results.insert("not-asked".to_owned(), silent.join("; ").into());
    }
    Ok(results)
}

/// The unit whose archive has a backup that this unit cannot reach.
pub(super) fn kept_elsewhere(model: &Model, id: &str) -> anyhow::Result<Option<String>> {
    let (listed, _) = everywhere(model)?;
    let me = model.me.to_string();
    let kept: Vec<&String> = listed.iter().filter(|backup| backup.id == id).map(|backup| &backup.kept_by).collect();
    let here = kept.iter().any(|kept_by| kept_by.is_empty() || **kept_by == me);
    Ok(kept.first().filter(|_| !here).map(|unit| (*unit).clone()))
}

/// All backups that this application can reach, oldest first, and who could not be asked.
///
/// # Errors
/// When Juju does not answer.
pub(super) fn everywhere(model: &Model) -> anyhow::Result<(Vec<Listed>, Vec<String>)> {
    let stores = translate::stores(model)?;
    let (app, model_uuid) = (model.me.app(), model.model_uuid.clone());
    let (mut listed, mut silent) = (Vec::new(), Vec::new());
    let (places, me) = (stores.places(Patience::short()), model.me.to_string());
    silent.extend(places.problem.map(|why| format!("the bucket: {why}")));
    for (store, kept_by) in places.bucket.iter().map(|bucket| (bucket, "")).chain([(&places.archive, &*me)]) {
        match backups::list(store.as_ref(), kept_by, app, &model_uuid) {
            Ok(found) => listed.extend(found),
            Err(why) => silent.push(format!("{}: {why:#}", store.describe())),
        }
    }
    let node = observe::observe(&Paths::default(), model.address);
    let o = Observation { me: model.me.clone(), juju: model.juju.clone(), node, rivals: [].into() };
    let others: Vec<_> = o
        .reports()
        .into_iter()
        .filter(|(unit, _)| *unit != o.me)
        .map(|(unit, report)| (unit, report.and_then(|report| report.address)))
        .collect();
    let asked: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = others
            .into_iter()
            .map(|(unit, address)| (unit, address.map(|address| scope.spawn(move || backups::ask(address)))))
            .collect();
        asked.into_iter().map(|(unit, answer)| (unit, answer.and_then(|answer| answer.join().ok()))).collect()
    });
    for (unit, answer) in asked {
        match answer {
            Some(Ok(theirs)) => listed.extend(theirs),
            Some(Err(why)) => silent.push(format!("{unit}: {why:#}")),
            None => silent.push(format!("{unit}: its address is not known")),
        }
    }
    listed.sort_by(|a, b| (&a.id, &a.place).cmp(&(&b.id, &b.place)));
    Ok((listed, silent))
}
