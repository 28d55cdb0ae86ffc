//! The only door to processes, files, clock, environment, packages, services and sockets.
//! What goes wrong here is reported in this module's words; nothing of the charm is known.

#![expect(clippy::disallowed_methods, reason = "this is the door that everybody else is asked to use")]

pub mod beside;
pub mod clock;
pub mod command;
mod direct;
pub mod file;
pub mod machine;
pub mod net;
pub mod owned;
pub mod package;
pub mod pipe;
pub mod service_manager;
mod talk;
pub mod tree;

pub use command::{Command, CommandError, Output};
pub use file::{FileError, Mode};
pub use owned::Owned;

/// An environment variable of this process; `None` when it is unset or no UTF-8. Empty is a value: Juju sets many
/// variables to nothing.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Every environment variable whose name begins with `prefix`, sorted.
pub fn env_with_prefix(prefix: &str) -> Vec<(String, String)> {
    let mut found: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    found.sort();
    found
}

/// Whether a process with this id runs; a text that is no process id belongs to nobody.
pub fn is_process_alive(id: &str) -> bool {
    id.parse::<u32>().is_ok_and(|id| std::path::Path::new("/proc").join(id.to_string()).exists())
}
