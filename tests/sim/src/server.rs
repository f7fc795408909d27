//! The simulated server: a hub, and the disk under it, which outlives it and fails in the ways that
//! disks do.

use std::sync::Arc;

use automerge::Automerge;
use syncline_engine::clock::Timestamp;
use syncline_engine::hub::{
    self, Config, ConnectionId, Hub, Identity, RolledOver, StoredStream, compact,
};
use syncline_engine::ids::{Address, Cursor, Epoch, StreamAddress};
use syncline_engine::machine::Machine;
use syncline_engine::storage::record::DigestKey;
use syncline_engine::storage::{Append, LogHead, LogStore, StoreError};

use crate::choices::Choices;
use crate::disk::Disk;
use crate::oracle::Mirror;
use crate::tokens::ReadsTokens;
use crate::world::{Event, World};

const DIGEST_KEY: DigestKey = DigestKey([7; 32]);

/// A copy of the disk, and what the oracle knows to be on it.
#[derive(Debug, Clone)]
pub(crate) struct Backup {
    pub(crate) disk: Disk,
    pub(crate) mirror: Mirror,
}

pub(crate) struct Server {
    pub(crate) disk: Disk,
    /// Ownership terms that were ever given out, the highest.
    term: u64,
    pub(crate) hub: Option<Hub>,
    config: Config,
    asks_tokens: bool,
    /// Raised with every start, so that late events of an earlier one are known.
    pub(crate) life: u64,
    /// The commit under way: durable or not is not known until it ends.
    committing: Option<Vec<Append>>,
    pub(crate) dice: Choices,
    pub(crate) backup: Option<Backup>,
    /// The next write fails; whether it reaches the disk all the same.
    pub(crate) fails_write: Option<bool>,
    pub(crate) full_until: u64,
    pub(crate) slow_until: u64,
    pub(crate) fails_reads: u64,
    /// How long it stays away once it has ended in good order.
    pub(crate) back_after: Option<u64>,
    /// The hub has a reason to stop by itself.
    pub(crate) may_stop: bool,
    /// Something that is stored was spoilt, or could not be read, in this run.
    pub(crate) was_damaged: bool,
}

impl Server {
    pub(crate) fn new(config: Config, asks_tokens: bool, seed: u64) -> Self {
        Self {
            disk: Disk::new(),
            term: 0,
            hub: None,
            config,
            asks_tokens,
            life: 0,
            committing: None,
            dice: Choices::of(seed, 1),
            backup: None,
            fails_write: None,
            full_until: 0,
            slow_until: 0,
            fails_reads: 0,
            back_after: None,
            may_stop: false,
            was_damaged: false,
        }
    }

    pub(crate) const fn is_committing(&self) -> bool {
        self.committing.is_some()
    }

    fn compact(
        &self,
        address: &Address,
        cursor: Cursor,
        keep_from: u64,
    ) -> Result<LogHead, StoreError> {
        let failed = |why: String| StoreError::Failed(why);
        let old = hub::snapshot(&self.disk, address)?;
        let from_seq = old.as_ref().map_or(1, |old| old.cursor.seq + 1);
        let records = self.disk.read(address, from_seq, usize::MAX)?;
        let snapshot = compact(address, cursor, old.as_ref(), &records)
            .map_err(|error| failed(error.to_string()))?;
        self.disk.put_snapshot(address, &snapshot, keep_from)?;
        self.disk.head(address)?.ok_or_else(|| failed("the log is gone".to_owned()))
    }

    /// A stream as a hub would read it.
    pub(crate) fn read_stream(&self, address: &StreamAddress) -> Result<StoredStream, String> {
        let loaded = hub::load(&self.disk, address.log()).map_err(|error| error.to_string())?;
        let (head, records) = loaded.ok_or("there is no log")?;
        hub::read_stream(&DIGEST_KEY, &head, &records).map_err(|error| error.to_string())
    }

    fn disk_delay(&mut self, now: u64) -> u64 {
        let longest = if now < self.slow_until { 4_000 } else { 8 };
        1 + self.dice.below(longest)
    }

    /// Whether a read fails for no reason that is on the disk.
    fn read_fails(&mut self) -> bool {
        let fails = self.fails_reads > 0;
        self.fails_reads = self.fails_reads.saturating_sub(1);
        self.was_damaged |= fails;
        fails
    }

    /// Reads from the disk, unless it is to fail.
    fn reading<T>(
        &mut self,
        read: impl FnOnce(&Disk) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.read_fails() { unreadable() } else { read(&self.disk) }
    }
}

