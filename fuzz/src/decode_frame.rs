//! Bytes from outside, whatever they are: frames of both directions, packed changes, change sets and
//! changes are refused with a reason or read; what was read says the same when it is written and read
//! again; and automerge agrees with our reader about every change that it accepts.

use sha2::{Digest as _, Sha256};
use syncline_engine::change::{self, ChangeSet};
use syncline_engine::limits::FRAME_BYTES_MAX;
use syncline_engine::wire::frame::Changes;
use syncline_engine::wire::{ClientFrame, ServerFrame, pack, unpack};

/// One input. The first byte chooses what the rest is; see `fuzz/seeds/decode_frame`.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    match choice % 4 {
        0 => frame(rest),
        1 => change_set(rest),
        2 => read_change(rest),
        // Random bytes never have a right checksum, so give them one.
        _ => read_change(&with_header(rest)),
    }
}

fn frame(message: &[u8]) {
    if let Ok(frame) = ClientFrame::decode(message) {
        // A length may have been spelled longer than it must be, so only the meaning is compared.
        let again = frame.encode().expect("no longer than it came");
        assert_eq!(ClientFrame::decode(&again), Ok(frame));
    }
    let Ok(frame) = ServerFrame::decode(message) else {
        return;
    };
    let again = frame.encode().expect("no longer than it came");
    assert_eq!(ServerFrame::decode(&again).as_ref(), Ok(&frame));
    if let ServerFrame::Changes(changes) = &frame {
        packs_and_unpacks(changes);
    }
    if let ServerFrame::PackedChanges(packed) = &frame
        && let Ok(changes) = unpack(packed)
    {
        assert!(usize::try_from(packed.bytes).is_ok_and(|bytes| bytes <= FRAME_BYTES_MAX));
        packs_and_unpacks(&changes);
    }
}

fn packs_and_unpacks(changes: &Changes) {
    if let Some(packed) = pack(changes) {
        assert_eq!(unpack(&packed).as_ref(), Ok(changes));
    }
}

fn change_set(bytes: &[u8]) {
    if let Ok(set) = ChangeSet::decode(bytes) {
        assert_eq!(set.encode(), bytes, "a set has one spelling");
    }
}

fn read_change(bytes: &[u8]) {
    let header = change::read(bytes);
    let operations = change::operations(bytes);
    assert_eq!(header.is_ok(), operations.is_ok());
    let (Ok(header), Ok((_, operations))) = (header, operations) else {
        return;
    };
    let theirs = automerge::Change::try_from(bytes).expect("automerge reads what our reader reads");
    assert_eq!(theirs.hash().0, header.hash.0);
    assert_eq!(theirs.len(), operations.iter().count());
    assert_eq!(theirs.raw_bytes(), bytes);
    let again = automerge::Change::from(theirs.decode());
    assert_eq!(again.raw_bytes(), bytes, "automerge writes it the same way");
}

/// A change chunk with this body: magic, checksum, type, length.
fn with_header(body: &[u8]) -> Vec<u8> {
    let mut hashed = vec![1];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        hashed.push(if length == 0 { low } else { low | 0x80 });
        if length == 0 {
            break;
        }
    }
    hashed.extend(body);
    let hash = Sha256::digest(&hashed);
    [&[0x85, 0x6f, 0x4a, 0x83], &hash[..4], &hashed].concat()
}
