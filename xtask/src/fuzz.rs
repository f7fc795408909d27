//! Fuzzing: installs cargo-fuzz if it is missing, and runs targets for a while with their memory and
//! time bounded.

use std::time::Duration;

use anyhow::bail;

use crate::run::{cargo, output, root, run, step};

/// Every target in `fuzz/fuzz_targets`.
const TARGETS: &[&str] =
    &["decode_frame", "gate", "hub", "merge_convergence", "policy", "replica", "session"];
/// An input that needs more is a finding.
const MEMORY_MIB_MAX: u32 = 2_048;
/// So is one that runs longer.
const INPUT_SECONDS_MAX: u32 = 20;
/// Most of what there is to find is found in less.
const INPUT_BYTES_MAX: u32 = 1_024;

/// Fuzzes one target, or each, for `time`.
pub(crate) fn fuzz(target: Option<&str>, time: Duration) -> anyhow::Result<()> {
    ensure_cargo_fuzz()?;
    if let Some(target) = target
        && !TARGETS.contains(&target)
    {
        bail!("no fuzz target {target:?}; there are {}", TARGETS.join(", "));
    }
    for name in TARGETS.iter().filter(|name| target.is_none_or(|target| target == **name)) {
        step(&format!("fuzz {name}"), || fuzz_one(name, time))?;
    }
    Ok(())
}

fn fuzz_one(target: &str, time: Duration) -> anyhow::Result<()> {
    // libFuzzer writes what it finds interesting into the first directory and only reads the others.
    let corpus = format!("fuzz/corpus/{target}");
    std::fs::create_dir_all(root().join(&corpus))?;
    let mut cargo = cargo();
    // No sanitizer: the engine has no unsafe code, and without one a stable toolchain will do and
    // inputs run several times as fast. `-O` leaves debug assertions to fuzz/Cargo.toml.
    cargo.args(["fuzz", "run", "--sanitizer", "none", "-O", target, &corpus]);
    for committed in [format!("fuzz/seeds/{target}"), format!("fuzz/crashers/{target}")] {
        if root().join(&committed).is_dir() {
            cargo.arg(committed);
        }
    }
    cargo.args([
        "--".to_owned(),
        format!("-max_total_time={}", time.as_secs()),
        format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        // Long inputs at once: there is no time to grow them from nothing.
        format!("-max_len={INPUT_BYTES_MAX}"),
        "-len_control=0".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    run(&mut cargo)
}

fn ensure_cargo_fuzz() -> anyhow::Result<()> {
    if output(cargo().args(["fuzz", "--version"])).is_some() {
        return Ok(());
    }
    run(cargo().args(["install", "cargo-fuzz", "--locked", "--version", "^0.13"]))
}
