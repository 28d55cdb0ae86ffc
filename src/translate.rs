//! Between the two edges: what Juju's side knows, in the words in which this machine is told what is wanted.

use crate::cluster::{DbInit, Observation};
use crate::mariadb::sizing::Use;
use crate::model::credentials::{ACCOUNTS, Passwords};
use crate::model::observe::Model;
use crate::model::settings::Profile;
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
