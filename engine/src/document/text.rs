//! Text as a view holds it: positions in the document's own units, marks as ranges, and the smallest
//! single edit between two texts. Must never know which field of which document it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use automerge::marks::Mark;
use automerge::{AutomergeError, ObjId, ReadDoc, ScalarValue, TextEncoding};
use serde::{Deserialize, Serialize};

use crate::limits::SPLICE_CHARS_MAX;

/// The width of a character in the units in which a document counts.
///
/// Syncline's documents count code points (Rust) or UTF-16 units (JavaScript). Grapheme clusters are
/// not offered: their borders depend on the tables of the Unicode version at hand.
pub(super) const fn width(c: char, encoding: TextEncoding) -> usize {
    match encoding {
        TextEncoding::UnicodeCodePoint | TextEncoding::GraphemeCluster => 1,
        TextEncoding::Utf8CodeUnit => c.len_utf8(),
        TextEncoding::Utf16CodeUnit => c.len_utf16(),
    }
}

/// The width of a text in the units in which a document counts.
pub(crate) fn width_of(text: &str, encoding: TextEncoding) -> usize {
    text.chars().map(|c| width(c, encoding)).sum()
}

/// A text with a remembered place, so that typing in one spot does not count from the beginning.
#[derive(Clone, Default)]
pub(super) struct Text {
    string: String,
    /// A position in units and the same one in bytes.
    near: (usize, usize),
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({:?})", self.string)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.string == other.string
    }
}

impl Text {
    pub(super) fn new(string: String) -> Self {
        Self { string, near: (0, 0) }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.string
    }

    /// Replaces `delete` units at `index` by `insert`. Positions behind the end mean the end.
    pub(super) fn splice(
        &mut self,
        index: usize,
        delete: usize,
        insert: &str,
        encoding: TextEncoding,
    ) {
        let start = self.seek(index, encoding);
        let end = start + forward(&self.string[start..], delete, encoding);
        self.string.replace_range(start..end, insert);
        self.near = (index + width_of(insert, encoding), start + insert.len());
    }

    /// The byte at which a position in units lies.
    fn seek(&self, index: usize, encoding: TextEncoding) -> usize {
        let (units, bytes) = self.near;
        if index >= units {
            bytes + forward(&self.string[bytes..], index - units, encoding)
        } else if index < units / 2 {
            forward(&self.string, index, encoding)
        } else {
            bytes - backward(&self.string[..bytes], units - index, encoding)
        }
    }
}

/// A part of a text: `length` units from `index` on, or as many as there are.
pub(crate) fn text_slice(text: &str, index: usize, length: usize, encoding: TextEncoding) -> &str {
    let rest = &text[forward(text, index, encoding)..];
    &rest[..forward(rest, length, encoding)]
}

/// The bytes that the first `units` of a text take.
fn forward(text: &str, units: usize, encoding: TextEncoding) -> usize {
    measure(text.chars(), units, encoding)
}

/// The bytes that the last `units` of a text take.
fn backward(text: &str, units: usize, encoding: TextEncoding) -> usize {
    measure(text.chars().rev(), units, encoding)
}

fn measure(chars: impl Iterator<Item = char>, units: usize, encoding: TextEncoding) -> usize {
    let mut left = units;
    let mut bytes = 0;
    for c in chars {
        if left == 0 {
            break;
        }
        left = left.saturating_sub(width(c, encoding));
        bytes += c.len_utf8();
    }
    bytes
}

/// The marks of a text as longest stretches. Not by `marks()`, which in automerge 0.12 overlooks marks
/// that begin between the same two characters as others.
pub(crate) fn marks_of(doc: &impl ReadDoc, text: &ObjId) -> Result<Vec<Mark>, AutomergeError> {
    let mut marks: Vec<Mark> = Vec::new();
    // Where the last one of each name is: no two of a name lie over each other.
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut start = 0;
    for span in doc.spans(text)? {
        let (length, set) = match span {
            automerge::Span::Text { text, marks } => (width_of(&text, doc.text_encoding()), marks),
            automerge::Span::Block(_) => (1, None),
        };
        for (name, value) in set.iter().flat_map(|set| set.iter()) {
            let before = last.get(name).and_then(|place| marks.get_mut(*place));
            if let Some(mark) = before.filter(|mark| mark.end == start && mark.value() == value) {
                mark.end = start + length;
                continue;
            }
            last.insert(name.to_owned(), marks.len());
            marks.push(Mark::new(name.to_owned(), value.clone(), start, start + length));
        }
        start += length;
    }
    Ok(marks)
}

