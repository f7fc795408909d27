//! What is measured, under which names Prometheus hears of it, and in which units. Knows no document
//! and decides nothing.
//!
//! Everything here is an atomic number that its owner adds to. What only the hub knows it publishes
//! once in a while ([`Meters::publish`]), so that nobody who looks at it holds up the hub's loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{
    Counter, Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, Opts, Registry, TextEncoder,
};
use syncline_engine::codes::Code;
use syncline_engine::hub::{Counters, Stats};
use syncline_engine::wire::{ClientFrame, ServerFrame};
use tokio::sync::Notify;

use crate::webhooks::WebhookStats;

mod gauges;
mod labels;
mod sample;
mod webhooks;

pub(crate) use gauges::Depth;
pub(crate) use labels::{By, Task, TurnedAway};
pub(crate) use sample::Sampler;

use gauges::Gauges;
use labels::{close_name, outcome};
use webhooks::Receivers;

/// The type of the text that [`Meters::text`] gives.
pub(crate) const TEXT_TYPE: &str = prometheus::TEXT_FORMAT;

/// From a commit in memory to a disk that hangs.
const SECONDS: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
const CHANGES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 5_000.0];
const BYTES: &[f64] =
    &[256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 16_777_216.0];

/// Messages of one direction.
#[derive(Debug)]
pub(crate) struct Traffic {
    bytes: IntCounter,
    messages: AtomicU64,
    /// One for each type byte; those of no known type share one.
    frames: Vec<IntCounter>,
}

impl Traffic {
    fn new(registry: &Registry, direction: &str, kinds: &[(u8, &str)]) -> Self {
        let name = |what| format!("syncline_{what}_{direction}_total");
        let frames = Opts::new(name("frames"), format!("Frames {direction}, by type."));
        let frames = register(registry, IntCounterVec::new(frames, &["type"]));
        let known = |kind| kinds.iter().find(|(number, _)| *number == kind);
        let of = |kind| frames.with_label_values(&[known(kind).map_or("unknown", |(_, n)| *n)]);
        let help = format!("Bytes of WebSocket messages {direction}.");
        Self {
            bytes: counter(registry, &name("bytes"), &help),
            messages: AtomicU64::new(0),
            frames: (0..=u8::MAX).map(of).collect(),
        }
    }

    /// Counts a message.
    pub(crate) fn count(&self, message: &[u8]) {
        self.bytes.inc_by(message.len() as u64);
        self.messages.fetch_add(1, Ordering::Relaxed);
        // The second byte is the type; what is shorter has none.
        if let Some(frames) = self.frames.get(usize::from(message.get(1).copied().unwrap_or(0))) {
            frames.inc();
        }
    }
}

#[derive(Debug)]
struct Totals {
    changes: IntCounter,
    operations: IntCounter,
    bytes: IntCounter,
    evictions: IntCounter,
}

/// All that one server measures.
#[derive(Debug)]
pub(crate) struct Meters {
    registry: Registry,
    gauges: Gauges,
    totals: Totals,
    receivers: Receivers,
    /// What clients said.
    pub(crate) received: Traffic,
    /// What they were told.
    pub(crate) sent: Traffic,
    /// How long the loop was at work.
    pub(crate) hub_busy_seconds: Counter,
    /// TCP connections, whatever is spoken on them.
    pub(crate) sockets: IntGauge,
    refusals: IntCounterVec,
    closes: IntCounterVec,
    turned_away: IntCounterVec,
    work: IntCounterVec,
    tls_reloads: IntCounterVec,
    times: Times,
    looked: Gauge,
    published: Notify,
}

