//! Bringing a document's copy up to date over an inner connection. Every reader asks the hub for itself,
//! and so is judged; the log is read once for all.

use std::sync::Arc;

use axum::http::StatusCode;
use syncline_engine::codes::Code;
use syncline_engine::ids::{Address, Cursor, Epoch};
use syncline_engine::reading::{Reading, ReadingError};
use syncline_engine::wire::frame::{Changes, Resume, Subscribed};
use syncline_engine::wire::{ServerFrame, unpack};

use super::caller::Caller;
use super::copies::{Copies, Copy};
use super::cursor::from_wire;
use super::inner::{Inner, problem_of};
use super::problem::Problem;
use super::{Http, REQUEST_WAIT};
use crate::app::App;
use crate::listener::Peer;

/// How often a document is opened anew that began another epoch just then.
const TRIES: usize = 3;

/// Where a copy begins that does not go on from the one that is there.
#[derive(Debug)]
enum Start {
    Beginning(Epoch),
    Snapshot(Cursor, Vec<u8>),
}

/// What the hub sent of a document, up to where its log was to be read.
#[derive(Debug, Default)]
struct Log {
    start: Option<Start>,
    frames: Vec<Changes>,
}

impl Log {
    fn onto(self, address: &Address, copy: Option<Copy>) -> Result<Copy, ReadingError> {
        let reading = match (self.start, copy) {
            (Some(Start::Beginning(epoch)), _) => Reading::begin(address.clone(), epoch),
            (Some(Start::Snapshot(cursor, bytes)), _) => {
                Reading::load(address.clone(), bytes, cursor)?
            }
            (None, Some(copy)) if self.frames.is_empty() => return Ok(copy),
            (None, Some(copy)) => copy.reading,
            (None, None) => return Err(ReadingError::Gap(0)),
        };
        let mut copy = Copy { reading, shown: None };
        for frame in &self.frames {
            copy.reading.take(frame)?;
        }
        Ok(copy)
    }
}

/// The changes in a frame, if it brings any.
pub(crate) fn changes_in(frame: ServerFrame) -> Result<Option<Changes>, Problem> {
    let changes = match frame {
        ServerFrame::Changes(changes) => changes,
        ServerFrame::PackedChanges(packed) => {
            unpack(&packed).map_err(|error| Problem::of(Code::BadFrame, error.to_string()))?
        }
        _ => return Ok(None),
    };
    Ok((!changes.entries.is_empty()).then_some(changes))
}

/// The last seq of a frame that has entries.
pub(crate) fn last_seq(changes: &Changes) -> u64 {
    changes.first_seq.saturating_add(changes.entries.len() as u64).saturating_sub(1)
}

/// Hears what follows an answer to `Subscribe`, until the log is read up to `until` at least.
async fn hear_log(
    inner: &mut Inner,
    address: &Address,
    subscribed: &Subscribed,
    from: u64,
    until: u64,
) -> Result<Log, Problem> {
    let (handle, mut log) = (subscribed.handle, Log::default());
    let mut seq = from;
    let mut missing = 0;
    match subscribed.resume {
        Resume::Cursor => {}
        Resume::Beginning => {
            log.start = Some(Start::Beginning(Epoch(subscribed.epoch)));
            seq = 0;
        }
        Resume::Snapshot { cursor, bytes } => {
            log.start = Some(Start::Snapshot(from_wire(cursor), Vec::new()));
            (seq, missing) = (cursor.seq, bytes);
        }
    }
    while missing > 0 || seq < until {
        match inner.hear().await? {
            ServerFrame::SnapshotPart(part) if part.handle == handle => {
                let Some(Start::Snapshot(_, bytes)) = &mut log.start else { continue };
                bytes.extend_from_slice(&part.bytes.0);
                missing = missing.saturating_sub(part.bytes.0.len() as u64);
            }
            ServerFrame::Error(error) if error.address.as_deref() == Some(&address.to_string()) => {
                return Err(problem_of(&error));
            }
            // The log was cut meanwhile: what comes begins elsewhere.
            ServerFrame::Subscribed(_) => {
                return Err(Problem::of(Code::RolledOver, "the document was put in order"));
            }
            frame => {
                if let Some(changes) = changes_in(frame)?.filter(|frame| frame.handle == handle) {
                    seq = last_seq(&changes);
                    log.frames.push(changes);
                }
            }
        }
    }
    Ok(log)
}

