//! A look at what mariadb-backup streams, on its way to the compressor: how much it is, which files have passed, and
//! the one small file that says where in the cluster's history the copy ends. The data themselves pass unread.

use std::io::{self, Read as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::host::pipe::Tap;

const MAGIC: &[u8; 8] = b"XBSTCK01";
/// Magic, flags, type and the length of a path.
const HEAD_BYTES: usize = 14;
/// Length, offset and checksum of a piece of a file.
const PIECE_BYTES: usize = 20;
const PATH_BYTES_MAX: usize = 64 * 1024;
const NOTE_BYTES_MAX: u64 = 4096;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    raw: AtomicU64,
    covered: AtomicU64,
    galera: Mutex<String>,
}

impl Seen {
    /// Bytes of the stream.
    pub(super) fn raw_bytes(&self) -> u64 {
        self.raw.load(Ordering::Relaxed)
    }

    /// Bytes of the files that have passed whole, as large as they are in the data directory.
    pub(super) fn covered_bytes(&self) -> u64 {
        self.covered.load(Ordering::Relaxed)
    }

    /// What the server's position was, in mariadb-backup's words; empty when it said none.
    pub(super) fn galera(&self) -> String {
        self.galera.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, bytes: u64) {
        self.raw.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Hands on the whole stream. A stream that is none of xbstream's, or of a newer kind, passes all the same.
pub(super) fn watch(tap: &mut Tap, seen: &Seen, size_of: &dyn Fn(&str) -> u64) -> io::Result<()> {
    while piece(tap, seen, size_of)? {}
    loop {
        let passed = tap.pass(8 << 20)?;
        seen.count(passed);
        if passed == 0 {
            return Ok(());
        }
    }
}

/// Hands on one piece; returns whether another one may be looked at.
fn piece(tap: &mut Tap, seen: &Seen, size_of: &dyn Fn(&str) -> u64) -> io::Result<bool> {
    let mut head = Vec::with_capacity(256);
    let mut whole = more(tap, &mut head, HEAD_BYTES)? && head.starts_with(MAGIC);
    let path_bytes = if whole { number(&head[10..14]) } else { 0 };
    whole = whole && path_bytes <= PATH_BYTES_MAX as u64 && more(tap, &mut head, path_bytes as usize)?;
    let kind = head.get(9).copied().unwrap_or(0);
    let is_piece = whole && kind == b'P';
    let path = if whole { String::from_utf8_lossy(&head[HEAD_BYTES..]).into_owned() } else { String::new() };
    whole = if is_piece { more(tap, &mut head, PIECE_BYTES)? } else { whole && kind == b'E' };
    let body_bytes = if is_piece && whole { number(&head[head.len() - PIECE_BYTES..][..8]) } else { 0 };
    let is_note = body_bytes > 0 && body_bytes <= NOTE_BYTES_MAX && path.ends_with("galera_info");
    if is_note {
        let from = head.len();
        whole = more(tap, &mut head, body_bytes as usize)?;
        *seen.galera.lock().unwrap_or_else(PoisonError::into_inner) = String::from_utf8_lossy(&head[from..]).into();
    }
    tap.write_all(&head)?;
    seen.count(head.len() as u64);
    if !whole {
        return Ok(false);
    }
    if kind == b'E' {
        seen.covered.fetch_add(size_of(&path), Ordering::Relaxed);
    }
    if body_bytes > 0 && !is_note {
        let passed = tap.pass(body_bytes)?;
        seen.count(passed);
        return Ok(passed == body_bytes);
    }
    Ok(true)
}

/// Reads so many bytes more; whether there were as many.
fn more(tap: &mut Tap, into: &mut Vec<u8>, count: usize) -> io::Result<bool> {
    Ok(io::Read::by_ref(tap).take(count as u64).read_to_end(into)? == count)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files that programs read and write")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::Command;
    use crate::host::pipe::Row;

    fn chunk(kind: u8, path: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([0, kind]);
        bytes.extend(u32::try_from(path.len()).unwrap().to_le_bytes());
        bytes.extend(path.as_bytes());
        if kind == b'P' {
            bytes.extend((body.len() as u64).to_le_bytes());
            bytes.extend([0; 12]);
            bytes.extend(body);
        }
        bytes
    }

    /// What is seen of a stream; it comes through as it was.
    fn check(stream: &[u8]) -> (u64, u64, String) {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, stream).unwrap();
        let seen = Arc::new(Seen::default());
        let inside = Arc::clone(&seen);
        let row = Row::of(Command::new("cat").arg(&from))
            .tapped(move |tap| watch(tap, &inside, &|path| path.len() as u64))
            .then(Command::new("dd").args(["status=none", &format!("of={}", to.display())]));
        row.alone().unwrap().finish().unwrap();
        assert!(std::fs::read(&to).unwrap() == stream);
        (seen.raw_bytes(), seen.covered_bytes(), seen.galera())
    }

    #[test]
    fn files_are_counted_and_the_position_is_read() {
        let mut stream = chunk(b'P', "a/t.ibd", &vec![7; 3_000_000]);
        stream.extend(chunk(b'P', "a/t.ibd", b"end"));
        stream.extend(chunk(b'E', "a/t.ibd", b""));
        stream.extend(chunk(b'P', "xtrabackup_galera_info", b"uuid:17\n"));
        stream.extend(chunk(b'E', "xtrabackup_galera_info", b""));
        assert_eq!(check(&stream), (stream.len() as u64, 29, "uuid:17\n".to_owned()));
    }

    #[test]
    fn what_is_not_understood_passes() {
        let mut stream = chunk(b'E', "file", b"");
        stream.extend(chunk(b'?', "file", b""));
        stream.extend(vec![1; 100_000]);
        assert_eq!(check(&stream), (stream.len() as u64, 4, String::new()));
        for length in [0, 5, 14, 20, 40, 50] {
            let torn = &chunk(b'P', "galera_info", b"text")[..length.min(49)];
            assert_eq!(check(torn).0, torn.len() as u64);
        }
        let huge = [&MAGIC[..], &[0, b'P', 255, 255, 255, 255], b"rest"].concat();
        assert_eq!(check(&huge).0, huge.len() as u64);
    }
}
