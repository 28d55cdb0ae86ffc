//! Turns an invocation into an exit code; nothing else.

fn main() {}
