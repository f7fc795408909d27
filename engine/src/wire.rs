//! What travels between a client and a server: frames, their bytes, and close codes. Payloads
//! (changes, snapshots) are opaque here; no rule about what may be done lives here.
//!
//! A message is `version (1 byte) | type (1 byte) | body`, the body in bincode 2 with its standard
//! configuration. The two bytes in front never change their meaning, so that any version can read
//! them. PROTOCOL.md has the tables and the rules.

pub mod close;
mod codec;
pub mod frame;
pub mod pack;
#[cfg(test)]
mod tests;

pub use close::CloseCode;
pub use codec::{DecodeError, EncodeError};
pub(crate) use codec::{decode_stored, encode_stored};
pub use frame::{ClientFrame, ServerFrame};
pub use pack::{pack, unpack};

/// The version byte.
pub const VERSION: u8 = 1;
/// The WebSocket subprotocol that both sides name.
pub const SUBPROTOCOL: &str = "syncline.v1";
