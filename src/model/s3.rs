//! Where backups are to be kept, if it is a bucket: from the charm's own options, or from the application at the other
//! end of `s3-parameters` (interface `s3`, in both of its versions).

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use crate::cluster::BadSetting;
use crate::juju::relation::{self, Bag};
use crate::juju::secret::{self, Revision, SecretContent, Which};
use crate::juju::{RelationId, SecretUri};

/// The endpoint that says where.
pub const ENDPOINT: &str = "s3-parameters";
/// The newest version of the interface that this charm speaks.
const LIB_VERSION: &str = "1.0";
/// What the other side may put into a secret.
const SECRETS: &str = "[\"access-key\",\"secret-key\"]";
/// A provider that speaks the newer version says so before it says anything else.
const VERSION_KEY: &str = "lib-version";

/// How a bucket's name becomes part of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Behind the server's name.
    #[default]
    Path,
    /// Before the server's name.
    Host,
}

/// A bucket, and the keys to it. `Debug` hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct Bucket {
    /// The server's address.
    pub endpoint: String,
    /// The bucket's name.
    pub bucket: String,
    /// The server's name for where the bucket is.
    pub region: Option<String>,
    /// The folder within the bucket; empty for none.
    pub path: String,
    /// How the bucket's name becomes part of an address.
    pub style: Style,
    /// Certificates (PEM) of CAs to be trusted.
    pub tls_ca_chain: Option<String>,
    /// The class that objects are stored in.
    pub storage_class: Option<String>,
    /// The key's public half.
    pub access_key: String,
    /// The key's secret half.
    pub secret_key: String,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({} at {}, folder {:?})", self.bucket, self.endpoint, self.path)
    }
}

/// What is known of the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody asked for one.
    None,
    /// The other side has not said yet, or a secret is not readable yet: it comes by itself, or says what is missing.
    Waiting(String),
    /// All of it.
    Known(Box<Bucket>),
}

/// The options about a bucket, typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `s3-endpoint`.
    pub endpoint: Option<String>,
    /// `s3-bucket`.
    pub bucket: Option<String>,
    /// `s3-region`.
    pub region: Option<String>,
    /// `s3-path`.
    pub path: Option<String>,
    /// `s3-uri-style`.
    pub style: Style,
    /// `s3-tls-ca-chain`.
    pub tls_ca_chain: Option<String>,
    /// `s3-credentials`.
    pub credentials: Option<SecretUri>,
}

impl Options {
    /// Whether they name a bucket of their own. Bucket and path alone are what a related application is asked for.
    fn are_meant(&self) -> bool {
        self.endpoint.is_some() || self.credentials.is_some()
    }
}

/// Checks Juju's values.
///
/// # Errors
/// All options that cannot be used, not only the first.
pub fn options(values: &BTreeMap<String, Value>) -> Result<Options, Vec<BadSetting>> {
    let mut bad = Vec::new();
    let mut wrong = |option: &str, problem: String| bad.push(BadSetting { option: option.to_owned(), problem });
    let mut text = |option: &str| match values.get(option) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Some(_) => {
            wrong(option, "the value is not a text".to_owned());
            None
        }
    };
    let mut found = Options {
        endpoint: text("s3-endpoint"),
        bucket: text("s3-bucket"),
        region: text("s3-region"),
        path: text("s3-path"),
        style: Style::Path,
        tls_ca_chain: text("s3-tls-ca-chain"),
        credentials: None,
    };
    let (style, credentials) = (text("s3-uri-style"), text("s3-credentials"));
    let shown = |text: &str| format!("{:?}", text.chars().take(40).collect::<String>());
    match style.as_deref().map(read_style) {
        None => {}
        Some(Some(style)) => found.style = style,
        Some(None) => {
            let value = shown(&style.unwrap_or_default());
            wrong("s3-uri-style", format!("{value} is not path or host"));
        }
    }
    match credentials.map(|text| text.parse::<SecretUri>()) {
        None => {}
        Some(Ok(uri)) if is_an_address(&uri) => found.credentials = Some(uri),
        // Somebody may have put the keys themselves there: they are not repeated.
        Some(Ok(_) | Err(_)) => wrong("s3-credentials", format!("the value is not {SECRET_EXAMPLE}")),
    }
    if found.endpoint.as_ref().is_some_and(|endpoint| endpoint.contains('@')) {
        wrong("s3-endpoint", "keys belong into the secret of s3-credentials, not into the address".to_owned());
    }
    if let Some(text) = found.tls_ca_chain.take() {
        match pem(&text) {
            Some(pem) => found.tls_ca_chain = Some(pem),
            None => wrong("s3-tls-ca-chain", "the value is not a certificate in PEM, in clear or in base64".to_owned()),
        }
    }
    if found.are_meant() {
        let needed = [
            ("s3-endpoint", found.endpoint.is_none()),
            ("s3-bucket", found.bucket.is_none()),
            // One that cannot be read is reported already.
            ("s3-credentials", found.credentials.is_none() && !values.contains_key("s3-credentials")),
        ];
        for (option, missing) in needed {
            if missing {
                wrong(option, "it is empty: endpoint, bucket and credentials belong together".to_owned());
            }
        }
    }
    if bad.is_empty() { Ok(found) } else { Err(bad) }
}

