//! The driver around a scripted machine in place of the hub, over real sockets: what the driver
//! promises whatever the hub decides.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::hub::{ConnectionId, Counters, Effect, Input, Stats};
use syncline_engine::ids::{Address, Cursor};
use syncline_engine::limits::FRAME_BYTES_MAX;
use syncline_engine::machine::{Machine, Wake};
use syncline_engine::storage::{
    Append, Deletion, LogHead, LogStore, PostsWanted, Record, Rollover, Snapshot, StoreError,
};
use syncline_engine::summary::{Brought, Summary};
use syncline_engine::wire::{CloseCode, SUBPROTOCOL};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::config::{AddressLimits, Config};
use crate::gauge::Observed;
use crate::handover::Listeners;
use crate::metrics::Meters;
use crate::{HubFailure, Outfit, Server};

/// Fails a test that waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the script has a connection not read.
const HOLD: Duration = Duration::from_millis(200);

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A machine that does what the first byte of a message says.
#[derive(Default)]
struct Script {
    open: BTreeSet<ConnectionId>,
    received_bytes: u64,
    effects: VecDeque<Effect>,
    wake: Option<(Timestamp, ConnectionId)>,
}

impl Script {
    fn send(&mut self, connection: ConnectionId, message: impl Into<Bytes>) {
        self.effects.push_back(Effect::Send { connection, message: message.into() });
    }

    fn received(&mut self, now: Timestamp, connection: ConnectionId, message: Bytes) {
        self.received_bytes += message.len() as u64;
        match message.first() {
            Some(b'e') => self.send(connection, message),
            Some(b'o') => self.send(connection, self.open.len().to_string()),
            Some(b'b') => self.send(connection, self.received_bytes.to_string()),
            Some(b'h') => {
                self.effects.push_back(Effect::Hold { connection, pause: HOLD });
                self.send(connection, message);
            }
            Some(b'c') => self
                .effects
                .push_back(Effect::Close { connection, code: CloseCode::of(Code::Replaced) }),
            Some(b'a') => self.effects.push_back(Effect::Commit { appends: vec![] }),
            Some(b't') => self.wake = Some((now + Duration::from_millis(20), connection)),
            _ => panic!("the script says so"),
        }
    }
}

impl Machine for Script {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Opened { connection } => drop(self.open.insert(connection)),
            Input::Closed { connection } => drop(self.open.remove(&connection)),
            Input::Received { connection, message } => self.received(now, connection, message),
            Input::Tick => {
                if let Some((_, connection)) = self.wake.take_if(|(at, _)| *at <= now) {
                    self.send(connection, "tick");
                }
            }
            Input::Committed { result } => {
                assert!(result.is_err());
                self.effects.push_back(Effect::Stop);
            }
            Input::Shutdown => {
                for connection in self.open.clone() {
                    self.send(connection, "goodbye");
                    let code = CloseCode::of(Code::ShuttingDown);
                    self.effects.push_back(Effect::Close { connection, code });
                }
                self.effects.push_back(Effect::Stop);
            }
            Input::Drained { .. }
            | Input::Loaded { .. }
            | Input::Indexed { .. }
            | Input::RulesRead { .. }
            | Input::RecordsRead { .. }
            | Input::SnapshotRead { .. }
            | Input::Compacted { .. }
            | Input::RolledOver { .. }
            | Input::PostsRead { .. }
            | Input::Summarised { .. }
            | Input::SpaceDeleted { .. }
            | Input::SpaceEmptied { .. }
            | Input::UserLeaves { .. }
            | Input::UserForgotten
            | Input::Rewrite { .. }
            | Input::Rewritten { .. } => {}
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn poll_timeout(&self) -> Option<Wake> {
        self.wake.map(|(at, _)| Wake { at, why: "script" })
    }
}

