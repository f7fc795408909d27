//! What an operator has ordered that must outlive a crash: spaces that are deleted, users who are being
//! forgotten. Knows nothing of how either is done.

use ::sled::IVec;
use syncline_engine::clock::Timestamp;
use syncline_engine::storage::{Deletion, StoreError};

use super::log::Log;
use super::tree::Values;
use super::{keys, value};

fn encode(deletion: Deletion) -> [u8; 9] {
    let mut bytes = [u8::from(deletion.emptied); 9];
    bytes[..8].copy_from_slice(&deletion.at.0.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Deletion> {
    let (at, emptied) = bytes.split_first_chunk::<8>()?;
    let emptied = match emptied {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    Some(Deletion { at: Timestamp(u64::from_be_bytes(*at)), emptied })
}

fn damaged() -> StoreError {
    StoreError::Failed("what is noted of a deleted space is damaged".to_owned())
}

impl Log {
    /// See [`syncline_engine::storage::LogStore::deletion`].
    pub(super) fn deletion(&self, space: &str) -> Result<Option<Deletion>, StoreError> {
        self.check_usable()?;
        let found = self.meta(&keys::deletion(space))?;
        found.map(|found| decode(&found).ok_or_else(damaged)).transpose()
    }

    /// See [`syncline_engine::storage::LogStore::set_deletion`].
    pub(super) fn set_deletion(
        &self,
        space: &str,
        deletion: Option<Deletion>,
    ) -> Result<(), StoreError> {
        self.set_order(
            &keys::deletion(space),
            deletion.map(encode).as_ref().map(<[u8; 9]>::as_slice),
        )
    }

    /// All deletions that are noted.
    pub(super) fn deletions(&self) -> Result<Vec<(String, Deletion)>, StoreError> {
        let names = self.ordered(keys::DELETIONS)?;
        let all = names.into_iter().map(|space| {
            let deletion = self.deletion(&space)?.ok_or_else(damaged)?;
            Ok((space, deletion))
        });
        all.collect()
    }

    /// Notes durably that a user is being forgotten, or that this is over.
    pub(super) fn set_forgetting(&self, user: &str, is_so: bool) -> Result<(), StoreError> {
        self.set_order(&keys::forgetting(user), is_so.then_some(&[]))
    }

    /// All users who are being forgotten.
    pub(super) fn forgetting(&self) -> Result<Vec<String>, StoreError> {
        self.ordered(keys::FORGETTING)
    }

    fn set_order(&self, key: &[u8], content: Option<&[u8]>) -> Result<(), StoreError> {
        self.check_usable()?;
        let _writing = self.writing()?;
        let mut values = Values::default();
        if let Some(content) = content {
            values.insert(key.to_vec(), value::seal(key, content));
        } else {
            let found = self.tree.get(key).map_err(|error| self.fail(error.to_string()))?;
            let Some(found) = found else { return Ok(()) };
            values.remove(&IVec::from(key), &found);
        }
        self.commit(values)
    }

    /// The names after a prefix.
    fn ordered(&self, prefix: &[u8]) -> Result<Vec<String>, StoreError> {
        self.check_usable()?;
        let _writing = self.writing()?;
        let mut names = Vec::new();
        for item in self.tree.walk(prefix, &[prefix, &[0xff]].concat()) {
            let (key, _) = item.map_err(|error| self.fail(error.to_string()))?;
            let name = key.strip_prefix(prefix).and_then(|name| std::str::from_utf8(name).ok());
            names.extend(name.map(str::to_owned));
        }
        Ok(names)
    }
}
