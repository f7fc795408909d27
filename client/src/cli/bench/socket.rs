//! One connection of the load generator: a WebSocket, its greeting, and what it then reads and
//! writes. It applies no change; it counts them.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use syncline_client::Endpoint;
use syncline_engine::ids::{ActorId, Address};
use syncline_engine::wire::frame::{Hello, Ping, Resume, Subscribe, Subscribed};
use syncline_engine::wire::{ClientFrame, SUBPROTOCOL, ServerFrame};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::lane::{Lane, user_name};
use super::protocol::{Heard, Protocol};

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;
pub(crate) type Sink = SplitSink<Stream, Message>;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Changes in one push: what a session of the real client would put together under load.
const PUSH_CHANGES: usize = 64;

/// A connection that is greeted and follows one document (or is in one room).
pub(crate) struct Socket {
    protocol: Protocol,
    sink: Sink,
    stream: SplitStream<Stream>,
    pub(crate) handle: u32,
    /// What it may write under.
    pub(crate) actor: Option<ActorId>,
    /// Changes that were there before.
    pub(crate) end_seq: u64,
    /// Changes that came along with the greeting.
    early: usize,
}

fn random_id() -> anyhow::Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(id)
}

async fn dial(url: &str, protocol: Option<&'static str>) -> anyhow::Result<Stream> {
    let mut request = url.into_client_request().with_context(|| format!("the address {url}"))?;
    if let Some(protocol) = protocol {
        let value = HeaderValue::from_static(protocol);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    let (stream, _) = connect_async(request).await.with_context(|| format!("can't reach {url}"))?;
    if let MaybeTlsStream::Plain(tcp) = stream.get_ref() {
        tcp.set_nodelay(true)?;
    }
    Ok(stream)
}

impl Socket {
    /// Connects and greets; with an address, follows that document.
    pub(crate) async fn open(
        protocol: Protocol,
        server: &str,
        client: usize,
        address: Option<&Address>,
        write: bool,
    ) -> anyhow::Result<Self> {
        match protocol {
            Protocol::Syncline => Self::open_syncline(server, client, address, write).await,
            Protocol::Relay => {
                let room = address.map_or("idle".to_owned(), |a| a.to_string().replace('/', "-"));
                let url = format!("{}/room/{room}", server.trim_end_matches('/'));
                let (sink, stream) = dial(&url, None).await?.split();
                Ok(Self { protocol, sink, stream, handle: 0, actor: None, end_seq: 0, early: 0 })
            }
        }
    }

    async fn open_syncline(
        server: &str,
        client: usize,
        address: Option<&Address>,
        write: bool,
    ) -> anyhow::Result<Self> {
        let endpoint: Endpoint = server.parse()?;
        let (sink, stream) = dial(endpoint.as_str(), Some(SUBPROTOCOL)).await?.split();
        let protocol = Protocol::Syncline;
        let mut this =
            Self { protocol, sink, stream, handle: 0, actor: None, end_seq: 0, early: 0 };
        let hello = Hello {
            session: random_id()?,
            generation: 1,
            user: user_name(client),
            token: None,
            agent: "syncline-bench".to_owned(),
        };
        this.say(hello.into()).await?;
        this.answer(|frame| matches!(frame, ServerFrame::Welcome(_)).then_some(())).await?;
        if let Some(address) = address {
            let outbox = random_id()?;
            let subscribe = Subscribe { address: address.to_string(), cursor: None, outbox, write };
            this.say(subscribe.into()).await?;
            let subscribed: Subscribed = this
                .answer(|frame| {
                    let ServerFrame::Subscribed(subscribed) = frame else { return None };
                    Some(subscribed)
                })
                .await?;
            this.follow(&subscribed, write).await?;
        }
        Ok(this)
    }

    async fn follow(&mut self, subscribed: &Subscribed, write: bool) -> anyhow::Result<()> {
        self.handle = subscribed.handle;
        self.end_seq = subscribed.end_seq;
        if let Resume::Snapshot { cursor, .. } = subscribed.resume {
            self.early = usize::try_from(cursor.seq)?;
        }
        let mut lease = subscribed.lease;
        if write && lease.is_none() {
            lease = self
                .answer(|frame| {
                    let ServerFrame::Leased(leased) = frame else { return None };
                    Some(Some(leased.lease))
                })
                .await?;
        }
        if lease.is_some_and(|lease| lease.next_seq != 1) {
            bail!("the lease is not a fresh one; use a new document");
        }
        self.actor = lease.map(|lease| ActorId(lease.actor));
        Ok(())
    }

    async fn say(&mut self, frame: ClientFrame) -> anyhow::Result<()> {
        Ok(self.sink.send(Message::Binary(frame.encode()?)).await?)
    }

    /// The first frame that `wanted` takes; changes before it are counted.
    async fn answer<T>(
        &mut self,
        mut wanted: impl FnMut(ServerFrame) -> Option<T>,
    ) -> anyhow::Result<T> {
        let answered = timeout(ANSWER_WITHIN, async {
            while let Some(message) = self.stream.next().await {
                let Message::Binary(bytes) = message? else { continue };
                if let Heard::Changes { count, .. } = self.protocol.hear(&bytes, true)? {
                    self.early += count;
                }
                if let Some(taken) = wanted(ServerFrame::decode(&bytes)?) {
                    return anyhow::Ok(taken);
                }
            }
            bail!("the server closed the connection")
        });
        answered.await.context("the server did not answer in time")?
    }

    /// Into the writing and the reading half.
    pub(crate) fn split(self) -> (Sink, Reader) {
        let reader =
            Reader { protocol: self.protocol, stream: self.stream, received: self.early, bytes: 0 };
        (self.sink, reader)
    }
}

/// The reading half of a connection.
pub(crate) struct Reader {
    protocol: Protocol,
    stream: SplitStream<Stream>,
    /// Changes received so far.
    pub(crate) received: usize,
    pub(crate) bytes: u64,
}

impl Reader {
    /// Reads until `total` changes have come; hands acknowledgements to `lane`, and the names of
    /// authors to `sample`, where they are wanted.
    pub(crate) async fn read(
        &mut self,
        total: usize,
        lane: Option<(&Lane, Instant)>,
        mut sample: Option<impl FnMut(&str)>,
    ) -> anyhow::Result<()> {
        let done = |received: usize| {
            received >= total && lane.is_none_or(|(lane, _)| lane.settled() >= lane.changes.len())
        };
        while !done(self.received) {
            let message = self.stream.next().await.context("the server closed the connection")?;
            let bytes: Bytes = match message? {
                Message::Binary(bytes) => bytes,
                Message::Close(_) => bail!("the server closed the connection"),
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                    continue;
                }
            };
            self.bytes += bytes.len() as u64;
            match self.protocol.hear(&bytes, sample.is_some())? {
                Heard::Changes { count, authors } => {
                    self.received += count;
                    if let Some(sample) = &mut sample {
                        authors.iter().for_each(|author| sample(author));
                    }
                }
                Heard::Acknowledged(count) => {
                    if let Some((lane, started)) = lane {
                        lane.acknowledged(count, started);
                    }
                }
                Heard::Nothing => {}
            }
        }
        Ok(())
    }
}

