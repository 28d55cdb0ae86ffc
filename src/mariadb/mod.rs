//! Driver: the MariaDB server, its configuration, accounts and service. Returns plain types of its own.

pub mod account;
pub mod check;
pub mod cnf;
pub mod datadir;
pub mod drain;
pub mod grastate;
pub mod halfway;
pub mod install;
pub mod running;
pub mod saved_view;
pub mod service;
pub mod sizing;
pub mod sql;
pub mod start;
pub mod wsrep;

use std::path::{Path, PathBuf};

use crate::host::Owned;

/// Where things are on a unit's machine.
///
/// The data directory is a subdirectory of the data volume: the mount point's `lost+found` is no schema then, the
/// charm's journal can lie beside it on the same volume and survives state transfers, and a data directory can be moved
/// aside by a rename.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The data volume's mount point.
    pub volume: PathBuf,
    /// The charm's own state that must survive a reboot but belongs to the machine, not to the data.
    pub state: PathBuf,
    /// What does not survive a reboot.
    pub run: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            volume: PathBuf::from("/var/lib/mysql"),
            state: PathBuf::from("/var/lib/mariadb-galera"),
            run: PathBuf::from("/run/mariadb-galera"),
        }
    }
}

impl Paths {
    /// A machine of a test's own.
    #[cfg(test)]
    pub(crate) fn under(dir: &std::path::Path) -> Self {
        Self { volume: dir.join("volume"), state: dir.join("state"), run: dir.join("run") }
    }

    /// The server's data directory.
    pub fn datadir(&self) -> PathBuf {
        self.volume.join("data")
    }

    /// System tables that the package made, on the same volume, so that the founder need only rename them.
    pub fn packaged(&self) -> PathBuf {
        self.volume.join("data.packaged")
    }

    /// The files outside of these that are this charm's.
    pub fn owned(&self) -> Owned {
        Owned::new(&self.state)
    }

    /// Says whether and how the server may start; read by its gate.
    pub fn permission(&self) -> PathBuf {
        self.state.join("start-permission.json")
    }

    /// What the gate hands to the server.
    pub fn start_environment(&self) -> PathBuf {
        self.run.join("start.env")
    }
}

/// The binary's place outside the charm directory, which a refresh replaces under a running process.
pub const PROGRAM: &str = "/usr/local/lib/mariadb-galera/mariadb-galera";
/// The server's configuration that the charm owns; world-readable, so without secrets.
pub const CNF: &str = "/etc/mysql/mariadb.conf.d/90-mariadb-galera.cnf";
/// The part with the state transfer's password, for the server's group only.
pub const SECRET_CNF: &str = "/etc/mysql/mariadb.conf.d/91-mariadb-galera-secret.cnf";
/// The server's Unix socket.
pub const SOCKET: &str = "/run/mysqld/mysqld.sock";
/// Binary logs: the `logs` storage.
pub const BINLOG_DIR: &str = "/var/lib/mysql-binlog";
/// Temporary files: the `temp` storage.
pub const TMP_DIR: &str = "/var/lib/mysql-tmp";
/// Backups: the `archive` storage.
pub const ARCHIVE_DIR: &str = "/var/lib/mysql-archive";

/// Where Galera talks to the group (`gmcast.listen_addr`).
pub const GROUP_PORT: u16 = 4567;

/// Whether this program is installed.
pub fn server_program() -> &'static Path {
    Path::new("/usr/sbin/mariadbd")
}
