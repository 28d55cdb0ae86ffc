//! The S3 store against a real S3 server: garage, because it comes from the package registry as one program that needs
//! nobody else, checks signatures strictly (names with ':' and spaces included) and can be killed and started again.
//! `GARAGE` names the program; without it these tests pass over themselves. What garage cannot be made to do (busy,
//! silent, a clock of its own, connections that break in the middle) is played by what stands before it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::disallowed_methods, reason = "the tests stand outside the charm and drive programs themselves")]

#[path = "support/garage.rs"]
mod garage;
#[path = "s3/proxy.rs"]
mod proxy;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use garage::{Garage, free_address};
use mariadb_galera::backup::store::{Patience, S3, S3Settings, Store, StoreError, StoreExt as _, Upload};
use proxy::{Count, Cutter, Parrot, Terminator};

const MIB: usize = 1 << 20;

/// Tries as often as in production, but not as long.
fn patience() -> Patience {
    Patience {
        waits: [500, 1000, 2000, 4000].map(Duration::from_millis).to_vec(),
        in_all: Duration::from_secs(20),
        connect: Duration::from_secs(2),
        silence: Duration::from_secs(5),
    }
}

fn open(settings: &S3Settings) -> S3 {
    S3::with_patience(settings.clone(), patience()).unwrap()
}

/// Bytes that are different everywhere.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut made = Vec::with_capacity(count + 8);
    while made.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        made.extend_from_slice(&state.to_le_bytes());
    }
    made.truncate(count);
    made
}

fn whole(store: &dyn Store, name: &str) -> Vec<u8> {
    let mut all = Vec::new();
    store.get(name).unwrap().read_to_end(&mut all).unwrap();
    all
}

fn names(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.list(prefix).unwrap().into_iter().map(|object| object.name).collect()
}

fn unfinished(garage: &Garage) -> bool {
    garage.admin(&["bucket", "info", "backups"]).contains("nfinished")
}

#[test]
fn objects_come_and_go() {
    let Some(garage) = Garage::start() else { return };
    let store = open(&garage.settings());
    store.check().unwrap();
    assert_eq!(names(&store, ""), [""; 0], "the probe does not stay");
    let odd = ["2026-11-22T07:28:34Z/begun.0f", "a b/c+d", "a b/c%2Bd", "a/ä~!*'()@&=$,;?#[]", "a/\"<x>\"", "z"];
    for name in odd {
        store.put_bytes(name, name.as_bytes()).unwrap();
    }
    let mut sorted = odd.to_vec();
    sorted.sort_unstable();
    assert_eq!(names(&store, ""), sorted);
    assert_eq!(names(&store, "2026-11-22T07:28:34Z/"), [odd[0]]);
    assert_eq!(names(&store, "a b/c"), ["a b/c%2Bd", "a b/c+d"]);
    assert_eq!(names(&store, "nothing"), [""; 0]);
    for name in odd {
        assert_eq!(store.get_bytes(name, 100).unwrap().as_deref(), Some(name.as_bytes()));
    }
    store.put_bytes("z", b"").unwrap();
    assert_eq!(store.get_bytes("z", 0).unwrap(), Some(Vec::new()), "replaced by an empty one");
    assert_eq!(store.get_bytes("y", 9).unwrap(), None);
    assert!(matches!(store.get("y").map(drop), Err(StoreError::NotFound { .. })));
    // Another folder of the same bucket is another store.
    let beside = open(&S3Settings { path: "d".to_owned(), ..garage.settings() });
    assert_eq!(names(&beside, ""), [""; 0]);
    let above = open(&S3Settings { path: String::new(), ..garage.settings() });
    assert_eq!(names(&above, "db/z"), ["db/z"]);
    for name in odd {
        store.delete(name).unwrap();
        store.delete(name).unwrap();
    }
    assert_eq!(names(&store, ""), [""; 0]);
}

