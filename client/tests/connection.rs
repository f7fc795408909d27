//! What a client says to a server and does with its answers, seen from a scripted server.

#![allow(clippy::unwrap_used, reason = "what a test can not do without fails it")]

use std::future::Future;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use syncline_client::engine::codes::Code;
use syncline_client::engine::limits::FRAME_BYTES_MAX;
use syncline_client::engine::session::{Config, ConnectionStatus};
use syncline_client::engine::wire::frame::{Hello, Welcome};
use syncline_client::engine::wire::{ClientFrame, CloseCode, SUBPROTOCOL, ServerFrame};
use syncline_client::{Builder, Client, Transport};
#[cfg(feature = "tls")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("nothing happened")
}

/// One connection, from the server's side.
struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = within(listener.accept()).await.unwrap();
        #[expect(clippy::result_large_err, reason = "the signature that tungstenite calls")]
        let answer = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/prefix/v1/sync");
            assert_eq!(request.headers()["Sec-WebSocket-Protocol"], SUBPROTOCOL);
            let protocol = HeaderValue::from_static(SUBPROTOCOL);
            response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
            Ok(response)
        };
        Self(within(tokio_tungstenite::accept_hdr_async(stream, answer)).await.unwrap())
    }

    async fn hears(&mut self) -> Option<ClientFrame> {
        match within(self.0.next()).await {
            Some(Ok(Message::Binary(message))) => Some(ClientFrame::decode(&message).unwrap()),
            _ => None,
        }
    }

    async fn hears_hello(&mut self) -> Hello {
        match self.hears().await {
            Some(ClientFrame::Hello(hello)) => hello,
            other => panic!("expected a hello, not {other:?}"),
        }
    }

    async fn says(&mut self, frame: impl Into<ServerFrame>) {
        let message = frame.into().encode().unwrap();
        within(self.0.send(Message::Binary(message))).await.unwrap();
    }

    async fn welcomes(&mut self) {
        self.says(Welcome { term: 1, heartbeat_ms: 30_000, now_ms: 0, documents_max: 100 }).await;
    }

    async fn closes(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        within(self.0.close(Some(frame))).await.unwrap();
        // Until the other side has answered.
        while let Some(Ok(_)) = within(self.0.next()).await {}
    }
}

/// Comes back only when it is told to: the wait before the next attempt is drawn from an hour.
fn patient(url: String) -> Builder {
    let hour = Duration::from_secs(3_600);
    let config = Config { backoff_min: hour, backoff_max: hour, ..Config::default() };
    Client::builder(url).user("alice").in_memory().config(config)
}

async fn listen() -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prefix", listener.local_addr().unwrap());
    let client = patient(url).token("secret").agent("test/1");
    (listener, within(client.open()).await.unwrap())
}

async fn reaches(client: &Client, goal: impl FnMut(&ConnectionStatus) -> bool) -> ConnectionStatus {
    within(client.connection().wait_for(goal)).await.unwrap().clone()
}

fn waits(status: &ConnectionStatus) -> bool {
    matches!(status, ConnectionStatus::Reconnecting { .. })
}

#[tokio::test]
async fn a_client_says_who_it_is_and_leaves_with_bye_and_a_close_frame() {
    let (listener, client) = listen().await;
    let mut peer = Peer::accept(&listener).await;
    let hello = peer.hears_hello().await;
    assert_eq!((hello.user.as_str(), hello.agent.as_str()), ("alice", "test/1"));
    assert_eq!(hello.token.as_deref(), Some("secret"));
    peer.welcomes().await;
    reaches(&client, |status| *status == ConnectionStatus::Connected).await;
    let leaving = tokio::spawn(client.close());
    assert!(matches!(peer.hears().await, Some(ClientFrame::Bye(_))));
    assert!(matches!(within(peer.0.next()).await, Some(Ok(Message::Close(Some(_))))));
    while let Some(Ok(_)) = within(peer.0.next()).await {}
    within(leaving).await.unwrap();
}

