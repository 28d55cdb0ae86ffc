//! A unit's agent: `resolver` decides what comes next, `flush` makes a finished hook's effects true, `commit` keeps the
//! agent's own books, `context` is what a running hook sees and has said, `agent` is the loop; `hook`, `action` and `exec`
//! each run one thing, as a `process` in an `environment` on a machine.

pub mod action;
pub mod agent;
pub mod commit;
pub mod context;
mod environment;
mod exec;
pub mod flush;
mod flush_secrets;
mod hook;
mod process;
pub mod resolver;
mod secret_hooks;
