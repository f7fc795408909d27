//! A restart as many clients meet it: told when to come back, spread over a time that grows with their
//! number, turned away by nobody, and with nothing lost. Real processes, real sockets, a log on disk.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "what is not waited for fails the test, whatever it is"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use syncline_engine::codes::Code;
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{
    AppendStream, Blob, Enter, FollowFeed, Hello, Ping, Push, Subscribe, WriteStream,
};
use tokio::net::{TcpStream, UnixDatagram};
use tokio::task::JoinSet;

use support::{Client, Process, command, metrics, page, quiet, status, until, within};

const CLIENTS: u16 = 500;
/// Each of so many clients has a document of its own and writes into it.
const WRITERS: u16 = 50;
/// When a client tries again that nobody answered.
const BACKOFF: Duration = Duration::from_millis(100);

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn session(n: u16) -> [u8; 16] {
    let mut session = [0x51; 16];
    session[..2].copy_from_slice(&n.to_be_bytes());
    session
}

fn address(n: u16) -> String {
    format!("town/doc{n}/json")
}

async fn greet(at: SocketAddr, n: u16, generation: u64) -> Client<TcpStream> {
    let mut client = Client::open(at).await;
    let (user, agent) = (format!("user{n}"), "restart test".to_owned());
    client.say(Hello { session: session(n), generation, user, token: None, agent }).await;
    let welcome = client.hear().await;
    assert!(matches!(welcome, ServerFrame::Welcome(_)), "{welcome:?}");
    client
}

/// Writes one change into the client's own document and waits until it is acknowledged.
async fn write(client: &mut Client<TcpStream>, n: u16) {
    let address = address(n);
    client
        .say(Subscribe { address: address.clone(), cursor: None, outbox: session(n), write: true })
        .await;
    let ServerFrame::Subscribed(opened) = client.hear().await else { panic!("not opened") };
    let lease = opened.lease.expect("a lease was asked for");
    let change = support::change(&address, lease.actor);
    let handle = opened.handle;
    client.say(Push { handle, first: 1, changes: vec![Blob(change.into())] }).await;
    while !matches!(client.hear().await, ServerFrame::Ack(_)) {}
}

