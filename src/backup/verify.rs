//! Proving a backup: its checksums, or the whole way back onto a throwaway server that checks and counts every table.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::bring;
use super::error::{BackupError, concise, in_words};
use super::manifest::{self, Checksum, FORMAT, Manifest, PROOF, Proof};
use super::store::{Store, StoreError, StoreExt as _};
use super::stream::Source;
use super::throwaway::{Purpose, Server};
use super::{Phase, Progress};
use crate::host::{Mode, beside, clock, file};
use crate::mariadb::sql::{Session, SqlError, quote_identifier};

/// Reads every byte of a chain and compares it with the checksums.
///
/// # Errors
/// The first difference.
pub fn check(store: &dyn Store, chain: &[Manifest], told: &mut dyn FnMut(Progress)) -> Result<(), BackupError> {
    let (mut done, total) = (0, chain.iter().map(|made| made.stored_bytes).sum());
    let mut chunk = Vec::new();
    for made in chain {
        let mut source = Source::new(store, made);
        while source.next_chunk(&mut chunk)? {
            done += chunk.len() as u64;
            told(Progress { phase: Phase::Reading, done, total });
        }
    }
    Ok(())
}

/// Brings a chain back below `scratch` and asks a server of its own, which has no network and serves nobody. Nothing of
/// it is left there. `unit` is who proves it.
///
/// # Errors When that says nothing about the backup: no room, no key, no store. A backup that is no good is a proof
/// with a problem.
pub fn prove(
    store: &dyn Store,
    chain: &[Manifest],
    identity: Option<&str>,
    scratch: &Path,
    unit: &str,
    told: &mut dyn FnMut(Progress),
) -> Result<Proof, BackupError> {
    let mut proof = Proof {
        format: FORMAT,
        at: manifest::now(),
        how: "restored onto a server of its own; all tables checked, rows counted".to_owned(),
        unit: unit.to_owned(),
        server_version: String::new(),
        tables: 0,
        rows: 0,
        checksum: String::new(),
        problem: None,
    };
    let scratch = Scratch::new(scratch)?;
    let id = chain.last().map(|made| made.id.as_str()).unwrap_or_default();
    let result = bring::lay_out(store, chain, identity, &scratch.data(), told)
        .and_then(|()| Server::start(&scratch.data(), &scratch.path, Purpose::Looking, id))
        .and_then(|server| look(server, &mut proof, told));
    match result {
        Err(why @ BackupError::Useless { .. }) if chain.iter().any(|made| bring::is_tight(made, &scratch.path)) => {
            return Err(why);
        }
        Err(why) if why.is_about_the_backup() => proof.problem = Some(why.in_words()),
        Err(why) => return Err(why),
        Ok(problem) => proof.problem = problem,
    }
    proof.at = manifest::now();
    Ok(proof)
}

/// Keeps a proof with its backup, in place of the last one.
///
/// # Errors
/// When the store refuses.
pub fn record(store: &dyn Store, id: &str, proof: &Proof) -> Result<(), StoreError> {
    store.put_bytes(&format!("{id}/{PROOF}"), &manifest::write(proof))
}

/// A folder for everything; it goes whatever happens.
struct Scratch {
    above: PathBuf,
    path: PathBuf,
}

impl Scratch {
    fn new(above: &Path) -> Result<Self, BackupError> {
        let scratch = Self { above: above.to_owned(), path: above.join("proof") };
        // Of one that was killed.
        file::remove_dir_all_opt(&scratch.path)?;
        let owned = Mode::owned(0o750, "mysql", "mysql");
        if !file::exists(above)? {
            file::create_dir_all_with(above, &owned)?;
        }
        file::create_dir_all_with(&scratch.path, &owned)?;
        Ok(scratch)
    }

    fn data(&self) -> PathBuf {
        self.path.join("data")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next one removes what could not be removed now.
        let _left = file::remove_dir_all_opt(&self.path);
        let _used = beside::remove_dir_if_empty(&self.above);
    }
}

/// Checks and counts; returns what is wrong.
fn look(mut server: Server, proof: &mut Proof, told: &mut dyn FnMut(Progress)) -> Result<Option<String>, BackupError> {
    match count(&mut server.session, proof, told) {
        Ok(problem) => Ok(problem),
        Err((table, why)) => {
            // It takes a moment to end.
            clock::sleep(Duration::from_secs(1));
            if !server.running.is_over() {
                return Ok(Some(format!("{table}: {}", why.in_words())));
            }
            drop(server.session);
            let said = server.running.finish().map_or_else(|why| in_words(&concise(why)), |()| "by itself".to_owned());
            Ok(Some(format!("{table}: the server ended while it was read: {said}")))
        }
    }
}

fn count(
    session: &mut Session,
    proof: &mut Proof,
    told: &mut dyn FnMut(Progress),
) -> Result<Option<String>, (String, SqlError)> {
    let whole = |why| ("the server".to_owned(), why);
    let version = session.column("read the version", "SELECT VERSION()", &[]).map_err(whole)?;
    proof.server_version = version.into_iter().next().unwrap_or_default();
    let tables = session
        .pairs(
            "list tables",
            "SELECT table_schema, table_name FROM information_schema.tables \
             WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE') \
             AND table_schema NOT IN ('information_schema', 'performance_schema') ORDER BY 1, 2",
        )
        .map_err(whole)?;
    let (mut problems, mut digest, total) = (Vec::new(), Sha256::new(), tables.len() as u64);
    for (done, (schema, table)) in (1..).zip(&tables) {
        let name = format!("{}.{}", quote_identifier(schema), quote_identifier(table));
        let failed = |why| (name.clone(), why);
        problems.extend(check_table(session, &name).map_err(failed)?);
        if schema != "mysql" && schema != "sys" {
            let rows = first(session, "count rows", &format!("SELECT COUNT(*) FROM {name}")).map_err(failed)?;
            let sum = first_of_second(session, &format!("CHECKSUM TABLE {name}")).map_err(failed)?;
            proof.tables += 1;
            proof.rows += rows.parse::<u64>().unwrap_or(0);
            digest.update(format!("{name} {rows} {sum}\n"));
        }
        told(Progress { phase: Phase::Checking, done, total });
    }
    proof.checksum = Checksum::from(digest).to_string();
    Ok(problems.into_iter().next())
}

fn check_table(session: &mut Session, name: &str) -> Result<Option<String>, SqlError> {
    let rows = session.rows("check a table", &format!("CHECK TABLE {name}"))?;
    let mut texts = rows.iter().map(|row| {
        let column = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
        (column(2).to_lowercase(), column(3))
    });
    // Warnings tell that a table without transactions was open while it was copied.
    let wrong = texts.find(|(kind, text)| {
        kind == "error" || kind == "status" && !["OK", "Table is already up to date"].contains(&text.as_str())
    });
    Ok(wrong.map(|(_, text)| format!("{name}: {text}")))
}

fn first(session: &mut Session, what: &str, query: &str) -> Result<String, SqlError> {
    let rows = session.rows(what, query)?;
    Ok(rows.into_iter().flatten().flatten().next().unwrap_or_default())
}

fn first_of_second(session: &mut Session, query: &str) -> Result<String, SqlError> {
    let rows = session.rows("sum up a table", query)?;
    Ok(rows.into_iter().next().and_then(|row| row.into_iter().nth(1)).flatten().unwrap_or_default())
}
