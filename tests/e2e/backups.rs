//! Backups made under load, listed and proved; a restore in place on three units, taken back and let go; one that is
//! refused, one that is interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

use super::client::{OPERATOR, Writer};
use super::model::Model;

/// The stories of one deployment of three.
pub(crate) fn and_restores(m: &Model, app: &str) {
    m.deploy(app, 3, &[]);
    let first = m.one_cluster(app, 3, 300);
    let units: Vec<String> = m.app(app).units.into_iter().map(|unit| unit.name).collect();
    let shown = m.run(&units[0], &["get-password", &format!("username={OPERATOR}")]);
    let password = shown["password"].as_str().unwrap().to_owned();
    say_what_they_lack(m, app, &units);
    are_made_by_themselves(m, app, &units, &password);
    let id = made_under_load(m, app, &units, &password);
    let logical = some_databases_come_back(m, &units);
    let restored = comes_back_in_place(m, app, &units, &id, &first);
    is_taken_back(m, app, &units, &first, &restored);
    refuses_what_is_damaged(m, app, &units, &id);
    survives_a_kill(m, app, &units, &logical);
    goes_back_to_a_copy_that_died(m, app, &units, &id);
}

fn address(m: &Model, app: &str, unit: &str) -> IpAddr {
    m.app(app).units.iter().find(|shown| shown.name == unit).and_then(|shown| shown.address).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A full one, one that builds on it, proved; listed on every unit. Returns the full one's id.
fn made_under_load(m: &Model, app: &str, units: &[String], password: &str) -> String {
    let writer = Writer::start(address(m, app, &units[0]), password, "before");
    std::thread::sleep(std::time::Duration::from_secs(2));
    m.sql(&units[0], "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY); INSERT INTO shop.orders VALUES (1), (2), (3)")
        .unwrap();
    m.step("backup");
    let full = m.run(&units[1], &["backup", "verify=true"]);
    m.hold(text(&full["type"]) == "full" && !text(&full["backup-id"]).is_empty(), &format!("a full backup: {full}"));
    m.hold(text(&full["verified"]).contains("tables with"), "it was proved");
    let more = m.run(&units[1], &["create-backup", "type=incremental"]);
    m.hold(text(&more["type"]) == "incremental", &format!("an incremental backup: {more}"));
    let written = writer.stop();
    m.hold(written.failed.is_empty(), &format!("the writer lost nothing: {:?}", written.failed.first()));
    m.step(&format!("longest gap of a writer beside the backups: {} ms", written.longest_gap.as_millis()));
    let id = text(&full["backup-id"]).to_owned();
    for unit in [&units[0], &units[1]] {
        let listed = m.run(unit, &["list-backups"]);
        let table = text(&listed["backups"]).to_owned();
        let row = table.lines().find(|line| line.starts_with(&id)).unwrap_or_default().to_owned();
        m.hold(
            row.contains("finished") && row.contains("ago"),
            &format!("{unit} lists it as finished and verified: {row}"),
        );
        m.hold(table.contains(text(&more["backup-id"])), "both are listed");
    }
    m.soon("the unit's status says when it was verified", 60, || {
        let shown = m.app(app).units.iter().find(|unit| unit.name == units[1]).map(|u| u.message.clone());
        let shown = shown.unwrap_or_default();
        if shown.contains("backup verified") { Ok(()) } else { Err(shown) }
    });
    let synced = m.act(&units[1], &["backup", "type=weekly"]);
    m.hold(!synced.ok, "a type that is none is refused");
    id
}

/// One database goes, and comes back into the running cluster. Returns the id of a logical backup of everything.
fn some_databases_come_back(m: &Model, units: &[String]) -> String {
    m.step("logical backups");
    let wrong = m.act(&units[1], &["backup", "type=logical", "databases=nothing"]);
    m.hold(!wrong.ok, "a database that is not there is refused");
    let some = m.run(&units[1], &["backup", "type=logical", "databases=shop"]);
    let some = format!("backup-id={}", text(&some["backup-id"]));
    let refused = m.act(&units[1], &["restore", &some]);
    m.hold(
        !refused.ok && refused.err.contains("already: shop"),
        &format!("what is there is not touched: {}", refused.err),
    );
    m.sql(&units[0], "DROP DATABASE shop").unwrap();
    let elsewhere = m.act(&units[2], &["restore", &some]);
    m.hold(elsewhere.err.contains(&format!("juju run {}", units[1])), "another unit names the one that has it");
    let loaded = m.run(&units[1], &["restore", &some]);
    m.hold(text(&loaded["databases"]) == "shop", &format!("the database is loaded: {loaded}"));
    m.hold(orders(m, units) == ["3", "3", "3"], &format!("it is back everywhere: {:?}", orders(m, units)));
    let all = m.run(&units[1], &["backup", "type=logical", "verify=true"]);
    m.hold(text(&all["verified"]).contains("tables with"), &format!("one of everything, proved: {all}"));
    text(&all["backup-id"]).to_owned()
}

/// Keys that are none, and a secret that nobody may read, are said before the first backup.
fn say_what_they_lack(m: &Model, app: &str, units: &[String]) {
    m.step("keys that cannot be used");
    let says = |what: &str| {
        let shown = m.app(app);
        let unit = shown.units.iter().find(|unit| unit.name == units[2]).unwrap();
        let all = format!("{}: {}", unit.workload, unit.message);
        if unit.workload == "blocked" && all.contains(what) { Ok(()) } else { Err(all) }
    };
    m.juju(&["config", app, "backup-recipients=age1banana"]);
    m.soon("recipients that are none are named", 60, || {
        says("cannot encrypt for backup-recipients: malformed recipient at line 1")
    });
    let refused = m.act(&units[1], &["backup"]);
    m.hold(!refused.ok && refused.err.contains("malformed"), &format!("and refused: {}", refused.err));
    let uri = m.juju(&["add-secret", "backup-key", "age-identity=AGE-SECRET-KEY-NONE"]).trim().to_owned();
    m.juju(&["config", app, "backup-recipients=", &format!("backup-key={uri}")]);
    m.soon("a secret that was not granted is named", 60, || says("grant it to this application"));
    m.juju(&["grant-secret", "backup-key", app]);
    m.soon("granted, it holds no key", 90, || says("malformed secret key"));
    m.juju(&["config", app, "--reset", "backup-recipients,backup-key"]);
    m.one_cluster(app, 3, 60);
}

/// What is listed of those that were planned.
fn planned(m: &Model, unit: &str) -> Vec<Value> {
    let listed = m.run(unit, &["list-backups", "format=json"]);
    let listed: Vec<Value> = serde_json::from_str(text(&listed["backups"])).unwrap();
    listed.into_iter().filter(|backup| text(&backup["asked-by"]).starts_with("schedule")).collect()
}

/// One unit at a time, by the calendar; the first is proved, and old ones go.
fn are_made_by_themselves(m: &Model, app: &str, units: &[String], password: &str) {
    m.step("backups by the calendar");
    m.juju(&["config", app, "backup-schedule=banana"]);
    m.soon("a schedule that is none is named, with what is allowed", 60, || {
        let shown = m.app(app).units[0].message.clone();
        if shown.contains("backup-schedule: \"banana\" is not a time") { Ok(()) } else { Err(shown) }
    });
    // The first unit takes the writes: none of the backups should be made there.
    let writer = Writer::start(address(m, app, &units[0]), password, "planned");
    std::thread::sleep(std::time::Duration::from_secs(35));
    m.juju(&["config", app, "backup-schedule=*:*:0/10", "backup-keep=1"]);
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    m.until("five were made, each on one unit", 200, || {
        for backup in planned(m, &units[1]) {
            let (id, by) = (text(&backup["id"]).to_owned(), text(&backup["kept-by"]).to_owned());
            let before = seen.insert(id, by.clone());
            assert!(before.as_ref().is_none_or(|before| *before == by), "one backup on two units: {backup}");
        }
        if seen.len() >= 5 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    m.juju(&["config", app, "--reset", "backup-schedule,backup-keep"]);
    let written = writer.stop();
    m.hold(written.failed.is_empty(), &format!("the writer lost nothing: {:?}", written.failed.first()));
    let on_the_writer = seen.values().filter(|unit| **unit == units[0]).count();
    m.hold(on_the_writer == 0, &format!("the unit that takes the writes makes none: {seen:?}"));
    let left = planned(m, &units[2]);
    let verified = left.iter().filter(|backup| !backup["verified"].is_null()).count();
    m.hold(verified == 1, &format!("one of them was proved, and stays: {left:?}"));
    // The newest on each of two units, the one that was proved, and one that may have been made just now.
    m.hold(left.len() < seen.len(), &format!("old ones go: {} of {} are left", left.len(), seen.len()));
    let all_fine = left.iter().all(|backup| ["finished", "in progress"].contains(&text(&backup["status"])));
    m.hold(all_fine, &format!("all that are left are whole: {left:?}"));
    let ask = r#"bash -c 'exec 3<>/dev/tcp/localhost/9200; printf "GET /metrics HTTP/1.0\r\n\r\n" >&3; cat <&3'"#;
    m.soon("metrics tell of it", 30, || {
        let metrics = m.on(&last_maker(&seen), ask).out;
        if metrics.contains("mariadb_galera_backup_planned_failed 0") { Ok(()) } else { Err(metrics) }
    });
}

/// The unit that made the last of them.
fn last_maker(seen: &BTreeMap<String, String>) -> String {
    seen.values().next_back().cloned().unwrap_or_default()
}

fn orders(m: &Model, units: &[String]) -> Vec<String> {
    units.iter().map(|unit| m.sql(unit, "SELECT COUNT(*) FROM shop.orders").unwrap_or_else(|why| why)).collect()
}

/// A table is dropped, and comes back on all three without scaling. Returns the new history.
fn comes_back_in_place(m: &Model, app: &str, units: &[String], id: &str, first: &str) -> String {
    m.sql(&units[0], "DROP TABLE shop.orders; CREATE TABLE shop.later (id INT PRIMARY KEY)").unwrap();
    let leader = format!("{app}/leader");
    let refused = m.act(&leader, &["restore", "backup-id=2020-01-01T00:00:00Z"]);
    m.hold(!refused.ok, "a backup that is not there is refused");
    m.step("restore");
    let decided = m.run(&leader, &["restore", &format!("backup-id={id}")]);
    m.hold(text(&decided["unit"]) == units[1], &format!("the unit that has it brings it back: {decided}"));
    let uuid = m.until("all three serve the restored data", 300, || {
        let uuid = m.sees_one_cluster(app, 3)?;
        if uuid == first { Err("still the old history".to_owned()) } else { Ok(uuid) }
    });
    m.hold(orders(m, units) == ["3", "3", "3"], &format!("the table is back everywhere: {:?}", orders(m, units)));
    m.hold(m.sql(&units[2], "SELECT 1 FROM shop.later").is_err(), "what was made later is gone");
    for unit in units {
        let kept = m.on(unit, "ls -d /var/lib/mysql/data.aside-*").out;
        m.hold(kept.lines().count() == 1, &format!("{unit} keeps what was there: {}", kept.trim()));
    }
    let shown = m.run(&units[0], &["get-password", &format!("username={OPERATOR}")]);
    let login = super::client::log_in(address(m, app, &units[1]), text(&shown["password"]));
    m.hold(login.is_ok(), "our passwords open the restored data");
    m.sql(&units[0], "INSERT INTO shop.orders VALUES (4)").unwrap();
    uuid
}

/// The later state comes back, and what the restore had is kept in its place until it is let go.
fn is_taken_back(m: &Model, app: &str, units: &[String], first: &str, restored: &str) {
    let leader = format!("{app}/leader");
    m.step("undo-restore");
    m.run(&leader, &["undo-restore"]);
    m.until("all three serve what was there before", 300, || {
        let uuid = m.sees_one_cluster(app, 3)?;
        if uuid == first { Ok(()) } else { Err(format!("serves {uuid}, restored was {restored}")) }
    });
    let later: BTreeSet<bool> = units.iter().map(|unit| m.sql(unit, "SELECT 1 FROM shop.later").is_ok()).collect();
    m.hold(later == BTreeSet::from([true]), "the later state is back on all");
    m.step("confirm-restore");
    m.run(&leader, &["confirm-restore"]);
    for unit in units {
        m.soon(&format!("{unit} lets go of what it kept"), 90, || {
            let kept = m.on(unit, "ls -d /var/lib/mysql/data.aside-* 2>/dev/null").out;
            if kept.trim().is_empty() { Ok(()) } else { Err(kept) }
        });
    }
    let refused = m.act(&leader, &["undo-restore"]);
    m.hold(!refused.ok, "there is nothing to go back to any more");
}

/// A flipped byte is found before anything is touched.
fn refuses_what_is_damaged(m: &Model, app: &str, units: &[String], id: &str) {
    let file = format!("/var/lib/mysql-archive/backups/{id}/data.0001");
    m.on(&units[1], &format!("cp {file} /root/whole; printf DAMAGED | dd of={file} bs=1 seek=4096 conv=notrunc"));
    let leader = format!("{app}/leader");
    m.run(&leader, &["restore", &format!("backup-id={id}")]);
    m.soon("the application says that it was not restored, and why", 120, || {
        let shown = m.app(app).message;
        if shown.contains("was not restored") && shown.contains("damaged") { Ok(()) } else { Err(shown) }
    });
    m.one_cluster(app, 3, 60);
    let left = m.on(&units[1], "ls -d /var/lib/mysql/data.restore-* 2>/dev/null").out;
    m.hold(left.trim().is_empty(), &format!("nothing of it is left: {left}"));
    m.on(&units[1], &format!("cp /root/whole {file}"));
}

/// The machine that brings it back loses its power in the middle, and goes on.
fn survives_a_kill(m: &Model, app: &str, units: &[String], id: &str) {
    if !m.is_local() {
        return;
    }
    let before = m.one_cluster(app, 3, 60);
    let leader = format!("{app}/leader");
    m.run(&leader, &["restore", &format!("backup-id={id}")]);
    m.until("it is being brought back, or was", 120, || {
        let there = m.on(&units[1], "ls /var/lib/mysql/mariadb-galera-restore.json");
        if there.ok { Ok(()) } else { Err("not begun".to_owned()) }
    });
    m.step("cut the power of the unit that brings it back");
    m.juju(&["fault", "power-off", &units[1]]);
    m.juju(&["fault", "power-on", &units[1]]);
    m.until("all three serve the restored data", 420, || {
        let uuid = m.sees_one_cluster(app, 3)?;
        if uuid == before { Err(format!("still the old history; {}", m.app(app).message)) } else { Ok(()) }
    });
    m.hold(orders(m, units) == ["3", "3", "3"], &format!("the table is back everywhere: {:?}", orders(m, units)));
}

/// A unit dies while all stop for a restore: its copy from before is one that can be gone back to all the same.
fn goes_back_to_a_copy_that_died(m: &Model, app: &str, units: &[String], id: &str) {
    if !m.is_local() {
        return;
    }
    let before = m.one_cluster(app, 3, 60);
    m.sql(&units[0], "INSERT INTO shop.orders VALUES (5)").unwrap();
    let leader = format!("{app}/leader");
    m.run(&leader, &["restore", &format!("backup-id={id}")]);
    m.until("it is ready, and all are called to stop", 120, || {
        let there = m.on(&units[2], "systemctl is-active mariadb");
        if there.out.trim() == "active" { Err("still serves".to_owned()) } else { Ok(()) }
    });
    m.step(&format!("cut the power of {}, which stops for the restore", units[2]));
    m.juju(&["fault", "power-off", &units[2]]);
    m.juju(&["fault", "power-on", &units[2]]);
    m.until("all three serve the restored data", 420, || {
        let uuid = m.sees_one_cluster(app, 3)?;
        if uuid == before { Err(format!("still the old history; {}", m.app(app).message)) } else { Ok(()) }
    });
    m.step("undo-restore");
    m.run(&leader, &["undo-restore"]);
    m.until("all three serve what was there before", 300, || {
        let uuid = m.sees_one_cluster(app, 3)?;
        if uuid == before { Ok(()) } else { Err(format!("{uuid}; {}", m.app(app).message)) }
    });
    m.hold(orders(m, units) == ["4", "4", "4"], &format!("with its last row: {:?}", orders(m, units)));
    let index = m.on(&units[2], "sort /var/lib/mysql-binlog/binlog.index | uniq -d").out;
    m.hold(index.trim().is_empty(), &format!("every binary log is listed once: {index}"));
}
