//! Breadth first, so that the way to a broken promise is a shortest one. States are remembered by a 64-bit hash: among ten
//! million the chance that two share one is some parts in a million.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::time::{Duration, Instant};

use super::{Event, State};

/// What a search came to.
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) depth: usize,
    pub(super) complete: bool,
    pub(super) healed: usize,
    /// The promise that was broken, and the shortest way there.
    pub(super) wrong: Option<(String, Vec<Event>)>,
}

impl Found {
    pub(super) fn path(&self) -> String {
        let Some((what, path)) = &self.wrong else {
            return "nothing wrong".to_owned();
        };
        let steps: String = path.iter().enumerate().map(|(n, event)| format!("  {:2}. {event}\n", n + 1)).collect();
        format!("{what}\n{steps}")
    }
}

/// How many states are tried for healing: one in so many.
const HEAL_ONE_IN: u64 = 16;

pub(super) fn search(start: State, limit: Duration) -> Found {
    let begin = Instant::now();
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut seen: HashSet<u64> = HashSet::from([hasher.hash_one(&start)]);
    // Where each state came from, to tell the way.
    let mut trail: Vec<(u32, Event)> = vec![(0, Event::Views)];
    let mut found = Found { states: 1, depth: 0, complete: false, healed: 0, wrong: None };
    let mut frontier = vec![(0u32, start)];
    let way = |trail: &[(u32, Event)], mut at: u32| {
        let mut events = Vec::new();
        while at != 0 {
            let (from, event) = &trail[at as usize];
            events.push(event.clone());
            at = *from;
        }
        events.reverse();
        events
    };
    while !frontier.is_empty() {
        let mut next_frontier = Vec::new();
        for (index, state) in frontier {
            if begin.elapsed() > limit {
                return found;
            }
            for event in state.events() {
                let next = state.after(&event);
                let hash = hasher.hash_one(&next);
                if !seen.insert(hash) {
                    continue;
                }
                let at = u32::try_from(trail.len()).unwrap();
                trail.push((index, event));
                found.states += 1;
                let mut wrong = next.world.broken.first().cloned();
                if wrong.is_none() && hash % HEAL_ONE_IN == 0 {
                    found.healed += 1;
                    wrong = next.heals().err().map(|why| format!("it does not heal: {why}"));
                }
                if let Some(what) = wrong {
                    found.depth += 1;
                    found.wrong = Some((what, way(&trail, at)));
                    return found;
                }
                next_frontier.push((at, next));
            }
        }
        frontier = next_frontier;
        found.depth += 1;
    }
    found.complete = true;
    found
}
