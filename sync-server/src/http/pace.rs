//! What one network address may ask: each request is a connection of its address for as long as its
//! answer lasts, and the bytes of its body count as those of messages do. Knows no routes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use syncline_engine::codes::Code;

use super::problem::Problem;
use crate::addresses::Seat;
use crate::app::App;
use crate::listener::Peer;
use crate::metrics::TurnedAway;

/// A body that keeps a request's place, and counts what is read of it there.
struct Held {
    body: Body,
    place: Arc<Seat>,
    counts: bool,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if self.counts
            && let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            // Bodies are small, so it is enough that the next request waits.
            self.place.has_read(data.len());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Refuses requests of an address that asks for more than it may.
pub(super) async fn limit(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let origin = app.addresses.origin(peer.address.ip(), request.headers());
    let place = match app.addresses.request(origin) {
        Ok(place) => Arc::new(place),
        Err(wait) => {
            app.meters.turned_away(TurnedAway::Address);
            return too_many(wait).into_response();
        }
    };
    let held = |counts| {
        let place = Arc::clone(&place);
        move |body| Body::new(Held { body, place, counts })
    };
    next.run(request.map(held(true))).await.map(held(false))
}

/// An address has, opens or sends more than it may, for so long.
pub(super) fn too_many(wait: Duration) -> Problem {
    let why =
        "this address has, opens or sends as much as it may; a request counts as a connection";
    let wait = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    Problem::of(Code::TooManyConnections, why).later(Some(wait))
}
