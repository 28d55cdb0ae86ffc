//! What belongs to the shell and not to a model: completion, manual pages, the list of commands, the version.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::args::Output;
use super::client::print;
use super::help::{commands, grammar};

#[derive(Debug, Subcommand)]
pub(super) enum Shell {
    /// Print what makes a shell complete commands and options
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command
    Man {
        /// Where to; it is made where it is not there
        dir: PathBuf,
    },
    /// List all commands
    Commands,
    /// Print the version of Juju that this one is like
    Version {
        /// And that of this program
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Output,
    },
}

/// As Juju calls this processor.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn completion(shell: clap_complete::Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut grammar(), "juju-local", &mut text);
    // The names of the states that the script goes through and of those that it knows differ by the hyphen in ours.
    String::from_utf8_lossy(&text).replace("juju__subcmd__local", "juju__local")
}

pub(super) fn run(command: Shell) -> anyhow::Result<()> {
    match command {
        Shell::Completion { shell } => {
            print(&completion(shell));
        }
        Shell::Man { dir } => {
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            clap_mangen::generate_to(grammar(), &dir)
                .with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
        }
        Shell::Commands => print(&commands(&grammar())),
        Shell::Version { all, output } => {
            let like = format!("{}-{}-{}", crate::model::VERSION, "genericlinux", arch());
            let whole = json!({"version": like, "git-commit": "", "juju-local": env!("CARGO_PKG_VERSION")});
            let value = if all { whole } else { like.into() };
            match output.given_format() {
                None if !all => output.text(value.as_str().unwrap_or_default())?,
                _ => output.value(&value)?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn bash_completes_options_of_commands() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), completion(clap_complete::Shell::Bash)).unwrap();
        let offers = |words: &str, index: u32| {
            let script = format!(
                "source {}; COMP_WORDS=({words}); COMP_CWORD={index}; \
                 _juju__local juju-local \"${{COMP_WORDS[$COMP_CWORD]}}\"; echo \"${{COMPREPLY[@]}}\"",
                file.path().display()
            );
            let said = Command::new("bash").args(["-c", &script]).output().unwrap();
            String::from_utf8_lossy(&said.stdout).trim().to_owned()
        };
        assert_eq!(offers("juju-local stat", 1), "status");
        assert_eq!(offers("juju-local status --form", 2), "--format");
        assert_eq!(offers("juju-local fault cl", 2), "clock clear");
    }
}
