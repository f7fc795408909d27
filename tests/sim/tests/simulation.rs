//! Seeds of the simulation that every change must survive.

use syncline_sim::{Run, play};

/// How many seeds a plain test run plays; `SYNCLINE_SIM_SEEDS=A..B` plays others.
const SEEDS: std::ops::Range<u64> = 0..40;

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
        let report = play(&Run::draw(seed, 200, false));
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
    }
}

#[test]
fn one_run_always_ends_the_same_also_when_it_was_saved_and_read_back() {
    let run = Run::draw(7, 200, false);
    let saved = serde_json::to_string(&run).expect("a run is saved");
    let read: Run = serde_json::from_str(&saved).expect("a run is read back");
    assert_eq!(read, run);
    assert_eq!(format!("{:?}", play(&read)), format!("{:?}", play(&run)));
}

#[test]
fn what_was_found_once_stays_mended() {
    let found = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    let files = std::fs::read_dir(found).expect("the package has runs that once failed");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("text");
        let run: Run = serde_json::from_str(&text).expect("a run");
        let report = play(&run);
        assert!(report.violations.is_empty(), "{}: {:#?}", path.display(), report.violations);
    }
}
