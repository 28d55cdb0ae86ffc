//! Storage that Juju has attached to this unit.

use std::path::PathBuf;

use serde::Deserialize;

use super::tool::{self, Error};

/// One storage instance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Storage {
    /// `filesystem` or `block`.
    pub kind: String,
    /// Where it is mounted.
    pub location: PathBuf,
}

/// The ids (`data/0`) of what is attached under a name of metadata.yaml.
///
/// # Errors
/// When Juju does not answer.
pub fn list(name: &str) -> Result<Vec<String>, Error> {
    Ok(tool::read::<Option<_>>("storage-list", &[name])?.unwrap_or_default())
}

/// One of them.
///
/// # Errors
/// "Not found" when it is no longer attached.
pub fn get(id: &str) -> Result<Storage, Error> {
    tool::read("storage-get", &["-s", id])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_has_a_kind_and_a_place() {
        let storage: Storage =
            tool::parse("storage-get", "{\"kind\":\"filesystem\",\"location\":\"/var/lib/mysql\"}\n").unwrap();
        assert_eq!((storage.kind.as_str(), storage.location.to_str()), ("filesystem", Some("/var/lib/mysql")));
    }
}
