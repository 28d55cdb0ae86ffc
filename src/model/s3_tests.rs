//! What options and providers say about a bucket, and what is made of it.

use super::*;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
const IN_BASE64: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUIKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQ==";

fn bag(text: &str) -> Bag {
    serde_yaml::from_str(text).unwrap()
}

fn content() -> SecretContent {
    [("access-key", "AK"), ("secret-key", "sesame")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into_iter()
        .collect()
}

fn told(place: Place) -> String {
    match place {
        Place::None => "none".to_owned(),
        Place::Waiting(why) => why,
        Place::Known(b) => format!(
            "{} {} {:?} {:?} {:?} {:?} {:?} {}:{}",
            b.endpoint,
            b.bucket,
            b.region,
            b.path,
            b.style,
            b.tls_ca_chain.map(|text| text.matches("BEGIN").count()),
            b.storage_class,
            b.access_key,
            b.secret_key
        ),
    }
}

fn read_options(yaml: &str) -> Result<Options, Vec<BadSetting>> {
    options(&serde_yaml::from_str(yaml).unwrap())
}

fn check_options(yaml: &str, expected: &str) {
    let said = match read_options(yaml) {
        Ok(options) => told(from_options(&options, |_| Ok::<_, String>(content()))),
        Err(bad) => bad.iter().map(|b| format!("{}: {}", b.option, b.problem)).collect::<Vec<_>>().join("\n"),
    };
    assert_eq!(said, expected);
}

fn check_provider(own: &str, yaml: &str, expected: &str) {
    let options = read_options(own).unwrap();
    let place = from_provider(&options, &bag(yaml), |uri| match uri.id() {
        "9m4e2mr0ui3e8a215n4g" => Ok(content()),
        _ => Err("permission denied"),
    });
    assert_eq!(told(place), expected);
}

#[test]
fn options_name_a_bucket() {
    check_options("{}", "none");
    check_options("s3-bucket: b\ns3-path: p\n", "none");
    check_options(
        "s3-endpoint: https://s3.example.com\ns3-bucket: b\ns3-credentials: secret:9m4e2mr0ui3e8a215n4g\n",
        "https://s3.example.com b None \"\" Path None None AK:sesame",
    );
    check_options(
        &format!(
            "s3-endpoint: s3.example.com\ns3-bucket: b\ns3-region: eu\ns3-path: db\ns3-uri-style: host\n\
             s3-tls-ca-chain: {IN_BASE64}\ns3-credentials: 9m4e2mr0ui3e8a215n4g\n"
        ),
        "s3.example.com b Some(\"eu\") \"db\" Host Some(1) None AK:sesame",
    );
}

#[test]
fn every_wrong_option_is_named_and_no_value_that_may_be_a_key() {
    check_options(
        "s3-credentials: AKIAIOSFODNN7EXAMPLE\n",
        "s3-credentials: the value is not a secret's address like secret:9m4e2mr0ui3e8a215n4g",
    );
    check_options(
        "s3-endpoint: https://AK:sesame@x\ns3-bucket: 7\ns3-uri-style: dns\ns3-tls-ca-chain: x y\n\
         s3-credentials: AK:sesame\n",
        "s3-bucket: the value is not a text\n\
         s3-uri-style: \"dns\" is not path or host\n\
         s3-credentials: the value is not a secret's address like secret:9m4e2mr0ui3e8a215n4g\n\
         s3-endpoint: keys belong into the secret of s3-credentials, not into the address\n\
         s3-tls-ca-chain: the value is not a certificate in PEM, in clear or in base64\n\
         s3-bucket: it is empty: endpoint, bucket and credentials belong together",
    );
    check_options(
        "s3-credentials: secret:9m4e2mr0ui3e8a215n4g\n",
        "s3-endpoint: it is empty: endpoint, bucket and credentials belong together\n\
         s3-bucket: it is empty: endpoint, bucket and credentials belong together",
    );
}

#[test]
fn a_secret_that_is_no_help_is_waited_for() {
    let options = read_options("s3-endpoint: x\ns3-bucket: b\ns3-credentials: secret:9m4e2mr0ui3e8a215n4g\n").unwrap();
    assert_eq!(
        told(from_options(&options, |_| Err("permission denied"))),
        "cannot read the secret of s3-credentials: permission denied; grant it to this application (juju \
         grant-secret)"
    );
    assert_eq!(
        told(from_options(&options, |_| Ok::<_, String>(SecretContent::default()))),
        "the secret of s3-credentials needs the keys access-key and secret-key"
    );
}

#[test]
fn an_older_provider_says_everything_in_clear() {
    let keys = "access-key: AK\nsecret-key: sesame\nendpoint: https://e\n";
    check_provider(
        "{}",
        keys,
        "the application at s3-parameters names no bucket; set its option bucket, or s3-bucket here",
    );
    check_provider("s3-bucket: mine\n", keys, "https://e mine None \"\" Path None None AK:sesame");
    check_provider(
        "s3-bucket: mine\n",
        &format!(
            "{keys}bucket: theirs\nregion: eu\npath: p\ns3-uri-style: host\nstorage-class: COLD\n\
             tls-ca-chain: '[\"{IN_BASE64}\", \"{IN_BASE64}\"]'\ns3-api-version: '4'\ndelete-older-than-days: '9'\n"
        ),
        "https://e theirs Some(\"eu\") \"p\" Host Some(2) Some(\"COLD\") AK:sesame",
    );
    check_provider("{}", "data: '{}'\n", "the application at s3-parameters has not said the keys yet");
    check_provider(
        "{}",
        &format!("{keys}bucket: b\ntls-ca-chain: '[\"x\"]'\n"),
        "the application at s3-parameters names a CA that is no certificate in PEM; correct its tls-ca-chain",
    );
}

#[test]
fn a_newer_provider_keeps_the_keys_in_a_secret() {
    let clear = "lib-version: '1.0'\nendpoint: https://e\nbucket: b\n";
    let chain = serde_json::to_string(&[PEM, PEM]).unwrap();
    let text = format!("{clear}secret-extra: secret:9m4e2mr0ui3e8a215n4g\ntls-ca-chain: {}\n", Value::from(chain));
    check_provider("{}", &text, "https://e b None \"\" Path Some(2) None AK:sesame");
    check_provider("{}", clear, "the application at s3-parameters has not said the keys yet");
    check_provider(
        "{}",
        &format!("{clear}secret-extra: secret:aaaaaaaaaaaaaaaaaaaa\n"),
        "the application at s3-parameters keeps the keys in a secret that cannot be read: permission denied",
    );
}

#[test]
fn both_versions_are_asked_so_that_they_answer() {
    let asked = |own: &str, provider: &str, joined: bool| {
        let relation: RelationId = format!("{ENDPOINT}:7").parse().unwrap();
        let bag = request(&read_options(own).unwrap(), &relation, &bag(provider), joined);
        assert_eq!(bag["requested-secrets"], "[\"access-key\",\"secret-key\"]");
        format!("{} {:?} {:?}", bag["lib-version"], bag["bucket"], bag["path"])
    };
    assert_eq!(asked("{}", "{}", false), "1.0 \"\" \"\"", "nobody knows yet who is asked");
    assert_eq!(asked("{}", "{}", true), "1.0 \"relation-7\" \"\"");
    assert_eq!(asked("{}", "lib-version: '1.0'\n", true), "1.0 \"\" \"\"", "it would make such a bucket");
    assert_eq!(asked("s3-bucket: b\ns3-path: p\n", "{}", true), "1.0 \"b\" \"p\"");
}

#[test]
fn nothing_prints_a_key() {
    let place = from_provider(
        &Options::default(),
        &bag("access-key: AK\nsecret-key: sesame\nendpoint: e\nbucket: b\n"),
        |_| Err("no"),
    );
    assert_eq!(format!("{place:?}"), "Known(Bucket(b at e, folder \"\"))");
}