fn unreadable<T>() -> Result<T, StoreError> {
    Err(StoreError::Failed("the device does not answer".to_owned()))
}

impl World {
    /// Starts a hub on the disk. The term is above every earlier one because the clock is.
    pub(crate) fn start_server(&mut self) {
        self.judge_refused();
        if self.server.hub.is_some() {
            return;
        }
        let server = &mut self.server;
        server.term = (server.term + 1).max(self.now);
        let identity = Identity { term: server.term, digest_key: DIGEST_KEY };
        let hub = Hub::new(server.config, identity);
        server.hub = Some(match server.asks_tokens {
            true => hub.with_authenticator(Arc::new(ReadsTokens)),
            false => hub,
        });
        server.life += 1;
        server.may_stop = false;
        self.oracle.server_started();
        self.sweep_wires();
        self.story.note(self.now, "server", "starts");
    }

    /// The process is gone. A commit under way has reached the disk, or it has not.
    pub(crate) fn end_server(&mut self, reached: bool) {
        self.server.hub = None;
        if let Some(appends) = self.server.committing.take() {
            let full = self.now < self.server.full_until;
            if reached && !full && self.server.disk.append(&appends).is_ok() {
                self.oracle.durable(&appends);
            } else {
                self.report.count_incident("unsynced_write_lost");
            }
        }
        let wires: Vec<u64> =
            self.network.wires.iter().filter(|(_, w)| w.carries).map(|(id, _)| *id).collect();
        for wire in wires {
            let after = self.server.dice.below(3_000);
            self.cut(wire, None, Some(after));
        }
    }

    pub(crate) fn crash_server(&mut self, reached: bool, down_ms: u64) {
        if self.server.hub.is_some() {
            self.end_server(reached);
            self.at(down_ms, Event::StartServer);
        }
    }

    fn commit_begins(&mut self, appends: Vec<Append>) {
        if self.server.committing.is_some() {
            self.complain("store", "two commits at once".to_owned());
        }
        self.server.committing = Some(appends);
        let delay = self.server.disk_delay(self.now);
        let life = self.server.life;
        self.at(delay, Event::Committed { life });
    }

    /// The commit under way has come to its end.
    pub(crate) fn commit_ends(&mut self) {
        let Some(appends) = self.server.committing.take() else { return };
        let server = &mut self.server;
        let full = self.now < server.full_until;
        let fails = server.fails_write.take();
        let result = if full || fails == Some(false) {
            self.report.count_incident("write_failed");
            Err(StoreError::Failed("no space, or a bad sector".to_owned()))
        } else {
            let result = server.disk.append(&appends);
            if result.is_ok() {
                self.oracle.durable(&appends);
            }
            match fails {
                Some(true) if result.is_ok() => {
                    self.report.count_incident("write_reached_the_disk_and_failed");
                    Err(StoreError::Failed("the sync failed".to_owned()))
                }
                _ => result,
            }
        };
        if let Err(error) = &result {
            self.server.may_stop = true;
            if matches!(error, StoreError::Conflict { .. }) {
                self.complain("store", format!("the hub and the disk disagree: {error}"));
            }
        }
        self.tell_hub(hub::Input::Committed { result });
    }

