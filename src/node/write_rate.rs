//! How fast clients write at the busiest time of the last days: the ring of recent write-sets should last for a restart then.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::host::file::{self, FileError};
use crate::host::{Mode, clock};
use crate::mariadb::Paths;

/// A week has its own busiest hour.
const DAYS: usize = 8;
const DAY_S: i64 = 86_400;

/// By day since 1970: bytes of write-sets in a second, as a mean over a minute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    peaks: BTreeMap<i64, u64>,
}

fn path(paths: &Paths) -> PathBuf {
    paths.state.join("write-rate.json")
}

fn read(paths: &Paths) -> Note {
    let text = file::read_to_string_opt(path(paths)).ok().flatten();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// Notes a rate of now. What is hardly more than today's highest is not worth a write.
///
/// # Errors
/// When it cannot be written.
pub fn note(paths: &Paths, bytes_per_second: u64) -> Result<(), FileError> {
    note_on(paths, bytes_per_second, clock::now().unix_seconds() / DAY_S)
}

fn note_on(paths: &Paths, rate: u64, day: i64) -> Result<(), FileError> {
    let mut note = read(paths);
    let before = note.peaks.get(&day).copied().unwrap_or(0);
    if rate <= before.saturating_add(before / 10) {
        return Ok(());
    }
    note.peaks.insert(day, rate);
    while note.peaks.len() > DAYS {
        note.peaks.pop_first();
    }
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    file::write_atomic(path(paths), serde_json::to_string(&note).unwrap_or_default().as_bytes(), &Mode::new(0o600))
        .map(drop)
}

/// The highest of the last days, in bytes a second.
pub fn peak(paths: &Paths) -> Option<u64> {
    read(paths).peaks.into_values().max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_of_the_last_days_counts() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert_eq!(peak(&paths), None);
        note_on(&paths, 900, 1).unwrap();
        note_on(&paths, 100, 2).unwrap();
        note_on(&paths, 105, 2).unwrap();
        assert_eq!((peak(&paths), read(&paths).peaks.get(&2)), (Some(900), Some(&100)));
        for day in 3..3 + i64::try_from(DAYS).unwrap() {
            note_on(&paths, 50, day).unwrap();
        }
        assert_eq!(peak(&paths), Some(50), "what was long ago is forgotten");
    }
}
