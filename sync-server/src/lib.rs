//! The Syncline sync server: tokio, axum and a store around the engine's hub. The binary
//! `syncline-server` is a thin shell around [`Server`]; tests and `syncline replay` embed it.
//!
//! The way of a message: `socket` (size limit, no decoding) hands it to the `mailbox`; the
//! `hub_task` owns the hub, which decides; `work` asks the store, off the loop; answers go through
//! `outgoing` back to the socket. A request of `http` is such a connection without a socket. Nothing
//! in this crate decides anything about documents. Beside that way stand those who look on: `metrics`,
//! `gauge`, `health`, `trace`, and `internal` for their pages.
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

use axum::Router;
use futures_util::FutureExt;
use syncline_engine::hub::{self, Authenticator, Effect, Hub, Identity, Input, TakesNames};
use syncline_engine::ids::{Address, Cursor};
use syncline_engine::machine::Machine;
use syncline_engine::storage::record::DigestKey;
use syncline_engine::storage::{LogStore, Record, Snapshot, StoreError};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

mod addresses;
pub mod admin;
mod app;
mod clock;
pub mod config;
mod gauge;
mod handover;
mod health;
mod http;
mod hub_task;
mod internal;
mod listener;
pub mod logs;
mod mailbox;
mod metrics;
mod orders;
mod outgoing;
mod process;
mod refusals;
mod roles;
mod socket;
pub mod store;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;
mod trace;
pub mod webhooks;
mod work;

pub use handover::Inherited;
pub use hub_task::HubFailure;
pub use tls::{TlsError, TlsFiles};
pub use tokens::{KeysError, Tokens};

use addresses::Addresses;
use app::App;
use config::{Authentication, Config, Storage};
use gauge::{Gauge, Observed};
use handover::Listeners;
use health::Health;
use http::{Http, Origins};
use hub_task::HubTask;
use internal::Internal;
use listener::Sockets;
use mailbox::Mailbox;
use metrics::Meters;
use orders::Orders;
use roles::WithRoles;
use store::{MemoryStore, OpenError, SledOptions, SledStore};
use tls::Certificates;
use webhooks::{Prepared, WebhookStats, Webhooks};
use work::{MakeSnapshot, Work, WorkEnd};

