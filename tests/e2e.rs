//! End to end: the packed charm on real machines with real MariaDB servers. Runs with RUN_E2E=1 (`./run_tests e2e`).
#![expect(clippy::disallowed_methods, reason = "the tests stand outside the charm and drive programs themselves")]

#[path = "e2e/juju.rs"]
mod juju;
#[path = "e2e/writer.rs"]
mod writer;

use std::net::Ipv4Addr;

use juju::{APP, Model};
use serde_json::Value;
use writer::Writer;

/// Whether machines may be made.
fn wanted(test: &str) -> bool {
    let wanted = std::env::var("RUN_E2E").is_ok_and(|v| v == "1");
    if !wanted {
        println!("{test}: skipped, it needs machines; run ./run_tests e2e");
    }
    wanted
}

/// What the leader has committed, as some unit shows it.
fn committed(model: &Model, unit: &str, key: &str) -> Value {
    let shown: Value = serde_json::from_str(&model.run(&["show-unit", unit, "--format", "json"])).expect("JSON");
    let text = shown[unit]["relation-info"][0]["application-data"][key].as_str().unwrap_or("null").to_owned();
    serde_json::from_str(&text).expect("the key holds JSON")
}

#[test]
fn three_units_are_one_cluster_and_stay_one() {
    if !wanted("three_units_are_one_cluster_and_stay_one") {
        return;
    }
    let model = Model::new("cluster");
    model.deploy(3);
    model.settled(APP, 3, 180);
    model.one_cluster(APP);
    model.rows_everywhere(APP);
    lowest_address_founded(&model);
    passwords_are_kept(&model);
    actions_do_what_they_say(&model);
    wrong_options_touch_nothing(&model);
    scaling_under_a_client(&model);
    power_cut_and_reboot(&model);
}

fn lowest_address_founded(model: &Model) {
    let formation = committed(model, &format!("{APP}/0"), "formation");
    let members = formation["members"].as_object().expect("members").clone();
    let address = |unit: &str| -> Ipv4Addr { members[unit].as_str().expect("text").parse().expect("an address") };
    let lowest = members.keys().min_by_key(|unit| address(unit)).expect("somebody");
    assert_eq!(formation["founder"].as_str(), Some(lowest.as_str()));
    // 10.x.x.9 and 10.x.x.10: as text the order would be another.
    let by_text = members.keys().min_by_key(|unit| members[*unit].to_string()).expect("somebody");
    assert_ne!(by_text, lowest, "the addresses do not tell numbers from text: {members:?}");
}

/// Every password of the cluster's secret is nowhere else.
fn passwords_are_kept(model: &Model) {
    let id = committed(model, &format!("{APP}/0"), "credentials")["secret-id"].as_str().expect("a secret").to_owned();
    let shown: Value =
        serde_json::from_str(&model.run(&["show-secret", &id, "--reveal", "--format", "json"])).expect("JSON");
    let secret = shown.as_object().and_then(|m| m.values().next()).expect("one secret");
    assert_eq!(secret["owner"], APP);
    assert_eq!(secret["access"], serde_json::json!([]), "nobody else may read it");
    let passwords: Vec<&str> =
        secret["content"]["Data"].as_object().expect("content").values().filter_map(Value::as_str).collect();
    assert!(passwords.len() >= 4);
    let log = model.run(&["debug-log", "--replay", "--level", "TRACE"]);
    for unit in model.names(APP) {
        let shown = model.run(&["show-unit", &unit]);
        let processes = model.shell(&unit, "ps axww -o args; ps axwwe -o args --user mysql");
        // What everybody may read, on the machine's own disk and in its run directory.
        let readable = model.shell(&unit, "find /etc /run /var/lib/mariadb-galera /var/log /tmp /usr/local -xdev -type f -perm -o+r -print0 2>/dev/null | xargs -0 cat 2>/dev/null | tr -cd '[:print:]\\n'");
        for password in &passwords {
            for (where_, text) in
                [("show-unit", &shown), ("debug-log", &log), ("ps", &processes), ("readable files", &readable)]
            {
                assert!(!text.contains(password), "a password is in {where_} of {unit}");
            }
        }
    }
}

