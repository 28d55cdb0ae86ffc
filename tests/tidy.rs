//! The shape of the tree: who may import whom, no input or output in the core, a head on every file, documents that
//! follow the code. A new arrow between modules is a design decision: it is made here, in `PERMITTED`.
#![expect(clippy::disallowed_methods, reason = "reads the source tree, which is no machine of the charm's")]
#![expect(clippy::unwrap_used, reason = "a tree that cannot be read is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Module, and the modules of this crate that it may name. `AGENT_PORT` is the crate's one constant.
const PERMITTED: &[(&str, &[&str])] = &[
    // The middle knows nobody, and so does the door to the machine.
    ("cluster", &[]),
    ("host", &[]),
    // Described once, for both edges.
    ("options", &[]),
    // Drivers talk; they do not know what for.
    ("juju", &["host"]),
    ("mariadb", &["host"]),
    ("backup", &["mariadb", "host"]),
    ("invocation", &["cluster", "host"]),
    // The two edges do not know each other: one works only inside a hook, the other without Juju too.
    ("model", &["juju", "cluster", "invocation", "options", "AGENT_PORT"]),
    ("node", &["mariadb", "backup", "host", "cluster", "options", "AGENT_PORT"]),
    ("translate", &["model", "node", "backup", "mariadb", "cluster", "options"]),
    // Hook tools answer only while a hook runs: the agent and the probe have neither `model` nor `juju`.
    ("agent", &["node", "mariadb", "host", "cluster", "AGENT_PORT"]),
    ("probe", &["node", "mariadb", "host", "AGENT_PORT"]),
    // The programs put the parts together.
    ("actions", &["model", "node", "translate", "backup", "juju", "mariadb", "cluster", "invocation"]),
    ("charm", &["model", "node", "translate", "juju", "mariadb", "cluster", "invocation", "host"]),
];

/// What the core may not even name. The same observation has to give the same decision anywhere.
const NOT_IN_THE_CORE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::os",
    "std::process",
    "std::thread",
    "std::time",
    "std::sync",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "SystemTime",
    "Instant",
    "File::",
    "Command::",
    "println!",
    "eprintln!",
    "print!",
    "static mut",
    "HashMap",
    "HashSet",
    "RandomState",
];

