//! A backup's bytes on their way into objects and out of them: cut into chunks, each with its checksum. What comes out
//! was compared first, chunk by chunk.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use super::error::BackupError;
use super::manifest::{Checksum, Manifest, Part, data_name};
use super::store::{Store, StoreError, StoreExt as _, Upload};

/// How much has a checksum of its own: what is damaged is told so exactly, and so much is held when it is read.
pub const CHUNK_BYTES: u64 = 16 << 20;
/// The largest object: one that breaks on its way is sent again from its beginning.
pub const OBJECT_BYTES: u64 = 1 << 30;

/// Where to cut.
#[derive(Clone, Copy, Debug)]
pub struct Cuts {
    pub chunk_bytes: u64,
    /// A multiple of the chunk's.
    pub object_bytes: u64,
}

impl Default for Cuts {
    fn default() -> Self {
        Self { chunk_bytes: CHUNK_BYTES, object_bytes: OBJECT_BYTES }
    }
}

/// Takes a stream and puts it into a backup's folder.
pub struct Sink<'a> {
    store: &'a dyn Store,
    id: String,
    cuts: Cuts,
    open: Option<Open<'a>>,
    parts: Vec<Part>,
}

/// The object that is being written.
struct Open<'a> {
    upload: Box<dyn Upload + 'a>,
    part: Part,
    chunk: Sha256,
    chunk_bytes: u64,
}

fn part(number: usize) -> Part {
    Part { name: data_name(number), bytes: 0, chunks: Vec::new() }
}

impl<'a> Sink<'a> {
    /// Into the folder of this backup.
    pub fn new(store: &'a dyn Store, id: &str, cuts: Cuts) -> Self {
        Self { store, id: id.to_owned(), cuts, open: None, parts: Vec::new() }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn put(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let open = match &mut self.open {
                Some(open) => open,
                None => {
                    let part = part(self.parts.len() + 1);
                    let upload = self.store.put(&format!("{}/{}", self.id, part.name))?;
                    self.open.insert(Open { upload, part, chunk: Sha256::new(), chunk_bytes: 0 })
                }
            };
            let room = self.cuts.chunk_bytes - open.chunk_bytes;
            let (now, later) = bytes.split_at(usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len()));
            open.chunk.update(now);
            open.upload.write_all(now).map_err(|source| self.store.broken("write an object", source))?;
            open.chunk_bytes += now.len() as u64;
            open.part.bytes += now.len() as u64;
            if open.chunk_bytes == self.cuts.chunk_bytes {
                open.end_chunk();
            }
            if open.part.bytes >= self.cuts.object_bytes {
                self.end_object()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Ends the last object.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn finish(mut self) -> Result<Vec<Part>, StoreError> {
        self.end_object()?;
        Ok(self.parts)
    }

    fn end_object(&mut self) -> Result<(), StoreError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        if open.chunk_bytes > 0 {
            open.end_chunk();
        }
        open.upload.finish()?;
        self.parts.push(open.part);
        Ok(())
    }
}

impl Open<'_> {
    fn end_chunk(&mut self) {
        self.part.chunks.push(Checksum::from(std::mem::take(&mut self.chunk)));
        self.chunk_bytes = 0;
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A backup's stream out of its objects. Holds one chunk, and hands it on only when it is the one that was written.
pub struct Source<'a> {
    store: &'a dyn Store,
    manifest: &'a Manifest,
    /// Of the object that is being read.
    index: usize,
    chunk: usize,
    open: Option<Box<dyn Read + Send + 'a>>,
    held: Vec<u8>,
    given: usize,
}

impl<'a> Source<'a> {
    /// Of this backup.
    pub fn new(store: &'a dyn Store, manifest: &'a Manifest) -> Self {
        Self { store, manifest, index: 0, chunk: 0, open: None, held: Vec::new(), given: 0 }
    }

    /// Reads the next chunk into `into`, in place of what is there. Returns whether there was one.
    ///
    /// # Errors
    /// When the store refuses, or its bytes are not those that were written.
    pub fn next_chunk(&mut self, into: &mut Vec<u8>) -> Result<bool, BackupError> {
        into.clear();
        let Some(part) = self.manifest.files.get(self.index) else { return Ok(false) };
        let count = part.chunks.len();
        let id = || self.manifest.id.clone();
        let object = || part.name.clone();
        if count as u64 != part.bytes.div_ceil(self.manifest.chunk_bytes.max(1)) {
            let why = format!("does not fit {}: it has {count} checksums for {} bytes", part.name, part.bytes);
            return Err(BackupError::Manifest { id: id(), why });
        }
        let missing = |why| match why {
            StoreError::NotFound { .. } => BackupError::MissingObject { id: id(), object: object() },
            other @ (StoreError::Full { .. }
            | StoreError::Refused { .. }
            | StoreError::Unreachable { .. }
            | StoreError::Io { .. }) => BackupError::Store(other),
        };
        let reader = match &mut self.open {
            Some(reader) => reader,
            None => self.open.insert(self.store.get(&format!("{}/{}", id(), part.name)).map_err(missing)?),
        };
        let broken = |source| BackupError::Store(self.store.broken("read an object", source));
        let before = self.chunk as u64 * self.manifest.chunk_bytes;
        let wanted = self.manifest.chunk_bytes.min(part.bytes - before);
        into.reserve_exact(usize::try_from(wanted).unwrap_or(0));
        reader.by_ref().take(wanted).read_to_end(into).map_err(broken)?;
        if (into.len() as u64) < wanted {
            let (is, should) = (before + into.len() as u64, part.bytes);
            return Err(BackupError::Size { id: id(), object: object(), is, should });
        }
        if Some(&Checksum::of(into)) != part.chunks.get(self.chunk) {
            return Err(BackupError::Damaged { id: id(), object: object(), chunk: self.chunk + 1, chunk_count: count });
        }
        self.chunk += 1;
        if self.chunk == count {
            let rest = reader.read(&mut [0]).map_err(broken)?;
            if rest > 0 {
                let (is, should) = (part.bytes + rest as u64, part.bytes);
                return Err(BackupError::Size { id: id(), object: object(), is, should });
            }
            (self.open, self.chunk) = (None, 0);
            self.index += 1;
        }
        Ok(true)
    }
}

/// The error inside of what a read returns is a [`BackupError`].
impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.held.len() {
            let mut held = std::mem::take(&mut self.held);
            let more = self.next_chunk(&mut held);
            (self.held, self.given) = (held, 0);
            if !more.map_err(io::Error::other)? {
                return Ok(0);
            }
        }
        let count = (&self.held[self.given..]).read(into)?;
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
