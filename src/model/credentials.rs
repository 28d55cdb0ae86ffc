//! The shared passwords: made once by the leader, kept in a secret of the application, or in the peer application
//! databag where Juju has no secrets (2.9). Their values leave this module only as [`Passwords`].

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context as _;
use rand::RngExt as _;

use super::peer_data::{Bag, CredentialsText, read_credentials};
use crate::cluster::Credentials;
use crate::juju::secret::{self, Owner, Revision, SecretContent, Which};
use crate::juju::{SecretUri, log};

/// The secret's label; the owner's label is visible to all units of the application.
const LABEL: &str = "database-peers.mariadb-galera.app";
/// Long enough for ever, and without characters that need quoting anywhere.
const PASSWORD_LENGTH: usize = 24;
/// Behind an account's name: the password that it had before, still accepted until everybody knows the new one.
const PREVIOUS: &str = "-previous";

/// Accounts with a password, as the keys of the secret.
pub const ACCOUNTS: [&str; 4] = ["charmed-operator", "charmed-stats", "charmed-backup", "charmed-sst"];

/// The passwords in their current generation.
#[derive(Clone, PartialEq, Eq)]
pub struct Passwords {
    /// Rises with every change.
    pub generation: u32,
    /// Up to this generation older passwords are no longer accepted.
    pub settled: u32,
    values: BTreeMap<String, String>,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passwords(generation {})", self.generation)
    }
}

/// The key that opens encrypted backups, from the secret that the operator has made for it.
///
/// # Errors
/// When the secret cannot be read, or has no such key.
pub fn age_identity(uri: &SecretUri) -> anyhow::Result<String> {
    let content = secret::get(Which::Uri(uri), Revision::Refresh);
    let content =
        content.context("cannot read the secret of backup-key; grant it to this application (juju grant-secret)")?;
    let identity = content.get("age-identity").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    identity.context("the secret of backup-key needs the key age-identity, as age-keygen makes it")
}

impl Passwords {
    /// A fresh set.
    pub fn make() -> Self {
        let values = ACCOUNTS.iter().map(|account| ((*account).to_owned(), random_password())).collect();
        Self { generation: 1, settled: 1, values }
    }

    /// An account's password.
    ///
    /// # Errors
    /// When the secret lacks it: it was changed by hand.
    pub fn current(&self, account: &str) -> anyhow::Result<&str> {
        let value = self.values.get(account);
        value
            .map(String::as_str)
            .with_context(|| format!("cannot find the password of {account} in the cluster's secret"))
    }

    /// What the server must accept for an account, the current one first.
    ///
    /// # Errors
    /// As [`Self::current`].
    pub fn accepted(&self, account: &str) -> anyhow::Result<Vec<&str>> {
        let mut accepted = vec![self.current(account)?];
        if self.settled < self.generation {
            accepted.extend(self.values.get(&format!("{account}{PREVIOUS}")).map(String::as_str));
        }
        Ok(accepted)
    }

    /// The next generation: one account with a new password, its present one remembered.
    ///
    /// # Errors
    /// When an earlier change is not settled yet: three passwords for one account would lock somebody out.
    pub fn changed(&self, account: &str, password: Option<&str>) -> anyhow::Result<Self> {
        if self.settled < self.generation {
            anyhow::bail!("an earlier password change is still on its way to every unit; try again in a minute");
        }
        let mut values: BTreeMap<String, String> = self
            .values
            .iter()
            .filter(|(key, _)| !key.ends_with(PREVIOUS))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let present = self.current(account)?.to_owned();
        let password = password.map_or_else(random_password, ToOwned::to_owned);
        values.insert(format!("{account}{PREVIOUS}"), present);
        values.insert(account.to_owned(), password);
        Ok(Self { generation: self.generation + 1, settled: self.settled, values })
    }
}

/// Letters and digits, drawn from the operating system's generator.
fn random_password() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
    let mut rng = rand::rng();
    (0..PASSWORD_LENGTH).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

