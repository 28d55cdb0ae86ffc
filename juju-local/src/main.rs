//! One binary under many names: hook tool, juju-exec, controller and command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&program).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    // Before anything else: a charm calls tools many times a hook, so this path must stay cheap.
    if juju_local::jujuc::client::is_tool(name) {
        return juju_local::jujuc::client::run(name);
    }
    juju_local::cli::run()
}
