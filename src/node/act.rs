//! Doing: each step looks again before it can do harm, and stops the pass when it did not succeed.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;

use super::live::{self, Asked};
use super::stores::Stores;
use super::{
    Secrets, Wanted, agent_service, bring, configure, departure, doorway, journal, last_view, observe, outage, planned,
    turn,
};
use crate::cluster::{Answer, DbInit, Epoch, JournalEntry, LastView, Position, Step, stands_in_the_way};
use crate::mariadb::datadir::{self, Found};
use crate::mariadb::sql::Session;
use crate::mariadb::{Paths, SOCKET, account, drain, halfway, install, service};

/// What steps are carried out with.
pub struct Hands<'a> {
    pub paths: &'a Paths,
    /// What the server's files are made of, once it is known.
    pub wanted: Option<&'a Wanted>,
    /// The passwords, once they are at hand.
    pub secrets: Option<&'a Secrets>,
    /// Where backups are, once it is known.
    pub stores: Option<&'a Stores>,
    /// What a planned backup is made of. Asked for when one is to be made: it takes questions to Juju.
    pub planned: &'a dyn Fn() -> anyhow::Result<planned::Request>,
    /// The server was a full member when it was looked at.
    pub running: bool,
    /// Told what takes long.
    pub progress: &'a mut dyn FnMut(&str),
}

/// What became of a step.
#[derive(Debug)]
pub enum Outcome {
    /// It is done.
    Done,
    /// What it assumed was no longer true; nothing was changed.
    Skipped(String),
    /// It did not succeed.
    Failed(anyhow::Error),
}

/// Carries steps out in order, and stops behind the first that is not done. The last outcome tells how it went.
pub fn act(steps: &[Step], hands: &mut Hands<'_>) -> Outcome {
    for step in steps {
        match one(step, hands) {
            Ok(None) => {}
            Ok(Some(why)) => return Outcome::Skipped(format!("{step}: {why}")),
            Err(why) => return Outcome::Failed(why.context(format!("cannot {step}"))),
        }
    }
    Outcome::Done
}