/// How long the last bytes of answers may take when the server ends.
const ANSWERS_WAIT: Duration = Duration::from_secs(2);

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
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket that was handed over cannot be used.
    #[error("a socket that was handed over cannot be used: {0}")]
    Inherited(io::Error),
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
    metrics_addr: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    health: Arc<Health>,
    /// Everything that looks on, and ends with the server.
    onlookers: JoinSet<()>,
    mailbox: Mailbox,
    closing: Arc<watch::Sender<bool>>,
    /// Ends with the connections on which answers are under way.
    listener: JoinHandle<JoinSet<()>>,
    hub: JoinHandle<Result<(), HubFailure>>,
    orders: Arc<Orders>,
    /// Serves the admin socket of a store on disk, and uses the store.
    admin: Option<JoinHandle<()>>,
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
        Self::start_on(config, Inherited::default()).await
    }

    /// Like [`Self::start`], on sockets that were opened by somebody else where there are any.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way.
    pub async fn start_on(mut config: Config, inherited: Inherited) -> Result<Self, StartError> {
        if let Some(socket) = &inherited.listen {
            config.listen = socket.local_addr().map_err(StartError::Inherited)?;
        }
        let authenticator = authenticator(&config)?;
        let authenticator = Arc::new(WithRoles { authenticator, roles: config.roles.clone() });
        let meters = Arc::new(Meters::new());
        let files = config.tls.clone();
        let certificates =
            files.map(|files| Certificates::read(files, Arc::clone(&meters))).transpose()?;
        let ((store, on_disk, identity), listeners) = open_and_listen(&config, inherited).await?;
        tracing::info!(term = identity.term, listen = %config.listen, "store opened");
        let publishing = config.clone();
        let (store, webhooks) = tokio::task::spawn_blocking(move || publish(store, &publishing))
            .await
            .map_err(|error| StartError::Threads(io::Error::other(error)))??;
        let telling = webhooks.map(|prepared| prepared.start(Arc::clone(&meters))).transpose();
        let webhooks = telling.map_err(StartError::Threads)?;
        let (secret, run) = (outbox_secret(&identity), identity.term);
        let hub = Hub::new(config.hub, identity)
            .with_authenticator(authenticator)
            .with_jitter(random_number()?);
        let certificates = certificates.map(Arc::new);
        let outfit = Outfit { listeners, certificates, meters, secret, run };
        let mut server = Self::run(outfit, hub, store, make_snapshot, &config)?;
        if let Some(store) = &on_disk {
            let (store, orders) = (Arc::clone(store), Arc::clone(&server.orders));
            let window = config.hub.offline_window;
            // What was under way when the last server ended.
            tokio::task::spawn_blocking(move || admin::resume(&store, &orders, window));
        }
        let orders = Arc::clone(&server.orders);
        server.admin = on_disk.and_then(|store| listen_to_admins(store, orders, &server.closing));
        server.webhooks = webhooks;
        Ok(server)
    }

    /// Serves `hub` over `store`.
    fn run(
        outfit: Outfit,
        hub: impl Machine<Input = Input, Effect = Effect> + Observed + Send + 'static,
        store: Arc<dyn LogStore>,
        make_snapshot: MakeSnapshot,
        config: &Config,
    ) -> Result<Self, StartError> {
        let Outfit { listeners, certificates, meters, secret, run } = outfit;
        let unheard = |source| StartError::Listen { listen: config.listen, source };
        let local_addr = listeners.sync.local_addr().map_err(unheard)?;
        let metrics_addr = listeners.metrics.as_ref().map_or(Ok(local_addr), |l| l.local_addr());
        let metrics_addr = metrics_addr.map_err(unheard)?;
        let (mailbox, letters) = Mailbox::new();
        let (work, work_end) =
            Work::start(store, mailbox.clone(), make_snapshot, Arc::clone(&meters))
                .map_err(StartError::Threads)?;
        let health = Arc::new(Health::new());
        let (closing, closed) = watch::channel(false);
        let (alive_in, alive) = mpsc::channel(1);
        let closing = Arc::new(closing);
        let app = App {
            mailbox: mailbox.clone(),
            closing: closed.clone(),
            seats: Arc::new(Semaphore::new(config.connections_max.max(1) as usize)),
            addresses: Addresses::new(config.addresses.clone()),
            request_wait: config.request_wait,
            write_stall: config.write_stall,
            next_connection: AtomicU64::new(1),
            alive: alive_in.downgrade(),
            health: Arc::clone(&health),
            meters: Arc::clone(&meters),
            http: Http::new(origins(config), secret, run),
        };
        let gauge = Gauge::new(Arc::clone(&meters), Arc::clone(&health), config.hub);
        let (orders, hub_end) = Orders::new(mailbox.clone());
        let task = HubTask::new(hub, letters, work, gauge, hub_end);
        let hub = drive(task, Arc::clone(&closing));
        let sockets = |tls| {
            let (meters, most) = (Arc::clone(&meters), config.connections_max);
            Sockets::new(meters, most, tls, config.request_wait, config.write_stall)
        };
        let (app, internal) = (Arc::new(app), Arc::new(Internal::new(Arc::clone(&meters))));
        let mut onlookers = JoinSet::new();
        onlookers.spawn(Arc::clone(&internal).sample());
        if let Some(certificates) = &certificates {
            onlookers.spawn(Arc::clone(certificates).follow());
        }
        let router = if let Some(listener) = listeners.metrics {
            let pages = internal::open_router(internal).merge(app::health(Arc::clone(&app)));
            onlookers.spawn(show(listener, pages, sockets(None)));
            app::router(app)
        } else {
            let seen_from = config.seen_from.clone().into();
            app::router(app).merge(internal::guarded_router(internal, seen_from))
        };
        let sockets = sockets(certificates.as_ref().map(Certificates::acceptor));
        let listener = tokio::spawn(listener::serve(listeners.sync, router, sockets, closed));
        Ok(Self {
            local_addr,
            metrics_addr,
            certificates,
            health,
            onlookers,
            mailbox,
            closing,
            listener,
            hub,
            orders,
            admin: None,
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

    /// Where the server shows its metrics.
    #[must_use]
    pub const fn metrics_addr(&self) -> SocketAddr {
        self.metrics_addr
    }

    /// What clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.local_addr, app::SYNC_PATH)
    }

    /// Has the certificate read again at once. Keys and certificates whose files change are read
    /// again in any case.
    pub fn reload(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.look_again();
        }
    }

    /// Whether the hub is at work: it was heard of of late, and its store has not failed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !matches!(
            self.health.trouble(false),
            Some(health::Trouble::Silent | health::Trouble::StoreFailed)
        )
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
        let mut outcome = Err(HubFailure::Abandoned);
        let webhooks = self.webhooks.take();
        let winding_down = async {
            // Whoever is told to come back must not come here.
            let answering = (&mut self.listener).await;
            self.mailbox.fact(Input::Shutdown);
            outcome = self.ended().await;
            // Nobody says anything on this channel; it ends with the last connection.
            let _ = self.alive.1.recv().await;
            // What is being answered gets its last bytes.
            if let Ok(mut answering) = answering {
                let all = async { while answering.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(ANSWERS_WAIT, all).await;
            }
            if let Some(admin) = self.admin.take() {
                // A panic of it has been printed already.
                let _ = admin.await;
            }
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
        self.onlookers.abort_all();
        if let Some(admin) = &self.admin {
            admin.abort();
        }
    }
}

