//! The simulator: builds it and hands its arguments on.

use std::path::Path;
use std::process::Command;

use crate::run::{cargo, root, run};

/// Where cargo puts what it builds with this profile.
fn directory(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

/// The command that builds the simulator of the sources in `sources`.
pub(crate) fn build(sources: &Path, target: &Path, profile: &str) -> Command {
    let mut cargo = cargo();
    cargo
        .current_dir(sources)
        .args(["build", "--quiet", "--locked", "--package", "syncline-sim", "--profile", profile])
        .arg("--target-dir")
        .arg(target);
    cargo
}

/// The simulator that was built there.
pub(crate) fn built(target: &Path, profile: &str) -> Command {
    let mut simulator = Command::new(target.join(directory(profile)).join("syncline-sim"));
    simulator.current_dir(root());
    simulator
}

/// Runs the simulator. `--profile NAME` is for cargo; the rest is the simulator's.
pub(crate) fn sim(arguments: &[&str]) -> anyhow::Result<()> {
    let (profile, rest) = match arguments {
        ["--profile", profile, rest @ ..] => (*profile, rest),
        rest => ("sim", rest),
    };
    let target = root().join("target");
    run(&mut build(&root(), &target, profile))?;
    run(built(&target, profile).args(rest))
}
