//! How busy this member's clients keep it: write-sets of their own in a minute. Backups that are planned go to whoever
//! has the least.

use std::collections::VecDeque;
use std::time::Duration;

use crate::host::clock::Moment;
use crate::node::observe;

/// How often the counter is read, and how many readings make about a minute.
const EVERY: Duration = Duration::from_secs(15);
const READING_COUNT: usize = 5;

/// The counter of the last minute.
#[derive(Default)]
pub(super) struct Busy {
    readings: VecDeque<(Moment, u64)>,
    tried: Option<Moment>,
}

impl Busy {
    /// Looks when it is time; the last answer otherwise.
    pub(super) fn look(&mut self) -> Option<u64> {
        if self.tried.is_none_or(|at| at.elapsed() >= EVERY) {
            self.tried = Some(Moment::now());
            self.note(Moment::now(), observe::replicated());
        }
        self.per_minute()
    }

    /// A server that was away or was restarted begins anew.
    fn note(&mut self, now: Moment, count: Option<u64>) {
        if count.is_none_or(|count| self.readings.back().is_some_and(|(_, before)| count < *before)) {
            self.readings.clear();
        }
        self.readings.extend(count.map(|count| (now, count)));
        if self.readings.len() > READING_COUNT {
            self.readings.pop_front();
        }
    }

    fn per_minute(&self) -> Option<u64> {
        let ((from, old), (to, new)) = (self.readings.front()?, self.readings.back()?);
        let seconds = to.since(*from).as_secs();
        (self.readings.len() > 1).then(|| (new - old).saturating_mul(60) / seconds.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_server_begins_anew() {
        let (now, mut busy) = (Moment::now(), Busy::default());
        busy.note(now, Some(100));
        assert_eq!(busy.per_minute(), None, "one reading says nothing");
        busy.note(now, Some(110));
        assert_eq!(busy.per_minute(), Some(600), "ten in what counts as a second");
        busy.note(now, Some(5));
        assert_eq!(busy.per_minute(), None);
        busy.note(now, None);
        busy.note(now, Some(7));
        assert_eq!(busy.per_minute(), None, "its last reading is from before it was away");
        for count in 8..20 {
            busy.note(now, Some(count));
        }
        assert_eq!((busy.readings.len(), busy.per_minute()), (READING_COUNT, Some(240)));
    }
}
