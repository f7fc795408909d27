//! What is counted of each receiver, for whoever watches. Knows no format in which it is shown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What one receiver has got and what it lacks, since the server started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookStats {
    /// Its name.
    pub name: String,
    /// Events that it took.
    pub delivered: u64,
    /// Requests that it took.
    pub requests: u64,
    /// Requests that failed or were refused.
    pub failed: u64,
    /// Requests that were made again after a refusal.
    pub retried: u64,
    /// Events that were put aside because it refuses them.
    pub dead: u64,
    /// Stretches of logs that it was told were gone.
    pub gaps: u64,
    /// Bytes of events that are kept for it because logs have dropped them.
    pub spooled_bytes: u64,
    /// Documents that wait for their first attempt.
    pub waiting: usize,
    /// How long the first of them has waited.
    pub lag: Duration,
    /// Documents that wait for another attempt, because the one before failed.
    pub retrying: usize,
    /// For how long there have been such documents.
    pub failing: Duration,
}

/// Documents that wait for another attempt, and since when there are some.
#[derive(Debug, Default)]
struct Failing {
    documents: usize,
    since: Option<Instant>,
}

/// The numbers that only go up, and what fails at the moment.
#[derive(Debug, Default)]
pub(super) struct Counters {
    delivered: AtomicU64,
    requests: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    dead: AtomicU64,
    gaps: AtomicU64,
    failing: Mutex<Failing>,
}

impl Counters {
    pub(super) fn delivered(&self, events: u64, gaps: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.delivered.fetch_add(events, Ordering::Relaxed);
        self.gaps.fetch_add(gaps, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, requests: u64) {
        self.failed.fetch_add(requests, Ordering::Relaxed);
    }

    pub(super) fn retried(&self, requests: u64) {
        self.retried.fetch_add(requests, Ordering::Relaxed);
    }

    pub(super) fn dead(&self, events: u64) {
        self.dead.fetch_add(events, Ordering::Relaxed);
    }

    /// So many documents wait for another attempt.
    pub(super) fn retrying(&self, documents: usize) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failing.since.take().unwrap_or_else(Instant::now);
        *failing = Failing { documents, since: (documents > 0).then_some(since) };
    }

    pub(super) fn stats(
        &self,
        name: &str,
        spooled_bytes: u64,
        (waiting, lag): (usize, Duration),
    ) -> WebhookStats {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        WebhookStats {
            name: name.to_owned(),
            delivered: read(&self.delivered),
            requests: read(&self.requests),
            failed: read(&self.failed),
            retried: read(&self.retried),
            dead: read(&self.dead),
            gaps: read(&self.gaps),
            spooled_bytes,
            waiting,
            lag,
            retrying: failing.documents,
            failing: failing.since.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }
}
