//! The sync protocol where nothing but plain HTTP gets through.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::Value;
use syncline_client::engine::document::View;
use syncline_client::{Client, Document, Transport};
use syncline_engine::wire::frame::{Hello, Ping};
use syncline_engine::wire::{ClientFrame, ServerFrame};
use syncline_tests::process::{run_json, syncline};
use syncline_tests::raw::hello;
use syncline_tests::web::{Events, Web};
use tempfile::tempdir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::{command, comment, create, server};
use crate::support::{
    agree, builder, comment as comment_of, confirmed, fresh_id, join, shows, within,
};

async fn over(url: &str, user: &str, transport: Transport) -> Client {
    let opening = builder(url, user).transport(transport).in_memory().open();
    within(opening).await.expect("it opens")
}

async fn comments(client: &Client) -> Document {
    let address = "town/square/comments".parse().expect("an address");
    within(client.document(&address)).await.expect("it opens")
}

fn counts(view: &View, count: usize) -> bool {
    matches!(view, View::Comments(comments) if comments.live() == count)
}

#[tokio::test]
async fn a_client_without_websocket_and_one_with_it_converge_sse1_sse2_sse3() {
    let dir = tempdir().expect("a directory");
    let (mut server, web) = server(dir.path(), &[]).await;
    let plain = over(&server.url(), "ada", Transport::Sse).await;
    let socket = over(&server.url(), "bob", Transport::WebSocket).await;
    let (hers, his) = (comments(&plain).await, comments(&socket).await);
    for number in 0..20 {
        let text = format!("Number {number}");
        confirmed(hers.command(comment_of("ada", &text)).expect("it can be done")).await;
        confirmed(his.command(comment_of("bob", &text)).expect("it can be done")).await;
    }
    command(web, "town/square/comments", "eve", &comment("By HTTP")).await.fine();
    shows(&hers, |view| counts(view, 41)).await;
    agree(&hers, &his).await;

    server.kill().await;
    let pending = hers.command(comment_of("ada", "While it is gone")).expect("it can be done");
    let _server = server.restart().await;
    confirmed(pending).await;
    shows(&his, |view| counts(view, 42)).await;
    agree(&hers, &his).await;
    within(plain.close()).await;
    within(socket.close()).await;
}

/// What lets requests through to a server but no WebSocket. Answers with its port.
async fn without_websocket(to: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                    if from.read_buf(&mut head).await? == 0 {
                        return Ok(());
                    }
                }
                if String::from_utf8_lossy(&head).to_lowercase().contains("upgrade: websocket") {
                    let no =
                        b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                    return from.write_all(no).await;
                }
                let mut server = TcpStream::connect(("127.0.0.1", to)).await?;
                server.write_all(&head).await?;
                copy_bidirectional(&mut from, &mut server).await.map(|_| ())
            });
        }
    });
    port
}

#[tokio::test]
async fn a_client_finds_the_way_by_itself_where_websocket_is_blocked() {
    let dir = tempdir().expect("a directory");
    let (server, web) = server(dir.path(), &[]).await;
    let url = format!("http://127.0.0.1:{}", without_websocket(server.port()).await);
    let blocked = join(&url, "ada").await;
    let free = join(&server.url(), "bob").await;
    let (hers, his) = (comments(&blocked).await, comments(&free).await);
    confirmed(hers.command(comment_of("ada", "Through")).expect("it can be done")).await;
    shows(&his, |view| counts(view, 1)).await;
    agree(&hers, &his).await;

    command(web, "town/square/post", "ada", &create("Hello", "")).await.fine();
    let data = dir.path().join("eve");
    let mut saying = syncline(&["comment", "town/square", "Hello", "--user", "eve", "--json"]);
    saying.args(["--transport", "sse", "--server", &url, "--data"]).arg(&data);
    let said = run_json(saying).await;
    assert_eq!(said["state"], "confirmed", "{said}");
    shows(&his, |view| counts(view, 2)).await;
}

