//! Running the host's own tools.

use std::process::{Command, Stdio};

use anyhow::Context as _;

/// Runs a tool to its end; its error text becomes ours.
pub(super) fn run(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("cannot run {program} {}: {}", args.join(" "), stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a tool whose failure means that there was nothing to do.
pub(super) fn attempt(program: &str, args: &[&str]) -> bool {
    run(program, args).is_ok()
}
