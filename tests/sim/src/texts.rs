//! What must be true of streams while the world runs: a ledger of what became durable, read from the
//! bytes of their entries in another way than the engine does, and a comparison of everything that is
//! said of streams with it.

use bytes::Bytes;
use syncline_engine::ids::{Address, StreamAddress, Ulid, UserId};
use syncline_engine::storage::Entry;
use syncline_engine::stream::{Committed, Outcome, digest};
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{StreamOpened, StreamStatus, StreamText};

use crate::oracle::{Oracle, Talk};

/// A stream as it must be on the server's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MirroredStream {
    pub(crate) producer: UserId,
    pub(crate) text: String,
    pub(crate) interrupted_by: Option<UserId>,
    pub(crate) outcome: Option<Outcome>,
}

/// What an entry says.
enum Said {
    Made,
    Text(usize, String),
    Interrupted,
    Ended(Outcome),
}

/// The bytes of an entry, from the front.
struct Bite<'a>(&'a [u8]);

impl<'a> Bite<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn number(&mut self) -> Option<usize> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = usize::from(self.byte()?);
            number |= (byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }
}

fn read(change: &[u8]) -> Option<Said> {
    let mut rest = Bite(change.strip_prefix(b"syncstrm\x01")?);
    Some(match rest.byte()? {
        1 => Said::Made,
        2 => Said::Text(rest.number()?, rest.text()?),
        3 => Said::Interrupted,
        4 => Said::Ended(match rest.byte()? {
            1 if rest.byte()? == 0 => Outcome::Finished { result: None },
            1 => {
                let address: Address = rest.text()?.parse().ok()?;
                let comment = Ulid(rest.take(16)?.try_into().ok()?);
                Outcome::Finished { result: Some(Committed { address, comment }) }
            }
            2 => Outcome::Failed { reason: rest.text()? },
            3 => Outcome::Interrupted,
            4 => Outcome::Abandoned,
            _ => return None,
        }),
        _ => return None,
    })
}

impl MirroredStream {
    /// Takes an entry in; says what can't be.
    fn take(&mut self, entry: &Entry, said: Said) -> Result<(), String> {
        let (author, server) = (&entry.author, entry.author.as_str() == "server");
        if let Some(outcome) = &self.outcome {
            return Err(format!("it goes on after it was {outcome}"));
        }
        match said {
            Said::Made => return Err("it is made twice".to_owned()),
            Said::Text(offset, text) => {
                if *author != self.producer {
                    return Err(format!("{author} writes what is {}'s", self.producer));
                }
                if offset != self.text.len() {
                    return Err(format!("text at {offset} follows {} bytes", self.text.len()));
                }
                self.text.push_str(&text);
            }
            Said::Interrupted => self.interrupted_by = Some(author.clone()),
            Said::Ended(outcome) => {
                if *author != self.producer && !server {
                    return Err(format!("{author} ends what is {}'s", self.producer));
                }
                self.outcome = Some(outcome);
            }
        }
        Ok(())
    }
}

impl Oracle {
    /// Entries of a stream became durable.
    pub(crate) fn stream_grew(&mut self, address: &StreamAddress, entries: &[Entry]) {
        for entry in entries {
            let Some(said) = read(&entry.change) else {
                return self.complain("stream", format!("{address}: an entry does not read"));
            };
            if matches!(said, Said::Text(..)) && !self.law.may_have_appended(entry) {
                let what = format!("{address}: {} appended without the right to", entry.author);
                self.complain("law", what);
            }
            let known = self.mirror.streams.get_mut(address);
            let taken = match (known, said) {
                (Some(stream), said) => stream.take(entry, said),
                (None, Said::Made) => {
                    let (producer, text) = (entry.author.clone(), String::new());
                    let stream =
                        MirroredStream { producer, text, interrupted_by: None, outcome: None };
                    self.mirror.streams.insert(address.clone(), stream);
                    Ok(())
                }
                (None, _) => Err("it begins in the middle".to_owned()),
            };
            if let Err(what) = taken {
                return self.complain("stream", format!("{address}: {what}"));
            }
        }
        self.note_text(address);
    }

    fn note_text(&mut self, address: &StreamAddress) {
        let Some(stream) = self.mirror.streams.get(address) else { return };
        let texts = self.texts.entry(address.clone()).or_default();
        texts.retain(|text| !stream.text.starts_with(text.as_str()));
        texts.push(stream.text.clone());
    }

