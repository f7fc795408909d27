//! The thread that owns the store: carries out what the session asks of it, in order, many writes
//! with one flush. Must never know what is written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use syncline_engine::ids::Address;
use syncline_engine::session::{
    DOCUMENTS_PREFIX, Input, META_PREFIX, StoreToken, StoreWrite, address_of_key,
};
use tokio::sync::{oneshot, watch};

use crate::store::{Store, StoreError};

/// Writes that go into one flush.
const GROUP_WRITES_MAX: usize = 4_096;

/// Reads that are answered together.
const GROUP_READS_MAX: usize = 64;

/// What the session asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Write {
        token: StoreToken,
        writes: Vec<StoreWrite>,
    },
    Read {
        token: StoreToken,
        prefix: Vec<u8>,
    },
    /// Which documents there are, for the app and not for the session.
    List {
        which: Which,
        answer: oneshot::Sender<Result<Vec<Address>, String>>,
    },
}

/// A list of documents.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    /// Those of which anything is stored.
    All,
    /// Those with work that the server may not have.
    Pending,
}

/// The way to the thread. When it is dropped, the thread finishes what was asked and closes the
/// store.
#[derive(Debug)]
pub(crate) struct Writer {
    requests: Sender<Request>,
    abandoned: Arc<AtomicBool>,
}

impl Writer {
    /// Starts the thread. `answer` is called on it; `closed` turns true when the store is closed.
    pub(crate) fn start(
        store: Box<dyn Store>,
        mut answer: impl FnMut(Vec<Input>) + Send + 'static,
        closed: watch::Sender<bool>,
    ) -> std::io::Result<Self> {
        let (requests, inbox) = channel();
        let abandoned = Arc::new(AtomicBool::new(false));
        let given_up = Arc::clone(&abandoned);
        thread::Builder::new().name("syncline-store".to_owned()).spawn(move || {
            let mut work = Work { store, failed: None };
            while let Ok(first) = inbox.recv() {
                if given_up.load(Ordering::Acquire) {
                    break;
                }
                answer(work.group(first, &inbox));
            }
            drop(work);
            closed.send_replace(true);
        })?;
        Ok(Self { requests, abandoned })
    }

    /// Lets the thread end without carrying out what is still queued.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Asks. What comes back otherwise is the request that nobody will answer.
    pub(crate) fn ask(&self, request: Request) -> Result<(), Request> {
        self.requests.send(request).map_err(|e| e.0)
    }
}

struct Work {
    store: Box<dyn Store>,
    /// After a failure nothing more is written: what is on the disk is unknown.
    failed: Option<String>,
}

impl Work {
    /// Carries out a request and what has queued up behind it: the writes with one flush, then
    /// what is to be read. So a read sees what was asked to be written before it, and something of
    /// what came after, which is of other documents: nothing is written to one that is being read.
    fn group(&mut self, first: Request, inbox: &Receiver<Request>) -> Vec<Input> {
        let mut next = Some(first);
        let (mut tokens, mut batch) = (Vec::new(), Vec::new());
        let (mut reads, mut lists) = (Vec::new(), Vec::new());
        while let Some(request) = next.take() {
            match request {
                Request::Write { token, mut writes } => {
                    tokens.push(token);
                    batch.append(&mut writes);
                }
                Request::Read { token, prefix } => reads.push((token, prefix)),
                Request::List { which, answer } => lists.push((which, answer)),
            }
            if batch.len() < GROUP_WRITES_MAX && reads.len() < GROUP_READS_MAX {
                next = inbox.try_recv().ok();
            }
        }
        let mut answers = self.commit(tokens, batch);
        for (token, prefix) in reads {
            let result = self.guarded(|store| store.read(&prefix));
            answers.push(Input::Read { token, result });
        }
        for (which, answer) in lists {
            // Whoever asked may have gone away.
            let _ = answer.send(self.guarded(|store| match which {
                Which::All => documents(store),
                Which::Pending => pending(store),
            }));
        }
        answers
    }

    fn commit(&mut self, tokens: Vec<StoreToken>, batch: Vec<StoreWrite>) -> Vec<Input> {
        if tokens.is_empty() {
            return Vec::new();
        }
        let result = self.guarded(|store| store.commit(batch));
        tokens.into_iter().map(|token| Input::Written { token, result: result.clone() }).collect()
    }

    /// sled panics on some kinds of damage; to the session that is a failed store like any other.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, String> {
        if let Some(why) = &self.failed {
            return Err(why.clone());
        }
        let store = self.store.as_mut();
        let result = catch_unwind(AssertUnwindSafe(|| work(store)))
            .unwrap_or_else(|_| Err(StoreError("the database gave up".to_owned())))
            .map_err(|e| e.to_string());
        if let Err(why) = &result {
            tracing::error!(%why, "the store on this device failed");
            self.failed = Some(why.clone());
        }
        result
    }
}

