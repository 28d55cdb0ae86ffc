//! Several units on one machine, subordinates among them, and storage that moves between machines that run.

use super::alone;
use super::model::Model;

/// Hooks of two units of one machine are told apart by the unit's name.
const DISPATCH: &str = "#!/bin/sh\n\
    echo $JUJU_UNIT_NAME ${JUJU_DISPATCH_PATH#hooks/} $JUJU_STORAGE_ID $JUJU_PRINCIPAL_UNIT >> /root/hooks\n\
    [ -z \"$JUJU_STORAGE_LOCATION\" ] || mountpoint -q $JUJU_STORAGE_LOCATION || exit 1\n\
    status-set active ready\n";

fn pack(model: &Model, name: &str, rest: &str) {
    let metadata = format!("{{name: {name}, summary: s, description: d, {rest}}}");
    let manifest = "bases: [{name: ubuntu, channel: 24.04/stable}]";
    let files = [("metadata.yaml", metadata.as_str()), ("manifest.yaml", manifest), ("dispatch", DISPATCH)];
    model.pack(&format!("{name}.charm"), &files);
}

fn on(model: &Model, unit: &str, command: &str) -> String {
    model.run(&["ssh", unit, command]).unwrap_or_else(|why| why)
}

#[test]
fn units_share_a_machine_and_storage_moves() {
    let Some(_alone) = alone() else { return };
    let model = Model::new();
    pack(
        &model,
        "host",
        "storage: {data: {type: filesystem, location: /srv/data, minimum-size: 16M}, \
         more: {type: filesystem, location: /srv/more, minimum-size: 16M, multiple: {range: 0-}}}",
    );
    pack(&model, "guest", "storage: {own: {type: filesystem, minimum-size: 16M}}");
    pack(&model, "log", "subordinate: true, requires: {on: {interface: juju-info, scope: container}}");
    let has = |unit: &str, lines: &[&str]| {
        let hooks = on(&model, unit, "cat /root/hooks");
        lines.iter().all(|line| hooks.lines().any(|hook| hook.trim() == *line))
    };

    // A subordinate and a stranger come to a machine that runs.
    model.run(&["deploy", "./host.charm", "-n", "2"]).unwrap();
    model.run(&["deploy", "./log.charm"]).unwrap();
    model.run(&["integrate", "host", "log"]).unwrap();
    model.run(&["deploy", "./guest.charm", "--to", "0"]).unwrap();
    let refused = model.run(&["add-unit", "host", "--to", "0"]).unwrap_err();
    assert!(refused.contains("/srv/data"), "{refused}");
    let both = ["guest/0 own-storage-attached own/0", "guest/0 start"];
    model.until("the guest", || has("host/0", &both));
    // Which of the two comes first is nobody's promise.
    let joined = |line: &str| line.starts_with("log/") && line.ends_with("on-relation-joined host/0");
    model.until("the subordinate", || on(&model, "host/0", "cat /root/hooks").lines().any(joined));
    let status: serde_json::Value = serde_json::from_str(&model.run(&["status", "--format", "json"]).unwrap()).unwrap();
    let below = status["applications"]["host"]["units"]["host/0"]["subordinates"].as_object().unwrap().len();
    assert_eq!(below, 1, "{status}");

    // Storage of a machine that runs outlives its power, and is as big as was asked for.
    model.run(&["add-storage", "host/0", "more=2,32M"]).unwrap();
    model.until("two more storages", || has("host/0", &["host/0 more-storage-attached more/1"]));
    on(&model, "host/0", "echo kept > /srv/more/more/0/file; echo kept > /srv/data/file");
    let size = || on(&model, "host/0", "df --output=size -BM /srv/more/more/0 | tail -1").trim().to_owned();
    let before = size();
    model.run(&["fault", "power-off", "host/0"]).unwrap();
    model.run(&["fault", "power-on", "host/0"]).unwrap();
    assert_eq!(on(&model, "host/0", "cat /srv/more/more/0/file"), "kept");
    assert_eq!(size(), before);

    // One at a time to another machine; and with a unit that goes, to the next.
    model.run(&["detach-storage", "more/0"]).unwrap();
    model.until("its being free", || model.run(&["attach-storage", "host/1", "more/0"]).is_ok());
    model.until("its coming", || has("host/1", &["host/1 more-storage-attached more/0"]));
    assert_eq!(on(&model, "host/1", "cat /srv/more/more/0/file"), "kept");
    assert!(has("host/0", &["host/0 more-storage-detaching more/0"]));
    assert_eq!(on(&model, "host/0", "mountpoint -q /srv/more/more/0 || echo gone"), "gone");
    model.run(&["remove-unit", "host/0", "--no-prompt"]).unwrap();
    model.until("another unit with its storage", || {
        model.run(&["add-unit", "host", "--attach-storage", "data/0"]).is_ok()
    });
    model.until("its start", || has("host/2", &["host/2 start"]));
    assert_eq!(on(&model, "host/2", "cat /srv/data/file"), "kept");
    assert!(has("guest/0", &["host/0 remove"]), "the machine stays for its other unit");

    // With its storage.
    model.run(&["remove-application", "host", "--destroy-storage", "--no-prompt"]).unwrap();
    model.until("the end of it", || {
        let storage = model.run(&["storage", "--format", "json"]).unwrap();
        !storage.contains("data/") && !storage.contains("more/0") && storage.contains("own/0")
    });
}
