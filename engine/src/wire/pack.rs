//! `Changes` to `PackedChanges` and back: catch-up is deflated as a whole, because deflating single
//! changes costs more than it saves. Knows nothing of what the changes say.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::VERSION;
use super::codec::{self, DecodeError};
use super::frame::{Blob, Changes, PackedChanges};
use crate::limits::FRAME_BYTES_MAX;

/// Bodies up to this length are sent as they are: one network packet holds them anyway.
const PACK_FROM_BYTES: usize = 1 << 10;

/// Deflates a `Changes` frame, if its body is over 1 KiB and becomes at least a fifth smaller.
///
/// ```
/// use syncline_engine::wire::frame::{Blob, Changes, WireEntry};
/// use syncline_engine::wire::{pack, unpack};
/// let entry = WireEntry { author: 0, at_ms: 0, change: Blob(vec![7; 4_000].into()) };
/// let changes = Changes {
///     handle: 1,
///     first_seq: 1,
///     tip: [0; 16],
///     seal: None,
///     authors: vec!["ada".to_owned()],
///     entries: vec![entry],
/// };
/// let packed = pack(&changes).expect("four thousand equal bytes deflate well");
/// assert!(packed.deflated.0.len() < 100);
/// assert_eq!(unpack(&packed), Ok(changes));
/// ```
#[must_use]
pub fn pack(changes: &Changes) -> Option<PackedChanges> {
    // The two bytes in front stay within the frame limit's account; they are not packed.
    let message = codec::encode(VERSION, 0, changes).ok()?;
    let body = &message[2..];
    if body.len() <= PACK_FROM_BYTES {
        return None;
    }
    let worth = body.len() - body.len().div_ceil(5);
    // The fastest level: it runs where the hub runs, and the gain is mostly repeated headers.
    let mut deflate = Compress::new(Compression::fast(), false);
    let mut deflated = Vec::with_capacity(worth);
    match deflate.compress_vec(body, &mut deflated, FlushCompress::Finish) {
        Ok(Status::StreamEnd) if deflated.len() <= worth => {}
        // It did not end within the room that makes it worth while.
        Ok(_) | Err(_) => return None,
    }
    Some(PackedChanges { bytes: u32::try_from(body.len()).ok()?, deflated: Blob(deflated.into()) })
}

/// Inflates a `PackedChanges` frame. Allocates the announced length once, which is refused if it
/// is more than a frame may have, and never inflates past it.
///
/// # Errors
/// [`DecodeError::TooLarge`] if more than a frame is announced; [`DecodeError::Malformed`] if the
/// deflate stream is damaged, cut off, or of another length than announced, or if the body does
/// not decode; [`DecodeError::TrailingBytes`] if something follows the stream or the body.
pub fn unpack(packed: &PackedChanges) -> Result<Changes, DecodeError> {
    let announced = usize::try_from(packed.bytes).unwrap_or(usize::MAX);
    if announced > FRAME_BYTES_MAX {
        return Err(DecodeError::TooLarge(announced));
    }
    let deflated = packed.deflated.0.as_ref();
    let mut inflate = Decompress::new(false);
    // One byte of room more than announced, so that a stream with more to say is caught.
    let mut body = Vec::with_capacity(announced + 1);
    let status = inflate
        .decompress_vec(deflated, &mut body, FlushDecompress::Finish)
        .map_err(|_| DecodeError::Malformed)?;
    if status != Status::StreamEnd || body.len() != announced {
        return Err(DecodeError::Malformed);
    }
    let used = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
    match deflated.len().saturating_sub(used) {
        0 => codec::decode(&body),
        left => Err(DecodeError::TrailingBytes(left)),
    }
}
