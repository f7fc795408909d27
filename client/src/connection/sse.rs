//! A connection where WebSocket is blocked (PROTOCOL.md, section 11): frames come as server-sent
//! events and go in the bodies of requests. Must never know what they mean or when to dial again.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use syncline_engine::limits::FRAME_BYTES_MAX;
use syncline_engine::session::{ConnectionId, Input};
use syncline_engine::wire::CloseCode;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Server;
use super::http::Requests;
use super::{CLOSE_TIMEOUT, CONNECT_TIMEOUT, End, Outgoing};
use crate::driver::Driver;

/// The longest line of an event: a frame in base64 and the name of its field.
const LINE_BYTES_MAX: usize = FRAME_BYTES_MAX / 3 * 4 + 1_024;
/// The longest answer that is no stream of events.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of frames that go up with one request, unless one frame alone is larger.
const UP_BYTES: usize = 256 << 10;
/// How often a request is repeated whose answer did not come.
const TRIES: usize = 3;

/// A connection that is open: its name, and what comes down.
pub(super) struct Opened {
    id: String,
    down: Incoming,
    /// Carries what comes down for as long as it lives.
    carrier: Requests,
}

#[derive(Deserialize)]
struct Connection {
    id: String,
}

/// Opens a connection and begins to read it.
pub(super) async fn dial(server: Server<'_>) -> Result<Opened, String> {
    let mut carrier = Requests::dial(server).await?;
    let opened = carrier.ask(Method::POST, "/connections", None).await?;
    if opened.status() != StatusCode::CREATED {
        return Err(format!("it answered {} when asked for a connection", opened.status()));
    }
    let body = Limited::new(opened.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    let Connection { id } = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err("the name that it gave to the connection is none".to_owned());
    }
    let down = carrier.ask(Method::GET, &format!("/connections/{id}/frames"), None).await?;
    if down.status() != StatusCode::OK {
        return Err(format!("it answered {} when asked for events", down.status()));
    }
    Ok(Opened { id, down: down.into_body(), carrier })
}

/// Carries frames both ways until either side ends.
pub(super) async fn converse(
    driver: &Arc<Driver>,
    connection: ConnectionId,
    server: Server<'_>,
    opened: Opened,
    outgoing: mpsc::Receiver<Outgoing>,
) -> End {
    let Opened { id, down, carrier } = opened;
    let reading = read(driver, connection, down);
    let writing = write(server, &id, outgoing);
    tokio::pin!(reading, writing);
    let end = tokio::select! {
        end = &mut reading => end,
        written = &mut writing => match written {
            Ok(Said::Goodbye) => timeout(CLOSE_TIMEOUT, &mut reading)
                .await
                .unwrap_or_else(|_| End::because("closed")),
            Ok(Said::Dropped) => End::because("given up"),
            Err(why) => End::because(format!("sending failed: {why}")),
        },
    };
    drop(carrier);
    end
}

/// How the side that sends came to its end.
enum Said {
    Goodbye,
    Dropped,
}

