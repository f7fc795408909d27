//! Node.js and npm: whether they are there, what a folder's lock file names, and its scripts. Knows no
//! folder of the repository.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::run::{command, output, root, run};

/// Fails with a sentence that helps where there is no Node.js with npm.
pub(crate) fn need() -> anyhow::Result<()> {
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
    need()?;
    let path = root().join(folder);
    let modified = |name: &str| path.join(name).metadata().and_then(|meta| meta.modified()).ok();
    // npm writes this file when everything is in place.
    let done = modified("node_modules/.package-lock.json");
    if done.is_some() && done >= modified("package-lock.json") {
        return Ok(());
    }
    npm(folder, &["ci", "--no-audit", "--no-fund"])
        .with_context(|| format!("the npm packages of {folder}"))
}

/// Runs a script of a folder's package.
pub(crate) fn script(folder: &str, name: &str) -> anyhow::Result<()> {
    npm(folder, &["run", name])
}

/// The files of a folder that `node --test` takes, in order.
pub(crate) fn tests(folder: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut tests: Vec<_> = std::fs::read_dir(root().join(folder))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    tests.sort();
    Ok(tests)
}

/// Runs npm in a folder.
pub(crate) fn npm(folder: &str, arguments: &[&str]) -> anyhow::Result<()> {
    run(command("npm").args(arguments).current_dir(root().join(folder)))
}
