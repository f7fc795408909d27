//! A client that says exactly the frames it is told to, right or wrong, and hears exactly the frames
//! that come. Has no session, no outbox and no manners.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "what is not waited for is passed over, whatever it is"
)]

use automerge::{Automerge, Change, ReadDoc, TextEncoding};
use futures_util::{SinkExt, StreamExt};
use syncline_engine::document::{Command, genesis};
use syncline_engine::ids::Address;
use syncline_engine::wire::frame::{Blob, Changes, Hello, Push, Resume, Subscribe, Subscribed};
use syncline_engine::wire::frame::{WireCursor, WireLease};
use syncline_engine::wire::{ClientFrame, SUBPROTOCOL, ServerFrame, unpack};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::process::within;

/// How many code points or units a text's positions count.
const ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

/// One socket.
#[derive(Debug)]
pub struct RawClient(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl RawClient {
    /// Opens a socket and says nothing.
    ///
    /// # Panics
    /// If nobody is there.
    pub async fn connect(url: &str) -> Self {
        let mut request = url.into_client_request().expect("a URL");
        let protocol = SUBPROTOCOL.parse().expect("a header value");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let config = WebSocketConfig::default().max_write_buffer_size(usize::MAX);
        let connecting = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
        Self(within(connecting).await.expect("the handshake succeeds").0)
    }

    /// Opens a socket as a session of `user` and waits for the welcome.
    ///
    /// # Panics
    /// If it does not come.
    pub async fn hello(url: &str, user: &str, session: [u8; 16], generation: u64) -> Self {
        let mut client = Self::connect(url).await;
        client.say(hello(user, session, generation)).await;
        let answer = client.hear().await;
        assert!(matches!(answer, ServerFrame::Welcome(_)), "{answer:?}");
        client
    }

    /// Says a frame.
    ///
    /// # Panics
    /// If the socket does not take it.
    pub async fn say(&mut self, frame: impl Into<ClientFrame>) {
        let message = frame.into().encode().expect("it fits");
        within(self.0.send(Message::Binary(message))).await.expect("the socket takes it");
    }

    /// Says bytes, whatever they are. `false` if the server has hung up.
    pub async fn say_bytes(&mut self, bytes: Vec<u8>) -> bool {
        within(self.0.send(Message::Binary(bytes.into()))).await.is_ok()
    }

    /// The next frame.
    ///
    /// # Panics
    /// If the connection ends instead.
    pub async fn hear(&mut self) -> ServerFrame {
        match self.hear_or_close().await {
            Ok(frame) => frame,
            Err(close) => panic!("a frame was expected, not a close with {close:?}"),
        }
    }

    /// The next frame, and how many bytes it has. Safe to give up: nothing is lost.
    ///
    /// # Panics
    /// If the connection ends instead.
    pub async fn hear_sized(&mut self) -> (ServerFrame, usize) {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(message))) => {
                    let frame = ServerFrame::decode(&message).expect("the server says frames");
                    return (frame, message.len());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a frame was expected, not {other:?}"),
            }
        }
    }

    /// The next frame, or the code that the server closed with, if it gave one.
    ///
    /// # Errors
    /// The close code; `None` if the socket ended without.
    ///
    /// # Panics
    /// If what comes is no frame.
    pub async fn hear_or_close(&mut self) -> Result<ServerFrame, Option<u16>> {
        loop {
            match within(self.0.next()).await {
                Some(Ok(Message::Binary(message))) => {
                    return Ok(ServerFrame::decode(&message).expect("the server says frames"));
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Passes over frames until one is of the kind that `pick` wants.
    ///
    /// # Panics
    /// If the connection ends before.
    pub async fn hear_until<T>(&mut self, mut pick: impl FnMut(ServerFrame) -> Option<T>) -> T {
        loop {
            if let Some(wanted) = pick(self.hear().await) {
                return wanted;
            }
        }
    }

    /// Opens a document; passes over what else comes before the answer.
    ///
    /// # Panics
    /// If the answer is an error.
    pub async fn subscribe(
        &mut self,
        address: &Address,
        outbox: [u8; 16],
        write: bool,
    ) -> Subscribed {
        self.subscribe_at(address, None, outbox, write).await
    }

    /// The same from a cursor.
    ///
    /// # Panics
    /// If the answer is an error.
    pub async fn subscribe_at(
        &mut self,
        address: &Address,
        cursor: Option<WireCursor>,
        outbox: [u8; 16],
        write: bool,
    ) -> Subscribed {
        let address = address.to_string();
        self.say(Subscribe { address: address.clone(), cursor, outbox, write }).await;
        self.hear_until(|frame| match frame {
            ServerFrame::Subscribed(answer) if answer.address == address => Some(answer),
            ServerFrame::Error(error) => panic!("{error:?}"),
            _ => None,
        })
        .await
    }

    /// Reads a document to the end that its subscription announced.
    ///
    /// # Panics
    /// If what comes makes no document.
    pub async fn read(&mut self, address: &Address, opened: &Subscribed) -> RawDocument {
        let mut document = RawDocument::new(address);
        let mut snapshot = Vec::new();
        if let Resume::Snapshot { cursor, bytes } = opened.resume {
            while (snapshot.len() as u64) < bytes {
                let frame = self.hear().await;
                let ServerFrame::SnapshotPart(part) = frame else { continue };
                if part.handle == opened.handle {
                    assert_eq!(part.offset, snapshot.len() as u64);
                    snapshot.extend_from_slice(&part.bytes.0);
                }
            }
            document.automerge = Automerge::load(&snapshot).expect("the snapshot loads");
            document.cursor = Some(cursor);
            document.snapshot_bytes = snapshot.len();
        }
        while document.seq() < opened.end_seq {
            let frame = self.hear().await;
            if let Some(changes) = changes_of(&frame, opened.handle) {
                document.apply(opened.epoch, &changes);
            }
        }
        document
    }

    /// Pushes changes as commands from `first` on.
    pub async fn push(&mut self, handle: u32, first: u64, changes: &[Change]) {
        let changes = changes.iter().map(|c| Blob(c.raw_bytes().to_vec().into())).collect();
        self.say(Push { handle, first, changes }).await;
    }

    /// Waits until commands up to `number` are acknowledged.
    ///
    /// # Panics
    /// If one is refused.
    pub async fn acked(&mut self, handle: u32, number: u64) {
        self.hear_until(|frame| match frame {
            ServerFrame::Ack(ack) if ack.handle == handle && ack.number >= number => Some(()),
            ServerFrame::Reject(reject) => panic!("{reject:?}"),
            ServerFrame::Error(error) => panic!("{error:?}"),
            _ => None,
        })
        .await;
    }
}

/// A greeting.
#[must_use]
pub fn hello(user: &str, session: [u8; 16], generation: u64) -> Hello {
    let agent = "raw test".to_owned();
    Hello { session, generation, user: user.to_owned(), token: None, agent }
}

/// The changes in a frame, if it is one with changes of that document.
///
/// # Panics
/// If packed changes do not unpack.
#[must_use]
pub fn changes_of(frame: &ServerFrame, handle: u32) -> Option<Changes> {
    let changes = match frame {
        ServerFrame::Changes(changes) => changes.clone(),
        ServerFrame::PackedChanges(packed) => unpack(packed).expect("they unpack"),
        _ => return None,
    };
    (changes.handle == handle).then_some(changes)
}

/// A document as its log makes it, and nothing else.
#[derive(Debug)]
pub struct RawDocument {
    /// It.
    pub automerge: Automerge,
    /// How far it was read.
    pub cursor: Option<WireCursor>,
    /// How long the snapshot was that it began with; 0 without one.
    pub snapshot_bytes: usize,
    /// The hash of each change that came as one, in order.
    pub hashes: Vec<automerge::ChangeHash>,
}

impl RawDocument {
    /// An empty one.
    #[must_use]
    pub fn new(address: &Address) -> Self {
        let automerge = genesis::document(address, ENCODING);
        Self { automerge, cursor: None, snapshot_bytes: 0, hashes: Vec::new() }
    }

    /// The last seq known.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.cursor.map_or(0, |cursor| cursor.seq)
    }

    /// Takes in what follows in the log (SUB4).
    ///
    /// # Panics
    /// If it does not follow.
    pub fn apply(&mut self, epoch: [u8; 16], frame: &Changes) {
        assert_eq!(frame.first_seq, self.seq() + 1, "a gap or an overlap");
        let changes: Vec<Change> = frame
            .entries
            .iter()
            .map(|entry| Change::try_from(&entry.change.0[..]).expect("a change"))
            .collect();
        self.hashes.extend(changes.iter().map(Change::hash));
        self.automerge.apply_changes(changes).expect("they apply");
        assert!(self.automerge.get_missing_deps(&[]).is_empty(), "deps come first");
        let seq = frame.first_seq + frame.entries.len() as u64 - 1;
        self.cursor = Some(WireCursor { epoch, seq, tip: frame.tip });
    }

    /// Writes commands under a lease, one change each.
    ///
    /// # Panics
    /// If one can't be carried out.
    pub fn write(&mut self, lease: &WireLease, commands: &[Command]) -> Vec<Change> {
        self.automerge.set_actor(lease.actor.as_slice().into());
        commands
            .iter()
            .map(|command| {
                let mut transaction = self.automerge.transaction();
                command.apply(&mut transaction).expect("it can be done");
                transaction.commit();
                self.automerge.get_last_local_change().expect("there is one")
            })
            .collect()
    }

    /// How many actors ever wrote it, genesis not counted.
    #[must_use]
    pub fn actors(&self) -> usize {
        let changes = self.automerge.get_changes(&[]);
        let actors: std::collections::BTreeSet<_> =
            changes.iter().map(|change| change.actor_id().to_bytes().to_vec()).collect();
        actors.len() - 1
    }
}
