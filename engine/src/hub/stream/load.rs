//! A stream rebuilt from its log, which is not trusted: entries must hang together by their digests,
//! and say what a stream's entries can say in that order.

use std::mem;

use super::entry::Event;
use super::{Hub, Live, State};
use crate::clock::Timestamp;
use crate::hub::document::End;
use crate::hub::load::Loaded;
use crate::hub::stored::StoredError;
use crate::ids::{Epoch, StreamAddress};
use crate::storage::record::{DigestKey, advance};
use crate::storage::{Entry, LogHead, Record, StoreError};
use crate::stream::{Origin, Status};

/// What is stored of a stream cannot be trusted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamLogError {
    /// An entry is not what a stream's entries are.
    #[error("the entry with seq {seq} does not read: {error}")]
    Entry {
        /// Which.
        seq: u64,
        /// What is wrong with it.
        error: StoredError,
    },
    /// Something is missing, in the wrong place, or by nobody who had the key.
    #[error("the log does not hang together at seq {0}")]
    Broken(u64),
}

/// A stream as its log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredStream {
    /// Where it comes from.
    pub origin: Origin,
    /// Its text.
    pub text: String,
    /// How it stands, as far as a log can say: nobody writes it until somebody says so.
    pub status: Status,
}

/// Reads a stream's log ([`load`](crate::hub::load)) as a hub does, for whoever checks or shows a store
/// without one.
///
/// # Errors
/// [`StreamLogError`] if a hub would not serve it.
pub fn read_stream(
    key: &DigestKey,
    head: &LogHead,
    records: &[Record],
) -> Result<StoredStream, StreamLogError> {
    let live = Live::load(key, head, records)?;
    let status = live.status();
    let origin = live.durable.origin.ok_or(StreamLogError::Broken(1))?;
    Ok(StoredStream { origin, text: live.text.slice(0, live.durable.length).to_owned(), status })
}

impl Live {
    pub(super) fn load(
        key: &DigestKey,
        head: &LogHead,
        records: &[Record],
    ) -> Result<Self, StreamLogError> {
        let mut live = Self::new(head.end.epoch);
        // A stream's log is never compacted, and is one epoch.
        if head.snapshot.is_some() || !head.sealed.is_empty() {
            return Err(StreamLogError::Broken(1));
        }
        for record in records {
            let End { seq, tip } = live.end;
            if record.first_seq != seq + 1 || record.tip_before != tip {
                return Err(StreamLogError::Broken(record.first_seq));
            }
            for entry in &record.entries {
                live.replay(key, entry)?;
            }
            if live.end.tip != record.tip {
                return Err(StreamLogError::Broken(record.last_seq()));
            }
        }
        if live.end != (End { seq: head.end.seq, tip: head.end.tip }) {
            return Err(StreamLogError::Broken(head.end.seq));
        }
        live.durable = live.assigned.clone();
        Ok(live)
    }

    fn replay(&mut self, key: &DigestKey, entry: &Entry) -> Result<(), StreamLogError> {
        let seq = self.end.seq + 1;
        self.end = End { seq, tip: advance(key, self.end.tip, entry) };
        let event =
            Event::read(&entry.change).map_err(|error| StreamLogError::Entry { seq, error })?;
        let (facts, at) = (&mut self.assigned, entry.at);
        match event {
            Event::Made { asked_by } if facts.origin.is_none() && seq == 1 => {
                let producer = entry.author.clone();
                facts.origin = Some(Origin { producer, asked_by, created: at });
            }
            Event::Text { offset, text } if facts.is_open() && offset == self.text.len() as u64 => {
                self.text.push(text);
                facts.length = self.text.len();
                self.pieces += 1;
            }
            Event::Interrupted if facts.is_open() && facts.interrupted.is_none() => {
                facts.interrupted = Some((entry.author.clone(), at));
            }
            Event::Ended(outcome) if facts.is_open() => facts.outcome = Some(outcome),
            Event::Made { .. } | Event::Text { .. } | Event::Interrupted | Event::Ended(_) => {
                return Err(StreamLogError::Broken(seq));
            }
        }
        // Nobody who writes it is there until somebody says so.
        self.stalled_since = Some(at);
        Ok(())
    }
}

