//! One simulated device: a session, its store, and the writes that a crash would lose.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::Command;
use syncline_engine::ids::{Address, Ulid, UserId};
use syncline_engine::machine::Machine;
use syncline_engine::session::{
    Config, DocumentStatus, Identity, Input, META_PREFIX, Notice, Resolution, Session, StoreToken,
    StoreWrite,
};

use super::choices::Choices;

pub(super) struct Client {
    pub(super) number: usize,
    pub(super) session: Session,
    /// What is on the device's disk.
    disk: BTreeMap<Vec<u8>, Bytes>,
    /// Writes under way, oldest first.
    writing: VecDeque<(StoreToken, Vec<StoreWrite>)>,
    pub(super) documents: Vec<Address>,
    /// What became of each command that was applied. A crash may repeat an announcement whose
    /// record was not on disk yet; only a different one would be wrong.
    pub(super) resolved: BTreeMap<Ulid, (Address, Command, Resolution)>,
    pub(super) applied: BTreeMap<Ulid, (Address, Command)>,
    pub(super) problems: Vec<String>,
    /// Raised with every start, so that late events of an earlier one are known.
    pub(super) life: u64,
}

impl Client {
    pub(super) fn new(number: usize, choices: &mut Choices, documents: Vec<Address>) -> Self {
        let disk = BTreeMap::new();
        let mut client = Self {
            number,
            session: start(number, choices, &disk),
            disk,
            writing: VecDeque::new(),
            documents,
            resolved: BTreeMap::new(),
            applied: BTreeMap::new(),
            problems: Vec::new(),
            life: 1,
        };
        client.open_documents();
        client
    }

    fn open_documents(&mut self) {
        for address in self.documents.clone() {
            self.session.handle(Timestamp(0), Input::Open { address, write: false });
        }
    }

    /// The process dies; some of the writes under way reach the disk, in order.
    pub(super) fn crash(&mut self, choices: &mut Choices) {
        let reach = choices.index(self.writing.len() + 1);
        for (_, writes) in self.writing.drain(..).take(reach) {
            apply(&mut self.disk, writes);
        }
        self.writing.clear();
        self.session = start(self.number, choices, &self.disk);
        self.life += 1;
        self.open_documents();
    }

    pub(super) fn write(&mut self, token: StoreToken, writes: Vec<StoreWrite>) {
        self.writing.push_back((token, writes));
    }

    /// The oldest write reaches the disk.
    pub(super) fn written(&mut self) -> Option<StoreToken> {
        let (token, writes) = self.writing.pop_front()?;
        apply(&mut self.disk, writes);
        Some(token)
    }

    /// Reads as if every write before had reached the disk.
    pub(super) fn read(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Bytes)> {
        let mut seen = self.disk.clone();
        for (_, writes) in &self.writing {
            apply(&mut seen, writes.clone());
        }
        with_prefix(&seen, prefix)
    }

    pub(super) fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Resolved { id, address, command, resolution } => {
                self.resolved.insert(id, (address, command, resolution));
            }
            Notice::Problem { code, message, .. } => {
                self.problems.push(format!("{code}: {message}"));
            }
            Notice::Connection(_)
            | Notice::Document { .. }
            | Notice::Changed { .. }
            | Notice::Applied { .. }
            | Notice::Dropped { .. }
            | Notice::TokenWanted => {}
        }
    }

    /// How often the device's process died.
    pub(super) const fn crashes(&self) -> u64 {
        self.life - 1
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.writing.is_empty()
            && self.documents.iter().all(|address| {
                matches!(
                    self.session.status(address),
                    Some(DocumentStatus { ready: true, live: true, pending: 0, .. })
                )
            })
    }
}

fn start(number: usize, choices: &mut Choices, disk: &BTreeMap<Vec<u8>, Bytes>) -> Session {
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&choices.bytes());
    seed[16..].copy_from_slice(&choices.bytes());
    let user = UserId::new(&format!("user{number}")).expect("a good name");
    let identity = Identity { user, token: None, agent: "sim".to_owned(), seed };
    let config = Config { compact_after: 8, ..Config::default() };
    Session::new(identity, config, &with_prefix(disk, META_PREFIX)).expect("a readable store")
}

fn with_prefix(disk: &BTreeMap<Vec<u8>, Bytes>, prefix: &[u8]) -> Vec<(Vec<u8>, Bytes)> {
    disk.range(prefix.to_vec()..)
        .take_while(|(key, _)| key.starts_with(prefix))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn apply(disk: &mut BTreeMap<Vec<u8>, Bytes>, writes: Vec<StoreWrite>) {
    for write in writes {
        match write {
            StoreWrite::Put { key, value } => disk.insert(key, value),
            StoreWrite::Delete { key } => disk.remove(&key),
        };
    }
}
