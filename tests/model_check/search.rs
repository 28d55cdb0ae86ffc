//! Breadth first, so that the way to a broken promise is a shortest one. States are remembered by a 64-bit hash: among ten
//! million the chance that two share one is some parts in a million.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::time::{Duration, Instant};

use super::support::promise::{Broken, Promise};
use super::{Event, State};

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    pub(super) states: usize,
    pub(super) depth: usize,
}

impl Extent {
    pub(super) fn add(&mut self, more: Self) {
        (self.states, self.depth) = (self.states + more.states, self.depth.max(more.depth));
    }
}

/// What a search came to.
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) depth: usize,
    pub(super) complete: bool,
    /// From how many states the cluster was brought back, and how deep.
    pub(super) ends: BTreeMap<Promise, Extent>,
    pub(super) wrong: Option<Wrong>,
}

/// The promise that was broken, the shortest way there, and from there the way back on which it broke.
pub(super) struct Wrong {
    pub(super) broken: Broken,
    pub(super) way: Vec<Event>,
    pub(super) back: Vec<String>,
}

impl Found {
    pub(super) fn path(&self) -> String {
        let Some(Wrong { broken, way, back }) = &self.wrong else {
            return "nothing wrong".to_owned();
        };
        let events = way.iter().map(ToString::to_string).chain(back.iter().cloned());
        let steps: String = events.enumerate().map(|(n, event)| format!("  {:2}. {event}\n", n + 1)).collect();
        format!("{broken}\n{steps}")
    }
}

/// What a search looks for.
#[derive(Clone, Copy)]
pub(super) enum Looking {
    /// For anything wrong. The cluster is brought back from one state in sixteen, picked evenly.
    ForAnything,
    /// For the shortest way to break this promise, whatever else breaks before.
    For(Promise),
}

impl Looking {
    fn at(self, broken: &Broken) -> bool {
        match self {
            Self::ForAnything => true,
            Self::For(promise) => broken.promise == promise,
        }
    }

    fn brings_back(self, hash: u64) -> bool {
        match self {
            Self::ForAnything => hash % 16 == 0,
            Self::For(_) => true,
        }
    }
}

pub(super) fn search(start: State, limit: Duration, looking: Looking) -> Found {
    let begin = Instant::now();
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut seen: HashSet<u64> = HashSet::from([hasher.hash_one(&start)]);
    // Where each state came from, to tell the way.
    let mut trail: Vec<(u32, Event)> = vec![(0, Event::Views)];
    let mut found = Found { states: 1, depth: 0, complete: false, ends: BTreeMap::new(), wrong: None };
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
                let mut wrong = next.world.broken.iter().find(|broken| looking.at(broken)).cloned();
                let mut back = Vec::new();
                if wrong.is_none() && looking.brings_back(hash) {
                    let reached = Extent { states: 1, depth: found.depth };
                    found.ends.entry(next.promised()).or_default().add(reached);
                    if let Some(unwell) = next.heals().err().filter(|unwell| looking.at(&unwell.broken)) {
                        (wrong, back) = (Some(unwell.broken), unwell.way);
                    }
                }
                if let Some(broken) = wrong {
                    found.depth += 1;
                    found.wrong = Some(Wrong { broken, way: way(&trail, at), back });
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
