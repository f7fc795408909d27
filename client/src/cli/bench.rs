//! `syncline bench`: a load generator. Its clients speak the protocol and count, but apply nothing, so
//! that the server is what is measured; `--full-clients` adds real ones.
//!
//! A run writes a fixed number of changes, made beforehand, into fresh documents, and ends when every
//! follower has received all of them. A delivery is one change received by one client other than its
//! author; latencies run from the moment a change is handed to the socket to the acknowledgement
//! (at its author) and to its arrival (at one sampled follower per document).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{BufMut, Bytes, BytesMut};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use syncline_client::{Client, Document};
use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{ActorId, Address, Ulid};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

mod lane;
mod process;
mod protocol;
mod socket;

use lane::{Kind, Lane, make_changes, user_name};
use process::Usage;
use protocol::Protocol;
use socket::{Pace, Socket, keep_alive};

use super::backend::Backend;
use super::statistics::{Durations, Percentiles, millis};
use super::table::table;

/// Connections that are opened at a time.
const OPENING: usize = 64;

/// Shares of the documents that are likes, comments and text.
#[derive(Debug, Clone, Copy)]
struct Mix([usize; 3]);

impl std::str::FromStr for Mix {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let parts: Result<Vec<usize>, _> = s.split(':').map(str::parse).collect();
        match parts.as_deref() {
            Ok(&[likes, comments, typing])
                if (1..=1_000).contains(&(likes + comments + typing)) =>
            {
                Ok(Self([likes, comments, typing]))
            }
            _ => Err("a mix is likes:comments:typing in small numbers, such as 6:3:1".to_owned()),
        }
    }
}

impl Mix {
    /// What the document with that number is written with.
    fn kind(self, document: usize) -> Kind {
        let place = document % self.0.iter().sum::<usize>().max(1);
        if place < self.0[0] {
            Kind::Likes
        } else if place < self.0[0] + self.0[1] {
            Kind::Comments
        } else {
            Kind::Typing
        }
    }
}

/// "max" or changes per second, all writers together.
#[derive(Debug, Clone, Copy)]
struct Rate(Option<f64>);

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s.parse::<f64>() {
            Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(Self(Some(rate))),
            _ if s == "max" => Ok(Self(None)),
            _ => Err("a rate is max or changes per second".to_owned()),
        }
    }
}

/// Puts load on a server and measures it
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Server; without it, one is started as a process of its own
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Process to measure, if the server is given and on this machine
    #[arg(long, requires = "server")]
    pid: Option<u32>,
    /// What the server speaks
    #[arg(long, value_enum, default_value = "syncline")]
    protocol: Protocol,
    /// Clients; several numbers make several runs
    #[arg(long, value_delimiter = ',', default_value = "32")]
    clients: Vec<usize>,
    /// How many of them write
    #[arg(long, default_value_t = 8)]
    writers: usize,
    /// Documents that the clients are spread over
    #[arg(long, default_value_t = 1)]
    documents: usize,
    /// Spaces that the documents are spread over
    #[arg(long, default_value_t = 1)]
    spaces: usize,
    /// Shares of the documents that are likes:comments:typing
    #[arg(long, default_value = "1:0:0")]
    mix: Mix,
    /// "max", or changes per second of all writers together
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// Changes written in all, with --rate max
    #[arg(long, default_value_t = 40_000)]
    operations: usize,
    /// Seconds to write, with a rate
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    duration: u64,
    /// Changes of a writer that may be unacknowledged
    #[arg(long, default_value_t = 512)]
    window: usize,
    /// Clients that come when half is written
    #[arg(long, default_value_t = 0)]
    late_joiners: usize,
    /// Connections that only stay open
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Real clients, which apply everything
    #[arg(long, default_value_t = 0)]
    full_clients: usize,
    /// Seconds after which a run has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// Print one line of JSON at the end
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    clients: usize,
    writers: usize,
    documents: usize,
    operations: usize,
    wall_s: f64,
    operations_per_s: f64,
    deliveries: usize,
    deliveries_per_s: f64,
    acks_per_s: f64,
    ack_ms: Option<Percentiles>,
    delivery_ms: Option<Percentiles>,
    bytes_received: u64,
    server_cpu_s: Option<f64>,
    server_cpu_s_per_1000_operations: Option<f64>,
    server_resident_kb: Option<u64>,
    server_resident_max_kb: Option<u64>,
    late_join_ms: Option<Percentiles>,
    idle_connections: usize,
    idle_bytes_per_connection: Option<i64>,
    full_clients: usize,
    /// How much later than the light clients the last real one was done.
    full_clients_behind_ms: Option<f64>,
}

