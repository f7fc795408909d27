//! The one thread that appends to a log. It turns "make this durable and tell me" into group
//! commits: what arrives while one flush runs goes into the next. It knows neither what it
//! commits nor who asked.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use syncline_engine::storage::{Append, LogStore, StoreError};

/// Commits that may wait for the one under way. A hub has at most one, so this is also the number
/// of hubs that can share a committer.
pub const COMMITS_WAITING_MAX: usize = 64;

/// Called once with the outcome, on the committer's thread; it must not block.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Appends that become durable together.
pub struct Commit {
    /// What to append.
    pub appends: Vec<Append>,
    /// Whom to tell.
    pub done: Done,
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("appends", &self.appends.len()).finish_non_exhaustive()
    }
}

/// A commit was not taken; it comes back untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// As many wait as may.
    #[error("{COMMITS_WAITING_MAX} commits are waiting")]
    Full(Commit),
    /// The thread has ended.
    #[error("the committer has stopped")]
    Stopped(Commit),
}

/// The handle of the committer's thread. Dropping it finishes what was submitted and ends the
/// thread.
#[derive(Debug)]
pub struct Committer {
    commits: Option<SyncSender<Commit>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(store: Arc<dyn LogStore>) -> io::Result<Self> {
        let (commits, waiting) = sync_channel(COMMITS_WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || run(&*store, &waiting))?;
        Ok(Self { commits: Some(commits), thread: Some(thread) })
    }

    /// Hands a commit over without waiting for it. [`Commit::done`] is called once, also if the
    /// store has failed.
    ///
    /// # Errors
    /// [`SubmitError`] with the commit in it if it was not taken; `done` is not called then.
    pub fn submit(&self, commit: Commit) -> Result<(), SubmitError> {
        let Some(commits) = &self.commits else { return Err(SubmitError::Stopped(commit)) };
        commits.try_send(commit).map_err(|refused| match refused {
            TrySendError::Full(commit) => SubmitError::Full(commit),
            TrySendError::Disconnected(commit) => SubmitError::Stopped(commit),
        })
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.commits = None;
        if let Some(thread) = self.thread.take() {
            // The thread catches the store's panics; one of a callback has been printed already.
            let _ = thread.join();
        }
    }
}

fn run(store: &dyn LogStore, waiting: &Receiver<Commit>) {
    while let Ok(first) = waiting.recv() {
        let mut group = vec![first];
        group.extend(waiting.try_iter().take(COMMITS_WAITING_MAX));
        if let [_] = &group[..] {
            each(store, group);
            continue;
        }
        let together: Vec<Append> =
            group.iter().flat_map(|commit| commit.appends.iter().cloned()).collect();
        match append(store, &together) {
            Ok(()) => group.into_iter().for_each(|commit| (commit.done)(Ok(()))),
            Err(StoreError::Failed(why)) => {
                for commit in group {
                    (commit.done)(Err(StoreError::Failed(why.clone())));
                }
            }
            // Nothing was written, and only some of the group are to blame.
            Err(_) => each(store, group),
        }
    }
}

fn each(store: &dyn LogStore, group: Vec<Commit>) {
    for commit in group {
        let result = append(store, &commit.appends);
        (commit.done)(result);
    }
}

