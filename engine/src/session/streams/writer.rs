//! A stream that the app writes. What is not acknowledged is kept, and sent again from where the
//! server has the stream. The app may be ahead of the acknowledgements by a window, and no further.

use super::{Session, Stage, StreamError};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{StreamAddress, UserId};
use crate::limits::STREAM_PIECE_BYTES_MAX;
use crate::stream::{Origin, Outcome, Status, beginning, digest};
use crate::wire::ClientFrame;
use crate::wire::frame::{AppendStream, EndStream, LeaveStream, StreamOpened, WriteStream};

/// Text that is kept for the server to acknowledge, whatever window it names.
const WINDOW_BYTES_MAX: usize = 1 << 20;
/// Text that is worth a frame of its own while an answer is awaited. Less waits for the answer, and for
/// what is written meanwhile.
const WORTH_SENDING_BYTES: usize = 8 << 10;

#[derive(Debug)]
pub(super) struct Writer {
    create: bool,
    asked_by: Option<UserId>,
    pub(super) stage: Stage,
    origin: Option<Origin>,
    /// Up to where it is acknowledged.
    base: u64,
    /// What is written above that.
    unanswered: String,
    /// How much of it was sent on this connection.
    sent: usize,
    window: usize,
    end: Option<Outcome>,
    end_sent: bool,
    pub(super) status: Status,
    pub(super) failed: Option<StreamError>,
}

/// What there is to know of a stream that the app writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterState {
    /// Where it comes from; `None` until the server has said that it is open.
    pub origin: Option<Origin>,
    /// How long it is with everything that was taken from the app, in bytes.
    pub written: u64,
    /// How much of it is on the server's disk.
    pub durable: u64,
    /// How it stands.
    pub status: Status,
    /// Why nothing more can be written.
    pub failed: Option<StreamError>,
}

/// Another device of the user has written something else there.
pub(super) fn written_elsewhere() -> StreamError {
    StreamError::refused(Code::StreamConflict, "the stream was written elsewhere")
}

impl Writer {
    fn new(create: bool, asked_by: Option<UserId>) -> Self {
        Self {
            create,
            asked_by,
            stage: Stage::Apart,
            origin: None,
            base: 0,
            unanswered: String::new(),
            sent: 0,
            window: 0,
            end: None,
            end_sent: false,
            status: Status::default(),
            failed: None,
        }
    }

    const fn is_over(&self) -> bool {
        self.failed.is_some() || self.status.outcome.is_some()
    }

    pub(super) fn disconnected(&mut self) {
        (self.stage, self.sent, self.end_sent) = (Stage::Apart, 0, false);
    }

    /// Opens the stream, or sends what can be sent.
    pub(super) fn go_on(
        &mut self,
        now: Timestamp,
        address: &StreamAddress,
        frames: &mut Vec<ClientFrame>,
    ) {
        if self.is_over() {
            return;
        }
        if self.stage.is_due(now) {
            self.stage = Stage::Asked;
            let frame = WriteStream {
                address: address.to_string(),
                create: self.create,
                asked_by: self.asked_by.as_ref().map(ToString::to_string),
                since: if self.origin.is_some() { self.base } else { u64::MAX },
            };
            frames.push(frame.into());
        }
        let Stage::Open(stream) = self.stage else { return };
        while self.sent < self.unanswered.len() {
            let rest = &self.unanswered[self.sent..];
            if self.sent > 0 && rest.len() < WORTH_SENDING_BYTES && self.end.is_none() {
                return;
            }
            let text = beginning(rest, STREAM_PIECE_BYTES_MAX).to_owned();
            let offset = self.base + self.sent as u64;
            self.sent += text.len();
            frames.push(AppendStream { stream, offset, text }.into());
        }
        if let Some(outcome) = self.end.as_ref().filter(|_| !self.end_sent) {
            self.end_sent = true;
            let end = self.base + self.unanswered.len() as u64;
            frames.push(EndStream { stream, end, outcome: outcome.wire() }.into());
        }
    }

    /// The server has the stream up to `at`.
    pub(super) fn opened(&mut self, frame: &StreamOpened, origin: Origin) {
        if self.origin.replace(origin).is_none() {
            self.base = frame.at;
        } else if let Err(error) = self.come_to(frame) {
            return self.fail(error);
        }
        self.stage = Stage::Open(frame.stream);
        (self.sent, self.end_sent) = (0, false);
        let window = usize::try_from(frame.window_bytes).unwrap_or(usize::MAX);
        self.window = window.min(WINDOW_BYTES_MAX);
    }

