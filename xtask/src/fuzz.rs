//! Fuzzing: finds a toolchain and cargo-fuzz, and runs targets for a while with their memory and
//! time bounded.

use std::process::Command;
use std::time::Duration;

use anyhow::bail;

use crate::run::{command, output, root, run, step};

/// Every target in `fuzz/fuzz_targets`.
const TARGETS: &[&str] = &["decode_frame", "merge_convergence"];
/// An input that needs more is a finding.
const MEMORY_MIB_MAX: u32 = 2_048;
/// So is one that runs longer.
const INPUT_SECONDS_MAX: u32 = 20;

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
    let mut cargo = cargo_with_sanitizers()?;
    cargo.args(["fuzz", "run", target, &corpus]);
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
        "-print_final_stats=1".to_owned(),
    ]);
    run(&mut cargo)
}

/// A cargo that takes the unstable flags that a sanitizer needs.
fn cargo_with_sanitizers() -> anyhow::Result<Command> {
    let mut cargo = command("cargo");
    // What the cargo around this task has set would win over the toolchain chosen here.
    cargo.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
    let nightly = output(command("rustup").args(["run", "nightly", "rustc", "--version"]));
    if nightly.is_none() {
        bail!(
            "fuzzing needs a nightly toolchain: `rustup toolchain install nightly --profile minimal`"
        );
    }
    cargo.arg("+nightly");
    Ok(cargo)
}

fn ensure_cargo_fuzz() -> anyhow::Result<()> {
    if output(command("cargo").args(["fuzz", "--version"])).is_some() {
        return Ok(());
    }
    run(command("cargo").args(["install", "cargo-fuzz", "--locked", "--version", "^0.13"]))
}
