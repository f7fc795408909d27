//! Seeds of the simulation that every change must survive.

use syncline_tests::sim;

/// How many seeds a plain test run plays; `SYNCLINE_SIM_SEEDS=A..B` plays others.
const SEEDS: std::ops::Range<u64> = 0..60;

#[test]
fn days_with_faults_end_in_agreement() {
    let seeds = match std::env::var("SYNCLINE_SIM_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("a range such as 0..100");
            from.parse().expect("a number")..to.parse().expect("a number")
        }
        Err(_) => SEEDS,
    };
    for seed in seeds {
        let report = sim::run(seed, 300);
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
    }
}

#[test]
fn one_seed_is_one_run() {
    let (one, other) = (sim::run(7, 300), sim::run(7, 300));
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}
