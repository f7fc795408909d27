//! The binary as an operator meets it: settings, the readiness line, exit codes, signals, logs, and
//! raw frames over real sockets against a log on disk.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use syncline_engine::codes::Code;
use syncline_engine::limits::FRAME_BYTES_MAX;
use syncline_engine::wire::frame::{Blob, Hello, Ping, Push, Subscribe};
use syncline_engine::wire::{ClientFrame, CloseCode, SUBPROTOCOL, ServerFrame};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Fails a test that waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("what is waited for comes")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline-server"));
    command
        .args(arguments)
        .env_remove("SYNCLINE_LISTEN")
        .env_remove("SYNCLINE_DATA")
        .env_remove("SYNCLINE_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A server that has said that it is ready.
struct Process {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    line: String,
}

impl Process {
    async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut stdout = BufReader::new(stdout).lines();
        let line = within(stdout.next_line()).await.expect("text").expect("the line is printed");
        Self { child, stdout, line }
    }

    async fn on(data: &Path) -> Self {
        Self::start(command(&["--listen", "127.0.0.1:0", "--data", text(data)])).await
    }

    fn url(&self) -> &str {
        self.line.split(' ').nth(3).expect("the URL is the fourth word")
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args([name, &id]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for the end; answers the exit code, the rest of standard output, and the log.
    async fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().expect("it is piped");
        within(stderr.read_to_string(&mut log)).await.expect("text");
        let mut lines = vec![];
        while let Some(line) = within(self.stdout.next_line()).await.expect("text") {
            lines.push(line);
        }
        let status = within(self.child.wait()).await.expect("it ends");
        (status.code(), lines, log)
    }
}

async fn fails(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = within(command.output()).await.expect("it runs");
    assert!(stdout.is_empty(), "nothing is said to be ready");
    (status.code(), String::from_utf8(stderr).expect("text"))
}

/// Each connection of a session has a larger one than those before.
static GENERATION: AtomicU64 = AtomicU64::new(1);

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(url: &str) -> Self {
        let mut request = url.into_client_request().expect("a URL");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", SUBPROTOCOL.parse().expect("a header value"));
        let config = WebSocketConfig::default().max_write_buffer_size(usize::MAX);
        let connecting = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
        let (socket, answer) = within(connecting).await.expect("the handshake succeeds");
        assert_eq!(answer.headers()["sec-websocket-protocol"], SUBPROTOCOL);
        Self(socket)
    }

    async fn hello(url: &str, user: &str) -> Self {
        let mut client = Self::connect(url).await;
        let mut session = [0; 16];
        session[..user.len().min(16)].copy_from_slice(&user.as_bytes()[..user.len().min(16)]);
        client
            .say(Hello {
                session,
                generation: GENERATION.fetch_add(1, Ordering::Relaxed),
                user: user.to_owned(),
                token: None,
                agent: "process test".to_owned(),
            })
            .await;
        let welcome = client.hear().await;
        let ServerFrame::Welcome(welcome) = welcome else { panic!("{welcome:?}") };
        assert!(welcome.term > 1_600_000_000_000, "the term is not below the wall clock");
        client
    }

    async fn say(&mut self, frame: impl Into<ClientFrame>) {
        let message = frame.into().encode().expect("it fits");
        self.send(Message::Binary(message)).await;
    }

    async fn send(&mut self, message: Message) {
        within(self.0.send(message)).await.expect("the socket takes it");
    }

    async fn hear(&mut self) -> ServerFrame {
        match within(self.0.next()).await {
            Some(Ok(Message::Binary(message))) => {
                ServerFrame::decode(&message).expect("the server speaks the protocol")
            }
            other => panic!("a frame was expected, not {other:?}"),
        }
    }

    /// The frames up to the close, and its code.
    async fn farewell(&mut self) -> (Vec<ServerFrame>, u16) {
        let mut frames = vec![];
        loop {
            match within(self.0.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => return (frames, frame.code.into()),
                Some(Ok(Message::Binary(message))) => {
                    frames.push(ServerFrame::decode(&message).expect("a frame"));
                }
                other => panic!("a close was expected, not {other:?}"),
            }
        }
    }

    async fn is_served(&mut self) {
        self.say(Ping { nonce: 7 }).await;
        let pong = self.hear().await;
        assert!(matches!(pong, ServerFrame::Pong(pong) if pong.nonce == 7));
    }
}

