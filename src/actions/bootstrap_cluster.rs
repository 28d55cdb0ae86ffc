//! `bootstrap-cluster`: a person's decision that, after a full stop, those who do not come back are waited for no longer.
//! Opens a recovery of those who answer; what happens from there on is the charm's ordinary way, on a new branch of the
//! history, so that a late member's writes are moved aside and never mixed in.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde_json::Value;

use crate::cluster::{
    Epoch, Node, Observation, Recovery, Report, Server, TIME_TO_OBJECT_S, Unit, Word, forced_call, none_went_on,
};
use crate::juju::{action, relation};
use crate::mariadb::{Paths, start};
use crate::model::peer_data;
use crate::node::live::{self, Asked};
use crate::node::observe;

/// A member, as far as it can be asked now.
struct Seen {
    unit: Unit,
    report: Option<Report>,
    asked: Option<Asked>,
}

impl Seen {
    fn answers(&self) -> bool {
        matches!(self.asked, Some(Asked::Said(_)))
    }

    fn word(&self) -> Word {
        match &self.asked {
            Some(Asked::Said(live)) if live.primary => Word::Primary(live.branch.map(Epoch)),
            Some(Asked::Said(_)) => Word::Out,
            Some(Asked::Unclear(why)) => Word::Unclear(why.clone()),
            Some(Asked::Nobody) | None => Word::Silence,
        }
    }
}

/// Results `epoch`, `members` and `left-behind`.
pub(super) fn run(params: &BTreeMap<String, Value>) -> anyhow::Result<BTreeMap<String, Value>> {
    let force = match params.get("force") {
        None => false,
        Some(Value::Bool(force)) => *force,
        Some(other) => anyhow::bail!("force {other} is not true or false"),
    };
    let model = super::model()?;
    let app = model.me.app().to_owned();
    if !model.juju.leader {
        anyhow::bail!("only the leader can restart the cluster: juju run {app}/leader bootstrap-cluster");
    }
    let relation = model.relation.as_ref().context("the peer relation is not there")?;
    let node = observe::observe(&Paths::default(), model.address);
    let o = Observation { me: model.me.clone(), juju: model.juju.clone(), node, rivals: BTreeSet::new() };
    action::log("asking every unit")?;
    let seen = ask(&o);
    let call = forced_call(&o, &seen.iter().map(|s| (s.unit.clone(), s.word())).collect())?;
    let lost: Vec<&Seen> = seen.iter().filter(|s| !s.answers()).collect();
    let missing = missing(&o, &lost);
    if !force {
        let price = if !none_went_on(&o).is_empty() {
            "those who went on after the last restart by force are gone: bring back a machine or volume of theirs if there is any way to"
                .to_owned()
        } else if missing.is_empty() {
            "every unit answers, so the cluster is restarted without this action as soon as all have reported their positions; see juju status"
                .to_owned()
        } else {
            format!("{}. Switch them on if there is any way to", missing.join("; "))
        };
        anyhow::bail!(
            "{price}. With force=true those who answer ({}) go on without anybody else; what only the others hold is moved aside when they come back",
            names(seen.iter().filter(|s| s.answers()))
        );
    }
    for line in &missing {
        action::log(line)?;
    }
    if !lost.is_empty() {
        action::log(&format!(
            "goes on in {TIME_TO_OBJECT_S} s, unless one of those who do not answer tells Juju that it serves"
        ))?;
    }
    relation::set_app(relation, &peer_data::write_recovery(Some(&call)))?;
    Ok(results(&call, &o, &seen))
}

fn results(call: &Recovery, o: &Observation, seen: &[Seen]) -> BTreeMap<String, Value> {
    let members = call.members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let behind: Vec<String> =
        seen.iter().filter(|s| !call.members.contains(&s.unit)).map(|s| s.unit.to_string()).collect();
    BTreeMap::from([
        ("epoch".to_owned(), call.epoch.0.into()),
        ("history".to_owned(), o.history().map(|uuid| uuid.to_string()).into()),
        ("members".to_owned(), members.into()),
        ("left-behind".to_owned(), behind.join(" ").into()),
    ])
}

/// Every unit's own word, now; this unit's is what was just seen of it.
fn ask(o: &Observation) -> Vec<Seen> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = o
            .reports()
            .into_iter()
            .map(|(unit, report)| {
                let address = report.as_ref().and_then(|r| r.address);
                (unit, report, address.map(|address| scope.spawn(move || live::ask(address))))
            })
            .collect();
        asked
            .into_iter()
            .map(|(unit, report, asked)| Seen { unit, report, asked: asked.and_then(|asked| asked.join().ok()) })
            .collect()
    })
}

/// How far this unit's copy goes: by its answer, by its server that runs, or as it was recovered for the last start.
fn position(node: &Node) -> Option<String> {
    let answered = node.answer.as_ref().and_then(|answer| answer.position.as_ref()).map(ToString::to_string);
    let running = || match &node.server {
        Server::Answers(galera) => Some(format!("{}:{}", galera.uuid.as_ref()?, galera.seqno?)),
        Server::Stopped | Server::Starting | Server::Silent(_) => None,
    };
    answered.or_else(running).or_else(|| start::last_position(&Paths::default()))
}

/// What is known of those who do not answer, a sentence each.
fn missing(o: &Observation, lost: &[&Seen]) -> Vec<String> {
    let here = position(&o.node).unwrap_or_else(|| "the last position here".to_owned());
    let in_view = |unit: &Unit, report: Option<&Report>| {
        let address = report.and_then(|r| r.address);
        o.node.last_view.members.iter().any(|(at, name)| name.as_ref() == Some(unit) || Some(*at) == address)
    };
    let mut lines: Vec<String> = lost
        .iter()
        .filter(|s| s.report.is_some())
        .map(|s| {
            let unit = &s.unit;
            let said = s.report.as_ref().and_then(|r| Some((r.answer.as_ref()?.epoch, r.answer.as_ref()?.position.as_ref()?)));
            match said {
                Some((epoch, position)) => format!("{unit} does not answer; its position was {position} when it was last asked (call {epoch})"),
                None if in_view(unit, s.report.as_ref()) => format!("{unit} does not answer; it was still there when this unit was last part of the cluster, so it has everything up to {here} and may have more"),
                None => format!("{unit} does not answer; it had left before this unit did, its last position is not known here"),
            }
        })
        .collect();
    let known: BTreeSet<&Unit> = lost.iter().map(|s| &s.unit).collect();
    let planned = o.reports();
    for (address, unit) in &o.node.last_view.members {
        let removed = match unit {
            Some(unit) => !known.contains(unit) && !planned.contains_key(unit),
            None => !planned.values().flatten().any(|r| r.address == Some(*address)),
        };
        if removed {
            let name = unit.as_ref().map_or_else(|| address.to_string(), ToString::to_string);
            lines.push(format!("{name} was removed while it was part of the cluster; its volume has everything up to {here} and may have more"));
        }
    }
    lines
}

fn names<'a>(seen: impl Iterator<Item = &'a Seen>) -> String {
    seen.map(|s| s.unit.to_string()).collect::<Vec<_>>().join(", ")
}
