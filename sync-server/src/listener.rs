//! Accepts TCP connections and speaks HTTP/1.1 on them until they end or are upgraded. Knows no
//! route and no frame.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A request's head must be complete within this time.
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// hyper's read buffer while a connection speaks HTTP; a WebSocket handshake is far smaller.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// How long a peer may take nothing of an answer. What was upgraded has its own bound.
const STALL: Duration = Duration::from_secs(60);
/// How long a connection that this side closed may take to notice.
const LINGER_WAIT: Duration = Duration::from_secs(2);
/// How much such a connection may still send; what comes after is answered with a reset.
const LINGER_BYTES_MAX: usize = 8 << 20;
/// How long to wait after `accept` failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Who is at the other end of a connection, and how far writing to it has come.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Bytes that its socket has taken so far.
    pub(crate) written: Arc<AtomicU64>,
}

/// Serves `router` on everything that `listener` accepts, until `closing` turns true, and then until the
/// answers are given that are under way. Connections that were upgraded go on by themselves; the others
/// end with this future.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = closed(&mut closing) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let closing = closing.clone();
                    connections.spawn(serve_one(stream, address, router.clone(), closing));
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections at the moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which ends this as well.
    let _ = closing.wait_for(|closing| *closing).await;
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

async fn serve_one(
    stream: TcpStream,
    address: SocketAddr,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, peer = %address, "cannot turn off Nagle's algorithm");
    }
    let peer = Peer { address, written: Arc::default() };
    let stream = LingeringStream::new(stream, Arc::clone(&peer.written));
    let (written, blocked) = (Arc::clone(&peer.written), Arc::clone(&stream.blocked));
    let service = TowerToHyperService::new(router.layer(axum::Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stalled(&written, &blocked) => {
            return tracing::info!(peer = %address, "closed a connection that takes no answer");
        }
        () = closed(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, peer = %address, "a connection did not speak HTTP to its end");
    }
}

/// Resolves when the peer has taken nothing for too long of what there is for it.
async fn stalled(written: &AtomicU64, blocked: &AtomicBool) {
    let mut before = written.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(STALL).await;
        let now = written.load(Ordering::Relaxed);
        if now == before && blocked.load(Ordering::Relaxed) {
            return;
        }
        before = now;
    }
}

/// A TCP stream that counts what was written and that, when dropped, first lets the peer read what
/// was sent last.
///
/// Closing a socket that still has unread data in it makes the kernel send a reset, and a reset
/// makes the peer's kernel throw away what it has not read yet: the close frame that says why.
struct LingeringStream {
    stream: Option<TcpStream>,
    written: Arc<AtomicU64>,
    /// Whether there is something to write that the socket does not take.
    blocked: Arc<AtomicBool>,
    /// The peer has closed its side or the connection broke, so that there is nothing to wait for.
    over: bool,
}

impl LingeringStream {
    fn new(stream: TcpStream, written: Arc<AtomicU64>) -> Self {
        Self { stream: Some(stream), written, blocked: Arc::default(), over: false }
    }

    fn poll_stream<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let polled = poll(Pin::new(stream));
        if let Poll::Ready(Err(_)) = polled {
            self.over = true;
        }
        polled
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        self.blocked.store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(bytes)) = written {
            self.written.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for LingeringStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (room, before) = (buffer.remaining(), buffer.filled().len());
        let polled = this.poll_stream(|stream| stream.poll_read(context, buffer));
        if polled.is_ready() && room > 0 && buffer.filled().len() == before {
            this.over = true;
        }
        polled
    }
}

impl AsyncWrite for LingeringStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = this.poll_stream(|stream| stream.poll_write(context, bytes));
        this.count(&polled);
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_stream(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_stream(|stream| stream.poll_shutdown(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = this.poll_stream(|stream| stream.poll_write_vectored(context, slices));
        this.count(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl Drop for LingeringStream {
    fn drop(&mut self) {
        let (Some(stream), false) = (self.stream.take(), self.over) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Whatever comes of it, the connection is over.
                let _ = tokio::time::timeout(LINGER_WAIT, linger(stream)).await;
            });
        }
    }
}

async fn linger(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut left = LINGER_BYTES_MAX;
    let mut sink = vec![0; 4096];
    loop {
        let bytes = stream.read(&mut sink).await?;
        left = left.saturating_sub(bytes);
        if bytes == 0 || left == 0 {
            return Ok(());
        }
    }
}