fn origins(config: &Config) -> Origins {
    Origins::new(&config.cors_origins, matches!(config.authentication, Authentication::Names))
}

/// What the outboxes of commands that come by HTTP are derived from.
fn outbox_secret(identity: &Identity) -> [u8; 32] {
    blake3::derive_key("syncline 2026 outboxes of commands by HTTP", &identity.digest_key.0)
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

/// Runs the hub's loop. When that ends, however it does, no more connections are taken.
fn drive(
    task: HubTask<impl Machine<Input = Input, Effect = Effect> + Observed + Send + 'static>,
    closing: Arc<watch::Sender<bool>>,
) -> JoinHandle<Result<(), HubFailure>> {
    tokio::spawn(async move {
        let outcome = AssertUnwindSafe(task.run()).catch_unwind().await;
        closing.send_replace(true);
        outcome.unwrap_or(Err(HubFailure::Panicked))
    })
}

/// Serves pages until the very end, so that the end can be watched. Never ends.
async fn show(listener: TcpListener, pages: Router, sockets: Sockets) {
    let never = watch::Sender::new(false);
    listener::serve(listener, pages, sockets, never.subscribe()).await;
}

/// What a server begins with.
struct Outfit {
    listeners: Listeners,
    certificates: Option<Arc<Certificates>>,
    meters: Arc<Meters>,
    /// What the outboxes of commands by HTTP are derived from.
    secret: [u8; 32],
    /// The number of this run.
    run: u64,
}

/// Opens the store and the sockets. Who takes over waits for the data directory first, so that nobody
/// connects before he can be served; otherwise an address that is in use leaves the directory alone.
async fn open_and_listen(
    config: &Config,
    inherited: Inherited,
) -> Result<(Opened, Listeners), StartError> {
    // Opening reads a log of any size and waits for the disk.
    let open = || async {
        let opening = config.clone();
        tokio::task::spawn_blocking(move || open(&opening))
            .await
            .map_err(|error| StartError::Threads(io::Error::other(error)))?
    };
    if config.takeover.is_zero() {
        let listeners = handover::listen(config, inherited).await?;
        Ok((open().await?, listeners))
    } else {
        let opened = handover::patiently(config, open).await?;
        Ok((opened, handover::listen(config, inherited).await?))
    }
}

fn random_number() -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(StartError::Random)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Serves the admin socket. Without it a server runs all the same.
#[cfg(unix)]
fn listen_to_admins(
    store: Arc<SledStore>,
    orders: Arc<Orders>,
    closing: &watch::Sender<bool>,
) -> Option<JoinHandle<()>> {
    match admin::socket::bind(&store.path()) {
        Ok(listener) => {
            let serving = admin::socket::serve(listener, store, orders, closing.subscribe());
            Some(tokio::spawn(serving))
        }
        Err(error) => {
            tracing::warn!(%error, "no admin socket: subcommands cannot reach this server");
            None
        }
    }
}

#[cfg(not(unix))]
fn listen_to_admins(
    _: Arc<SledStore>,
    _: Arc<Orders>,
    _: &watch::Sender<bool>,
) -> Option<JoinHandle<()>> {
    None
}

/// The log, the same as a store on disk if it is one, and who serves it.
type Opened = (Arc<dyn LogStore>, Option<Arc<SledStore>>, Identity);

fn open(config: &Config) -> Result<Opened, StartError> {
    let now = clock::Clock::start().now().0;
    match &config.storage {
        Storage::Memory => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(StartError::Random)?;
            let identity = Identity { term: now.max(1), digest_key: DigestKey(key) };
            Ok((Arc::new(MemoryStore::new()), None, identity))
        }
        Storage::Directory(directory) => {
            let options = SledOptions {
                cache_bytes: config.cache_bytes,
                cache_idle: config.cache_idle,
                ..SledOptions::default()
            };
            let store = SledStore::open(directory, &options).map_err(StartError::Open)?;
            let term = store.begin_term(now).map_err(StartError::Store)?;
            let identity = Identity { term, digest_key: store.digest_key().clone() };
            let store = Arc::new(store);
            Ok((Arc::<SledStore>::clone(&store), Some(store), identity))
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
