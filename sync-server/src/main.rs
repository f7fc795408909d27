//! The command `syncline-server`: settings, logs, signals, exit codes. Everything else is in the
//! library.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use sd_notify::NotifyState;
use syncline_server::config::{Config, ConfigError, Settings, Storage};
use syncline_server::logs::{self, LogError, Logs};
use syncline_server::store::OpenError;
use syncline_server::{HubFailure, Inherited, Server, StartError};
use tokio::signal::unix::{Signal, SignalKind, signal};

mod commands;

/// The system's allocator keeps what was freed; this one gives it back within seconds, also when the
/// server has nothing to do.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The Syncline sync server: keeps the log of every document and relays changes over WebSocket.
#[derive(Debug, Parser)]
#[command(name = "syncline-server", version, after_help = EXIT_HELP)]
struct Arguments {
    /// Configuration file in TOML; its keys are the long flags, with _ for -
    #[arg(long, env = "SYNCLINE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<commands::Command>,
}

const EXIT_HELP: &str = "\
A flag counts before its environment variable, that before the configuration file.
Exit codes: 0 ended as asked, 1 failed, 2 bad configuration, 3 the data directory is held by
another process, 4 the data directory is of another format, 5 the address is not to be had, 6 the
store failed, 7 something stored is damaged (verify and other subcommands).
Without a subcommand it serves; with one it works on the data directory, through the running server if
there is one.";

/// How long a thread that reads from the store is kept for the next read: as long as it is there, so is
/// what the allocator keeps at hand for it.
const READERS_KEPT: Duration = Duration::from_secs(1);

/// How often the server looks after itself where nobody else does: it costs nothing.
const NOBODY_WATCHES: Duration = Duration::from_secs(3_600);

const BAD_CONFIG: u8 = 2;
const DATA_HELD: u8 = 3;
const DATA_OTHER_FORMAT: u8 = 4;
const NO_ADDRESS: u8 = 5;
const STORE_FAILED: u8 = 6;

fn main() -> ExitCode {
    let Arguments { config, settings, command } = Arguments::parse();
    let outcome = match command {
        Some(command) => commands::run(command, settings.data),
        None => prepare(config, settings)
            .and_then(|(config, _logs)| run(config))
            .map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("syncline-server: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() || error.is::<LogError>() {
        return BAD_CONFIG;
    }
    match error.downcast_ref::<OpenError>() {
        Some(OpenError::InUse { .. }) => return DATA_HELD,
        Some(OpenError::OtherFormat { .. }) => return DATA_OTHER_FORMAT,
        Some(OpenError::Damaged { .. }) => return commands::DAMAGED,
        _ => {}
    }
    match error.downcast_ref::<StartError>() {
        Some(
            StartError::NamesInPublic(_)
            | StartError::Keys(_)
            | StartError::Tls(_)
            | StartError::WebhooksInMemory,
        ) => {
            return BAD_CONFIG;
        }
        Some(StartError::AddressInUse(_) | StartError::Listen { .. }) => return NO_ADDRESS,
        Some(StartError::Open(OpenError::InUse { .. })) => return DATA_HELD,
        Some(StartError::Open(OpenError::OtherFormat { .. })) => return DATA_OTHER_FORMAT,
        Some(StartError::Open(_) | StartError::Store(_) | StartError::Webhooks(_)) => {
            return STORE_FAILED;
        }
        _ => {}
    }
    match error.downcast_ref::<HubFailure>() {
        Some(HubFailure::Store(_)) => STORE_FAILED,
        _ => 1,
    }
}

fn prepare(file: Option<PathBuf>, settings: Settings) -> anyhow::Result<(Config, Logs)> {
    let settings = match file {
        Some(path) => settings.or(Settings::read(&path)?),
        None => settings,
    };
    let logs = logs::begin(&settings)?;
    Ok((settings.config()?, logs))
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(READERS_KEPT)
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(serve(config));
    // Nothing that is still under way would be lost.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let mut reload = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    let place = match &config.storage {
        Storage::Directory(path) => path.display().to_string(),
        Storage::Memory => "(memory)".to_owned(),
    };
    let inherited = Inherited::from_environment().context("the sockets that were handed over")?;
    let mut server = Server::start_on(config, inherited).await?;
    say_ready(&server, &place);
    tell_systemd(&[NotifyState::Ready]);
    let mut watchdog = watchdog();
    loop {
        tokio::select! {
            ended = server.ended() => {
                tell_systemd(&[NotifyState::Stopping]);
                // Says goodbye as far as that is possible; the outcome is known.
                let _ = server.shutdown().await;
                ended?;
                anyhow::bail!("the hub ended by itself");
            }
            name = signals.next() => {
                tracing::info!(signal = name, "shutting down");
                break;
            }
            _ = reload.recv() => server.reload(),
            _ = watchdog.tick() => {
                if server.is_well() {
                    tell_systemd(&[NotifyState::Watchdog]);
                }
            }
        }
    }
    tell_systemd(&[NotifyState::Stopping]);
    tokio::select! {
        ended = server.shutdown() => Ok(ended?),
        name = signals.next() => anyhow::bail!("ended at once by a second signal ({name})"),
    }
}

/// The one line on standard output. Whoever does not read it does not stop the server.
fn say_ready(server: &Server, place: &str) {
    let mut out = std::io::stdout().lock();
    let said = writeln!(out, "syncline-server listening on {} data={place}", server.url())
        .and_then(|()| out.flush());
    if let Err(error) = said {
        tracing::warn!(%error, "nobody reads the standard output");
    }
}

/// Tells systemd, if it asked to be told.
fn tell_systemd(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, news) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// Ticks twice in the time within which systemd wants to hear of the server, if it does.
fn watchdog() -> tokio::time::Interval {
    let mut within = 0;
    let wanted = sd_notify::watchdog_enabled(false, &mut within);
    let every = if wanted { Duration::from_micros(within / 2) } else { NOBODY_WATCHES };
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
