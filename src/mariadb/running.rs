//! What the server runs with, held against what its file says: a server that runs takes over what it can, and the rest waits
//! for its next start. Which is which, the server itself says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use super::Paths;
use super::check::{self, Variables};
use super::sql::{Session, SqlError, quote_text};
use crate::host::Mode;
use crate::host::file::{self, FileError};

/// Changed by other hands, or only ever of interest to a start: never a reason for a restart.
const NOT_COMPARED: [&str; 7] = [
    // Whoever asks the server names an empty one.
    "datadir",
    "wsrep_cluster_address",
    "wsrep_cluster_name",
    "wsrep_sst_auth",
    "wsrep_sst_donor",
    "wsrep_sst_method",
    PROVIDER,
];
/// What the server shows for what has no value.
const NO_VALUE: &str = "(No default value)";
/// What a running server says to an option that a start takes. ER_WRONG_ARGUMENTS is Galera's word (seen with 26.4.23); of
/// options that are no variables, or are called otherwise in files, it says ER_UNKNOWN_SYSTEM_VARIABLE; of values that only a start
/// takes (`event_scheduler=DISABLED`), ER_WRONG_VALUE_FOR_VAR and ER_WRONG_TYPE_FOR_VAR; of read-only ones,
/// ER_INCORRECT_GLOBAL_LOCAL_VAR. The file was checked: a start takes it.
const ONLY_AT_START: [u16; 6] = [1193, 1210, 1229, 1231, 1232, 1238];

/// By variable, and for Galera's own options by `wsrep_provider_options/NAME`.
pub type Values = BTreeMap<String, String>;

/// The file's values, as the server reads them: those that the file names.
pub fn named(file: &str, listing: &Variables) -> Values {
    let names = file.lines().filter(|line| !line.starts_with(['#', '['])).filter_map(|line| {
        let name = line.split_once('=').map_or(line, |(name, _)| name).trim();
        (!name.is_empty()).then(|| name.to_ascii_lowercase().replace('-', "_"))
    });
    let mut values: Values = names
        .filter_map(|name| check::variable(&name, listing).map(ToOwned::to_owned))
        .filter(|name| !NOT_COMPARED.contains(&name.as_str()))
        .filter_map(|name| Some((name.clone(), listing.get(&name)?.clone())))
        .collect();
    let provider = listing.get(PROVIDER).map(String::as_str).unwrap_or_default();
    values.extend(provider.split(';').filter_map(|option| {
        let (name, value) = option.split_once('=')?;
        Some((format!("{PROVIDER}/{}", name.trim()), value.trim().to_owned()))
    }));
    values
}

const PROVIDER: &str = "wsrep_provider_options";

fn wanted_path(paths: &Paths) -> PathBuf {
    paths.state.join("wanted-variables.json")
}

fn running_path(paths: &Paths) -> PathBuf {
    paths.run.join("running-variables.json")
}

/// What a file says, and which file that is.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    file: String,
    values: Values,
}

fn read(path: PathBuf) -> Result<Option<Note>, FileError> {
    // What cannot be read is as good as not there.
    Ok(file::read_to_string_opt(path)?.and_then(|text| serde_json::from_str(&text).ok()))
}

fn write(path: PathBuf, note: &Note) -> Result<(), FileError> {
    let text = serde_json::to_string(note).unwrap_or_default();
    file::write_atomic(path, text.as_bytes(), &Mode::new(0o600)).map(drop)
}

fn mark(text: &str) -> String {
    Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether it is noted what this file says.
///
/// # Errors
/// When the note cannot be read.
pub fn is_noted(paths: &Paths, text: &str) -> Result<bool, FileError> {
    Ok(read(wanted_path(paths))?.is_some_and(|note| note.file == mark(text)))
}

/// Notes what the file says.
///
/// # Errors
/// When it cannot be written.
pub fn note_wanted(paths: &Paths, text: &str, values: Values) -> Result<(), FileError> {
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    write(wanted_path(paths), &Note { file: mark(text), values })
}

/// Notes that the server is being started with this file. Of one that nobody has noted, nothing is known.
///
/// # Errors
/// When it cannot be written.
pub fn note_start(paths: &Paths, text: &str) -> Result<(), FileError> {
    file::create_dir_all_with(&paths.run, &Mode::new(0o755))?;
    match read(wanted_path(paths))?.filter(|note| note.file == mark(text)) {
        Some(note) => write(running_path(paths), &note),
        None => file::remove_opt(running_path(paths)).map(drop),
    }
}

/// The variables that the running server was noted to have, of those that a file named once.
///
/// # Errors
/// When the note cannot be read.
pub fn known(paths: &Paths) -> Result<Vec<String>, FileError> {
    Ok(read(running_path(paths))?.map(|note| note.values.into_keys().collect()).unwrap_or_default())
}

/// What the running server was noted to have for one of them.
pub fn value(paths: &Paths, name: &str) -> Option<String> {
    read(running_path(paths)).ok()??.values.remove(name)
}

/// The variables that wait for the server's next start. A server of which nothing is known waits for nothing.
///
/// # Errors
/// When the notes cannot be read.
pub fn waiting(paths: &Paths) -> Result<Vec<String>, FileError> {
    let (Some(running), Some(wanted)) = (read(running_path(paths))?, read(wanted_path(paths))?) else {
        return Ok(Vec::new());
    };
    Ok(differing(&running.values, &wanted.values).map(ToOwned::to_owned).collect())
}

fn differing<'a>(one: &'a Values, other: &'a Values) -> impl Iterator<Item = &'a str> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).map(String::as_str)
}

