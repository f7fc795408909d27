//! Re-authoring: writing the same work down again, as other changes, so that what the user sees is
//! kept step by step. Knows automerge; knows nothing of commands, servers or stores.
//!
//! The method: walk a *scratch* copy of the base through the old changes, one at a time. What each
//! does to the scratch's visible state (its patches) is done again on a *target* copy of the same
//! base, under the new actor. By induction the two show the same after every step, whatever else
//! the base contains that the old changes had not seen. A change that is to be left out is followed
//! in the scratch by its inverse and not repeated in the target, so that the induction holds across
//! it.

use std::collections::{BTreeMap, BTreeSet};

use automerge::marks::Mark;
use automerge::transaction::{CommitOptions, Transactable, Transaction};
use automerge::{
    Automerge, AutomergeError, Change, ObjId, ObjType, Patch, PatchAction, PatchLog, Prop, ReadDoc,
    ScalarValue, Value, hydrate,
};

use crate::document::{expand_of, marks_of, width_of};
use crate::ids::ActorId;

/// What became of one old change.
#[derive(Debug)]
pub(super) enum Fate {
    /// It was written down again; `whole` if all that it showed is shown again.
    Reauthored { change: Box<Change>, whole: bool },
    /// It does nothing to the new base.
    NoEffect,
    /// All that it would do is to overwrite values that it never saw.
    Superseded,
    /// It was left out on purpose.
    LeftOut,
}

/// Writes `changes` down again on `base`.
///
/// `changes` must apply to `base` in order. `target` is a copy of `base`, or another document that
/// shows the same with objects of other names (`places`); its actor is the new writer, and it becomes
/// the result. The changes whose index is in
/// `leave_out` are undone instead.
///
/// # Errors
/// What automerge refused; `target` is then of no use.
pub(super) fn reauthor(
    mut scratch: Automerge,
    target: &mut Automerge,
    places: BTreeMap<ObjId, ObjId>,
    changes: &[Change],
    leave_out: &BTreeSet<usize>,
) -> Result<Vec<Fate>, AutomergeError> {
    let mut objects = Objects(places);
    let mut fates = Vec::with_capacity(changes.len());
    let mut undoers = BTreeSet::new();
    for (index, change) in changes.iter().enumerate() {
        if leave_out.contains(&index) {
            undoers.insert(undo(&mut scratch, change)?);
            fates.push(Fate::LeftOut);
            continue;
        }
        let patches = follow(&mut scratch, change, &undoers)?;
        fates.push(repeat(target, &mut objects, &patches, change.timestamp())?);
    }
    Ok(fates)
}

/// Does what `patches` say, as one change.
fn repeat(
    target: &mut Automerge,
    objects: &mut Objects,
    patches: &[Patch],
    time: i64,
) -> Result<Fate, AutomergeError> {
    let mut superseded = false;
    let mut tx = target.transaction();
    for patch in patches {
        // A patch inside an object that was not made again (its maker was left out, superseded, or
        // deleted by somebody) has nothing to act on.
        let Some(obj) = objects.find(&tx, &patch.obj) else {
            continue;
        };
        if overwrites_unseen(&tx, &obj, &patch.action) {
            superseded = true;
            continue;
        }
        match repeat_one(&mut tx, objects, &obj, &patch.action) {
            // Something else stands where it would count, or nothing where it would insert.
            Err(AutomergeError::MissingCounter | AutomergeError::InvalidIndex(_)) => {
                superseded = true;
            }
            done => done?,
        }
    }
    if tx.pending_ops() == 0 {
        tx.rollback();
        return Ok(if superseded { Fate::Superseded } else { Fate::NoEffect });
    }
    let (hash, _) = tx.commit_with(CommitOptions::default().with_time(time));
    let change = hash.and_then(|hash| target.get_change_by_hash(&hash));
    Ok(change.map_or(Fate::NoEffect, |change| Fate::Reauthored {
        change: Box::new(change),
        whole: !superseded,
    }))
}

/// Whether a put won over a value that its writer had not seen: the later value stands then.
fn overwrites_unseen(tx: &Transaction<'_>, obj: &ObjId, action: &PatchAction) -> bool {
    let (prop, conflict) = match action {
        PatchAction::PutMap { key, conflict, .. } => (Prop::Map(key.clone()), *conflict),
        PatchAction::PutSeq { index, conflict, .. } => (Prop::Seq(*index), *conflict),
        PatchAction::Insert { .. }
        | PatchAction::SpliceText { .. }
        | PatchAction::Increment { .. }
        | PatchAction::Conflict { .. }
        | PatchAction::DeleteMap { .. }
        | PatchAction::DeleteSeq { .. }
        | PatchAction::Mark { .. } => return false,
    };
    conflict && matches!(tx.get(obj, prop), Ok(Some(_)))
}

