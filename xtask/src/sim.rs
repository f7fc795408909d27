//! The simulator: builds it and hands its arguments on.

use std::path::Path;
use std::process::Command;

use crate::run::{cargo, root, run};

/// Where cargo puts what it builds with this profile.
fn directory(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

/// Builds the simulator of the sources in `sources` and answers how to run it.
pub(crate) fn build(sources: &Path, target: &Path, profile: &str) -> anyhow::Result<Command> {
    run(cargo()
        .current_dir(sources)
        .args(["build", "--quiet", "--locked", "--package", "syncline-sim", "--profile", profile])
        .arg("--target-dir")
        .arg(target))?;
    let mut simulator = Command::new(target.join(directory(profile)).join("syncline-sim"));
    simulator.current_dir(root());
    Ok(simulator)
}

/// Runs the simulator. `--profile NAME` is for cargo; the rest is the simulator's.
pub(crate) fn sim(arguments: &[&str]) -> anyhow::Result<()> {
    let (profile, rest) = match arguments {
        ["--profile", profile, rest @ ..] => (*profile, rest),
        rest => ("sim", rest),
    };
    run(build(&root(), &root().join("target"), profile)?.args(rest))
}
