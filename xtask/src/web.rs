//! The npm package: checked, built, tested with the real engine and a real server, packed, and the packed
//! package tried in a fresh script and a fresh app. Knows the package's scripts and nothing of its code.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::run::{cargo, command, root, run, step};
use crate::wasm::PACKAGE;
use crate::{npm, wasm};

/// Where the packed package is tried.
const TRIAL: &str = "target/web-trial";

/// Builds the engine and everything around it.
pub(crate) fn build() -> anyhow::Result<()> {
    npm::need()?;
    step("engine for the web", || wasm::build().map(drop))?;
    npm::install(PACKAGE)?;
    step("package", || npm::script(PACKAGE, "build"))
}

/// Tests what is built: the engine under Node, the package, and what npm would publish.
pub(crate) fn test() -> anyhow::Result<()> {
    // They meet at the server itself.
    step("server for the tests", || {
        run(cargo().args(["build", "--locked", "--package", "syncline-server"]))
    })?;
    let engine = npm::tests("wasm-bindings/test")?;
    step("engine under Node", || run(command("node").arg("--test").args(engine)))?;
    step("types", || npm::script(PACKAGE, "types"))?;
    step("tests of the package", || npm::npm(PACKAGE, &["test"]))?;
    step("packed package", try_packed)
}

/// Packs the package as npm would publish it, installs it where nothing else is, and runs it: in Node by both kinds
/// of import, rendering on a server too, under the oldest React that it may have, and built by Vite.
fn try_packed() -> anyhow::Result<()> {
    let trial = root().join(TRIAL);
    if trial.exists() {
        std::fs::remove_dir_all(&trial)?;
    }
    std::fs::create_dir_all(&trial)?;
    let packed = pack(&trial)?;
    for name in ["node", "react18", "types", "vite"] {
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
