//! The command line of Syncline: what there is to say to it, and which module answers.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod backend;
mod bench;
mod connect;
mod feed;
mod issue;
mod progress;
mod random;
mod refused;
mod render;
mod replay;
mod rules;
mod statistics;
mod status;
mod stream;
mod table;
mod talk;
mod trace;
mod who;

/// Posts, likes and comments that merge without conflicts, online and offline
#[derive(Debug, Parser)]
#[command(name = "syncline", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    Post(talk::PostArgs),
    Show(talk::ShowArgs),
    Like(talk::LikeArgs),
    #[command(about = "Takes a reaction back")]
    Unlike(talk::LikeArgs),
    Comment(talk::CommentArgs),
    Edit(talk::EditArgs),
    Delete(talk::DeleteArgs),
    #[command(about = "Shows a post and then what happens to it, until interrupted")]
    Watch(talk::ShowArgs),
    Feed(feed::FeedArgs),
    Sync(talk::SyncArgs),
    #[command(about = "Says what is on this device and what is pending")]
    Status(status::StatusArgs),
    Refused(refused::RefusedArgs),
    Rules(rules::RulesArgs),
    Stream(stream::StreamArgs),
    Who(who::WhoArgs),
    Export(talk::ExportArgs),
    Replay(replay::ReplayArgs),
    Trace(trace::TraceArgs),
    Bench(bench::BenchArgs),
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
        Subcommands::Post(args) => talk::post(args).await,
        Subcommands::Show(args) => talk::show(args).await,
        Subcommands::Like(args) => talk::like(args).await,
        Subcommands::Unlike(args) => talk::unlike(args).await,
        Subcommands::Comment(args) => talk::comment(args).await,
        Subcommands::Edit(args) => talk::edit(args).await,
        Subcommands::Delete(args) => talk::delete(args).await,
        Subcommands::Watch(args) => talk::watch(args).await,
        Subcommands::Feed(args) => feed::run(args).await,
        Subcommands::Sync(args) => talk::sync(args).await,
        Subcommands::Status(args) => status::status(args).await,
        Subcommands::Refused(args) => refused::refused(args).await,
        Subcommands::Rules(args) => rules::run(args).await,
        Subcommands::Stream(args) => stream::run(args).await,
        Subcommands::Who(args) => who::run(args).await,
        Subcommands::Export(args) => talk::export(args).await,
        Subcommands::Replay(args) => replay::run(args).await,
        Subcommands::Trace(args) => trace::run(args).await,
        Subcommands::Bench(args) => bench::run(args).await,
    }
}
