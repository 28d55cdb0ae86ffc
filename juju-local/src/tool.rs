//! The hook tools' program: small, because a charm starts it dozens of times a hook.

use std::process::ExitCode;

fn main() -> ExitCode {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&program).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    juju_local::jujuc::client::run(name)
}
