//! What a stream is to both sides: an append-only text that one user writes and many read, how it
//! stands, how it ended, and the digest by which two sides see that they have the same text. Offsets
//! count bytes of UTF-8 and lie between characters. Knows neither the hub nor the session.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::ids::{Address, Facet, StreamAddress, Ulid, UserId};
use crate::limits::STREAM_REASON_BYTES_MAX;
use crate::wire::frame::{StreamOutcome, StreamResult};

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All is said.
    Finished {
        /// The comment that the result was committed as.
        result: Option<Committed>,
    },
    /// It can't go on.
    Failed {
        /// Why, for people.
        reason: String,
    },
    /// It was stopped on demand.
    Interrupted,
    /// Whoever wrote it did not come back.
    Abandoned,
}

/// The comment that a stream's result was committed as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The comments among which it is.
    pub address: Address,
    /// Its id.
    pub comment: Ulid,
}

/// How a stream stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Who asked that it stop. Whoever writes it may still say a last word.
    pub interrupted_by: Option<UserId>,
    /// Since when nobody is connected who writes it.
    pub stalled_since: Option<Timestamp>,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
}

/// Where a stream comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who made it, and alone writes it.
    pub producer: UserId,
    /// Who asked for it, and may interrupt it.
    pub asked_by: Option<UserId>,
    /// When it was made, by the server's clock.
    pub created: Timestamp,
}

/// What travels is not an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OutcomeError(&'static str);

impl Outcome {
    /// What a frame says.
    ///
    /// # Errors
    /// [`OutcomeError`] if the reason is too long or the result is not a comment.
    pub fn read(wire: &StreamOutcome) -> Result<Self, OutcomeError> {
        Ok(match wire {
            StreamOutcome::Finished { result } => {
                Self::Finished { result: result.as_ref().map(Committed::read).transpose()? }
            }
            StreamOutcome::Failed { reason } if reason.len() > STREAM_REASON_BYTES_MAX => {
                return Err(OutcomeError("the reason is too long"));
            }
            StreamOutcome::Failed { reason } => Self::Failed { reason: reason.clone() },
            StreamOutcome::Interrupted => Self::Interrupted,
            StreamOutcome::Abandoned => Self::Abandoned,
        })
    }

    /// As it travels.
    #[must_use]
    pub fn wire(&self) -> StreamOutcome {
        match self {
            Self::Finished { result } => StreamOutcome::Finished {
                result: result.as_ref().map(|result| StreamResult {
                    address: result.address.to_string(),
                    comment: result.comment.0,
                }),
            },
            Self::Failed { reason } => StreamOutcome::Failed { reason: reason.clone() },
            Self::Interrupted => StreamOutcome::Interrupted,
            Self::Abandoned => StreamOutcome::Abandoned,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished { .. } => f.write_str("finished"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Abandoned => f.write_str("abandoned"),
        }
    }
}

impl Committed {
    fn read(wire: &StreamResult) -> Result<Self, OutcomeError> {
        let address = wire.address.parse::<Address>();
        let address = address.map_err(|_| OutcomeError("the result is at no address"))?;
        if address.facet() != Facet::Comments {
            return Err(OutcomeError("the result is not among comments"));
        }
        Ok(Self { address, comment: Ulid(wire.comment) })
    }
}

/// The id of the comment that a stream's result is committed as: the same whoever asks and however
/// often, so that a producer that died in between commits it once. It is the stream's own id where
/// that is a ULID, else made of when the stream was made and of its name.
#[must_use]
pub fn comment_id(address: &StreamAddress, created: Timestamp) -> Ulid {
    address.id().parse().unwrap_or_else(|_| {
        let hash = Sha256::digest(address.to_string());
        let mut random = [0; 16];
        random.copy_from_slice(&hash[..16]);
        Ulid::new(created, u128::from_be_bytes(random))
    })
}

/// The digest by which two sides see that they have the same text: the first 16 bytes of SHA-256.
#[must_use]
pub fn digest(text: &[u8]) -> [u8; 16] {
    let mut value = [0; 16];
    value.copy_from_slice(&Sha256::digest(text)[..16]);
    value
}

/// The beginning of a text, at most so many bytes of it and cut between characters.
#[must_use]
pub fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = "aü€𝄞";
        let cuts = [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10];
        for (bytes_max, end) in cuts.into_iter().enumerate() {
            assert_eq!(beginning(text, bytes_max).len(), end, "{bytes_max}");
        }
    }

    #[test]
    fn the_comment_of_a_stream_has_one_id() {
        let at = Timestamp(1_700_000_000_000);
        let named: StreamAddress = "town/answer-7/stream".parse().unwrap();
        let id = comment_id(&named, at);
        assert_eq!((id, id.timestamp()), (comment_id(&named, at), at));
        assert_ne!(comment_id(&"town/answer-8/stream".parse().unwrap(), at), id);
        let ulid = "town/01ARZ3NDEKTSV4RRFFQ69G5FAV/stream".parse().unwrap();
        assert_eq!(comment_id(&ulid, at).to_string(), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
    }

    #[test]
    fn outcomes_travel_and_a_result_must_be_a_comment() {
        let comments: Address = "town/square/comments".parse().unwrap();
        let result = Committed { address: comments.clone(), comment: Ulid([7; 16]) };
        for outcome in [
            Outcome::Finished { result: None },
            Outcome::Finished { result: Some(result) },
            Outcome::Failed { reason: "no power".to_owned() },
            Outcome::Interrupted,
            Outcome::Abandoned,
        ] {
            assert_eq!(Outcome::read(&outcome.wire()), Ok(outcome));
        }
        let post = comments.with_facet(Facet::Post).to_string();
        let result = Some(StreamResult { address: post, comment: [7; 16] });
        assert!(Outcome::read(&StreamOutcome::Finished { result }).is_err());
        let reason = "x".repeat(STREAM_REASON_BYTES_MAX + 1);
        assert!(Outcome::read(&StreamOutcome::Failed { reason }).is_err());
    }
}
