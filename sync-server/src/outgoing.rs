//! What waits to be written to one connection: filled by the hub's loop, emptied by the
//! connection's own task. Knows no frames.
//!
//! The hub bounds it (it says nothing more to a connection that does not drain), and so does the
//! socket (it stops reading from a peer that does not take its answers). The hard limit here is for
//! the day on which both are wrong.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use syncline_engine::codes::Code;
use syncline_engine::wire::CloseCode;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Above this a connection's requests are left in its socket until it has taken its answers.
pub(crate) const PAUSE_READING_BYTES: usize = 1 << 20;
/// Above this the connection is closed as one that does not read.
pub(crate) const OUTGOING_BYTES_MAX: usize = 32 << 20;

/// The next thing to do for the task that writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Write this.
    Message(Bytes),
    /// Everything was taken and the connection is to be closed.
    Close(CloseCode),
    /// Nothing for now.
    Wait,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Bytes>,
    bytes: usize,
    close: Option<CloseCode>,
    /// Until when the connection is not to be read.
    held: Option<Instant>,
}

/// The queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    state: Mutex<State>,
    filled: Notify,
    room: Notify,
}

impl Outgoing {
    /// Appends a message. Nothing is taken after [`Self::close`].
    pub(crate) fn push(&self, message: Bytes) {
        let mut state = self.state();
        if state.close.is_some() {
            return;
        }
        state.bytes += message.len();
        state.messages.push_back(message);
        if state.bytes > OUTGOING_BYTES_MAX {
            state.messages = VecDeque::new();
            state.bytes = 0;
            state.close = Some(CloseCode::of(Code::SlowReader));
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Closes the connection after everything that is queued. The first code counts.
    pub(crate) fn close(&self, code: CloseCode) {
        self.state().close.get_or_insert(code);
        self.filled.notify_one();
    }

    /// Takes the next thing to do.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.state();
        if let Some(message) = state.messages.pop_front() {
            let was = state.bytes;
            state.bytes -= message.len();
            if was > PAUSE_READING_BYTES && state.bytes <= PAUSE_READING_BYTES {
                self.room.notify_one();
            }
            return Next::Message(message);
        }
        if state.messages.capacity() > 64 {
            // A burst must not leave its room behind in an idle connection.
            state.messages = VecDeque::new();
        }
        state.close.map_or(Next::Wait, Next::Close)
    }

    /// Waits until [`Self::next`] may have something. For one waiting task.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Has the connection not be read until a moment.
    pub(crate) fn hold(&self, until: Instant) {
        self.state().held = Some(until);
    }

    /// Waits until there is little enough queued, and the connection may be read. For one waiting
    /// task.
    pub(crate) async fn room(&self) {
        while self.state().bytes > PAUSE_READING_BYTES {
            self.room.notified().await;
        }
        self.held().await;
    }

    /// Waits until the connection may be read.
    pub(crate) async fn held(&self) {
        let held = self.state().held.take();
        if let Some(until) = held {
            tokio::time::sleep_until(until).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn messages_come_out_in_order_and_the_close_after_them() {
        let outgoing = Outgoing::default();
        outgoing.push(Bytes::from_static(b"a"));
        outgoing.push(Bytes::from_static(b"b"));
        outgoing.close(CloseCode::NORMAL);
        outgoing.close(CloseCode(4000));
        outgoing.push(Bytes::from_static(b"too late"));
        assert_eq!(outgoing.next(), Next::Message(Bytes::from_static(b"a")));
        assert_eq!(outgoing.next(), Next::Message(Bytes::from_static(b"b")));
        assert_eq!(outgoing.next(), Next::Close(CloseCode::NORMAL));
        assert_eq!(outgoing.next(), Next::Close(CloseCode::NORMAL));
    }

    #[test]
    fn a_connection_that_takes_nothing_is_closed_at_the_limit() {
        let outgoing = Outgoing::default();
        let message = Bytes::from(vec![0; 1 << 20]);
        for _ in 0..=(OUTGOING_BYTES_MAX >> 20) {
            outgoing.push(message.clone());
        }
        assert_eq!(outgoing.next(), Next::Close(CloseCode::of(Code::SlowReader)));
    }

    #[tokio::test]
    async fn reading_waits_for_room_and_goes_on_when_there_is_some() {
        let outgoing = Outgoing::default();
        outgoing.push(Bytes::from(vec![0; PAUSE_READING_BYTES + 1]));
        let mut room = std::pin::pin!(outgoing.room());
        assert!(room.as_mut().now_or_never().is_none());
        assert!(matches!(outgoing.next(), Next::Message(_)));
        room.await;
    }
}
