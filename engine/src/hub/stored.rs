//! Bytes of what the hub stores beside a snapshot: fixed-width and variable integers, written and
//! read with bounds. Knows no meaning of any value.

/// Stored bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// They end in the middle of a value.
    #[error("the stored value ends early")]
    Short,
    /// They go on after the last value.
    #[error("bytes are left over after the stored value")]
    TrailingBytes,
    /// They were written by another version.
    #[error("the stored value is of version {0}")]
    Version(u8),
    /// A value is out of its range.
    #[error("a stored {0} is out of its range")]
    OutOfRange(&'static str),
}

#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(version: u8) -> Self {
        Self(vec![version])
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// LEB128.
    pub(super) fn uint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }

    pub(super) fn finish(self) -> bytes::Bytes {
        self.0.into()
    }
}

#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], version: u8) -> Result<Self, StoredError> {
        match bytes {
            [v, rest @ ..] if *v == version => Ok(Self(rest)),
            [v, ..] => Err(StoredError::Version(*v)),
            [] => Err(StoredError::Short),
        }
    }

    pub(super) fn slice(&mut self, len: u64) -> Result<&'a [u8], StoredError> {
        let len = usize::try_from(len).map_err(|_| StoredError::Short)?;
        let (head, rest) = self.0.split_at_checked(len).ok_or(StoredError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoredError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(StoredError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn uint(&mut self) -> Result<u64, StoredError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array::<1>()?;
            let part = u64::from(byte & 0x7f);
            if (part << shift) >> shift != part {
                return Err(StoredError::OutOfRange("integer"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(StoredError::OutOfRange("integer"))
    }

    /// A count of things that take at least `bytes_each`; refuses counts that cannot be there.
    pub(super) fn count(&mut self, bytes_each: usize) -> Result<usize, StoredError> {
        let count = usize::try_from(self.uint()?).map_err(|_| StoredError::Short)?;
        if count.saturating_mul(bytes_each) > self.0.len() {
            return Err(StoredError::Short);
        }
        Ok(count)
    }

    pub(super) fn finish(self) -> Result<(), StoredError> {
        if self.0.is_empty() { Ok(()) } else { Err(StoredError::TrailingBytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_size_come_back() {
        let values = [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX - 1, u64::MAX];
        let mut writer = Writer::new(3);
        values.iter().for_each(|v| writer.uint(*v));
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes, 3).unwrap();
        for value in values {
            assert_eq!(reader.uint(), Ok(value));
        }
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn impossible_counts_and_overlong_integers_are_refused() {
        let mut writer = Writer::new(1);
        writer.uint(1 << 40);
        let bytes = writer.finish();
        assert_eq!(Reader::new(&bytes, 1).unwrap().count(16), Err(StoredError::Short));
        let mut overlong = vec![1];
        overlong.extend([0xff; 10]);
        assert!(Reader::new(&overlong, 1).unwrap().uint().is_err());
    }
}
