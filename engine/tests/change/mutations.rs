//! Damaged and forged changes: never a panic, and whatever is taken is what automerge takes.

use std::sync::LazyLock;

use automerge::legacy::{self, ElementId, Key, ObjectId, OpType};
use automerge::{Change, ObjType, ScalarValue};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::agreement::accepted_and_agreed;
use crate::chunk::frame;
use crate::editing::{Step, changes_of};
use syncline_engine::change::read;

/// Honest changes of every kind, to be damaged.
static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut steps: Vec<Step> = Vec::new();
    for _ in 0..1_500 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [kind, who, place, what, ..] = state.to_be_bytes();
        steps.push((kind, who, place, what));
    }
    changes_of(&steps)
});

fn honest(which: Index) -> &'static [u8] {
    &CORPUS[which.index(CORPUS.len())]
}

/// Where the body begins, after magic, checksum, type and length.
fn body_of(change: &[u8]) -> &[u8] {
    let length = change[9..].iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
    &change[9 + length..]
}

#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, u8),
    Remove(Index),
    Repeat(Index, u8),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, bits) => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Self::Remove(at) => {
                bytes.remove(at.index(bytes.len()));
            }
            Self::Repeat(at, count) => {
                let from = at.index(bytes.len());
                let to = bytes.len().min(from + usize::from(count % 16));
                let part = bytes[from..to].to_vec();
                bytes.splice(to..to, part);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), 1_u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        4 => (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip(at, 1 << bit)),
        1 => any::<Index>().prop_map(Damage::Cut),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        2 => any::<Index>().prop_map(Damage::Remove),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, count)| Damage::Repeat(at, count)),
    ]
}

/// One change of an operation into something that its author did not write.
fn forge(ops: &mut Vec<legacy::Op>, (at, what, other): (Index, u8, Index)) {
    if ops.is_empty() {
        return;
    }
    let op = ops[other.index(ops.len())].clone();
    let at = at.index(ops.len());
    match what % 12 {
        0 => ops[at].obj = op.obj,
        1 => ops[at].key = op.key,
        2 => ops[at].pred = op.pred,
        3 => ops[at].action = op.action,
        4 => ops[at].insert = !ops[at].insert,
        5 => ops.insert(at, op),
        6 => {
            ops.remove(at);
        }
        7 => ops[at].action = OpType::Delete,
        8 => ops[at].action = OpType::Make(ObjType::Table),
        9 => ops[at].key = Key::Seq(ElementId::Head),
        10 => ops[at].obj = ObjectId::Root,
        _ => ops[at].action = OpType::Put(ScalarValue::Str("forged".into())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6_000))]

    #[test]
    fn damage_is_noticed(which in any::<Index>(), damage in damage()) {
        let honest = honest(which);
        let mut bytes = honest.to_vec();
        damage.apply(&mut bytes);
        prop_assert_eq!(read(&bytes).is_ok(), bytes == honest);
    }

    #[test]
    fn forged_bytes_are_refused_or_mean_what_automerge_says(
        which in any::<Index>(),
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let mut body = body_of(honest(which)).to_vec();
        for damage in damages {
            damage.apply(&mut body);
        }
        accepted_and_agreed(&frame(1, &body));
    }

    #[test]
    fn forged_operations_are_refused_or_mean_what_automerge_says(
        which in any::<Index>(),
        forgeries in proptest::collection::vec(any::<(Index, u8, Index)>(), 1..4),
    ) {
        let honest = Change::try_from(honest(which)).expect("honest");
        let mut expanded = honest.decode();
        for forgery in forgeries {
            forge(&mut expanded.operations, forgery);
        }
        accepted_and_agreed(Change::from(expanded).raw_bytes());
    }

    #[test]
    fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&noise).is_err());
        accepted_and_agreed(&frame(1, &noise));
    }
}

#[test]
fn no_beginning_of_a_change_is_a_change() {
    for change in CORPUS.iter().take(40) {
        let body = body_of(change);
        for end in 0..change.len() {
            assert!(read(&change[..end]).is_err());
        }
        for end in 0..body.len() {
            assert!(!accepted_and_agreed(&frame(1, &body[..end])));
        }
    }
}

#[test]
fn the_corpus_has_changes_of_every_kind() {
    let mut seen = [false; 8];
    let mut conflicts = false;
    for change in CORPUS.iter() {
        let expanded = Change::try_from(&change[..]).expect("honest").decode();
        for op in &expanded.operations {
            conflicts |= op.pred.len() > 1;
            seen[match op.action {
                OpType::Make(ObjType::Map | ObjType::Table) => 0,
                OpType::Make(ObjType::List) => 1,
                OpType::Make(ObjType::Text) => 2,
                OpType::Delete => 3,
                OpType::Increment(_) => 4,
                OpType::Put(_) => 5,
                OpType::MarkBegin(_) => 6,
                OpType::MarkEnd(_) => 7,
            }] = true;
        }
    }
    assert_eq!((seen, conflicts), ([true; 8], true));
}