/// Reads the passwords that the application databag points to.
///
/// # Errors
/// When the databag's key is there and cannot be understood.
pub fn read(app_bag: &Bag) -> anyhow::Result<(Credentials, Option<Passwords>, Option<CredentialsText>)> {
    let Some(text) = read_credentials(app_bag).map_err(|why| anyhow::anyhow!(why))? else {
        return Ok((Credentials::Absent, None, None));
    };
    let values = match (&text.secret_id, &text.values) {
        (Some(id), _) => match from_secret(id) {
            Ok(values) => values,
            // Published before the grant or the copy is there: it comes by itself, so this is a reason to wait.
            Err(why) => return Ok((Credentials::Unreadable(format!("{why:#}")), None, Some(text))),
        },
        (None, Some(values)) => values.clone(),
        (None, None) => {
            return Ok((Credentials::Unreadable("the databag names no secret".to_owned()), None, Some(text)));
        }
    };
    // The secret can be newer or older than the databag that speaks of it; the files are written from the secret.
    let passwords = Passwords { generation: text.generation, settled: text.settled, values };
    if let Err(why) = ACCOUNTS.iter().try_for_each(|account| passwords.current(account).map(drop)) {
        return Ok((Credentials::Unreadable(why.to_string()), None, Some(text)));
    }
    let known = Credentials::Known { generation: text.generation, settled: text.settled };
    Ok((known, Some(passwords), Some(text)))
}

fn from_secret(id: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let uri: SecretUri = id.parse().map_err(|_| anyhow::anyhow!("cannot read {id:?} as a secret's address"))?;
    let content = secret::get(Which::Uri(&uri), Revision::Refresh)?;
    Ok(content.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// Keeps passwords for the application; returns what its databag says of them. Becomes true when the hook ends well.
///
/// # Errors
/// When Juju refuses the secret.
pub fn keep(passwords: &Passwords, before: Option<&CredentialsText>) -> anyhow::Result<CredentialsText> {
    let (generation, settled) = (passwords.generation, passwords.settled);
    if !secret::available() {
        return Ok(CredentialsText { secret_id: None, values: Some(passwords.values.clone()), generation, settled });
    }
    let content: SecretContent = passwords.values.clone().into_iter().collect();
    let id = match before.and_then(|text| text.secret_id.clone()) {
        Some(id) => {
            let uri: SecretUri = id.parse().map_err(|_| anyhow::anyhow!("cannot read {id:?} as a secret's address"))?;
            secret::set(&uri, &content)?;
            id
        }
        None => {
            secret::add(Owner::Application, LABEL, "Passwords of the cluster's own accounts", &content)?.to_string()
        }
    };
    Ok(CredentialsText { secret_id: Some(id), values: None, generation, settled })
}

/// Drops a revision that nobody uses any more; unhandled they pile up in the controller for ever.
pub fn forget_revision(id: &str, revision: u64) {
    let Ok(uri) = id.parse::<SecretUri>() else {
        return;
    };
    if let Err(why) = secret::remove_revision(&uri, revision) {
        log::warning(&format!("cannot remove revision {revision} of {id}: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_remembers_the_present_password_until_it_is_settled() {
        let first = Passwords::make();
        let before = first.current("charmed-operator").unwrap().to_owned();
        let second = first.changed("charmed-operator", Some("s3same-open")).unwrap();
        assert_eq!(second.accepted("charmed-operator").unwrap(), ["s3same-open", &before]);
        assert_eq!(second.accepted("charmed-stats").unwrap(), [first.current("charmed-stats").unwrap()]);
        assert!(second.changed("charmed-operator", None).is_err(), "a third password would lock somebody out");
        let settled = Passwords { settled: second.generation, ..second };
        assert_eq!(settled.accepted("charmed-operator").unwrap(), ["s3same-open"]);
    }

    #[test]
    fn nothing_prints_a_password() {
        let passwords = Passwords::make();
        assert_eq!(format!("{passwords:?}"), "Passwords(generation 1)");
        assert_eq!(passwords.current("charmed-sst").unwrap().len(), PASSWORD_LENGTH);
    }
}
