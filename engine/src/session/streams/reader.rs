//! Streams that the app reads. However many readers of one stream there are, the server sends it once,
//! from where the hindmost is. A reader that takes nothing is waited for: what it has not taken is
//! bounded, and once none has room the stream is left until one has.

use std::mem;

use super::{Session, Stage, StreamError};
use crate::clock::Timestamp;
use crate::ids::StreamAddress;
use crate::stream::{Origin, Status, digest};
use crate::wire::ClientFrame;
use crate::wire::frame::{LeaveStream, ReadStream, StreamOpened};

/// Text that a reader has not taken, above which it is sent no more.
const UNTAKEN_BYTES_MAX: usize = 256 << 10;
/// How much of what it was sent last a reader keeps, to see that a server still has the same.
const TAIL_BYTES: usize = 1 << 10;

/// A reader's name within its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub u64);

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) address: StreamAddress,
    /// Up to where it has the text, what is not taken included.
    at: u64,
    untaken: String,
    /// The text right before `at`, some of it.
    tail: Vec<u8>,
    /// It begins anew, and the app has not heard of it.
    restarted: bool,
    failed: Option<StreamError>,
}

/// What there is to know of a stream that the app reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderState {
    /// Where the stream comes from; `None` until the server has said.
    pub origin: Option<Origin>,
    /// Up to where the app has taken it, in bytes.
    pub offset: u64,
    /// How it stands. `None` until the app has taken all that the stream was when that was said.
    pub status: Option<Status>,
    /// Why it can't be read.
    pub failed: Option<StreamError>,
}

/// Text that a reader takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Where it belongs, in bytes.
    pub offset: u64,
    /// The text.
    pub text: String,
    /// Whether everything that was taken before is void: the server has other text there.
    pub restarted: bool,
}

impl Reader {
    fn has_room(&self) -> bool {
        self.untaken.len() < UNTAKEN_BYTES_MAX
    }

    fn begin_anew(&mut self) {
        self.restarted |= self.at > 0;
        self.at = 0;
        self.untaken.clear();
        self.tail.clear();
    }

    /// Whether a piece is other text than what it has there. As far as it is remembered: what is not was compared when it was
    /// asked for.
    fn differs_from(&self, offset: u64, text: &str) -> bool {
        let begin = self.at - self.tail.len() as u64;
        let end = self.at.min(offset.saturating_add(text.len() as u64));
        let both = begin.max(offset)..end;
        let part = |of: &[u8], at: u64| {
            let (from, to) = (both.start.checked_sub(at)?, both.end.checked_sub(at)?);
            Some(of.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)?.to_vec())
        };
        !both.is_empty() && part(&self.tail, begin) != part(text.as_bytes(), offset)
    }

    /// Takes in what of a piece follows what it has. Answers whether there is something new.
    fn hear(&mut self, offset: u64, text: &str) -> bool {
        // A reader that is ahead of another was not asked for, and so its text was not compared.
        if self.differs_from(offset, text) {
            self.begin_anew();
            return true;
        }
        let known = self.at.checked_sub(offset).and_then(|known| usize::try_from(known).ok());
        let Some(fresh) = known.and_then(|known| text.get(known..)) else { return false };
        if fresh.is_empty() || !self.has_room() {
            return false;
        }
        self.untaken.push_str(fresh);
        self.at += fresh.len() as u64;
        self.tail.extend_from_slice(fresh.as_bytes());
        let superfluous = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..superfluous);
        true
    }
}

/// A stream as it is read from the server.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) stage: Stage,
    /// Where what comes next belongs.
    next: u64,
    origin: Option<Origin>,
    /// How it stands, and how long it was when that was said.
    status: Option<(u64, Status)>,
}

impl Subscription {
    const fn new() -> Self {
        Self { stage: Stage::Apart, next: 0, origin: None, status: None }
    }

    pub(super) const fn disconnected(&mut self) {
        self.stage = Stage::Apart;
    }

