//! This unit's turn to restart its server: which one it has used last, using it, and what comes of a start with new options
//! that does not succeed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::live::{self, Live};
use super::server_options::{self, Settings};
use super::{Wanted, observe as look, write_rate};
use crate::cluster::{Galera, Turned};
use crate::host::{Mode, clock, file};
use crate::mariadb::{Paths, drain, running, saved_view, service};

/// A server that ended so often on its way up does not start with its file.
const STARTS_MAX: u32 = 3;
/// What a restart is taken to last, in seconds, as long as none was measured.
const RESTART_S: u64 = 10;
/// The ring of write-sets lasts for half an hour of the busiest time at least.
const RING_S_MIN: u64 = 1800;

/// What is written down of turns, on the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Note {
    /// The last turn that was used.
    number: u32,
    /// The options that the files were last written for.
    options: String,
    /// How often the server was started beside others who serve with options that it has not served with, since it was last
    /// a full member with all of its file.
    starts: u32,
    /// How often it was started since it was last a full member, with whatever options.
    tries: u32,
    /// How often of these beside others who serve. In an outage every server ends on its way up.
    joins: u32,
    /// The file has options that it has not served with.
    trying: bool,
    /// Options under which it did not start, and why.
    refused: Option<(String, String)>,
    /// What its file said when it was last a full member with all of it, and the mark of the options then.
    good: Option<Settings>,
    good_options: String,
    /// Why the turn that it has is not used yet.
    held: Option<String>,
    /// When the server was stopped for a turn and has not come back since, in seconds since the boot.
    stopped_s: Option<u64>,
    /// How long the last restart took, from its stop to a full member, in seconds.
    took_s: Option<u64>,
    /// How large a ring of write-sets was measured to be needed, as of the last start, in bytes.
    ring: u64,
}

fn path(paths: &Paths) -> PathBuf {
    paths.state.join("turn.json")
}

