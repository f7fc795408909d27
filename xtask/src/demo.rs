//! `cargo xtask demo`: a server with its log on disk, a recorded discussion held by several clients
//! through it, and the server left running to be tried.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::run::{cargo, command, root, run};

/// A recorded discussion; tests/data/README.md says whose.
const DISCUSSION: &str = "tests/data/tiny.jsonl";
/// The first post in it. Playing the file gives its items the same ids every time.
const POST: &str = "tiny/01C5PCCKHDHPZHXYQ0NMQW8HSK";

/// What becomes of the server when all is shown.
pub(crate) enum AtTheEnd {
    /// It runs until it is interrupted.
    Wait,
    /// It is stopped.
    Stop,
}

pub(crate) fn demo(at_the_end: AtTheEnd) -> anyhow::Result<()> {
    run(cargo().args(["build", "--release", "--locked"]).args([
        "--package",
        "syncline-server",
        "--package",
        "syncline-client",
    ]))?;
    // Every demo begins with an empty log.
    let data = root().join("target/demo");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    let mut server = Server::start(&data.join("server"))?;
    let url = server.url.clone();
    eprintln!("\nThe server is at {url}; its log is in {}\n", data.join("server").display());

    let shown = run(syncline(&url).args([
        "replay",
        DISCUSSION,
        "--clients",
        "4",
        "--offline-share",
        "0.3",
        "--seed",
        "1",
    ]))
    .and_then(|()| run(syncline(&url).args(["show", POST])));
    if let Err(error) = shown {
        server.stop();
        return Err(error);
    }
    match at_the_end {
        AtTheEnd::Stop => server.stop(),
        AtTheEnd::Wait => {
            let syncline = "target/release/syncline";
            println!("\nThe server is still running at {url}. Try, in other terminals:\n");
            println!("  {syncline} watch {POST} --server {url} --user ada");
            println!("  {syncline} comment {POST} \"Hello from here\" --server {url} --user bob");
            println!("  {syncline} like {POST} --server {url} --user eve");
            println!("\nCtrl-C stops it.");
            server.process.wait()?;
        }
    }
    Ok(())
}

fn binary(name: &str) -> PathBuf {
    root().join("target/release").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

fn syncline(url: &str) -> Command {
    let mut syncline = command(binary("syncline"));
    syncline.args(["--server", url, "--user", "demo"]);
    syncline
}

struct Server {
    process: Child,
    url: String,
}

impl Server {
    /// Starts the server on a port of its choice and waits until it says where it listens.
    fn start(data: &std::path::Path) -> anyhow::Result<Self> {
        let mut process = command(binary("syncline-server"))
            .args(["--listen", "127.0.0.1:0", "--log", "warn", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start syncline-server")?;
        let output = process.stdout.take().context("the server has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        match line.split_whitespace().find(|word| word.contains("://")) {
            Some(url) => {
                let url = url.to_owned();
                Ok(Self { process, url })
            }
            None => {
                let status = process.wait()?;
                bail!("the server did not say where it listens ({line:?}) and ended with {status}")
            }
        }
    }

    fn stop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("the server did not stop: {error}");
        }
    }
}
