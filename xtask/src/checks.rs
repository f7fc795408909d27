//! The checks that everybody runs before a submission, and CI after it.

use std::time::Duration;

use crate::run::{cargo, need_build_tools, run, step};
use crate::{browser, bugs, fuzz, openapi, page, sim, web};

pub(crate) fn fmt() -> anyhow::Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    // fuzz is a workspace of its own.
    run(cargo().args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))
}

pub(crate) fn clippy() -> anyhow::Result<()> {
    run(cargo()
        .args(["clippy", "--workspace", "--all-targets", "--all-features", "--locked"])
        .args(["--", "-D", "warnings"]))
}

pub(crate) fn docs() -> anyhow::Result<()> {
    run(cargo()
        .args(["doc", "--workspace", "--no-deps", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings"))
}

/// All tests. What takes Node.js comes last: it is the slowest to set up.
pub(crate) fn test() -> anyhow::Result<()> {
    need_build_tools()?;
    step("Rust tests", || run(cargo().args(["test", "--workspace", "--locked"])))?;
    // In small, so that none of them is broken without a word.
    step("benchmarks run", || {
        run(cargo().args(["test", "--package", "syncline-tests", "--benches", "--locked"]))
    })?;
    step("npm package", || {
        web::build()?;
        web::test()
    })?;
    step("demo page", page::build_on_package)?;
    step("browser tests", || browser::test(None))
}

/// What a submission must pass.
pub(crate) fn ci() -> anyhow::Result<()> {
    step("formatting", fmt)?;
    step("clippy", clippy)?;
    step("documentation", docs)?;
    step("tests", test)?;
    step("description of the HTTP API", openapi::openapi_if_possible)?;
    step("planted bugs still apply", bugs::check)?;
    step("simulation", || sim::sim(&["--seeds", "0..1000"]))?;
    step("fuzzing", || fuzz::fuzz(None, Duration::from_secs(20)))
}