    /// Where the stream ends, if it has ended.
    fn ended_at(&self) -> Option<u64> {
        self.status.as_ref().filter(|(_, status)| status.outcome.is_some()).map(|(end, _)| *end)
    }

    /// Opens the stream from where the hindmost reader is that has room, or leaves it if none has.
    pub(super) fn go_on<'a>(
        &mut self,
        now: Timestamp,
        address: &StreamAddress,
        readers: impl Iterator<Item = &'a Reader>,
        frames: &mut Vec<ClientFrame>,
    ) {
        let ended_at = self.ended_at();
        let wants = |reader: &&Reader| {
            let complete = ended_at.is_some_and(|end| reader.at >= end) && !reader.restarted;
            reader.failed.is_none() && reader.has_room() && !complete
        };
        let hindmost = readers.filter(wants).min_by_key(|reader| reader.at);
        let Some(reader) = hindmost else {
            if let Some(stream) = self.stage.handle() {
                self.stage = Stage::Apart;
                frames.push(LeaveStream { stream, writes: false }.into());
            }
            return;
        };
        let behind = self.stage.handle().is_some() && reader.at < self.next;
        if self.stage.is_due(now) || behind {
            (self.stage, self.next) = (Stage::Asked, reader.at);
            let (from, since) = (reader.at, reader.at - reader.tail.len() as u64);
            frames.push(ReadStream { address: address.to_string(), from, since }.into());
        }
    }
}

impl Session {
    /// Begins to read a stream from an offset on. [`Notice::Stream`] says when there is something to
    /// [take](Self::take_text).
    ///
    /// [`Notice::Stream`]: crate::session::Notice::Stream
    pub fn read_stream(&mut self, now: Timestamp, address: &StreamAddress, from: u64) -> ReaderId {
        self.streams.last += 1;
        let id = ReaderId(self.streams.last);
        let reader = Reader {
            address: address.clone(),
            at: from,
            untaken: String::new(),
            tail: Vec::new(),
            restarted: false,
            failed: None,
        };
        self.streams.readers.insert(id, reader);
        let subscriptions = &mut self.streams.subscriptions;
        subscriptions.entry(address.clone()).or_insert_with(Subscription::new);
        self.go_on_with_streams(now);
        id
    }

    /// Takes the text that has come for a reader; `None` if there is none.
    pub fn take_text(&mut self, now: Timestamp, id: ReaderId) -> Option<Taken> {
        let reader = self.streams.readers.get_mut(&id)?;
        let restarted = mem::take(&mut reader.restarted);
        if reader.untaken.is_empty() && !restarted {
            return None;
        }
        let text = mem::take(&mut reader.untaken);
        let offset = reader.at - text.len() as u64;
        self.go_on_with_streams(now);
        Some(Taken { offset, text, restarted })
    }

    /// How a stream stands for a reader; `None` if there is no such reader.
    #[must_use]
    pub fn stream_reader(&self, id: ReaderId) -> Option<ReaderState> {
        let reader = self.streams.readers.get(&id)?;
        let subscription = self.streams.subscriptions.get(&reader.address);
        let told = subscription.and_then(|subscription| subscription.status.as_ref());
        let offset = reader.at - reader.untaken.len() as u64;
        let told = told.filter(|(end, _)| offset >= *end && !reader.restarted);
        Some(ReaderState {
            origin: subscription.and_then(|subscription| subscription.origin.clone()),
            offset,
            status: told.map(|(_, status)| status.clone()),
            failed: reader.failed.clone(),
        })
    }

    /// Ends a reader.
    pub fn leave_reading(&mut self, now: Timestamp, id: ReaderId) {
        let Some(Reader { address, .. }) = self.streams.readers.remove(&id) else { return };
        self.go_on_with_streams(now);
        let asked = |s: &Subscription| matches!(s.stage, Stage::Asked);
        // A question that is under way would be taken for the next one's.
        if !self.streams.subscriptions.get(&address).is_some_and(asked) {
            self.forget_unread(&address);
        }
    }

