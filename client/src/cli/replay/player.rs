//! One client's part in a replay: its events in the order of the file, each as soon as the client has
//! seen what it needs, online and offline as the schedule says.
//!
//! An event whose need is not met waits, and later events of the same item wait behind it, so the
//! order per item is that of the file. While the client is offline such events are put off until
//! it is back, which keeps the offline share; only when everything left waits does it come back early.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use syncline_client::Pending;
use syncline_engine::document::{Command, PostCommand, TextField, View, text_edit};
use syncline_engine::session::Resolution;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::device::Device;
use super::latency;
use super::plan::{EventIndex, Need};
use super::schedule::Connectivity;
use super::seen;
use super::stage::Stage;
use crate::cli::issue::issue;

/// Commands of one client that may be unresolved while it is online.
const IN_FLIGHT_MAX: usize = 256;
/// Events that may wait for what they need.
const WAITING_MAX: usize = 96;
/// How often waiting events are looked at: much less than a round trip through a disk's flush, and
/// cheap, because only views are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long an offline client may be idle because the others are behind: they may need its work.
const IDLE_OFFLINE: Duration = Duration::from_millis(50);
/// Events whose documents are opened together: each opening waits for the device's disk.
const OPEN_AHEAD: usize = 32;

/// Commands that are not resolved, and whether each is on the device's disk.
#[derive(Default)]
struct InFlight {
    stored: Mutex<BTreeMap<EventIndex, bool>>,
    resolved: Notify,
}

impl InFlight {
    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<EventIndex, bool>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request to kill the client; answered when it is back.
pub(crate) type Kill = oneshot::Sender<()>;

/// Plays one client's events.
pub(crate) struct Player {
    index: usize,
    stage: Arc<Stage>,
    device: Device,
    connectivity: Connectivity,
    queue: VecDeque<EventIndex>,
    waiting: VecDeque<EventIndex>,
    /// Events that may or may not have reached the store before a crash.
    uncertain: HashSet<EventIndex>,
    in_flight: Arc<InFlight>,
    kills: mpsc::UnboundedReceiver<Kill>,
    looked_at: Instant,
    progress_at: Instant,
}

impl Player {
    pub(crate) fn new(
        index: usize,
        stage: Arc<Stage>,
        device: Device,
        connectivity: Connectivity,
        kills: mpsc::UnboundedReceiver<Kill>,
    ) -> Self {
        let queue = stage.plan.events_of(index).collect();
        stage.joined(index, device.client(), connectivity.online());
        let this = Self {
            index,
            stage,
            device,
            connectivity,
            queue,
            waiting: VecDeque::new(),
            uncertain: HashSet::new(),
            in_flight: Arc::default(),
            kills,
            looked_at: Instant::now(),
            progress_at: Instant::now(),
        };
        this.move_front();
        this
    }

