//! One connection to the server, by WebSocket or where that is blocked by server-sent events: dials,
//! carries messages both ways, and says how it ended. Must never know what the messages mean or when to
//! dial again.

mod http;
mod sse;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use syncline_engine::limits::FRAME_BYTES_MAX;
use syncline_engine::session::{ConnectionId, Input};
use syncline_engine::wire::{CloseCode, SUBPROTOCOL};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::driver::Driver;
use crate::endpoint::Endpoint;
use crate::transport::Transport;
use crate::trust::Trust;

/// Messages that wait for the socket. What the session has in flight is bounded far below, so a
/// full queue means a socket that takes nothing.
pub(crate) const SEND_QUEUE_MAX: usize = 4_096;
/// Dialling, TLS and the upgrade together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a close that was said may remain without an answer.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Most messages are small; a large one gets its own room while it lasts.
const BUFFER_BYTES: usize = 16 << 10;

/// Where the server is, and who may say to be it.
#[derive(Clone, Copy)]
struct Server<'a> {
    endpoint: &'a Endpoint,
    trust: &'a Trust,
}

/// A way to the server that is open.
enum Way {
    WebSocket(Box<Socket>),
    Sse(Box<sse::Opened>),
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What the writing side is told.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Message(Bytes),
    /// Say goodbye after what was sent.
    Close,
}

/// How the writing side came to its end.
enum Written {
    /// The goodbye is out.
    Goodbye,
    /// Nobody is left who could send anything.
    Dropped,
}

/// How a connection ended.
struct End {
    code: Option<CloseCode>,
    reason: String,
}

impl End {
    fn because(reason: impl Into<String>) -> Self {
        Self { code: None, reason: reason.into() }
    }
}

/// Carries one connection from dialling to its end. Ends without a word on the wire when the sender
/// of `outgoing` is dropped; ends soon, whatever the socket does, when that of `let_go` is.
pub(crate) async fn run(
    driver: Arc<Driver>,
    connection: ConnectionId,
    (endpoint, trust): (Endpoint, Trust),
    mut outgoing: mpsc::Receiver<Outgoing>,
    let_go: oneshot::Receiver<()>,
) {
    let server = Server { endpoint: &endpoint, trust: &trust };
    let dialled = tokio::select! {
        dialled = dial(server) => dialled,
        // Nothing is sent before `Connected`: the session has changed its mind.
        _ = outgoing.recv() => Err(End::because("given up")),
    };
    let end = match dialled {
        Ok(way) => {
            tracing::debug!(connection = connection.0, url = %endpoint, "connected");
            driver.input(Input::Connected { connection });
            let conversation = async {
                match way {
                    Way::WebSocket(socket) => {
                        converse(&driver, connection, *socket, outgoing).await
                    }
                    Way::Sse(opened) => {
                        sse::converse(&driver, connection, server, *opened, outgoing).await
                    }
                }
            };
            tokio::pin!(conversation);
            tokio::select! {
                end = &mut conversation => end,
                // A socket that takes nothing more must not outlive the session's interest in it.
                _ = let_go => timeout(CLOSE_TIMEOUT, conversation)
                    .await
                    .unwrap_or_else(|_| End::because("closed")),
            }
        }
        Err(end) => end,
    };
    tracing::debug!(
        connection = connection.0,
        code = end.code.map(|code| code.0),
        reason = %end.reason,
        "disconnected"
    );
    driver.input(Input::Disconnected { connection, code: end.code, reason: end.reason });
}

async fn dial(server: Server<'_>) -> Result<Way, End> {
    let endpoint = server.endpoint;
    if endpoint.transport() == Transport::Sse {
        return dial_sse(server).await;
    }
    match dial_socket(server).await {
        Ok(socket) => Ok(Way::WebSocket(Box::new(socket))),
        Err(Failed { blocked: true, end }) if endpoint.transport() == Transport::Auto => {
            tracing::info!(url = %endpoint, why = %end.reason, "no WebSocket; trying events");
            dial_sse(server).await.map_err(|_| end)
        }
        Err(Failed { end, .. }) => Err(end),
    }
}

async fn dial_sse(server: Server<'_>) -> Result<Way, End> {
    let endpoint = server.endpoint;
    match timeout(CONNECT_TIMEOUT, sse::dial(server)).await {
        Ok(Ok(opened)) => Ok(Way::Sse(Box::new(opened))),
        Ok(Err(why)) => Err(End::because(format!("can't connect to {endpoint}: {why}"))),
        Err(_) => Err(End::because(format!("can't connect to {endpoint}: no answer"))),
    }
}

/// A WebSocket that could not be opened.
struct Failed {
    /// Whether somebody answered, and it was no WebSocket: most likely something between that lets none
    /// through.
    blocked: bool,
    end: End,
}

