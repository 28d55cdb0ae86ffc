//! What several tests share: a world around `cluster::decide`. No test uses all of it.
#![allow(dead_code, clippy::allow_attributes, reason = "each test is a crate of its own and takes what it needs")]

pub(crate) mod galera;
pub(crate) mod hook;
pub(crate) mod promise;
pub(crate) mod restore;
pub(crate) mod setting;
pub(crate) mod steps;
pub(crate) mod world;