    /// Lets go of a subscription without readers.
    fn forget_unread(&mut self, address: &StreamAddress) {
        if !self.streams.readers.values().any(|reader| reader.address == *address) {
            self.streams.subscriptions.remove(address);
        }
    }

    /// The server has opened a stream for reading.
    pub(super) fn reading_opened(
        &mut self,
        address: &StreamAddress,
        frame: &StreamOpened,
        origin: Origin,
    ) {
        let read = self.streams.readers.values().any(|reader| reader.address == *address);
        if !read {
            // Everybody has left meanwhile.
            self.streams.subscriptions.remove(address);
            return self.send(LeaveStream { stream: frame.stream, writes: false }.into());
        }
        let Some(subscription) = self.streams.subscriptions.get_mut(address) else { return };
        if !matches!(subscription.stage, Stage::Asked) {
            return;
        }
        subscription.origin = Some(origin);
        let asked_at = subscription.next;
        let readers = self.streams.readers.values_mut();
        let own: Vec<_> = readers.filter(|reader| reader.address == *address).collect();
        let differs = own.iter().filter(|reader| reader.at == asked_at).any(|reader| {
            let since = frame.since.checked_sub(asked_at - reader.tail.len() as u64);
            let known = since.and_then(|since| reader.tail.get(usize::try_from(since).ok()?..));
            known.is_some_and(|known| digest(known) != frame.digest)
        });
        if frame.at == asked_at && !differs {
            subscription.stage = Stage::Open(frame.stream);
            return;
        }
        own.into_iter().for_each(Reader::begin_anew);
        subscription.next = 0;
        subscription.status = None;
        subscription.stage = if frame.at == 0 { Stage::Open(frame.stream) } else { Stage::Apart };
        self.stream_news(address);
    }

    /// Text has come. `None` if it is not what comes next.
    pub(super) fn text_heard(&mut self, handle: u32, offset: u64, text: &str) -> Option<()> {
        let open = Stage::Open(handle);
        let mut subscriptions = self.streams.subscriptions.iter_mut();
        // What was under way when the stream was left is passed over.
        let Some((address, subscription)) = subscriptions.find(|(_, s)| s.stage == open) else {
            return Some(());
        };
        if offset != subscription.next || text.is_empty() {
            return None;
        }
        subscription.next += text.len() as u64;
        let address = address.clone();
        let mut heard = false;
        for reader in self.streams.readers.values_mut() {
            heard |= reader.address == address && reader.hear(offset, text);
        }
        if heard {
            self.stream_news(&address);
        }
        Some(())
    }

    /// The server said how a stream stands that is read.
    pub(super) fn reading_status(&mut self, handle: u32, end: u64, status: &Status) {
        let open = Stage::Open(handle);
        let mut subscriptions = self.streams.subscriptions.iter_mut();
        let Some((address, subscription)) = subscriptions.find(|(_, s)| s.stage == open) else {
            return;
        };
        subscription.status = Some((end, status.clone()));
        // Streams do not shrink: who has more than there is has what the server lost.
        let readers = self.streams.readers.values_mut();
        for reader in readers.filter(|reader| reader.address == *address && reader.at > end) {
            reader.begin_anew();
        }
    }

    /// The server lets a stream be read no more.
    pub(super) fn reading_refused(
        &mut self,
        address: &StreamAddress,
        error: &StreamError,
        later: Option<Timestamp>,
    ) {
        let Some(subscription) = self.streams.subscriptions.get_mut(address) else { return };
        subscription.stage = later.map_or(Stage::Apart, Stage::Later);
        let readers = self.streams.readers.values_mut();
        for reader in readers.filter(|reader| reader.address == *address) {
            if later.is_none() {
                reader.failed.get_or_insert_with(|| error.clone());
            }
        }
        self.forget_unread(address);
    }
}
