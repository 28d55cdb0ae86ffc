//! The resident loop: looks at the local server every second and whenever Galera reports a change, answers the other
//! members, and starts a hook pass as soon as what Juju shows is no longer true. Knows no hook tools: those answer only
//! while a hook runs.

mod doubt;
mod load;
mod notify;
mod pass;
mod serve;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cluster::{Event, Server};
use crate::host::clock::Moment;
use crate::mariadb::{Paths, saved_view, start};
use crate::node::live::{self, Live};
use crate::node::{departure, journal, last_view, observe, outage, shown, work};

pub use notify::send as notify;

/// How often the server is looked at when nothing calls.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A change is shown at once; what goes on changing is shown this often.
pub const PASS_GAP: Duration = Duration::from_secs(2);
/// After a pass that could not run (no controller), the next try.
pub const PASS_GAP_FAILED: Duration = Duration::from_secs(15);

/// For everybody who asks.
type Seen = Arc<Mutex<Look>>;

/// What the loop has seen last.
#[derive(Clone, Debug)]
struct Look {
    live: Live,
    ready: Result<(), String>,
    at: Moment,
}

/// Runs for ever.
///
/// # Errors
/// When it cannot listen at all.
pub fn run() -> anyhow::Result<()> {
    let paths = Paths::default();
    let ready = Err("the agent has just started".to_owned());
    let seen: Seen = Arc::new(Mutex::new(Look { live: Live::default(), ready, at: Moment::now() }));
    serve::listen(Arc::clone(&seen))?;
    let bell = notify::Bell::listen(&paths)?;
    let runner = pass::Runner::default();
    let (begin, mut doubt, mut load) = (Moment::now(), doubt::Doubt::default(), load::Load::default());
    let mut last_pass = Moment::now();
    let (mut noted, mut kept) = (None, None);
    let mut wait = LOOK_EVERY;
    loop {
        bell.wait(wait);
        wait = LOOK_EVERY;
        let saved = saved_view::read(&paths);
        let (server, status) = observe::server_and_status();
        if let Some(view) = saved.filter(|view| kept.as_ref() != Some(view)) {
            match server.synced().map(|_| saved_view::keep(&paths, &view)) {
                Some(Ok(())) => kept = Some(view),
                None => {}
                Some(Err(why)) => log(&format!("cannot keep the saved view: {why}")),
            }
        }
        let note = shown::read(&paths);
        let expected = note.as_ref().and_then(|n| n.expected.clone());
        let unit = note.as_ref().map(|n| n.unit.clone()).unwrap_or_default();
        let doubted = doubt.look(begin.elapsed(), &server);
        let mut look = look(&unit, &server, expected.as_deref(), doubted);
        load.look(&paths, status.as_ref(), &mut look.live);
        // Read behind the server: it goes before its branch changes, and never is on a newer one than is told here.
        look.live.branch = journal::read(&paths).entry().map(|entry| entry.branch.0);
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = look;
        // At once, whatever becomes of Juju: it is asked for when everything has stopped.
        let names = note.as_ref().map(|n| n.units.clone()).unwrap_or_default();
        let restart = note.as_ref().map_or(0, |n| n.restart);
        let view = last_view::of(&server, &names, restart);
        if view != noted {
            // Read only then: a server goes before its branch changes, and with it its view.
            let written = view.as_ref().map_or(Ok(()), |v| last_view::write(&paths, journal::branch(&paths), v));
            match written {
                Ok(()) => noted = view,
                Err(why) => log(&format!("{why:#}")),
            }
        }
        let stalled = note_outage(&paths, &server);
        // Without a note no hook has ended yet, and there is nobody to call.
        let Some(note) = note else {
            continue;
        };
        let untrue = note.fingerprint != shown::fingerprint(&server, stalled, &work::shown(&paths));
        let waited = last_pass.elapsed();
        let due = untrue || note.look_again_s.is_some_and(|s| waited >= Duration::from_secs(u64::from(s)));
        // Whoever comes next in a turn waits for this one.
        let arrived = server.synced().is_some() && !shown::shows_synced(&note.fingerprint);
        let gap = match (runner.last_failed(), arrived) {
            (true, _) => PASS_GAP_FAILED,
            (false, true) => Duration::ZERO,
            (false, false) => PASS_GAP,
        };
        if due && waited >= gap && runner.start(&note) {
            last_pass = Moment::now();
        } else if due && waited < gap {
            wait = LOOK_EVERY.min(gap - waited);
        }
    }
}

/// What others are told.
fn look(unit: &str, server: &Server, expected: Option<&str>, doubted: bool) -> Look {
    let mut live = Live::from_server(unit, server, expected);
    let mut ready = live::ready(server, expected);
    if doubted && ready.is_ok() {
        ready = Err("the server stood still and has not heard of the others since".to_owned());
    }
    if doubted {
        (live.doubted, live.ready) = (true, false);
    }
    Look { live, ready, at: Moment::now() }
}

/// To the service's journal.
fn log(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}

/// Only a server that is meant to run can be out.
fn note_outage(paths: &Paths, server: &Server) -> bool {
    let event = if departure::has_begun(paths) { Event::Leaving } else { Event::Ordinary };
    let answered = observe::has_answered(paths);
    let meant_to_run = event == Event::Ordinary && (answered || matches!(start::permission(paths), Ok(Some(_))));
    // One that restarts the cluster has nobody to look for, and may need long to come up.
    let restarts = *server == Server::Starting && start::begins_a_cluster(paths);
    outage::note(paths, !meant_to_run || restarts || server.primary().is_some())
}