/// Runs the command.
pub(crate) async fn run(args: BenchArgs) -> anyhow::Result<bool> {
    let work = tempfile::Builder::new().prefix("syncline-bench-").tempdir()?;
    let backend = match &args.server {
        Some(url) => Backend::external(url),
        None if args.protocol == Protocol::Relay => bail!("--protocol relay needs a --server"),
        None => Backend::child(work.path().join("data"), &work.path().join("log")).await?,
    };
    let pid = args.pid.or_else(|| backend.pid());
    let limit = Duration::from_secs(args.timeout);
    let mut reports = Vec::new();
    for clients in &args.clients {
        let measured = timeout(limit, measure(&args, *clients, &backend.url(), pid)).await;
        let report = measured
            .with_context(|| format!("{clients} clients were not done in {} s", args.timeout))??;
        if !args.json {
            println!("{}", rows(&report));
        }
        reports.push(report);
    }
    backend.stop().await;
    if args.json {
        let protocol = format!("{:?}", args.protocol).to_lowercase();
        println!("{}", serde_json::json!({"protocol": protocol, "runs": reports}));
    }
    Ok(true)
}

fn rows(report: &Report) -> String {
    let both = |p: Option<Percentiles>| {
        p.map_or("-".to_owned(), |p| format!("p50 {} ms, p99 {} ms", p.p50, p.p99))
    };
    let mut rows = vec![
        ("clients, writers", format!("{}, {}", report.clients, report.writers)),
        ("documents", report.documents.to_string()),
        ("operations", report.operations.to_string()),
        ("operations per second", format!("{:.0}", report.operations_per_s)),
        ("deliveries per second", format!("{:.0}", report.deliveries_per_s)),
        ("acknowledged after", both(report.ack_ms)),
        ("delivered after", both(report.delivery_ms)),
    ];
    if let (Some(cpu), Some(kb)) = (report.server_cpu_s, report.server_resident_max_kb) {
        rows.push(("server", format!("{cpu:.2} CPU s, {} MB at most", kb / 1_024)));
    }
    if report.late_join_ms.is_some() {
        rows.push(("late joiners caught up in", both(report.late_join_ms)));
    }
    if let Some(bytes) = report.idle_bytes_per_connection {
        rows.push(("idle connection", format!("{bytes} bytes of the server's memory")));
    }
    if let Some(behind) = report.full_clients_behind_ms {
        rows.push(("real clients behind by", format!("{behind} ms")));
    }
    table(&rows)
}

/// One document and who is on it.
struct Topic {
    address: Address,
    kind: Kind,
    /// Lanes by the name of their writer.
    lanes: HashMap<String, Arc<Lane>>,
    total: usize,
    followers: usize,
    half: Notify,
    /// What the sampled follower has received.
    received: AtomicUsize,
    latencies: std::sync::Mutex<Durations>,
}

/// A connected client before the run.
struct Seat {
    topic: usize,
    socket: Socket,
    lane: Option<Arc<Lane>>,
    sampled: bool,
}

fn address_of(args: &BenchArgs, run: Ulid, document: usize) -> anyhow::Result<Address> {
    let space = format!("bench-{}", document % args.spaces.max(1));
    let id = format!("{run}-{document}");
    Ok(Address::new(&space, &id, args.mix.kind(document).facet())?)
}

fn fresh_run() -> anyhow::Result<Ulid> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = Timestamp(u64::try_from(now.as_millis())?);
    Ok(Ulid::new(now, u128::from_le_bytes(random)))
}

