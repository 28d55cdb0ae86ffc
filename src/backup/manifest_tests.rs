//! What is written is read again, and nothing else is.

use super::*;
use crate::backup::fixture::{self, archive, begun, id, proof, stamp};

#[test]
fn what_is_written_is_read() {
    let mut made = fixture::manifest(&id(1), Some(&id(0)));
    made.position = Some(Position { uuid: "u".to_owned(), seqno: 17 });
    made.encryption = Some(Encryption { recipients: vec!["age1x".to_owned()] });
    made.note = Some("full instead of incremental: \"seal\": \"}\n".to_owned());
    made.files = vec![Part { name: data_name(1), bytes: 3, chunks: vec![Checksum::of(b"abc")] }];
    let text = write(&made);
    assert_eq!(parse::<Manifest>(&text), Ok(made.clone()));
    let text = String::from_utf8(text).unwrap();
    // Known to everybody: the checksum of "abc".
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(text.contains(abc), "{text}");
    for key in ["model-uuid", "raw-bytes", "stored-bytes", "server-version", "chunk-bytes"] {
        assert!(text.contains(&format!("\"{key}\": ")), "{text}");
    }
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    assert_eq!(parse::<Proof>(&write(&proof(None))), Ok(proof(None)));
    let beginning = begun("db/0", stamp("2026-01-01T00:00:00Z"));
    assert_eq!(parse::<Begun>(&write(&beginning)), Ok(beginning));
}

#[test]
fn no_flipped_bit_and_no_cut_goes_unseen() {
    let made = archive().full(&id(0));
    let text = write(&made);
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bad = text.clone();
            bad[at] ^= 1 << bit;
            assert!(parse::<Manifest>(&bad).is_err(), "byte {at}, bit {bit}");
        }
        assert!(parse::<Manifest>(&text[..at]).is_err(), "cut at {at}");
    }
    assert!(parse::<Manifest>(b"").is_err());
}

#[test]
fn what_a_newer_revision_wrote_is_said_to_be_so() {
    let newer = br#"{"format": 2, "everything": "else", "seal": 7}"#;
    let why = parse::<Manifest>(newer).unwrap_err();
    assert_eq!(why, Unreadable::Newer(2));
    assert!(why.to_string().starts_with("was made by a newer revision of this charm"));
}

#[test]
fn what_the_same_format_adds_later_does_not_matter() {
    let made = archive().full(&id(0));
    let mut value = serde_json::to_value(&made).unwrap();
    value["added-later"] = serde_json::json!({"of": ["any", "shape"]});
    assert_eq!(parse::<Manifest>(&write(&value)), Ok(made));
}

#[test]
fn names_are_seconds() {
    assert!(is_id("2026-11-22T07:28:34Z"));
    for other in ["2026-11-22T07:28:34", "2026-11-22T08:28:34+01:00", "2026-11-22T07:28:34.5Z", "lost+found", ""] {
        assert!(!is_id(other), "{other}");
    }
    assert_eq!((data_name(1).as_str(), data_name(12345).as_str()), ("data.0001", "data.12345"));
}
