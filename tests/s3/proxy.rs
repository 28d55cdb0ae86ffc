//! What stands between a client and an S3 server, and fails on purpose: connections that break in the middle, answers
//! of its own, TLS with a CA that nobody knows.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::garage::free_address;

/// Passes bytes on. The first connections are cut, each after so many bytes of the direction that is counted.
pub(crate) struct Cutter {
    pub(crate) address: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

/// Which direction a [`Cutter`] counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Uploaded,
    Downloaded,
}

impl Cutter {
    pub(crate) fn start(server: SocketAddr, count: Count, after: usize, times: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, cuts) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let done = cuts.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let copies = |one: &TcpStream| (one.try_clone().unwrap(), one.try_clone().unwrap());
                let ((c1, c2), (s1, s2)) = (copies(&client), copies(&server));
                let left = done.clone();
                let limit = move |direction| (direction == count).then(|| (after, left.clone(), times));
                let other = limit.clone();
                std::thread::spawn(move || pass(c1, s1, limit(Count::Uploaded)));
                std::thread::spawn(move || pass(s2, c2, other(Count::Downloaded)));
            }
        });
        Self { address, cuts }
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, limit: Option<(usize, Arc<AtomicUsize>, usize)>) {
    let (mut buffer, mut passed) = (vec![0; 64 * 1024], 0);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        passed += count;
        if let Some((after, cuts, times)) = &limit {
            if passed > *after && cuts.load(Ordering::SeqCst) < *times {
                cuts.fetch_add(1, Ordering::SeqCst);
                let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                return;
            }
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Answers every request with the next of these texts, the last one for ever; hangs up after each.
pub(crate) struct Parrot {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Parrot {
    pub(crate) fn start(answers: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (answers, heard) = (answers.to_vec(), asked.clone());
        std::thread::spawn(move || {
            for (index, mut client) in listener.incoming().flatten().enumerate() {
                client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
                // Requests here are small: what has arrived after a short silence is all.
                while let Ok(count @ 1..) = client.read(&mut buffer) {
                    request.extend_from_slice(&buffer[..count]);
                }
                heard.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
                let answer = &answers[index.min(answers.len() - 1)];
                let _gone = client.write_all(answer.as_bytes());
            }
        });
        Self { address, asked }
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// TLS before a server, with a certificate for 127.0.0.1 by a CA of its own.
pub(crate) struct Terminator {
    pub(crate) address: SocketAddr,
    /// The CA's certificate.
    pub(crate) ca: String,
    socat: Child,
    _folder: tempfile::TempDir,
}

impl Terminator {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(file("san"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
        let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        openssl(
            &[&["req", "-x509", "-days", "2", "-subj", "/CN=A CA of its own"][..], &new].concat(),
            &["-keyout", &file("ca.key"), "-out", &file("ca.pem")],
        );
        openssl(&[&["req", "-subj", "/CN=s3"][..], &new].concat(), &["-keyout", &file("key"), "-out", &file("csr")]);
        openssl(
            &["x509", "-req", "-days", "2", "-CAcreateserial"],
            &[
                "-in",
                &file("csr"),
                "-CA",
                &file("ca.pem"),
                "-CAkey",
                &file("ca.key"),
                "-extfile",
                &file("san"),
                "-out",
                &file("cert"),
            ],
        );
        let address = free_address();
        let listen = format!(
            "OPENSSL-LISTEN:{},bind=127.0.0.1,reuseaddr,fork,verify=0,cert={},key={}",
            address.port(),
            file("cert"),
            file("key")
        );
        let mut socat = Command::new("socat");
        socat.arg(listen).arg(format!("TCP:{server}")).stdin(Stdio::null()).stderr(Stdio::null());
        let socat = socat.spawn().unwrap();
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10), "socat does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let ca = std::fs::read_to_string(PathBuf::from(file("ca.pem"))).unwrap();
        Self { address, ca, socat, _folder: folder }
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        let _gone = (self.socat.kill(), self.socat.wait());
    }
}

fn openssl(args: &[&str], files: &[&str]) {
    let output = Command::new("openssl").args(args).args(files).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