/// Sends what there is, as much as fits with one request, and the next when that is answered.
async fn write(
    server: Server<'_>,
    id: &str,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> Result<Said, String> {
    let mut requests: Option<Requests> = None;
    let mut number = 0_u64;
    loop {
        let mut body = BytesMut::new();
        let mut said = None;
        let mut next = outgoing.recv().await;
        loop {
            match next {
                Some(Outgoing::Message(message)) => put(&mut body, &message),
                Some(Outgoing::Close) => said = Some(Said::Goodbye),
                None => said = Some(Said::Dropped),
            }
            if said.is_some() || body.len() >= UP_BYTES {
                break;
            }
            match outgoing.try_recv() {
                Ok(more) => next = Some(more),
                Err(_) => break,
            }
        }
        if !body.is_empty() {
            number += 1;
            post(server, &mut requests, id, number, body.freeze()).await?;
        }
        if let Some(said) = said {
            return Ok(said);
        }
    }
}

fn put(body: &mut BytesMut, message: &Bytes) {
    // A frame is far below what four bytes can say; a longer one is refused there.
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put_slice(message);
}

/// Sends one body, again where its answer was lost: its number makes that harmless.
async fn post(
    server: Server<'_>,
    requests: &mut Option<Requests>,
    id: &str,
    number: u64,
    body: Bytes,
) -> Result<(), String> {
    let path = format!("/connections/{id}/frames?number={number}");
    let mut last = String::new();
    for _ in 0..TRIES {
        let mut asking = match requests.take() {
            Some(asking) => asking,
            None => match timeout(CONNECT_TIMEOUT, Requests::dial(server)).await {
                Ok(dialled) => dialled?,
                Err(_) => return Err("no answer".to_owned()),
            },
        };
        match asking.ask(Method::POST, &path, Some(body.clone())).await {
            Ok(answer) if answer.status().is_success() => {
                // The connection is free for the next when the answer is read.
                let read = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
                *requests = read.is_ok().then_some(asking);
                return Ok(());
            }
            Ok(answer) => return Err(format!("the server answered {}", answer.status())),
            Err(why) => last = why,
        }
    }
    Err(last)
}

async fn read(driver: &Arc<Driver>, connection: ConnectionId, mut down: Incoming) -> End {
    let mut events = Events::default();
    loop {
        let bytes = match down.frame().await {
            None => return End::because("the connection ended"),
            Some(Err(error)) => return End::because(format!("receiving failed: {error}")),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        events.feed(&bytes);
        loop {
            match events.next() {
                Ok(None) => break,
                Ok(Some(Event::Frame(message))) => {
                    driver.input(Input::Received { connection, message });
                    // A store that can't follow stops the reading, and with it the server.
                    driver.store_has_room().await;
                }
                Ok(Some(Event::Close(code))) => {
                    let reason = "the server closed the connection".to_owned();
                    return End { code, reason };
                }
                Err(why) => return End::because(why),
            }
        }
    }
}

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Frame(Bytes),
    Close(Option<CloseCode>),
}

/// Events out of the bytes of a stream, however these are cut.
#[derive(Debug, Default)]
struct Events {
    bytes: BytesMut,
    /// Up to where there is no end of a line.
    looked: usize,
    name: String,
    data: String,
}

impl Events {
    fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next event that is whole.
    fn next(&mut self) -> Result<Option<Event>, &'static str> {
        while let Some(end) = self.bytes[self.looked..].iter().position(|byte| *byte == b'\n') {
            let line = self.bytes.split_to(self.looked + end + 1);
            self.looked = 0;
            let line = std::str::from_utf8(&line).map_err(|_| "the server sent what is no text")?;
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if let Some(event) = self.dispatch()? {
                    return Ok(Some(event));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.name),
                "data" if self.data.len() + value.len() <= LINE_BYTES_MAX => {
                    self.data.push_str(value);
                }
                "data" => return Err("the server sent an event that is too long"),
                // Comments, and what is for browsers.
                _ => {}
            }
        }
        self.looked = self.bytes.len();
        if self.looked > LINE_BYTES_MAX {
            return Err("the server sent a line that is too long");
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Result<Option<Event>, &'static str> {
        #[derive(Deserialize)]
        struct Close {
            code: u16,
        }
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        if name == "close" {
            let code = serde_json::from_str::<Close>(&data).ok();
            return Ok(Some(Event::Close(code.map(|close| CloseCode(close.code)))));
        }
        if !name.is_empty() || data.is_empty() {
            return Ok(None);
        }
        let message = STANDARD.decode(data).map_err(|_| "the server sent a frame that is none")?;
        Ok(Some(Event::Frame(message.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": keep-alive\n\ndata: aGk=\n\nevent: other\ndata: x\n\nretry: 5\r\ndata:aG8=\r\n\r\n\
                          event: close\ndata: {\"code\":4106}\n\n";

    #[test]
    fn events_are_read_however_they_are_cut() {
        for size in 1..STREAM.len() {
            let (mut events, mut seen) = (Events::default(), Vec::new());
            for piece in STREAM.as_bytes().chunks(size) {
                events.feed(piece);
                while let Some(event) = events.next().unwrap() {
                    seen.push(event);
                }
            }
            let frame = |text: &'static [u8]| Event::Frame(Bytes::from_static(text));
            let expected = [frame(b"hi"), frame(b"ho"), Event::Close(Some(CloseCode(4106)))];
            assert_eq!(seen, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_event_ends_the_reading_and_takes_no_room() {
        for bad in ["data: !\n\n", "data: \u{fffd}\n\n"] {
            let mut events = Events::default();
            events.feed(bad.as_bytes());
            assert!(events.next().is_err(), "{bad}");
        }
        let mut endless = Events::default();
        endless.feed(&vec![b'a'; LINE_BYTES_MAX + 1]);
        assert!(endless.next().is_err());
        let mut many = Events::default();
        let line = format!("data: {}\n", "a".repeat(LINE_BYTES_MAX / 2));
        for _ in 0..3 {
            many.feed(line.as_bytes());
        }
        assert!(many.next().is_err());
    }
}
