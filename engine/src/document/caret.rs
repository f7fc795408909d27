//! Places in a text that stay put while others write: a caret is named by the character before it. Must
//! never know whose caret it is or how it travels.

use std::fmt;
use std::str::FromStr;

use automerge::{Automerge, ObjId, ObjType, ROOT, ReadDoc, ScalarValueRef, ValueRef};

use super::json::{PathSegment, find};
use super::post::TextField;
use super::text::width_of;
use crate::read_json::read_json;

/// The name of the place before the first character.
const START: &str = "s";
/// Characters that are passed over in search of one that others can know.
const UNKNOWN_MAX: usize = 16_384;
/// Which of the known characters before a caret are named, counted from it.
const NAMED_AT: [usize; 4] = [1, 2, 4, 16];
/// An actor in hex, at most.
const ACTOR_HEX_MAX: usize = 64;

/// One of the texts of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPlace {
    /// A text of a post.
    Post(TextField),
    /// A text in a schemaless document.
    Json(Vec<PathSegment>),
}

impl From<TextField> for TextPlace {
    fn from(field: TextField) -> Self {
        Self::Post(field)
    }
}

/// `title`, `body`, or the path as a JSON array.
impl fmt::Display for TextPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Post(field) => f.write_str(field.as_str()),
            // Keys and numbers always serialise.
            Self::Json(path) => f.write_str(&serde_json::to_string(path).unwrap_or_default()),
        }
    }
}

/// It does not name a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a text is title, body, or a path in a schemaless document")]
pub struct NotATextPlace;

impl FromStr for TextPlace {
    type Err = NotATextPlace;

    fn from_str(name: &str) -> Result<Self, NotATextPlace> {
        let mut fields = [TextField::Title, TextField::Body].into_iter();
        if let Some(field) = fields.find(|field| field.as_str() == name) {
            return Ok(Self::Post(field));
        }
        read_json(name).map(Self::Json).map_err(|_| NotATextPlace)
    }
}

fn text_at(doc: &Automerge, place: &TextPlace) -> Option<ObjId> {
    match place {
        TextPlace::Post(field) => super::place::object(doc, &ROOT, field.as_str(), ObjType::Text),
        TextPlace::Json(path) => match find(doc, path) {
            Ok((text, ObjType::Text)) => Some(text),
            Ok(_) | Err(_) => None,
        },
    }
}

/// What the caret at an index of a text is called: the ids of some characters before it that are
/// `is_known` to others by counter and actor (in hex), nearest first, and `s` if there are few. Where
/// the nearest is deleted, the next says where the caret is.
pub(crate) fn caret(
    doc: &Automerge,
    place: &TextPlace,
    index: usize,
    is_known: impl Fn(u64, &str) -> bool,
) -> Option<String> {
    let text = text_at(doc, place)?;
    let index = index.min(doc.length(&text));
    let (mut names, mut known) = (Vec::new(), 0);
    let mut last = String::new();
    for passed in 0..UNKNOWN_MAX {
        let Some(at) = index.checked_sub(passed + 1) else {
            names.push(START.to_owned());
            return Some(names.join(","));
        };
        let name = doc.get_cursor(&text, at, None).ok()?.to_string();
        let (counter, actor) = parts(&name)?;
        // A character may be wider than one unit.
        if name == last || !is_known(counter, actor) {
            continue;
        }
        last.clone_from(&name);
        known += 1;
        if NAMED_AT.contains(&known) {
            names.push(name);
        }
        if known >= NAMED_AT[NAMED_AT.len() - 1] {
            return Some(names.join(","));
        }
    }
    (!names.is_empty()).then(|| names.join(","))
}

/// Where a caret is now. `None` if the text has none of its characters, or not yet. Takes time in
/// proportion to the text.
///
/// The text is walked through because automerge 0.12 has no answer that is safe to ask for: where a
/// cursor is of another object it panics, in builds with debug assertions also where its character
/// is deleted.
pub(crate) fn caret_index(doc: &Automerge, place: &TextPlace, caret: &str) -> Option<usize> {
    let text = text_at(doc, place)?;
    let names: Vec<&str> = caret.split(',').take(NAMED_AT.len() + 1).collect();
    let mut found = (names.last() == Some(&START)).then_some((names.len() - 1, 0));
    let wanted: Vec<(u64, &str)> = names.iter().map_while(|name| parts(name)).collect();
    let mut end = 0;
    for item in doc.list_range(&text, ..) {
        end += match &item.value {
            ValueRef::Scalar(ScalarValueRef::Str(character)) => {
                width_of(character, doc.text_encoding())
            }
            ValueRef::Scalar(_) | ValueRef::Object(_) => 1,
        };
        let ObjId::Id(counter, actor, _) = item.id() else { continue };
        let rank = wanted
            .iter()
            .position(|(wanted, writer)| *wanted == counter && *writer == actor.to_hex_string());
        if let Some(rank) = rank
            && found.is_none_or(|(best, _)| rank < best)
        {
            found = Some((rank, end));
            if rank == 0 {
                break;
            }
        }
    }
    found.map(|(_, end)| end)
}

/// Counter and actor of a character: digits, `@`, hex.
fn parts(name: &str) -> Option<(u64, &str)> {
    let (counter, actor) = name.split_once('@')?;
    let digits = (1..=10).contains(&counter.len()) && counter.bytes().all(|b| b.is_ascii_digit());
    let hex = actor.len() <= ACTOR_HEX_MAX && actor.bytes().all(|b| b.is_ascii_hexdigit());
    let counter = counter.parse().ok()?;
    (digits && hex).then_some((counter, actor))
}

