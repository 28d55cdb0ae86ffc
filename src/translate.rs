//! Between the two edges: what Juju's side knows, in the words in which this machine is told what is wanted.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Context as _;

use crate::backup::store::{S3Settings, UriStyle};
use crate::backup::{self, BackupError, Keep, Order};
use crate::cluster::{BadSetting, Calendar, DbInit, Due, Observation, Peer, Peers, Turned, Unit};
use crate::mariadb::sizing::Use;
use crate::mariadb::{Paths, SOCKET};
use crate::model::credentials::{self, ACCOUNTS, Passwords};
use crate::model::observe::Model;
use crate::model::planned::{self, no_calendar};
use crate::model::s3::{self, Bucket, Place, Style};
use crate::model::settings::Profile;
use crate::node::calendar::{self, CalendarError};
use crate::node::planned::Request;
use crate::node::stores::Stores;
use crate::node::{Secrets, Wanted, live, server_options};

/// What the server's files are made of, once everything for them is known.
pub fn wanted(model: &Model, observation: &Observation) -> Option<Wanted> {
    let options = model.options.as_ref()?;
    let formation = model.juju.app.formation.as_ref()?;
    let never_synced = observation.report().db_init < DbInit::Initialised;
    let use_ = use_of(options.profile);
    let chosen = options.server.clone().with_lower_case_table_names(formation.lower_case_table_names);
    let mark = server_options::mark(&chosen, use_, options.limit_memory);
    let refuses = |turned: &Turned| turned.options == mark && turned.refused.is_some();
    let others = observation.reports().into_iter().filter(|(unit, _)| *unit != model.me);
    Some(Wanted {
        unit: model.me.to_string(),
        cluster_name: formation.name.clone(),
        address: model.address?,
        members: observation.member_addresses(),
        forming: never_synced && formation.members.contains_key(&model.me),
        use_,
        limit_memory: options.limit_memory,
        chosen,
        refused_elsewhere: others.filter_map(|(_, report)| report).any(|report| refuses(&report.turned)),
    })
}

/// Where backups are, and with which keys. What is missing is said by whoever needs it.
///
/// # Errors
/// When Juju does not answer.
pub fn stores(model: &Model) -> anyhow::Result<Stores> {
    let Some(options) = &model.options else {
        return Ok(Stores {
            problem: Some("an option has a bad value, see juju status".to_owned()),
            ..Stores::default()
        });
    };
    let (s3, problem) = match s3::observe(&options.s3)? {
        Place::None => (None, None),
        Place::Waiting(why) => (None, Some(why)),
        Place::Known(bucket) => (Some(s3_settings(&bucket)), None),
    };
    let mut stores = Stores { s3, problem, recipients: options.backup_recipients.clone(), identity: None };
    match options.backup_key.as_ref().map(credentials::age_identity) {
        None => {}
        Some(Ok(identity)) => {
            if stores.recipients.is_empty() {
                match backup::recipient_of(&identity) {
                    Ok(recipient) => stores.recipients.push(recipient),
                    Err(why @ BackupError::BadIdentity { .. }) => stores.problem = Some(why.in_words()),
                    Err(why) => return Err(why.into()),
                }
            }
            stores.identity = Some(identity);
        }
        Some(Err(why)) => drop(stores.problem.get_or_insert(format!("{why:#}"))),
    }
    Ok(stores)
}

/// What a backup of this unit is made of.
///
/// # Errors
/// When the cluster's name or the passwords are not known yet.
pub fn order(model: &Model, stores: &Stores, wanted: backup::Wanted, who: &str, why: &str) -> anyhow::Result<Order> {
    let app = &model.juju.app;
    let formation = app.formation.as_ref().context("no cluster has formed yet: there is nothing to back up")?;
    let history = app.history.as_ref().context("no cluster has formed yet: there is nothing to back up")?;
    let passwords = model.passwords.as_ref().context("the cluster's credentials cannot be read, see juju status")?;
    let password = passwords.current(BACKUP_ACCOUNT)?.to_owned();
    let cluster = backup::manifest::Cluster {
        name: formation.name.clone(),
        uuid: history.uuid.to_string(),
        branch: history.branch.0,
    };
    Ok(Order {
        unit: model.me.to_string(),
        host: model.address.map(|address| address.to_string()).unwrap_or_default(),
        application: model.me.app().to_owned(),
        model_uuid: model.model_uuid.clone(),
        cluster,
        wanted,
        recipients: stores.recipients.clone(),
        who: who.to_owned(),
        why: why.to_owned(),
        account: BACKUP_ACCOUNT.to_owned(),
        password,
        threads: 2,
        datadir: Paths::default().datadir(),
        socket: SOCKET.into(),
    })
}

/// What a planned backup of this unit is made of, as far as everything for it is known, and how long backups are kept.
///
/// # Errors
/// When Juju does not answer.
pub fn planned(model: &Model) -> anyhow::Result<Request> {
    let stores = stores(model)?;
    let options = model.options.as_ref().map(|options| &options.planned);
    let keep = Keep {
        count: options.and_then(|options| options.keep_count),
        days: options.and_then(|options| options.keep_days),
    };
    Ok(Request {
        number: 0,
        backup: order(model, &stores, backup::Wanted::Full, "schedule", "planned").ok(),
        verify: false,
        stores,
        keep,
        application: model.me.app().to_owned(),
        model_uuid: model.model_uuid.clone(),
    })
}

