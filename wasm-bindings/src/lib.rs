//! x
use wasm_bindgen::prelude::*;
#[wasm_bindgen]
pub fn addr(a: &str) -> String {
    a.parse::<syncline_engine::ids::Address>().map(|a| a.to_string()).unwrap_or_default()
}
#[cfg(target_arch = "wasm32")]
#[wasm_bindgen]
pub fn am() -> Vec<u8> {
    automerge::AutoCommit::new().save()
}
