//! A bucket on a real S3 server: encrypted backups of one deployment, the server killed in the middle of an upload, a
//! restore in place, and one into a second deployment with passwords of its own.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use super::client::{OPERATOR, log_in};
use super::garage::{ACCESS_KEY, Garage, SECRET_KEY};
use super::model::Model;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The host's address in the machines' network.
fn host(m: &Model, unit: &str) -> IpAddr {
    let said = m.on(unit, "ip -4 route show default").out;
    let mut words = said.split_whitespace().skip_while(|word| *word != "via");
    words.nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no way out of the machine: {said}"))
}

pub(crate) fn and_a_second_deployment(m: &Model, app: &str, other: &str) {
    m.deploy(app, 3, &[]);
    m.deploy(other, 2, &[]);
    m.one_cluster(app, 3, 300);
    m.one_cluster(other, 2, 300);
    let unit = |number: u32| format!("{app}/{number}");
    let Some(mut garage) = Garage::start_at(host(m, &unit(0))) else { return };
    m.sql(
        &unit(0),
        "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY); INSERT INTO shop.orders VALUES (1), (2), (3);
         CREATE TABLE shop.filler (id INT PRIMARY KEY AUTO_INCREMENT, text VARBINARY(8000));
         INSERT INTO shop.filler (text) SELECT RANDOM_BYTES(1024) FROM shop.seq_1_to_150000",
    )
    .unwrap();
    let bad = secret(m, &[app], "bad-keys", &format!("access-key={ACCESS_KEY}"), "secret-key=wrong");
    let good =
        secret(m, &[app, other], "s3-keys", &format!("access-key={ACCESS_KEY}"), &format!("secret-key={SECRET_KEY}"));
    let identity = std::process::Command::new("age-keygen").output().unwrap();
    let identity = String::from_utf8(identity.stdout).unwrap();
    let identity = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap().to_owned();
    let key = secret(m, &[app, other], "key", &format!("age-identity={identity}"), "note=tests");
    let settings = garage.settings();
    let endpoint = format!("s3-endpoint={}", settings.endpoint);
    let bucket = format!("s3-bucket={}", settings.bucket);
    for app in [app, other] {
        let keys = if app == other { &good } else { &bad };
        let (keys, key) = (format!("s3-credentials={keys}"), format!("backup-key={key}"));
        m.juju(&["config", app, &endpoint, &bucket, "s3-region=garage", "s3-path=db", &keys, &key]);
    }
    let refused = m.act(&unit(1), &["backup"]);
    m.hold(!refused.ok && said(&refused).contains("key"), &format!("wrong keys are named: {}", said(&refused)));
    m.juju(&["config", app, &format!("s3-credentials={good}")]);
    let made = m.run(&unit(1), &["backup", "verify=true"]);
    let id = text(&made["backup-id"]).to_owned();
    m.hold(text(&made["verified"]).contains("tables with"), &format!("a backup in the bucket, proved: {made}"));
    killed_in_the_middle(m, &unit(2), &mut garage);
    restored_in_place(m, app, &id);
    restored_elsewhere(m, app, other, &id);
    garage.kill();
    let listed = m.run(&unit(0), &["list-backups"]);
    m.hold(!text(&listed["not-asked"]).is_empty(), &format!("a store that is away is named: {listed}"));
}

fn said(attempt: &super::model::Said) -> String {
    format!("{} {}", attempt.err.trim(), attempt.out.trim())
}

/// A user's secret, granted; returns its address.
fn secret(m: &Model, apps: &[&str], name: &str, one: &str, other: &str) -> String {
    let address = m.juju(&["add-secret", name, one, other]).trim().to_owned();
    for app in apps {
        m.juju(&["grant-secret", name, app]);
    }
    address
}

fn of(m: &Model, unit: &str) -> Vec<Value> {
    serde_json::from_str(text(&m.run(unit, &["list-backups", "format=json"])["backups"])).unwrap()
}

/// Whatever comes of it: what is listed as finished is whole.
fn killed_in_the_middle(m: &Model, unit: &str, garage: &mut Garage) {
    m.step("the S3 server is killed in the middle of an upload");
    let ended = std::thread::scope(|scope| {
        let backup = scope.spawn(|| m.act(unit, &["backup"]));
        std::thread::sleep(Duration::from_millis(1_500));
        garage.kill();
        std::thread::sleep(Duration::from_secs(8));
        garage.run();
        backup.join().unwrap()
    });
    m.step(&format!("  the backup {}", if ended.ok { "went on when it was back" } else { "failed" }));
    let after = m.run(unit, &["backup"]);
    m.hold(!text(&after["backup-id"]).is_empty(), "the next one is made");
    for backup in of(m, unit) {
        let (id, status) = (text(&backup["id"]), text(&backup["status"]));
        let fine = status.starts_with("failed")
            || status == "finished" && {
                let proof = m.act(unit, &["verify-backup", &format!("backup-id={id}")]);
                proof.ok
            };
        m.hold(fine, &format!("{id} is {status}"));
        m.hold(backup["encrypted"] == true || status != "finished", "it is encrypted");
    }
}

fn orders(m: &Model, app: &str) -> Vec<String> {
    let units = m.app(app).units;
    let ask = |unit: &str| m.sql(unit, "SELECT COUNT(*) FROM shop.orders").unwrap_or_else(|why| why);
    units.iter().map(|unit| ask(&unit.name)).collect()
}

fn restored_in_place(m: &Model, app: &str, id: &str) {
    let before = m.one_cluster(app, 3, 120);
    m.sql(&format!("{app}/0"), "DROP TABLE shop.orders").unwrap();
    m.run(&format!("{app}/leader"), &["restore", &format!("backup-id={id}")]);
    m.until("all three serve the restored data", 420, || {
        let uuid = m.sees_one_cluster(app, 3)?;
        if uuid == before { Err(m.app(app).message) } else { Ok(()) }
    });
    m.hold(orders(m, app) == ["3"; 3], &format!("the table is back: {:?}", orders(m, app)));
}

fn restored_elsewhere(m: &Model, app: &str, other: &str, id: &str) {
    m.step("into a second deployment, with other passwords");
    let (leader, before) = (format!("{other}/leader"), m.one_cluster(other, 2, 120));
    let password = |app: &str| {
        let shown = m.run(&format!("{app}/leader"), &["get-password", &format!("username={OPERATOR}")]);
        text(&shown["password"]).to_owned()
    };
    m.hold(password(app) != password(other), "the two have passwords of their own");
    let listed = of(m, &leader).into_iter().find(|backup| text(&backup["id"]) == id).unwrap_or_default();
    m.hold(text(&listed["status"]) == "foreign", &format!("it is listed as another application's: {listed}"));
    m.run(&leader, &["restore", &format!("backup-id={id}")]);
    m.until("both serve the restored data", 420, || {
        let uuid = m.sees_one_cluster(other, 2)?;
        if uuid == before { Err(m.app(other).message) } else { Ok(()) }
    });
    m.hold(orders(m, other) == ["3"; 2], &format!("its rows are there: {:?}", orders(m, other)));
    for unit in m.app(other).units {
        let address = unit.address.unwrap();
        m.hold(log_in(address, &password(other)).is_ok(), &format!("{}'s own password opens it", unit.name));
        m.hold(log_in(address, &password(app)).is_err(), "that of the other deployment does not");
    }
}