async fn measure(
    args: &BenchArgs,
    clients: usize,
    url: &str,
    pid: Option<u32>,
) -> anyhow::Result<Report> {
    if args.documents == 0 || clients < 2 * args.documents {
        bail!("there must be at least two clients per document");
    }
    let run = fresh_run()?;
    let usage = || pid.and_then(Usage::of);
    let (idle, idle_bytes) = open_idle(args, url, clients, &usage).await?;
    let (topics, seats) = prepare(args, clients, url, run).await?;
    let full = open_full(args, url, &topics).await?;

    let before = usage();
    let started = Instant::now();
    let pace = Pace {
        per_s: args.rate.0.map(|rate| rate / writers_of(args, clients) as f64),
        window: args.window.max(1),
    };
    let late = tokio::spawn(join_late(
        args.protocol,
        url.to_owned(),
        args.late_joiners,
        clients,
        Arc::clone(&topics),
    ));
    let bytes_received = drive(args.protocol, seats, &topics, pace, started).await?;
    let wall = started.elapsed();
    let after = usage();
    let mut late_join = late.await.context("a late joiner failed")??;
    let behind = wait_for_full(&full, &topics, started + wall).await;
    drop(idle);
    for (client, _, _) in full {
        client.close().await;
    }
    let operations: usize = topics.iter().map(|topic| topic.total).sum();
    let deliveries = topics.iter().map(|topic| topic.total * (topic.followers - 1)).sum();
    let (mut acks, mut delivered) = (Durations::default(), Durations::default());
    for topic in topics.iter() {
        topic.lanes.values().for_each(|lane| acks.extend(lane.acks()));
        let latencies = topic.latencies.lock();
        delivered.extend(latencies.unwrap_or_else(std::sync::PoisonError::into_inner).clone());
    }
    let cpu = before.zip(after).map(|(before, after)| after.cpu_s - before.cpu_s);
    let per_s = |count: usize| (count as f64 / wall.as_secs_f64().max(1e-6)).round();
    Ok(Report {
        clients,
        writers: writers_of(args, clients),
        documents: topics.len(),
        operations,
        wall_s: (wall.as_secs_f64() * 1e3).round() / 1e3,
        operations_per_s: per_s(operations),
        deliveries,
        deliveries_per_s: per_s(deliveries),
        acks_per_s: per_s(acks.len()),
        ack_ms: acks.percentiles(),
        delivery_ms: delivered.percentiles(),
        bytes_received,
        server_cpu_s: cpu.map(|cpu| (cpu * 1e3).round() / 1e3),
        server_cpu_s_per_1000_operations: cpu
            .map(|cpu| (cpu / operations.max(1) as f64 * 1e6).round() / 1e3),
        server_resident_kb: after.map(|usage| usage.resident_kb),
        server_resident_max_kb: after.map(|usage| usage.resident_max_kb),
        late_join_ms: late_join.percentiles(),
        idle_connections: args.idle,
        idle_bytes_per_connection: idle_bytes,
        full_clients: args.full_clients,
        full_clients_behind_ms: behind,
    })
}

fn writers_of(args: &BenchArgs, clients: usize) -> usize {
    args.writers.clamp(1, clients)
}

type Idle = JoinSet<anyhow::Result<()>>;

/// Opens connections that do nothing, and says what each costs the server.
async fn open_idle(
    args: &BenchArgs,
    url: &str,
    clients: usize,
    usage: &impl Fn() -> Option<Usage>,
) -> anyhow::Result<(Idle, Option<i64>)> {
    let mut idle = JoinSet::new();
    if args.idle == 0 {
        return Ok((idle, None));
    }
    let before = usage();
    let mut sockets = stream::iter(0..args.idle)
        .map(|index| Socket::open(args.protocol, url, clients + index, None, false))
        .buffer_unordered(OPENING);
    while let Some(socket) = sockets.try_next().await? {
        let protocol = args.protocol;
        let (sink, mut reader) = socket.split();
        idle.spawn(keep_alive(protocol, sink));
        idle.spawn(async move { reader.read(usize::MAX, None, None::<fn(&str)>).await });
    }
    // A moment for the last ones to be settled in.
    sleep(Duration::from_millis(200)).await;
    let bytes = before.zip(usage()).and_then(|(before, after)| {
        let kb = i64::try_from(after.resident_kb).ok()? - i64::try_from(before.resident_kb).ok()?;
        Some(kb * 1_024 / i64::try_from(args.idle).ok()?)
    });
    Ok((idle, bytes))
}

