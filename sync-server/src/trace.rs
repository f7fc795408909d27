//! The spans around the way of a change: its connection, the frame that brings it, and (in
//! [`crate::gauge`]) the commit that makes it durable. Names come from outside, so they are shown with
//! escapes or, where they were checked, as what they were checked to be.

use syncline_engine::hub::ConnectionId;
use syncline_engine::wire::ClientFrame;
use tracing::Span;
use tracing::field::Empty;

use crate::listener::Peer;

/// How much of an address that nobody has looked at is shown.
const ADDRESS_CHARS_MAX: usize = 200;

/// Around all of a connection.
pub(crate) fn connection(connection: ConnectionId, peer: &Peer) -> Span {
    tracing::debug_span!(parent: None, "connection", connection = connection.0, peer = %peer.address)
}

/// Around what the hub makes of a message; around a push it lasts until the followers have it. A root
/// of its own, because its connection may last for weeks.
pub(crate) fn frame(connection: ConnectionId, message: &[u8]) -> Span {
    let span = tracing::debug_span!(
        parent: None,
        "frame",
        connection = connection.0,
        kind = Empty,
        bytes = message.len(),
        address = Empty,
        handle = Empty,
        first = Empty,
        changes = Empty,
    );
    if !span.is_disabled() {
        describe(&span, message);
    }
    span
}

/// Only where somebody looks: the hub decodes the message again.
fn describe(span: &Span, message: &[u8]) {
    let Ok(frame) = ClientFrame::decode(message) else {
        span.record("kind", "none");
        return;
    };
    span.record("kind", frame.name());
    if let ClientFrame::Subscribe(subscribe) = &frame {
        let address: String = subscribe.address.chars().take(ADDRESS_CHARS_MAX).collect();
        span.record("address", tracing::field::debug(&address));
    } else if let ClientFrame::Push(push) = &frame {
        span.record("handle", push.handle);
        span.record("first", push.first);
        span.record("changes", push.changes.len());
    }
}
