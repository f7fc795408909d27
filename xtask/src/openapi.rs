//! `cargo xtask openapi`: holds the description of the HTTP API against a validator and against a server.
//! Is it OpenAPI, and does every route do what is said there, also when asked nonsense? The tools come
//! from PyPI into a folder of their own; without them nothing is looked at, which is said.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::run::{cargo, command, need_build_tools, output, root, run};

/// What is installed. Their minor versions may change what they find.
const TOOLS: [&str; 2] = ["openapi-spec-validator>=0.7", "schemathesis>=4.32,<5"];
/// The description.
const DESCRIPTION: &str = "sync-server/src/http/openapi.json";
/// What ends streams of events, so that answers have an end.
const FIRST_EVENT: &str = "tests/openapi/first_event.py";
/// Operations whose answers are streams, or belong to one.
const STREAMS: &str = "/(events|frames)$";
/// Requests for each operation, if nothing else is said.
const EXAMPLES: u32 = 30;

/// Whether there was anything to look with.
pub(crate) enum Looked {
    /// There was, and all is well.
    Well,
    /// There was not, because of this.
    CouldNot(String),
}

/// The task: a person who asks for it wants to know.
pub(crate) fn openapi(examples: Option<&str>) -> anyhow::Result<()> {
    let examples = examples.map_or(Ok(EXAMPLES), str::parse);
    match look(examples.context("the number of examples is a number")?)? {
        Looked::Well => Ok(()),
        Looked::CouldNot(why) => bail!("nothing was looked at: {why}"),
    }
}

/// The step of CI: what can't be had from elsewhere is no fault of what is looked at.
pub(crate) fn openapi_if_possible() -> anyhow::Result<()> {
    if let Looked::CouldNot(why) = look(EXAMPLES)? {
        eprintln!("SKIPPED, nothing was looked at: {why}");
    }
    Ok(())
}

fn look(examples: u32) -> anyhow::Result<Looked> {
    let work = root().join("target/openapi");
    std::fs::create_dir_all(&work)?;
    let tools = match tools(&work) {
        Ok(tools) => tools,
        Err(why) => return Ok(Looked::CouldNot(why)),
    };
    run(command(tools.join("python")).args(["-m", "openapi_spec_validator", DESCRIPTION]))?;
    need_build_tools()?;
    run(cargo().args(["build", "--locked", "--package", "syncline-server"]))?;
    let data = work.join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    let log = work.join("server.log");
    let mut serving = command("target/debug/syncline-server");
    serving.args(["--listen", "127.0.0.1:0", "--log", "warn", "--data"]).arg(&data);
    let mut server = Program::start(serving.stderr(File::create(&log)?))?;
    let port = server.line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next());
    let port = port.with_context(|| format!("no port in {:?}", server.line))?.to_owned();
    let ending = Program::start(command(tools.join("python")).args([FIRST_EVENT, &port]))?;
    let direct = ["--exclude-path-regex", STREAMS];
    fuzz(&tools, &work, &port, &port, examples, &direct)?;
    let streams = ["--include-path-regex", STREAMS];
    fuzz(&tools, &work, &port, &ending.line, examples, &streams)?;
    if let Some(status) = server.process.try_wait()? {
        bail!("the server did not survive: {status}");
    }
    drop((server, ending));
    let complaints = std::fs::read_to_string(&log)?;
    let mut complaints =
        complaints.lines().filter(|l| l.contains("panicked") || l.contains("ERROR"));
    match complaints.next() {
        Some(complaint) => bail!("the server complained: {complaint}"),
        None => Ok(Looked::Well),
    }
}

/// The folder with the programs of the tools, installed if they are missing.
fn tools(work: &Path) -> Result<PathBuf, String> {
    let folder = work.join("venv").join(if cfg!(windows) { "Scripts" } else { "bin" });
    let there = || {
        let mut python = command(folder.join("python"));
        output(python.args(["-c", "import schemathesis, openapi_spec_validator"])).is_some()
    };
    if there() {
        return Ok(folder);
    }
    if output(command("python3").args(["-c", "import venv, ensurepip"])).is_none() {
        return Err(
            "it takes Python 3 with venv: `apt install python3-venv`, for example".to_owned()
        );
    }
    let installed =
        run(command("python3").args(["-m", "venv"]).arg(work.join("venv"))).and_then(|()| {
            let mut pip = command(folder.join("python"));
            run(pip.args(["-m", "pip", "install", "--quiet", "--retries", "1"]).args(TOOLS))
        });
    match installed {
        Ok(()) if there() => Ok(folder),
        Ok(()) => Err("the tools are installed and do not run".to_owned()),
        Err(error) => Err(format!("the tools can't be installed from PyPI: {error:#}")),
    }
}

/// Asks a server all that the description allows, and much that it does not.
fn fuzz(
    tools: &Path,
    work: &Path,
    described_at: &str,
    asked_at: &str,
    examples: u32,
    which: &[&str],
) -> anyhow::Result<()> {
    let at = |port: &str| format!("http://127.0.0.1:{port}");
    let mut schemathesis = command(tools.join("schemathesis"));
    // It leaves notes where it runs.
    schemathesis.current_dir(work).env("NO_COLOR", "1");
    schemathesis.args(["run", &format!("{}/v1/openapi.json", at(described_at))]);
    schemathesis.args(["--url", &at(asked_at)]).args(which);
    // What fits its schema may be refused all the same: two parameters that exclude each other, a
    // version that was never there, a command for another facet.
    schemathesis.args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"]);
    schemathesis.args(["--header", "Syncline-User: ada", "--seed", "1", "--request-timeout", "30"]);
    run(schemathesis.args(["--max-examples", &examples.to_string()]))
}

/// A program that has said its first line. Ends with this.
struct Program {
    process: Child,
    line: String,
}

impl Program {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let shown = format!("{command:?}");
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut started = Self { process: process.context(shown)?, line: String::new() };
        let stdout = started.process.stdout.take().context("it has no output")?;
        BufReader::new(stdout).read_line(&mut started.line)?;
        started.line = started.line.trim().to_owned();
        Ok(started)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
