//! Options about the server: every one of them reaches every server; what cannot be used blocks with a sentence and touches
//! nothing.

use std::collections::BTreeMap;

use super::client::{OPERATOR, Writer};
use super::model::Model;

/// Option, value, the variable that shows it, and how.
const AT_ONCE: [(&str, &str, &str, &str); 18] = [
    ("max-connections", "137", "max_connections", "137"),
    ("innodb-buffer-pool-size", "256M", "innodb_buffer_pool_size", "268435456"),
    ("innodb-io-capacity", "300", "innodb_io_capacity", "300"),
    ("innodb-flush-log-at-trx-commit", "2", "innodb_flush_log_at_trx_commit", "2"),
    ("table-open-cache", "1234", "table_open_cache", "1234"),
    ("wait-timeout", "601", "wait_timeout", "601"),
    ("default-storage-engine", "aria", "default_storage_engine", "Aria"),
    ("character-set", "latin1", "collation_server", "latin1_swedish_ci"),
    ("time-zone", "Europe/Berlin", "time_zone", "Europe/Berlin"),
    ("binlog-retention-days", "3", "binlog_expire_logs_seconds", "259200"),
    ("slow-query-log", "true", "slow_query_log", "1"),
    ("long-query-time", "0.25", "long_query_time", "0.250000"),
    ("wsrep-slave-threads", "3", "wsrep_slave_threads", "3"),
    ("sst-method", "rsync", "wsrep_sst_method", "rsync"),
    ("gcs-fc-limit", "99", "wsrep_provider_options", "gcs.fc_limit = 99;"),
    ("suspect-timeout", "PT6S", "wsrep_provider_options", "evs.suspect_timeout = PT6S;"),
    ("inactive-timeout", "PT18S", "wsrep_provider_options", "evs.inactive_timeout = PT18S;"),
    ("extra-config", "max_allowed_packet=32M\nsort-buffer-size = 4M", "sort_buffer_size", "4194304"),
];

/// Option, value, and what the status says.
const REFUSED: [(&str, &str, &str); 13] = [
    ("time-zone", "Mars/Base", "time-zone: there is no zone Mars/Base on this machine"),
    ("wait-timeout", "0", "wait-timeout: 0 is not a number from 1 to 31536000"),
    ("gcache-size", "1M", "gcache-size: \"1M\" is not auto or a size from 32M to 16T"),
    ("character-set", "klingon", "character-set: \"klingon\" is not a character set"),
    ("innodb-buffer-pool-size", "900G", "innodb-buffer-pool-size: the server would take"),
    ("suspect-timeout", "PT30S", "suspect-timeout: a member is given up"),
    ("lower-case-table-names", "1", "lower-case-table-names: 1 cannot be taken: the cluster has formed with 0"),
    ("extra-config", "wait_timeouts=5", "extra-config: the server refuses it: unknown variable 'wait_timeouts=5'"),
    ("extra-config", "max_allowed_pack=32M", "extra-config: the server has no variable max_allowed_pack; did you mean"),
    ("extra-config", "sort_buffer_size=1", "extra-config: the server refuses it: option 'sort_buffer_size'"),
    (
        "extra-config",
        "wsrep_cluster_address=gcomm://",
        "extra-config: line 1: wsrep_cluster_address is the charm's own",
    ),
    ("extra-config", "key_buffer_size=900G", "extra-config: key_buffer_size = 900G is more than this machine's"),
    ("extra-config", "wait_timeout=5", "extra-config: line 1: wait_timeout has an option of its own"),
];

