//! Accepts TCP connections, agrees on TLS where there is a certificate, and speaks HTTP/1.1 until they
//! end or are upgraded. Knows no route and no frame.
//!
//! Whatever a peer does, or does not do, has an end: a handshake, a request's head and a write that
//! makes no progress have their time, heads have their size, and sockets their number.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

use crate::metrics::{Meters, TurnedAway};

/// Sockets that may be open beside the connections: requests, and what is about to be a connection.
const SOCKETS_SPARE: usize = 1_024;
/// hyper's read buffer while a connection speaks HTTP; a WebSocket handshake is far smaller.
const HEADER_BYTES_MAX: usize = 16 << 10;
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

/// What all sockets of a listener have in common.
#[derive(Clone)]
pub(crate) struct Sockets {
    meters: Arc<Meters>,
    seats: Arc<Semaphore>,
    tls: Option<TlsAcceptor>,
    /// For TLS to be agreed on, for a request's head to be complete, and for the next to begin.
    wait: Duration,
    /// After how long without any progress a write is given up, by whoever is not faster.
    stall: Duration,
}

impl Sockets {
    /// As many as there may be connections, and some more.
    pub(crate) fn new(
        meters: Arc<Meters>,
        connections_max: u32,
        tls: Option<TlsAcceptor>,
        wait: Duration,
        write_stall: Duration,
    ) -> Self {
        let most = (connections_max as usize).saturating_add(SOCKETS_SPARE);
        let seats = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        // A WebSocket notices by itself, and says so.
        Self { meters, seats, tls, wait, stall: write_stall * 2 }
    }

    fn seat(&self) -> Option<Seat> {
        let permit = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        self.meters.sockets.inc();
        Some(Seat { meters: Arc::clone(&self.meters), _permit: permit })
    }
}

/// A socket's place among those that may be open.
struct Seat {
    meters: Arc<Meters>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.meters.sockets.dec();
    }
}

/// Serves `router` on everything that `listener` accepts, until `closing` turns true. Then nobody listens
/// any more, and what is returned are the connections on which answers are still under way; they end
/// when it is dropped. Those that were upgraded go on by themselves.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    sockets: Sockets,
    mut closing: watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = closed(&mut closing) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let Some(seat) = sockets.seat() else {
                        sockets.meters.turned_away(TurnedAway::Sockets);
                        continue;
                    };
                    let sockets = sockets.clone();
                    let (router, closing) = (router.clone(), closing.clone());
                    connections.spawn(serve_one(stream, address, router, sockets, seat, closing));
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections at the moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections
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
    sockets: Sockets,
    seat: Seat,
    closing: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, peer = %address, "cannot turn off Nagle's algorithm");
    }
    let peer = Peer { address, written: Arc::default() };
    let written = Arc::clone(&peer.written);
    let stream = LingeringStream::new(stream, seat, written, sockets.stall);
    let wait = sockets.wait;
    let Some(tls) = sockets.tls else { return speak(stream, peer, router, wait, closing).await };
    match tokio::time::timeout(wait, tls.accept(stream)).await {
        Ok(Ok(stream)) => speak(stream, peer, router, wait, closing).await,
        Ok(Err(error)) => {
            sockets.meters.turned_away(TurnedAway::Handshake);
            tracing::debug!(?error, peer = %address, "no agreement on TLS");
        }
        Err(_) => {
            sockets.meters.turned_away(TurnedAway::Handshake);
            tracing::debug!(peer = %address, "a TLS handshake was not finished in time");
        }
    }
}

/// Speaks HTTP to the end, which comes after the answer that is under way once `closing` turns true.
async fn speak<S>(
    stream: S,
    peer: Peer,
    router: Router,
    wait: Duration,
    mut closing: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = peer.address;
    let service = TowerToHyperService::new(router.layer(axum::Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(wait)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = closed(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(?error, peer = %address, "a connection did not speak HTTP to its end");
    }
}

/// A TCP stream that counts what was written, that fails when for too long nothing was, and that, when
/// dropped, first lets the peer read what was sent last.
///
/// Closing a socket that still has unread data in it makes the kernel send a reset, and a reset
/// makes the peer's kernel throw away what it has not read yet: the close frame that says why.
struct LingeringStream {
    stream: Option<TcpStream>,
    seat: Option<Seat>,
    written: Arc<AtomicU64>,
    stall: Duration,
    /// Runs while a write waits. Most never do.
    stalling: Option<Pin<Box<Sleep>>>,
    /// The peer has closed its side or the connection broke, so that there is nothing to wait for.
    over: bool,
}

impl LingeringStream {
    fn new(stream: TcpStream, seat: Seat, written: Arc<AtomicU64>, stall: Duration) -> Self {
        let (stream, seat) = (Some(stream), Some(seat));
        Self { stream, seat, written, stall, stalling: None, over: false }
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

    /// Counts what was written, and how long nothing was.
    fn count(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            self.stalling = None;
            if let Ok(bytes) = &written {
                self.written.fetch_add(*bytes as u64, Ordering::Relaxed);
            }
            return Poll::Ready(written);
        }
        let stall = self.stall;
        let stalling = self.stalling.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        if stalling.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.over = true;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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
        this.count(context, polled)
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
        this.count(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl Drop for LingeringStream {
    fn drop(&mut self) {
        let seat = self.seat.take();
        let (Some(stream), false) = (self.stream.take(), self.over) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Whatever comes of it, the connection is over.
                let _ = tokio::time::timeout(LINGER_WAIT, linger(stream)).await;
                drop(seat);
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
