//! What the receivers of events have got and what they lack. They are told apart by the names that the
//! operator gave them, of which there are few.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use serde::Serialize;

use super::{labelled, register};
use crate::webhooks::WebhookStats;

const LABEL: &[&str] = &["webhook"];

/// The metrics of all receivers.
#[derive(Debug)]
pub(super) struct Receivers {
    events: IntCounterVec,
    requests: IntCounterVec,
    retries: IntCounterVec,
    dead: IntCounterVec,
    gaps: IntCounterVec,
    spooled: IntGaugeVec,
    waiting: IntGaugeVec,
    lag: GaugeVec,
    retrying: IntGaugeVec,
    failing: GaugeVec,
    last: Mutex<Vec<WebhookStats>>,
}

/// What the dashboard shows of one receiver. Times are in seconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Receiver {
    name: String,
    events: u64,
    failed: u64,
    dead: u64,
    waiting: usize,
    retrying: usize,
    lag: f64,
    failing: f64,
    spooled_bytes: u64,
}

/// Where a total is, and its counter.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn set(gauge: &IntGauge, size: u64) {
    gauge.set(i64::try_from(size).unwrap_or(i64::MAX));
}

fn set_time(gauge: &Gauge, time: Duration) {
    gauge.set(time.as_secs_f64());
}

impl Receivers {
    pub(super) fn new(all: &Registry) -> Self {
        let counter = |name, help| labelled(all, name, help, LABEL);
        let gauge = |name, help| register(all, IntGaugeVec::new(Opts::new(name, help), LABEL));
        let time = |name, help| register(all, GaugeVec::new(Opts::new(name, help), LABEL));
        Self {
            events: counter("syncline_webhook_events_total", "Events that a receiver took."),
            requests: labelled(
                all,
                "syncline_webhook_requests_total",
                "Requests to a receiver, by whether it took them.",
                &["webhook", "outcome"],
            ),
            retries: counter(
                "syncline_webhook_retries_total",
                "Requests that were made again after a refusal.",
            ),
            dead: counter(
                "syncline_webhook_dead_events_total",
                "Events that were put aside because the receiver refuses them.",
            ),
            gaps: counter(
                "syncline_webhook_gaps_total",
                "Stretches of logs that a receiver was told were gone.",
            ),
            spooled: gauge(
                "syncline_webhook_spooled_bytes",
                "Bytes of events that are kept for a receiver because logs have dropped them.",
            ),
            waiting: gauge(
                "syncline_webhook_waiting_documents",
                "Documents that wait for their first attempt.",
            ),
            lag: time(
                "syncline_webhook_lag_seconds",
                "How long the first document has waited for its first attempt.",
            ),
            retrying: gauge(
                "syncline_webhook_retrying_documents",
                "Documents that wait for another attempt, because the one before failed.",
            ),
            failing: time(
                "syncline_webhook_failing_seconds",
                "For how long documents have waited for another attempt.",
            ),
            last: Mutex::default(),
        }
    }

    pub(super) fn set(&self, stats: Vec<WebhookStats>) {
        for of in &stats {
            let name = [of.name.as_str()];
            for (counter, total) in [
                (&self.events, of.delivered),
                (&self.retries, of.retried),
                (&self.dead, of.dead),
                (&self.gaps, of.gaps),
            ] {
                raise(&counter.with_label_values(&name), total);
            }
            for (outcome, total) in [("done", of.requests), ("failed", of.failed)] {
                raise(&self.requests.with_label_values(&[of.name.as_str(), outcome]), total);
            }
            set(&self.spooled.with_label_values(&name), of.spooled_bytes);
            set(&self.waiting.with_label_values(&name), of.waiting as u64);
            set(&self.retrying.with_label_values(&name), of.retrying as u64);
            set_time(&self.lag.with_label_values(&name), of.lag);
            set_time(&self.failing.with_label_values(&name), of.failing);
        }
        *self.last() = stats;
    }

    /// What was published last.
    pub(super) fn receivers(&self) -> Vec<Receiver> {
        let receiver = |of: &WebhookStats| Receiver {
            name: of.name.clone(),
            events: of.delivered,
            failed: of.failed,
            dead: of.dead,
            waiting: of.waiting,
            retrying: of.retrying,
            lag: of.lag.as_secs_f64(),
            failing: of.failing.as_secs_f64(),
            spooled_bytes: of.spooled_bytes,
        };
        self.last().iter().map(receiver).collect()
    }

    fn last(&self) -> MutexGuard<'_, Vec<WebhookStats>> {
        // Nothing under it panics half way.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