/// What no option takes, in the order of the table, and what the status says is allowed.
const OUT_OF_RANGE: [(&str, &str, &str); 20] = [
    ("max-connections", "9", "9 is not 0 (from the machine's memory) or a number from 10 to 100000"),
    ("innodb-buffer-pool-size", "4M", "\"4M\" is not auto or a size from 5M to 64T"),
    ("innodb-io-capacity", "99", "99 is not a number from 100 to 1000000"),
    ("innodb-flush-log-at-trx-commit", "3", "3 is not a number from 0 to 2"),
    ("table-open-cache", "9", "9 is not a number from 10 to 1048576"),
    ("wait-timeout", "31536001", "31536001 is not a number from 1 to 31536000"),
    ("default-storage-engine", "csv", "\"csv\" is not InnoDB or Aria or MyISAM"),
    ("character-set", "klingon", "\"klingon\" is not a character set of the server's"),
    ("time-zone", "+15:00", "\"+15:00\" is not SYSTEM, an offset"),
    ("binlog-retention-days", "100", "100 is not a number of days from 1 to 99"),
    ("long-query-time", "-1", "-1 is not a number of seconds from 0 to 31536000"),
    ("wsrep-slave-threads", "513", "513 is not a number from 1 to 512"),
    ("sst-method", "mysqldump", "\"mysqldump\" is not mariabackup or rsync"),
    ("lower-case-table-names", "2", "2 is not a number from 0 to 1"),
    ("gcache-size", "31M", "\"31M\" is not auto or a size from 32M to 16T"),
    ("gcs-fc-limit", "1000001", "1000001 is not a number from 1 to 1000000"),
    ("peer-timeout", "PT301S", "\"PT301S\" is not a time in seconds"),
    ("suspect-timeout", "PT0S", "\"PT0S\" is not a time in seconds"),
    ("inactive-timeout", "15", "\"15\" is not a time in seconds"),
    ("profile-limit-memory", "599", "599 is not"),
];

/// A cluster of three.
pub(crate) fn reach_every_server(m: &Model, app: &str) {
    m.deploy(app, 3, &[]);
    m.one_cluster(app, 3, 300);
    let units: Vec<String> = m.app(app).units.into_iter().map(|unit| unit.name).collect();
    let started = m.on(&units[0], STARTED).out;
    let names: Vec<&str> = AT_ONCE.iter().map(|(option, ..)| *option).collect();
    let before: Vec<Vec<String>> = units.iter().map(|unit| shown(m, unit)).collect();

    m.step("options that a running server takes over");
    set(m, app, AT_ONCE.iter().map(|(option, value, ..)| (*option, *value)));
    for unit in &units {
        m.soon(&format!("all of them reach {unit}"), 60, || {
            let missing: Vec<String> = shown(m, unit)
                .into_iter()
                .zip(&AT_ONCE)
                .filter(|(now, (_, _, variable, expected))| {
                    let of_galera = *variable == "wsrep_provider_options";
                    if of_galera { !now.contains(expected) } else { now != expected }
                })
                .map(|(now, (option, ..))| format!("{option}: {}", now.chars().take(40).collect::<String>()))
                .collect();
            if missing.is_empty() { Ok(()) } else { Err(missing.join(", ")) }
        });
    }
    m.juju(&["config", app, "--reset", &names.join(",")]);
    for (unit, before) in units.iter().zip(&before) {
        m.soon(&format!("reset, {unit} is as it was"), 60, || {
            let now = shown(m, unit);
            let other: Vec<_> = now.iter().zip(before).zip(&names).filter(|((now, then), _)| now != then).collect();
            if other.is_empty() { Ok(()) } else { Err(format!("{other:?}").chars().take(400).collect()) }
        });
    }

    m.step("values out of range");
    set(m, app, OUT_OF_RANGE.iter().map(|(option, value, _)| (*option, *value)));
    m.soon("each of them is named on every unit, with its value and what is allowed", 60, || {
        let missing = |message: &str| -> Vec<&str> {
            let said = |(option, _, why): &&(&str, &str, &str)| !message.contains(&format!("{option}: {why}"));
            OUT_OF_RANGE.iter().filter(said).map(|(option, ..)| *option).collect()
        };
        let units = m.app(app).units;
        match units.iter().find(|unit| unit.workload != "blocked" || !missing(&unit.message).is_empty()) {
            None => Ok(()),
            Some(unit) => Err(format!("{}: {:?} missing in {:?}", unit.name, missing(&unit.message), unit.message)),
        }
    });
    let names_out: Vec<&str> = OUT_OF_RANGE.iter().map(|(option, ..)| *option).collect();
    m.juju(&["config", app, "--reset", &names_out.join(",")]);
    m.one_cluster(app, 3, 60);

    m.step("values that cannot be used");
    for (option, value, expected) in REFUSED {
        m.juju(&["config", app, &format!("{option}={value}")]);
        m.soon(&format!("{option}={value} is refused"), 60, || {
            let shown: BTreeMap<String, String> =
                m.app(app).units.into_iter().map(|u| (u.name, format!("{}: {}", u.workload, u.message))).collect();
            let all = shown.values().all(|said| said.starts_with("blocked") && said.contains(expected));
            if all { Ok(()) } else { Err(format!("{shown:?}")) }
        });
        m.juju(&["config", app, "--reset", option]);
    }
    m.one_cluster(app, 3, 60);

    m.hold(m.on(&units[0], STARTED).out == started, "nothing of all this has restarted a server");
    in_turn(m, app, &units);
    what_does_not_start(m, app, &units);
    alone(m);
}

