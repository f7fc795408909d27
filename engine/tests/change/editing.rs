//! Honest work: random editing by several people who merge now and then.

use automerge::marks::{ExpandMark, Mark};
use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, AutoCommit, ObjId, ObjType, ROOT, ReadDoc, ScalarValue};
use proptest::prelude::*;

use crate::agreement::accepted_and_agreed;

/// What one step does, to whom and where; numbers are taken modulo what there is.
pub(crate) type Step = (u8, u8, u8, u8);

const TEXTS: [&str; 6] = ["", "x", "héllo", "👍🏽", "日本語 text", "a\u{301}\u{0}z"];
const KEYS: [&str; 5] = ["a", "b", "likes/👍", "ключ", "a rather long key for a map"];
const PEOPLE: usize = 3;

fn scalar(pick: u8) -> ScalarValue {
    match pick % 12 {
        0 => ScalarValue::Null,
        1 => ScalarValue::Boolean(pick > 100),
        2 => ScalarValue::Uint(u64::MAX >> (pick % 64)),
        3 => ScalarValue::Int(i64::MIN >> (pick % 64)),
        4 => ScalarValue::F64(f64::from(pick) / 7.0),
        5 => ScalarValue::F64(f64::NAN),
        6 => ScalarValue::Bytes(vec![pick; usize::from(pick)]),
        7 => ScalarValue::Timestamp(-i64::from(pick)),
        8 => ScalarValue::counter(i64::from(pick) - 128),
        _ => ScalarValue::Str(TEXTS[usize::from(pick / 12) % TEXTS.len()].into()),
    }
}

fn expand(pick: u8) -> ExpandMark {
    match pick % 4 {
        0 => ExpandMark::Before,
        1 => ExpandMark::After,
        2 => ExpandMark::Both,
        _ => ExpandMark::None,
    }
}

struct World {
    people: Vec<AutoCommit>,
    objects: Vec<(ObjId, ObjType)>,
}

impl World {
    fn new() -> Self {
        let person = |n: usize| {
            let byte = u8::try_from(n * 50 + 1).expect("few people");
            AutoCommit::new().with_actor(ActorId::from([byte; 16]))
        };
        Self { people: (0..PEOPLE).map(person).collect(), objects: vec![(ROOT, ObjType::Map)] }
    }

    /// Does one step. What the person's copy can't do (the object is not there yet, the index is
    /// beyond the end) is an error of automerge's and leaves no trace.
    fn step(&mut self, (kind, who, place, what): Step) {
        let who = usize::from(who) % PEOPLE;
        let (obj, typ) = self.objects[usize::from(place) % self.objects.len()].clone();
        let doc = &mut self.people[who];
        match kind % 8 {
            0 => {
                let other = &mut self.people[(who + 1 + usize::from(what) % 2) % PEOPLE];
                // A copy that commits what the original goes on with would be another change of
                // the same name.
                other.commit();
                let mut other = other.clone();
                self.people[who].merge(&mut other).expect("honest copies merge");
            }
            1 => {
                let time = i64::from(what) - 100;
                let message = TEXTS[usize::from(what) % TEXTS.len()];
                doc.commit_with(CommitOptions::default().with_time(time).with_message(message));
            }
            2 if what > 200 => {
                doc.empty_change(CommitOptions::default());
            }
            _ => {
                let made = if typ.is_sequence() {
                    edit_sequence(doc, &obj, typ, kind, what)
                } else {
                    edit_map(doc, &obj, kind, what)
                };
                if let Ok(Some(made)) = made {
                    self.objects.push(made);
                }
            }
        }
    }
}

type Made = Result<Option<(ObjId, ObjType)>, automerge::AutomergeError>;

fn object_type(pick: u8) -> ObjType {
    [ObjType::Map, ObjType::List, ObjType::Text][usize::from(pick % 3)]
}