/// A connection by hand.
struct Link {
    web: Web,
    id: String,
}

impl Link {
    async fn open(web: Web) -> (Self, Events) {
        let opened = web.ask(Method::POST, "/v1/connections", &[], "").await;
        assert_eq!(opened.status, 201);
        let id = opened.json()["id"].as_str().expect("an id").to_owned();
        assert_eq!(id.len(), 32);
        let link = Self { web, id };
        let events = web.events(&link.frames(), &[]).await;
        (link, events)
    }

    fn frames(&self) -> String {
        format!("/v1/connections/{}/frames", self.id)
    }

    async fn say(&self, number: u64, frames: Vec<ClientFrame>) -> (u16, Value) {
        let mut body = Vec::new();
        for frame in frames {
            let frame = frame.encode().expect("it fits");
            body.extend(u32::try_from(frame.len()).expect("it fits").to_be_bytes());
            body.extend(frame);
        }
        let path = format!("{}?number={number}", self.frames());
        let answer = self.web.ask(Method::POST, &path, &[], body).await;
        let said = if answer.body.is_empty() { Value::Null } else { answer.json() };
        (answer.status.as_u16(), said["code"].clone())
    }
}

async fn hear(events: &mut Events) -> ServerFrame {
    let event = events.until("message").await;
    let frame = STANDARD.decode(&event.data).expect("base64");
    ServerFrame::decode(&frame).expect("a frame")
}

#[tokio::test]
async fn what_was_sent_twice_is_taken_once_and_a_gap_is_refused_sse3() {
    let dir = tempdir().expect("a directory");
    let (_server, web) = server(dir.path(), &[]).await;
    let (link, mut events) = Link::open(web).await;
    let greet = || vec![ClientFrame::from(Hello { ..hello("ada", fresh_id(), 1) })];
    assert_eq!(link.say(2, greet()).await, (409, "number_gap".into()));
    assert_eq!(link.say(1, greet()).await, (204, Value::Null));
    // A second `Hello` would end the connection.
    assert_eq!(link.say(1, greet()).await, (204, Value::Null));
    let ping = |nonce| ClientFrame::from(Ping { nonce });
    assert_eq!(link.say(2, vec![ping(1), ping(2)]).await, (204, Value::Null));
    assert!(matches!(hear(&mut events).await, ServerFrame::Welcome(_)));
    for nonce in [1, 2] {
        let pong = hear(&mut events).await;
        assert!(matches!(&pong, ServerFrame::Pong(pong) if pong.nonce == nonce), "{pong:?}");
    }
    let second = web.get(&link.frames(), &[]).await;
    assert_eq!(second.problem(), (409, "connection_read".to_owned()));
    let path = format!("{}?number=3", link.frames());
    let cut = web.ask(Method::POST, &path, &[], &b"\0\0\0\x09ab"[..]).await;
    assert_eq!(cut.problem(), (400, "bad_frame".to_owned()));
    let other = Link { web, id: "0".repeat(32) };
    assert_eq!(other.say(1, greet()).await, (404, "connection_unknown".into()));
    // Nonsense ends it as it does on a socket (FR3, CL1).
    let nonsense = web.ask(Method::POST, &path, &[], &b"\0\0\0\x02\x01\xff"[..]).await;
    assert_eq!(nonsense.status, 204);
    assert_eq!(events.until("close").await.json()["code"], 4600);
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_connection_ends_with_its_reader_sse2() {
    let dir = tempdir().expect("a directory");
    let (_server, web) = server(dir.path(), &["--connections-max", "1"]).await;
    let (link, events) = Link::open(web).await;
    let full = web.ask(Method::POST, "/v1/connections", &[], "").await;
    assert_eq!(full.problem(), (503, "overloaded".to_owned()));
    assert!(full.header("retry-after").is_some());
    drop(events);
    within(async {
        while link.say(1, vec![]).await.0 != 404 {
            tokio::task::yield_now().await;
        }
        while web.ask(Method::POST, "/v1/connections", &[], "").await.status != 201 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
