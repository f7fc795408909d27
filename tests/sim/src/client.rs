//! One simulated device: a session, its store, its clock, and the writes that a crash would lose.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::Command;
use syncline_engine::ids::{Address, Ulid, UserId};
use syncline_engine::machine::Machine;
use syncline_engine::session::{
    ConnectionId, ConnectionStatus, DocumentStatus, Identity, META_PREFIX, Notice, Resolution,
    Session, StoreToken, StoreWrite,
};

use crate::app::App;
use crate::choices::Choices;
use crate::report::Violation;
use crate::run::ClientSetup;

/// A device's store: an ordered map of byte strings.
pub(crate) type Store = BTreeMap<Vec<u8>, Bytes>;

/// A write under way, and the commands whose storing it is.
struct Writing {
    token: StoreToken,
    writes: Vec<StoreWrite>,
    commands: Vec<Ulid>,
}

/// How a command ended, and in which life of the client that was told.
pub(crate) struct Ending {
    pub(crate) life: u64,
    pub(crate) resolution: Resolution,
}

pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) user: UserId,
    pub(crate) setup: ClientSetup,
    pub(crate) session: Session,
    /// Raised with every start, so that late events of an earlier one are known.
    pub(crate) life: u64,
    /// The process has ended and the next has not begun.
    pub(crate) down: bool,
    /// What is on the device's disk.
    disk: Store,
    /// A copy of it that may come back.
    pub(crate) copy: Option<Store>,
    writing: VecDeque<Writing>,
    pub(crate) documents: Vec<Address>,
    /// Its own choices: delays of its network and its disk.
    pub(crate) dice: Choices,
    /// Its clock less the world's, in milliseconds.
    pub(crate) offset_ms: i64,
    pub(crate) frozen_until: u64,
    pub(crate) reads_from: u64,
    pub(crate) partitioned_until: u64,
    /// The connection that it has asked for and not ended.
    pub(crate) connection: Option<ConnectionId>,
    /// Commands that were applied, with where and what.
    pub(crate) applied: BTreeMap<Ulid, (Address, Command)>,
    /// Of these, the ones that are on disk and so must come to an end.
    pub(crate) owed: BTreeSet<Ulid>,
    pub(crate) endings: BTreeMap<Ulid, Vec<Ending>>,
    pub(crate) problems: Vec<(Code, String)>,
    /// Documents of which it was told that the server does not take something back.
    pub(crate) gave_up: BTreeSet<Address>,
    /// Documents of which it was told that they have gone on without it.
    pub(crate) left_behind: BTreeSet<Address>,
    /// The store was lost or an old copy of it came back.
    pub(crate) store_destroyed: bool,
    pub(crate) store_restored: bool,
    pub(crate) status: ConnectionStatus,
    pub(crate) token_wanted: bool,
    /// It was asked to end and has not yet.
    pub(crate) ending: bool,
    pub(crate) violations: Vec<Violation>,
    /// Its clock went back at some time.
    pub(crate) clock_jumped: bool,
    pub(crate) app: App,
}

impl Client {
    pub(crate) fn new(
        number: usize,
        seed: u64,
        setup: ClientSetup,
        documents: Vec<Address>,
    ) -> Self {
        let user = UserId::new(&format!("user{}", setup.user)).expect("a good name");
        let mut dice = Choices::of(seed, 1_000 + number as u64);
        let disk = Store::new();
        let session = begin(&user, &setup, &mut dice, &disk, None);
        Self {
            number,
            user,
            offset_ms: setup.skew_ms,
            setup,
            session,
            life: 0,
            down: true,
            disk,
            copy: None,
            writing: VecDeque::new(),
            documents,
            dice,
            frozen_until: 0,
            reads_from: 0,
            partitioned_until: 0,
            connection: None,
            applied: BTreeMap::new(),
            owed: BTreeSet::new(),
            endings: BTreeMap::new(),
            problems: Vec::new(),
            gave_up: BTreeSet::new(),
            left_behind: BTreeSet::new(),
            store_destroyed: false,
            store_restored: false,
            status: ConnectionStatus::Idle,
            token_wanted: false,
            ending: false,
            violations: Vec::new(),
            clock_jumped: false,
            app: App::default(),
        }
    }

    /// The time on its clock.
    pub(crate) const fn clock(&self, now: u64) -> Timestamp {
        Timestamp(now.saturating_add_signed(self.offset_ms))
    }

    /// When the session wants a tick, in the world's time.
    pub(crate) fn wake(&self) -> Option<u64> {
        if self.down {
            return None;
        }
        let at = self.session.poll_timeout()?.at.0;
        Some(at.saturating_add_signed(-self.offset_ms).max(self.frozen_until))
    }

    /// The process dies; of the writes under way the first `reach` are on disk.
    pub(crate) fn crash(&mut self, reach: usize) {
        for _ in 0..reach {
            self.written();
        }
        self.writing.clear();
        self.down = true;
        self.connection = None;
        self.frozen_until = 0;
        self.app.ended();
    }

    pub(crate) fn writes_under_way(&self) -> usize {
        self.writing.len()
    }

    /// The store is replaced; nothing that was on it is owed any more.
    pub(crate) fn replace_store(&mut self, store: Store) {
        self.disk = store;
        self.owed.clear();
        self.store_destroyed = true;
    }