pub(super) const SECRET_EXAMPLE: &str = "a secret's address like secret:9m4e2mr0ui3e8a215n4g";

/// Addresses end in twenty small letters and digits. Anything else that Juju's tools are asked for could be a key, and
/// everybody on the machine can read what they are asked for.
pub(super) fn is_an_address(uri: &SecretUri) -> bool {
    uri.id().len() == 20 && !uri.id().contains(|c: char| c.is_ascii_uppercase())
}

fn read_style(text: &str) -> Option<Style> {
    match text {
        "path" => Some(Style::Path),
        // The second is what clouds call it.
        "host" | "virtual" => Some(Style::Host),
        _ => None,
    }
}

/// Asks Juju for everything about the bucket. Reads only.
///
/// # Errors
/// When Juju does not answer. What is missing, or not readable yet, is a value.
pub fn observe(options: &Options) -> anyhow::Result<Place> {
    let relation = relation::ids(ENDPOINT)?.into_iter().next();
    let Some(relation) = relation else {
        return Ok(from_options(options, |uri| secret::get(Which::Uri(uri), Revision::Refresh)));
    };
    if options.are_meant() {
        let problem = format!(
            "both s3-endpoint and the relation {ENDPOINT} say where backups go; reset s3-endpoint and s3-credentials, \
             or remove the relation"
        );
        return Ok(Place::Waiting(problem));
    }
    let bag = provider(&relation)?;
    Ok(from_provider(options, &bag, |uri| secret::get(Which::Uri(uri), Revision::Refresh)))
}

/// What the application at the other end says; empty before it has said anything.
///
/// # Errors
/// When Juju does not answer.
pub fn provider(relation: &RelationId) -> anyhow::Result<Bag> {
    let Some(app) = relation::remote_app(relation)? else { return Ok(Bag::new()) };
    Ok(relation::get_app(relation, &app)?)
}