/// How long things took, and how large commits were.
#[derive(Debug)]
struct Times {
    commit_seconds: Histogram,
    commit_changes: Histogram,
    commit_bytes: Histogram,
    delivery_seconds: Histogram,
    work_seconds: HistogramVec,
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let metric = metric.expect("our names are names");
    registry.register(Box::new(metric.clone())).expect("no name is given twice");
    metric
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

fn labelled(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(registry, Histogram::with_opts(options))
}

impl Totals {
    fn new(registry: &Registry) -> Self {
        let counter = |name, help| counter(registry, name, help);
        Self {
            changes: counter("syncline_accepted_changes_total", "Changes that were accepted."),
            operations: counter(
                "syncline_accepted_operations_total",
                "Operations in the changes that were accepted.",
            ),
            bytes: counter(
                "syncline_accepted_bytes_total",
                "Bytes of the changes that were accepted.",
            ),
            evictions: counter(
                "syncline_evictions_total",
                "Documents that left memory because nobody used them.",
            ),
        }
    }
}

impl Times {
    fn new(all: &Registry) -> Self {
        let seconds = HistogramOpts::new(
            "syncline_work_duration_seconds",
            "How long the store's larger tasks took, by what was done.",
        );
        Self {
            commit_seconds: histogram(
                all,
                "syncline_commit_duration_seconds",
                "From handing a commit to the store until it is on disk.",
                SECONDS,
            ),
            commit_changes: histogram(
                all,
                "syncline_commit_changes",
                "Changes in a commit.",
                CHANGES,
            ),
            commit_bytes: histogram(all, "syncline_commit_size_bytes", "Bytes in a commit.", BYTES),
            delivery_seconds: histogram(
                all,
                "syncline_delivery_duration_seconds",
                "From reading a change off a socket until it is handed to its followers' sockets.",
                SECONDS,
            ),
            work_seconds: register(
                all,
                HistogramVec::new(seconds.buckets(SECONDS.to_vec()), &["work"]),
            ),
        }
    }
}

impl Meters {
    /// Everything at zero, with every label that is known beforehand.
    pub(crate) fn new() -> Self {
        let all = Registry::new();
        // It is there on Linux only, and reads what the kernel tells of this process.
        #[cfg(target_os = "linux")]
        let _ = all.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()));
        let info = Opts::new("syncline_build_info", "The version that runs; always 1.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        register(&all, IntGauge::with_opts(info)).set(1);
        let meters = Self {
            gauges: Gauges::new(&all),
            totals: Totals::new(&all),
            receivers: Receivers::new(&all),
            received: Traffic::new(&all, "received", ClientFrame::KINDS),
            sent: Traffic::new(&all, "sent", ServerFrame::KINDS),
            hub_busy_seconds: register(
                &all,
                Counter::new("syncline_hub_busy_seconds_total", "How long the hub was at work."),
            ),
            sockets: gauge(&all, "syncline_sockets", "TCP connections, whatever is spoken there."),
            refusals: labelled(
                &all,
                "syncline_refusals_total",
                "Refusals and complaints that clients were told, by code.",
                &["code"],
            ),
            closes: labelled(
                &all,
                "syncline_closes_total",
                "Connections that ended, by who ended them and the close code.",
                &["by", "code"],
            ),
            turned_away: labelled(
                &all,
                "syncline_turned_away_total",
                "Sockets that were turned away before they were connections, by reason.",
                &["reason"],
            ),
            work: labelled(
                &all,
                "syncline_work_total",
                "Larger tasks of the store, by what was done and how it went.",
                &["work", "outcome"],
            ),
            tls_reloads: labelled(
                &all,
                "syncline_tls_reloads_total",
                "Times that the certificate was read again, by how it went.",
                &["outcome"],
            ),
            times: Times::new(&all),
            looked: register(
                &all,
                Gauge::new(
                    "syncline_hub_timestamp_seconds",
                    "When it was looked at what the hub holds, in seconds since 1970.",
                ),
            ),
            published: Notify::new(),
            registry: all,
        };
        meters.begin_labels();
        meters
    }

    /// A counter that appears with its first event has no rate for that event.
    fn begin_labels(&self) {
        for code in Code::ALL {
            self.refusals.with_label_values(&[code.slug()]);
        }
        for work in Task::ALL {
            for outcome in ["done", "failed"] {
                self.work.with_label_values(&[work.name(), outcome]);
            }
        }
        for reason in TurnedAway::ALL {
            self.turned_away.with_label_values(&[reason.name()]);
        }
        for outcome in ["done", "failed"] {
            self.tls_reloads.with_label_values(&[outcome]);
        }
    }

