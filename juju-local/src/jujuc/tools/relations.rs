//! The relation tools: which relations a unit is in, with whom, and what is in their bags.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Run;
use super::key_values::need_stdin;
use crate::jujuc::flags::{FORMAT, Flag, OUTPUT, RELATION, Spec, Takes, ToolError, failure, usage};
use crate::jujuc::output::{Outcome, nothing};
use crate::model::UnitName;
use crate::uniter::context::Context;

pub(super) const IDS: Spec = Spec {
    name: "relation-ids",
    args: "[<endpoint>]",
    summary: "List all relation IDs for the given endpoint.",
    flags: &[FORMAT, OUTPUT],
    details: "In a relation's hook its endpoint may be left out.",
};
pub(super) const LIST: Spec = Spec {
    name: "relation-list",
    args: "",
    summary: "List relation units.",
    flags: &[
        FORMAT,
        OUTPUT,
        RELATION,
        Flag {
            names: &["app"],
            takes: Takes::Nothing,
            usage: "List remote application instead of participating units",
        },
    ],
    details: "Lists the units on the other side that this one has been introduced to; -r may be left out in a relation's hook.",
};
pub(super) const GET: Spec = Spec {
    name: "relation-get",
    args: "[<key> [<unit id>]]",
    summary: "Get relation settings.",
    flags: &[
        FORMAT,
        OUTPUT,
        RELATION,
        Flag {
            names: &["app"],
            takes: Takes::Nothing,
            usage: "Get the relation data for the overall application, not just a unit",
        },
    ],
    details: "Prints the value of one key, or of all keys without one or for \"-\". The unit may be left out in a relation's\n\
        hook that has a remote unit. A unit's own settings are there with all that this hook has set.",
};
pub(super) const SET: Spec = Spec {
    name: "relation-set",
    args: "<key>=<value> [<key>=<value> ...]",
    summary: "Set relation settings.",
    flags: &[
        RELATION,
        Flag { names: &["file"], takes: Takes::Text(""), usage: "file containing key-value pairs" },
        Flag { names: &["format"], takes: Takes::Text(""), usage: "deprecated format flag" },
        Flag {
            names: &["app"],
            takes: Takes::Nothing,
            usage: "pick whether you are setting \"application\" settings or \"unit\" settings",
        },
    ],
    details: "Writes this unit's settings, or with --app the application's, which only the leader may. An empty value deletes.\n\
        --file takes a YAML map, from standard input for \"-\". Others see the change once the hook has ended well.",
};
pub(super) const MODEL: Spec = Spec {
    name: "relation-model-get",
    args: "",
    summary: "Get details about the model hosing a related application.",
    flags: &[FORMAT, OUTPUT, RELATION],
    details: "",
};

type Bag = BTreeMap<String, String>;

pub(super) fn ids(run: &mut Run<'_>) -> Outcome {
    let context = &run.context;
    let hook_endpoint = context.kind.hook().and_then(|h| h.relation).map(|id| endpoint_of(context, id));
    let given = run.flags.rest.first().cloned();
    let endpoint = given.or(hook_endpoint).ok_or_else(|| usage("no endpoint name specified"))?;
    run.flags.at_most(1)?;
    let mut ids: Vec<String> = entered(context)
        .into_iter()
        .filter(|id| endpoint_of(context, *id) == endpoint)
        .map(|id| format!("{endpoint}:{id}"))
        .collect();
    ids.sort();
    run.say(&json!(ids))
}

pub(super) fn list(run: &mut Run<'_>) -> Outcome {
    let id = run.relation()?;
    run.flags.at_most(0)?;
    if run.flags.switch("app") {
        return run.say(&json!(run.context.snapshot.relations[&id].remote_app(&run.context.unit.app)));
    }
    let members: Vec<String> = run.context.members(id).iter().map(ToString::to_string).collect();
    run.say(&json!(members))
}

/// Whose bag is read.
enum Target {
    Unit(UnitName),
    Application(String),
}

pub(super) fn get(run: &mut Run<'_>) -> Outcome {
    let id = run.relation()?;
    let key = run.flags.rest.first().filter(|key| *key != "-").cloned();
    let target = target(run)?;
    run.flags.at_most(2)?;
    let values = match target {
        Target::Application(app) => app_bag(run, id, &app)?,
        Target::Unit(unit) => unit_bag(run.context, id, &unit)?,
    };
    let value = match key {
        None => json!(values),
        Some(key) => values.get(&key).map_or(Value::Null, |v| json!(v)),
    };
    run.say(&value)
}