    pub(crate) fn tell_hub(&mut self, input: hub::Input) {
        let Some(hub) = &mut self.server.hub else {
            return;
        };
        hub.handle(Timestamp(self.now), input);
        let life = self.server.life;
        while self.server.life == life
            && let Some(effect) = self.server.hub.as_mut().and_then(Machine::poll_effect)
        {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: hub::Effect) {
        let input = match effect {
            hub::Effect::Send { connection, message } => {
                return self.send(connection.0, false, message);
            }
            hub::Effect::Close { connection, code } => {
                let ConnectionId(id) = connection;
                return self.close_from_server(id, code);
            }
            hub::Effect::Hold { connection, pause } => return self.hold(connection.0, pause),
            hub::Effect::Commit { appends } => return self.commit_begins(appends),
            hub::Effect::Stop => return self.hub_stopped(),
            hub::Effect::Load { address } => {
                let fresh_epoch = Epoch(self.server.dice.bytes());
                let loaded = self.server.reading(|disk| hub::load(disk, &address));
                self.report.count_incident(if loaded.is_ok() { "load" } else { "load_failed" });
                hub::Input::Loaded { address, fresh_epoch, loaded }
            }
            hub::Effect::ReadRules { space } => {
                let rules = self.server.reading(|disk| hub::rules(disk, &space));
                self.report.count_incident(if rules.is_ok() { "rules" } else { "rules_failed" });
                hub::Input::RulesRead { space, rules }
            }
            hub::Effect::Index { address } => {
                let gate = self.server.reading(|disk| hub::index(disk, &address));
                self.report.count_incident(if gate.is_ok() { "gate" } else { "gate_failed" });
                hub::Input::Indexed { address, gate }
            }
            hub::Effect::Read { request, address, from_seq, bytes_max } => {
                let result = self.server.reading(|disk| disk.read(&address, from_seq, bytes_max));
                self.report.count_incident("read_behind");
                hub::Input::RecordsRead { request, result }
            }
            hub::Effect::ReadSnapshot { request, address, cursor, offset, bytes_max } => {
                let read = |disk: &Disk| disk.read_snapshot(&address, cursor, offset, bytes_max);
                let result = self.server.reading(read);
                self.report.count_incident("read_snapshot");
                hub::Input::SnapshotRead { request, result }
            }
            hub::Effect::Compact { address, cursor, keep_from } => {
                let result = self.compact(&address, cursor, keep_from);
                hub::Input::Compacted { address, result }
            }
            hub::Effect::RollOver { address, end, at, keep_since } => {
                let result = self.roll_over(&address, end, at, keep_since);
                hub::Input::RolledOver { address, result }
            }
            hub::Effect::ReadPosts { request, space, wanted } => {
                let result = self.server.reading(|disk| disk.posts(&space, &wanted));
                self.report.count_incident("read_posts");
                hub::Input::PostsRead { request, result }
            }
            hub::Effect::Summarise { space, after } => {
                let result = hub::summarise(&self.server.disk, &space, after);
                hub::Input::Summarised { space, result }
            }
            hub::Effect::EmptySpace { .. }
            | hub::Effect::ForgetUser { .. }
            | hub::Effect::Rewrite { .. } => unreachable!("no operator is in this world"),
        };
        let delay = self.server.disk_delay(self.now);
        let life = self.server.life;
        self.at(delay, Event::Server { life, input: Box::new(input) });
    }

    fn compact(
        &mut self,
        address: &Address,
        cursor: Cursor,
        keep_from: u64,
    ) -> Result<LogHead, StoreError> {
        let full = self.now < self.server.full_until;
        let run = || self.server.compact(address, cursor, keep_from);
        let result = if full { unreadable() } else { run() };
        match &result {
            Ok(_) => self.report.count_incident("compaction"),
            Err(_) if full || self.server.was_damaged => {
                self.report.count_incident("compaction_failed");
            }
            Err(error) => self.complain("store", format!("compaction failed: {error}")),
        }
        result
    }

    fn roll_over(
        &mut self,
        address: &Address,
        end: Cursor,
        at: Timestamp,
        keep_since: Timestamp,
    ) -> Result<RolledOver, StoreError> {
        let epoch = Epoch(self.server.dice.bytes());
        if self.now < self.server.full_until {
            self.report.count_incident("rollover_failed");
            return unreadable();
        }
        let disk = &self.server.disk;
        let result = hub::roll_over(disk, address, end, epoch, at, keep_since);
        match &result {
            Ok(_) => {
                self.report.count_incident("rollover");
                let head = self.server.disk.head(address).ok().flatten();
                let first = head.and_then(|head| head.snapshot).and_then(|first| {
                    self.server.disk.read_snapshot(address, first.cursor, 0, usize::MAX).ok()?
                });
                match first.and_then(|body| Automerge::load(&body).ok()) {
                    Some(begins) => self.oracle.rolled_over(address, &begins),
                    None => self.complain("rollover", format!("{address} begins with nothing")),
                }
            }
            Err(_) if self.server.was_damaged => self.report.count_incident("rollover_failed"),
            Err(error) => self.complain("store", format!("rollover failed: {error}")),
        }
        result
    }

    /// The hub asks for its process to end.
    fn hub_stopped(&mut self) {
        if !self.server.may_stop {
            self.complain("stop", "the hub stopped by itself".to_owned());
        }
        self.story.note(self.now, "server", "ends by itself");
        self.end_server(false);
        if !self.leaving {
            let pause = 50 + self.server.dice.below(3_000);
            let pause = self.server.back_after.take().unwrap_or(pause);
            self.at(pause, Event::StartServer);
        }
    }
}
