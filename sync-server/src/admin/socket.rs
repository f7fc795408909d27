//! The admin socket: a Unix domain socket in the data directory of a running server, for its owner only.
//! A task goes in as JSON (`POST /v1/task`), and comes back as lines of JSON: how far it is, and how it
//! ended. There is no other way to it than through the file system.

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use futures_util::stream;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Listen, Progress, Report, Said, Task, perform_beside};
use crate::orders::Orders;
use crate::store::SledStore;

/// The socket's name in the data directory.
pub const NAME: &str = "admin.sock";
/// Where tasks are posted.
const PATH: &str = "/v1/task";
/// Tasks that may be under way at the same time.
const TASKS_MAX: usize = 8;
/// Lines that wait for a client that does not read them.
const LINES_MAX: usize = 64;

/// A line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Message {
    Progress(Progress),
    Line(String),
    Report(Report),
    Error(String),
}

impl Message {
    fn line(&self) -> Bytes {
        // Strings and numbers always can be written.
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text.into()
    }
}

/// A server could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody answers there.
    #[error("no running server answers at {}: {source}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The answer broke off.
    #[error("the server's answer broke off: {0}")]
    Broken(String),
    /// The server could not do it.
    #[error("{0}")]
    Failed(String),
    /// Whoever listens had enough.
    #[error("stopped")]
    Stopped,
}

/// Binds the socket of a data directory that this process has locked.
pub(crate) fn bind(dir: &Path) -> io::Result<UnixListener> {
    let (path, fresh) = (dir.join(NAME), dir.join("admin.sock.new"));
    // Whoever left it is gone: this process has the lock on the directory.
    for stale in [&path, &fresh] {
        match std::fs::remove_file(stale) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    // Nobody finds it before it is only ours.
    std::fs::rename(&fresh, &path)?;
    Ok(listener)
}

/// Serves the socket until `closing` turns true. Tasks that are under way then are stopped.
pub(crate) async fn serve(
    listener: UnixListener,
    store: Arc<SledStore>,
    orders: Arc<Orders>,
    mut closing: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let router =
        Router::new().route(PATH, routing::post(task)).with_state((Arc::clone(&store), orders));
    loop {
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < TASKS_MAX => match accepted {
                Ok((stream, _)) => {
                    let service = TowerToHyperService::new(router.clone());
                    connections.spawn(async move {
                        let serving = http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service);
                        if let Err(error) = serving.await {
                            tracing::debug!(%error, "an admin connection broke");
                        }
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "the admin socket takes no more connections");
                    break;
                }
            },
        }
    }
    let path = store.path().join(NAME);
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::debug!(%error, "the admin socket is not removed");
    }
}

async fn task(
    State((store, orders)): State<(Arc<SledStore>, Arc<Orders>)>,
    body: Bytes,
) -> Response {
    let task: Task = match serde_json::from_slice(&body) {
        Ok(task) => task,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    tracing::info!(?task, "admin task begins");
    let (lines, spoken) = mpsc::channel::<Bytes>(LINES_MAX);
    tokio::task::spawn_blocking(move || {
        let mut listen = |said| {
            let message = match said {
                Said::Progress(progress) => Message::Progress(progress),
                Said::Line(line) => Message::Line(line),
            };
            // Nobody reads any more: the client is gone or the server ends.
            match lines.blocking_send(message.line()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        let done = perform_beside(&store, &task, Some(&orders), &mut listen);
        drop(store);
        let last = match done {
            Ok(report) => Message::Report(report),
            Err(error) => {
                tracing::warn!(?task, %error, "admin task failed");
                Message::Error(error.to_string())
            }
        };
        let _ = lines.blocking_send(last.line());
    });
    let lines = stream::unfold(spoken, async |mut spoken| {
        let line = spoken.recv().await?;
        Some((Ok::<_, Infallible>(line), spoken))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(Box::pin(lines)))
        .into_response()
}

/// Has the server that runs on a data directory do a task.
///
/// # Errors
/// [`AskError`] if no server answers, or it could not do it.
pub fn ask(dir: &Path, task: &Task, listen: &mut Listen<'_>) -> Result<Report, AskError> {
    let path = dir.join(NAME);
    let unreachable = |source| AskError::Unreachable { path: path.clone(), source };
    let mut socket = BlockingStream::connect(&path).map_err(unreachable)?;
    let body = serde_json::to_vec(task).map_err(|error| AskError::Broken(error.to_string()))?;
    let broken = |error: io::Error| AskError::Broken(error.to_string());
    // The first version of HTTP ends an answer by closing, without chunks.
    let head =
        format!("POST {PATH} HTTP/1.0\r\nHost: admin\r\nContent-Length: {}\r\n\r\n", body.len());
    socket.write_all(&[head.as_bytes(), &body].concat()).map_err(broken)?;
    let mut lines = BufReader::new(socket).lines();
    let status = lines.next().transpose().map_err(broken)?.unwrap_or_default();
    let is_ok = status.split(' ').nth(1) == Some("200");
    for line in lines.by_ref() {
        if line.map_err(broken)?.is_empty() {
            break;
        }
    }
    for line in lines {
        let line = line.map_err(broken)?;
        if !is_ok {
            return Err(AskError::Failed(line));
        }
        let message = serde_json::from_str(&line).map_err(|e| AskError::Broken(e.to_string()))?;
        let said = match message {
            Message::Progress(progress) => Said::Progress(progress),
            Message::Line(line) => Said::Line(line),
            Message::Report(report) => return Ok(report),
            Message::Error(why) => return Err(AskError::Failed(why)),
        };
        if listen(said).is_break() {
            return Err(AskError::Stopped);
        }
    }
    Err(AskError::Broken("the server ended".to_owned()))
}
