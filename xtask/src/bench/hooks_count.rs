//! How many hooks run from deploy to quiet. Every change of a databag wakes all the others: a careless protocol grows with
//! the square of the units, and per unit faster than they.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Row;
use super::model::Model;
use crate::build::Profile;
use crate::pack;

const SIZES: [usize; 5] = [1, 3, 5, 7, 9];

/// How many changes one hook finds at once is chance: the median of so many deployments.
const TRIES: usize = 3;

/// Nothing has run for this long: quiet.
const QUIET: Duration = Duration::from_secs(15);

/// Deploys a cluster of each size.
pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let charm = pack::run(Profile::Charm)?;
    let mut rows = Vec::new();
    let mut first: Option<(usize, usize)> = None;
    for size in SIZES {
        let mut tries = Vec::new();
        for _ in 0..TRIES {
            tries.push(until_quiet(&charm, size)?);
            eprintln!("{size} units: {} hooks", tries[tries.len() - 1]);
        }
        tries.sort_unstable();
        let hooks = tries[TRIES / 2];
        // One unit has no peers to hear of; growth is measured from the smallest cluster that has.
        let kept = match first {
            _ if size == 1 => None,
            None => {
                first = Some((size, hooks));
                None
            }
            // Linear per unit: hooks / size may grow as size does.
            Some((size_0, hooks_0)) => Some(hooks * size_0 * size_0 <= hooks_0 * size * size),
        };
        rows.push(Row {
            what: format!("hooks from deploy to quiet, {size} units, median of {TRIES}"),
            ours: format!("{hooks} ({}.{} per unit)", hooks / size, hooks * 10 / size % 10),
            against: if size == 1 { String::new() } else { "per unit at most linear in the units".to_owned() },
            kept,
        });
    }
    Ok(rows)
}

/// One deployment.
fn until_quiet(charm: &Path, size: usize) -> anyhow::Result<usize> {
    let model = Model::add("bench-hooks")?;
    model.juju(&["model-config", "update-status-hook-interval=60m"])?;
    model.deploy(charm, "db", &["-n", &size.to_string(), "--config", "profile=testing"])?;
    model.wait_active("db", size)?;
    let seen = Cell::new((0, Instant::now()));
    model.wait("quiet", || {
        let now = model.hooks_run("")?;
        if now != seen.get().0 {
            seen.set((now, Instant::now()));
        }
        Ok(seen.get().1.elapsed() >= QUIET)
    })?;
    Ok(seen.get().0)
}
