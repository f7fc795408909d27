//! Puts exported documents into a store. Their digests are made anew, under the secret of that store, so
//! clients read these documents again as a whole. What comes out is compared by heads.

use std::io::BufRead;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_engine::clock::Timestamp;
use syncline_engine::hub;
use syncline_engine::ids::{
    Address, ChangeHash, Cursor, Epoch, EpochStart, OutboxId, StreamAddress, Tip, UserId,
};
use syncline_engine::storage::record::{DigestKey, advance};
use syncline_engine::storage::{CommandRef, Entry, Record, Sealed, Snapshot, StoreError};

use super::export::{Line, VERSION};
use super::{Listen, Progress, Said, hex};
use crate::store::{Import, SledStore};

/// A line longer than this is not of an export: the largest is a snapshot's.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// What was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Imported {
    /// Documents.
    pub documents: u64,
    /// Entries of their logs.
    pub entries: u64,
}

/// An import did not come to its end. Documents before the place are in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A line is not of an export, or not in its place.
    #[error("line {line} of the export: {what}")]
    Line {
        /// Which, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The export ends without its last line.
    #[error("the export is incomplete: its last line is missing")]
    Incomplete,
    /// A document would be mixed with another.
    #[error("{0} is in the store already")]
    Exists(Address),
    /// What was put in is not what was exported.
    #[error("{0} has other heads than were exported")]
    Heads(Address),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The export cannot be read.
    #[error("cannot read the export: {0}")]
    Read(#[from] std::io::Error),
    /// Whoever listens had enough.
    #[error("stopped")]
    Stopped,
}

/// Puts everything of an export into a store that has none of its documents.
///
/// # Errors
/// [`ImportError`]; what came before the place that it names is in the store.
pub fn import(
    store: &SledStore,
    export: &mut dyn BufRead,
    listen: &mut Listen<'_>,
) -> Result<Imported, ImportError> {
    let mut reading = Reading { store, number: 0, open: None, done: Imported::default() };
    let (mut text, mut ended, mut begun) = (String::new(), false, false);
    loop {
        text.clear();
        let mut limited = std::io::Read::take(&mut *export, LINE_BYTES_MAX);
        if limited.read_line(&mut text)? == 0 {
            break;
        }
        reading.number += 1;
        let line: Line =
            serde_json::from_str(&text).map_err(|error| reading.wrong(error.to_string()))?;
        match (line, begun, ended) {
            (_, _, true) => return Err(reading.wrong("something follows the last line")),
            (Line::Export { version: VERSION }, false, _) => begun = true,
            (Line::Export { .. }, _, _) => return Err(reading.wrong("another version")),
            (_, false, _) => return Err(reading.wrong("this is not the beginning of an export")),
            (Line::End { documents, entries }, ..) => {
                reading.close()?;
                if reading.done != (Imported { documents, entries }) {
                    return Err(reading.wrong("lines are missing"));
                }
                ended = true;
            }
            (line, ..) => {
                if matches!(line, Line::Document { .. }) {
                    reading.close()?;
                    reading.tell(listen)?;
                }
                reading.take(line)?;
            }
        }
    }
    if ended { Ok(reading.done) } else { Err(ImportError::Incomplete) }
}

/// A document whose lines are being read.
struct Open {
    address: Address,
    epoch: Epoch,
    seq: u64,
    entries: u64,
    tip_before: Tip,
    heads: Vec<String>,
    sealed: Vec<(Sealed, Snapshot)>,
    snapshot: Option<Snapshot>,
    records: Vec<(u64, Vec<Entry>)>,
}

struct Reading<'a> {
    store: &'a SledStore,
    number: u64,
    open: Option<Open>,
    done: Imported,
}

