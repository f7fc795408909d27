//! The npm package: checked, built, tested with the real engine and a real server, packed, and the packed
//! package tried in a fresh script and a fresh app. Knows the package's scripts and nothing of its code.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::run::{cargo, command, output, root, run, step};
use crate::wasm;

const WHAT_TO_DO: &str = "\
the npm package is built and tested with Node.js 20 or later and npm, which are not here:
  apt-get install nodejs npm, or https://nodejs.org";
const PACKAGE: &str = "wasm-bindings";
/// Where the packed package is tried.
const TRIAL: &str = "target/web-trial";

/// Builds the engine and everything around it, and tests it.
pub(crate) fn web() -> anyhow::Result<()> {
    need_npm()?;
    step("engine for the web", || wasm::build().map(drop))?;
    package()
}

/// The same once the engine is built.
pub(crate) fn package() -> anyhow::Result<()> {
    need_npm()?;
    step("server for the tests", || {
        run(cargo().args(["build", "--locked", "--package", "syncline-server"]))
    })?;
    step("npm ci", || npm(&["ci", "--no-audit", "--no-fund"]))?;
    step("package", || npm(&["run", "build"]))?;
    step("types", || npm(&["run", "types"]))?;
    step("tests of the package", || npm(&["test"]))?;
    step("packed package", try_packed)
}

fn need_npm() -> anyhow::Result<()> {
    let version = |program: &str| output(command(program).arg("--version"));
    match (version("node"), version("npm")) {
        (Some(node), Some(npm)) => {
            eprintln!("node {node}, npm {npm}");
            Ok(())
        }
        _ => bail!(WHAT_TO_DO),
    }
}

fn npm(arguments: &[&str]) -> anyhow::Result<()> {
    run(command("npm").current_dir(root().join(PACKAGE)).args(arguments))
}

/// Packs the package as npm would publish it, installs it where nothing else is, and runs it: in Node by both kinds
/// of import, and built by Vite.
fn try_packed() -> anyhow::Result<()> {
    let trial = root().join(TRIAL);
    if trial.exists() {
        std::fs::remove_dir_all(&trial)?;
    }
    std::fs::create_dir_all(&trial)?;
    let packed = pack(&trial)?;
    for name in ["node", "vite"] {
        let from = root().join(PACKAGE).join("test/packed").join(name);
        let to = trial.join(name);
        copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
        let install = ["install", "--no-audit", "--no-fund", "--no-save"];
        run(command("npm").current_dir(&to).args(install).arg(&packed))?;
        run(command("npm").current_dir(&to).args(["run", "try"]))?;
    }
    Ok(())
}

fn pack(trial: &Path) -> anyhow::Result<PathBuf> {
    let packing = ["pack", "--pack-destination"];
    run(command("npm").current_dir(root().join(PACKAGE)).args(packing).arg(trial))?;
    let mut packed = std::fs::read_dir(trial)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "tgz"));
    packed.next().context("npm pack made no package")
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
