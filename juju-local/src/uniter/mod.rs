//! A unit's agent: `resolver` decides what comes next, `commit` makes a finished hook's effects true, `context` is what
//! a running hook sees and has said, `agent` is the loop that runs it all on a machine.

pub mod agent;
pub mod commit;
pub mod context;
mod environment;
pub mod resolver;