fn target(run: &Run<'_>) -> Result<Target, ToolError> {
    let app_wanted = run.flags.switch("app");
    let Some(given) = run.flags.rest.get(1) else {
        let hook = run.context.kind.hook();
        return match hook.map(|hook| (&hook.remote_unit, &hook.remote_app)) {
            Some((Some(unit), _)) if !app_wanted => Ok(Target::Unit(unit.clone())),
            Some((_, Some(app))) => Ok(Target::Application(app.clone())),
            Some((Some(_) | None, None)) | None => Err(usage("no unit or application specified")),
        };
    };
    if app_wanted {
        return Ok(Target::Application(given.split('/').next().unwrap_or(given).to_owned()));
    }
    match UnitName::try_from(given.clone()) {
        Ok(unit) => Ok(Target::Unit(unit)),
        Err(_) if given.contains('/') => Err(usage(format!("invalid unit name {given:?}"))),
        Err(_) => Err(usage(format!("expected unit name, got application name {given:?}"))),
    }
}

fn unit_bag(context: &Context, id: u32, unit: &UnitName) -> Result<Bag, ToolError> {
    if *unit == context.unit {
        return Ok(context.own_bag(id, false));
    }
    let relation = &context.snapshot.relations[&id];
    // On an ordinary relation another unit of one's own application is nobody's business.
    if !relation.peer && unit.app == context.unit.app {
        return Err(failure("permission denied"));
    }
    let bag = relation.unit_bags.get(unit).ok_or_else(|| {
        let name = unit.to_string();
        failure(format!(
            "cannot read settings for unit {name:?} in relation {:?}: unit {name:?}: settings not found",
            relation.key()
        ))
    })?;
    Ok(bag.values.clone())
}

fn app_bag(run: &mut Run<'_>, id: u32, app: &str) -> Result<Bag, ToolError> {
    if app == run.context.unit.app {
        // On an ordinary relation only the leader may read its own application's bag.
        if !run.context.snapshot.relations[&id].peer && !run.is_leader() {
            return Err(failure("permission denied"));
        }
        return Ok(run.context.own_bag(id, true));
    }
    match run.context.snapshot.relations[&id].app_bags.get(app) {
        Some(bag) => Ok(bag.values.clone()),
        None => Err(failure("permission denied")),
    }
}

pub(super) fn set(run: &mut Run<'_>) -> Outcome {
    let id = run.relation()?;
    let Some(changes) = run.key_values()? else {
        return need_stdin();
    };
    let app = run.flags.switch("app");
    if app && !run.is_leader() {
        return Err(failure("cannot write relation settings"));
    }
    let buffered = run.context.buffered.relations.entry(id).or_default();
    if app { &mut buffered.app } else { &mut buffered.unit }.extend(changes);
    nothing()
}

pub(super) fn model(run: &mut Run<'_>) -> Outcome {
    run.relation()?;
    run.flags.at_most(0)?;
    run.say(&json!({"uuid": run.context.snapshot.uuid}))
}

pub(super) fn endpoint_of(context: &Context, relation: u32) -> String {
    let relation = context.snapshot.relations.get(&relation);
    relation.and_then(|r| r.endpoint_of(&context.unit.app)).map(|e| e.name.clone()).unwrap_or_default()
}

/// Relations that this unit has entered and not left.
fn entered(context: &Context) -> Vec<u32> {
    let broken = context.kind.hook().filter(|h| h.name.ends_with("-relation-broken")).and_then(|h| h.relation);
    let unit = &context.snapshot.units[&context.unit];
    context
        .snapshot
        .relations
        .iter()
        .filter(|(id, r)| {
            let local = unit.local.relations.get(*id);
            r.endpoint_of(&context.unit.app).is_some()
                && unit.local.installed
                && (r.scope.contains(&context.unit) || local.is_some_and(|l| l.created))
                && !local.is_some_and(|l| l.broken)
                && Some(**id) != broken
        })
        .map(|(id, _)| *id)
        .collect()
}

impl Run<'_> {
    /// The relation that `-r` names, if there is one.
    pub(super) fn named_relation(&self) -> Result<Option<u32>, ToolError> {
        let Some(text) = self.flags.value("r") else {
            return Ok(None);
        };
        let wrong = |why: &str| usage(format!("invalid value {text:?} for option -r: {why}"));
        let number = text.rsplit(':').next().unwrap_or(text);
        let id: u32 = number.parse().map_err(|_| wrong("invalid relation id"))?;
        let own = self.context.kind.hook().and_then(|h| h.relation) == Some(id);
        if own || entered(self.context).contains(&id) { Ok(Some(id)) } else { Err(wrong("relation not found")) }
    }

    /// The relation that `-r` or the hook names.
    pub(super) fn relation(&self) -> Result<u32, ToolError> {
        let named = self.named_relation()?;
        let hook = self.context.kind.hook().and_then(|h| h.relation);
        named.or(hook).ok_or_else(|| usage("no relation id specified"))
    }
}
