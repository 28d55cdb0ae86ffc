//! Where this application's backups are: the archive on this machine, and a store in the network when one is given. Whoever
//! writes takes the one that was given; whoever looks for a backup looks in both.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::backup::store::{Directory, Patience, S3, S3Settings, Store};
use crate::backup::{self, BackupError, Catalogue, Manifest};
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
        Ok(match self.bucket(Patience::long())? {
            Some(bucket) => Box::new(bucket),
            None => Box::new(Directory::new(archive())),
        })
    }

    /// What keeps new backups from being made, as far as it shows without asking anybody in the network.
    pub fn trouble(&self) -> Option<String> {
        if let Err(why) = self.bucket(Patience::short()) {
            return Some(format!("{why:#}"));
        }
        match backup::check_recipients(&self.recipients) {
            Err(why @ BackupError::BadRecipients { .. }) => Some(why.in_words()),
            Ok(()) | Err(_) => None,
        }
    }

    /// Tries the bucket out, if there is one, for a person who waits.
    ///
    /// # Errors
    /// The first thing that it does not permit.
    pub fn try_out(&self) -> anyhow::Result<()> {
        let Some(bucket) = self.bucket(Patience::short())? else { return Ok(()) };
        bucket.check().map_err(|why| anyhow::anyhow!(BackupError::from(why).in_words()))
    }

    /// The bucket, when one was asked for.
    fn bucket(&self, patience: Patience) -> anyhow::Result<Option<S3>> {
        if let Some(problem) = &self.problem {
            anyhow::bail!("{problem}");
        }
        let Some(settings) = &self.s3 else { return Ok(None) };
        Ok(Some(S3::with_patience(settings.clone(), patience)?))
    }

    /// All places in which a backup may be, the main one first.
    pub fn places(&self, patience: Patience) -> Places {
        let archive: Box<dyn Store> = Box::new(Directory::new(archive()));
        match self.bucket(patience) {
            Ok(bucket) => Places { bucket: bucket.map(|bucket| Box::new(bucket) as _), problem: None, archive },
            Err(why) => Places { bucket: None, problem: Some(format!("{why:#}")), archive },
        }
    }

    /// The backup, and what it builds on, in whichever place has it.
    ///
    /// # Errors
    /// When none has it, or it cannot be used.
    pub fn find(&self, id: &str, patience: Patience) -> anyhow::Result<(Box<dyn Store>, Vec<Manifest>)> {
        let places = self.places(patience);
        // A place that cannot be asked may have it.
        let mut unasked = places.problem.clone();
        // What is at hand first: a bucket that does not answer takes its time.
        for store in [places.archive].into_iter().chain(places.bucket) {
            match Catalogue::read(store.as_ref()).map(|catalogue| catalogue.chain(id)) {
                Ok(Ok(chain)) => return Ok((store, chain)),
                Ok(Err(BackupError::Unknown { .. })) => {}
                Ok(Err(why)) => anyhow::bail!(why.in_words()),
                Err(why) => drop(unasked.get_or_insert(BackupError::from(why).in_words())),
            }
        }
        match unasked {
            Some(why) => anyhow::bail!("cannot find the backup {id}, and not every place could be asked: {why}"),
            None => anyhow::bail!(BackupError::Unknown { id: id.to_owned(), store: "any store".to_owned() }.in_words()),
        }
    }
}

/// Where a backup may be.
pub struct Places {
    /// In the network, when a bucket was asked for and can be used.
    pub bucket: Option<Box<dyn Store>>,
    /// Why it cannot be used.
    pub problem: Option<String>,
    /// On this machine.
    pub archive: Box<dyn Store>,
}
