//! The sync protocol where WebSocket is blocked (PROTOCOL.md, section 11): frames come down as
//! server-sent events and go up in the bodies of POST requests. Knows no frames, users or documents.
//!
//! A connection of this kind is opened, then read by one request that lasts, and ends with it. What
//! comes up is numbered, so that a POST whose answer was lost can be repeated.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::json;
use syncline_engine::codes::Code;
use syncline_engine::hub::Input;
use syncline_engine::limits::FRAME_BYTES_MAX;
use tokio::sync::OwnedSemaphorePermit;

use super::cursor::to_hex;
use super::documents::{NamePath, name_of, query_of};
use super::events::stream_headers;
use super::inner::Seat;
use super::pace::too_many;
use super::problem::Problem;
use super::{COME_BACK, KEEP_ALIVE, body};
use crate::addresses;
use crate::app::App;
use crate::listener::Peer;
use crate::outgoing::{Next, Outgoing};

/// How long a connection that was opened may wait for somebody to read it.
const READER_WAIT: Duration = Duration::from_secs(20);
/// How long a POST waits for a reader that takes nothing.
const ROOM_WAIT: Duration = Duration::from_secs(30);
/// Bytes of one POST: the largest frame, and others beside it.
pub(super) const UP_BYTES_MAX: usize = FRAME_BYTES_MAX + (256 << 10);
/// The length in front of each frame in the body of a POST.
const LENGTH_BYTES: usize = 4;

/// The connections of this kind, by their unguessable names.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<BTreeMap<String, Arc<Link>>>);

impl Links {
    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Link>>> {
        // Nothing in here can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, id: &str) -> Result<Arc<Link>, Problem> {
        self.table().get(id).cloned().ok_or_else(|| {
            let why = "there is no such connection, or it has ended; open another";
            Problem::http(StatusCode::NOT_FOUND, "connection_unknown", why)
        })
    }
}

/// One connection.
#[derive(Debug)]
struct Link {
    seat: Seat,
    outgoing: Arc<Outgoing>,
    read: AtomicBool,
    /// The number of the last POST that was taken in.
    received: tokio::sync::Mutex<u64>,
    place: addresses::Seat,
    _room: OwnedSemaphorePermit,
}

/// Takes a connection off the table when its reader is gone.
struct Reader {
    links: Arc<Links>,
    id: String,
    link: Arc<Link>,
    undrained: bool,
    over: bool,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.links.table().remove(&self.id);
    }
}

/// Opens a connection.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = app.addresses.seat(app.addresses.origin(peer.address.ip(), &headers));
    let place = place.map_err(too_many)?;
    let full = |_| Problem::of(Code::Overloaded, "there is no room for another connection");
    let room = Arc::clone(&app.seats).try_acquire_owned().map_err(full)?;
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|_| Problem::of(Code::Overloaded, "no random numbers are to be had"))?;
    let (id, outgoing) = (to_hex(&id), Arc::new(Outgoing::default()));
    let seat = Seat::take(&app, peer, &outgoing).await?;
    let (read, received) = (AtomicBool::new(false), tokio::sync::Mutex::new(0));
    let link = Arc::new(Link { seat, outgoing, read, received, place, _room: room });
    app.http.links.table().insert(id.clone(), Arc::clone(&link));
    let links = Arc::clone(&app.http.links);
    let (waited_for, name) = (Arc::downgrade(&link), id.clone());
    tokio::spawn(async move {
        tokio::time::sleep(READER_WAIT).await;
        if waited_for.upgrade().is_some_and(|link| !link.read.load(Ordering::Relaxed)) {
            links.table().remove(&name);
        }
    });
    let body = json!({ "id": id, "up_bytes_max": UP_BYTES_MAX }).to_string();
    let kind = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, kind, body).into_response())
}

/// Sends the frames of a connection down, until it ends. It ends with this.
pub(crate) async fn down(State(app): State<Arc<App>>, path: NamePath) -> Result<Response, Problem> {
    let id = name_of(path)?;
    let link = app.http.links.link(&id)?;
    if link.read.swap(true, Ordering::Relaxed) {
        let why = "somebody reads this connection, or did; open another";
        return Err(Problem::http(StatusCode::CONFLICT, "connection_read", why));
    }
    let links = Arc::clone(&app.http.links);
    let reader = Reader { links, id, link, undrained: false, over: false };
    let frames = futures_util::stream::unfold(reader, async |mut reader| {
        let event = reader.next().await?;
        Some((event, reader))
    });
    let mut response = events(frames).into_response();
    stream_headers(response.headers_mut());
    Ok(response)
}

