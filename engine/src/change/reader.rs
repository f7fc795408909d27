//! The strict reader of automerge's binary change chunk
//! (<https://automerge.org/automerge-binary-format-spec/>): bounded in time and memory, without
//! recursion, and without a panic whatever the bytes are.
//!
//! It reads less than automerge does: only what automerge 0.12 itself writes, in the only spelling
//! in which it writes it. So a change that passes parses there to the same hash, and keeps its hash
//! when a document is saved and loaded, as far as the change by itself decides. It owns what can be
//! seen in one change alone. It must never know a document: whether the objects, elements and
//! predecessors that are named exist and fit is for the gate.
//!
//! ```text
//! 85 6f 4a 83 | checksum 4 | type 1 | length | deps | actor | seq | start op | time | message
//!             | other actors | columns: count, (spec, length)* | column bytes
//! ```
//! The hash is SHA-256 from the type to the end; the checksum is its first four bytes.

use sha2::{Digest, Sha256};

use super::columns::{Deltas, Flags, Runs, Values};
use super::input::Input;
use crate::codes::Code;
use crate::ids::{ActorId, ChangeHash};
use crate::limits::{
    CHANGE_ACTORS_MAX, CHANGE_BYTES_MAX, CHANGE_DEPS_MAX, CHANGE_OPS_MAX, OP_COUNTER_MAX,
};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const KIND_CHANGE: u8 = 1;
/// Where the part that is hashed begins: after magic and checksum.
const HASHED_FROM: usize = 8;
const MESSAGE_BYTES_MAX: usize = 256;
/// Predecessors in one change. Like operations they can be claimed by a run length, so they need a
/// bound of their own; a change that overwrites two values with each operation still fits.
const PREDS_MAX: usize = 2 * CHANGE_OPS_MAX;

// An actor's index is kept in a byte, and those in use are kept as the bits of a `u128`.
const _: () = assert!(CHANGE_ACTORS_MAX < 127);

/// The bytes are not a change that is accepted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Longer than a change may be.
    #[error("the change has {0} bytes, more than the {CHANGE_BYTES_MAX} allowed")]
    TooLarge(usize),
    /// More operations than a change may have, or a run that claims more.
    #[error("the change has more than {CHANGE_OPS_MAX} operations")]
    TooManyOperations,
    /// More predecessors than a change may have.
    #[error("the change has more than {PREDS_MAX} predecessors")]
    TooManyPreds,
    /// More dependencies than a change may have.
    #[error("the change has more than {CHANGE_DEPS_MAX} dependencies")]
    TooManyDeps,
    /// More other actors than a change may name.
    #[error("the change names more than {CHANGE_ACTORS_MAX} other actors")]
    TooManyActors,
    /// Not an automerge chunk.
    #[error("the bytes do not begin like an automerge chunk")]
    Magic,
    /// A chunk, but of another type: a document (0), a deflated change (2), a bundle (3).
    #[error("the chunk is of type {0}, not a plain change")]
    ChunkType(u8),
    /// The bytes end before what they announce.
    #[error("the change ends before what it announces")]
    Truncated,
    /// The announced length is not that of the bytes.
    #[error("the chunk's length is not that of its body")]
    Length,
    /// The checksum is not that of the bytes.
    #[error("the checksum does not match")]
    Checksum,
    /// A number that is too large for its type or not in its shortest form.
    #[error("a number is not in its shortest form, or too large")]
    Number,
    /// A text is not UTF-8.
    #[error("a text is not utf-8")]
    NotUtf8,
    /// Dependencies that are not in ascending order, or repeated.
    #[error("the dependencies are not in ascending order")]
    DepsOrder,
    /// An actor that is not 16 bytes long.
    #[error("an actor has {0} bytes instead of 16")]
    ActorLength(usize),
    /// Other actors that are not in ascending order, repeated, the author, or not used.
    #[error("the other actors are not exactly those in use, in ascending order")]
    Actors,
    /// A sequence number of 0, or too large.
    #[error("the sequence number is out of range")]
    Seq,
    /// A counter of 0, too large, or not below that of the operation that names it.
    #[error("an operation counter is out of range")]
    Counter,
    /// An index beyond the actors of the change.
    #[error("an operation names an actor that the change does not list")]
    ActorIndex,
    /// The message is too long.
    #[error("the message is longer than {MESSAGE_BYTES_MAX} bytes")]
    Message,
    /// A column of no known kind, or a deflated one.
    #[error("the column {0:#x} is not known")]
    UnknownColumn(u64),
    /// Columns that are out of order, repeated or empty.
    #[error("the columns are out of order, repeated or empty")]
    ColumnOrder,
    /// Bytes after the columns, which is where the unauthenticated author of automerge 0.12 is.
    #[error("{0} bytes are left over after the columns")]
    Footer(usize),
    /// A column is not spelled as automerge spells it.
    #[error("a column is not spelled as automerge spells it")]
    NotCanonical,
    /// A column has more or fewer rows than there are operations.
    #[error("the columns do not have the same number of rows")]
    RowsDisagree,
    /// Nothing where a value is needed.
    #[error("a cell that must have a value is empty")]
    Null,
    /// Half an object id, or a key that is none or several of the three kinds.
    #[error("an object or a key is not of one kind")]
    BadReference,
    /// A value of a type that is not known.
    #[error("values of type {0} are not known")]
    UnknownValue(u64),
    /// A value that is shorter or longer than announced, or values that nothing announces.
    #[error("a value does not have the announced length")]
    ValueLength,
    /// An action that is not known or not allowed.
    #[error("the action {0} is not known")]
    UnknownAction(u64),
    /// An operation that makes no sense by itself, such as an increment by a text.
    #[error("an operation has parts that do not go together")]
    BadOperation,
    /// Predecessors that are not in ascending order, or repeated.
    #[error("the predecessors are not in ascending order")]
    PredsOrder,
}

