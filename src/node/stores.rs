//! Where this application's backups are: the archive on this machine, and a store in the network when one is given. Whoever
//! writes takes the one that was given; whoever looks for a backup looks in both.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::backup::store::{Directory, S3, S3Settings, Store};
use crate::backup::{BackupError, Catalogue, Manifest};
use crate::mariadb::ARCHIVE_DIR;

/// What is needed to reach them. Holds secrets: written only where nobody else reads.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stores {
    /// The age identity that opens encrypted backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// For whom new backups are encrypted; nobody means that they are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// A bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Settings>,
    /// Why there is none, although one was asked for: new backups go nowhere then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").field("recipients", &self.recipients).finish_non_exhaustive()
    }
}

/// The archive's folder for backups.
pub fn archive() -> PathBuf {
    PathBuf::from(ARCHIVE_DIR).join("backups")
}

impl Stores {
    /// Where new backups go.
    ///
    /// # Errors
    /// When a bucket was asked for and cannot be used.
    pub fn main(&self) -> anyhow::Result<Box<dyn Store>> {
        if let Some(problem) = &self.problem {
            anyhow::bail!("{problem}");
        }
        match &self.s3 {
            Some(settings) => Ok(Box::new(S3::open(settings.clone())?)),
            None => Ok(Box::new(Directory::new(archive()))),
        }
    }

    /// All places, and whether each is on this machine only: the bucket first, when there is one.
    pub fn with_places(&self) -> Vec<(Box<dyn Store>, bool)> {
        let bucket = self.s3.as_ref().and_then(|settings| S3::open(settings.clone()).ok());
        let bucket = bucket.map(|bucket| (Box::new(bucket) as Box<dyn Store>, false));
        let archive: Box<dyn Store> = Box::new(Directory::new(archive()));
        bucket.into_iter().chain([(archive, true)]).collect()
    }

    /// All places in which a backup may be, the main one first.
    pub fn all(&self) -> Vec<Box<dyn Store>> {
        self.with_places().into_iter().map(|(store, _)| store).collect()
    }

    /// The backup, and what it builds on, in whichever place has it.
    ///
    /// # Errors
    /// When none has it, or it cannot be used.
    pub fn find(&self, id: &str) -> Result<(Box<dyn Store>, Vec<Manifest>), BackupError> {
        let mut first = None;
        for store in self.all() {
            let catalogue = match Catalogue::read(store.as_ref()) {
                Ok(catalogue) => catalogue,
                Err(why) => {
                    first.get_or_insert(why.into());
                    continue;
                }
            };
            match catalogue.chain(id) {
                Ok(chain) => return Ok((store, chain)),
                // A store that could not be asked may have it.
                Err(why @ BackupError::Unknown { .. }) => drop(first.get_or_insert(why)),
                Err(why) => return Err(why),
            }
        }
        Err(first.unwrap_or_else(|| BackupError::Unknown { id: id.to_owned(), store: "any store".to_owned() }))
    }
}