    /// Checks that what the server has is what was written here, and lets go of it.
    fn come_to(&mut self, frame: &StreamOpened) -> Result<(), StreamError> {
        let Some(known) = frame.at.checked_sub(self.base) else {
            let message = "the server has lost text that it had acknowledged";
            return Err(StreamError::refused(Code::StreamGap, message));
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let same = frame.since == self.base
            && self.unanswered.is_char_boundary(known)
            && digest(&self.unanswered.as_bytes()[..known]) == frame.digest;
        if !same {
            return Err(written_elsewhere());
        }
        self.unanswered.drain(..known);
        self.base = frame.at;
        Ok(())
    }

    /// Text up to `end` is durable. `None` if so much was never sent.
    pub(super) fn acknowledged(&mut self, end: u64) -> Option<()> {
        let Some(known) = end.checked_sub(self.base) else { return Some(()) };
        let known = usize::try_from(known).ok().filter(|known| *known <= self.sent)?;
        if !self.unanswered.is_char_boundary(known) {
            return None;
        }
        self.unanswered.drain(..known);
        (self.base, self.sent) = (end, self.sent - known);
        Some(())
    }

    pub(super) fn fail(&mut self, error: StreamError) {
        self.failed.get_or_insert(error);
        self.stage = Stage::Apart;
        self.unanswered = String::new();
    }
}

impl Session {
    /// Begins to write a stream: makes it if `create` says so and nobody has, else goes on at its
    /// end, which only the user who made it may.
    ///
    /// # Errors
    /// [`StreamError::WrittenHere`] if this session writes it already.
    pub fn write_stream(
        &mut self,
        now: Timestamp,
        address: &StreamAddress,
        create: bool,
        asked_by: Option<UserId>,
    ) -> Result<(), StreamError> {
        if self.streams.writers.contains_key(address) {
            return Err(StreamError::WrittenHere);
        }
        self.streams.writers.insert(address.clone(), Writer::new(create, asked_by));
        self.go_on_with_streams(now);
        Ok(())
    }

    /// Appends text, as much of it as may be sent ahead of the acknowledgements. Answers how many
    /// bytes were taken; the rest is to be handed in again when [`Notice::Stream`] says that
    /// something has changed.
    ///
    /// [`Notice::Stream`]: crate::session::Notice::Stream
    ///
    /// # Errors
    /// [`StreamError`] if nothing more can be written.
    pub fn append_stream(
        &mut self,
        now: Timestamp,
        address: &StreamAddress,
        text: &str,
    ) -> Result<usize, StreamError> {
        let writer = self.streams.writers.get_mut(address).ok_or(StreamError::NotOpen)?;
        if let Some(error) = &writer.failed {
            return Err(error.clone());
        }
        if writer.end.is_some() || writer.status.outcome.is_some() {
            return Err(StreamError::Ended);
        }
        let room = writer.window.saturating_sub(writer.unanswered.len());
        let taken = beginning(text, room);
        if !taken.is_empty() {
            writer.unanswered.push_str(taken);
            self.go_on_with_streams(now);
        }
        Ok(taken.len())
    }

    /// Ends a stream once everything that was appended is sent. How it ended then is in its status.
    ///
    /// # Errors
    /// [`StreamError`] if it can't be.
    pub fn end_stream(
        &mut self,
        now: Timestamp,
        address: &StreamAddress,
        outcome: Outcome,
    ) -> Result<(), StreamError> {
        let writer = self.streams.writers.get_mut(address).ok_or(StreamError::NotOpen)?;
        if let Some(error) = &writer.failed {
            return Err(error.clone());
        }
        if writer.end.is_some() || writer.status.outcome.is_some() {
            return Err(StreamError::Ended);
        }
        writer.end = Some(outcome);
        self.go_on_with_streams(now);
        Ok(())
    }

    /// How a stream that the app writes stands; `None` if it writes no such stream.
    #[must_use]
    pub fn stream_writer(&self, address: &StreamAddress) -> Option<WriterState> {
        self.streams.writers.get(address).map(|writer| WriterState {
            origin: writer.origin.clone(),
            written: writer.base + writer.unanswered.len() as u64,
            durable: writer.base,
            status: writer.status.clone(),
            failed: writer.failed.clone(),
        })
    }

    /// Writes a stream no more. What is not acknowledged may not reach the server; the stream stays
    /// open.
    pub fn leave_writing(&mut self, address: &StreamAddress) {
        let writer = self.streams.writers.remove(address);
        if let Some(stream) = writer.and_then(|writer| writer.stage.handle()) {
            self.send(LeaveStream { stream, writes: true }.into());
        }
    }
}
