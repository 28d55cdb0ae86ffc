//! Driver: backups. What they consist of, where they are kept, how they are made, proved and brought back.

mod attempt;
mod base;
pub mod bring;
pub mod catalogue;
pub mod error;
#[cfg(test)]
mod fixture;
mod key;
pub mod logical;
pub mod manifest;
mod peek;
mod private;
mod pump;
pub mod retention;
pub mod store;
pub mod stream;
pub mod take;
mod throwaway;
pub mod verify;
pub mod waits;
mod written;

pub use bring::{bring_back, room};
pub use catalogue::{Catalogue, Entry, Shape};
pub use error::BackupError;
pub use key::{check_recipients, recipient_of};
pub use logical::{Live, Loaded, clean_up_load, load};
pub use manifest::{Kind, Manifest, Proof};
pub use retention::Keep;
pub use take::{LOCK, Order, Wanted, take};
pub use verify::{check, prove};

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// With what.
    pub phase: Phase,
    /// Bytes behind us.
    pub done: u64,
    /// Bytes in all, as far as that is known; zero when it is not.
    pub total: u64,
}

impl Progress {
    /// Hundredths; never more than a hundred, and `None` when nobody knows.
    pub fn percent(&self) -> Option<u8> {
        (self.total > 0).then(|| u8::try_from(self.done.saturating_mul(100) / self.total).unwrap_or(100).min(100))
    }
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Data go to the store.
    Copying,
    /// Objects are read and their checksums compared.
    Reading,
    /// Rows go into tables.
    Loading,
    /// The copy is made consistent.
    Preparing,
    /// Tables are checked on a throwaway server.
    Checking,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_stay_within_reason() {
        let percent = |done, total| Progress { phase: Phase::Copying, done, total }.percent();
        assert_eq!((percent(1, 0), percent(0, 10), percent(5, 10)), (None, Some(0), Some(50)));
        assert_eq!((percent(30, 10), percent(u64::MAX, 3)), (Some(100), Some(100)));
    }
}
