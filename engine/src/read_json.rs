//! Reading JSON, by way of a value: with one reader for all types, a browser has less to download.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a text as JSON of a type.
///
/// # Errors
/// If it is no JSON, or says something else.
///
/// ```
/// let path: Vec<String> = syncline_engine::read_json::read_json(r#"["a", "b"]"#)?;
/// assert_eq!(path, ["a", "b"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn read_json<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    let value: Value = serde_json::from_str(text)?;
    serde_json::from_value(value)
}
