//! The project's own chores: `cargo xtask pack` makes the charm's archive, `cargo xtask bench` measures.

mod bench;
mod binary;
mod build;
mod pack;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the mariadb-galera project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Build the charm and write mariadb-galera_<arch>.charm at the top of the tree
    Pack {
        /// Take the dev profile: built sooner, larger, slower, and not held to the size limit
        #[arg(long)]
        debug: bool,
    },
    /// Measure, and print the table of docs/benchmarks.md
    Bench(bench::Request),
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Pack { debug } => pack::run(if debug { build::Profile::Dev } else { build::Profile::Charm }).map(drop),
        Chore::Bench(request) => bench::run(&request),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cargo xtask: {why:#}");
            ExitCode::FAILURE
        }
    }
}