fn read(paths: &Paths) -> Note {
    // What cannot be read was never used.
    let text = file::read_to_string_opt(path(paths)).ok().flatten();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn change(paths: &Paths, change: impl FnOnce(&mut Note)) -> anyhow::Result<Note> {
    let before = read(paths);
    let mut note = before.clone();
    change(&mut note);
    if note != before {
        file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
        file::write_atomic(path(paths), serde_json::to_string(&note)?.as_bytes(), &Mode::new(0o600))?;
    }
    Ok(note)
}

/// How this unit stands with restarts.
pub fn observe(paths: &Paths) -> Turned {
    let Note { number, options, refused, .. } = read(paths);
    let waits = running::waiting(paths).is_ok_and(|waiting| !waiting.is_empty());
    let refused = refused.filter(|(of, _)| *of == options).map(|(_, why)| why);
    Turned { options, number, waits, refused }
}

/// Uses a turn up.
///
/// # Errors
/// When that cannot be written down.
pub fn pass(paths: &Paths, number: u32) -> anyhow::Result<()> {
    change(paths, |note| (note.number, note.held) = (number, None)).map(drop)
}

/// Why this unit does not use the turn that it has, for people.
pub fn held(paths: &Paths) -> Option<String> {
    read(paths).held
}

/// The settings for the server's file: those that options ask for, or, where the server does not start with them, those
/// under which it was last a full member.
///
/// # Errors
/// When the machine cannot be measured, or nothing can be written down.
pub(super) fn settings(paths: &Paths, wanted: &Wanted, running: bool) -> anyhow::Result<Settings> {
    // What was measured is no reason for a restart: it goes along with the next one.
    if !running || running::waiting(paths).is_ok_and(|waiting| !waiting.is_empty()) {
        change(paths, |note| note.ring = ring(write_rate::peak(paths), note.took_s))?;
    }
    let ring = read(paths).ring;
    let asked = server_options::settings(paths, &wanted.chosen, wanted.use_, wanted.limit_memory, ring)?;
    let options = server_options::mark(&wanted.chosen, wanted.use_, wanted.limit_memory);
    // In an outage servers end on their way up whatever their options are.
    let others_serve = running || others_serve(wanted);
    let to_blame = read(paths).starts >= STARTS_MAX && others_serve;
    let note = change(paths, |note| {
        if note.options != options {
            // Options that come back are tried again: the reason for which they were refused may be gone.
            *note = Note {
                options: options.clone(),
                starts: 0,
                tries: 0,
                joins: 0,
                held: None,
                refused: None,
                ..note.clone()
            };
        }
        let unsuccessful =
            to_blame && note.starts >= STARTS_MAX && note.good.as_ref().is_some_and(|good| *good != asked);
        if unsuccessful && note.refused.as_ref().is_none_or(|(of, _)| *of != options) {
            note.refused = Some((options.clone(), service::last_error()));
        }
    })?;
    let not_now = wanted.refused_elsewhere || !others_serve || !(running || may_try(&note));
    let good = note.good.clone();
    let chosen = choose(note, &options, not_now, asked);
    change(paths, |note| note.trying = good.as_ref() != Some(&chosen))?;
    Ok(chosen)
}

/// Whether a server that is down may be started with options that it has not served with: in its turn, or when it does not
/// start with those before either. Two of three that tried them at once, behind a power cut, would leave one that serves alone.
fn may_try(note: &Note) -> bool {
    note.stopped_s.is_some() || note.joins >= STARTS_MAX
}

/// What there is to see of starts that come to nothing: a pass has to look at each of these once.
pub(super) fn shown(paths: &Paths) -> String {
    let Note { starts, tries, joins, .. } = read(paths);
    let many = [("with new options", starts), ("beside others", joins), ("at all", tries)];
    many.into_iter().filter(|(_, count)| *count >= STARTS_MAX).map(|(how, _)| how).collect::<Vec<_>>().join(",")
}

/// Options that some unit's server does not start with are in no unit's file: a power cut of all would find them everywhere.
/// And where nobody serves, or out of its turn, nobody comes back with options that were never tried.
fn choose(note: Note, options: &str, not_now: bool, asked: Settings) -> Settings {
    let refused = not_now || note.refused.is_some_and(|(of, _)| of == options);
    note.good.filter(|_| refused).unwrap_or(asked)
}

/// What the ring of write-sets should hold, in bytes: the writes of the busiest time for much longer than a restart takes,
/// because a machine that is rebooted takes its time as well.
fn ring(bytes_per_second: Option<u64>, took_s: Option<u64>) -> u64 {
    let seconds = took_s.unwrap_or(0).saturating_mul(10).max(RING_S_MIN);
    bytes_per_second.unwrap_or(0).saturating_mul(seconds)
}

/// Whether somebody is there to join; the only member needs nobody.
fn others_serve(wanted: &Wanted) -> bool {
    let others = wanted.members.iter().copied().filter(|address| *address != wanted.address).collect();
    let said = live::primaries(&others);
    said.is_empty() || said.values().any(Option::is_some)
}

/// The server is a full member with what its file says.
///
/// # Errors
/// When that cannot be written down.
pub(super) fn note_good(paths: &Paths, settings: &Settings) -> anyhow::Result<()> {
    let now = clock::uptime_seconds()?;
    let waits = !running::waiting(paths)?.is_empty();
    change(paths, |note| {
        // A machine that was booted meanwhile says nothing about restarts.
        if let Some(took) = note.stopped_s.take().and_then(|stopped| now.checked_sub(stopped)) {
            note.took_s = Some(took);
        }
        (note.tries, note.joins) = (0, 0);
        if !waits {
            (note.starts, note.trying, note.good) = (0, false, Some(settings.clone()));
            note.good_options.clone_from(&note.options);
        }
    })?;
    Ok(())
}

/// The server is being started. Where nobody serves it ends whatever its options are: then it says nothing about them.
///
/// # Errors
/// When that cannot be written down.
pub(super) fn note_start(paths: &Paths, others_serve: bool) -> anyhow::Result<()> {
    change(paths, |note| {
        note.tries = note.tries.saturating_add(1);
        note.joins = note.joins.saturating_add(u32::from(others_serve));
        note.starts = note.starts.saturating_add(u32::from(others_serve && note.trying));
    })
    .map(drop)
}

/// That the server ends on its way up since options have changed, for people. While nobody else serves nothing is done about
/// it: it may be for another reason.
pub fn suspicion(paths: &Paths) -> Option<String> {
    let note = read(paths);
    let suspect = note.tries >= STARTS_MAX && note.good.is_some() && note.good_options != note.options;
    suspect
        .then(|| format!("options have changed since it served, juju config sets them back: {}", service::last_error()))
}

/// Restarts the server. `Some` says why not now; then the turn is not used.
///
/// # Errors
/// When it does not stop or start.
pub fn restart(paths: &Paths, number: u32, wanted: Option<&Wanted>) -> anyhow::Result<Option<String>> {
    let wanted = wanted.context("the address or the cluster's name is not known yet")?;
    if running::waiting(paths)?.is_empty() {
        // What it was given for was taken over, or taken back, since.
        pass(paths, number)?;
        return Ok(Some("nothing waits for a restart any more".to_owned()));
    }
    let server = look::server();
    let Some(own) = server.primary() else {
        return Ok(Some("the server is not part of a primary component any more".to_owned()));
    };
    let members: BTreeSet<IpAddr> = wanted.members.iter().copied().chain([wanted.address]).collect();
    let said = live::primaries(&members);
    let took_s = read(paths).took_s.unwrap_or(RESTART_S);
    let others =
        || said.iter().filter(|(address, _)| **address != wanted.address).filter_map(|(_, said)| said.as_ref());
    let held = somebody_lacks(own, &said).or_else(|| full_copy_looms(own, others(), took_s));
    if let Some(why) = held {
        change(paths, |note| note.held = Some(why.clone()))?;
        return Ok(Some(why));
    }
    // Before anything happens: dying behind this line costs a turn, and whoever still waits gets another.
    pass(paths, number)?;
    // The only member would look for others, and in vain: with its view saved it goes on as after a crash.
    let view = saved_view::read(paths).filter(|_| members.len() == 1 && own.size == 1);
    // The turn is used: that it cannot be said is no reason to lose it.
    let _told = drain::begin(paths);
    let now = clock::uptime_seconds()?;
    change(paths, |note| note.stopped_s = Some(now))?;
    service::restart(paths, || Ok(view.map_or(Ok(()), |view| saved_view::put_back(paths, &view))?))?;
    Ok(None)
}

/// Who does not serve beside us, or does not keep up: with one member less it would fall behind further.
fn somebody_lacks(own: &Galera, said: &BTreeMap<IpAddr, Option<Live>>) -> Option<String> {
    said.iter().find_map(|(address, said)| match said {
        Some(live) if !serves_beside(own, live) => {
            Some(format!("{} at {address} is {}, or sees other members", live.unit, live.state))
        }
        Some(live) => live
            .queue
            .filter(|queue| *queue > 0)
            .map(|queue| format!("{} at {address} has {queue} write-sets to apply", live.unit)),
        None => Some(format!("nobody serves at {address}")),
    })
}

fn serves_beside(own: &Galera, live: &Live) -> bool {
    let same = live.conf_id == own.conf_id && live.uuid == own.uuid.as_ref().map(ToString::to_string);
    live.is_primary() && live.ready && same
}

/// Whether no other member will still have what this one misses while it is away: then it would need a full copy.
fn full_copy_looms<'a>(own: &Galera, others: impl Iterator<Item = &'a Live>, took_s: u64) -> Option<String> {
    let needed_s = took_s.saturating_mul(2);
    let next = own.seqno.unwrap_or(0).saturating_add(1);
    let mut others = others.peekable();
    others.peek()?;
    // Whoever has nothing in its ring has not written since it was started, and will have what comes.
    let reach = others.filter(|live| live.cached_downto.is_none_or(|downto| downto <= next));
    match reach.map(|live| live.ring_s.unwrap_or(u64::MAX)).max() {
        Some(longest) if longest >= needed_s => None,
        longest => Some(format!(
            "it would need a full copy afterwards: a restart takes {took_s} s, and the others keep the writes of {} s; \
             it waits for less load, or for systemctl restart mariadb by hand",
            longest.unwrap_or(0)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{LocalState, Server};

    fn settings_of(value: &str) -> Settings {
        Settings { variables: [("wait_timeout".to_owned(), value.to_owned())].into(), ..Settings::default() }
    }

    #[test]
    fn a_turn_is_used_once_and_a_start_counts_until_it_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert_eq!(observe(&paths), Turned::default());
        pass(&paths, 4).unwrap();
        assert_eq!(observe(&paths).number, 4);
        note_start(&paths, true).unwrap();
        change(&paths, |note| note.trying = true).unwrap();
        note_start(&paths, false).unwrap();
        note_start(&paths, true).unwrap();
        note_start(&paths, true).unwrap();
        assert_eq!((read(&paths).starts, read(&paths).tries), (2, 4));
        note_good(&paths, &settings_of("1")).unwrap();
        assert_eq!((read(&paths).starts, read(&paths).good), (0, Some(settings_of("1"))));
        assert_eq!(observe(&paths).number, 4);
    }

    #[test]
    fn refused_options_are_in_nobodys_file() {
        let (good, asked) = (settings_of("1"), settings_of("2"));
        let chosen = |refused: Option<&str>, elsewhere| {
            let refused = refused.map(|of| (of.to_owned(), "it ends".to_owned()));
            choose(Note { refused, good: Some(good.clone()), ..Note::default() }, "b", elsewhere, asked.clone())
        };
        assert_eq!(chosen(None, false), asked);
        assert_eq!(chosen(Some("b"), false), good);
        assert_eq!(chosen(Some("a"), false), asked, "options have changed since");
        assert_eq!(chosen(None, true), good);
        assert_eq!(choose(Note::default(), "b", true, asked.clone()), asked, "a newcomer knows none before");
    }

    #[test]
    fn out_of_its_turn_a_server_tries_new_options_last() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        note_good(&paths, &settings_of("1")).unwrap();
        for _ in 0..STARTS_MAX {
            note_start(&paths, false).unwrap();
        }
        assert_eq!(shown(&paths), "at all");
        for _ in 0..STARTS_MAX {
            assert!(!may_try(&read(&paths)), "those before may still do");
            note_start(&paths, true).unwrap();
        }
        assert_eq!(shown(&paths), "beside others,at all");
        assert!(may_try(&read(&paths)), "it does not start with those before either");
        assert_eq!(read(&paths).starts, 0, "the new ones are not to blame for that");
        note_good(&paths, &settings_of("1")).unwrap();
        assert!(!may_try(&read(&paths)));
        change(&paths, |note| note.stopped_s = Some(7)).unwrap();
        assert!(may_try(&read(&paths)), "it was stopped for its turn");
    }

    #[test]
    fn new_options_are_suspected_when_the_server_ends_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        note_good(&paths, &settings_of("1")).unwrap();
        for _ in 0..STARTS_MAX {
            note_start(&paths, false).unwrap();
        }
        assert_eq!(suspicion(&paths), None, "it has served with them");
        change(&paths, |note| note.options = "new".to_owned()).unwrap();
        assert!(suspicion(&paths).unwrap().starts_with("options have changed since it served"));
    }

    fn galera(seqno: u64) -> Galera {
        Galera {
            primary: true,
            connected: true,
            ready: true,
            state: LocalState::Synced,
            uuid: "6a1f0d52-8f2e-11ee-b9d1-0242ac120002".parse().ok(),
            seqno: Some(seqno),
            conf_id: Some(7),
            size: 3,
            view: BTreeSet::new(),
        }
    }

    #[test]
    fn nobody_is_restarted_beside_one_who_does_not_keep_up() {
        let own = galera(500);
        let well = Live::from_server("db/1", &Server::Answers(own.clone()), None);
        let said = |live: Option<Live>| somebody_lacks(&own, &[("10.0.0.2".parse().unwrap(), live)].into());
        assert_eq!(said(Some(well.clone())), None);
        assert_eq!(said(Some(Live { queue: Some(0), ..well.clone() })), None);
        let behind = said(Some(Live { queue: Some(3), ..well.clone() }));
        assert_eq!(behind.as_deref(), Some("db/1 at 10.0.0.2 has 3 write-sets to apply"));
        let elsewhere = said(Some(Live { conf_id: Some(8), ..well.clone() }));
        assert_eq!(elsewhere.as_deref(), Some("db/1 at 10.0.0.2 is synced, or sees other members"));
        assert!(said(Some(Live { doubted: true, ..well })).is_some());
        assert_eq!(said(None).as_deref(), Some("nobody serves at 10.0.0.2"));
    }

    #[test]
    fn a_restart_that_ends_in_a_full_copy_waits() {
        let own = galera(500);
        let looms = |others: &[(Option<u64>, Option<u64>)], took_s| {
            let others: Vec<Live> = others
                .iter()
                .map(|(cached_downto, ring_s)| Live {
                    cached_downto: *cached_downto,
                    ring_s: *ring_s,
                    ..Live::default()
                })
                .collect();
            full_copy_looms(&own, others.iter(), took_s)
        };
        assert_eq!(looms(&[], 10), None, "the only member needs nobody");
        assert_eq!(looms(&[(Some(501), Some(20))], 10), None);
        assert_eq!(looms(&[(None, None)], 10), None, "nobody writes");
        assert!(looms(&[(Some(502), Some(900))], 10).is_some(), "what it misses is gone already");
        assert!(looms(&[(Some(1), Some(19)), (Some(502), Some(900))], 10).is_some());
        assert_eq!(looms(&[(Some(1), Some(19)), (Some(1), Some(900))], 10), None, "one who can is enough");
        let said = looms(&[(Some(1), Some(19))], 10).unwrap();
        assert!(said.contains("a restart takes 10 s, and the others keep the writes of 19 s"), "{said}");
    }

    #[test]
    fn the_ring_lasts_for_the_busiest_time() {
        assert_eq!(ring(None, Some(60)), 0);
        assert_eq!(ring(Some(1000), None), 1_800_000);
        assert_eq!(ring(Some(1000), Some(600)), 6_000_000);
    }
}