fn actions_do_what_they_say(model: &Model) {
    let status = model.action(&format!("{APP}/leader"), &["get-cluster-status", "format=json"]);
    let judgement = status["judgement"].as_str().expect("a sentence");
    assert!(judgement.starts_with("Healthy: 3 of 3 members are Synced"), "{judgement}");
    let members: Value = serde_json::from_str(status["status"].as_str().expect("text")).expect("JSON");
    assert_eq!(members["members"].as_array().map(Vec::len), Some(3));
    for member in members["members"].as_array().expect("members") {
        assert_eq!(
            (&member["state"], &member["db-init"], &member["ready"]),
            (&"synced".into(), &3.into(), &true.into())
        );
        assert!(member["position"].as_str().is_some_and(|p| p.contains(':')) && member["conf-id"].is_u64(), "{member}");
    }
    let table = model.action(&format!("{APP}/1"), &["get-cluster-status"]);
    assert!(table["status"].as_str().is_some_and(|t| t.contains(&format!("{APP}/2")) && t.contains("founder")));

    let leader = model.leader(APP);
    let login = |password: &str| {
        let address = model.address(&leader);
        let options =
            mysql::OptsBuilder::new().ip_or_hostname(Some(address)).user(Some("charmed-operator")).pass(Some(password));
        mysql::Conn::new(options.prefer_socket(false)).is_ok()
    };
    let before = model.action(&leader, &["get-password"]);
    assert_eq!(before["username"], "charmed-operator");
    let before = before["password"].as_str().expect("a password").to_owned();
    assert!(login(&before));
    model.action(&leader, &["set-password", "password=correct-horse-9"]);
    assert!(login("correct-horse-9"), "the new password works at once");
    assert_eq!(model.action(&format!("{APP}/2"), &["get-password"])["password"], "correct-horse-9");
    model.wait("the old password to be forgotten", 60, |_| !login(&before));
    assert!(login("correct-horse-9"));
    model.wait("every unit's next generation", 30, |m| {
        let credentials = committed(m, &leader, "credentials");
        credentials["settled"] == credentials["generation"] && credentials["generation"] == 2
    });

    let other = model.names(APP).into_iter().find(|u| *u != leader).expect("another unit");
    assert!(model.refused(&["run", &other, "set-password"]).contains("only the leader can change passwords"));
    assert!(model.refused(&["run", &leader, "set-password", "username=root"]).contains("must be one of"));
    assert!(model.refused(&["run", &leader, "set-password", "password=short"]).contains("at least 8 characters"));
    assert!(model.refused(&["run", &leader, "get-password", "user=x"]).contains("not allowed"));
    assert!(model.refused(&["run", &leader, "get-cluster-status", "format=xml"]).contains("must be one of"));
}

fn wrong_options_touch_nothing(model: &Model) {
    let unit = format!("{APP}/1");
    let started = |m: &Model| m.shell(&unit, "systemctl show -p ExecMainStartTimestamp --value mariadb");
    let before = started(model);
    for (option, wrong, says, right) in [
        ("min-cluster-size", "banana", "min-cluster-size: \"banana\" is not auto", "auto"),
        ("profile", "x", "profile: \"x\" is not production or testing", "testing"),
        ("max-connections", "-1", "max-connections: -1 is not 0", "150"),
    ] {
        model.run(&["config", APP, &format!("{option}={wrong}")]);
        model.wait(&format!("blocked by {option}={wrong}"), 30, |m| {
            m.units(APP).iter().all(|(_, body)| {
                let status = &body["workload-status"];
                status["current"] == "blocked" && status["message"].as_str().is_some_and(|t| t.contains(says))
            })
        });
        model.run(&["config", APP, &format!("{option}={right}")]);
        model.settled(APP, 3, 30);
    }
    assert_eq!(model.sql(&unit, "SELECT @@max_connections"), "150", "a good value reaches the running server");
    assert_eq!(started(model), before, "no option restarts a server");
}

fn scaling_under_a_client(model: &Model) {
    let password = model.action(&format!("{APP}/0"), &["get-password"])["password"].as_str().expect("text").to_owned();
    let founder = committed(model, &format!("{APP}/0"), "formation")["founder"].as_str().expect("text").to_owned();
    // Juju's leader and the founder go, and the client writes through neither.
    let others: Vec<String> = model.names(APP).into_iter().filter(|unit| *unit != founder).collect();
    let (leader, through) = (others[0].clone(), others[1].clone());
    let writer = Writer::start(&model.address(&through), "charmed-operator", &password);
    model.run(&["add-unit", APP, "-n", "2"]);
    model.settled(APP, 5, 180);
    model.one_cluster(APP);
    model.run(&["fault", "leadership", APP, &leader]);
    model.run(&["remove-unit", &founder, &leader, "--no-prompt"]);
    model.settled(APP, 3, 120);
    let tally = writer.stop();
    println!("{} writes, the longest {:?}", tally.acknowledged, tally.longest);
    assert_eq!(tally.failed, Vec::<String>::new(), "no write may fail");
    model.one_cluster(APP);
    for unit in model.names(APP) {
        assert_eq!(
            model.sql(&unit, "SET SESSION wsrep_sync_wait=1; SELECT COUNT(*) FROM e2e.w"),
            tally.acknowledged.to_string(),
            "{unit}"
        );
        let cnf = model.shell(&unit, "grep wsrep_cluster_address /etc/mysql/mariadb.conf.d/90-mariadb-galera.cnf");
        assert_eq!(cnf.matches("10.").count(), 3, "the leavers' addresses are dropped: {cnf}");
    }
}