    pub(crate) fn copy_store(&mut self) {
        self.copy = Some(self.disk.clone());
    }

    /// The process begins again on what is on its disk.
    pub(crate) fn start(&mut self, token: Option<String>) {
        self.session = begin(&self.user, &self.setup, &mut self.dice, &self.disk, token);
        self.life += 1;
        self.app.ended();
        self.down = false;
        self.ending = false;
        self.connection = None;
        self.status = ConnectionStatus::Idle;
        self.token_wanted = false;
    }

    pub(crate) fn write(&mut self, token: StoreToken, writes: Vec<StoreWrite>) {
        self.writing.push_back(Writing { token, writes, commands: Vec::new() });
    }

    /// The command is part of what is being written.
    pub(crate) fn wrote(&mut self, command: Ulid) {
        match self.writing.back_mut() {
            Some(last) => last.commands.push(command),
            None => {
                self.owed.insert(command);
            }
        }
    }

    /// The oldest write reaches the disk.
    pub(crate) fn written(&mut self) -> Option<StoreToken> {
        let Writing { token, writes, commands } = self.writing.pop_front()?;
        apply(&mut self.disk, writes);
        let endings = &self.endings;
        self.owed.extend(commands.into_iter().filter(|id| !endings.contains_key(id)));
        Some(token)
    }

    /// Reads as if every write before had reached the disk.
    pub(crate) fn read(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Bytes)> {
        let mut seen = self.disk.clone();
        for writing in &self.writing {
            apply(&mut seen, writing.writes.clone());
        }
        with_prefix(&seen, prefix)
    }

    /// Takes a notice in. Answers the command that ended with it.
    pub(crate) fn hear(&mut self, notice: Notice) -> Option<(Ulid, Resolution)> {
        match notice {
            Notice::Resolved { id, resolution, .. } => {
                self.owed.remove(&id);
                self.ended(id, resolution.clone());
                return Some((id, resolution));
            }
            Notice::Problem { address: Some(address), message, .. }
                if message.ends_with("does not take them back")
                    || message.ends_with("does not take it again") =>
            {
                self.gave_up.insert(address);
            }
            Notice::Problem { address: Some(address), code: Code::TooOld, .. } => {
                self.left_behind.insert(address);
            }
            Notice::Problem { code, message, .. } => self.problems.push((code, message)),
            Notice::Connection(status) => self.status = status,
            Notice::Space { space, news } => self.app.space_news.push((space, news)),
            Notice::Stream { address } => {
                self.app.stream_news.insert(address);
            }
            Notice::Feed { .. } => self.app.feed_news += 1,
            Notice::TokenWanted => self.token_wanted = true,
            Notice::Document { .. }
            | Notice::Changed { .. }
            | Notice::Applied { .. }
            | Notice::Dropped { .. } => {}
        }
        None
    }

    /// Takes in how commands ended by what the store says, as an app does when it begins again.
    /// Answers those of which no earlier life was told: their notice died with the process.
    pub(crate) fn hear_stored(&mut self) -> Vec<(Ulid, Resolution)> {
        let stored = self.session.endings().map(|ending| (ending.id, ending.resolution.clone()));
        let stored: Vec<_> = stored.collect();
        let told = &self.endings;
        let news = stored.iter().filter(|(id, _)| !told.contains_key(id)).cloned().collect();
        for (id, resolution) in stored {
            self.owed.remove(&id);
            self.ended(id, resolution);
        }
        news
    }

    fn ended(&mut self, id: Ulid, resolution: Resolution) {
        let life = self.life;
        let endings = self.endings.entry(id).or_default();
        if endings.iter().any(|ending| ending.life == life) {
            self.violations.push(Violation {
                rule: "ended_twice".to_owned(),
                what: format!("user{} was told twice how {id} ended", self.number),
            });
        }
        endings.push(Ending { life, resolution });
    }

    pub(crate) fn is_quiet(&self) -> bool {
        !self.down
            && self.writing.is_empty()
            && self.documents.iter().all(|address| {
                matches!(
                    self.session.status(address),
                    Some(DocumentStatus { ready: true, live: true, pending: 0, .. })
                )
            })
    }
}

fn begin(
    user: &UserId,
    setup: &ClientSetup,
    dice: &mut Choices,
    disk: &Store,
    token: Option<String>,
) -> Session {
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&dice.bytes());
    seed[16..].copy_from_slice(&dice.bytes());
    let identity = Identity { user: user.clone(), token, agent: "sim".to_owned(), seed };
    Session::new(identity, setup.config(), &with_prefix(disk, META_PREFIX))
        .expect("what the session has stored reads")
}

fn with_prefix(disk: &Store, prefix: &[u8]) -> Vec<(Vec<u8>, Bytes)> {
    disk.range(prefix.to_vec()..)
        .take_while(|(key, _)| key.starts_with(prefix))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn apply(disk: &mut Store, writes: Vec<StoreWrite>) {
    for write in writes {
        match write {
            StoreWrite::Put { key, value } => disk.insert(key, value),
            StoreWrite::Delete { key } => disk.remove(&key),
        };
    }
}
