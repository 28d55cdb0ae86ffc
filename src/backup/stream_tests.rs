//! Bytes go in, the same bytes come out, or an error that says where they are not the same.
#![expect(clippy::disallowed_methods, reason = "does to files what the module must not expect")]

use std::fs;

use super::*;
use crate::backup::fixture::{Archive, SMALL, archive, id, manifest};
use crate::backup::verify;

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|number| u8::try_from(number * 7 % 251).unwrap()).collect()
}

fn read(archive: &Archive, made: &Manifest) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let read = Source::new(&archive.store, made).read_to_end(&mut all);
    read.map(|_| all).map_err(|why| why.to_string())
}

#[test]
fn what_goes_in_comes_out() {
    for count in [0, 1, 9, 10, 11, 29, 30, 31, 59, 60, 61, 95] {
        let archive = archive();
        let made = archive.finished(manifest(&id(0), None), &bytes(count));
        assert_eq!(made.files.iter().map(|part| part.bytes).sum::<u64>(), count as u64);
        assert_eq!(made.files.len(), count.div_ceil(30));
        assert!(made.files.iter().all(|part| part.chunks.len() as u64 == part.bytes.div_ceil(10)));
        assert_eq!(read(&archive, &made).unwrap(), bytes(count));
        verify::check(&archive.store, &[made], &mut |_| {}).unwrap();
    }
}

#[test]
fn how_it_was_cut_on_its_way_does_not_matter() {
    let archive = archive();
    let whole = archive.finished(manifest(&id(0), None), &bytes(95));
    for step in [1, 7, 10, 13, 64] {
        let mut sink = Sink::new(&archive.store, &id(1), SMALL);
        for piece in bytes(95).chunks(step) {
            sink.write_all(piece).unwrap();
        }
        assert_eq!(sink.finish().unwrap(), whole.files);
    }
    // A chunk's checksum is the one that any tool computes.
    assert_eq!(whole.files[1].chunks[2], Checksum::of(&bytes(95)[50..60]));
}

#[test]
fn every_flipped_bit_is_found_in_its_chunk_and_nothing_of_it_comes_out() {
    let archive = archive();
    let made = archive.finished(manifest(&id(0), None), &bytes(72));
    for (number, part) in made.files.iter().enumerate() {
        let path = archive.dir.path().join(&made.id).join(&part.name);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            let (chunk, chunk_count) = (at / 10 + 1, part.chunks.len());
            let object = &part.name;
            let expected = format!("its object {object} is damaged in chunk {chunk} of {chunk_count}");
            let why = verify::check(&archive.store, std::slice::from_ref(&made), &mut |_| {}).unwrap_err().to_string();
            assert!(why.ends_with(&expected) && why.contains(&made.id), "{why}");
            let mut out = Vec::new();
            let mut source = Source::new(&archive.store, &made);
            assert!(source.read_to_end(&mut out).is_err());
            let before = number * 30 + (chunk - 1) * 10;
            assert_eq!(out, bytes(before), "only what comes before the chunk");
        }
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn shorter_longer_and_missing_objects_are_told_apart() {
    let archive = archive();
    let made = archive.finished(manifest(&id(0), None), &bytes(72));
    let path = archive.dir.path().join(&made.id).join("data.0002");
    let good = fs::read(&path).unwrap();
    for length in 0..30 {
        fs::write(&path, &good[..length]).unwrap();
        let why = read(&archive, &made).unwrap_err();
        assert!(why.ends_with(&format!("its object data.0002 has {length} bytes instead of 30")), "{why}");
    }
    fs::write(&path, [&good[..], b"x"].concat()).unwrap();
    assert!(read(&archive, &made).unwrap_err().contains("has 31 bytes instead of 30"));
    fs::remove_file(&path).unwrap();
    assert!(read(&archive, &made).unwrap_err().ends_with("its object data.0002 is missing"));
}

#[test]
fn a_manifest_that_does_not_fit_its_objects_is_refused() {
    let archive = archive();
    let made = archive.finished(manifest(&id(0), None), &bytes(72));
    let mut odd = made.clone();
    odd.files[0].chunks.pop();
    assert!(read(&archive, &odd).unwrap_err().contains("does not fit data.0001"));
    let mut odd = made;
    odd.chunk_bytes = 0;
    assert!(read(&archive, &odd).is_err());
}

#[test]
fn an_object_that_was_not_finished_is_not_seen() {
    let archive = archive();
    let mut sink = Sink::new(&archive.store, &id(0), SMALL);
    sink.put(&bytes(45)).unwrap();
    drop(sink);
    assert_eq!(archive.names(), [format!("{}/data.0001", id(0))]);
}
