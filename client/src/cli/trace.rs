//! `syncline trace`: a recorded editing session typed again into a post's body over a real server, and
//! the text compared with the one that the recording ended with.
//!
//! A sequential trace is typed by one client as fast as its commands are taken. In a concurrent one
//! every agent is a client of its own, connected through a relay ([`valve`]) that lets it see
//! the others' work exactly as far as the recording says, because positions in the recording mean
//! that version of the text. An agent goes on past a change that somebody's next step has seen as the
//! last only once that change has come back from the server to everybody else's relay: so it ends a
//! frame, and can be let through without what follows.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::future::try_join_all;
use indicatif::ProgressBar;
use serde::Serialize;
use sha2::{Digest, Sha256};
use syncline_client::{Client, Document, Endpoint, Pending};
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{Command, PostCommand, TextField, View};
use syncline_engine::ids::{Address, Facet, Ulid, UserId};
use syncline_engine::session::Resolution;
use tokio::time::{Instant, timeout};

mod file;
mod valve;

use file::{Patch, Trace};
use valve::Valve;

use super::backend::Backend;
use super::issue::issue;
use super::progress::Progress;
use super::table::table;

/// Commands that may be on their way at a time.
const IN_FLIGHT_MAX: usize = 4_096;

/// Types a recorded editing session into a post and compares the text
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Trace in JSON, plain or gzipped
    file: PathBuf,
    /// Server to type over; without it, one is started for the run
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Space of the post
    #[arg(long, default_value = "trace")]
    space: String,
    /// Seconds after which the run has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 1_800)]
    timeout: u64,
    /// Print one line of JSON at the end
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    transactions: usize,
    events: usize,
    clients: usize,
    converged: bool,
    state_matches: bool,
    text_sha256: String,
    chars: usize,
    wall_s: f64,
    events_per_s: f64,
    bytes_sent: u64,
    bytes_received: u64,
}

/// Runs the command. Answers whether the text came out as recorded.
pub(crate) async fn run(args: TraceArgs) -> anyhow::Result<bool> {
    let trace = Trace::open(&args.file)?;
    let work = tempfile::Builder::new()
        .prefix("syncline-trace-")
        .tempdir()
        .context("can't make a temporary folder")?;
    let backend = match &args.server {
        Some(url) => Backend::external(url),
        None => Backend::embedded(work.path().join("server")).await?,
    };
    let limit = Duration::from_secs(args.timeout);
    let played = timeout(limit, play(&args, trace, work.path(), &backend.url())).await;
    backend.stop().await;
    played.with_context(|| format!("the trace was not played in {} s", args.timeout))?
}

fn user_name(agent: usize) -> String {
    format!("agent-{agent}")
}

async fn play(
    args: &TraceArgs,
    trace: Trace,
    work: &std::path::Path,
    server: &str,
) -> anyhow::Result<bool> {
    let trace = Arc::new(trace);
    let concurrent = trace.agents > 1;
    let names: Vec<String> = (0..trace.agents).map(user_name).collect();
    let endpoint: Endpoint = server.parse()?;
    let mut valves = Vec::new();
    let mut clients = Vec::new();
    for (agent, name) in names.iter().enumerate() {
        let url = if concurrent {
            let valve = Valve::open(endpoint.as_str().to_owned(), names.clone()).await?;
            let url = valve.url();
            valves.push(valve);
            url
        } else {
            server.to_owned()
        };
        let store = work.join(format!("client-{agent}"));
        clients.push(Client::builder(&url).user(name).data_dir(store).open().await?);
    }
    let address = Address::new(&args.space, &clients[0].new_id().to_string(), Facet::Post)?;
    let documents = prepare(&clients, &address, &trace).await?;
    let progress = Progress::new(trace.patches() as u64, "typing");
    let bar = progress.bar();
    let started = Instant::now();
    if concurrent {
        play_agents(&trace, valves, &documents, bar).await?;
    } else {
        let mut typist = Typist::new(documents[0].clone(), bar.clone());
        for transaction in &trace.transactions {
            typist.apply(&transaction.patches).await?;
        }
        typist.finish().await?;
    }
    for client in &clients {
        client.synced().await?;
    }
    let wall = started.elapsed().as_secs_f64();
    drop(progress);

    let fresh = Client::builder(server).user("reader").in_memory().open().await?;
    let read = fresh.document(&address).await?;
    read.live().await?;
    let text = body(&read);
    let report = Report {
        transactions: trace.transactions.len(),
        events: trace.patches(),
        clients: trace.agents,
        converged: documents.iter().all(|document| body(document) == text),
        state_matches: text == trace.end,
        text_sha256: hex::encode(Sha256::digest(&text)),
        chars: text.chars().count(),
        wall_s: (wall * 1e3).round() / 1e3,
        #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        events_per_s: (trace.patches() as f64 / wall.max(1e-6)).round(),
        bytes_sent: clients.iter().map(|client| client.status().borrow().bytes_sent).sum(),
        bytes_received: clients.iter().map(|client| client.status().borrow().bytes_received).sum(),
    };
    print(args, &report, &text, &trace.end)?;
    drop((documents, read));
    for client in clients.into_iter().chain([fresh]) {
        client.close().await;
    }
    Ok(report.converged && report.state_matches)
}

