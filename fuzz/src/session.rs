//! The client machine between an app that does anything, a disk that answers late or not, a clock
//! that jumps, and a server that mostly makes sense ([`server`]) and otherwise says anything. Nothing
//! panics; there is never a second connection; what is pushed has rising numbers; a command ends
//! once; a wake that is acted on goes away; one input asks for a bounded number of things.

#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "chance makes numbers and picks frames, and a store that is shared has a lock"
)]

#[allow(
    clippy::duplicate_mod,
    dead_code,
    reason = "each target is a crate with commands of its own; the test that replays them has all"
)]
#[path = "commands.rs"]
mod commands;
#[path = "server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{Address, Facet, Ulid, UserId};
use syncline_engine::machine::Machine;
use syncline_engine::session::{
    Config, ConnectionId, Effect, Identity, Input, META_PREFIX, Notice, Session, StoreToken,
    StoreWrite,
};
use syncline_engine::wire::{ClientFrame, CloseCode, ServerFrame};

use self::commands::Choices;
use self::server::Server;

const STEPS_MAX: usize = 150;
/// What one input may ask for at most: a frame can settle all that is pending, and close it all.
const EFFECTS_MAX: usize = 600;
/// A tick that changes nothing but the time may be followed by so many at the same moment.
const TICKS_MAX: usize = 20;

/// One input: its bytes are the choices, in order; see [`Choices`].
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices(data);
    let mut world = World::new(&mut choices);
    for _ in 0..STEPS_MAX {
        if choices.are_over() {
            break;
        }
        world.step(&mut choices);
    }
    world.restart();
}

type Disk = BTreeMap<Vec<u8>, Vec<u8>>;

/// A connection as the world sees it.
struct Socket {
    id: ConnectionId,
    open: bool,
    greeted: bool,
}

/// What the disk has been asked and not answered, in order.
enum Asked {
    Write(StoreToken, Vec<StoreWrite>),
    Read(StoreToken, Vec<u8>),
}

struct World {
    session: Session,
    config: Config,
    server: Server,
    now: Timestamp,
    disk: Disk,
    asked: VecDeque<Asked>,
    socket: Option<Socket>,
    last_connection: u64,
    /// Frames that the server has not looked at.
    sent: VecDeque<ClientFrame>,
    /// Where the pushes of each document stand since it was last told anything about its lease.
    pushed: BTreeMap<u32, u64>,
    ids: Vec<Ulid>,
    ended: BTreeSet<Ulid>,
    starts: u8,
    stopped: bool,
}

fn small_config(choices: &mut Choices<'_>) -> Config {
    Config {
        attempts_max: [None, Some(3)][choices.pick(2, "attempts")],
        push_changes_max: 4,
        in_flight_max: 8,
        endings_max: 3,
        refused_max: 2,
        refused_bytes_max: 600,
        outbox_bytes_max: 20_000,
        compact_after: 4,
        snapshot_bytes_max: 1 << 20,
        undo_max: 4,
        ..Config::default()
    }
}

