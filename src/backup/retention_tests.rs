//! What goes, and above all what stays.

use super::*;
use crate::backup::fixture::{Archive, archive, begun, id, manifest, stamp};

const NEXT_DAY: &str = "2026-01-02T00:30:00Z";

fn gone(archive: &Archive, count: Option<u32>, days: Option<u32>, now: &str) -> String {
    let catalogue = Catalogue::read(&archive.store).unwrap();
    let list = expired(&catalogue, &Keep { count, days }, stamp(now), "db", "m");
    let short: Vec<&str> = list.iter().map(|id| &id[14..19]).collect();
    short.join(" ")
}

fn fulls(count: u32) -> Archive {
    let archive = archive();
    for second in 0..count {
        archive.full(&id(second));
    }
    archive
}

#[test]
fn without_a_rule_everything_stays() {
    assert_eq!(gone(&fulls(5), None, None, "2036-01-01T00:00:00Z"), "");
}

#[test]
fn the_newest_stay_by_count_and_the_young_by_days() {
    assert_eq!(gone(&fulls(5), Some(2), None, NEXT_DAY), "00:02 00:01 00:00");
    assert_eq!(gone(&fulls(5), Some(2), Some(1), NEXT_DAY), "00:02 00:01 00:00");
    assert_eq!(gone(&fulls(5), Some(2), Some(3), NEXT_DAY), "", "young enough");
    assert_eq!(gone(&fulls(5), None, Some(1), NEXT_DAY), "00:03 00:02 00:01 00:00", "the last full one stays");
    assert_eq!(gone(&fulls(5), Some(0), None, NEXT_DAY), "00:03 00:02 00:01 00:00", "even then");
}

#[test]
fn what_is_known_to_restore_stays() {
    let archive = fulls(5);
    archive.proven(&id(1), None);
    archive.proven(&id(4), Some("a table is gone"));
    assert_eq!(gone(&archive, Some(1), None, NEXT_DAY), "00:03 00:02 00:00");
    archive.child(&id(5), &id(2));
    archive.proven(&id(5), None);
    archive.full(&id(6));
    assert_eq!(gone(&archive, Some(1), None, NEXT_DAY), "00:04 00:03 00:00", "with what it builds on");
}

#[test]
fn no_parent_of_a_kept_child_goes() {
    let archive = fulls(2);
    archive.child(&id(2), &id(0));
    archive.child(&id(3), &id(2));
    archive.child(&id(4), &id(2));
    archive.full(&id(5));
    assert_eq!(gone(&archive, Some(2), None, NEXT_DAY), "00:03 00:01");
    assert_eq!(gone(&archive, Some(1), None, NEXT_DAY), "00:04 00:03 00:02 00:01 00:00", "children before parents");
}

#[test]
fn foreign_ones_stay() {
    let archive = fulls(3);
    for (second, application, model) in [(3, "other", "m"), (4, "db", "another")] {
        let mut made = manifest(&id(second), None);
        (made.application, made.model_uuid) = (application.to_owned(), model.to_owned());
        archive.finished(made, b"theirs");
    }
    archive.text(&id(5), "data.0001", b"nobody's");
    archive.text(&id(6), MANIFEST, b"{\"format\": 7}");
    assert_eq!(gone(&archive, Some(1), None, "2027-01-01T00:00:00Z"), "00:01 00:00");
}

#[test]
fn what_came_to_nothing_goes_in_time() {
    let archive = fulls(1);
    archive.failed(&id(1));
    archive.begun(&id(2), &begun("db/0", stamp("2026-01-01T00:00:02Z")));
    assert_eq!(gone(&archive, None, None, "2026-01-01T23:00:00Z"), "", "unfinished, but young");
    assert_eq!(gone(&archive, None, None, NEXT_DAY), "00:02");
    assert_eq!(gone(&archive, None, None, "2026-01-09T00:00:00Z"), "00:02 00:01");
    let archive = fulls(1);
    archive.begun(&id(1), &begun("db/0", stamp("2026-01-03T00:00:00Z")));
    assert_eq!(gone(&archive, None, None, "2026-01-03T00:10:00Z"), "", "a long one that is still being written");
}

#[test]
fn what_lost_its_parent_does_not_count_and_waits_a_week() {
    let archive = fulls(2);
    archive.child(&id(2), &id(9));
    archive.child(&id(10), &id(9));
    assert_eq!(gone(&archive, Some(1), None, NEXT_DAY), "00:00", "a broken one is none of the newest");
    assert_eq!(gone(&archive, Some(1), None, "2026-01-09T00:00:00Z"), "00:10 00:02 00:00");
    assert_eq!(gone(&archive, Some(1), Some(30), "2026-01-09T00:00:00Z"), "");
    assert_eq!(gone(&archive, None, None, "2036-01-09T00:00:00Z"), "", "without a rule");
}

#[test]
fn a_removed_one_leaves_nothing() {
    let archive = fulls(2);
    archive.begun(&id(0), &begun("db/0", stamp(NEXT_DAY)));
    archive.proven(&id(0), None);
    let catalogue = Catalogue::read(&archive.store).unwrap();
    remove(&archive.store, catalogue.entry(&id(0)).unwrap()).unwrap();
    assert!(archive.names().iter().all(|name| name.starts_with(&id(1))), "{:?}", archive.names());
    assert!(!archive.dir.path().join(id(0)).exists());
}

#[test]
fn wherever_a_removal_is_killed_nothing_that_remains_looks_like_a_backup() {
    for deletions in 0..8 {
        let archive = fulls(1);
        archive.begun(&id(0), &begun("db/0", stamp("2026-01-01T00:00:00Z")));
        archive.proven(&id(0), None);
        let catalogue = Catalogue::read(&archive.store).unwrap();
        let store = crate::backup::fixture::Breaking::after(&archive.store, deletions);
        let whole = remove(&store, catalogue.entry(&id(0)).unwrap()).is_ok();
        let after = Catalogue::read(&archive.store).unwrap();
        match after.entries() {
            [] => assert!(whole || deletions > 0),
            [entry] => match &entry.shape {
                Shape::Finished(_) => assert_eq!((after.chain(&id(0)).is_ok(), deletions), (true, 0), "untouched"),
                Shape::Failed(_) | Shape::Unfinished(_) => assert!(after.chain(&id(0)).is_err()),
                Shape::Unreadable(why) => panic!("{why}"),
            },
            _ => panic!("one at most"),
        }
        remove(&archive.store, catalogue.entry(&id(0)).unwrap()).unwrap();
        assert_eq!(archive.names(), [""; 0]);
    }
}
