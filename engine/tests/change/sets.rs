//! Change sets: the same changes are the same bytes, and other bytes are no set.

use bytes::Bytes;
use proptest::prelude::*;
use syncline_engine::change::{ChangeSet, ReadError, SetError};
use syncline_engine::codes::Code;
use syncline_engine::ids::ChangeHash;

use crate::chunk::{Draft, unsigned};
use crate::editing::{changes_of, steps};

/// A change without meaning that follows `deps`.
fn change(seq: u64, deps: &[&Bytes]) -> Bytes {
    let mut deps: Vec<_> = deps.iter().map(|dep| hash(dep).0).collect();
    deps.sort_unstable();
    Draft { seq, deps, ..Draft::new() }.bytes().into()
}

fn hash(change: &Bytes) -> ChangeHash {
    syncline_engine::change::read(change).expect("a plain change").hash
}

fn set(changes: &[&Bytes]) -> ChangeSet {
    ChangeSet::from_changes(changes.iter().copied().cloned()).expect("plain changes")
}

/// Encodes as a set does, but whatever it is given.
fn encoded(changes: &[&Bytes]) -> Vec<u8> {
    let mut out = b"SLC1".to_vec();
    out.extend(unsigned(changes.len() as u64));
    for change in changes {
        out.extend(unsigned(change.len() as u64));
        out.extend_from_slice(change);
    }
    out
}

/// Magic and count; then of each change its length and its bytes.
const GOLDEN: &str = concat!(
    "534c433104",
    "36",
    "856f4a83134fa171012c001005050505050505050505050505050505010a7f00000515033401420256027002",
    "7f016b017f017f027f00",
    "56",
    "856f4a836d8554b4014c01134fa17120938cd381c348bde2a908eb9c695be16f6f0ac22ebbb3cb3cd28e9610",
    "05050505050505050505050505050505030a7f000005150334014202560270027f016b017f017f027f00",
    "56",
    "856f4a83b7035d52014c01134fa17120938cd381c348bde2a908eb9c695be16f6f0ac22ebbb3cb3cd28e9610",
    "05050505050505050505050505050505020a7f000005150334014202560270027f016b017f017f027f00",
    "76",
    "856f4a83a74abc61016c026d8554b4e6d16ed48eced68bcbda2282c2b059082be13069998923ad33346494b7",
    "035d524423a1d18e9d8c99cb3b4cb0540300171de78f4d321ef4e27b6487e010050505050505050505050505",
    "05050505040a7f000005150334014202560270027f016b017f017f027f00",
);

#[test]
fn a_small_set_has_these_bytes_for_ever() {
    let first = change(1, &[]);
    let left = change(2, &[&first]);
    let right = change(3, &[&first]);
    let joined = change(4, &[&left, &right]);
    let set = set(&[&joined, &right, &left, &first, &right]);
    assert_eq!(hex::encode(set.encode()), GOLDEN);
    assert_eq!(
        hex::encode(set.digest()),
        "1558fe85bce212bdc74a858903d6313efcbd7e4e63943e1b34e0735b25deb125"
    );
    assert_eq!(ChangeSet::decode(&hex::decode(GOLDEN).expect("hex")), Ok(set));
    assert_eq!(ChangeSet::default().encode(), b"SLC1\0"[..]);
}

#[test]
fn deps_come_first_and_then_the_smallest_hash() {
    let first = change(1, &[]);
    let others: Vec<_> = (2..12).map(|seq| change(seq, &[&first])).collect();
    let outside = change(20, &[&change(19, &[])]);
    let all: Vec<_> = others.iter().rev().chain([&outside, &first]).collect();
    let set = set(&all);
    let order: Vec<_> = set.iter().map(|(header, _)| header.hash).collect();
    let place = |change| order.iter().position(|known| *known == hash(change));
    assert!(others.iter().all(|other| place(other) > place(&first)));
    let mut sorted: Vec<_> =
        order.iter().filter(|h| others.iter().any(|o| hash(o) == **h)).collect();
    assert!(sorted.is_sorted());
    sorted.dedup();
    assert_eq!(sorted.len(), others.len());
    assert_eq!((set.len(), set.is_empty()), (12, false));
    assert!(set.iter().all(|(header, bytes)| header.hash == hash(bytes)));
}

