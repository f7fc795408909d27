//! What the players of a replay share: the plan, the clock, who is there, and what was noted down.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use syncline_client::Client;
use tokio::time::Instant;

use super::plan::{EventIndex, Plan};
use crate::cli::statistics::Durations;

/// How many problems are kept to be shown.
const PROBLEMS_SHOWN_MAX: usize = 20;

/// A client's place on the stage.
#[derive(Default)]
struct Place {
    client: Mutex<Option<Client>>,
    online: AtomicBool,
    /// Counts changes of connectivity, so that a measurement across one can be told.
    changes: AtomicU64,
    /// The first event that the client has yet to play and that keeps the others from going far
    /// ahead.
    front: AtomicUsize,
}

/// Shared by all players of a run.
pub(crate) struct Stage {
    pub(crate) plan: Arc<Plan>,
    /// How long a player may be without progress.
    pub(crate) timeout: Duration,
    /// How many times faster than recorded; `None` for as fast as possible.
    speed: Option<f64>,
    /// How far a client may be ahead of the one that is last, in events of the file.
    lead_max: usize,
    started: Instant,
    first_t: u64,
    places: Vec<Place>,
    dispatched: AtomicU64,
    /// Of clients that were killed; those of the others are asked at the end.
    bytes_of_the_killed: Mutex<(u64, u64)>,
    problems: Mutex<(u64, Vec<String>)>,
    latencies: Mutex<Durations>,
    progress: ProgressBar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    pub(crate) fn new(
        plan: Plan,
        clients: usize,
        speed: Option<f64>,
        timeout: Duration,
        progress: ProgressBar,
    ) -> Self {
        let first_t = if plan.len() == 0 { 0 } else { plan.event(0).t };
        // The order of the file is kept roughly, so that a client that goes offline has seen most of
        // what it is about to answer, and strictly enough that nobody waits for long.
        let lead_max = (plan.len() / 16).clamp(16, 1_024);
        Self {
            plan: Arc::new(plan),
            timeout,
            speed,
            lead_max,
            started: Instant::now(),
            first_t,
            places: (0..clients).map(|_| Place::default()).collect(),
            dispatched: AtomicU64::new(0),
            bytes_of_the_killed: Mutex::default(),
            problems: Mutex::default(),
            latencies: Mutex::default(),
            progress,
        }
    }

    /// Whether an event may be played as far as the clock and the other clients are concerned.
    pub(crate) fn is_due(&self, index: EventIndex) -> bool {
        let fronts = self.places.iter().map(|place| place.front.load(Ordering::Relaxed));
        if index > fronts.min().unwrap_or(0).saturating_add(self.lead_max) {
            return false;
        }
        let t = self.plan.event(index).t;
        let Some(speed) = self.speed else { return true };
        let recorded = Duration::from_millis(t.saturating_sub(self.first_t));
        self.started.elapsed().as_secs_f64() * speed >= recorded.as_secs_f64()
    }

    /// Notes the first event that a client has yet to play, apart from those that it has put off
    /// until it is online.
    pub(crate) fn front_moved(&self, client: usize, front: EventIndex) {
        self.places[client].front.store(front, Ordering::Relaxed);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// An event was played.
    pub(crate) fn dispatched(&self) {
        self.dispatched.fetch_add(1, Ordering::Relaxed);
        self.progress.inc(1);
    }

    pub(crate) fn events_dispatched(&self) -> u64 {
        self.dispatched.load(Ordering::Relaxed)
    }

    /// A client came (back).
    pub(crate) fn joined(&self, index: usize, client: &Client, online: bool) {
        *lock(&self.places[index].client) = Some(client.clone());
        self.connectivity_changed(index, online);
    }

    /// A client is about to be killed.
    pub(crate) fn left(&self, index: usize, client: &Client) {
        let status = client.status();
        let status = status.borrow();
        let mut bytes = lock(&self.bytes_of_the_killed);
        bytes.0 += status.bytes_sent;
        bytes.1 += status.bytes_received;
        *lock(&self.places[index].client) = None;
        self.connectivity_changed(index, false);
    }

    pub(crate) fn connectivity_changed(&self, index: usize, online: bool) {
        self.places[index].online.store(online, Ordering::Relaxed);
        self.places[index].changes.fetch_add(1, Ordering::Relaxed);
    }

    /// A client that is there and online.
    pub(crate) fn online_client(&self, index: usize) -> Option<Client> {
        let place = self.places.get(index)?;
        if !place.online.load(Ordering::Relaxed) {
            return None;
        }
        lock(&place.client).clone()
    }

    /// How often a client's connectivity has changed.
    pub(crate) fn changes(&self, index: usize) -> u64 {
        self.places[index].changes.load(Ordering::Relaxed)
    }

    pub(crate) fn clients(&self) -> usize {
        self.places.len()
    }

    /// Lets go of the clients, so that their owners can close them.
    pub(crate) fn empty(&self) {
        for place in &self.places {
            *lock(&place.client) = None;
        }
    }

    pub(crate) fn bytes_of_the_killed(&self) -> (u64, u64) {
        *lock(&self.bytes_of_the_killed)
    }

    /// Notes that something went wrong which the outcome will show.
    pub(crate) fn problem(&self, text: String) {
        let mut problems = lock(&self.problems);
        problems.0 += 1;
        if problems.1.len() < PROBLEMS_SHOWN_MAX {
            problems.1.push(text);
        }
    }

    /// How many problems there were, and the first of them.
    pub(crate) fn problems(&self) -> (u64, Vec<String>) {
        lock(&self.problems).clone()
    }

    pub(crate) fn latency(&self, latency: Duration) {
        lock(&self.latencies).push(latency);
    }

    pub(crate) fn latencies(&self) -> Durations {
        lock(&self.latencies).clone()
    }

    pub(crate) const fn progress(&self) -> &ProgressBar {
        &self.progress
    }
}