    /// What the hub held and had done at this time, as far as it knows.
    pub(crate) fn publish(&self, at: SystemTime, stats: &Stats, counters: &Counters, depth: Depth) {
        self.gauges.set(stats, depth);
        let Totals { changes, operations, bytes, evictions } = &self.totals;
        let totals = [
            (changes, counters.accepted_entries),
            (operations, counters.accepted_ops),
            (bytes, counters.accepted_bytes),
            (evictions, counters.evictions),
        ];
        for (counter, total) in totals {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.looked.set(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        self.published.notify_one();
    }

    /// What the receivers of events have got and what they lack.
    pub(crate) fn publish_webhooks(&self, stats: Vec<WebhookStats>) {
        self.receivers.set(stats);
    }

    /// Waits until something is published. For one waiting task.
    pub(crate) async fn published(&self) {
        self.published.notified().await;
    }

    /// A client was told that something is not done.
    pub(crate) fn refused(&self, code: Code) {
        self.refusals.with_label_values(&[code.slug()]).inc();
    }

    /// A connection has ended, with this close code if there was one.
    pub(crate) fn closed(&self, by: By, code: Option<u16>) {
        self.closes.with_label_values(&[by.name(), close_name(code)]).inc();
    }

    /// A socket was turned away.
    pub(crate) fn turned_away(&self, reason: TurnedAway) {
        self.turned_away.with_label_values(&[reason.name()]).inc();
    }

    /// The certificate was read again, or could not be.
    pub(crate) fn certificate_read(&self, well: bool) {
        self.tls_reloads.with_label_values(&[outcome(well)]).inc();
    }

    /// A task of the store has ended.
    pub(crate) fn worked(&self, task: Task, took: Duration, well: bool) {
        self.work.with_label_values(&[task.name(), outcome(well)]).inc();
        self.times.work_seconds.with_label_values(&[task.name()]).observe(took.as_secs_f64());
    }

    /// A commit of so many changes and bytes is on disk.
    pub(crate) fn committed(&self, took: Duration, changes: usize, bytes: usize) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a commit has far fewer than 2^52 of either"
        )]
        let (changes, bytes) = (changes as f64, bytes as f64);
        self.times.commit_seconds.observe(took.as_secs_f64());
        self.times.commit_changes.observe(changes);
        self.times.commit_bytes.observe(bytes);
    }

    /// So many changes that came at the same time went out to their followers.
    pub(crate) fn delivered(&self, after: Duration, changes: u64) {
        for _ in 0..changes {
            self.times.delivery_seconds.observe(after.as_secs_f64());
        }
    }

    /// Everything in Prometheus's text format.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Writing to memory does not fail, and a metric without a value is not ours.
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics not written");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_make_up_labels() {
        let meters = Meters::new();
        for code in 3_000..5_000 {
            meters.closed(By::Peer, Some(code));
        }
        for kind in 0..=u8::MAX {
            meters.received.count(&[1, kind]);
        }
        let text = String::from_utf8(meters.text()).unwrap();
        let lines = |of: &str| text.lines().filter(|line| line.starts_with(of)).count();
        assert!(lines("syncline_closes_total{") <= Code::ALL.len() + 3);
        assert_eq!(lines("syncline_frames_received_total{"), ClientFrame::KINDS.len() + 1);
        assert!(text.contains("syncline_closes_total{by=\"peer\",code=\"overloaded\"} 1\n"));
    }

    #[test]
    fn what_the_hub_has_done_only_grows_whatever_it_publishes() {
        let meters = Meters::new();
        let done = |accepted_entries| Counters { accepted_entries, ..Counters::default() };
        for accepted in [3, 3, 7] {
            meters.publish(UNIX_EPOCH, &Stats::default(), &done(accepted), Depth::default());
        }
        let text = String::from_utf8(meters.text()).unwrap();
        assert!(text.contains("syncline_accepted_changes_total 7\n"), "{text}");
    }
}
