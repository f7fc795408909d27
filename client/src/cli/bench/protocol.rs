//! The two protocols that the load generator speaks, as far as it needs them: Syncline's own, and that
//! of the bare relay that Syncline is compared with. Decodes as little as it can.
//!
//! The relay: one connection per room, `GET /room/NAME`. Messages are binary, numbers little endian.
//! Both ways: `1 | count u32 | count times (length u32 | bytes)`; a relayed message carries what several
//! clients sent, the reader's own included. From the relay: `2 | count u64`, so many of the reader's
//! are on the disk.

use anyhow::{Context, bail};
use bytes::{BufMut, Bytes, BytesMut};
use syncline_engine::wire::frame::{Blob, Changes, Push};
use syncline_engine::wire::{ClientFrame, ServerFrame, VERSION, unpack};

const CHANGES: u8 = 67;
const RELAY_CHANGES: u8 = 1;
const RELAY_ACK: u8 = 2;

/// Which protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    Syncline,
    Relay,
}

/// What a message means to the load generator.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// So many changes; with their authors if they were asked for.
    Changes {
        count: usize,
        authors: Vec<String>,
    },
    /// The first so many of one's own changes are durable.
    Acknowledged(usize),
    Nothing,
}

impl Protocol {
    /// The message that hands in changes, the first of which has the number `first` (from 0).
    pub(crate) fn push(
        self,
        handle: u32,
        first: usize,
        changes: &[Bytes],
    ) -> anyhow::Result<Bytes> {
        match self {
            Self::Syncline => {
                let changes = changes.iter().map(|change| Blob(change.clone())).collect();
                let push = Push { handle, first: first as u64 + 1, changes };
                Ok(ClientFrame::from(push).encode()?)
            }
            Self::Relay => {
                let bytes: usize = changes.iter().map(|change| change.len() + 4).sum();
                let mut message = BytesMut::with_capacity(bytes + 5);
                message.put_u8(RELAY_CHANGES);
                message.put_u32_le(u32::try_from(changes.len())?);
                for change in changes {
                    message.put_u32_le(u32::try_from(change.len())?);
                    message.put_slice(change);
                }
                Ok(message.freeze())
            }
        }
    }

    /// Reads a message of the server.
    pub(crate) fn hear(self, message: &[u8], authors: bool) -> anyhow::Result<Heard> {
        match self {
            Self::Syncline if authors || message.get(1) != Some(&CHANGES) => hear_frame(message),
            Self::Syncline => {
                let count = count_entries(message).context("a malformed frame of changes")?;
                Ok(Heard::Changes { count, authors: Vec::new() })
            }
            Self::Relay => hear_relay(message, authors),
        }
    }
}

fn hear_frame(message: &[u8]) -> anyhow::Result<Heard> {
    let changes = |changes: Changes| {
        let name = |index: u16| changes.authors.get(usize::from(index)).cloned();
        let authors = changes.entries.iter().map(|e| name(e.author).unwrap_or_default()).collect();
        Heard::Changes { count: changes.entries.len(), authors }
    };
    Ok(match ServerFrame::decode(message)? {
        ServerFrame::Changes(frame) => changes(frame),
        ServerFrame::PackedChanges(packed) => changes(unpack(&packed)?),
        ServerFrame::Ack(ack) => Heard::Acknowledged(usize::try_from(ack.number)?),
        ServerFrame::Reject(reject) => bail!("a change was refused: {}", reject.message),
        ServerFrame::LeaseEnded(_) => bail!("the lease ended"),
        ServerFrame::Error(error) => bail!("the server says: {}", error.message),
        ServerFrame::Goodbye(_) => bail!("the server said goodbye"),
        ServerFrame::Welcome(_)
        | ServerFrame::Subscribed(_)
        | ServerFrame::SnapshotPart(_)
        | ServerFrame::Leased(_)
        | ServerFrame::Restored(_)
        | ServerFrame::Pong(_)
        | ServerFrame::Compared(_)
        | ServerFrame::May(_)
        | ServerFrame::Entered(_)
        | ServerFrame::Presence(_)
        | ServerFrame::Crowd(_)
        | ServerFrame::Standing(_)
        | ServerFrame::SentAway(_)
        | ServerFrame::NotAnnounced(_)
        | ServerFrame::Kicked(_)
        | ServerFrame::StreamOpened(_)
        | ServerFrame::StreamText(_)
        | ServerFrame::StreamAck(_)
        | ServerFrame::StreamStatus(_)
        | ServerFrame::StreamInterrupted(_)
        | ServerFrame::StreamRefused(_)
        | ServerFrame::TokenExpires(_)
        | ServerFrame::SettledAs(_)
        | ServerFrame::Feed(_)
        | ServerFrame::FeedChanged(_)
        | ServerFrame::Posts(_)
        | ServerFrame::FeedEnded(_)
        | ServerFrame::PostsRefused(_) => Heard::Nothing,
    })
}

