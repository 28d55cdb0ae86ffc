//! What several tests share: a world around `cluster::decide`. No test uses all of it.
#![allow(dead_code, clippy::allow_attributes, reason = "each test is a crate of its own and takes what it needs")]

mod commits;
pub(crate) mod galera;
pub(crate) mod hook;
pub(crate) mod planned;
pub(crate) mod promise;
mod restore;
pub(crate) mod setting;
pub(crate) mod steps;
pub(crate) mod world;