impl ReadError {
    /// The stable code by which users know it.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::TooLarge(_)
            | Self::TooManyOperations
            | Self::TooManyPreds
            | Self::TooManyDeps
            | Self::TooManyActors => Code::ChangeTooLarge,
            Self::Magic
            | Self::ChunkType(_)
            | Self::Truncated
            | Self::Length
            | Self::Checksum
            | Self::Number
            | Self::NotUtf8
            | Self::DepsOrder
            | Self::ActorLength(_)
            | Self::Actors
            | Self::Seq
            | Self::Counter
            | Self::ActorIndex
            | Self::Message
            | Self::UnknownColumn(_)
            | Self::ColumnOrder
            | Self::Footer(_)
            | Self::NotCanonical
            | Self::RowsDisagree
            | Self::Null
            | Self::BadReference
            | Self::UnknownValue(_)
            | Self::ValueLength
            | Self::UnknownAction(_)
            | Self::BadOperation
            | Self::PredsOrder => Code::BadChange,
        }
    }
}

/// What a change says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name of the change: the digest of its bytes.
    pub hash: ChangeHash,
    /// Who wrote it.
    pub actor: ActorId,
    /// Its place among the changes of its actor, from 1.
    pub seq: u64,
    /// The counter of its first operation, from 1.
    pub start_op: u64,
    /// How many operations it has.
    pub ops: u32,
    /// The changes it follows, ascending.
    pub deps: Vec<ChangeHash>,
    /// The other actors whose operations it names, ascending.
    pub others: Vec<ActorId>,
    /// When its author says that it was made; automerge leaves the unit open.
    pub time: i64,
}

impl Header {
    /// The counter of the last operation; one less than `start_op` where there is none.
    #[must_use]
    pub const fn max_op(&self) -> u64 {
        self.start_op.saturating_sub(1).saturating_add(self.ops as u64)
    }

    /// The actor with this index in an [`OpId`]: the author is 0, the others follow.
    #[must_use]
    pub fn actor_at(&self, index: u8) -> Option<ActorId> {
        match usize::from(index).checked_sub(1) {
            None => Some(self.actor),
            Some(other) => self.others.get(other).copied(),
        }
    }
}

/// The name of an operation, and of the object or element that it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpId {
    /// Its counter, from 1.
    pub counter: u64,
    /// Its actor, for [`Header::actor_at`]. An index says nothing outside of its change.
    pub actor: u8,
}

/// Where in its object an operation takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// A key of a map.
    Map(&'a str),
    /// The beginning of a list or text; only for insertions.
    Head,
    /// An element of a list or text; an insertion comes right after it.
    Element(OpId),
}

