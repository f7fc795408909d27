//! What somebody can announce in a space: how keys and values must look, and what stands under the
//! keys that every client knows. Must never know who is there, or how it travels.

use serde::{Deserialize, Serialize};

use crate::ids::Address;
use crate::limits::{PRESENCE_KEY_BYTES_MAX, PRESENCE_VALUE_BYTES_MAX};
use crate::read_json::read_json;

/// Announced by a session itself while its user does nothing: since when, in milliseconds since the
/// Unix epoch. Whoever does not announce it is active.
pub const IDLE: &str = "idle";
/// What the user wants others to know: a text or whatever the app agrees on.
pub const STATUS: &str = "status";
/// The address of the document in which the user types. It lapses soon by itself.
pub const TYPING: &str = "typing";
/// Where the user is in a text: a [`Selection`].
pub const CURSOR: &str = "cursor";
/// Fields of the app's own: a JSON object.
pub const FIELDS: &str = "fields";

/// Something can't be announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SayingError {
    /// The key is empty, too long, or has a character that is not allowed.
    #[error("a key is 1 to {PRESENCE_KEY_BYTES_MAX} of a to z, 0 to 9, . _ and -")]
    Key,
    /// The value is too long.
    #[error("a value has at most {PRESENCE_VALUE_BYTES_MAX} bytes")]
    Value,
    /// As many other keys are announced as may be.
    #[error("no more keys may be announced")]
    TooMany,
}

/// Checks a key: 1 to 32 of `a` to `z`, `0` to `9`, `.`, `_` and `-`.
///
/// # Errors
/// [`SayingError::Key`] if it is something else.
pub fn check_key(key: &str) -> Result<(), SayingError> {
    let fits = (1..=PRESENCE_KEY_BYTES_MAX).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
    if fits { Ok(()) } else { Err(SayingError::Key) }
}

/// Checks a value: any text of up to 1 KiB, JSON by convention.
///
/// # Errors
/// [`SayingError::Value`] if it is longer.
pub const fn check_value(value: &str) -> Result<(), SayingError> {
    if value.len() <= PRESENCE_VALUE_BYTES_MAX { Ok(()) } else { Err(SayingError::Value) }
}

/// A stretch of a text, or a place in it if both ends are one. The ends are named as
/// [`crate::replica::Replica::caret`] names them, so that they stay where they are while others write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The document.
    #[serde(rename = "in")]
    pub document: String,
    /// Which of its texts: `title`, `body`, or the path in a schemaless document.
    #[serde(rename = "at")]
    pub text: String,
    /// Where the selection was begun.
    pub anchor: String,
    /// Where the caret is.
    pub head: String,
}

impl Selection {
    /// Reads what somebody announces under [`CURSOR`].
    #[must_use]
    pub fn read(value: &str) -> Option<Self> {
        read_json(value).ok()
    }

    /// As it is announced.
    #[must_use]
    pub fn to_value(&self) -> String {
        // A struct of texts always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What is announced under [`TYPING`].
#[must_use]
pub fn typing_in(document: &Address) -> String {
    serde_json::Value::String(document.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_a_small_alphabet_and_values_are_short() {
        for key in ["a", "cursor", "x-my.app_2", &"k".repeat(32)] {
            assert_eq!(check_key(key), Ok(()));
        }
        for key in ["", "A", "a b", "ä", "a/b", "a\0", &"k".repeat(33)] {
            assert_eq!(check_key(key), Err(SayingError::Key), "{key:?}");
        }
        assert_eq!(check_value(&"v".repeat(1_024)), Ok(()));
        assert_eq!(check_value(&"v".repeat(1_025)), Err(SayingError::Value));
    }

    #[test]
    fn a_selection_is_read_as_it_was_written() {
        let selection = Selection {
            document: "town/square/post".to_owned(),
            text: "body".to_owned(),
            anchor: "s".to_owned(),
            head: "12@0a".to_owned(),
        };
        let value = selection.to_value();
        assert_eq!(value, r#"{"in":"town/square/post","at":"body","anchor":"s","head":"12@0a"}"#);
        assert_eq!(Selection::read(&value), Some(selection));
        assert_eq!(Selection::read("[]"), None);
    }
}