impl Reading<'_> {
    fn wrong(&self, what: impl Into<String>) -> ImportError {
        ImportError::Line { line: self.number, what: what.into() }
    }

    fn tell(&self, listen: &mut Listen<'_>) -> Result<(), ImportError> {
        let (doing, unit) = ("importing".to_owned(), "documents".to_owned());
        let done = self.done.documents;
        match listen(Said::Progress(Progress { doing, done, unit })) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ImportError::Stopped),
        }
    }

    fn take(&mut self, line: Line) -> Result<(), ImportError> {
        if let Line::Document { address, epoch, seq, entries, tip_before, heads } = line {
            self.open = Some(Open {
                address: Address::of_log(&address).map_err(|_| self.wrong("no address"))?,
                epoch: Epoch(self.fixed(&epoch)?),
                seq,
                entries,
                tip_before: Tip(self.fixed(&tip_before)?),
                heads,
                sealed: Vec::new(),
                snapshot: None,
                records: Vec::new(),
            });
            return Ok(());
        }
        let Some(mut open) = self.open.take() else {
            return Err(self.wrong("it belongs to no document"));
        };
        self.take_part(&mut open, line)?;
        self.open = Some(open);
        Ok(())
    }

    fn take_part(&self, open: &mut Open, line: Line) -> Result<(), ImportError> {
        match line {
            Line::Sealed {
                epoch,
                seq,
                tip,
                next_epoch,
                next_seq,
                next_tip,
                head,
                at,
                body,
                attribution,
            } => {
                let end = self.cursor(&epoch, seq, &tip)?;
                let cursor = self.cursor(&next_epoch, next_seq, &next_tip)?;
                let head = ChangeHash(self.fixed(&head)?);
                let start = EpochStart { cursor, head, at: Timestamp(at) };
                let (body, attribution) = (self.bytes(&body)?, self.bytes(&attribution)?);
                let sealed = Sealed { end, body_bytes: body.len() as u64, start };
                let index = Bytes::new();
                open.sealed.push((sealed, Snapshot { cursor: end, body, index, attribution }));
            }
            Line::Snapshot { seq, tip, body, index, attribution } => {
                open.snapshot = Some(Snapshot {
                    cursor: Cursor { epoch: open.epoch, seq, tip: Tip(self.fixed(&tip)?) },
                    body: self.bytes(&body)?,
                    index: self.bytes(&index)?,
                    attribution: self.bytes(&attribution)?,
                });
            }
            Line::Entry { seq, record, author, at, outbox, number, hash, change } => {
                let command = match (outbox, number) {
                    (Some(outbox), Some(number)) => {
                        Some(CommandRef { outbox: OutboxId(self.fixed(&outbox)?), number })
                    }
                    _ => None,
                };
                let entry = Entry {
                    author: UserId::new(&author).map_err(|_| self.wrong("no author"))?,
                    at: Timestamp(at),
                    command,
                    hash: ChangeHash(self.fixed(&hash)?),
                    change: self.bytes(&change)?,
                };
                self.check_change(&open.address, &entry)?;
                match open.records.last_mut() {
                    Some((first, entries)) if *first == record => entries.push(entry),
                    _ if record == seq => open.records.push((record, vec![entry])),
                    _ => return Err(self.wrong("it is not in its place")),
                }
            }
            Line::Export { .. } | Line::Document { .. } | Line::End { .. } => {
                return Err(self.wrong("it is not in its place"));
            }
        }
        Ok(())
    }

    /// The store trusts that an entry's hash is its change's.
    fn check_change(&self, address: &Address, entry: &Entry) -> Result<(), ImportError> {
        if StreamAddress::of(address).is_some() {
            let is_named = hub::is_stream_entry(entry);
            return is_named.then_some(()).ok_or_else(|| self.wrong("it is no entry of a stream"));
        }
        match syncline_engine::change::read(&entry.change) {
            Ok(header) if header.hash == entry.hash => Ok(()),
            Ok(_) => Err(self.wrong("the change is not the one that its hash names")),
            Err(error) => Err(self.wrong(format!("the change does not read: {error}"))),
        }
    }

    fn fixed<const N: usize>(&self, text: &str) -> Result<[u8; N], ImportError> {
        let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| self.wrong("an identifier does not read"))
    }

    fn bytes(&self, text: &str) -> Result<Bytes, ImportError> {
        let bytes = BASE64.decode(text).map_err(|error| self.wrong(error.to_string()))?;
        Ok(bytes.into())
    }

    fn cursor(&self, epoch: &str, seq: u64, tip: &str) -> Result<Cursor, ImportError> {
        let (epoch, tip) = (Epoch(self.fixed(epoch)?), Tip(self.fixed(tip)?));
        Ok(Cursor { epoch, seq, tip })
    }

    /// Puts the document in whose lines have come to an end.
    fn close(&mut self) -> Result<(), ImportError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let records = chain(&mut open, self.store.digest_key()).map_err(|what| self.wrong(what))?;
        let Open { address, epoch, sealed, snapshot, heads, .. } = open;
        let entries: u64 = records.iter().map(|record| record.entries.len() as u64).sum();
        let document = Import { address: address.clone(), epoch, sealed, snapshot, records };
        match self.store.import(&document) {
            Err(StoreError::Conflict { address, .. }) => return Err(ImportError::Exists(address)),
            other => other?,
        }
        let verified = hub::verify(self.store, &address, self.store.digest_key())?;
        let found = verified.map(|survey| survey.heads).unwrap_or_default();
        if !found.iter().map(|head| hex(&head.0)).eq(heads) {
            return Err(ImportError::Heads(address));
        }
        self.done.documents += 1;
        self.done.entries += entries;
        Ok(())
    }
}

/// The records under the digests of another store, and the snapshot's cursor with them.
fn chain(open: &mut Open, key: &DigestKey) -> Result<Vec<Record>, String> {
    let mut tip = open.tip_before;
    let mut records: Vec<Record> = Vec::new();
    let begins_at = open.records.first().map(|(first, _)| *first);
    let snapshot_seq = open.snapshot.as_ref().map_or(0, |snapshot| snapshot.cursor.seq);
    if begins_at == Some(1) {
        tip = Tip::EMPTY;
    }
    if begins_at.is_some_and(|first| first > snapshot_seq + 1) || begins_at == Some(0) {
        return Err("entries between the snapshot and the log are missing".to_owned());
    }
    for (first_seq, entries) in std::mem::take(&mut open.records) {
        let tip_before = tip;
        tip = entries.iter().fold(tip, |tip, entry| advance(key, tip, entry));
        let record = Record { first_seq, tip_before, tip, entries };
        if records.last().is_some_and(|last| last.last_seq() + 1 != first_seq) {
            return Err("entries are missing".to_owned());
        }
        if let Some(snapshot) = &mut open.snapshot
            && snapshot.cursor.seq == record.last_seq()
        {
            snapshot.cursor.tip = tip;
        }
        records.push(record);
    }
    let end = records.last().map_or(snapshot_seq, Record::last_seq);
    let entries: u64 = records.iter().map(|record| record.entries.len() as u64).sum();
    if end != open.seq || entries != open.entries {
        return Err("entries are missing at the end of the document before".to_owned());
    }
    Ok(records)
}
