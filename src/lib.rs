//! A Juju charm that runs MariaDB Galera clusters: the modules in reading order.
//! The middle (`cluster`) decides, two edges (`model`, `node`) translate, drivers talk.

pub mod actions;
pub mod agent;
pub mod backup;
pub mod charm;
pub mod cluster;
pub mod host;
pub mod invocation;
pub mod juju;
pub mod mariadb;
pub mod model;
pub mod node;
pub mod options;
pub mod probe;
pub mod translate;

/// Where the node agent answers: what this member is, and whether it may take traffic.
pub const AGENT_PORT: u16 = 9200;
