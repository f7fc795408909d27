//! `cargo xtask demo`: a server with its log on disk, a recorded discussion held by several clients
//! through it, and the server left running to be tried, with the demo page where there is Node.js.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use anyhow::{Context as _, bail};

use crate::page;
use crate::run::{cargo, command, need_build_tools, root, run};

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
    need_build_tools()?;
    let with_page = match page::build() {
        Ok(()) => true,
        Err(error) => {
            eprintln!(
                "\nThe server will have no page to look at: {error:#}\nEverything else works.\n"
            );
            false
        }
    };
    let packages = ["--package", "syncline-server", "--package", "syncline-client"];
    let features: &[&str] = if with_page { &["--features", "syncline-server/demo"] } else { &[] };
    run(cargo().args(["build", "--release", "--locked"]).args(packages).args(features))?;
    // Every demo begins with an empty log.
    let data = root().join("target/demo");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    let mut server = Server::start(&data.join("server"))?;
    let url = server.url.clone();
    eprintln!("\nThe server is at {url}; its log is in {}\n", data.join("server").display());

    let ada = ["--server", &url, "--user", "ada", "--data", "target/demo/ada"];
    let shown = run(command(binary("syncline"))
        .args(["replay", DISCUSSION, "--server", &url])
        .args(["--clients", "4", "--offline-share", "0.3", "--seed", "1"]))
    .and_then(|()| run(command(binary("syncline")).args(["show", POST]).args(ada)));
    if let Err(error) = shown {
        server.stop();
        return Err(error);
    }
    match at_the_end {
        AtTheEnd::Stop => server.stop(),
        AtTheEnd::Wait => {
            if with_page {
                // What it says is where clients connect to.
                let page = url.replacen("ws", "http", 1).replace("/v1/sync", "");
                println!(
                    "\nOpen {page}/?space=tiny&user=ada in a browser, and a second window with user=bob."
                );
            }
            println!("\nThe server is still running at {url}. Try, in other terminals:\n");
            // Each has a store of its own, since a store belongs to one process at a time.
            for (user, what) in [
                ("ada", format!("watch {POST}")),
                ("bob", format!("comment {POST} \"Hello from here\"")),
                ("eve", format!("like {POST}")),
            ] {
                let where_to = format!("--server {url} --user {user} --data target/demo/{user}");
                println!("  target/release/syncline {what} {where_to}");
            }
            println!("\nCtrl-C stops it.");
            server.process.wait()?;
        }
    }
    Ok(())
}

fn binary(name: &str) -> PathBuf {
    root().join("target/release").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

struct Server {
    process: Child,
    url: String,
}

impl Server {
    /// Starts the server on a port of its choice and waits until it says where it listens.
    fn start(data: &std::path::Path) -> anyhow::Result<Self> {
        let mut process = command(binary("syncline-server"))
            .args(["--listen", "127.0.0.1:0", "--log", "warn", "--importers", "replay", "--data"])
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
