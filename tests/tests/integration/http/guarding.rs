//! Who may not, does not: by HTTP as little as by WebSocket.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Method;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use syncline_engine::wire::SUBPROTOCOL;
use syncline_tests::web::Web;
use tempfile::{TempDir, tempdir};

use super::{command, comment, server};

const SECRET: &str = "b2xkIHNlY3JldCB0aGF0IGlzIHVzZWQgaW4gYSB0ZXN0";
const POST: &str = "/v1/documents/town/square/post";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn bearer(secret: &str, claims: &serde_json::Value) -> String {
    let key = EncodingKey::from_base64_secret(secret).expect("a secret");
    format!("Bearer {}", encode(&Header::default(), claims, &key).expect("it signs"))
}

fn keys(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("keys.json");
    let keys = json!({"keys": [{"kty": "oct", "k": SECRET}]});
    std::fs::write(&path, keys.to_string()).expect("it can be written");
    path
}

#[tokio::test]
async fn only_a_right_token_is_let_in_and_only_where_it_may_hs3() {
    let dir = tempdir().expect("a directory");
    let keys = keys(&dir);
    let settings = ["--auth-keys", keys.to_str().expect("a path"), "--owners", "ada"];
    let (_server, web) = server(dir.path(), &settings).await;
    let token = |user: &str, expires: u64| bearer(SECRET, &json!({"sub": user, "exp": expires}));
    let (ada, eve) = (token("ada", now() + 600), token("eve", now() + 600));
    let forged = bearer(&SECRET.replace('b', "c"), &json!({"sub": "ada", "exp": now() + 600}));
    let expired = token("ada", now() - 60);
    for (given, code) in [
        (vec![], "unauthenticated"),
        (vec![("authorization", "Bearer nonsense")], "unauthenticated"),
        (vec![("syncline-user", "ada")], "unauthenticated"),
        (vec![("authorization", forged.as_str())], "unauthenticated"),
        (vec![("authorization", eve.as_str()), ("syncline-user", "ada")], "unauthenticated"),
        (vec![("authorization", expired.as_str())], "token_expired"),
    ] {
        let answer = web.get(POST, &given).await;
        assert_eq!(answer.problem(), (401, code.to_owned()), "{given:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        let events = web.get(&format!("{POST}/events"), &given).await;
        assert_eq!(events.problem(), (401, code.to_owned()), "{given:?}");
    }
    let private = json!({"json": {"put": {"path": ["private"], "value": true}}});
    let rules = "/v1/documents/town/rules/json/commands";
    web.post(rules, &[("authorization", &ada)], &private).await.fine();
    assert_eq!(web.get(POST, &[("authorization", &ada)]).await.fine()["seq"], 0);
    let answers = [
        web.get(POST, &[("authorization", &eve)]).await,
        web.get(&format!("{POST}/events"), &[("authorization", &eve)]).await,
        web.get("/v1/spaces/town/events?documents=square/post", &[("authorization", &eve)]).await,
        web.get("/v1/spaces/town/events", &[("authorization", &eve)]).await,
        web.post(&format!("{POST}/commands"), &[("authorization", &eve)], &comment("x")).await,
    ];
    for answer in answers {
        assert_eq!(answer.problem(), (403, "forbidden".to_owned()));
    }
}

#[tokio::test]
async fn paths_that_are_no_addresses_lead_nowhere() {
    let dir = tempdir().expect("a directory");
    let (_server, web) = server(dir.path(), &[]).await;
    for (path, code) in [
        ("/v1/documents/town/..%2f..%2frules/json?user=ada", "bad_address"),
        ("/v1/documents/town/%2e%2e/json?user=ada", "bad_address"),
        ("/v1/documents/town/a%00b/json?user=ada", "bad_address"),
        ("/v1/documents/town/%FF/json?user=ada", "bad_address"),
        ("/v1/documents/town/square/nonsense?user=ada", "bad_address"),
        ("/v1/documents//square/post?user=ada", "bad_address"),
        ("/v1/documents/town/square/post?user=ada&nonsense=1", "bad_request"),
        ("/v1/documents/town/square/post?user=ada&at=-1", "bad_request"),
        ("/v1/documents/town/square/post?user=ada&heads=zz", "bad_request"),
        ("/v1/spaces/to%2fwn/events?user=ada", "bad_address"),
        ("/v1/spaces/town/events?user=ada&limit=0", "bad_request"),
        ("/v1/spaces/town/events?user=ada&limit=501", "bad_request"),
        ("/v1/spaces/town/events?user=ada&limit=5&documents=a/post", "bad_request"),
        ("/v1/spaces/town/events?user=ada&documents=../rules/json", "bad_address"),
    ] {
        assert_eq!(web.get(path, &[]).await.problem(), (400, code.to_owned()), "{path}");
    }
    let long = format!("/v1/documents/town/{}/post?user=ada", "a".repeat(65));
    assert_eq!(web.get(&long, &[]).await.problem().0, 400);
    for path in ["/v1/documents/town/../../../etc/passwd", "/v1/documents/town", "/v1/x"] {
        assert_eq!(web.get(path, &[]).await.status, 404, "{path}");
    }
    let deleted = web.ask(Method::DELETE, POST, &[], "").await;
    assert_eq!(deleted.problem(), (405, "method_not_allowed".to_owned()));
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_there() {
    let dir = tempdir().expect("a directory");
    let (server, web) = server(dir.path(), &[]).await;
    let huge = format!(
        "GET {POST}?user=ada HTTP/1.1\r\nhost: 127.0.0.1\r\nx: {}\r\n\r\n",
        "a".repeat(64 << 10)
    );
    let heard = web.say(huge.as_bytes()).await;
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 431"), "{heard}");
    // Nothing of the body is sent, and it is not waited for.
    let announced = format!(
        "POST {POST}/commands?user=ada HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: 999999999999\r\n\r\n"
    );
    let heard = web.say(announced.as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 413"), "{heard}");
    let body = comment(&"a".repeat(300 << 10));
    let large = command(web, "town/square/comments", "ada", &body).await;
    assert_eq!(large.problem(), (413, "body_too_large".to_owned()));
    assert_eq!(Web::new(server.port()).get("/healthz", &[]).await.status, 200);
}

async fn upgrade(web: Web, headers: &[(&str, &str)]) -> u16 {
    let mut all = vec![
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", SUBPROTOCOL),
    ];
    all.extend(headers);
    let mut request = "GET /v1/sync HTTP/1.1\r\n".to_owned();
    for (name, value) in all {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let heard = web.first_line(format!("{request}\r\n").as_bytes()).await;
    heard.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

#[tokio::test]
async fn pages_of_other_origins_need_leave_to_upgrade_too_sse4() {
    let dir = tempdir().expect("a directory");
    let keys = keys(&dir);
    let keys = keys.to_str().expect("a path");
    let settings = ["--auth-keys", keys, "--cors-origins", "https://app.example"];
    let (_server, web) = server(dir.path(), &settings).await;
    let host = ("host", "sync.example");
    assert_eq!(upgrade(web, &[host]).await, 101, "not a page");
    assert_eq!(upgrade(web, &[host, ("origin", "https://app.example")]).await, 101);
    assert_eq!(upgrade(web, &[host, ("origin", "https://sync.example")]).await, 101);
    assert_eq!(upgrade(web, &[host, ("origin", "https://evil.example")]).await, 403);
    let evil = ("origin", "https://evil.example");
    for answer in
        [web.get(POST, &[evil]).await, web.ask(Method::POST, "/v1/connections", &[evil], "").await]
    {
        assert_eq!(answer.problem(), (403, "origin_refused".to_owned()));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let page = ("origin", "https://app.example");
    let asked = [page, ("access-control-request-method", "POST")];
    let asked = [&asked[..], &[("access-control-request-headers", "authorization")]].concat();
    let leave = web.ask(Method::OPTIONS, &format!("{POST}/commands"), &asked, "").await;
    assert_eq!(leave.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(leave.header("access-control-allow-methods").is_some_and(|all| all.contains("POST")));
    let read = web.get(POST, &[page]).await;
    assert_eq!(read.header("access-control-allow-origin"), Some("https://app.example"));
}

#[tokio::test]
async fn where_names_are_believed_a_page_that_points_its_name_here_gets_nothing() {
    let dir = tempdir().expect("a directory");
    let (_server, web) = server(dir.path(), &[]).await;
    let path = format!("{POST}?user=ada");
    let rebound = web.get(&path, &[("host", "evil.example:4400")]).await;
    assert_eq!(rebound.problem(), (403, "origin_refused".to_owned()));
    let local = web.get(&path, &[("origin", "http://localhost:3000")]).await;
    assert_eq!(local.header("access-control-allow-origin"), Some("http://localhost:3000"));
}
