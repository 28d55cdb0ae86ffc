//! `set-password`: two-phase, so that nobody is locked out wherever the process dies. First the servers accept the new
//! password beside the old one; then Juju learns the new one; the old one is forgotten in a later pass, when every
//! member's files hold the new one.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;

use crate::juju::relation;
use crate::model::{credentials, peer_data};
use crate::node::{act, observe};
use crate::translate;

/// Result `username`; the password itself is shown by `get-password` only.
pub(super) fn run(params: &BTreeMap<String, Value>) -> anyhow::Result<BTreeMap<String, Value>> {
    let username = super::account(params)?;
    let password = params.get("password").and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(password) = password {
        check(password)?;
    }
    let model = super::model()?;
    if !model.juju.leader {
        anyhow::bail!("only the leader can change passwords: juju run {}/leader set-password", model.me.app());
    }
    let (passwords, relation) = (
        model.passwords.as_ref().context("there are no passwords yet: the cluster has not formed, see juju status")?,
        model.relation.as_ref().context("the peer relation is not there")?,
    );
    if observe::server().synced().is_none() {
        anyhow::bail!("this unit's server is not Synced, so the change could not reach the others; see juju status");
    }
    let changed = passwords.changed(username, password)?;
    act::accept_passwords(&translate::secrets(&changed))?;
    let text = credentials::keep(&changed, model.credentials.as_ref())?;
    relation::set_app(relation, &peer_data::write_credentials(&text))?;
    Ok(BTreeMap::from([("username".to_owned(), username.into())]))
}

fn check(password: &str) -> anyhow::Result<()> {
    let length = password.chars().count();
    if !(8..=64).contains(&length) {
        anyhow::bail!("password has {length} characters; 8 to 64 are allowed");
    }
    if !password.chars().all(|c| c.is_ascii_graphic()) {
        anyhow::bail!("password has blanks, control or non-ASCII characters; use letters, digits and punctuation");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_that_would_trip_somebody_up_are_refused_with_the_reason() {
        let said = |password: &str| check(password).map_or_else(|why| why.to_string(), |()| "fine".to_owned());
        assert_eq!(said("correct-horse"), "fine");
        assert_eq!(said("short"), "password has 5 characters; 8 to 64 are allowed");
        assert!(said("with blanks in it").starts_with("password has blanks"));
    }
}
