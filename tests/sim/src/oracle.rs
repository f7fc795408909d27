//! What must be true of the whole world while it runs. Stupid on purpose: a ledger of what was made
//! durable, and a comparison of everything that is said with it.

use std::collections::{BTreeMap, BTreeSet};

use automerge::Automerge;
use bytes::Bytes;
use syncline_engine::change;
use syncline_engine::codes::Code;
use syncline_engine::ids::{ActorId, Address, ChangeHash, OutboxId, StreamAddress, Ulid};
use syncline_engine::storage::{Append, Entry};
use syncline_engine::wire::frame::{Ack, Changes, Reject, Subscribed};
use syncline_engine::wire::{ClientFrame, ServerFrame, unpack};

use crate::law::{Law, Shadow};
use crate::report::Violation;
use crate::texts::MirroredStream;

/// One document's log as it must be on the server's disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct MirroredLog {
    /// By seq, from 1.
    pub(crate) hashes: Vec<ChangeHash>,
    present: BTreeSet<ChangeHash>,
    /// How many there were when the present epoch began, and with how many changes of its own.
    pub(crate) begun: (usize, usize),
    /// The highest number, and when it came.
    settled: BTreeMap<OutboxId, (u64, u64)>,
    /// When its last change was accepted.
    pub(crate) last_at: u64,
    shadow: Option<Box<Shadow>>,
}

/// All logs as they must be on the server's disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mirror {
    pub(crate) logs: BTreeMap<Address, MirroredLog>,
    pub(crate) streams: BTreeMap<StreamAddress, MirroredStream>,
}

impl Mirror {
    pub(crate) fn has(&self, address: &Address, hash: ChangeHash) -> bool {
        self.logs.get(address).is_some_and(|log| log.present.contains(&hash))
    }

    pub(crate) fn end(&self, address: &Address) -> u64 {
        self.logs.get(address).map_or(0, |log| log.hashes.len() as u64)
    }

    fn settled(&self, address: &Address, outbox: OutboxId) -> u64 {
        let settled = self.logs.get(address).and_then(|log| log.settled.get(&outbox));
        settled.map_or(0, |(number, _)| *number)
    }
}

/// What was said on one connection, as far as it gives meaning to what is said later.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    outboxes: BTreeMap<Address, OutboxId>,
    handles: BTreeMap<u32, Address>,
    acked: BTreeMap<u32, u64>,
    pushed: BTreeMap<(u32, u64), ChangeHash>,
    /// Streams by their handles.
    pub(crate) streams: BTreeMap<u32, StreamAddress>,
}

/// A client that had a change when the server lost it.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) client: usize,
    pub(crate) life: u64,
    /// Where it had no answer to the command of that change: this command, after those before it without
    /// an answer. Empty where it knows that the change was accepted.
    pub(crate) unanswered: Vec<Ulid>,
}

/// Knows everything that any server ever made durable.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) mirror: Mirror,
    pub(crate) law: Law,
    /// For how long at least the server remembers what is settled, in milliseconds.
    offline_window: u64,
    /// (document, actor, seq) names one change in the whole world, for ever.
    names: BTreeMap<(Address, ActorId, u64), ChangeHash>,
    /// Changes that a backup does not have, with who held them when it came back.
    pub(crate) lost: BTreeMap<(Address, ChangeHash), Vec<Holder>>,
    /// Documents in which something was taken back from somebody by his word alone.
    pub(crate) believed: BTreeSet<Address>,
    /// Changes that were refused for what they are.
    pub(crate) refused: BTreeSet<(Address, ChangeHash)>,
    /// Every text that a stream ever had on disk, none of which begins another.
    pub(crate) texts: BTreeMap<StreamAddress, Vec<String>>,
    /// Streams whose interrupt was answered.
    pub(crate) interrupted: BTreeSet<StreamAddress>,
    /// Frames that were found good, to look once at what goes to many.
    looked_at: Vec<Bytes>,
    /// Honest messages that were overheard, for hostile clients to play with.
    pub(crate) overheard: Vec<Bytes>,
    pub(crate) violations: Vec<Violation>,
}

/// Messages that are remembered for hostile clients.
const OVERHEARD_MAX: usize = 64;

impl Oracle {
    pub(crate) fn new(asks_tokens: bool, offline_window: u64) -> Self {
        Self { law: Law::new(asks_tokens), offline_window, ..Self::default() }
    }

    pub(crate) fn complain(&mut self, rule: &str, what: String) {
        self.violations.push(Violation { rule: rule.to_owned(), what });
    }

