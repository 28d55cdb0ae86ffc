//! This unit's turn to restart its server: which one it has used last, using it, and what comes of a start with new options
//! that does not succeed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::live::{self, Live};
use super::server_options::{self, Settings};
use super::{Wanted, observe as look};
use crate::cluster::{Galera, Turned};
use crate::host::{Mode, file};
use crate::mariadb::{Paths, running, saved_view, service};

/// A server that ended so often on its way up does not start with its file.
const STARTS_MAX: u32 = 3;

/// What is written down of turns, on the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Note {
    /// The last turn that was used.
    number: u32,
    /// The options that the files were last written for.
    options: String,
    /// How often the server was started since it was last a full member, with options under which it never was one.
    starts: u32,
    /// Options under which it did not start, and why.
    refused: Option<(String, String)>,
    /// Options under which it was a full member.
    good: Option<Settings>,
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
    change(paths, |note| note.number = number).map(drop)
}

/// The settings for the server's file: those that options ask for, or, where the server does not start with them, those
/// under which it was last a full member.
///
/// # Errors
/// When the machine cannot be measured, or nothing can be written down.
pub(super) fn settings(paths: &Paths, wanted: &Wanted) -> anyhow::Result<Settings> {
    let asked = server_options::settings(paths, &wanted.chosen, wanted.use_, wanted.limit_memory)?;
    let options = server_options::mark(&wanted.chosen, wanted.use_, wanted.limit_memory);
    // In an outage servers end on their way up whatever their options are.
    let to_blame = read(paths).starts >= STARTS_MAX && others_serve(wanted);
    let note = change(paths, |note| {
        if note.options != options {
            (note.options, note.starts) = (options.clone(), 0);
        }
        let unsuccessful =
            to_blame && note.starts >= STARTS_MAX && note.good.as_ref().is_some_and(|good| *good != asked);
        if unsuccessful && note.refused.as_ref().is_none_or(|(of, _)| *of != options) {
            note.refused = Some((options.clone(), service::last_error()));
        }
    })?;
    match (note.refused, note.good) {
        (Some((of, _)), Some(good)) if of == options => Ok(good),
        _ => Ok(asked),
    }
}

/// Whether somebody is there to join; the only member needs nobody.
fn others_serve(wanted: &Wanted) -> bool {
    let mut others = wanted.members.iter().filter(|address| **address != wanted.address).peekable();
    others.peek().is_none() || others.any(|address| live::primary(*address).is_some())
}

/// The server is a full member with what its file says.
///
/// # Errors
/// When that cannot be written down.
pub(super) fn note_good(paths: &Paths, settings: &Settings) -> anyhow::Result<()> {
    if running::waiting(paths)?.is_empty() {
        change(paths, |note| (note.starts, note.good) = (0, Some(settings.clone())))?;
    }
    Ok(())
}

/// The server is being started.
///
/// # Errors
/// When that cannot be written down.
pub(super) fn note_start(paths: &Paths) -> anyhow::Result<()> {
    change(paths, |note| note.starts = note.starts.saturating_add(1)).map(drop)
}

/// Restarts the server. `Some` says why not now; then the turn is not used.
///
/// # Errors
/// When it does not stop or start.
pub fn restart(paths: &Paths, number: u32, wanted: Option<&Wanted>) -> anyhow::Result<Option<String>> {
    let wanted = wanted.context("the address or the cluster's name is not known yet")?;
    let server = look::server();
    let Some(own) = server.primary() else {
        return Ok(Some("the server is not part of a primary component any more".to_owned()));
    };
    let others: BTreeSet<IpAddr> = wanted.members.iter().copied().filter(|a| *a != wanted.address).collect();
    if let Some(why) = somebody_lacks(own, &others) {
        return Ok(Some(why));
    }
    // Before anything happens: dying behind this line costs a turn, and whoever still waits gets another.
    pass(paths, number)?;
    // The only member would look for others, and in vain: with its view saved it goes on as after a crash.
    let view = saved_view::read(paths).filter(|_| others.is_empty() && own.size == 1);
    service::stop(paths)?;
    if let Some(view) = view {
        saved_view::put_back(paths, &view)?;
    }
    service::join(paths)?;
    Ok(None)
}

/// Of the others, asked now, whoever does not serve beside us.
fn somebody_lacks(own: &Galera, others: &BTreeSet<IpAddr>) -> Option<String> {
    std::thread::scope(|scope| {
        let asked: BTreeMap<_, _> =
            others.iter().map(|address| (address, scope.spawn(move || live::primary(*address)))).collect();
        asked.into_iter().find_map(|(address, said)| match said.join().ok().flatten() {
            Some(live) if serves_beside(own, &live) => None,
            Some(live) => Some(format!("{} at {address} is {}, or sees other members", live.unit, live.state)),
            None => Some(format!("nobody serves at {address}")),
        })
    })
}

fn serves_beside(own: &Galera, live: &Live) -> bool {
    let same = live.conf_id == own.conf_id && live.uuid == own.uuid.as_ref().map(ToString::to_string);
    live.is_primary() && live.ready && same
}

#[cfg(test)]
mod tests {
    use super::*;

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
        note_start(&paths).unwrap();
        note_start(&paths).unwrap();
        assert_eq!(read(&paths).starts, 2);
        note_good(&paths, &settings_of("1")).unwrap();
        assert_eq!((read(&paths).starts, read(&paths).good), (0, Some(settings_of("1"))));
        assert_eq!(observe(&paths).number, 4);
    }
}