/// A scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number without a sign.
    Uint(u64),
    /// A number with a sign.
    Int(i64),
    /// A floating-point number, possibly not a number.
    Float(f64),
    /// Text that is replaced as a whole.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A counter with its first value.
    Counter(i64),
    /// A time, by convention in milliseconds since 1970.
    Timestamp(i64),
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action<'a> {
    /// Makes a map.
    MakeMap,
    /// Makes a list.
    MakeList,
    /// Makes a text.
    MakeText,
    /// Sets a scalar.
    Set(Value<'a>),
    /// Removes what its predecessors set.
    Delete,
    /// Adds to the counters that its predecessors set.
    Increment(i64),
    /// Begins a mark.
    MarkBegin {
        /// Which kind of mark.
        name: &'a str,
        /// What the mark says.
        value: Value<'a>,
        /// Whether text inserted at this end becomes part of it.
        expand: bool,
    },
    /// Ends the mark that began with the operation before.
    MarkEnd {
        /// Whether text inserted at this end becomes part of it.
        expand: bool,
    },
}

/// One operation of a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Op<'a> {
    /// Its counter; its actor is the author.
    pub id: u64,
    /// The object it takes place in; `None` is the root.
    pub obj: Option<OpId>,
    /// Where in the object.
    pub key: Key<'a>,
    /// Whether it makes a new element.
    pub insert: bool,
    /// What it does.
    pub action: Action<'a>,
    /// The operations that it overwrites, ascending by counter and actor.
    pub preds: &'a [OpId],
}

#[derive(Debug, Clone, Copy)]
struct Row<'a> {
    id: u64,
    obj: Option<OpId>,
    key: Key<'a>,
    insert: bool,
    action: Action<'a>,
}

/// The operations of a change, in order; texts and bytes are borrowed from it.
#[derive(Debug)]
pub struct Operations<'a> {
    rows: Vec<(Row<'a>, usize)>,
    preds: Vec<OpId>,
}

impl Operations<'_> {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each in its turn.
    pub fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        let mut preds_from = 0;
        self.rows.iter().map(move |(row, preds_to)| {
            let Row { id, obj, key, insert, action } = *row;
            let preds = self.preds.get(preds_from..*preds_to).unwrap_or_default();
            preds_from = *preds_to;
            Op { id, obj, key, insert, action, preds }
        })
    }
}

/// Reads a change and checks all of it; its operations are decoded but not kept.
///
/// # Errors
/// [`ReadError`] at the first thing that automerge 0.12 would not have written, or that exceeds a
/// limit.
pub fn read(bytes: &[u8]) -> Result<Header, ReadError> {
    parse(bytes, |_, _| {})
}

/// Reads a change together with its operations.
///
/// # Errors
/// As [`read`].
pub fn operations(bytes: &[u8]) -> Result<(Header, Operations<'_>), ReadError> {
    let mut rows = Vec::new();
    let mut preds = Vec::new();
    let header = parse(bytes, |row, its_preds: &[OpId]| {
        preds.extend_from_slice(its_preds);
        rows.push((row, preds.len()));
    })?;
    Ok((header, Operations { rows, preds }))
}

fn parse<'a>(bytes: &'a [u8], keep: impl FnMut(Row<'a>, &[OpId])) -> Result<Header, ReadError> {
    let (hash, mut body) = chunk(bytes)?;
    let deps = deps(&mut body)?;
    let actor = actor(&mut body)?;
    let seq = in_range(body.unsigned()?).ok_or(ReadError::Seq)?;
    let start_op = in_range(body.unsigned()?).ok_or(ReadError::Counter)?;
    let time = body.signed()?;
    if body.text()?.len() > MESSAGE_BYTES_MAX {
        return Err(ReadError::Message);
    }
    let others = others(&mut body, actor)?;
    let columns = Columns::take(&mut body)?;
    if !body.is_empty() {
        return Err(ReadError::Footer(body.len()));
    }
    let mut header = Header { hash, actor, seq, start_op, ops: 0, deps, others, time };
    header.ops = rows(&columns, &header, keep)?;
    Ok(header)
}