    pub(crate) fn server_started(&mut self) {
        self.looked_at.clear();
    }

    /// Notes what became durable.
    pub(crate) fn durable(&mut self, appends: &[Append]) {
        for Append { address, record, .. } in appends {
            if let Some(stream) = StreamAddress::of(address) {
                self.stream_grew(&stream, &record.entries);
                continue;
            }
            for entry in &record.entries {
                self.note(address, entry);
            }
        }
    }

    fn note(&mut self, address: &Address, entry: &Entry) {
        let header = match change::read(&entry.change) {
            Ok(header) => header,
            Err(error) => {
                return self.complain("gate", format!("{address}: a durable change: {error}"));
            }
        };
        let name = (address.clone(), header.actor, header.seq);
        let other = self.names.insert(name, header.hash);
        if other.is_some_and(|other| other != header.hash) {
            let what =
                format!("{address}: {:?} seq {} names two changes", header.actor, header.seq);
            self.complain("names", what);
        }
        // Where names are believed, so is what is handed back.
        if entry.command.is_none() && !self.law.asks_tokens {
            self.believed.insert(address.clone());
        }
        let must_prove = self.law.asks_tokens && entry.author.as_str() != "server";
        if entry.command.is_none() && must_prove && other.is_none() {
            self.complain(
                "law",
                format!("{address}: {} brought back what never was", entry.author),
            );
        }
        let log = self.mirror.logs.entry(address.clone()).or_default();
        if let Err(what) = self.law.judge(address, entry, &mut log.shadow) {
            self.complain("law", format!("{address}: {what}"));
        }
        let log = self.mirror.logs.entry(address.clone()).or_default();
        log.last_at = log.last_at.max(entry.at.0);
        let fresh = log.present.insert(header.hash);
        log.hashes.push(header.hash);
        let mut repeated = None;
        if let Some(command) = entry.command {
            let (settled, at) = log.settled.entry(command.outbox).or_default();
            // What was settled long ago may be forgotten; numbers begin anew then.
            if command.number <= *settled && entry.at.0 - *at < self.offline_window {
                repeated = Some(command.number);
            }
            (*settled, *at) = (command.number, entry.at.0);
        }
        if !fresh {
            self.complain("twice", format!("{address}: one change is in the log twice"));
        }
        if let Some(number) = repeated {
            self.complain("twice", format!("{address}: command {number} is in the log again"));
        }
        self.lost.remove(&(address.clone(), header.hash));
    }

    /// A document's epoch ended; this is what the next begins with.
    pub(crate) fn rolled_over(&mut self, address: &Address, begins: &Automerge) {
        let changes = begins.get_changes(&[]);
        for change in &changes[1..] {
            let Ok(header) = change::read(change.raw_bytes()) else {
                return self.complain("gate", format!("{address}: an epoch begins badly"));
            };
            let name = (address.clone(), header.actor, header.seq);
            if self.names.insert(name, header.hash).is_some() {
                self.complain("names", format!("{address}: {:?} begins twice", header.actor));
            }
        }
        // What a backup lacked can't come back as it was any more: who has it is told, or makes it anew.
        self.lost.retain(|(lost, _), _| lost != address);
        let log = self.mirror.logs.entry(address.clone()).or_default();
        log.begun = (log.hashes.len(), changes.len() - 1);
        let before = log.shadow.replace(Box::new(Shadow::of(address, begins)));
        let shows_same =
            |before: Box<Shadow>| log.shadow.as_ref().is_some_and(|s| s.shows(&before));
        if !before.is_none_or(shows_same) {
            self.complain("rollover", format!("{address}: the next epoch shows something else"));
        }
    }

    /// A client says something.
    pub(crate) fn said(&mut self, talk: &mut Talk, message: &Bytes, honest: bool) {
        // Subscribe and Push; the rest needs no memory.
        if !matches!(message.get(1), Some(2 | 5)) {
            return;
        }
        match ClientFrame::decode(message) {
            Ok(ClientFrame::Subscribe(frame)) => {
                if let Ok(address) = frame.address.parse() {
                    talk.outboxes.insert(address, OutboxId(frame.outbox));
                }
            }
            Ok(ClientFrame::Push(push)) if honest => {
                for (number, change) in (push.first..).zip(&push.changes) {
                    if let Ok(header) = change::read(&change.0) {
                        talk.pushed.insert((push.handle, number), header.hash);
                    }
                }
                if self.overheard.len() >= OVERHEARD_MAX {
                    self.overheard.remove(0);
                }
                self.overheard.push(message.clone());
            }
            _ => {}
        }
    }

