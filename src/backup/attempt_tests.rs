//! Names that nobody else has, and what is left of those that came to nothing.
#![expect(clippy::disallowed_methods, reason = "does to files what the module must not expect")]

use super::*;
use crate::backup::fixture::{self, archive, begun, id, order, stamp};

fn shape_of(catalogue: &Catalogue, id: &str) -> String {
    match &catalogue.entry(id).unwrap().shape {
        Shape::Finished(_) => "finished".to_owned(),
        Shape::Failed(failed) => format!("failed: {}", failed.reason),
        Shape::Unfinished(_) => "unfinished".to_owned(),
        Shape::Unreadable(why) => why.clone(),
    }
}

#[test]
fn a_name_is_taken_once() {
    let archive = archive();
    let ids: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut attempt = Attempt::begin(&archive.store, &order(), Kind::Full).unwrap();
                    attempt.over = true;
                    attempt.id.clone()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 4, "{ids:?}");
    assert_eq!(archive.names().len(), 4, "who gave way left nothing: {:?}", archive.names());
}

#[test]
fn a_finished_one_is_in_the_catalogue_and_a_failed_one_says_why() {
    let archive = archive();
    let made = Attempt::run(&archive.store, &order(), Kind::Full, |attempt| Ok(fixture::manifest(&attempt.id, None)));
    let first = made.unwrap().id;
    let mut second = String::new();
    let failed = Attempt::run(&archive.store, &order(), Kind::Full, |attempt| {
        second.clone_from(&attempt.id);
        archive.text(&second, "data.0001", b"half");
        attempt.sign_of_life();
        Err(BackupError::Busy)
    });
    assert!(matches!(failed, Err(BackupError::Busy)), "{failed:?}");
    let attempt = Attempt::begin(&archive.store, &order(), Kind::Full).unwrap();
    let third = attempt.id.clone();
    drop(attempt);
    let catalogue = Catalogue::read(&archive.store).unwrap();
    assert_eq!(shape_of(&catalogue, &first), "finished");
    assert_eq!(shape_of(&catalogue, &second), format!("failed: {}", BackupError::Busy));
    assert_eq!(shape_of(&catalogue, &third), "failed: interrupted");
    assert_eq!(archive.names().iter().filter(|name| name.contains("data.")).count(), 0);
}

#[test]
fn a_manifest_that_may_or_may_not_be_there_does_not_outlive_its_data() {
    let archive = archive();
    let mut attempt = Attempt::begin(&archive.store, &order(), Kind::Full).unwrap();
    archive.full(&attempt.id);
    attempt.fail(&BackupError::Busy);
    assert!(shape_of(&Catalogue::read(&archive.store).unwrap(), &attempt.id).starts_with("failed"));
}

#[test]
fn only_the_units_own_leftovers_are_cleaned_up() {
    let archive = archive();
    let old = stamp("2026-01-01T00:00:00Z");
    let mut foreign = begun("db/0", old);
    foreign.model_uuid = "another".to_owned();
    for (second, begun) in [(0, begun("db/0", old)), (1, begun("db/1", old)), (2, foreign)] {
        archive.begun(&id(second), &begun);
        archive.text(&id(second), "data.0001", b"data");
        std::mem::forget(archive.store.put(&format!("{}/data.0002", id(second))).unwrap());
    }
    archive.text(&id(3), "data.0001", b"nobody's");
    archive.full(&id(4));
    clean_up(&archive.store, &Catalogue::read(&archive.store).unwrap(), &order()).unwrap();
    let catalogue = Catalogue::read(&archive.store).unwrap();
    let shapes: Vec<String> = (0..5).map(|second| shape_of(&catalogue, &id(second))).collect();
    let ours = "failed: interrupted: its process ended in the middle";
    assert_eq!(shapes, [ours, "unfinished", "unfinished", "unfinished", "finished"]);
    let left = |second| std::fs::read_dir(archive.dir.path().join(id(second))).unwrap().count();
    assert_eq!((left(0), left(1)), (1, 3), "with what no listing shows");
    clean_up(&archive.store, &catalogue, &order()).unwrap();
}
