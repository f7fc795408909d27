//! The bytes of a stream's log entries, which lie where a document's log has changes. Knows no rule
//! about what may follow what.
//!
//! ```text
//! 0   "syncstrm", in the place of a change's magic and checksum
//! 8   version, 1
//! 9   kind, then its fields; numbers are LEB128, text is a length and UTF-8
//!     1  made: who asked for it (empty for nobody)
//!     2  text: offset; text
//!     3  interrupted
//!     4  ended: 1 finished; 0, or 1, address of the comments and id (16)
//!               2 failed; reason
//!               3 interrupted
//!               4 abandoned
//! ```

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::hub::stored::{Reader, StoredError, Writer};
use crate::ids::{ChangeHash, Ulid, UserId};
use crate::storage;
use crate::stream::{Committed, Outcome};

const MAGIC: &[u8; 8] = b"syncstrm";
const VERSION: u8 = 1;

/// What an entry says happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// The stream was made; the entry's author is its producer.
    Made { asked_by: Option<UserId> },
    /// Text was appended.
    Text { offset: u64, text: &'a str },
    /// The entry's author asked that it stop.
    Interrupted,
    /// It ended.
    Ended(Outcome),
}

fn text(writer: &mut Writer, text: &str) {
    writer.uint(text.len() as u64);
    writer.bytes(text.as_bytes());
}

fn read_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, StoredError> {
    let length = reader.uint()?;
    std::str::from_utf8(reader.slice(length)?).map_err(|_| StoredError::OutOfRange("text"))
}

impl<'a> Event<'a> {
    /// The entry of a log that says this.
    pub(super) fn entry(&self, author: UserId, at: Timestamp) -> storage::Entry {
        let mut writer = Writer::new(VERSION);
        match self {
            Self::Made { asked_by } => {
                writer.bytes(&[1]);
                text(&mut writer, asked_by.as_ref().map_or("", UserId::as_str));
            }
            Self::Text { offset, text: appended } => {
                writer.bytes(&[2]);
                writer.uint(*offset);
                text(&mut writer, appended);
            }
            Self::Interrupted => writer.bytes(&[3]),
            Self::Ended(outcome) => {
                writer.bytes(&[4]);
                match outcome {
                    Outcome::Finished { result: None } => writer.bytes(&[1, 0]),
                    Outcome::Finished { result: Some(result) } => {
                        writer.bytes(&[1, 1]);
                        text(&mut writer, &result.address.to_string());
                        writer.bytes(&result.comment.0);
                    }
                    Outcome::Failed { reason } => {
                        writer.bytes(&[2]);
                        text(&mut writer, reason);
                    }
                    Outcome::Interrupted => writer.bytes(&[3]),
                    Outcome::Abandoned => writer.bytes(&[4]),
                }
            }
        }
        let body = writer.finish();
        let hash = ChangeHash(Sha256::digest(&body).into());
        let change: Bytes = [&MAGIC[..], &body].concat().into();
        storage::Entry { author, at, command: None, hash, change }
    }

    /// What an entry's bytes say.
    pub(super) fn read(change: &'a [u8]) -> Result<Self, StoredError> {
        let body = change.strip_prefix(MAGIC).ok_or(StoredError::OutOfRange("entry"))?;
        let mut reader = Reader::new(body, VERSION)?;
        let event = match reader.array()? {
            [1] => {
                let name = Some(read_text(&mut reader)?).filter(|name| !name.is_empty());
                let asked_by = name.map(UserId::new).transpose();
                Self::Made { asked_by: asked_by.map_err(|_| StoredError::OutOfRange("name"))? }
            }
            [2] => Self::Text { offset: reader.uint()?, text: read_text(&mut reader)? },
            [3] => Self::Interrupted,
            [4] => Self::Ended(read_outcome(&mut reader)?),
            _ => return Err(StoredError::OutOfRange("kind of entry")),
        };
        reader.finish()?;
        Ok(event)
    }
}

