//! Bytes taken from the front of a slice, and the canonical variable-length numbers in them. Knows
//! nothing of what the numbers count.

use super::reader::ReadError;

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) const fn len(self) -> usize {
        self.0.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(ReadError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(ReadError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, ReadError> {
        let (first, tail) = self.0.split_first().ok_or(ReadError::Truncated)?;
        self.0 = tail;
        Ok(*first)
    }

    /// LEB128 without a sign; only the shortest spelling of a number is read.
    pub(super) fn unsigned(&mut self) -> Result<u64, ReadError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(ReadError::Number);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(ReadError::Number);
                }
                return Ok(value);
            }
        }
        Err(ReadError::Number)
    }

    /// LEB128 with a sign; only the shortest spelling of a number is read.
    pub(super) fn signed(&mut self) -> Result<i64, ReadError> {
        let mut value = 0_i64;
        let mut previous = 0_u8;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte != 0 && byte != 0x7f {
                return Err(ReadError::Number);
            }
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                // The last byte may not merely repeat the sign that the one before already shows.
                let repeats_sign =
                    (byte == 0 && previous & 0x40 == 0) || (byte == 0x7f && previous & 0x40 != 0);
                if shift > 0 && repeats_sign {
                    return Err(ReadError::Number);
                }
                if shift < 63 && byte & 0x40 != 0 {
                    value |= -1 << (shift + 7);
                }
                return Ok(value);
            }
            previous = byte;
        }
        Err(ReadError::Number)
    }

    /// A number of bytes that follow, or of anything else that takes at least a byte.
    pub(super) fn length(&mut self) -> Result<usize, ReadError> {
        let length = usize::try_from(self.unsigned()?).map_err(|_| ReadError::Truncated)?;
        if length > self.0.len() { Err(ReadError::Truncated) } else { Ok(length) }
    }

    /// A length, then that many bytes of UTF-8.
    pub(super) fn text(&mut self) -> Result<&'a str, ReadError> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| ReadError::NotUtf8)
    }
}

/// Appends LEB128 without a sign.
pub(super) fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsigned(bytes: &[u8]) -> Result<u64, ReadError> {
        Input::new(bytes).unsigned()
    }

    fn signed(bytes: &[u8]) -> Result<i64, ReadError> {
        Input::new(bytes).signed()
    }

    #[test]
    fn numbers_are_read_up_to_their_largest() {
        let ff = [0xff; 9];
        assert_eq!(unsigned(&[0]), Ok(0));
        assert_eq!(unsigned(&[0x80, 1]), Ok(128));
        assert_eq!(unsigned(&[&ff[..], &[1]].concat()), Ok(u64::MAX));
        assert_eq!(signed(&[0x7f]), Ok(-1));
        assert_eq!(signed(&[0x40]), Ok(-64));
        assert_eq!(signed(&[0x80, 0x40]), Ok(-8192));
        assert_eq!(signed(&[&ff[..], &[0]].concat()), Ok(i64::MAX));
        assert_eq!(signed(&[&[0x80; 9][..], &[0x7f]].concat()), Ok(i64::MIN));
    }

    #[test]
    fn a_number_has_one_spelling_and_an_end() {
        let ff = [0xff; 9];
        assert_eq!(unsigned(&[0x81, 0]), Err(ReadError::Number));
        assert_eq!(unsigned(&[&ff[..], &[2]].concat()), Err(ReadError::Number));
        assert_eq!(unsigned(&[0xff; 11]), Err(ReadError::Number));
        assert_eq!(unsigned(&[0xff]), Err(ReadError::Truncated));
        assert_eq!(signed(&[0xbf, 0]), Err(ReadError::Number));
        assert_eq!(signed(&[0x81, 0xff, 0x7f]), Err(ReadError::Number));
        assert_eq!(signed(&[&ff[..], &[1]].concat()), Err(ReadError::Number));
        assert_eq!(signed(&[&[0x80; 9][..], &[0x7e]].concat()), Err(ReadError::Number));
        assert_eq!(signed(&[0x80; 11]), Err(ReadError::Number));
        assert_eq!(signed(&[]), Err(ReadError::Truncated));
    }

    #[test]
    fn what_is_written_is_read() {
        for value in [0, 1, 127, 128, 300, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            write_unsigned(&mut out, value);
            assert_eq!(unsigned(&out), Ok(value));
        }
    }
}
