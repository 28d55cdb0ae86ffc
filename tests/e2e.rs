//! Longer stories on real machines, each on a model of its own that goes whatever happens; E2E_KEEP=1 keeps it for a
//! look around. A statement that does not hold is a complaint: the story goes on, and fails at its end with all of them.
//! JUJU names another program than juju-local, CHARM another archive.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::disallowed_methods, reason = "the tests stand outside the charm and drive programs themselves")]

#[path = "e2e/backups.rs"]
mod backups;
#[path = "e2e/client.rs"]
mod client;
#[path = "e2e/founding.rs"]
mod founding;
#[path = "support/garage.rs"]
#[expect(dead_code, reason = "another test asks more of it")]
mod garage;
#[path = "e2e/model.rs"]
mod model;
#[path = "e2e/odd_data.rs"]
mod odd_data;
#[path = "e2e/options.rs"]
mod options;
#[path = "e2e/outage.rs"]
mod outage;
#[path = "e2e/refresh.rs"]
mod refresh;
#[path = "e2e/restore_kills.rs"]
mod restore_kills;
#[path = "e2e/s3.rs"]
mod s3;
#[path = "e2e/secrecy.rs"]
mod secrecy;

use std::net::IpAddr;

use client::{Door, OPERATOR, Writer, Written, log_in};
use model::{Model, Unit, scenario, unit_number};
use secrecy::Processes;
use serde_json::Value;

const APP: &str = "galera";

/// One deployment, from its formation through growing, shrinking and a power cut.
#[test]
fn cluster() {
    scenario("cluster", |m| {
        let processes = Processes::watch();
        m.deploy(APP, 3, &[]);
        let uuid = m.one_cluster(APP, 3, 300);
        lowest_address_founded(m);
        requests_are_answered(m);
        wrong_requests_fail_with_a_sentence(m);
        let password = passwords_change_without_locking_out(m);
        wrong_options_block_and_clear(m);
        grows_and_shrinks_under_load(m, &uuid, &password);
        survives_a_power_cut_and_a_reboot(m, &uuid, &password);
        passwords_are_secret(m, processes);
    });
}

/// Options about the server.
#[test]
fn server_options() {
    scenario("options", |m| options::reach_every_server(m, APP));
}

/// Another revision of the charm, and back.
#[test]
fn revisions() {
    scenario("refresh", |m| refresh::there_and_back(m, APP));
}

/// Backups, and back.
#[test]
fn backups_and_restores() {
    scenario("backups", |m| backups::and_restores(m, APP));
}

/// Backups in a bucket. Needs GARAGE, the program of a real S3 server: `./run_tests s3`.
#[test]
fn bucket() {
    if std::env::var_os("GARAGE").is_none() {
        println!("skipped: GARAGE names no S3 server; ./run_tests s3 builds one");
        return;
    }
    scenario("bucket", |m| s3::and_a_second_deployment(m, APP, "other"));
}

/// Restores in whose middle something is killed: RESTORE_KILLS of them, at moments that SEED draws. Takes about a minute
/// each, so everything else runs without it.
#[test]
fn restores_survive_kills() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("RESTORE_KILLS") {
        None => println!("skipped: set RESTORE_KILLS=10"),
        Some(rounds) => {
            scenario("kills", |m| restore_kills::play(m, APP, rounds, number("SEED").unwrap_or(rounds)));
        }
    }
}

/// One, two, five, and one that grows at once: each is one cluster, with the same rows on all units.
#[test]
fn sizes() {
    scenario("sizes", |m| {
        m.deploy("grown", 1, &[]);
        m.juju(&["add-unit", "grown", "-n", "4"]);
        m.deploy("one", 1, &[]);
        m.deploy("two", 2, &[]);
        m.deploy("five", 5, &[]);
        for (app, unit_count) in [("one", 1), ("two", 2), ("grown", 5), ("five", 5)] {
            m.one_cluster(app, unit_count, 420);
            let units = m.app(app).units;
            for (index, unit) in units.iter().enumerate() {
                let rows = format!(
                    "CREATE DATABASE IF NOT EXISTS e2e; CREATE TABLE IF NOT EXISTS e2e.written (writer VARCHAR(40), \
                     number BIGINT, PRIMARY KEY (writer, number)); INSERT INTO e2e.written VALUES ('{}', {index})",
                    unit.name
                );
                m.sql(&unit.name, &rows).unwrap();
            }
            same_rows_everywhere(m, app, unit_count as u64);
        }
    });
}

