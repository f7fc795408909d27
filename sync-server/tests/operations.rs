//! What the people who run the server see of it: metrics that Prometheus reads, the dashboard's feed,
//! readiness; who else sees them; and what becomes of those who connect and then do nothing.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "what is not waited for fails the test, whatever it is"
)]

mod support;

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{Blob, Ping, Push, RequestLease, WireLease};
use syncline_server::Server;
use syncline_server::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::{Client, config, metrics, page, page_from, status, until, within};

const DOC: &str = "town/square/json";

/// A change under a lease that was just granted on the empty document.
fn change(lease: &WireLease) -> Blob {
    Blob(support::change(DOC, lease.actor).into())
}

/// One writes, one reads, and both leave in good order.
async fn a_conversation(at: SocketAddr) {
    let mut reader = Client::open(at).await;
    reader.hello("bob", 2).await;
    reader.subscribe(DOC, false).await;
    let mut writer = Client::open(at).await;
    writer.hello("ada", 1).await;
    let handle = writer.subscribe(DOC, false).await;
    writer.say(RequestLease { handle }).await;
    let ServerFrame::Leased(leased) = writer.hear().await else { panic!("no lease") };
    writer.say(Push { handle, first: 1, changes: vec![change(&leased.lease)] }).await;
    let (mut acked, mut changed) = (false, false);
    while !(acked && changed) {
        match writer.hear().await {
            ServerFrame::Ack(_) => acked = true,
            ServerFrame::Changes(_) => changed = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(reader.hear().await, ServerFrame::Changes(_)));
    // What does not follow is refused, with a code.
    writer.say(Push { handle, first: 7, changes: vec![change(&leased.lease)] }).await;
    assert!(matches!(writer.hear().await, ServerFrame::Reject(_)));
    until(at, |metrics| {
        metrics["syncline_connections"] == 2.0 && metrics["syncline_followers"] == 2.0
    })
    .await;
    writer.leave().await;
    reader.leave().await;
}

fn fleeting() -> Config {
    let mut config = config();
    config.hub.grace = Duration::from_millis(50);
    config.hub.document_idle = Duration::from_millis(50);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_counted_and_all_gauges_return_to_zero() {
    let server = Server::start(fleeting()).await.expect("it starts");
    let at = server.local_addr();
    a_conversation(at).await;
    let gone = [
        "connections",
        "sessions",
        "users",
        "documents",
        "followers",
        "leases",
        "pending_changes",
        "pending_bytes",
        "followers_behind",
        "cursor_lag_changes",
        "outgoing_bytes",
        "queue_messages",
        "queue_bytes",
        "queue_answers",
    ];
    until(at, |m| gone.iter().all(|name| m[&format!("syncline_{name}")] == 0.0)).await;
    // Only the one that asks.
    until(at, |m| m["syncline_sockets"] == 1.0).await;
    let seen = metrics(at).await;
    for (name, value) in [
        ("syncline_accepted_changes_total", 1.0),
        ("syncline_accepted_operations_total", 6.0),
        ("syncline_frames_received_total{type=Push}", 2.0),
        ("syncline_frames_received_total{type=Hello}", 2.0),
        ("syncline_frames_sent_total{type=Welcome}", 2.0),
        ("syncline_frames_sent_total{type=Changes}", 2.0),
        ("syncline_refusals_total{code=number_gap}", 1.0),
        ("syncline_refusals_total{code=forbidden}", 0.0),
        ("syncline_closes_total{by=hub,code=normal}", 2.0),
        ("syncline_work_total{outcome=done,work=open_gate}", 1.0),
        ("syncline_evictions_total", 1.0),
        ("syncline_commit_duration_seconds", 1.0),
        ("syncline_commit_changes", 1.0),
        ("syncline_delivery_duration_seconds", 1.0),
    ] {
        assert_eq!(seen.get(name).copied(), Some(value), "{name}: {seen:#?}");
    }
    assert!(seen["syncline_bytes_received_total"] > 0.0);
    assert!(seen["syncline_hub_busy_seconds_total"] > 0.0);
    if cfg!(target_os = "linux") {
        assert!(seen["process_resident_memory_bytes"] > 0.0);
        assert!(seen["process_open_fds"] > 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_follows_the_conventions_and_promtool_takes_it_where_it_is() {
    let server = Server::start(fleeting()).await.expect("it starts");
    a_conversation(server.local_addr()).await;
    let answer = page(server.local_addr(), "/metrics").await;
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        assert!(name.starts_with("syncline_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        for unit in ["_ms", "_millis", "_kb", "_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(unit), "{name}");
        }
        assert!(text.contains(&format!("# HELP {name} ")), "{name} does not say what it is");
    }
    let mut promtool = tokio::process::Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let Ok(mut promtool) = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        eprintln!("promtool is not installed; the parser above is the only judge");
        return;
    };
    let mut stdin = promtool.stdin.take().expect("it is piped");
    stdin.write_all(text.as_bytes()).await.expect("it is read");
    drop(stdin);
    let judged = within(promtool.wait_with_output()).await.expect("it ends");
    let said = String::from_utf8_lossy(&judged.stderr) + String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success(), "{said}");
}

#[tokio::test]
async fn only_who_is_near_sees_the_pages_where_clients_connect() {
    const PAGES: [&str; 5] = [
        "/metrics",
        "/dashboard",
        "/dashboard/page.js",
        "/dashboard/page.css",
        "/dashboard/events",
    ];
    let server = Server::start(config()).await.expect("it starts");
    let at = server.local_addr();
    for path in &PAGES[..4] {
        let answer = page_from("127.0.0.3", at, path, "host: localhost\r\n").await;
        assert_eq!(status(&answer), 200, "{path}: {answer}");
    }
    let strangers = [
        "host: localhost\r\nx-forwarded-for: 203.0.113.9\r\n",
        "host: localhost\r\nforwarded: for=203.0.113.9\r\n",
        "host: rebound.example\r\n",
        "",
    ];
    for path in PAGES {
        for headers in strangers {
            let answer = page_from("127.0.0.1", at, path, headers).await;
            assert!(matches!(status(&answer), 400 | 404), "{path} {headers}: {answer}");
        }
    }
    drop(server);

    // Where loopback is not near, it is as far away as anybody.
    let seen_from = vec!["127.0.0.2".parse().expect("an address")];
    let server = Server::start(Config { seen_from, ..config() }).await.expect("it starts");
    let at = server.local_addr();
    for path in PAGES {
        assert_eq!(status(&page(at, path).await), 404, "{path}");
    }
    let answer = page_from("127.0.0.2", at, "/metrics", "host: 127.0.0.1\r\n").await;
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn with_a_listener_of_their_own_the_pages_are_there_and_nowhere_else() {
    let metrics_listen = Some("127.0.0.1:0".parse().expect("an address"));
    let server = Server::start(Config { metrics_listen, ..config() }).await.expect("it starts");
    let (public, internal) = (server.local_addr(), server.metrics_addr());
    assert_ne!(public, internal);
    for path in ["/metrics", "/dashboard"] {
        assert_eq!(status(&page(public, path).await), 404, "{path}");
        assert_eq!(status(&page(internal, path).await), 200, "{path}");
    }
    assert_eq!(status(&page(internal, "/v1/sync").await), 404);
    for at in [public, internal] {
        assert_eq!(status(&page(at, "/readyz").await), 200);
        assert_eq!(status(&page(at, "/healthz").await), 200);
    }
}

/// The next event of a stream: its name and data.
async fn event(stream: &mut TcpStream, buffer: &mut String) -> (String, String) {
    loop {
        if let Some((event, rest)) = buffer.split_once("\n\n") {
            let field = |name: &str| {
                let line = event.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_default().trim().to_owned()
            };
            let found = (field("event:"), field("data:"));
            *buffer = rest.to_owned();
            if !found.0.is_empty() {
                return found;
            }
            continue;
        }
        let mut bytes = [0; 4_096];
        let read = within(stream.read(&mut bytes)).await.expect("it goes on");
        assert!(read > 0, "the stream ended");
        // Chunk sizes are lines of their own, which are no fields.
        buffer.push_str(&String::from_utf8_lossy(&bytes[..read]));
        *buffer = buffer.replace("\r\n", "\n");
    }
}

async fn watch(at: SocketAddr) -> TcpStream {
    let mut stream = within(TcpStream::connect(at)).await.expect("it listens");
    let request = "GET /dashboard/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("taken");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_is_fed_with_what_was_and_then_each_second() {
    let server = Server::start(config()).await.expect("it starts");
    let at = server.local_addr();
    let (mut stream, mut buffer) = (watch(at).await, String::new());
    let (name, history) = event(&mut stream, &mut buffer).await;
    assert_eq!(name, "history");
    let history: serde_json::Value = serde_json::from_str(&history).expect("JSON");
    assert!(history.is_array());
    let mut client = Client::open(at).await;
    client.hello("ada", 1).await;
    loop {
        let (name, sample) = event(&mut stream, &mut buffer).await;
        assert_eq!(name, "sample");
        let sample: serde_json::Value = serde_json::from_str(&sample).expect("JSON");
        assert!(sample["at"].as_u64().is_some_and(|at| at > 1_600_000_000_000));
        if sample["connections"] == 1 {
            break;
        }
    }
    // So many may look, and they leave no trace.
    let mut others = Vec::new();
    loop {
        let mut other = watch(at).await;
        let mut head = [0; 12];
        within(other.read_exact(&mut head)).await.expect("an answer");
        if head.ends_with(b"503") {
            break;
        }
        others.push(other);
        assert!(others.len() < 100, "as many as like may look");
    }
    assert_eq!(others.len(), 15);
    drop((stream, others));
    within(async {
        loop {
            let mut again = watch(at).await;
            let mut head = [0; 12];
            within(again.read_exact(&mut head)).await.expect("an answer");
            if head.ends_with(b"200") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn no_room_is_not_ready_and_an_end_is_told_to_the_last() {
    let metrics_listen = Some("127.0.0.1:0".parse().expect("an address"));
    let full = Config { connections_max: 1, metrics_listen, ..config() };
    let server = Server::start(full).await.expect("it starts");
    let internal = server.metrics_addr();
    let mut client = Client::open(server.local_addr()).await;
    client.hello("ada", 1).await;
    let answer = page(internal, "/readyz").await;
    assert_eq!(status(&answer), 503);
    assert!(answer.ends_with("overloaded: no room for another connection\n"), "{answer}");
    client.leave().await;
    within(async { while status(&page(internal, "/readyz").await) != 200 {} }).await;
}

/// Whether the server hangs up on a socket that said this and then nothing.
async fn is_hung_up_on(at: SocketAddr, said: &[u8]) {
    let mut stream = within(TcpStream::connect(at)).await.expect("it listens");
    stream.write_all(said).await.expect("taken");
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = within(stream.read_to_end(&mut rest)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_halfway_is_hung_up_on_and_leaves_nothing() {
    let mut config = config();
    config.request_wait = Duration::from_millis(200);
    config.hub.greeting = Duration::from_millis(200);
    config.hub.heartbeat = Duration::from_millis(200);
    let server = Server::start(config).await.expect("it starts");
    let at = server.local_addr();
    let upgrade = "GET /v1/sync HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
                   upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   sec-websocket-protocol: syncline.v1\r\n";
    let whole = format!("{upgrade}\r\n");
    for said in [
        "",
        "GET /healthz HT",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
        upgrade,
        &whole,
    ] {
        is_hung_up_on(at, said.as_bytes()).await;
    }
    // One that greets and falls silent, too.
    let mut idle = Client::open(at).await;
    idle.hello("ada", 1).await;
    let goodbye = idle.hear().await;
    assert!(matches!(goodbye, ServerFrame::Goodbye(_)), "{goodbye:?}");
    drop(idle);
    until(at, |m| m["syncline_sockets"] == 1.0 && m["syncline_connections"] == 0.0).await;
    assert_eq!(metrics(at).await["syncline_closes_total{by=hub,code=heartbeat_timeout}"], 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_trickle_in_are_not_waited_for() {
    let request_wait = Duration::from_millis(300);
    let server = Server::start(Config { request_wait, ..config() }).await.expect("it starts");
    let at = server.local_addr();
    let commands = "POST /v1/documents/town/square/likes/commands?user=ada HTTP/1.1";
    let head = format!("{commands}\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    let page = "GET /v1/documents/town/square/likes?user=ada HTTP/1.1\r\nhost: localhost\r\n";
    for (head, answer) in [
        (format!("{head}content-length: 100000\r\n\r\n"), 408),
        (format!("{head}transfer-encoding: chunked\r\n\r\n186a0\r\n"), 408),
        // Nobody wants this body: the answer does not wait for it.
        (format!("{page}content-length: 100000\r\n\r\n"), 200),
    ] {
        let stream = within(TcpStream::connect(at)).await.expect("it listens");
        let (mut heard, mut said) = stream.into_split();
        said.write_all(head.as_bytes()).await.expect("taken");
        // A byte now and then, for as long as anybody takes it.
        let trickle = tokio::spawn(async move {
            while said.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let mut all = Vec::new();
        // A reset is an end as well, and it comes whoever goes on to send.
        let _ = within(heard.read_to_end(&mut all)).await;
        within(trickle).await.expect("it is hung up on");
        let all = String::from_utf8_lossy(&all);
        assert_eq!(status(&all), answer, "{all}");
    }
    until(at, |m| m["syncline_sockets"] == 1.0 && m["syncline_connections"] == 0.0).await;
}

#[tokio::test]
async fn heads_beyond_their_size_are_refused() {
    let server = Server::start(config()).await.expect("it starts");
    let at = server.local_addr();
    let long = format!("host: localhost\r\nx-long: {}\r\n", "a".repeat(64 << 10));
    let many: String = (0..1_000).map(|n| format!("x-{n}: a\r\n")).collect();
    for headers in [long, format!("host: localhost\r\n{many}")] {
        let mut stream = within(TcpStream::connect(at)).await.expect("it listens");
        let request = format!("GET /healthz HTTP/1.1\r\n{headers}\r\n");
        // The server may hang up before it has taken all of it.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || status(&answer) == 431, "{answer}");
    }
    assert_eq!(status(&page(at, "/healthz").await), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_no_page_does_not_stay() {
    let write_stall = Duration::from_millis(150);
    let server = Server::start(Config { write_stall, ..config() }).await.expect("it starts");
    let at = server.local_addr();
    let mut greedy = within(TcpStream::connect(at)).await.expect("it listens");
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(64);
    // Asks and asks, and reads nothing, until the server takes no more and then hangs up.
    let greedily = async { while greedy.write_all(request.as_bytes()).await.is_ok() {} };
    within(greedily).await;
    until(at, |m| m["syncline_sockets"] == 1.0).await;
    let mut client = Client::open(at).await;
    client.hello("ada", 1).await;
    client.say(Ping { nonce: 1 }).await;
    assert!(matches!(client.hear().await, ServerFrame::Pong(_)));
}
