//! One second of a server's life in a line of JSON, for people to look at: rates instead of totals,
//! quantiles instead of buckets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Instant;

use prometheus::Histogram;
use prometheus::core::Collector;
use serde::Serialize;
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;

use super::Meters;
use super::webhooks::Receiver;

/// Over how many samples quantiles and rates of refusals are taken: one second is too short for a
/// tail.
const WINDOW: usize = 10;

/// What the dashboard shows of one second. Rates are a second's, latencies in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    at: u64,
    connections: i64,
    sessions: i64,
    documents: i64,
    followers: i64,
    leases: i64,
    users: i64,
    spaces: i64,
    present_users: i64,
    present_devices: i64,
    streams: i64,
    stream_followers: i64,
    stream_bytes: i64,
    feeds: i64,
    feed_followers: i64,
    behind: i64,
    lag: i64,
    lag_max: i64,
    pending_bytes: i64,
    outgoing_bytes: i64,
    queue: i64,
    changes: f64,
    accepted_bytes: f64,
    bytes_in: f64,
    bytes_out: f64,
    frames_in: f64,
    frames_out: f64,
    commits: f64,
    /// The share of the time that the hub's loop is at work.
    busy: f64,
    commit_p50: Option<f64>,
    commit_p99: Option<f64>,
    delivery_p50: Option<f64>,
    delivery_p99: Option<f64>,
    memory: u64,
    files: u64,
    /// How many there were so far, those that there were.
    refusals: BTreeMap<&'static str, u64>,
    webhooks: Vec<Receiver>,
}

/// What only grows, at one moment.
struct Snapshot {
    at: Instant,
    changes: u64,
    accepted_bytes: u64,
    bytes_in: u64,
    bytes_out: u64,
    frames_in: u64,
    frames_out: u64,
    busy: f64,
    commits: u64,
    commit: Vec<(f64, u64)>,
    delivery: Vec<(f64, u64)>,
}

/// Makes a sample of the difference between two looks.
pub(crate) struct Sampler {
    before: VecDeque<Snapshot>,
}

impl Snapshot {
    fn take(meters: &Meters) -> Self {
        let Meters { totals, received, sent, .. } = meters;
        Self {
            at: Instant::now(),
            changes: totals.changes.get(),
            accepted_bytes: totals.bytes.get(),
            bytes_in: received.bytes.get(),
            bytes_out: sent.bytes.get(),
            frames_in: received.messages.load(Ordering::Relaxed),
            frames_out: sent.messages.load(Ordering::Relaxed),
            busy: meters.hub_busy_seconds.get(),
            commits: meters.times.commit_seconds.get_sample_count(),
            commit: buckets(&meters.times.commit_seconds),
            delivery: buckets(&meters.times.delivery_seconds),
        }
    }
}

/// The buckets of a histogram: upper bounds, and how many are at or below.
fn buckets(histogram: &Histogram) -> Vec<(f64, u64)> {
    let families = histogram.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    metrics
        .flat_map(|metric| metric.get_histogram().get_bucket().to_vec())
        .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
        .collect()
}

/// The quantile of what came between two looks, interpolated within its bucket. What is above the
/// last bucket counts as its bound.
fn quantile(before: &[(f64, u64)], after: &[(f64, u64)], of: u64, quantile: f64) -> Option<f64> {
    if of == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds are far below 2^52")]
    let (of, as_float) = (of as f64, |count: u64| count as f64);
    let rank = of * quantile;
    let (mut bound_before, mut below_before) = (0.0, 0.0);
    for ((bound, after), (_, before)) in after.iter().zip(before) {
        let below = as_float(after.saturating_sub(*before));
        if below >= rank && below > below_before {
            let share = (rank - below_before) / (below - below_before);
            return Some(bound_before + (bound - bound_before) * share);
        }
        (bound_before, below_before) = (*bound, below);
    }
    Some(bound_before)
}

impl Sampler {
    /// Begins to count from here.
    pub(crate) fn new(meters: &Meters) -> Self {
        Self { before: VecDeque::from([Snapshot::take(meters)]) }
    }

