//! Where backups are kept: named objects of bytes, in a directory or in an S3 bucket. An object is there whole or not at
//! all; what was not finished is seen by nobody.

mod directory;
mod s3;

use std::io::{Read, Write};

pub use directory::Directory;
pub use s3::{Patience, S3, S3Settings, UriStyle};

/// A place for backups.
pub trait Store: Send + Sync {
    /// What it is, for people: without a secret.
    fn describe(&self) -> String;

    /// Begins an object, in place of one that may be there. Whoever drops it unfinished leaves nothing that is seen.
    ///
    /// # Errors
    /// When the store refuses.
    fn put(&self, name: &str) -> Result<Box<dyn Upload + '_>, StoreError>;

    /// An object's bytes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none; whatever goes wrong later is an error of the reader.
    fn get(&self, name: &str) -> Result<Box<dyn Read + Send + '_>, StoreError>;

    /// All objects whose names begin with `prefix`, sorted by name.
    ///
    /// # Errors
    /// When the store refuses.
    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError>;

    /// Removes an object; one that is not there is fine.
    ///
    /// # Errors
    /// When the store refuses.
    fn delete(&self, name: &str) -> Result<(), StoreError>;

    /// Removes what uploads have left behind that began longer than `older` ago and were never finished.
    ///
    /// # Errors
    /// When the store refuses.
    fn sweep(&self, older: std::time::Duration) -> Result<(), StoreError>;

    /// Bytes that still fit, where that can be told.
    ///
    /// # Errors
    /// When the store cannot be asked.
    fn room(&self) -> Result<Option<u64>, StoreError>;
}

/// An object on its way in. [`Write::write`] may block for the network.
pub trait Upload: Write + Send {
    /// Makes the object visible; returns when it would survive a power cut.
    ///
    /// # Errors
    /// When the store refuses; then nothing is seen.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// What a listing says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Why a store does not do what it is asked for. Each text says what a person can do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object.
    #[error("cannot find {object} in {store}")]
    NotFound { object: String, store: String },
    /// No space is left.
    #[error("{store} is full: make room there, or keep fewer backups (backup-keep)")]
    Full { store: String },
    /// Anything else, with the remedy in its text.
    #[error("{problem}")]
    Refused { problem: String },
    /// It could not be asked, and was asked often enough; it may be there later. The text says what a person can do.
    #[error("{problem}")]
    Unreachable { problem: String },
    /// A connection or a file broke; another try may succeed.
    #[error("cannot {operation} in {store}")]
    Io { operation: String, store: String, source: std::io::Error },
}

/// Small objects, whole.
pub trait StoreExt: Store {
    /// Writes an object.
    ///
    /// # Errors
    /// When the store refuses.
    fn put_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut upload = self.put(name)?;
        upload.write_all(bytes).map_err(|source| self.broken("write an object", source))?;
        upload.finish()
    }

    /// Reads an object; `None` when there is none.
    ///
    /// # Errors
    /// When the store refuses, or the object is larger than `limit` bytes.
    fn get_bytes(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let reader = match self.get(name) {
            Ok(reader) => reader,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(why) => return Err(why),
        };
        let mut bytes = Vec::new();
        reader.take(limit + 1).read_to_end(&mut bytes).map_err(|source| self.broken("read an object", source))?;
        if bytes.len() as u64 > limit {
            let problem = format!("{name} in {} is larger than {limit} bytes: it is none of ours", self.describe());
            return Err(StoreError::Refused { problem });
        }
        Ok(Some(bytes))
    }

    /// An error of reading or writing, with the store's name. An error that carries a [`StoreError`] gives it back.
    fn broken(&self, operation: &str, source: std::io::Error) -> StoreError {
        if source.kind() == std::io::ErrorKind::StorageFull {
            return StoreError::Full { store: self.describe() };
        }
        match source.downcast::<StoreError>() {
            Ok(inner) => inner,
            Err(source) => StoreError::Io { operation: operation.to_owned(), store: self.describe(), source },
        }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}