fn print(args: &TraceArgs, report: &Report, text: &str, wanted: &str) -> anyhow::Result<()> {
    if let Some(at) = text.chars().zip(wanted.chars()).position(|(is, should)| is != should) {
        eprintln!("the text differs from the recorded one from character {at} on");
    }
    let yes = |yes: bool| if yes { "yes" } else { "NO" }.to_owned();
    let rows = [
        ("transactions", report.transactions.to_string()),
        ("edits", report.events.to_string()),
        ("clients", report.clients.to_string()),
        ("replicas agree", yes(report.converged)),
        ("text as recorded", yes(report.state_matches)),
        ("characters", report.chars.to_string()),
        ("text sha256", report.text_sha256.clone()),
        ("typed and synced in", format!("{:.1} s", report.wall_s)),
        ("edits per second", report.events_per_s.to_string()),
        ("bytes sent, received", format!("{}, {}", report.bytes_sent, report.bytes_received)),
    ];
    print!("{}", table(&rows));
    if args.json {
        println!("{}", serde_json::to_string(report)?);
    }
    Ok(())
}

fn body(document: &Document) -> String {
    document.with_view(|view| match view {
        View::Post(post) => post.body().to_owned(),
        View::Likes(_) | View::Comments(_) | View::Json(_) => String::new(),
    })
}

/// The first agent writes the post and lets the others edit it; all wait until they have it.
async fn prepare(
    clients: &[Client],
    address: &Address,
    trace: &Trace,
) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::with_capacity(clients.len());
    for (agent, client) in clients.iter().enumerate() {
        let document = client.document_for_writing(address).await?;
        document.live().await?;
        if agent == 0 {
            let created = document.command(Command::Post(PostCommand::Create {
                author: UserId::new(&user_name(0))?,
                created: address.id().parse::<Ulid>().map_or(Timestamp(0), Ulid::timestamp),
                title: String::new(),
                body: trace.start.clone(),
                tags: Vec::new(),
            }))?;
            expect_confirmed(created.await?)?;
            for other in 1..clients.len() {
                let user = UserId::new(&user_name(other))?;
                let editor = Command::Post(PostCommand::AddEditor { user });
                expect_confirmed(document.command(editor)?.await?)?;
            }
            document.settled().await?;
        }
        documents.push(document);
    }
    Ok(documents)
}

fn expect_confirmed(resolution: Resolution) -> anyhow::Result<()> {
    match resolution {
        Resolution::Confirmed | Resolution::NoEffect => Ok(()),
        Resolution::Superseded => bail!("an edit was superseded"),
        Resolution::Refused { code, message } => bail!("an edit was refused: {message} ({code})"),
    }
}

/// Hands edits to a document, with a bound on how many are under way.
struct Typist {
    document: Document,
    pending: VecDeque<Pending>,
    bar: ProgressBar,
}

impl Typist {
    const fn new(document: Document, bar: ProgressBar) -> Self {
        Self { document, pending: VecDeque::new(), bar }
    }

    async fn apply(&mut self, patches: &[Patch]) -> anyhow::Result<()> {
        for Patch(index, delete, insert) in patches {
            let command = Command::Post(PostCommand::Splice {
                field: TextField::Body,
                index: *index,
                delete: *delete,
                insert: insert.clone(),
            });
            let pending = issue(&self.document, &command).await?;
            self.pending.push_back(pending);
            if self.pending.len() >= IN_FLIGHT_MAX
                && let Some(oldest) = self.pending.pop_front()
            {
                expect_confirmed(oldest.await?)?;
            }
            self.bar.inc(1);
        }
        Ok(())
    }

    async fn finish(self) -> anyhow::Result<()> {
        for pending in self.pending {
            expect_confirmed(pending.await?)?;
        }
        Ok(())
    }
}

