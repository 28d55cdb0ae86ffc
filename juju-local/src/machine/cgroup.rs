//! A control group for each machine. Without one all machines would share that of whoever started them: their service
//! managers would fight over one tree, each removing the groups that it finds empty under the hands of the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The hierarchies that service managers work with: version 2 alone, or beside version 1 in two places.
const TOPS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];
/// Ours, below each of them.
const FOLDER: &str = "juju-local";

/// A machine's groups, one in each hierarchy that there is.
pub(super) fn folders(machine: &str) -> Vec<PathBuf> {
    let tops = TOPS.iter().map(Path::new).filter(|top| top.join("cgroup.procs").exists());
    tops.map(|top| top.join(FOLDER).join(machine)).collect()
}

/// Makes them.
pub(super) fn make(machine: &str) -> std::io::Result<()> {
    folders(machine).iter().try_for_each(|folder| make_one(folder))
}

/// The folder that all machines share may go with another machine at any moment, also with one of another model.
fn make_one(folder: &Path) -> std::io::Result<()> {
    let mut tries = 0;
    loop {
        match fs::create_dir_all(folder) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound && tries < 1000 => tries += 1,
            made => return made,
        }
    }
}

/// Removes those of a machine that is down, with what its service manager made below them.
pub(super) fn remove(machine: &str) {
    for folder in folders(machine) {
        // Groups outlive their last process by a moment.
        for _ in 0..20 {
            remove_tree(&folder);
            if !folder.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // The last machine takes the folder with it; it does not go while there is another.
        let _ = folder.parent().map(fs::remove_dir);
    }
}

/// Control groups are removed as directories, from the leaves; their files cannot be.
fn remove_tree(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_made_while_another_takes_the_folder_with_it() {
        let top = tempfile::tempdir().unwrap();
        let ours = top.path().join("ours");
        let (folder, shared) = (ours.join("machine"), ours.clone());
        let removing = std::thread::spawn(move || (0..20_000).for_each(|_| drop(fs::remove_dir(&shared))));
        while !removing.is_finished() {
            make_one(&folder).unwrap();
            fs::remove_dir(&folder).unwrap();
        }
        removing.join().unwrap();
    }
}
