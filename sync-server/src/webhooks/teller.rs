//! The thread that turns logs into what is sent, and notes what was had. It holds some documents whole,
//! within a bound, so that the next entry of a busy one is told without reading it anew.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use syncline_engine::ids::Address;
use tokio::sync::oneshot;

use super::Shared;
use super::config::{Webhook, fit};
use super::event::{Change, Event};
use super::ledger::Place;
use super::reader::Reader;
use super::scan::{self, Chunk};

/// Documents that are held whole, for all receivers together.
const READERS_MAX: usize = 256;
/// Bytes of their changes; in memory they take a multiple.
const READERS_BYTES_MAX: usize = 16 << 20;
/// Entries without anything for a receiver that are passed over at once.
const PASSED_MAX: usize = 10_000;
/// automerge recurses while it loads deep documents.
const STACK_BYTES: usize = 64 << 20;
/// How old a noted place may be before it is on disk.
const SYNC_EVERY: Duration = Duration::from_millis(500);

/// What is sent in one request, or passed over.
#[derive(Debug)]
pub(super) struct Batch {
    /// How many events; none if there is nothing in it for the receiver.
    pub(super) events: usize,
    /// How many of them are gaps.
    pub(super) gaps: usize,
    /// The same for the same events.
    pub(super) id: String,
    pub(super) body: Bytes,
    /// The place behind it.
    pub(super) to: Place,
}

enum Request {
    Next {
        webhook: usize,
        address: Address,
        events_max: usize,
        answer: oneshot::Sender<Next>,
    },
    Had {
        webhook: usize,
        address: Address,
        to: Place,
        answer: oneshot::Sender<io::Result<()>>,
    },
    Bury {
        webhook: usize,
        address: Address,
        body: Bytes,
        answer: oneshot::Sender<io::Result<()>>,
    },
    Lacking {
        webhook: usize,
        after: Option<Address>,
        answer: oneshot::Sender<Result<Chunk, String>>,
    },
}

/// What comes next in a document; nothing at its end.
pub(super) type Next = Result<Option<Batch>, String>;

/// The thread's other side. It ends with the last of these.
#[derive(Clone)]
pub(super) struct Teller(Sender<Request>);

impl Teller {
    /// Starts the thread. The receiver resolves when it has ended and holds nothing any more.
    ///
    /// # Errors
    /// As the operating system says, if it has no more threads.
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (requests, waiting) = channel();
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new().name("webhooks".to_owned()).stack_size(STACK_BYTES).spawn(
            move || {
                Desk { shared, readers: BTreeMap::new(), turn: 0, noted: None }.run(&waiting);
                // Nobody may be waiting for it.
                let _ = ended.send(());
            },
        )?;
        Ok((Self(requests), end))
    }

    /// What comes next for a receiver in a document, at most so many events.
    pub(super) async fn next(&self, webhook: usize, address: &Address, events_max: usize) -> Next {
        let address = address.clone();
        self.ask(|answer| Request::Next { webhook, address, events_max, answer })
            .await
            .unwrap_or_else(|| Err(ENDED.to_owned()))
    }

    /// Notes that a receiver has everything up to a place.
    pub(super) async fn had(&self, webhook: usize, address: &Address, to: Place) -> io::Result<()> {
        let address = address.clone();
        self.ask(|answer| Request::Had { webhook, address, to, answer })
            .await
            .unwrap_or_else(|| Err(io::Error::other(ENDED)))
    }

    /// Puts a body aside that a receiver refuses.
    pub(super) async fn bury(
        &self,
        webhook: usize,
        address: &Address,
        body: Bytes,
    ) -> io::Result<()> {
        let address = address.clone();
        self.ask(|answer| Request::Bury { webhook, address, body, answer })
            .await
            .unwrap_or_else(|| Err(io::Error::other(ENDED)))
    }

    /// Compares some documents behind another one with a receiver's places.
    pub(super) async fn lacking(
        &self,
        webhook: usize,
        after: Option<Address>,
    ) -> Result<Chunk, String> {
        self.ask(|answer| Request::Lacking { webhook, after, answer })
            .await
            .unwrap_or_else(|| Err(ENDED.to_owned()))
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.0.send(request(answer)).ok()?;
        answered.await.ok()
    }
}

const ENDED: &str = "the thread of the webhooks has ended";

/// The thread's state.
struct Desk {
    shared: Arc<Shared>,
    /// With when each was used last.
    readers: BTreeMap<(usize, Address), (u64, Reader)>,
    turn: u64,
    /// When the first place was noted that is not on disk.
    noted: Option<Instant>,
}

