//! What the tests of the server's operation have in common: a patient wait, HTTP in its plainest form,
//! and a client that says frames. Knows no single promise.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::wildcard_enum_match_arm,
    reason = "each test uses its part, and fails on whatever it does not wait for"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use automerge::TextEncoding;
use futures_util::{SinkExt, StreamExt};
use syncline_engine::document::{Command, JsonCommand, genesis};
use syncline_engine::ids::Address;
use syncline_engine::wire::frame::{Bye, Hello, Subscribe};
use syncline_engine::wire::{ClientFrame, SUBPROTOCOL, ServerFrame};
use syncline_server::config::{Config, Storage};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Fails a test that waits for what does not come.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("what is waited for comes")
}

/// A server in memory on a free port.
pub fn config() -> Config {
    let listen = "127.0.0.1:0".parse().expect("an address");
    Config { listen, storage: Storage::Memory, ..Config::default() }
}

/// Asks for a page from this address of the machine; answers what came, head and all.
pub async fn page_from(from: &str, at: SocketAddr, path: &str, headers: &str) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{from}:0").parse().expect("an address")).expect("an own address");
    let mut stream = within(socket.connect(at)).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("taken");
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.expect("an answer");
    String::from_utf8(answer).expect("text")
}

pub async fn page(at: SocketAddr, path: &str) -> String {
    page_from("127.0.0.1", at, path, "host: localhost\r\n").await
}

pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status")
}

/// The metrics as a real parser reads them: by name and labels.
pub async fn metrics(at: SocketAddr) -> BTreeMap<String, f64> {
    let answer = page(at, "/metrics").await;
    assert_eq!(status(&answer), 200, "{answer}");
    let (_, text) = answer.split_once("\r\n\r\n").expect("a head");
    parsed(text)
}

pub fn parsed(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = prometheus_parse::Scrape::parse(lines).expect("it is Prometheus's format");
    let mut all = BTreeMap::new();
    for sample in scrape.samples {
        let mut labels: Vec<_> = sample.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        labels.sort();
        let name = if labels.is_empty() {
            sample.metric
        } else {
            format!("{}{{{}}}", sample.metric, labels.join(","))
        };
        match sample.value {
            prometheus_parse::Value::Counter(value)
            | prometheus_parse::Value::Gauge(value)
            | prometheus_parse::Value::Untyped(value) => drop(all.insert(name, value)),
            prometheus_parse::Value::Histogram(buckets) => {
                let most = buckets.iter().map(|bucket| bucket.count).fold(0.0, f64::max);
                all.insert(name, most);
            }
            prometheus_parse::Value::Summary(_) => panic!("there is no summary"),
        }
    }
    all
}

/// Waits until the metrics are as they should be, and were taken after this was called: what the hub
/// holds is published once a second, and may be of before.
pub async fn until(at: SocketAddr, mut wanted: impl FnMut(&BTreeMap<String, f64>) -> bool) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_secs_f64();
    let mut seen =
        |m: &BTreeMap<String, f64>| m["syncline_hub_timestamp_seconds"] > now && wanted(m);
    within(async { while !seen(&metrics(at).await) {} }).await;
}

/// A change under a lease that was just granted on an empty document: a text.
pub fn change(address: &str, actor: [u8; 16]) -> Vec<u8> {
    let address: Address = address.parse().expect("an address");
    let mut document = genesis::document(&address, TextEncoding::UnicodeCodePoint)
        .with_actor(actor.as_slice().into());
    let mut transaction = document.transaction();
    let put = JsonCommand::PutText { path: vec!["key".into()], text: "hello".to_owned() };
    Command::Json(put).apply(&mut transaction).expect("it can be done");
    transaction.commit();
    document.get_last_local_change().expect("there is one").raw_bytes().to_vec()
}

/// A client that says frames, over whatever carries them.
pub struct Client<S>(pub WebSocketStream<S>);

