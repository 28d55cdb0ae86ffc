//! What options and the machine make of the server's file, and whether the server would run with it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use crate::host::{Mode, file, machine};
use crate::mariadb::check::{self, CheckError, Variables};
use crate::mariadb::sizing::{Asked, Needs, SHARED, Use, sizing};
use crate::mariadb::{Paths, cnf, install};
use crate::options::{self, Chosen, EXTRA};

/// The part of the server's file that follows from options and the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) variables: BTreeMap<String, String>,
    pub(super) provider: BTreeMap<String, String>,
    pub(super) extra: Vec<(String, Option<String>)>,
}

/// Options over the charm's own rules, over the machine.
///
/// # Errors
/// When the machine cannot be measured.
pub(super) fn settings(
    paths: &Paths,
    chosen: &Chosen,
    use_: Use,
    limit_memory: Option<u64>,
    gcache_measured: u64,
) -> anyhow::Result<Settings> {
    let number = |map: &BTreeMap<&str, String>, name: &str| map.get(name).and_then(|text| text.parse::<u64>().ok());
    let asked = Asked {
        limit_memory,
        buffer_pool: number(&chosen.variables, "innodb_buffer_pool_size"),
        max_connections: number(&chosen.variables, "max_connections").and_then(|n| u32::try_from(n).ok()),
        gcache: number(&chosen.provider, GCACHE),
        gcache_measured,
    };
    let volume = machine::disk_space(&paths.volume)?.total;
    let sizes = sizing(machine::memory_limit()?, volume, use_, asked);
    let appliers = machine::cpu_count().saturating_mul(2).clamp(2, 32);
    let mut variables: BTreeMap<String, String> = [
        ("max_connections", sizes.max_connections.to_string()),
        ("innodb_buffer_pool_size", sizes.buffer_pool.to_string()),
        ("innodb_log_file_size", sizes.log_file.to_string()),
        // Acknowledged writes survive a crash; anything else than 1 has lost them.
        ("innodb_flush_log_at_trx_commit", "1".to_owned()),
        ("default_storage_engine", "InnoDB".to_owned()),
        ("binlog_expire_logs_seconds", "604800".to_owned()),
        ("wsrep_slave_threads", appliers.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    variables.extend(chosen.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    // Galera's own defaults (26.4), written out: an option that is reset finds its way back to them.
    let mut provider: BTreeMap<String, String> = [
        (GCACHE, sizes.gcache.to_string()),
        ("gcs.fc_limit", "16".to_owned()),
        ("gmcast.peer_timeout", "PT3S".to_owned()),
        ("evs.suspect_timeout", "PT5S".to_owned()),
        ("evs.inactive_timeout", "PT15S".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    provider.extend(chosen.provider.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let extra = chosen.extra.lines.iter().map(|line| (line.name.clone(), line.value.clone())).collect();
    Ok(Settings { variables, provider, extra })
}

/// A mark of what options say: the same on every machine, where the same revision of the charm runs.
pub fn mark(chosen: &Chosen, use_: Use, limit_memory: Option<u64>) -> String {
    hex(&Sha1::digest(format!("{chosen:?} {use_:?} {limit_memory:?}")))
}

const GCACHE: &str = "gcache.size";

/// Why the server would not run with these options on this machine: the option's name, and the reason. Asks the server,
/// without starting one; nothing is said as long as there is none. What was found well is not asked again.
pub fn problem(paths: &Paths, chosen: &Chosen, use_: Use, limit_memory: Option<u64>) -> Option<(&'static str, String)> {
    let version = install::noted_version(paths)?;
    // What cannot be measured or asked is no operator's mistake; whoever writes the file stumbles over it too.
    let settings = settings(paths, chosen, use_, limit_memory, 0).ok()?;
    let text = lines(&settings);
    let memory = machine::memory_limit().ok()?;
    let seen = hex(&Sha1::digest(format!("{version}\n{memory}\n{text}")));
    let noted = paths.run.join("server-options-checked");
    if file::read_to_string_opt(&noted).ok().flatten().as_deref() == Some(&*seen) {
        return None;
    }
    if let Some(found) = larger_than_all(&settings, memory).or_else(|| no_such_zone(&settings, Path::new(ZONES))) {
        return Some(found);
    }
    let listing = match ask(paths, &text) {
        Ok(listing) => listing,
        Err(CheckError::Refused(why)) => {
            return Some((whose(&why, &settings), format!("the server refuses it: {why}")));
        }
        Err(CheckError::Program(_) | CheckError::File(_) | CheckError::Odd) => return None,
    };
    let usable = limit_memory.map_or(memory, |limit| limit.min(memory));
    let found = unknown(&settings, &listing)
        .or_else(|| too_much(chosen, &listing, usable))
        .or_else(|| too_large_a_ring(&settings, machine::disk_space(&paths.volume).ok()?.total));
    if found.is_none() {
        let _asked_again = file::write_atomic(&noted, seen.as_bytes(), &Mode::new(0o600));
    }
    found
}

/// What the server says of this text, as its file.
///
/// # Errors
/// See [`check::check`].
pub(super) fn ask(paths: &Paths, text: &str) -> Result<Variables, CheckError> {
    let scratch = paths.run.join(format!("server-check.{}", std::process::id()));
    file::create_dir_all_with(&paths.run, &Mode::new(0o755))?;
    file::create_dir_all_with(&scratch, &Mode::new(0o700))?;
    let memory = machine::memory_limit().unwrap_or(1 << 30);
    let said = check::check(text, &scratch, memory);
    file::remove_dir_all_opt(&scratch)?;
    said
}

fn lines(settings: &Settings) -> String {
    let variables: Vec<_> =
        settings.variables.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    format!("[mysqld]\n{}{}", cnf::extra(&variables), cnf::extra(&settings.extra))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The option whose variable the server names; the operator's own lines where it is none of ours.
fn whose(why: &str, settings: &Settings) -> &'static str {
    let why = options::normalised(why);
    let of_ours = settings.variables.keys().filter(|name| why.contains(name.as_str()));
    // The longest: one name can be the beginning of another.
    let named = of_ours.max_by_key(|name| name.len()).and_then(|name| options::option_of(name));
    let theirs = settings.extra.iter().any(|(name, _)| why.contains(name.as_str()));
    named.filter(|_| !theirs).map_or(EXTRA, |option| option.name)
}

/// The server takes any beginning of a name that is no other's. One that is not written out could be one of the charm's.
fn unknown(settings: &Settings, listing: &Variables) -> Option<(&'static str, String)> {
    let (name, _) = settings.extra.iter().find(|(name, _)| check::variable(name, listing).is_none())?;
    let whole = listing.keys().find(|known| known.starts_with(name.as_str()));
    let hint = whole.map_or(String::new(), |whole| format!("; did you mean {whole}?"));
    Some((EXTRA, format!("the server has no variable {name}{hint}")))
}

/// The ring of write-sets is one file on the data volume, written at once in its whole size.
fn too_large_a_ring(settings: &Settings, volume: u64) -> Option<(&'static str, String)> {
    let asked = settings.provider.get(GCACHE)?;
    let (ring, most) = (asked.parse::<u64>().ok()?, volume / 2);
    let why = || {
        let (ring, most, volume) = (ring >> 20, most >> 20, volume >> 20);
        format!("{ring} MiB is more than half ({most} MiB) of the data volume's {volume} MiB")
    };
    (ring > most).then(|| ("gcache-size", why()))
}

/// The server's tables of zones are made from these.
const ZONES: &str = "/usr/share/zoneinfo";

fn no_such_zone(settings: &Settings, zones: &Path) -> Option<(&'static str, String)> {
    let zone = settings.variables.get("default_time_zone").filter(|zone| options::names_a_zone(zone))?;
    // Folders and lists lie there too.
    let is_one = |bytes: Option<Vec<u8>>| bytes.is_some_and(|bytes| bytes.starts_with(b"TZif"));
    let there = !zone.starts_with('/') && file::read_opt(zones.join(zone)).is_ok_and(is_one);
    let why = || format!("there is no zone {zone} on this machine; names are as in {ZONES}");
    (zones.is_dir() && !there).then(|| ("time-zone", why()))
}

/// Without asking: a server that is asked about a cache may allocate it.
fn larger_than_all(settings: &Settings, memory: u64) -> Option<(&'static str, String)> {
    let sizes = settings.extra.iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let (name, value) = sizes
        .filter(|(name, _)| SHARED.contains(&name.as_str()))
        .find(|(_, value)| options::bytes(value).is_some_and(|bytes| bytes > memory))?;
    Some((EXTRA, format!("{name} = {value} is more than this machine's {} MiB", memory >> 20)))
}

/// What the server takes at least, against the machine.
fn too_much(chosen: &Chosen, listing: &Variables, memory: u64) -> Option<(&'static str, String)> {
    let needs = Needs::of(listing);
    if needs.at_least() <= memory {
        return None;
    }
    let of_connections = needs.connections.saturating_mul(needs.idle_connection);
    let pool = chosen.variables.contains_key("innodb_buffer_pool_size");
    let connections = chosen.variables.contains_key("max_connections");
    let option = match (pool, connections) {
        (true, true) if of_connections > needs.shared => "max-connections",
        (true, _) => "innodb-buffer-pool-size",
        (false, true) => "max-connections",
        // The rules alone leave room on any machine that the server runs on.
        (false, false) if chosen.extra.lines.is_empty() => return None,
        (false, false) => EXTRA,
    };
    let mib = |bytes: u64| bytes >> 20;
    let problem = format!(
        "the server would take {} MiB at least ({} in pools and caches, {} for {} connections), and this machine has {}",
        mib(needs.at_least()),
        mib(needs.shared),
        mib(of_connections),
        needs.connections,
        mib(memory)
    );
    Some((option, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_fits_on_the_volume() {
        let said = |ring: &str| {
            let provider = [(GCACHE.to_owned(), ring.to_owned())].into();
            too_large_a_ring(&Settings { provider, ..Settings::default() }, 1000 << 20).map(|(_, why)| why)
        };
        assert_eq!(said("524288000"), None);
        assert_eq!(said("891289600").unwrap(), "850 MiB is more than half (500 MiB) of the data volume's 1000 MiB");
    }

    #[test]
    fn a_zone_is_one_of_this_machines() {
        let dir = tempfile::tempdir().unwrap();
        file::create_dir_all_with(dir.path().join("Europe"), &Mode::new(0o755)).unwrap();
        file::write_atomic(dir.path().join("Europe/Berlin"), b"TZif2", &Mode::new(0o644)).unwrap();
        file::write_atomic(dir.path().join("leapseconds"), b"# x", &Mode::new(0o644)).unwrap();
        let said = |zone: &str| {
            let variables = [("default_time_zone".to_owned(), zone.to_owned())].into();
            no_such_zone(&Settings { variables, ..Settings::default() }, dir.path()).map(|(_, why)| why)
        };
        assert_eq!([said("Europe/Berlin"), said("SYSTEM"), said("+02:00")], [None, None, None]);
        assert!(said("Europe").is_some() && said("Europe/").is_some() && said("leapseconds").is_some());
        assert!(said(&dir.path().join("Europe/Berlin").display().to_string()).is_some());
        let why = said("Mars/Base").unwrap();
        assert_eq!(why, "there is no zone Mars/Base on this machine; names are as in /usr/share/zoneinfo");
        assert_eq!(no_such_zone(&Settings::default(), dir.path()), None);
    }
}