/// What the leader writes into our application's databag, so that the other side answers. An empty value deletes.
///
/// `joined` says whether a unit of the other side is there: before that it had no time to say which version it speaks.
pub fn request(options: &Options, relation: &RelationId, provider: &Bag, joined: bool) -> Bag {
    let older = joined && !provider.contains_key(VERSION_KEY);
    let bucket = match &options.bucket {
        Some(bucket) => bucket.clone(),
        // An older provider answers nobody who names no bucket; a newer one would make one of this name.
        None if older => format!("relation-{}", relation.number()),
        None => String::new(),
    };
    let path = options.path.clone().unwrap_or_default();
    [
        ("bucket", bucket),
        ("path", path),
        (VERSION_KEY, LIB_VERSION.to_owned()),
        ("requested-secrets", SECRETS.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Asks the related application, if there is one: the leader's part. Changes nothing that is as it should be.
///
/// # Errors
/// When Juju does not answer.
pub fn ask(options: &Options, app: &str) -> anyhow::Result<()> {
    let Some(relation) = relation::ids(ENDPOINT)?.into_iter().next() else { return Ok(()) };
    let joined = !relation::list(&relation)?.is_empty();
    let own = relation::get_app(&relation, app)?;
    let mut bag = request(options, &relation, &provider(&relation)?, joined);
    bag.retain(|key, value| own.get(key).map_or("", String::as_str) != value);
    if !bag.is_empty() {
        relation::set_app(&relation, &bag)?;
    }
    Ok(())
}

fn from_options<E: fmt::Display>(
    options: &Options,
    read: impl FnOnce(&SecretUri) -> Result<SecretContent, E>,
) -> Place {
    let (Some(endpoint), Some(bucket), Some(uri)) = (&options.endpoint, &options.bucket, &options.credentials) else {
        return Place::None;
    };
    let grant = "grant it to this application (juju grant-secret)";
    let content = match read(uri) {
        Ok(content) => content,
        Err(why) => return Place::Waiting(format!("cannot read the secret of s3-credentials: {why}; {grant}")),
    };
    let Some((access_key, secret_key)) = keys(&content) else {
        return Place::Waiting("the secret of s3-credentials needs the keys access-key and secret-key".to_owned());
    };
    Place::Known(Box::new(Bucket {
        endpoint: endpoint.clone(),
        bucket: bucket.clone(),
        region: options.region.clone(),
        path: options.path.clone().unwrap_or_default(),
        style: options.style,
        tls_ca_chain: options.tls_ca_chain.clone(),
        storage_class: None,
        access_key,
        secret_key,
    }))
}

fn from_provider<E: fmt::Display>(
    options: &Options,
    bag: &Bag,
    read: impl FnOnce(&SecretUri) -> Result<SecretContent, E>,
) -> Place {
    let said = |key: &str| bag.get(key).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let waiting = |what: &str| Place::Waiting(format!("the application at {ENDPOINT} {what}"));
    let content = match said("secret-extra").map(|text| text.parse::<SecretUri>()) {
        None => bag.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        Some(Ok(uri)) => match read(&uri) {
            Ok(content) => content,
            Err(why) => return waiting(&format!("keeps the keys in a secret that cannot be read: {why}")),
        },
        Some(Err(_)) => return waiting("names a secret with an address that is none"),
    };
    let Some((access_key, secret_key)) = keys(&content) else { return waiting("has not said the keys yet") };
    let Some(endpoint) = said("endpoint") else { return waiting("names no endpoint; set its option endpoint") };
    let Some(bucket) = said("bucket").or_else(|| options.bucket.clone()) else {
        return waiting("names no bucket; set its option bucket, or s3-bucket here");
    };
    let style = match said("s3-uri-style").as_deref().map(read_style) {
        None => Style::Path,
        Some(Some(style)) => style,
        Some(None) => return waiting("names a URI style that is neither path nor host; correct its s3-uri-style"),
    };
    let tls_ca_chain = match said("tls-ca-chain").map(|text| chain(&text)) {
        None => None,
        Some(Some(pem)) => Some(pem),
        Some(None) => return waiting("names a CA that is no certificate in PEM; correct its tls-ca-chain"),
    };
    Place::Known(Box::new(Bucket {
        endpoint,
        bucket,
        region: said("region"),
        path: said("path").or_else(|| options.path.clone()).unwrap_or_default(),
        style,
        // What the other side leaves open, the operator may say.
        tls_ca_chain: tls_ca_chain.filter(|text| !text.is_empty()).or_else(|| options.tls_ca_chain.clone()),
        storage_class: said("storage-class"),
        access_key,
        secret_key,
    }))
}

fn keys(content: &SecretContent) -> Option<(String, String)> {
    let key = |name| content.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Some((key("access-key")?, key("secret-key")?))
}

/// The provider's list of certificates, each in PEM or in base64 of PEM; some send the text without a list.
fn chain(text: &str) -> Option<String> {
    match serde_json::from_str::<Vec<String>>(text) {
        // An empty list is no CA, and no mistake.
        Ok(list) if list.is_empty() => Some(String::new()),
        Ok(list) => list.iter().map(|one| pem(one)).collect::<Option<Vec<_>>>().map(|all| all.join("\n")),
        Err(_) => pem(text),
    }
}

/// Certificates as PEM text, in clear or in base64.
fn pem(text: &str) -> Option<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let text = text.trim();
    let plain = if text.contains(BEGIN) { text.to_owned() } else { String::from_utf8(base64(text)?).ok()? };
    plain.contains(BEGIN).then(|| format!("{}\n", plain.trim()))
}

/// Base64, wrapped and padded as it comes.
fn base64(text: &str) -> Option<Vec<u8>> {
    let padding = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let plain: String = text.split_whitespace().collect();
    GeneralPurpose::new(&base64::alphabet::STANDARD, padding).decode(plain).ok()
}

#[cfg(test)]
#[path = "s3_tests.rs"]
mod tests;
