//! What each kind of value takes, and what `extra-config` refuses.

use super::*;

fn check(yaml: &str, expected: &str) {
    let values: BTreeMap<String, Value> = serde_yaml::from_str(yaml).unwrap();
    let said = match read(&values) {
        Ok(chosen) => {
            let plain = chosen.variables.iter().chain(&chosen.provider).map(|(name, text)| format!("{name}={text}"));
            let extra = chosen.extra.lines.iter().map(|line| match &line.value {
                Some(value) => format!("+{}={value}", line.name),
                None => format!("+{}", line.name),
            });
            plain.chain(extra).collect::<Vec<_>>().join(" ")
        }
        Err(wrong) => wrong.into_iter().map(|(name, why)| format!("{name}: {why}")).collect::<Vec<_>>().join("\n"),
    };
    assert_eq!(said, expected, "{yaml}");
}

#[test]
fn values_become_what_the_server_reads() {
    check("{}", "");
    check("{max-connections: 0, gcache-size: auto}", "");
    check("{wait-timeout: '', innodb-buffer-pool-size: ' '}", "");
    check("innodb-buffer-pool-size: 3G", "innodb_buffer_pool_size=3221225472");
    check("innodb-buffer-pool-size: 8388608", "innodb_buffer_pool_size=8388608");
    check("{slow-query-log: true, long-query-time: 0.25}", "long_query_time=0.25 slow_query_log=ON");
    check(
        "{time-zone: Europe/Berlin, character-set: UTF8MB4}",
        "character_set_server=utf8mb4 collation_server=utf8mb4_general_ci default_time_zone=Europe/Berlin",
    );
    check("{binlog-retention-days: 3, sst-method: RSYNC}", "binlog_expire_logs_seconds=259200 wsrep_sst_method=rsync");
    check("{peer-timeout: pt2.50s, gcache-size: 1g}", "gcache.size=1073741824 gmcast.peer_timeout=PT2.5S");
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    check("wait-timeout: 0", "wait-timeout: 0 is not a number from 1 to 31536000");
    check("wait-timeout: 1.5", "wait-timeout: 1.5 is not a number from 1 to 31536000");
    check("gcache-size: 1M", "gcache-size: \"1M\" is not auto or a size from 32M to 16T, such as 512M or 4G");
    for odd in ["-1", "1.5G", "G", "1GB", "99999999999999T", "+5M", "5é"] {
        let expected = format!("gcache-size: {odd:?} is not auto or a size from 32M to 16T, such as 512M or 4G");
        check(&format!("gcache-size: '{odd}'"), &expected);
    }
    for odd in ["+13:01", "+14:00", "-13:00", "+2", "a b", "x'y", "+1:60", "+"] {
        let values = BTreeMap::from([("time-zone".to_owned(), Value::from(odd))]);
        assert!(read(&values).is_err(), "{odd}");
    }
    for fine in ["+13:00", "-12:59", "+02:00", "UTC", "Etc/GMT+1", "SYSTEM"] {
        let values = BTreeMap::from([("time-zone".to_owned(), Value::from(fine))]);
        assert!(read(&values).is_ok(), "{fine}");
    }
    check(
        "peer-timeout: PT0S",
        "peer-timeout: \"PT0S\" is not a time in seconds as Galera writes it, from PT0.1S to PT300S",
    );
    for odd in ["PTInfS", "PT-1S", "5", "PT1M", "PTS", "PT1E1S"] {
        let values = BTreeMap::from([("peer-timeout".to_owned(), Value::from(odd))]);
        assert!(read(&values).is_err(), "{odd}");
    }
    check(
        "suspect-timeout: PT20S",
        "suspect-timeout: a member is given up after 15 s (inactive-timeout) and suspected only after 20 s (suspect-timeout): \
         it must be the other way round",
    );
    check("{suspect-timeout: PT20S, inactive-timeout: PT60S}", "evs.inactive_timeout=PT60S evs.suspect_timeout=PT20S");
}

#[test]
fn extra_config_is_lines_for_the_server() {
    check(
        "extra-config: |\n  [mysqld]\n  # so that\n  Max-Allowed-Packet = 64M\n  event_scheduler=ON\n  performance-schema\n",
        "+max_allowed_packet=64M +event_scheduler=ON +performance_schema",
    );
    check("extra-config: ''", "");
    let refused = [
        ("[client]", "line 1: only options of the server can be set, not those of [client]"),
        ("!include /etc/passwd", "line 1: other files cannot be included"),
        ("sort_buffer_size=1M\nsort-buffer-size=2M", "line 2: sort_buffer_size is there twice"),
        ("wsrep_cluster_address=gcomm://", "line 1: wsrep_cluster_address is the charm's own: the cluster lives by it"),
        ("WSREP-on=OFF", "line 1: wsrep_on is the charm's own: the cluster lives by it"),
        ("skip-grant-tables", "line 1: skip_grant_tables is the charm's own: the cluster lives by it"),
        ("skip-log-bin", "line 1: skip_log_bin is the charm's own: the cluster lives by it"),
        (
            "disable-innodb-doublewrite",
            "line 1: disable_innodb_doublewrite is the charm's own: the cluster lives by it",
        ),
        ("loose-foo=1", "line 1: loose_foo: write the name without loose_, so that a wrong one is found"),
        ("max_connections=5", "line 1: max_connections has an option of its own: use juju config max-connections=..."),
        ("a b = 1", "line 1: \"a b\" is no name of an option"),
        ("= 1", "line 1: \"\" is no name of an option"),
    ];
    for (text, expected) in refused {
        let values = BTreeMap::from([(EXTRA.to_owned(), Value::from(text))]);
        assert_eq!(read(&values).unwrap_err(), [(EXTRA, expected.to_owned())]);
    }
}