/// Per agent, the counts of its patches that some step of another agent has seen as the last.
fn borders(trace: &Trace) -> Vec<HashSet<usize>> {
    let mut borders = vec![HashSet::new(); trace.agents];
    for transaction in &trace.transactions {
        for (agent, seen) in transaction.seen.iter().enumerate() {
            if agent != transaction.agent {
                borders[agent].insert(*seen);
            }
        }
    }
    borders
}

async fn play_agents(
    trace: &Arc<Trace>,
    valves: Vec<Valve>,
    documents: &[Document],
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let valves = Arc::new(valves);
    let borders = Arc::new(borders(trace));
    // What the preparation has left in the log, which the recording knows nothing of: the post's
    // creation by the first agent, seen by all.
    for valve in valves.iter() {
        valve.wait_arrived(0, 1).await?;
    }
    // The last to subscribe was caught up after the post was settled, so its count is complete.
    let before: Vec<usize> = valves.last().map(Valve::arrived).unwrap_or_default();
    for valve in valves.iter() {
        valve.permit(Some(before.clone()));
    }
    let agents = documents.iter().enumerate().map(|(agent, document)| {
        let player = Agent {
            agent,
            trace: Arc::clone(trace),
            valves: Arc::clone(&valves),
            borders: Arc::clone(&borders),
            before: before.clone(),
            typist: Typist::new(document.clone(), bar.clone()),
        };
        async move { tokio::spawn(player.play()).await.context("an agent failed")? }
    });
    try_join_all(agents).await?;
    Ok(())
}

/// One agent of a concurrent trace.
struct Agent {
    agent: usize,
    trace: Arc<Trace>,
    valves: Arc<Vec<Valve>>,
    borders: Arc<Vec<HashSet<usize>>>,
    /// What was in the log before the first step.
    before: Vec<usize>,
    typist: Typist,
}

impl Agent {
    async fn play(mut self) -> anyhow::Result<()> {
        let trace = Arc::clone(&self.trace);
        let mut merged = vec![0; trace.agents];
        let mut made = 0;
        for transaction in trace.transactions.iter().filter(|t| t.agent == self.agent) {
            if self.is_news(&transaction.seen, &merged) {
                self.merge(&transaction.seen).await?;
                merged.clone_from(&transaction.seen);
            }
            for patch in &transaction.patches {
                self.typist.apply(std::slice::from_ref(patch)).await?;
                made += 1;
                if self.borders[self.agent].contains(&made) {
                    self.wait_everywhere(made).await?;
                }
            }
        }
        self.valves[self.agent].permit(None);
        self.typist.finish().await
    }

    fn is_news(&self, seen: &[usize], merged: &[usize]) -> bool {
        seen.iter().zip(merged).enumerate().any(|(a, (seen, has))| a != self.agent && seen > has)
    }

    /// Lets the others' work through as far as `seen`, and waits until the replica has it.
    async fn merge(&self, seen: &[usize]) -> anyhow::Result<()> {
        let counts = seen.iter().zip(&self.before).map(|(seen, before)| seen + before).collect();
        let seq = self.valves[self.agent].pass(&counts, self.agent).await?;
        let mut changes = self.typist.document.events();
        while self.typist.document.status().seq < seq {
            // Frames that change nothing in the view make no event: look again soon.
            let _ = timeout(Duration::from_millis(1), changes.next()).await;
        }
        Ok(())
    }

    /// Waits until this agent's first `made` changes have come from the server to all other relays.
    async fn wait_everywhere(&self, made: usize) -> anyhow::Result<()> {
        for (agent, valve) in self.valves.iter().enumerate() {
            if agent != self.agent {
                valve.wait_arrived(self.agent, self.before[self.agent] + made).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::file::Transaction;
    use super::*;

    #[test]
    fn borders_are_the_last_changes_that_others_have_seen() {
        let step = |agent, seen: [usize; 2]| Transaction {
            agent,
            patches: vec![Patch(0, 0, "x".to_owned())],
            seen: seen.to_vec(),
        };
        let transactions = vec![step(0, [0, 0]), step(0, [1, 0]), step(1, [1, 0]), step(0, [2, 1])];
        let trace = Trace { start: String::new(), end: String::new(), agents: 2, transactions };
        let borders = borders(&trace);
        assert_eq!(borders[0], HashSet::from([1]));
        assert_eq!(borders[1], HashSet::from([0, 1]));
    }
}
