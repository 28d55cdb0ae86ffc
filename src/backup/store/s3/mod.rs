//! Backups in an S3 bucket. Objects larger than a part are uploaded in parts and appear when the last one is confirmed;
//! what fails in passing is tried again, request by request, and a download goes on where it broke.

mod answer;
mod download;
mod refusal;
mod talk;
mod upload;

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use self::download::Download;
use self::refusal::Failure;
use self::talk::{Method, Request, Talk};
use self::upload::Parts;
use super::{Object, Store, StoreError, StoreExt as _, Upload};

/// Objects that only prove that the store works; no listing shows them.
const PROBE: &str = ".probe-";

/// How a bucket's name becomes part of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UriStyle {
    /// `https://endpoint/bucket/object`: works with every server.
    #[default]
    Path,
    /// `https://bucket.endpoint/object`: what some public clouds want.
    Host,
}

/// Where a bucket is, and how to use it. `Debug` hides the keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Settings {
    /// The server's address; without a scheme, over TLS.
    pub endpoint: String,
    /// The bucket's name.
    pub bucket: String,
    /// The server's name for where the bucket is; `None` for the one that most servers take for any.
    pub region: Option<String>,
    /// The folder within the bucket; empty for the whole bucket.
    pub path: String,
    /// How the bucket's name becomes part of an address.
    pub uri_style: UriStyle,
    /// The key's public half.
    pub access_key: String,
    /// The key's secret half.
    pub secret_key: String,
    /// Certificates (PEM) to be trusted besides the system's.
    pub tls_ca_chain: Option<String>,
    /// The class that objects are stored in; `None` for the bucket's own.
    pub storage_class: Option<String>,
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, bucket, region, path, uri_style, storage_class, .. } = self;
        f.debug_struct("S3Settings")
            .field("endpoint", endpoint)
            .field("bucket", bucket)
            .field("region", region)
            .field("path", path)
            .field("uri_style", uri_style)
            .field("storage_class", storage_class)
            .finish_non_exhaustive()
    }
}

/// How long a request is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// What lies between two tries: there is one try more.
    pub waits: Vec<Duration>,
    /// No try begins when this has passed since the first one failed.
    pub in_all: Duration,
    /// For a connection to be made.
    pub connect: Duration,
    /// For the other side to say or to take anything.
    pub silence: Duration,
}

impl Patience {
    /// For backups: a server that is restarted is waited for.
    pub fn long() -> Self {
        Self {
            waits: [2, 6, 18, 54].map(Duration::from_secs).to_vec(),
            in_all: Duration::from_secs(120),
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(60),
        }
    }

    /// For a person who waits for an answer, and for a hook.
    pub fn short() -> Self {
        Self {
            waits: vec![Duration::from_secs(1)],
            in_all: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(10),
        }
    }
}

/// A bucket, or a folder of one.
pub struct S3 {
    talk: Arc<Talk>,
    settings: S3Settings,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl S3 {
    /// Prepares to use a bucket. Nobody is asked yet.
    ///
    /// # Errors
    /// When the settings cannot be meant, with the one that is wrong.
    pub fn open(settings: S3Settings) -> Result<Self, StoreError> {
        Self::with_patience(settings, Patience::long())
    }

    /// As [`Self::open`], with other limits of time.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_patience(settings: S3Settings, patience: Patience) -> Result<Self, StoreError> {
        Ok(Self { talk: Arc::new(Talk::new(&settings, patience)?), settings })
    }

    /// Writes, reads, lists and removes a small object, without much patience.
    ///
    /// # Errors
    /// The first thing that the bucket does not permit, with the remedy.
    pub fn check(&self) -> Result<(), StoreError> {
        let quick = Self::with_patience(self.settings.clone(), Patience::short())?;
        let name = format!("{PROBE}{:016x}", rand::rng().random::<u64>());
        quick.put_bytes(&name, name.as_bytes())?;
        let tried = quick.try_out(&name);
        let removed = quick.delete(&name);
        tried.and(removed)
    }

    fn try_out(&self, name: &str) -> Result<(), StoreError> {
        let back = self.get_bytes(name, 1024)?;
        let listed = self.listed(name)?.iter().any(|(object, _)| object.name == name);
        if back.as_deref() == Some(name.as_bytes()) && listed {
            return Ok(());
        }
        let problem = format!(
            "cannot use {}: an object that was written a moment ago is not there, so backups would not be either; is \
             this the S3 interface of one server, or of several that copy later?",
            self.describe()
        );
        Err(StoreError::Refused { problem })
    }

