//! The format's number. Each unit follows a refresh at its own time, forward and back: what one revision writes another one
//! reads meanwhile. All write the newest format that everybody reads.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Bag;

/// The highest that we read and write.
const NEWEST: u32 = 1;
/// The oldest that we still write, for those who read nothing newer.
const OLDEST: u32 = 1;
/// In a unit's databag: the highest that it reads.
pub(super) const READS: &str = "reads";
pub(super) const FORMAT: &str = "format";

/// The application's databag is written by a newer revision: nothing may be decided without it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cluster's own records have format {0} and this revision of the charm reads {NEWEST}: refresh to the newer \
     revision again"
)]
pub struct TooNew(u32);

/// The format in which to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format(u32);

impl Default for Format {
    fn default() -> Self {
        Self(NEWEST)
    }
}

impl Format {
    /// The newest that everybody reads who has said so. Whoever has said nothing yet runs this revision, or one that says so
    /// in its first words.
    pub fn agreed<'a>(peers: impl IntoIterator<Item = &'a Bag>) -> Self {
        let reads = peers.into_iter().filter_map(|bag| {
            // Revisions before this key read format 1.
            let said = bag.get(READS).map_or(Some(OLDEST), |text| text.parse().ok());
            bag.get(FORMAT).and(said)
        });
        Self(reads.fold(NEWEST, u32::min).max(OLDEST))
    }

    pub(super) fn entries(self) -> [(String, String); 1] {
        [(FORMAT.to_owned(), self.0.to_string())]
    }

    pub(super) fn reads() -> (String, String) {
        (READS.to_owned(), NEWEST.to_string())
    }
}

/// Whether the application's databag can be read at all.
///
/// # Errors
/// When it cannot.
pub fn check_app(bag: &Bag) -> Result<(), TooNew> {
    let format = bag.get(FORMAT).and_then(|text| text.parse().ok()).unwrap_or(OLDEST);
    if format > NEWEST { Err(TooNew(format)) } else { Ok(()) }
}

pub(super) fn check(format: &str) -> Result<(), String> {
    match format.parse::<u32>() {
        Ok(number) if number <= NEWEST => Ok(()),
        Ok(number) => Err(format!("format {number} is newer than this charm revision reads ({NEWEST})")),
        Err(_) => Err(format!("cannot read format {format:?}")),
    }
}

/// Of a value that is written anew, the fields that another revision has written and this one does not know: they stay. `T` is
/// what this revision knows of it.
pub(super) fn with_unknown<T: Serialize + DeserializeOwned>(before: &str, after: &str) -> Option<String> {
    let fields = |text: &str| serde_json::from_str::<BTreeMap<String, Value>>(text).ok();
    let (all, mut after) = (fields(before)?, fields(after)?);
    let known = fields(&super::json(&serde_json::from_str::<T>(before).ok()?))?;
    let unknown: Vec<_> =
        all.into_iter().filter(|(name, _)| !known.contains_key(name) && !after.contains_key(name)).collect();
    if unknown.is_empty() {
        return None;
    }
    after.extend(unknown);
    Some(super::json(&after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag(pairs: &[(&str, &str)]) -> Bag {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn everybody_reads_what_is_written() {
        let (old, new, silent) = (bag(&[("format", "1")]), bag(&[("format", "1"), ("reads", "9")]), bag(&[]));
        assert_eq!(Format::agreed([&new, &silent]), Format(NEWEST), "not newer than this revision writes");
        assert_eq!(Format::agreed([&old, &new]), Format(1));
        assert_eq!(Format::agreed([]), Format(NEWEST));
    }

    #[test]
    fn a_newer_bag_is_named_with_the_remedy() {
        assert_eq!(check_app(&bag(&[])), Ok(()));
        assert_eq!(check_app(&bag(&[("format", "1")])), Ok(()));
        let said = check_app(&bag(&[("format", "2")])).map_err(|why| why.to_string());
        let expected = "the cluster's own records have format 2 and this revision of the charm reads 1: refresh to the \
                        newer revision again";
        assert_eq!(said, Err(expected.to_owned()));
    }
}
