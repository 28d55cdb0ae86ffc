//! Between the two edges: what Juju's side knows, in the words in which this machine is told what is wanted.

use anyhow::Context as _;

use crate::backup::store::{S3Settings, UriStyle};
use crate::backup::{self, Order};
use crate::cluster::{DbInit, Observation};
use crate::mariadb::sizing::Use;
use crate::mariadb::{Paths, SOCKET};
use crate::model::credentials::{self, ACCOUNTS, Passwords};
use crate::model::observe::Model;
use crate::model::s3::{self, Bucket, Place, Style};
use crate::model::settings::Profile;
use crate::node::stores::Stores;
use crate::node::{Secrets, Wanted};

/// What the server's files are made of, once everything for them is known.
pub fn wanted(model: &Model, observation: &Observation) -> Option<Wanted> {
    let options = model.options.as_ref()?;
    let formation = model.juju.app.formation.as_ref()?;
    let never_synced = observation.report().db_init < DbInit::Initialised;
    Some(Wanted {
        unit: model.me.to_string(),
        cluster_name: formation.name.clone(),
        address: model.address?,
        members: observation.member_addresses(),
        forming: never_synced && formation.members.contains_key(&model.me),
        use_: match options.profile {
            Profile::Production => Use::Production,
            Profile::Testing => Use::Testing,
        },
        max_connections: options.max_connections,
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
                stores.recipients.push(backup::recipient_of(&identity)?);
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
