//! Streams that the app reads, writes or interrupts. Must never know JavaScript.

use serde::Deserialize;
use serde_json::{Value, json};
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::ids::{Facet, StreamAddress, UserId};
use syncline_engine::limits::STREAM_REASON_BYTES_MAX;
use syncline_engine::read_json::read_json;
use syncline_engine::session::{InterruptId, ReaderId, StreamError};
use syncline_engine::stream::{Committed, Origin, Outcome, Status, comment_id};

use crate::fault::Fault;
use crate::session::Driven;

/// How a stream is to end, as JSON.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum End {
    Finished {
        #[serde(default)]
        comment: Option<EndComment>,
    },
    Failed {
        reason: String,
    },
    Interrupted,
}

#[derive(Debug, Deserialize)]
struct EndComment {
    address: String,
    comment: String,
}

impl Driven {
    /// Begins to read a stream; answers the reader's number.
    ///
    /// # Errors
    /// If the address is none.
    pub fn read_stream(&mut self, now: f64, address: &str, from: u64) -> Result<u64, Fault> {
        let (now, address) = (self.at(now), address.parse()?);
        Ok(self.session.read_stream(now, &address, from).0)
    }

    /// The text that has come for a reader.
    pub fn take_text(&mut self, now: f64, reader: u64) -> Option<Value> {
        let now = self.at(now);
        let taken = self.session.take_text(now, ReaderId(reader))?;
        Some(json!({
            "offset": taken.offset,
            "text": taken.text,
            "restarted": taken.restarted,
        }))
    }

    /// How a stream stands for a reader.
    #[must_use]
    pub fn stream_reader(&self, reader: u64) -> Option<Value> {
        let state = self.session.stream_reader(ReaderId(reader))?;
        Some(json!({
            "offset": state.offset,
            "origin": state.origin.as_ref().map(origin),
            "status": state.status.as_ref().map(status),
            "failed": state.failed.as_ref().map(failed),
        }))
    }

    /// Ends a reader.
    pub fn leave_reading(&mut self, now: f64, reader: u64) {
        let now = self.at(now);
        self.session.leave_reading(now, ReaderId(reader));
    }

    /// Begins to write a stream.
    ///
    /// # Errors
    /// If a name is none, or the stream is written here already.
    pub fn write_stream(
        &mut self,
        now: f64,
        address: &str,
        create: bool,
        asked_by: Option<&str>,
    ) -> Result<(), Fault> {
        let (now, address) = (self.at(now), address.parse()?);
        let asked_by = asked_by.map(UserId::new).transpose()?;
        Ok(self.session.write_stream(now, &address, create, asked_by)?)
    }

    /// Appends text; answers how many bytes of it were taken.
    ///
    /// # Errors
    /// If nothing more can be written.
    pub fn append_stream(&mut self, now: f64, address: &str, text: &str) -> Result<usize, Fault> {
        let (now, address) = (self.at(now), address.parse()?);
        Ok(self.session.append_stream(now, &address, text)?)
    }

    /// Ends a stream.
    ///
    /// # Errors
    /// If the outcome does not read, or the stream can't be ended.
    pub fn end_stream(&mut self, now: f64, address: &str, end: &str) -> Result<(), Fault> {
        let (now, address) = (self.at(now), address.parse()?);
        Ok(self.session.end_stream(now, &address, outcome_of(end)?)?)
    }

    /// How a stream stands that the app writes.
    ///
    /// # Errors
    /// If the address is none.
    pub fn stream_writer(&self, address: &str) -> Result<Option<Value>, Fault> {
        let Some(state) = self.session.stream_writer(&address.parse()?) else { return Ok(None) };
        Ok(Some(json!({
            "origin": state.origin.as_ref().map(origin),
            "written": state.written,
            "durable": state.durable,
            "status": status(&state.status),
            "failed": state.failed.as_ref().map(failed),
        })))
    }

    /// Writes a stream no more.
    ///
    /// # Errors
    /// If the address is none.
    pub fn leave_writing(&mut self, address: &str) -> Result<(), Fault> {
        self.session.leave_writing(&address.parse()?);
        Ok(())
    }

    /// Asks that whoever writes a stream stop; answers the question's number.
    ///
    /// # Errors
    /// If the address is none.
    pub fn interrupt_stream(&mut self, now: f64, address: &str) -> Result<u64, Fault> {
        let (now, address) = (self.at(now), address.parse()?);
        Ok(self.session.interrupt_stream(now, &address).0)
    }