/// Lets the server that runs take over what it can.
///
/// # Errors
/// When it refuses a value that it could take, or does not answer. What it took is noted all the same.
pub fn take_over(paths: &Paths, session: &mut Session) -> Result<(), TakeError> {
    let Some(wanted) = read(wanted_path(paths))? else { return Ok(()) };
    let Some(Note { values: mut running, .. }) = read(running_path(paths))? else {
        return Ok(write(running_path(paths), &wanted)?);
    };
    let names: Vec<String> = differing(&running, &wanted.values).map(ToOwned::to_owned).collect();
    let mut refused = Ok(());
    for name in &names {
        let value = wanted.values.get(name);
        match session.run(&format!("change {name}"), &statement(name, value.map(String::as_str))) {
            Ok(()) => match value {
                Some(value) => drop(running.insert(name.clone(), value.clone())),
                None => drop(running.remove(name)),
            },
            Err(why) if why.code().is_some_and(|code| ONLY_AT_START.contains(&code)) => {}
            Err(why) => refused = Err(why),
        }
    }
    if !names.is_empty() {
        write(running_path(paths), &Note { file: wanted.file, values: running })?;
    }
    Ok(refused?)
}

/// Why a change was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    #[error(transparent)]
    Sql(#[from] SqlError),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Sets one value, or the server's own default.
fn statement(name: &str, value: Option<&str>) -> String {
    if let Some(option) = name.strip_prefix("wsrep_provider_options/") {
        return format!("SET GLOBAL {PROVIDER} = {}", quote_text(&format!("{option}={}", value.unwrap_or_default())));
    }
    // The one that is called differently in files.
    if name == "default_time_zone" {
        return format!("SET GLOBAL time_zone = {}", quote_text(value.filter(|v| *v != NO_VALUE).unwrap_or("SYSTEM")));
    }
    let value = match value {
        None | Some(NO_VALUE) => "DEFAULT".to_owned(),
        Some(value) if value.parse::<f64>().is_ok() || ["TRUE", "FALSE"].contains(&value) => value.to_owned(),
        Some(value) => quote_text(value),
    };
    format!("SET GLOBAL {name} = {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(list: &[(&str, &str)]) -> Values {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_the_file_names_is_compared_as_the_server_reads_it() {
        let listing = values(&[
            ("max_allowed_packet", "67108864"),
            ("local_infile", "FALSE"),
            ("wait_timeout", "28800"),
            ("wsrep_cluster_address", "gcomm://x"),
            ("wsrep_provider_options", "gcache.size=3;gcs.fc_limit=16"),
        ]);
        let file = "# x\n[mysqld]\nskip-local-infile\nmax-allowed-packet = 64M\nwsrep_cluster_address = gcomm://x\nwsrep_provider_options = 'x'\n";
        let expected = values(&[
            ("local_infile", "FALSE"),
            ("max_allowed_packet", "67108864"),
            ("wsrep_provider_options/gcache.size", "3"),
            ("wsrep_provider_options/gcs.fc_limit", "16"),
        ]);
        assert_eq!(named(file, &listing), expected);
    }

    #[test]
    fn statements_are_as_the_server_wants_them() {
        assert_eq!(statement("wait_timeout", Some("60")), "SET GLOBAL wait_timeout = 60");
        assert_eq!(statement("slow_query_log", Some("TRUE")), "SET GLOBAL slow_query_log = TRUE");
        assert_eq!(statement("sql_mode", Some("")), "SET GLOBAL sql_mode = ''");
        assert_eq!(statement("sql_mode", None), "SET GLOBAL sql_mode = DEFAULT");
        assert_eq!(statement("default_time_zone", Some(NO_VALUE)), "SET GLOBAL time_zone = 'SYSTEM'");
        assert_eq!(
            statement("wsrep_provider_options/gcs.fc_limit", Some("99")),
            "SET GLOBAL wsrep_provider_options = 'gcs.fc_limit=99'"
        );
    }

    #[test]
    fn a_start_takes_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert_eq!(waiting(&paths).unwrap(), [""; 0]);
        note_wanted(&paths, "first", values(&[("a", "1"), ("b", "2")])).unwrap();
        assert!(is_noted(&paths, "first").unwrap() && !is_noted(&paths, "second").unwrap());
        assert_eq!(waiting(&paths).unwrap(), [""; 0], "nothing was noted of the one that runs");
        note_start(&paths, "first").unwrap();
        note_wanted(&paths, "second", values(&[("a", "1"), ("c", "3")])).unwrap();
        assert_eq!(waiting(&paths).unwrap(), ["b", "c"]);
        note_start(&paths, "third, written by hand").unwrap();
        assert_eq!(known(&paths).unwrap(), [""; 0], "what runs is not what was noted");
        note_start(&paths, "second").unwrap();
        assert_eq!(known(&paths).unwrap(), ["a", "c"]);
        assert_eq!(waiting(&paths).unwrap(), [""; 0]);
    }
}
