//! The application's options, as they were when the hook first asked.

use serde_json::{Map, Value};

use super::Run;
use crate::jujuc::flags::{FORMAT, Flag, OUTPUT, Spec, Takes, usage};
use crate::jujuc::output::Outcome;

pub(super) const GET: Spec = Spec {
    name: "config-get",
    args: "[<key>]",
    summary: "Print application configuration.",
    flags: &[FORMAT, OUTPUT, Flag { names: &["a", "all"], takes: Takes::Nothing, usage: "Print all keys" }],
    details: "Without a key, options that have a value or a default are printed; with --all the others too.\n\
        The values are those of the hook's first call: options that change meanwhile come with the next hook.",
};

pub(super) fn get(run: &mut Run<'_>) -> Outcome {
    let key = run.flags.rest.first().cloned();
    if let Some(key) = key.as_ref().filter(|_| run.flags.switch("a")) {
        return Err(usage(format!("cannot use argument --all together with key {key:?}")));
    }
    run.flags.at_most(1)?;
    let app = run.context.unit.app.clone();
    let controller = run.controller;
    let values = run.context.cache.config.get_or_insert_with(|| controller.read(|state| state.effective_config(&app)));
    let value = match key {
        Some(key) => values.get(&key).cloned().unwrap_or(Value::Null),
        None => {
            let mut map: Map<String, Value> = values.clone().into_iter().collect();
            if run.flags.switch("a") {
                for name in run.context.snapshot.applications[&app].charm.config.keys() {
                    map.entry(name.clone()).or_insert(Value::Null);
                }
            }
            Value::Object(map)
        }
    };
    run.say(&value)
}
