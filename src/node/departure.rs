//! That this unit is leaving: Juju says so in some hooks and forgets it in the next; the server must not come back in
//! between.

//!
//! Leaving is done one at a time: of two members that leave in the same instant Galera can make neither a clean leave,
//! and the rest loses its majority (seen with 26.4.23). The leavers agree among themselves, by Lamport's bakery: each
//! draws a number above all that it sees, and waits for those with a lower one. Juju has no later hook in which to
//! leave, so this is the one place where a hook waits for others, and not for long.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::live::{self, Asked, Ticket};
use super::observe;
use crate::host::clock::{self, Deadline};
use crate::host::{FileError, Mode, file};
use crate::mariadb::Paths;

/// A clean stop takes seconds; whoever takes longer than this is not waited for.
const TURN_LIMIT: Duration = Duration::from_secs(120);

fn path(paths: &Paths) -> PathBuf {
    paths.state.join("leaving")
}

/// Notes it.
///
/// # Errors
/// When it cannot be written.
pub fn begin(paths: &Paths) -> Result<(), FileError> {
    if has_begun(paths) { Ok(()) } else { write(paths, Ticket::Choosing) }
}

/// Takes it back: a volume came back.
///
/// # Errors
/// When it cannot be removed.
pub fn cancel(paths: &Paths) -> Result<(), FileError> {
    file::remove_opt(path(paths)).map(drop)
}

/// Whether it has been noted.
pub fn has_begun(paths: &Paths) -> bool {
    file::exists(path(paths)).unwrap_or(false)
}

/// Where this unit stands among those who leave; shown to them by the agent.
pub fn ticket(paths: &Paths) -> Option<Ticket> {
    let text = file::read_to_string_opt(path(paths)).ok()??;
    Some(text.trim().parse().map_or(Ticket::Choosing, Ticket::Number))
}

fn write(paths: &Paths, ticket: Ticket) -> Result<(), FileError> {
    let text = match ticket {
        Ticket::Choosing => String::new(),
        Ticket::Number(number) => number.to_string(),
    };
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    file::write_atomic(path(paths), text.as_bytes(), &Mode::new(0o600)).map(drop)
}

/// Waits until nobody else is on the way out before us and the view is settled, or until that has taken too long.
///
/// # Errors
/// When the number cannot be written down.
pub fn take_turn(paths: &Paths, me: &str, others: &[IpAddr]) -> Result<(), FileError> {
    if observe::server().primary().is_none() || others.is_empty() {
        return Ok(());
    }
    begin(paths)?;
    let drawn = ask(others).into_iter().filter_map(|(_, ticket)| match ticket {
        Ticket::Number(number) => Some(number),
        Ticket::Choosing => None,
    });
    let mine = drawn.max().unwrap_or(0) + 1;
    write(paths, Ticket::Number(mine))?;
    let end = Deadline::after(TURN_LIMIT);
    let mut settled = 0;
    while !end.passed() {
        let before_me = ask(others).into_iter().any(|(unit, ticket)| goes_first(&ticket, &unit, mine, me));
        settled = if before_me || !view_is_whole(others) { 0 } else { settled + 1 };
        if settled >= 2 {
            break;
        }
        clock::sleep(Duration::from_millis(250));
    }
    Ok(())
}

/// Whether everybody whom our server counts says the same. One that has just died is still counted: to leave then takes
/// two away from the others at once, and they may be left without a majority.
fn view_is_whole(others: &[IpAddr]) -> bool {
    let server = observe::server();
    let Some(galera) = server.primary() else {
        return false;
    };
    let counted = others.iter().filter(|address| galera.view.contains(address));
    counted.into_iter().all(|address| matches!(live::ask(*address), Asked::Said(live) if live.primary))
}

/// Whether a leaver comes before us: who still chooses may have seen no number, and a tie goes by name.
fn goes_first(ticket: &Ticket, unit: &str, mine: u32, me: &str) -> bool {
    match ticket {
        Ticket::Choosing => true,
        Ticket::Number(number) => (*number, unit) < (mine, me),
    }
}

/// The other leavers whose servers are still up.
fn ask(others: &[IpAddr]) -> Vec<(String, Ticket)> {
    others
        .iter()
        .filter_map(|address| match live::ask(*address) {
            Asked::Said(live) if live.state != "stopped" => Some((live.unit, live.leaving?)),
            Asked::Said(_) | Asked::Nobody | Asked::Unclear(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_leavers_exactly_one_goes_first() {
        let (a, b) = ("db/0", "db/1");
        for (na, nb) in [(1, 1), (1, 2), (2, 1)] {
            let a_waits = goes_first(&Ticket::Number(nb), b, na, a);
            let b_waits = goes_first(&Ticket::Number(na), a, nb, b);
            assert!(a_waits != b_waits, "{na} {nb}");
        }
        assert!(goes_first(&Ticket::Choosing, b, 1, a));
    }
}