impl Hub {
    pub(in crate::hub) fn stream_loaded(
        &mut self,
        now: Timestamp,
        address: &StreamAddress,
        fresh_epoch: Epoch,
        loaded: Result<Loaded, StoreError>,
    ) {
        let Some(handle) = self.streams.by_address.get(address).copied() else { return };
        let key = &self.identity.digest_key;
        let live = match loaded {
            Ok(None) => Some(Live::new(fresh_epoch)),
            Ok(Some((head, records))) => Live::load(key, &head, &records).ok(),
            Err(_) => None,
        };
        let Some(stream) = self.streams.by_handle.get_mut(&handle) else { return };
        let State::Loading(waiting) = &mut stream.state else { return };
        let Some(mut live) = live else { return self.give_up_stream(handle) };
        live.asks = mem::take(waiting);
        self.streams.bytes += live.text.len();
        stream.state = State::Live(Box::new(live));
        self.close_overdue_stream(now, handle);
        self.answer_stream_asks(now, handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Cursor, Tip, UserId};
    use crate::stream::Outcome;

    fn log(events: &[Event<'_>]) -> (LogHead, Vec<Record>) {
        let key = crate::hub::tests::key();
        let (mut tip, mut records) = (Tip::EMPTY, Vec::new());
        for (seq, event) in (1..).zip(events) {
            let entry = event.entry(UserId::new("agent").unwrap(), Timestamp(seq));
            let tip_before = tip;
            tip = advance(&key, tip, &entry);
            records.push(Record { first_seq: seq, tip_before, tip, entries: vec![entry] });
        }
        let end = Cursor { epoch: Epoch([1; 16]), seq: records.len() as u64, tip };
        let head = LogHead { end, snapshot: None, tail_from: 1, tail_bytes: 0, sealed: Vec::new() };
        (head, records)
    }

    fn load(events: &[Event<'_>]) -> Result<Live, StreamLogError> {
        let (head, records) = log(events);
        Live::load(&crate::hub::tests::key(), &head, &records)
    }

    const MADE: Event<'static> = Event::Made { asked_by: None };

    #[test]
    fn a_log_says_what_the_stream_is() {
        let live = load(&[
            MADE,
            Event::Text { offset: 0, text: "Grüße" },
            Event::Interrupted,
            Event::Text { offset: 7, text: "!" },
        ])
        .unwrap();
        assert_eq!((live.text.slice(0, 8), live.durable.length), ("Grüße!", 8));
        assert_eq!(live.stalled_since, Some(Timestamp(4)));
        let (head, records) = log(&[MADE, Event::Text { offset: 0, text: "Grüße" }]);
        let stored = read_stream(&crate::hub::tests::key(), &head, &records).unwrap();
        assert_eq!((stored.text.as_str(), stored.origin.producer.as_str()), ("Grüße", "agent"));
        assert!(live.durable.interrupted.is_some() && live.durable.is_open());
        let ended = load(&[MADE, Event::Ended(Outcome::Abandoned)]).unwrap();
        assert_eq!(ended.status().outcome, Some(Outcome::Abandoned));
        assert_eq!(ended.status().stalled_since, None);
    }

    #[test]
    fn a_log_that_no_hub_wrote_is_not_served() {
        let text = |offset| Event::Text { offset, text: "x" };
        let end = || Event::Ended(Outcome::Interrupted);
        for (events, seq) in [
            (vec![text(0)], 1),
            (vec![MADE, MADE], 2),
            (vec![MADE, text(1)], 2),
            (vec![MADE, text(0), text(0)], 3),
            (vec![MADE, end(), text(0)], 3),
            (vec![MADE, Event::Interrupted, Event::Interrupted], 3),
            (vec![MADE, end(), end()], 3),
        ] {
            assert_eq!(load(&events).err(), Some(StreamLogError::Broken(seq)), "{events:?}");
        }
        let key = crate::hub::tests::key();
        let (head, mut records) = log(&[MADE, text(0), text(1)]);
        assert!(Live::load(&key, &head, &records[..2]).is_err(), "a lost end");
        assert!(Live::load(&key, &head, &records[1..]).is_err(), "a lost beginning");
        records[1].entries[0].at = Timestamp(9);
        assert!(Live::load(&key, &head, &records).is_err(), "another time");
    }
}
