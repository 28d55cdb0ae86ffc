//! What belongs to the shell and not to a model: completion, manual pages, the list of commands, the version.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;

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
    /// Print the version
    Version,
}

pub(super) fn run(command: Shell) -> anyhow::Result<()> {
    match command {
        Shell::Completion { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut grammar(), "juju-local", &mut text);
            print(&String::from_utf8_lossy(&text));
        }
        Shell::Man { dir } => {
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            clap_mangen::generate_to(grammar(), &dir)
                .with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
        }
        Shell::Commands => print(&commands(&grammar())),
        Shell::Version => print(env!("CARGO_PKG_VERSION")),
    }
    Ok(())
}
