//! The library as a test or `syncline replay` embeds it: start, write real changes, compact, shut
//! down, start again in the same process.

use std::path::Path;
use std::time::Duration;

use automerge::TextEncoding;
use futures_util::{SinkExt, StreamExt};
use syncline_engine::document::{Command, JsonCommand, genesis};
use syncline_engine::ids::Address;
use syncline_engine::wire::frame::{
    Blob, Hello, Push, Resume, Subscribe, Subscribed, Unsubscribe, WireLease,
};
use syncline_engine::wire::{ClientFrame, SUBPROTOCOL, ServerFrame};
use syncline_server::Server;
use syncline_server::config::{Config, Settings, Storage};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Fails a test that waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("what is waited for comes")
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn hello(server: &Server, session: u8) -> Self {
        let mut request = server.url().into_client_request().expect("a URL");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", SUBPROTOCOL.parse().expect("a header value"));
        let connecting = within(tokio_tungstenite::connect_async(request)).await;
        let mut client = Self(connecting.expect("the handshake succeeds").0);
        client
            .say(Hello {
                session: [session; 16],
                generation: 1,
                user: "ada".to_owned(),
                token: None,
                agent: "embedded test".to_owned(),
            })
            .await;
        let welcome = client.hear().await;
        assert!(matches!(welcome, ServerFrame::Welcome(_)), "{welcome:?}");
        client
    }

    async fn say(&mut self, frame: impl Into<ClientFrame>) {
        let message = frame.into().encode().expect("it fits");
        within(self.0.send(Message::Binary(message))).await.expect("the socket takes it");
    }

    async fn hear(&mut self) -> ServerFrame {
        match within(self.0.next()).await {
            Some(Ok(Message::Binary(message))) => {
                ServerFrame::decode(&message).expect("the server speaks the protocol")
            }
            other => panic!("a frame was expected, not {other:?}"),
        }
    }

    async fn subscribe(&mut self, address: &Address, write: bool) -> Subscribed {
        let address = address.to_string();
        self.say(Subscribe { address, cursor: None, outbox: [9; 16], write }).await;
        loop {
            let frame = self.hear().await;
            if let ServerFrame::Subscribed(subscribed) = frame {
                return subscribed;
            }
            // What follows an earlier subscription may still be on its way.
            let expected = matches!(
                frame,
                ServerFrame::Changes(_) | ServerFrame::SnapshotPart(_) | ServerFrame::SettledAs(_)
            );
            assert!(expected, "{frame:?}");
        }
    }

    /// Pushes changes one by one, each when the one before is durable.
    async fn push(&mut self, handle: u32, changes: Vec<Vec<u8>>) {
        for (first, change) in (1..).zip(changes) {
            self.say(Push { handle, first, changes: vec![Blob(change.into())] }).await;
            loop {
                let frame = self.hear().await;
                if matches!(frame, ServerFrame::Ack(ack) if ack.number == first) {
                    break;
                }
                assert!(
                    matches!(frame, ServerFrame::Changes(_) | ServerFrame::Ack(_)),
                    "{frame:?}"
                );
            }
        }
    }
}

/// So many changes under a lease on an empty document.
fn changes(address: &Address, lease: &WireLease, count: usize) -> Vec<Vec<u8>> {
    assert_eq!(lease.next_seq, 1);
    let actor = lease.actor.as_slice().into();
    let mut document = genesis::document(address, TextEncoding::UnicodeCodePoint).with_actor(actor);
    let change = |n: usize| {
        let path = vec![format!("key {n}").as_str().into()];
        let command = Command::Json(JsonCommand::PutText { path, text: "hello".to_owned() });
        let mut transaction = document.transaction();
        command.apply(&mut transaction).expect("it can be done");
        transaction.commit();
        document.get_last_local_change().expect("there is one").raw_bytes().to_vec()
    };
    (0..count).map(change).collect()
}

fn config(directory: &Path) -> Config {
    let settings =
        Settings { compact_entries: Some(5), compact_keep: Some(0), ..Settings::default() };
    let config = settings.config().expect("they make sense");
    let listen = "127.0.0.1:0".parse().expect("an address");
    Config { listen, storage: Storage::Directory(directory.to_owned()), ..config }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_compacted_and_served_again_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let address: Address = "town/square/json".parse().expect("an address");
    let server = Server::start(config(directory.path())).await.expect("it starts");
    let mut writer = Client::hello(&server, 1).await;
    let opened = writer.subscribe(&address, true).await;
    let lease = opened.lease.expect("a lease was asked for");
    writer.push(opened.handle, changes(&address, &lease, 12)).await;

    let mut reader = Client::hello(&server, 2).await;
    let compacted = within(async {
        loop {
            let subscribed = reader.subscribe(&address, false).await;
            assert_eq!(subscribed.end_seq, 12);
            if let Resume::Snapshot { cursor, .. } = subscribed.resume {
                return cursor.seq;
            }
            reader.say(Unsubscribe { handle: subscribed.handle }).await;
        }
    })
    .await;
    assert!((5..=12).contains(&compacted), "{compacted}");
    assert_eq!(server.shutdown().await, Ok(()));

    let server = Server::start(config(directory.path())).await.expect("the store was let go of");
    let mut reader = Client::hello(&server, 3).await;
    let subscribed = reader.subscribe(&address, false).await;
    assert_eq!(subscribed.end_seq, 12);
    let Resume::Snapshot { bytes, .. } = subscribed.resume else { panic!("{subscribed:?}") };
    let part = reader.hear().await;
    let ServerFrame::SnapshotPart(part) = part else { panic!("{part:?}") };
    assert_eq!((part.offset, part.bytes.0.len() as u64), (0, bytes));
    drop(server);
    drop(reader);
}

#[tokio::test]
async fn a_server_in_memory_begins_empty_each_time() {
    let listen = "127.0.0.1:0".parse().expect("an address");
    for _ in 0..2 {
        let config = Config { listen, storage: Storage::Memory, ..Config::default() };
        let server = Server::start(config).await.expect("it starts");
        let mut client = Client::hello(&server, 1).await;
        let address: Address = "town/square/json".parse().expect("an address");
        let opened = client.subscribe(&address, true).await;
        assert_eq!((opened.end_seq, opened.settled), (0, 0));
        let lease = opened.lease.expect("a lease was asked for");
        client.push(opened.handle, changes(&address, &lease, 3)).await;
        assert_eq!(server.shutdown().await, Ok(()));
    }
}