/// A Juju without secrets: the passwords are in the application's peer databag, and nowhere else.
#[test]
fn juju_2_9() {
    scenario("juju-2-9", |m| {
        if !m.is_local() {
            println!("skipped: a real Juju's version is what it is");
            return;
        }
        m.juju(&["model-config", "agent-version=2.9.50"]);
        let processes = Processes::watch();
        m.deploy(APP, 3, &[]);
        m.one_cluster(APP, 3, 300);
        let secrets = m.json(&["secrets"]);
        m.hold(secrets.as_object().is_none_or(serde_json::Map::is_empty), "a 2.9 model has no secrets");

        let units = m.app(APP).units;
        let (_, app_bag) = m.databags(&units[0].name);
        let credentials: Value = serde_json::from_str(app_bag["credentials"].as_str().unwrap()).unwrap();
        let passwords = named(&credentials["values"]);
        m.hold(passwords.len() >= 4, &format!("the databag holds the passwords of {} accounts", passwords.len()));

        let shown = m.json(&["run-action", &units[1].name, "get-password", "--wait"]);
        let text = shown.to_string();
        let operator = &passwords.iter().find(|(name, _)| name == OPERATOR).unwrap().1;
        m.hold(text.contains(operator.as_str()), "run-action get-password shows the operator's password");
        for unit in &units {
            let answer = log_in(unit.address.unwrap(), operator).map(drop).map_err(|why| why.to_string());
            m.hold(answer.is_ok(), &format!("the operator logs in on {} {answer:?}", unit.name));
        }
        secrecy::not_in_log_or_processes(m, &passwords, &processes.stop());
        secrecy::not_in_readable_files(m, &units[2].name, &passwords);
    });
}

/// The founder loses power at one moment of the formation after the other: one cluster, never two.
#[test]
fn founder_power_cut() {
    scenario("power-cut", |m| {
        if m.is_local() {
            founding::is_cut_short_at_every_moment(m);
        } else {
            println!("skipped: only juju-local cuts the power");
        }
    });
}

/// All machines lose power under load: they heal by themselves, or wait for a person's decision.
#[test]
fn full_outage() {
    scenario("full-outage", |m| {
        if m.is_local() {
            outage::of_all_machines(m, APP);
        } else {
            println!("skipped: only juju-local cuts the power");
        }
    });
}

/// State files torn, empty, foreign or gone, a lost disk, a crash within DDL.
#[test]
fn odd_data() {
    scenario("odd-data", |m| odd_data::comes_back(m, APP));
}

fn lowest_address_founded(m: &Model) {
    let units = m.app(APP).units;
    let lowest = units.iter().min_by_key(|u| (u.address, unit_number(&u.name))).unwrap();
    if m.is_local() {
        let ends: Vec<String> = units.iter().map(|u| u.address.unwrap().to_string()).collect();
        let telling = [".9", ".10"].iter().all(|end| ends.iter().any(|address| address.ends_with(end)));
        m.hold(telling, &format!("one address ends in .9 and one in .10, which sort differently as text: {ends:?}"));
    }
    let founder = founder(m, &units[0].name);
    m.hold(founder == lowest.name, &format!("{founder} founded, {} has the lowest address", lowest.name));
}

fn founder(m: &Model, unit: &str) -> String {
    let (_, app_bag) = m.databags(unit);
    let formation: Value = serde_json::from_str(app_bag["formation"].as_str().unwrap()).unwrap();
    formation["founder"].as_str().unwrap().to_owned()
}

fn requests_are_answered(m: &Model) {
    let units = m.app(APP).units;
    for unit in &units {
        let results = m.run(&unit.name, &["get-cluster-status"]);
        let (table, judgement) = (text(&results["status"]), text(&results["judgement"]));
        let named = units.iter().all(|u| table.contains(&u.name) && table.contains(&u.address.unwrap().to_string()));
        m.hold(named, &format!("get-cluster-status on {} names every member with its address", unit.name));
        m.hold(
            judgement.contains("Healthy") && judgement.contains("3 of 3"),
            &format!("get-cluster-status on {} judges: {judgement}", unit.name),
        );
    }
    let results = m.run(&format!("{APP}/leader"), &["get-cluster-status", "format=json"]);
    let status: Value = serde_json::from_str(text(&results["status"])).unwrap_or_default();
    let members = status["members"].as_array().cloned().unwrap_or_default();
    let whole = members.iter().filter(|member| {
        let well =
            member["state"] == "synced" && member["ready"] == true && member["client-address"] == member["address"];
        well && member["size"] == 3 && member["db-init"] == 3
    });
    m.hold(whole.count() == 3, &format!("get-cluster-status format=json shows three ready members: {status}"));

    let results = m.run(&format!("{APP}/leader"), &["get-password"]);
    m.hold(results["username"] == OPERATOR, "get-password says whose password it shows");
    for unit in &units {
        let answer = log_in(unit.address.unwrap(), text(&results["password"])).map(drop).map_err(|why| why.to_string());
        m.hold(answer.is_ok(), &format!("get-password's password opens {} {answer:?}", unit.name));
    }
    let stranger = log_in(units[0].address.unwrap(), "not-the-password");
    m.hold(stranger.is_err(), "another password does not");
}

