//! The one file that names bincode: values to bytes and back, with limits set before anything is
//! allocated.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bytes::Bytes;

use crate::limits::FRAME_BYTES_MAX;

/// bincode counts `len * size_of::<T>()` of what a length announces and allocates that much at
/// once, so the limit is a multiple of what a frame can hold.
const DECODED_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;
/// A body up to this long may not announce more than [`SMALL_DECODED_BYTES_MAX`]: most hostile
/// frames are a few bytes that claim megabytes.
const SMALL_BODY_BYTES: usize = 4 << 10;
/// No element takes 32 times as much memory as wire, so an honest small body always fits.
const SMALL_DECODED_BYTES_MAX: usize = 32 * SMALL_BODY_BYTES;

const fn config<const MAX: usize>() -> Configuration<LittleEndian, Varint, Limit<MAX>> {
    bincode::config::standard().with_limit::<MAX>()
}

/// Bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Longer than a frame may be.
    #[error("the frame has {0} bytes, more than the {FRAME_BYTES_MAX} allowed")]
    TooLarge(usize),
    /// Shorter than version and type.
    #[error("the frame ends before its type")]
    Short,
    /// Another protocol version.
    #[error("the frame is of protocol version {0}")]
    Version(u8),
    /// No frame that this side reads has this type.
    #[error("no frame of type {0} is expected here")]
    UnknownType(u8),
    /// The body does not decode, or announces more than it may.
    #[error("the frame's body does not decode")]
    Malformed,
    /// The body decodes but bytes are left over.
    #[error("{0} bytes are left over after the frame's body")]
    TrailingBytes(usize),
}

/// A value is too large to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame would have {0} bytes, more than the {FRAME_BYTES_MAX} allowed")]
pub struct EncodeError(pub usize);

pub(crate) fn encode<T: bincode::Encode>(
    version: u8,
    kind: u8,
    body: &T,
) -> Result<Bytes, EncodeError> {
    let mut out = vec![version, kind];
    // Encoding into memory fails only on the limit.
    bincode::encode_into_std_write(body, &mut out, config::<DECODED_BYTES_MAX>())
        .map_err(|_| EncodeError(usize::MAX))?;
    if out.len() > FRAME_BYTES_MAX {
        return Err(EncodeError(out.len()));
    }
    Ok(out.into())
}

pub(crate) fn decode<T: bincode::Decode<()>>(body: &[u8]) -> Result<T, DecodeError> {
    let decoded = if body.len() <= SMALL_BODY_BYTES {
        bincode::decode_from_slice(body, config::<SMALL_DECODED_BYTES_MAX>())
    } else {
        bincode::decode_from_slice(body, config::<DECODED_BYTES_MAX>())
    };
    let (value, used) = decoded.map_err(|_| DecodeError::Malformed)?;
    match body.len() - used {
        0 => Ok(value),
        left => Err(DecodeError::TrailingBytes(left)),
    }
}

/// Encodes a value for a store. Not bounded by the frame limit.
pub(crate) fn encode_stored<T: bincode::Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard()).unwrap_or_default()
}

/// Decodes a stored value of any size that its own length allows.
pub(crate) fn decode_stored<T: bincode::Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let config = bincode::config::standard().with_limit::<{ 1 << 30 }>();
    let (value, used) =
        bincode::decode_from_slice(bytes, config).map_err(|_| DecodeError::Malformed)?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(DecodeError::TrailingBytes(left)),
    }
}