#[test]
fn a_listing_is_longer_than_a_page() {
    let Some(garage) = Garage::start() else { return };
    let store = open(&garage.settings());
    let expected: Vec<String> = (0..1234).map(|number| format!("2026-11-22T07:28:34Z/data.{number:04}")).collect();
    std::thread::scope(|scope| {
        for part in expected.chunks(400) {
            scope.spawn(|| part.iter().for_each(|name| store.put_bytes(name, b"x").unwrap()));
        }
    });
    assert_eq!(names(&store, "2026"), expected);
}

#[test]
fn a_large_object_appears_whole_or_not_at_all() {
    let Some(garage) = Garage::start() else { return };
    let (store, data) = (open(&garage.settings()), bytes(40 * MIB));
    let begin = Instant::now();
    let mut upload = store.put("large").unwrap();
    for piece in data.chunks(MIB + 1) {
        upload.write_all(piece).unwrap();
    }
    assert_eq!(names(&store, ""), [""; 0]);
    upload.finish().unwrap();
    let written = begin.elapsed();
    assert_eq!(store.list("").unwrap()[0].bytes, data.len() as u64);
    assert!(whole(&store, "large") == data);
    eprintln!("40 MiB written in {written:?}, read in {:?}", begin.elapsed() - written);
    // A part exactly, and a byte more.
    for count in [16 * MIB, 16 * MIB + 1] {
        store.put_bytes("edge", &data[..count]).unwrap();
        assert!(whole(&store, "edge") == data[..count]);
    }
    let mut dropped = store.put("dropped").unwrap();
    dropped.write_all(&data).unwrap();
    assert!(unfinished(&garage));
    drop(dropped);
    assert!(!unfinished(&garage), "{}", garage.admin(&["bucket", "info", "backups"]));
    assert_eq!(names(&store, "dropped"), [""; 0]);
    // As after a kill: nobody was there to drop it.
    let mut forgotten = store.put("forgotten").unwrap();
    forgotten.write_all(&data).unwrap();
    std::mem::forget(forgotten);
    store.sweep(Duration::from_secs(3600)).unwrap();
    assert!(unfinished(&garage), "another may be writing it");
    open(&S3Settings { path: "other".to_owned(), ..garage.settings() }).sweep(Duration::ZERO).unwrap();
    assert!(unfinished(&garage), "it is none of that folder's");
    store.sweep(Duration::ZERO).unwrap();
    assert!(!unfinished(&garage));
}

#[test]
fn a_broken_download_goes_on_where_it_was() {
    let Some(garage) = Garage::start() else { return };
    let data = bytes(40 * MIB);
    open(&garage.settings()).put_bytes("large", &data).unwrap();
    let cutter = Cutter::start(garage.address, Count::Downloaded, 9 * MIB, 3);
    let through = open(&S3Settings { endpoint: format!("http://{}", cutter.address), ..garage.settings() });
    assert!(whole(&through, "large") == data);
    assert_eq!(cutter.cuts(), 3);
    // Another object of the same name is no continuation.
    let cutter = Cutter::start(garage.address, Count::Downloaded, 9 * MIB, 1);
    let through = open(&S3Settings { endpoint: format!("http://{}", cutter.address), ..garage.settings() });
    let (mut reader, mut some) = (through.get("large").unwrap(), vec![0; 64]);
    reader.read_exact(&mut some).unwrap();
    open(&garage.settings()).put_bytes("large", &bytes(12 * MIB)).unwrap();
    let why = reader.read_to_end(&mut some).unwrap_err();
    let why = through.broken("read an object", why).to_string();
    assert!(why.starts_with("cannot go on with an object that was replaced in the bucket backups"), "{why}");
}

