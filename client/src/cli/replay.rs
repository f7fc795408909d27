//! `syncline replay`: a recorded discussion played through several clients over a real server, and the
//! outcome compared with what the recording implies.
//!
//! The users of the file are spread over the clients; a command carries the user of the file as its
//! author, the connection is one of the replay's own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

mod compare;
mod device;
mod events;
mod latency;
mod names;
mod oracle;
mod plan;
mod player;
mod report;
mod schedule;
mod seen;
mod stage;

use compare::Outcome;
use device::{Device, DeviceConfig};
use events::Events;
use names::Names;
use oracle::Oracle;
use plan::Plan;
use player::{Kill, Player};
use report::{Remarks, Report};
use schedule::{Connectivity, kill_moments};
use stage::Stage;

use super::backend::{Backend, IMPORTER};
use super::progress::Progress;

const SERVER_KILLS: u64 = 0x5e4e;
const CLIENT_KILLS: u64 = 0xc11e;

/// How fast the events are played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// As fast as it goes.
    Max,
    /// So many times faster than recorded.
    Times(f64),
}

impl Speed {
    const fn times(self) -> Option<f64> {
        match self {
            Self::Max => None,
            Self::Times(times) => Some(times),
        }
    }
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if s == "max" {
            return Ok(Self::Max);
        }
        match s.parse::<f64>() {
            Ok(times) if times > 0.0 && times.is_finite() => Ok(Self::Times(times)),
            _ => Err("a speed is max or a number above 0, such as 1000".to_owned()),
        }
    }
}

fn share(s: &str) -> Result<f64, String> {
    match s.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1".to_owned()),
    }
}

/// Plays a recorded discussion through several clients and proves the outcome
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Events as JSON lines, plain or gzipped
    file: PathBuf,
    /// Server to play against, whose importers include "replay"; without it, one is started for the
    /// run
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// How many clients play
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// Share of its events that each client plays offline
    #[arg(long, value_name = "SHARE", default_value = "0.3", value_parser = share)]
    offline_share: f64,
    /// What all random choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// "max", or how many times faster than recorded
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// Space to play in [default: named after the file]
    #[arg(long)]
    space: Option<String>,
    /// Folder for the stores of clients and server, kept [default: a temporary one, removed]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Kill the server (SIGKILL) and restart it so many times; runs it as a child process
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "server")]
    kill_server: usize,
    /// Kill a client without goodbye and reopen it on its store so many times
    #[arg(long, value_name = "N", default_value_t = 0)]
    kill_clients: usize,
    /// Seconds without progress, or of waiting for the end, after which the run has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Documents that each client has open at a time
    #[arg(long, value_name = "N", default_value_t = 200, hide_short_help = true)]
    open_documents: usize,
    /// Print one line of JSON at the end
    #[arg(long)]
    json: bool,
}

/// Runs the command. Answers whether the outcome is as the file implies.
pub(crate) async fn run(args: ReplayArgs) -> anyhow::Result<bool> {
    let plan = read_plan(&args)?;
    let work = WorkDir::new(args.work_dir.clone())?;
    let log = work.path().join("server.log");
    let data = work.path().join("server");
    let mut backend = match &args.server {
        Some(url) => Backend::external(url),
        None if args.kill_server > 0 => Backend::child(data, &log).await?,
        None => Backend::embedded(data).await?,
    };
    let outcome = play(&args, plan, &work, &mut backend).await;
    backend.stop().await;
    outcome
}

fn read_plan(args: &ReplayArgs) -> anyhow::Result<Plan> {
    let mut events = Events::open(&args.file)?;
    let mut oracle = Oracle::default();
    let mut all = Vec::new();
    while let Some(event) = events.next() {
        let event = event.with_context(|| args.file.display().to_string())?;
        oracle
            .apply(&event)
            .with_context(|| format!("{} line {}", args.file.display(), events.line()))?;
        all.push(event);
    }
    if all.is_empty() {
        bail!("{} holds no events", args.file.display());
    }
    let space = args.space.clone().unwrap_or_else(|| names::space_of(&args.file));
    let names = Names::new(&space, &oracle)?;
    Ok(Plan::new(all, oracle, names, args.seed, usize::from(args.clients)))
}

/// The folder of a run; removed at the end unless it was named.
enum WorkDir {
    Named(PathBuf),
    Temporary(tempfile::TempDir),
}

