//! The world's clock and wires: every event of a simulated day, in one ordered queue.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::{
    Command, CommentsCommand, LikesCommand, PostCommand, Target, TextField, View,
};
use syncline_engine::hub::{self, Config, ConnectionId};
use syncline_engine::ids::{Address, Epoch, Facet, Ulid, UserId};
use syncline_engine::machine::Machine;
use syncline_engine::session::{self, Resolution};
use syncline_engine::storage::{Append, LogStore};
use syncline_engine::wire::CloseCode;
use syncline_server::store::MemoryStore;

use super::choices::Choices;
use super::client::Client;
use super::oracle::Ledger;
use super::server::Server;

/// Which bad things happen, each so many times in a thousand steps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// A connection is cut; what is under way on it is lost.
    pub cut: u64,
    /// A connection stops carrying anything but is not closed.
    pub stall: u64,
    /// The server's process dies and comes back.
    pub server_crash: u64,
    /// A client's process dies and comes back on its store.
    pub client_crash: u64,
    /// The app goes offline or online.
    pub offline: u64,
    /// The server comes back on an older copy of its store.
    pub restore: u64,
}

impl Faults {
    /// Draws which faults a run has, and how often.
    pub fn draw(choices: &mut Choices) -> Self {
        let mut rate = |max: u64| if choices.per_mille(500) { choices.below(max) } else { 0 };
        Self {
            cut: rate(60),
            stall: rate(20),
            server_crash: rate(20),
            client_crash: rate(20),
            offline: rate(60),
            restore: rate(40),
        }
    }
}

/// What a run did.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Events carried out.
    pub events: u64,
    /// Virtual milliseconds that passed.
    pub simulated_ms: u64,
    /// Commands that were applied.
    pub commands: u64,
    /// Of these, confirmed.
    pub confirmed: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// What was wrong; empty if nothing was.
    pub violations: Vec<String>,
}

#[derive(Debug)]
enum Event {
    /// The user or the weather does something.
    Step,
    Connect {
        client: usize,
        life: u64,
        connection: session::ConnectionId,
    },
    ToServer {
        wire: u64,
        message: Bytes,
    },
    ToClient {
        wire: u64,
        message: Bytes,
    },
    ServerHears {
        wire: u64,
    },
    ClientHears {
        wire: u64,
        code: Option<CloseCode>,
    },
    Stored {
        client: usize,
        life: u64,
    },
    Read {
        client: usize,
        life: u64,
        token: session::StoreToken,
        prefix: Vec<u8>,
    },
    Committed {
        life: u64,
    },
    Server {
        life: u64,
        input: Box<hub::Input>,
    },
    StartServer,
    Wake,
}

/// One connection, as both ends know it.
struct Wire {
    client: usize,
    client_life: u64,
    connection: session::ConnectionId,
    server_life: u64,
    open: bool,
    stalled: bool,
    /// Nothing overtakes on a wire.
    last_up: u64,
    last_down: u64,
    under_way: usize,
}

struct World {
    now: u64,
    choices: Choices,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    server: Server,
    clients: Vec<Client>,
    wires: BTreeMap<u64, Wire>,
    next_wire: u64,
    faults: Faults,
    steps_left: u64,
    backup: Option<MemoryStore>,
    restored: bool,
    ledger: Ledger,
    tokens: BTreeMap<Ulid, (Address, String)>,
    next_id: u64,
    report: Report,
}

/// Plays one seed: so many steps with faults, then peace; then checks everything.
#[must_use]
pub fn run(seed: u64, steps: u64) -> Report {
    let mut choices = Choices::new(seed);
    let faults = Faults::draw(&mut choices);
    run_with(choices, steps, faults)
}

fn run_with(mut choices: Choices, steps: u64, faults: Faults) -> Report {
    let documents: Vec<Address> = [Facet::Post, Facet::Likes, Facet::Comments]
        .into_iter()
        .map(|facet| Address::new("sim", "one", facet).expect("a good address"))
        .collect();
    let config = Config {
        compact_entries: 20 + choices.below(60),
        compact_keep: 5 + choices.below(20),
        document_idle: choices.millis(1_000, 60_000),
        lease_idle: choices.millis(2_000, 60_000),
        grace: choices.millis(100, 30_000),
        ring_bytes_max: 2_048 << choices.below(10),
        ..Config::default()
    };
    let count = 2 + choices.index(4);
    let clients =
        (0..count).map(|number| Client::new(number, &mut choices, documents.clone())).collect();
    let mut world = World {
        now: 1_000_000,
        choices,
        queue: BTreeMap::new(),
        queued: 0,
        server: Server::new(config),
        clients,
        wires: BTreeMap::new(),
        next_wire: 0,
        faults,
        steps_left: steps,
        backup: None,
        restored: false,
        ledger: Ledger::default(),
        tokens: BTreeMap::new(),
        next_id: 0,
        report: Report::default(),
    };
    world.play();
    world.judge(&documents);
    world.report
}

