//! Edge 1: Juju's model in the middle's words. Works only inside a hook or action.

pub mod credentials;
pub mod observe;
pub mod peer_data;
pub mod planned;
pub mod publish;
pub mod s3;
pub mod settings;
