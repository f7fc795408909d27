//! A client: how it is opened, what can be asked of it as a whole, how it ends. Must never know what
//! a document's content means.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use syncline_engine::ids::{Address, Facet, NameError, StreamAddress, Ulid, UserId};
use syncline_engine::session::{
    Config, ConnectionStatus, Ending, Identity, Input, LayoutError, META_PREFIX, Notice, Session,
    StoreWrite,
};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::comments::Comments;
use crate::document::{Document, DocumentError};
use crate::driver::Driver;
use crate::endpoint::{Endpoint, EndpointError};
use crate::feed::Feed;
use crate::json::Json;
use crate::likes::Likes;
use crate::post::Post;
use crate::space::Space;
use crate::status::{ClientClosed, Problem, SyncStatus};
use crate::store::{MemoryStore, Pair, SledStore, Store, StoreError, StoreOpenError};
use crate::stream::{self, StreamError, StreamReader, StreamWriter};
use crate::transport::Transport;
use crate::trust::{Trust, TrustError};
use crate::writer::Which;

/// Whose store it is. Not the session's: to it a store has no owner.
const OWNER_KEY: &[u8] = b"client/user";

/// A client can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The server's address can't be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The certificates of those who vouch for the server can't be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The user's name is missing or not acceptable.
    #[error(transparent)]
    User(#[from] NameError),
    /// Neither a directory nor memory was chosen.
    #[error("say where to keep documents: a data directory, or in memory")]
    NoStore,
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] StoreOpenError),
    /// The store was opened and does not work.
    #[error(transparent)]
    StoreFailed(#[from] StoreError),
    /// What the store says about itself does not decode.
    #[error(transparent)]
    Damaged(#[from] LayoutError),
    /// The store holds the work of another user.
    #[error("the store {} belongs to {owner}, not to {user}; choose another directory", dir.display())]
    OtherUser {
        /// The store's directory.
        dir: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who wants to open it.
        user: UserId,
    },
    /// The operating system gives no random numbers.
    #[error("the operating system gave no random numbers: {0}")]
    Random(String),
    /// The store's thread can't be started.
    #[error("can't start a thread")]
    Thread(#[source] std::io::Error),
}

/// Where documents are kept.
#[derive(Debug, Clone)]
enum Place {
    Nowhere,
    Memory,
    Directory(PathBuf),
}

/// How to open a [`Client`].
#[derive(Debug, Clone)]
pub struct Builder {
    url: String,
    user: String,
    token: Option<String>,
    ca: Option<PathBuf>,
    agent: String,
    place: Place,
    online: bool,
    by_hand: bool,
    transport: Transport,
    config: Config,
}

impl Builder {
    /// Who the user is. On a server that asks for tokens, the name must be the token's.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// What proves it, where the server asks.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Takes for the server only whom the certificates in this file (PEM) vouch for, instead of whom
    /// the system and Mozilla do.
    #[must_use]
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.ca = Some(path.as_ref().to_owned());
        self
    }

    /// Name and version of the app, for the server's logs.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// Keeps documents and pending work in this directory, which one client has open at a time.
    #[must_use]
    pub fn data_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.place = Place::Directory(dir.as_ref().to_owned());
        self
    }

    /// Keeps documents and pending work in memory: they end with the client.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.place = Place::Memory;
        self
    }

    /// Whether to connect at once (the default) or to begin offline.
    #[must_use]
    pub const fn online(mut self, online: bool) -> Self {
        self.online = online;
        self
    }

    /// Leaves it to the app to say, by [`Client::take`], which endings of commands it has taken.
    /// Otherwise an ending counts as taken when it is handed to whoever waits for the command, or is
    /// put before a reader of [`Client::notices`].
    #[must_use]
    pub const fn endings_by_hand(mut self) -> Self {
        self.by_hand = true;
        self
    }

    /// By which way to speak with the server: [`Transport::Auto`] unless this was called.
    #[must_use]
    pub const fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// What there is to tune: timeouts, backoff, sizes.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Opens the client. Never waits for the network.
    ///
    /// # Errors
    /// [`OpenError`], most often [`StoreOpenError::InUse`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn open(self) -> Result<Client, OpenError> {
        let endpoint = self.url.parse::<Endpoint>()?.over(self.transport);
        let user = UserId::new(&self.user)?;
        #[cfg(feature = "tls")]
        if endpoint.is_secure() {
            // An app that has chosen one keeps it; without any, rustls would panic.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let trust = self.ca.as_deref().map(Trust::of_file).transpose()?.unwrap_or_default();
        let mut random = [0; 64];
        getrandom::fill(&mut random).map_err(|e| OpenError::Random(e.to_string()))?;
        let (mut seed, mut secret) = ([0; 32], [0; 32]);
        seed.copy_from_slice(&random[..32]);
        secret.copy_from_slice(&random[32..]);

        let (place, owner) = (self.place, user.clone());
        // Recovering a store reads and writes files.
        let opened = tokio::task::spawn_blocking(move || open_store(&place, &owner)).await;
        let (store, stored) = match opened {
            Ok(opened) => opened?,
            // sled panics on some kinds of damage.
            Err(e) => return Err(StoreError(e.to_string()).into()),
        };
        let identity = Identity { user, token: self.token, agent: self.agent, seed };
        let session = Session::new(identity, self.config, &stored)?;
        let server = (endpoint, trust);
        let driver = Driver::start(session, store, server, secret, Clock::start(), self.by_hand)
            .map_err(OpenError::Thread)?;
        if self.online {
            driver.input(Input::SetOnline(true));
        }
        Ok(Client { running: Arc::new(Running { driver }) })
    }
}