    /// The server says something.
    pub(crate) fn sent(&mut self, talk: &mut Talk, message: &Bytes) {
        let Some(kind) = message.get(1) else { return };
        if (90..=95).contains(kind) {
            return self.said_of_streams(talk, message);
        }
        if !(65..=70).contains(kind) {
            return;
        }
        match ServerFrame::decode(message) {
            Ok(ServerFrame::Subscribed(frame)) => self.subscribed(talk, &frame),
            Ok(ServerFrame::Changes(changes)) => self.changes(talk, message, &changes),
            Ok(ServerFrame::PackedChanges(packed)) => match unpack(&packed) {
                Ok(changes) => self.changes(talk, message, &changes),
                Err(error) => self.complain("frame", format!("the hub packs badly: {error}")),
            },
            Ok(ServerFrame::Ack(ack)) => self.acknowledged(talk, ack),
            Ok(ServerFrame::Reject(reject)) => self.rejected(talk, &reject),
            Ok(_) => {}
            Err(error) => self.complain("frame", format!("the hub says nonsense: {error}")),
        }
    }

    fn subscribed(&mut self, talk: &mut Talk, frame: &Subscribed) {
        let Ok(address) = frame.address.parse::<Address>() else { return };
        let end = self.mirror.end(&address);
        if frame.end_seq > end {
            let what = format!("{address}: the log ends at {end}, the hub says {}", frame.end_seq);
            self.complain("early", what);
        }
        let outbox = talk.outboxes.get(&address).copied();
        let settled = outbox.map_or(0, |outbox| self.mirror.settled(&address, outbox));
        if frame.settled > settled {
            let what = format!("{address}: {settled} is durable, the hub says {}", frame.settled);
            self.complain("ack_early", what);
        }
        talk.acked.insert(frame.handle, frame.settled);
        talk.handles.insert(frame.handle, address);
    }

    /// Nothing is shown to anybody that is not in the log on disk, at that place.
    fn changes(&mut self, talk: &Talk, message: &Bytes, changes: &Changes) {
        if self.looked_at.iter().any(|seen| seen.as_ptr() == message.as_ptr()) {
            return;
        }
        let Some(address) = talk.handles.get(&changes.handle) else {
            return self.complain("frame", "changes of a document that was not opened".to_owned());
        };
        let log = self.mirror.logs.get(address);
        for (seq, entry) in (changes.first_seq..).zip(&changes.entries) {
            let place = usize::try_from(seq - 1).unwrap_or(usize::MAX);
            let expected = log.and_then(|log| log.hashes.get(place)).copied();
            let got = change::read(&entry.change.0).ok().map(|header| header.hash);
            if got.is_none() || got != expected {
                let what = format!("{address}: seq {seq} was shown and is not so on disk");
                return self.complain("early", what);
            }
        }
        if self.looked_at.len() >= 16 {
            self.looked_at.remove(0);
        }
        self.looked_at.push(message.clone());
    }

    fn acknowledged(&mut self, talk: &mut Talk, ack: Ack) {
        let Some(address) = talk.handles.get(&ack.handle) else { return };
        let outbox = talk.outboxes.get(address).copied();
        let settled = outbox.map_or(0, |outbox| self.mirror.settled(address, outbox));
        if ack.number > settled {
            let what = format!("{address}: {} acknowledged, {settled} durable", ack.number);
            return self.complain("ack_early", what);
        }
        let before = talk.acked.insert(ack.handle, ack.number).unwrap_or(0);
        if ack.number < before {
            let what = format!("{address}: {} acknowledged after {before}", ack.number);
            self.complain("ack_order", what);
        }
    }

    fn rejected(&mut self, talk: &Talk, reject: &Reject) {
        let about_place = Code::from_number(reject.code).is_none_or(|code| {
            code.is_about_place() || matches!(code, Code::NumberGap | Code::OutboxReused)
        });
        let address = talk.handles.get(&reject.handle);
        let change = talk.pushed.get(&(reject.handle, reject.number));
        // What was in the log once may come back from others, whatever its author may do by then.
        let was_there = |hash: &ChangeHash| self.names.values().any(|name| name == hash);
        if let (Some(address), Some(hash), false) = (address, change, about_place)
            && !was_there(hash)
        {
            self.refused.insert((address.clone(), *hash));
        }
    }
}
