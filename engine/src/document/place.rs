//! Where things are inside a document: buckets, objects under a key, scalars read as domain values.
//! Must never know what a thing means.

use std::collections::BTreeMap;

use automerge::iter::{DocItem, MapRangeItem};
use automerge::{
    Automerge, ObjId, ObjType, Patch, Prop, ROOT, ReadDoc, ScalarValue, Value, ValueRef,
};

use super::command::CommandError;
use crate::clock::Timestamp;

/// Whether more than one value stands in a place.
pub(super) fn is_contested(doc: &Automerge, obj: &ObjId, prop: impl Into<Prop>) -> bool {
    doc.get_all(obj, prop).is_ok_and(|values| values.len() > 1)
}

/// The bucket of a key among `buckets` of them: FNV-1a (64 bit) of its bytes, modulo the count.
#[must_use]
pub fn bucket(key: &str, buckets: u32) -> u32 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    u32::try_from(hash % u64::from(buckets.max(1))).unwrap_or(0)
}

/// The name of a bucket: at least two digits of lower hex.
#[must_use]
pub fn bucket_name(index: u32) -> String {
    format!("{index:02x}")
}

/// Whether this is the name of a bucket: as [`bucket_name`] says, without making a string.
pub(super) fn is_bucket_name(name: &str, index: u32) -> bool {
    let digits = name.len() == 2 || (name.len() > 2 && !name.starts_with('0'));
    digits
        && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && u32::from_str_radix(name, 16) == Ok(index)
}

/// The object of this type under a key, if there is one.
pub(super) fn object(
    doc: &impl ReadDoc,
    parent: &ObjId,
    prop: impl Into<Prop>,
    kind: ObjType,
) -> Option<ObjId> {
    match doc.get(parent, prop) {
        Ok(Some((Value::Object(found), id))) if found == kind => Some(id),
        _ => None,
    }
}

/// An object that genesis makes at the root.
pub(super) fn root(
    doc: &impl ReadDoc,
    key: &'static str,
    kind: ObjType,
) -> Result<ObjId, CommandError> {
    object(doc, &ROOT, key, kind).ok_or(CommandError::NotSuchADocument(key))
}

/// How many buckets a keyed set has.
pub(super) fn bucket_count(doc: &impl ReadDoc, set: &'static str) -> u32 {
    object(doc, &ROOT, set, ObjType::Map)
        .map_or(0, |set| u32::try_from(doc.length(set)).unwrap_or(u32::MAX))
}

/// The bucket map in which a key belongs.
pub(super) fn bucket_of(
    doc: &impl ReadDoc,
    set: &'static str,
    key: &str,
) -> Result<ObjId, CommandError> {
    let parent = root(doc, set, ObjType::Map)?;
    let count = u32::try_from(doc.length(&parent)).unwrap_or(u32::MAX);
    object(doc, &parent, bucket_name(bucket(key, count)), ObjType::Map)
        .ok_or(CommandError::NotSuchADocument(set))
}

/// The map in which an entry of a document with buckets lies.
#[derive(Debug)]
pub(super) enum Spot {
    /// The root.
    Root,
    /// The map of all buckets.
    Set,
    /// The bucket of this name.
    Bucket(String),
    /// The map under a key of a bucket.
    Entry {
        /// The bucket's name.
        bucket: String,
        /// The key in it.
        key: String,
    },
}

impl Spot {
    fn below(&self, set: &str, key: &str) -> Option<Self> {
        match self {
            Self::Root => (key == set).then_some(Self::Set),
            Self::Set => Some(Self::Bucket(key.to_owned())),
            Self::Bucket(bucket) => {
                Some(Self::Entry { bucket: bucket.clone(), key: key.to_owned() })
            }
            Self::Entry { .. } => None,
        }
    }
}

