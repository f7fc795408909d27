//! Brings one receiver what it lacks: one request at a time for each document, several documents at a
//! time, slower and slower while it fails. Knows no log and no content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use syncline_engine::ids::Address;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::backoff;
use super::client::{Answer, Poster};
use super::config::Webhook;
use super::teller::{Batch, Teller};
use super::{Shared, scan};

/// Requests about one document before others get a turn.
const REQUESTS_PER_TURN: u32 = 16;
/// Documents that wait for another attempt; what does not fit is found again by comparing.
const RETRIES_MAX: usize = 10_000;
/// The worker looks around this often even if nothing wakes it.
const LONG: Duration = Duration::from_secs(3_600);

/// A document whose last attempt failed.
#[derive(Debug, Clone, Copy)]
struct Retry {
    /// Attempts that failed in a row.
    failures: u32,
    /// Attempts that the receiver refused in a row.
    refusals: u32,
    due: Instant,
}

/// How a turn with a document ended.
enum Ended {
    /// The receiver has all of it.
    Done,
    /// There is more.
    More,
    /// An attempt failed.
    Failed { retry_after: Option<Duration> },
    /// The receiver refused it.
    Refused,
}

/// What the requests need.
struct Delivery {
    index: usize,
    shared: Arc<Shared>,
    teller: Teller,
    poster: Poster,
}

impl Delivery {
    fn webhook(&self) -> &Webhook {
        &self.shared.webhooks[self.index]
    }

    /// Brings the receiver what it lacks of a document, until a request fails. `refusals` is how often
    /// it has refused what comes next. Answers whether anything got there, too.
    async fn turn(&self, address: &Address, mut refusals: u32) -> (bool, Ended) {
        let counters = &self.shared.counters[self.index];
        let mut progress = false;
        for _ in 0..REQUESTS_PER_TURN {
            // What was refused is sent alone, so that nothing good is put aside with it.
            let events_max = if refusals > 0 { 1 } else { usize::MAX };
            let batch = match self.teller.next(self.index, address, events_max).await {
                Ok(Some(batch)) => batch,
                Ok(None) => return (progress, Ended::Done),
                Err(what) => {
                    tracing::error!(%address, webhook = self.webhook().name, what, "events are not to be had");
                    counters.failed(1);
                    return (progress, Ended::Failed { retry_after: None });
                }
            };
            if batch.events > 0 {
                match self.send(address, &batch, refusals).await {
                    Ended::Done => progress = true,
                    ended @ (Ended::Failed { .. } | Ended::Refused | Ended::More) => {
                        return (progress, ended);
                    }
                }
            }
            if let Err(error) = self.teller.had(self.index, address, batch.to).await {
                tracing::error!(%address, %error, "the place of a webhook cannot be noted");
                return (progress, Ended::Failed { retry_after: None });
            }
            refusals = 0;
        }
        (progress, Ended::More)
    }

    /// Sends a batch. Done means that it is dealt with: taken or put aside.
    async fn send(&self, address: &Address, batch: &Batch, refusals: u32) -> Ended {
        let (webhook, counters) = (self.webhook(), &self.shared.counters[self.index]);
        if refusals > 0 {
            counters.retried(1);
        }
        match self.poster.post(webhook, &batch.id, batch.body.clone()).await {
            Answer::Taken => {
                counters.delivered(batch.events as u64, batch.gaps as u64);
                Ended::Done
            }
            Answer::Failed { why, retry_after } => {
                counters.failed(1);
                tracing::warn!(%address, webhook = webhook.name, why, "a webhook does not take events");
                Ended::Failed { retry_after }
            }
            Answer::Refused(status) => {
                counters.failed(1);
                tracing::warn!(%address, webhook = webhook.name, %status, refusals, "a webhook refuses events");
                let is_enough = webhook.dead_after > 0 && refusals + 1 >= webhook.dead_after;
                if !is_enough || batch.events > 1 {
                    return Ended::Refused;
                }
                match self.teller.bury(self.index, address, batch.body.clone()).await {
                    Ok(()) => {
                        counters.dead(1);
                        Ended::Done
                    }
                    Err(error) => {
                        tracing::error!(%address, %error, "a refused event cannot be put aside");
                        Ended::Refused
                    }
                }
            }
        }
    }
}

/// One receiver's worker.
pub(super) struct Worker {
    delivery: Arc<Delivery>,
    retries: BTreeMap<Address, Retry>,
    /// Documents that a request is about.
    busy: BTreeSet<Address>,
    /// Those of them that have got more since.
    again: BTreeSet<Address>,
    /// Documents that failed since the last that did not.
    failed: BTreeSet<Address>,
    /// Nothing is sent before this.
    open_at: Instant,
}

impl Worker {
    pub(super) fn new(index: usize, shared: Arc<Shared>, teller: Teller) -> Self {
        let poster = Poster::new(&shared.webhooks[index]);
        Self {
            delivery: Arc::new(Delivery { index, shared, teller, poster }),
            retries: BTreeMap::new(),
            busy: BTreeSet::new(),
            again: BTreeSet::new(),
            failed: BTreeSet::new(),
            open_at: Instant::now(),
        }
    }

