//! The keys of the one tree, and nothing about the values.
//!
//! A key is a kind byte, then for what belongs to a document `space NUL id NUL facet`, then numbers
//! big endian. Names have no NUL and the facet is one byte, so no document's prefix is a prefix of
//! another's, a range scan of one document is in order, and documents sort as addresses do.

use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{Address, Facet};
use syncline_engine::summary::Place;

/// The store's own values: the digest's secret, the ownership term.
const META: u8 = b'm';
/// One value per document: its epoch and its snapshot in outline.
const DOCUMENT: u8 = b'd';
/// The parts of records: first seq (8), part (4).
const RECORD: u8 = b'r';
/// The parts of snapshots: generation (8), part (4).
const SNAPSHOT: u8 = b's';
/// The summaries of posts, one value for each: space, NUL, id.
const POST: u8 = b'p';
/// Where posts are listed, by activity: space, NUL, complement of the time (8), id.
const LISTED: u8 = b'a';
/// Spaces of which all documents are summarised.
const SUMMARISED: u8 = b'u';
/// Damaged values, set aside: digest of the value (8), then the key it was found under.
const QUARANTINE: u8 = b'q';

pub(super) const DIGEST_KEY: &[u8] = &[META, b'k'];
pub(super) const TERM: &[u8] = &[META, b't'];
/// Spaces that were deleted: their names follow.
pub(super) const DELETIONS: &[u8] = &[META, b'd'];
/// Users who are being forgotten: their names follow.
pub(super) const FORGETTING: &[u8] = &[META, b'f'];
/// Bytes of values that were removed since the layer that holds this was begun.
pub(super) const REMOVED: &[u8] = &[META, b'r'];

const fn facet_byte(facet: Facet) -> u8 {
    match facet {
        Facet::Post => 1,
        Facet::Likes => 2,
        Facet::Comments => 3,
        Facet::Json => 4,
        Facet::Stream => 5,
    }
}

fn of_document(kind: u8, address: &Address) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(address.space().as_bytes());
    key.push(0);
    key.extend_from_slice(address.id().as_bytes());
    key.push(0);
    key.push(facet_byte(address.facet()));
    key
}

fn part_of(kind: u8, address: &Address, number: u64, part: u32) -> Vec<u8> {
    let mut key = of_document(kind, address);
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(&part.to_be_bytes());
    key
}

pub(super) fn document(address: &Address) -> Vec<u8> {
    of_document(DOCUMENT, address)
}

/// Below all keys.
pub(super) const FIRST: &[u8] = &[];
/// Above all keys.
pub(super) const LAST: &[u8] = &[0xff];

/// Below all documents.
pub(super) const DOCUMENTS: &[u8] = &[DOCUMENT];
/// Above all documents.
pub(super) const DOCUMENTS_END: &[u8] = &[DOCUMENT + 1];

/// The address in a document's key; `None` if it is not such a key.
pub(super) fn address_of_document(key: &[u8]) -> Option<Address> {
    let mut parts = key.strip_prefix(DOCUMENTS)?.splitn(3, |byte| *byte == 0);
    let space = std::str::from_utf8(parts.next()?).ok()?;
    let id = std::str::from_utf8(parts.next()?).ok()?;
    let facet = parts.next()?;
    let facet = Facet::ALL.into_iter().find(|known| facet == [facet_byte(*known)])?;
    Address::new(space, id, facet).ok()
}

pub(super) fn record_part(address: &Address, first_seq: u64, part: u32) -> Vec<u8> {
    part_of(RECORD, address, first_seq, part)
}

pub(super) fn snapshot_part(address: &Address, generation: u64, part: u32) -> Vec<u8> {
    part_of(SNAPSHOT, address, generation, part)
}

/// The document and the snapshot's generation in the key of a part of a snapshot.
pub(super) fn snapshot_of(key: &[u8]) -> Option<(Address, u64)> {
    let (generation, _) = key.strip_prefix(&[SNAPSHOT]).and_then(numbers)?;
    let mut document = vec![DOCUMENT];
    document.extend_from_slice(&key[1..key.len() - 12]);
    Some((address_of_document(&document)?, generation))
}

/// The document in the key of what belongs to one; `None` for the store's own values and damage.
pub(super) fn address_of(key: &[u8]) -> Option<Address> {
    let (kind, rest) = key.split_first()?;
    let numbers = match *kind {
        DOCUMENT => 0,
        RECORD | SNAPSHOT => 12,
        _ => return None,
    };
    let mut document = vec![DOCUMENT];
    document.extend_from_slice(&rest[..rest.len().checked_sub(numbers)?]);
    address_of_document(&document)
}

/// The key under which a value that was set aside had been found; `None` if this is no such key.
pub(super) fn set_aside(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(&[QUARANTINE])?.get(8..)
}

/// For each kind of values, the range of keys of what belongs to a space: of documents, and of whatever
/// else has keys that begin with the name of its space.
pub(super) fn of_space_all(space: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let space = space.as_bytes().to_vec();
    (0..=u8::MAX).filter(|kind| ![META, QUARANTINE].contains(kind)).map(move |kind| {
        let from = [&[kind], &space[..], &[0]].concat();
        let to = [&[kind], &space[..], &[1]].concat();
        (from, to)
    })
}

