//! One request to an S3 server: signed anew for each try, tried again when it failed in passing, with limits of time so
//! that nothing hangs for ever.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use rand::RngExt as _;
use rusty_s3::{Bucket, Credentials, UrlStyle};
use ureq::http::{self, HeaderMap};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use url::Url;

use super::refusal::{Failure, Names};
use super::{Patience, S3Settings, StoreError, UriStyle, answer};
use crate::host::clock::{self, Moment};
use crate::host::file;

pub(super) use rusty_s3::Method;

/// What most servers take for any region.
const REGION: &str = "us-east-1";
/// Debian and Ubuntu keep the CAs here that the machine trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How long a signature counts. A request is signed right before it is sent, so this is what two clocks may differ.
const SIGNATURE_SECONDS: u64 = 900;
/// Answers that are no object: a page of a listing has a thousand names.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A server, and what is needed to ask it.
pub(super) struct Talk {
    agent: ureq::Agent,
    bucket: Bucket,
    credentials: Credentials,
    names: Names,
    /// Before every object's name: empty, or with a slash at its end.
    prefix: String,
    storage_class: Option<String>,
    patience: Patience,
}

/// What is asked.
pub(super) struct Request<'a> {
    method: Method,
    /// `None` asks the bucket itself.
    key: Option<&'a str>,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: &'a [u8],
    stores: bool,
}

impl<'a> Request<'a> {
    pub(super) fn new(method: Method, key: Option<&'a str>) -> Self {
        Self { method, key, query: Vec::new(), headers: Vec::new(), body: &[], stores: false }
    }

    pub(super) fn query(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn body(mut self, bytes: &'a [u8]) -> Self {
        self.body = bytes;
        self
    }

    /// It makes an object, so the storage class belongs to it.
    pub(super) fn stores(mut self) -> Self {
        self.stores = true;
        self
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// A header's value.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// How long ago something was, by the clock of the server where it says what that shows.
pub(super) fn age(when: &str, server_date: Option<&str>) -> Option<Duration> {
    let when = clock::Timestamp::parse(when)?.unix_seconds();
    let now = server_date.and_then(http_date).unwrap_or_else(|| clock::now().unix_seconds());
    // What lies in the future is as fresh as can be.
    Some(Duration::from_secs(u64::try_from(now - when).unwrap_or(0)))
}

/// Seconds since 1970, from a Date header.
pub(super) fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_second())
}

impl Talk {
    pub(super) fn new(settings: &S3Settings, patience: Patience) -> Result<Self, StoreError> {
        let refused = |problem| StoreError::Refused { problem };
        if settings.access_key.is_empty() || settings.secret_key.is_empty() {
            return Err(refused(
                "cannot use the bucket without keys: the secret of s3-credentials needs access-key and secret-key"
                    .to_owned(),
            ));
        }
        let endpoint = endpoint(&settings.endpoint).map_err(refused)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if settings.bucket.is_empty() || settings.bucket.starts_with('.') || !settings.bucket.chars().all(plain) {
            return Err(refused(format!("cannot use {:?} as s3-bucket: it must be a bucket's name", settings.bucket)));
        }
        let path = settings.path.trim_matches('/');
        if !path.is_empty() && !is_name(path) {
            return Err(refused(format!("cannot use {path:?} as s3-path: it must be names with / between")));
        }
        let host = endpoint.host_str().unwrap_or_default().to_owned();
        let style = match settings.uri_style {
            UriStyle::Path => UrlStyle::Path,
            UriStyle::Host if endpoint.domain().is_none() => {
                return Err(refused(format!(
                    "cannot put the bucket's name before {host}, which is no name: set s3-uri-style=path"
                )));
            }
            UriStyle::Host => UrlStyle::VirtualHost,
        };
        let region = settings.region.clone().unwrap_or_else(|| REGION.to_owned());
        let bucket = Bucket::new(endpoint.clone(), style, settings.bucket.clone(), region.clone());
        let bucket =
            bucket.map_err(|_| refused(format!("cannot use the bucket {:?} at {endpoint}", settings.bucket)))?;
        let extra = settings.tls_ca_chain.as_deref().filter(|text| !text.trim().is_empty());
        let roots = roots(extra, endpoint.scheme() == "https").map_err(refused)?;
        let names = Names {
            bucket: settings.bucket.clone(),
            endpoint: endpoint.as_str().trim_end_matches('/').to_owned(),
            host: bucket.base_url().host_str().unwrap_or_default().to_owned(),
            folder: path.to_owned(),
            region,
            own_ca: extra.is_some(),
            secrets: vec![settings.secret_key.clone(), settings.access_key.clone()],
        };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A signature is for one address; where else to ask is for a person to set.
            .max_redirects(0)
            .proxy(None)
            .user_agent("mariadb-galera")
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_send_request(Some(patience.silence))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .timeout_per_write(Some(patience.silence))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Ok(Self {
            agent: config.new_agent(),
            bucket,
            credentials: Credentials::new(&settings.access_key, &settings.secret_key),
            names,
            prefix: if path.is_empty() { String::new() } else { format!("{path}/") },
            storage_class: settings.storage_class.clone().filter(|class| !class.is_empty()),
            patience,
        })
    }