/// The names that objects made by the old changes have in the target.
#[derive(Debug, Default)]
struct Objects(BTreeMap<ObjId, ObjId>);

impl Objects {
    fn find(&self, tx: &Transaction<'_>, id: &ObjId) -> Option<ObjId> {
        let id = self.0.get(id).unwrap_or(id);
        tx.object_type(id).ok().map(|_| id.clone())
    }
}

fn repeat_one(
    tx: &mut Transaction<'_>,
    objects: &mut Objects,
    obj: &ObjId,
    action: &PatchAction,
) -> Result<(), AutomergeError> {
    match action {
        PatchAction::PutMap { key, value: (value, id), .. } => {
            put(tx, objects, obj, Prop::Map(key.clone()), value, id)
        }
        PatchAction::PutSeq { index, value: (value, id), .. } => {
            put(tx, objects, obj, Prop::Seq(*index), value, id)
        }
        PatchAction::Insert { index, values } => {
            for (offset, (value, id, _)) in values.iter().enumerate() {
                match value {
                    Value::Object(kind) => {
                        let made = tx.insert_object(obj, index + offset, *kind)?;
                        objects.0.insert(id.clone(), made);
                    }
                    Value::Scalar(scalar) => {
                        tx.insert(obj, index + offset, scalar.as_ref().clone())?;
                    }
                }
            }
            Ok(())
        }
        PatchAction::SpliceText { index, value, .. } => {
            tx.splice_text(obj, *index, 0, &value.make_string())
        }
        PatchAction::Increment { prop, value } => tx.increment(obj, prop.clone(), *value),
        PatchAction::DeleteMap { key } => match tx.get(obj, key.as_str())? {
            Some(_) => tx.delete(obj, key.as_str()),
            None => Ok(()),
        },
        PatchAction::DeleteSeq { index, length } => delete_range(tx, obj, *index, *length),
        PatchAction::Mark { marks } => marks.iter().try_for_each(|mark| set_mark(tx, obj, mark)),
        PatchAction::Conflict { .. } => Ok(()),
    }
}

fn put(
    tx: &mut Transaction<'_>,
    objects: &mut Objects,
    obj: &ObjId,
    prop: Prop,
    value: &Value<'_>,
    id: &ObjId,
) -> Result<(), AutomergeError> {
    match value {
        Value::Object(kind) => {
            let made = tx.put_object(obj, prop, *kind)?;
            objects.0.insert(id.clone(), made);
            Ok(())
        }
        Value::Scalar(scalar) => tx.put(obj, prop, scalar.as_ref().clone()),
    }
}

fn delete_range(
    tx: &mut Transaction<'_>,
    obj: &ObjId,
    index: usize,
    length: usize,
) -> Result<(), AutomergeError> {
    if tx.object_type(obj)? == ObjType::Text {
        let length = isize::try_from(length).unwrap_or(isize::MAX);
        return tx.splice_text(obj, index, length, "");
    }
    (0..length).try_for_each(|_| tx.delete(obj, index))
}

fn set_mark(tx: &mut Transaction<'_>, obj: &ObjId, mark: &Mark) -> Result<(), AutomergeError> {
    let expand = expand_of(mark.name());
    if *mark.value() == ScalarValue::Null {
        return tx.unmark(obj, mark.name(), mark.start, mark.end, expand);
    }
    tx.mark(obj, mark.clone(), expand)
}

