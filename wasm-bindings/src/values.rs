//! JavaScript's values: what comes in is checked before it is used, since the types that TypeScript
//! promises bind nobody.

use bytes::Bytes;
use js_sys::{Array, JsString, Object, Reflect, Uint8Array};
use serde_json::Value;
use syncline_engine::codes::Code;
use syncline_engine::session::{Effect, StoreWrite};
use wasm_bindgen::{JsCast as _, JsError, JsValue};

use crate::fault::Fault;
use crate::notices;
use crate::session::Entries;

/// What went wrong, as an `Error`.
pub(crate) fn error(fault: impl Into<Fault>) -> JsError {
    JsError::new(&fault.into().to_string())
}

/// Entries of a store from its keys and values, in the order of the keys.
pub(crate) fn entries(keys: &JsValue, values: &JsValue) -> Result<Entries, Fault> {
    let (keys, values) = (byte_strings(keys)?, byte_strings(values)?);
    if keys.len() != values.len() {
        let why = "there are not as many values as keys";
        return Err(Fault::new(Code::LocalStore, why));
    }
    let mut entries: Entries = keys.into_iter().zip(values.into_iter().map(Bytes::from)).collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}

fn byte_strings(list: &JsValue) -> Result<Vec<Vec<u8>>, Fault> {
    let wrong = || Fault::new(Code::LocalStore, "keys and values are arrays of Uint8Array");
    if !Array::is_array(list) {
        return Err(wrong());
    }
    let list: &Array = list.unchecked_ref();
    list.iter().map(|item| Ok(item.dyn_ref::<Uint8Array>().ok_or_else(wrong)?.to_vec())).collect()
}

/// JSON as text.
pub(crate) fn json(value: &Value) -> String {
    value.to_string()
}

/// What is to be carried out, as an object.
pub(crate) fn effect(effect: Effect) -> JsValue {
    match effect {
        Effect::Connect { connection } => object("connect", [("connection", number(connection.0))]),
        Effect::Send { connection, message } => {
            object("send", [("connection", number(connection.0)), ("message", bytes(&message))])
        }
        Effect::Disconnect { connection } => {
            object("disconnect", [("connection", number(connection.0))])
        }
        Effect::Write { token, writes } => {
            let (keys, values) = (Array::new(), Array::new());
            for write in &writes {
                let (key, value) = match write {
                    StoreWrite::Put { key, value } => (key, bytes(value)),
                    StoreWrite::Delete { key } => (key, JsValue::NULL),
                };
                keys.push(&bytes(key));
                values.push(&value);
            }
            let token = ("token", number(token.0));
            object("write", [token, ("keys", keys.into()), ("values", values.into())])
        }
        Effect::Read { token, prefix } => {
            object("read", [("token", number(token.0)), ("prefix", bytes(&prefix))])
        }
        Effect::Notify(notice) => {
            object("notice", [("notice", json(&notices::notice(&notice)).into())])
        }
        Effect::Stop => object("stop", []),
    }
}

fn object<const N: usize>(kind: &str, fields: [(&str, JsValue); N]) -> JsValue {
    let object = Object::new();
    let kind = ("kind", JsString::from(kind).into());
    for (name, value) in [kind].into_iter().chain(fields) {
        // A new object takes any property.
        let _ = Reflect::set(&object, &name.into(), &value);
    }
    object.into()
}

fn bytes(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

/// Counted up from one: no session comes to where a number of JavaScript's is not exact.
pub(crate) const fn float(number: u64) -> f64 {
    number as f64
}

fn number(number: u64) -> JsValue {
    JsValue::from_f64(float(number))
}
