//! The checks that everybody runs before a submission, and CI after it.

use std::time::Duration;

use anyhow::bail;

use crate::run::{cargo, command, need_build_tools, output, root, run, step};
use crate::{browser, bugs, fuzz, openapi, sim, wasm, web};

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

/// All tests. The wasm build comes last: it is the slowest to set up.
pub(crate) fn test() -> anyhow::Result<()> {
    need_build_tools()?;
    step("Rust tests", || run(cargo().args(["test", "--workspace", "--locked"])))?;
    // In small, so that none of them is broken without a word.
    step("benchmarks run", || {
        run(cargo().args(["test", "--package", "syncline-tests", "--benches", "--locked"]))
    })?;
    step("wasm build", || wasm::build().map(drop))?;
    step("Node tests", node_tests)?;
    step("npm package", web::package)?;
    step("browser tests", || browser::test(None))
}

fn node_tests() -> anyhow::Result<()> {
    let Some(version) = output(command("node").arg("--version")) else {
        bail!(
            "the tests of wasm-bindings need Node.js 20 or later; it is `apt-get install nodejs` or https://nodejs.org"
        );
    };
    eprintln!("node {version}");
    if !wasm::node_packages()? {
        bail!(
            "the tests of wasm-bindings need npm, which comes with Node.js; on Debian `apt-get install npm`"
        );
    }
    // Two engines meet at the server itself.
    run(cargo().args(["build", "--locked", "--package", "syncline-server"]))?;
    let mut tests: Vec<_> = std::fs::read_dir(root().join("wasm-bindings/test"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    tests.sort();
    run(command("node").arg("--test").args(tests))
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
