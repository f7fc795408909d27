//! What the hub's loop measures of its own work: how long a change takes from the socket of its author
//! to those of its followers, what waits for the loop, and whether that is too much. Decides nothing
//! about any change.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use syncline_engine::hub::{self, Counters, Hub, Stats};
use syncline_engine::storage::Append;
use tracing::Span;

use crate::health::Health;
use crate::metrics::{Depth, Meters};

/// How often the loop shows that it is alive, and publishes what it holds.
pub(crate) const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// Looking at what the hub holds walks over its documents; that takes at most this share of the time.
const PUBLISH_SHARE: u32 = 200;
/// Frames that a commit names in a trace as those that it is made of.
const CAUSES_MAX: usize = 64;

/// What a machine in the loop tells of itself, at no cost but a walk over what it holds.
pub(crate) trait Observed {
    /// How much it holds.
    fn stats(&self) -> Stats;
    /// What it has done.
    fn counters(&self) -> Counters;
}

impl Observed for Hub {
    fn stats(&self) -> Stats {
        Self::stats(self)
    }

    fn counters(&self) -> Counters {
        Self::counters(self)
    }
}

/// Changes that came together.
struct Arrival {
    at: Instant,
    changes: u64,
    /// The frame that brought them lasts, in a trace, until they are delivered.
    frame: Span,
}

/// The loop's measuring.
pub(crate) struct Gauge {
    pub(crate) meters: Arc<Meters>,
    pub(crate) health: Arc<Health>,
    limits: hub::Config,
    /// Accepted and not delivered, in the order in which they came. The hub commits them in that
    /// order, except where a document has more than fits a record.
    arrivals: VecDeque<Arrival>,
    in_commit: u64,
    to_deliver: u64,
    accepted: u64,
    publish_at: Instant,
}

impl Gauge {
    pub(crate) fn new(meters: Arc<Meters>, health: Arc<Health>, limits: hub::Config) -> Self {
        let publish_at = Instant::now();
        let arrivals = VecDeque::new();
        let (in_commit, to_deliver, accepted) = (0, 0, 0);
        Self { meters, health, limits, arrivals, in_commit, to_deliver, accepted, publish_at }
    }

    /// The hub has taken something in that came at `at`; these are its counters after that.
    pub(crate) fn took(&mut self, at: Instant, counters: &Counters, frame: &Span) {
        let changes = counters.accepted_entries.saturating_sub(self.accepted);
        self.accepted = counters.accepted_entries;
        if changes > 0 {
            self.arrivals.push_back(Arrival { at, changes, frame: frame.clone() });
        }
    }

    /// A commit begins. Answers the span that lasts until it is on disk.
    pub(crate) fn commits(&mut self, appends: &[Append]) -> Span {
        self.in_commit = appends.iter().map(|append| append.record.entries.len() as u64).sum();
        let bytes: usize = appends.iter().map(|append| append.record.change_bytes()).sum();
        let span = tracing::debug_span!(
            parent: None,
            "commit",
            documents = appends.len(),
            changes = self.in_commit,
            bytes
        );
        if !span.is_disabled() {
            for arrival in self.arrivals.iter().take(CAUSES_MAX) {
                span.follows_from(&arrival.frame);
            }
            for Append { address, record, .. } in appends {
                let (first_seq, last_seq) = (record.first_seq, record.last_seq());
                tracing::debug!(parent: &span, %address, first_seq, last_seq, "document committed");
            }
        }
        span
    }

    /// The commit is on disk; its followers are told next.
    pub(crate) fn committed(&mut self) {
        self.to_deliver += std::mem::take(&mut self.in_commit);
    }

    /// Everything that the hub had to say is handed to the sockets.
    pub(crate) fn handed_out(&mut self) {
        if self.to_deliver == 0 {
            return;
        }
        let now = Instant::now();
        while self.to_deliver > 0
            && let Some(first) = self.arrivals.front_mut()
        {
            let changes = first.changes.min(self.to_deliver);
            self.meters.delivered(now.duration_since(first.at), changes);
            first.changes -= changes;
            self.to_deliver -= changes;
            if first.changes == 0 {
                self.arrivals.pop_front();
            }
        }
        self.to_deliver = 0;
    }