#[test]
fn a_part_that_breaks_is_sent_again() {
    let Some(garage) = Garage::start() else { return };
    let data = bytes(40 * MIB);
    let cutter = Cutter::start(garage.address, Count::Uploaded, 9 * MIB, 3);
    let through = open(&S3Settings { endpoint: format!("http://{}", cutter.address), ..garage.settings() });
    through.put_bytes("large", &data).unwrap();
    assert_eq!(cutter.cuts(), 3);
    assert!(whole(&open(&garage.settings()), "large") == data);
}

/// The first 20 MiB are on their way.
fn half_written<'a>(store: &'a S3, data: &[u8]) -> Box<dyn Upload + 'a> {
    let mut upload = store.put("large").unwrap();
    upload.write_all(&data[..20 * MIB]).unwrap();
    upload
}

/// Somebody works while the server is killed, and is there again after a while.
fn killed_for(garage: &mut Garage, away: Duration, work: impl FnOnce() + Send) {
    garage.kill();
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        std::thread::sleep(away);
        garage.run();
        working.join().unwrap();
    });
}

#[test]
fn a_server_that_is_killed_and_comes_back_has_the_object() {
    let Some(mut garage) = Garage::start() else { return };
    let (store, data) = (open(&garage.settings()), bytes(40 * MIB));
    let mut upload = half_written(&store, &data);
    let begin = Instant::now();
    killed_for(&mut garage, Duration::from_secs(3), || {
        upload.write_all(&data[20 * MIB..]).unwrap();
        upload.finish().unwrap();
    });
    eprintln!("killed for 3 s: the upload was there after {:?}", begin.elapsed());
    assert!(whole(&store, "large") == data);
    // The same for who reads.
    let mut reader = store.get("large").unwrap();
    let mut back = vec![0; 10 * MIB];
    reader.read_exact(&mut back).unwrap();
    killed_for(&mut garage, Duration::from_secs(2), || {
        reader.read_to_end(&mut back).unwrap();
    });
    assert!(back == data);
}

#[test]
fn a_server_that_stays_away_is_named_in_time_and_nothing_is_seen() {
    let Some(mut garage) = Garage::start() else { return };
    let (store, data) = (open(&garage.settings()), bytes(40 * MIB));
    let mut upload = half_written(&store, &data);
    garage.kill();
    let begin = Instant::now();
    let why =
        upload.write_all(&data[20 * MIB..]).map_err(|why| store.broken("write", why)).and_then(|()| upload.finish());
    let took = begin.elapsed();
    let why = why.unwrap_err();
    assert!(matches!(why, StoreError::Unreachable { .. }), "{why:?}");
    let place = format!("the bucket backups at http://{}, folder db", garage.address);
    let expected = format!("cannot reach {place}: nobody listens there; start the server, or correct s3-endpoint");
    assert_eq!(why.to_string(), expected);
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(15), "{took:?}");
    let begin = Instant::now();
    assert_eq!(store.check().unwrap_err().to_string(), expected);
    assert!(begin.elapsed() < Duration::from_secs(5), "a check has less patience");
    garage.run();
    assert_eq!(names(&store, ""), [""; 0]);
    store.sweep(Duration::ZERO).unwrap();
    assert!(!unfinished(&garage));
}