    /// Plays everything, then stays online. Answers the device and how many events were played
    /// offline.
    pub(crate) async fn play(mut self) -> anyhow::Result<(Device, u64)> {
        while !(self.queue.is_empty() && self.waiting.is_empty()) {
            if let Ok(kill) = self.kills.try_recv() {
                self = self.die_and_return(kill).await?;
            }
            if self.step().await? {
                self.progress_at = Instant::now();
                continue;
            }
            if !self.connectivity.online() && self.progress_at.elapsed() > IDLE_OFFLINE {
                self.come_online();
                continue;
            }
            if self.is_stuck() {
                bail!("{}", self.what_it_waits_for().await?);
            }
            tokio::select! {
                () = self.in_flight.resolved.notified() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
        self.come_online();
        self.stage.front_moved(self.index, usize::MAX);
        // A kill that comes when everything is played finds nothing to kill any more.
        self.kills.close();
        Ok((self.device, self.connectivity.played_offline()))
    }

    fn set_online(&self, online: bool) {
        self.device.client().set_online(online);
        self.stage.connectivity_changed(self.index, online);
    }

    fn is_stuck(&self) -> bool {
        // Who only waits for the others lets them say what is wrong first.
        let patience = if self.waiting.is_empty() { 2 } else { 1 };
        self.progress_at.elapsed() > self.stage.timeout * patience
    }

    async fn what_it_waits_for(&mut self) -> anyhow::Result<String> {
        let plan = Arc::clone(&self.stage.plan);
        let (client, in_flight) = (self.index, self.in_flight.map().len());
        let Some(first) = self.waiting.front().copied() else {
            return Ok(format!(
                "client {client} makes no progress, {in_flight} commands in flight"
            ));
        };
        let (event, need) = (plan.event(first), plan.need(first));
        let place = plan.place_of(&event.id)?;
        let status = self.device.document(&place).await?.status();
        let connection = self.device.client().status().borrow().connection.clone();
        Ok(format!(
            "client {client} makes no progress: {connection:?}, {in_flight} commands in flight, \
             {event:?} needs {need:?}, {place} is {status:?}"
        ))
    }

    fn come_online(&mut self) {
        self.connectivity.come_online();
        self.set_online(true);
        self.move_front();
    }

    fn move_front(&self) {
        // What is put off until the client is back must not hold the others up: it may need them.
        let waiting = self.waiting.iter().min().filter(|_| self.connectivity.online());
        let front = self.queue.front().into_iter().chain(waiting).min();
        self.stage.front_moved(self.index, front.copied().unwrap_or(usize::MAX));
    }

    /// Does one thing, if there is one to do.
    async fn step(&mut self) -> anyhow::Result<bool> {
        let online = self.connectivity.online();
        if online && self.in_flight.map().len() >= IN_FLIGHT_MAX {
            return Ok(false);
        }
        if online && self.looked_at.elapsed() >= LOOK_EVERY {
            let played = self.look_at_waiting().await?;
            self.looked_at = Instant::now();
            if played {
                self.move_front();
                return Ok(true);
            }
        }
        if self.waiting.len() >= WAITING_MAX || self.queue.is_empty() {
            if !online {
                self.come_online();
            }
            return Ok(!online);
        }
        let Some(next) = self.queue.front().copied() else { return Ok(false) };
        if !self.stage.is_due(next) {
            return Ok(false);
        }
        self.open_ahead(next).await?;
        self.queue.pop_front();
        let id = &self.stage.plan.event(next).id;
        let behind = self.waiting.iter().any(|index| self.stage.plan.event(*index).id == *id);
        if behind || !self.try_play(next).await? {
            self.waiting.push_back(next);
        }
        self.move_front();
        Ok(true)
    }

    /// Opens the documents of the coming events together, if the next one's are not open.
    async fn open_ahead(&mut self, next: EventIndex) -> anyhow::Result<()> {
        if self.device.has_open(&self.stage.plan.address(next)?) {
            return Ok(());
        }
        let plan = &self.stage.plan;
        let mut addresses = BTreeSet::new();
        for index in self.queue.iter().take(OPEN_AHEAD) {
            addresses.insert(plan.address(*index)?);
            if let Need::Item(item) | Need::Text { item, .. } = plan.need(*index)
                && !self.device.knows(item)
            {
                addresses.insert(plan.place_of(item)?);
            }
        }
        self.device.open_all(addresses).await
    }

    /// Plays the waiting events whose need is met, those of one item in order.
    async fn look_at_waiting(&mut self) -> anyhow::Result<bool> {
        let plan = Arc::clone(&self.stage.plan);
        let mut held: HashSet<&str> = HashSet::new();
        let mut played = false;
        for _ in 0..self.waiting.len() {
            let Some(index) = self.waiting.pop_front() else { break };
            let id = plan.event(index).id.as_str();
            if !held.contains(id) && self.connectivity.online() && self.try_play(index).await? {
                played = true;
            } else {
                held.insert(id);
                self.waiting.push_back(index);
            }
        }
        Ok(played)
    }

    async fn try_play(&mut self, index: EventIndex) -> anyhow::Result<bool> {
        let plan = Arc::clone(&self.stage.plan);
        if self.uncertain.contains(&index) {
            let document = self.device.document(&plan.address(index)?).await?;
            if document.with_view(|view| seen::is_shown(&plan, index, view)) {
                self.uncertain.remove(&index);
                return Ok(true);
            }
        }
        if !self.device.has(&plan, plan.need(index)).await? {
            return Ok(false);
        }
        self.play_one(index).await?;
        if !self.uncertain.remove(&index) {
            self.stage.dispatched();
        }
        if self.connectivity.played() {
            self.set_online(self.connectivity.online());
        }
        Ok(true)
    }

    async fn play_one(&mut self, index: EventIndex) -> anyhow::Result<()> {
        let plan = Arc::clone(&self.stage.plan);
        let document = self.device.document(&plan.address(index)?).await?;
        let command = match plan.command(index)? {
            Some(command) => Some(command),
            None => document.with_view(|view| body_edit(view, plan.event(index).text())),
        };
        let Some(command) = command else { return Ok(()) };
        let sample = if self.connectivity.online() {
            latency::Sample::prepare(&self.stage, self.index, index).await
        } else {
            None
        };
        let called = Instant::now();
        match issue(&document, &command).await {
            Ok(pending) => {
                self.track(index, pending);
                if let Some(sample) = sample {
                    sample.follow(called);
                }
            }
            Err(error) => {
                let event = plan.event(index);
                self.stage.problem(format!("{} of {}: {error}", event.kind.as_str(), event.id));
            }
        }
        Ok(())
    }

    fn track(&self, index: EventIndex, pending: Pending) {
        let (in_flight, stage) = (Arc::clone(&self.in_flight), Arc::clone(&self.stage));
        in_flight.map().insert(index, false);
        tokio::spawn(async move {
            if pending.stored().await.is_ok()
                && let Some(stored) = in_flight.map().get_mut(&index)
            {
                *stored = true;
            }
            // A closed client leaves its commands in the map: whoever closed it looks after them.
            let Ok(resolution) = pending.await else { return };
            in_flight.map().remove(&index);
            in_flight.resolved.notify_one();
            match resolution {
                Resolution::Confirmed | Resolution::NoEffect => {}
                Resolution::Superseded | Resolution::Refused { .. } => {
                    let event = stage.plan.event(index);
                    stage.problem(format!(
                        "{} of {} ended as {resolution:?}",
                        event.kind.as_str(),
                        event.id
                    ));
                }
            }
        });
    }

    /// Kills the client and opens it on its store again. What had not reached the store is played
    /// again, as a person would who finds it missing.
    async fn die_and_return(mut self, kill: Kill) -> anyhow::Result<Self> {
        let in_flight = std::mem::take(&mut self.in_flight);
        self.stage.left(self.index, self.device.client());
        let config = self.device.crash().await;
        let lost: Vec<EventIndex> = in_flight
            .map()
            .iter()
            .filter(|(_, stored)| !**stored)
            .map(|(index, _)| *index)
            .collect();
        let online = self.connectivity.online();
        let device = Device::open(config, online).await.context("a killed client can't return")?;
        self.stage.joined(self.index, device.client(), online);
        self.uncertain.extend(&lost);
        for index in lost.into_iter().rev() {
            self.waiting.push_front(index);
        }
        // Nobody waits for the answer if the run is over.
        let _ = kill.send(());
        Ok(Self { device, ..self })
    }
}

/// The edit that turns the body in front of the one who edits into `text`.
fn body_edit(view: &View, text: &str) -> Option<Command> {
    let View::Post(post) = view else { return None };
    let (index, delete, insert) = text_edit(post.body(), text)?;
    Some(Command::Post(PostCommand::Splice { field: TextField::Body, index, delete, insert }))
}