    /// Whether the stream ever had this at its beginning.
    pub(crate) fn began_with(&self, address: &StreamAddress, text: &str) -> bool {
        let texts = self.texts.get(address);
        text.is_empty() || texts.is_some_and(|all| all.iter().any(|one| one.starts_with(text)))
    }

    /// Nothing is said of a stream that is not so on disk at that moment.
    pub(crate) fn said_of_streams(&mut self, talk: &mut Talk, message: &Bytes) {
        let found = match ServerFrame::decode(message) {
            Ok(ServerFrame::StreamOpened(frame)) => self.opened(talk, &frame),
            Ok(ServerFrame::StreamText(frame)) => self.text_said(talk, &frame),
            Ok(ServerFrame::StreamAck(frame)) => {
                let length = self.stream(talk, frame.stream).map(|s| s.text.len() as u64);
                match length {
                    Some(length) if frame.end > length => {
                        Err(("stream_ack", format!("{length} durable, {} said", frame.end)))
                    }
                    Some(_) => Ok(()),
                    None => Err(("stream_ack", "of what is not on disk".to_owned())),
                }
            }
            Ok(ServerFrame::StreamStatus(frame)) => self.status_said(talk, &frame),
            Ok(ServerFrame::StreamInterrupted(frame)) => {
                let address = frame.address.parse::<StreamAddress>();
                let stream = address.ok().and_then(|address| self.mirror.streams.get(&address));
                match stream {
                    Some(s) if s.interrupted_by.is_some() || s.outcome.is_some() => Ok(()),
                    _ => Err(("stream_early", "an interrupt is answered before it is".to_owned())),
                }
            }
            Ok(_) => Ok(()),
            Err(error) => Err(("frame", format!("the hub says nonsense: {error}"))),
        };
        if let Err((rule, what)) = found {
            self.complain(rule, format!("of a stream: {what}"));
        }
    }

    fn stream(&self, talk: &Talk, handle: u32) -> Option<&MirroredStream> {
        self.mirror.streams.get(talk.streams.get(&handle)?)
    }

    fn opened(&self, talk: &mut Talk, frame: &StreamOpened) -> Result<(), (&'static str, String)> {
        let Ok(address) = frame.address.parse::<StreamAddress>() else {
            return Err(("frame", "its address does not parse".to_owned()));
        };
        let stream = self.mirror.streams.get(&address);
        talk.streams.insert(frame.stream, address);
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let (since, at) = (place(frame.since), place(frame.at));
        let same = stream.is_some_and(|stream| {
            let piece = stream.text.as_bytes().get(since..at);
            frame.producer == stream.producer.as_str()
                && piece.is_some_and(|piece| digest(piece) == frame.digest)
        });
        if same { Ok(()) } else { Err(("stream_early", format!("opened at {at}"))) }
    }

    fn text_said(&self, talk: &Talk, frame: &StreamText) -> Result<(), (&'static str, String)> {
        let from = usize::try_from(frame.offset).unwrap_or(usize::MAX);
        let stream = self.stream(talk, frame.stream);
        let piece = stream.and_then(|s| s.text.as_bytes().get(from..)?.get(..frame.text.len()));
        if piece == Some(frame.text.as_bytes()) {
            return Ok(());
        }
        Err(("stream_early", format!("text at {from} is not so on disk")))
    }

    fn status_said(&self, talk: &Talk, frame: &StreamStatus) -> Result<(), (&'static str, String)> {
        let early = |what: String| Err(("stream_early", what));
        let Some(stream) = self.stream(talk, frame.stream) else {
            return early("of what is not on disk".to_owned());
        };
        let outcome = stream.outcome.as_ref().map(Outcome::wire);
        // What a failed write left on the disk the hub need not know.
        if frame.outcome.is_some() && frame.outcome != outcome {
            return early(format!("{:?} is said, {outcome:?} is so", frame.outcome));
        }
        let interrupted_by = stream.interrupted_by.as_ref().map(UserId::as_str);
        if frame.interrupted_by.is_some() && frame.interrupted_by.as_deref() != interrupted_by {
            return early(format!("interrupted by {:?}", frame.interrupted_by));
        }
        if frame.end > stream.text.len() as u64 {
            return early(format!("{} long, {} on disk", frame.end, stream.text.len()));
        }
        Ok(())
    }
}
