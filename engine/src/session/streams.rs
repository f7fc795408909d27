//! The streams that an app reads, writes or interrupts: opened again on every connection and gone on
//! with from where each side knows that the other is. Nothing of them is stored on the device. What is
//! written before it is acknowledged, and what is read before the app takes it, is in memory, bounded.

mod frames;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;

use self::reader::{Reader, Subscription};
pub use self::reader::{ReaderId, ReaderState, Taken};
use self::writer::Writer;
pub use self::writer::WriterState;
use super::{Notice, Session};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::StreamAddress;
use crate::machine::Wake;
use crate::wire::frame::InterruptStream;

/// Something can't be done with a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The server refused it.
    #[error("{message}")]
    Refused {
        /// Why.
        code: Code,
        /// A sentence that helps.
        message: String,
    },
    /// This client writes the stream already.
    #[error("this client writes the stream already")]
    WrittenHere,
    /// The stream is not open (any more).
    #[error("the stream is not open")]
    NotOpen,
    /// The stream has ended, or is ending.
    #[error("the stream has ended")]
    Ended,
}

impl StreamError {
    fn refused(code: Code, message: &str) -> Self {
        Self::Refused { code, message: message.to_owned() }
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused { code, .. } => *code,
            Self::WrittenHere => Code::BadCommand,
            Self::NotOpen => Code::NotFound,
            Self::Ended => Code::StreamEnded,
        }
    }
}

/// How far a stream is open on the present connection, for reading or for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To be asked for.
    Apart,
    /// Asked for.
    Asked,
    Open(u32),
    /// To be asked for again then.
    Later(Timestamp),
}

impl Stage {
    const fn handle(self) -> Option<u32> {
        match self {
            Self::Open(handle) => Some(handle),
            Self::Apart | Self::Asked | Self::Later(_) => None,
        }
    }

    /// Whether it is to be asked for now.
    fn is_due(self, now: Timestamp) -> bool {
        match self {
            Self::Apart => true,
            Self::Later(at) => at <= now,
            Self::Asked | Self::Open(_) => false,
        }
    }

    const fn later(self) -> Option<Timestamp> {
        match self {
            Self::Later(at) => Some(at),
            Self::Apart | Self::Asked | Self::Open(_) => None,
        }
    }
}

/// An interrupt's name within its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterruptId(pub u64);

/// An interrupt on its way.
#[derive(Debug)]
struct Interrupt {
    address: StreamAddress,
    stage: Stage,
    ended: Option<Result<(), StreamError>>,
}

/// All streams of a session.
#[derive(Debug, Default)]
pub(super) struct Streams {
    writers: BTreeMap<StreamAddress, Writer>,
    readers: BTreeMap<ReaderId, Reader>,
    /// What is read, once however many readers there are.
    subscriptions: BTreeMap<StreamAddress, Subscription>,
    interrupts: BTreeMap<InterruptId, Interrupt>,
    /// The number of the reader or interrupt that was made last.
    last: u64,
}

impl Streams {
    fn is_empty(&self) -> bool {
        self.writers.is_empty() && self.subscriptions.is_empty() && self.interrupts.is_empty()
    }

    /// The stream with a handle of this connection.
    fn of_handle(&self, handle: u32) -> Option<StreamAddress> {
        let writer = self.writers.iter().find(|(_, w)| w.stage.handle() == Some(handle));
        let reading = || self.subscriptions.iter().find(|(_, s)| s.stage.handle() == Some(handle));
        writer.map(|(address, _)| address).or_else(|| reading().map(|(a, _)| a)).cloned()
    }

    /// When something is to be asked for again.
    fn next_retry(&self) -> Option<Timestamp> {
        let writers = self.writers.values().map(|writer| writer.stage);
        let reading = self.subscriptions.values().map(|subscription| subscription.stage);
        let interrupts = self.interrupts.values().map(|interrupt| interrupt.stage);
        writers.chain(reading).chain(interrupts).filter_map(Stage::later).min()
    }
}

impl Session {
    /// Asks that whoever writes a stream stop. The answer is taken by
    /// [`interrupt_answer`](Self::interrupt_answer).
    pub fn interrupt_stream(&mut self, now: Timestamp, address: &StreamAddress) -> InterruptId {
        self.streams.last += 1;
        let id = InterruptId(self.streams.last);
        let address = address.clone();
        let interrupt = Interrupt { address, stage: Stage::Apart, ended: None };
        self.streams.interrupts.insert(id, interrupt);
        self.go_on_with_streams(now);
        id
    }

    /// The answer to an interrupt: it is stored, or why not. `None` if there is none yet.
    #[must_use]
    pub fn interrupt_answer(&self, id: InterruptId) -> Option<Result<(), StreamError>> {
        self.streams.interrupts.get(&id)?.ended.clone()
    }

    /// Waits for the answer to an interrupt no more. It may be carried out all the same.
    pub fn leave_interrupt(&mut self, id: InterruptId) {
        self.streams.interrupts.remove(&id);
    }

    /// The server has answered interrupts of a stream.
    fn interrupts_answered(&mut self, address: &StreamAddress, answer: &Result<(), StreamError>) {
        let asked = |interrupt: &&mut Interrupt| {
            interrupt.address == *address && interrupt.stage == Stage::Asked
        };
        for interrupt in self.streams.interrupts.values_mut().filter(asked) {
            interrupt.ended.get_or_insert_with(|| answer.clone());
        }
    }

    /// Asks for everything that is to be open and is not, if there is a connection, and sends what
    /// can be sent.
    pub(super) fn go_on_with_streams(&mut self, now: Timestamp) {
        if self.link.up().is_none() || self.streams.is_empty() {
            return;
        }
        let mut frames = Vec::new();
        for interrupt in self.streams.interrupts.values_mut() {
            if interrupt.ended.is_none() && interrupt.stage.is_due(now) {
                interrupt.stage = Stage::Asked;
                frames.push(InterruptStream { address: interrupt.address.to_string() }.into());
            }
        }
        for (address, writer) in &mut self.streams.writers {
            writer.go_on(now, address, &mut frames);
        }
        let Streams { readers, subscriptions, .. } = &mut self.streams;
        for (address, subscription) in subscriptions {
            let own = readers.values().filter(|reader| reader.address == *address);
            subscription.go_on(now, address, own, &mut frames);
        }
        for frame in frames {
            self.send(frame);
        }
    }

    /// The connection is gone, and with it everything that was open on it.
    pub(super) fn streams_disconnected(&mut self) {
        for writer in self.streams.writers.values_mut() {
            writer.disconnected();
        }
        for subscription in self.streams.subscriptions.values_mut() {
            subscription.disconnected();
        }
        for interrupt in self.streams.interrupts.values_mut() {
            interrupt.stage = Stage::Apart;
        }
    }

    /// When time alone will make the session do something about streams.
    pub(super) fn streams_wake(&self) -> Option<Wake> {
        self.link.up()?;
        self.streams.next_retry().map(|at| Wake { at, why: "open a stream again" })
    }

    fn stream_news(&mut self, address: &StreamAddress) {
        self.notify(Notice::Stream { address: address.clone() });
    }
}
