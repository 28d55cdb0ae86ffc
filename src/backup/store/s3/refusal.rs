//! Why an S3 server does not do what it is asked for, as a sentence with what a person can do. No key is in it,
//! whatever the server says.

use std::io;

use ureq::http::HeaderMap;

use super::StoreError;
use super::answer::Complaint;
use super::talk::{header, http_date};
use crate::host::clock;

/// Clocks that differ by more than this are the reason, whatever the server calls it. A signature counts for so long.
const SKEW_SECONDS_MAX: i64 = 600;
const KEYS: &str = "in the secret of s3-credentials, or at the s3-integrator";

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said so.
    Said(Box<Said>),
    /// The connection was not made, or broke.
    Broken(io::Error),
    /// The server's name leads nowhere.
    NoSuchHost,
    /// The other side is not who it should be, or speaks no TLS.
    Tls(String),
    /// An answer that cannot be understood.
    Odd(String),
}

/// What a server said.
#[derive(Debug)]
pub(super) struct Said {
    status: u16,
    complaint: Complaint,
    region: Option<String>,
    /// By how many seconds this machine's clock is ahead of the server's.
    ahead: Option<i64>,
}

/// What is asked, for sentences about it.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) bucket: String,
    pub(super) endpoint: String,
    /// The host that is really asked.
    pub(super) host: String,
    pub(super) folder: String,
    pub(super) region: String,
    /// Whether the operator named CAs.
    pub(super) own_ca: bool,
    /// What may be in no text.
    pub(super) secrets: Vec<String>,
}

impl Failure {
    pub(super) fn said(status: u16, complaint: Complaint, headers: &HeaderMap) -> Self {
        let ahead = header(headers, "date").and_then(http_date).map(|date| clock::now().unix_seconds() - date);
        let named = header(headers, "x-amz-bucket-region").map(ToOwned::to_owned);
        let region = named.or_else(|| complaint.region.clone());
        Self::Said(Box::new(Said { status, complaint, region, ahead }))
    }

    /// Whether another try may succeed.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Broken(_) | Self::NoSuchHost => true,
            Self::Tls(_) | Self::Odd(_) => false,
            Self::Said(said) => match said.complaint.code.as_str() {
                "SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable" | "OperationAborted"
                | "BadDigest" => true,
                _ if said.is_full() => false,
                _ => matches!(said.status, 200 | 408 | 429 | 500 | 502 | 503 | 504),
            },
        }
    }

    /// Whether the bucket is there and the object is not.
    pub(super) fn no_such_object(&self) -> bool {
        self.is(404, &["NoSuchKey"])
    }

    /// The same of a question whose answer has no text.
    pub(super) fn nothing_there(&self) -> bool {
        self.is(404, &["NoSuchKey", "NotFound", ""])
    }

    /// Whether an upload is known no more: it was aborted, or finished.
    pub(super) fn no_such_upload(&self) -> bool {
        self.is(404, &["NoSuchUpload"])
    }

    /// Whether an object is another one than it was.
    pub(super) fn replaced(&self) -> bool {
        self.is(412, &["PreconditionFailed", ""])
    }

    fn is(&self, status: u16, codes: &[&str]) -> bool {
        match self {
            Self::Said(said) => said.status == status && codes.contains(&said.complaint.code.as_str()),
            Self::Broken(_) | Self::NoSuchHost | Self::Tls(_) | Self::Odd(_) => false,
        }
    }
}

impl Said {
    fn is_full(&self) -> bool {
        let code = self.complaint.code.as_str();
        let message = self.complaint.message.to_lowercase();
        let full = ["QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"];
        self.status == 507 || full.contains(&code) || message.contains("quota")
    }

    fn skew(&self) -> Option<i64> {
        let by_code = ["RequestTimeTooSkewed", "RequestExpired"].contains(&self.complaint.code.as_str());
        let limit = if by_code { 0 } else { SKEW_SECONDS_MAX };
        // What is refused for another reason is refused with any clock.
        let possible = by_code || matches!(self.status, 400 | 401 | 403);
        self.ahead.filter(|ahead| possible && ahead.abs() > limit)
    }
}

impl Names {
    pub(super) fn describe(&self) -> String {
        let folder = if self.folder.is_empty() { String::new() } else { format!(", folder {}", self.folder) };
        format!("the bucket {} at {}{folder}", self.bucket, self.endpoint)
    }

