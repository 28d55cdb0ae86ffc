//! Directories that lose what is in them, and storages without room.

use std::fs;
use std::path::Path;

use super::{Controller, complaint, inside, machine_of};
use crate::model::UnitName;

/// Without these no machine runs, and no unit on it.
const NEEDED: [&str; 13] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/juju",
];

/// Removes everything in a directory of a machine, whether that is on or off. The directory stays, and so do a
/// filesystem's own `lost+found` and whatever is mounted below.
pub(super) fn wipe(controller: &Controller, unit: &UnitName, path: &str) -> anyhow::Result<()> {
    may_be_wiped(path)?;
    let machine = machine_of(controller, unit)?;
    if !controller.machines.is_up(machine) {
        let dir = controller.machines.at_rest(machine, path)?;
        for entry in fs::read_dir(dir)?.flatten().filter(|entry| entry.file_name() != "lost+found") {
            let is_dir = entry.file_type()?.is_dir();
            if is_dir { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
        }
        return Ok(());
    }
    let resolved = inside(controller, unit, &["realpath", "-e", "--", path])?;
    let resolved = String::from_utf8_lossy(&resolved.stdout).trim().to_owned();
    if resolved.is_empty() {
        anyhow::bail!("{unit} has no directory {path}");
    }
    // A link may lead to where a path may not.
    may_be_wiped(&resolved)?;
    // Again while a program makes new files in a directory that is being removed.
    let script = "cd -P -- \"$1\" || exit 2; for i in 1 2 3 4 5; do \
                  find . -xdev -mindepth 1 ! -path ./lost+found ! -path './lost+found/*' -delete && exit; done; exit 1";
    let output = inside(controller, unit, &["sh", "-c", script, "wipe", &resolved])?;
    if !output.status.success() {
        anyhow::bail!("cannot wipe {path} of {unit}: {}", complaint(&output));
    }
    Ok(())
}

fn may_be_wiped(path: &str) -> anyhow::Result<()> {
    let given = Path::new(path);
    let plain = given.components().all(|part| part != std::path::Component::ParentDir);
    if !given.is_absolute() || !plain {
        anyhow::bail!("cannot wipe {path:?}: write it as an absolute path without ..");
    }
    let given: std::path::PathBuf = given.components().collect();
    if let Some(needed) =
        NEEDED.iter().find(|needed| given.starts_with(needed) || Path::new(needed).starts_with(&given))
    {
        anyhow::bail!("cannot wipe {path}: the machine does not run without {needed}");
    }
    Ok(())
}

pub(super) fn fill(controller: &Controller, unit: &UnitName, storage: &str, leave: u64) -> anyhow::Result<u64> {
    controller.machines.fill(machine_of(controller, unit)?, &find(controller, unit, storage)?, leave)
}

pub(super) fn unfill(controller: &Controller, unit: &UnitName, storage: &str) -> anyhow::Result<()> {
    controller.machines.unfill(machine_of(controller, unit)?, &find(controller, unit, storage)?)
}

/// A unit's storage by its name or number: `data`, `data/0`.
fn find(controller: &Controller, unit: &UnitName, storage: &str) -> anyhow::Result<String> {
    controller.read(|state| {
        let own = || state.storage.iter().filter(|(_, s)| s.unit.as_ref() == Some(unit));
        own().find(|(id, s)| *id == storage || s.name == storage).map(|(id, _)| id.clone()).ok_or_else(|| {
            let all: Vec<&str> = own().map(|(_, s)| s.name.as_str()).collect();
            let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            anyhow::anyhow!("{unit} has no storage {storage:?}; it has: {all}")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn dangerous_paths_are_refused() {
        let check = |path: &str, expected: Expect| {
            expected.assert_eq(&may_be_wiped(path).map_or_else(|why| why.to_string(), |()| "fine".to_owned()));
        };
        check("/var/lib/mysql", expect!["fine"]);
        check("/srv/", expect!["fine"]);
        check("/varnish", expect!["fine"]);
        check("/", expect!["cannot wipe /: the machine does not run without /bin"]);
        check("//", expect!["cannot wipe //: the machine does not run without /bin"]);
        check("/var/./lib/", expect!["cannot wipe /var/./lib/: the machine does not run without /var/lib/juju"]);
        check(
            "/var/lib/juju/agents",
            expect!["cannot wipe /var/lib/juju/agents: the machine does not run without /var/lib/juju"],
        );
        check("/usr/share", expect!["cannot wipe /usr/share: the machine does not run without /usr"]);
        check("srv", expect![[r#"cannot wipe "srv": write it as an absolute path without .."#]]);
        check("/srv/../etc", expect![[r#"cannot wipe "/srv/../etc": write it as an absolute path without .."#]]);
        check("", expect![[r#"cannot wipe "": write it as an absolute path without .."#]]);
    }
}
