//! Whether this server should be sent work: what the hub's loop last said of itself, and when. Knows
//! neither routes nor documents.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A loop that has not been heard of for this long hangs: it is heard of every second.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What is in the way of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// What was not acknowledged has an unknown outcome, and nothing more is taken in.
    #[error("the store has failed")]
    StoreFailed,
    /// The process is on its way out.
    #[error("shutting down")]
    ShuttingDown,
    /// Nothing was heard of the loop that owns the hub.
    #[error("the hub does not answer")]
    Silent,
    /// More work would hurt the work that is there.
    #[error("overloaded: {0}")]
    Overloaded(&'static str),
}

#[derive(Debug)]
struct State {
    heard: Instant,
    overload: Option<&'static str>,
    store_failed: bool,
}

/// What the loop says and others read.
#[derive(Debug)]
pub(crate) struct Health(Mutex<State>);

impl Health {
    /// In good health from here on.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { heard: Instant::now(), overload: None, store_failed: false }))
    }

    /// The loop is alive, and this overloads it.
    pub(crate) fn beat(&self, overload: Option<&'static str>) {
        self.with(|state| (state.heard, state.overload) = (Instant::now(), overload));
    }

    /// The store has failed, for good.
    pub(crate) fn store_failed(&self) {
        self.with(|state| state.store_failed = true);
    }

    /// What is in the way, the worst first.
    pub(crate) fn trouble(&self, shutting_down: bool) -> Option<Trouble> {
        self.with(|state| {
            if state.store_failed {
                Some(Trouble::StoreFailed)
            } else if shutting_down {
                Some(Trouble::ShuttingDown)
            } else if state.heard.elapsed() > SILENCE_MAX {
                Some(Trouble::Silent)
            } else {
                state.overload.map(Trouble::Overloaded)
            }
        })
    }

    fn with<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        // Nothing in here can panic halfway through a change.
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_told() {
        let health = Health::new();
        assert_eq!(health.trouble(false), None);
        health.beat(Some("too much"));
        let said = health.trouble(false).map(|trouble| trouble.to_string());
        assert_eq!(said.as_deref(), Some("overloaded: too much"));
        health.with(|state| state.heard -= SILENCE_MAX + Duration::from_secs(1));
        assert_eq!(health.trouble(false), Some(Trouble::Silent));
        assert_eq!(health.trouble(true), Some(Trouble::ShuttingDown));
        health.beat(None);
        assert_eq!(health.trouble(false), None);
        health.store_failed();
        assert_eq!(health.trouble(true), Some(Trouble::StoreFailed));
    }
}
