//! `mariadb-galera ready`: the probe for proxies, Kubernetes and people.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::AGENT_PORT;
use crate::host::net;
use crate::mariadb::Paths;
use crate::node::{live, observe, shown};

/// Succeeds only when the local server may take traffic.
///
/// # Errors
/// Says what is missing.
pub fn run() -> anyhow::Result<()> {
    let verdict = if rustix::process::geteuid().is_root() {
        let expected = shown::read(&Paths::default()).and_then(|note| note.expected);
        live::ready(&observe::server(), expected.as_deref())
    } else {
        // Only root is known at the server's socket; everybody may ask the agent.
        let agent = SocketAddr::from((Ipv4Addr::LOCALHOST, AGENT_PORT));
        let answer = net::http_get_local(agent, "/health", Duration::from_secs(3), 4096)?;
        if answer.status == 200 { Ok(()) } else { Err(String::from_utf8_lossy(&answer.body).trim().to_owned()) }
    };
    verdict.map_err(|why| anyhow::anyhow!("not ready: {why}"))?;
    let _ = writeln!(std::io::stdout(), "ready");
    Ok(())
}
