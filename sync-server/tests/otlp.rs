//! The way of a change as a collector sees it: the frame that brought it, and the commit that follows
//! from that. A small collector on loopback stands for a large one elsewhere.
#![cfg(feature = "otlp")]

mod support;

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{Blob, Push, Subscribe};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use support::{Client, Process, command};

/// A span, as far as the test looks.
#[derive(Debug, Default)]
struct Span {
    id: Vec<u8>,
    name: String,
    attributes: BTreeMap<String, String>,
    links: Vec<Vec<u8>>,
}

/// The fields of a protobuf message: numbers, and what is length-delimited.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                varint(&mut message);
                continue;
            }
            1 => 8,
            5 => 4,
            2 => usize::try_from(varint(&mut message)).expect("a length"),
            other => panic!("there is no wire type {other}"),
        };
        let (field, rest) = message.split_at(length);
        found.push((key >> 3, field));
        message = rest;
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().expect("a number ends");
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn of(message: &[u8], number: u64) -> Vec<&[u8]> {
    fields(message).into_iter().filter(|(n, _)| *n == number).map(|(_, field)| field).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The spans of an `ExportTraceServiceRequest`.
fn spans(request: &[u8]) -> Vec<Span> {
    let scopes = of(request, 1).into_iter().flat_map(|resource| of(resource, 2));
    let spans = scopes.flat_map(|scope| of(scope, 2));
    spans
        .map(|span| {
            let mut read = Span::default();
            for (number, field) in fields(span) {
                match number {
                    2 => read.id = field.to_vec(),
                    5 => read.name = text(field),
                    9 => {
                        let key = text(of(field, 1)[0]);
                        let value = of(field, 2).into_iter().flat_map(|value| of(value, 1));
                        read.attributes.insert(key, value.map(text).collect());
                    }
                    13 => read.links.extend(of(field, 2).into_iter().map(<[u8]>::to_vec)),
                    _ => {}
                }
            }
            read
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_sees_the_frame_and_the_commit_that_follows_from_it() {
    let (collected, mut requests) = mpsc::unbounded_channel();
    let collector = Router::new().route(
        "/v1/traces",
        post(async move |body: Bytes| {
            collected.send(body).expect("the test listens");
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    let collecting = tokio::spawn(async move { axum::serve(listener, collector).await });

    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().to_str().expect("a path in UTF-8");
    let arguments = ["--listen", "127.0.0.1:0", "--data", data, "--otlp-endpoint", &endpoint];
    let server = Process::start(command(&arguments)).await;
    let mut client = Client::open(server.at()).await;
    client.hello("ada", 1).await;
    let (outbox, hostile) = ([9; 16], "town\nforged".to_owned());
    client.say(Subscribe { address: hostile, cursor: None, outbox, write: false }).await;
    assert!(matches!(client.hear().await, ServerFrame::Error(_)));
    let address = "town/square/json".to_owned();
    client.say(Subscribe { address, cursor: None, outbox, write: true }).await;
    let ServerFrame::Subscribed(opened) = client.hear().await else { panic!("not opened") };
    let lease = opened.lease.expect("a lease was asked for");
    let change = Blob(support::change("town/square/json", lease.actor).into());
    client.say(Push { handle: opened.handle, first: 1, changes: vec![change] }).await;
    while !matches!(client.hear().await, ServerFrame::Ack(_)) {}
    client.leave().await;
    server.signal("-TERM");
    // What is left is sent before the end.
    let (code, log) = server.end().await;
    assert_eq!(code, Some(0), "{log}");
    collecting.abort();
    let mut seen = Vec::new();
    while let Ok(request) = requests.try_recv() {
        seen.extend(spans(&request));
    }
    let of_kind = |kind: &str| {
        let of_kind = |span: &&Span| span.attributes.get("kind").is_some_and(|k| k == kind);
        seen.iter().filter(of_kind).collect::<Vec<_>>()
    };
    let [push] = of_kind("Push")[..] else { panic!("{seen:#?}") };
    assert_eq!(push.name, "frame");
    let commit = seen.iter().find(|span| span.name == "commit").expect("there is a commit");
    assert!(commit.links.contains(&push.id), "{commit:?} {push:?}");
    assert!(seen.iter().any(|span| span.name == "connection"));
    let addresses = of_kind("Subscribe").into_iter().filter_map(|s| s.attributes.get("address"));
    let addresses: Vec<&str> = addresses.map(String::as_str).collect();
    assert_eq!(addresses, [r#""town\nforged""#, r#""town/square/json""#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_holds_up_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().to_str().expect("a path in UTF-8");
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", nobody.local_addr().expect("it is bound"));
    drop(nobody);
    let arguments = ["--listen", "127.0.0.1:0", "--data", data, "--otlp-endpoint", &endpoint];
    let server = Process::start(command(&arguments)).await;
    let mut client = Client::open(server.at()).await;
    client.hello("ada", 1).await;
    client.leave().await;
    server.signal("-TERM");
    assert_eq!(server.end().await.0, Some(0));
}