impl WorkDir {
    fn new(named: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = named else {
            let temporary = tempfile::Builder::new().prefix("syncline-replay-").tempdir();
            return Ok(Self::Temporary(temporary.context("can't make a temporary folder")?));
        };
        std::fs::create_dir_all(&path).with_context(|| format!("can't make {}", path.display()))?;
        Ok(Self::Named(path))
    }

    fn path(&self) -> &std::path::Path {
        match self {
            Self::Named(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

async fn play(
    args: &ReplayArgs,
    plan: Plan,
    work: &WorkDir,
    backend: &mut Backend,
) -> anyhow::Result<bool> {
    let clients = usize::from(args.clients);
    let events = plan.oracle().events();
    let config = |name: &str| DeviceConfig {
        url: backend.url(),
        user: IMPORTER.to_owned(),
        store: work.path().join(name),
        documents_max: args.open_documents.max(3),
    };
    let fresh_config = config(&fresh_name());
    let mut devices = Vec::with_capacity(clients);
    for index in 0..clients {
        devices.push(Device::open(config(&format!("client-{index}")), true).await?);
    }
    let limit = Duration::from_secs(args.timeout);
    let progress = Progress::new(events, "playing");
    let bar = progress.bar().clone();
    let stage = Arc::new(Stage::new(plan, clients, args.speed.times(), limit, bar));
    let mut players = JoinSet::new();
    let mut kills = Vec::with_capacity(clients);
    for (index, device) in devices.into_iter().enumerate() {
        let count = stage.plan.events_of(index).count();
        let connectivity = Connectivity::new(args.seed, index, count, args.offline_share);
        let (kill, killed) = mpsc::unbounded_channel();
        kills.push(kill);
        let player = Player::new(index, Arc::clone(&stage), device, connectivity, killed);
        players.spawn(async move { (index, player.play().await) });
    }
    let mut remarks = Remarks::default();
    let killing = kill_as_planned(args, &stage, backend, &kills, &mut remarks);
    let (played, ()) = tokio::try_join!(finished(players), killing)?;
    remarks.offline_events = played.iter().map(|(_, offline)| offline).sum();
    let devices: Vec<Device> = played.into_iter().map(|(device, _)| device).collect();
    synced(&stage, &devices, limit).await?;
    let wall = stage.elapsed();
    drop(progress);
    stage.empty();

    let (mut sent, mut received) = stage.bytes_of_the_killed();
    for device in &devices {
        let status = device.client().status();
        let status = status.borrow();
        sent += status.bytes_sent;
        received += status.bytes_received;
    }
    let outcomes = compare_all(&stage, devices, fresh_config, limit).await?;
    let mut latencies = stage.latencies();
    remarks.samples = latencies.len();
    let Some(fresh) = outcomes.last() else { bail!("nothing was compared") };
    let report = Report {
        events,
        clients,
        converged: outcomes.iter().all(|outcome| outcome.digest == fresh.digest),
        state_matches: outcomes.iter().all(Outcome::matches)
            && fresh.live_likes == stage.plan.oracle().live_likes()
            && fresh.state_sha256 == stage.plan.oracle().state_sha256(),
        state_sha256: fresh.state_sha256.clone(),
        live_likes: fresh.live_likes,
        lost: fresh.lost,
        duplicated: fresh.duplicated,
        wall_s: (wall.as_secs_f64() * 1e3).round() / 1e3,
        #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        events_per_s: (events as f64 / wall.as_secs_f64().max(1e-6)).round(),
        delivery_ms: latencies.percentiles(),
        bytes_sent: sent,
        bytes_received: received,
    };
    print(args, &stage, &outcomes, &report, &remarks)?;
    Ok(report.is_good())
}

/// A store of its own for each run, also in a work folder that is used again.
fn fresh_name() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("fresh-{}", now.map_or(0, |now| now.as_millis()))
}

/// Waits for all players; the first failure ends the run.
async fn finished(
    mut players: JoinSet<(usize, anyhow::Result<(Device, u64)>)>,
) -> anyhow::Result<Vec<(Device, u64)>> {
    let mut all = Vec::new();
    while let Some(player) = players.join_next().await {
        let (index, played) = player.context("a player failed")?;
        let (device, offline) = played?;
        all.push((index, device, offline));
    }
    all.sort_by_key(|(index, _, _)| *index);
    Ok(all.into_iter().map(|(_, device, offline)| (device, offline)).collect())
}

/// Kills what is to be killed, each at the moment that the seed says.
async fn kill_as_planned(
    args: &ReplayArgs,
    stage: &Stage,
    backend: &mut Backend,
    kills: &[mpsc::UnboundedSender<Kill>],
    remarks: &mut Remarks,
) -> anyhow::Result<()> {
    let events = stage.plan.len() as u64;
    let mut random = super::random::SplitMix64::stream(args.seed, CLIENT_KILLS + 1);
    let server = kill_moments(args.seed, SERVER_KILLS, args.kill_server, events);
    let clients = kill_moments(args.seed, CLIENT_KILLS, args.kill_clients, events);
    let mut moments: Vec<(u64, bool)> = server.into_iter().map(|at| (at, true)).collect();
    moments.extend(clients.into_iter().map(|at| (at, false)));
    moments.sort_unstable();
    for (at, is_server) in moments {
        // Counting events is the only clock of the schedule; a look now and then is exact enough.
        while stage.events_dispatched() < at {
            sleep(Duration::from_millis(1)).await;
        }
        if is_server {
            backend.kill_and_restart().await?;
            remarks.servers_killed += 1;
            continue;
        }
        // A client that has played everything can't be killed any more: take the next one.
        let first = random.index(kills.len());
        for offset in 0..kills.len() {
            let (kill, killed) = oneshot::channel();
            let victim = &kills[(first + offset) % kills.len()];
            if victim.send(kill).is_ok() && killed.await.is_ok() {
                remarks.clients_killed += 1;
                break;
            }
        }
    }
    Ok(())
}

/// Waits until every client has everything durable on the server.
async fn synced(stage: &Stage, devices: &[Device], limit: Duration) -> anyhow::Result<()> {
    stage.progress().set_message("syncing");
    for (index, device) in devices.iter().enumerate() {
        let client = device.client();
        let done = async {
            loop {
                client.synced().await?;
                // Documents that are closed but still have something to send.
                if client.pending_documents().await?.is_empty() {
                    return anyhow::Ok(());
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(limit, done).await.with_context(|| {
            let status = client.status().borrow().clone();
            format!("client {index} was not synced in {} s: {status:?}", limit.as_secs())
        })??;
    }
    Ok(())
}

async fn compare_all(
    stage: &Stage,
    devices: Vec<Device>,
    fresh: DeviceConfig,
    limit: Duration,
) -> anyhow::Result<Vec<Outcome>> {
    let posts = stage.plan.oracle().posts().len() as u64;
    let progress = Progress::new(posts * (devices.len() as u64 + 1), "comparing");
    let bar = progress.bar();
    let mut outcomes = Vec::with_capacity(devices.len() + 1);
    for device in devices {
        outcomes.push(compare_one(device, &stage.plan, limit, bar).await?);
    }
    let device = Device::open(fresh, true).await?;
    outcomes.push(compare_one(device, &stage.plan, limit, bar).await?);
    Ok(outcomes)
}

async fn compare_one(
    device: Device,
    plan: &Plan,
    limit: Duration,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<Outcome> {
    let client = device.close_documents();
    let outcome = compare::compare(&client, plan, limit, || bar.inc(1)).await;
    client.close().await;
    outcome
}

fn print(
    args: &ReplayArgs,
    stage: &Stage,
    outcomes: &[Outcome],
    report: &Report,
    remarks: &Remarks,
) -> anyhow::Result<()> {
    for (index, outcome) in outcomes.iter().enumerate().filter(|(_, outcome)| !outcome.matches()) {
        let who = if index + 1 == outcomes.len() {
            "the fresh client".to_owned()
        } else {
            format!("client {index}")
        };
        let (lost, duplicated, altered) = (outcome.lost, outcome.duplicated, outcome.altered);
        eprintln!("{who}: {lost} lost, {duplicated} duplicated, {altered} altered; the first:");
        for difference in &outcome.differences {
            eprintln!("  {difference}");
        }
    }
    let (count, problems) = stage.problems();
    if count > 0 {
        eprintln!("{count} commands did not end well; the first:");
        problems.iter().for_each(|problem| eprintln!("  {problem}"));
    }
    print!("{}", report.table(remarks));
    println!("space                   {}", stage.plan.names().space());
    if args.json {
        println!("{}", serde_json::to_string(report)?);
    }
    Ok(())
}
