//! `cargo xtask browser`: the demo page, and the components of the package as it is built, in a real Chromium,
//! against real server processes; and `cargo xtask browser-bench`: Syncline there beside other systems.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::run::{cargo, command, need_build_tools, output, root, run};
use crate::{npm, web};

const TESTS: &str = "tests/browser";
/// A package of its own: tests do without what Syncline is compared with.
const BENCH: &str = "tests/browser/bench";
/// Tells the scripts which server to start; the benchmark's caller may name one in place of the release build.
const SERVER: &str = "SYNCLINE_SERVER";
/// Tells them which program somebody at a terminal uses.
const CLI: &str = "SYNCLINE_CLI";
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
    // The binary comes with its test; it has the page. Who is at a terminal uses the other program.
    run(cargo().args(["build", "--locked", "--package", "syncline-client", "--bin", "syncline"]))?;
    npm::install(TESTS)?;
    let mut node = command("node");
    node.args(["--test", "--test-concurrency=1", "--test-reporter=spec"]);
    if let Some(only) = only {
        node.arg("--test-name-pattern").arg(only);
    }
    node.args(npm::tests(TESTS)?).env("CHROMIUM", chromium);
    run(node.env(SERVER, built("debug", "syncline-server")).env(CLI, built("debug", "syncline")))
}

/// Measures the package and a release server, with the arguments of `bench.mjs`. `--as-built` takes both
/// as they are; `SYNCLINE_SERVER` names another server.
pub(crate) fn bench(arguments: &[&str]) -> anyhow::Result<()> {
    let chromium = chromium()?;
    let as_built = arguments.contains(&"--as-built");
    if !as_built {
        web::build()?;
    }
    let server = match std::env::var_os(SERVER) {
        Some(named) => named.into(),
        None => {
            if !as_built {
                need_build_tools()?;
                let release = ["build", "--release", "--locked", "--package", "syncline-server"];
                run(cargo().args(release))?;
            }
            built("release", "syncline-server")
        }
    };
    npm::install(BENCH)?;
    let arguments = arguments.iter().filter(|&&argument| argument != "--as-built");
    run(command("node")
        .arg(root().join(BENCH).join("bench.mjs"))
        .args(arguments)
        .env("CHROMIUM", chromium)
        .env(SERVER, server))
}

/// Where cargo puts a program.
fn built(profile: &str, program: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(profile).join(program).with_extension(std::env::consts::EXE_EXTENSION)
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