impl Client<TcpStream> {
    pub async fn open(at: SocketAddr) -> Self {
        let stream = within(TcpStream::connect(at)).await.expect("it listens");
        Self::over(stream).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn over(stream: S) -> Self {
        let mut request = "ws://localhost/v1/sync".into_client_request().expect("a URL");
        let protocol = SUBPROTOCOL.parse().expect("a header value");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let upgrading = tokio_tungstenite::client_async(request, stream);
        Self(within(upgrading).await.expect("the handshake succeeds").0)
    }

    pub async fn say(&mut self, frame: impl Into<ClientFrame>) {
        let message = frame.into().encode().expect("it fits");
        within(self.0.send(Message::Binary(message))).await.expect("the socket takes it");
    }

    pub async fn hear(&mut self) -> ServerFrame {
        match within(self.0.next()).await {
            Some(Ok(Message::Binary(message))) => {
                ServerFrame::decode(&message).expect("the server speaks the protocol")
            }
            other => panic!("a frame was expected, not {other:?}"),
        }
    }

    pub async fn hello(&mut self, user: &str, session: u8) {
        let (session, user, agent) = ([session; 16], user.to_owned(), "test".to_owned());
        self.say(Hello { session, generation: 1, user, token: None, agent }).await;
        let welcome = self.hear().await;
        assert!(matches!(welcome, ServerFrame::Welcome(_)), "{welcome:?}");
    }

    /// Leaves in good order.
    pub async fn leave(&mut self) {
        self.say(Bye {}).await;
        while let Some(Ok(_)) = within(self.0.next()).await {}
    }

    /// Opens a document; answers its handle.
    pub async fn subscribe(&mut self, address: &str, write: bool) -> u32 {
        let (address, outbox) = (address.to_owned(), [9; 16]);
        self.say(Subscribe { address, cursor: None, outbox, write }).await;
        match self.hear().await {
            ServerFrame::Subscribed(subscribed) => subscribed.handle,
            other => panic!("{other:?}"),
        }
    }
}

/// The program as a child: what it said first, and what it logged.
pub struct Process {
    pub child: tokio::process::Child,
    pub line: String,
}

/// The program with these arguments and none of the settings of whoever runs the test.
pub fn command(arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_syncline-server"));
    command.args(arguments);
    quiet(&mut command);
    command
}

pub fn quiet(command: &mut tokio::process::Command) {
    for (variable, _) in std::env::vars_os() {
        let ours = ["SYNCLINE_", "LISTEN_", "NOTIFY_", "WATCHDOG_"];
        if variable.to_str().is_some_and(|name| ours.iter().any(|of| name.starts_with(of))) {
            command.env_remove(variable);
        }
    }
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
}

impl Process {
    /// Starts it and waits until it says that it is ready.
    pub async fn start(mut command: tokio::process::Command) -> Self {
        let child = command.spawn().expect("it starts");
        Self::ready(child).await
    }

    /// Waits until one that was started says that it is ready.
    pub async fn ready(mut child: tokio::process::Child) -> Self {
        use tokio::io::AsyncBufReadExt as _;
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = tokio::io::BufReader::new(stdout).lines();
        let line = within(lines.next_line()).await.expect("text");
        let Some(line) = line else {
            let mut log = String::new();
            let mut stderr = child.stderr.take().expect("it is piped");
            within(stderr.read_to_string(&mut log)).await.expect("text");
            panic!("it was never ready: {log}");
        };
        Self { child, line }
    }

    /// Where it listens.
    pub fn at(&self) -> SocketAddr {
        let url = self.line.split(' ').nth(3).expect("the URL is the fourth word");
        let authority = url.split('/').nth(2).expect("a URL has an authority");
        authority.parse().expect("an address")
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args([name, &id]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for the end; answers the exit code and the log.
    pub async fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            within(stderr.read_to_string(&mut log)).await.expect("text");
        }
        let status = within(self.child.wait()).await.expect("it ends");
        (status.code(), log)
    }
}
