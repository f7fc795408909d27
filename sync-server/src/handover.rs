//! How one process takes over from another without anybody being turned away: sockets that systemd
//! opened and keeps open between the two, and patience with the process before that still holds the data
//! directory or the address.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::StartError;
use crate::config::Config;
use crate::store::OpenError;

/// How often it is tried again.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// Sockets that somebody else has opened for this server, to be used in place of those that the
/// configuration names.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Where clients connect.
    pub listen: Option<std::net::TcpListener>,
    /// Where metrics are.
    pub metrics: Option<std::net::TcpListener>,
}

impl Inherited {
    /// Takes the sockets that systemd has handed to this process (`LISTEN_FDS`): the first for
    /// clients, a second, if there is one, for metrics.
    ///
    /// # Errors
    /// If something is handed over that is no TCP socket that listens.
    pub fn from_environment() -> io::Result<Self> {
        let mut handed = listenfd::ListenFd::from_env();
        let [listen, metrics] = [0, 1].map(|place| {
            let socket =
                if place < handed.len() { handed.take_tcp_listener(place) } else { Ok(None) };
            socket.and_then(|socket| {
                if let Some(socket) = &socket {
                    socket.set_nonblocking(true)?;
                }
                Ok(socket)
            })
        });
        Ok(Self { listen: listen?, metrics: metrics? })
    }
}

/// The sockets that a server listens on.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) sync: TcpListener,
    pub(crate) metrics: Option<TcpListener>,
}

/// Tries something that only the process before can be in the way of, for as long as the configuration
/// says.
pub(crate) async fn patiently<T, W>(
    config: &Config,
    mut attempt: impl FnMut() -> W,
) -> Result<T, StartError>
where
    W: Future<Output = Result<T, StartError>>,
{
    let deadline = Instant::now() + config.takeover;
    let mut told = false;
    loop {
        match attempt().await {
            Err(error) if is_held(&error) && Instant::now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(%error, "waiting for the process before to let go");
                }
                tokio::time::sleep(TRY_EVERY).await;
            }
            outcome => return outcome,
        }
    }
}

fn is_held(error: &StartError) -> bool {
    matches!(error, StartError::AddressInUse(_) | StartError::Open(OpenError::InUse { .. }))
}

/// Binds what was not inherited.
pub(crate) async fn listen(config: &Config, inherited: Inherited) -> Result<Listeners, StartError> {
    let metrics = match (inherited.metrics, config.metrics_listen) {
        (Some(socket), listen) => Some(adopt(socket, listen.unwrap_or(config.listen))?),
        (None, Some(address)) => Some(patiently(config, || bind(address)).await?),
        (None, None) => None,
    };
    let sync = match inherited.listen {
        Some(socket) => adopt(socket, config.listen)?,
        None => patiently(config, || bind(config.listen)).await?,
    };
    Ok(Listeners { sync, metrics })
}

fn adopt(socket: std::net::TcpListener, listen: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::from_std(socket).map_err(|source| StartError::Listen { listen, source })
}

async fn bind(listen: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(listen).await.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            StartError::AddressInUse(listen)
        } else {
            StartError::Listen { listen, source }
        }
    })
}