/// How many entries a `Changes` frame announces, without copying any of them.
fn count_entries(message: &[u8]) -> Option<usize> {
    let mut rest = message.strip_prefix(&[VERSION, CHANGES])?;
    varint(&mut rest)?;
    varint(&mut rest)?;
    rest = rest.get(16..)?;
    // The seal, if there is one.
    let (sealed, after) = rest.split_first()?;
    rest = after.get(usize::from(*sealed) * 16..)?;
    for _ in 0..varint(&mut rest)? {
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        rest = rest.get(length..)?;
    }
    usize::try_from(varint(&mut rest)?).ok()
}

/// A number as the frames have it: below 251 in one byte, else a marker and 2, 4 or 8 bytes.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let (first, tail) = rest.split_first()?;
    let width = match *first {
        251 => 2,
        252 => 4,
        253 => 8,
        254 | 255 => return None,
        small => {
            *rest = tail;
            return Some(u64::from(small));
        }
    };
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(tail.get(..width)?);
    *rest = &tail[width..];
    Some(u64::from_le_bytes(bytes))
}

fn hear_relay(message: &[u8], authors: bool) -> anyhow::Result<Heard> {
    let number = |range: std::ops::Range<usize>| -> anyhow::Result<u64> {
        let mut bytes = [0; 8];
        let taken = message.get(range).context("a short message")?;
        bytes[..taken.len()].copy_from_slice(taken);
        Ok(u64::from_le_bytes(bytes))
    };
    match message.first() {
        Some(&RELAY_CHANGES) => {
            let count = usize::try_from(number(1..5)?)?;
            let mut all = Vec::new();
            let mut at = 5;
            // The relay knows no authors: the generator's changes begin with the writer's number.
            for _ in 0..if authors { count } else { 0 } {
                let length = usize::try_from(number(at..at + 4)?)?;
                let writer = number(at + 4..at + 8)?;
                all.push(super::lane::user_name(usize::try_from(writer)?));
                at += 4 + length;
            }
            Ok(Heard::Changes { count, authors: all })
        }
        Some(&RELAY_ACK) => Ok(Heard::Acknowledged(usize::try_from(number(1..9)?)?)),
        _ => bail!("a message that no relay sends"),
    }
}

#[cfg(test)]
mod tests {
    use syncline_engine::wire::frame::{Ack, WireEntry};

    use super::*;

    fn changes(entries: usize, authors: &[&str]) -> Bytes {
        let entry = |n: usize| WireEntry {
            author: u16::try_from(n % authors.len()).unwrap(),
            at_ms: 1_700_000_000_000,
            change: Blob(vec![7; 130].into()),
        };
        let frame = Changes {
            seal: None,
            handle: 70_000,
            first_seq: 5_000_000_000,
            tip: [9; 16],
            authors: authors.iter().map(|author| (*author).to_owned()).collect(),
            entries: (0..entries).map(entry).collect(),
        };
        ServerFrame::from(frame).encode().unwrap()
    }

    #[test]
    fn entries_are_counted_as_the_codec_counts_them() {
        for entries in [0, 1, 250, 251, 300, 1_000] {
            let message = changes(entries, &["a", "bob"]);
            assert_eq!(count_entries(&message), Some(entries));
            let Heard::Changes { count, authors } =
                Protocol::Syncline.hear(&message, true).unwrap()
            else {
                unreachable!("changes were sent")
            };
            assert_eq!((count, authors.len()), (entries, entries));
        }
        assert_eq!(count_entries(&changes(3, &["a"])[..20]), None);
    }

    #[test]
    fn acknowledgements_are_heard_in_both_protocols() {
        let ack = ServerFrame::from(Ack { handle: 1, number: 9 }).encode().unwrap();
        assert_eq!(Protocol::Syncline.hear(&ack, false).unwrap(), Heard::Acknowledged(9));
        let ack = [2, 9, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Protocol::Relay.hear(&ack, false).unwrap(), Heard::Acknowledged(9));
    }

    #[test]
    fn a_relayed_message_reads_as_it_was_pushed() {
        let payload = |writer: u32| Bytes::from([&writer.to_le_bytes()[..], b"rest"].concat());
        let pushed = Protocol::Relay.push(0, 0, &[payload(3), payload(4)]).unwrap();
        let heard = Protocol::Relay.hear(&pushed, true).unwrap();
        let authors = vec!["w3".to_owned(), "w4".to_owned()];
        assert_eq!(heard, Heard::Changes { count: 2, authors });
        assert!(Protocol::Relay.hear(&[7], false).is_err());
    }
}
