//! The bell that Galera rings: `wsrep_notify_cmd` runs within the server's own state change, so it drops one datagram
//! and returns at once, whatever happens.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::host::{Mode, file};
use crate::mariadb::Paths;

fn path(paths: &Paths) -> PathBuf {
    paths.run.join("notify.sock")
}

/// Rings.
pub fn send() {
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(b"!", path(&Paths::default()));
    }
}

/// The agent's end.
pub(super) struct Bell {
    socket: UnixDatagram,
}

impl Bell {
    pub(super) fn listen(paths: &Paths) -> anyhow::Result<Self> {
        file::create_dir_all_with(&paths.run, &Mode::new(0o755))?;
        let path = path(paths);
        file::remove_opt(&path)?;
        let socket = UnixDatagram::bind(&path).context("cannot listen for Galera's notifications")?;
        // The server runs as another user. Whoever rings only makes us look sooner.
        file::set_mode(&path, 0o666)?;
        Ok(Self { socket })
    }

    /// Waits for a ring, but no longer than this; several rings at once are one.
    pub(super) fn wait(&self, limit: Duration) {
        let mut buffer = [0; 16];
        if self.socket.set_read_timeout(Some(limit)).is_err() {
            crate::host::clock::sleep(limit);
            return;
        }
        match self.socket.recv(&mut buffer) {
            Ok(_) => {}
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                return;
            }
            Err(_) => crate::host::clock::sleep(limit),
        }
        if self.socket.set_nonblocking(true).is_ok() {
            while self.socket.recv(&mut buffer).is_ok() {}
            let _ = self.socket.set_nonblocking(false);
        }
    }
}