/// Connects everybody, and has the writers' changes made.
async fn prepare(
    args: &BenchArgs,
    clients: usize,
    url: &str,
    run: Ulid,
) -> anyhow::Result<(Arc<Vec<Topic>>, Vec<Seat>)> {
    let writers = writers_of(args, clients);
    if writers > 16 * args.documents {
        bail!("light writers do not merge, so at most 16 can write one document");
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of operations, far below 2^52"
    )]
    let operations =
        args.rate.0.map_or(args.operations, |rate| (rate * args.duration as f64).ceil() as usize);
    let each = operations.div_ceil(writers);
    let mut topics = Vec::with_capacity(args.documents);
    for document in 0..args.documents {
        topics.push(Topic {
            address: address_of(args, run, document)?,
            kind: args.mix.kind(document),
            lanes: HashMap::new(),
            total: 0,
            followers: 0,
            half: Notify::new(),
            received: AtomicUsize::new(0),
            latencies: std::sync::Mutex::default(),
        });
    }
    let sockets: Vec<Socket> = {
        let addresses: Vec<Address> = topics.iter().map(|topic| topic.address.clone()).collect();
        let opened = stream::iter(0..clients).map(|client| {
            let address = addresses[client % addresses.len()].clone();
            async move {
                Socket::open(args.protocol, url, client, Some(&address), client < writers).await
            }
        });
        opened.buffered(OPENING).try_collect().await?
    };
    let mut seats = Vec::with_capacity(clients);
    for (client, socket) in sockets.into_iter().enumerate() {
        let index = client % topics.len();
        let topic = &mut topics[index];
        topic.followers += 1;
        let mut lane = None;
        if client < writers {
            let changes = prepared(args.protocol, topic, &socket, client, each).await?;
            let new = Arc::new(Lane::new(changes));
            topic.total += each;
            topic.lanes.insert(user_name(client), Arc::clone(&new));
            lane = Some(new);
        }
        // The last client of each document.
        let sampled = client + topics.len() >= clients;
        seats.push(Seat { topic: index, socket, lane, sampled });
    }
    Ok((Arc::new(topics), seats))
}

async fn prepared(
    protocol: Protocol,
    topic: &Topic,
    socket: &Socket,
    client: usize,
    count: usize,
) -> anyhow::Result<Vec<Bytes>> {
    let actor = match protocol {
        Protocol::Syncline => socket.actor.context("the server gave no lease")?,
        Protocol::Relay => ActorId::leased(1, u32::try_from(client)? + 1),
    };
    let (address, kind) = (topic.address.clone(), topic.kind);
    let made =
        tokio::task::spawn_blocking(move || make_changes(&address, actor, kind, client, count));
    let changes = made.await.context("making changes failed")??;
    if protocol == Protocol::Syncline {
        return Ok(changes);
    }
    // The relay does not say who wrote what, so the change does.
    let writer = u32::try_from(client)?;
    let named = |change: Bytes| {
        let mut named = BytesMut::with_capacity(change.len() + 4);
        named.put_u32_le(writer);
        named.put_slice(&change);
        named.freeze()
    };
    Ok(changes.into_iter().map(named).collect())
}

