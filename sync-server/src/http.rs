//! HTTP beside the WebSocket: documents as JSON, commands, server-sent events, and the sync protocol
//! itself for where WebSocket is blocked.
//!
//! The hub stays the only authority. A request opens an *inner connection* ([`inner`]) in the mailbox as
//! a socket does, says `Hello` with its own token and is judged like everyone else; what it gets are
//! the frames that a client would get, so that nothing is shown here before it is on disk. This folder
//! must never read the store, and never decide who may do what.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "of what the hub says, what is not waited for is passed over, whatever it is"
)]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::sync::Semaphore;

mod body;
mod caller;
mod commands;
mod copies;
mod cursor;
mod documents;
mod events;
<<<<<<< HEAD
mod feed;
mod fill;
=======
>>>>>>> wasm-session
mod inner;
mod openapi;
mod origin;
mod pace;
mod posts;
mod problem;
mod read;
mod show;
mod transport;

use crate::app::App;
use copies::Copies;
pub(crate) use origin::{Origins, guard};
use problem::Problem;
use transport::Links;

/// Requests that read or write a document at the same time; the others wait for their turn.
const REQUESTS_MAX: usize = 256;
/// How long a request may take, waiting for its turn included.
const REQUEST_WAIT: Duration = Duration::from_secs(20);
/// How often something is said on a stream of events on which nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a reader of events comes back after the server was gone.
const COME_BACK: Duration = Duration::from_secs(2);

/// What the routes of this folder share.
#[derive(Debug)]
pub(crate) struct Http {
    origins: Origins,
    copies: Arc<Copies>,
    links: Arc<Links>,
    turns: Arc<Semaphore>,
    lanes: commands::Lanes,
    /// The number of this run of the server; higher with each.
    run: u64,
}

impl Http {
    /// Begins with nothing. `secret` is the same for the life of the store and known to nobody else,
    /// `run` another at each start.
    pub(crate) fn new(origins: Origins, secret: [u8; 32], run: u64) -> Self {
        Self {
            origins,
            copies: Copies::start(),
            links: Arc::default(),
            turns: Arc::new(Semaphore::new(REQUESTS_MAX)),
            lanes: commands::Lanes::new(secret),
            run,
        }
    }

    /// Whose pages may talk to this server.
    pub(crate) const fn origins(&self) -> &Origins {
        &self.origins
    }
}

/// The routes of this folder. Each request of those that ask the hub counts against its address; the
/// connections of the transport count once for all that is said on them.
pub(crate) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let limit = axum::middleware::from_fn_with_state(Arc::clone(app), pace::limit);
    Router::new()
        .route("/v1/documents/{space}/{id}/{facet}", get(documents::show))
        .route("/v1/documents/{space}/{id}/{facet}/commands", post(commands::take))
        .route("/v1/documents/{space}/{id}/{facet}/events", get(events::of_document))
        .route("/v1/spaces/{space}/events", get(events::of_space))
        .route("/v1/spaces/{space}/posts", get(posts::list))
        .route_layer(limit)
        .route("/v1/openapi.json", get(openapi::describe))
        .route("/v1/connections", post(transport::open))
        .route("/v1/connections/{id}/frames", get(transport::down).post(transport::up))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
}