async fn dial_socket(Server { endpoint, trust }: Server<'_>) -> Result<Socket, Failed> {
    let because = |blocked: bool, why: String| {
        let end = End::because(format!("can't connect to {endpoint}: {why}"));
        Failed { blocked, end }
    };
    let failed = |why: String| because(false, why);
    let mut request = endpoint.as_str().into_client_request().map_err(|e| failed(e.to_string()))?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    #[cfg(feature = "tls")]
    let dialling = tokio_tungstenite::connect_async_tls_with_config(
        request,
        Some(config),
        true,
        trust.connector(),
    );
    #[cfg(not(feature = "tls"))]
    let dialling = {
        let Trust = trust;
        tokio_tungstenite::connect_async_with_config(request, Some(config), true)
    };
    match timeout(CONNECT_TIMEOUT, dialling).await {
        Ok(Ok((socket, _response))) => Ok(socket),
        Ok(Err(WsError::Http(response))) => {
            // A server without room says so, and has none for another kind of connection either.
            let blocked = response.status() != StatusCode::SERVICE_UNAVAILABLE;
            let why = format!("it answered {} to the WebSocket request", response.status());
            Err(because(blocked, why))
        }
        Ok(Err(e @ WsError::Protocol(_))) => Err(because(true, e.to_string())),
        Ok(Err(e)) => Err(failed(e.to_string())),
        Err(_) => Err(failed(format!("no answer in {} s", CONNECT_TIMEOUT.as_secs()))),
    }
}

/// Reads until the socket ends, while a task of its own writes: a large frame that is being worked
/// on does not hold up what goes out.
async fn converse(
    driver: &Arc<Driver>,
    connection: ConnectionId,
    socket: Socket,
    outgoing: mpsc::Receiver<Outgoing>,
) -> End {
    let (sink, stream) = socket.split();
    let mut writing = AbortOnDrop(tokio::spawn(write(sink, outgoing)));
    let reading = read(driver, connection, stream);
    tokio::pin!(reading);
    tokio::select! {
        end = &mut reading => end,
        written = &mut writing.0 => match written {
            Ok(Ok(Written::Dropped)) => End::because("given up"),
            // The other side's answer to the goodbye ends the reading.
            Ok(Ok(Written::Goodbye)) => timeout(CLOSE_TIMEOUT, &mut reading)
                .await
                .unwrap_or_else(|_| End::because("closed")),
            Ok(Err(e)) => End::because(format!("sending failed: {e}")),
            Err(_) => End::because("the sending task ended"),
        },
    }
}

/// The writing half keeps the socket open as long as its task lives.
struct AbortOnDrop(JoinHandle<Result<Written, WsError>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read(
    driver: &Arc<Driver>,
    connection: ConnectionId,
    mut stream: SplitStream<Socket>,
) -> End {
    loop {
        let message = match stream.next().await {
            None => return End::because("the connection ended"),
            Some(Err(e)) => return End::because(reading_failed(&e)),
            Some(Ok(message)) => message,
        };
        match message {
            Message::Binary(message) => {
                driver.input(Input::Received { connection, message });
                // A store that can't follow stops the reading, and with it the server.
                driver.store_has_room().await;
            }
            Message::Text(_) => return End::because("the server sent text, which no frame is"),
            Message::Close(close) => return closed(close),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

fn closed(close: Option<CloseFrame>) -> End {
    close.map_or_else(
        || End::because("the server closed the connection"),
        |frame| End {
            code: Some(CloseCode(frame.code.into())),
            reason: frame.reason.as_str().to_owned(),
        },
    )
}

fn reading_failed(error: &tungstenite::Error) -> String {
    if matches!(error, tungstenite::Error::Capacity(_)) {
        return format!("the server sent more than {FRAME_BYTES_MAX} bytes in one message");
    }
    format!("receiving failed: {error}")
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> Result<Written, WsError> {
    loop {
        let next = match outgoing.try_recv() {
            Ok(next) => Some(next),
            Err(_) => {
                // Everything that is at hand goes out together.
                sink.flush().await?;
                outgoing.recv().await
            }
        };
        match next {
            Some(Outgoing::Message(message)) => sink.feed(Message::Binary(message)).await?,
            Some(Outgoing::Close) => return goodbye(sink).await,
            None => return Ok(Written::Dropped),
        }
    }
}

async fn goodbye(mut sink: SplitSink<Socket, Message>) -> Result<Written, WsError> {
    let frame = CloseFrame { code: CloseCode::NORMAL.0.into(), reason: "".into() };
    match sink.send(Message::Close(Some(frame))).await {
        Ok(()) | Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => Ok(Written::Goodbye),
        Err(e) => Err(e),
    }
}
