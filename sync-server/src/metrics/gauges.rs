//! What the hub holds, as numbers that go up and down: one table of names, and where each comes from.

use prometheus::{IntGauge, Registry};
use syncline_engine::hub::Stats;

use super::gauge;

/// How much waits for the hub's loop.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Depth {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) answers: usize,
}

/// Declares the gauges: field, help, and what it shows. A gauge is named after its field.
macro_rules! gauges {
    (|$stats:ident, $depth:ident| $($name:ident, $help:literal, $value:expr;)+) => {
        /// What the hub held when it was looked at.
        #[derive(Debug)]
        pub(super) struct Gauges {
            $(pub(super) $name: IntGauge,)+
        }

        impl Gauges {
            pub(super) fn new(registry: &Registry) -> Self {
                Self {
                    $($name: gauge(registry, concat!("syncline_", stringify!($name)), $help),)+
                }
            }

            pub(super) fn set(&self, $stats: &Stats, $depth: Depth) {
                $(self.$name.set(i64::try_from($value).unwrap_or(i64::MAX));)+
            }
        }
    };
}

gauges! { |stats, depth|
    connections, "Connections that are open: WebSockets, streams of events, requests under way.",
        stats.connections;
    sessions, "Sessions that are connected or within their grace time.", stats.sessions;
    users, "Users with a session.", stats.users;
    documents, "Documents in memory.", stats.documents;
    followers, "Followers, summed over the documents.", stats.followers;
    leases, "Leases that are held, summed over the documents.", stats.leases;
    spaces, "Spaces in memory because somebody is in them, or was until a while ago.", stats.spaces;
    present_users, "Users who are seen in spaces, summed over the spaces.", stats.present_users;
    present_devices, "Sessions that are seen in spaces, summed over the spaces.", stats.present;
    streams, "Streams in memory.", stats.streams;
    stream_followers, "Connections that read or write a stream, summed over the streams.",
        stats.stream_followers;
    stream_text_bytes, "Bytes of the text of streams in memory.", stats.stream_bytes;
    feeds, "Spaces whose feed somebody follows.", stats.feeds;
    feed_followers, "Connections that follow a feed, summed over the spaces.",
        stats.feed_followers;
    pending_changes, "Changes that are accepted and not on disk yet.", stats.pending_entries;
    pending_bytes, "Bytes of changes that are accepted and not on disk yet.", stats.pending_bytes;
    followers_behind, "Followers that have not been sent all that is on disk.", stats.behind;
    cursor_lag_changes, "Changes that followers have not been sent, summed over them.",
        stats.lag_entries;
    cursor_lag_max_changes, "Changes that the follower farthest behind has not been sent.",
        stats.lag_entries_max;
    outgoing_bytes, "Bytes that connections were sent and have not taken.", stats.outstanding_bytes;
    queue_messages, "Messages that wait for the hub.", depth.messages;
    queue_bytes, "Bytes of messages that wait for the hub.", depth.bytes;
    queue_answers, "Answers of the store and of sockets that wait for the hub.", depth.answers;
}