/// The range of keys of the documents of a space.
pub(super) fn documents_of_space(space: &str) -> (Vec<u8>, Vec<u8>) {
    let space = space.as_bytes();
    ([&[DOCUMENT], space, &[0]].concat(), [&[DOCUMENT], space, &[1]].concat())
}

/// For each kind of values, the range of keys of what belongs to a document.
pub(super) fn of_document_all(address: &Address) -> [(Vec<u8>, Vec<u8>); 3] {
    [DOCUMENT, RECORD, SNAPSHOT].map(|kind| {
        let from = of_document(kind, address);
        let mut to = from.clone();
        // No number of a part begins like this.
        to.extend_from_slice(&[0xff; 13]);
        (from, to)
    })
}

/// Every value that was set aside.
pub(super) const SET_ASIDE: (&[u8], &[u8]) = (&[QUARANTINE], &[QUARANTINE + 1]);

/// The two numbers at the end of a part's key; `None` if it is too short to have them.
pub(super) fn numbers(key: &[u8]) -> Option<(u64, u32)> {
    let (rest, part) = key.split_last_chunk::<4>()?;
    let (_, number) = rest.split_last_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), u32::from_be_bytes(*part)))
}

fn of_space(kind: u8, space: &str) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(space.as_bytes());
    key.push(0);
    key
}

/// The summary of a post.
pub(super) fn summary(space: &str, id: &str) -> Vec<u8> {
    let mut key = of_space(POST, space);
    key.extend_from_slice(id.as_bytes());
    key
}

/// Where a post is listed, or where the list of a space begins.
pub(super) fn listed(space: &str, place: Option<&Place>) -> Vec<u8> {
    let mut key = of_space(LISTED, space);
    if let Some(place) = place {
        key.extend_from_slice(&(!place.active().0).to_be_bytes());
        key.extend_from_slice(place.id().as_bytes());
    }
    key
}

/// Above all that is listed of a space.
pub(super) fn listed_end(space: &str) -> Vec<u8> {
    let mut key = of_space(LISTED, space);
    // Names have no NUL, so nothing else lies between.
    if let Some(last) = key.last_mut() {
        *last = 1;
    }
    key
}

/// The place that a key says; `None` if it is no such key.
pub(super) fn place_of_listed(space: &str, key: &[u8]) -> Option<Place> {
    let rest = key.strip_prefix(&listed(space, None)[..])?;
    let (time, id) = rest.split_first_chunk::<8>()?;
    let id = std::str::from_utf8(id).ok()?;
    Some(Place::new(Timestamp(!u64::from_be_bytes(*time)), id.to_owned()))
}

/// That a space was deleted.
pub(super) fn deletion(space: &str) -> Vec<u8> {
    [DELETIONS, space.as_bytes()].concat()
}

/// That a user is being forgotten.
pub(super) fn forgetting(user: &str) -> Vec<u8> {
    [FORGETTING, user.as_bytes()].concat()
}

/// That all documents of a space are summarised.
pub(super) fn summarised(space: &str) -> Vec<u8> {
    of_space(SUMMARISED, space)
}

pub(super) fn quarantined(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut quarantined = vec![QUARANTINE];
    quarantined.extend_from_slice(&blake3::hash(value).as_bytes()[..8]);
    quarantined.extend_from_slice(key);
    quarantined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_sort_by_key_as_by_address_and_no_key_is_a_prefix_of_another() {
        let mut addresses = Vec::new();
        for space in ["a", "a-b", "aa", "a:"] {
            for id in ["x", "x.y", "xx"] {
                for facet in Facet::ALL {
                    addresses.push(Address::new(space, id, facet).unwrap());
                }
            }
        }
        addresses.sort();
        let keys: Vec<Vec<u8>> = addresses.iter().map(document).collect();
        assert!(keys.is_sorted_by(|a, b| a < b && !b.starts_with(a)));
        for (address, key) in addresses.iter().zip(&keys) {
            assert_eq!(address_of_document(key).as_ref(), Some(address));
        }
    }

    #[test]
    fn posts_are_listed_by_key_as_by_place_and_apart_from_other_spaces() {
        let place = |at, id: &str| Place::new(Timestamp(at), id.to_owned());
        let mut places = [place(5, "b"), place(5, "a"), place(1_000, "c"), place(0, "z")];
        places.sort();
        let keys: Vec<Vec<u8>> = places.iter().map(|place| listed("a", Some(place))).collect();
        assert!(keys.is_sorted());
        for (place, key) in places.iter().zip(&keys) {
            assert_eq!(place_of_listed("a", key).as_ref(), Some(place));
            assert!(*key > listed("a", None) && *key < listed_end("a"));
            assert!(!(listed("aa", None)..listed_end("aa")).contains(key));
        }
    }

    #[test]
    fn the_parts_of_records_sort_by_seq_then_part() {
        let address = Address::new("a", "b", Facet::Post).unwrap();
        let keys = [(1, 0), (1, 1), (1, 256), (2, 0), (256, 0), (u64::MAX, u32::MAX)];
        let sorted: Vec<_> = keys.map(|(seq, part)| record_part(&address, seq, part)).into();
        assert!(sorted.is_sorted());
        assert_eq!(sorted.iter().map(|key| numbers(key).unwrap()).collect::<Vec<_>>(), keys);
    }
}
