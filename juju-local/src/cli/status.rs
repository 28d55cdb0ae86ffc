//! `status` for people: the tables of Juju.

use serde_json::Value;

use super::show::{row, storages, table, text};

/// `juju status`.
pub(super) fn status(status: &Value, relations: bool, storage: bool) -> String {
    let mut out = table(&[
        row(["Model", "Controller", "Cloud/Region", "Version"]),
        vec![
            text(status, &["model", "name"]),
            "juju-local".to_owned(),
            "localhost".to_owned(),
            text(status, &["model", "version"]),
        ],
    ]);
    let empty = serde_json::Map::new();
    let apps = status["applications"].as_object().unwrap_or(&empty);
    if apps.is_empty() {
        out.push_str("\nModel is empty.\n");
        return out;
    }
    let mut rows = vec![row(["App", "Version", "Status", "Scale", "Charm", "Rev", "Exposed", "Message"])];
    let mut units = vec![row(["Unit", "Workload", "Agent", "Machine", "Public address", "Ports", "Message"])];
    for (name, app) in apps {
        let members = app["units"].as_object().unwrap_or(&empty);
        rows.push(vec![
            name.clone(),
            text(app, &["version"]),
            text(app, &["application-status", "current"]),
            members.len().to_string(),
            text(app, &["charm-name"]),
            text(app, &["charm-rev"]),
            "no".to_owned(),
            text(app, &["application-status", "message"]),
        ]);
        let mut members: Vec<(&String, &Value)> = members.iter().collect();
        members.sort_by_key(|(unit, _)| unit.rsplit('/').next().and_then(|n| n.parse::<u32>().ok()));
        for (unit, body) in members {
            let star = if body["leader"] == Value::Bool(true) { "*" } else { "" };
            let ports =
                body["open-ports"].as_array().map(|p| p.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","));
            units.push(vec![
                format!("{unit}{star}"),
                text(body, &["workload-status", "current"]),
                text(body, &["juju-status", "current"]),
                text(body, &["machine"]),
                text(body, &["public-address"]),
                ports.unwrap_or_default(),
                text(body, &["workload-status", "message"]),
            ]);
        }
    }
    out.push('\n');
    out.push_str(&table(&rows));
    out.push('\n');
    out.push_str(&table(&units));
    let mut machines = vec![row(["Machine", "State", "Address", "Inst id"])];
    for (id, machine) in status["machines"].as_object().unwrap_or(&empty) {
        machines.push(vec![
            id.clone(),
            text(machine, &["juju-status", "current"]),
            text(machine, &["dns-name"]),
            text(machine, &["instance-id"]),
        ]);
    }
    out.push('\n');
    out.push_str(&table(&machines));
    if relations {
        let mut rows = vec![row(["Application", "Endpoint", "Related application", "Interface"])];
        for (name, app) in apps {
            for (endpoint, list) in app["relations"].as_object().unwrap_or(&empty) {
                for relation in list.as_array().into_iter().flatten() {
                    rows.push(vec![
                        name.clone(),
                        endpoint.clone(),
                        text(relation, &["related-application"]),
                        text(relation, &["interface"]),
                    ]);
                }
            }
        }
        out.push('\n');
        out.push_str(&table(&rows));
    }
    if storage {
        out.push('\n');
        out.push_str(&storages(&status["storage"]));
    }
    out
}
