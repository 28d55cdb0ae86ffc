//! Everything stops at once, under load. When all machines are back it heals by itself; when one stays away it waits,
//! says for whom, and a person decides.

use std::time::{Duration, Instant};

use super::client::{OPERATOR, Writer, Written};
use super::model::Model;

/// The stories of one deployment of three.
pub(crate) fn of_all_machines(m: &Model, app: &str) {
    m.deploy(app, 3, &[]);
    let uuid = m.one_cluster(app, 3, 300);
    let units: Vec<String> = m.app(app).units.into_iter().map(|unit| unit.name).collect();
    let shown = m.run(&units[0], &["get-password", &format!("username={OPERATOR}")]);
    let password = shown["password"].as_str().unwrap().to_owned();
    all_come_back(m, app, &uuid, &units, &password);
    one_stays_away(m, app, &uuid, &units, &password);
    a_second_cluster_by_hand(m, app, &units);
    another_history_by_hand(m, app);
}

fn write_through(m: &Model, app: &str, units: &[String], password: &str, round: &str) -> Vec<(String, Writer)> {
    let all = m.app(app).units;
    let address = |name: &String| all.iter().find(|unit| unit.name == *name).unwrap().address.unwrap();
    let name = |unit: &String| format!("{round} {unit}");
    units.iter().map(|unit| (name(unit), Writer::start(address(unit), password, &name(unit)))).collect()
}

/// Every row that was acknowledged is on this unit: those that failed may be there or not.
fn nothing_is_lost(m: &Model, unit: &str, writer: &str, written: &Written) {
    let failed: Vec<&str> = written.failed.iter().filter_map(|why| why.split([' ', ':']).nth(1)).collect();
    let but = if failed.is_empty() { String::new() } else { format!(" AND number NOT IN ({})", failed.join(",")) };
    let found = m.sql(unit, &format!("SELECT COUNT(*) FROM e2e.written WHERE writer = '{writer}'{but}")).unwrap();
    m.hold(
        found.trim() == written.acknowledged.to_string() && written.acknowledged > 0,
        &format!("{unit} has the {} rows that {writer} was told are safe: {}", written.acknowledged, found.trim()),
    );
}

fn all_come_back(m: &Model, app: &str, uuid: &str, units: &[String], password: &str) {
    let writers = write_through(m, app, units, password, "all");
    std::thread::sleep(Duration::from_secs(4));
    m.step("cut the power of all, one after the other, and give it back in another order");
    for unit in units {
        m.juju(&["fault", "power-off", unit]);
    }
    for unit in units.iter().rev() {
        m.juju(&["fault", "power-on", unit]);
    }
    let up = Instant::now();
    m.hold(m.one_cluster(app, 3, 180) == uuid, "the same cluster came back");
    m.step(&format!("all ready {:.1} s after the last machine was up", up.elapsed().as_secs_f64()));
    for (name, writer) in writers {
        let written = writer.stop();
        m.step(&format!("{name}: {} acknowledged, longest gap {:?}", written.acknowledged, written.longest_gap));
        units.iter().for_each(|unit| nothing_is_lost(m, unit, &name, &written));
    }
}