#[test]
fn only_the_one_order_is_read() {
    let first = change(1, &[]);
    let second = change(2, &[&first]);
    let whole = encoded(&[&first, &second]);
    assert_eq!(ChangeSet::decode(&whole), Ok(set(&[&first, &second])));
    assert_eq!(ChangeSet::decode(&encoded(&[&second, &first])), Err(SetError::Order));
    assert_eq!(ChangeSet::decode(&encoded(&[&first, &first])), Err(SetError::Order));
}

#[test]
fn what_is_no_set_is_refused() {
    let one = change(1, &[]);
    let whole = encoded(&[&one]);
    assert_eq!(ChangeSet::decode(b""), Err(SetError::Magic));
    assert_eq!(ChangeSet::decode(b"SLC2\0"), Err(SetError::Magic));
    assert_eq!(ChangeSet::decode(b"SLC1"), Err(SetError::Malformed));
    assert_eq!(ChangeSet::decode(b"SLC1\x80\x00"), Err(SetError::Malformed));
    let trailing = [&whole[..], &[0]].concat();
    assert_eq!(ChangeSet::decode(&trailing), Err(SetError::TrailingBytes(1)));
    for end in 0..whole.len() {
        assert!(ChangeSet::decode(&whole[..end]).is_err());
    }
    let mut damaged = whole;
    damaged[20] ^= 1;
    let error = SetError::Change { index: 0, error: ReadError::Checksum };
    assert_eq!(ChangeSet::decode(&damaged), Err(error));
    assert_eq!(error.code(), Code::BadChange);
}

#[test]
fn a_set_that_announces_too_much_is_refused_at_once() {
    let count = [&b"SLC1"[..], &unsigned(u64::MAX)].concat();
    assert_eq!(ChangeSet::decode(&count), Err(SetError::TooManyChanges));
    assert_eq!(SetError::TooManyChanges.code(), Code::TooManyChanges);
    let count = [&b"SLC1"[..], &unsigned(1 << 20)].concat();
    assert_eq!(ChangeSet::decode(&count), Err(SetError::Malformed));
    let length = [&b"SLC1"[..], &[1], &unsigned(u64::MAX)].concat();
    assert_eq!(ChangeSet::decode(&length), Err(SetError::Malformed));
    let large = vec![0; (16 << 20) + 1];
    assert_eq!(ChangeSet::decode(&large), Err(SetError::TooLarge));
    assert_eq!(SetError::TooLarge.code(), Code::ChangeTooLarge);
}

#[test]
fn changes_that_are_too_much_for_one_set_are_no_set() {
    let large = |seq| {
        let text = vec![b'x'; 60_000];
        Draft { seq, ..Draft::new() }
            .column(crate::chunk::VALUE_KIND, crate::chunk::one(unsigned(60_000 << 4 | 6)))
            .column(crate::chunk::VALUE, text)
            .bytes()
            .into()
    };
    assert_eq!(ChangeSet::from_changes((1..=300).map(large)), Err(SetError::TooLarge));
    let fits = ChangeSet::from_changes((1..=279).map(large)).expect("below the limit");
    assert_eq!(ChangeSet::decode(&fits.encode()), Ok(fits));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_order_and_repetition_of_the_same_changes_is_the_same_set(
        (all, shuffled) in steps()
            .prop_map(|steps| changes_of(&steps).into_iter().map(Bytes::from).collect::<Vec<_>>())
            .prop_flat_map(|all| {
                let twice = [&all[..], &all[..all.len() / 2]].concat();
                (Just(all), Just(twice).prop_shuffle())
            })
    ) {
        let set = ChangeSet::from_changes(all.clone()).expect("honest");
        let other = ChangeSet::from_changes(shuffled).expect("honest");
        prop_assert_eq!(set.encode(), other.encode());
        prop_assert_eq!(set.digest(), other.digest());
        let decoded = ChangeSet::decode(&set.encode());
        prop_assert_eq!(decoded.as_ref(), Ok(&set));
        prop_assert_eq!(set.len(), all.len());
        let mut seen = std::collections::BTreeSet::new();
        for (header, _) in set.iter() {
            prop_assert!(header.deps.iter().all(|dep| seen.contains(dep)));
            seen.insert(header.hash);
        }
    }

    #[test]
    fn noise_after_the_magic_is_no_set(noise in proptest::collection::vec(any::<u8>(), 2..200)) {
        prop_assert!(ChangeSet::decode(&[&b"SLC1"[..], &noise].concat()).is_err());
    }
}