/// `Some` says why nothing was done.
fn one(step: &Step, hands: &mut Hands<'_>) -> anyhow::Result<Option<String>> {
    let paths = hands.paths;
    match step {
        Step::Install => {
            install::install(paths, hands.progress)?;
            agent_service::install(paths)?;
        }
        Step::AdoptVolume => {
            if journal::read(paths).entry().is_some() {
                return Ok(Some("the volume has a journal already".to_owned()));
            }
            // A disk was lost: what the server was permitted on the one before does not hold here.
            service::stop_idle(paths)?;
            observe::withdraw_answer(paths)?;
            journal::write(paths, &JournalEntry::adopted())?;
        }
        Step::Configure => {
            let Some(wanted) = hands.wanted else {
                return Ok(Some("the address or the cluster's name is not known yet".to_owned()));
            };
            configure::configure(paths, wanted, hands.secrets, hands.running)?;
        }
        Step::Advance(next) => change_journal(paths, |entry| entry.db_init = entry.db_init.max(*next))?,
        Step::Bootstrap { epoch, from, branch, ask, put } => {
            return bootstrap(hands, (*epoch, *branch), from.as_ref(), ask, *put);
        }
        Step::SetUpAccounts => {
            (hands.progress)("setting up accounts and time zones");
            let mut session = Session::open(Duration::from_secs(120))?;
            account::first_time_setup(&mut session, SOCKET)?;
            accounts(&mut session, hands.secrets)?;
            change_journal(paths, |entry| entry.accounts = true)?;
        }
        Step::RenewAccounts => {
            accounts(&mut Session::open(Duration::from_secs(120))?, hands.secrets)?;
            change_journal(paths, |entry| entry.restored = false)?;
        }
        Step::SettleCredentials { generation } => {
            let Some(secrets) = hands.secrets.filter(|secrets| secrets.generation == *generation) else {
                return Ok(Some("the passwords have changed again".to_owned()));
            };
            let only_current = Secrets {
                generation: *generation,
                accepted: secrets
                    .accepted
                    .iter()
                    .map(|(a, p)| (a.clone(), p.iter().take(1).cloned().collect()))
                    .collect(),
            };
            accounts(&mut Session::open(Duration::from_secs(30))?, Some(&only_current))?;
        }
        Step::Expect(uuid) => change_journal(paths, |entry| entry.uuid = Some(uuid.clone()))?,
        Step::Join => {
            observe::withdraw_answer(paths)?;
            if datadir::look(paths) == Found::Nothing {
                datadir::make_empty(paths)?;
            }
            service::join(paths)?;
        }
        Step::MarkInitialised(uuid) => change_journal(paths, |entry| {
            entry.db_init = DbInit::Initialised;
            entry.uuid = Some(uuid.clone());
        })?,
        Step::Stop => {
            // Decided for a server in which Galera has given up, or which serves another history: the first is idle.
            stop(paths)?;
        }
        Step::AnswerCall(epoch) => {
            if observe::server().primary().is_some() {
                return Ok(Some("the server has found its way back into a primary component".to_owned()));
            }
            service::stop_idle(paths)?;
            configure_for_answer(hands);
            answer(paths, *epoch)?;
        }
        Step::StopAndAnswer(epoch) => {
            stop(paths)?;
            answer(paths, *epoch)?;
        }
        Step::BringBack { epoch, to } => bring::begin(paths, *epoch, to, hands.stores)?,
        Step::ForgetBrought(epoch) => bring::forget(paths, *epoch)?,
        Step::DropAside(branch) => datadir::drop_aside(paths, branch.0)?,
        Step::BackUp(order) => planned::begin(paths, order, (hands.planned)()?)?,
        Step::ExpireBackups(number) => planned::begin_to_expire(paths, *number, (hands.planned)()?)?,
        Step::Restart(number) => return turn::restart(paths, *number, hands.wanted),
        Step::PassTurn(number) => turn::pass(paths, *number)?,
        Step::TakeBranch(branch) => {
            service::stop_idle(paths)?;
            // A unit without a copy may have waited for another history than the one that it finds there.
            change_journal(paths, |entry| (entry.branch, entry.uuid) = (entry.branch.max(*branch), None))?;
        }
        Step::MoveAside(branch) => {
            stop(paths)?;
            observe::withdraw_answer(paths)?;
            datadir::set_aside(paths, branch.0)?;
            // What comes next may be another history: that of a restore.
            change_journal(paths, |entry| (entry.branch, entry.uuid) = (entry.branch.max(*branch), None))?;
        }
        Step::Leave => {
            if let Some(wanted) = hands.wanted {
                departure::take_turn(paths, &wanted.unit, wanted.address, &wanted.members)?;
            }
            // Whoever cannot say that it goes, goes all the same.
            let _told = drain::begin(paths);
            stop(paths)?;
            agent_service::stop()?;
        }
    }
    Ok(None)
}

/// Cleanly when it serves; otherwise it has nothing to finish.
fn stop(paths: &Paths) -> anyhow::Result<()> {
    if observe::server().primary().is_some() { service::stop(paths) } else { service::stop_idle(paths) }
}

/// The position is found by the server's own program, which reads its file: options that were mended have to be there. What
/// cannot be written now is said by the next step that needs it.
fn configure_for_answer(hands: &Hands<'_>) {
    if let Some(wanted) = hands.wanted {
        let _said_later = configure::configure(hands.paths, wanted, hands.secrets, false);
    }
}

/// The answer to a call, with the server stopped.
fn answer(paths: &Paths, epoch: Epoch) -> anyhow::Result<()> {
    let position = match datadir::measure(paths)? {
        None => None,
        Some((uuid, seqno)) => Some(Position { uuid: uuid.parse().map_err(anyhow::Error::msg)?, seqno }),
    };
    let (view, halfway) = (last_view::read(paths, journal::branch(paths)), halfway::read(paths).is_some());
    observe::write_answer(paths, &Answer { epoch, position, view, halfway, stands: false })
}

