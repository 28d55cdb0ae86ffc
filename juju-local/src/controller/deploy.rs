//! Charms become applications, applications get units and other charms.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::requests::commit;
use super::rollback::{provision, take_back};
use super::{Controller, kept, resources};
use crate::api::Deployment;
use crate::charm_files::{Archive, Charm};
use crate::machine::check_room_for;

/// Where new units go, and what they find there.
pub(super) struct Placement<'a> {
    pub(super) to: Option<&'a str>,
    pub(super) attach: &'a [String],
}

impl Placement<'_> {
    fn machine(&self) -> anyhow::Result<Option<u32>> {
        let machine = |to: &str| to.parse().map_err(|_| anyhow::anyhow!("placement {to:?} is not a machine's number"));
        self.to.map(machine).transpose()
    }

    fn fits(&self, num_units: u32) -> anyhow::Result<()> {
        if !self.attach.is_empty() && num_units != 1 {
            anyhow::bail!(
                "AttachStorage is non-empty, but NumUnits is {num_units}; add one unit with --attach-storage"
            );
        }
        Ok(())
    }
}

/// Deploys a charm: the application's name, and its units with their machines made.
pub(super) fn deploy(
    controller: &Arc<Controller>,
    wanted: &Deployment,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Value> {
    check_deployable(controller, wanted, progress)?;
    check_room_for(wanted.num_units)?;
    let placement = Placement { to: wanted.to.as_deref(), attach: &wanted.attach_storage };
    let kept = kept::Keeping::new(controller);
    let (charm, file) = keep_charm(controller, &wanted.charm)?;
    resources::check(&charm, &wanted.resources)?;
    let name = wanted.name.clone().unwrap_or_else(|| charm.name.clone());
    let to = placement.machine()?;
    if charm.subordinate && (wanted.num_units > 1 || to.is_some()) {
        anyhow::bail!("cannot use --num-units or --to with subordinate application");
    }
    placement.fits(wanted.num_units)?;
    let count = if charm.subordinate { 0 } else { wanted.num_units };
    let now = controller.now();
    let units = commit(controller, |state| {
        state.add_application(&name, charm, &file, &wanted.config, &wanted.storage)?;
        state.bind(&name, &wanted.bind)?;
        state.set_trust(&name, wanted.trust)?;
        (0..count).map(|_| state.add_unit_with(&name, to, placement.attach, now)).collect::<Result<Vec<_>, _>>()
    })?;
    if let Err(why) = resources::attach(controller, &name, &wanted.resources) {
        take_back(controller, &name, &units);
        return Err(why);
    }
    drop(kept);
    provision(controller, &units, progress)?;
    Ok(json!({"application": name, "units": units}))
}

/// Adds units to an application.
pub(super) fn add_units(
    controller: &Arc<Controller>,
    app: &str,
    count: u32,
    placement: &Placement<'_>,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Value> {
    check_room_for(count)?;
    let now = controller.now();
    let to = placement.machine()?;
    placement.fits(count)?;
    let units = commit(controller, |state| {
        (0..count).map(|_| state.add_unit_with(app, to, placement.attach, now)).collect::<Result<Vec<_>, _>>()
    })?;
    provision(controller, &units, progress)?;
    Ok(json!({"units": units}))
}

/// Replaces an application's charm: its new revision.
pub(super) fn refresh(
    controller: &Controller,
    application: &str,
    charm: &str,
    resources: &BTreeMap<String, String>,
    force_units: bool,
) -> anyhow::Result<Value> {
    let _kept = kept::Keeping::new(controller);
    let (charm, file) = keep_charm(controller, charm)?;
    resources::check(&charm, resources)?;
    let revision = commit(controller, |state| state.refresh(application, charm, &file, force_units))?;
    resources::attach(controller, application, resources)?;
    Ok(json!(revision))
}

/// What Juju refuses to deploy unless it is forced to, and what a charm asks for that machines here do not get.
fn check_deployable(
    controller: &Controller,
    wanted: &Deployment,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<()> {
    let mut archive = Archive::open(Path::new(&wanted.charm))?;
    let charm = Charm::read(&mut archive, &controller.read(|state| state.setting("agent-version")))?;
    let host = crate::machine::host_base();
    if let Some(base) = &wanted.base {
        charm.check_base(base, wanted.force)?;
        if *base != host {
            progress(&format!("machines run {host}, the release of this host, and not {base}"));
        }
    }
    if archive.cannot_dispatch() {
        let why = "dispatch cannot be run (its mode lacks x): every hook would fail";
        if !wanted.force {
            anyhow::bail!("{why}; set the mode and pack the charm again, or deploy it as it is with --force");
        }
        progress(why);
    }
    if crate::charm_files::check_profile(&mut archive, wanted.force)? {
        progress("lxd-profile.yaml is not applied: machines of juju-local are no LXD containers");
    }
    Ok(())
}

/// Reads a charm and keeps its archive in the model's directory.
fn keep_charm(controller: &Controller, path: &str) -> anyhow::Result<(Charm, String)> {
    let path = Path::new(path);
    let version = controller.read(|state| state.setting("agent-version"));
    let charm = Charm::read(&mut Archive::open(path)?, &version)?;
    let file = format!("{}-{}.charm", charm.name, crate::model::random_hex(8));
    let kept = controller.dir.join("charms").join(&file);
    if let Err(why) = std::fs::copy(path, &kept) {
        let _ = std::fs::remove_file(&kept);
        return Err(why).with_context(|| format!("cannot keep the charm's archive in {}", kept.display()));
    }
    Ok((charm, file))
}
