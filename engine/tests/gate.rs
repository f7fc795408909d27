//! Random worlds behind the gate, shrunk to the shortest that fails: people who keep the rules, at the
//! same time and apart; and forgers. What must hold is said in `fuzz/src/gate.rs`.

use proptest::prelude::*;

#[path = "../../fuzz/src/gate.rs"]
mod gate;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn honest_histories_are_accepted_and_the_client_agrees_with_the_gate(
        choices in prop::collection::vec(any::<u8>(), 100..600),
    ) {
        gate::policy(&choices);
    }

    #[test]
    fn what_is_accepted_of_mutated_changes_applies_saves_loads_and_merges(
        choices in prop::collection::vec(any::<u8>(), 100..600),
    ) {
        gate::run(&choices);
    }
}

/// How many forged changes are judged; `SYNCLINE_MUTATIONS` asks for others.
const MUTATIONS: u64 = 20_000;
/// How many of them on one document.
const ON_ONE: u64 = 500;

/// What follows from a seed, fast enough for millions (splitmix64).
fn chances(mut seed: u64) -> impl FnMut(&mut [u8]) {
    move |bytes| {
        for chunk in bytes.chunks_mut(8) {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how many is asked of the whole run")]
fn of_many_structural_mutations_none_that_is_accepted_breaks_anything() {
    let asked = std::env::var("SYNCLINE_MUTATIONS").ok();
    let count = asked.map_or(MUTATIONS, |count| count.parse().expect("a number"));
    let (mut judged, mut accepted) = (0, 0);
    for seed in 0..count.div_ceil(ON_ONE) {
        // A seed that fails is in the name of what it printed last.
        if seed % 1_000 == 0 {
            println!("from seed {seed}: {judged} judged, {accepted} accepted");
        }
        let tally = gate::mutations(ON_ONE, chances(seed));
        judged += tally.judged;
        accepted += tally.accepted;
    }
    println!("{judged} judged, {accepted} accepted");
    assert!(accepted * 1_000 > judged, "hardly any is accepted: {accepted} of {judged}");
}