/// Peace lasts at most this long; a world that is not quiet by then never will be.
const PEACE_MS: u64 = 3_600_000;

impl World {
    fn play(&mut self) {
        self.server.start(self.now);
        for client in 0..self.clients.len() {
            self.clients[client]
                .session
                .handle(Timestamp(self.now), session::Input::SetOnline(true));
            self.drain_client(client);
        }
        self.at(1, Event::Step);
        let mut peace_until = None;
        loop {
            self.schedule_wake();
            let Some(((at, _), event)) = self.queue.pop_first() else {
                break;
            };
            self.now = self.now.max(at);
            self.report.events += 1;
            self.carry_out(event);
            if self.steps_left == 0 {
                let until = *peace_until.get_or_insert(self.now + PEACE_MS);
                if self.is_quiet() {
                    break;
                }
                if self.now > until {
                    self.complain("the world does not come to rest".to_owned());
                    break;
                }
            }
        }
        self.report.simulated_ms = self.now - 1_000_000;
    }

    fn is_quiet(&self) -> bool {
        self.server.hub.is_some()
            && self.server.committing.is_none()
            && self.clients.iter().all(Client::is_quiet)
            && self.wires.values().all(|wire| wire.under_way == 0)
            && self.clients.iter().all(|client| self.has_read_everything(client))
    }

    fn has_read_everything(&self, client: &Client) -> bool {
        client.documents.iter().all(|address| {
            let end = match self.server.store.head(address) {
                Ok(Some(head)) => head.end.seq,
                Ok(None) | Err(_) => 0,
            };
            client.session.status(address).is_some_and(|status| status.seq == end)
        })
    }

    fn at(&mut self, in_ms: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((self.now + in_ms, self.queued), event);
    }

    /// Wakes everyone when the first of them wants to be.
    fn schedule_wake(&mut self) {
        let hub = self.server.hub.as_ref().and_then(Machine::poll_timeout);
        let clients = self.clients.iter().filter_map(|c| c.session.poll_timeout());
        let Some(first) = hub.into_iter().chain(clients).map(|wake| wake.at.0).min() else {
            return;
        };
        let next = self.queue.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        if first < next {
            self.at(first.saturating_sub(self.now), Event::Wake);
        }
    }

    fn carry_out(&mut self, event: Event) {
        match event {
            Event::Step => self.step(),
            Event::Connect { client, life, connection } => self.connect(client, life, connection),
            Event::ToServer { wire, message } => {
                if self.arrives(wire) && self.server_hears(wire) {
                    let connection = ConnectionId(wire);
                    self.tell_hub(hub::Input::Received { connection, message });
                }
            }
            Event::ToClient { wire, message } => self.arrives_at_client(wire, message),
            Event::ServerHears { wire } => {
                if self.server_hears(wire) {
                    self.tell_hub(hub::Input::Closed { connection: ConnectionId(wire) });
                }
            }
            Event::ClientHears { wire, code } => {
                if let Some((client, connection)) = self.client_of(wire) {
                    let reason = "the connection is gone".to_owned();
                    let input = session::Input::Disconnected { connection, code, reason };
                    self.tell_client(client, input);
                }
            }
            Event::Stored { client, life } => {
                if self.clients[client].life == life
                    && let Some(token) = self.clients[client].written()
                {
                    let result = Ok(());
                    self.tell_client(client, session::Input::Written { token, result });
                }
            }
            Event::Read { client, life, token, prefix } => {
                if self.clients[client].life == life {
                    let result = Ok(self.clients[client].read(&prefix));
                    self.tell_client(client, session::Input::Read { token, result });
                }
            }
            Event::Committed { life } => {
                if self.server.life == life
                    && let Some(appends) = self.server.committing.take()
                {
                    let result = self.server.store.append(&appends);
                    if result.is_ok() {
                        self.note_durable(&appends);
                    }
                    self.tell_hub(hub::Input::Committed { result });
                }
            }
            Event::Server { life, input } => {
                if self.server.life == life {
                    self.tell_hub(*input);
                }
            }
            Event::StartServer => {
                if self.server.hub.is_none() {
                    self.server.start(self.now);
                }
            }
            Event::Wake => {
                self.tell_hub(hub::Input::Tick);
                for client in 0..self.clients.len() {
                    self.tell_client(client, session::Input::Tick);
                }
            }
        }
    }