fn change_journal(paths: &Paths, change: impl FnOnce(&mut JournalEntry)) -> anyhow::Result<()> {
    let mut entry = journal::read(paths).entry().cloned().context("cannot read the journal on the data volume")?;
    change(&mut entry);
    Ok(journal::write(paths, &entry)?)
}

fn bootstrap(
    hands: &Hands<'_>,
    (epoch, branch): (Epoch, Epoch),
    from: Option<&Position>,
    ask: &[IpAddr],
    put: Option<Epoch>,
) -> anyhow::Result<Option<String>> {
    let paths = hands.paths;
    let me = hands.wanted.context("cannot bootstrap: the address or the cluster's name is not known yet")?;
    let entry = journal::read(paths).entry().cloned().context("cannot read the journal on the data volume")?;
    let used = entry.used_epoch;
    if used >= epoch {
        return Ok(Some(format!("permission {epoch} was used already")));
    }
    if from.is_none() {
        let interrupted = used > Epoch::default();
        match datadir::look(paths) {
            Found::Nothing => {}
            Found::State(state) if state.uuid.is_none() && interrupted => datadir::move_aside(paths, used.0)?,
            Found::Torn(_) | Found::Odd(_) if interrupted => datadir::move_aside(paths, used.0)?,
            Found::State(_) | Found::Torn(_) | Found::Odd(_) => {
                return Ok(Some("there is data where there must be none".to_owned()));
            }
        }
    }
    // Before asking: of two who do this at the same moment one at least sees the other here.
    let _doorway = doorway::enter(paths)?;
    for address in ask {
        match live::ask(*address) {
            Asked::Nobody => {}
            Asked::Said(live) if live.bootstraps => {
                return Ok(Some(format!("{} at {address} is about to bootstrap", live.unit)));
            }
            Asked::Said(live) if !live.primary => {}
            Asked::Said(live) if !stands_in_the_way(live.branch.map(Epoch), entry.branch) => {}
            Asked::Said(live) => return Ok(Some(format!("{} at {address} is part of a primary component", live.unit))),
            Asked::Unclear(why) => return Ok(Some(why)),
        }
    }
    if let (Some(restore), Some(position)) = (put, from) {
        // The permission is not used up yet: cut off in here, the same permission goes on.
        bring::put(paths, restore, branch, position)?;
    }
    // The permission says that nobody else is waited for; on the branch that it begins, nobody else is there.
    // A new cluster's first permission is no restart.
    let since = if from.is_some() { epoch } else { Epoch::default() };
    last_view::write(paths, branch, &LastView { members: [(me.address, me.unit.parse().ok())].into(), since })?;
    // Used up before anything happens: dying behind this line costs a permission, dying before it costs nothing, and
    // neither bootstraps twice.
    change_journal(paths, |entry| {
        (entry.used_epoch, entry.branch) = (epoch, branch);
        if let Some(position) = from {
            entry.uuid = Some(position.uuid.clone());
        }
        entry.restored |= put.is_some();
    })?;
    if put.is_some() {
        bring::done(paths)?;
    }
    configure::configure(paths, me, hands.secrets, false)?;
    observe::withdraw_answer(paths)?;
    if from.is_none() {
        datadir::make_first(paths)?;
    }
    outage::begin_anew(paths)?;
    service::bootstrap(paths, epoch.0, from.map(|p| (p.uuid.to_string(), p.seqno)))?;
    Ok(None)
}

fn accounts(session: &mut Session, secrets: Option<&Secrets>) -> anyhow::Result<()> {
    let secrets = secrets.context("cannot set up accounts without the cluster's credentials")?;
    for account in &account::ACCOUNTS {
        let accepted = secrets
            .accepted
            .get(account.name)
            .with_context(|| format!("cannot find the password of {}", account.name))?;
        let accepted: Vec<&str> = accepted.iter().map(String::as_str).collect();
        account::ensure(session, account, &accepted)?;
    }
    Ok(())
}

/// Makes the server accept these passwords, on every member, because it is replicated.
///
/// # Errors
/// When the server refuses.
pub fn accept_passwords(secrets: &Secrets) -> anyhow::Result<()> {
    accounts(&mut Session::open(Duration::from_secs(30))?, Some(secrets))
}