/// How fast a writer goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Changes per second; `None` for as many as the window lets through.
    pub(crate) per_s: Option<f64>,
    /// Changes that may be unacknowledged.
    pub(crate) window: usize,
}

/// Sends a lane's changes.
pub(crate) async fn write(
    protocol: Protocol,
    sink: &mut Sink,
    handle: u32,
    lane: &Lane,
    pace: Pace,
    started: Instant,
) -> anyhow::Result<()> {
    let total = lane.changes.len();
    let mut next = 0;
    while next < total {
        let due = pace.per_s.map_or(total, |per_s| due_by(started.elapsed(), per_s));
        let end = total.min(due).min(lane.settled() + pace.window).min(next + PUSH_CHANGES);
        if end <= next {
            tokio::select! {
                () = lane.moved.notified() => {}
                () = sleep(Duration::from_millis(1)), if due < total => {}
            }
            continue;
        }
        lane.sent(next, end, started);
        let message = protocol.push(handle, next, &lane.changes[next..end])?;
        sink.send(Message::Binary(message)).await?;
        next = end;
    }
    Ok(())
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of operations, far below 2^52"
)]
fn due_by(elapsed: Duration, per_s: f64) -> usize {
    (elapsed.as_secs_f64() * per_s) as usize + 1
}

/// Says that the connection is alive, as often as a server may want to hear it.
pub(crate) async fn keep_alive(protocol: Protocol, mut sink: Sink) -> anyhow::Result<()> {
    loop {
        sleep(Duration::from_secs(10)).await;
        let message = match protocol {
            Protocol::Syncline => ClientFrame::from(Ping { nonce: 0 }).encode()?,
            Protocol::Relay => protocol.push(0, 0, &[])?,
        };
        sink.send(Message::Binary(message)).await?;
    }
}