/// Each is refused, in words that help.
fn wrong_requests_fail_with_a_sentence(m: &Model) {
    let now = m.app(APP);
    let leader = now.leader().unwrap().name.clone();
    let follower = now.units.iter().find(|u| !u.leader).unwrap().name.clone();
    let blanks = parameters("password: 'with blanks in it'");
    let blanks = blanks.path().to_str().unwrap();
    for (unit, request, expected) in [
        (&leader, vec!["get-cluster-status", "format=xml"], "text"),
        (&leader, vec!["get-password", "username=root"], "charmed-operator"),
        (&leader, vec!["get-password", "usernme=charmed-stats"], "usernme"),
        (&leader, vec!["set-password", "username=charmed-sst"], "charmed-operator"),
        (&leader, vec!["set-password", "password=short"], "8"),
        (&leader, vec!["set-password", "--params", blanks], "blanks"),
        (&follower, vec!["set-password"], "leader"),
        (&leader, vec!["get-passwrd"], "get-passwrd"),
    ] {
        let said = m.act(unit, &request);
        let sentence = format!("{} {}", said.err.trim(), said.out.trim());
        let asked = request.join(" ").replace(blanks, "FILE");
        m.hold(!said.ok && sentence.contains(expected), &format!("{asked} is refused with {expected:?}: {sentence:?}"));
    }
}

/// The operator's new password: there is no moment at which neither the old nor the new one opens a member, and in the
/// end only the new one does.
fn passwords_change_without_locking_out(m: &Model) -> String {
    let leader = format!("{APP}/leader");
    let old = text(&m.run(&leader, &["get-password"])["password"]).to_owned();
    let new = "e2e-New.pass-word_77".to_owned();
    let addresses: Vec<IpAddr> = m.app(APP).units.iter().filter_map(|u| u.address).collect();
    let door = Door::watch(&addresses, &old, &new);
    let file = parameters(&format!("password: {new}\nusername: {OPERATOR}"));
    m.step("set-password");
    let results = m.run(&leader, &["set-password", "--params", file.path().to_str().unwrap()]);
    m.hold(!results.to_string().contains(&new), "set-password's results do not show the password");
    let open = addresses.iter().all(|address| log_in(*address, &new).is_ok());
    m.hold(open, "the new password opens every member as soon as set-password has returned");
    let shown = m.run(&leader, &["get-password"]);
    m.hold(shown["password"] == new.as_str(), "get-password shows the new password");
    m.soon("the old password opens no member any more", 90, || {
        let open: Vec<_> = addresses.iter().filter(|address| log_in(**address, &old).is_ok()).collect();
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?} still take it")) }
    });
    let (tries, shut) = door.stop();
    m.hold(tries > 0 && shut.is_empty(), &format!("nobody was locked out in {tries} tries: {shut:?}"));

    let before = m.run(&leader, &["get-password", "username=charmed-stats"]);
    m.soon("set-password makes a password by itself", 60, || {
        let said = m.act(&leader, &["set-password", "username=charmed-stats"]);
        if said.ok { Ok(()) } else { Err(said.err) }
    });
    let after = m.run(&leader, &["get-password", "username=charmed-stats"]);
    let fresh = before["password"] != after["password"] && text(&after["password"]).len() >= 16;
    m.hold(fresh, "the made password is another one, and long");
    new
}

