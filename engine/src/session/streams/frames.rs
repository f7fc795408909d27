//! What the server says of streams, frame by frame.

use std::time::Duration;

use super::writer::written_elsewhere;
use super::{Session, Stage, StreamError};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{StreamAddress, UserId};
use crate::stream::{Origin, Outcome, Status};
use crate::wire::frame::{
    LeaveStream, StreamAck, StreamAsk, StreamOpened, StreamRefused, StreamStatus, StreamText,
};

/// What a frame says of where a stream comes from.
fn origin(frame: &StreamOpened) -> Option<Origin> {
    let asked_by = frame.asked_by.as_deref().map(UserId::new).transpose().ok()?;
    let producer = UserId::new(&frame.producer).ok()?;
    Some(Origin { producer, asked_by, created: Timestamp(frame.created_ms) })
}

fn status(frame: &StreamStatus) -> Option<Status> {
    Some(Status {
        interrupted_by: frame.interrupted_by.as_deref().map(UserId::new).transpose().ok()?,
        stalled_since: frame.stalled_since_ms.map(Timestamp),
        outcome: frame.outcome.as_ref().map(Outcome::read).transpose().ok()?,
    })
}

impl Session {
    pub(in crate::session) fn stream_opened(&mut self, now: Timestamp, frame: &StreamOpened) {
        let Ok(address) = frame.address.parse::<StreamAddress>() else { return };
        let Some(origin) = origin(frame) else {
            return self.out_of_step(now, "a stream is of nobody");
        };
        if !frame.writes {
            self.reading_opened(&address, frame, origin);
        } else if let Some(writer) = self.streams.writers.get_mut(&address) {
            writer.opened(frame, origin);
            if writer.failed.is_some() {
                self.send(LeaveStream { stream: frame.stream, writes: true }.into());
            }
        } else {
            // The app has left meanwhile.
            self.send(LeaveStream { stream: frame.stream, writes: true }.into());
        }
        self.stream_news(&address);
        self.go_on_with_streams(now);
    }

    pub(in crate::session) fn stream_text(&mut self, now: Timestamp, frame: &StreamText) {
        if self.text_heard(frame.stream, frame.offset, &frame.text).is_none() {
            return self.out_of_step(now, "a stream's text has a gap");
        }
        self.go_on_with_streams(now);
    }

    pub(in crate::session) fn stream_ack(&mut self, now: Timestamp, frame: StreamAck) {
        let open = Stage::Open(frame.stream);
        let mut writers = self.streams.writers.iter_mut();
        let Some((address, writer)) = writers.find(|(_, w)| w.stage == open) else { return };
        let address = address.clone();
        if writer.acknowledged(frame.end).is_none() {
            // Another device of the user writes it as well.
            writer.fail(written_elsewhere());
            self.send(LeaveStream { stream: frame.stream, writes: true }.into());
        }
        self.stream_news(&address);
        self.go_on_with_streams(now);
    }

    pub(in crate::session) fn stream_status(&mut self, now: Timestamp, frame: &StreamStatus) {
        let Some(status) = status(frame) else {
            return self.out_of_step(now, "a stream stands in no way that there is");
        };
        let Some(address) = self.streams.of_handle(frame.stream) else { return };
        self.reading_status(frame.stream, frame.end, &status);
        let open = Stage::Open(frame.stream);
        if let Some(writer) = self.streams.writers.get_mut(&address).filter(|w| w.stage == open) {
            if status.outcome.is_some() {
                // All that is durable was acknowledged before.
                writer.stage = Stage::Apart;
                self.streams.writers.entry(address.clone()).and_modify(|w| w.status = status);
                self.send(LeaveStream { stream: frame.stream, writes: true }.into());
            } else {
                writer.status = status;
            }
        }
        self.stream_news(&address);
        self.go_on_with_streams(now);
    }

    pub(in crate::session) fn stream_interrupted(&mut self, name: &str) {
        let Ok(address) = name.parse::<StreamAddress>() else { return };
        self.interrupts_answered(&address, &Ok(()));
        self.stream_news(&address);
    }

    pub(in crate::session) fn stream_refused(&mut self, now: Timestamp, frame: &StreamRefused) {
        let Ok(address) = frame.address.parse::<StreamAddress>() else { return };
        let code = Code::from_number(frame.code).unwrap_or(Code::OutOfProtocol);
        let error = StreamError::refused(code, &frame.message);
        let later = frame.retry_after_ms.map(|wait| now + Duration::from_millis(wait.into()));
        match frame.asked {
            StreamAsk::Read => self.reading_refused(&address, &error, later),
            StreamAsk::Write => {
                if let Some(writer) = self.streams.writers.get_mut(&address) {
                    writer.disconnected();
                    match later {
                        Some(at) => writer.stage = Stage::Later(at),
                        None => writer.fail(error),
                    }
                }
            }
            StreamAsk::Interrupt => match later {
                None => self.interrupts_answered(&address, &Err(error)),
                Some(at) => {
                    let all = self.streams.interrupts.values_mut();
                    all.filter(|interrupt| interrupt.address == address)
                        .for_each(|interrupt| interrupt.stage = Stage::Later(at));
                }
            },
        }
        self.stream_news(&address);
    }
}