/// Applies a change to the scratch; answers what that showed. Where it overwrites what a change that
/// was left out had put there, what was put back instead goes too: had that change not been made,
/// this one would have overwritten it.
fn follow(
    scratch: &mut Automerge,
    change: &Change,
    undoers: &BTreeSet<automerge::ActorId>,
) -> Result<Vec<Patch>, AutomergeError> {
    let mut log = PatchLog::active();
    if !undoers.is_empty() {
        let overwritten = put_back_under(scratch, change, undoers)?;
        if !overwritten.is_empty()
            && let Ok(mut tx) = scratch.transaction_log_patches(PatchLog::active())
        {
            for (obj, key) in overwritten {
                tx.delete(obj, key)?;
            }
            log = tx.commit().1;
        }
    }
    scratch.apply_changes_log_patches([change.clone()], &mut log)?;
    let patches = scratch.make_patches(&mut log);
    // What is put right after needs not be removed.
    let is_put_later = |place: usize, patch: &Patch| {
        let PatchAction::DeleteMap { key } = &patch.action else { return false };
        patches[place + 1..].iter().any(|later| {
            matches!(&later.action, PatchAction::PutMap { key: k, .. } if k == key)
                && later.obj == patch.obj
        })
    };
    let kept = patches.iter().enumerate().filter(|(place, patch)| !is_put_later(*place, patch));
    Ok(kept.map(|(_, patch)| patch.clone()).collect())
}

/// The keys that a change writes where nothing stands but what an undoer has put back.
fn put_back_under(
    scratch: &Automerge,
    change: &Change,
    undoers: &BTreeSet<automerge::ActorId>,
) -> Result<BTreeSet<(ObjId, String)>, AutomergeError> {
    let mut found = BTreeSet::new();
    for op in change.decode().operations {
        let automerge::legacy::Key::Map(key) = &op.key else { continue };
        // What it makes itself is not there yet.
        let Ok((obj, _)) = scratch.import(&op.obj.to_string()) else { continue };
        let Ok(standing) = scratch.get_all(&obj, key.as_str()) else { continue };
        let put_back = standing
            .iter()
            .all(|(_, id)| matches!(id, ObjId::Id(_, actor, _) if undoers.contains(actor)));
        if put_back && !standing.is_empty() {
            found.insert((obj, key.to_string()));
        }
    }
    Ok(found)
}

/// Applies `change` to `scratch`, then takes back what it did to the visible state. Answers as whom.
fn undo(scratch: &mut Automerge, change: &Change) -> Result<automerge::ActorId, AutomergeError> {
    // The patches are walked through on a copy, because each is relative to the one before it and
    // its inverse needs what it is about to overwrite.
    let mut before = scratch.clone();
    let mut log = PatchLog::active();
    scratch.apply_changes_log_patches([change.clone()], &mut log)?;
    let patches = scratch.make_patches(&mut log);

    let mut objects = Objects::default();
    let mut inverses = Vec::new();
    let mut walk = before.transaction();
    for patch in &patches {
        let Some(obj) = objects.find(&walk, &patch.obj) else {
            continue;
        };
        inverses.push((patch.obj.clone(), invert(&walk, &obj, &patch.action)?));
        repeat_one(&mut walk, &mut objects, &obj, &patch.action)?;
    }
    walk.rollback();

    // A writer of its own, because the old changes still to come continue their actor's sequence.
    let undoer = ActorId::provisional(u64::from_be_bytes(first_eight(&change.hash().0)));
    let undoer = automerge::ActorId::from(undoer.0);
    scratch.set_actor(undoer.clone());
    let mut tx = scratch.transaction();
    for (obj, steps) in inverses.into_iter().rev() {
        for step in steps {
            step.apply(&mut tx, &obj)?;
        }
    }
    tx.commit();
    Ok(undoer)
}

fn first_eight(bytes: &[u8; 32]) -> [u8; 8] {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[..8]);
    eight
}

/// One step back.
#[derive(Debug)]
enum Inverse {
    Set(Prop, ScalarValue),
    SetTree(Prop, hydrate::Value),
    Remove(Prop),
    RemoveRange(usize, usize),
    InsertTree(usize, hydrate::Value),
    InsertText(usize, String),
    Increment(Prop, i64),
    Mark(Mark),
}

impl Inverse {
    fn apply(self, tx: &mut Transaction<'_>, obj: &ObjId) -> Result<(), AutomergeError> {
        match self {
            Self::Set(prop, value) => tx.put(obj, prop, value),
            Self::SetTree(prop, tree) => tx.batch_create_object(obj, prop, &tree, false).map(drop),
            Self::Remove(prop) => tx.delete(obj, prop),
            Self::RemoveRange(index, length) => delete_range(tx, obj, index, length),
            Self::InsertTree(index, hydrate::Value::Scalar(value)) => tx.insert(obj, index, value),
            Self::InsertTree(index, tree) => {
                tx.batch_create_object(obj, index, &tree, true).map(drop)
            }
            Self::InsertText(index, text) => tx.splice_text(obj, index, 0, &text),
            Self::Increment(prop, by) => match tx.increment(obj, prop, by) {
                // What counted is gone, and the count with it.
                Err(AutomergeError::MissingCounter) => Ok(()),
                done => done,
            },
            Self::Mark(mark) => set_mark(tx, obj, &mark),
        }
    }
}

