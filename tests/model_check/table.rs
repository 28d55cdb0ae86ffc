//! What searches came to: a line for each, and at the end a line for each promise.

use std::collections::BTreeMap;
use std::time::Instant;

use super::search::{Extent, Looking, search};
use super::support::promise::{Planted, Promise};
use super::{State, limit};

/// Searches that find nothing wrong, and how far each promise was checked by them.
#[derive(Default)]
pub(super) struct Checked {
    extents: BTreeMap<Promise, Extent>,
}

impl Checked {
    /// # Panics
    /// When a promise is broken; tells the shortest way there.
    pub(super) fn search(&mut self, what: &str, start: State) {
        let begin = Instant::now();
        let found = search(start, limit(), Looking::ForAnything);
        let rate = found.states as f64 / begin.elapsed().as_secs_f64();
        let extent = if found.complete { "all of them" } else { "out of time" };
        let healed: usize = found.ends.values().map(|extent| extent.states).sum();
        println!(
            "{what}: {} states, depth {}, {extent}, {healed} healed, {rate:.0} states/s",
            found.states, found.depth
        );
        assert!(found.wrong.is_none(), "{what}: {}", found.path());
        for promise in Promise::ALL {
            let extent = if matches!(promise, Promise::Forms | Promise::Heals) {
                found.ends.get(&promise).copied().unwrap_or_default()
            } else {
                Extent { states: found.states, depth: found.depth }
            };
            self.extents.entry(promise).or_default().add(extent);
        }
    }

    pub(super) fn print(&self) {
        println!("\n{:52} {:>9} {:>6}", "promise kept", "states", "depth");
        for (promise, Extent { states, depth }) in &self.extents {
            println!("{promise:52} {states:>9} {depth:>6}");
        }
        println!();
    }
}

/// Searches that find a mistake that is made on purpose.
#[derive(Default)]
pub(super) struct Planting {
    found: BTreeMap<Promise, Vec<String>>,
}

impl Planting {
    /// # Panics
    /// When the mistake breaks nothing, or another promise.
    pub(super) fn finds(&mut self, planted: Planted, promise: Promise, mut start: State) {
        start.world.planted = Some(planted);
        // It ends when it has found it: the time is only for a machine that does much else.
        let found = search(start, 12 * limit(), Looking::For(promise));
        println!("planted {planted:?}: found after {} states: {}", found.states, found.path());
        let broken = found.wrong.as_ref().map(|wrong| wrong.broken.promise);
        assert_eq!(broken, Some(promise), "what {planted:?} breaks");
        let steps = found.wrong.map_or(0, |wrong| wrong.way.len() + wrong.back.len());
        self.found.entry(promise).or_default().push(format!("{planted:?} ({} states, {steps} steps)", found.states));
    }

    /// # Panics
    /// When there is a promise that no mistake breaks: then nothing shows that it is looked at.
    pub(super) fn print(&self) {
        println!("\n{:52} mistakes that were found to break it", "promise");
        for promise in Promise::ALL {
            let found = self.found.get(&promise);
            assert!(found.is_some(), "no planted mistake breaks: {promise}");
            println!("{promise:52} {}", found.map(|found| found.join(", ")).unwrap_or_default());
        }
        println!();
    }
}