#[test]
fn imports_point_downwards() {
    let mut complaints = Vec::new();
    for file in rust_files("src") {
        let text = fs::read_to_string(&file).unwrap();
        if let Some(module) = module_of(&file) {
            complaints.extend(arrows(&module, &text).into_iter().map(|why| format!("{}:{why}", shown(&file))));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_core_performs_no_input_or_output() {
    let mut complaints = Vec::new();
    for file in rust_files("src/cluster") {
        let text = fs::read_to_string(&file).unwrap();
        complaints.extend(impurities(&text).into_iter().map(|why| format!("{}:{why}", shown(&file))));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn planted_violations_are_seen() {
    let complaints = |module: &str, text: &str| arrows(module, text).join("; ");
    assert_eq!(complaints("cluster", "use crate::host::clock;"), "1: cluster may not name host");
    assert_eq!(complaints("agent", "//! x\nuse crate::model::observe;"), "2: agent may not name model");
    assert_eq!(complaints("mariadb", "fn f() { crate::juju::log() }"), "1: mariadb may not name juju");
    assert_eq!(
        complaints("node", "use crate::{cluster, juju};"),
        "1: write `use crate::` with one module, not a group"
    );
    assert_eq!(complaints("node", "use crate as ours;"), "1: write `crate` only as the beginning of a path");
    assert_eq!(complaints("node", "use super::super::juju;"), "1: name modules from `crate`, not by climbing");
    assert_eq!(complaints("magic", "x"), "1: module magic is not in PERMITTED: who may it name?");
    assert_eq!(complaints("node", "use crate::host;\n// crate::juju is told of it\npub(crate) fn f() {}"), "");

    assert_eq!(impurities("use std::fs;").join("; "), "1: std::fs in the core");
    assert_eq!(impurities("let now = Instant::now();").join("; "), "1: Instant in the core");
    assert_eq!(impurities("use serde::Serialize;").join("; "), "1: the core uses std only, not serde");
    assert_eq!(impurities("// std::fs\nuse std::fmt;\nuse super::Unit;\npub use self::a::B;").join("; "), "");
}

#[test]
fn every_rust_file_says_what_it_knows() {
    let missing: Vec<String> = ["src", "tests", "xtask/src", "juju-local/src"]
        .iter()
        .flat_map(|folder| rust_files(folder))
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//! "))
        .map(|file| shown(&file))
        .collect();
    assert!(missing.is_empty(), "these do not begin with a `//!` line: {missing:?}");
}

#[test]
fn nothing_in_the_tree_belongs_to_one_machine() {
    let hosts = package_hosts();
    let here = top().display().to_string();
    let mut complaints = Vec::new();
    for file in files(&top()) {
        // Lock files say where packages come from; that is their purpose.
        if file.ends_with("Cargo.lock") {
            continue;
        }
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (index, line) in text.lines().enumerate() {
            let found = hosts.iter().find(|host| line.contains(host.as_str()));
            if let Some(host) = found {
                complaints.push(format!("{}:{}: names the package host {host}", shown(&file), index + 1));
            }
            if line.contains(&format!("{here}/")) || line.contains(concat!("/ho", "me/")) {
                complaints.push(format!("{}:{}: names a folder of one machine", shown(&file), index + 1));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_two_commands_and_the_build_machine_can_run_them() {
    use std::os::unix::fs::PermissionsExt as _;
    for name in ["quickstart", "run_tests", ".ci/run"] {
        let mode = fs::metadata(top().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{name} is not executable");
    }
}

/// What is wrong with a file's imports, each with its line.
fn arrows(module: &str, text: &str) -> Vec<String> {
    let Some((_, permitted)) = PERMITTED.iter().find(|(name, _)| *name == module) else {
        return vec![format!("1: module {module} is not in PERMITTED: who may it name?")];
    };
    let mut complaints = Vec::new();
    let mut in_tests = false;
    for (number, line) in code_lines(text) {
        // Within a file's own tests one step up is the file, so two are its module.
        in_tests |= line.starts_with("mod tests");
        if line.contains("super::super::") && !in_tests {
            complaints.push(format!("{number}: name modules from `crate`, not by climbing"));
        }
        for rest in line.split("crate::").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name.is_empty() {
                complaints.push(format!("{number}: write `use crate::` with one module, not a group"));
            } else if name != module && !permitted.contains(&name.as_str()) {
                complaints.push(format!("{number}: {module} may not name {name}"));
            }
        }
        if line.trim_start().starts_with("use crate as") || line.trim() == "use crate;" {
            complaints.push(format!("{number}: write `crate` only as the beginning of a path"));
        }
    }
    complaints
}

fn impurities(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in code_lines(text) {
        if let Some(word) = NOT_IN_THE_CORE.iter().find(|word| line.contains(*word)) {
            complaints.push(format!("{number}: {word} in the core"));
        }
        let import = line.trim_start().trim_start_matches("pub ").strip_prefix("use ");
        let root = import.map(|path| path.split("::").next().unwrap_or(path));
        if let Some(root) = root.filter(|root| !["std", "super", "self", "crate"].contains(root)) {
            // An enum's variants, brought into scope within a function.
            if root.starts_with(|c: char| c.is_lowercase()) && !top().join(format!("src/cluster/{root}.rs")).exists() {
                complaints.push(format!("{number}: the core uses std only, not {root}"));
            }
        }
    }
    complaints
}

/// Numbered lines without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The top-level module that a file belongs to; none for the two files that list modules.
fn module_of(file: &Path) -> Option<String> {
    let inside = file.strip_prefix(top().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    let name = first.strip_suffix(".rs").unwrap_or(&first);
    (!["lib", "main"].contains(&name)).then(|| name.to_owned())
}

/// The hosts that this machine takes packages from. They are read where the machine keeps them, because to write them
/// down here would be what this test forbids.
fn package_hosts() -> BTreeSet<String> {
    let mut hosts = BTreeSet::new();
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let mut places = vec![
        PathBuf::from("/etc/apt/sources.list"),
        PathBuf::from("/etc/pip.conf"),
        home.join(".cargo/config.toml"),
        home.join(".config/pip/pip.conf"),
    ];
    places.extend(fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path()));
    for place in places {
        for line in fs::read_to_string(place).unwrap_or_default().lines() {
            for rest in line.split("://").skip(1) {
                let host: String = rest.chars().take_while(|c| c.is_alphanumeric() || ".-".contains(*c)).collect();
                if host.contains('.') {
                    hosts.insert(host);
                }
            }
        }
    }
    hosts
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let found: Vec<PathBuf> =
        files(&top().join(folder)).into_iter().filter(|file| file.extension().is_some_and(|e| e == "rs")).collect();
    assert!(!found.is_empty(), "no Rust files in {folder}");
    found
}

/// Regular files, without what is built, fetched or git's own.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let name = entry.file_name();
        if kind.is_dir() && !["target", ".git", ".cache", "__pycache__"].iter().any(|skipped| name == *skipped) {
            found.extend(files(&path));
        } else if kind.is_file() && path.extension().is_none_or(|extension| extension != "charm") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn shown(file: &Path) -> String {
    file.strip_prefix(top()).unwrap_or(file).display().to_string()
}