    // What people and the weather do.

    fn step(&mut self) {
        if self.steps_left == 0 {
            return;
        }
        self.steps_left -= 1;
        let faults = self.faults;
        if self.choices.per_mille(faults.cut) {
            self.cut_some_wire();
        }
        if self.choices.per_mille(faults.stall) {
            self.stall_some_wire();
        }
        if self.choices.per_mille(faults.server_crash) {
            self.crash_server();
        }
        if self.choices.per_mille(faults.client_crash) {
            self.crash_some_client();
        }
        if self.choices.per_mille(faults.offline) {
            let client = self.choices.index(self.clients.len());
            let online = self.choices.per_mille(500);
            self.count("offline");
            self.tell_client(client, session::Input::SetOnline(online));
        }
        if self.choices.per_mille(faults.restore) {
            self.restore_server();
        }
        if self.choices.per_mille(600) {
            self.some_command();
        }
        if self.steps_left == 0 {
            self.make_peace();
        } else {
            let pause = if self.choices.per_mille(50) {
                self.choices.below(20_000)
            } else {
                self.choices.below(200)
            };
            self.at(pause, Event::Step);
        }
    }

    fn make_peace(&mut self) {
        if self.server.hub.is_none() {
            self.at(1, Event::StartServer);
        }
        let stalled: Vec<u64> =
            self.wires.iter().filter(|(_, w)| w.stalled).map(|(id, _)| *id).collect();
        for wire in stalled {
            self.cut(wire);
        }
        for client in 0..self.clients.len() {
            self.tell_client(client, session::Input::SetOnline(true));
        }
    }

    fn some_command(&mut self) {
        let number = self.choices.index(self.clients.len());
        let which = self.choices.index(3);
        self.next_id += 1;
        let id = Ulid::new(Timestamp(self.now), self.next_id.into());
        let client = &self.clients[number];
        let address = client.documents[which].clone();
        let Some(view) = client.session.view(&address).cloned() else {
            return;
        };
        let user = client.session.user().clone();
        let (command, token) = self.compose(&view, id, user);
        let now = Timestamp(self.now);
        let client = &mut self.clients[number];
        if client.session.execute(now, id, &address, command.clone()).is_ok() {
            client.applied.insert(id, (address.clone(), command));
            self.report.commands += 1;
            if let Some(token) = token {
                self.tokens.insert(id, (address, token));
            }
        }
        self.drain_client(number);
    }

    fn compose(&mut self, view: &View, id: Ulid, user: UserId) -> (Command, Option<String>) {
        match view {
            View::Post(view) => {
                // Whole tokens only, so that each can be looked for at the end.
                let body = view.body();
                let places: Vec<usize> = std::iter::once(0)
                    .chain(body.chars().enumerate().filter(|(_, c)| *c == ']').map(|(i, _)| i + 1))
                    .collect();
                let index = places[self.choices.index(places.len())];
                let token = format!("[{}]", self.next_id);
                let splice = PostCommand::Splice {
                    field: TextField::Body,
                    index,
                    delete: 0,
                    insert: token.clone(),
                };
                (Command::Post(splice), Some(token))
            }
            View::Likes(_) => {
                let reaction = ["like", "wow"][self.choices.index(2)].to_owned();
                let target = Target::Post;
                let like = if self.choices.per_mille(400) {
                    LikesCommand::Unlike { target, reaction, user }
                } else {
                    LikesCommand::Like { target, reaction, user, at: id }
                };
                (Command::Likes(like), None)
            }
            View::Comments(view) => {
                let count = view.thread().count();
                let other = view.thread().nth(self.choices.index(count + 1)).map(|(_, id, _)| id);
                let now = Timestamp(self.now);
                let comment = match (self.choices.index(5), other) {
                    (0, Some(id)) => {
                        let body = format!("edited {}", self.next_id);
                        CommentsCommand::Edit { id, body, edited: now }
                    }
                    (_, parent) => CommentsCommand::Add {
                        id,
                        author: user,
                        parent,
                        created: now,
                        body: format!("comment {}", self.next_id),
                    },
                };
                (Command::Comments(comment), None)
            }
            View::Json(_) => unreachable!("the simulation has no such document"),
        }
    }

