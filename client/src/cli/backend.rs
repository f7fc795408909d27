//! The server that a run talks to: one that is there already, one inside this process, or one that
//! this process starts and may kill.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use syncline_engine::hub;
use syncline_engine::ids::UserId;
use syncline_engine::policy::Role;
use syncline_server::Server;
use syncline_server::config::{AddressLimits, Config, Storage};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// The user in whose name those act who write in the names of others.
pub(crate) const IMPORTER: &str = "replay";

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A server and how it is kept.
pub(crate) enum Backend {
    /// Somebody else's.
    External(String),
    /// In this process.
    Embedded(Box<Server>),
    /// A child process.
    Child(Box<Process>),
}

impl Backend {
    pub(crate) fn external(url: &str) -> Self {
        Self::External(url.to_owned())
    }

    /// A server inside this process, on a free port, with its log in `data`.
    pub(crate) async fn embedded(data: PathBuf) -> anyhow::Result<Self> {
        let listen = "127.0.0.1:0".parse().context("the loopback address")?;
        let importer = UserId::new(IMPORTER)?;
        let roles = BTreeMap::from([(importer, Role::Importer)]);
        let storage = Storage::Directory(data);
        // What is measured is the server, not its patience.
        let hub = hub::Config { quotas: hub::Quotas::none(), ..hub::Config::default() };
        let addresses = AddressLimits::none();
        let config = Config { listen, storage, roles, hub, addresses, ..Config::default() };
        let server = Server::start(config).await.context("can't start the embedded server")?;
        Ok(Self::Embedded(Box::new(server)))
    }

    /// A server in a process of its own, on a free port, with its log in `data`.
    pub(crate) async fn child(data: PathBuf, log: &Path) -> anyhow::Result<Self> {
        Ok(Self::Child(Box::new(Process::start(data, log).await?)))
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::External(url) => url.clone(),
            Self::Embedded(server) => format!("ws://{}", server.local_addr()),
            Self::Child(process) => format!("ws://127.0.0.1:{}", process.port),
        }
    }

    /// The process that serves, if it is one of this machine that is known.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::External(_) => None,
            Self::Embedded(_) => Some(std::process::id()),
            Self::Child(process) => process.child.id(),
        }
    }

    /// Kills the child process without warning (SIGKILL) and starts it again on the same data and port.
    pub(crate) async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Child(process) => process.kill_and_restart().await,
            Self::External(_) | Self::Embedded(_) => {
                bail!("only a server of its own can be killed")
            }
        }
    }

    /// Ends what this process started.
    pub(crate) async fn stop(self) {
        match self {
            Self::External(_) => {}
            Self::Embedded(server) => {
                if let Err(error) = server.shutdown().await {
                    tracing::warn!(%error, "the embedded server did not end well");
                }
            }
            Self::Child(mut process) => {
                // The run is over and everything acknowledged is durable: no reason to be gentle.
                let _ = process.child.kill().await;
            }
        }
    }
}

/// A `syncline-server` in a process of its own.
pub(crate) struct Process {
    child: Child,
    data: PathBuf,
    log: PathBuf,
    port: u16,
}

impl Process {
    async fn start(data: PathBuf, log: &Path) -> anyhow::Result<Self> {
        let (child, port) = spawn(&data, log, 0).await?;
        Ok(Self { child, data, log: log.to_owned(), port })
    }

    async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("can't kill the server")?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match spawn(&self.data, &self.log, self.port).await {
                Ok((child, _)) => {
                    self.child = child;
                    return Ok(());
                }
                // The port may be held for a moment by connections that are still closing.
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// The executable beside this one.
fn executable() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("can't find the path of this program")?;
    let name = format!("syncline-server{}", std::env::consts::EXE_SUFFIX);
    // Test executables lie one folder deeper.
    let candidates = own.ancestors().skip(1).take(2).map(|folder| folder.join(&name));
    candidates.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("{name} was not found beside {}; build it or name one with --server", own.display())
    })
}

async fn spawn(data: &Path, log: &Path, port: u16) -> anyhow::Result<(Child, u16)> {
    let log = File::options().create(true).append(true).open(log).context("the server's log")?;
    let mut child = Command::new(executable()?)
        .arg("--listen")
        .arg(format!("127.0.0.1:{port}"))
        .arg("--data")
        .arg(data)
        .args(["--importers", IMPORTER])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("can't start syncline-server")?;
    let stdout = child.stdout.take().context("the server has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(READY_WITHIN, lines.next_line())
        .await
        .context("the server did not say that it is ready")?
        .context("the server's output can't be read")?
        .context("the server ended before it was ready")?;
    let port = port_in(&line).with_context(|| format!("the server said {line:?}"))?;
    Ok((child, port))
}

/// The port in a line such as `syncline-server listening on ws://127.0.0.1:4400/v1/sync data=x`.
fn port_in(line: &str) -> Option<u16> {
    let authority = line.split_once("ws://")?.1.split(['/', ' ']).next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_line_that_says_ready() {
        let line = "syncline-server listening on ws://127.0.0.1:4417/v1/sync data=/x:9/y";
        assert_eq!(port_in(line), Some(4417));
        assert_eq!(port_in("syncline-server listening on ws://[::1]:80"), Some(80));
        assert_eq!(port_in("good morning"), None);
    }
}
