//! The bytes of genesis never move: a replica that made others would lose its whole subtree.

use super::*;
use crate::limits::BUCKETS;

const VECTORS: &str = include_str!("../../../vectors/genesis.hex");

fn line(address: &Address) -> String {
    format!("{address} {}", hex::encode(genesis::change(address).raw_bytes()))
}

#[test]
fn genesis_is_byte_for_byte_what_it_always_was() {
    let mut facets = Vec::new();
    for expected in VECTORS.lines() {
        let address: Address = expected.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(line(&address), expected, "genesis of {address} moved");
        facets.push(address.facet());
    }
    assert!(Facet::DOCUMENTS.iter().all(|facet| facets.contains(facet)));
    assert!(VECTORS.contains("/rules/json "), "rules begin with maps of their own");
}

#[test]
fn the_recorded_bytes_load_as_the_document_that_genesis_makes() {
    for line in VECTORS.lines() {
        let (address, bytes) = line.split_once(' ').unwrap();
        let address: Address = address.parse().unwrap();
        let recorded = Change::try_from(hex::decode(bytes).unwrap().as_slice()).unwrap();
        let made = genesis::document(&address, POINTS);
        assert_eq!(made.get_heads(), vec![recorded.hash()]);
        let loaded = genesis::document_from(recorded, POINTS);
        let facet = address.facet();
        assert_eq!(View::read(facet, &loaded), View::read(facet, &made));
        assert_eq!(Automerge::load(&made.save()).unwrap().get_heads(), made.get_heads());
    }
}

/// A document of each kind that has a genesis of its own.
fn every_kind(space: &str, id: &str) -> Vec<Address> {
    let facets = Facet::DOCUMENTS.into_iter().map(|facet| Address::new(space, id, facet).unwrap());
    facets.chain([Address::rules_of(space).unwrap()]).collect()
}

#[test]
fn a_change_cut_from_the_template_is_the_one_that_automerge_makes() {
    let name = "n".repeat(26);
    for space in ["s".to_owned(), "s".repeat(64)] {
        for address in every_kind(&space, &name) {
            let (cut, made) =
                (genesis::change(&address), genesis::change_with_buckets(&address, BUCKETS));
            assert_eq!(cut.raw_bytes(), made.raw_bytes());
            assert_eq!((cut.hash(), cut.max_op()), (made.hash(), made.max_op()));
        }
    }
}

#[test]
fn the_view_of_genesis_is_what_its_document_shows() {
    for address in every_kind("town", "one") {
        for encoding in [POINTS, UTF16] {
            let read = View::read(address.facet(), &genesis::document(&address, encoding));
            assert_eq!(View::of_genesis(&address, encoding), read);
        }
    }
}

#[test]
fn the_genesis_of_one_document_fits_no_other() {
    let one: Address = "town/one/likes".parse().unwrap();
    let two: Address = "town/two/likes".parse().unwrap();
    assert_ne!(genesis::change(&one).hash(), genesis::change(&two).hash());
    assert_eq!(genesis::change(&one).message(), Some("syncline/1 town/one/likes"));
    let larger = genesis::change_with_buckets(&one, 1_024);
    assert_ne!(larger.hash(), genesis::change(&one).hash());
}

#[test]
fn a_change_of_genesis_stays_within_what_the_gate_lets_through() {
    for facet in Facet::DOCUMENTS {
        let address = Address::new(&"s".repeat(64), &"d".repeat(64), facet).unwrap();
        let change = genesis::change(&address);
        assert!(change.raw_bytes().len() <= crate::limits::CHANGE_BYTES_MAX);
        assert!(change.len() <= crate::limits::CHANGE_OPS_MAX);
        assert_eq!((change.seq(), change.timestamp(), change.deps().len()), (1, 0, 0));
    }
}

#[test]
fn the_bucket_of_a_key_is_fnv_1a() {
    // Vectors of the FNV reference: "" and "foobar".
    assert_eq!(u64::from(bucket("", 1 << 31)), 0xcbf2_9ce4_8422_2325 % (1 << 31));
    assert_eq!(u64::from(bucket("foobar", 64)), 0x8594_4171_f739_67e8 % 64);
    assert_eq!(
        (bucket_name(0), bucket_name(63), bucket_name(1_023)),
        ("00".into(), "3f".into(), "3ff".into())
    );
}