/// All of them in one change.
fn set<'a>(m: &Model, app: &str, values: impl Iterator<Item = (&'a str, &'a str)>) {
    let set: Vec<String> = values.map(|(option, value)| format!("{option}={value}")).collect();
    let words: Vec<&str> = ["config", app].into_iter().chain(set.iter().map(String::as_str)).collect();
    m.juju(&words);
}

/// One unit after the other, while a client writes.
fn in_turn(m: &Model, app: &str, units: &[String]) {
    m.step("options that only a start takes");
    let told = m.run(&units[0], &["get-password", &format!("username={OPERATOR}")]);
    let password = told["password"].as_str().unwrap().to_owned();
    let doors = m.app(app).units.into_iter().filter_map(|unit| unit.address).collect();
    let writer = Writer::start_at(doors, &password, "turns");
    let before: Vec<u64> = units.iter().map(|unit| starts(m, unit).len() as u64).collect();
    let extra = "extra-config=transaction-isolation = READ-COMMITTED\nskip-local-infile";
    m.juju(&["config", app, "gcache-size=48M", "peer-timeout=PT4S", extra]);
    m.until("every server runs with them", 180, || {
        let runs =
            |said: &str| said.contains("gcache.size = 50331648;") && said.contains("gmcast.peer_timeout = PT4S;");
        let missing: Vec<&String> = units.iter().filter(|unit| !runs(&gcache(m, unit))).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("not yet: {missing:?}")) }
    });
    m.one_cluster(app, units.len(), 60);
    let written = writer.stop();
    m.hold(written.failed.is_empty(), &format!("the writer lost nothing: {:?}", written.failed.first()));
    m.step(&format!("  {} written, longest gap {} ms", written.acknowledged, written.longest_gap.as_millis()));
    for unit in units {
        let said = m.sql(unit, "SELECT @@GLOBAL.tx_isolation, @@GLOBAL.local_infile");
        m.hold(said.as_deref() == Ok("READ-COMMITTED\t0"), &format!("{unit} has what no variable is called: {said:?}"));
    }
    let mut times = Vec::new();
    for (unit, before) in units.iter().zip(before) {
        let starts = starts(m, unit);
        m.hold(starts.len() as u64 == before + 1, &format!("{unit} was restarted once: {starts:?}"));
        times.extend(starts.last().cloned());
    }
    m.step(&format!("  started at {times:?}"));
    let mut away: Vec<(f64, f64, &String)> = units
        .iter()
        .filter_map(|unit| Some((away(m, unit)?, unit)))
        .map(|((from, to), unit)| (from, to, unit))
        .collect();
    away.sort_by(|one, other| one.0.total_cmp(&other.0));
    let one_at_a_time = away.len() == units.len() && away.windows(2).all(|pair| pair[0].1 <= pair[1].0);
    m.hold(one_at_a_time, &format!("one at a time, from its stop to its being Synced: {away:?}"));
}

