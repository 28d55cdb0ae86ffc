//! Options of applications as `config` shows them, and the model's own settings.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::Controller;
use super::requests::commit;
use crate::model::{ModelError, State, view};

/// Settings of a model.
const KNOWN: [&str; 21] = [
    "agent-version",
    "update-status-hook-interval",
    "automatically-retry-hooks",
    "peer-application-echo",
    "first-address-host",
    "departed-defect",
    "http-proxy",
    "https-proxy",
    "ftp-proxy",
    "no-proxy",
    "juju-http-proxy",
    "juju-https-proxy",
    "juju-ftp-proxy",
    "juju-no-proxy",
    "strict",
    "strict-hook-limit",
    "strict-measured",
    "strict-revealing-actions",
    "shuffle-seed",
    "shuffle-leadership",
    "trace",
];

/// `juju config`.
pub(super) fn application(state: &State, name: &str) -> Result<Value, ModelError> {
    let app = state.application(name)?;
    let values = state.effective_config(name);
    let settings: Map<String, Value> = app
        .charm
        .config
        .iter()
        .map(|(key, option)| {
            let source = if app.config.contains_key(key) {
                "user"
            } else if option.default.is_some() {
                "default"
            } else {
                "unset"
            };
            let mut body = json!({"type": option.kind, "source": source, "description": option.description});
            for (field, value) in [("default", option.default.clone()), ("value", values.get(key).cloned())] {
                if let Some(value) = value {
                    body[field] = value;
                }
            }
            (key.clone(), body)
        })
        .collect();
    let mut shown = json!({"application": name, "charm": app.charm.name, "settings": settings});
    if !app.charm.config.contains_key("trust") {
        let source = if app.trust { "user" } else { "default" };
        shown["application-config"] = json!({"trust": {"default": false, "source": source, "type": "bool",
            "description": "Does this application have access to trusted credentials", "value": app.trust}});
    }
    Ok(shown)
}

/// Sets and resets the model's settings; all of them are shown.
pub(super) fn model(
    controller: &Controller,
    set: &BTreeMap<String, String>,
    reset: &[String],
) -> anyhow::Result<Value> {
    if let Some(unknown) = set.keys().chain(reset).find(|key| !KNOWN.contains(&key.as_str())) {
        anyhow::bail!("unknown model setting {unknown:?}; known: {}", KNOWN.join(", "));
    }
    crate::watchful::check_settings(set)?;
    if let Some(version) = set.get("agent-version") {
        let fine = ["2.9", "3.", "4."].iter().any(|prefix| version.starts_with(prefix));
        if !fine {
            anyhow::bail!("agent-version {version:?} is not 2.9.x, 3.x or 4.x");
        }
    }
    for key in ["automatically-retry-hooks", "peer-application-echo", "departed-defect"] {
        if let Some(value) = set.get(key).filter(|value| !["true", "false"].contains(&value.as_str())) {
            anyhow::bail!("{key}: expected true or false, got {value:?}");
        }
    }
    if let Some(text) = set.get("update-status-hook-interval") {
        crate::uniter::agent::seconds(text).filter(|seconds| *seconds > 0).with_context(|| {
            format!("invalid update status hook interval in model configuration: {text:?}; write for example 5m")
        })?;
    }
    if set.is_empty() && reset.is_empty() {
        return Ok(controller.read(|state| view::settings(state, &KNOWN)));
    }
    let now = controller.now();
    let before = controller.read(State::major);
    let shown = commit(controller, |state| {
        state.set_model_config(set, reset, now);
        Ok::<_, ModelError>(view::settings(state, &KNOWN))
    })?;
    if controller.read(State::major) != before {
        tools_of_another_version(controller)?;
    }
    Ok(shown)
}

/// An agent of another version has other tools.
fn tools_of_another_version(controller: &Controller) -> anyhow::Result<()> {
    let installed = |state: &State| -> Vec<_> {
        let there = state.units.iter().filter(|(_, unit)| unit.local.installed);
        there.map(|(name, unit)| (name.clone(), unit.machine)).collect()
    };
    for (unit, machine) in controller.read(installed) {
        controller.install_tools(machine, &unit)?;
    }
    Ok(())
}
