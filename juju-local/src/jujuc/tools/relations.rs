//! The relation tools: which relations a unit is in, with whom, and what is in their bags.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::key_values::{file_text, pairs, scalars};
use super::leadership::is_leader;
use crate::controller::Controller;
use crate::jujuc::Call;
use crate::jujuc::flags::{Flags, ToolError, failure, usage};
use crate::jujuc::output::{FORMAT, OUTPUT, Outcome, Said, nothing, say};
use crate::model::UnitName;
use crate::uniter::context::Context;

/// The flag of every tool that may be told which relation.
pub(super) const RELATION: &[&str] = &["r", "relation"];

pub(super) fn ids(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[])?;
    flags.at_most(1)?;
    let hook_endpoint = context.kind.hook().and_then(|h| h.relation).map(|id| endpoint_of(context, id));
    let endpoint = flags.rest.first().cloned().or(hook_endpoint).ok_or_else(|| usage("no endpoint name specified"))?;
    let ids: Vec<String> = entered(context)
        .into_iter()
        .filter(|id| endpoint_of(context, *id) == endpoint)
        .map(|id| format!("{endpoint}:{id}"))
        .collect();
    say(&json!(ids), &flags, "smart")
}

pub(super) fn list(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[RELATION, FORMAT, OUTPUT], &[&["app"]])?;
    flags.at_most(0)?;
    let id = relation(context, &flags)?;
    if flags.switch("app") {
        return say(&json!(context.snapshot.relations[&id].remote_app(&context.unit.app)), &flags, "smart");
    }
    let members: Vec<String> = context.members(id).iter().map(ToString::to_string).collect();
    say(&json!(members), &flags, "smart")
}

pub(super) fn get(controller: &Controller, context: &mut Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[RELATION, FORMAT, OUTPUT], &[&["app"]])?;
    flags.at_most(2)?;
    let id = relation(context, &flags)?;
    let key = flags.rest.first().map(String::as_str).filter(|key| *key != "-");
    let hook = context.kind.hook().filter(|h| h.relation == Some(id));
    let target = match flags.rest.get(1) {
        Some(target) => target.clone(),
        None => match hook.map(|h| (&h.remote_unit, &h.remote_app)) {
            Some((Some(unit), _)) if !flags.switch("app") => unit.to_string(),
            Some((_, Some(app))) => app.clone(),
            Some((Some(_) | None, None)) | None => return Err(usage("no unit or application specified")),
        },
    };
    let app = !target.contains('/') || flags.switch("app");
    if app && !flags.switch("app") && flags.rest.get(1).is_some() {
        return Err(usage(format!("expected unit name, got application name {target:?}")));
    }
    let values = if app {
        app_bag(controller, context, id, target.split('/').next().unwrap_or(&target))?
    } else {
        let unit = UnitName::try_from(target.clone()).map_err(usage)?;
        if unit == context.unit {
            context.own_bag(id, false)
        } else {
            let relation = &context.snapshot.relations[&id];
            let bag = relation.unit_bags.get(&unit).ok_or_else(|| {
                failure(format!(
                    "cannot read settings for unit {:?} in relation {:?}: unit {:?}: settings not found",
                    unit.to_string(),
                    relation.key(),
                    unit.to_string()
                ))
            })?;
            bag.values.clone()
        }
    };
    let value = match key {
        None => json!(values),
        Some(key) => values.get(key).map_or(Value::Null, |v| json!(v)),
    };
    say(&value, &flags, "smart")
}

fn app_bag(
    controller: &Controller,
    context: &mut Context,
    id: u32,
    app: &str,
) -> Result<BTreeMap<String, String>, ToolError> {
    let relation = &context.snapshot.relations[&id];
    if app == context.unit.app {
        // On an ordinary relation only the leader may read its own application's bag.
        if !relation.peer && !is_leader(controller, context) {
            return Err(failure("permission denied"));
        }
        return Ok(context.own_bag(id, true));
    }
    match relation.app_bags.get(app) {
        Some(bag) => Ok(bag.values.clone()),
        None => Err(failure(format!("application {app:?} is not part of this relation"))),
    }
}

pub(super) fn set(controller: &Controller, context: &mut Context, call: &Call) -> Outcome {
    let flags = Flags::parse(&call.args, &[RELATION, &["file"]], &[&["app"]])?;
    let id = relation(context, &flags)?;
    let mut changes = match flags.value("file") {
        None => BTreeMap::new(),
        Some(name) => match file_text(controller, context, call, name)? {
            None => return Ok(Said::NeedStdin),
            Some(text) => scalars(&text)?,
        },
    };
    changes.extend(pairs(&flags.rest)?);
    if flags.switch("app") && !is_leader(controller, context) {
        return Err(failure("cannot write relation settings"));
    }
    let buffered = context.buffered.relations.entry(id).or_default();
    if flags.switch("app") {
        buffered.app.extend(changes)
    } else {
        buffered.unit.extend(changes)
    }
    nothing()
}

pub(super) fn model_get(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[RELATION, FORMAT, OUTPUT], &[])?;
    relation(context, &flags)?;
    say(&json!({"uuid": context.snapshot.uuid}), &flags, "smart")
}

pub(super) fn endpoint_of(context: &Context, relation: u32) -> String {
    let relation = context.snapshot.relations.get(&relation);
    relation.and_then(|r| r.endpoint_of(&context.unit.app)).map(|e| e.name.clone()).unwrap_or_default()
}

/// Relations that this unit has entered.
fn entered(context: &Context) -> Vec<u32> {
    let broken = context.kind.hook().filter(|h| h.name.ends_with("-relation-broken")).and_then(|h| h.relation);
    let unit = &context.snapshot.units[&context.unit];
    context
        .snapshot
        .relations
        .iter()
        .filter(|(id, r)| {
            r.endpoint_of(&context.unit.app).is_some()
                && unit.local.installed
                && (r.scope.contains(&context.unit)
                    || unit.local.relations.get(*id).is_some_and(|l| l.created && !l.broken))
                && Some(**id) != broken
        })
        .map(|(id, _)| *id)
        .collect()
}

/// The relation that `-r` or the hook names.
pub(super) fn relation(context: &Context, flags: &Flags) -> Result<u32, ToolError> {
    let Some(text) = flags.value("r") else {
        return context.kind.hook().and_then(|h| h.relation).ok_or_else(|| usage("no relation id specified"));
    };
    let number = text.rsplit(':').next().unwrap_or(text);
    let id: u32 =
        number.parse().map_err(|_| usage(format!("invalid value {text:?} for option -r: invalid relation id")))?;
    let own = context.kind.hook().and_then(|h| h.relation) == Some(id);
    if entered(context).contains(&id) || own {
        Ok(id)
    } else {
        Err(usage(format!("invalid value {text:?} for option -r: relation not found")))
    }
}
