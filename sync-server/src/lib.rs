//! The Syncline sync server: tokio, axum and a store around the engine's hub. The binary
//! `syncline-server` is a thin shell around [`Server`]; tests and `syncline replay` embed it.
//!
//! The way of a message: `socket` (size limit, no decoding) hands it to the `mailbox`; the
//! `hub_task` owns the hub, which decides; `work` asks the store, off the loop; answers go through
//! `outgoing` back to the socket. Nothing in this crate decides anything about documents.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use syncline_server::config::{Config, Storage};
//! use syncline_server::Server;
//!
//! let listen = "127.0.0.1:0".parse()?;
//! let server = Server::start(Config { listen, storage: Storage::Memory, ..Config::default() }).await?;
//! println!("{}", server.url());
//! server.shutdown().await?;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::FutureExt;
use syncline_engine::hub::{self, Authenticator, Effect, Hub, Identity, Input, TakesNames};
use syncline_engine::ids::{Address, Cursor};
use syncline_engine::machine::Machine;
use syncline_engine::storage::record::DigestKey;
use syncline_engine::storage::{LogStore, Record, Snapshot, StoreError};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

mod app;
mod clock;
pub mod config;
mod hub_task;
mod listener;
mod mailbox;
mod outgoing;
mod roles;
mod socket;
pub mod store;
#[cfg(test)]
mod tests;
mod tokens;
pub mod webhooks;
mod work;

pub use hub_task::HubFailure;
pub use tokens::{KeysError, Tokens};

use app::App;
use config::{Authentication, Config, Storage};
use hub_task::HubTask;
use mailbox::Mailbox;
use roles::WithRoles;
use store::{MemoryStore, OpenError, SledOptions, SledStore};
use webhooks::{Prepared, WebhookStats, Webhooks};
use work::{MakeSnapshot, Work, WorkEnd};

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Something else listens there.
    #[error("the address {0} is in use by another program; choose another with --listen")]
    AddressInUse(SocketAddr),
    /// The address is not one to listen on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The directory of the log cannot be used; says whether somebody else holds it, it is of
    /// another format, or damaged.
    #[error(transparent)]
    Open(OpenError),
    /// The store was opened but does not take writes.
    #[error(transparent)]
    Store(StoreError),
    /// No random bytes are to be had.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// Others could reach the server and say that they are anyone.
    #[error(
        "listening on {0} without keys would take everyone's name at its word; give --auth-keys, or \
         listen on 127.0.0.1"
    )]
    NamesInPublic(SocketAddr),
    /// The keys for tokens cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// What is known of the receivers of events cannot be read or written.
    #[error("cannot use the state of the webhooks: {0}")]
    Webhooks(io::Error),
    /// How far the receivers of events are must outlive the server.
    #[error("webhooks need a data directory")]
    WebhooksInMemory,
    /// The operating system refuses a thread.
    #[error("cannot start a thread: {0}")]
    Threads(io::Error),
}

/// A running server. Dropping it ends it at once, without a goodbye; see [`Server::shutdown`].
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    mailbox: Mailbox,
    closing: Arc<watch::Sender<bool>>,
    listener: JoinHandle<()>,
    hub: JoinHandle<Result<(), HubFailure>>,
    outcome: Option<Result<(), HubFailure>>,
    /// The first is dropped when the end begins; the second resolves when no connection is left.
    alive: (Option<mpsc::Sender<()>>, mpsc::Receiver<()>),
    work_end: Option<WorkEnd>,
    webhooks: Option<Webhooks>,
    shutdown_within: Duration,
}