    /// When [`Self::publish`] is due.
    pub(crate) fn due_in(&self) -> Duration {
        self.publish_at.saturating_duration_since(Instant::now())
    }

    /// Shows that the loop is alive and, if it is time, what the hub holds.
    pub(crate) fn publish(&mut self, hub: &impl Observed, depth: Depth) {
        let began = Instant::now();
        if began < self.publish_at {
            return;
        }
        let at = SystemTime::now();
        let (stats, counters) = (hub.stats(), hub.counters());
        self.meters.publish(at, &stats, &counters, depth);
        self.health.beat(self.overload(&stats, depth));
        let took = began.elapsed();
        self.publish_at = began + PUBLISH_EVERY.max(took * PUBLISH_SHARE).min(PUBLISH_EVERY * 5);
    }

    /// What the hub held at its end.
    pub(crate) fn publish_last(&mut self, hub: &impl Observed, depth: Depth) {
        self.publish_at = Instant::now();
        self.publish(hub, depth);
    }

    /// What there is too much of: above three quarters of a limit the next step is to send people
    /// away, so nobody new should be sent here.
    fn overload(&self, stats: &Stats, depth: Depth) -> Option<&'static str> {
        let most = |limit: usize| limit / 4 * 3;
        if stats.pending_bytes > most(self.limits.pending_bytes_max) {
            Some("the disk does not keep up with what is written")
        } else if depth.bytes > most(crate::mailbox::MAIL_BYTES_MAX)
            || depth.messages > most(crate::mailbox::MAIL_MAX)
        {
            Some("the hub does not keep up with what is said")
        } else if stats.documents >= self.limits.live_documents_max {
            Some("as many documents are open as may be")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Told(Stats);

    impl Observed for Told {
        fn stats(&self) -> Stats {
            self.0
        }

        fn counters(&self) -> Counters {
            Counters::default()
        }
    }

    fn gauge() -> Gauge {
        Gauge::new(Arc::new(Meters::new()), Arc::new(Health::new()), hub::Config::default())
    }

    #[test]
    fn a_full_queue_and_a_disk_that_is_behind_are_overload_and_pass() {
        let depths = [Depth { messages: 1_000, ..Depth::default() }, Depth::default()];
        let writes = Stats { pending_bytes: 50 << 20, ..Stats::default() };
        for (stats, depth, overloaded) in [
            (Stats::default(), depths[0], true),
            (Stats::default(), depths[1], false),
            (writes, depths[1], true),
            (Stats { documents: 50_000, ..Stats::default() }, depths[1], true),
            (Stats::default(), depths[1], false),
        ] {
            let mut gauge = gauge();
            gauge.publish(&Told(stats), depth);
            assert_eq!(gauge.health.trouble(false).is_some(), overloaded, "{stats:?} {depth:?}");
            assert!(gauge.due_in() > Duration::ZERO, "not at once again");
        }
    }

    #[test]
    fn changes_are_delivered_in_the_order_in_which_they_came_and_each_once() {
        let mut gauge = gauge();
        let accepted = |accepted_entries| Counters { accepted_entries, ..Counters::default() };
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).expect("a while ago");
        gauge.took(long_ago, &accepted(2), &Span::none());
        gauge.took(Instant::now(), &accepted(2), &Span::none());
        gauge.took(Instant::now(), &accepted(5), &Span::none());
        gauge.in_commit = 3;
        gauge.handed_out();
        let text = |gauge: &Gauge| String::from_utf8(gauge.meters.text()).unwrap();
        assert!(text(&gauge).contains("syncline_delivery_duration_seconds_count 0\n"));
        gauge.committed();
        gauge.handed_out();
        let said = text(&gauge);
        assert!(said.contains("syncline_delivery_duration_seconds_count 3\n"), "{said}");
        assert!(
            said.contains("syncline_delivery_duration_seconds_bucket{le=\"10\"} 1\n"),
            "{said}"
        );
        assert_eq!(gauge.arrivals.len(), 1, "two are not on disk yet");
    }
}