/// Lets everybody write and read until all have everything. Answers the bytes received.
async fn drive(
    protocol: Protocol,
    seats: Vec<Seat>,
    topics: &Arc<Vec<Topic>>,
    pace: Pace,
    started: Instant,
) -> anyhow::Result<u64> {
    let mut readers = JoinSet::new();
    let mut writers = JoinSet::new();
    for Seat { topic, socket, lane, sampled } in seats {
        let handle = socket.handle;
        let (mut sink, mut reader) = socket.split();
        if let Some(lane) = lane.clone() {
            writers.spawn(async move {
                socket::write(protocol, &mut sink, handle, &lane, pace, started).await?;
                keep_alive(protocol, sink).await
            });
        } else {
            writers.spawn(keep_alive(protocol, sink));
        }
        let topics = Arc::clone(topics);
        readers.spawn(async move {
            let topic = &topics[topic];
            let mut seen: HashMap<String, usize> = HashMap::new();
            let sample = sampled.then_some(|author: &str| topic.sample(author, &mut seen, started));
            let lane = lane.as_deref().map(|lane| (lane, started));
            reader.read(topic.total, lane, sample).await?;
            anyhow::Ok(reader.bytes)
        });
    }
    let mut bytes = 0;
    while !readers.is_empty() {
        tokio::select! {
            Some(read) = readers.join_next() => bytes += read.context("a reader failed")??,
            // Writers end only by failing: having written everything they stay.
            Some(written) = writers.join_next() => written.context("a writer failed")??,
        }
    }
    Ok(bytes)
}

impl Topic {
    /// A change by `author` has arrived at the sampled follower.
    fn sample(&self, author: &str, seen: &mut HashMap<String, usize>, started: Instant) {
        let Some(lane) = self.lanes.get(author) else { return };
        let number = seen.entry(author.to_owned()).or_default();
        let age = lane.age(*number, started);
        *number += 1;
        self.latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(age);
        if self.received.fetch_add(1, Ordering::Relaxed) + 1 == self.total.div_ceil(2) {
            self.half.notify_one();
        }
    }
}

/// Connects once half is written, and takes the time until what there was then has come.
async fn join_late(
    protocol: Protocol,
    url: String,
    joiners: usize,
    clients: usize,
    topics: Arc<Vec<Topic>>,
) -> anyhow::Result<Durations> {
    let mut durations = Durations::default();
    if joiners == 0 {
        return Ok(durations);
    }
    topics[0].half.notified().await;
    for joiner in 0..joiners {
        let topic = &topics[joiner % topics.len()];
        let called = Instant::now();
        let socket =
            Socket::open(protocol, &url, clients + joiner, Some(&topic.address), false).await?;
        let wanted = usize::try_from(socket.end_seq)?;
        let (_sink, mut reader) = socket.split();
        reader.read(wanted, None, None::<fn(&str)>).await?;
        durations.push(called.elapsed());
    }
    Ok(durations)
}

type Full = (Client, Document, usize);

async fn open_full(args: &BenchArgs, url: &str, topics: &[Topic]) -> anyhow::Result<Vec<Full>> {
    let mut full = Vec::with_capacity(args.full_clients);
    for index in 0..args.full_clients {
        let user = format!("full-{index}");
        let client = Client::builder(url).user(user).in_memory().open().await?;
        let topic = index % topics.len();
        let document = client.document(&topics[topic].address).await?;
        document.live().await?;
        full.push((client, document, topic));
    }
    Ok(full)
}

/// How much later than `done` the last real client has everything.
async fn wait_for_full(full: &[Full], topics: &[Topic], done: Instant) -> Option<f64> {
    for (_, document, topic) in full {
        let mut changes = document.events();
        while document.status().seq < topics[*topic].total as u64 {
            // Woken by changes; the bound is for those that the view does not show.
            let _ = timeout(Duration::from_millis(5), changes.next()).await;
        }
    }
    (!full.is_empty()).then(|| millis(done.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_gives_each_kind_its_share_of_the_documents() {
        let mix: Mix = "2:1:1".parse().unwrap();
        let kinds: Vec<Kind> = (0..5).map(|document| mix.kind(document)).collect();
        let wanted = [Kind::Likes, Kind::Likes, Kind::Comments, Kind::Typing, Kind::Likes];
        assert_eq!(kinds, wanted);
        assert!("0:0:0".parse::<Mix>().is_err());
        assert!("1:2".parse::<Mix>().is_err());
    }

    #[test]
    fn a_rate_is_a_number_or_max() {
        assert!("max".parse::<Rate>().unwrap().0.is_none());
        assert_eq!("250".parse::<Rate>().unwrap().0, Some(250.0));
        assert!("0".parse::<Rate>().is_err());
    }
}
