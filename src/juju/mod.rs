//! Driver: Juju's hook tools, typed. They answer only while a hook or an action runs, so the node agent has no business
//! here. Reading tools are always asked for JSON: the default format cannot tell missing from empty.

pub mod action;
pub mod config;
pub mod goal_state;
pub mod leader;
pub mod log;
pub mod network;
pub mod port;
pub mod relation;
pub mod secret;
pub mod state;
pub mod status;
pub mod storage;
pub mod tool;
pub mod types;
pub mod version;

pub use tool::Error;
pub use types::{RelationId, SecretUri, UnitName};
pub use version::Version;
