//! How hooks and actions run: beside each other, over a boot, and not at all.

use super::model::Model;
use super::planted::{active, pack, run};

const CHARM: &str = "#!/bin/bash\n\
    case $JUJU_DISPATCH_PATH in\n\
    actions/beside) until [ -e /root/go ]; do sleep 0.1; done; relation-ids peers ;;\n\
    actions/hang) sleep 1000 ;;\n\
    hooks/config-changed)\n\
        case $(config-get word) in\n\
        hang) sleep 1000 ;;\n\
        wait) touch /root/waits; until [ -e /root/go ]; do sleep 0.1; done ;;\n\
        boot) if [ ! -e /root/booted ]; then\n\
            touch /root/booted; relation-set -r $(relation-ids peers) lost=yes; juju-reboot --now; sleep 1000\n\
        fi ;;\n\
        esac ;;\n\
    esac\n\
    status-set active ready\n";
const ACTIONS: &str = "{beside: {parallel: true}, grouped: {parallel: true, execution-group: g}, hang: {}}";

pub(crate) fn as_juju_runs_them(model: &Model) {
    pack(model, "runs", CHARM, Some(ACTIONS));
    run(model, "deploy ./runs.charm");
    active(model, "runs", 1);

    // An action that may run beside hooks begins while one runs, and two of its kind at once.
    run(model, "config runs word=wait");
    model.until("the hook to run", || model.run(&["ssh", "runs/0", "test -e /root/waits"]).is_ok());
    run(model, "run runs/0 beside --background");
    run(model, "run runs/0 beside --background");
    // Operations and tasks are numbered together: each of these operations has one task.
    let task = |nth: u32| run(model, &format!("show-task {} --format yaml", 2 * nth));
    model.until("both to run", || [1, 2].iter().all(|id| task(*id).contains("status: running")));
    run(model, "run runs/0 hang --background");
    assert!(task(3).contains("status: pending"), "{}", task(3));
    run(model, "ssh runs/0 touch /root/go");
    model.until("both to end", || [1, 2].iter().all(|id| task(*id).contains("status: completed")));
    assert!(task(1).contains("stdout: |\n    peers:0"), "{}", task(1));

    // One that is taken back is killed.
    model.until("the third to run", || task(3).contains("status: running"));
    run(model, "cancel-task 6");
    model.until("it to be killed", || task(3).contains("status: aborted"));
    // One whose agent goes away is not begun again.
    run(model, "run runs/0 hang --background");
    model.until("the fourth to run", || task(4).contains("status: running"));
    run(model, "fault controller stop");
    run(model, "fault controller start");
    assert!(task(4).contains("action terminated") && task(4).contains("status: failed"), "{}", task(4));

    // Nor when it was killed; what it has left ends before anything else runs, and a hook is run again.
    run(model, "run runs/0 hang --background");
    model.until("the fifth to run", || task(5).contains("status: running"));
    let sleeps = || run(model, "ssh runs/0 pgrep -c sleep || true");
    assert_eq!(sleeps(), "1");
    super::kill(&model.controller());
    assert!(task(5).contains("action terminated") && task(5).contains("status: failed"), "{}", task(5));
    assert_eq!(sleeps(), "0");
    run(model, "config runs word=hang");
    model.until("the hook to hang", || sleeps() == "1");
    super::kill(&model.controller());
    model.until("the hook to be run again", || run(model, "status").contains("hook failed: \"config-changed\""));
    assert_eq!(sleeps(), "0");
    run(model, "config runs word=none");
    active(model, "runs", 1);

    // What a hook has said is dropped when it asks for a boot at once; it runs again after it.
    run(model, "config runs word=boot");
    let log = || run(model, "debug-log --replay");
    model.until("the boot", || log().contains("asked for a reboot at once"));
    model.until("the hook after it", || {
        log().split_once("asked for a reboot").is_some_and(|(_, after)| after.contains("ran \"config-changed\" hook"))
    });
    active(model, "runs", 1);
    assert!(!run(model, "show-unit runs/0").contains("lost"));

    // What the kernel does not start is a failed hook, and no shell runs it instead.
    let dispatch = "/var/lib/juju/agents/unit-runs-0/charm/dispatch";
    for (index, (spoil, why)) in [
        (format!("chmod -x {dispatch}"), "permission denied"),
        (format!("chmod +x {dispatch}; echo true > {dispatch}"), "exec format error"),
        (format!("echo '#!/nowhere' > {dispatch}"), "no such file or directory"),
        (format!("printf '#!/bin/sh\\nkill $$' > {dispatch}"), "signal: terminated"),
    ]
    .into_iter()
    .enumerate()
    {
        run(model, "model-config automatically-retry-hooks=false");
        model.run(&["ssh", "runs/0", &spoil]).unwrap();
        let _ = model.run(&["resolved", "runs/0"]);
        run(model, &format!("config runs word=x{index}"));
        let failed = |line: &str| line.contains("hook \"config-changed\"") && line.ends_with(why);
        model.until(why, || log().lines().any(failed));
    }
}
