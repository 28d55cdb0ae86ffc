//! What is wrong is refused with one sentence, leaves nothing half-made, and can be removed: bad archives, bad names,
//! bad state, interrupted commands. Under a minute; most of it needs no machine.

use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::model::Model;
use super::{host, kill};

/// A charm of these files, `MODE NAME` with their content.
fn charm(model: &Model, files: &[(&str, &str)]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(model.dir.path().join("bad.charm")).unwrap());
    for (name, content) in files {
        let (mode, name) = name.split_once(' ').unwrap();
        let options = zip::write::SimpleFileOptions::default();
        if mode == "link" {
            zip.add_symlink(name, *content, options).unwrap();
        } else {
            zip.start_file(name, options.unix_permissions(u32::from_str_radix(mode, 8).unwrap())).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
    }
    zip.finish().unwrap();
}

const METADATA: (&str, &str) = ("644 metadata.yaml", "{name: bad, summary: s, description: d}");
const MANIFEST: (&str, &str) = ("644 manifest.yaml", "bases: [{name: ubuntu, channel: 24.04/stable}]");
const DISPATCH: (&str, &str) = ("755 dispatch", "#!/bin/sh");

/// Broken archives; none of them leaves an application or a file behind.
pub(crate) fn bad_charms_are_refused(model: &Model) {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[MANIFEST, DISPATCH], "metadata.yaml is missing"),
        (&[("644 bad/metadata.yaml", ""), DISPATCH], "pack what is in that directory"),
        (&[METADATA, MANIFEST], "has no hooks nor dispatch file"),
        (&[METADATA, MANIFEST, ("644 dispatch", "#!/bin/sh")], "its mode lacks x"),
        (&[METADATA, MANIFEST, ("755 dispatch/x", "#!/bin/sh")], "dispatch is a folder"),
        (&[METADATA, MANIFEST, DISPATCH, ("link x", "/etc/passwd")], "symlink \"x\" is absolute"),
        (&[METADATA, MANIFEST, DISPATCH, ("link x", "../../y")], "leads out of scope"),
        (&[METADATA, MANIFEST, DISPATCH, ("644 ../x", "")], "leads out of scope"),
        (&[METADATA, MANIFEST, DISPATCH, ("644 config.yaml", "options:\n  a: {type: int\n  b: c")], "line "),
        (&[METADATA, MANIFEST, DISPATCH, ("644 config.yaml", "options: {a: {type: int, default: x}}")], "default"),
        (&[METADATA, MANIFEST, DISPATCH, ("644 actions.yaml", "juju-x: {}")], "not a permitted action name"),
        (&[METADATA, MANIFEST, DISPATCH, ("644 lxd-profile.yaml", "config: {limits.cpu: 1}")], "limits.cpu"),
    ];
    for (files, expected) in cases {
        charm(model, files);
        let why = model.run(&["deploy", "./bad.charm"]).unwrap_err();
        assert!(why.contains(expected) && why.lines().count() == 1, "{expected}: {why}");
    }
    std::fs::write(model.dir.path().join("bad.charm"), "no zip").unwrap();
    assert!(model.run(&["deploy", "./bad.charm"]).unwrap_err().contains("as a charm archive"));
    charm(model, &[METADATA, MANIFEST, DISPATCH]);
    for (words, expected) in [
        (vec!["--config", "a=b"], "unknown option \"a\""),
        (vec!["--storage", "data=1G"], "no storage called \"data\""),
        (vec!["--base", "ubuntu@20.04"], "is not supported by the charm"),
        (vec!["--to", "7"], "machine 7 not found"),
        (vec!["--bind", "x=alpha"], "no endpoint \"x\""),
        (vec!["../x"], "invalid application name \"../x\""),
        (vec!["a b"], "invalid application name"),
        (vec!["db-1"], "invalid application name"),
    ] {
        let why = model.run(&[&["deploy", "./bad.charm"], words.as_slice()].concat()).unwrap_err();
        assert!(why.contains(expected), "{expected}: {why}");
    }
    let status = model.run(&["status", "--format", "json"]).unwrap();
    assert!(status.contains("\"applications\":{}") && status.contains("\"machines\":{}"), "{status}");
}