    /// What happened since the look before, and how things stand.
    pub(crate) fn sample(&mut self, at: Timestamp, meters: &Meters) -> Sample {
        let after = Snapshot::take(meters);
        let last = self.before.back().unwrap_or(&after);
        let first = self.before.front().unwrap_or(&after);
        let seconds = after.at.duration_since(last.at).as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "counts of seconds are far below 2^52")]
        let rate = |after: u64, before: u64| after.saturating_sub(before) as f64 / seconds;
        let total = |buckets: &[(f64, u64)]| buckets.last().map_or(0, |(_, count)| *count);
        let ms = |before: &[(f64, u64)], after: &[(f64, u64)], of: f64| {
            let count = total(after).saturating_sub(total(before));
            quantile(before, after, count, of).map(|seconds| seconds * 1_000.0)
        };
        let gauges = &meters.gauges;
        let (memory, files) = crate::process::memory_and_files();
        let sample = Sample {
            at: at.0,
            connections: gauges.connections.get(),
            sessions: gauges.sessions.get(),
            documents: gauges.documents.get(),
            followers: gauges.followers.get(),
            leases: gauges.leases.get(),
            users: gauges.users.get(),
            spaces: gauges.spaces.get(),
            present_users: gauges.present_users.get(),
            present_devices: gauges.present_devices.get(),
            streams: gauges.streams.get(),
            stream_followers: gauges.stream_followers.get(),
            stream_bytes: gauges.stream_text_bytes.get(),
            feeds: gauges.feeds.get(),
            feed_followers: gauges.feed_followers.get(),
            behind: gauges.followers_behind.get(),
            lag: gauges.cursor_lag_changes.get(),
            lag_max: gauges.cursor_lag_max_changes.get(),
            pending_bytes: gauges.pending_bytes.get(),
            outgoing_bytes: gauges.outgoing_bytes.get(),
            queue: gauges.queue_messages.get() + gauges.queue_answers.get(),
            changes: rate(after.changes, last.changes),
            accepted_bytes: rate(after.accepted_bytes, last.accepted_bytes),
            bytes_in: rate(after.bytes_in, last.bytes_in),
            bytes_out: rate(after.bytes_out, last.bytes_out),
            frames_in: rate(after.frames_in, last.frames_in),
            frames_out: rate(after.frames_out, last.frames_out),
            commits: rate(after.commits, last.commits),
            busy: ((after.busy - last.busy) / seconds).clamp(0.0, 1.0),
            commit_p50: ms(&first.commit, &after.commit, 0.5),
            commit_p99: ms(&first.commit, &after.commit, 0.99),
            delivery_p50: ms(&first.delivery, &after.delivery, 0.5),
            delivery_p99: ms(&first.delivery, &after.delivery, 0.99),
            memory,
            files,
            refusals: refusals(meters),
            webhooks: meters.receivers.receivers(),
        };
        self.before.push_back(after);
        if self.before.len() > WINDOW {
            self.before.pop_front();
        }
        sample
    }
}

fn refusals(meters: &Meters) -> BTreeMap<&'static str, u64> {
    let of = |code: &Code| {
        let count = meters.refusals.with_label_values(&[code.slug()]).get();
        (count > 0).then_some((code.slug(), count))
    };
    Code::ALL.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn quantiles_are_of_what_came_since_and_lie_within_their_bucket() {
        let meters = Meters::new();
        meters.delivered(Duration::from_secs(5), 100);
        let mut sampler = Sampler::new(&meters);
        let quiet = sampler.sample(Timestamp(1), &meters);
        assert_eq!((quiet.delivery_p50, quiet.commit_p99), (None, None));
        meters.delivered(Duration::from_millis(3), 98);
        meters.delivered(Duration::from_millis(200), 2);
        let busy = sampler.sample(Timestamp(2), &meters);
        let (p50, p99) = (busy.delivery_p50.unwrap(), busy.delivery_p99.unwrap());
        assert!((2.5..=5.0).contains(&p50), "{p50}");
        assert!((100.0..=250.0).contains(&p99), "{p99}");
    }

    #[test]
    fn only_codes_that_occurred_are_told() {
        let meters = Meters::new();
        meters.refused(Code::Forbidden);
        meters.received.count(&[1, 0]);
        let mut sampler = Sampler::new(&meters);
        let sample = sampler.sample(Timestamp(1), &meters);
        assert_eq!(sample.refusals, BTreeMap::from([("forbidden", 1)]));
        assert!(serde_json::to_string(&sample).unwrap().contains("\"forbidden\":1"));
    }
}
