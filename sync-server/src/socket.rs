//! One WebSocket: bytes to mailbox, queue to bytes. Knows no frames, users or documents.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use futures_util::stream::SplitSink;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use syncline_engine::codes::Code;
use syncline_engine::hub::{ConnectionId, Input};
use syncline_engine::limits::FRAME_BYTES_MAX;
use syncline_engine::wire::CloseCode;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use crate::addresses::Seat;
use crate::listener::Peer;
use crate::mailbox::Mailbox;
use crate::metrics::{By, Meters};
use crate::outgoing::{Next, Outgoing};

/// tungstenite allocates this much when a connection opens, and reads no more at a time; with its default
/// of 128 KiB an idle connection costs 134 KB. Most of what clients say is a few hundred bytes.
const READ_BUFFER_BYTES: usize = 2_048;
/// Small frames are gathered up to this before they are written; grows only when used.
const WRITE_BUFFER_BYTES: usize = 4_096;
/// How long the last frame, which says why, may take.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The peer closed it, with this code if it gave one.
    ByPeer(Option<u16>),
    /// The hub closed it.
    ByHub(CloseCode),
    /// The peer sent something that is no message of this protocol.
    Refused(Code),
    /// The network broke.
    Broken,
    /// The peer took nothing for too long.
    Stalled,
}

/// Sets the limits of a WebSocket to be.
pub(crate) fn configure(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(2 * FRAME_BYTES_MAX + WRITE_BUFFER_BYTES)
        .max_message_size(FRAME_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
}

/// Serves one WebSocket until it ends. `stall` bounds a write that makes no progress.
pub(crate) async fn serve(
    socket: WebSocket,
    connection: ConnectionId,
    peer: Peer,
    seat: &Seat,
    mailbox: Mailbox,
    meters: &Meters,
    stall: Duration,
) {
    let outgoing = Arc::new(Outgoing::default());
    tracing::info!(connection = connection.0, peer = %peer.address, "connection opened");
    mailbox.opened(connection, peer.clone(), Arc::clone(&outgoing)).await;
    let (mut sink, stream) = socket.split();
    let end = tokio::select! {
        end = read(stream, connection, seat, &outgoing, &mailbox) => end,
        end = write(&mut sink, connection, &outgoing, &mailbox, &peer, stall) => end,
        end = close_without_hub(&outgoing, &mailbox) => end,
    };
    say_why(&mut sink, end).await;
    drop(sink);
    log_end(connection, &peer, end, meters);
    mailbox.closed(connection).await;
}

/// Reads until the peer is gone or says something that is not of this protocol. Does not read
/// while the peer does not take its answers, nor while the hub has no room.
async fn read(
    mut stream: impl Stream<Item = Result<Message, axum::Error>> + Unpin,
    connection: ConnectionId,
    seat: &Seat,
    outgoing: &Outgoing,
    mailbox: &Mailbox,
) -> End {
    let mut code = None;
    loop {
        outgoing.room().await;
        match stream.next().await {
            Some(Ok(Message::Binary(message))) => {
                let pause = seat.has_read(message.len());
                mailbox.received(connection, message).await;
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            Some(Ok(Message::Text(_))) => return End::Refused(Code::BadFrame),
            // Answered by tungstenite while it is read on.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(frame))) => code = frame.map(|frame| frame.code),
            Some(Err(error)) => return classify(error),
            None => return End::ByPeer(code),
        }
    }
}

/// When the hub has ended, closes the connection after what it still had to say. Never returns: the
/// writer does, when it is done.
async fn close_without_hub(outgoing: &Outgoing, mailbox: &Mailbox) -> End {
    mailbox.gone().await;
    outgoing.close(CloseCode::of(Code::ShuttingDown));
    std::future::pending().await
}

/// Writes what the hub has queued: everything that is there, then one flush.
async fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    connection: ConnectionId,
    outgoing: &Outgoing,
    mailbox: &Mailbox,
    peer: &Peer,
    stall: Duration,
) -> End {
    let (mut unflushed, mut undrained) = (false, false);
    loop {
        let written = match outgoing.next() {
            Next::Message(message) => {
                unflushed = true;
                progress(sink.feed(Message::Binary(message)), peer, stall).await
            }
            Next::Wait if unflushed => {
                (unflushed, undrained) = (false, true);
                progress(sink.flush(), peer, stall).await
            }
            Next::Wait => {
                if undrained {
                    undrained = false;
                    mailbox.fact(Input::Drained { connection });
                }
                outgoing.filled().await;
                Ok(())
            }
            Next::Close(code) => return End::ByHub(code),
        };
        if let Err(end) = written {
            return end;
        }
    }
}

/// Waits for a write as long as the socket takes any bytes at all.
async fn progress(
    writing: impl Future<Output = Result<(), axum::Error>>,
    peer: &Peer,
    stall: Duration,
) -> Result<(), End> {
    let mut writing = std::pin::pin!(writing);
    let mut before = peer.written.load(Ordering::Relaxed);
    loop {
        if let Ok(written) = tokio::time::timeout(stall, writing.as_mut()).await {
            return written.map_err(|_| End::Broken);
        }
        let after = peer.written.load(Ordering::Relaxed);
        if after == before {
            return Err(End::Stalled);
        }
        before = after;
    }
}

fn classify(error: axum::Error) -> End {
    let Ok(error) = error.into_inner().downcast::<Error>() else {
        return End::Broken;
    };
    if matches!(*error, Error::Capacity(_)) {
        End::Refused(Code::FrameTooLarge)
    } else if matches!(*error, Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) {
        End::ByPeer(None)
    } else if matches!(*error, Error::Protocol(_) | Error::Utf8(_)) {
        End::Refused(Code::BadFrame)
    } else {
        End::Broken
    }
}

/// Puts the close frame on the socket, where there is somebody to read it.
async fn say_why(sink: &mut (impl Sink<Message> + Unpin), end: End) {
    let (code, reason) = match end {
        End::ByHub(code) => (code, ""),
        End::Refused(code) => (CloseCode::of(code), code.slug()),
        End::ByPeer(_) | End::Broken | End::Stalled => return,
    };
    let frame = Message::Close(Some(CloseFrame { code: code.0, reason: reason.into() }));
    // A peer that is gone before it heard why does not mind.
    let _ = tokio::time::timeout(CLOSE_WAIT, sink.send(frame)).await;
}

fn log_end(connection: ConnectionId, peer: &Peer, end: End, meters: &Meters) {
    let (by, close, code) = match end {
        End::ByPeer(close) => (By::Peer, close, None),
        End::ByHub(close) => (By::Hub, Some(close.0), None),
        End::Refused(code) => (By::Socket, Some(CloseCode::of(code).0), Some(code)),
        End::Broken => (By::Network, None, None),
        End::Stalled => (By::Socket, None, Some(Code::SlowReader)),
    };
    // Nobody hears of a stalled connection's end; its number is what it would have been.
    meters.closed(by, close.or_else(|| code.map(|code| CloseCode::of(code).0)));
    if let Some(code) = code {
        meters.refused(code);
    }
    let (by, code) = (by.name(), code.map(Code::slug));
    tracing::info!(connection = connection.0, peer = %peer.address, by, close, code, "connection closed");
}