/// The single edit that turns `old` into `new`: position and length in code points, and what to insert.
/// `None` if they are equal.
///
/// ```
/// use syncline_engine::document::text_edit;
/// assert_eq!(text_edit("the cat", "the 🐈 cat"), Some((4, 0, "🐈 ".into())));
/// assert_eq!(text_edit("same", "same"), None);
/// ```
#[must_use]
pub fn text_edit(old: &str, new: &str) -> Option<(usize, usize, String)> {
    text_edit_in(TextEncoding::UnicodeCodePoint, old, new)
}

/// The single edit that turns `old` into `new`, in the units of `encoding`. `None` if they are equal.
#[must_use]
pub fn text_edit_in(
    encoding: TextEncoding,
    old: &str,
    new: &str,
) -> Option<(usize, usize, String)> {
    if old == new {
        return None;
    }
    let prefix: usize =
        old.chars().zip(new.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    let (old_rest, new_rest) = (&old[prefix..], &new[prefix..]);
    let suffix: usize = old_rest
        .chars()
        .rev()
        .zip(new_rest.chars().rev())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len_utf8())
        .sum();
    let removed = &old_rest[..old_rest.len() - suffix];
    let inserted = &new_rest[..new_rest.len() - suffix];
    Some((width_of(&old[..prefix], encoding), width_of(removed, encoding), inserted.to_owned()))
}

/// Cuts a splice into pieces of at most [`SPLICE_CHARS_MAX`] characters each, to be applied in order.
/// `text` is asked for the whole text if a deletion may not be cut just anywhere.
pub(super) fn split_splice(
    index: usize,
    delete: usize,
    insert: &str,
    encoding: TextEncoding,
    text: impl FnOnce() -> Option<String>,
) -> Vec<(usize, usize, String)> {
    let mut inserts = split_chars(insert).into_iter();
    let mut deletes = split_delete(index, delete, encoding, text).into_iter();
    let mut pieces = Vec::new();
    let mut at = index;
    loop {
        let (deleted, inserted) = (deletes.next(), inserts.next());
        if deleted.is_none() && inserted.is_none() {
            break;
        }
        let inserted = inserted.unwrap_or_default();
        let next = at + width_of(&inserted, encoding);
        pieces.push((at, deleted.unwrap_or(0), inserted));
        at = next;
    }
    if pieces.is_empty() {
        pieces.push((index, 0, String::new()));
    }
    pieces
}

/// A splice of a text: where, how much goes away, what comes instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Splice {
    pub(super) index: usize,
    pub(super) delete: usize,
    pub(super) insert: String,
}

impl Splice {
    /// The one splice that does what this and then `next` do, if the two touch. `None` too where
    /// `next` would halve a character.
    pub(super) fn joined(&self, next: &Self, encoding: TextEncoding) -> Option<Self> {
        let end = self.index + width_of(&self.insert, encoding);
        let next_end = next.index + next.delete;
        if next.index > end || next_end < self.index {
            return None;
        }
        let head = cut_at(&self.insert, next.index.saturating_sub(self.index), encoding)?.0;
        let kept_from = next_end.min(end).saturating_sub(self.index);
        let tail = cut_at(&self.insert, kept_from, encoding)?.1;
        let before = self.index.saturating_sub(next.index);
        let behind = next_end.saturating_sub(end);
        Some(Self {
            index: self.index.min(next.index),
            delete: self.delete + before + behind,
            insert: [head, &next.insert, tail].concat(),
        })
    }
}

/// The parts of a text before and behind a position; `None` if that halves a character.
fn cut_at(text: &str, units: usize, encoding: TextEncoding) -> Option<(&str, &str)> {
    let cut = forward(text, units, encoding);
    let (head, tail) = text.split_at(cut);
    (width_of(head, encoding) == units).then_some((head, tail))
}

/// Cuts a text into pieces of at most [`SPLICE_CHARS_MAX`] characters.
pub(super) fn split_chars(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let cut = rest.char_indices().nth(SPLICE_CHARS_MAX).map_or(rest.len(), |(at, _)| at);
        let (piece, tail) = rest.split_at(cut);
        pieces.push(piece.to_owned());
        rest = tail;
    }
    pieces
}

fn split_delete(
    index: usize,
    delete: usize,
    encoding: TextEncoding,
    text: impl FnOnce() -> Option<String>,
) -> Vec<usize> {
    if delete == 0 {
        return Vec::new();
    }
    if delete <= SPLICE_CHARS_MAX {
        return vec![delete];
    }
    let one_unit = matches!(encoding, TextEncoding::UnicodeCodePoint);
    let text = if one_unit { None } else { text() };
    let Some(text) = text else {
        let mut pieces = vec![SPLICE_CHARS_MAX; delete / SPLICE_CHARS_MAX];
        let rest = delete % SPLICE_CHARS_MAX;
        pieces.extend((rest > 0).then_some(rest));
        return pieces;
    };
    let start = forward(&text, index, encoding);
    let end = start + forward(&text[start..], delete, encoding);
    split_chars(&text[start..end]).iter().map(|piece| width_of(piece, encoding)).collect()
}