/// Checks the frame around a change; returns its hash and what is inside.
fn chunk(bytes: &[u8]) -> Result<(ChangeHash, Input<'_>), ReadError> {
    if bytes.len() > CHANGE_BYTES_MAX {
        return Err(ReadError::TooLarge(bytes.len()));
    }
    let mut input = Input::new(bytes);
    if input.array()? != MAGIC {
        return Err(ReadError::Magic);
    }
    let checksum: [u8; 4] = input.array()?;
    let [kind] = input.array()?;
    if kind != KIND_CHANGE {
        return Err(ReadError::ChunkType(kind));
    }
    if input.length()? != input.len() {
        return Err(ReadError::Length);
    }
    let hash: [u8; 32] = Sha256::digest(&bytes[HASHED_FROM..]).into();
    if hash[..4] != checksum {
        return Err(ReadError::Checksum);
    }
    Ok((ChangeHash(hash), input))
}

fn deps(body: &mut Input<'_>) -> Result<Vec<ChangeHash>, ReadError> {
    let count = body.length()?;
    if count > CHANGE_DEPS_MAX {
        return Err(ReadError::TooManyDeps);
    }
    let mut deps = Vec::with_capacity(count);
    for _ in 0..count {
        let dep = ChangeHash(body.array()?);
        if deps.last().is_some_and(|last| *last >= dep) {
            return Err(ReadError::DepsOrder);
        }
        deps.push(dep);
    }
    Ok(deps)
}

fn actor(body: &mut Input<'_>) -> Result<ActorId, ReadError> {
    let length = body.length()?;
    let bytes = body.take(length)?;
    bytes.try_into().map(ActorId).map_err(|_| ReadError::ActorLength(length))
}

fn others(body: &mut Input<'_>, author: ActorId) -> Result<Vec<ActorId>, ReadError> {
    let count = body.length()?;
    if count > CHANGE_ACTORS_MAX {
        return Err(ReadError::TooManyActors);
    }
    let mut others = Vec::with_capacity(count);
    for _ in 0..count {
        let other = actor(body)?;
        if other == author || others.last().is_some_and(|last| *last >= other) {
            return Err(ReadError::Actors);
        }
        others.push(other);
    }
    Ok(others)
}

/// A counter or sequence number.
fn in_range(number: u64) -> Option<u64> {
    (1..=OP_COUNTER_MAX).contains(&number).then_some(number)
}

/// The columns of a change; one that is not there is empty.
#[derive(Debug, Default)]
struct Columns<'a> {
    obj_actor: &'a [u8],
    obj_counter: &'a [u8],
    key_actor: &'a [u8],
    key_counter: &'a [u8],
    key_text: &'a [u8],
    insert: &'a [u8],
    action: &'a [u8],
    value_kind: &'a [u8],
    value: &'a [u8],
    pred_count: &'a [u8],
    pred_actor: &'a [u8],
    pred_counter: &'a [u8],
    expand: &'a [u8],
    mark_name: &'a [u8],
}

impl<'a> Columns<'a> {
    const COUNT: usize = 14;

    fn take(body: &mut Input<'a>) -> Result<Self, ReadError> {
        let count = body.length()?;
        if count > Self::COUNT {
            return Err(ReadError::ColumnOrder);
        }
        let mut found = [(0, 0); Self::COUNT];
        let mut last = 0;
        for column in found.iter_mut().take(count) {
            let spec = body.unsigned()?;
            let length = body.length()?;
            if spec <= last || length == 0 {
                return Err(ReadError::ColumnOrder);
            }
            last = spec;
            *column = (spec, length);
        }
        let mut columns = Self::default();
        for (spec, length) in found.into_iter().take(count) {
            *columns.slot(spec).ok_or(ReadError::UnknownColumn(spec))? = body.take(length)?;
        }
        Ok(columns)
    }

    /// Specs are `id << 4 | deflated << 3 | type`.
    const fn slot(&mut self, spec: u64) -> Option<&mut &'a [u8]> {
        Some(match spec {
            0x01 => &mut self.obj_actor,
            0x02 => &mut self.obj_counter,
            0x11 => &mut self.key_actor,
            0x13 => &mut self.key_counter,
            0x15 => &mut self.key_text,
            0x34 => &mut self.insert,
            0x42 => &mut self.action,
            0x56 => &mut self.value_kind,
            0x57 => &mut self.value,
            0x70 => &mut self.pred_count,
            0x71 => &mut self.pred_actor,
            0x73 => &mut self.pred_counter,
            0x94 => &mut self.expand,
            0xa5 => &mut self.mark_name,
            _ => return None,
        })
    }
}

