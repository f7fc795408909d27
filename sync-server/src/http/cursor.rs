//! A cursor as text: `epoch.seq.tip`, as it stands in the id of an event.

use syncline_engine::ids::{Cursor, Epoch, Tip};
use syncline_engine::limits::NUMBER_MAX;
use syncline_engine::wire::frame::WireCursor;

/// Writes a cursor.
pub(crate) fn to_text(cursor: Cursor) -> String {
    format!("{}.{}.{}", to_hex(&cursor.epoch.0), cursor.seq, to_hex(&cursor.tip.0))
}

/// Reads what [`to_text`] wrote.
pub(crate) fn from_text(text: &str) -> Option<Cursor> {
    let mut parts = text.split('.');
    let (epoch, seq, tip) = (parts.next()?, parts.next()?, parts.next()?);
    let seq = seq.parse().ok().filter(|seq| *seq <= NUMBER_MAX)?;
    let cursor = Cursor { epoch: Epoch(from_hex(epoch)?), seq, tip: Tip(from_hex(tip)?) };
    parts.next().is_none().then_some(cursor)
}

/// The cursor as a frame carries it.
pub(crate) const fn on_wire(cursor: Cursor) -> WireCursor {
    WireCursor { epoch: cursor.epoch.0, seq: cursor.seq, tip: cursor.tip.0 }
}

/// The cursor that a frame carries.
pub(crate) const fn from_wire(cursor: WireCursor) -> Cursor {
    Cursor { epoch: Epoch(cursor.epoch), seq: cursor.seq, tip: Tip(cursor.tip) }
}

/// Lower-case hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads `N` bytes of hexadecimal.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        let cursor = Cursor { epoch: Epoch([0xab; 16]), seq: 12, tip: Tip([1; 16]) };
        let text = to_text(cursor);
        assert_eq!(from_text(&text), Some(cursor));
        let bad = ["", "..", "ab.1.cd", &text[1..], &format!("{text}.1"), &format!("{text}é")];
        for bad in bad {
            assert_eq!(from_text(bad), None, "{bad}");
        }
        let beyond = text.replace(".12.", ".18446744073709551615.");
        assert_eq!(from_text(&beyond), None);
    }
}