    /// The sentence.
    pub(super) fn explain(&self, operation: &str, why: Failure) -> StoreError {
        let store = self.describe();
        let passes = why.passes();
        let problem = match why {
            Failure::Said(said) if said.is_full() => return StoreError::Full { store },
            Failure::Said(said) => format!("cannot {operation} in {store}: {}", self.refusal(&said)),
            Failure::Tls(text) => format!("cannot {operation} in {store}: {}", self.distrust(&text)),
            Failure::Odd(text) => {
                format!("cannot {operation} in {store}: {text}; is s3-endpoint the address of an S3 server?")
            }
            Failure::NoSuchHost => format!(
                "cannot reach {store}: nobody knows the name {}; correct s3-endpoint{}, or this machine's name service",
                self.host,
                if self.endpoint.contains(&self.host) { "" } else { ", set s3-uri-style=path" },
            ),
            Failure::Broken(source) => {
                let silent = [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock];
                let problem = if source.kind() == io::ErrorKind::ConnectionRefused {
                    "nobody listens there; start the server, or correct s3-endpoint".to_owned()
                } else if silent.contains(&source.kind()) {
                    "it does not answer in time; look at the server, and at firewalls on the way".to_owned()
                } else {
                    format!("the connection breaks ({source}); look at the server, and at the network")
                };
                format!("cannot reach {store}: {problem}")
            }
        };
        let problem = self.without_secrets(problem);
        if passes { StoreError::Unreachable { problem } } else { StoreError::Refused { problem } }
    }

    fn refusal(&self, said: &Said) -> String {
        let (code, message) = (said.complaint.code.as_str(), said.complaint.message.as_str());
        if let Some(ahead) = said.skew() {
            let direction = if ahead > 0 { "ahead of" } else { "behind" };
            return format!(
                "the clock of this machine is {} s {direction} the server's; correct the one that is wrong (is NTP \
                 running?)",
                ahead.abs()
            );
        }
        if ["RequestTimeTooSkewed", "RequestExpired"].contains(&code) || message.contains("Date is too old") {
            return "the clock of this machine and the server's differ; correct the one that is wrong (is NTP running?)"
                .to_owned();
        }
        if code == "InvalidAccessKeyId" || message.contains("No such key: ") {
            return format!("the server does not know the access key; correct access-key {KEYS}");
        }
        if code == "SignatureDoesNotMatch" || message.ends_with("Invalid signature") {
            return format!("the secret key is not the one of the access key; correct secret-key {KEYS}");
        }
        if code == "NoSuchBucket" || code == "InvalidBucketName" {
            return format!("there is no bucket {}; create it, or correct s3-bucket", self.bucket);
        }
        if let Some(region) = self.region_of(said) {
            return format!("the bucket is in the region {region}, not in {}; set s3-region={region}", self.region);
        }
        if (300..400).contains(&said.status) {
            let other = said.complaint.endpoint.as_deref();
            let other = other.map_or("another address".to_owned(), |other| format!("the address {other}"));
            return format!("the bucket is asked for at {other}; set s3-endpoint to it, and s3-region to its region");
        }
        if matches!(said.status, 401 | 403) {
            return format!(
                "the access key may not do this; grant it reading, writing, listing and deleting in the bucket, \
                 multipart uploads included{}",
                quoted(code, message)
            );
        }
        if said.status == 404 {
            return format!("there is no such thing; is s3-endpoint right?{}", quoted(code, message));
        }
        format!("it answers {}{}", said.status, quoted(code, message))
    }

    /// The region that the server would rather have, when it is another.
    fn region_of(&self, said: &Said) -> Option<String> {
        let by_code =
            ["AuthorizationHeaderMalformed", "AuthorizationQueryParametersError", "IllegalLocationConstraintException"]
                .contains(&said.complaint.code.as_str());
        if !by_code && !matches!(said.status, 301 | 307 | 400) {
            return None;
        }
        // Some name it only within the scope that they expected: 20261122/region/s3/aws4_request.
        let scoped = said.complaint.message.split(|c: char| c.is_whitespace() || "`'\"".contains(c)).find_map(|word| {
            let mut parts = word.split('/').skip(1);
            let region = parts.next()?;
            (parts.next() == Some("s3") && region != self.region).then(|| region.to_owned())
        });
        said.region.clone().or(scoped.filter(|_| by_code)).filter(|region| *region != self.region && !region.is_empty())
    }

    fn distrust(&self, text: &str) -> String {
        let host = &self.host;
        if text.contains("UnknownIssuer") || text.contains("CaUsedAsEndEntity") {
            let who = if self.own_ca {
                "neither this machine nor s3-tls-ca-chain knows"
            } else {
                "this machine does not know"
            };
            return format!(
                "the certificate of {host} is signed by a CA that {who}; put that CA's certificate into s3-tls-ca-chain"
            );
        }
        if text.contains("not valid for name") || text.contains("NotValidForName") {
            return format!(
                "the certificate of {host} is one for other names; correct s3-endpoint, or the certificate"
            );
        }
        if text.contains("expired") || text.contains("Expired") {
            return format!("the certificate of {host} has expired; renew it (or is the clock of this machine wrong?)");
        }
        if text.contains("invalid peer certificate") {
            return format!("the certificate of {host} cannot be trusted ({text}); correct it, or s3-tls-ca-chain");
        }
        format!("{host} speaks no TLS that this machine understands ({text}); does it want http:// in s3-endpoint?")
    }

    /// Servers repeat what they were sent.
    fn without_secrets(&self, mut text: String) -> String {
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "...");
        }
        text
    }
}

