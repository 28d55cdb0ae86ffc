//! `status` and `machines` for people: Juju's tables, its one-line list and its summary.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::show::{Paint, aligned, row, size, table, text};

/// What of it to show besides applications, units and machines.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sections {
    pub(super) relations: bool,
    pub(super) storage: bool,
}

/// `status --format tabular`.
pub(super) fn tabular(report: &Value, sections: Sections, paint: Paint) -> String {
    let model = |key: &str| text(report, &["model", key]);
    let mut out = table(&[
        row(["Model", "Controller", "Cloud/Region", "Version", "SLA", "Timestamp"]),
        vec![
            model("name"),
            model("controller"),
            model("cloud"),
            model("version"),
            model("sla"),
            text(report, &["controller", "timestamp"]),
        ],
    ]);
    let (apps, machines) = (map(&report["applications"]), map(&report["machines"]));
    if !apps.is_empty() {
        out.push('\n');
        out.push_str(&applications(&apps, paint));
        let rows = unit_rows(&apps, paint);
        if rows.len() > 1 {
            out.push('\n');
            out.push_str(&table(&rows));
        }
    }
    if !machines.is_empty() {
        out.push('\n');
        out.push_str(&machine_table(&machines, paint));
    }
    let integrations = report["integrations"].as_array().map(Vec::as_slice).unwrap_or_default();
    if sections.relations && !integrations.is_empty() {
        out.push('\n');
        out.push_str(&integration_table(integrations));
    }
    if sections.storage && !map(&report["storage"]["storage"]).is_empty() {
        out.push('\n');
        out.push_str(&storage_table(&report["storage"]["storage"], paint));
    }
    out
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// By application, then by number: `db/10` after `db/9`.
fn in_order(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut all: Vec<(&String, &Value)> = map.iter().collect();
    all.sort_by_key(|(name, _)| {
        let (app, number) = name.rsplit_once('/').unwrap_or(("", name));
        (app.to_owned(), number.parse::<u32>().ok(), (*name).clone())
    });
    all
}

fn applications(apps: &Map<String, Value>, paint: Paint) -> String {
    let mut rows = vec![row(["App", "Version", "Status", "Scale", "Charm", "Channel", "Rev", "Exposed", "Message"])];
    for (name, app) in apps {
        let version: String = text(app, &["version"]).lines().next().unwrap_or_default().to_owned();
        let version = if version.chars().count() > 15 {
            version.chars().take(12).chain("...".chars()).collect()
        } else {
            version
        };
        rows.push(vec![
            name.clone(),
            version,
            paint.status(&text(app, &["application-status", "current"])),
            scale(name, app, apps),
            text(app, &["charm-name"]),
            text(app, &["charm-channel"]),
            text(app, &["charm-rev"]),
            if app["exposed"] == true { "yes" } else { "no" }.to_owned(),
            text(app, &["application-status", "message"]),
        ]);
    }
    aligned(&rows, &[3, 6])
}

/// How many units have an agent at work, of how many. A subordinate's units stand under its principals.
fn scale(name: &str, app: &Value, apps: &Map<String, Value>) -> String {
    let mut units: Vec<Value> = map(&app["units"]).into_iter().map(|(_, unit)| unit).collect();
    for principal in apps.values().flat_map(|app| map(&app["units"])) {
        let own = map(&principal.1["subordinates"]);
        units.extend(own.into_iter().filter(|(unit, _)| unit.split('/').next() == Some(name)).map(|(_, unit)| unit));
    }
    let works = |unit: &&Value| ["idle", "executing"].contains(&text(unit, &["juju-status", "current"]).as_str());
    let (now, all) = (units.iter().filter(works).count(), units.len());
    if now == all { all.to_string() } else { format!("{now}/{all}") }
}

fn unit_rows(apps: &Map<String, Value>, paint: Paint) -> Vec<Vec<String>> {
    let mut rows = vec![row(["Unit", "Workload", "Agent", "Machine", "Public address", "Ports", "Message"])];
    each_unit(apps, &mut |name, unit, depth| {
        let mut message = text(unit, &["workload-status", "message"]);
        let doing = text(unit, &["juju-status", "message"]);
        if let Some(doing) = doing
            .strip_prefix("running action ")
            .or_else(|| doing.strip_prefix("running ").and_then(|rest| rest.strip_suffix(" hook")))
        {
            message = format!("({doing}) {message}");
        }
        let star = if unit["leader"] == true { "*" } else { "" };
        rows.push(vec![
            format!("{}{name}{star}", "  ".repeat(depth)),
            paint.status(&text(unit, &["workload-status", "current"])),
            paint.status(&text(unit, &["juju-status", "current"])),
            text(unit, &["machine"]),
            text(unit, &["public-address"]),
            ports(unit),
            message,
        ]);
    });
    rows
}

fn ports(unit: &Value) -> String {
    let list = unit["open-ports"].as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

/// Every unit, each with its subordinates below it.
fn each_unit(apps: &Map<String, Value>, see: &mut dyn FnMut(&str, &Value, usize)) {
    for app in apps.values() {
        for (name, unit) in in_order(&map(&app["units"])) {
            see(name, unit, 0);
            for (name, subordinate) in in_order(&map(&unit["subordinates"])) {
                see(name, subordinate, 1);
            }
        }
    }
}

/// `machines`.
pub(super) fn machine_table(machines: &Map<String, Value>, paint: Paint) -> String {
    let mut rows = vec![row(["Machine", "State", "Address", "Inst id", "Base", "AZ", "Message"])];
    for (id, machine) in in_order(machines) {
        let base = [text(machine, &["base", "name"]), text(machine, &["base", "channel"])].join("@");
        rows.push(vec![
            id.clone(),
            paint.status(&text(machine, &["juju-status", "current"])),
            text(machine, &["dns-name"]),
            text(machine, &["instance-id"]),
            base,
            String::new(),
            text(machine, &["machine-status", "message"]),
        ]);
    }
    table(&rows)
}

fn integration_table(integrations: &[Value]) -> String {
    let mut rows: Vec<Vec<String>> = integrations
        .iter()
        .map(|one| ["provider", "requirer", "interface", "type", "message"].map(|key| text(one, &[key])).to_vec())
        .collect();
    rows.sort();
    rows.insert(0, row(["Integration provider", "Requirer", "Interface", "Type", "Message"]));
    table(&rows)
}

fn storage_table(storage: &Value, paint: Paint) -> String {
    let mut rows = Vec::new();
    each_storage(storage, &mut |unit, id, body, place| {
        rows.push(vec![
            unit.to_owned(),
            id.to_owned(),
            text(body, &["kind"]),
            text(body, &["pool"]),
            text(place, &["location"]),
            size(&text(body, &["size"])),
            paint.status(&text(body, &["status", "current"])),
            text(body, &["status", "message"]),
        ]);
    });
    let titles = ["Storage Unit", "Storage ID", "Type", "Pool", "Mountpoint", "Size", "Status", "Message"];
    rows.insert(0, row(titles));
    table(&rows)
}

/// `storage`.
pub(super) fn storages(storage: &Value, paint: Paint) -> String {
    let mut rows = Vec::new();
    each_storage(storage, &mut |unit, id, body, _| {
        rows.push(vec![
            unit.to_owned(),
            id.to_owned(),
            text(body, &["kind"]),
            text(body, &["pool"]),
            size(&text(body, &["size"])),
            paint.status(&text(body, &["status", "current"])),
            text(body, &["status", "message"]),
        ]);
    });
    rows.insert(0, row(["Unit", "Storage ID", "Type", "Pool", "Size", "Status", "Message"]));
    table(&rows)
}

/// Each storage with the unit that it is attached to, by unit; what nobody has comes last.
fn each_storage(storage: &Value, see: &mut dyn FnMut(&str, &str, &Value, &Value)) {
    let all = map(storage);
    let units_of = |body: &Value| map(&body["attachments"]["units"]);
    let units: Map<String, Value> = all.values().flat_map(units_of).collect();
    for (unit, _) in in_order(&units) {
        for (id, body) in in_order(&all) {
            if let Some(place) = units_of(body).get(unit) {
                see(unit, id, body, place);
            }
        }
    }
    for (id, body) in in_order(&all).into_iter().filter(|(_, body)| units_of(body).is_empty()) {
        see("", id, body, &Value::Null);
    }
}

/// `status --format line`.
pub(super) fn lines(report: &Value) -> String {
    let mut out = String::new();
    each_unit(&map(&report["applications"]), &mut |name, unit, depth| {
        let (agent, workload) = (text(unit, &["juju-status", "current"]), text(unit, &["workload-status", "current"]));
        let indent = "  ".repeat(depth);
        let address = text(unit, &["public-address"]);
        out.push_str(&format!("{indent}- {name}: {address} (agent:{agent}, workload:{workload})"));
        let ports = ports(unit);
        if !ports.is_empty() {
            out.push_str(&format!(" {}", ports.replace(',', ", ")));
        }
        out.push('\n');
    });
    out
}

/// `status --format summary`.
pub(super) fn summary(report: &Value) -> String {
    let (apps, machines) = (map(&report["applications"]), map(&report["machines"]));
    let mut units: BTreeMap<String, usize> = BTreeMap::new();
    let (mut subnets, mut open) = (BTreeSet::new(), BTreeSet::new());
    each_unit(&apps, &mut |_, unit, _| {
        *units.entry(text(unit, &["workload-status", "current"])).or_default() += 1;
        let address = text(unit, &["public-address"]);
        subnets.extend(address.rsplit_once('.').map(|(net, _)| format!("{net}.0/24")));
        open.extend(unit["open-ports"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    });
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for machine in machines.values() {
        *states.entry(text(machine, &["juju-status", "current"])).or_default() += 1;
    }
    let listed = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(", ");
    let mut rows = vec![
        vec!["Running on subnets:".to_owned(), listed(subnets)],
        vec!["Utilizing ports:".to_owned(), listed(open)],
        Vec::new(),
    ];
    for (title, counts) in [("# Machines:", &states), ("# Units:", &units)] {
        rows.push(vec![title.to_owned(), format!("({})", counts.values().sum::<usize>())]);
        rows.extend(counts.iter().map(|(state, count)| vec![format!("{state}:"), count.to_string()]));
        rows.push(Vec::new());
    }
    rows.push(vec!["# Applications:".to_owned(), format!("({})", apps.len())]);
    for (name, app) in &apps {
        rows.push(vec![name.clone(), format!("{}/1 exposed", u32::from(app["exposed"] == true))]);
    }
    aligned(&rows, &[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    fn report() -> Value {
        let unit = |workload: &str, agent: &str, doing: &str, machine: &str| {
            json!({"workload-status": {"current": workload, "message": "ready"},
                "juju-status": {"current": agent, "message": doing}, "machine": machine, "public-address": format!("10.89.1.{machine}")})
        };
        let mut first = unit("active", "idle", "", "9");
        first["leader"] = json!(true);
        first["open-ports"] = json!(["3306/tcp", "4567/tcp"]);
        first["subordinates"] = json!({"agent/0": unit("waiting", "idle", "", "9")});
        json!({
            "model": {"name": "m", "controller": "juju-local", "cloud": "localhost", "version": "3.6.12", "sla": "unsupported"},
            "controller": {"timestamp": "10:00:00Z"},
            "applications": {
                "agent": {"charm-name": "agent", "charm-rev": 0, "exposed": false, "application-status": {"current": "waiting"}, "units": {}},
                "db": {"charm-name": "galera", "charm-rev": 12, "exposed": true, "version": "11.4.7-maria-log-x",
                    "application-status": {"current": "active", "message": "all well"},
                    "units": {"db/0": first, "db/10": unit("maintenance", "executing", "running start hook", "11"), "db/9": unit("unknown", "lost", "", "10")}}},
            "machines": {"9": {"juju-status": {"current": "started"}, "dns-name": "10.89.1.9", "instance-id": "juju-m-9",
                "base": {"name": "ubuntu", "channel": "24.04"}, "machine-status": {"message": "Running"}}},
            "integrations": [{"provider": "db:peers", "requirer": "db:peers", "interface": "p", "type": "peer", "message": ""}],
            "storage": {"storage": {"data/0": {"kind": "filesystem", "pool": "rootfs", "size": "2G", "status": {"current": "attached"},
                "attachments": {"units": {"db/0": {"location": "/srv"}}}}, "data/1": {"kind": "filesystem", "pool": "rootfs", "size": "64", "status": {"current": "detached"}}}}
        })
    }

    #[test]
    fn tables() {
        let all = Sections { relations: true, storage: true };
        expect![[r#"
            Model  Controller  Cloud/Region  Version  SLA          Timestamp
            m      juju-local  localhost     3.6.12   unsupported  10:00:00Z

            App    Version          Status   Scale  Charm   Channel  Rev  Exposed  Message
            agent                   waiting      1  agent              0  no
            db     11.4.7-maria...  active     2/3  galera            12  yes      all well

            Unit       Workload     Agent      Machine  Public address  Ports              Message
            db/0*      active       idle       9        10.89.1.9       3306/tcp,4567/tcp  ready
              agent/0  waiting      idle       9        10.89.1.9                          ready
            db/9       unknown      lost       10       10.89.1.10                         ready
            db/10      maintenance  executing  11       10.89.1.11                         (start) ready

            Machine  State    Address    Inst id   Base          AZ  Message
            9        started  10.89.1.9  juju-m-9  ubuntu@24.04      Running

            Integration provider  Requirer  Interface  Type  Message
            db:peers              db:peers  p          peer

            Storage Unit  Storage ID  Type        Pool    Mountpoint  Size     Status    Message
            db/0          data/0      filesystem  rootfs  /srv        2.0 GiB  attached
                          data/1      filesystem  rootfs              64 MiB   detached
        "#]]
        .assert_eq(&tabular(&report(), all, Paint::plain()));
        let empty = json!({"model": {"name": "m"}, "applications": {}, "machines": {}});
        assert_eq!(tabular(&empty, all, Paint::plain()).lines().count(), 2);
        // Colours take no room.
        let plain = tabular(&report(), all, Paint::plain());
        let painted = tabular(&report(), all, Paint::coloured());
        assert_ne!(plain, painted);
        assert_eq!(regex_lite::Regex::new("\x1b\\[[0-9]*m").unwrap().replace_all(&painted, ""), plain);
    }

    #[test]
    fn shorter() {
        expect![[r#"
            - db/0: 10.89.1.9 (agent:idle, workload:active) 3306/tcp, 4567/tcp
              - agent/0: 10.89.1.9 (agent:idle, workload:waiting)
            - db/9: 10.89.1.10 (agent:lost, workload:unknown)
            - db/10: 10.89.1.11 (agent:executing, workload:maintenance)
        "#]]
        .assert_eq(&lines(&report()));
        expect![[r#"
            Running on subnets:  10.89.1.0/24
               Utilizing ports:  3306/tcp, 4567/tcp

                    # Machines:  (1)
                       started:  1

                       # Units:  (4)
                        active:  1
                   maintenance:  1
                       unknown:  1
                       waiting:  1

                # Applications:  (2)
                          agent  0/1 exposed
                             db  1/1 exposed
        "#]]
        .assert_eq(&summary(&report()));
    }
}
