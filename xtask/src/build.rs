//! Where the tree is, and how a package of it becomes a binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// How the compiler is asked to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Soon.
    Dev,
    /// Fast; for what stays on this machine.
    Release,
    /// As it travels to every unit: the profile `charm` of Cargo.toml.
    Charm,
}

/// The top of the tree. Cargo says now where it is: with a shared build directory, the place at build time was another's.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().unwrap_or(Path::new(".")).to_owned()
}

/// Juju's word for the processor that this program was built for.
pub(crate) fn architecture() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("cannot name the architecture {other}: the charm is packed for amd64 and arm64"),
    }
}

/// Builds one package and returns its executable. Cargo is asked where it put it, because `CARGO_TARGET_DIR` may say.
pub(crate) fn executable(package: &str, profile: Profile) -> anyhow::Result<PathBuf> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args([
        "build",
        "--locked",
        "--message-format=json-render-diagnostics",
        "--package",
        package,
        // All of them: what stands beside it belongs to it.
        "--bins",
    ]);
    match profile {
        Profile::Dev => {}
        Profile::Release => {
            command.arg("--release");
        }
        Profile::Charm => {
            command.args(["--profile", "charm"]);
        }
    }
    let output = command
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run cargo to build {package}"))?;
    if !output.status.success() {
        bail!("cannot build {package}: cargo says why above");
    }
    let said = String::from_utf8(output.stdout).context("cannot read cargo's messages")?;
    said.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .find(|path| path.file_name().is_some_and(|name| name == package))
        .with_context(|| format!("cannot find the executable of {package} in cargo's messages"))
}

/// The build directory.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .context("cannot ask cargo for the build directory")?;
    let said: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("cannot read what cargo says of the tree")?;
    said["target_directory"].as_str().map(PathBuf::from).context("cannot find the build directory in what cargo says")
}
