//! The routes: the sync WebSocket, health, readiness, and a page for people. Knows no frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use syncline_engine::hub::ConnectionId;
use syncline_engine::wire::SUBPROTOCOL;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::http::{self, Http};
use crate::listener::Peer;
use crate::mailbox::Mailbox;
use crate::socket;

/// Where the sync WebSocket is.
pub(crate) const SYNC_PATH: &str = "/v1/sync";

/// What the routes share.
#[derive(Debug)]
pub(crate) struct App {
    /// Where connections hand in what they hear.
    pub(crate) mailbox: Mailbox,
    /// Turns true when no new connections are taken.
    pub(crate) closing: watch::Receiver<bool>,
    /// One permit per connection that may be open.
    pub(crate) seats: Arc<Semaphore>,
    /// Bounds a write that makes no progress.
    pub(crate) write_stall: Duration,
    /// The number of the next connection.
    pub(crate) next_connection: AtomicU64,
    /// Held by every connection, so that an end can wait for all.
    pub(crate) alive: mpsc::WeakSender<()>,
    /// What the routes beside the WebSocket share.
    pub(crate) http: Http,
}

/// The routes around `app`.
pub(crate) fn router(app: Arc<App>) -> Router {
    let cors = app.http.origins().cors();
    let guard = axum::middleware::from_fn_with_state(Arc::clone(&app), http::guard);
    Router::new()
        .merge(http::routes())
        .route("/", routing::get(page))
        .route("/healthz", routing::get(async || "ok\n"))
        .route("/readyz", routing::get(ready))
        .route(SYNC_PATH, routing::any(sync))
        .layer(cors)
        .layer(guard)
        .with_state(app)
}

async fn page() -> String {
    format!(
        "This is a Syncline sync server ({version}).\n\n\
         Clients connect by WebSocket to {SYNC_PATH} with the subprotocol {SUBPROTOCOL}, for example:\n\n\
         \tsyncline --server http://HOST:PORT --user ada post town/square \"Hello\"\n\n\
         Where WebSocket is blocked, and for pages and programs without a client, there is HTTP: \
         /v1/openapi.json describes it.\n\n\
         /healthz answers 200 while the process lives, /readyz while it takes connections.\n",
        version = env!("CARGO_PKG_VERSION"),
    )
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    if *app.closing.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response()
    } else {
        "ready\n".into_response()
    }
}

async fn sync(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let upgrade = socket::configure(upgrade).protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        let help = format!("this server speaks the WebSocket subprotocol {SUBPROTOCOL}\n");
        return (StatusCode::BAD_REQUEST, help).into_response();
    }
    let seat = Arc::clone(&app.seats).try_acquire_owned();
    let (Ok(seat), Some(alive), false) = (seat, app.alive.upgrade(), *app.closing.borrow()) else {
        let refusal = (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")]);
        return (refusal.0, refusal.1, "no room for another connection\n").into_response();
    };
    let connection = ConnectionId(app.next_connection.fetch_add(1, Ordering::Relaxed));
    upgrade.on_upgrade(move |socket| async move {
        socket::serve(socket, connection, peer, app.mailbox.clone(), app.write_stall).await;
        drop((seat, alive));
    })
}
