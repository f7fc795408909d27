//! The columns of a change, one cell at a time. Each decoder reads only the one spelling that
//! automerge itself writes, because it writes the columns anew when it saves a document and the
//! hash must come out the same. Knows nothing of what the cells mean together.

use super::input::Input;
use super::reader::{ReadError, Value};
use crate::limits::OP_COUNTER_MAX;

/// The longest run in any column. Runs are never expanded, so this only makes hostile ones fail at
/// their head instead of at the last row.
const RUN_ROWS_MAX: u64 = 1 << 16;

fn run_rows(rows: u64) -> Result<u64, ReadError> {
    if rows > RUN_ROWS_MAX { Err(ReadError::TooManyOperations) } else { Ok(rows) }
}

/// What a run-length encoded column holds.
pub(super) trait Cell<'a>: Copy + PartialEq {
    fn take(input: &mut Input<'a>) -> Result<Self, ReadError>;
}

impl<'a> Cell<'a> for u64 {
    fn take(input: &mut Input<'a>) -> Result<Self, ReadError> {
        input.unsigned()
    }
}

impl<'a> Cell<'a> for i64 {
    fn take(input: &mut Input<'a>) -> Result<Self, ReadError> {
        input.signed()
    }
}

impl<'a> Cell<'a> for &'a str {
    fn take(input: &mut Input<'a>) -> Result<Self, ReadError> {
        input.text()
    }
}

#[derive(Debug, Clone, Copy)]
enum Run<T> {
    /// Before the first.
    Start,
    Nulls,
    /// The same value again and again.
    Same(T),
    /// Values each written out, with the one before.
    Literal(Option<T>),
}

/// A run-length encoded column.
#[derive(Debug)]
pub(super) struct Runs<'a, T> {
    input: Input<'a>,
    present: bool,
    run: Run<T>,
    left: u64,
}

impl<'a, T: Cell<'a>> Runs<'a, T> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { input: Input::new(bytes), present: !bytes.is_empty(), run: Run::Start, left: 0 }
    }

    /// Whether every cell was read.
    pub(super) const fn is_done(&self) -> bool {
        self.left == 0 && self.input.is_empty()
    }

    /// The next cell; of a column that is not there, all are null.
    pub(super) fn next(&mut self) -> Result<Option<T>, ReadError> {
        if !self.present {
            return Ok(None);
        }
        if self.left == 0 {
            self.open_run()?;
        }
        self.left = self.left.saturating_sub(1);
        match self.run {
            Run::Start | Run::Nulls => Ok(None),
            Run::Same(value) => Ok(Some(value)),
            Run::Literal(previous) => {
                let value = T::take(&mut self.input)?;
                if previous == Some(value) {
                    return Err(ReadError::NotCanonical);
                }
                self.run = Run::Literal(Some(value));
                Ok(Some(value))
            }
        }
    }

    pub(super) fn next_value(&mut self) -> Result<T, ReadError> {
        self.next()?.ok_or(ReadError::Null)
    }

    /// All cells must have been read.
    pub(super) fn finish(self) -> Result<(), ReadError> {
        if self.is_done() { Ok(()) } else { Err(ReadError::RowsDisagree) }
    }

    fn open_run(&mut self) -> Result<(), ReadError> {
        if self.input.is_empty() {
            return Err(ReadError::RowsDisagree);
        }
        let previous = match self.run {
            Run::Same(value) => Some(value),
            Run::Literal(previous) => previous,
            Run::Start | Run::Nulls => None,
        };
        let head = self.input.signed()?;
        let (rows, run, canonical) = if head > 0 {
            let value = T::take(&mut self.input)?;
            (head.unsigned_abs(), Run::Same(value), head > 1 && previous != Some(value))
        } else if head < 0 {
            let follows_literal = matches!(self.run, Run::Literal(_));
            (head.unsigned_abs(), Run::Literal(previous), !follows_literal)
        } else {
            let rows = self.input.unsigned()?;
            // A column of nulls only is left out.
            let all_null = matches!(self.run, Run::Start) && self.input.is_empty();
            (rows, Run::Nulls, rows > 0 && !all_null && !matches!(self.run, Run::Nulls))
        };
        if !canonical {
            return Err(ReadError::NotCanonical);
        }
        self.left = run_rows(rows)?;
        self.run = run;
        Ok(())
    }
}

