//! Hand-made chunks with correct checksums, for changes that automerge would never write.

use sha2::{Digest, Sha256};

pub(crate) fn unsigned(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

pub(crate) fn signed(mut value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0) {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// Puts magic, checksum, type and length before a body.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut hashed = vec![kind];
    hashed.extend(unsigned(body.len() as u64));
    hashed.extend_from_slice(body);
    let mut out = vec![0x85, 0x6f, 0x4a, 0x83];
    out.extend_from_slice(&Sha256::digest(&hashed)[..4]);
    out.extend(hashed);
    out
}

/// A change in parts; as it begins it sets `k` in the root to true.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) deps: Vec<[u8; 32]>,
    pub(crate) actor: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) start_op: u64,
    pub(crate) message: Vec<u8>,
    pub(crate) others: Vec<Vec<u8>>,
    pub(crate) columns: Vec<(u64, Vec<u8>)>,
    pub(crate) footer: Vec<u8>,
}

pub(crate) const OBJ_ACTOR: u64 = 0x01;
pub(crate) const OBJ_COUNTER: u64 = 0x02;
pub(crate) const KEY_ACTOR: u64 = 0x11;
pub(crate) const KEY_COUNTER: u64 = 0x13;
pub(crate) const KEY_TEXT: u64 = 0x15;
pub(crate) const INSERT: u64 = 0x34;
pub(crate) const ACTION: u64 = 0x42;
pub(crate) const VALUE_KIND: u64 = 0x56;
pub(crate) const VALUE: u64 = 0x57;
pub(crate) const PRED_COUNT: u64 = 0x70;
pub(crate) const PRED_ACTOR: u64 = 0x71;
pub(crate) const PRED_COUNTER: u64 = 0x73;
pub(crate) const EXPAND: u64 = 0x94;
pub(crate) const MARK_NAME: u64 = 0xa5;

/// One cell, written out.
pub(crate) fn one(cell: impl Into<Vec<u8>>) -> Vec<u8> {
    [vec![0x7f], cell.into()].concat()
}

impl Draft {
    pub(crate) fn new() -> Self {
        Self {
            deps: vec![],
            actor: vec![5; 16],
            seq: 1,
            start_op: 10,
            message: vec![],
            others: vec![],
            columns: vec![
                (KEY_TEXT, one([1, b'k'])),
                (INSERT, vec![1]),
                (ACTION, one([1])),
                (VALUE_KIND, one([2])),
                (PRED_COUNT, one([0])),
            ],
            footer: vec![],
        }
    }

    /// Inserts a true at the beginning of the list that operation 3 of the author made.
    pub(crate) fn insertion() -> Self {
        Self::new()
            .column(OBJ_ACTOR, one([0]))
            .column(OBJ_COUNTER, one([3]))
            .column(KEY_TEXT, [])
            .column(KEY_COUNTER, one([0]))
            .column(INSERT, [0, 1])
    }

    /// Replaces or adds a column; an empty one is left out.
    pub(crate) fn column(mut self, spec: u64, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        self.columns.retain(|(known, _)| *known != spec);
        if !bytes.is_empty() {
            self.columns.push((spec, bytes));
            self.columns.sort();
        }
        self
    }

    /// Gives the operation a predecessor.
    pub(crate) fn pred(self, actor: u64, counter: i64) -> Self {
        self.column(PRED_COUNT, one([1]))
            .column(PRED_ACTOR, one(unsigned(actor)))
            .column(PRED_COUNTER, one(signed(counter)))
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let mut out = unsigned(self.deps.len() as u64);
        out.extend(self.deps.concat());
        out.extend(unsigned(self.actor.len() as u64));
        out.extend(&self.actor);
        out.extend(unsigned(self.seq));
        out.extend(unsigned(self.start_op));
        out.extend(signed(-1));
        out.extend(unsigned(self.message.len() as u64));
        out.extend(&self.message);
        out.extend(unsigned(self.others.len() as u64));
        for other in &self.others {
            out.extend(unsigned(other.len() as u64));
            out.extend(other);
        }
        out.extend(unsigned(self.columns.len() as u64));
        for (spec, bytes) in &self.columns {
            out.extend(unsigned(*spec));
            out.extend(unsigned(bytes.len() as u64));
        }
        for (_, bytes) in &self.columns {
            out.extend(bytes);
        }
        out.extend(&self.footer);
        out
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        frame(1, &self.body())
    }
}
