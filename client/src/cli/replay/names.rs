//! From the ids of a file to addresses and ULIDs and back. Deterministic, so that playing a file twice
//! makes the same items.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};
use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{Address, Facet, NameError, Ulid};
use syncline_engine::limits::NAME_BYTES_MAX;

use super::oracle::Oracle;

/// The ULID of an item: its time, and the head of the SHA-256 of its id.
pub(crate) fn ulid(id: &str, created: u64) -> Ulid {
    let digest = Sha256::digest(id);
    let random = digest.iter().take(10).fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    Ulid::new(Timestamp(created), random)
}

/// A space named after a file: its stem, with `-` for what a name may not hold.
pub(crate) fn space_of(file: &Path) -> String {
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-:@".contains(c);
    let space: String =
        stem.chars().map(|c| if allowed(c) { c } else { '-' }).take(NAME_BYTES_MAX).collect();
    if space.is_empty() { "replay".to_owned() } else { space }
}

/// The names of all items of a file.
#[derive(Debug)]
pub(crate) struct Names {
    space: String,
    ulids: BTreeMap<String, Ulid>,
    ids: BTreeMap<Ulid, String>,
}

impl Names {
    /// Names every item that the oracle knows.
    pub(crate) fn new(space: &str, oracle: &Oracle) -> Result<Self, NameError> {
        Address::new(space, "x", Facet::Post)?;
        let ulids: BTreeMap<String, Ulid> =
            oracle.items().iter().map(|(id, item)| (id.clone(), ulid(id, item.created))).collect();
        let ids = ulids.iter().map(|(id, ulid)| (*ulid, id.clone())).collect();
        Ok(Self { space: space.to_owned(), ulids, ids })
    }

    pub(crate) fn space(&self) -> &str {
        &self.space
    }

    /// The ULID of an item; of one that the oracle does not know, an id that nothing has.
    pub(crate) fn ulid(&self, id: &str) -> Ulid {
        self.ulids.get(id).copied().unwrap_or_else(|| ulid(id, 0))
    }

    /// The item's id in the file; `None` if no item of the file has that ULID.
    pub(crate) fn id(&self, ulid: Ulid) -> Option<&str> {
        self.ids.get(&ulid).map(String::as_str)
    }

    /// The address of one part of a post.
    ///
    /// # Errors
    /// None that the constructor has not ruled out.
    pub(crate) fn address(&self, post: &str, facet: Facet) -> Result<Address, NameError> {
        Address::new(&self.space, &self.ulid(post).to_string(), facet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_items_name_is_its_time_and_its_digest_and_stays_the_same() {
        let name = ulid("cl-q1", 1_517_948_390_957);
        assert_eq!(name.timestamp(), Timestamp(1_517_948_390_957));
        assert_eq!(name, ulid("cl-q1", 1_517_948_390_957));
        assert_ne!(name, ulid("cl-q2", 1_517_948_390_957));
        let digest = hex::encode(Sha256::digest("cl-q1"));
        assert_eq!(hex::encode(&name.0[6..]), digest[..20]);
    }

    #[test]
    fn a_space_is_named_after_the_file() {
        assert_eq!(space_of(Path::new("/data/large-likes.jsonl.gz")), "large-likes");
        assert_eq!(space_of(Path::new("my talk.jsonl")), "my-talk");
        assert_eq!(space_of(Path::new(".jsonl")), "replay");
    }
}
