//! A unit's agent: `resolver` decides what comes next, `flush` makes a finished hook's effects true, `commit` keeps the
//! agent's own books, `context` is what a running hook sees and has said, `agent` is the loop that runs it all on a machine.

pub mod agent;
pub mod commit;
pub mod context;
mod environment;
pub mod flush;
mod flush_secrets;
pub mod resolver;
mod secret_hooks;