/// Opens the store, checks whose it is, and reads what a session needs to begin.
fn open_store(place: &Place, user: &UserId) -> Result<(Box<dyn Store>, Vec<Pair>), OpenError> {
    let (mut store, dir): (Box<dyn Store>, _) = match place {
        Place::Nowhere => return Err(OpenError::NoStore),
        Place::Memory => (Box::new(MemoryStore::default()), Path::new("")),
        Place::Directory(dir) => (Box::new(SledStore::open(dir)?), dir.as_path()),
    };
    match store.read(OWNER_KEY)?.first() {
        Some((_, owner)) if owner.as_ref() != user.as_str().as_bytes() => {
            return Err(OpenError::OtherUser {
                dir: dir.to_owned(),
                owner: String::from_utf8_lossy(owner).into_owned(),
                user: user.clone(),
            });
        }
        Some(_) => {}
        None => {
            let value = Bytes::copy_from_slice(user.as_str().as_bytes());
            store.commit(vec![StoreWrite::Put { key: OWNER_KEY.to_vec(), value }])?;
        }
    }
    let stored = store.read(META_PREFIX)?;
    Ok((store, stored))
}

/// A client: one user's documents on this device, kept in sync with one server. Cheap to clone.
///
/// Dropping the last clone ends it in the background; [`close`](Self::close) waits for the end.
#[derive(Clone)]
pub struct Client {
    running: Arc<Running>,
}

struct Running {
    driver: Arc<Driver>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.driver.input(Input::Shutdown);
    }
}

