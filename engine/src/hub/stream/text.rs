//! The text of a stream in memory: what it is at an offset, a digest of a part of it, and pieces of it for
//! readers. Knows nothing of who writes or reads it.

use bytes::Bytes;

use super::StreamHandle;
use crate::limits::STREAM_PIECE_BYTES_MAX;
use crate::stream::{beginning, digest};
use crate::wire::frame::{ServerFrame, StreamText};

/// A piece of text as the frame that carries it.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) message: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    /// The piece that a reader got last: many read the same at about the same time.
    last: Option<Piece>,
}

impl Text {
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The digest of the bytes from one place to another, which must lie in it in this order.
    pub(super) fn digest(&self, since: usize, at: usize) -> [u8; 16] {
        digest(&self.text.as_bytes()[since..at])
    }

    /// Whether an offset lies between characters.
    pub(super) fn is_boundary(&self, at: usize) -> bool {
        self.text.is_char_boundary(at)
    }

    /// The text from one boundary to another.
    pub(super) fn slice(&self, from: usize, to: usize) -> &str {
        &self.text[from..to]
    }

    /// How much of `text` lies in this one at `at`; `None` if it differs there.
    pub(super) fn overlap(&self, at: usize, text: &str) -> Option<usize> {
        let known = &self.text.as_bytes()[at..];
        let both = known.len().min(text.len());
        (known[..both] == text.as_bytes()[..both] && text.is_char_boundary(both)).then_some(both)
    }

    /// What a reader at `from` gets next of the text up to `end`.
    pub(super) fn piece(&mut self, stream: StreamHandle, from: usize, end: usize) -> Option<Piece> {
        if let Some(last) = self.last.as_ref().filter(|last| last.from == from && last.to <= end) {
            return Some(last.clone());
        }
        let text = beginning(&self.text[from..end], STREAM_PIECE_BYTES_MAX);
        let (to, offset) = (from + text.len(), from as u64);
        let frame = StreamText { stream: stream.0, offset, text: text.to_owned() };
        let message = ServerFrame::from(frame).encode().ok()?;
        let piece = Piece { from, to, message };
        self.last = Some(piece.clone());
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other_and_the_same_is_encoded_once() {
        let mut text = Text::default();
        text.push(&"€".repeat(50_000));
        let (mut at, mut pieces) = (0, 0);
        while at < text.len() {
            let piece = text.piece(StreamHandle(4), at, text.len()).unwrap();
            let again = text.piece(StreamHandle(4), at, text.len()).unwrap();
            assert_eq!(piece.message.as_ptr(), again.message.as_ptr());
            let ServerFrame::StreamText(frame) = ServerFrame::decode(&piece.message).unwrap()
            else {
                panic!("a piece of text")
            };
            assert_eq!((frame.offset, frame.text.len()), (at as u64, piece.to - piece.from));
            (at, pieces) = (piece.to, pieces + 1);
        }
        assert_eq!(pieces, 3);
    }

    #[test]
    fn what_is_there_already_is_known_by_its_content() {
        let mut text = Text::default();
        text.push("Grüße");
        assert_eq!(text.overlap(2, "üße"), Some(5));
        assert_eq!(text.overlap(2, "üße aus"), Some(5));
        assert_eq!(text.overlap(7, "x"), Some(0));
        assert_eq!(text.overlap(2, "uesse"), None);
        assert_eq!(text.overlap(0, "Gr"), Some(2));
    }
}
