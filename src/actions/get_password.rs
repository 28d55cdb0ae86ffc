//! `get-password`: the password of one of the charm's accounts; the only place that shows one.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;

/// Results `username`, `password`.
pub(super) fn run(params: &BTreeMap<String, Value>) -> anyhow::Result<BTreeMap<String, Value>> {
    let username = super::account(params)?;
    let model = super::model()?;
    let passwords =
        model.passwords.context("there are no passwords yet: the cluster has not formed, see juju status")?;
    let password = passwords.current(username)?;
    Ok(BTreeMap::from([("username".to_owned(), username.into()), ("password".to_owned(), password.into())]))
}
