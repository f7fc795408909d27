//! `cargo xtask browser`: the demo page, and the components of the package as it is built, in a real Chromium,
//! against real server processes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::npm;
use crate::run::{cargo, command, output, root, run};

const TESTS: &str = "tests/browser";
/// Under which names a Chromium may be found.
const BROWSERS: &[&str] =
    &["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
const WHAT_TO_DO: &str = "\
no Chromium was found. Either install one, such as Debian's:
  apt-get install -y --no-install-recommends chromium
or say where one is: CHROMIUM=/path/to/chromium cargo xtask browser";

/// Runs the tests whose names contain `only`, or all, on the page as it is built.
pub(crate) fn test(only: Option<&str>) -> anyhow::Result<()> {
    let chromium = chromium()?;
    let server = ["--locked", "--package", "syncline-server", "--features", "demo"];
    run(cargo().arg("test").args(server).args(["--test", "demo"]))?;
    // The binary comes with its test; it has the page.
    npm::install(TESTS)?;
    let mut node = command("node");
    node.args(["--test", "--test-concurrency=1", "--test-reporter=spec"]);
    if let Some(only) = only {
        node.arg("--test-name-pattern").arg(only);
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let server =
        target.join("debug/syncline-server").with_extension(std::env::consts::EXE_EXTENSION);
    run(node.args(npm::tests(TESTS)?).env("CHROMIUM", chromium).env("SYNCLINE_SERVER", server))
}

/// Finds a Chromium, or gets Debian's where that may be done.
fn chromium() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Ok(named.into());
    }
    if let Some(found) = installed() {
        return Ok(found);
    }
    let is_root = output(command("id").arg("-u")).is_some_and(|id| id == "0");
    if is_root && output(command("apt-get").arg("--version")).is_some() {
        eprintln!("browser: none is there; trying Debian's");
        run(command("apt-get").arg("update")).context(WHAT_TO_DO)?;
        run(command("apt-get")
            .args(["install", "-y", "--no-install-recommends", "chromium"])
            .env("DEBIAN_FRONTEND", "noninteractive"))
        .context(WHAT_TO_DO)?;
        return installed().context(WHAT_TO_DO);
    }
    bail!(WHAT_TO_DO)
}

fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = BROWSERS.iter().flat_map(|name| folders.iter().map(move |dir| dir.join(name)));
    candidates.into_iter().find(|candidate| Path::is_file(candidate))
}