#[tokio::test]
async fn it_says_one_line_when_ready_and_ends_on_a_signal_with_goodbye_and_0() {
    let directory = tempfile::tempdir().expect("a directory");
    for signal in ["-TERM", "-INT"] {
        let server = Process::on(directory.path()).await;
        let expected = format!(
            "syncline-server listening on {} data={}",
            server.url(),
            directory.path().display()
        );
        assert_eq!(server.line, expected);
        assert!(server.url().starts_with("ws://127.0.0.1:"));
        assert!(server.url().ends_with("/v1/sync"));
        let mut client = Client::hello(server.url(), "ada").await;
        client.is_served().await;
        server.signal(signal);
        let (frames, close) = client.farewell().await;
        let Some(ServerFrame::Goodbye(goodbye)) = frames.last() else { panic!("{frames:?}") };
        assert_eq!(goodbye.code, Code::ShuttingDown.number());
        assert_eq!(close, CloseCode::of(Code::ShuttingDown).0);
        let (code, lines, log) = server.end().await;
        assert_eq!((code, lines), (Some(0), vec![]), "{log}");
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Process::on(directory.path()).await;
    let second = command(&["--listen", "127.0.0.1:0", "--data", text(directory.path())]);
    let (code, said) = fails(second).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    assert!(said.contains(text(directory.path())), "{said}");
    Client::hello(server.url(), "ada").await.is_served().await;
}

#[tokio::test]
async fn a_directory_of_a_newer_format_and_one_of_somebody_else_are_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Process::on(directory.path()).await;
    server.signal("-TERM");
    assert_eq!(server.end().await.0, Some(0));
    let format = directory.path().join("format");
    let known = std::fs::read_to_string(&format).expect("the format is written down");
    let newer: String = known.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_ne!(known, newer);
    std::fs::write(&format, newer).expect("it is written");
    let (code, said) =
        fails(command(&["--listen", "127.0.0.1:0", "--data", text(directory.path())])).await;
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("format"), "{said}");

    let foreign = tempfile::tempdir().expect("a directory");
    std::fs::write(foreign.path().join("thesis.txt"), "the only copy").expect("it is written");
    let (code, said) =
        fails(command(&["--listen", "127.0.0.1:0", "--data", text(foreign.path())])).await;
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("not a syncline store"), "{said}");
}

#[tokio::test]
async fn an_address_in_use_is_said_to_be() {
    let directory = tempfile::tempdir().expect("a directory");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let (code, said) =
        fails(command(&["--listen", &address, "--data", text(directory.path())])).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

#[tokio::test]
async fn settings_that_make_no_sense_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("syncline.toml");
    for (content, named) in [
        ("lissten = \"127.0.0.1:0\"", "lissten"),
        ("listen = \"nowhere\"", "listen"),
        ("compact_entries = 0", "compact_entries"),
        ("listen", "syncline.toml"),
    ] {
        std::fs::write(&file, content).expect("it is written");
        let (code, said) = fails(command(&["--config", text(&file)])).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(named), "{said}");
    }
    let (code, said) = fails(command(&["--config", "/nowhere/syncline.toml"])).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("/nowhere/syncline.toml"), "{said}");
    let (code, said) = fails(command(&["--log", "a=b=c"])).await;
    assert_eq!(code, Some(2), "{said}");
}