#[test]
fn each_wrong_setting_is_named() {
    let Some(garage) = Garage::start() else { return };
    let good = garage.settings();
    let check = |change: &dyn Fn(&mut S3Settings), expected: &str| {
        let mut wrong = good.clone();
        change(&mut wrong);
        let begin = Instant::now();
        let said = S3::open(wrong).unwrap().check().unwrap_err().to_string();
        assert!(said.contains(expected), "{said}\nis not\n{expected}");
        assert!(!said.contains(&good.secret_key) && !said.contains(&good.access_key), "{said}");
        assert!(begin.elapsed() < Duration::from_secs(10));
    };
    check(&|s| s.access_key.replace_range(2.., "ffffffffffffffffffffffff"), "does not know the access key");
    check(&|s| s.secret_key = "00".repeat(32), "the secret key is not the one of the access key");
    check(&|s| s.bucket = "elsewhere".to_owned(), "there is no bucket elsewhere; create it, or correct s3-bucket");
    check(&|s| s.region = None, "the bucket is in the region garage, not in us-east-1; set s3-region=garage");
    check(&|s| s.endpoint = "http://no-such-host.invalid".to_owned(), "nobody knows the name no-such-host.invalid");
    check(&|s| s.endpoint = format!("http://{}", free_address()), "nobody listens there");
    check(&|s| s.endpoint = s.endpoint.replace("http:", "https:"), "does it want http:// in s3-endpoint?");
    let (key, secret) = ("GKfedcba9876543210fedcba98", "0f".repeat(32));
    garage.admin(&["key", "import", "--yes", "-n", "reader", key, &secret]);
    garage.admin(&["bucket", "allow", "--read", "backups", "--key", key]);
    check(
        &|s| (s.access_key, s.secret_key) = (key.to_owned(), secret.clone()),
        "the access key may not do this; grant",
    );
    garage.admin(&["bucket", "set-quotas", "--max-size", "1MiB", "backups"]);
    let full = open(&good).put_bytes("a", &bytes(2 * MIB)).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
    let full = open(&good).put_bytes("a", &bytes(20 * MIB)).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
}

#[test]
fn a_ca_of_ones_own_is_trusted_when_it_is_named() {
    let Some(garage) = Garage::start() else { return };
    let tls = Terminator::start(garage.address);
    let settings = S3Settings { endpoint: format!("https://{}", tls.address), ..garage.settings() };
    let said = open(&settings).check().unwrap_err().to_string();
    let expected = "the certificate of 127.0.0.1 is signed by a CA that this machine does not know; put that CA's \
                    certificate into s3-tls-ca-chain";
    assert!(said.ends_with(expected), "{said}");
    let named = S3Settings { tls_ca_chain: Some(tls.ca.clone()), ..settings.clone() };
    open(&named).check().unwrap();
    let data = bytes(40 * MIB);
    open(&named).put_bytes("large", &data).unwrap();
    assert!(whole(&open(&named), "large") == data);
    // A certificate for an address is none for a name.
    let name = S3Settings { endpoint: format!("https://localhost:{}", tls.address.port()), ..named };
    let said = open(&name).check().unwrap_err().to_string();
    assert!(
        said.ends_with("the certificate of localhost is one for other names; correct s3-endpoint, or the certificate"),
        "{said}"
    );
}

