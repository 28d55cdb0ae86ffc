//! The files that Juju and charmcraft read, held against each other and against the code that lives by them.
#![expect(clippy::disallowed_methods, reason = "reads the source tree, which is no machine of the charm's")]
#![expect(clippy::unwrap_used, reason = "a file that cannot be read is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use mariadb_galera::invocation::{CLIENT_BINDING, PEER_ENDPOINT};
use mariadb_galera::mariadb;
use mariadb_galera::model::settings;
use mariadb_galera::options::{DESCRIPTIONS, EXTRA, Kind, Sets, Takes};
use serde_json::{Value, json};

/// Hooks that every charm has and this one wants.
const LIFE: [&str; 10] = [
    "config-changed",
    "install",
    "leader-elected",
    "remove",
    "secret-changed",
    "secret-remove",
    "start",
    "stop",
    "update-status",
    "upgrade-charm",
];

fn yaml(name: &str) -> Value {
    let text = fs::read_to_string(top().join(name)).unwrap();
    serde_yaml::from_str(&text).unwrap_or_else(|why| panic!("{name}: {why}"))
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn the_charm_and_the_package_have_one_name() {
    let metadata = yaml("metadata.yaml");
    assert_eq!(metadata["name"], env!("CARGO_PKG_NAME"));
    for key in ["summary", "description"] {
        assert!(metadata[key].as_str().is_some_and(|text| !text.trim().is_empty()), "{key}");
    }
    assert_eq!(metadata["assumes"], json!(["juju >= 2.9"]));
}

#[test]
fn every_hook_that_juju_may_call_has_its_link_and_no_other() {
    let metadata = yaml("metadata.yaml");
    let mut expected: BTreeSet<String> = LIFE.iter().map(|name| (*name).to_owned()).collect();
    for endpoint in keys(&metadata["peers"]) {
        expected
            .extend(["created", "joined", "changed", "departed"].map(|event| format!("{endpoint}-relation-{event}")));
    }
    for endpoint in keys(&metadata["requires"]) {
        let events = ["created", "joined", "changed", "departed", "broken"];
        expected.extend(events.map(|event| format!("{endpoint}-relation-{event}")));
    }
    for storage in keys(&metadata["storage"]) {
        expected.extend(["attached", "detaching"].map(|event| format!("{storage}-storage-{event}")));
    }
    assert_eq!(links("hooks"), expected);
}

#[test]
fn every_action_has_its_link_and_no_other() {
    assert_eq!(links("actions"), keys(&yaml("actions.yaml")));
}

#[test]
fn the_peer_endpoint_is_the_one_that_the_code_knows() {
    assert_eq!(keys(&yaml("metadata.yaml")["peers"]), BTreeSet::from([PEER_ENDPOINT.to_owned()]));
}

#[test]
fn clients_come_in_by_the_binding_that_the_code_asks_for() {
    assert_eq!(keys(&yaml("metadata.yaml")["extra-bindings"]), BTreeSet::from([CLIENT_BINDING.to_owned()]));
}

#[test]
fn storages_are_mounted_where_the_code_looks_for_them() {
    let storage = &yaml("metadata.yaml")["storage"];
    let volume = mariadb::Paths::default().volume;
    for (name, place) in [
        ("data", volume.to_str().unwrap()),
        ("archive", mariadb::ARCHIVE_DIR),
        ("logs", mariadb::BINLOG_DIR),
        ("temp", mariadb::TMP_DIR),
    ] {
        assert_eq!(storage[name]["type"], "filesystem", "{name}");
        assert_eq!(storage[name]["location"], place, "{name}");
    }
    assert_eq!(keys(storage).len(), 4);
}

#[test]
fn actions_refuse_what_they_do_not_know() {
    let actions = yaml("actions.yaml");
    for name in keys(&actions) {
        let action = &actions[&name];
        assert_eq!(action["additionalProperties"], false, "{name}");
        assert!(action["description"].is_string(), "{name}");
        for param in keys(&action["params"]) {
            let schema = &action["params"][&param];
            assert!(schema["type"].is_string() && schema["description"].is_string(), "{name} {param}");
            if let (Some(allowed), Some(default)) = (schema["enum"].as_array(), schema.get("default")) {
                assert!(allowed.contains(default), "{name} {param}: {default} is not allowed by its own enum");
            }
        }
    }
}

#[test]
fn the_defaults_are_values_that_the_charm_takes() {
    let options = &yaml("config.yaml")["options"];
    let mut values = BTreeMap::new();
    for name in keys(options) {
        let option = &options[&name];
        assert!(option["description"].is_string(), "{name}");
        let Some(default) = option.get("default") else { continue };
        let fits = match option["type"].as_str().unwrap() {
            "string" => default.is_string(),
            "int" => default.is_i64(),
            "boolean" => default.is_boolean(),
            "float" => default.is_number(),
            other => panic!("{name}: type {other} is not expected"),
        };
        assert!(fits, "{name}: {default} does not fit its type");
        values.insert(name, default.clone());
    }
    assert!(settings::read(&values, "db").is_ok());
    assert_eq!(settings::read(&values, "db"), settings::read(&BTreeMap::new(), "db"), "the code has other defaults");
}

#[test]
fn every_option_is_read_and_checked() {
    for name in keys(&yaml("config.yaml")["options"]) {
        let values = BTreeMap::from([(name.clone(), json!(["no", "option", "is", "a", "list"]))]);
        let bad = settings::read(&values, "db").expect_err(&name);
        assert_eq!(bad.iter().map(|b| b.option.as_str()).collect::<Vec<_>>(), [name.as_str()]);
    }
}

#[test]
fn options_about_the_server_are_those_that_are_described() {
    let config = &yaml("config.yaml")["options"];
    for described in &DESCRIPTIONS {
        let option = &config[described.name];
        let expected = match described.kind {
            Kind::Number { .. } | Kind::NumberOrAuto { .. } | Kind::Days { .. } => "int",
            Kind::Seconds { .. } => "float",
            Kind::Switch => "boolean",
            Kind::Bytes { .. } | Kind::Choice(_) | Kind::CharacterSet | Kind::Zone | Kind::Timeout { .. } => "string",
        };
        assert_eq!(option["type"], expected, "{}", described.name);
    }
    assert_eq!(config[EXTRA]["type"], "string");
}

#[test]
fn the_operators_table_shows_every_option_about_the_server() {
    let shown = fs::read_to_string(top().join("docs/operate/tuning.md")).unwrap();
    let rows = DESCRIPTIONS.iter().map(|described| {
        let takes = match described.takes {
            Takes::AtOnce => "at once",
            Takes::Restart => "by a restart",
            Takes::Formation => "when the cluster forms",
        };
        let sets = match described.sets {
            Sets::Variable(name) | Sets::Provider(name) => name,
        };
        format!("| `{}` | `{sets}` | {} | {takes} |\n", described.name, described.kind)
    });
    let missing: String = rows.filter(|row| !shown.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/operate/tuning.md lacks these rows:\n{missing}");
}

#[test]
fn charmcraft_adds_how_to_build_and_nothing_else() {
    let (project, metadata) = (yaml("charmcraft.yaml"), yaml("metadata.yaml"));
    // charmcraft drops what metadata.yaml says too, in silence.
    let both: Vec<String> = keys(&project).intersection(&keys(&metadata)).cloned().collect();
    assert!(both.is_empty(), "{both:?}");
    assert!(project.get("config").is_none() && project.get("actions").is_none());
    let platforms = BTreeSet::from(["ubuntu@24.04:amd64".to_owned(), "ubuntu@24.04:arm64".to_owned()]);
    assert_eq!(keys(&project["platforms"]), platforms);
    // As `dispatch`, one binary is called for all hooks and actions; links would be followed and multiplied.
    let part = &project["parts"]["charm"];
    assert_eq!(part["organize"], json!({format!("bin/{}", env!("CARGO_PKG_NAME")): "dispatch"}));
    let staged: Vec<&Value> =
        project["parts"].as_object().unwrap().values().filter_map(|part| part.get("prime")).collect();
    let staged = serde_json::to_string(&staged).unwrap();
    assert!(!staged.contains("hooks") && !staged.contains("actions\""), "{staged}");
}

/// Names in a folder of links, each of which must point to where the packed binary lies.
fn links(folder: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(top().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let target = fs::read_link(entry.path()).unwrap_or_else(|_| panic!("{} is no link", entry.path().display()));
        assert_eq!(target, Path::new("../bin").join(env!("CARGO_PKG_NAME")), "{}", entry.path().display());
        names.insert(entry.file_name().into_string().unwrap());
    }
    names
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