    fn cut_some_wire(&mut self) {
        let open: Vec<u64> = self.wires.iter().filter(|(_, w)| w.open).map(|(id, _)| *id).collect();
        if !open.is_empty() {
            self.count("cut");
            let wire = open[self.choices.index(open.len())];
            self.cut(wire);
        }
    }

    fn stall_some_wire(&mut self) {
        let open: Vec<u64> = self.wires.iter().filter(|(_, w)| w.open).map(|(id, _)| *id).collect();
        if !open.is_empty() {
            self.count("stall");
            let wire = open[self.choices.index(open.len())];
            if let Some(wire) = self.wires.get_mut(&wire) {
                wire.stalled = true;
                wire.under_way = 0;
            }
        }
    }

    /// Both ends learn of it, each in its own time; what is under way is lost.
    fn cut(&mut self, wire: u64) {
        if let Some(wire) = self.wires.get_mut(&wire) {
            wire.open = false;
            wire.under_way = 0;
        }
        let (up, down) = (self.choices.below(3_000), self.choices.below(3_000));
        self.at(up, Event::ServerHears { wire });
        self.at(down, Event::ClientHears { wire, code: None });
    }

    fn crash_server(&mut self) {
        if self.server.hub.is_none() {
            return;
        }
        self.count("server_crash");
        let reached = self.choices.per_mille(500);
        if let Some(appends) = self.server.crash(reached) {
            self.note_durable(&appends);
        }
        let wires: Vec<u64> = self.wires.keys().copied().collect();
        for wire in wires {
            self.cut(wire);
        }
        let pause = self.choices.below(5_000);
        self.at(pause, Event::StartServer);
    }

    fn restore_server(&mut self) {
        match self.backup.take() {
            None => self.backup = Some(self.server.store.copy()),
            Some(backup) => {
                self.count("restore");
                self.crash_server();
                self.server.store = backup;
                self.restored = true;
            }
        }
    }

    fn crash_some_client(&mut self) {
        self.count("client_crash");
        let number = self.choices.index(self.clients.len());
        let wires: Vec<u64> =
            self.wires.iter().filter(|(_, w)| w.client == number).map(|(id, _)| *id).collect();
        for wire in wires {
            self.cut(wire);
        }
        self.clients[number].crash(&mut self.choices);
        self.tell_client(number, session::Input::SetOnline(true));
    }

    // The wires.

    fn connect(&mut self, client: usize, life: u64, connection: session::ConnectionId) {
        if self.clients[client].life != life {
            return;
        }
        if self.server.hub.is_none() {
            let reason = "nobody listens".to_owned();
            let input = session::Input::Disconnected { connection, code: None, reason };
            self.tell_client(client, input);
            return;
        }
        self.next_wire += 1;
        let wire = Wire {
            client,
            client_life: life,
            connection,
            server_life: self.server.life,
            open: true,
            stalled: false,
            last_up: 0,
            last_down: 0,
            under_way: 0,
        };
        self.wires.insert(self.next_wire, wire);
        self.tell_hub(hub::Input::Opened { connection: ConnectionId(self.next_wire) });
        self.tell_client(client, session::Input::Connected { connection });
    }

    fn wire_of(&self, client: usize, connection: session::ConnectionId) -> Option<u64> {
        let life = self.clients[client].life;
        self.wires
            .iter()
            .find(|(_, w)| {
                w.client == client && w.connection == connection && w.client_life == life
            })
            .map(|(id, _)| *id)
    }

    fn client_of(&self, wire: u64) -> Option<(usize, session::ConnectionId)> {
        let wire = self.wires.get(&wire)?;
        (self.clients[wire.client].life == wire.client_life)
            .then_some((wire.client, wire.connection))
    }

    fn server_hears(&self, wire: u64) -> bool {
        self.wires.get(&wire).is_some_and(|wire| wire.server_life == self.server.life)
    }

    fn arrives(&mut self, wire: u64) -> bool {
        let Some(wire) = self.wires.get_mut(&wire) else {
            return false;
        };
        if !wire.open || wire.stalled {
            return false;
        }
        wire.under_way -= 1;
        true
    }