#[tokio::test]
async fn after_a_lost_connection_the_client_comes_back_under_a_higher_generation() {
    let (listener, client) = listen().await;
    let mut peer = Peer::accept(&listener).await;
    let first = peer.hears_hello().await;
    drop(peer);
    reaches(&client, waits).await;
    client.reconnect();
    let mut peer = Peer::accept(&listener).await;
    let second = peer.hears_hello().await;
    assert_eq!(first.session, second.session);
    assert!(second.generation > first.generation);
}

#[tokio::test]
async fn a_close_code_says_whether_to_come_back() {
    let (listener, client) = listen().await;
    let mut peer = Peer::accept(&listener).await;
    peer.hears_hello().await;
    peer.closes(CloseCode::of(Code::ShuttingDown).0, "back soon").await;
    reaches(&client, waits).await;
    client.reconnect();
    let mut peer = Peer::accept(&listener).await;
    peer.hears_hello().await;
    peer.closes(CloseCode::of(Code::Unauthenticated).0, "the token is no longer valid").await;
    let failed = reaches(&client, |s| matches!(s, ConnectionStatus::Failed { .. })).await;
    let ConnectionStatus::Failed { code, message } = failed else { unreachable!() };
    assert_eq!(code, Code::Unauthenticated);
    assert_eq!(message, "the token is no longer valid");
    let problem = within(client.synced()).await.unwrap_err();
    assert_eq!(problem.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn text_and_messages_larger_than_a_frame_end_the_connection() {
    let (listener, client) = listen().await;
    for strange in [Message::text("hello"), Message::binary(vec![0; FRAME_BYTES_MAX + 1])] {
        let mut peer = Peer::accept(&listener).await;
        peer.hears_hello().await;
        // The client may hang up in the middle of it.
        let _ = within(peer.0.send(strange)).await;
        reaches(&client, waits).await;
        client.reconnect();
    }
}

#[tokio::test]
async fn a_server_of_something_else_is_tried_again_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    // By any way, it would be asked for events as well.
    let client = within(patient(url).transport(Transport::WebSocket).open()).await.unwrap();
    let (stream, _) = within(listener.accept()).await.unwrap();
    #[expect(clippy::result_large_err, reason = "the signature that tungstenite calls")]
    let refuse = |_: &Request, _: Response| {
        let mut response = ErrorResponse::new(None);
        *response.status_mut() = StatusCode::NOT_FOUND;
        Err(response)
    };
    assert!(within(tokio_tungstenite::accept_hdr_async(stream, refuse)).await.is_err());
    reaches(&client, waits).await;
    client.reconnect();
    // This one does not speak the subprotocol.
    let (stream, _) = within(listener.accept()).await.unwrap();
    let _peer = within(tokio_tungstenite::accept_async(stream)).await.unwrap();
    reaches(&client, waits).await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_in_the_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let client = within(patient(url).token("secret").open()).await.unwrap();
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let mut record = [0; 3];
    within(stream.read_exact(&mut record)).await.unwrap();
    assert_eq!(record[..2], [22, 3], "a TLS handshake comes first");
    within(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await.unwrap();
    reaches(&client, waits).await;
}

#[tokio::test]
async fn going_offline_closes_the_connection_and_an_unanswered_close_is_not_waited_for() {
    let (listener, client) = listen().await;
    let mut peer = Peer::accept(&listener).await;
    peer.hears_hello().await;
    peer.welcomes().await;
    reaches(&client, |status| *status == ConnectionStatus::Connected).await;
    client.set_online(false);
    reaches(&client, |status| *status == ConnectionStatus::Idle).await;
    // The peer reads nothing and answers nothing; the client ends all the same.
    within(client.close()).await;
    drop(peer);
}

#[tokio::test]
async fn a_client_that_is_aborted_says_nothing_more() {
    let (listener, client) = listen().await;
    let mut peer = Peer::accept(&listener).await;
    peer.hears_hello().await;
    peer.welcomes().await;
    reaches(&client, |status| *status == ConnectionStatus::Connected).await;
    within(client.abort()).await;
    let last = within(peer.0.next()).await;
    assert!(!matches!(last, Some(Ok(_))), "{last:?}");
}
