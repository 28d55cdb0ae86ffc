//! Ports that the firewall should let through once the application is exposed. Committed with the hook.

use super::tool::{self, Error};

/// Opens a TCP port; that it is open already is fine.
///
/// # Errors
/// When Juju refuses: another unit of the same machine may have it.
pub fn open_tcp(port: u16) -> Result<(), Error> {
    tool::run("open-port", &[&format!("{port}/tcp")], None).map(drop)
}

/// Closes a TCP port; that it is not open is fine.
///
/// # Errors
/// When Juju does not answer.
pub fn close_tcp(port: u16) -> Result<(), Error> {
    tool::run("close-port", &[&format!("{port}/tcp")], None).map(drop)
}

/// What is open, in Juju's words: `3306/tcp`, `100-200/udp`, `icmp`.
///
/// # Errors
/// When Juju does not answer.
pub fn opened() -> Result<Vec<String>, Error> {
    Ok(tool::read::<Option<_>>("opened-ports", &[])?.unwrap_or_default())
}