/// A column of counters, each written as the difference from the one before.
#[derive(Debug)]
pub(super) struct Deltas<'a> {
    runs: Runs<'a, i64>,
    total: i64,
}

impl<'a> Deltas<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { runs: Runs::new(bytes), total: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<u64>, ReadError> {
        let Some(delta) = self.runs.next()? else { return Ok(None) };
        self.total = self.total.checked_add(delta).ok_or(ReadError::Counter)?;
        match u64::try_from(self.total) {
            Ok(counter) if counter <= OP_COUNTER_MAX => Ok(Some(counter)),
            _ => Err(ReadError::Counter),
        }
    }

    pub(super) fn finish(self) -> Result<(), ReadError> {
        self.runs.finish()
    }
}

/// A column of booleans: lengths of runs that alternate, beginning with false.
#[derive(Debug)]
pub(super) struct Flags<'a> {
    input: Input<'a>,
    present: bool,
    begun: bool,
    any: bool,
    value: bool,
    left: u64,
}

impl<'a> Flags<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            input: Input::new(bytes),
            present: !bytes.is_empty(),
            begun: false,
            any: false,
            value: false,
            left: 0,
        }
    }

    /// The next cell; of a column that is not there, all are false.
    pub(super) fn next(&mut self) -> Result<bool, ReadError> {
        if !self.present {
            return Ok(false);
        }
        if self.left == 0 {
            self.open_run()?;
        }
        self.left = self.left.saturating_sub(1);
        self.any |= self.value;
        Ok(self.value)
    }

    /// All cells must have been read.
    pub(super) const fn finish(self) -> Result<(), ReadError> {
        if self.left == 0 && self.input.is_empty() { Ok(()) } else { Err(ReadError::RowsDisagree) }
    }

    /// As [`Flags::finish`], for a column that is left out where it holds nothing but false.
    pub(super) const fn finish_optional(self) -> Result<(), ReadError> {
        if self.present && !self.any { Err(ReadError::NotCanonical) } else { self.finish() }
    }

    fn open_run(&mut self) -> Result<(), ReadError> {
        if self.input.is_empty() {
            return Err(ReadError::RowsDisagree);
        }
        let mut rows = self.input.unsigned()?;
        if self.begun {
            self.value = !self.value;
        } else {
            self.begun = true;
            // Only the first run may have no length, where the column begins with true.
            if rows == 0 {
                self.value = true;
                rows = self.input.unsigned()?;
            }
        }
        if rows == 0 {
            return Err(ReadError::NotCanonical);
        }
        self.left = run_rows(rows)?;
        Ok(())
    }
}

/// The two columns of values: kinds with lengths, and the bytes.
#[derive(Debug)]
pub(super) struct Values<'a> {
    kinds: Runs<'a, u64>,
    bytes: Input<'a>,
}

impl<'a> Values<'a> {
    pub(super) const fn new(kinds: &'a [u8], bytes: &'a [u8]) -> Self {
        Self { kinds: Runs::new(kinds), bytes: Input::new(bytes) }
    }