/// When the server was last stopped, and when it was first Synced again, in seconds, from the journal.
fn away(m: &Model, unit: &str) -> Option<(f64, f64)> {
    let log = m.on(unit, "journalctl --unit mariadb --output short-unix --no-pager").out;
    let lines: Vec<&str> = log.lines().collect();
    let stopped = lines.iter().rposition(|line| line.contains("Stopping mariadb.service"))?;
    // It says so again behind each copy that it gives.
    let back = lines[stopped..].iter().find(|line| line.contains("Synchronized with group, ready for connections"))?;
    let at = |line: &str| line.split_whitespace().next()?.parse::<f64>().ok();
    Some((at(lines[stopped])?, at(back)?))
}

/// What a cluster forms with.
const FROM_THE_BEGINNING: [(&str, &str, &str); 7] = [
    ("time-zone=Europe/Berlin", "time_zone", "Europe/Berlin"),
    ("lower-case-table-names=1", "lower_case_table_names", "1"),
    ("default-storage-engine=Aria", "default_storage_engine", "Aria"),
    ("character-set=latin1", "character_set_server", "latin1"),
    ("sst-method=rsync", "wsrep_sst_method", "rsync"),
    ("slow-query-log=true", "slow_query_log", "1"),
    ("extra-config=max_allowed_packet=32M", "max_allowed_packet", "33554432"),
];

/// The only member of a cluster comes back by itself.
fn alone(m: &Model) {
    m.step("a cluster of one, with options from the beginning");
    let config: Vec<&str> = FROM_THE_BEGINNING.iter().map(|(config, ..)| *config).collect();
    if m.is_local() {
        m.deploy_bound("single", 1, &config, "database-peers=internal");
    } else {
        m.deploy("single", 1, &config);
    }
    let uuid = m.one_cluster("single", 1, 300);
    if m.is_local() {
        let address = m.sql("single/0", "SELECT @@GLOBAL.wsrep_node_address").unwrap_or_default();
        let clients = m.app("single").units[0].address.map(|address| address.to_string()).unwrap_or_default();
        let table = m.run("single/0", &["get-cluster-status"])["status"].to_string();
        let bound = address.starts_with("10.90.") && clients.starts_with("10.89.");
        let shown = table.contains(&address) && table.contains(&clients);
        m.hold(bound && shown, &format!("members meet on their own network: {address}, clients come to {clients}"));
    }
    for (config, variable, expected) in FROM_THE_BEGINNING {
        m.soon(&format!("it has formed with {config}"), 30, || {
            let now = m.sql("single/0", &format!("SELECT @@GLOBAL.{variable}"))?;
            if now == expected { Ok(()) } else { Err(now) }
        });
    }
    m.juju(&["config", "single", "gcache-size=48M"]);
    m.until("it runs with it", 60, || {
        if gcache(m, "single/0").contains("gcache.size = 50331648;") { Ok(()) } else { Err("not yet".to_owned()) }
    });
    m.hold(m.one_cluster("single", 1, 30) == uuid, "it is the same cluster");
}