/// Wrong names say where the right ones stand; wrong usage leaves with 2.
pub(crate) fn bad_names_are_refused(model: &Model) {
    for (words, expected) in [
        (vec!["deploy", "bad"], "juju-local runs local charms only"),
        (vec!["deploy", "./none.charm"], "cannot find charm"),
        (vec!["show-unit", "db/0"], "unit \"db/0\" not found; see juju-local status"),
        (vec!["config", "db"], "application \"db\" not found; see juju-local status"),
        (vec!["ssh", "3"], "machine 3 not found; see juju-local machines"),
        (vec!["show-task", "3"], "see juju-local operations"),
        (vec!["resolved", "db/0"], "unit \"db/0\" not found"),
        (vec!["status", "-m", "none"], "model \"none\" not found"),
        (vec!["model-config", "colour=red"], "unknown model setting \"colour\""),
        (vec!["ssh", "-m", "../x", "db/0"], "model \"../x\" not found"),
    ] {
        let why = model.run(&words).unwrap_err();
        assert!(why.contains(expected), "{expected}: {why}");
    }
    // Nobody there who could say yes.
    let asked = model.command(&["destroy-model", &model.name]).stdin(Stdio::null()).output().unwrap();
    assert!(String::from_utf8_lossy(&asked.stderr).contains("--no-prompt") && !asked.status.success(), "{asked:?}");
    let code = |words: &[&str]| model.command(words).stderr(Stdio::null()).status().unwrap().code();
    assert_eq!(code(&["frobnicate"]), Some(2));
    assert_eq!(code(&["status", "--format", "xml"]), Some(2));
    let stranger = model.command(&["status"]).uid(65534).gid(65534).output().unwrap();
    assert_eq!((stranger.status.code(), stranger.stderr.is_empty()), (Some(1), false));
}

/// Ctrl-C ends any command at once; what it had asked for is done or not, and nothing between.
pub(crate) fn interrupted_commands_end(model: &Model) {
    for words in [
        vec!["status", "--watch", "1s"],
        vec!["debug-log", "--tail"],
        vec!["wait-for", "unit", "small/9"],
        vec!["exec", "--unit", "small/0", "--", "sleep", "1"],
        vec!["ssh", "small/0", "sleep", "1000"],
        vec!["add-unit", "small"],
    ] {
        // Whoever started the tests in the background may have had them ignore it, and what they start ignores it then.
        let mut command = model.program("env", &["--default-signal=INT", env!("CARGO_BIN_EXE_juju-local")]);
        let mut child =
            command.args(&words).process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process_group(group, Signal::INT).unwrap();
        let ended = child.wait().unwrap();
        // What has taken the place of the command line, such as a shell on the machine, ends in its own way.
        let own = words[0] == "ssh" && (ended.signal() == Some(2) || ended.code() == Some(130));
        assert!(own || ended.code() == Some(1) || ended.success(), "{words:?}: {ended:?}");
    }
    model.wait(2);
    assert_eq!(model.run(&["ssh", "small/0", "pgrep -c -f [s]leep.1000; true"]).unwrap(), "0");
    // A controller that dies under a command ends the command; the next one goes on.
    let asked =
        model.command(&["exec", "--unit", "small/0", "--", "sleep", "5"]).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill(&model.controller());
    let said = asked.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("the controller ended before it answered"));
    model.wait(2);
}

/// A second controller is refused; a state that cannot be read, and a model that was only begun, can be removed.
pub(crate) fn bad_states_can_be_removed(model: &Model) {
    let second = model.command(&["controller", "--name", &model.name]).output().unwrap();
    assert!(String::from_utf8_lossy(&second.stderr).contains("another controller runs"));
    let name = format!("{}-x", model.name);
    let dir = Path::new("/var/lib/juju-local/models").join(&name);
    model.run(&["add-model", &name, "--no-switch"]).unwrap();
    kill(&host(&format!("pgrep -f 'controller --name {name}$'")));
    std::fs::write(dir.join("state.redb"), vec![7; 5000]).unwrap();
    let why = model.run(&["status", "-m", &name]).unwrap_err();
    assert!(why.contains("cannot be used") && why.contains(&format!("destroy-model {name}")), "{why}");
    model.run(&["destroy-model", &name, "--no-prompt"]).unwrap();
    assert!(!dir.exists());
    std::fs::create_dir_all(dir.join("machines/0/root")).unwrap();
    model.run(&["destroy-model", &name, "--no-prompt"]).unwrap();
    assert!(!dir.exists());
}

/// A machine that never comes up, for want of its units, does not hold up the end of its model.
pub(crate) fn what_does_not_boot_can_be_removed(model: &Model) {
    let name = format!("{}-y", model.name);
    let hidden = "{name: bad, summary: s, description: d, storage: {data: {type: filesystem, location: /etc/systemd}}}";
    charm(model, &[("644 metadata.yaml", hidden), MANIFEST, DISPATCH]);
    model.run(&["add-model", &name, "--no-switch"]).unwrap();
    let deploy = ["deploy", "-m", &name, "./bad.charm"];
    let deploy = model.command(&deploy).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    model
        .until("the machine to start", || host(&format!("pgrep -fc 'models/{name}/machines/[0]/root' || true")) != "0");
    let begun = std::time::Instant::now();
    model.run(&["destroy-model", &name, "--no-prompt"]).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60), "it waited for the machine: {:?}", begun.elapsed());
    let said = deploy.wait_with_output().unwrap();
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("is being destroyed"), "{said:?}");
    assert!(!Path::new("/var/lib/juju-local/models").join(&name).exists());
}
