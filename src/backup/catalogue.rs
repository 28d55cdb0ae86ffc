//! What is in a store: all backups, whatever became of them, and which of them can be brought back.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::error::BackupError;
use super::manifest::{self, BEGUN, Begun, DATA, FAILED, Failed, MANIFEST, Manifest, PROOF, Proof};
use super::store::{Object, Store, StoreError, StoreExt as _};
use crate::host::clock::Timestamp;

/// The largest manifest that is read: it is one of many hundred terabytes.
const TEXT_BYTES_MAX: u64 = 256 << 20;
/// Whoever says nothing for so long does not write any more.
const SILENCE_SECONDS: i64 = 15 * 60;

/// All backups of a store, oldest first.
#[derive(Clone, Debug)]
pub struct Catalogue {
    store: String,
    entries: Vec<Entry>,
}

/// A backup, or what is left of one.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub id: String,
    /// What became of it.
    pub shape: Shape,
    /// The last proof; one that cannot be read is none.
    pub proof: Option<Proof>,
    /// Its objects, with their whole names.
    pub objects: Vec<Object>,
}

/// What became of a backup.
#[derive(Clone, Debug)]
pub enum Shape {
    /// It exists.
    Finished(Box<Manifest>),
    /// It came to nothing, and says why.
    Failed(Failed),
    /// It is being written, or its writer was killed. None has begun it: what is left after its beginning was removed.
    Unfinished(Vec<Begun>),
    /// Its manifest is no good; completes "its manifest ...".
    Unreadable(String),
}

impl Entry {
    /// Its manifest, if it is one that exists.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.shape {
            Shape::Finished(manifest) => Some(manifest),
            Shape::Failed(_) | Shape::Unfinished(_) | Shape::Unreadable(_) => None,
        }
    }

    /// When it began.
    pub fn began(&self) -> Option<Timestamp> {
        Timestamp::parse(&self.id)
    }

    /// Bytes of its data in the store.
    pub fn data_bytes(&self) -> u64 {
        let data = format!("{}/{DATA}", self.id);
        self.objects.iter().filter(|object| object.name.starts_with(&data)).map(|object| object.bytes).sum()
    }

    /// Whether somebody may still be writing it.
    pub fn is_in_progress(&self, now: Timestamp) -> bool {
        match &self.shape {
            Shape::Unfinished(begun) => begun.iter().any(|begun| !is_silent(begun, now)),
            Shape::Finished(_) | Shape::Failed(_) | Shape::Unreadable(_) => false,
        }
    }

    /// Whether it was made, or begun, by this application of this model.
    pub fn is_of(&self, application: &str, model_uuid: &str) -> bool {
        let same = |app: &str, model: &str| app == application && model == model_uuid;
        match &self.shape {
            Shape::Finished(manifest) => same(&manifest.application, &manifest.model_uuid),
            Shape::Failed(failed) => same(&failed.application, &failed.model_uuid),
            Shape::Unfinished(begun) => {
                !begun.is_empty() && begun.iter().all(|begun| same(&begun.application, &begun.model_uuid))
            }
            Shape::Unreadable(_) => false,
        }
    }
}

/// Whether its writer has not been heard of for long.
pub(super) fn is_silent(begun: &Begun, now: Timestamp) -> bool {
    now.unix_seconds() - begun.alive.unix_seconds() > SILENCE_SECONDS
}