impl Desk {
    fn run(&mut self, waiting: &Receiver<Request>) {
        loop {
            let request = match self.noted {
                None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(noted) => waiting.recv_timeout(SYNC_EVERY.saturating_sub(noted.elapsed())),
            };
            match request {
                Ok(request) => self.answer(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.noted.is_some_and(|noted| noted.elapsed() >= SYNC_EVERY) {
                self.sync();
            }
        }
        self.sync();
    }

    fn sync(&mut self) {
        if self.noted.take().is_some()
            && let Err(error) = self.shared.ledger.sync()
        {
            tracing::error!(%error, "the places of webhooks are not on disk; events may come twice");
        }
    }

    fn answer(&mut self, request: Request) {
        // Who asked may be gone.
        match request {
            Request::Next { webhook, address, events_max, answer } => {
                let key = (webhook, address);
                let next = catch_unwind(AssertUnwindSafe(|| self.next(&key, events_max)));
                let next = next.unwrap_or_else(|_| {
                    self.readers.remove(&key);
                    Err("telling it panicked".to_owned())
                });
                let _ = answer.send(next);
            }
            Request::Had { webhook, address, to, answer } => {
                let _ = answer.send(self.had(webhook, &address, &to));
            }
            Request::Bury { webhook, address, body, answer } => {
                let _ = answer.send(self.bury(webhook, &address, &body));
            }
            Request::Lacking { webhook, after, answer } => {
                let chunk = || scan::lacking(&self.shared, webhook, after.as_ref());
                let chunk = catch_unwind(AssertUnwindSafe(chunk));
                let _ = answer.send(chunk.unwrap_or_else(|_| Err("reading panicked".to_owned())));
            }
        }
    }

    fn had(&mut self, webhook: usize, address: &Address, to: &Place) -> io::Result<()> {
        let shared = &self.shared;
        shared.ledger.put(&shared.webhooks[webhook].name, address, to)?;
        self.noted.get_or_insert_with(Instant::now);
        shared.source.spool.settle(webhook, address, to.seq);
        Ok(())
    }

    fn bury(&self, webhook: usize, address: &Address, body: &[u8]) -> io::Result<()> {
        let webhook = &self.shared.webhooks[webhook];
        let dir = self.shared.dir.join("dead");
        fs::create_dir_all(&dir)?;
        let path = dir.join(format!("{}.jsonl", webhook.name));
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        if file.metadata()?.len().saturating_add(body.len() as u64) > webhook.dead_bytes {
            let what = format!("{} is full; move it away", path.display());
            return Err(io::Error::other(what));
        }
        let mut line = body.to_vec();
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_all()?;
        tracing::error!(%address, webhook = webhook.name, file = %path.display(),
            "an event that the webhook refuses was put aside");
        Ok(())
    }

    fn next(&mut self, key: &(usize, Address), events_max: usize) -> Next {
        let shared = Arc::clone(&self.shared);
        let webhook = &shared.webhooks[key.0];
        let place = shared.ledger.place(&webhook.name, &key.1).map_err(|e| e.to_string())?;
        let held = self.readers.remove(key).and_then(|(_, mut reader)| {
            // Another place is noted where a request was given up or the process began anew.
            reader.had(place).then_some(reader)
        });
        let mut reader = match held {
            Some(reader) => reader,
            None => match Reader::open(&shared.source, &key.1, place).map_err(|e| e.to_string())? {
                Some(reader) => reader,
                None => return Ok(None),
            },
        };
        let batch = gather(&mut reader, &shared, key.0, events_max.min(webhook.batch_events))?;
        self.turn += 1;
        self.readers.insert(key.clone(), (self.turn, reader));
        self.let_go();
        Ok(batch)
    }

    /// Keeps what is held within its bounds; the last that was used stays.
    fn let_go(&mut self) {
        let mut bytes: usize = self.readers.values().map(|(_, reader)| reader.bytes()).sum();
        while self.readers.len() > READERS_MAX
            || (bytes > READERS_BYTES_MAX && self.readers.len() > 1)
        {
            let oldest = self.readers.iter().min_by_key(|(_, (turn, _))| *turn);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
            if let Some((_, reader)) = self.readers.remove(&oldest) {
                bytes -= reader.bytes();
            }
        }
    }
}

/// The next events of a document that are for a receiver, as one body.
fn gather(reader: &mut Reader, shared: &Shared, index: usize, events_max: usize) -> Next {
    let webhook = &shared.webhooks[index];
    let mut body = br#"{"type":"syncline.events","events":["#.to_vec();
    let (mut events, mut gaps, mut to) = (0, 0, None);
    let mut ids: Option<(String, String)> = None;
    let mut at = 0;
    'gather: while events < events_max && at < PASSED_MAX {
        while let Some(told) = reader.ready().get(at) {
            if events == events_max {
                break 'gather;
            }
            if let Some(event) = told.event.as_ref().and_then(|event| chosen(event, webhook)) {
                let json = serde_json::to_vec(&event).map_err(|error| error.to_string())?;
                if events > 0 && body.len() + json.len() + 3 > webhook.batch_bytes {
                    break 'gather;
                }
                if events > 0 {
                    body.push(b',');
                }
                body.extend_from_slice(&json);
                gaps += usize::from(matches!(event.changes[..], [Change::Gap { .. }]));
                ids = Some(match ids {
                    None => (event.id.clone(), event.id),
                    Some((first, _)) => (first, event.id),
                });
                events += 1;
            }
            to = Some(told.after);
            at += 1;
        }
        if !reader.more(&shared.source, index).map_err(|error| error.to_string())? {
            break;
        }
    }
    let Some(to) = to else { return Ok(None) };
    body.extend_from_slice(b"]}");
    let (first, last) = ids.unwrap_or_default();
    let digest = blake3::hash(format!("{first}\n{last}").as_bytes()).to_hex();
    let id = format!("msg_{}", &digest.as_str()[..32]);
    Ok(Some(Batch { events, gaps, id, body: body.into(), to }))
}

/// An event with those changes that a receiver wants; a gap concerns everyone.
fn chosen(event: &Event, webhook: &Webhook) -> Option<Event> {
    if webhook.events.is_empty() {
        return Some(event.clone());
    }
    let wanted = |change: &&Change| {
        matches!(change, Change::Gap { .. }) || fit(&webhook.events, change.kind())
    };
    let changes: Vec<Change> = event.changes.iter().filter(wanted).cloned().collect();
    (!changes.is_empty()).then(|| Event { changes, ..event.clone() })
}
