//! A Juju charm that runs MariaDB Galera clusters: the modules in reading order.
//! The middle (`cluster`) decides, two edges (`model`, `node`) translate, drivers talk.

pub mod cluster;
pub mod host;
pub mod juju;
pub mod mariadb;