fn one_stays_away(m: &Model, app: &str, uuid: &str, units: &[String], password: &str) {
    let [first, second, lost] = units else { panic!("three units") };
    let mut writers = write_through(m, app, &units[..1], password, "two");
    std::thread::sleep(Duration::from_secs(2));
    m.step(&format!("cut the power of all, {lost} last, and leave it off"));
    m.juju(&["fault", "power-off", first, second]);
    m.juju(&["fault", "power-off", lost]);
    m.juju(&["fault", "power-on", first, second]);
    m.until("the others wait, and say for whom and what a person may do", 120, || {
        let now = m.app(app);
        let said = |message: &str| message.contains(lost.as_str()) && message.contains("bootstrap-cluster");
        let waiting = now.units.iter().filter(|unit| unit.name != *lost).all(|unit| said(&unit.message));
        if waiting && said(&now.message) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let leader = m.until("one of the two leads", 90, || {
        let leader = m.app(app).leader().map(|unit| unit.name.clone());
        leader.filter(|name| name != lost).ok_or_else(|| "the one that is off".to_owned())
    });
    let follower = [first, second].into_iter().find(|unit| **unit != leader).unwrap();
    let judgement = m.run(follower, &["get-cluster-status"])["judgement"].to_string();
    m.hold(
        judgement.contains(lost.as_str()) && judgement.contains("bootstrap-cluster"),
        &format!("get-cluster-status says for whom it waits, and what a person may do: {judgement}"),
    );
    let refused = |unit: &str, words: &[&str], expected: &[&str]| {
        let said = m.act(unit, &[&["bootstrap-cluster"], words].concat());
        let text = format!("{}{}", said.out, said.err);
        let so = !said.ok && expected.iter().all(|part| text.contains(part));
        m.hold(so, &format!("bootstrap-cluster {words:?} on {unit} is refused with {expected:?}: {text}"));
    };
    refused(&leader, &[], &[lost.as_str(), "may have more", uuid, "force=true"]);
    refused(&leader, &["force=perhaps"], &["force"]);
    refused(follower, &["force=true"], &["only the leader"]);
    let results = m.run(&leader, &["bootstrap-cluster", "force=true"]);
    m.hold(results["left-behind"] == lost.as_str(), &format!("it says who is left behind: {results}"));
    refused(&leader, &["force=true"], &["under way", first.as_str(), second.as_str()]);
    m.until("the two go on", 120, || {
        let units = m.app(app).units;
        let well = |name: &String| units.iter().any(|u| u.name == *name && u.message.starts_with("Synced, 2 of 3"));
        if well(first) && well(second) { Ok(()) } else { Err(format!("{units:?}")) }
    });
    let (name, writer) = writers.remove(0);
    let written = writer.stop();
    [first, second].into_iter().for_each(|unit| nothing_is_lost(m, unit, &name, &written));
    refused(&leader, &["force=true"], &["is part of a primary component"]);

    m.step(&format!("{lost} comes back late"));
    m.juju(&["fault", "power-on", lost]);
    m.hold(m.one_cluster(app, 3, 180) == uuid, "the late one is a member again");
    m.soon("its status says where its old data is", 30, || {
        let unit = m.app(app).units.into_iter().find(|unit| unit.name == *lost).unwrap();
        let path = unit.message.rsplit(' ').next().unwrap_or_default().to_owned();
        let there = path.contains("data.aside-") && m.on(lost, &format!("test -s {path}/ibdata1")).ok;
        if there { Ok(()) } else { Err(unit.message) }
    });
    let rows: Vec<_> = units.iter().map(|unit| m.sql(unit, "CHECKSUM TABLE e2e.written").unwrap()).collect();
    m.hold(rows.iter().all(|row| *row == rows[0]), &format!("the same rows on all units: {rows:?}"));
}

/// Somebody starts another primary component beside the cluster, with the same data.
fn a_second_cluster_by_hand(m: &Model, app: &str, units: &[String]) {
    let unit = units.iter().find(|unit| m.app(app).leader().is_none_or(|leader| leader.name != **unit)).unwrap();
    m.step(&format!("start a second cluster on {unit} by hand"));
    let by_hand = "systemctl stop mariadb && sed -i 's/^safe_to_bootstrap: 0/safe_to_bootstrap: 1/' \
                   /var/lib/mysql/data/grastate.dat && (setsid mariadbd --user=mysql --wsrep-new-cluster \
                   >/dev/null 2>&1 </dev/null &)";
    let said = m.on(unit, by_hand);
    m.hold(said.ok, &format!("a server starts by hand: {}", said.err));
    m.soon("the application's status is an alarm that names the unit and the remedy", 90, || {
        let now = m.app(app);
        let alarm = now.status == "blocked"
            && ["two primary components", unit.as_str(), "nothing was destroyed"]
                .iter()
                .all(|p| now.message.contains(p));
        if alarm { Ok(()) } else { Err(format!("{now:?}")) }
    });
    m.step(&format!("the remedy: remove {unit}"));
    m.juju(&["remove-unit", unit, "--no-prompt"]);
    m.one_cluster(app, 2, 180);
    m.soon("the alarm is over", 60, || {
        let now = m.app(app);
        if now.message == "2 of 2 members Synced" { Ok(()) } else { Err(format!("{now:?}")) }
    });
}

/// Somebody starts a server with the same data under another UUID. Nobody may write to it.
fn another_history_by_hand(m: &Model, app: &str) {
    const OTHER: &str = "11111111-2222-4333-8444-555555555555";
    let unit = m.app(app).units.into_iter().find(|unit| !unit.leader).unwrap().name;
    m.step(&format!("start another history on {unit} by hand"));
    let by_hand = format!(
        "systemctl stop mariadb && sed -i 's/^safe_to_bootstrap: 0/safe_to_bootstrap: 1/; s/^uuid: .*/uuid: {OTHER}/; \
         s/^seqno: .*/seqno: 0/' /var/lib/mysql/data/grastate.dat && (setsid mariadbd --user=mysql --wsrep-new-cluster \
         --wsrep-start-position={OTHER}:0 >/dev/null 2>&1 </dev/null &)"
    );
    let said = m.on(&unit, &by_hand);
    m.hold(said.ok, &format!("a server starts by hand: {}", said.err));
    m.soon("the unit names both histories, and its server is stopped", 90, || {
        let now = m.app(app).units.into_iter().find(|now| now.name == unit).unwrap();
        let stopped = !m.on(&unit, "pgrep -x mariadbd").ok;
        let says = now.workload == "blocked" && now.message.contains(OTHER);
        if says && stopped { Ok(()) } else { Err(format!("{now:?}, stopped: {stopped}")) }
    });
    m.hold(m.on(&unit, "test -s /var/lib/mysql/data/ibdata1").ok, "its data is kept");
    m.juju(&["remove-unit", &unit, "--no-prompt"]);
    m.one_cluster(app, 1, 180);
}