#[cfg(test)]
mod tests {
    use automerge::transaction::Transactable;
    use automerge::{ActorId, TextEncoding};

    use super::*;

    const BODY: TextPlace = TextPlace::Post(TextField::Body);

    fn doc(encoding: TextEncoding, body: &str) -> (Automerge, ObjId) {
        let mut doc = Automerge::new_with_encoding(encoding);
        doc.set_actor(ActorId::from([1; 16]));
        let mut tx = doc.transaction();
        let title = tx.put_object(ROOT, "title", ObjType::Text).unwrap();
        tx.splice_text(&title, 0, 0, "heading").unwrap();
        let text = tx.put_object(ROOT, "body", ObjType::Text).unwrap();
        tx.splice_text(&text, 0, 0, body).unwrap();
        tx.commit();
        (doc, text)
    }

    fn splice(doc: &mut Automerge, text: &ObjId, index: usize, delete: isize, insert: &str) {
        let mut tx = doc.transaction();
        tx.splice_text(text, index, delete, insert).unwrap();
        tx.commit();
    }

    fn named(doc: &Automerge, index: usize) -> String {
        caret(doc, &BODY, index, |_, _| true).unwrap()
    }

    #[test]
    fn a_caret_stays_behind_its_character_whatever_is_written_around_it_pr10() {
        let (mut doc, text) = doc(TextEncoding::UnicodeCodePoint, "hello world");
        let carets: Vec<String> = (0..=11).map(|index| named(&doc, index)).collect();
        for (index, caret) in carets.iter().enumerate() {
            assert_eq!(caret_index(&doc, &BODY, caret), Some(index));
        }
        splice(&mut doc, &text, 0, 0, ">> ");
        assert_eq!(caret_index(&doc, &BODY, &carets[0]), Some(0), "the beginning is the beginning");
        assert_eq!(caret_index(&doc, &BODY, &carets[5]), Some(8));
        // What is written at the caret comes after it.
        splice(&mut doc, &text, 8, 0, ", dear");
        assert_eq!(caret_index(&doc, &BODY, &carets[5]), Some(8));
        assert_eq!(caret_index(&doc, &BODY, &carets[11]), Some(20));
        // ">> hello, dear world": its character goes, then everything before it.
        splice(&mut doc, &text, 7, 1, "");
        assert_eq!(caret_index(&doc, &BODY, &carets[5]), Some(7));
        splice(&mut doc, &text, 0, 7, "");
        assert_eq!(caret_index(&doc, &BODY, &carets[5]), Some(0));
        // Where many are gone and it was not at the beginning, it is nowhere until it is said again.
        let (mut doc, text) = self::doc(TextEncoding::UnicodeCodePoint, &"long ".repeat(20));
        let far = named(&doc, 90);
        splice(&mut doc, &text, 80, 15, "");
        assert_eq!(caret_index(&doc, &BODY, &far), Some(75), "behind the last that is left");
        splice(&mut doc, &text, 60, 20, "");
        assert_eq!(caret_index(&doc, &BODY, &far), None);
    }

    #[test]
    fn positions_count_as_the_document_does() {
        let (doc, _) = doc(TextEncoding::Utf16CodeUnit, "a👍b");
        for index in [0, 1, 3, 4] {
            assert_eq!(caret_index(&doc, &BODY, &named(&doc, index)), Some(index));
        }
    }

    #[test]
    fn only_what_others_know_is_named() {
        let (mut doc, text) = doc(TextEncoding::UnicodeCodePoint, "known");
        let known = caret(&doc, &BODY, 3, |_, _| true);
        doc.set_actor(ActorId::from([2; 16]));
        splice(&mut doc, &text, 3, 0, "my secret");
        let mine = "02".repeat(16);
        let named = caret(&doc, &BODY, 3 + 5, |_, actor| actor != mine);
        assert_eq!(named, known);
        assert_eq!(known.unwrap().split(',').count(), 3, "two of three, and the beginning");
        assert_eq!(caret(&doc, &BODY, 5, |_, _| false), Some("s".to_owned()));
    }

    #[test]
    fn what_is_no_caret_of_the_text_is_nowhere_and_breaks_nothing() {
        let (mut doc, text) = doc(TextEncoding::UnicodeCodePoint, "hello");
        let actor = "01".repeat(16);
        // Objects, characters of the title, the future.
        let elsewhere = (0..9).chain([100, 1 << 31]).map(|counter| format!("{counter}@{actor}"));
        let garbled = ["", "e", "x", "ä@01", "-5@01", "5@0", "5@zz", "@", "99999999999@01"];
        let unknown = format!("10@{}", "09".repeat(16));
        for caret in elsewhere.chain(garbled.map(str::to_owned)).chain([unknown]) {
            assert_eq!(caret_index(&doc, &BODY, &caret), None, "{caret:?}");
        }
        let known = named(&doc, 2);
        let nowhere = TextPlace::Json(vec!["a".into()]);
        assert_eq!(caret_index(&doc, &nowhere, &known), None);
        splice(&mut doc, &text, 0, 5, "");
        assert_eq!(caret_index(&doc, &BODY, &known), Some(0));
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let path = TextPlace::Json(vec!["notes".into(), 3.into(), "text".into()]);
        for (place, name) in
            [(TextField::Title.into(), "title"), (BODY, "body"), (path, r#"["notes",3,"text"]"#)]
        {
            assert_eq!(place.to_string(), name);
            assert_eq!(name.parse(), Ok(place));
        }
        assert_eq!("nonsense".parse::<TextPlace>(), Err(NotATextPlace));
    }
}
