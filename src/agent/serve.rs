//! Answers over HTTP: `/status` and `/backups` for the other members, `/health` for proxies and people (200 or 503),
//! `/metrics` for Prometheus. One GET a connection and nothing kept alive, so nothing can be smuggled behind it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Context as _;

use super::{Look, Seen};
use crate::AGENT_PORT;
use crate::mariadb::{Paths, datadir, drain};
use crate::node::{backups, departure, doorway, metrics};

const HEAD_BYTES_MAX: usize = 8192;
const LIMIT: Duration = Duration::from_secs(2);
/// The loop looks every second and waits for the server for three. When it hangs (a volume that does not answer), what it
/// saw last is no answer.
const STALE: Duration = Duration::from_secs(10);

/// The text format of Prometheus, version 0.0.4.
const PROMETHEUS: &str = "text/plain; version=0.0.4";

/// Answers from now on.
pub(super) fn listen(seen: Seen) -> anyhow::Result<()> {
    // Both families at once; a host without IPv6 has only the other.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, AGENT_PORT))
        .or_else(|_| TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], AGENT_PORT))))
        .with_context(|| format!("cannot listen on port {AGENT_PORT}"))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Seen::clone(&seen);
            std::thread::spawn(move || answer(stream, &seen));
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream, seen: &Seen) {
    if stream.set_read_timeout(Some(LIMIT)).is_err() || stream.set_write_timeout(Some(LIMIT)).is_err() {
        return;
    }
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend_from_slice(&chunk[..n]),
        }
        if head.len() > HEAD_BYTES_MAX {
            return;
        }
    }
    let mut look = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // Read now and not a second ago: those who leave count on it, and those who bootstrap.
    look.live.leaving = departure::ticket(&Paths::default());
    look.live.free_bytes = datadir::room_for_another(&Paths::default());
    doorway::tell(&Paths::default(), &mut look.live);
    if drain::has_begun(&Paths::default()) {
        look.live.ready = false;
        look.ready = Err("the server is about to be stopped, use the others".to_owned());
    }
    let head = String::from_utf8_lossy(&head);
    let (status, kind, body) = match head.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["GET", "/backups"] => archive(),
        ["GET", "/metrics"] => ("200 OK", PROMETHEUS, metrics::render(&look.live, &Paths::default())),
        _ => respond(&head, &look),
    };
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(text.as_bytes());
}

/// The backups on this machine, for those who list or restore. What it says of the data is their names, sizes and times.
fn archive() -> (&'static str, &'static str, String) {
    let listed = backups::own_archive(&Paths::default());
    match listed.and_then(|listed| Ok(serde_json::to_string(&listed)?)) {
        Ok(text) => ("200 OK", "application/json", text),
        Err(why) => ("503 Service Unavailable", "text/plain", format!("{why:#}\n")),
    }
}

/// Status line, content type and body for a request's head.
fn respond(head: &str, look: &Look) -> (&'static str, &'static str, String) {
    let age = look.at.elapsed();
    if age > STALE {
        let said = format!("the agent has not seen the server for {} s\n", age.as_secs());
        return ("503 Service Unavailable", "text/plain", said);
    }
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    match (words.next(), words.next()) {
        (Some("GET"), Some("/status")) => {
            ("200 OK", "application/json", serde_json::to_string(&look.live).unwrap_or_default())
        }
        (Some("GET"), Some("/health" | "/")) => match &look.ready {
            Ok(()) => ("200 OK", "text/plain", "ready\n".to_owned()),
            Err(why) => ("503 Service Unavailable", "text/plain", format!("{why}\n")),
        },
        (Some("GET"), _) => {
            ("404 Not Found", "text/plain", "only /status, /health, /metrics and /backups\n".to_owned())
        }
        _ => ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::Moment;
    use crate::node::live::Live;

    #[test]
    fn what_is_asked_is_answered_and_nothing_else() {
        let said = |head: &str, ready: Result<(), String>| {
            let (status, _, body) = respond(head, &Look { live: Live::default(), ready, at: Moment::now() });
            format!("{status}: {}", body.trim_end())
        };
        assert_eq!(said("GET /health HTTP/1.1\r\n\r\n", Ok(())), "200 OK: ready");
        assert_eq!(
            said("GET /health HTTP/1.1\r\n\r\n", Err("no quorum".to_owned())),
            "503 Service Unavailable: no quorum"
        );
        assert!(said("GET /status HTTP/1.0\r\n\r\n", Ok(())).starts_with("200 OK: {\"unit\":\"\""));
        assert_eq!(said("POST /status HTTP/1.1\r\n\r\n", Ok(())), "405 Method Not Allowed: only GET");
        assert_eq!(
            said("GET /etc/passwd HTTP/1.1\r\n\r\n", Ok(())),
            "404 Not Found: only /status, /health, /metrics and /backups"
        );
        assert_eq!(said("", Ok(())), "405 Method Not Allowed: only GET");
    }
}
