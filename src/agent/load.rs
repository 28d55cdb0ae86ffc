//! What this member has to do: write-sets of its own clients in a minute, whether it keeps up with all of them, and how long
//! its ring of write-sets lasts. Planned backups go to whoever has the least; nobody restarts a server that would need a full
//! copy afterwards.

use std::collections::VecDeque;
use std::time::Duration;

use crate::host::clock::Moment;
use crate::mariadb::wsrep::GaleraStatus;
use crate::mariadb::{Paths, running};
use crate::node::live::Live;
use crate::node::write_rate;

/// How often the counters are read, and how many readings make about a minute.
const EVERY: Duration = Duration::from_secs(15);
const READING_COUNT: usize = 5;
/// How many looks, a second apart, say whether it keeps up: under load a queue is rarely empty at the moment of one.
const LOOK_COUNT: usize = 5;

/// The counters of the last minute.
#[derive(Default)]
pub(super) struct Load {
    readings: VecDeque<(Moment, Counters)>,
    queues: VecDeque<u64>,
}

/// Since the server was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    /// Write-sets of this member's own clients.
    own: u64,
    /// All write-sets, in bytes.
    bytes: u64,
}

impl Load {
    /// Looks, and says what it knows.
    pub(super) fn look(&mut self, paths: &Paths, status: Option<&GaleraStatus>, live: &mut Live) {
        self.queues.extend(status.map(|status| status.recv_queue));
        if status.is_none() {
            self.queues.clear();
        }
        while self.queues.len() > LOOK_COUNT {
            self.queues.pop_front();
        }
        if self.readings.back().is_none_or(|(at, _)| at.elapsed() >= EVERY) {
            let counters = status.and_then(|s| Some(Counters { own: s.replicated?, bytes: s.written_bytes? }));
            self.note(Moment::now(), counters);
            if let Some(rate) = self.bytes_per_second() {
                // For the size of the ring some day; that it cannot be noted now is no reason to stop.
                let _noted = write_rate::note(paths, rate);
            }
        }
        live.busy = self.own_per_minute();
        live.queue = self.queues.iter().min().copied();
        live.cached_downto = status.and_then(|status| status.cached_downto);
        let ring =
            running::value(paths, "wsrep_provider_options/gcache.size").and_then(|text| text.parse::<u64>().ok());
        live.ring_s = ring.zip(self.bytes_per_second()).map(|(ring, rate)| ring / rate.max(1));
    }

    /// A server that was away or was restarted begins anew.
    fn note(&mut self, now: Moment, counters: Option<Counters>) {
        if counters.is_none_or(|new| self.readings.back().is_some_and(|(_, old)| new.bytes < old.bytes)) {
            self.readings.clear();
        }
        self.readings.extend(counters.map(|counters| (now, counters)));
        if self.readings.len() > READING_COUNT {
            self.readings.pop_front();
        }
    }

    /// How much was added in how many seconds.
    fn added(&self, of: impl Fn(&Counters) -> u64) -> Option<(u64, u64)> {
        let ((from, old), (to, new)) = (self.readings.front()?, self.readings.back()?);
        (self.readings.len() > 1).then(|| (of(new).saturating_sub(of(old)), to.since(*from).as_secs().max(1)))
    }

    fn own_per_minute(&self) -> Option<u64> {
        self.added(|counters| counters.own).map(|(added, seconds)| added.saturating_mul(60) / seconds)
    }

    fn bytes_per_second(&self) -> Option<u64> {
        self.added(|counters| counters.bytes).map(|(added, seconds)| added / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_server_begins_anew() {
        let (now, mut load) = (Moment::now(), Load::default());
        let mut note = |count: Option<u64>| {
            load.note(now, count.map(|own| Counters { own, bytes: own * 100 }));
            (load.readings.len(), load.own_per_minute(), load.bytes_per_second())
        };
        assert_eq!(note(Some(100)), (1, None, None), "one reading says nothing");
        assert_eq!(note(Some(110)), (2, Some(600), Some(1000)), "ten in what counts as a second");
        assert_eq!(note(Some(5)), (1, None, None));
        note(None);
        assert_eq!(note(Some(7)), (1, None, None), "its last reading is from before it was away");
        for count in 8..19 {
            note(Some(count));
        }
        assert_eq!(note(Some(19)), (READING_COUNT, Some(240), Some(400)));
    }

    #[test]
    fn a_member_keeps_up_when_its_queue_was_empty_once() {
        let dir = tempfile::tempdir().unwrap();
        let (paths, mut load, mut live) = (Paths::under(dir.path()), Load::default(), Live::default());
        let mut look = |queue: Option<u64>| {
            let status = queue.map(|recv_queue| GaleraStatus { recv_queue, ..GaleraStatus::default() });
            load.look(&paths, status.as_ref(), &mut live);
            live.queue
        };
        assert_eq!([look(Some(3)), look(Some(0)), look(Some(9))], [Some(3), Some(0), Some(0)]);
        for _ in 0..LOOK_COUNT {
            look(Some(7));
        }
        assert_eq!(look(Some(8)), Some(7), "it was empty too long ago");
        assert_eq!(look(None), None);
    }
}
