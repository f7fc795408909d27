//! Replays, without a fuzzer, every input that ever crashed a fuzz target, the committed seeds, and
//! some hundred inputs drawn from a fixed seed. A crash that was found once stays found.

use std::path::Path;

#[path = "../../fuzz/src/decode_frame.rs"]
mod decode_frame;
#[path = "../../fuzz/src/gate.rs"]
mod gate;
#[path = "../../fuzz/src/hub.rs"]
mod hub;
#[path = "../../fuzz/src/merge_convergence.rs"]
mod merge_convergence;
#[path = "../../fuzz/src/replica.rs"]
mod replica;
#[path = "../../fuzz/src/session.rs"]
mod session;

/// Runs each input in a folder; says which one it was if it panics.
fn replay(folder: &str, target: &str, run: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(folder).join(target);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return 0;
    };
    let mut inputs: Vec<_> =
        entries.map(|entry| entry.expect("a readable folder").path()).collect();
    inputs.sort();
    for path in &inputs {
        let input = std::fs::read(path).expect("a readable input");
        if let Err(panic) = std::panic::catch_unwind(|| run(&input)) {
            eprintln!("this was {}", path.display());
            std::panic::resume_unwind(panic);
        }
    }
    inputs.len()
}

/// Random inputs of growing length, the same every time.
fn random(inputs: usize, length_max: usize, run: fn(&[u8])) {
    // A xorshift generator: good enough to make choices, and in no need of a crate.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for n in 0..inputs {
        let input: Vec<u8> = (0..length_max * (n + 1) / inputs)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect();
        if let Err(panic) = std::panic::catch_unwind(|| run(&input)) {
            eprintln!("this was {input:?}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn frames_that_crashed_a_reader_do_so_no_more() {
    replay("crashers", "decode_frame", decode_frame::run);
    assert!(replay("seeds", "decode_frame", decode_frame::run) > 0, "the seeds are gone");
    random(2_000, 200, decode_frame::run);
}

#[test]
fn replicas_that_did_not_agree_do_so_now() {
    replay("crashers", "merge_convergence", merge_convergence::run);
    replay("seeds", "merge_convergence", merge_convergence::run);
    random(600, 1_000, merge_convergence::run);
}

#[test]
fn changes_that_passed_the_gate_wrongly_do_so_no_more() {
    replay("crashers", "gate", gate::run);
    random(250, 600, gate::run);
}

#[test]
fn what_the_policy_forbids_is_refused_and_what_it_allows_is_not() {
    replay("crashers", "policy", gate::policy);
    random(250, 400, gate::policy);
}

#[test]
fn replicas_that_did_not_show_what_the_model_does_do_so_now() {
    replay("crashers", "replica", replica::run);
    replay("seeds", "replica", replica::run);
    random(200, 1_000, replica::run);
}

#[test]
fn sessions_that_panicked_or_asked_for_the_impossible_do_so_no_more() {
    replay("crashers", "session", session::run);
    replay("seeds", "session", session::run);
    random(300, 800, session::run);
}

#[test]
fn hubs_that_panicked_or_left_what_does_not_load_do_so_no_more() {
    replay("crashers", "hub", hub::run);
    replay("seeds", "hub", hub::run);
    random(300, 800, hub::run);
}
