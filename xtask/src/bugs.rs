//! Planted bugs: small patches of the engine, each of which the simulator must catch. They are applied
//! to a copy of the sources, so that what is shipped holds no hooks for them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::run::{command, output, root};
use crate::sim;

/// A bug that is not caught by then is not caught.
const SEEDS_MAX: u64 = 600;
const EVENTS: u64 = 200;

struct Bug {
    name: String,
    patch: PathBuf,
}

/// Every patch in `tests/bugs`, or the one of that name.
fn bugs(name: Option<&str>) -> anyhow::Result<Vec<Bug>> {
    let mut bugs = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/bugs"))? {
        let patch = entry?.path();
        if let Some(found) =
            patch.file_name().and_then(|file| file.to_str()?.strip_suffix(".patch"))
            && name.is_none_or(|name| name == found)
        {
            bugs.push(Bug { name: found.to_owned(), patch });
        }
    }
    if bugs.is_empty() {
        bail!("no such bug in tests/bugs");
    }
    bugs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(bugs)
}

/// Checks that every patch applies.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for Bug { name, patch } in bugs(None)? {
        let applies = output(command("git").args(["apply", "--check"]).arg(&patch)).is_some();
        if !applies {
            stale.push(name);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    bail!("these patches in tests/bugs do not apply any more: {}", stale.join(", "))
}

/// Plants each bug, or one, in a copy of the sources and simulates until it is caught.
pub(crate) fn hunt(name: Option<&str>) -> anyhow::Result<()> {
    let (work, target) = (root().join("target/bugs/work"), root().join("target/bugs/target"));
    let mut missed = Vec::new();
    for bug in bugs(name)? {
        copy_sources(&work)?;
        let verdict = plant(&bug, &work).and_then(|()| catch(&work, &target));
        match verdict {
            Ok(Some(caught)) => println!("{:<32} caught at {caught}", bug.name),
            Ok(None) => {
                println!("{:<32} NOT CAUGHT in {SEEDS_MAX} seeds", bug.name);
                missed.push(bug.name);
            }
            Err(error) => {
                println!("{:<32} CANNOT BE PLANTED: {error:#}", bug.name);
                missed.push(bug.name);
            }
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    bail!("not caught: {}", missed.join(", "))
}

/// Brings the copy in line with the sources as they are, committed or not. Files that are the same
/// are left alone, so that cargo builds only what a patch touched.
fn copy_sources(work: &Path) -> anyhow::Result<()> {
    let listing = output(command("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]));
    for path in listing.context("git ls-files failed")?.split_terminator('\0') {
        let (from, to) = (root().join(path), work.join(path));
        let Ok(bytes) = std::fs::read(&from) else { continue };
        if std::fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(to, bytes)?;
    }
    Ok(())
}

fn plant(bug: &Bug, work: &Path) -> anyhow::Result<()> {
    // As files of a directory, not of the repository around it.
    let ceiling = root().join("target");
    let status = command("git")
        .current_dir(work)
        .env("GIT_CEILING_DIRECTORIES", ceiling)
        .args(["apply", "--whitespace=nowarn"])
        .arg(&bug.patch)
        .status()?;
    if !status.success() {
        bail!("the patch does not apply");
    }
    Ok(())
}

/// Simulates until something is wrong and says what.
fn catch(work: &Path, target: &Path) -> anyhow::Result<Option<String>> {
    // Soon built rather than fast: most bugs are caught in the first seeds.
    let mut build = sim::build(work, target, "sim");
    let built = build.env("CARGO_PROFILE_SIM_OPT_LEVEL", "1").output()?;
    if !built.status.success() {
        let why = String::from_utf8_lossy(&built.stderr);
        bail!("it does not build: {}", why.lines().find(|l| l.starts_with("error")).unwrap_or(""));
    }
    let mut simulator = sim::built(target, "sim");
    let seeds = format!("0..{SEEDS_MAX}");
    let events = EVENTS.to_string();
    simulator.args(["--seeds", &seeds, "--events", &events, "--until-caught", "--json"]);
    let found = simulator.stderr(std::process::Stdio::null()).output()?;
    if found.status.success() {
        return Ok(None);
    }
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    let violation = found.split_once("\"violations\": {").map_or("", |(_, violations)| violations);
    let texts: Vec<&str> = violation.split('"').collect();
    // "SEED": [ { "rule": "RULE", "what": "WHAT" …
    match texts.as_slice() {
        [_, seed, _, _, _, rule, _, _, _, what, ..] => {
            let what: String = what.chars().take(100).collect();
            Ok(Some(format!("seed {seed}: {rule}: {what}")))
        }
        _ => bail!("the simulator ended without a word"),
    }
}
