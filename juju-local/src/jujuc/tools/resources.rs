//! Files that come with an application beside its charm: put on the machine when they are first asked for.

use std::path::Path;

use super::Run;
use crate::jujuc::flags::{Spec, ToolError, failure, usage};
use crate::jujuc::output::{Outcome, Said};

pub(super) const GET: Spec = Spec {
    name: "resource-get",
    args: "<resource name>",
    summary: "Get the path to the locally cached resource file.",
    flags: &[],
    details: "Prints the path, without a newline. The file is fetched when it is not there yet, or not the newest.",
};

pub(super) fn get(run: &mut Run<'_>) -> Outcome {
    let name = run.flags.rest.first().cloned().ok_or_else(|| usage("missing required resource name"))?;
    run.flags.at_most(1)?;
    let path = fetch(run, &name).map_err(|why| failure(format!("could not download resource: {}", why.message)))?;
    Ok(Said::Text(path))
}

fn fetch(run: &Run<'_>, name: &str) -> Result<String, ToolError> {
    let me = &run.context.unit;
    let missing = || failure(format!("resource \"{}/{name}\" not found", me.app));
    let found = run.controller.read(|state| {
        let app = state.applications.get(&me.app)?;
        let spec = app.charm.resources.get(name)?;
        let unit = state.units.get(me)?;
        Some((spec.clone(), app.resources.get(name).cloned(), unit.machine, unit.local.resources.get(name).copied()))
    });
    let (spec, given, machine, have) = found.ok_or_else(missing)?;
    let given = given.ok_or_else(missing)?;
    let path = format!("/var/lib/juju/agents/{}/resources/{name}/{}", me.tag(), spec.filename);
    let target = run.controller.machines.root(machine).join(path.trim_start_matches('/'));
    if have != Some(given.revision) || !target.exists() {
        let source = run.controller.dir.join("resources").join(&given.file);
        copy(&source, &target).map_err(|why| failure(why.to_string()))?;
        run.controller.change(|state| {
            if let Some(unit) = state.units.get_mut(me) {
                unit.local.resources.insert(name.to_owned(), given.revision);
            }
        });
    }
    Ok(path)
}

/// A reader of the old file keeps it: the new one takes its place whole.
fn copy(source: &Path, target: &Path) -> std::io::Result<()> {
    let dir = target.parent().unwrap_or(target);
    std::fs::create_dir_all(dir)?;
    let new = dir.join(".new");
    std::fs::copy(source, &new)?;
    std::fs::rename(new, target)
}