fn power_cut_and_reboot(model: &Model) {
    let victim = model.names(APP)[2].clone();
    let other = model.names(APP)[0].clone();
    model.run(&["fault", "power-off", &victim]);
    model.wait("the others to say so", 60, |m| {
        m.units(APP).iter().any(|(unit, body)| {
            *unit == other
                && body["workload-status"]["message"].as_str().is_some_and(|t| t.starts_with("Synced, 2 of 3 members"))
        })
    });
    model.sql(&other, "REPLACE INTO e2e.t VALUES ('while it was away')");
    model.run(&["fault", "power-on", &victim]);
    model.settled(APP, 3, 120);
    model.one_cluster(APP);
    let log = model.shell(&victim, "journalctl -u mariadb -b --no-pager");
    assert!(log.contains("Receiving IST"), "the returning member is spared a full copy");
    model.run(&["fault", "reboot", &victim]);
    model.wait("the rebooted member", 60, |m| m.try_run(&["ssh", &victim, "mariadb-galera ready"]).status.success());
    model.settled(APP, 3, 60);
    model.rows_everywhere(APP);
}

#[test]
fn one_unit_grows_and_two_form_at_once() {
    if !wanted("one_unit_grows_and_two_form_at_once") {
        return;
    }
    let model = Model::new("sizes");
    model.deploy_as("one", 1);
    // At once: they come in the middle of the first one's formation.
    model.run(&["add-unit", "one", "-n", "4"]);
    model.settled("one", 5, 240);
    model.one_cluster("one");
    model.rows_everywhere("one");
    model.run(&["remove-application", "one", "--no-prompt"]);
    model.wait("the application to be gone", 120, |m| m.names("one").is_empty());
    model.deploy_as("two", 2);
    model.settled("two", 2, 120);
    model.one_cluster("two");
    model.rows_everywhere("two");
}

#[test]
fn juju_2_9_has_no_secrets() {
    if !wanted("juju_2_9_has_no_secrets") {
        return;
    }
    let model = Model::new("juju29");
    model.run(&["model-config", "agent-version=2.9.50"]);
    model.deploy(3);
    model.settled(APP, 3, 180);
    model.one_cluster(APP);
    let credentials = committed(&model, &format!("{APP}/0"), "credentials");
    assert!(credentials["values"].is_object() && credentials["secret-id"].is_null());
    let results = model.action(&model.leader(APP), &["get-password"]);
    assert_eq!(results["password"], credentials["values"]["charmed-operator"]);
}

/// The founder loses its power when the log shows that it has come so far.
#[test]
fn a_founder_without_power_leaves_one_cluster() {
    if !wanted("a_founder_without_power_leaves_one_cluster") {
        return;
    }
    let model = Model::new("founder");
    for (app, moment) in [
        ("agreed", "waiting-for-founder: configure, db-init=1"),
        ("bootstraps", "founding: configure, bootstrap"),
        ("accounts", "founding: set up accounts"),
    ] {
        model.deploy_as(app, 3);
        let units = model.units(app);
        let address = |body: &Value| body["public-address"].as_str().and_then(|a| a.parse::<Ipv4Addr>().ok());
        let founder = units.iter().min_by_key(|(_, body)| address(body)).expect("a unit").0.clone();
        let tag = format!("unit-{}", founder.replace('/', "-"));
        model.wait(&format!("{founder}: {moment}"), 120, |m| {
            m.run(&["debug-log", "--replay", "--include", &tag]).contains(moment)
        });
        model.run(&["fault", "power-off", &founder]);
        std::thread::sleep(std::time::Duration::from_secs(3));
        model.run(&["fault", "power-on", &founder]);
        model.settled(app, 3, 240);
        model.one_cluster(app);
        model.rows_everywhere(app);
        model.run(&["remove-application", app, "--no-prompt", "--force"]);
        model.wait("the application to be gone", 60, |m| m.names(app).is_empty());
    }
}