/// Asks what the calendar says of planned backups. Whoever does not lead only learns whether it can be read.
pub fn calendar(model: &mut Model) {
    let Some(options) = &model.options else { return };
    let planned = options.planned.clone();
    let bad: Vec<BadSetting> = planned
        .calendars()
        // From the beginning of time: one that names a single day is none that is wrong when the day has passed.
        .filter_map(|(option, text)| match calendar::next(text, 0) {
            Err(CalendarError::Invalid(why)) => Some(no_calendar(option, text, &why)),
            Ok(None) => Some(no_calendar(option, text, "it will never come")),
            Ok(Some(_)) | Err(_) => None,
        })
        .collect();
    if !bad.is_empty() {
        (model.options, model.juju.settings) = (None, Err(bad));
        return;
    }
    model.juju.calendar = match &planned.schedule {
        None => Calendar::Unset,
        Some(_) if !model.juju.leader => Calendar::Unknown,
        // Without an answer nothing is known; it is asked again.
        Some(schedule) => due(model, &planned, schedule).map_or(Calendar::Unknown, Calendar::Says),
    };
}

/// Asks the server what it would make of the options. Until a cluster has formed, nothing is fixed.
pub fn server_options(model: &mut Model) {
    let Some(options) = &model.options else { return };
    let formed = model.juju.app.formation.as_ref().map(|formation| formation.lower_case_table_names);
    let asked = options.server.lower_case_table_names();
    let mut bad: Vec<BadSetting> = formed
        .filter(|formed| *formed != asked)
        .map(|formed| BadSetting {
            option: "lower-case-table-names".to_owned(),
            problem: format!(
                "{asked} cannot be taken: the cluster has formed with {formed}, and it stays; set it back"
            ),
        })
        .into_iter()
        .collect();
    let use_ = use_of(options.profile);
    bad.extend(
        server_options::problem(&Paths::default(), &options.server, use_, options.limit_memory)
            .map(|(option, problem)| BadSetting { option: option.to_owned(), problem }),
    );
    if !bad.is_empty() {
        (model.options, model.juju.settings) = (None, Err(bad));
    }
}

fn use_of(profile: Profile) -> Use {
    match profile {
        Profile::Production => Use::Production,
        Profile::Testing => Use::Testing,
    }
}

/// A clock that was set back by more than this has made the last order's time useless.
const SET_BACK_S: u64 = 3_600;

fn due(model: &Model, planned: &planned::Options, schedule: &str) -> Result<Due, CalendarError> {
    const DAY_S: u64 = 86_400;
    let (now_s, plan) = (model.juju.now_s, model.juju.app.plan.clone().unwrap_or_default());
    let since_s = if plan.since_s > now_s.saturating_add(SET_BACK_S) { now_s } else { plan.since_s };
    let passed =
        |text: &str, since_s| Ok::<_, CalendarError>(calendar::next(text, since_s)?.is_some_and(|at| at <= now_s));
    let now = plan.is_on() && passed(schedule, since_s)?;
    let full = match &planned.fulls {
        None => true,
        Some(_) if plan.full_s == 0 => true,
        Some(fulls) => passed(fulls, plan.full_s)?,
    };
    let verify = planned
        .verify_days
        .is_some_and(|days| now_s >= plan.verified_s.saturating_add(u64::from(days).saturating_mul(DAY_S)));
    let next_s = calendar::next(schedule, since_s.max(now_s))?;
    let choosing = now || plan.order.is_some();
    Ok(Due { now, full, verify, next_s, busy: if choosing { busy(model) } else { BTreeMap::new() } })
}

/// Whose clients write how much, when somebody's turn comes next.
pub fn busy_members(model: &mut Model) {
    let idle = model.juju.app.turn.as_ref().is_none_or(|turn| turn.unit.is_none());
    let Peers::Known(peers) = &model.juju.peers else { return };
    let waits = |peer: &Peer| peer.report().is_some_and(|report| report.turned.waits);
    if model.juju.leader && idle && peers.values().any(waits) {
        model.juju.busy = busy(model);
    }
}

/// How busy the members are that answer.
fn busy(model: &Model) -> BTreeMap<Unit, u64> {
    let Peers::Known(peers) = &model.juju.peers else { return BTreeMap::new() };
    let others = peers.iter().filter_map(|(unit, peer)| Some((unit.clone(), peer.report()?.address?)));
    let asked: Vec<(Unit, IpAddr)> = others.chain(model.address.map(|address| (model.me.clone(), address))).collect();
    std::thread::scope(|scope| {
        let said: Vec<_> = asked
            .into_iter()
            .map(|(unit, address)| (unit, scope.spawn(move || live::primary(address).and_then(|live| live.busy))))
            .collect();
        said.into_iter().filter_map(|(unit, said)| Some((unit, said.join().ok()??))).collect()
    })
}

const BACKUP_ACCOUNT: &str = "charmed-backup";

/// The passwords, account by account.
pub fn secrets(passwords: &Passwords) -> Secrets {
    let accepted = ACCOUNTS
        .iter()
        .filter_map(|account| {
            let accepted = passwords.accepted(account).ok()?;
            Some(((*account).to_owned(), accepted.into_iter().map(ToOwned::to_owned).collect()))
        })
        .collect();
    Secrets { generation: passwords.generation, accepted }
}

/// Where backups go, for the store.
pub fn s3_settings(bucket: &Bucket) -> S3Settings {
    S3Settings {
        endpoint: bucket.endpoint.clone(),
        bucket: bucket.bucket.clone(),
        region: bucket.region.clone(),
        path: bucket.path.clone(),
        uri_style: match bucket.style {
            Style::Path => UriStyle::Path,
            Style::Host => UriStyle::Host,
        },
        access_key: bucket.access_key.clone(),
        secret_key: bucket.secret_key.clone(),
        tls_ca_chain: bucket.tls_ca_chain.clone(),
        storage_class: bucket.storage_class.clone(),
    }
}
