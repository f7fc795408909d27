//! The layers of a store as one ordered tree: sled, which takes all writes; while they are merged, an
//! earlier sled that nobody writes to any more; and below them the base. A value in an upper layer
//! hides those below; an empty one says that there is none. It knows keys and values and no document.

use std::io;
use std::iter::Peekable;
use std::sync::atomic::{AtomicU64, Ordering};

use ::sled::IVec;

use super::base::Base;
use super::{keys, value};

/// A value of the tree could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum TreeError {
    /// Some bytes are not what was written.
    #[error("{0}")]
    Damaged(String),
    /// The device or sled failed.
    #[error("{0}")]
    Failed(String),
}

impl From<::sled::Error> for TreeError {
    fn from(error: ::sled::Error) -> Self {
        match error {
            ::sled::Error::Corruption { .. } => Self::Damaged(error.to_string()),
            ::sled::Error::CollectionNotFound(_)
            | ::sled::Error::Unsupported(_)
            | ::sled::Error::ReportableBug(_)
            | ::sled::Error::Io(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<io::Error> for TreeError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Damaged("the base file ends early".to_owned());
        }
        Self::Failed(error.to_string())
    }
}

/// Puts and removals that go into the tree together.
#[derive(Debug, Default)]
pub(super) struct Values {
    changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    removed_bytes: u64,
}

impl Values {
    pub(super) fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push((key, Some(value)));
    }

    /// Removes a value that was found in the tree.
    pub(super) fn remove(&mut self, key: &IVec, value: &IVec) {
        self.removed_bytes += (key.len() + value.len()) as u64;
        self.changes.push((key.to_vec(), None));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// The layers.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) active: ::sled::Db,
    pub(super) frozen: Option<::sled::Db>,
    pub(super) base: Option<Base>,
    /// Bytes of values that were removed since the active layer was begun.
    removed: AtomicU64,
}

impl Tree {
    pub(super) fn new(
        active: ::sled::Db,
        frozen: Option<::sled::Db>,
        base: Option<Base>,
    ) -> Result<Self, TreeError> {
        let removed = match active.get(keys::REMOVED)? {
            None => 0,
            Some(found) => value::unseal(keys::REMOVED, &found)
                .and_then(|content| Some(u64::from_be_bytes(content.try_into().ok()?)))
                .unwrap_or(0),
        };
        Ok(Self { active, frozen, base, removed: AtomicU64::new(removed) })
    }

    /// Puts a new layer over the others, which nobody may write to from here on.
    pub(super) fn freeze(&mut self, fresh: ::sled::Db) {
        self.frozen = Some(std::mem::replace(&mut self.active, fresh));
        self.removed = AtomicU64::new(0);
    }

    /// Puts a base in place of the layers below the active one.
    pub(super) fn settle(&mut self, base: Base) -> (Option<::sled::Db>, Option<Base>) {
        (self.frozen.take(), self.base.replace(base))
    }

    pub(super) fn removed_bytes(&self) -> u64 {
        self.removed.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>, TreeError> {
        let mut found = self.active.get(key)?;
        if let (None, Some(frozen)) = (&found, &self.frozen) {
            found = frozen.get(key)?;
        }
        if let (None, Some(base)) = (&found, &self.base) {
            found = base.get(key)?;
        }
        Ok(found.filter(|value| !value.is_empty()))
    }

    /// Puts values into the active layer, all of them or none. They are not on disk yet.
    pub(super) fn apply(&self, values: Values) -> Result<(), TreeError> {
        let hides = self.frozen.is_some() || self.base.is_some();
        let mut batch = ::sled::Batch::default();
        for (key, value) in values.changes {
            match value {
                Some(value) => batch.insert(key, value),
                None if hides => batch.insert(key, &[]),
                None => batch.remove(key),
            }
        }
        if values.removed_bytes > 0 {
            let removed = self.removed.fetch_add(values.removed_bytes, Ordering::Relaxed)
                + values.removed_bytes;
            batch.insert(keys::REMOVED, value::seal(keys::REMOVED, &removed.to_be_bytes()));
        }
        Ok(self.active.apply_batch(batch)?)
    }

    /// The values from `lo` on and below `hi`, ascending.
    pub(super) fn walk(&self, lo: &[u8], hi: &[u8]) -> Walk<'_> {
        self.walk_all(lo, hi, false)
    }