/// Shows every entry of the maps of a document whose root holds the keyed set `set`, a map's before
/// those of the maps in it. It is one pass over the document: looking the buckets up one by one
/// costs several times as much, most of all in a document that is nearly empty.
pub(super) fn walk(
    doc: &Automerge,
    set: &'static str,
    mut show: impl FnMut(&Spot, MapRangeItem<'_>),
) {
    let mut ahead = BTreeMap::new();
    let mut at = Some((ROOT, Spot::Root));
    for item in doc.iter() {
        let DocItem::Map(entry) = item.item else { continue };
        if at.as_ref().is_none_or(|(id, _)| *id != *item.obj) {
            at = ahead.remove_entry(item.obj.as_ref());
        }
        let Some((_, spot)) = &at else { continue };
        if matches!(entry.value, ValueRef::Object(ObjType::Map))
            && let Some(below) = spot.below(set, &entry.key)
        {
            ahead.insert(entry.id(), below);
        }
        show(spot, entry);
    }
}

/// The scalar under a key.
pub(super) fn scalar(
    doc: &impl ReadDoc,
    parent: &ObjId,
    prop: impl Into<Prop>,
) -> Option<ScalarValue> {
    match doc.get(parent, prop) {
        Ok(Some((Value::Scalar(value), _))) => Some(value.into_owned()),
        _ => None,
    }
}

/// A scalar as text.
pub(super) fn as_str(value: &Value<'_>) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A scalar as a time.
pub(super) fn as_time(value: &Value<'_>) -> Option<Timestamp> {
    let ScalarValue::Timestamp(millis) = value.as_scalar()? else { return None };
    u64::try_from(*millis).ok().map(Timestamp)
}

/// A time as a scalar.
pub(super) fn time(at: Timestamp) -> ScalarValue {
    ScalarValue::Timestamp(i64::try_from(at.0).unwrap_or(i64::MAX))
}

/// The place of the object that a patch is about, as keys from the root; `None` inside a list.
pub(super) fn keys(patch: &Patch) -> Option<Vec<&str>> {
    patch
        .path
        .iter()
        .map(|(_, prop)| match prop {
            Prop::Map(key) => Some(key.as_str()),
            Prop::Seq(_) => None,
        })
        .collect()
}

/// The key of the patched object that a patch is about, with its new value (`None`: deleted).
pub(super) enum Put<'a> {
    /// The key has this value.
    Value(&'a str, &'a Value<'static>),
    /// The key is gone.
    Gone(&'a str),
    /// Something happened under this key that the patch does not tell: a counter moved, or there is
    /// a conflict, which automerge 0.12 also reports where the value has changed.
    Unclear(&'a str),
    /// Nothing that a map of keys shows.
    Nothing,
}

impl<'a> Put<'a> {
    /// The key.
    pub(super) const fn key(&self) -> Option<&'a str> {
        match self {
            Self::Value(key, _) | Self::Gone(key) | Self::Unclear(key) => Some(key),
            Self::Nothing => None,
        }
    }
}

/// What the document has under a key of the patched object.
pub(super) fn value<'a>(doc: &'a Automerge, patch: &Patch, key: &str) -> Option<Value<'a>> {
    doc.get(&patch.obj, key).ok().flatten().map(|(value, _)| value)
}

/// What a patch does to a map.
pub(super) fn map_put(patch: &Patch) -> Put<'_> {
    use automerge::PatchAction as A;
    match &patch.action {
        A::PutMap { key, value, .. } => Put::Value(key, &value.0),
        A::DeleteMap { key } => Put::Gone(key),
        A::Increment { prop: Prop::Map(key), .. } | A::Conflict { prop: Prop::Map(key) } => {
            Put::Unclear(key)
        }
        A::Increment { .. }
        | A::PutSeq { .. }
        | A::Insert { .. }
        | A::SpliceText { .. }
        | A::Conflict { .. }
        | A::DeleteSeq { .. }
        | A::Mark { .. } => Put::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_one_name() {
        for index in [0, 9, 10, 63, 255, 256, 4_095, u32::MAX] {
            assert!(is_bucket_name(&bucket_name(index), index));
            assert!(!is_bucket_name(&bucket_name(index), index ^ 1));
        }
        for other in ["", "a", "0A", "+a", "00a", "a ", "100000000a"] {
            assert!(!is_bucket_name(other, 10), "{other}");
        }
    }
}