    fn arrives_at_client(&mut self, wire: u64, message: Bytes) {
        if !self.arrives(wire) {
            return;
        }
        if let Some((client, connection)) = self.client_of(wire) {
            self.tell_client(client, session::Input::Received { connection, message });
        }
        let drained = self.wires.get(&wire).is_some_and(|wire| wire.under_way == 0);
        if drained && self.server_hears(wire) {
            self.tell_hub(hub::Input::Drained { connection: ConnectionId(wire) });
        }
    }

    fn send(&mut self, id: u64, up: bool, message: Bytes) {
        let delay = 1 + self.choices.below(80);
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        if !wire.open || wire.stalled {
            return;
        }
        wire.under_way += 1;
        let last = if up { &mut wire.last_up } else { &mut wire.last_down };
        *last = (*last).max(self.now + delay);
        let in_ms = *last - self.now;
        let event = if up {
            Event::ToServer { wire: id, message }
        } else {
            Event::ToClient { wire: id, message }
        };
        self.at(in_ms, event);
    }

    // The machines and their effects.

    fn tell_client(&mut self, client: usize, input: session::Input) {
        self.clients[client].session.handle(Timestamp(self.now), input);
        self.drain_client(client);
    }

    fn drain_client(&mut self, number: usize) {
        let life = self.clients[number].life;
        while let Some(effect) = self.clients[number].session.poll_effect() {
            match effect {
                session::Effect::Connect { connection } => {
                    let delay = 1 + self.choices.below(200);
                    self.at(delay, Event::Connect { client: number, life, connection });
                }
                session::Effect::Send { connection, message } => {
                    if let Some(wire) = self.wire_of(number, connection) {
                        self.send(wire, true, message);
                    }
                }
                session::Effect::Disconnect { connection } => {
                    if let Some(id) = self.wire_of(number, connection) {
                        if let Some(wire) = self.wires.get_mut(&id) {
                            wire.open = false;
                            wire.under_way = 0;
                        }
                        let delay = self.choices.below(2_000);
                        self.at(delay, Event::ServerHears { wire: id });
                    }
                }
                session::Effect::Write { token, writes } => {
                    self.clients[number].write(token, writes);
                    let delay = 1 + self.choices.below(10);
                    self.at(delay, Event::Stored { client: number, life });
                }
                session::Effect::Read { token, prefix } => {
                    self.at(1, Event::Read { client: number, life, token, prefix });
                }
                session::Effect::Notify(notice) => self.clients[number].hear(notice),
                session::Effect::Stop => {}
            }
        }
    }

    fn tell_hub(&mut self, input: hub::Input) {
        let Some(hub) = &mut self.server.hub else {
            return;
        };
        hub.handle(Timestamp(self.now), input);
        let life = self.server.life;
        while let Some(effect) = self.server.hub.as_mut().and_then(Machine::poll_effect) {
            let input = match effect {
                hub::Effect::Send { connection, message } => {
                    self.send(connection.0, false, message);
                    continue;
                }
                hub::Effect::Close { connection, code } => {
                    self.close_from_server(connection.0, code);
                    continue;
                }
                hub::Effect::Commit { appends } => {
                    self.server.committing = Some(appends);
                    let delay = 1 + self.choices.below(8);
                    self.at(delay, Event::Committed { life });
                    continue;
                }
                hub::Effect::Stop => {
                    self.complain("the hub stopped by itself".to_owned());
                    continue;
                }
                hub::Effect::Load { address } => {
                    let fresh_epoch = Epoch(self.choices.bytes());
                    let loaded = self.server.load(&address);
                    hub::Input::Loaded { address, fresh_epoch, loaded }
                }
                hub::Effect::ReadRules { space } => {
                    let rules = self.server.rules(&space);
                    hub::Input::RulesRead { space, rules }
                }
                hub::Effect::Index { address } => {
                    let gate = self.server.index(&address);
                    hub::Input::Indexed { address, gate }
                }
                hub::Effect::Read { request, address, from_seq, bytes_max } => {
                    let result = self.server.store.read(&address, from_seq, bytes_max);
                    hub::Input::RecordsRead { request, result }
                }
                hub::Effect::ReadSnapshot { request, address, cursor, offset, bytes_max } => {
                    let result =
                        self.server.store.read_snapshot(&address, cursor, offset, bytes_max);
                    hub::Input::SnapshotRead { request, result }
                }
                hub::Effect::Compact { address, cursor, keep_from } => {
                    self.count("compaction");
                    let result = self.server.compact(&address, cursor, keep_from);
                    if let Err(error) = &result {
                        self.complain(format!("compaction failed: {error}"));
                    }
                    hub::Input::Compacted { address, result }
                }
            };
            let delay = 1 + self.choices.below(5);
            self.at(delay, Event::Server { life, input: Box::new(input) });
        }
    }

