//! Who does not prove who he is gets nowhere, and who proves it in time notices nothing.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use syncline_client::engine::codes::Code;
use syncline_client::engine::document::{Counter, View};
use syncline_client::engine::session::{ConnectionStatus, Notice};
use syncline_engine::wire::frame::{Hello, Renew};
use syncline_engine::wire::{CloseCode, ServerFrame};
use syncline_server::config::{Config, Storage};
use syncline_server::{Server, StartError};
use syncline_tests::raw::hello;
use tempfile::tempdir;

use crate::support::{
    RawClient, ServerProcess, builder, confirmed, fresh_id, shows, synced, within,
};

const HOUR: u64 = 3_600;
/// Long enough to get in on a slow machine, in seconds.
const SOON: u64 = 8;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A key of the server, and what it signs.
struct Signer {
    id: &'static str,
    secret: &'static str,
}

const OLD: Signer = Signer { id: "old", secret: "b2xkIHNlY3JldCB0aGF0IGlzIHVzZWQgaW4gYSB0ZXN0" };
const NEW: Signer = Signer { id: "new", secret: "bmV3IHNlY3JldCB0aGF0IGlzIHVzZWQgaW4gYSB0ZXN0" };

impl Signer {
    fn sign(&self, user: &str, expires: u64) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::default() };
        let key = EncodingKey::from_base64_secret(self.secret).expect("a secret");
        encode(&header, &json!({"sub": user, "exp": expires}), &key).expect("it signs")
    }
}

fn write_keys(path: &Path, signers: &[Signer]) {
    let keys: Vec<_> =
        signers.iter().map(|s| json!({"kty": "oct", "kid": s.id, "k": s.secret})).collect();
    std::fs::write(path, json!({"keys": keys}).to_string()).expect("it can be written");
}

async fn server(dir: &Path) -> (ServerProcess, PathBuf) {
    let keys = dir.join("keys.json");
    write_keys(&keys, &[OLD]);
    let file = keys.to_str().expect("a plain path").to_owned();
    (ServerProcess::start(&dir.join("server"), &["--auth-keys", &file]).await, keys)
}

/// Says hello with a token and answers what comes: the code of the close, if that.
async fn greet(url: &str, user: &str, token: Option<String>) -> (RawClient, Option<u16>) {
    let mut raw = RawClient::connect(url).await;
    raw.say(Hello { token, ..hello(user, fresh_id(), 1) }).await;
    loop {
        match raw.hear_or_close().await {
            Ok(ServerFrame::TokenExpires(_)) => return (raw, None),
            Ok(_) => {}
            Err(close) => return (raw, Some(close.expect("it says why"))),
        }
    }
}

#[tokio::test]
async fn only_a_token_of_ones_own_opens_a_connection_hs3() {
    let dir = tempdir().expect("a directory");
    let (server, _) = server(dir.path()).await;
    let refused = Some(CloseCode::of(Code::Unauthenticated).0);
    let forged = Signer { id: "old", secret: NEW.secret };
    for (token, close) in [
        (None, refused),
        (Some("nonsense".to_owned()), refused),
        (Some(OLD.sign("eve", now() + HOUR)), refused),
        (Some(forged.sign("ada", now() + HOUR)), refused),
        (Some(OLD.sign("ada", now() - 1)), Some(CloseCode::of(Code::TokenExpired).0)),
        (Some(OLD.sign("ada", now() + HOUR)), None),
    ] {
        let (_raw, got) = greet(&server.url(), "ada", token.clone()).await;
        assert_eq!(got, close, "{token:?}");
    }
}

#[tokio::test]
async fn a_token_is_renewed_on_the_open_connection_and_runs_out_if_it_is_not_hs5() {
    let dir = tempdir().expect("a directory");
    let (server, _) = server(dir.path()).await;
    let (mut raw, _) = greet(&server.url(), "ada", Some(OLD.sign("ada", now() + SOON))).await;
    let (mut late, _) = greet(&server.url(), "bob", Some(OLD.sign("bob", now() + SOON))).await;
    raw.say(Renew { token: OLD.sign("ada", now() + HOUR) }).await;
    let ServerFrame::TokenExpires(expires) = raw.hear().await else {
        panic!("the new token is not taken");
    };
    assert!(expires.in_ms > 60_000);
    let close = loop {
        if let Err(close) = late.hear_or_close().await {
            break close;
        }
    };
    assert_eq!(close, Some(CloseCode::of(Code::TokenExpired).0));
    raw.say(Renew { token: OLD.sign("eve", now() + HOUR) }).await;
    let close = loop {
        if let Err(close) = raw.hear_or_close().await {
            break close;
        }
    };
    assert_eq!(close, Some(CloseCode::of(Code::Unauthenticated).0), "she was ada before");
}

#[tokio::test]
async fn a_client_whose_token_ran_out_goes_on_with_a_new_one_and_loses_nothing_hs5() {
    let dir = tempdir().expect("a directory");
    let (server, _) = server(dir.path()).await;
    let token = OLD.sign("ada", now() + SOON);
    let ada = builder(&server.url(), "ada").token(token).in_memory();
    let ada = within(ada.open()).await.expect("it opens");
    let mut notices = ada.notices();
    let likes = within(ada.likes("town", "square")).await.expect("it opens");
    confirmed(likes.add(Counter::Shares, 1).expect("taken")).await;
    within(async {
        while !matches!(notices.next().await, Some(Notice::TokenWanted)) {}
        let mut connection = ada.connection();
        let ran_out = |status: &ConnectionStatus| {
            matches!(status, ConnectionStatus::Failed { code: Code::TokenExpired, .. })
        };
        connection.wait_for(ran_out).await.expect("the client runs");
    })
    .await;
    let offline = likes.add(Counter::Shares, 1).expect("taken");
    ada.set_token(OLD.sign("ada", now() + HOUR));
    confirmed(offline).await;
    synced(&ada).await;
    shows(
        likes.document(),
        |view| matches!(view, View::Likes(view) if view.counter(Counter::Shares) == 2),
    )
    .await;
}

#[tokio::test]
async fn keys_are_changed_while_the_server_runs() {
    let dir = tempdir().expect("a directory");
    let (server, keys) = server(dir.path()).await;
    let (mut open, _) = greet(&server.url(), "ada", Some(OLD.sign("ada", now() + HOUR))).await;
    write_keys(&keys, &[NEW]);
    within(async {
        // The file is looked at once in a while.
        while greet(&server.url(), "bob", Some(NEW.sign("bob", now() + HOUR))).await.1.is_some() {}
    })
    .await;
    let (_raw, close) = greet(&server.url(), "ada", Some(OLD.sign("ada", now() + HOUR))).await;
    assert_eq!(close, Some(CloseCode::of(Code::Unauthenticated).0));
    // Who is in stays in until the token runs out, or renews it under the new key.
    open.say(Renew { token: NEW.sign("ada", now() + HOUR) }).await;
    assert!(matches!(open.hear().await, ServerFrame::TokenExpires(_)));
}

#[tokio::test]
async fn without_keys_a_server_does_not_listen_where_others_reach_it() {
    let listen = "0.0.0.0:0".parse().expect("an address");
    let config = Config { listen, storage: Storage::Memory, ..Config::default() };
    let refused = Server::start(config).await.expect_err("it refuses");
    assert!(matches!(refused, StartError::NamesInPublic(_)));
    assert!(refused.to_string().contains("--auth-keys"), "{refused}");
}