/// Brings what the hub sends of a document into its copy.
async fn bring(
    copies: &Copies,
    address: &Address,
    place: &mut Option<Copy>,
    log: Log,
) -> Result<(), Problem> {
    if log.start.is_none() && log.frames.is_empty() && place.is_some() {
        return Ok(());
    }
    let (copy, of) = (place.take(), address.clone());
    let made = copies.make(move || log.onto(&of, copy)).await;
    let copy = match made {
        Some(Ok(copy)) => copy,
        Some(Err(error)) => {
            tracing::error!(%address, %error, "document not read for HTTP");
            return Err(unreadable());
        }
        None => return Err(unreadable()),
    };
    *place = Some(copy);
    copies.note(address, place.as_ref());
    Ok(())
}

fn unreadable() -> Problem {
    Problem::of(Code::DocumentUnavailable, "the document can't be read at the moment")
}

/// A document that was opened on an inner connection, with its copy up to date and held.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) subscribed: Subscribed,
    pub(crate) place: tokio::sync::OwnedMutexGuard<Option<Copy>>,
}

/// Opens a document and brings its copy to where the hub is, or with `write` to where a lease begins.
///
/// # Errors
/// What the hub says against it.
pub(crate) async fn open(
    http: &Http,
    inner: &mut Inner,
    address: &Address,
    outbox: [u8; 16],
    write: bool,
) -> Result<Opened, Problem> {
    let mut tries = TRIES;
    loop {
        let mut place = http.copies.place(address).lock_owned().await;
        let tried = try_open(http, inner, address, &mut place, outbox, write).await;
        tries -= 1;
        match tried {
            Ok(subscribed) => return Ok(Opened { subscribed, place }),
            Err(problem) if problem.code() == Some(Code::RolledOver) && tries > 0 => *place = None,
            Err(problem) => return Err(problem),
        }
    }
}

async fn try_open(
    http: &Http,
    inner: &mut Inner,
    address: &Address,
    place: &mut Option<Copy>,
    outbox: [u8; 16],
    write: bool,
) -> Result<Subscribed, Problem> {
    let cursor = place.as_ref().map(|copy| copy.reading.cursor());
    let mut subscribed = inner.subscribe(address, cursor, outbox, write).await?;
    if subscribed.next.is_some() {
        // The copy is of an epoch that has ended; what shows is in the present one.
        *place = None;
        subscribed = inner.subscribe(address, None, outbox, write).await?;
    }
    let after = subscribed.lease.as_ref().map_or(0, |lease| lease.after);
    let until = subscribed.end_seq.max(after);
    let from = cursor.map_or(0, |cursor| cursor.seq);
    let log = hear_log(inner, address, &subscribed, from, until).await?;
    bring(&http.copies, address, place, log).await?;
    Ok(subscribed)
}

/// Takes a frame of a document that is followed into its copy, if it fits there.
pub(crate) async fn take(
    copies: &Copies,
    address: &Address,
    epoch: Epoch,
    changes: Changes,
) -> Result<bool, Problem> {
    let mut place = copies.place(address).lock_owned().await;
    let fits = place.as_ref().is_some_and(|copy| {
        let cursor = copy.reading.cursor();
        cursor.epoch == epoch && changes.first_seq <= cursor.seq + 1
    });
    if fits {
        let ahead = |copy: &Copy| copy.reading.cursor().seq >= last_seq(&changes);
        let frames = if place.as_ref().is_some_and(ahead) { vec![] } else { vec![changes] };
        bring(copies, address, &mut place, Log { start: None, frames }).await?;
    }
    Ok(fits)
}

/// Runs a request on an inner connection of its own, in its turn and within its time.
///
/// # Errors
/// What the hub says of the caller, what `run` says, or that it took too long.
pub(crate) async fn within_turn<T>(
    app: &Arc<App>,
    peer: &Peer,
    caller: &Caller,
    run: impl AsyncFnOnce(&App, &mut Inner) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let answered = async {
        let turn = app.http.turns.acquire().await;
        let mut inner = Inner::greet(app, peer, caller).await?;
        let answer = run(app, &mut inner).await;
        inner.leave().await;
        drop(turn);
        answer
    };
    tokio::time::timeout(REQUEST_WAIT, answered).await.unwrap_or_else(|_| {
        let detail = format!("there was no answer within {} s", REQUEST_WAIT.as_secs());
        Err(Problem::http(StatusCode::SERVICE_UNAVAILABLE, "timeout", detail).later(Some(1_000)))
    })
}
