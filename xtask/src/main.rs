//! The build tasks: `cargo xtask TASK`. Each task is a sequence of ordinary commands, printed before
//! they run, so that a person can run them by hand. Knows the repository's layout and nothing of what
//! the programs do.

mod browser;
mod bugs;
mod checks;
mod demo;
mod fuzz;
mod npm;
mod openapi;
mod page;
mod run;
mod sim;
mod wasm;
mod web;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

const USAGE: &str = "\
Usage: cargo xtask TASK

  demo              build, start a server, replay a small discussion, and leave the server running
                    (--exit: stop it at the end instead)
  test              all tests: Rust, then the wasm build under Node, then the npm package and the demo page
  demo-page         build the page of examples/demo into target/web/demo
  browser [NAME]    build the page and test it in a Chromium with real servers; all tests, or those of a name
  browser-bench     measure Syncline, automerge-repo and Yjs in a Chromium: --runs N (15), --comments N (2000), --json,
                    --profile DIR; --as-built builds nothing. `--runs 1 --comments 50` takes half a minute
  wasm              build wasm-bindings and its JavaScript into target/wasm/web
  web               build the npm package, test it with the engine and a server, pack it and try that
  fmt               check the formatting
  clippy            lint everything, warnings denied
  docs              build the documentation, warnings denied
  fuzz [TARGET]     fuzz one target, or each in turn (--seconds N, default 20, for each)
  sim [ARGUMENTS]   simulate days with faults: --seeds A..B, --events N, --json, --replay FILE;
                    --help names the rest (--profile NAME first, to build it otherwise)
  bugs [NAME]       plant each bug of tests/bugs, or one, and see that the simulator catches it
                    (--check: only that the patches apply)
  openapi [N]       validate the description of the HTTP API, and fuzz a server by it, with N examples
                    for each operation (default 30); installs what it takes from PyPI
  ci                fmt, clippy, docs, test, openapi, sim and fuzz; what .ci/run runs
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match task(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn task(arguments: &[&str]) -> anyhow::Result<()> {
    match arguments {
        ["demo"] => demo::demo(demo::AtTheEnd::Wait),
        ["demo", "--exit"] => demo::demo(demo::AtTheEnd::Stop),
        ["test"] => checks::test(),
        ["demo-page"] => page::build(),
        ["browser"] => page::build().and_then(|()| browser::test(None)),
        ["browser", name] => page::build().and_then(|()| browser::test(Some(name))),
        ["browser-bench", rest @ ..] => browser::bench(rest),
        ["wasm"] => wasm::build().map(drop),
        ["bindgen", input, output] => wasm::bindgen(input, output),
        ["web"] => web::build().and_then(|()| web::test()),
        ["fmt"] => checks::fmt(),
        ["clippy"] => checks::clippy(),
        ["docs"] => checks::docs(),
        ["fuzz", rest @ ..] => {
            let (target, time) = fuzz_arguments(rest)?;
            fuzz::fuzz(target, time)
        }
        ["sim", rest @ ..] => sim::sim(rest),
        ["bugs", "--check"] => bugs::check(),
        ["bugs"] => bugs::hunt(None),
        ["bugs", name] => bugs::hunt(Some(name)),
        ["openapi"] => openapi::openapi(None),
        ["openapi", examples] => openapi::openapi(Some(examples)),
        ["ci"] => checks::ci(),
        [] | ["help" | "-h" | "--help"] => {
            print!("{USAGE}");
            Ok(())
        }
        [unknown, ..] => bail!("no task {unknown:?}, or not with these arguments\n\n{USAGE}"),
    }
}

fn fuzz_arguments<'a>(arguments: &[&'a str]) -> anyhow::Result<(Option<&'a str>, Duration)> {
    let (mut target, mut seconds) = (None, 20);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if *argument == "--seconds" {
            let number = rest.next().context("--seconds needs a number")?;
            seconds = number.parse().context("--seconds needs a number")?;
        } else {
            target = Some(*argument);
        }
    }
    Ok((target, Duration::from_secs(seconds)))
}