/// Listens until the server says goodbye; answers after how long it wants to see the client again.
async fn farewell(client: &mut Client<TcpStream>) -> Duration {
    loop {
        match client.hear().await {
            ServerFrame::Goodbye(goodbye) => {
                assert_eq!(goodbye.code, Code::ShuttingDown.number());
                let after = goodbye.retry_after_ms.expect("it is told when");
                return Duration::from_millis(after.into());
            }
            ServerFrame::Changes(_) | ServerFrame::Ack(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// One client before, during and after. Answers when it was told to come back, and how many changes
/// the server has of it.
async fn live_through(
    at: SocketAddr,
    n: u16,
    there: tokio::sync::mpsc::Sender<()>,
) -> (Duration, u64) {
    let mut client = greet(at, n, 1).await;
    if n < WRITERS {
        write(&mut client, n).await;
    }
    there.send(()).await.expect("somebody counts");
    let after = farewell(&mut client).await;
    drop(client);
    // What a client does that is told to come back later.
    tokio::time::sleep(after).await;
    while TcpStream::connect(at).await.is_err() {
        tokio::time::sleep(BACKOFF).await;
    }
    let mut client = greet(at, n, 2).await;
    client
        .say(Subscribe { address: address(n), cursor: None, outbox: session(n), write: false })
        .await;
    let settled = loop {
        if let ServerFrame::Subscribed(opened) = client.hear().await {
            break opened.settled;
        }
    };
    client.say(Ping { nonce: 1 }).await;
    (after, settled)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_clients_come_back_spread_out_to_a_server_that_took_over_gb1() {
    let dir = tempfile::tempdir().expect("a directory");
    let rate = ["--returns-per-second", "100"];
    let first = ["--listen", "127.0.0.1:0", "--data", text(dir.path())];
    let first = Process::start(command(&[&first[..], &rate].concat())).await;
    let at = first.at();
    let (there, mut arrivals) = tokio::sync::mpsc::channel(16);
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        clients.spawn(live_through(at, n, there.clone()));
    }
    for _ in 0..CLIENTS {
        within(arrivals.recv()).await.expect("everybody comes");
    }
    // The next one waits for the data directory and then for the address.
    let listen = at.to_string();
    let next = ["--listen", &listen, "--data", text(dir.path()), "--takeover-ms", "60000"];
    let next = command(&[&next[..], &rate].concat()).spawn().expect("it starts");
    first.signal("-TERM");
    let (code, log) = first.end().await;
    assert_eq!(code, Some(0), "{log}");
    let next = Process::ready(next).await;
    let mut returns = Vec::new();
    while let Some(back) = within(clients.join_next()).await {
        returns.push(back.expect("everybody comes back"));
    }
    assert_eq!(returns.len(), usize::from(CLIENTS));
    let settled: u64 = returns.iter().map(|(_, settled)| settled).sum();
    assert_eq!(settled, u64::from(WRITERS), "everything acknowledged is there");
    // 500 at 100 a second are spread over 5 s, evenly.
    let mut fifths = [0; 5];
    for (after, _) in returns {
        let place = (after.as_millis().checked_sub(500).expect("nobody at once")) / 1_001;
        fifths[usize::try_from(place).expect("a few seconds")] += 1;
    }
    assert!(fifths.iter().all(|there| (60..=140).contains(there)), "{fifths:?}");
    until(at, |m| m["syncline_connections"] == 0.0).await;
    next.signal("-TERM");
    assert_eq!(next.end().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_of_systemd_turns_nobody_away_between_two_servers() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = socket.local_addr().expect("it is bound");
    let start = || async {
        // The socket as descriptor 3, and the process's own number, as systemd hands them over.
        let handing_over =
            "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";
        let mut command = tokio::process::Command::new("sh");
        quiet(&mut command);
        command
            .args(["-c", handing_over, env!("CARGO_BIN_EXE_syncline-server")])
            .args(["--data", text(dir.path())])
            .stdin(std::process::Stdio::from(std::os::fd::OwnedFd::from(
                socket.try_clone().expect("a descriptor"),
            )));
        Process::start(command).await
    };
    let first = start().await;
    assert_eq!(first.at(), at, "the default address was not used");
    let mut client = greet(at, 1, 1).await;
    write(&mut client, 1).await;
    first.signal("-TERM");
    farewell(&mut client).await;
    assert_eq!(first.end().await.0, Some(0));
    // Nobody is there, and nobody is refused.
    let early = within(TcpStream::connect(at)).await.expect("the socket is open");
    let second = start().await;
    let mut early = Client::over(early).await;
    early.hello("eve", 9).await;
    let mut client = greet(at, 1, 2).await;
    client
        .say(Subscribe { address: address(1), cursor: None, outbox: session(1), write: false })
        .await;
    let settled = loop {
        if let ServerFrame::Subscribed(opened) = client.hear().await {
            break opened.settled;
        }
    };
    assert_eq!(settled, 1);
    second.signal("-TERM");
    assert_eq!(second.end().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_that_it_is_ready_well_and_stopping() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    let watched = "export WATCHDOG_USEC=200000 WATCHDOG_PID=$$; exec \"$0\" \"$@\"";
    let mut command = tokio::process::Command::new("sh");
    quiet(&mut command);
    command
        .args(["-c", watched, env!("CARGO_BIN_EXE_syncline-server")])
        .args(["--listen", "127.0.0.1:0", "--data", text(&dir.path().join("data"))])
        .env("NOTIFY_SOCKET", &path);
    let server = Process::start(command).await;
    let mut buffer = [0; 256];
    let mut hear = async |wanted: &str| {
        within(async {
            loop {
                let length = systemd.recv(&mut buffer).await.expect("a message");
                let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if said.lines().any(|line| line == wanted) {
                    return;
                }
            }
        })
        .await;
    };
    hear("READY=1").await;
    hear("WATCHDOG=1").await;
    hear("WATCHDOG=1").await;
    server.signal("-TERM");
    hear("STOPPING=1").await;
    assert_eq!(server.end().await.0, Some(0));
}

/// Comes and goes in one of several ways, in good order or not.
async fn come_and_go(at: SocketAddr, n: u16) {
    match n % 8 {
        0 => drop(within(TcpStream::connect(at)).await.expect("it listens")),
        1 => drop(Client::open(at).await),
        2 => drop(greet(at, n, 1).await),
        3 => {
            let mut client = greet(at, n, 1).await;
            let (address, outbox) = (address(n), session(n));
            client.say(Subscribe { address, cursor: None, outbox, write: true }).await;
            let opened = client.hear().await;
            assert!(matches!(opened, ServerFrame::Subscribed(_)), "{opened:?}");
        }
        4 => {
            let mut client = greet(at, n, 1).await;
            // With others, and each with people of its own.
            let space = if n % 16 == 4 { "town".to_owned() } else { format!("room{n}") };
            client.say(Enter { space, visible: true, sayings: vec![] }).await;
            let entered = client.hear().await;
            assert!(matches!(entered, ServerFrame::Entered(_)), "{entered:?}");
        }
        5 => {
            let mut client = greet(at, n, 1).await;
            let (address, asked_by) = (format!("town/talk{n}/stream"), None);
            client.say(WriteStream { address, create: true, asked_by, since: 0 }).await;
            let opened = client.hear().await;
            assert!(matches!(opened, ServerFrame::StreamOpened(_)), "{opened:?}");
        }
        6 => {
            let mut client = greet(at, n, 1).await;
            client.say(FollowFeed { space: format!("room{n}"), newest: 10 }).await;
            let feed = client.hear().await;
            assert!(matches!(feed, ServerFrame::Feed(_)), "{feed:?}");
        }
        _ => {
            let mut client = greet(at, n, 1).await;
            client.leave().await;
        }
    }
}

/// What the hub holds of those who are there.
const HELD: [&str; 14] = [
    "connections",
    "sessions",
    "users",
    "documents",
    "followers",
    "leases",
    "spaces",
    "present_users",
    "present_devices",
    "streams",
    "stream_followers",
    "stream_text_bytes",
    "feeds",
    "feed_followers",
];

/// Somebody who is there in every way, until each number says so.
async fn somebody_is_seen(at: SocketAddr) {
    let mut client = greet(at, u16::MAX, 1).await;
    let (address, outbox) = (address(0), session(0));
    client.say(Subscribe { address, cursor: None, outbox, write: true }).await;
    client.say(Enter { space: "town".to_owned(), visible: true, sayings: vec![] }).await;
    client.say(FollowFeed { space: "town".to_owned(), newest: 10 }).await;
    let (address, asked_by) = ("town/talk/stream".to_owned(), None);
    client.say(WriteStream { address, create: true, asked_by, since: 0 }).await;
    let stream = loop {
        if let ServerFrame::StreamOpened(opened) = client.hear().await {
            break opened.stream;
        }
    };
    client.say(AppendStream { stream, offset: 0, text: "word".to_owned() }).await;
    until(at, |m| HELD.iter().all(|name| m[&format!("syncline_{name}")] > 0.0)).await;
    client.leave().await;
}

async fn a_thousand_times(at: SocketAddr) {
    let mut lanes = JoinSet::new();
    for lane in 0..10 {
        lanes.spawn(async move {
            for n in (lane..1_000).step_by(10) {
                come_and_go(at, n).await;
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.expect("everybody is served");
    }
    until(at, |m| {
        // What the last sockets said may still wait for the hub.
        m["syncline_sockets"] == 1.0
            && m["syncline_queue_messages"] + m["syncline_queue_answers"] == 0.0
            && HELD.iter().all(|name| m[&format!("syncline_{name}")] == 0.0)
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_come_and_go_leave_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    // All along nobody reads the log, of which there is more than a pipe holds.
    let soon = ["--lease-grace-ms", "50", "--evict-idle-ms", "50"];
    let soon = [soon, ["--presence-grace-ms", "50", "--space-idle-ms", "50"]].concat();
    let arguments = ["--listen", "127.0.0.1:0", "--data", text(dir.path())];
    let server = Process::start(command(&[&arguments[..], &soon].concat())).await;
    let at = server.at();
    somebody_is_seen(at).await;
    // The first thousand make the threads and buffers that stay.
    a_thousand_times(at).await;
    let before = metrics(at).await;
    for _ in 0..2 {
        a_thousand_times(at).await;
    }
    let after = metrics(at).await;
    let grown = after["process_resident_memory_bytes"] - before["process_resident_memory_bytes"];
    assert!(grown < f64::from(16 << 20), "{grown} bytes stay");
    assert!(after["process_open_fds"] <= before["process_open_fds"] + 2.0, "files stay open");
    server.signal("-TERM");
    let (code, log) = server.end().await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn half_a_setting_is_named_and_a_trace_collector_needs_its_feature() {
    let dir = tempfile::tempdir().expect("a directory");
    let fails = async |arguments: &[&str], named: &str| {
        let data = ["--listen", "127.0.0.1:0", "--data", text(dir.path())];
        let mut command = command(&[&data[..], arguments].concat());
        let output = within(command.output()).await.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(named), "{said}");
    };
    fails(&["--tls-cert", "chain.pem"], "tls_key").await;
    fails(&["--tls-key", "key.pem"], "tls_cert").await;
    fails(&["--tls-cert", "none.pem", "--tls-key", "none.pem"], "none.pem").await;
    fails(&["--returns-per-second", "0"], "returns_per_second").await;
    if !cfg!(feature = "otlp") {
        fails(&["--otlp-endpoint", "http://127.0.0.1:4318"], "feature otlp").await;
    }
}

#[tokio::test]
async fn no_token_reaches_the_log_however_much_is_logged_and_no_name_writes_a_line() {
    let dir = tempfile::tempdir().expect("a directory");
    for format in ["text", "json"] {
        let data = dir.path().join(format);
        let arguments = ["--listen", "127.0.0.1:0", "--data", text(&data)];
        let logs = ["--log", "trace", "--log-format", format];
        let mut command = command(&[&arguments[..], &logs].concat());
        let path = dir.path().join(format!("{format}.log"));
        // More than a pipe holds.
        command.stderr(std::fs::File::create(&path).expect("a file"));
        let server = Process::start(command).await;
        let at = server.at();
        let mut client = Client::open(at).await;
        let hostile = "eve\nERROR forged\r\u{1b}[31m";
        let hello = Hello {
            session: [1; 16],
            generation: 1,
            user: hostile.to_owned(),
            token: Some("verysecret".to_owned()),
            agent: hostile.to_owned(),
        };
        client.say(hello).await;
        assert!(matches!(client.hear().await, ServerFrame::Error(_)));
        drop(client);
        let mut client = Client::open(at).await;
        client.hello("ada", 2).await;
        let (outbox, write) = ([9; 16], false);
        client.say(Subscribe { address: hostile.to_owned(), cursor: None, outbox, write }).await;
        assert!(matches!(client.hear().await, ServerFrame::Error(_)));
        let answer = page(at, "/v1/sync?token=verysecret").await;
        assert_eq!(status(&answer), 400, "{answer}");
        server.signal("-TERM");
        assert_eq!(server.end().await.0, Some(0));
        let log = std::fs::read_to_string(&path).expect("the log");
        assert!(log.contains("bad_address"));
        for secret in ["verysecret", "76657279736563726574"] {
            let leak = log.lines().find(|line| line.contains(secret));
            assert_eq!(leak, None, "the token is in the log");
        }
        for line in log.lines() {
            assert!(!line.trim_start().starts_with("ERROR forged"), "{line}");
            assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
        }
    }
}