    /// The whole listing, with when each object was written last.
    fn listed(&self, prefix: &str) -> Result<Vec<(Object, String)>, StoreError> {
        let key_prefix = format!("{}{prefix}", self.talk.prefix());
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut request = Request::new(Method::Get, None)
                .query("encoding-type", "url")
                .query("list-type", "2")
                .query("prefix", &key_prefix);
            if let Some(token) = &token {
                request = request.query("continuation-token", token);
            }
            let answer = self.talk.ask(&request).map_err(|why| self.talk.explain("list objects", why))?;
            let page =
                answer::listing(&answer.text()).map_err(|why| self.talk.explain("list objects", Failure::Odd(why)))?;
            for entry in page.entries {
                let Some(name) = entry.key.strip_prefix(self.talk.prefix()) else { continue };
                // A console's mark of an empty folder is no object of ours.
                if !name.is_empty() && !name.ends_with('/') {
                    found.push((Object { name: name.to_owned(), bytes: entry.bytes }, entry.modified));
                }
            }
            // A server that repeats itself would keep us for ever.
            match page.next {
                Some(next) if token.as_ref() != Some(&next) => token = Some(next),
                Some(_) | None => break,
            }
        }
        found.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        Ok(found)
    }
}

impl Store for S3 {
    fn describe(&self) -> String {
        self.talk.describe()
    }

    fn put(&self, name: &str) -> Result<Box<dyn Upload + '_>, StoreError> {
        Ok(Box::new(Parts::new(self.talk.clone(), self.talk.key(name)?)))
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let opened = Download::open(self.talk.clone(), self.talk.key(name)?);
        opened.map(|download| Box::new(download) as Box<dyn Read + Send>).map_err(|why| {
            if why.no_such_object() {
                return StoreError::NotFound { object: name.to_owned(), store: self.describe() };
            }
            self.talk.explain("read an object", why)
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let listed = self.listed(prefix)?.into_iter().map(|(object, _)| object);
        Ok(listed.filter(|object| !object.name.starts_with(PROBE)).collect())
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.talk.ask(&Request::new(Method::Delete, Some(&self.talk.key(name)?))) {
            Err(why) if why.no_such_object() => Ok(()),
            outcome => outcome.map(drop).map_err(|why| self.talk.explain("remove an object", why)),
        }
    }

    fn sweep(&self, older: Duration) -> Result<(), StoreError> {
        upload::sweep(&self.talk, older)?;
        for (object, modified) in self.listed(PROBE)? {
            if talk::age(&modified, None).is_some_and(|age| age >= older) {
                self.delete(&object.name)?;
            }
        }
        Ok(())
    }

    fn room(&self) -> Result<Option<u64>, StoreError> {
        // A bucket does not say; one that is full says so when it is written to.
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn settings() -> S3Settings {
        S3Settings {
            endpoint: "https://s3.example.com".to_owned(),
            bucket: "backups".to_owned(),
            region: None,
            path: "/db/eu/".to_owned(),
            uri_style: UriStyle::Path,
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "s3same-open".to_owned(),
            tls_ca_chain: None,
            storage_class: None,
        }
    }

    #[test]
    fn nothing_prints_a_key() {
        let store = S3::open(settings()).unwrap();
        let shown = format!("{:?} {store:?} {}", settings(), store.describe());
        assert!(!shown.contains("s3same") && !shown.contains("AKID"), "{shown}");
        assert_eq!(store.describe(), "the bucket backups at https://s3.example.com, folder db/eu");
    }

    #[test]
    fn settings_that_cannot_be_meant_are_named() {
        let check = |change: &dyn Fn(&mut S3Settings), expected: &str| {
            let mut changed = settings();
            change(&mut changed);
            assert_eq!(S3::open(changed).map(drop).unwrap_err().to_string(), expected);
        };
        check(
            &|s| s.endpoint = "ftp://x".to_owned(),
            "cannot use \"ftp://x\" as s3-endpoint: it must be an address like https://s3.example.com",
        );
        check(
            &|s| s.endpoint = "https://user:sesame@x".to_owned(),
            "cannot use s3-endpoint: keys belong into s3-credentials, not into the address",
        );
        check(&|s| s.bucket = String::new(), "cannot use \"\" as s3-bucket: it must be a bucket's name");
        check(&|s| s.bucket = "a/b".to_owned(), "cannot use \"a/b\" as s3-bucket: it must be a bucket's name");
        check(
            &|s| (s.endpoint, s.uri_style) = ("http://10.0.0.1:9000".to_owned(), UriStyle::Host),
            "cannot put the bucket's name before 10.0.0.1, which is no name: set s3-uri-style=path",
        );
        check(
            &|s| s.tls_ca_chain = Some("nothing".to_owned()),
            "cannot find a certificate in s3-tls-ca-chain: it must be PEM text, from -----BEGIN CERTIFICATE----- on",
        );
        check(&|s| s.path = "a/../b".to_owned(), "cannot use \"a/../b\" as s3-path: it must be names with / between");
        check(
            &|s| s.secret_key = String::new(),
            "cannot use the bucket without keys: the secret of s3-credentials needs access-key and secret-key",
        );
    }

    #[test]
    fn a_name_does_not_lead_out_of_the_store() {
        let store = S3::open(settings()).unwrap();
        for name in ["../x", "a/../b", "/etc/passwd", "a//b", "", "a/", "a\nb"] {
            assert!(matches!(store.get(name), Err(StoreError::Refused { .. })), "{name}");
        }
    }
}
