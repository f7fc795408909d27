//! What happens to streams because time passes: one whose writer is gone is stalled and in the end
//! abandoned, one that was interrupted and goes on is closed, one that nobody uses leaves memory.

use super::{Hub, Live, State, StreamHandle};
use crate::clock::Timestamp;
use crate::hub::Config;
use crate::hub::timers::Timer;
use crate::stream::Outcome;

impl Live {
    /// When the server ends the stream if nobody does before, and how.
    fn overdue_at(&self, config: &Config) -> Option<(Timestamp, Outcome)> {
        if !self.assigned.is_open() {
            return None;
        }
        let interrupted = self.assigned.interrupted.as_ref();
        let interrupted =
            interrupted.map(|(_, at)| (*at + config.stream_interrupt_grace, Outcome::Interrupted));
        let abandoned =
            self.stalled_since.map(|at| (at + config.stream_abandon_after, Outcome::Abandoned));
        interrupted.into_iter().chain(abandoned).min_by_key(|(at, _)| *at)
    }
}

impl Hub {
    /// Notes what became of a stream's use, and when to look at it again.
    pub(super) fn watch_stream(&mut self, now: Timestamp, handle: StreamHandle) {
        let Some(live) = self.streams.live_mut(handle) else { return };
        if live.durable.is_open() && !live.has_writer() && live.stalled_since.is_none() {
            live.stalled_since = Some(now);
            live.version += 1;
            self.tell_stream(handle);
        }
        let Some(live) = self.streams.live_mut(handle) else { return };
        if !live.is_unused() {
            live.idle_since = None;
        } else if live.assigned.origin.is_none() {
            // Of what nobody has made there is nothing to keep.
            return self.forget_stream(handle);
        } else {
            live.idle_since.get_or_insert(now);
        }
        let idle = live.idle_since.map(|since| since + self.config.document_idle);
        let overdue = live.overdue_at(&self.config).map(|(at, _)| at);
        let Some(next) = idle.into_iter().chain(overdue).min() else { return };
        if live.armed.is_none_or(|at| at > next) {
            if let Some(at) = live.armed.replace(next) {
                self.timers.disarm(at, Timer::Stream(handle));
            }
            self.timers.arm(next, Timer::Stream(handle));
        }
    }

    /// Ends a stream whose time is up.
    pub(super) fn close_overdue_stream(&mut self, now: Timestamp, handle: StreamHandle) {
        let Some(live) = self.streams.live_mut(handle) else { return };
        if let Some((at, outcome)) = live.overdue_at(&self.config)
            && at <= now
        {
            self.close_stream(now, handle, outcome);
        }
    }

    /// Something may be due for a stream.
    pub(in crate::hub) fn stream_due(&mut self, now: Timestamp, handle: StreamHandle) {
        let Some(live) = self.streams.live_mut(handle) else { return };
        live.armed = None;
        let idle = live.idle_since.map(|since| since + self.config.document_idle);
        if idle.is_some_and(|at| at <= now) {
            return self.forget_stream(handle);
        }
        self.close_overdue_stream(now, handle);
        self.watch_stream(now, handle);
    }

    /// Lets go of streams that nobody uses, if there is as much in memory as may be. Answers whether
    /// there is room for another.
    pub(super) fn make_room_for_streams(&mut self, now: Timestamp) -> bool {
        let full = |hub: &Self| {
            hub.streams.bytes > hub.config.live_stream_bytes_max
                || hub.streams.by_handle.len() >= hub.config.live_documents_max
        };
        if !full(self) {
            return true;
        }
        let idle_since = |(handle, stream): (&StreamHandle, &super::Stream)| match &stream.state {
            State::Live(live) => live.idle_since.map(|since| (since.min(now), *handle)),
            State::Loading(_) => None,
        };
        let mut idle: Vec<_> = self.streams.by_handle.iter().filter_map(idle_since).collect();
        idle.sort_unstable();
        for (_, handle) in idle {
            if !full(self) {
                return true;
            }
            self.forget_stream(handle);
        }
        !full(self)
    }
}