/// The steps, in order, that take `action` back in the state that `before` shows.
fn invert(
    before: &Transaction<'_>,
    obj: &ObjId,
    action: &PatchAction,
) -> Result<Vec<Inverse>, AutomergeError> {
    Ok(match action {
        PatchAction::PutMap { key, .. } | PatchAction::DeleteMap { key } => {
            vec![set_back(before, obj, Prop::Map(key.clone()))?]
        }
        PatchAction::PutSeq { index, .. } => vec![set_back(before, obj, Prop::Seq(*index))?],
        PatchAction::Insert { index, values } => vec![Inverse::RemoveRange(*index, values.len())],
        PatchAction::SpliceText { index, value, .. } => {
            let length = width_of(&value.make_string(), before.text_encoding());
            vec![Inverse::RemoveRange(*index, length)]
        }
        PatchAction::Increment { prop, value } => {
            vec![Inverse::Increment(prop.clone(), value.saturating_neg())]
        }
        PatchAction::DeleteSeq { index, length } => insert_back(before, obj, *index, *length)?,
        PatchAction::Mark { marks } => marks_back(before, obj, marks)?,
        PatchAction::Conflict { .. } => Vec::new(),
    })
}

fn set_back(before: &Transaction<'_>, obj: &ObjId, prop: Prop) -> Result<Inverse, AutomergeError> {
    Ok(match before.get(obj, prop.clone())? {
        None => Inverse::Remove(prop),
        Some((Value::Scalar(value), _)) => Inverse::Set(prop, value.into_owned()),
        Some((Value::Object(_), id)) => Inverse::SetTree(prop, before.hydrate(&id, None)?),
    })
}

fn insert_back(
    before: &Transaction<'_>,
    obj: &ObjId,
    index: usize,
    length: usize,
) -> Result<Vec<Inverse>, AutomergeError> {
    if before.object_type(obj)? == ObjType::Text {
        let text = text_range(before, obj, index, length)?;
        let mut steps = vec![Inverse::InsertText(index, text)];
        for mark in marks_of(before, obj)? {
            let (start, end) = (mark.start.max(index), mark.end.min(index + length));
            if start < end {
                steps.push(Inverse::Mark(Mark::new(
                    mark.name().to_owned(),
                    mark.value().clone(),
                    start,
                    end,
                )));
            }
        }
        return Ok(steps);
    }
    (index..index + length)
        .map(|at| {
            let tree = match before.get(obj, at)? {
                Some((Value::Object(_), id)) => before.hydrate(&id, None)?,
                Some((Value::Scalar(value), _)) => hydrate::Value::Scalar(value.into_owned()),
                None => hydrate::Value::Scalar(ScalarValue::Null),
            };
            Ok(Inverse::InsertTree(at, tree))
        })
        .collect()
}

/// The text of some elements, counted as the document counts them.
fn text_range(
    before: &Transaction<'_>,
    obj: &ObjId,
    index: usize,
    length: usize,
) -> Result<String, AutomergeError> {
    let encoding = before.text_encoding();
    let mut at = 0;
    let mut text = String::new();
    for c in before.text(obj)?.chars() {
        if at >= index + length {
            break;
        }
        if at >= index {
            text.push(c);
        }
        at += width_of(c.encode_utf8(&mut [0; 4]), encoding);
    }
    Ok(text)
}

fn marks_back(
    before: &Transaction<'_>,
    obj: &ObjId,
    marks: &[Mark],
) -> Result<Vec<Inverse>, AutomergeError> {
    let standing = marks_of(before, obj)?;
    let mut steps = Vec::new();
    for mark in marks {
        let cleared = Mark::new(mark.name().to_owned(), ScalarValue::Null, mark.start, mark.end);
        steps.push(Inverse::Mark(cleared));
        for old in standing.iter().filter(|old| old.name() == mark.name()) {
            let (start, end) = (old.start.max(mark.start), old.end.min(mark.end));
            if start < end {
                steps.push(Inverse::Mark(Mark::new(
                    old.name().to_owned(),
                    old.value().clone(),
                    start,
                    end,
                )));
            }
        }
    }
    Ok(steps)
}
