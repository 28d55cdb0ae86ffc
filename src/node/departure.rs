//! That this unit is leaving: Juju says so in some hooks and forgets it in the next; the server must not come back in
//! between.

//!
//! Leaving is done one at a time: of two members that leave in the same instant Galera can make neither a clean leave,
//! and the rest loses its majority (seen with 26.4.23). The leavers agree among themselves, by Lamport's bakery: each
//! draws a number above all that it sees, and waits for those with a lower one. Juju has no later hook in which to
//! leave, so this is the one place where a hook waits for others, and not for long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::live::{self, Asked, Live, Ticket};
use super::observe;
use crate::cluster::Galera;
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

/// Waits until nobody else is on the way out before us and the view is settled, or until that has taken too long. `known`
/// are those whom Juju means to keep: another leaver is not among them, but our server still counts it.
///
/// # Errors
/// When the number cannot be written down.
pub fn take_turn(paths: &Paths, me: &str, address: IpAddr, known: &[IpAddr]) -> Result<(), FileError> {
    let others = |galera: &Galera| -> BTreeSet<IpAddr> {
        galera.view.iter().chain(known).copied().filter(|other| *other != address).collect()
    };
    let first = match observe::server().primary() {
        Some(galera) if !others(galera).is_empty() => others(galera),
        Some(_) | None => return Ok(()),
    };
    begin(paths)?;
    let numbers = ask(&first).into_values().filter_map(|asked| match asked {
        Asked::Said(Live { leaving: Some(Ticket::Number(number)), .. }) => Some(number),
        Asked::Said(_) | Asked::Nobody | Asked::Unclear(_) => None,
    });
    let mine = numbers.max().unwrap_or(0) + 1;
    write(paths, Ticket::Number(mine))?;
    let end = Deadline::after(TURN_LIMIT);
    let mut settled = 0;
    while !end.passed() {
        let server = observe::server();
        let our_turn = server.primary().is_some_and(|galera| is_our_turn(me, mine, galera, &ask(&others(galera))));
        settled = if our_turn { settled + 1 } else { 0 };
        // At once then: what was seen grows old.
        if settled >= 2 {
            break;
        }
        clock::sleep(Duration::from_millis(250));
    }
    Ok(())
}

/// Everybody's own word, asked all at once.
fn ask(others: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, Asked> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = others.iter().map(|other| (*other, scope.spawn(|| live::ask(*other)))).collect();
        let said = asked.into_iter().map(|(other, one)| {
            (other, one.join().unwrap_or_else(|_| Asked::Unclear("it could not be asked".to_owned())))
        });
        said.collect()
    })
}

/// Whether this unit may leave now. Everybody whom our server counts has to say that it sees the same view and does not leave
/// before us. One that has just died is still counted: to leave then takes two away from the others at once, and they may be
/// left without a majority. The same when the leaver before us is out of our view and a busy member has not followed yet: what
/// it says is some moments old, the view's number tells.
fn is_our_turn(me: &str, mine: u32, galera: &Galera, said: &BTreeMap<IpAddr, Asked>) -> bool {
    said.iter().all(|(address, asked)| match asked {
        Asked::Said(live) => {
            let before_us = live.state != "stopped"
                && live.leaving.as_ref().is_some_and(|ticket| goes_first(ticket, &live.unit, mine, me));
            !before_us && (!galera.view.contains(address) || is_in_view(live, galera))
        }
        Asked::Nobody | Asked::Unclear(_) => !galera.view.contains(address),
    })
}

fn is_in_view(live: &Live, of: &Galera) -> bool {
    live.is_primary() && live.conf_id == of.conf_id && live.size == of.size
}

/// Whether a leaver comes before us: who still chooses may have seen no number, and a tie goes by name.
fn goes_first(ticket: &Ticket, unit: &str, mine: u32, me: &str) -> bool {
    match ticket {
        Ticket::Choosing => true,
        Ticket::Number(number) => (*number, unit) < (mine, me),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{LocalState, Server};

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

    fn seen(conf_id: u64, members: &[&str]) -> Galera {
        Galera {
            primary: true,
            connected: true,
            ready: true,
            state: LocalState::Synced,
            uuid: None,
            seqno: Some(17),
            conf_id: Some(conf_id),
            size: u32::try_from(members.len()).unwrap(),
            view: members.iter().map(|member| member.parse().unwrap()).collect(),
        }
    }

    /// Two of four leave; this is the second of them.
    fn is_turn_of_second(galera: &Galera, first: Asked, staying: &[(&str, Asked)]) -> bool {
        let mut said: BTreeMap<IpAddr, Asked> =
            staying.iter().map(|(address, asked)| (address.parse().unwrap(), asked.clone())).collect();
        said.insert("10.0.0.1".parse().unwrap(), first);
        is_our_turn("db/1", 1, galera, &said)
    }

    #[test]
    fn nobody_leaves_before_all_have_seen_the_leaver_before_go() {
        let before = seen(5, &["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
        let now = seen(6, &["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
        let says = |unit: &str, galera: &Galera| Live::from_server(unit, &Server::Answers(galera.clone()), None);
        let stays = |unit: &str, galera: &Galera| Asked::Said(says(unit, galera));
        let leaves = |galera: &Galera, ticket| Asked::Said(Live { leaving: Some(ticket), ..says("db/0", galera) });
        let stopped =
            Asked::Said(Live { leaving: Some(Ticket::Number(1)), ..Live::from_server("db/0", &Server::Stopped, None) });
        let all = |galera: &Galera| [("10.0.0.3", stays("db/2", galera)), ("10.0.0.4", stays("db/3", galera))];

        assert!(!is_turn_of_second(&before, leaves(&before, Ticket::Choosing), &all(&before)));
        assert!(!is_turn_of_second(&before, leaves(&before, Ticket::Number(1)), &all(&before)), "a tie goes by name");
        assert!(is_turn_of_second(&before, leaves(&before, Ticket::Number(2)), &all(&before)));
        assert!(
            !is_turn_of_second(&before, Asked::Unclear("busy".to_owned()), &all(&before)),
            "it may be about to leave"
        );
        assert!(!is_turn_of_second(&before, stopped.clone(), &all(&before)), "our server has not seen it go yet");
        let [third, _] = all(&now);
        let late = [third, ("10.0.0.4", stays("db/3", &before))];
        assert!(!is_turn_of_second(&now, stopped.clone(), &late), "its agent looked a second ago, or it is busy");
        assert!(is_turn_of_second(&now, stopped, &all(&now)));
        assert!(is_turn_of_second(&now, Asked::Nobody, &all(&now)));
        let thawed = Asked::Said(Live { doubted: true, ..says("db/2", &now) });
        assert!(!is_turn_of_second(&now, Asked::Nobody, &[("10.0.0.3", thawed)]), "its view may be an old one");
        let cut_off = Galera { primary: false, ..now.clone() };
        assert!(!is_turn_of_second(&now, Asked::Nobody, &[("10.0.0.3", stays("db/2", &cut_off))]));
    }
}
