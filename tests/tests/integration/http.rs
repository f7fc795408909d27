//! HTTP beside WebSocket, by a plain client: what is read, written and followed there is what everyone
//! else sees, and nobody gets further than on a socket.

mod following;
mod guarding;
mod pace;
mod reading;
mod readme;
mod transport;
mod writing;

use std::path::Path;

use serde_json::{Value, json};
use syncline_tests::web::{Answer, Web};

use crate::support::ServerProcess;

/// A server on a directory, and the way to it.
async fn server(dir: &Path, settings: &[&str]) -> (ServerProcess, Web) {
    let server = ServerProcess::start(&dir.join("server"), settings).await;
    let web = Web::new(server.port());
    (server, web)
}

/// Has a user carry out a command on a document.
async fn command(web: Web, document: &str, user: &str, command: &Value) -> Answer {
    let path = format!("/v1/documents/{document}/commands?user={user}");
    web.post(&path, &[], command).await
}

/// Reads a document as a user.
async fn read(web: Web, document: &str, user: &str) -> Value {
    web.get(&format!("/v1/documents/{document}?user={user}"), &[]).await.fine()
}

fn create(title: &str, body: &str) -> Value {
    json!({"post": {"create": {"title": title, "body": body}}})
}

fn comment(body: &str) -> Value {
    json!({"comments": {"add": {"body": body}}})
}
