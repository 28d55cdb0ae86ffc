//! What a store shows, whatever was done to it.
#![expect(clippy::disallowed_methods, reason = "does to files what the module must not expect")]

use std::fs;

use super::*;
use crate::backup::Kind;
use crate::backup::fixture::{Archive, archive, begun, id, manifest, stamp};
use crate::host::clock;

fn shapes(archive: &Archive) -> String {
    let catalogue = Catalogue::read(&archive.store).unwrap();
    let shape = |entry: &Entry| match &entry.shape {
        Shape::Finished(made) => made.kind.to_string(),
        Shape::Failed(failed) => format!("failed: {}", failed.reason),
        Shape::Unfinished(begun) => format!("begun by {}", begun.len()),
        Shape::Unreadable(why) => format!("its manifest {why}"),
    };
    let lines: Vec<_> = catalogue.entries().iter().map(|e| format!("{} {}", &e.id[14..19], shape(e))).collect();
    lines.join("; ")
}

fn refusal(archive: &Archive, wanted: &str) -> String {
    Catalogue::read(&archive.store).unwrap().chain(wanted).unwrap_err().to_string()
}

#[test]
fn an_empty_store_has_none() {
    assert_eq!(shapes(&archive()), "");
    assert!(refusal(&archive(), &id(0)).starts_with(&format!("cannot find a backup {} in the directory", id(0))));
}

#[test]
fn each_backup_is_what_became_of_it() {
    let archive = archive();
    archive.full(&id(0));
    archive.child(&id(1), &id(0));
    archive.failed(&id(2));
    archive.begun(&id(3), &begun("db/0", clock::now()));
    archive.text(&id(4), "data.0001", b"left after its beginning was removed");
    archive.text(&id(5), MANIFEST, b"{\"format\": 9}");
    archive.text(&id(6), MANIFEST, b"{\"format\": 1}");
    archive.text("photos", "cat.jpg", b"not ours");
    archive.text(&id(7), FAILED, b"torn");
    assert_eq!(
        shapes(&archive),
        "00:00 full; 00:01 incremental; 00:02 failed: the disk; 00:03 begun by 1; 00:04 begun by 0; \
         00:05 its manifest was made by a newer revision of this charm (format 9): refresh this application first; \
         00:06 its manifest is damaged: its text is not the one that was written; \
         00:07 its manifest is missing, and its reason is damaged: expected ident at line 1 column 2"
    );
    assert!(refusal(&archive, &id(2)).ends_with("it failed: the disk"));
    assert!(refusal(&archive, &id(3)).ends_with("it was not finished"));
    assert!(refusal(&archive, &id(5)).contains("newer revision of this charm"));
    assert!(refusal(&archive, &id(6)).contains("is damaged"));
    let catalogue = Catalogue::read(&archive.store).unwrap();
    assert_eq!(catalogue.entry(&id(0)).unwrap().data_bytes(), 42);
    assert_eq!(catalogue.chain(&id(1)).unwrap().len(), 2);
}

#[test]
fn a_manifest_in_another_folder_is_not_that_folders() {
    let archive = archive();
    archive.full(&id(0));
    fs::rename(archive.dir.path().join(id(0)), archive.dir.path().join(id(1))).unwrap();
    assert_eq!(shapes(&archive), format!("00:01 its manifest is that of the backup {}", id(0)));
}

#[test]
fn a_chain_is_whole_or_says_why_not() {
    let archive = archive();
    archive.full(&id(0));
    for second in 1..4 {
        archive.child(&id(second), &id(second - 1));
    }
    let ids = |wanted: &str| -> Vec<String> {
        Catalogue::read(&archive.store).unwrap().chain(wanted).unwrap().into_iter().map(|made| made.id).collect()
    };
    assert_eq!(ids(&id(3)), [id(0), id(1), id(2), id(3)]);
    assert_eq!(ids(&id(0)), [id(0)]);

    let place = archive.dir.path().join(id(1));
    let data = place.join("data.0001");
    fs::write(&data, "short").unwrap();
    let begin = format!("cannot use the backup {}: ", id(3));
    let parent = format!("it builds on the backup {}, which ", id(1));
    assert_eq!(
        refusal(&archive, &id(3)),
        format!("{begin}{parent}cannot be used: its object data.0001 has 5 bytes instead of 8")
    );
    fs::remove_file(&data).unwrap();
    assert_eq!(refusal(&archive, &id(3)), format!("{begin}{parent}cannot be used: its object data.0001 is missing"));
    fs::write(place.join(MANIFEST), b"{\"format\": 2}").unwrap();
    assert!(refusal(&archive, &id(3)).contains("its manifest was made by a newer revision"));
    fs::remove_dir_all(&place).unwrap();
    assert_eq!(refusal(&archive, &id(3)), format!("{begin}{parent}is gone"));
    assert_eq!(ids(&id(0)), [id(0)], "the full one is as good as ever");
}

#[test]
fn parents_do_not_lead_in_circles() {
    let archive = archive();
    archive.child(&id(1), &id(2));
    archive.child(&id(2), &id(1));
    assert!(refusal(&archive, &id(1)).ends_with("which is not older"));
    assert!(refusal(&archive, &id(2)).ends_with("which is not older"));
}

#[test]
fn a_logical_one_stands_alone() {
    let archive = archive();
    let mut made = manifest(&id(0), None);
    made.kind = Kind::Logical;
    archive.finished(made, b"CREATE TABLE");
    let chain = Catalogue::read(&archive.store).unwrap().chain(&id(0)).unwrap();
    assert_eq!(chain.iter().map(|made| made.kind).collect::<Vec<_>>(), [Kind::Logical]);
}

#[test]
fn a_proof_counts_only_when_it_can_be_read() {
    let archive = archive();
    archive.full(&id(0));
    archive.full(&id(1));
    archive.proven(&id(0), Some("a table is gone"));
    archive.text(&id(1), PROOF, b"torn");
    let catalogue = Catalogue::read(&archive.store).unwrap();
    let proof = |id: &str| catalogue.entry(id).unwrap().proof.clone();
    assert_eq!(proof(&id(0)).unwrap().problem.as_deref(), Some("a table is gone"));
    assert_eq!(proof(&id(1)), None);
}

#[test]
fn one_whose_writer_is_silent_is_not_in_progress() {
    let archive = archive();
    archive.begun(&id(0), &begun("db/0", stamp("2026-01-01T12:00:00Z")));
    let catalogue = Catalogue::read(&archive.store).unwrap();
    let entry = catalogue.entry(&id(0)).unwrap();
    assert!(entry.is_in_progress(stamp("2026-01-01T12:14:00Z")));
    assert!(!entry.is_in_progress(stamp("2026-01-01T12:16:00Z")));
    assert!(entry.is_of("db", "m") && !entry.is_of("db", "another") && !entry.is_of("other", "m"));
}