/// Whether an entry is one of a stream's log, and has the hash that it says.
#[must_use]
pub fn is_stream_entry(entry: &storage::Entry) -> bool {
    let body = entry.change.strip_prefix(&MAGIC[..]);
    body.is_some_and(|body| Sha256::digest(body)[..] == entry.hash.0)
        && Event::read(&entry.change).is_ok()
}

fn read_outcome(reader: &mut Reader<'_>) -> Result<Outcome, StoredError> {
    Ok(match reader.array()? {
        [1] => Outcome::Finished {
            result: match reader.array()? {
                [0] => None,
                [1] => {
                    let address = read_text(reader)?.parse();
                    let address = address.map_err(|_| StoredError::OutOfRange("address"))?;
                    Some(Committed { address, comment: Ulid(reader.array()?) })
                }
                _ => return Err(StoredError::OutOfRange("result")),
            },
        },
        [2] => Outcome::Failed { reason: read_text(reader)?.to_owned() },
        [3] => Outcome::Interrupted,
        [4] => Outcome::Abandoned,
        _ => return Err(StoredError::OutOfRange("outcome")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Record;
    use crate::storage::record::{decode, encode};

    const VECTORS: &str = include_str!("../../../vectors/stream.hex");

    fn samples() -> Vec<(&'static str, Event<'static>)> {
        let asked_by = Some(UserId::new("ada").unwrap());
        let address = "town/square/comments".parse().unwrap();
        let result = Some(Committed { address, comment: Ulid([7; 16]) });
        let ended = |outcome| Event::Ended(outcome);
        vec![
            ("made", Event::Made { asked_by: None }),
            ("made-asked", Event::Made { asked_by }),
            ("text", Event::Text { offset: 300, text: "Grüße" }),
            ("interrupted", Event::Interrupted),
            ("finished", ended(Outcome::Finished { result: None })),
            ("finished-committed", ended(Outcome::Finished { result })),
            ("failed", ended(Outcome::Failed { reason: "out of power".to_owned() })),
            ("ended-interrupted", ended(Outcome::Interrupted)),
            ("abandoned", ended(Outcome::Abandoned)),
        ]
    }

    #[test]
    fn entries_have_the_bytes_of_the_golden_vectors_and_are_a_records() {
        let (author, at) = (UserId::new("agent").unwrap(), Timestamp(5));
        let entries: Vec<_> =
            samples().iter().map(|(_, event)| event.entry(author.clone(), at)).collect();
        let mut text = "# What a stream's log entries are made of, one of each. Lines are added, \
                        never changed.\n"
            .to_owned();
        for ((name, event), entry) in samples().iter().zip(&entries) {
            text.push_str(&format!("{name} {}\n", hex::encode(&entry.change)));
            assert_eq!(Event::read(&entry.change).as_ref(), Ok(event));
        }
        assert_eq!(text, VECTORS);
        let tip = crate::ids::Tip([1; 16]);
        let record = Record { first_seq: 1, tip_before: tip, tip, entries };
        assert_eq!(decode(&encode(&record)), Ok(record), "a record names each by its own hash");
    }

    #[test]
    fn what_is_cut_longer_or_of_another_kind_is_no_entry() {
        for (name, event) in samples() {
            let bytes = event.entry(UserId::new("agent").unwrap(), Timestamp(5)).change;
            for length in 0..bytes.len() {
                assert!(Event::read(&bytes[..length]).is_err(), "{name} cut to {length}");
            }
            assert!(Event::read(&[&bytes[..], &[0]].concat()).is_err(), "{name} with more");
            for (at, byte) in [(8, 2), (9, 9), (0, 0)] {
                let mut other = bytes.to_vec();
                other[at] = byte;
                assert!(Event::read(&other).is_err(), "{name} with {byte} at {at}");
            }
        }
    }
}