/// What can be said about a stretch of a post's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkName {
    /// Heavy.
    Bold,
    /// Slanted.
    Italic,
    /// Leads somewhere; the value is the URL.
    Link,
    /// Monospaced.
    Code,
}

impl MarkName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bold, Self::Italic, Self::Link, Self::Code];

    /// The name in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bold => "bold",
            Self::Italic => "italic",
            Self::Link => "link",
            Self::Code => "code",
        }
    }

    /// The mark with this name in a document.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mark| mark.as_str() == name)
    }
}

/// The value of a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MarkValue {
    /// It applies (or, `false`, expressly not).
    Flag(bool),
    /// A text such as a URL.
    Text(String),
}

impl MarkValue {
    pub(super) fn scalar(&self) -> ScalarValue {
        match self {
            Self::Flag(flag) => ScalarValue::Boolean(*flag),
            Self::Text(text) => ScalarValue::from(text.as_str()),
        }
    }

    pub(super) fn from_scalar(value: &ScalarValue) -> Option<Self> {
        match value {
            ScalarValue::Boolean(flag) => Some(Self::Flag(*flag)),
            ScalarValue::Str(text) => Some(Self::Text(text.to_string())),
            ScalarValue::Bytes(_)
            | ScalarValue::Int(_)
            | ScalarValue::Uint(_)
            | ScalarValue::F64(_)
            | ScalarValue::Counter(_)
            | ScalarValue::Timestamp(_)
            | ScalarValue::Unknown { .. }
            | ScalarValue::Null => None,
        }
    }
}

/// A stretch of text under the same marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text.
    pub text: String,
    /// Its marks.
    pub marks: BTreeMap<MarkName, MarkValue>,
}

/// The marks of a text: per name, runs in order that neither overlap nor touch with equal values.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Marks(BTreeMap<MarkName, Vec<Run>>);

#[derive(Debug, Clone, PartialEq)]
struct Run {
    start: usize,
    end: usize,
    value: MarkValue,
}

impl Marks {
    /// Makes room for inserted text, which carries no marks until they are set.
    pub(super) fn inserted(&mut self, index: usize, length: usize) {
        for runs in self.0.values_mut() {
            if let Some(at) = runs.iter().position(|run| run.start < index && index < run.end) {
                let tail = Run { start: index, ..runs[at].clone() };
                runs[at].end = index;
                runs.insert(at + 1, tail);
            }
            for run in runs.iter_mut().filter(|run| run.start >= index) {
                run.start += length;
                run.end += length;
            }
        }
    }

    /// Closes the gap of deleted text.
    pub(super) fn deleted(&mut self, index: usize, length: usize) {
        let place = |at: usize| if at <= index { at } else { at.saturating_sub(length).max(index) };
        self.0.retain(|_, runs| {
            for run in runs.iter_mut() {
                run.start = place(run.start);
                run.end = place(run.end);
            }
            runs.retain(|run| run.start < run.end);
            join(runs);
            !runs.is_empty()
        });
    }

    /// Whether a run begins or ends in a range, its ends included.
    pub(super) fn has_border_in(&self, start: usize, end: usize) -> bool {
        let range = start..=end;
        self.0.values().flatten().any(|run| range.contains(&run.start) || range.contains(&run.end))
    }

    /// Sets or (with `None`) removes a mark on a range.
    pub(super) fn set(
        &mut self,
        name: MarkName,
        start: usize,
        end: usize,
        value: Option<MarkValue>,
    ) {
        if start >= end {
            return;
        }
        let mut runs = Vec::new();
        for run in self.0.remove(&name).unwrap_or_default() {
            if run.start < start {
                runs.push(Run { end: run.end.min(start), ..run.clone() });
            }
            if run.end > end {
                runs.push(Run { start: run.start.max(end), ..run });
            }
        }
        runs.extend(value.map(|value| Run { start, end, value }));
        runs.sort_by_key(|run| run.start);
        join(&mut runs);
        if !runs.is_empty() {
            self.0.insert(name, runs);
        }
    }

    /// Whether a whole range carries a mark with this value.
    pub(super) fn covers(
        &self,
        name: MarkName,
        start: usize,
        end: usize,
        value: &MarkValue,
    ) -> bool {
        self.0.get(&name).is_some_and(|runs| {
            runs.iter().any(|run| run.start <= start && end <= run.end && run.value == *value)
        })
    }

