//! What an idle connection costs the sync server in memory, against a bare axum WebSocket server that
//! keeps nothing but the socket, in the same run. Each server is a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::get;
use futures_util::StreamExt;
use serde::Deserialize;
use syncline_engine::wire::{ClientFrame, SUBPROTOCOL, frame::Ping};
use syncline_tests::measure::{row, size, table, times};
use syncline_tests::process::ServerProcess;
use syncline_tests::raw::RawClient;

/// Sockets that are opened at the same time.
const AT_ONCE: usize = 64;

#[tokio::main]
async fn main() {
    if std::env::args().any(|argument| argument == "--serve-bare") {
        return serve_bare().await;
    }
    let count = size(5_000, 50);
    table(
        &format!("Memory of a server with {count} idle connections"),
        &["server", "at the start", "connected", "each", "of the bare one", "all gone"],
    );
    let bare = Bare::start();
    let small = measure(&bare.url(true), count, Greets::No, || resident(bare.id())).await;
    small.print("axum, small buffers", small.each());
    let default = Bare::start();
    let figures = measure(&default.url(false), count, Greets::No, || resident(default.id())).await;
    figures.print("axum, its default buffers", small.each());
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &["--log", "warn"]).await;
    let resident = || server.resident_bytes().expect("the system tells");
    let figures = measure(&server.url(), count, Greets::Yes, resident).await;
    figures.print("syncline-server", small.each());
}

#[derive(Clone, Copy)]
enum Greets {
    Yes,
    No,
}

struct Figures {
    count: usize,
    before: u64,
    connected: u64,
    gone: u64,
}

impl Figures {
    fn each(&self) -> f64 {
        self.connected.saturating_sub(self.before) as f64 / self.count as f64
    }

    fn print(&self, name: &str, bare: f64) {
        let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let each = format!("{:.1} KB", self.each() / 1e3);
        let ratio = times(self.each() / bare.max(1.0));
        row(&[&name, &mb(self.before), &mb(self.connected), &each, &ratio, &mb(self.gone)]);
    }
}

/// Opens connections, has each send and hear something once, and lets them be.
async fn measure(url: &str, count: usize, greets: Greets, resident: impl Fn() -> u64) -> Figures {
    let before = resident();
    let open = |number: usize| async move {
        match greets {
            Greets::Yes => {
                let mut session = [0x5c; 16];
                session[..8].copy_from_slice(&(number as u64).to_be_bytes());
                RawClient::hello(url, &format!("user-{number}"), session, 1).await
            }
            Greets::No => {
                let mut client = RawClient::connect(url).await;
                let ping = ClientFrame::from(Ping { nonce: 1 }).encode().expect("it fits");
                assert!(client.say_bytes(ping.to_vec()).await, "the socket takes it");
                client
            }
        }
    };
    let clients: Vec<RawClient> =
        futures_util::stream::iter(0..count).map(open).buffer_unordered(AT_ONCE).collect().await;
    let connected = settled(&resident).await;
    drop(clients);
    let gone = settled(&resident).await;
    Figures { count, before, connected, gone }
}

/// The memory once it does not change any more: allocators give back with a delay.
async fn settled(resident: &impl Fn() -> u64) -> u64 {
    let mut last = resident();
    for _ in 0..size(15, 1) {
        tokio::time::sleep(Duration::from_millis(size(1_000, 10) as u64)).await;
        let now = resident();
        if now.abs_diff(last) < 64 << 10 {
            return now;
        }
        last = now;
    }
    last
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) << 10
}

/// A bare server in a process of its own.
struct Bare {
    child: Child,
    authority: String,
}

impl Bare {
    fn start() -> Self {
        let own = std::env::current_exe().expect("a path");
        let mut command = Command::new(own);
        let mut child =
            command.arg("--serve-bare").stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("text");
        Self { child, authority: line.trim().to_owned() }
    }

    fn url(&self, small: bool) -> String {
        format!("ws://{}/?small={small}", self.authority)
    }

    fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Deserialize)]
struct Buffers {
    small: bool,
}

/// Reads what comes and forgets it.
async fn serve_bare() {
    let accept = async |Query(buffers): Query<Buffers>, upgrade: WebSocketUpgrade| {
        let upgrade = upgrade.protocols([SUBPROTOCOL]);
        let upgrade = match buffers.small {
            true => upgrade.read_buffer_size(4_096).write_buffer_size(0),
            false => upgrade,
        };
        upgrade
            .on_upgrade(|mut socket| async move { while let Some(Ok(_)) = socket.recv().await {} })
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("an address"));
    axum::serve(listener, Router::new().route("/", get(accept))).await.expect("it serves");
}
