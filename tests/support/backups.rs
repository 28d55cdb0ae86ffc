//! What the tests of both kinds of backups share: one that is killed on its way, one that is damaged, one whose key
//! somebody else has.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mariadb_galera::backup::store::Directory;
use mariadb_galera::backup::{BackupError, Catalogue, Manifest, Order, Progress, Shape, bring_back, check, take};
use mariadb_galera::host::file;

use super::figure::peak_memory;
use super::server::{Workplace, run};

pub(crate) fn quiet() -> impl FnMut(Progress) {
    |_| {}
}

pub(crate) fn identity() -> String {
    run("age-keygen", &[])
}

pub(crate) fn chain_of(store: &Directory, id: &str) -> Vec<Manifest> {
    Catalogue::read(store).unwrap().chain(id).unwrap()
}

/// This test program again: its test `one_that_is_killed`, which finds in a variable what it is to do.
pub(crate) fn this_program(variable: &str, wanted: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "one_that_is_killed", "--nocapture"]).env(variable, wanted).stdout(Stdio::piped());
    command
}

/// Makes a backup and says how long it took, and how much memory: for whoever reads what this process prints.
pub(crate) fn take_and_tell(store: &Path, order: &Order) {
    let begin = Instant::now();
    let made = take(&Directory::new(store), order, &mut quiet()).unwrap();
    println!(
        "TAKEN {:.2} s, {} MB of {} MB, {}, {:?}",
        begin.elapsed().as_secs_f64(),
        made.stored_bytes >> 20,
        made.raw_bytes >> 20,
        peak_memory(),
        made.note
    );
}

/// Kills it as soon as something is true.
pub(crate) fn kill_when(mut child: Child, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none() && begin.elapsed() < Duration::from_secs(30), "too quick: {ended:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Kills a backup while its data go into the store, where it is an unfinished one from then on. Returns its id.
pub(crate) fn kill_in_the_middle(child: Child, path: &Path, earlier: &[String]) -> String {
    kill_when(child, || {
        let args = [path.to_str().unwrap(), "-name", "data.*.part", "-size", "+4M"];
        // It may complain: the folder is not there yet, or a file was just given its name.
        let found = Command::new("find").args(args).stderr(Stdio::null()).output().unwrap().stdout;
        // What the one before has left there goes first.
        let is_new = |line: &str| !earlier.iter().any(|id| line.contains(id.as_str()));
        String::from_utf8(found).unwrap().lines().any(is_new)
    });
    let catalogue = Catalogue::read(&Directory::new(path)).unwrap();
    let last = catalogue.entries().last().unwrap();
    assert!(matches!(&last.shape, Shape::Unfinished(begun) if begun.len() == 1), "{:?}", last.shape);
    assert!(matches!(catalogue.chain(&last.id), Err(BackupError::Unfinished { .. })));
    last.id.clone()
}

/// Of those that were killed only the reasons are left; the one that was made after them is whole.
pub(crate) fn only_reasons_are_left(path: &Path, killed: usize, made: &Manifest) {
    let store = Directory::new(path);
    let catalogue = Catalogue::read(&store).unwrap();
    for entry in catalogue.entries() {
        match &entry.shape {
            Shape::Failed(failed) => {
                assert_eq!(failed.reason, "interrupted: its process ended in the middle");
                assert_eq!(file::list_opt(path.join(&entry.id)).unwrap().unwrap(), ["failed.json"]);
            }
            Shape::Finished(found) => assert_eq!(**found, *made),
            Shape::Unfinished(_) | Shape::Unreadable(_) => panic!("{entry:?}"),
        }
    }
    assert_eq!(catalogue.entries().len(), killed + 1);
    check(&store, &chain_of(&store, &made.id), &mut quiet()).unwrap();
}

/// A flipped byte in any object is found and told with its place, and nothing is there. Returns in how many.
pub(crate) fn flips_are_found(place: &Workplace, store: &str, chain: &[Manifest], key: Option<&str>) -> usize {
    let folder = place.path(store);
    let store = Directory::new(&folder);
    let mut flipped = 0;
    for made in chain {
        for part in &made.files {
            let path = folder.join(&made.id).join(&part.name);
            let good = fs::read(&path).unwrap();
            let mut bad = good.clone();
            let middle = bad.len() * 2 / 3;
            bad[middle] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            let found = check(&store, chain, &mut quiet()).unwrap_err().to_string();
            let refused = bring_back(&store, chain, key, &place.path("back"), &mut quiet()).unwrap_err().to_string();
            assert_eq!(found, refused);
            let chunk = middle as u64 / made.chunk_bytes + 1;
            assert!(found.contains(&format!("{} is damaged in chunk {chunk} of", part.name)), "{found}");
            assert!(found.contains(&made.id), "{found}");
            assert!(place.names_beside("back").is_empty());
            fs::write(&path, &good).unwrap();
            flipped += 1;
        }
    }
    flipped
}

/// What is encrypted comes back with its own key only.
pub(crate) fn other_keys_are_refused(place: &Workplace, store: &Directory, chain: &[Manifest]) {
    let with = |key| bring_back(store, chain, key, &place.path("back"), &mut quiet()).unwrap_err();
    let refused = with(None);
    assert!(matches!(refused, BackupError::NoIdentity { .. }), "{refused}");
    let other = identity();
    let refused = with(Some(&other));
    assert!(matches!(refused, BackupError::WrongIdentity { .. }), "{refused}");
    let refused = with(Some("no key"));
    assert!(matches!(refused, BackupError::BadIdentity { .. }), "{refused}");
    assert!(place.names_beside("back").is_empty());
}