/// Bad values block with option and allowed values, never touch the server, and are forgotten one by one when mended.
fn wrong_options_block_and_clear(m: &Model) {
    let uptimes = || -> Vec<u64> {
        let servers = m.app(APP).units.iter().map(|u| m.server(&u.name).unwrap()).collect::<Vec<_>>();
        servers.iter().map(|server| server["uptime"].parse().unwrap()).collect()
    };
    let before = uptimes();
    let wrong = [
        ("min-cluster-size", "banana", "auto (every planned unit) or a number from 1 to 9"),
        ("profile", "x", "production or testing"),
        ("max-connections", "-1", "a number from 10 to 100000"),
    ];
    m.juju(&["config", APP, "min-cluster-size=banana", "profile=x", "max-connections=-1"]);
    let everybody = |what: &str, fits: &dyn Fn(&str, &str) -> bool| {
        m.soon(what, 45, || {
            let now = m.app(APP);
            let fits_all = fits(&now.status, &now.message) && now.units.iter().all(|u| fits(&u.workload, &u.message));
            if fits_all { Ok(()) } else { Err(format!("{now:?}")) }
        });
    };
    everybody("wrong options block, with option, value and what is allowed", &|status, message| {
        status == "blocked" && wrong.iter().all(|(o, v, a)| [o, v, a].iter().all(|part| message.contains(*part)))
    });
    m.juju(&["config", APP, "--reset", "min-cluster-size,max-connections"]);
    everybody("only the option that is still wrong is named", &|status, message| {
        status == "blocked" && message.contains("profile") && !message.contains("min-") && !message.contains("max-")
    });
    m.juju(&["config", APP, "profile=testing"]);
    everybody("mended options clear the status", &|status, _| status == "active");
    let after = uptimes();
    let untouched = before.iter().zip(&after).all(|(before, after)| after >= before);
    m.hold(untouched, &format!("no server was restarted: up {before:?} s before, {after:?} s after"));
}

