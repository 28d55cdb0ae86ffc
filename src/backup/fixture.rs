//! Backups as tests make them: small, in a directory, without a server.

use std::io::Read;
use std::time::Duration;

use super::manifest::{
    self, BEGUN, Begun, Cluster, FAILED, FORMAT, Failed, Kind, Lsn, MANIFEST, Manifest, PROOF, Proof,
};
use super::store::{Directory, Object, Store, StoreError, StoreExt as _, Upload};
use super::stream::{Cuts, Sink};
use super::take::{Order, Wanted};
use crate::host::clock::{self, Timestamp};

pub(super) const SMALL: Cuts = Cuts { chunk_bytes: 10, object_bytes: 30 };

pub(super) struct Archive {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Directory,
}

pub(super) fn archive() -> Archive {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::new(dir.path());
    Archive { dir, store }
}

/// The first seconds of the year.
pub(super) fn id(second: u32) -> String {
    format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60)
}

pub(super) fn stamp(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

pub(super) fn manifest(id: &str, parent: Option<&str>) -> Manifest {
    Manifest {
        format: FORMAT,
        id: id.to_owned(),
        kind: if parent.is_some() { Kind::Incremental } else { Kind::Full },
        parent: parent.map(str::to_owned),
        databases: Vec::new(),
        position: None,
        gtid: None,
        binlog: None,
        lsn: Some(Lsn { from: 0, to: 17 }),
        unit: "db/0".to_owned(),
        application: "db".to_owned(),
        model_uuid: "m".to_owned(),
        cluster: Cluster::default(),
        incarnation: Some("1-2".to_owned()),
        server_version: "10.11.19-MariaDB".to_owned(),
        tool: "mariadb-backup".to_owned(),
        compression: "zstd".to_owned(),
        encryption: None,
        raw_bytes: 100,
        stored_bytes: 0,
        chunk_bytes: SMALL.chunk_bytes,
        files: Vec::new(),
        began: stamp(id),
        ended: stamp(id),
        who: "admin".to_owned(),
        why: "a test".to_owned(),
        note: None,
    }
}

pub(super) fn begun(unit: &str, alive: Timestamp) -> Begun {
    Begun {
        format: FORMAT,
        token: "0123456789abcdef".to_owned(),
        unit: unit.to_owned(),
        host: "here".to_owned(),
        application: "db".to_owned(),
        model_uuid: "m".to_owned(),
        kind: Kind::Full,
        at: alive,
        alive,
        who: "admin".to_owned(),
        why: "a test".to_owned(),
    }
}

pub(super) fn proof(problem: Option<&str>) -> Proof {
    Proof {
        format: FORMAT,
        at: stamp("2026-01-02T00:00:00Z"),
        how: "restored".to_owned(),
        unit: "db/1".to_owned(),
        server_version: "10.11.19".to_owned(),
        tables: 1,
        rows: 2,
        checksum: "abc".to_owned(),
        problem: problem.map(str::to_owned),
    }
}

pub(super) fn order() -> Order {
    Order {
        unit: "db/0".to_owned(),
        host: "here".to_owned(),
        application: "db".to_owned(),
        model_uuid: "m".to_owned(),
        cluster: Cluster::default(),
        wanted: Wanted::Full,
        recipients: Vec::new(),
        who: "admin".to_owned(),
        why: "a test".to_owned(),
        account: "charmed-backup".to_owned(),
        password: "sesame".to_owned(),
        threads: 1,
        datadir: "/nowhere".into(),
        socket: "/nowhere/s".into(),
    }
}

impl Archive {
    /// A finished one with these bytes.
    pub(super) fn finished(&self, mut manifest: Manifest, bytes: &[u8]) -> Manifest {
        let mut sink = Sink::new(&self.store, &manifest.id, SMALL);
        sink.put(bytes).unwrap();
        manifest.files = sink.finish().unwrap();
        manifest.stored_bytes = bytes.len() as u64;
        self.text(&manifest.id, MANIFEST, &manifest::write(&manifest));
        manifest
    }

    pub(super) fn full(&self, id: &str) -> Manifest {
        self.finished(manifest(id, None), b"0123456789abcdefghijABCDEFGHIJ and twelve.")
    }

    pub(super) fn child(&self, id: &str, parent: &str) -> Manifest {
        self.finished(manifest(id, Some(parent)), b"a little")
    }

    pub(super) fn failed(&self, id: &str) {
        let failed = Failed {
            format: FORMAT,
            at: clock::now(),
            reason: "the disk".to_owned(),
            unit: "db/0".to_owned(),
            application: "db".to_owned(),
            model_uuid: "m".to_owned(),
            kind: Kind::Full,
            who: "admin".to_owned(),
            why: "a test".to_owned(),
        };
        self.text(id, FAILED, &manifest::write(&failed));
    }

    pub(super) fn begun(&self, id: &str, begun: &Begun) {
        self.text(id, &format!("{BEGUN}{}", begun.token), &manifest::write(begun));
    }

    pub(super) fn proven(&self, id: &str, problem: Option<&str>) {
        self.text(id, PROOF, &manifest::write(&proof(problem)));
    }

    pub(super) fn text(&self, id: &str, name: &str, bytes: &[u8]) {
        self.store.put_bytes(&format!("{id}/{name}"), bytes).unwrap();
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.store.list("").unwrap().into_iter().map(|object| object.name).collect()
    }
}

/// A store that breaks after so many deletions.
pub(super) struct Breaking<'a> {
    inner: &'a Directory,
    left: std::sync::atomic::AtomicI32,
}

impl<'a> Breaking<'a> {
    pub(super) fn after(inner: &'a Directory, deletions: i32) -> Self {
        Self { inner, left: deletions.into() }
    }
}

impl Store for Breaking<'_> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn put(&self, name: &str) -> Result<Box<dyn Upload + '_>, StoreError> {
        self.inner.put(name)
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        self.inner.get(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.inner.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        if self.left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) > 0 {
            return self.inner.delete(name);
        }
        Err(StoreError::Refused { problem: "the network".to_owned() })
    }

    fn sweep(&self, older: Duration) -> Result<(), StoreError> {
        self.inner.sweep(older)
    }

    fn room(&self) -> Result<Option<u64>, StoreError> {
        self.inner.room()
    }
}