/// Reads the columns row by row, checks each operation by itself, and returns how many there are.
fn rows<'a>(
    columns: &Columns<'a>,
    header: &Header,
    mut keep: impl FnMut(Row<'a>, &[OpId]),
) -> Result<u32, ReadError> {
    let mut obj = ObjColumn {
        actors: Runs::new(columns.obj_actor),
        counters: Runs::new(columns.obj_counter),
    };
    let mut keys = KeyColumn {
        actors: Runs::new(columns.key_actor),
        counters: Deltas::new(columns.key_counter),
        texts: Runs::new(columns.key_text),
    };
    let mut inserts = Flags::new(columns.insert);
    let mut actions = ActionColumn {
        codes: Runs::new(columns.action),
        values: Values::new(columns.value_kind, columns.value),
        expands: Flags::new(columns.expand),
        mark_names: Runs::new(columns.mark_name),
    };
    let mut preds = PredColumn {
        counts: Runs::new(columns.pred_count),
        actors: Runs::new(columns.pred_actor),
        counters: Deltas::new(columns.pred_counter),
        total: 0,
        row: Vec::new(),
    };
    let mut scope = Scope { header, id: header.start_op, used: 1 };
    let mut count = 0_u32;
    while !actions.codes.is_done() {
        count += 1;
        if usize::try_from(count).is_ok_and(|count| count > CHANGE_OPS_MAX) {
            return Err(ReadError::TooManyOperations);
        }
        let id = in_range(scope.id).ok_or(ReadError::Counter)?;
        let row = Row {
            id,
            obj: obj.next(&mut scope)?,
            key: keys.next(&mut scope)?,
            // A change with operations always has this column, so there is no all-false default.
            insert: if columns.insert.is_empty() {
                return Err(ReadError::RowsDisagree);
            } else {
                inserts.next()?
            },
            action: actions.next()?,
        };
        preds.next(&mut scope)?;
        if !goes_together(&row, &preds.row) {
            return Err(ReadError::BadOperation);
        }
        keep(row, &preds.row);
        scope.id += 1;
    }
    obj.finish()?;
    keys.finish()?;
    inserts.finish()?;
    actions.finish()?;
    preds.finish()?;
    scope.all_actors_used()?;
    Ok(count)
}

/// What an operation can name: the actors of its change, and operations before it.
struct Scope<'a> {
    header: &'a Header,
    /// The operation being read.
    id: u64,
    /// A bit for each actor that was named.
    used: u128,
}

impl Scope<'_> {
    fn reference(&mut self, counter: u64, actor: u64) -> Result<OpId, ReadError> {
        let actor = u8::try_from(actor).map_err(|_| ReadError::ActorIndex)?;
        if usize::from(actor) > self.header.others.len() {
            return Err(ReadError::ActorIndex);
        }
        // The author's operations may be of this same change; those of others are all older.
        let below = if actor == 0 { self.id } else { self.header.start_op };
        if counter == 0 || counter >= below {
            return Err(ReadError::Counter);
        }
        self.used |= 1 << actor;
        Ok(OpId { counter, actor })
    }

    fn all_actors_used(&self) -> Result<(), ReadError> {
        let all = (1_u128 << (1 + self.header.others.len())) - 1;
        if self.used == all { Ok(()) } else { Err(ReadError::Actors) }
    }
}

struct ObjColumn<'a> {
    actors: Runs<'a, u64>,
    counters: Runs<'a, u64>,
}

impl ObjColumn<'_> {
    fn next(&mut self, scope: &mut Scope<'_>) -> Result<Option<OpId>, ReadError> {
        match (self.actors.next()?, self.counters.next()?) {
            (None, None) => Ok(None),
            (Some(actor), Some(counter)) => scope.reference(counter, actor).map(Some),
            (None, Some(_)) | (Some(_), None) => Err(ReadError::BadReference),
        }
    }

    fn finish(self) -> Result<(), ReadError> {
        self.actors.finish()?;
        self.counters.finish()
    }
}

struct KeyColumn<'a> {
    actors: Runs<'a, u64>,
    counters: Deltas<'a>,
    texts: Runs<'a, &'a str>,
}