    fn close_from_server(&mut self, id: u64, code: CloseCode) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let after = wire.last_down.saturating_sub(self.now) + 1;
        self.at(after, Event::ClientHears { wire: id, code: Some(code) });
        self.at(after, Event::ServerHears { wire: id });
    }

    fn note_durable(&mut self, appends: &[Append]) {
        for append in appends {
            for entry in &append.record.entries {
                self.ledger.durable(&append.address, &entry.change);
            }
        }
    }

    // The judgement.

    fn judge(&mut self, documents: &[Address]) {
        for address in documents {
            let mut log = Ledger::default();
            self.read_log(address, &mut log);
            let (view, doc) = log.expected(address);
            self.report.violations.append(&mut log.violations);
            let heads = doc.get_heads();
            for client in 0..self.clients.len() {
                let replica = self.clients[client].session.replica(address);
                let found = match replica {
                    None => "can't open it",
                    Some(replica) if replica.document().get_heads() != heads => "has other changes",
                    Some(replica) if *replica.view() != view => "shows something else",
                    Some(_) => continue,
                };
                self.complain(format!("{address}: client {client} {found} than the log"));
            }
            if !self.restored {
                let (_, all) = self.ledger.expected(address);
                if all.get_heads() != heads {
                    self.complain(format!("{address}: something durable is lost"));
                }
            }
            self.judge_commands(address, &view);
        }
        let names = std::mem::take(&mut self.ledger.violations);
        self.report.violations.extend(names);
        for client in &self.clients {
            for problem in &client.problems {
                let expected = [Code::ShuttingDown, Code::Overloaded, Code::Replaced];
                if !expected.iter().any(|code| problem.starts_with(code.slug())) {
                    self.report.violations.push(format!("client {}: {problem}", client.number));
                }
            }
        }
    }

    /// Everything of the log: the snapshot's changes, then the records'.
    fn read_log(&self, address: &Address, into: &mut Ledger) {
        let store = &self.server.store;
        let Ok(Some(head)) = store.head(address) else {
            return;
        };
        if let Some(snapshot) = &head.snapshot
            && let Ok(Some(body)) = store.read_snapshot(address, snapshot.cursor, 0, usize::MAX)
        {
            match automerge::Automerge::load(&body) {
                Ok(doc) => {
                    for change in doc.get_changes(&[]) {
                        into.durable(address, change.raw_bytes());
                    }
                }
                Err(error) => {
                    into.violations.push(format!("{address}: the snapshot fails: {error}"));
                }
            }
        }
        for record in store.read(address, head.tail_from, usize::MAX).unwrap_or_default() {
            for entry in &record.entries {
                into.durable(address, &entry.change);
            }
        }
    }

    fn judge_commands(&mut self, address: &Address, view: &View) {
        let mut confirmed = BTreeSet::new();
        for client in &self.clients {
            for (id, (at, command, resolution)) in &client.resolved {
                if at == address && *resolution == Resolution::Confirmed {
                    self.report.confirmed += 1;
                    confirmed.insert(*id);
                    if let (
                        View::Comments(view),
                        Command::Comments(CommentsCommand::Add { id, author, .. }),
                    ) = (view, command)
                        && view.comment(*id).is_none_or(|comment| comment.author != *author)
                    {
                        self.report.violations.push(format!("comment {id} is lost"));
                    }
                }
            }
            if client.crashes() == 0 {
                for (id, (at, _)) in &client.applied {
                    if at == address && !client.resolved.contains_key(id) {
                        self.report.violations.push(format!("command {id} has no end"));
                    }
                }
            }
        }
        if let View::Post(view) = view {
            let body = view.body();
            for (id, (at, token)) in &self.tokens {
                let count = body.matches(token.as_str()).count();
                if at == address && (count > 1 || (count == 0 && confirmed.contains(id))) {
                    self.report.violations.push(format!("{token} is there {count} times"));
                }
            }
        }
    }

    fn complain(&mut self, what: String) {
        self.report.violations.push(what);
    }

    fn count(&mut self, what: &'static str) {
        *self.report.faults.entry(what).or_default() += 1;
    }
}
