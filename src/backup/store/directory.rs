//! Backups in a directory: the `archive` storage. An object is written beside its place, under a name that a listing passes
//! over, and renamed when it is whole and on disk.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::{Object, Store, StoreError, StoreExt as _, Upload};
use crate::host::beside::{self, Beside};
use crate::host::file::{self, FileError};
use crate::host::{Mode, machine};

/// Names that end so are on their way in.
const UNFINISHED: &str = ".part";
/// How often a folder is made in which somebody else removes the last object at the same moment.
const TRY_COUNT: usize = 100;

/// A directory.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Of this path; it is made when the first object is written.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn path_of(&self, name: &str) -> Result<PathBuf, StoreError> {
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.ends_with(UNFINISHED);
        if name.split('/').all(plain) {
            return Ok(self.path.join(name));
        }
        Err(StoreError::Refused { problem: format!("{name:?} is no name of an object") })
    }

    fn failed(&self, operation: &str, why: FileError) -> StoreError {
        self.broken(operation, io::Error::from(why))
    }

    fn collect(&self, folder: &str, prefix: &str, into: &mut Vec<Object>) -> Result<(), FileError> {
        for name in file::list_opt(self.path.join(folder))?.unwrap_or_default() {
            let whole = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            // Only folders on the way to the prefix, or below it.
            if !whole.starts_with(prefix) && !prefix.starts_with(&format!("{whole}/")) {
                continue;
            }
            match beside::size_opt(self.path.join(&whole))? {
                Some(bytes) if !whole.ends_with(UNFINISHED) => into.push(Object { name: whole, bytes }),
                Some(_) => {}
                None => self.collect(&whole, prefix, into)?,
            }
        }
        Ok(())
    }

    fn unfinished(&self, folder: &str, into: &mut Vec<PathBuf>) -> Result<(), FileError> {
        for name in file::list_opt(self.path.join(folder))?.unwrap_or_default() {
            let whole = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let path = self.path.join(&whole);
            match beside::size_opt(&path)? {
                Some(_) if whole.ends_with(UNFINISHED) => into.push(path),
                Some(_) => {}
                None => self.unfinished(&whole, into)?,
            }
        }
        Ok(())
    }
}

impl Store for Directory {
    fn describe(&self) -> String {
        format!("the directory {}", self.path.display())
    }

    fn put(&self, name: &str) -> Result<Box<dyn Upload + '_>, StoreError> {
        let path = self.path_of(name)?;
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        let begin = || {
            file::create_dir_all_with(&folder, &Mode::new(0o700))?;
            Beside::create(&path, UNFINISHED, 0o600)
        };
        let mut tries = 0;
        let writer = loop {
            tries += 1;
            match begin().map_err(io::Error::from) {
                Ok(writer) => break writer,
                // The folder went with somebody else's last object.
                Err(why) if tries < TRY_COUNT && why.kind() == io::ErrorKind::NotFound => {}
                Err(why) => return Err(self.broken("begin an object", why)),
            }
        };
        Ok(Box::new(Part { store: self, writer }))
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let path = self.path_of(name)?;
        match beside::reader_opt(&path).map_err(|why| self.failed("read an object", why))? {
            Some(reader) => Ok(Box::new(reader)),
            None => Err(StoreError::NotFound { object: name.to_owned(), store: self.describe() }),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let mut found = Vec::new();
        self.collect("", prefix, &mut found).map_err(|why| self.failed("list objects", why))?;
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path_of(name)?;
        file::remove_opt(&path).map_err(|why| self.failed("remove an object", why))?;
        // The folder goes with its last object.
        let folder = path.parent().filter(|folder| *folder != self.path);
        folder.map_or(Ok(false), beside::remove_dir_if_empty).map_err(|why| self.failed("remove a folder", why))?;
        Ok(())
    }

    fn sweep(&self, older: Duration) -> Result<(), StoreError> {
        let mut left = Vec::new();
        self.unfinished("", &mut left).map_err(|why| self.failed("list objects", why))?;
        for path in left {
            let age = file::age_opt(&path).map_err(|why| self.failed("look at an object", why))?;
            if age.is_some_and(|age| age >= older) {
                file::remove_opt(&path).map_err(|why| self.failed("remove an object", why))?;
            }
        }
        Ok(())
    }

    fn room(&self) -> Result<Option<u64>, StoreError> {
        // Before the first backup, the room is that of the folder above.
        let there = self.path.ancestors().find(|path| file::exists(path).unwrap_or(false));
        Ok(there.and_then(|path| machine::disk_space(path).ok()).map(|space| space.free))
    }
}

struct Part<'a> {
    store: &'a Directory,
    writer: Beside,
}

impl Write for Part<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Upload for Part<'_> {
    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let store = self.store;
        self.writer.finish().map_err(|why| store.failed("finish an object", why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::new(dir.path().join("archive"));
        let names = || store.list("").unwrap().into_iter().map(|object| object.name).collect::<Vec<_>>();
        assert_eq!(names(), [""; 0]);
        assert!(store.room().unwrap().unwrap() > 0, "there is room before there is a folder");
        store.put_bytes("one/a", b"text").unwrap();
        let mut half = store.put("one/b").unwrap();
        half.write_all(b"half").unwrap();
        assert_eq!(names(), ["one/a"]);
        drop(half);
        store.sweep(Duration::ZERO).unwrap();
        assert_eq!(store.list("one/").unwrap(), [Object { name: "one/a".to_owned(), bytes: 4 }]);
        assert_eq!(store.list("on").unwrap().len(), 1);
        assert_eq!(store.list("two/").unwrap(), []);
        assert_eq!(store.get_bytes("one/a", 4).unwrap(), Some(b"text".to_vec()));
        assert_eq!(store.get_bytes("one/b", 4).unwrap(), None);
        assert!(store.get_bytes("one/a", 3).unwrap_err().to_string().contains("none of ours"));
        store.delete("one/a").unwrap();
        store.delete("one/a").unwrap();
        assert!(!dir.path().join("archive/one").exists(), "no empty folder stays");
    }

    #[test]
    fn a_folder_that_comes_and_goes_is_nobodys_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::new(dir.path());
        std::thread::scope(|scope| {
            for name in ["one/a", "one/b", "one/c"] {
                let store = &store;
                scope.spawn(move || {
                    for _ in 0..100 {
                        store.put_bytes(name, b"text").unwrap();
                        store.delete(name).unwrap();
                    }
                });
            }
        });
        assert_eq!(store.list("").unwrap(), []);
    }

    #[test]
    fn a_name_does_not_lead_out_of_the_store() {
        let store = Directory::new("/nowhere");
        for name in ["../x", "a/../b", "/etc/passwd", "a//b", "", "a.part"] {
            assert!(matches!(store.get(name), Err(StoreError::Refused { .. })), "{name}");
        }
    }

    #[test]
    fn what_was_never_finished_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::new(dir.path());
        // As after a kill: nobody was there to drop it.
        std::mem::forget(store.put("one/a").unwrap());
        let there = || file::list_opt(dir.path().join("one")).unwrap().map_or(0, |names| names.len());
        assert_eq!(there(), 1);
        store.sweep(Duration::from_secs(60)).unwrap();
        assert_eq!(there(), 1, "another may be writing it");
        store.sweep(Duration::ZERO).unwrap();
        assert_eq!(there(), 0);
    }
}