/// The documents of which something is stored, found by skipping from one to the next.
fn documents(store: &mut dyn Store) -> Result<Vec<Address>, StoreError> {
    let mut found = Vec::new();
    let mut from = DOCUMENTS_PREFIX.to_vec();
    while let Some(key) = store.key_from(&from)? {
        if !key.starts_with(DOCUMENTS_PREFIX) {
            break;
        }
        from = match address_of_key(&key) {
            Some(address) => {
                // Keys are text, so this lies behind every key of the document.
                let behind = [DOCUMENTS_PREFIX, format!("{address}/").as_bytes(), &[0xff]].concat();
                found.push(address);
                behind
            }
            None => [key.as_slice(), &[0]].concat(),
        };
    }
    Ok(found)
}

/// The documents whose outbox is not empty; the session keeps a key for each.
fn pending(store: &mut dyn Store) -> Result<Vec<Address>, StoreError> {
    let prefix = [META_PREFIX, b"pending/"].concat();
    let found = store
        .read(&prefix)?
        .into_iter()
        .filter_map(|(key, _)| std::str::from_utf8(key.get(prefix.len()..)?).ok()?.parse().ok());
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::{MemoryStore, Pair};

    /// Counts commits, and fails from a given one on.
    #[derive(Default)]
    struct Counting {
        inner: MemoryStore,
        commits: usize,
        fail_at: Option<usize>,
    }

    impl Store for Counting {
        fn commit(&mut self, writes: Vec<StoreWrite>) -> Result<(), StoreError> {
            self.commits += 1;
            assert_ne!(Some(self.commits), self.fail_at, "a store that panics");
            self.inner.commit(writes)
        }

        fn read(&self, prefix: &[u8]) -> Result<Vec<Pair>, StoreError> {
            let mut pairs = self.inner.read(prefix)?;
            pairs.push((b"commits".into(), Bytes::from(self.commits.to_string())));
            Ok(pairs)
        }

        fn key_from(&self, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.inner.key_from(from)
        }
    }

    fn write(token: u64, key: &str) -> Request {
        let writes = vec![StoreWrite::Put { key: key.into(), value: Bytes::from_static(b"v") }];
        Request::Write { token: StoreToken(token), writes }
    }

    fn read(token: u64) -> Request {
        Request::Read { token: StoreToken(token), prefix: Vec::new() }
    }

    fn group(work: &mut Work, requests: Vec<Request>) -> Vec<Vec<Input>> {
        let (sender, inbox) = channel();
        requests.into_iter().for_each(|request| sender.send(request).unwrap());
        let mut answers = Vec::new();
        while let Ok(first) = inbox.try_recv() {
            answers.push(work.group(first, &inbox));
        }
        answers
    }

    #[test]
    fn what_is_queued_shares_a_flush_and_a_read_sees_all_before_it() {
        let mut work = Work { store: Box::new(Counting::default()), failed: None };
        let answers =
            group(&mut work, vec![write(1, "a"), write(2, "b"), read(3), write(4, "c"), read(5)]);
        let counts: Vec<_> = answers.iter().map(Vec::len).collect();
        assert_eq!(counts, [5]);
        let Input::Read { token: StoreToken(3), result: Ok(pairs) } = &answers[0][3] else {
            unreachable!()
        };
        let keys: Vec<_> = pairs.iter().map(|(key, _)| key.as_slice()).collect();
        assert_eq!(keys, [b"a".as_slice(), b"b", b"c", b"commits"]);
        assert_eq!(pairs[3].1, "1");
    }

    #[test]
    fn each_document_is_listed_once() {
        let keys =
            ["doc/a/1/post/base", "doc/a/1/post/tail/1", "doc/a/10/json/base", "doc/junk", "e"];
        let mut store = MemoryStore::default();
        for key in keys {
            let value = Bytes::new();
            store.commit(vec![StoreWrite::Put { key: key.into(), value }]).unwrap();
        }
        let listed: Vec<_> =
            documents(&mut store).unwrap().iter().map(Address::to_string).collect();
        assert_eq!(listed, ["a/1/post", "a/10/json"]);
    }

    #[test]
    fn after_a_failure_everything_is_answered_and_nothing_written() {
        let store = Counting { fail_at: Some(2), ..Counting::default() };
        let mut work = Work { store: Box::new(store), failed: None };
        group(&mut work, vec![write(1, "a")]);
        let answers = group(&mut work, vec![read(2), write(3, "b")]);
        assert!(matches!(answers[0][0], Input::Written { result: Err(_), .. }));
        let answers = group(&mut work, vec![write(4, "c"), read(5)]);
        assert!(matches!(answers[0][0], Input::Written { result: Err(_), .. }));
        assert!(matches!(answers[0][1], Input::Read { result: Err(_), .. }));
    }
}