impl<'a> KeyColumn<'a> {
    fn next(&mut self, scope: &mut Scope<'_>) -> Result<Key<'a>, ReadError> {
        match (self.actors.next()?, self.counters.next()?, self.texts.next()?) {
            (None, None, Some(text)) => Ok(Key::Map(text)),
            (None, Some(0), None) => Ok(Key::Head),
            (Some(actor), Some(counter), None) => scope.reference(counter, actor).map(Key::Element),
            _ => Err(ReadError::BadReference),
        }
    }

    fn finish(self) -> Result<(), ReadError> {
        self.actors.finish()?;
        self.counters.finish()?;
        self.texts.finish()
    }
}

struct ActionColumn<'a> {
    codes: Runs<'a, u64>,
    values: Values<'a>,
    expands: Flags<'a>,
    mark_names: Runs<'a, &'a str>,
}

impl<'a> ActionColumn<'a> {
    fn next(&mut self) -> Result<Action<'a>, ReadError> {
        let code = self.codes.next_value()?;
        let value = self.values.next()?;
        let expand = self.expands.next()?;
        let mark_name = self.mark_names.next()?;
        if code != 7 && (expand || mark_name.is_some()) {
            return Err(ReadError::BadOperation);
        }
        match (code, mark_name, value) {
            (0, _, Value::Null) => Ok(Action::MakeMap),
            (1, _, value) => Ok(Action::Set(value)),
            (2, _, Value::Null) => Ok(Action::MakeList),
            (3, _, Value::Null) => Ok(Action::Delete),
            (4, _, Value::Null) => Ok(Action::MakeText),
            (5, _, Value::Int(by)) => Ok(Action::Increment(by)),
            // automerge compares marks with each other, and what is not a number equals nothing.
            (7, Some(_), Value::Float(value)) if value.is_nan() => Err(ReadError::BadOperation),
            (7, Some(name), value) => Ok(Action::MarkBegin { name, value, expand }),
            (7, None, Value::Null) => Ok(Action::MarkEnd { expand }),
            (0 | 2..=5 | 7, _, _) => Err(ReadError::BadOperation),
            // 6 would make a table, which automerge keeps only to read its own past.
            (unknown, _, _) => Err(ReadError::UnknownAction(unknown)),
        }
    }

    fn finish(self) -> Result<(), ReadError> {
        self.codes.finish()?;
        self.values.finish()?;
        self.expands.finish_optional()?;
        self.mark_names.finish()
    }
}

struct PredColumn<'a> {
    counts: Runs<'a, u64>,
    actors: Runs<'a, u64>,
    counters: Deltas<'a>,
    total: usize,
    /// Those of the operation being read.
    row: Vec<OpId>,
}

impl PredColumn<'_> {
    fn next(&mut self, scope: &mut Scope<'_>) -> Result<(), ReadError> {
        let count = usize::try_from(self.counts.next_value()?).unwrap_or(usize::MAX);
        self.total = self.total.saturating_add(count);
        if self.total > PREDS_MAX {
            return Err(ReadError::TooManyPreds);
        }
        self.row.clear();
        for _ in 0..count {
            let actor = self.actors.next_value()?;
            let counter = self.counters.next()?.ok_or(ReadError::Null)?;
            let pred = scope.reference(counter, actor)?;
            let place = |id: OpId| (id.counter, scope.header.actor_at(id.actor));
            if self.row.last().is_some_and(|last| place(*last) >= place(pred)) {
                return Err(ReadError::PredsOrder);
            }
            self.row.push(pred);
        }
        Ok(())
    }

    fn finish(self) -> Result<(), ReadError> {
        self.counts.finish()?;
        self.actors.finish()?;
        self.counters.finish()
    }
}

/// Whether an operation makes sense whatever the document is.
const fn goes_together(row: &Row<'_>, preds: &[OpId]) -> bool {
    let key_fits = match row.key {
        Key::Map(_) => !row.insert,
        Key::Head => row.insert && row.obj.is_some(),
        Key::Element(_) => row.obj.is_some(),
    };
    let preds_fit = if row.insert {
        preds.is_empty()
    } else {
        // Only a map's key can be set where nothing was before.
        matches!(row.key, Key::Map(_)) || !preds.is_empty()
    };
    let action_fits = match row.action {
        Action::MakeMap | Action::MakeList | Action::MakeText | Action::Set(_) => true,
        Action::Delete | Action::Increment(_) => !preds.is_empty(),
        Action::MarkBegin { .. } | Action::MarkEnd { .. } => row.insert,
    };
    key_fits && preds_fit && action_fits
}
