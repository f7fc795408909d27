//! The command line of Syncline: what there is to say to it, and which module answers.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod backend;
mod issue;
mod random;
mod replay;
mod statistics;
mod table;
mod trace;

/// Posts, likes and comments that merge without conflicts, online and offline
#[derive(Debug, Parser)]
#[command(name = "syncline", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    Replay(replay::ReplayArgs),
    Trace(trace::TraceArgs),
}

/// Reads the command line, does what it says, and answers how it went.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("SYNCLINE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("syncline: can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments.command)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("syncline: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Subcommands) -> anyhow::Result<bool> {
    match command {
        Subcommands::Replay(args) => replay::run(args).await,
        Subcommands::Trace(args) => trace::run(args).await,
    }
}