fn edit_map(doc: &mut AutoCommit, obj: &ObjId, kind: u8, what: u8) -> Made {
    let key = KEYS[usize::from(what) % KEYS.len()];
    match kind % 8 {
        2 => doc.delete(obj, key)?,
        3 | 4 => {
            let typ = object_type(what);
            return Ok(Some((doc.put_object(obj, key, typ)?, typ)));
        }
        5 => doc.increment(obj, key, i64::from(what) - 99)?,
        6 => doc.put(obj, key, ScalarValue::counter(i64::from(what)))?,
        _ => doc.put(obj, key, scalar(what))?,
    }
    Ok(None)
}

fn edit_sequence(doc: &mut AutoCommit, obj: &ObjId, typ: ObjType, kind: u8, what: u8) -> Made {
    let length = doc.length(obj);
    let index = if length == 0 { 0 } else { usize::from(what) % length };
    match (typ, kind % 8) {
        (_, 2) => doc.delete(obj, index)?,
        (ObjType::Text, 3..=5) => {
            let cut = isize::from(what > 120) * 2;
            let text = TEXTS[usize::from(what) % TEXTS.len()].repeat(1 + usize::from(kind / 32));
            doc.splice_text(obj, index, cut, &text)?;
        }
        (ObjType::Text, 6) => {
            // automerge compares marks in a debug assertion, which what is not a number fails.
            let is_nan = |value: &ScalarValue| value.as_f64().is_some_and(f64::is_nan);
            let value = Some(scalar(what)).filter(|value| !is_nan(value));
            let mark = Mark::new("bold".into(), value.unwrap_or(ScalarValue::Null), index, length);
            doc.mark(obj, mark, expand(what))?;
        }
        (ObjType::Text, _) => doc.unmark(obj, "bold", 0, index, expand(what))?,
        (_, 3) => {
            let typ = object_type(what);
            return Ok(Some((doc.insert_object(obj, index, typ)?, typ)));
        }
        (_, 4) => doc.put(obj, index, scalar(what))?,
        (_, 5) => doc.increment(obj, index, i64::from(what))?,
        _ => doc.insert(obj, index, scalar(what))?,
    }
    Ok(None)
}

/// The changes of all that these steps made, each once.
pub(crate) fn changes_of(steps: &[Step]) -> Vec<Vec<u8>> {
    let mut world = World::new();
    for step in steps {
        world.step(*step);
    }
    let [first, rest @ ..] = world.people.as_mut_slice() else { return vec![] };
    for other in rest {
        first.merge(other).expect("honest copies merge");
    }
    first.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect()
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(any::<Step>(), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_honest_change_is_read_as_automerge_reads_it(steps in steps()) {
        for change in changes_of(&steps) {
            if let Err(error) = syncline_engine::change::read(&change) {
                prop_assert!(false, "{error}: {:?}", automerge::Change::try_from(&change[..]));
            }
            prop_assert!(accepted_and_agreed(&change));
        }
    }
}

#[test]
fn a_change_that_joins_many_heads_is_read() {
    let mut base = AutoCommit::new().with_actor(ActorId::from([1; 16]));
    base.put(ROOT, "k", 0).expect("a plain put");
    base.commit();
    let mut forks: Vec<_> = (2..=60_u8)
        .map(|n| {
            let mut fork = base.clone();
            fork.set_actor(ActorId::from([n; 16]));
            fork.put(ROOT, "k", i64::from(n)).expect("a plain put");
            fork
        })
        .collect();
    for fork in &mut forks {
        base.merge(fork).expect("honest copies merge");
    }
    base.put(ROOT, "k", "joined").expect("a plain put");
    let change = base.get_last_local_change().expect("just made").raw_bytes().to_vec();
    let (header, ops) = syncline_engine::change::operations(&change).expect("honest");
    // automerge also names the author's own last change, which is no head any more.
    assert_eq!((header.deps.len(), header.others.len()), (60, 59));
    assert_eq!(ops.iter().map(|op| op.preds.len()).collect::<Vec<_>>(), [59]);
    assert!(accepted_and_agreed(&change));
}