/// Appends; a panic in the store is a failure with an unknown outcome like any other.
fn append(store: &dyn LogStore, batch: &[Append]) -> Result<(), StoreError> {
    catch_unwind(AssertUnwindSafe(|| store.append(batch)))
        .unwrap_or_else(|_| Err(StoreError::Failed("the store panicked".to_owned())))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use bytes::Bytes;
    use syncline_engine::clock::Timestamp;
    use syncline_engine::ids::{Address, Cursor, Epoch, Facet};
    use syncline_engine::storage::conformance::LogWriter;
    use syncline_engine::storage::record::DigestKey;
    use syncline_engine::storage::{Deletion, LogHead, PostsWanted, Record, Rollover, Snapshot};
    use syncline_engine::summary::{Brought, Summary};

    use super::*;
    use crate::store::MemoryStore;

    /// Says when an append begins and waits until it may go on, how it is told.
    struct Gated {
        inner: MemoryStore,
        begun: Mutex<Sender<usize>>,
        go_on: Mutex<Receiver<Result<(), StoreError>>>,
    }

    impl LogStore for Gated {
        fn append(&self, batch: &[Append]) -> Result<(), StoreError> {
            self.begun.lock().unwrap().send(batch.len()).unwrap();
            self.go_on.lock().unwrap().recv().expect("this panics when the test hangs up")?;
            self.inner.append(batch)
        }

        fn head(&self, address: &Address) -> Result<Option<LogHead>, StoreError> {
            self.inner.head(address)
        }

        fn read(&self, at: &Address, from: u64, max: usize) -> Result<Vec<Record>, StoreError> {
            self.inner.read(at, from, max)
        }

        fn read_snapshot(
            &self,
            address: &Address,
            cursor: Cursor,
            offset: u64,
            bytes_max: usize,
        ) -> Result<Option<Bytes>, StoreError> {
            self.inner.read_snapshot(address, cursor, offset, bytes_max)
        }

        fn read_attribution(&self, at: &Address, to: Cursor) -> Result<Option<Bytes>, StoreError> {
            self.inner.read_attribution(at, to)
        }

        fn put_snapshot(&self, at: &Address, put: &Snapshot, keep: u64) -> Result<(), StoreError> {
            self.inner.put_snapshot(at, put, keep)
        }

        fn roll_over(
            &self,
            at: &Address,
            over: &Rollover,
            since: Timestamp,
        ) -> Result<(), StoreError> {
            self.inner.roll_over(at, over, since)
        }

        fn list(&self, after: Option<&Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
            self.inner.list(after, limit)
        }

        fn posts(&self, space: &str, wanted: &PostsWanted) -> Result<Vec<Summary>, StoreError> {
            self.inner.posts(space, wanted)
        }

        fn put_summary(&self, at: &Address, brought: &Brought) -> Result<(), StoreError> {
            self.inner.put_summary(at, brought)
        }

        fn is_summarised(&self, space: &str) -> Result<bool, StoreError> {
            self.inner.is_summarised(space)
        }

        fn set_summarised(&self, space: &str) -> Result<(), StoreError> {
            self.inner.set_summarised(space)
        }

        fn deletion(&self, space: &str) -> Result<Option<Deletion>, StoreError> {
            self.inner.deletion(space)
        }

        fn set_deletion(&self, space: &str, deletion: Option<Deletion>) -> Result<(), StoreError> {
            self.inner.set_deletion(space, deletion)
        }
    }

    struct World {
        committer: Committer,
        begun: Receiver<usize>,
        go_on: Sender<Result<(), StoreError>>,
        outcomes: Receiver<(u32, Result<(), StoreError>)>,
        outcome: Sender<(u32, Result<(), StoreError>)>,
    }

    impl World {
        fn new() -> Self {
            let (begun, begun_out) = channel();
            let (go_on, go_on_out) = channel();
            let (outcome, outcomes) = channel();
            let store = Gated {
                inner: MemoryStore::new(),
                begun: Mutex::new(begun),
                go_on: Mutex::new(go_on_out),
            };
            let committer = Committer::start(Arc::new(store)).unwrap();
            Self { committer, begun: begun_out, go_on, outcomes, outcome }
        }

        fn commit(&self, number: u32, append: Append) -> Commit {
            let outcome = self.outcome.clone();
            let done: Done = Box::new(move |result| outcome.send((number, result)).unwrap());
            Commit { appends: vec![append], done }
        }

        fn submit(&self, number: u32, append: Append) {
            self.committer.submit(self.commit(number, append)).unwrap();
        }

        fn next_outcome(&self) -> (u32, bool) {
            let (number, result) = self.outcomes.recv().unwrap();
            (number, result.is_ok())
        }
    }

    fn writer(id: &str) -> LogWriter {
        let address = Address::new("town", id, Facet::Json).unwrap();
        LogWriter::new(address, Epoch([1; 16]), DigestKey([0; 32]))
    }

    #[test]
    fn what_arrives_during_a_commit_is_committed_together_next() {
        let (world, mut a, mut b) = (World::new(), writer("a"), writer("b"));
        world.submit(1, a.next(&[1]));
        assert_eq!(world.begun.recv().unwrap(), 1);
        world.submit(2, a.next(&[1]));
        world.submit(3, b.next(&[1]));
        world.submit(4, a.next(&[1]));
        world.go_on.send(Ok(())).unwrap();
        assert_eq!(world.next_outcome(), (1, true));
        assert_eq!(world.begun.recv().unwrap(), 3, "all that waited, at once");
        world.go_on.send(Ok(())).unwrap();
        for number in 2..=4 {
            assert_eq!(world.next_outcome(), (number, true));
        }
    }

    #[test]
    fn a_conflict_fails_its_own_commit_and_no_other_of_the_group() {
        let (world, mut a, mut b) = (World::new(), writer("a"), writer("b"));
        world.submit(1, a.next(&[1]));
        world.begun.recv().unwrap();
        let _skipped = a.next(&[1]);
        world.submit(2, a.next(&[1]));
        world.submit(3, b.next(&[1]));
        for _ in 0..4 {
            world.go_on.send(Ok(())).unwrap();
        }
        assert_eq!([(); 3].map(|()| world.next_outcome()), [(1, true), (2, false), (3, true)]);
    }

    #[test]
    fn a_failure_reaches_every_commit_of_the_group_and_is_not_tried_again() {
        let (world, mut a, mut b) = (World::new(), writer("a"), writer("b"));
        world.submit(1, a.next(&[1]));
        world.begun.recv().unwrap();
        world.submit(2, a.next(&[1]));
        world.submit(3, b.next(&[1]));
        world.go_on.send(Ok(())).unwrap();
        world.go_on.send(Err(StoreError::Failed("no device".to_owned()))).unwrap();
        assert_eq!([(); 3].map(|()| world.next_outcome()), [(1, true), (2, false), (3, false)]);
        assert_eq!(world.begun.try_iter().count(), 1, "the failed group was one append");
    }

    #[test]
    fn a_panic_of_the_store_is_an_outcome_and_the_thread_lives_on() {
        let World { committer, begun, go_on, outcomes, outcome } = World::new();
        drop(go_on);
        for _ in 0..2 {
            let outcome = outcome.clone();
            let done: Done = Box::new(move |result| outcome.send((0, result)).unwrap());
            committer.submit(Commit { appends: vec![writer("a").next(&[1])], done }).unwrap();
            begun.recv().unwrap();
            let (_, result) = outcomes.recv().unwrap();
            assert!(matches!(result, Err(StoreError::Failed(_))), "{result:?}");
        }
    }

    #[test]
    fn more_than_may_wait_is_given_back_and_what_waits_is_finished_on_drop() {
        let (world, mut a) = (World::new(), writer("a"));
        world.submit(0, a.next(&[1]));
        world.begun.recv().unwrap();
        let waiting = u32::try_from(COMMITS_WAITING_MAX).unwrap();
        for number in 1..=waiting {
            world.submit(number, a.next(&[1]));
        }
        let refused = world.committer.submit(world.commit(1_000, a.next(&[1])));
        assert!(matches!(refused, Err(SubmitError::Full(_))));
        drop(refused);
        world.go_on.send(Ok(())).unwrap();
        world.go_on.send(Ok(())).unwrap();
        drop(world.committer);
        assert_eq!(world.outcomes.try_iter().filter(|(_, result)| result.is_ok()).count(), 65);
    }
}