#[tokio::test]
async fn a_flag_counts_before_the_environment_and_that_before_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let file = at("syncline.toml");
    let content = format!(
        "listen = \"127.0.0.1:0\"\ndata = {:?}\nlog = \"debug\"\nlog_format = \"json\"\n",
        at("file")
    );
    std::fs::write(&file, content).expect("it is written");
    for (environment, flag, chosen) in
        [(false, false, "file"), (true, false, "environment"), (true, true, "flag")]
    {
        let mut command = command(&[]);
        command.env("SYNCLINE_CONFIG", &file);
        if environment {
            command.env("SYNCLINE_DATA", at("environment"));
        }
        if flag {
            command.arg("--data").arg(at("flag"));
        }
        let server = Process::start(command).await;
        assert!(server.line.ends_with(&format!("data={}", at(chosen).display())));
        server.signal("-TERM");
        let (code, _, log) = server.end().await;
        assert_eq!(code, Some(0));
        assert!(log.lines().all(|line| line.starts_with('{')), "{log}");
    }
}

#[tokio::test]
async fn hostile_input_ends_its_own_connection_with_a_code_and_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Process::on(directory.path()).await;
    let mut good = Client::hello(server.url(), "ada").await;
    for (message, code) in [
        (Message::Text("hello".into()), Code::BadFrame),
        (Message::Binary(vec![1, 1, 0xff, 0xff, 0xff].into()), Code::BadFrame),
        (Message::Binary(vec![1, 250].into()), Code::BadFrame),
        (Message::Binary(vec![].into()), Code::BadFrame),
        (Message::Binary(vec![9, 1].into()), Code::UnsupportedVersion),
        (Message::Binary(vec![0; FRAME_BYTES_MAX + 1].into()), Code::FrameTooLarge),
    ] {
        for greeted in [false, true] {
            let mut bad = if greeted {
                Client::hello(server.url(), "eve").await
            } else {
                Client::connect(server.url()).await
            };
            bad.send(message.clone()).await;
            let (_, close) = bad.farewell().await;
            assert_eq!(close, CloseCode::of(code).0, "{code} {greeted}");
            good.is_served().await;
        }
    }
    let mut early = Client::connect(server.url()).await;
    early.say(Ping { nonce: 1 }).await;
    assert_eq!(early.farewell().await.1, CloseCode::of(Code::OutOfProtocol).0);
    good.is_served().await;
}

#[tokio::test]
async fn a_document_opens_from_disk_and_a_forged_change_is_refused_with_a_code() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Process::on(directory.path()).await;
    let mut client = Client::hello(server.url(), "ada").await;
    let address = "town/square/post".to_owned();
    client
        .say(Subscribe { address: address.clone(), cursor: None, outbox: [9; 16], write: true })
        .await;
    let subscribed = client.hear().await;
    let ServerFrame::Subscribed(subscribed) = subscribed else { panic!("{subscribed:?}") };
    assert_eq!((subscribed.address, subscribed.end_seq, subscribed.settled), (address, 0, 0));
    assert!(subscribed.lease.is_some());
    let changes = vec![Blob(vec![0x85; 40].into())];
    client.say(Push { handle: subscribed.handle, first: 1, changes }).await;
    let reject = client.hear().await;
    let ServerFrame::Reject(reject) = reject else { panic!("{reject:?}") };
    assert_eq!((reject.number, reject.code), (1, Code::BadChange.number()));
    client.is_served().await;
    server.signal("-TERM");
    let (_, _, log) = server.end().await;
    assert!(log.contains("bad_change"), "{log}");
}

#[tokio::test]
async fn the_log_holds_no_token_and_no_line_that_a_client_wrote() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Process::on(directory.path()).await;
    let mut client = Client::connect(server.url()).await;
    client
        .say(Hello {
            session: [1; 16],
            generation: 1,
            user: "ada\nforged line".to_owned(),
            token: Some("verysecret".to_owned()),
            agent: "\u{1b}[31magent\r\nforged too".to_owned(),
        })
        .await;
    assert!(client.farewell().await.1 >= 4500);
    server.signal("-TERM");
    let (code, _, log) = server.end().await;
    assert_eq!(code, Some(0));
    assert!(log.contains("ada\\nforged line"), "{log}");
    assert!(!log.contains("verysecret"), "{log}");
    assert!(!log.contains("[31magent\r"), "{log}");
    assert!(log.lines().all(|line| !line.starts_with("forged")), "{log}");
}
