//! `get-cluster-status`: every member as it is now, asked directly, and one sentence of judgement.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cluster::{Galera, LocalState, Observation, Peer, Peers, Report, Server, Unit, decide, sentence};
use crate::mariadb::Paths;
use crate::node::live::{self, Asked, Live};
use crate::node::observe;

/// Results `judgement` and `status`: a table, or with `format=json` a JSON text.
pub(super) fn run(params: &BTreeMap<String, Value>) -> anyhow::Result<BTreeMap<String, Value>> {
    let format = super::text(params, "format", "text");
    if !["text", "json"].contains(&format) {
        anyhow::bail!("format {format:?} is not text or json");
    }
    let model = super::model()?;
    let node = observe::observe(&Paths::default(), model.address);
    let mut observation = Observation { me: model.me.clone(), juju: model.juju.clone(), node, rivals: BTreeSet::new() };
    // What this unit shows is decided from what the others told Juju; what they say now goes into the judgement alone.
    let state = decide(&observation).state;
    let absent = observation.absent();
    let mut rows = Vec::new();
    for (unit, report) in observation.reports() {
        let live = live_of(&observation, &unit, report.as_ref());
        if let Peers::Known(peers) = &mut observation.juju.peers {
            if let Some(Peer::Said(said)) = peers.get_mut(&unit) {
                said.server = live.as_ref().map_or(Server::Silent("its agent does not answer".to_owned()), server);
            }
        }
        if absent.contains(&unit) && live.as_ref().is_some_and(Live::is_primary) {
            observation.rivals.insert(unit.clone());
        }
        let mut row = row(&model.juju, &unit, report.as_ref(), live.as_ref());
        let own = (unit == model.me).then_some(model.client_address.as_ref()).flatten();
        row["client-address"] = own.or_else(|| model.client_addresses.get(&unit)).cloned().into();
        rows.push(row);
    }
    let judgement = sentence(&observation, &state);
    let formation = model.juju.app.formation.as_ref();
    let status = if format == "json" {
        json!({
            "cluster-name": formation.map(|f| f.name.clone()),
            "history": observation.history().map(|uuid| uuid.to_string()),
            "members": rows,
            "judgement": judgement,
        })
        .to_string()
    } else {
        table(&rows)
    };
    Ok(BTreeMap::from([("judgement".to_owned(), judgement.into()), ("status".to_owned(), status.into())]))
}

/// A member's own word, now.
fn live_of(o: &Observation, unit: &Unit, report: Option<&Report>) -> Option<Live> {
    if *unit == o.me {
        return Some(Live::from_server(&unit.to_string(), &o.node.server, o.history().as_ref().map(|u| u.as_str())));
    }
    match live::ask(report?.address?) {
        Asked::Said(live) => Some(live),
        Asked::Nobody | Asked::Unclear(_) => None,
    }
}

/// A member's word in the middle's words.
fn server(live: &Live) -> Server {
    let state = match live.state.as_str() {
        "synced" => LocalState::Synced,
        "donor" => LocalState::Donor,
        "joined" => LocalState::Joined,
        "joining" => LocalState::Joining,
        "stopped" => return Server::Stopped,
        "starting" => return Server::Starting,
        _ => LocalState::Undefined,
    };
    Server::Answers(Galera {
        primary: live.primary,
        connected: true,
        ready: live.ready,
        state,
        uuid: live.uuid.as_deref().and_then(|uuid| uuid.parse().ok()),
        seqno: live.seqno,
        conf_id: live.conf_id,
        size: live.size,
        view: BTreeSet::new(),
    })
}

fn row(juju: &crate::cluster::Juju, unit: &Unit, report: Option<&Report>, live: Option<&Live>) -> Value {
    let founder = juju.app.formation.as_ref().is_some_and(|f| f.founder == *unit);
    let now = live.and_then(|l| Some(format!("{}:{}", l.uuid.as_ref()?, l.seqno?)));
    // A server that is held still has told where it stands.
    let told = || report.and_then(|r| Some(r.answer.as_ref()?.position.as_ref()?.to_string()));
    let position = now.or_else(told);
    json!({
        "unit": unit.to_string(),
        "address": report.and_then(|r| r.address).map(|a| a.to_string()),
        "db-init": report.map(|r| r.db_init.number()),
        "state": live.map_or("missing", |l| l.state.as_str()),
        "ready": live.is_some_and(|l| l.ready),
        "position": position,
        "conf-id": live.and_then(|l| l.conf_id),
        "size": live.map(|l| l.size),
        "role": if founder { "founder" } else { "member" },
    })
}

fn table(rows: &[Value]) -> String {
    let columns =
        ["unit", "address", "client-address", "db-init", "state", "ready", "conf-id", "size", "role", "position"];
    let mut lines = vec![columns.map(ToOwned::to_owned).to_vec()];
    for row in rows {
        lines.push(
            columns
                .iter()
                .map(|column| match &row[*column] {
                    Value::Null => "-".to_owned(),
                    Value::String(text) => text.clone(),
                    other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                        other.to_string()
                    }
                })
                .collect(),
        );
    }
    let widths: Vec<usize> = (0..columns.len()).map(|c| lines.iter().map(|l| l[c].len()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for line in lines {
        let cells: String = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        let _ = writeln!(out, "{}", cells.trim_end());
    }
    out
}