fn events(frames: impl Stream<Item = Event> + Send + 'static) -> impl IntoResponse {
    let frames = futures_util::StreamExt::map(frames, Ok::<_, Infallible>);
    Sse::new(frames).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive"))
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        let Link { seat, outgoing, .. } = &*self.link;
        loop {
            match outgoing.next() {
                Next::Message(message) => {
                    self.undrained = true;
                    return Some(Event::default().data(STANDARD.encode(&message)));
                }
                Next::Close(code) => {
                    self.over = true;
                    let close = Event::default().event("close").retry(COME_BACK);
                    return Some(close.data(json!({ "code": code.0 }).to_string()));
                }
                Next::Wait => {}
            }
            // Whoever asks for more has put what came before on the socket, but for a bufferful.
            if std::mem::take(&mut self.undrained) {
                seat.mailbox.fact(Input::Drained { connection: seat.connection });
            }
            tokio::select! {
                () = outgoing.filled() => {}
                () = seat.mailbox.gone() => {
                    let going = syncline_engine::wire::CloseCode::of(Code::ShuttingDown);
                    outgoing.close(going);
                }
            }
        }
    }
}

/// What is said with a POST.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Numbered {
    number: u64,
}

/// Takes frames in: each with its length in front, in four bytes, the most significant first.
pub(crate) async fn up(
    State(app): State<Arc<App>>,
    path: NamePath,
    query: Result<Query<Numbered>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let Numbered { number } = query_of(query)?;
    let link = app.http.links.link(&name_of(path)?)?;
    let body = body::read(&headers, body, UP_BYTES_MAX, app.request_wait).await?;
    let frames = frames_of(body)?;
    // Whoever hangs up halfway does not cut a body in two.
    let taken = tokio::spawn(async move { take(&link, number, frames).await });
    taken.await.map_err(|_| Problem::of(Code::Overloaded, "the frames were given up"))??;
    Ok(StatusCode::NO_CONTENT)
}

async fn take(link: &Link, number: u64, frames: Vec<Bytes>) -> Result<(), Problem> {
    let mut received = link.received.lock().await;
    if number <= *received {
        // It was taken in before, and the answer was lost.
        return Ok(());
    }
    if number != *received + 1 {
        let why = format!("number {} comes next", *received + 1);
        return Err(Problem::http(StatusCode::CONFLICT, "number_gap", why));
    }
    // As on a socket, nothing is taken of one who does not take its answers.
    let room = tokio::time::timeout(ROOM_WAIT, link.outgoing.room()).await;
    room.map_err(|_| Problem::of(Code::SlowReader, "take what was sent, then send more"))?;
    *received = number;
    let bytes = frames.iter().map(Bytes::len).sum();
    for frame in frames {
        link.seat.mailbox.received(link.seat.connection, frame).await;
    }
    let pause = link.place.has_read(bytes);
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

fn frames_of(mut body: Bytes) -> Result<Vec<Bytes>, Problem> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        if body.len() < LENGTH_BYTES {
            return Err(Problem::of(Code::BadFrame, "the body ends within a length"));
        }
        let length = body.get_u32() as usize;
        if length > FRAME_BYTES_MAX {
            return Err(Problem::of(Code::FrameTooLarge, "a frame has at most 1 MiB"));
        }
        if length > body.len() {
            return Err(Problem::of(Code::BadFrame, "the body ends within a frame"));
        }
        frames.push(body.split_to(length));
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_by_the_lengths_before_them() {
        let body = Bytes::from_static(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c");
        let frames = frames_of(body.clone()).unwrap();
        assert_eq!(frames, [&b"ab"[..], b"", b"c"]);
        assert!(frames_of(Bytes::new()).unwrap().is_empty());
        for cut in [1, 3, 5, 8, 14] {
            assert_eq!(frames_of(body.slice(..cut)).unwrap_err().code(), Some(Code::BadFrame));
        }
        let huge = frames_of(Bytes::from_static(b"\xff\xff\xff\xffab")).unwrap_err();
        assert_eq!(huge.code(), Some(Code::FrameTooLarge));
    }
}