impl Catalogue {
    /// Reads all manifests.
    ///
    /// # Errors
    /// When the store refuses. A backup that is no good is an entry that says so.
    pub fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let mut folders: BTreeMap<String, Vec<Object>> = BTreeMap::new();
        for object in store.list("")? {
            // Whatever else people keep there is not ours to judge.
            let folder = object.name.split_once('/').map(|(folder, _)| folder.to_owned());
            if let Some(folder) = folder.filter(|folder| manifest::is_id(folder)) {
                folders.entry(folder).or_default().push(object);
            }
        }
        let mut entries = Vec::new();
        for (id, objects) in folders {
            let shape = shape(store, &id, &objects)?;
            let proof = match has(&objects, &id, PROOF) {
                true => read::<Proof>(store, &id, PROOF)?.and_then(Result::ok),
                false => None,
            };
            entries.push(Entry { id, shape, proof, objects });
        }
        Ok(Self { store: store.describe(), entries })
    }

    /// All of them, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// This one.
    pub fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// What is needed to bring a backup back, its full one first.
    ///
    /// # Errors
    /// When one of them does not exist or lacks an object. Nothing of the data was read.
    pub fn chain(&self, id: &str) -> Result<Vec<Manifest>, BackupError> {
        let mut chain = vec![self.usable(id)?];
        while let Some(parent) = chain.last().and_then(|child| child.parent.clone()) {
            let child = chain.last().map(|child| child.id.clone()).unwrap_or_default();
            let broken = |why: String| BackupError::Parent { id: id.to_owned(), parent: parent.clone(), why };
            // An older name at each step: damaged ones cannot lead in circles.
            if parent >= child {
                return Err(broken("is not older".to_owned()));
            }
            if self.entry(&parent).is_none() {
                return Err(broken("is gone".to_owned()));
            }
            chain.push(self.usable(&parent).map_err(|why| broken(without_name(&why, &parent)))?);
        }
        chain.reverse();
        Ok(chain)
    }

    /// The backup of a chain that was found to be no good when it was last proved, and why.
    pub fn found_bad(&self, chain: &[Manifest]) -> Option<(String, String)> {
        chain.iter().find_map(|made| {
            let problem = self.entry(&made.id)?.proof.as_ref()?.problem.clone()?;
            Some((made.id.clone(), problem))
        })
    }

    fn usable(&self, id: &str) -> Result<Manifest, BackupError> {
        let id = id.to_owned();
        let Some(entry) = self.entry(&id) else { return Err(BackupError::Unknown { id, store: self.store.clone() }) };
        let manifest = match &entry.shape {
            Shape::Finished(manifest) => manifest,
            Shape::Failed(failed) => return Err(BackupError::Failed { id, reason: failed.reason.clone() }),
            Shape::Unfinished(_) => return Err(BackupError::Unfinished { id }),
            Shape::Unreadable(why) => return Err(BackupError::Manifest { id, why: why.clone() }),
        };
        for part in &manifest.files {
            let name = format!("{id}/{}", part.name);
            let Some(object) = entry.objects.iter().find(|object| object.name == name) else {
                return Err(BackupError::MissingObject { id, object: part.name.clone() });
            };
            if object.bytes != part.bytes {
                let (is, should) = (object.bytes, part.bytes);
                return Err(BackupError::Size { id, object: part.name.clone(), is, should });
            }
        }
        Ok(*manifest.clone())
    }
}

/// Completes "the backup ..., which ...".
fn without_name(why: &BackupError, id: &str) -> String {
    let text = why.in_words();
    let head = format!("cannot use the backup {id}: ");
    text.strip_prefix(&head).map_or_else(|| text.clone(), |rest| format!("cannot be used: {rest}"))
}

fn has(objects: &[Object], id: &str, name: &str) -> bool {
    let whole = format!("{id}/{name}");
    objects.iter().any(|object| object.name == whole)
}

fn shape(store: &dyn Store, id: &str, objects: &[Object]) -> Result<Shape, StoreError> {
    if has(objects, id, MANIFEST) {
        match read::<Manifest>(store, id, MANIFEST)? {
            Some(Ok(manifest)) if manifest.id == id => return Ok(Shape::Finished(Box::new(manifest))),
            Some(Ok(manifest)) => return Ok(Shape::Unreadable(format!("is that of the backup {}", manifest.id))),
            Some(Err(why)) => return Ok(Shape::Unreadable(why)),
            // Removed since it was listed: what is left is judged without it.
            None => {}
        }
    }
    if has(objects, id, FAILED) {
        match read::<Failed>(store, id, FAILED)? {
            Some(Ok(failed)) => return Ok(Shape::Failed(failed)),
            Some(Err(why)) => return Ok(Shape::Unreadable(format!("is missing, and its reason {why}"))),
            None => {}
        }
    }
    let mut begun = Vec::new();
    let beginning = format!("{id}/{BEGUN}");
    for object in objects.iter().filter(|object| object.name.starts_with(&beginning)) {
        let name = object.name.trim_start_matches(id).trim_start_matches('/');
        begun.extend(read::<Begun>(store, id, name)?.and_then(Result::ok));
    }
    Ok(Shape::Unfinished(begun))
}

/// `None` when it is gone; inside, why it is no good.
fn read<T: DeserializeOwned>(store: &dyn Store, id: &str, name: &str) -> Result<Option<Result<T, String>>, StoreError> {
    let bytes = store.get_bytes(&format!("{id}/{name}"), TEXT_BYTES_MAX)?;
    Ok(bytes.map(|bytes| manifest::parse(&bytes).map_err(|why| why.to_string())))
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
