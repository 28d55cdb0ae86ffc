//! A Juju for one machine: runs any machine charm from its .charm file, without a controller or a cloud.
//! `model` is the state and its transitions, `uniter` decides a unit's next operation, `jujuc` answers the hook tools,
//! `watchful` looks for charms' bugs, `controller` holds it all together, `machine` makes the machines, `cli` is the command line.

pub mod api;
pub mod charm_files;
pub mod cli;
pub mod controller;
pub mod jujuc;
pub mod machine;
pub mod model;
pub mod uniter;
pub mod watchful;
