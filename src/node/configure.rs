//! The server's files from what is wanted, and what a running server takes over without a restart.

use std::time::Duration;

use anyhow::Context as _;

use super::live::{self, Live};
use super::server_options::{self, Settings};
use super::{Secrets, Wanted, agent_service, journal, observe, turn};
use crate::cluster::{DbInit, group_name};
use crate::host::{Mode, file};
use crate::mariadb::cnf::{self, ServerConfig, SstMethod};
use crate::mariadb::sql::{Session, quote_text};
use crate::mariadb::{CNF, Paths, SECRET_CNF, running};
use crate::options;

/// The account whose password state transfers use.
const SST_ACCOUNT: &str = "charmed-sst";
const ZONE: &str = "default_time_zone";
/// Below so many write-sets a cluster is as good as empty: a file copy takes a second, and blocks nobody yet.
const YOUNG_SEQNO: u64 = 1000;

/// Writes the files; restarts nothing. `running` also changes what a running server can change.
///
/// # Errors
/// When the machine cannot be read or the files cannot be written.
pub fn configure(paths: &Paths, wanted: &Wanted, secrets: Option<&Secrets>, running: bool) -> anyhow::Result<()> {
    // The volume's own: what is on another branch must not find this one.
    let branch = journal::branch(paths);
    let serving = if running { Vec::new() } else { serving(paths, wanted) };
    let settings = turn::settings(paths, wanted, running)?;
    let Settings { mut variables, provider, extra } = settings.clone();
    let known = journal::read(paths).entry().is_some_and(|entry| entry.db_init == DbInit::Initialised);
    if !known && variables.get(ZONE).is_some_and(|zone| options::names_a_zone(zone)) {
        // Its tables come with the first copy, or are filled by the founder; without them the server does not start.
        variables.remove(ZONE);
    }
    let usual = match variables.remove("wsrep_sst_method").as_deref() {
        Some("rsync") => SstMethod::Rsync,
        _ => SstMethod::Mariabackup,
    };
    let config = ServerConfig {
        cluster_name: group_name(&wanted.cluster_name, branch),
        node_name: cnf::node_name(&wanted.unit),
        node_address: wanted.address,
        members: members(wanted),
        sst_method: if wanted.forming { first_copy(&serving) } else { usual },
        // Nobody who joins at the same time as this member: it may lack the newest view, promise it in its transfer, and
        // make this member give up (docs/facts.md). Whoever serves already has every view that this join brings about.
        donors: serving.iter().map(|live| cnf::node_name(&live.unit)).collect(),
        datadir: paths.datadir().display().to_string(),
        variables,
        provider,
        extra,
    };
    let text = cnf::render(&config);
    // Options were checked before they came here. When the server cannot be asked now, addresses must change all the same:
    // then nothing is known of what waits for a restart.
    let values = if running::is_noted(paths, &text)? { None } else { as_read(paths, &text).ok() };
    let owned = paths.owned();
    owned.write(CNF, text.as_bytes(), &Mode::new(0o644))?;
    if let Some(values) = values {
        running::note_wanted(paths, &text, values)?;
    }
    agent_service::tidy(paths)?;
    let mut renewed = None;
    if let Some(secrets) = secrets {
        let password = secrets.accepted.get(SST_ACCOUNT).and_then(|accepted| accepted.first());
        let password = password.context("cannot find the state transfer's password in the cluster's secret")?;
        let text = cnf::render_secret(SST_ACCOUNT, password);
        if owned.write(SECRET_CNF, text.as_bytes(), &Mode::owned(0o640, "root", "mysql"))? {
            renewed = Some(format!("{SST_ACCOUNT}:{password}"));
        }
    }
    // Asked of the server only when it may not know yet: what was applied is noted behind it, not before.
    let applied = paths.state.join("applied.cnf");
    if running && (renewed.is_some() || file::read_to_string_opt(&applied)?.as_deref() != Some(text.as_str())) {
        apply(paths, usual, renewed.as_deref())?;
        file::write_atomic(&applied, text.as_bytes(), &Mode::new(0o600))?;
    }
    if running {
        turn::note_good(paths, &settings)?;
    }
    if let Some(secrets) = secrets {
        // Last: others count on it that a donor here knows the new password.
        observe::note_credentials(paths, secrets.generation)?;
    }
    Ok(())
}

/// This unit's own address belongs in the list, and the list is never empty: an empty one would found a cluster.
fn members(wanted: &Wanted) -> Vec<std::net::IpAddr> {
    let mut members = wanted.members.clone();
    members.push(wanted.address);
    members.sort();
    members.dedup();
    members
}

/// Members from whom this one can have its first copy now. A unit that has been Synced before asks nobody: its next start
/// may be by itself, from the files as they are.
fn serving(paths: &Paths, wanted: &Wanted) -> Vec<Live> {
    let journal = journal::read(paths);
    let Some(entry) = journal.entry().filter(|entry| entry.db_init < DbInit::Initialised) else {
        return Vec::new();
    };
    let others = wanted.members.iter().copied().filter(|address| *address != wanted.address).collect();
    entry.uuid.as_ref().map(|uuid| live::serving(uuid.as_str(), &others)).unwrap_or_default()
}

/// How to get the first copy: the stock physical copy sleeps ten seconds in its donor; while the cluster forms and is
/// as good as empty, a file copy is faster and blocks nobody.
fn first_copy(serving: &[Live]) -> SstMethod {
    let young = serving.iter().filter_map(|live| live.seqno).max();
    if young.is_some_and(|seqno| seqno < YOUNG_SEQNO) { SstMethod::Rsync } else { SstMethod::Mariabackup }
}

/// What the file says, as the server reads it. What an earlier file named and this one does not has the server's own value.
fn as_read(paths: &Paths, text: &str) -> anyhow::Result<running::Values> {
    let listing = server_options::ask(paths, text).context("cannot read the server's file as the server would")?;
    let mut values = running::named(text, &listing);
    for name in running::known(paths)? {
        if let (false, Some(value)) = (values.contains_key(&name), listing.get(&name)) {
            values.insert(name, value.clone());
        }
    }
    Ok(values)
}

/// Brings a running server in line with its files, as far as it can change while it runs.
fn apply(paths: &Paths, usual: SstMethod, renewed_auth: Option<&str>) -> anyhow::Result<()> {
    let mut session = Session::open(Duration::from_secs(10))?;
    let variables = session.pairs(
        "read the server's variables",
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_sst_method', 'wsrep_sst_donor')",
    )?;
    let now = |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default();
    if now("wsrep_sst_method") != usual.name() {
        session.run("change wsrep_sst_method", &format!("SET GLOBAL wsrep_sst_method = '{}'", usual.name()))?;
    }
    // Of those who served when this member joined, none need be there when it misses something later.
    if !now("wsrep_sst_donor").is_empty() {
        session.run("change wsrep_sst_donor", "SET GLOBAL wsrep_sst_donor = ''")?;
    }
    if let Some(auth) = renewed_auth {
        session.run("change wsrep_sst_auth", &format!("SET GLOBAL wsrep_sst_auth = {}", quote_text(auth)))?;
    }
    running::take_over(paths, &mut session)?;
    Ok(())
}
