//! A receiver of webhooks: a small HTTP server that checks signatures by the specification, without the
//! server's code, answers as it is told, goes away and comes back. Knows nothing of what events mean.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::authority::Shown;
use crate::process::{PATIENCE, within};

/// The key that the receiver shares with the server.
const KEY: [u8; 32] = [0x6b; 32];
/// The longest key that HMAC takes as it is, for SHA-256.
const BLOCK_BYTES: usize = 64;
/// How far apart the clocks of a sender and a receiver may be, in seconds.
const TOLERANCE: u64 = 300;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// With this status.
    Status(u16),
    /// With this status, and a wish when to come again, in seconds.
    Busy(u16, u64),
    /// Once [`Receiver::open`] was called, and then well.
    Held,
}

type Choose = Box<dyn FnMut(&[Value]) -> Reply + Send>;

struct Inner {
    choose: Choose,
    /// The body of each message, by its id.
    bodies: BTreeMap<String, Bytes>,
    problems: Vec<String>,
    /// Documents that a request is about at the moment.
    busy: BTreeSet<String>,
}

struct Shared {
    inner: Mutex<Inner>,
    /// Events that were answered well, in the order of the answers.
    taken: watch::Sender<Vec<Value>>,
    requests: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

/// A receiver on a port of its own.
pub struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Receiver {
    /// Starts one that takes everything.
    ///
    /// # Panics
    /// If it gets no port.
    pub async fn start() -> Self {
        Self::begin(None).await
    }

    /// Starts one that takes everything, over TLS, showing this certificate.
    ///
    /// # Panics
    /// If it gets no port, or the certificate is none.
    pub async fn start_with_tls(shown: &Shown) -> Self {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(shown.certificate.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain.expect("a certificate"), key)
            .expect("a certificate and its key");
        Self::begin(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn begin(tls: Option<TlsAcceptor>) -> Self {
        let inner = Inner {
            choose: Box::new(|_| Reply::Status(200)),
            bodies: BTreeMap::new(),
            problems: Vec::new(),
            busy: BTreeSet::new(),
        };
        let shared = Arc::new(Shared {
            inner: Mutex::new(inner),
            taken: watch::Sender::new(Vec::new()),
            requests: watch::Sender::new(0),
            open: watch::Sender::new(false),
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut receiver = Self { shared, address, tls, runtime: None };
        receiver.come_back().await;
        receiver
    }

    /// The file of webhooks that names this receiver alone, with more settings for it.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn write_file(&self, path: &Path, settings: &str) {
        let secret = format!("whsec_{}", STANDARD.encode(KEY));
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let text = format!(
            "[[webhook]]\nname = \"receiver\"\nurl = \"{scheme}://{}/in?x=1\"\nsecrets = [\"{secret}\"]\n\
             backoff_min_ms = 20\nbackoff_max_ms = 200\n{settings}\n",
            self.address
        );
        std::fs::write(path, text).expect("it can be written");
    }

    /// Answers requests in this way from now on.
    pub fn answer(&self, choose: impl FnMut(&[Value]) -> Reply + Send + 'static) {
        lock(&self.shared).choose = Box::new(choose);
    }

    /// Lets those go on that are held.
    pub fn open(&self) {
        self.shared.open.send_replace(true);
    }

    /// Goes away with all its connections, as if the machine had died.
    pub fn leave(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // On a thread of its own, because it waits until nothing is answered any more.
            let ending = std::thread::spawn(move || runtime.shutdown_timeout(PATIENCE));
            ending.join().expect("it ends");
        }
        lock(&self.shared).busy.clear();
    }

    /// Listens again on the same port.
    ///
    /// # Panics
    /// If it can't.
    pub async fn come_back(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (address, shared, tls) = (self.address, Arc::clone(&self.shared), self.tls.clone());
        let bound = runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.expect("the port is free");
            let address = listener.local_addr().expect("it has an address");
            let router = Router::new().fallback(take).with_state(shared);
            tokio::spawn(async move {
                match tls {
                    Some(tls) => axum::serve(Agreeing { listener, tls }, router).await,
                    None => axum::serve(listener, router).await,
                }
            });
            address
        });
        self.address = within(bound).await.expect("it listens");
        self.runtime = Some(runtime);
    }

    /// Waits until what was taken is as expected.
    ///
    /// # Panics
    /// If it does not come to that, or a request was not as the specification wants it.
    pub async fn took(&self, mut enough: impl FnMut(&[Value]) -> bool) -> Vec<Value> {
        let mut taken = self.shared.taken.subscribe();
        let waited = tokio::time::timeout(PATIENCE, taken.wait_for(|taken| enough(taken)));
        let waited = waited.await.map(|events| events.expect("it lives").clone());
        let problems = lock(&self.shared).problems.clone();
        assert_eq!(problems, Vec::<String>::new());
        let taken = self.shared.taken.borrow();
        waited.unwrap_or_else(|_| panic!("only {} events came: {:?}", taken.len(), taken.last()))
    }

    /// What was taken so far.
    #[must_use]
    pub fn taken(&self) -> Vec<Value> {
        self.shared.taken.borrow().clone()
    }

    /// Waits until it was asked so many times since it was started.
    ///
    /// # Panics
    /// If it is not.
    pub async fn asked(&self, times: usize) {
        let mut requests = self.shared.requests.subscribe();
        within(requests.wait_for(|requests| *requests >= times)).await.expect("it lives");
    }

    /// How often it was asked.
    #[must_use]
    pub fn requests(&self) -> usize {
        *self.shared.requests.borrow()
    }
}

/// A listener on which TLS is spoken. Who does not agree is hung up on.
struct Agreeing {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for Agreeing {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.leave();
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Inner> {
    shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request under way, also where its connection breaks.
struct Busy {
    shared: Arc<Shared>,
    document: String,
}

impl Drop for Busy {
    fn drop(&mut self) {
        lock(&self.shared).busy.remove(&self.document);
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    shared.requests.send_modify(|requests| *requests += 1);
    let events = match check(&shared, &headers, &body) {
        Ok(events) => events,
        Err(problem) => {
            lock(&shared).problems.push(problem);
            return StatusCode::OK.into_response();
        }
    };
    let document = events[0]["document"].as_str().unwrap_or_default().to_owned();
    let reply = {
        let mut inner = lock(&shared);
        if !inner.busy.insert(document.clone()) {
            inner.problems.push(format!("two requests about {document} at the same time"));
        }
        (inner.choose)(&events)
    };
    let busy = Busy { shared: Arc::clone(&shared), document };
    if reply == Reply::Held {
        let mut open = shared.open.subscribe();
        // It ends with the receiver.
        let _ = open.wait_for(|open| *open).await;
    }
    drop(busy);
    let (status, again) = match reply {
        Reply::Status(status) => (status, None),
        Reply::Busy(status, seconds) => (status, Some(seconds)),
        Reply::Held => (204, None),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_success() {
        shared.taken.send_modify(|taken| taken.extend(events));
    }
    let again = again.map(|seconds: u64| (header::RETRY_AFTER, HeaderValue::from(seconds)));
    (status, again.into_iter().collect::<HeaderMap>()).into_response()
}

/// The events of a request that is as the specification wants it.
fn check(shared: &Shared, headers: &HeaderMap, body: &Bytes) -> Result<Vec<Value>, String> {
    let named = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned).ok_or_else(|| format!("no {name}"))
    };
    let (id, timestamp) = (named("webhook-id")?, named("webhook-timestamp")?);
    let sent: u64 = timestamp.parse().map_err(|_| format!("{timestamp} is no time"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if now.abs_diff(sent) > TOLERANCE {
        return Err(format!("sent at {sent}, and it is {now}"));
    }
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let expected = format!("v1,{}", STANDARD.encode(hmac(&KEY, &signed)));
    let given = named("webhook-signature")?;
    if !given.split(' ').any(|signature| signature == expected) {
        return Err(format!("the signature is {given}, not {expected}"));
    }
    let mut inner = lock(shared);
    if let Some(before) = inner.bodies.insert(id.clone(), body.clone())
        && before != *body
    {
        return Err(format!("{id} had another body before"));
    }
    let message: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let events = message["events"].as_array().filter(|events| !events.is_empty());
    let events = events.ok_or_else(|| format!("no events: {message}"))?;
    if events.iter().any(|event| event["document"] != events[0]["document"]) {
        return Err(format!("two documents in one request: {message}"));
    }
    Ok(events.clone())
}

/// RFC 2104.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut block = [with; BLOCK_BYTES];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::digest([&pad(0x36)[..], message].concat());
    Sha256::digest([&pad(0x5c)[..], &inner].concat()).to_vec()
}
