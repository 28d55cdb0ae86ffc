//! Edge 2: this machine in the middle's words. Used by hooks and by the agent; knows nothing of hook tools.

pub mod act;
pub mod agent_service;
pub mod backups;
pub mod bring;
pub mod calendar;
pub mod configure;
pub mod departure;
pub mod doorway;
pub mod gate;
pub mod journal;
pub mod last_view;
pub mod live;
pub mod metrics;
pub mod observe;
pub mod outage;
pub mod planned;
pub mod quiet;
pub mod server_options;
pub mod shown;
pub mod stores;
pub mod turn;
pub mod work;
pub mod write_rate;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::mariadb::sizing::Use;
use crate::options::Chosen;

/// What the server's files are made of: facts of Juju's side, in this machine's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The unit's name.
    pub unit: String,
    /// The cluster's name; the group's is made of it and of the branch in the journal.
    pub cluster_name: String,
    /// This unit's address.
    pub address: IpAddr,
    /// All members' addresses, this one included.
    pub members: Vec<IpAddr>,
    /// Part of the formation and never Synced: its first copy may be a file copy, if the others are still empty.
    pub forming: bool,
    /// How much of the machine the server may take.
    pub use_: Use,
    /// How much memory the server may count on, in bytes; `None` for all that the machine gives.
    pub limit_memory: Option<u64>,
    /// What options say about the server.
    pub chosen: Chosen,
    /// Another unit's server does not start with these options.
    pub refused_elsewhere: bool,
}

/// Passwords by account: the current one first, then the one before while it is still accepted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Rises with every change.
    pub generation: u32,
    /// Account → passwords.
    pub accepted: BTreeMap<String, Vec<String>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets(generation {})", self.generation)
    }
}