fn quoted(code: &str, message: &str) -> String {
    let message: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    match (code.is_empty(), message.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!(" ({code})"),
        (true, false) => format!(" ({message})"),
        (false, false) => format!(" ({code}: {message})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            bucket: "backups".to_owned(),
            endpoint: "https://s3.example.com".to_owned(),
            host: "s3.example.com".to_owned(),
            folder: String::new(),
            region: "us-east-1".to_owned(),
            own_ca: false,
            secrets: vec!["sesame".to_owned(), "AKID".to_owned()],
        }
    }

    /// `code|message|region`, and by how much our clock is ahead.
    fn check(status: u16, text: &str, ahead: i64, expected: &str) {
        let mut fields = text.split('|').map(ToOwned::to_owned);
        let mut field = || fields.next().unwrap_or_default();
        let complaint = Complaint { code: field(), message: field(), region: None, endpoint: None };
        let region = Some(field()).filter(|region| !region.is_empty());
        let why = Failure::Said(Box::new(Said { status, complaint, region, ahead: Some(ahead) }));
        let said = names().explain("write an object", why).to_string();
        let begin = "cannot write an object in the bucket backups at https://s3.example.com: ";
        assert_eq!(said.strip_prefix(begin).unwrap_or(&said), expected);
    }

    #[test]
    fn each_refusal_is_its_own_sentence() {
        let keys = KEYS;
        let unknown = format!("the server does not know the access key; correct access-key {keys}");
        check(403, "InvalidAccessKeyId|The key AKID does not exist", 0, &unknown);
        check(403, "AccessDenied|Forbidden: No such key: AKID", 0, &unknown);
        let wrong = format!("the secret key is not the one of the access key; correct secret-key {keys}");
        check(403, "SignatureDoesNotMatch|x", 0, &wrong);
        check(403, "AccessDenied|Forbidden: Invalid signature", 0, &wrong);
        check(404, "NoSuchBucket|x", 0, "there is no bucket backups; create it, or correct s3-bucket");
        check(
            403,
            "AccessDenied|not for AKID or sesame",
            0,
            "the access key may not do this; grant it reading, writing, listing and deleting in the bucket, multipart \
             uploads included (AccessDenied: not for ... or ...)",
        );
        check(400, "MalformedXML|x", 0, "it answers 400 (MalformedXML: x)");
        check(
            403,
            "QuotaExceeded|",
            0,
            "the bucket backups at https://s3.example.com is full: make room there, or keep fewer backups \
             (backup-keep)",
        );
    }

    #[test]
    fn a_clock_is_blamed_when_it_is_the_clock() {
        let text = "the clock of this machine is 1000 s ahead of the server\'s; correct the one that is wrong (is NTP \
                    running?)";
        check(403, "RequestTimeTooSkewed|x", 1000, text);
        check(403, "AccessDenied|Request is not valid yet", 1000, text);
        let text = "the clock of this machine is 5000 s behind the server\'s; correct the one that is wrong (is NTP \
                    running?)";
        check(400, "InvalidRequest|Date is too old", -5000, text);
        check(403, "AccessDenied|Request has expired", -5000, text);
        // A wrong clock does not make a bucket disappear.
        check(404, "NoSuchBucket|x", -5000, "there is no bucket backups; create it, or correct s3-bucket");
    }

    #[test]
    fn the_region_and_the_address_that_a_server_names_are_passed_on() {
        let text = "the bucket is in the region eu-west-1, not in us-east-1; set s3-region=eu-west-1";
        check(301, "PermanentRedirect|x|eu-west-1", 0, text);
        check(400, "AuthorizationQueryParametersError|expecting 'eu-west-1'|eu-west-1", 0, text);
        let scopes = "AuthorizationHeaderMalformed|unexpected scope: 20261122/us-east-1/s3/aws4_request, expected: \
                      20261122/eu-west-1/s3/aws4_request";
        check(400, scopes, 0, text);
        check(
            307,
            "TemporaryRedirect|x",
            0,
            "the bucket is asked for at another address; set s3-endpoint to it, and s3-region to its region",
        );
    }

    #[test]
    fn whom_tls_does_not_trust_is_told_with_the_remedy() {
        let check = |text: &str, expected: &str| {
            let said = names().explain("list objects", Failure::Tls(text.to_owned())).to_string();
            assert!(said.ends_with(expected), "{said}");
        };
        check("invalid peer certificate: UnknownIssuer", "put that CA's certificate into s3-tls-ca-chain");
        check("invalid peer certificate: NotValidForName", "correct s3-endpoint, or the certificate");
        check("received corrupt message of type InvalidContentType", "does it want http:// in s3-endpoint?");
    }

    #[test]
    fn what_passes_is_tried_again() {
        let said = |status, code: &str| {
            let complaint = Complaint { code: code.to_owned(), ..Complaint::default() };
            Failure::Said(Box::new(Said { status, complaint, region: None, ahead: None })).passes()
        };
        assert!(said(503, "SlowDown") && said(500, "") && said(429, "") && said(200, "InternalError"));
        assert!(said(400, "RequestTimeout") && said(504, "GatewayTimeout"));
        assert!(!said(403, "AccessDenied") && !said(507, "") && !said(404, "NoSuchKey") && !said(501, ""));
        assert!(Failure::NoSuchHost.passes() && !Failure::Tls(String::new()).passes());
    }
}
