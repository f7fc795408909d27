//! Copies of documents that were read of late, so that a page that many look at is not made anew for
//! each. Who may see one is asked of the hub every time, before; nothing here knows users.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use syncline_engine::ids::Address;
use syncline_engine::reading::Reading;
use tokio::sync::Semaphore;

use super::show::Shown;

/// Copies that are kept.
const COPIES_MAX: usize = 512;
/// Bytes of logs that were read for the copies that are kept, and of what they show. In memory a
/// document takes a few times as much as its log.
const COPIES_BYTES_MAX: usize = 32 << 20;
/// How long a copy is kept that nobody asks for.
const IDLE: Duration = Duration::from_secs(60);
/// Copies that are made or brought up to date at the same time: it takes a processor.
const MAKERS_MAX: usize = 4;

/// One document as it was read last, and as it is shown if somebody has asked for that.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) reading: Reading,
    pub(crate) shown: Option<Arc<Shown>>,
}

impl Copy {
    fn bytes(&self) -> usize {
        self.reading.bytes() + self.shown.as_ref().map_or(0, |shown| shown.bytes())
    }
}

/// The place of a document's copy. Who holds it is the one who reads the log for all others.
pub(crate) type Place = tokio::sync::Mutex<Option<Copy>>;

#[derive(Debug)]
struct Kept {
    place: Arc<Place>,
    used: Instant,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Table {
    kept: BTreeMap<Address, Kept>,
    bytes: usize,
}

impl Table {
    fn remove(&mut self, address: &Address) {
        if let Some(kept) = self.kept.remove(address) {
            self.bytes -= kept.bytes;
        }
    }

    /// Lets go of the copies that were used least, until all is within bounds.
    fn shrink(&mut self, copies_max: usize, bytes_max: usize) {
        while self.kept.len() > copies_max || self.bytes > bytes_max {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            let Some(address) = oldest.map(|(address, _)| address.clone()) else { return };
            self.remove(&address);
        }
    }
}

/// The copies that are kept.
#[derive(Debug)]
pub(crate) struct Copies {
    table: Mutex<Table>,
    makers: Arc<Semaphore>,
}

impl Copies {
    /// Keeps nothing yet. In a runtime it lets go of what is idle by itself.
    pub(crate) fn start() -> Arc<Self> {
        let makers = Arc::new(Semaphore::new(MAKERS_MAX));
        let copies = Arc::new(Self { table: Mutex::default(), makers });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(forget_idle(Arc::downgrade(&copies)));
        }
        copies
    }

    /// The place of a document's copy.
    pub(crate) fn place(&self, address: &Address) -> Arc<Place> {
        let mut table = self.table();
        let fresh = || Kept { place: Arc::default(), used: Instant::now(), bytes: 0 };
        let kept = table.kept.entry(address.clone()).or_insert_with(fresh);
        kept.used = Instant::now();
        let place = Arc::clone(&kept.place);
        table.shrink(COPIES_MAX, COPIES_BYTES_MAX);
        place
    }

    /// Notes how large a copy is by now, if it is kept.
    pub(crate) fn note(&self, address: &Address, copy: Option<&Copy>) {
        let bytes = copy.map_or(0, Copy::bytes);
        let mut table = self.table();
        let Some(kept) = table.kept.get_mut(address) else { return };
        let before = std::mem::replace(&mut kept.bytes, bytes);
        table.bytes = table.bytes - before + bytes;
        table.shrink(COPIES_MAX, COPIES_BYTES_MAX);
    }

    /// Runs what takes a processor, on a thread for such work and not too many at a time.
    pub(crate) async fn make<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let turn = Arc::clone(&self.makers).acquire_owned().await.ok()?;
        let made = tokio::task::spawn_blocking(move || {
            let made = make();
            drop(turn);
            made
        });
        // A panic concerns this document alone.
        made.await.ok()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in here can panic halfway through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_unused(&self, now: Instant) {
        let mut table = self.table();
        let idle: Vec<_> = table
            .kept
            .iter()
            .filter(|(_, kept)| now.saturating_duration_since(kept.used) >= IDLE)
            .map(|(address, _)| address.clone())
            .collect();
        for address in idle {
            table.remove(&address);
        }
    }
}

async fn forget_idle(copies: Weak<Copies>) {
    loop {
        tokio::time::sleep(IDLE / 2).await;
        let Some(copies) = copies.upgrade() else { return };
        copies.drop_unused(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use syncline_engine::ids::Epoch;

    use super::*;

    fn address(number: usize) -> Address {
        format!("town/{number}/json").parse().unwrap()
    }

    #[test]
    fn what_was_used_least_goes_first_and_what_is_idle_goes_by_itself() {
        let copies = Copies::start();
        let first = copies.place(&address(0));
        for number in 0..COPIES_MAX {
            copies.place(&address(number));
        }
        assert!(Arc::ptr_eq(&first, &copies.place(&address(0))), "it is used again");
        copies.place(&address(COPIES_MAX));
        assert_eq!(copies.table().kept.len(), COPIES_MAX);
        assert!(copies.table().kept.contains_key(&address(0)));
        assert!(!copies.table().kept.contains_key(&address(1)), "it was used least");
        copies.drop_unused(Instant::now() + IDLE);
        assert!(copies.table().kept.is_empty());
    }

    #[test]
    fn the_sizes_of_copies_are_counted() {
        let copies = Copies::start();
        for number in 0..2 {
            let reading = Reading::begin(address(number), Epoch([1; 16]));
            let shown = Shown::of_bytes(COPIES_BYTES_MAX / 2 + 1);
            let copy = Copy { reading, shown: Some(Arc::new(shown)) };
            copies.place(&address(number));
            copies.note(&address(number), Some(&copy));
        }
        assert_eq!(copies.table().kept.len(), 1, "two are too many");
        copies.note(&address(1), None);
        assert_eq!(copies.table().bytes, 0);
        copies.note(&address(7), None);
        assert_eq!(copies.table().kept.len(), 1, "what is not kept is not counted");
    }
}
