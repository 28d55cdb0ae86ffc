//! What an incremental may build on, and what it must not.
#![expect(clippy::disallowed_methods, reason = "does to files what the module must not expect")]

use super::*;
use crate::backup::fixture::{Archive, archive, id, manifest, order};
use crate::host::{Mode, file};

fn own(archive: &Archive) -> Order {
    let datadir = archive.dir.path().join("data");
    file::create_dir_all_with(&datadir, &Mode::new(0o700)).unwrap();
    file::write_atomic(datadir.join("ibdata1"), b"pages", &Mode::new(0o600)).unwrap();
    Order { datadir, wanted: Wanted::Incremental, ..order() }
}

fn chosen(archive: &Archive, order: &Order) -> String {
    match choose(&Catalogue::read(&archive.store).unwrap(), order).unwrap() {
        Base::Nothing { note } => note.unwrap_or_else(|| "full".to_owned()),
        Base::Parent { id, lsn } => format!("{id} from {lsn}"),
    }
}

#[test]
fn an_incremental_builds_on_the_newest_of_the_same_directory() {
    let archive = archive();
    let order = own(&archive);
    let Some(here) = incarnation(&order).unwrap() else { return };
    let note = |why: &str| format!("full instead of incremental: {why}");
    assert_eq!(chosen(&archive, &order), note("there is no earlier one of this unit"));

    let with = |second: u32, change: &dyn Fn(&mut Manifest)| {
        let mut made = manifest(&id(second), None);
        made.incarnation = Some(here.clone());
        change(&mut made);
        archive.finished(made, b"data");
    };
    with(0, &|_| {});
    assert_eq!(chosen(&archive, &order), format!("{} from 17", id(0)));
    with(1, &|made| made.unit = "db/1".to_owned());
    with(2, &|made| made.model_uuid = "another".to_owned());
    with(3, &|made| made.kind = Kind::Logical);
    with(4, &|made| made.lsn = None);
    with(5, &|made| made.incarnation = Some("another".to_owned()));
    archive.failed(&id(6));
    assert_eq!(chosen(&archive, &order), format!("{} from 17", id(0)), "the newest that will do");

    let on = |second| Order { wanted: Wanted::IncrementalTo(id(second)), ..order.clone() };
    assert_eq!(chosen(&archive, &on(0)), format!("{} from 17", id(0)));
    assert_eq!(chosen(&archive, &on(1)), note(&format!("{} is another unit's", id(1))));
    assert_eq!(chosen(&archive, &on(4)), note(&format!("{} does not say where it ends", id(4))));
    let why = format!("the data directory is another one than that of {}", id(5));
    assert_eq!(chosen(&archive, &on(5)), note(&why));
    assert!(chosen(&archive, &on(6)).ends_with("it failed: the disk"));
    assert!(chosen(&archive, &on(7)).contains("cannot find a backup"));
    with(8, &|made| made.id = "2999-01-01T00:00:00Z".to_owned());
    assert_eq!(chosen(&archive, &Order { wanted: Wanted::Full, ..order.clone() }), "full");

    // One that was proved to be no good is passed over, until it is proved again.
    archive.proven(&id(0), Some("a table is gone"));
    assert_eq!(chosen(&archive, &on(0)), note(&format!("{} is no good: a table is gone", id(0))));
    assert!(chosen(&archive, &order).starts_with("full instead of incremental: "));
    archive.proven(&id(0), None);
    assert_eq!(chosen(&archive, &on(0)), format!("{} from 17", id(0)));

    // One whose data somebody removed is passed over.
    std::fs::remove_file(archive.dir.path().join(id(0)).join("data.0001")).unwrap();
    assert!(chosen(&archive, &order).starts_with("full instead of incremental: "));
    std::fs::remove_file(order.datadir.join("ibdata1")).unwrap();
    assert_eq!(chosen(&archive, &order), note("the filesystem does not tell when the data directory was made"));
}

#[test]
fn sizes_are_guessed_by_those_before() {
    let mut full = manifest(&id(0), None);
    (full.raw_bytes, full.stored_bytes) = (1000, 250);
    let mut child = manifest(&id(1), Some(&id(0)));
    child.stored_bytes = 7;
    assert_eq!(estimate(&[], Kind::Full, 3000), 1000);
    assert_eq!(estimate(&[&child, &full], Kind::Full, 3000), 750);
    assert_eq!(estimate(&[&child, &full], Kind::Incremental, 3000), 7);
    assert_eq!(estimate(&[&full], Kind::Incremental, 3000), 30);
}

#[test]
fn what_is_not_copied_needs_no_room() {
    let left_out = ["galera.cache", "gcache.page.000001", "ib_logfile0", "ibtmp1", "binlog.000017"];
    assert!(left_out.iter().all(|name| is_not_copied(name)));
    assert!(!["ibdata1", "t.ibd", "t.frm", "aria_log.00000001", "undo001"].iter().any(|name| is_not_copied(name)));
}