/// A store at an address where no S3 server is.
fn elsewhere(address: std::net::SocketAddr, patience: Patience) -> S3 {
    let settings = S3Settings {
        endpoint: format!("http://{address}"),
        bucket: "backups".to_owned(),
        region: None,
        path: String::new(),
        uri_style: Default::default(),
        access_key: "AKIDEXAMPLE".to_owned(),
        secret_key: "s3same-open".to_owned(),
        tls_ca_chain: None,
        storage_class: Some("STANDARD_IA".to_owned()),
    };
    S3::with_patience(settings, patience).unwrap()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn a_busy_server_is_asked_again() {
    let busy = answer("503 Slow Down", "", "<Error><Code>SlowDown</Code></Error>");
    let parrot = Parrot::start(&[busy.clone(), answer("429 Too Many", "", ""), answer("200 OK", "", "")]);
    elsewhere(parrot.address, patience()).put_bytes("a:b", b"text").unwrap();
    let asked = parrot.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|request| request.starts_with("PUT /backups/a%3Ab?")), "{asked:?}");
    assert!(asked[2].contains("\r\nx-amz-storage-class: STANDARD_IA\r\n") && asked[2].ends_with("text"), "{asked:?}");
    assert!(asked[2].contains("SignedHeaders=host%3Bx-amz-storage-class"), "{asked:?}");
    // Not for ever, and what is no passing thing not at all.
    let (begin, quick) = (Instant::now(), Patience { waits: vec![Duration::from_millis(200); 2], ..patience() });
    let parrot = Parrot::start(&[busy]);
    let why = elsewhere(parrot.address, quick.clone()).list("").unwrap_err();
    assert!(
        matches!(why, StoreError::Unreachable { .. }) && why.to_string().ends_with("it answers 503 (SlowDown)"),
        "{why}"
    );
    assert_eq!(parrot.asked().len(), 3);
    let parrot = Parrot::start(&[answer("403 Forbidden", "", "<Error><Code>AccessDenied</Code></Error>")]);
    elsewhere(parrot.address, quick).list("").unwrap_err();
    assert_eq!(parrot.asked().len(), 1);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_upload_whose_last_answer_is_lost_is_there() {
    let size = 16 * MIB + 1;
    let begun = "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>";
    let part = answer("200 OK", "ETag: \"e&1\"\r\n", "");
    let told = |size: usize| {
        let answers = [
            answer("200 OK", "", begun),
            part.clone(),
            part.clone(),
            // It says "OK" before it knows better, then nothing, and then it is done already.
            answer("200 OK", "", "<Error><Code>InternalError</Code></Error>"),
            String::new(),
            answer("404 Not Found", "", "<Error><Code>NoSuchUpload</Code></Error>"),
            format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"),
            answer("204 No Content", "", ""),
        ];
        let parrot = Parrot::start(&answers);
        let outcome = elsewhere(parrot.address, patience()).put_bytes("a", &bytes(16 * MIB + 1));
        (outcome, parrot.asked())
    };
    let (outcome, asked) = told(size);
    outcome.unwrap();
    let begins = ["POST /", "PUT /", "PUT /", "POST /", "POST /", "POST /", "HEAD /"];
    assert!(asked.iter().zip(begins).all(|(request, begin)| request.starts_with(begin)) && asked.len() == begins.len());
    assert!(asked[3].ends_with("<ETag>\"e&amp;1\"</ETag></Part></CompleteMultipartUpload>"), "{}", asked[3]);
    assert!(asked[2].contains("partNumber=2&uploadId=7") && asked[2].contains("\r\ncontent-md5: "));
    // What is there is another object: the upload is lost.
    let (outcome, asked) = told(size - 1);
    assert!(outcome.unwrap_err().to_string().contains("NoSuchUpload"));
    assert!(asked.last().unwrap().starts_with("DELETE /backups/a?"));
}

#[test]
fn a_clock_that_is_wrong_is_seen_by_the_date_of_the_answer() {
    let denied = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
    let parrot = Parrot::start(&[answer("403 Forbidden", "Date: Sun, 22 Nov 2020 07:28:34 GMT\r\n", denied)]);
    let said = elsewhere(parrot.address, patience()).check().unwrap_err().to_string();
    assert!(
        said.contains("the clock of this machine is ") && said.contains(" s ahead of the server's; correct"),
        "{said}"
    );
    let moved = answer("301 Moved", "x-amz-bucket-region: eu-west-1\r\nLocation: http://127.0.0.1:1/\r\n", "");
    let said = elsewhere(Parrot::start(&[moved]).address, patience()).check().unwrap_err().to_string();
    assert!(said.ends_with("set s3-region=eu-west-1"), "{said}");
    let said = elsewhere(Parrot::start(&[answer("200 OK", "", "<html/>")]).address, patience()).list("").unwrap_err();
    assert!(said.to_string().ends_with("is s3-endpoint the address of an S3 server?"), "{said}");
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let waits = vec![Duration::from_millis(100)];
    let limits = Patience { waits, silence: Duration::from_secs(1), ..patience() };
    let begin = Instant::now();
    let why = elsewhere(silent.local_addr().unwrap(), limits).put_bytes("a", b"text").unwrap_err().to_string();
    assert!(why.contains("it does not answer in time"), "{why}");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}
