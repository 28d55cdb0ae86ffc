//! Files that the operator gives for a charm's resources: kept in the model's directory, one for each resource.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;
use serde_json::Value;

use super::Controller;
use super::requests::commit;
use crate::charm_files::Charm;
use crate::model::{ModelError, Resource};

/// Refuses a file for a resource that the charm does not declare.
pub(super) fn check(charm: &Charm, files: &BTreeMap<String, String>) -> anyhow::Result<()> {
    match files.keys().find(|name| !charm.resources.contains_key(*name)) {
        None => Ok(()),
        Some(unknown) => {
            let known = charm.resources.keys().cloned().collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has: {known}") };
            anyhow::bail!("charm {:?} has no resource called {unknown:?}; {known}", charm.name)
        }
    }
}

/// Gives an application files, by resource. Units that have begun already hear of it by upgrade-charm.
pub(super) fn attach(
    controller: &Controller,
    application: &str,
    files: &BTreeMap<String, String>,
) -> anyhow::Result<Value> {
    let charm = controller.read(|state| state.application(application).map(|app| app.charm.clone()))?;
    check(&charm, files)?;
    let dir = controller.dir.join("resources");
    for (name, path) in files {
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let file = format!("{application}-{name}-{}", crate::model::random_hex(8));
        fs::copy(path, dir.join(&file)).with_context(|| format!("cannot keep resource file {path}"))?;
        commit(controller, |state| {
            let app = state.applications.get_mut(application);
            let app = app.ok_or_else(|| ModelError::new(format!("application {application:?} not found")))?;
            let revision = app.resources.get(name).map_or(0, |resource| resource.revision + 1);
            app.resources.insert(name.clone(), Resource { file, revision });
            for (_, unit) in state.units.iter_mut().filter(|(unit, _)| unit.app == application) {
                unit.local.upgrade_due = unit.local.upgrade_due || unit.local.installed;
            }
            Ok::<_, ModelError>(())
        })?;
    }
    Ok(Value::Null)
}