impl Observed for Script {
    fn stats(&self) -> Stats {
        Stats { connections: self.open.len(), ..Stats::default() }
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// A store whose device is broken.
struct Broken;

fn broken<T>() -> Result<T, StoreError> {
    Err(StoreError::Failed("no such device".to_owned()))
}

impl LogStore for Broken {
    fn append(&self, _: &[Append]) -> Result<(), StoreError> {
        broken()
    }

    fn head(&self, _: &Address) -> Result<Option<LogHead>, StoreError> {
        broken()
    }

    fn read(&self, _: &Address, _: u64, _: usize) -> Result<Vec<Record>, StoreError> {
        broken()
    }

    fn read_snapshot(
        &self,
        _: &Address,
        _: Cursor,
        _: u64,
        _: usize,
    ) -> Result<Option<Bytes>, StoreError> {
        broken()
    }

    fn read_attribution(&self, _: &Address, _: Cursor) -> Result<Option<Bytes>, StoreError> {
        broken()
    }

    fn put_snapshot(&self, _: &Address, _: &Snapshot, _: u64) -> Result<(), StoreError> {
        broken()
    }

    fn roll_over(&self, _: &Address, _: &Rollover, _: Timestamp) -> Result<(), StoreError> {
        broken()
    }

    fn list(&self, _: Option<&Address>, _: usize) -> Result<Vec<Address>, StoreError> {
        broken()
    }

    fn posts(&self, _: &str, _: &PostsWanted) -> Result<Vec<Summary>, StoreError> {
        broken()
    }

    fn put_summary(&self, _: &Address, _: &Brought) -> Result<(), StoreError> {
        broken()
    }

    fn is_summarised(&self, _: &str) -> Result<bool, StoreError> {
        broken()
    }

    fn set_summarised(&self, _: &str) -> Result<(), StoreError> {
        broken()
    }

    fn deletion(&self, _: &str) -> Result<Option<Deletion>, StoreError> {
        broken()
    }

    fn set_deletion(&self, _: &str, _: Option<Deletion>) -> Result<(), StoreError> {
        broken()
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("what is waited for comes")
}

async fn start(config: Config) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let make_snapshot = |_: &Address, _: Cursor, _: Option<&Snapshot>, _: &[Record]| {
        Err("this store has none".to_owned())
    };
    let metrics = match config.metrics_listen {
        Some(address) => Some(TcpListener::bind(address).await.expect("a free port")),
        None => None,
    };
    let outfit = Outfit {
        listeners: Listeners { sync: listener, metrics },
        certificates: None,
        meters: Arc::new(Meters::new()),
        secret: [0; 32],
        run: 1,
    };
    Server::run(outfit, Script::default(), Arc::new(Broken), make_snapshot, &config)
        .expect("the server starts")
}

fn request(server: &Server) -> tungstenite::handshake::client::Request {
    let mut request = server.url().into_client_request().expect("a URL");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", SUBPROTOCOL.parse().expect("a header value"));
    request
}

async fn connect(server: &Server) -> Client {
    let request = request(server);
    let config = WebSocketConfig::default().max_write_buffer_size(usize::MAX);
    let connecting = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
    within(connecting).await.expect("the handshake succeeds").0
}

async fn say(client: &mut Client, message: impl Into<Bytes>) {
    within(client.send(Message::Binary(message.into()))).await.expect("the socket takes it");
}

async fn hear(client: &mut Client) -> Bytes {
    match within(client.next()).await {
        Some(Ok(Message::Binary(message))) => message,
        other => panic!("a message was expected, not {other:?}"),
    }
}

async fn ask(client: &mut Client, message: &'static str) -> String {
    say(client, message).await;
    String::from_utf8(hear(client).await.to_vec()).expect("text")
}

/// The close code that the server gives, passing over messages.
async fn closed(client: &mut Client) -> u16 {
    loop {
        match within(client.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(Message::Binary(_))) => {}
            other => panic!("a close was expected, not {other:?}"),
        }
    }
}

#[tokio::test]
async fn messages_come_back_in_order_and_a_wish_to_be_woken_is_granted() {
    let server = start(Config::default()).await;
    let mut client = connect(&server).await;
    for round in 0..2_000_u32 {
        client.feed(Message::Binary(format!("echo {round}").into())).await.expect("taken");
    }
    client.flush().await.expect("flushed");
    for round in 0..2_000_u32 {
        assert_eq!(hear(&mut client).await, format!("echo {round}"));
    }
    assert_eq!(ask(&mut client, "timer").await, "tick");
    let ping = Bytes::from_static(b"are you there");
    client.send(Message::Ping(ping.clone())).await.expect("taken");
    assert!(matches!(within(client.next()).await, Some(Ok(Message::Pong(pong))) if pong == ping));
}

#[tokio::test]
async fn a_message_over_the_limit_closes_its_connection_with_the_reason_and_no_other() {
    let server = start(Config::default()).await;
    let (mut good, mut bad) = (connect(&server).await, connect(&server).await);
    assert_eq!(ask(&mut good, "open").await, "2");
    let largest = vec![b'e'; FRAME_BYTES_MAX];
    say(&mut bad, largest.clone()).await;
    assert_eq!(hear(&mut bad).await, largest);
    let (mut sink, stream) = bad.split();
    let mut bad = stream;
    let sending = tokio::spawn(async move {
        // The server may close before it has taken all of it.
        let _ = sink.send(Message::Binary(vec![b'e'; 4 * FRAME_BYTES_MAX].into())).await;
        sink
    });
    let close = within(bad.next()).await;
    let Some(Ok(Message::Close(Some(frame)))) = close else { panic!("{close:?}") };
    assert_eq!(u16::from(frame.code), CloseCode::of(Code::FrameTooLarge).0);
    drop((within(sending).await.expect("it ends"), bad));
    assert_eq!(ask(&mut good, "echo").await, "echo");
    while ask(&mut good, "open").await != "1" {}
}

#[tokio::test]
async fn text_and_bytes_that_are_no_websocket_frame_are_bad_frames() {
    let server = start(Config::default()).await;
    let mut text = connect(&server).await;
    text.send(Message::Text("hello".into())).await.expect("taken");
    assert_eq!(closed(&mut text).await, CloseCode::of(Code::BadFrame).0);

    let mut garbage = connect(&server).await;
    let MaybeTlsStream::Plain(raw) = garbage.get_mut() else { panic!("there is no TLS here") };
    raw.write_all(&[0xff; 64]).await.expect("taken");
    assert_eq!(closed(&mut garbage).await, CloseCode::of(Code::BadFrame).0);
}

#[tokio::test]
async fn the_hub_closes_with_its_code_after_what_it_sent() {
    let server = start(Config::default()).await;
    let mut client = connect(&server).await;
    say(&mut client, "echo").await;
    say(&mut client, "close").await;
    assert_eq!(hear(&mut client).await, "echo");
    assert_eq!(closed(&mut client).await, CloseCode::of(Code::Replaced).0);
}

#[tokio::test]
async fn who_sends_and_never_reads_is_paused_then_dropped_and_bounded_all_along() {
    let write_stall = Duration::from_millis(300);
    let server = start(Config { write_stall, ..Config::default() }).await;
    let mut watcher = connect(&server).await;
    let mut greedy = connect(&server).await;
    let message = Bytes::from(vec![b'e'; 256 << 10]);
    let mut sent = 0_usize;
    while within(greedy.send(Message::Binary(message.clone()))).await.is_ok() {
        sent += message.len();
        assert!(sent < 1 << 30, "it is never stopped");
    }
    while ask(&mut watcher, "open").await != "1" {}
    let received: usize = ask(&mut watcher, "bytes").await.parse().expect("a number");
    // What kernels buffer in one direction, and the mark at which reading pauses.
    assert!(received < 64 << 20, "{received}");
}

#[tokio::test]
async fn the_hub_hears_when_a_peer_vanishes() {
    let server = start(Config::default()).await;
    let (mut one, two) = (connect(&server).await, connect(&server).await);
    while ask(&mut one, "open").await != "2" {}
    drop(two);
    while ask(&mut one, "open").await != "1" {}
}

#[tokio::test]
async fn shutdown_says_goodbye_to_all_and_takes_nobody_new() {
    let server = start(Config::default()).await;
    let mut clients = [connect(&server).await, connect(&server).await];
    for client in &mut clients {
        assert_eq!(ask(client, "echo").await, "echo");
    }
    let address = server.local_addr();
    let ending = tokio::spawn(server.shutdown());
    for client in &mut clients {
        assert_eq!(hear(client).await, "goodbye");
        assert_eq!(closed(client).await, CloseCode::of(Code::ShuttingDown).0);
    }
    assert_eq!(within(ending).await.expect("it ends"), Ok(()));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_failed_commit_ends_the_server_and_says_so() {
    let mut server = start(Config::default()).await;
    let mut client = connect(&server).await;
    say(&mut client, "append").await;
    let ended = within(server.ended()).await;
    assert_eq!(ended, Err(HubFailure::Store("the store failed: no such device".to_owned())));
    assert_eq!(closed(&mut client).await, CloseCode::of(Code::ShuttingDown).0);
    assert_eq!(server.shutdown().await, ended);
}

#[tokio::test]
async fn a_mistake_of_the_hub_leaves_nobody_hanging() {
    let mut server = start(Config::default()).await;
    let mut client = connect(&server).await;
    say(&mut client, "panic").await;
    assert_eq!(within(server.ended()).await, Err(HubFailure::Panicked));
    assert_eq!(closed(&mut client).await, CloseCode::of(Code::ShuttingDown).0);
}

#[tokio::test]
async fn pages_answer_and_a_socket_without_the_subprotocol_is_refused() {
    let server = start(Config::default()).await;
    let front = if crate::demo::FILES.is_empty() { "syncline.v1" } else { "<!doctype html>" };
    for (path, expected) in [("/healthz", "ok"), ("/readyz", "ready"), ("/", front)] {
        let answer = http(&server, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(expected), "{answer}");
    }
    let refused = within(tokio_tungstenite::connect_async(server.url())).await;
    let Err(tungstenite::Error::Http(answer)) = refused else { panic!("{refused:?}") };
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_to_come_later() {
    let server = start(Config { connections_max: 1, ..Config::default() }).await;
    let mut client = connect(&server).await;
    assert_eq!(ask(&mut client, "echo").await, "echo");
    assert_eq!(refusal(&server).await.status(), 503);
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_is_told_when_to_come_back() {
    let addresses = AddressLimits { connections_max: 1, ..AddressLimits::default() };
    let server = start(Config { addresses, ..Config::default() }).await;
    let mut client = connect(&server).await;
    assert_eq!(ask(&mut client, "echo").await, "echo");
    let answer = refusal(&server).await;
    assert_eq!(answer.status(), 429);
    let wait = answer.headers()["retry-after"].to_str().ok().and_then(|wait| wait.parse().ok());
    assert!(wait.is_some_and(|wait: u32| wait >= 1), "{answer:?}");
}

#[tokio::test]
async fn a_connection_on_hold_is_not_read_and_loses_nothing() {
    let server = start(Config::default()).await;
    let mut client = connect(&server).await;
    let held = Instant::now();
    assert_eq!(ask(&mut client, "hold").await, "hold");
    // One more is read by whoever reads already.
    assert_eq!(ask(&mut client, "echo 1").await, "echo 1");
    assert_eq!(ask(&mut client, "echo 2").await, "echo 2");
    assert!(held.elapsed() >= HOLD, "nothing is read before the time");
}

/// The answer to a handshake that the server refuses.
async fn refusal(server: &Server) -> tungstenite::handshake::client::Response {
    let refused = within(tokio_tungstenite::connect_async(request(server))).await;
    let Err(tungstenite::Error::Http(answer)) = refused else { panic!("{refused:?}") };
    *answer
}

#[tokio::test]
async fn a_store_that_failed_is_told_to_whoever_asks_before_work_is_sent() {
    let metrics_listen = Some("127.0.0.1:0".parse().expect("an address"));
    let mut server = start(Config { metrics_listen, ..Config::default() }).await;
    let internal = server.metrics_addr();
    let mut client = connect(&server).await;
    assert_eq!(ask(&mut client, "echo").await, "echo");
    assert!(http_at(internal, "/readyz").await.ends_with("ready\n"));
    assert!(server.is_well());
    say(&mut client, "append").await;
    assert!(within(server.ended()).await.is_err());
    let answer = http_at(internal, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("the store has failed\n"), "{answer}");
    assert!(!server.is_well(), "systemd's watchdog need not wait");
}

async fn http(server: &Server, path: &str) -> String {
    http_at(server.local_addr(), path).await
}

async fn http_at(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("taken");
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.expect("text");
    answer
}