impl Server {
    /// Binds the address, opens the store, begins a term in it, and serves. Must be called in a
    /// tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let authenticator = authenticator(&config)?;
        let authenticator = Arc::new(WithRoles { authenticator, roles: config.roles.clone() });
        let listener = bind(config.listen).await?;
        let opening = config.clone();
        // Opening reads a log of any size and waits for the disk.
        let (store, identity, webhooks) = tokio::task::spawn_blocking(move || {
            let (store, identity) = open(&opening)?;
            let (store, webhooks) = publish(store, &opening)?;
            Ok::<_, StartError>((store, identity, webhooks))
        })
        .await
        .map_err(|error| StartError::Threads(io::Error::other(error)))??;
        tracing::info!(term = identity.term, listen = %config.listen, "store opened");
        let hub = Hub::new(config.hub, identity).with_authenticator(authenticator);
        let webhooks = webhooks.map(Prepared::start).transpose().map_err(StartError::Threads)?;
        let mut server = Self::run(listener, hub, store, make_snapshot, &config)?;
        server.webhooks = webhooks;
        Ok(server)
    }

    /// Serves `hub` over `store` on `listener`.
    fn run(
        listener: TcpListener,
        hub: impl Machine<Input = Input, Effect = Effect> + Send + 'static,
        store: Arc<dyn LogStore>,
        make_snapshot: MakeSnapshot,
        config: &Config,
    ) -> Result<Self, StartError> {
        let local_addr = listener
            .local_addr()
            .map_err(|source| StartError::Listen { listen: config.listen, source })?;
        let (mailbox, letters) = Mailbox::new();
        let (work, work_end) =
            Work::start(store, mailbox.clone(), make_snapshot).map_err(StartError::Threads)?;
        let (closing, closed) = watch::channel(false);
        let (alive_in, alive) = mpsc::channel(1);
        let closing = Arc::new(closing);
        let app = App {
            mailbox: mailbox.clone(),
            closing: closed.clone(),
            seats: Arc::new(Semaphore::new(config.connections_max.max(1) as usize)),
            write_stall: config.write_stall,
            next_connection: AtomicU64::new(1),
            alive: alive_in.downgrade(),
        };
        let task = HubTask::new(hub, letters, work);
        let close = Arc::clone(&closing);
        let hub = tokio::spawn(async move {
            let outcome = AssertUnwindSafe(task.run()).catch_unwind().await;
            close.send_replace(true);
            outcome.unwrap_or(Err(HubFailure::Panicked))
        });
        let listener = tokio::spawn(listener::serve(listener, app::router(Arc::new(app)), closed));
        Ok(Self {
            local_addr,
            mailbox,
            closing,
            listener,
            hub,
            outcome: None,
            alive: (Some(alive_in), alive),
            work_end: Some(work_end),
            webhooks: None,
            shutdown_within: config.shutdown,
        })
    }

    /// Where the server listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}{}", self.local_addr, app::SYNC_PATH)
    }

    /// What the receivers of events have got and what they lack.
    #[must_use]
    pub fn webhooks(&self) -> Vec<WebhookStats> {
        self.webhooks.as_ref().map(Webhooks::stats).unwrap_or_default()
    }

    /// Waits until the server ends by itself, which it does only when it cannot go on. May be
    /// cancelled and asked again.
    ///
    /// # Errors
    /// [`HubFailure`] says what happened.
    pub async fn ended(&mut self) -> Result<(), HubFailure> {
        if let Some(outcome) = &self.outcome {
            return outcome.clone();
        }
        let outcome = (&mut self.hub).await.unwrap_or(Err(HubFailure::Panicked));
        self.outcome.insert(outcome).clone()
    }

    /// Ends in an orderly way: takes no more connections, makes durable what was accepted, says
    /// goodbye to everyone, and lets go of the store. Takes no longer than [`Config::shutdown`].
    ///
    /// # Errors
    /// [`HubFailure`] if the server could not end like that.
    pub async fn shutdown(mut self) -> Result<(), HubFailure> {
        let within = self.shutdown_within;
        self.closing.send_replace(true);
        self.alive.0 = None;
        self.mailbox.fact(Input::Shutdown);
        let mut outcome = Err(HubFailure::Abandoned);
        let webhooks = self.webhooks.take();
        let winding_down = async {
            outcome = self.ended().await;
            // Nobody says anything on this channel; it ends with the last connection.
            let _ = self.alive.1.recv().await;
            if let Some(work_end) = self.work_end.take() {
                work_end.wait().await;
            }
            if let Some(webhooks) = webhooks {
                webhooks.end().await;
            }
        };
        if tokio::time::timeout(within, winding_down).await.is_err() {
            // What counts is whether the hub got to its end: a peer that does not take its goodbye
            // and a snapshot that is half made lose nothing.
            tracing::warn!("not everything ended in time");
        }
        outcome
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        self.listener.abort();
        self.hub.abort();
    }
}

fn authenticator(config: &Config) -> Result<Arc<dyn Authenticator>, StartError> {
    match &config.authentication {
        Authentication::Names if config.listen.ip().is_loopback() => Ok(Arc::new(TakesNames)),
        Authentication::Names => Err(StartError::NamesInPublic(config.listen)),
        Authentication::Tokens { keys, audience } => {
            let tokens = Arc::new(Tokens::read(keys, audience.clone())?);
            tokio::spawn(Arc::clone(&tokens).follow());
            Ok(tokens)
        }
        Authentication::Custom(authenticator) => Ok(Arc::clone(authenticator)),
    }
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

fn open(config: &Config) -> Result<(Arc<dyn LogStore>, Identity), StartError> {
    let now = clock::Clock::start().now().0;
    match &config.storage {
        Storage::Memory => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(StartError::Random)?;
            let identity = Identity { term: now.max(1), digest_key: DigestKey(key) };
            Ok((Arc::new(MemoryStore::new()), identity))
        }
        Storage::Directory(directory) => {
            let options =
                SledOptions { cache_bytes: config.cache_bytes, cache_idle: config.cache_idle };
            let store = SledStore::open(directory, &options).map_err(StartError::Open)?;
            let term = store.begin_term(now).map_err(StartError::Store)?;
            let identity = Identity { term, digest_key: store.digest_key().clone() };
            Ok((Arc::new(store), identity))
        }
    }
}

/// Puts the receivers of events between the store and the hub's driver, if there are any.
fn publish(
    store: Arc<dyn LogStore>,
    config: &Config,
) -> Result<(Arc<dyn LogStore>, Option<Prepared>), StartError> {
    let directory = match &config.storage {
        _ if config.webhooks.is_empty() => return Ok((store, None)),
        Storage::Memory => return Err(StartError::WebhooksInMemory),
        Storage::Directory(directory) => directory,
    };
    let prepared = Prepared::open(config.webhooks.clone(), directory, store);
    let prepared = prepared.map_err(StartError::Webhooks)?;
    Ok((prepared.store(), Some(prepared)))
}

fn make_snapshot(
    address: &Address,
    cursor: Cursor,
    old: Option<&Snapshot>,
    records: &[Record],
) -> Result<Snapshot, String> {
    hub::compact(address, cursor, old, records).map_err(|error| error.to_string())
}
