//! The demo page: `cargo xtask demo-page` builds examples/demo into `target/web/demo`, from where the
//! server's feature `demo` embeds it.

use anyhow::{Context as _, bail};

use crate::run::{command, output, root, run};
use crate::wasm;

/// Where the page lies, from the repository's root.
const PAGE: &str = "examples/demo";
/// The npm package that it is written with.
const PACKAGE: &str = "wasm-bindings";
/// What the server embeds.
const INDEX: &str = "target/web/demo/index.html";

/// Builds the package `syncline` and the page around it.
pub(crate) fn build() -> anyhow::Result<()> {
    need_node()?;
    wasm::build()?;
    install(PACKAGE)?;
    npm(PACKAGE, &["run", "build"])?;
    install(PAGE)?;
    npm(PAGE, &["run", "types"])?;
    npm(PAGE, &["run", "build"])?;
    if !root().join(INDEX).exists() {
        bail!("the page was built, but {INDEX} is not there");
    }
    Ok(())
}

/// Fails with a sentence that helps where there is no Node.js.
pub(crate) fn need_node() -> anyhow::Result<()> {
    for program in ["node", "npm"] {
        if output(command(program).arg("--version")).is_none() {
            bail!(
                "`{program}` is missing; Node.js 20 or later with npm is `apt-get install nodejs npm` or https://nodejs.org"
            );
        }
    }
    Ok(())
}

/// What a folder's lock file names, unless that is there already.
pub(crate) fn install(folder: &str) -> anyhow::Result<()> {
    let folder = root().join(folder);
    let modified = |name: &str| folder.join(name).metadata().and_then(|meta| meta.modified()).ok();
    // npm writes this file when everything is in place.
    let done = modified("node_modules/.package-lock.json");
    if done.is_some() && done >= modified("package-lock.json") {
        return Ok(());
    }
    run(command("npm").arg("ci").args(["--no-audit", "--no-fund"]).current_dir(&folder))
        .with_context(|| format!("the packages of {}", folder.display()))
}

fn npm(folder: &str, arguments: &[&str]) -> anyhow::Result<()> {
    run(command("npm").args(arguments).current_dir(root().join(folder)))
}