    pub(super) fn next(&mut self) -> Result<Value<'a>, ReadError> {
        let kind = self.kinds.next_value()?;
        let length = usize::try_from(kind >> 4).map_err(|_| ReadError::Truncated)?;
        let bytes = self.bytes.take(length)?;
        let mut rest = Input::new(bytes);
        let value = match kind & 15 {
            0 => Value::Null,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => Value::Uint(rest.unsigned()?),
            4 => Value::Int(rest.signed()?),
            5 => Value::Float(f64::from_le_bytes(rest.array()?)),
            6 => {
                rest = Input::new(&[]);
                Value::Str(std::str::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)?)
            }
            7 => {
                rest = Input::new(&[]);
                Value::Bytes(bytes)
            }
            8 => Value::Counter(rest.signed()?),
            9 => Value::Timestamp(rest.signed()?),
            unknown => return Err(ReadError::UnknownValue(unknown)),
        };
        if rest.is_empty() { Ok(value) } else { Err(ReadError::ValueLength) }
    }

    /// All cells and all their bytes must have been read.
    pub(super) fn finish(self) -> Result<(), ReadError> {
        if self.bytes.is_empty() { self.kinds.finish() } else { Err(ReadError::ValueLength) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many cells as there are, or the first error.
    fn numbers(bytes: &[u8]) -> Result<Vec<Option<u64>>, ReadError> {
        let mut runs = Runs::new(bytes);
        let mut cells = Vec::new();
        while !runs.is_done() {
            cells.push(runs.next()?);
        }
        Ok(cells)
    }

    fn flags(bytes: &[u8], rows: usize) -> Result<Vec<bool>, ReadError> {
        let mut flags = Flags::new(bytes);
        let cells = (0..rows).map(|_| flags.next()).collect::<Result<_, _>>()?;
        flags.finish()?;
        Ok(cells)
    }

    #[test]
    fn runs_literals_and_nulls_follow_each_other() {
        // Twice 7, then 8 and 9, then two nulls, then 9.
        assert_eq!(
            numbers(&[2, 7, 0x7e, 8, 9, 0, 2, 0x7f, 9]),
            Ok(vec![Some(7), Some(7), Some(8), Some(9), None, None, Some(9)])
        );
    }

    #[test]
    fn a_column_has_one_spelling() {
        let spelled_otherwise: [&[u8]; 9] = [
            &[1, 7],                // a run of one
            &[2, 7, 2, 7],          // a run that continues the one before
            &[2, 7, 0x7f, 7],       // a literal that continues a run
            &[0x7f, 7, 2, 7],       // a run that continues a literal
            &[0x7e, 7, 7],          // equal neighbours in a literal
            &[0x7f, 7, 0x7f, 8],    // two literals in a row
            &[0, 2],                // nothing but nulls
            &[0x7f, 1, 0, 1, 0, 1], // two runs of nulls in a row
            &[0, 0, 0x7f, 1],       // no nulls
        ];
        for bytes in spelled_otherwise {
            assert_eq!(numbers(bytes), Err(ReadError::NotCanonical), "{bytes:?}");
        }
    }

    #[test]
    fn a_run_that_claims_too_much_fails_at_its_head() {
        let mut bytes = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 1];
        assert_eq!(numbers(&bytes), Err(ReadError::TooManyOperations));
        bytes[6] = 0x40; // the same length, negative: a literal
        assert_eq!(numbers(&bytes), Err(ReadError::TooManyOperations));
    }

    #[test]
    fn booleans_alternate_from_false() {
        assert_eq!(flags(&[1, 2], 3), Ok(vec![false, true, true]));
        assert_eq!(flags(&[0, 1, 1], 2), Ok(vec![true, false]));
        assert_eq!(flags(&[0, 0, 1], 1), Err(ReadError::NotCanonical));
        assert_eq!(flags(&[1, 0, 1], 2), Err(ReadError::NotCanonical));
        assert_eq!(flags(&[1, 2], 2), Err(ReadError::RowsDisagree));
        assert_eq!(flags(&[2], 3), Err(ReadError::RowsDisagree));
    }

    #[test]
    fn counters_stay_in_range() {
        let mut deltas = Deltas::new(&[0x7e, 5, 0x7a]);
        assert_eq!(deltas.next(), Ok(Some(5)));
        assert_eq!(deltas.next(), Err(ReadError::Counter));
    }
}
