//! The documents in which a receiver may lack something, in the order in which that became so; bounded.
//! What does not fit is found again by comparing places with the logs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use syncline_engine::ids::Address;
use tokio::sync::Notify;

/// Documents that wait for one receiver.
pub(super) const WAITING_MAX: usize = 10_000;

#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<Address>,
    since: BTreeMap<Address, Instant>,
    /// Whether some did not fit.
    overflowed: bool,
}

/// A queue of documents, each at most once.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: Mutex<Queue>,
    /// Something was put in.
    pub(super) filled: Notify,
    /// Something was taken out.
    pub(super) drained: Notify,
}

impl Waiting {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing under it panics half way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a document in. False if there is no room, which is remembered.
    pub(super) fn push(&self, address: &Address) -> bool {
        let mut queue = self.queue();
        if queue.since.contains_key(address) {
            return true;
        }
        if queue.order.len() >= WAITING_MAX {
            queue.overflowed = true;
            return false;
        }
        queue.order.push_back(address.clone());
        queue.since.insert(address.clone(), Instant::now());
        drop(queue);
        self.filled.notify_one();
        true
    }

    /// The document that waits longest.
    pub(super) fn pop(&self) -> Option<Address> {
        let mut queue = self.queue();
        let address = queue.order.pop_front()?;
        queue.since.remove(&address);
        drop(queue);
        self.drained.notify_one();
        Some(address)
    }

    /// Whether some did not fit since this was asked last.
    pub(super) fn take_overflow(&self) -> bool {
        std::mem::take(&mut self.queue().overflowed)
    }

    /// Remembers that some are not in it.
    pub(super) fn overflow(&self) {
        self.queue().overflowed = true;
        self.filled.notify_one();
    }

    /// How many wait, and how long the first of them has.
    pub(super) fn lag(&self) -> (usize, Duration) {
        let queue = self.queue();
        let first = queue.order.front().and_then(|first| queue.since.get(first));
        (queue.order.len(), first.map_or(Duration::ZERO, Instant::elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_document_waits_once_and_what_does_not_fit_is_remembered() {
        let waiting = Waiting::default();
        let address = |n: usize| format!("town/{n}/likes").parse::<Address>().unwrap();
        assert!(waiting.push(&address(0)) && waiting.push(&address(0)));
        assert_eq!((waiting.pop(), waiting.pop()), (Some(address(0)), None));
        for n in 0..WAITING_MAX {
            assert!(waiting.push(&address(n)));
        }
        assert!(!waiting.take_overflow());
        assert!(!waiting.push(&address(WAITING_MAX)), "it is full");
        assert!(waiting.push(&address(7)), "that one waits already");
        assert!(waiting.take_overflow() && !waiting.take_overflow());
        assert_eq!(waiting.lag().0, WAITING_MAX);
    }
}
