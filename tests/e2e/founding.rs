//! The founder's power fails while the cluster forms, at moments told by the model's log; several applications live
//! through it side by side, each with a moment of its own.

use std::time::{Duration, Instant};

use super::model::Model;

/// A moment of the formation.
struct Moment {
    /// The application that lives through it.
    app: &'static str,
    /// What the log says when it has come.
    said: &'static str,
    /// What the log must not have said by then, or the moment was missed.
    not_yet: Option<&'static str>,
    /// Let the hook that is running then end well and have its changes refused, before the power goes.
    unpublished: bool,
}

const MOMENTS: [Moment; 4] = [
    Moment {
        app: "before-its-first-write",
        said: "leader: permit formation",
        not_yet: Some("bootstrap (epoch"),
        unpublished: false,
    },
    Moment {
        app: "while-it-bootstraps",
        said: "bootstrap (epoch",
        not_yet: Some("set up accounts"),
        unpublished: false,
    },
    Moment { app: "after-bootstrap", said: "set up accounts", not_yet: None, unpublished: false },
    Moment { app: "before-it-published", said: "bootstrap (epoch", not_yet: None, unpublished: true },
];

/// Each application ends as one cluster.
pub(crate) fn is_cut_short_at_every_moment(m: &Model) {
    for moment in &MOMENTS {
        m.deploy(moment.app, UNITS, &[]);
    }
    std::thread::scope(|scope| {
        for moment in &MOMENTS {
            scope.spawn(move || cut(m, moment));
        }
    });
}

const UNITS: u32 = 3;

fn cut(m: &Model, moment: &Moment) {
    let app = moment.app;
    let units = m.app(app).units;
    // The lowest address founds; the log says so before anything is cut.
    let founder = units.iter().min_by_key(|unit| unit.address).map(|unit| unit.name.clone()).unwrap();
    let log = |what: &str| {
        let tag = format!("unit-{app}-");
        let log = m.juju(&["debug-log", "--replay", "--level", "DEBUG"]);
        log.lines().find(|line| line.starts_with(&tag) && line.contains(what)).map(ToOwned::to_owned)
    };
    let wait_for_line = |what: &str| {
        let begin = Instant::now();
        loop {
            if let Some(line) = log(what) {
                return line;
            }
            assert!(begin.elapsed() < Duration::from_secs(300), "{app}: the log never said {what:?}");
            std::thread::sleep(Duration::from_millis(25));
        }
    };
    m.step(&format!("wait until the log of {app} says {:?}", moment.said));
    let line = wait_for_line(moment.said);
    if moment.unpublished {
        m.juju(&["fault", "hook", &founder, "--fail-commit"]);
        wait_for_line("injected fault");
    }
    m.juju(&["fault", "power-off", &founder]);
    m.step(&format!("{app}: {founder} without power after {line:?}"));
    let missed = moment.not_yet.and_then(&log);
    m.hold(missed.is_none(), &format!("{app}: the power went in time {missed:?}"));
    let permission = log("leader: permit formation").unwrap_or_default();
    m.hold(permission.ends_with(&format!("by {founder}")), &format!("{app}: {founder} was to found: {permission:?}"));

    // The others may not help themselves: whether the founder wrote anything, only its disk knows.
    let dark = Instant::now();
    while dark.elapsed() < Duration::from_secs(8) {
        for unit in units.iter().filter(|unit| unit.name != founder) {
            let Ok(server) = m.server(&unit.name) else { continue };
            if server.get("wsrep_cluster_status").is_some_and(|status| status == "Primary") {
                let (_, app_bag) = m.databags(&unit.name);
                let known = app_bag["history"].as_str().unwrap_or_default().to_owned();
                let uuid = server["wsrep_cluster_state_uuid"].clone();
                m.hold(
                    known.contains(&uuid),
                    &format!("{app}: {} serves {uuid}, which is the application's {known}", unit.name),
                );
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    m.step(&format!("{app}: power on"));
    m.juju(&["fault", "power-on", &founder]);
    let uuid = m.one_cluster(app, UNITS as usize, 180);
    let (_, app_bag) = m.databags(&founder);
    let history = app_bag["history"].as_str().unwrap_or_default();
    m.hold(history.contains(&uuid), &format!("{app}: {uuid} is the history that the leader wrote down: {history}"));
}