    /// Runs until `closing` turns true. A request that is under way is given up; it is made again after
    /// the next start.
    pub(super) async fn run(mut self, mut closing: watch::Receiver<bool>) {
        let (index, shared) = (self.delivery.index, Arc::clone(&self.delivery.shared));
        let waiting = &shared.waiting[index];
        let mut turns: JoinSet<(Address, bool, Ended)> = JoinSet::new();
        let mut scanning = JoinSet::new();
        waiting.overflow();
        loop {
            if scanning.is_empty() && waiting.lag().0 == 0 && waiting.take_overflow() {
                let teller = self.delivery.teller.clone();
                scanning.spawn(scan::scan(index, Arc::clone(&shared), teller));
            }
            self.begin(&mut turns);
            // With all turns taken, the end of one wakes.
            let idle = if turns.len() < self.most() { self.idle_for() } else { LONG };
            let sleep = tokio::time::sleep(idle);
            tokio::select! {
                () = closed(&mut closing) => break,
                Some(ended) = turns.join_next() => match ended {
                    Ok((address, progress, ended)) => self.ended(address, progress, &ended),
                    Err(error) => {
                        // Which document it was is not known, so all are looked at.
                        tracing::error!(%error, "a delivery panicked");
                        self.busy.clear();
                        waiting.overflow();
                    }
                },
                Some(_) = scanning.join_next() => {}
                () = waiting.filled.notified() => {}
                () = sleep => {}
            }
        }
        // They hold the store.
        turns.shutdown().await;
        scanning.shutdown().await;
    }

    /// How many turns may be under way: one as long as the receiver fails.
    fn most(&self) -> usize {
        if self.failed.is_empty() { self.delivery.webhook().parallel } else { 1 }
    }

    /// Begins as many turns as may be.
    fn begin(&mut self, turns: &mut JoinSet<(Address, bool, Ended)>) {
        let now = Instant::now();
        while turns.len() < self.most() && now >= self.open_at {
            let Some(address) = self.choose(now) else { return };
            if self.busy.contains(&address) {
                self.again.insert(address);
                continue;
            }
            let refusals = self.retries.get(&address).map_or(0, |retry| retry.refusals);
            self.busy.insert(address.clone());
            let delivery = Arc::clone(&self.delivery);
            turns.spawn(async move {
                let (progress, ended) = delivery.turn(&address, refusals).await;
                (address, progress, ended)
            });
        }
    }

    /// The next document. While the receiver fails, one that did not, so that a single document that
    /// it cannot take does not keep all others waiting.
    fn choose(&self, now: Instant) -> Option<Address> {
        let waiting = &self.delivery.shared.waiting[self.delivery.index];
        let due = || {
            let due = self
                .retries
                .iter()
                .filter(|(at, retry)| retry.due <= now && !self.busy.contains(*at));
            due.min_by_key(|(_, retry)| retry.due).map(|(address, _)| address.clone())
        };
        let fresh = || loop {
            let address = waiting.pop()?;
            // One that waits for its next attempt waits on.
            if self.retries.get(&address).is_none_or(|retry| retry.due <= now) {
                return Some(address);
            }
        };
        if self.failed.is_empty() { due().or_else(fresh) } else { fresh().or_else(due) }
    }

    /// How long there is nothing to do if nothing happens.
    fn idle_for(&self) -> Duration {
        let now = Instant::now();
        let due = self.retries.iter().filter(|(address, _)| !self.busy.contains(*address));
        let due = due.map(|(_, retry)| retry.due).min();
        let opens = (self.open_at > now).then_some(self.open_at);
        let next = due.map(|due| due.max(self.open_at)).into_iter().chain(opens).min();
        let least = Duration::from_millis(1);
        next.map_or(LONG, |next| next.saturating_duration_since(now).max(least))
    }

    fn ended(&mut self, address: Address, progress: bool, ended: &Ended) {
        self.busy.remove(&address);
        let shared = Arc::clone(&self.delivery.shared);
        let index = self.delivery.index;
        let had_more = self.again.remove(&address);
        if progress {
            self.failed.clear();
            self.open_at = Instant::now();
        }
        let before = self.retries.remove(&address);
        match ended {
            Ended::Done | Ended::More => {
                if matches!(ended, Ended::More) || had_more {
                    shared.waiting[index].push(&address);
                }
            }
            Ended::Failed { retry_after } => {
                self.failed(address, before, progress, *retry_after, false);
            }
            Ended::Refused => self.failed(address, before, progress, None, true),
        }
        shared.counters[index].retrying(self.retries.len());
    }

    fn failed(
        &mut self,
        address: Address,
        before: Option<Retry>,
        progress: bool,
        retry_after: Option<Duration>,
        refused: bool,
    ) {
        let shared = Arc::clone(&self.delivery.shared);
        let webhook = self.delivery.webhook();
        let (min, max) = (webhook.backoff_min, webhook.backoff_max);
        let now = Instant::now();
        let before = before.filter(|_| !progress);
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        let refusals = before.map_or(0, |before| before.refusals);
        let refusals = if refused { refusals.saturating_add(1) } else { refusals };
        if self.failed.len() < RETRIES_MAX {
            self.failed.insert(address.clone());
        }
        let in_a_row = u32::try_from(self.failed.len()).unwrap_or(u32::MAX);
        let own = backoff::wait(failures, min, max, random()).max(retry_after.unwrap_or_default());
        let all = retry_after.unwrap_or_else(|| backoff::wait(in_a_row, min, max, random()));
        self.open_at = self.open_at.max(now + all);
        if self.retries.len() < RETRIES_MAX {
            self.retries.insert(address, Retry { failures, refusals, due: now + own });
        } else {
            shared.waiting[self.delivery.index].overflow();
        }
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that nobody will say it any more, which says it.
    let _ = closing.wait_for(|closing| *closing).await;
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness there is no jitter, which is no reason not to go on.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
