//! The routes: the sync WebSocket, health, readiness, and a page for people. Knows no frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use syncline_engine::hub::ConnectionId;
use syncline_engine::wire::SUBPROTOCOL;
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::Instrument;

use crate::addresses::Addresses;
use crate::health::{Health, Trouble};
use crate::http::{self, Http};
use crate::listener::Peer;
use crate::mailbox::Mailbox;
use crate::metrics::{Meters, TurnedAway};
use crate::{socket, trace};

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
    /// What each address may do.
    pub(crate) addresses: Arc<Addresses>,
    /// How long a request's body may take to arrive.
    pub(crate) request_wait: Duration,
    /// Bounds a write that makes no progress.
    pub(crate) write_stall: Duration,
    /// The number of the next connection.
    pub(crate) next_connection: AtomicU64,
    /// Held by every connection, so that an end can wait for all.
    pub(crate) alive: mpsc::WeakSender<()>,
    /// What the routes beside the WebSocket share.
    pub(crate) http: Http,
    /// What the hub's loop says of itself.
    pub(crate) health: Arc<Health>,
    /// What is counted of connections.
    pub(crate) meters: Arc<Meters>,
}

impl App {
    fn trouble(&self) -> Option<Trouble> {
        let full = self.seats.available_permits() == 0;
        let full = full.then_some(Trouble::Overloaded("no room for another connection"));
        self.health.trouble(*self.closing.borrow()).or(full)
    }
}

/// The routes around `app`.
pub(crate) fn router(app: Arc<App>) -> Router {
    let cors = app.http.origins().cors();
    let guard = axum::middleware::from_fn_with_state(Arc::clone(&app), http::guard);
    Router::new()
        .merge(http::routes(&app))
        .route("/", routing::get(page))
        .route(SYNC_PATH, routing::any(sync))
        .with_state(Arc::clone(&app))
        .merge(health(app))
        .layer(cors)
        .layer(guard)
}

/// The pages that say how the server is, for whoever sends it work.
pub(crate) fn health(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", routing::get(async || "ok\n"))
        .route("/readyz", routing::get(ready))
        .with_state(app)
}

async fn page() -> String {
    format!(
        "This is a Syncline sync server ({version}).\n\n\
         Clients connect by WebSocket to {SYNC_PATH} with the subprotocol {SUBPROTOCOL}, for example:\n\n\
         \tsyncline --server http://HOST:PORT --user ada post town/square \"Hello\"\n\n\
         Where WebSocket is blocked, and for pages and programs without a client, there is HTTP: \
         /v1/openapi.json describes it.\n\n\
         /healthz answers 200 while the process lives, /readyz while it takes work.\n",
        version = env!("CARGO_PKG_VERSION"),
    )
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.trouble() {
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
        None => "ready\n".into_response(),
    }
}

async fn sync(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let upgrade = socket::configure(upgrade).protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        let help = format!("this server speaks the WebSocket subprotocol {SUBPROTOCOL}\n");
        return (StatusCode::BAD_REQUEST, help).into_response();
    }
    let place = match app.addresses.seat(app.addresses.origin(peer.address.ip(), &headers)) {
        Ok(place) => place,
        Err(wait) => {
            app.meters.turned_away(TurnedAway::Address);
            return too_many(wait);
        }
    };
    let seat = Arc::clone(&app.seats).try_acquire_owned();
    let (Ok(seat), Some(alive), false) = (seat, app.alive.upgrade(), *app.closing.borrow()) else {
        app.meters.turned_away(TurnedAway::Full);
        let refusal = (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")]);
        return (refusal.0, refusal.1, "no room for another connection\n").into_response();
    };
    let connection = ConnectionId(app.next_connection.fetch_add(1, Ordering::Relaxed));
    let span = trace::connection(connection, &peer);
    upgrade.on_upgrade(move |socket| {
        let serving = async move {
            let (mailbox, stall) = (app.mailbox.clone(), app.write_stall);
            socket::serve(socket, connection, peer, &place, mailbox, &app.meters, stall).await;
            drop((place, seat, alive));
        };
        serving.instrument(span)
    })
}

fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs_f64().ceil();
    let help = "this address has, or opens, as many connections as it may\n";
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())], help)
        .into_response()
}
