//! Small questions over TCP: is somebody listening, and what does a local status page say.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use super::clock::Deadline;

/// What a port answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Somebody accepts connections.
    Open,
    /// The machine is there and nobody listens.
    Refused,
    /// No answer: the machine, or the way to it, is gone, or a firewall swallows the question.
    Silent,
}

/// Knocks at a port.
pub fn tcp_probe(address: IpAddr, port: u16, limit: Duration) -> Probe {
    // A zero limit is an error of the standard library, not an answer.
    match TcpStream::connect_timeout(&SocketAddr::new(address, port), limit.max(Duration::from_millis(1))) {
        Ok(_) => Probe::Open,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Probe::Refused,
        Err(_) => Probe::Silent,
    }
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status, 200 when all is well.
    pub status: u16,
    /// What came with it.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody answers, or stopped in the middle.
    #[error("cannot get http://{address}{path}")]
    Talk { address: SocketAddr, path: String, source: io::Error },
    /// Longer than we are willing to read.
    #[error("cannot get http://{address}{path}: the answer is longer than {limit} bytes")]
    TooLong { address: SocketAddr, path: String, limit: usize },
    /// Not HTTP, or cut short.
    #[error("cannot get http://{address}{path}: {what}")]
    Malformed { address: SocketAddr, path: String, what: &'static str },
}

/// One GET, one connection; `limit` is for the whole exchange. Knows no redirects, no TLS and no chunks: it is meant
/// for our own agent.
///
/// # Errors
/// When the answer does not come in time, is too long or is none.
pub fn http_get_local(
    address: SocketAddr,
    path: &str,
    limit: Duration,
    max_bytes: usize,
) -> Result<HttpAnswer, HttpError> {
    let talk = |source| HttpError::Talk { address, path: path.to_owned(), source };
    let end = Deadline::after(limit);
    let mut stream = TcpStream::connect_timeout(&address, left(end).map_err(talk)?).map_err(talk)?;
    stream.set_write_timeout(Some(left(end).map_err(talk)?)).map_err(talk)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(talk)?;

    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        // Per read, so that an answer which drips in byte by byte does not outlast the limit.
        stream.set_read_timeout(Some(left(end).map_err(talk)?)).map_err(talk)?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(talk(error)),
        }
        if answer.len() > max_bytes {
            return Err(HttpError::TooLong { address, path: path.to_owned(), limit: max_bytes });
        }
    }
    parse(&answer).map_err(|what| HttpError::Malformed { address, path: path.to_owned(), what })
}

fn left(end: Deadline) -> io::Result<Duration> {
    let left = end.left();
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn parse(answer: &[u8]) -> Result<HttpAnswer, &'static str> {
    const GAP: &[u8] = b"\r\n\r\n";
    let gap = answer.windows(GAP.len()).position(|bytes| bytes == GAP).ok_or("the answer ends before its body")?;
    let head = std::str::from_utf8(&answer[..gap]).map_err(|_| "the head is no text")?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or("the answer is not HTTP")?;
    let body = answer[gap + GAP.len()..].to_vec();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { return Err("a header has no value") };
        if name.eq_ignore_ascii_case("content-length") && value.trim().parse() != Ok(body.len()) {
            return Err("the answer was cut short");
        }
    }
    Ok(HttpAnswer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    fn serve(answer: &'static [u8], keep_open: Duration) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let _read = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
            super::super::clock::sleep(keep_open);
        });
        address
    }

    fn get(answer: &'static [u8]) -> Result<HttpAnswer, HttpError> {
        http_get_local(serve(answer, Duration::ZERO), "/health", Duration::from_secs(2), 200)
    }

    #[test]
    fn open_and_refused_are_told_apart() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let probe = || tcp_probe(Ipv4Addr::LOCALHOST.into(), port, Duration::from_secs(1));
        assert_eq!(probe(), Probe::Open);
        drop(listener);
        assert_eq!(probe(), Probe::Refused);
    }

    #[test]
    fn an_answer_has_status_and_body() {
        let answer = get(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nwait").unwrap();
        assert_eq!(answer, HttpAnswer { status: 503, body: b"wait".to_vec() });
    }

    #[test]
    fn what_is_cut_short_too_long_or_foreign_is_refused() {
        let cut = get(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nwait").unwrap_err();
        assert!(cut.to_string().ends_with("/health: the answer was cut short"), "{cut}");
        assert!(get(b"SSH-2.0-OpenSSH\r\n\r\n").unwrap_err().to_string().ends_with("the answer is not HTTP"));
        assert!(matches!(get(&[b'x'; 300]), Err(HttpError::TooLong { limit: 200, .. })));
    }

    #[test]
    fn a_silent_server_does_not_keep_us() {
        let address = serve(b"HTTP/1.1 200 OK\r\n", Duration::from_secs(2));
        let error = http_get_local(address, "/", Duration::from_millis(150), 200).unwrap_err();
        assert!(matches!(error, HttpError::Talk { .. }), "{error}");
    }
}