    /// Whether any part of a range carries a mark.
    pub(super) fn touches(&self, name: MarkName, start: usize, end: usize) -> bool {
        self.0.get(&name).is_some_and(|runs| runs.iter().any(|r| r.start < end && start < r.end))
    }

    /// The text cut wherever marks begin or end.
    pub(super) fn spans(&self, text: &str, encoding: TextEncoding) -> Vec<Span> {
        let borders: BTreeSet<usize> =
            self.0.values().flatten().flat_map(|run| [run.start, run.end]).collect();
        let mut spans = Vec::new();
        let (mut rest, mut at) = (text, 0);
        for border in borders.into_iter().chain([usize::MAX]) {
            let (piece, tail) = rest.split_at(forward(rest, border - at, encoding));
            if !piece.is_empty() {
                spans.push(Span { text: piece.to_owned(), marks: self.at(at) });
            }
            (rest, at) = (tail, border);
        }
        spans
    }

    fn at(&self, index: usize) -> BTreeMap<MarkName, MarkValue> {
        self.0
            .iter()
            .filter_map(|(name, runs)| {
                let run = runs.iter().find(|run| run.start <= index && index < run.end)?;
                Some((*name, run.value.clone()))
            })
            .collect()
    }
}

fn join(runs: &mut Vec<Run>) {
    runs.dedup_by(|next, run| {
        let touching = run.end == next.start && run.value == next.value;
        if touching {
            run.end = next.end;
        }
        touching
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTF16: TextEncoding = TextEncoding::Utf16CodeUnit;
    const POINTS: TextEncoding = TextEncoding::UnicodeCodePoint;

    #[test]
    fn an_edit_counts_in_the_units_of_the_document() {
        assert_eq!(text_edit_in(POINTS, "a👍b", "a👍c"), Some((2, 1, "c".into())));
        assert_eq!(text_edit_in(UTF16, "a👍b", "a👍c"), Some((3, 1, "c".into())));
        assert_eq!(text_edit_in(UTF16, "a👍b", "ab"), Some((1, 2, String::new())));
        assert_eq!(text_edit("aaa", "aa"), Some((2, 1, String::new())));
    }

    #[test]
    fn splices_follow_each_other_from_any_place_in_either_unit() {
        for encoding in [POINTS, UTF16] {
            let mut text = Text::new("👍 one 👍 two".into());
            let mut plain = text.as_str().to_owned();
            for (new, _) in [
                ("👍 ones 👍 two", 0),
                ("👍 ones 👍👍 two", 0),
                ("X👍 ones 👍👍 two", 0),
                ("X👍 ones two", 0),
            ] {
                let (index, delete, insert) = text_edit_in(encoding, &plain, new).unwrap();
                text.splice(index, delete, &insert, encoding);
                assert_eq!(text.as_str(), new);
                new.clone_into(&mut plain);
            }
            text.splice(1_000, 5, "!", encoding);
            assert_eq!(text.as_str(), "X👍 ones two!");
        }
    }

    #[test]
    fn a_long_splice_is_cut_into_pieces_that_do_the_same() {
        for encoding in [POINTS, UTF16] {
            let old = "a👍".repeat(5_000);
            let new = "é👍b".repeat(4_000);
            let (index, delete) =
                (width_of("a👍a", encoding), width_of(&old[6..old.len() - 5], encoding));
            let mut whole = Text::new(old.clone());
            whole.splice(index, delete, &new, encoding);
            let mut cut = Text::new(old.clone());
            let pieces = split_splice(index, delete, &new, encoding, || Some(old.clone()));
            assert!(pieces.len() >= 3);
            for (index, delete, insert) in pieces {
                assert!(
                    delete <= 2 * SPLICE_CHARS_MAX && insert.chars().count() <= SPLICE_CHARS_MAX
                );
                cut.splice(index, delete, &insert, encoding);
            }
            assert_eq!(cut, whole);
        }
    }

    #[test]
    fn marks_move_with_their_text() {
        let on = MarkValue::Flag(true);
        let mut marks = Marks::default();
        marks.set(MarkName::Bold, 2, 6, Some(on.clone()));
        marks.inserted(4, 3);
        assert!(!marks.covers(MarkName::Bold, 2, 9, &on));
        marks.set(MarkName::Bold, 4, 7, Some(on.clone()));
        assert!(marks.covers(MarkName::Bold, 2, 9, &on));
        marks.deleted(0, 3);
        assert!(marks.covers(MarkName::Bold, 0, 6, &on));
        marks.set(MarkName::Bold, 1, 2, None);
        let spans = marks.spans("abcdefgh", POINTS);
        let bold: Vec<_> = spans.iter().map(|s| (s.text.as_str(), s.marks.len())).collect();
        assert_eq!(bold, [("a", 1), ("b", 0), ("cdef", 1), ("gh", 0)]);
    }
}