fn begin(disk: &Disk, starts: u8, config: Config) -> Session {
    let user = UserId::new("ada").expect("a plain name");
    let identity = Identity { user, token: None, agent: "fuzz".into(), seed: [starts; 32] };
    let meta: Vec<_> = disk
        .iter()
        .filter(|(key, _)| key.starts_with(META_PREFIX))
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect();
    Session::new(identity, config, &meta).expect("it reads what it wrote")
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let config = small_config(choices);
        let disk = Disk::new();
        let session = begin(&disk, 1, config.clone());
        let mut world = Self {
            session,
            config,
            server: Server::new(),
            now: Timestamp(1_000_000),
            disk,
            asked: VecDeque::new(),
            socket: None,
            last_connection: 0,
            sent: VecDeque::new(),
            pushed: BTreeMap::new(),
            ids: Vec::new(),
            ended: BTreeSet::new(),
            starts: 1,
            stopped: false,
        };
        world.drain();
        // Mostly everything begins well.
        if choices.pick(4, "begun") > 0 {
            world.heal(choices);
        }
        world
    }

    /// The disk and the network work, the app looks, and the server answers as it should.
    fn heal(&mut self, choices: &mut Choices<'_>) {
        self.store(choices, true);
        self.tell(Input::SetOnline(true));
        self.tell(Input::Reconnect);
        self.connect();
        if self.session.documents() == 0 {
            let (address, write) = (Self::address(choices), choices.pick(2, "write") == 1);
            self.tell(Input::Open { address, write });
        }
        self.store(choices, true);
        self.serve(choices, true);
    }

    fn address(choices: &mut Choices<'_>) -> Address {
        let facet = Facet::DOCUMENTS[choices.pick(Facet::DOCUMENTS.len(), "facet")];
        Address::new("town", "square", facet).expect("plain names")
    }

    fn id(&self, choices: &mut Choices<'_>) -> Ulid {
        let known = self.ids.len().min(256);
        match choices.pick(known + 1, "command") {
            0 => Ulid::new(Timestamp(9), 9),
            n => self.ids[self.ids.len() - n],
        }
    }

    fn fresh_id(&mut self) -> Ulid {
        let id = Ulid::new(self.now, self.ids.len() as u128 + 1);
        self.ids.push(id);
        id
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        // What drives it ends with it.
        if self.stopped {
            self.restart();
        }
        let away = self.socket.as_ref().is_none_or(|socket| !socket.open);
        if away && choices.pick(4, "healed") > 0 {
            return self.heal(choices);
        }
        match choices.pick(32, "step") {
            0..=5 => self.act(choices),
            6 => self.type_or_undo(choices),
            7..=10 => self.store(choices, false),
            11..=16 => self.serve(choices, false),
            17 | 18 => self.write_elsewhere(choices),
            19 | 20 => self.say_anything(choices),
            21 => self.say_nonsense(choices),
            22 | 23 => self.pass(choices),
            24 => self.connect(),
            25 if choices.pick(4, "cut") == 0 => self.disconnect(choices),
            26 if choices.pick(3, "changed") == 0 => self.circumstances(choices),
            25 | 26 => self.act(choices),
            27 => {
                let address = Self::address(choices);
                let write = choices.pick(2, "write") == 1;
                self.tell(Input::Open { address, write });
            }
            28 => {
                let address = Self::address(choices);
                self.tell(Input::Close { address });
            }
            29 => {
                let id = self.id(choices);
                let dismiss = choices.pick(2, "dismiss") == 1;
                self.tell(if dismiss { Input::Dismissed { id } } else { Input::Taken { id } });
            }
            30 => match choices.pick(8, "end") {
                0 => self.tell(Input::Shutdown),
                1..=3 => self.restart(),
                _ => self.act(choices),
            },
            _ => self.tell_late(choices),
        }
    }

    fn act(&mut self, choices: &mut Choices<'_>) {
        let (address, id) = (Self::address(choices), self.fresh_id());
        let command = commands::command(address.facet(), self.ids.len() as u64, choices);
        self.tell(Input::Command { id, address, command });
    }

    fn type_or_undo(&mut self, choices: &mut Choices<'_>) {
        let (address, id, now) = (Self::address(choices), self.fresh_id(), self.now);
        match choices.pick(4, "edit") {
            0 | 1 => {
                let facet = address.facet();
                let command = commands::command(facet, self.ids.len() as u64, choices);
                let _ = self.session.execute_typed(now, id, &address, command);
            }
            2 => {
                let _ = self.session.undo(now, id, &address);
            }
            _ => {
                let _ = self.session.redo(now, id, &address);
            }
        }
        self.drain();
    }

    /// The disk answers what it was asked first, or everything.
    fn store(&mut self, choices: &mut Choices<'_>, all: bool) {
        let many = if all { 3 } else { 1 + choices.pick(4, "answers") };
        for _ in 0..many {
            let Some(asked) = self.asked.pop_front() else { return };
            let fails = !all && choices.pick(64, "fails") == 63;
            match asked {
                Asked::Write(token, writes) => {
                    let result = if fails { Err("full".to_owned()) } else { Ok(()) };
                    if !fails {
                        apply(&mut self.disk, &writes);
                    }
                    self.tell(Input::Written { token, result });
                }
                Asked::Read(token, prefix) => {
                    let found = self.disk.iter().filter(|(key, _)| key.starts_with(&prefix));
                    let mut found: Vec<_> =
                        found.map(|(key, value)| (key.clone(), value.clone().into())).collect();
                    if !all && choices.pick(64, "damaged") == 63 {
                        found.pop();
                    }
                    let result = if fails { Err("unreadable".to_owned()) } else { Ok(found) };
                    self.tell(Input::Read { token, result });
                }
            }
        }
    }

    fn connect(&mut self) {
        if let Some(socket) = &mut self.socket
            && !socket.open
        {
            socket.open = true;
            let connection = socket.id;
            self.tell(Input::Connected { connection });
        }
    }

    fn disconnect(&mut self, choices: &mut Choices<'_>) {
        let Some(socket) = self.socket.take() else { return };
        let code = match choices.pick(4, "close") {
            0 | 1 => None,
            2 => Some(CloseCode(4_000 + choices.pick(256, "code") as u16)),
            _ => Some(CloseCode(1_000 + choices.pick(16, "code") as u16)),
        };
        let reason = "cut".to_owned();
        self.tell(Input::Disconnected { connection: socket.id, code, reason });
    }

    /// Facts about a connection that is not, or an answer that nobody asked for.
    fn tell_late(&mut self, choices: &mut Choices<'_>) {
        let away = choices.pick(3, "away") as u64 + 1;
        let connection = ConnectionId(match &self.socket {
            Some(socket) if choices.pick(2, "before") == 0 => socket.id.0.saturating_sub(away),
            _ => self.last_connection + away,
        });
        let token = StoreToken(1_000_000_000);
        let message = self.server.anything(choices).encode().expect("it fits");
        let reason = String::new();
        self.tell(match choices.pick(5, "late") {
            0 => Input::Connected { connection },
            1 => Input::Received { connection, message },
            2 => Input::Disconnected { connection, code: None, reason },
            3 => Input::Read { token, result: Ok(Vec::new()) },
            _ => Input::Tick,
        });
    }

    fn circumstances(&mut self, choices: &mut Choices<'_>) {
        let yes = choices.pick(3, "yes") > 0;
        self.tell(match choices.pick(5, "circumstance") {
            0 => Input::SetOnline(yes),
            1 => Input::SetNetwork(yes),
            2 => Input::SetVisible(yes),
            3 => Input::Reconnect,
            _ => Input::SetToken("another".to_owned()),
        });
    }

    /// Time passes: to the moment that was asked for, or by some leap, or backwards.
    fn pass(&mut self, choices: &mut Choices<'_>) {
        let leap = [0, 1, 7, 100, 999, 5_000, 31_000, 61_000, 600_000];
        match choices.pick(leap.len() + 4, "time") {
            n if n < leap.len() => self.now = self.now + Duration::from_millis(leap[n]),
            n if n == leap.len() => self.now = self.now - Duration::from_secs(40),
            _ => {
                let wake = self.session.poll_timeout();
                self.now = wake.map_or(self.now, |wake| wake.at.max(self.now));
            }
        }
        self.tell(Input::Tick);
        self.wakes_end();
    }

    /// Acting on a wake whose time has come makes it go away.
    fn wakes_end(&mut self) {
        for _ in 0..TICKS_MAX {
            match self.session.poll_timeout() {
                Some(wake) if wake.at <= self.now => self.tell(Input::Tick),
                Some(_) | None => return,
            }
        }
        panic!("{:?} has come at {} and stays", self.session.poll_timeout(), self.now);
    }

    /// The server answers what it was sent, mostly as it should.
    fn serve(&mut self, choices: &mut Choices<'_>, all: bool) {
        let many = if all { 8 } else { 1 + choices.pick(4, "frames") };
        for _ in 0..many {
            let Some(frame) = self.sent.pop_front() else { return };
            for answer in self.server.answer(&frame, choices, all) {
                self.say(&answer);
            }
        }
    }

    /// Others write, and it is relayed to who follows.
    fn write_elsewhere(&mut self, choices: &mut Choices<'_>) {
        let address = Self::address(choices);
        if let Some(frame) = self.server.write(&address, choices) {
            self.say(&frame);
        }
    }

    fn say_anything(&mut self, choices: &mut Choices<'_>) {
        let frame = self.server.anything(choices);
        self.say(&frame);
    }

    fn say_nonsense(&mut self, choices: &mut Choices<'_>) {
        let mut message = self.server.anything(choices).encode().expect("it fits").to_vec();
        for _ in 0..=choices.pick(3, "flips") {
            let at = choices.pick(message.len().min(256), "at");
            match choices.pick(3, "how") {
                0 => message.truncate(at),
                1 => message.insert(at, choices.pick(256, "byte") as u8),
                _ => {
                    if let Some(byte) = message.get_mut(at) {
                        *byte ^= 1 << choices.pick(8, "bit");
                    }
                }
            }
            if message.is_empty() {
                break;
            }
        }
        self.hear(message);
    }

    fn say(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Leased(frame) => drop(self.pushed.remove(&frame.handle)),
            ServerFrame::LeaseEnded(frame) => drop(self.pushed.remove(&frame.handle)),
            ServerFrame::Reject(frame) => drop(self.pushed.remove(&frame.handle)),
            ServerFrame::Subscribed(frame) => drop(self.pushed.remove(&frame.handle)),
            _ => {}
        }
        if let Ok(message) = frame.encode() {
            self.hear(message.to_vec());
        }
    }

    fn hear(&mut self, message: Vec<u8>) {
        let Some(socket) = self.socket.as_ref().filter(|socket| socket.open) else { return };
        self.tell(Input::Received { connection: socket.id, message: message.into() });
    }

    /// The process ends without a word, and another one begins with what was on the disk.
    fn restart(&mut self) {
        self.starts = self.starts.wrapping_add(1);
        self.asked.clear();
        self.sent.clear();
        self.pushed.clear();
        self.socket = None;
        self.last_connection = 0;
        self.stopped = false;
        self.server.forget_connection();
        self.session = begin(&self.disk, self.starts, self.config.clone());
        self.ended.clear();
        self.drain();
    }

    fn tell(&mut self, input: Input) {
        self.session.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(effect) = self.session.poll_effect() {
            count += 1;
            assert!(count <= EFFECTS_MAX, "one input asks for more and more: {effect:?}");
            self.carry_out(effect);
        }
        self.check();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { connection } => {
                assert!(self.socket.is_none(), "a second connection");
                assert!(connection.0 > self.last_connection, "a number that was used");
                self.last_connection = connection.0;
                self.sent.clear();
                self.pushed.clear();
                self.server.forget_connection();
                self.socket = Some(Socket { id: connection, open: false, greeted: false });
            }
            Effect::Send { connection, message } => {
                let socket = self.socket.as_mut().expect("something is sent without a connection");
                assert!(socket.id == connection && socket.open, "sent on another connection");
                let frame = ClientFrame::decode(&message).expect("a client says frames");
                let hello = matches!(frame, ClientFrame::Hello(_));
                assert_eq!(hello, !socket.greeted, "Hello comes once and first");
                socket.greeted = true;
                self.note(&frame);
                self.sent.push_back(frame);
            }
            Effect::Disconnect { connection } => {
                let closed = self.socket.take().map(|socket| socket.id);
                assert_eq!(closed, Some(connection), "closed without being there");
            }
            Effect::Write { token, writes } => self.asked.push_back(Asked::Write(token, writes)),
            Effect::Read { token, prefix } => self.asked.push_back(Asked::Read(token, prefix)),
            Effect::Notify(Notice::Resolved { id, .. }) => {
                assert!(self.ended.insert(id), "{id} ends twice");
            }
            Effect::Notify(_) => {}
            Effect::Stop => {
                assert!(!self.stopped, "it stops twice");
                self.stopped = true;
            }
        }
    }

    fn note(&mut self, frame: &ClientFrame) {
        match frame {
            ClientFrame::Push(push) => {
                let last = push.first + push.changes.len() as u64 - 1;
                let before = self.pushed.insert(push.handle, last);
                assert!(!push.changes.is_empty() && push.first > 0, "an empty push");
                assert!(
                    before.is_none_or(|before| push.first > before),
                    "a number again: {push:?}"
                );
            }
            ClientFrame::Subscribe(_) | ClientFrame::RequestLease(_) => self.pushed.clear(),
            _ => {}
        }
    }

    /// What holds whenever the session waits.
    fn check(&self) {
        for facet in Facet::DOCUMENTS {
            let address = Address::new("town", "square", facet).expect("plain names");
            let Some(replica) = self.session.replica(&address) else { continue };
            let mut last = 0;
            for pending in replica.pending() {
                assert!(pending.number > last, "{} after {last}", pending.number);
                last = pending.number;
            }
        }
        let stats = self.session.stats();
        assert!(
            stats.documents <= Facet::DOCUMENTS.len() && stats.refused <= self.config.refused_max
        );
    }
}

fn apply(disk: &mut Disk, writes: &[StoreWrite]) {
    for write in writes {
        match write {
            StoreWrite::Put { key, value } => disk.insert(key.clone(), value.to_vec()),
            StoreWrite::Delete { key } => disk.remove(key),
        };
    }
}