fn grows_and_shrinks_under_load(m: &Model, uuid: &str, password: &str) {
    m.juju(&["add-unit", APP, "-n", "2"]);
    let grown = m.one_cluster(APP, 5, 300);
    m.hold(grown == uuid, "the cluster of five is the one that was three");

    // The founder and Juju's leader go, at once and while a client writes through a third.
    let founder = founder(m, &m.app(APP).units[0].name);
    let now = m.app(APP);
    let mut leader = now.leader().unwrap().name.clone();
    if m.is_local() && leader == founder {
        leader = now.units.iter().find(|u| u.name != founder).unwrap().name.clone();
        m.step(&format!("the leader founded: {leader} leads now, so that two units go"));
        m.juju(&["fault", "leadership", APP, &leader]);
    }
    let client = now.units.iter().find(|u| u.name != founder && u.name != leader).unwrap();
    let writer = Writer::start(client.address.unwrap(), password, "removals");
    m.step(&format!("remove {founder}, the founder, and {leader}, the leader"));
    m.juju(&["remove-unit", &founder, &leader, "--no-prompt"]);
    let left = if leader == founder { 4 } else { 3 };
    m.until("they are gone", 120, || {
        let now = m.app(APP);
        if now.units.len() == left { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let same = m.one_cluster(APP, left, 120) == uuid;
    m.hold(same, "the cluster that is left is the one that was five");

    let written = writer.stop();
    no_write_failed(m, &client.name, "both removals", &written);
    same_rows_everywhere(m, APP, written.acknowledged);
    for unit in m.app(APP).units {
        let addresses = m.sql(&unit.name, "SELECT @@wsrep_cluster_address").unwrap_or_default();
        let cnf =
            m.on(&unit.name, "grep -h ^wsrep_cluster_address /etc/mysql/mariadb.conf.d/90-mariadb-galera.cnf").out;
        let listed = cnf.trim().split(',').count();
        m.hold(listed == left, &format!("{} has dropped the leavers' addresses: {cnf:?} (was {addresses})", unit.name));
    }
}

fn no_write_failed(m: &Model, through: &str, during: &str, written: &Written) {
    let Written { acknowledged, failed, longest_gap } = written;
    m.hold(
        *acknowledged > 0 && failed.is_empty(),
        &format!(
            "no write failed through {through} during {during}: {acknowledged} written, longest gap {longest_gap:?}, \
             {failed:?}"
        ),
    );
}

/// A unit that loses its power does not stop the others, is missed by name, and comes back by itself without a full
/// copy; the same for an orderly reboot.
fn survives_a_power_cut_and_a_reboot(m: &Model, uuid: &str, password: &str) {
    if !m.is_local() {
        println!("skipped: only juju-local cuts the power");
        return;
    }
    let units = m.app(APP).units;
    let [client, victim, other] = [&units[0], &units[1], &units[2]];
    let survivors: Vec<&Unit> = vec![client, other];
    let writer = Writer::start(client.address.unwrap(), password, "power cut");
    m.step(&format!("cut the power of {}", victim.name));
    m.juju(&["fault", "power-off", &victim.name]);
    m.until("the others are a primary component of two", 60, || {
        for unit in &survivors {
            let server = m.server(&unit.name)?;
            if server["wsrep_cluster_status"] != "Primary" || server["wsrep_cluster_size"] != "2" {
                return Err(format!("{}: {server:?}", unit.name));
            }
        }
        Ok(())
    });
    // Should it have led: its lease has to run out before anybody else speaks for the application.
    m.soon("the status names the unit that is missing", 100, || {
        let now = m.app(APP);
        let said = |unit: &Unit| now.units.iter().any(|u| u.name == unit.name && u.message.contains(&victim.name));
        let named = survivors.iter().all(|unit| said(unit)) && now.message.contains(&victim.name);
        if named { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let judgement = m.run(&client.name, &["get-cluster-status"]);
    let judgement = text(&judgement["judgement"]);
    let honest = judgement.contains("Degraded") && judgement.contains(&victim.name);
    m.hold(honest, &format!("get-cluster-status judges: {judgement}"));
    m.step("power on");
    m.juju(&["fault", "power-on", &victim.name]);
    m.hold(m.one_cluster(APP, 3, 180) == uuid, "it came back to the same cluster after the power cut");
    let written = writer.stop();
    no_write_failed(m, &client.name, "the power cut", &written);
    incremental(m, victim, "after the power cut");
    same_rows_everywhere(m, APP, total_rows(m, &client.name));

    m.step(&format!("reboot {}", other.name));
    m.juju(&["fault", "reboot", &other.name]);
    m.hold(m.one_cluster(APP, 3, 180) == uuid, "it came back to the same cluster after the reboot");
    incremental(m, other, "after the reboot");
}

/// Since its last boot the unit has found its position, and received at most what it had missed.
fn incremental(m: &Model, unit: &Unit, when: &str) {
    m.soon(&format!("{} came back without a full copy {when}", unit.name), 15, || {
        match m.transfers(&unit.name, "--boot") {
            (0, 1..) => Ok(()),
            (full, missed) => Err(format!("{full} full, {missed} incremental")),
        }
    });
}

fn passwords_are_secret(m: &Model, processes: Processes) {
    let secrets = m.json(&["secrets"]);
    let units: Vec<String> = m.app(APP).units.into_iter().map(|u| u.name).collect();
    let mut passwords = Vec::new();
    for (id, secret) in secrets.as_object().cloned().unwrap_or_default() {
        m.hold(secret["owner"] == APP, "the secret belongs to the application");
        let granted = secret["access"].as_array().is_some_and(|access| !access.is_empty());
        m.hold(!granted, &format!("nobody outside the application was granted the secret: {}", secret["access"]));
        let readers: Vec<&String> =
            secret["consumers"].as_object().into_iter().flatten().map(|(unit, _)| unit).collect();
        let ours = readers.iter().all(|reader| reader.starts_with(&format!("{APP}/")));
        m.hold(ours, &format!("the secret's readers are our units: {readers:?}"));
        let revealed = m.json(&["show-secret", "--reveal", &id]);
        let body = revealed.as_object().and_then(|all| all.values().next()).cloned().unwrap_or_default();
        passwords.extend(named(&body["content"]["Data"]));
    }
    m.hold(passwords.len() >= 4, &format!("the secret holds the passwords of {} accounts", passwords.len()));
    secrecy::not_in_databags(m, &units, &passwords);
    secrecy::not_in_log_or_processes(m, &passwords, &processes.stop());
    for unit in &units {
        secrecy::not_in_readable_files(m, unit, &passwords);
    }
}

/// Names and values of a secret.
fn named(values: &Value) -> Vec<(String, String)> {
    let all = values.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn total_rows(m: &Model, unit: &str) -> u64 {
    // A read that waits for what other members have acknowledged.
    let counted = m.sql(unit, "SET SESSION wsrep_sync_wait = 15; SELECT COUNT(*) FROM e2e.written");
    counted.unwrap().parse().unwrap()
}

fn same_rows_everywhere(m: &Model, app: &str, expected: u64) {
    let counts: Vec<u64> = m.app(app).units.iter().map(|unit| total_rows(m, &unit.name)).collect();
    let same = counts.iter().all(|count| *count == expected);
    m.hold(same, &format!("every unit of {app} has all {expected} rows: {counts:?}"));
}

/// Parameters by file: on the command line a password would be in every process list.
fn parameters(yaml: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    file
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