/// What the check cannot foresee: the server ends while it starts.
fn what_does_not_start(m: &Model, app: &str, units: &[String]) {
    m.step("a value with which the server does not start");
    let before: usize = units.iter().map(|unit| starts(m, unit).len()).sum();
    m.juju(&["config", app, "extra-config=innodb_data_file_path=ibdata1:900M:autoextend"]);
    let blocked =
        || m.app(app).units.into_iter().filter(|unit| unit.message.contains("does not start with the new options"));
    m.until("one unit goes back to the options before, and says so", 180, || match blocked().count() {
        1 => Ok(()),
        other => Err(format!("{other} units say so: {:?}", m.app(app).units)),
    });
    let tried = blocked().next().map(|unit| unit.name);
    let size = units.len().to_string();
    m.soon("all of them serve", 60, || {
        let seen: Vec<_> = units.iter().map(|unit| m.server(unit).unwrap_or_default()).collect();
        let serves = |seen: &BTreeMap<String, String>| {
            seen.get("wsrep_local_state_comment").is_some_and(|state| state == "Synced")
                && seen.get("wsrep_cluster_size") == Some(&size)
        };
        if seen.iter().all(serves) { Ok(()) } else { Err(format!("{:?}", m.app(app).units)) }
    });
    let others: usize =
        units.iter().filter(|unit| Some(*unit) != tried.as_ref()).map(|unit| starts(m, unit).len()).sum();
    let tries: usize = units.iter().map(|unit| starts(m, unit).len()).sum::<usize>() - others;
    m.hold(others + tries > before, &format!("only {tried:?} has tried it: {tries} starts"));
    m.juju(&["config", app, "--reset", "extra-config"]);
    m.one_cluster(app, units.len(), 90);
    if m.is_local() {
        untried_in_a_power_cut(m, app, units);
    }
}

/// Nobody has tried them, and nobody comes up with them when the power is back: the cluster goes on with those before.
fn untried_in_a_power_cut(m: &Model, app: &str, units: &[String]) {
    m.step("power fails everywhere while nobody has tried new options with which no server starts");
    let all: Vec<&str> = units.iter().map(String::as_str).collect();
    m.juju(&["config", app, "extra-config=innodb_page_size=8192"]);
    m.until("it is in a file", 30, || {
        let said = m.on(&units[0], "cat /etc/mysql/mariadb.conf.d/90-mariadb-galera.cnf").out;
        if said.contains("innodb_page_size") { Ok(()) } else { Err("not yet".to_owned()) }
    });
    m.juju(&[&["fault", "power-off"], &all[..]].concat());
    m.juju(&[&["fault", "power-on"], &all[..]].concat());
    m.until("all of them serve again", 300, || {
        let seen: Vec<_> = units.iter().map(|unit| m.server(unit).unwrap_or_default()).collect();
        let serves = |seen: &BTreeMap<String, String>| {
            seen.get("wsrep_local_state_comment").is_some_and(|state| state == "Synced")
                && seen.get("wsrep_cluster_size") == Some(&units.len().to_string())
        };
        if seen.iter().all(serves) { Ok(()) } else { Err(m.app(app).described()) }
    });
    m.juju(&["config", app, "--reset", "extra-config"]);
    m.one_cluster(app, units.len(), 90);
}

/// When the server was started, from the journal.
fn starts(m: &Model, unit: &str) -> Vec<String> {
    let ask =
        "journalctl --unit mariadb --output short-iso --no-pager | grep 'Starting mariadb.service' | cut -d' ' -f1";
    m.on(unit, ask).out.lines().map(ToOwned::to_owned).collect()
}

fn gcache(m: &Model, unit: &str) -> String {
    m.sql(unit, "SELECT @@GLOBAL.wsrep_provider_options").unwrap_or_default()
}

const STARTED: &str = "systemctl show --property ExecMainStartTimestampMonotonic mariadb";

/// The variables as they are now, one for each option.
fn shown(m: &Model, unit: &str) -> Vec<String> {
    let query: Vec<String> = AT_ONCE.iter().map(|(_, _, variable, _)| format!("SELECT @@GLOBAL.{variable}")).collect();
    let said = m.sql(unit, &query.join("; ")).unwrap_or_default();
    said.lines().map(ToOwned::to_owned).collect()
}