impl Client {
    /// A client of the server at `url`: `ws`, `wss`, `http` or `https`, a host, a port, and a path
    /// before which the server is mounted, if it is.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder {
            url: url.into(),
            user: String::new(),
            token: None,
            ca: None,
            agent: concat!("syncline-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            place: Place::Nowhere,
            online: true,
            by_hand: false,
            transport: Transport::Auto,
            config: Config::default(),
        }
    }

    fn driver(&self) -> &Arc<Driver> {
        &self.running.driver
    }

    /// Who the user is.
    #[must_use]
    pub fn user(&self) -> &UserId {
        self.driver().user()
    }

    /// Goes online, or offline on purpose.
    pub fn set_online(&self, online: bool) {
        self.driver().input(Input::SetOnline(online));
    }

    /// Says whether the platform has a network: without one no attempt is made, and the first is
    /// made at once when it is back.
    pub fn set_network(&self, network: bool) {
        self.driver().input(Input::SetNetwork(network));
    }

    /// Says whether somebody can see the app. Out of sight it waits longer between attempts, and
    /// after a while closes its connection until it is seen again.
    pub fn set_visible(&self, visible: bool) {
        self.driver().input(Input::SetVisible(visible));
    }

    /// Gives a new token for the same user. An open connection goes on with it, and one that had
    /// failed for the old one is tried again. [`Notice::TokenWanted`] says when one is needed.
    pub fn set_token(&self, token: impl Into<String>) {
        self.driver().input(Input::SetToken(token.into()));
    }

    /// Tries to connect at once instead of waiting for the next attempt; for when the app knows that
    /// the network is back.
    pub fn reconnect(&self) {
        self.driver().input(Input::Reconnect);
    }

    /// Where the connection is, and each change of it.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<ConnectionStatus> {
        self.driver().connection()
    }

    /// How the client as a whole is doing, and each change of it.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<SyncStatus> {
        self.driver().status()
    }

    /// Everything that the session says from here on: resolutions, also of commands that an earlier
    /// run of the app issued, and problems among it. First come the resolutions that nobody has taken
    /// yet, also those of earlier runs.
    pub fn notices(&self) -> impl Stream<Item = Notice> + Send + Unpin + 'static {
        let (missed, notices) = self.driver().notices();
        let missed = futures_util::stream::iter(missed);
        let following = futures_util::stream::unfold(notices, |mut notices| async move {
            loop {
                match notices.recv().await {
                    Ok(notice) => return Some((notice, notices)),
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "a reader of notices is too slow");
                    }
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        Box::pin(missed.chain(following))
    }

    /// How commands ended of which nobody has taken the news, oldest first, also in earlier runs.
    #[must_use]
    pub fn endings(&self) -> Vec<Ending> {
        self.driver().with_session(|s| s.endings().cloned().collect()).unwrap_or_default()
    }

    /// Says that the app has heard how a command ended, and waits until that is on disk: from then on
    /// it is not told again, whatever happens. What an app does with an ending before this, it must
    /// be able to do twice: it may die in between.
    ///
    /// # Errors
    /// [`ClientClosed`] if the client is, or its store failed.
    pub async fn take(&self, id: Ulid) -> Result<(), ClientClosed> {
        self.driver().store_input(Input::Taken { id }).await
    }

    /// What was rolled back, with its content, oldest first; of one document or of all. It stays on
    /// this device until it is dismissed, or more is kept than may be
    /// ([`Config::refused_max`], [`Notice::Dropped`]).
    #[must_use]
    pub fn refused(&self, address: Option<&Address>) -> Vec<Ending> {
        self.driver().with_session(|s| s.refused(address).cloned().collect()).unwrap_or_default()
    }

    /// Lets go of a command that was rolled back, and waits until that is on disk.
    ///
    /// # Errors
    /// [`ClientClosed`] if the client is, or its store failed.
    pub async fn dismiss(&self, id: Ulid) -> Result<(), ClientClosed> {
        self.driver().store_input(Input::Dismissed { id }).await
    }

    /// Opens a document. It is ready at once, also offline, also if it exists nowhere yet.
    ///
    /// # Errors
    /// [`DocumentError::Problem`] if what the store holds of it can't be read.
    pub async fn document(&self, address: &Address) -> Result<Document, DocumentError> {
        Document::open(self.driver(), address, false).await
    }

    /// Opens a document that will be written soon: the permission to write is asked for along with
    /// its content, which saves the first command a round trip.
    ///
    /// # Errors
    /// As for [`document`](Self::document).
    pub async fn document_for_writing(&self, address: &Address) -> Result<Document, DocumentError> {
        Document::open(self.driver(), address, true).await
    }

    async fn part(&self, space: &str, id: &str, facet: Facet) -> Result<Document, DocumentError> {
        self.document(&Address::new(space, id, facet)?).await
    }

    /// Opens a post.
    ///
    /// # Errors
    /// [`DocumentError::Name`] for a space or id that is not acceptable; else as for
    /// [`document`](Self::document).
    pub async fn post(&self, space: &str, id: impl fmt::Display) -> Result<Post, DocumentError> {
        self.part(space, &id.to_string(), Facet::Post).await.map(Post::new)
    }

    /// Opens the likes of a post and its comments.
    ///
    /// # Errors
    /// As for [`post`](Self::post).
    pub async fn likes(&self, space: &str, id: impl fmt::Display) -> Result<Likes, DocumentError> {
        self.part(space, &id.to_string(), Facet::Likes).await.map(Likes::new)
    }

    /// Opens the comments of a post.
    ///
    /// # Errors
    /// As for [`post`](Self::post).
    pub async fn comments(
        &self,
        space: &str,
        id: impl fmt::Display,
    ) -> Result<Comments, DocumentError> {
        self.part(space, &id.to_string(), Facet::Comments).await.map(Comments::new)
    }

    /// Opens a schemaless document.
    ///
    /// # Errors
    /// As for [`post`](Self::post).
    pub async fn json(&self, space: &str, id: impl fmt::Display) -> Result<Json, DocumentError> {
        self.part(space, &id.to_string(), Facet::Json).await.map(Json::new)
    }

    /// Makes a stream and writes it: an append-only text that others read while it grows, such as an
    /// agent's answer or a job's log. `asked_by` may interrupt it. If this user has made it already, it
    /// goes on at its end. Waits for the server. Nothing of a stream is kept on this device.
    ///
    /// # Errors
    /// [`StreamError`], if the user may not write here or the stream is somebody else's.
    pub async fn create_stream(
        &self,
        address: &StreamAddress,
        asked_by: Option<UserId>,
    ) -> Result<StreamWriter, StreamError> {
        StreamWriter::open(self.driver(), address, true, asked_by).await
    }

    /// Goes on with a stream that this user has made, also in an earlier run of the app, at
    /// [its end](StreamWriter::written).
    ///
    /// # Errors
    /// As for [`create_stream`](Self::create_stream), and if there is no such stream.
    pub async fn resume_stream(
        &self,
        address: &StreamAddress,
    ) -> Result<StreamWriter, StreamError> {
        StreamWriter::open(self.driver(), address, false, None).await
    }

    /// Reads a stream from an offset on, in bytes; 0 is its beginning.
    ///
    /// # Errors
    /// [`StreamError`], if there is no such stream or the user may not read it.
    pub async fn read_stream(
        &self,
        address: &StreamAddress,
        from: u64,
    ) -> Result<StreamReader, StreamError> {
        StreamReader::open(self.driver(), address, from).await
    }

    /// Asks whoever writes a stream to stop, and waits until that is on the server's disk. The writer
    /// hears it now, or when it comes back. Going away never interrupts a stream.
    ///
    /// # Errors
    /// [`StreamError`], if there is no such stream or the user may not interrupt it.
    pub async fn interrupt_stream(&self, address: &StreamAddress) -> Result<(), StreamError> {
        stream::interrupt(self.driver(), address).await
    }

    /// Follows the posts of a space by activity: at most `newest` of them (500 is the most), with their
    /// titles and counts. Opens none of them, and returns at once: see [`Feed::live`].
    ///
    /// # Errors
    /// [`DocumentError::Name`] for a space that is not acceptable.
    pub fn feed(&self, space: &str, newest: usize) -> Result<Feed, DocumentError> {
        Feed::open(self.driver(), space, newest)
    }

    /// Enters a space: others see this user there, and the app sees who else is. Answers at once;
    /// [`Space::entered`] waits until the server has let the client in.
    ///
    /// # Errors
    /// [`DocumentError::Name`] for a name that is not acceptable, [`DocumentError::Closed`] if the
    /// client is.
    pub fn space(&self, name: &str) -> Result<Space, DocumentError> {
        self.enter_space(name, true)
    }

    /// Looks at a space without being seen there.
    ///
    /// # Errors
    /// As for [`space`](Self::space).
    pub fn watch_space(&self, name: &str) -> Result<Space, DocumentError> {
        self.enter_space(name, false)
    }

    fn enter_space(&self, name: &str, visible: bool) -> Result<Space, DocumentError> {
        Address::rules_of(name)?;
        Ok(Space::enter(self.driver(), name, visible)?)
    }

    /// Says that the user did something, be it to move the mouse, and is not to be shown as idle.
    pub fn active(&self) {
        self.driver().input(Input::Active);
    }

    /// Waits until the client is in contact, nothing is pending and every open document is caught
    /// up. Offline, that is as long as the client stays offline.
    ///
    /// # Errors
    /// The [`Problem`] that is in the way: of the connection, if trying again would not mend it, or
    /// of an open document.
    pub async fn synced(&self) -> Result<(), Problem> {
        let mut status = self.driver().status();
        let mut ended = self.driver().ended();
        let mut verdict = None;
        let settled = status.wait_for(|status| {
            verdict = self.verdict(status);
            verdict.is_some()
        });
        tokio::select! {
            biased;
            _ = settled => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
        verdict.unwrap_or_else(|| Err(Problem::closed(None)))
    }

    fn verdict(&self, status: &SyncStatus) -> Option<Result<(), Problem>> {
        if status.is_synced() {
            return Some(Ok(()));
        }
        match &status.connection {
            ConnectionStatus::Failed { code, message } => {
                Some(Err(Problem { address: None, code: *code, message: message.clone() }))
            }
            ConnectionStatus::Connected => status.problem.clone().map(Err),
            ConnectionStatus::Idle
            | ConnectionStatus::Offline
            | ConnectionStatus::Paused
            | ConnectionStatus::Connecting
            | ConnectionStatus::Authenticating
            | ConnectionStatus::Reconnecting { .. }
            | _ => None,
        }
    }

    /// The documents with work that the server may not have, also those that are not open.
    ///
    /// # Errors
    /// If the store fails or the client is closed.
    pub async fn pending_documents(&self) -> Result<Vec<Address>, Problem> {
        self.driver().stored(Which::Pending).await
    }

    /// The documents that this device's store knows.
    ///
    /// # Errors
    /// If the store fails or the client is closed.
    pub async fn stored_documents(&self) -> Result<Vec<Address>, Problem> {
        self.driver().stored(Which::All).await
    }

    /// An id that nobody else draws and that is larger than any drawn before.
    #[must_use]
    pub fn new_id(&self) -> Ulid {
        self.driver().new_id()
    }

    /// Ends the client, its clones and its documents: says goodbye, so that others need not wait for
    /// this session's leases, and closes the store. What is pending is on this device's disk and is
    /// sent when the client is opened again.
    pub async fn close(self) {
        self.driver().shut_down().await;
    }

    /// Ends the client as a crash of the app would: nothing is said to the server, and what has not
    /// reached the disk is lost. For tests of what a store holds then; waits until the store can be
    /// opened again.
    pub async fn abort(self) {
        self.driver().abort().await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("user", self.user())
            .field("connection", &*self.driver().connection().borrow())
            .finish_non_exhaustive()
    }
}