    /// The answer to that, once there is one.
    #[must_use]
    pub fn interrupt_answer(&self, interrupt: u64) -> Option<Value> {
        Some(match self.session.interrupt_answer(InterruptId(interrupt))? {
            Ok(()) => json!({ "ok": true }),
            Err(error) => failed(&error),
        })
    }

    /// Waits for it no more.
    pub fn leave_interrupt(&mut self, interrupt: u64) {
        self.session.leave_interrupt(InterruptId(interrupt));
    }
}

/// The id of the comment that a stream's result is committed as.
///
/// # Errors
/// If the address is none.
pub fn stream_comment(address: &str, created_ms: u64) -> Result<String, Fault> {
    let address: StreamAddress = address.parse()?;
    Ok(comment_id(&address, Timestamp(created_ms)).to_string())
}

fn outcome_of(json: &str) -> Result<Outcome, Fault> {
    let bad = |why: String| Fault::new(Code::BadCommand, why);
    let end: End = read_json(json).map_err(|error| bad(error.to_string()))?;
    Ok(match end {
        End::Finished { comment } => Outcome::Finished {
            result: comment
                .map(|EndComment { address, comment }| {
                    let committed =
                        Committed { address: address.parse()?, comment: comment.parse()? };
                    if committed.address.facet() == Facet::Comments {
                        Ok(committed)
                    } else {
                        Err(bad("the result is not among comments".to_owned()))
                    }
                })
                .transpose()?,
        },
        End::Failed { reason } if reason.len() > STREAM_REASON_BYTES_MAX => {
            return Err(bad(format!("a reason has at most {STREAM_REASON_BYTES_MAX} bytes")));
        }
        End::Failed { reason } => Outcome::Failed { reason },
        End::Interrupted => Outcome::Interrupted,
    })
}

fn outcome(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Finished { result: None } => json!({ "type": "finished" }),
        Outcome::Finished { result: Some(Committed { address, comment }) } => json!({
            "type": "finished",
            "address": address.to_string(),
            "comment": comment.to_string(),
        }),
        Outcome::Failed { reason } => json!({ "type": "failed", "reason": reason }),
        Outcome::Interrupted => json!({ "type": "interrupted" }),
        Outcome::Abandoned => json!({ "type": "abandoned" }),
    }
}

fn origin(origin: &Origin) -> Value {
    json!({
        "producer": origin.producer.as_str(),
        "asked_by": origin.asked_by.as_ref().map(UserId::as_str),
        "created": origin.created.0,
    })
}

fn status(status: &Status) -> Value {
    json!({
        "interrupted_by": status.interrupted_by.as_ref().map(UserId::as_str),
        "stalled_since": status.stalled_since.map(|at| at.0),
        "outcome": status.outcome.as_ref().map(outcome),
    })
}

fn failed(error: &StreamError) -> Value {
    json!({ "code": error.code().slug(), "message": error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_reads_as_it_is_shown_but_for_its_comment() {
        for end in [
            json!({ "type": "finished" }),
            json!({ "type": "failed", "reason": "no words" }),
            json!({ "type": "interrupted" }),
        ] {
            assert_eq!(outcome(&outcome_of(&end.to_string()).unwrap()), end);
        }
        let (address, id) = ("town/one/comments", "01J8ZQ4W5X6Y7Z8A9B0C1D2E3F");
        let comment = json!({ "address": address, "comment": id });
        let end = json!({ "type": "finished", "comment": comment }).to_string();
        let expected = json!({ "type": "finished", "address": address, "comment": id });
        assert_eq!(outcome(&outcome_of(&end).unwrap()), expected);
    }

    #[test]
    fn what_is_no_outcome_is_refused() {
        let long = "x".repeat(STREAM_REASON_BYTES_MAX + 1);
        for wrong in [
            json!(null),
            json!({ "type": "abandoned" }),
            json!({ "type": "failed", "reason": long }),
            json!({ "type": "finished", "comment": { "address": "a/b/likes", "comment": "x" } }),
            json!({ "type": "finished", "comment": {
                "address": "a/b/likes", "comment": "01J8ZQ4W5X6Y7Z8A9B0C1D2E3F",
            } }),
        ] {
            let fault = outcome_of(&wrong.to_string()).unwrap_err();
            assert_eq!(fault.code, Code::BadCommand, "{wrong}");
        }
    }
}
