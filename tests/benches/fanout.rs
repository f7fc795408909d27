//! Fan-out: the deliveries per second of the sync server against those of a bare relay ([`relay`]),
//! on this machine, in this run, under the same load generator (`syncline bench`).
//!
//! `cargo build --release --bins && cargo bench -p syncline-tests --bench fanout`. Options after `--`:
//! `--clients 2,8,32,128`, `--operations 40000`, `--rounds 3`.
//!
//! Both servers are processes of their own, and each commits to a file in the same folder. The rounds
//! alternate, and the best of each counts. Both echo a change to its author among the rest; a
//! delivery is one change at one client other than its author.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

mod relay;

type Failure = Box<dyn std::error::Error>;

struct Options {
    clients: Vec<String>,
    operations: String,
    rounds: usize,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self {
            clients: ["2", "8", "32", "128"].map(str::to_owned).to_vec(),
            // The writers' changes are made beforehand and have not seen each other: of more than
            // 8,192 such, the gate refuses the later ones as stale.
            operations: "8000".to_owned(),
            rounds: 9,
        };
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            let mut value = || rest.next().cloned().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--clients" => options.clients = value()?.split(',').map(str::to_owned).collect(),
                "--operations" => options.operations = value()?,
                "--rounds" => options.rounds = value()?.parse()?,
                // What cargo passes to every benchmark.
                "--bench" => {}
                other => return Err(format!("unknown option {other}").into()),
            }
        }
        Ok(options)
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, log] = &arguments[..]
        && flag == "--serve-relay"
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return Ok(runtime.block_on(relay::serve(Path::new(log)))?);
    }
    // `cargo test` builds and starts benchmarks too; it has no use for figures.
    if arguments.iter().any(|argument| argument == "--test") || cfg!(debug_assertions) {
        println!("fanout measures only optimised builds: cargo bench --bench fanout");
        return Ok(());
    }
    let options = Options::parse(&arguments)?;
    println!(
        "{:>8} {:>14} {:>14} {:>6} {:>20} {:>20}",
        "clients", "syncline", "relay", "ratio", "syncline p50/p99 ms", "relay p50/p99 ms"
    );
    for clients in &options.clients {
        let mut best: [Option<Value>; 2] = [None, None];
        for _ in 0..options.rounds {
            for (place, server) in best.iter_mut().zip([Server::syncline, Server::relay]) {
                let run = measure(server, clients, &options.operations)?;
                if rate(place.as_ref()) < rate(Some(&run)) {
                    *place = Some(run);
                }
            }
        }
        let [syncline, relay] = &best;
        println!(
            "{clients:>8} {:>14.0} {:>14.0} {:>6.2} {:>20} {:>20}",
            rate(syncline.as_ref()),
            rate(relay.as_ref()),
            rate(syncline.as_ref()) / rate(relay.as_ref()).max(1.0),
            latency(syncline.as_ref()),
            latency(relay.as_ref()),
        );
    }
    Ok(())
}

fn rate(run: Option<&Value>) -> f64 {
    run.and_then(|run| run["deliveries_per_s"].as_f64()).unwrap_or(0.0)
}

fn latency(run: Option<&Value>) -> String {
    let of = |name| run.and_then(|run| run["delivery_ms"][name].as_f64()).unwrap_or(f64::NAN);
    format!("{:.1} / {:.1}", of("p50"), of("p99"))
}

/// A server in a process of its own; killed when it is no longer needed.
struct Server {
    child: Child,
    url: String,
    protocol: &'static str,
    /// Holds its file, and removes it.
    _data: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn syncline() -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let mut command = Command::new(executable("syncline-server")?);
        command.args(["--listen", "127.0.0.1:0", "--log", "warn", "--limits", "off", "--data"]);
        command.arg(data.path());
        Self::start(command, "syncline", data)
    }

    fn relay() -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--serve-relay").arg(data.path().join("log"));
        Self::start(command, "relay", data)
    }

    fn start(
        mut command: Command,
        protocol: &'static str,
        data: tempfile::TempDir,
    ) -> Result<Self, Failure> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let authority = line
            .split_once("ws://")
            .and_then(|(_, rest)| rest.split(['/', ' ', '\n']).next())
            .ok_or_else(|| format!("the {protocol} server said {line:?}"))?;
        let url = format!("ws://{authority}");
        Ok(Self { child, url, protocol, _data: data })
    }
}

fn measure(
    start: fn() -> Result<Server, Failure>,
    clients: &str,
    operations: &str,
) -> Result<Value, Failure> {
    let server = start()?;
    let output = Command::new(executable("syncline")?)
        .args(["bench", "--json", "--server", &server.url, "--protocol", server.protocol])
        .args(["--pid", &server.child.id().to_string(), "--clients", clients])
        .args(["--operations", operations])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the load generator failed against {}", server.protocol).into());
    }
    let line = String::from_utf8(output.stdout)?;
    let report: Value = serde_json::from_str(line.lines().last().unwrap_or_default())?;
    Ok(report["runs"][0].clone())
}

/// An executable of the workspace, built beside this benchmark.
fn executable(name: &str) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let mut candidates = folders.map(|folder| folder.join(&file));
    candidates
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not built: cargo build --release --bins").into())
}