    /// The same, descending.
    pub(super) fn walk_back(&self, lo: &[u8], hi: &[u8]) -> Walk<'_> {
        self.walk_all(lo, hi, true)
    }

    fn walk_all<'a>(&'a self, lo: &[u8], hi: &[u8], back: bool) -> Walk<'a> {
        let mut layers: Vec<Layer<'a>> = vec![sled_layer(&self.active, lo, hi, back)];
        layers.extend(self.lower(lo, hi, back));
        Walk { layers, back, over: false }
    }

    /// The values of the layers below the active one, which never change.
    pub(super) fn walk_lower(&self, lo: &[u8], hi: &[u8], back: bool) -> Walk<'_> {
        Walk { layers: self.lower(lo, hi, back), back, over: false }
    }

    /// One value of the layers below the active one.
    pub(super) fn get_lower(&self, key: &[u8]) -> Result<Option<IVec>, TreeError> {
        let frozen = self.frozen.as_ref().map(|frozen| frozen.get(key)).transpose()?.flatten();
        let found = match (frozen, &self.base) {
            (None, Some(base)) => base.get(key)?,
            (found, _) => found,
        };
        Ok(found.filter(|value| !value.is_empty()))
    }

    fn lower<'a>(&'a self, lo: &[u8], hi: &[u8], back: bool) -> Vec<Layer<'a>> {
        let mut layers: Vec<Layer<'a>> = Vec::new();
        if let Some(frozen) = &self.frozen {
            layers.push(sled_layer(frozen, lo, hi, back));
        }
        if let Some(base) = &self.base {
            let walk = if back { base.walk_back(lo, hi) } else { base.walk(lo, hi) };
            let walk: Box<dyn Iterator<Item = Found> + 'a> = Box::new(walk);
            layers.push(walk.peekable());
        }
        layers
    }
}

type Found = Result<(IVec, IVec), TreeError>;
type Layer<'a> = Peekable<Box<dyn Iterator<Item = Found> + 'a>>;

fn sled_layer<'a>(db: &'a ::sled::Db, lo: &[u8], hi: &[u8], back: bool) -> Layer<'a> {
    // sled panics on a range that ends before it begins.
    let hi = hi.max(lo);
    let range = db.range(lo.to_vec()..hi.to_vec()).map(|item| item.map_err(TreeError::from));
    let items: Box<dyn Iterator<Item = Found> + 'a> =
        if back { Box::new(range.rev()) } else { Box::new(range) };
    items.peekable()
}

/// Values in the order of their keys, the uppermost of each.
pub(super) struct Walk<'a> {
    layers: Vec<Layer<'a>>,
    back: bool,
    over: bool,
}

impl Walk<'_> {
    /// The key that comes next, whatever layers have it.
    fn next_key(&mut self) -> Result<Option<IVec>, ()> {
        let mut next: Option<IVec> = None;
        for layer in &mut self.layers {
            match layer.peek() {
                None => {}
                Some(Err(_)) => return Err(()),
                Some(Ok((key, _))) => {
                    let is_nearer = next
                        .as_ref()
                        .is_none_or(|next| if self.back { key > next } else { key < next });
                    if is_nearer {
                        next = Some(key.clone());
                    }
                }
            }
        }
        Ok(next)
    }

    /// The failure of the first layer that has one.
    fn failure(&mut self) -> Option<Found> {
        self.over = true;
        self.layers.iter_mut().find_map(|layer| layer.next_if(Result::is_err))
    }
}

impl Iterator for Walk<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if self.over {
            return None;
        }
        loop {
            let Ok(next) = self.next_key() else { return self.failure() };
            let next = next?;
            let mut found = None;
            for layer in &mut self.layers {
                let item = layer.next_if(|item| item.as_ref().is_ok_and(|(key, _)| *key == next));
                if let (None, Some(Ok((_, value)))) = (&found, item) {
                    found = Some(value);
                }
            }
            match found {
                Some(value) if !value.is_empty() => return Some(Ok((next, value))),
                _ => {}
            }
        }
    }
}