    pub(super) fn describe(&self) -> String {
        self.names.describe()
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// An object's whole name in the bucket.
    pub(super) fn key(&self, name: &str) -> Result<String, StoreError> {
        if is_name(name) {
            return Ok(format!("{}{name}", self.prefix));
        }
        Err(StoreError::Refused { problem: format!("{name:?} is no name of an object") })
    }

    /// Why an operation failed, for people.
    pub(super) fn explain(&self, operation: &str, why: Failure) -> StoreError {
        self.names.explain(operation, why)
    }

    /// Asks until there is an answer, and reads all of it.
    pub(super) fn ask(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        self.ask_unless(request, &AtomicBool::new(false))
    }

    /// As [`Self::ask`], until somebody raises `stop`.
    pub(super) fn ask_unless(&self, request: &Request<'_>, stop: &AtomicBool) -> Result<Answer, Failure> {
        let mut tries = Tries::default();
        loop {
            match self.ask_once(request) {
                Ok(answer) => return Ok(answer),
                Err(why) => tries.again(&self.patience, why, stop)?,
            }
        }
    }

    /// Asks once.
    pub(super) fn ask_once(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let (parts, body) = self.send(request)?.into_parts();
        let body = read(body)?;
        // Some operations answer "OK" before they know, and say in the text what became of it.
        if let Some(said) = answer::complaint(&String::from_utf8_lossy(&body)) {
            return Err(Failure::said(200, said, &parts.headers));
        }
        Ok(Answer { headers: parts.headers, body })
    }

    /// Asks until an answer begins; its body is for the caller to read.
    pub(super) fn open(&self, request: &Request<'_>) -> Result<http::Response<ureq::Body>, Failure> {
        let (mut tries, stop) = (Tries::default(), AtomicBool::new(false));
        loop {
            match self.send(request) {
                Ok(response) => return Ok(response),
                Err(why) => tries.again(&self.patience, why, &stop)?,
            }
        }
    }

    /// Waits before another try of what is not a single request.
    pub(super) fn again(&self, tries: &mut Tries, why: Failure) -> Result<(), Failure> {
        tries.again(&self.patience, why, &AtomicBool::new(false))
    }

    fn send(&self, request: &Request<'_>) -> Result<http::Response<ureq::Body>, Failure> {
        let wrong = |what: &str| Failure::Odd(what.to_owned());
        let class = self.storage_class.as_ref().filter(|_| request.stores);
        let signed: Vec<_> = class.map(|class| ("x-amz-storage-class", class.as_str())).into_iter().collect();
        let url = self.signed(request, &signed)?;
        let mut builder = http::Request::builder().method(request.method.to_str()).uri(url.as_str());
        let plain = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in signed.iter().copied().chain(plain) {
            builder = builder.header(name, value);
        }
        let response = match request.method {
            Method::Put | Method::Post => {
                // What was damaged on the way is refused, and buckets that lock their objects insist on it.
                builder = builder.header("content-md5", BASE64.encode(Md5::digest(request.body)));
                let built = builder.body(request.body).map_err(|_| wrong("the request cannot be written"))?;
                self.agent.run(built)
            }
            Method::Get | Method::Head | Method::Delete => {
                let built = builder.body(()).map_err(|_| wrong("the request cannot be written"))?;
                self.agent.run(built)
            }
        };
        let response = response.map_err(Failure::from)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        // Who refuses may also hang up before the reason is out.
        let text = read(body).map(|body| String::from_utf8_lossy(&body).into_owned()).unwrap_or_default();
        let said = answer::complaint(&text).unwrap_or_default();
        Err(Failure::said(parts.status.as_u16(), said, &parts.headers))
    }

    fn signed(&self, request: &Request<'_>, headers: &[(&str, &str)]) -> Result<Url, Failure> {
        let url = match request.key {
            Some(key) => {
                self.bucket.object_url(key).map_err(|_| Failure::Odd("the name makes no address".to_owned()))?
            }
            None => self.bucket.base_url().clone(),
        };
        let now = jiff::Timestamp::from_second(clock::now().unix_seconds());
        let now = now.map_err(|_| Failure::Odd("the clock of this machine is off by centuries".to_owned()))?;
        // A signature is made over sorted names.
        let mut query: Vec<_> = request.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        query.sort_unstable();
        Ok(rusty_s3::signing::sign(
            &now,
            request.method,
            url,
            self.credentials.key(),
            self.credentials.secret(),
            None,
            self.bucket.region(),
            SIGNATURE_SECONDS,
            query.into_iter(),
            headers.iter().copied(),
        ))
    }
}

fn read(body: ureq::Body) -> Result<Vec<u8>, Failure> {
    body.into_with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(Failure::from)
}

/// How often something was tried.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: usize,
    first: Option<Moment>,
}

impl Tries {
    /// Waits before the next try, a little more or less than others do.
    fn again(&mut self, patience: &Patience, why: Failure, stop: &AtomicBool) -> Result<(), Failure> {
        let first = *self.first.get_or_insert_with(Moment::now);
        let wait = patience.waits.get(self.failed).copied();
        self.failed += 1;
        let in_time = |wait: &Duration| first.elapsed() + *wait < patience.in_all;
        let Some(wait) = wait.filter(|wait| why.passes() && in_time(wait)) else {
            return Err(why);
        };
        let wait = wait.mul_f64(rand::rng().random_range(0.8..1.2));
        let begin = Moment::now();
        while begin.elapsed() < wait {
            if stop.load(Ordering::Relaxed) {
                return Err(why);
            }
            clock::sleep((wait.saturating_sub(begin.elapsed())).min(Duration::from_millis(100)));
        }
        Ok(())
    }
}

fn endpoint(text: &str) -> Result<Url, String> {
    let text = text.trim();
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let parsed = Url::parse(&whole).ok();
    if parsed.as_ref().is_some_and(|url| !url.username().is_empty() || url.password().is_some()) {
        return Err("cannot use s3-endpoint: keys belong into s3-credentials, not into the address".to_owned());
    }
    let fine = |url: &Url| {
        ["http", "https"].contains(&url.scheme())
            && url.host_str().is_some()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let Some(mut url) = parsed.filter(fine) else {
        return Err(format!("cannot use {text:?} as s3-endpoint: it must be an address like https://s3.example.com"));
    };
    // Without a slash at its end, the last part of an address is replaced by what is added to it.
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Whether a name is one that no server and no proxy on the way reads as another.
fn is_name(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.split('/').all(plain) && !name.contains(|c: char| c.is_control() || c == '\\')
}

fn roots(extra: Option<&str>, used: bool) -> Result<RootCerts, String> {
    let mut all = Vec::new();
    if let Some(text) = extra {
        all = certificates(text.as_bytes());
        if all.is_empty() {
            return Err("cannot find a certificate in s3-tls-ca-chain: it must be PEM text, from \
                        -----BEGIN CERTIFICATE----- on"
                .to_owned());
        }
    }
    if used {
        let system = file::read_opt(SYSTEM_ROOTS).map_err(|why| why.to_string())?;
        all.extend(system.map(|text| certificates(&text)).unwrap_or_default());
    }
    Ok(RootCerts::from(all))
}

fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let items = ureq::tls::parse_pem(pem).filter_map(Result::ok);
    items.filter_map(|item| if let PemItem::Certificate(one) = item { Some(one) } else { None }).collect()
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        // Its own texts may show the whole signed address.
        if let ureq::Error::Io(source) = error {
            return Self::from(source);
        }
        if matches!(error, ureq::Error::HostNotFound) {
            return Self::NoSuchHost;
        }
        if matches!(error, ureq::Error::Timeout(_)) {
            return Self::Broken(io::Error::new(io::ErrorKind::TimedOut, "it does not answer in time"));
        }
        if let ureq::Error::Rustls(why) = &error {
            return Self::Tls(why.to_string());
        }
        if matches!(error, ureq::Error::Tls(_)) {
            return Self::Tls("it has no name that a certificate could be for".to_owned());
        }
        if matches!(error, ureq::Error::Protocol(_) | ureq::Error::ConnectionFailed) {
            return Self::Broken(io::Error::new(io::ErrorKind::ConnectionAborted, "its answer breaks off"));
        }
        Self::Odd("the request or its answer is not as HTTP should be".to_owned())
    }
}

impl From<io::Error> for Failure {
    fn from(source: io::Error) -> Self {
        if source.get_ref().is_some_and(|inner| inner.is::<ureq::Error>()) {
            return Self::from(ureq::Error::from(source));
        }
        // The resolver's refusal has no kind of its own; these are the standard library's words.
        if source.to_string().starts_with("failed to lookup address information") {
            return Self::NoSuchHost;
        }
        // The TLS library's errors arrive as data that is not valid.
        if source.kind() == io::ErrorKind::InvalidData {
            return Self::Tls(source.to_string());
        }
        Self::Broken(source)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;

    fn address(change: &dyn Fn(&mut S3Settings)) -> String {
        let mut changed = settings();
        change(&mut changed);
        let talk = Talk::new(&changed, Patience::short()).unwrap();
        let key = talk.key("2026-11-22T07:28:34Z/a b").unwrap();
        let url = talk.signed(&Request::new(Method::Get, Some(&key)), &[]).unwrap().to_string();
        assert!(url.contains("&X-Amz-Signature=") && !url.contains("s3same-open"), "{url}");
        url.split('?').next().unwrap().to_owned()
    }

    #[test]
    fn names_become_addresses_in_both_styles() {
        let name = "db/eu/2026-11-22T07%3A28%3A34Z/a%20b";
        assert_eq!(address(&|_| {}), format!("https://s3.example.com/backups/{name}"));
        assert_eq!(
            address(&|s| s.uri_style = UriStyle::Host),
            format!("https://backups.s3.example.com/{name}"),
            "the bucket is a part of the host's name"
        );
        assert_eq!(
            address(&|s| s.endpoint = " s3.example.com:9000 ".to_owned()),
            format!("https://s3.example.com:9000/backups/{name}"),
            "TLS unless somebody says otherwise"
        );
        assert_eq!(
            address(&|s| s.endpoint = "http://gateway/s3".to_owned()),
            format!("http://gateway/s3/backups/{name}")
        );
    }

    #[test]
    fn age_is_by_the_clock_of_who_says_when() {
        let date = Some("Sun, 22 Nov 2026 07:28:34 GMT");
        assert_eq!(age("2026-11-22T07:28:04.123Z", date), Some(Duration::from_secs(30)));
        assert_eq!(age("2026-11-22T08:00:00Z", date), Some(Duration::ZERO));
        assert_eq!(age("some day", date), None);
    }
}
