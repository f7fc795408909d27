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
