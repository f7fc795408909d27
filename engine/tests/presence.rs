//! Sessions and a hub in one space, through days of cuts, stalls, comings and goings: once it is quiet
//! everybody there sees the same, and that is what each announces. (PR1 to PR4, PR8, PR9)

#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    reason = "a test answers what is asked in it, and may panic also in what its tests share"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::hub::{self, Hub, PresenceConfig, Rulebook};
use syncline_engine::ids::{Address, UserId};
use syncline_engine::machine::Machine;
use syncline_engine::presence::IDLE;
use syncline_engine::session::{self, Identity, Session, SpaceAct, SpaceStatus};
use syncline_engine::storage::record::DigestKey;

const TOWN: &str = "town";

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

enum Event {
    Open(u64),
    Up(u64, Bytes),
    Down(u64, Bytes),
    HubHearsEnd(u64),
    ClientHearsEnd(u64),
}

/// One connection, from the client's asking to its end.
struct Wire {
    client: usize,
    theirs: session::ConnectionId,
    /// When the last message on its way arrives, up and down.
    up: u64,
    down: u64,
    unread: usize,
    open: bool,
}

struct Client {
    session: Session,
    wire: Option<u64>,
    /// What it announces for as long as it likes.
    says: BTreeMap<String, String>,
    inside: bool,
}

struct World {
    now: u64,
    hub: Hub,
    clients: Vec<Client>,
    wires: BTreeMap<u64, Wire>,
    events: BTreeMap<(u64, u64), Event>,
    order: u64,
    dice: Dice,
}

impl World {
    fn new(seed: u64, presence: PresenceConfig, clients: usize) -> Self {
        let config = hub::Config { presence, ..hub::Config::default() };
        let identity = hub::Identity { term: 1, digest_key: DigestKey([7; 32]) };
        let mut world = Self {
            now: 1_000_000,
            hub: Hub::new(config, identity),
            clients: Vec::new(),
            wires: BTreeMap::new(),
            events: BTreeMap::new(),
            order: 0,
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        };
        for number in 0..clients {
            // Two of them are one user's.
            let user = UserId::new(&format!("user{}", number.max(1))).unwrap();
            let seed = [u8::try_from(number).unwrap() + 1; 32];
            let identity = Identity { user, token: None, agent: "test".to_owned(), seed };
            let config = session::Config {
                idle_after: Duration::from_secs(15),
                ..session::Config::default()
            };
            let session = Session::new(identity, config, &[]).unwrap();
            let client = Client { session, wire: None, says: BTreeMap::new(), inside: false };
            world.clients.push(client);
            world.tell(number, session::Input::SetOnline(true));
        }
        world
    }

    fn at(&mut self, time: u64, event: Event) {
        self.order += 1;
        self.events.insert((time, self.order), event);
    }

    fn tell(&mut self, client: usize, input: session::Input) {
        self.clients[client].session.handle(Timestamp(self.now), input);
        while let Some(effect) = self.clients[client].session.poll_effect() {
            match effect {
                session::Effect::Connect { connection } => {
                    self.order += 1;
                    let (id, at) = (self.order, self.now + 1 + self.dice.below(50));
                    let (client_of, theirs) = (client, connection);
                    let wire =
                        Wire { client: client_of, theirs, up: at, down: at, unread: 0, open: true };
                    self.wires.insert(id, wire);
                    self.clients[client].wire = Some(id);
                    self.at(at, Event::Open(id));
                }
                session::Effect::Send { message, .. } => {
                    let Some(id) = self.clients[client].wire else { continue };
                    let delay = 1 + self.dice.below(80);
                    let Some(wire) = self.wires.get_mut(&id) else { continue };
                    wire.up = wire.up.max(self.now + delay);
                    let at = wire.up;
                    self.at(at, Event::Up(id, message));
                }
                session::Effect::Disconnect { .. } => self.cut(client, 1),
                session::Effect::Write { token, .. } => {
                    let written = session::Input::Written { token, result: Ok(()) };
                    self.clients[client].session.handle(Timestamp(self.now), written);
                }
                session::Effect::Read { token, .. } => {
                    let read = session::Input::Read { token, result: Ok(vec![]) };
                    self.clients[client].session.handle(Timestamp(self.now), read);
                }
                session::Effect::Notify(_) | session::Effect::Stop => {}
            }
        }
    }

    fn tell_hub(&mut self, input: hub::Input) {
        self.hub.handle(Timestamp(self.now), input);
        while let Some(effect) = self.hub.poll_effect() {
            match effect {
                hub::Effect::Send { connection, message } => {
                    let delay = 1 + self.dice.below(80);
                    let Some(wire) = self.wires.get_mut(&connection.0) else { continue };
                    wire.unread += 1;
                    wire.down = wire.down.max(self.now + delay);
                    let at = wire.down;
                    self.at(at, Event::Down(connection.0, message));
                }
                hub::Effect::Close { connection, .. } => {
                    let at = self.wires.get(&connection.0).map_or(self.now, |wire| wire.down);
                    self.at(at, Event::ClientHearsEnd(connection.0));
                }
                hub::Effect::ReadRules { space } => {
                    let address = Address::rules_of(&space).unwrap();
                    let rules = Ok(Box::new(Rulebook::blank(&address)));
                    self.hub.handle(Timestamp(self.now), hub::Input::RulesRead { space, rules });
                }
                other => panic!("nobody opens a document: {other:?}"),
            }
        }
    }

    /// The client's connection is gone, with what is under way on it; the hub hears of it later.
    fn cut(&mut self, client: usize, hears_after: u64) {
        let Some(id) = self.clients[client].wire.take() else { return };
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.open = false;
        }
        self.at(self.now + hears_after, Event::HubHearsEnd(id));
        self.at(self.now, Event::ClientHearsEnd(id));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Open(id) => {
                let Some(wire) = self.wires.get(&id).filter(|wire| wire.open) else { return };
                let (client, connection) = (wire.client, wire.theirs);
                self.tell_hub(hub::Input::Opened { connection: hub::ConnectionId(id) });
                self.tell(client, session::Input::Connected { connection });
            }
            Event::Up(id, message) => {
                if self.wires.get(&id).is_some_and(|wire| wire.open) {
                    let connection = hub::ConnectionId(id);
                    self.tell_hub(hub::Input::Received { connection, message });
                }
            }
            Event::Down(id, message) => {
                let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.open) else { return };
                wire.unread -= 1;
                let (client, connection, drained) = (wire.client, wire.theirs, wire.unread == 0);
                self.tell(client, session::Input::Received { connection, message });
                if drained {
                    self.tell_hub(hub::Input::Drained { connection: hub::ConnectionId(id) });
                }
            }
            Event::HubHearsEnd(id) => {
                self.wires.remove(&id);
                self.tell_hub(hub::Input::Closed { connection: hub::ConnectionId(id) });
            }
            Event::ClientHearsEnd(id) => {
                let Some(wire) = self.wires.get_mut(&id) else { return };
                wire.open = false;
                let (client, connection) = (wire.client, wire.theirs);
                if self.clients[client].wire == Some(id) {
                    self.clients[client].wire = None;
                    self.at(self.now + 1, Event::HubHearsEnd(id));
                }
                let (code, reason) = (None, "cut".to_owned());
                self.tell(client, session::Input::Disconnected { connection, code, reason });
            }
        }
    }

    /// Lets time pass: messages arrive, and each machine is woken when it asks for it.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let hub = self.hub.poll_timeout().map(|wake| wake.at.0);
            let wakes: Vec<Option<u64>> = self
                .clients
                .iter()
                .map(|client| client.session.poll_timeout().map(|wake| wake.at.0))
                .collect();
            let next = wakes.iter().copied().chain([event, hub]).flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if event.is_some_and(|at| at <= self.now) {
                let (_, event) = self.events.pop_first().unwrap();
                self.happen(event);
            } else if hub.is_some_and(|at| at <= self.now) {
                self.tell_hub(hub::Input::Tick);
            } else {
                let due = |wake: &Option<u64>| wake.is_some_and(|at| at <= self.now);
                let client = wakes.iter().position(due).unwrap();
                self.tell(client, session::Input::Tick);
            }
        }
        self.now = end;
    }

    fn act(&mut self, client: usize, act: SpaceAct) {
        self.tell(client, session::Input::Space { space: TOWN.to_owned(), act });
    }

    fn announce(&mut self, client: usize, key: String, value: Option<String>, ttl_ms: Option<u64>) {
        if !self.clients[client].inside {
            return;
        }
        let says = &mut self.clients[client].says;
        match (&value, ttl_ms) {
            (Some(value), None) => says.insert(key.clone(), value.clone()),
            _ => says.remove(&key),
        };
        let ttl = ttl_ms.map(Duration::from_millis);
        self.act(client, SpaceAct::Announce { key, value, ttl });
    }

    fn step(&mut self) {
        let (client, number) = {
            let clients = self.clients.len() as u64;
            (usize::try_from(self.dice.below(clients)).unwrap(), self.dice.below(1_000_000))
        };
        let key = format!("key{}", self.dice.below(5));
        match self.dice.below(20) {
            0..=7 => self.announce(client, key, Some(number.to_string()), None),
            8..=10 => self.announce(client, key, None, None),
            11 | 12 => {
                let ttl = 500 + self.dice.below(5_000);
                self.announce(client, key, Some(number.to_string()), Some(ttl));
            }
            13 | 14 => {
                let hears = 1 + self.dice.below(8_000);
                self.cut(client, hears);
            }
            15 => {
                let id = self.clients[client].wire;
                let stall = self.now + self.dice.below(4_000);
                if let Some(wire) = id.and_then(|id| self.wires.get_mut(&id)) {
                    wire.down = wire.down.max(stall);
                }
            }
            16 => {
                self.act(client, SpaceAct::Leave);
                self.clients[client].inside = false;
                self.clients[client].says.clear();
            }
            17 => self.tell(client, session::Input::Active),
            _ => {
                self.act(client, SpaceAct::Enter { visible: true });
                self.clients[client].inside = true;
            }
        }
        let wait = self.dice.below(400);
        self.pass(wait);
    }

    fn inside(&self) -> impl Iterator<Item = &Client> {
        self.clients.iter().filter(|client| client.inside)
    }

    /// Everybody who is there sees the same, and it is what each announces.
    fn check(&self) {
        let expected = self.inside().count();
        let mut views = Vec::new();
        for client in self.inside() {
            let status = client.session.space_status(TOWN);
            let Some(SpaceStatus::Inside { device: Some(device), .. }) = status else {
                panic!("{status:?}")
            };
            let members = client.session.members(TOWN);
            let devices = members.iter().flat_map(|member| &member.devices);
            let picture: BTreeMap<u64, BTreeMap<String, String>> = devices
                .map(|device| {
                    let said = device.sayings.iter();
                    (device.number, said.map(|(k, s)| (k.clone(), s.value.clone())).collect())
                })
                .collect();
            let mut own = picture[device].clone();
            assert!(own.remove(IDLE).is_some(), "nobody did anything for a while");
            assert_eq!(own, client.says);
            if let Some(crowd) = client.session.space_crowd(TOWN) {
                assert_eq!((crowd.devices, crowd.idle), (expected, expected));
            } else {
                assert_eq!(picture.len(), expected);
                views.push((picture, client.session.last_seen(TOWN)));
            }
        }
        assert!(views.windows(2).all(|two| two[0] == two[1]), "{views:#?}");
        assert!(views.is_empty() || views.len() == expected);
    }
}

#[test]
fn once_it_is_quiet_everybody_sees_the_same_and_what_each_announces() {
    for seed in 1..=60 {
        let full_max = if seed % 3 == 0 { 4 } else { 100 };
        let presence = PresenceConfig { full_max, ..PresenceConfig::default() };
        let mut world = World::new(seed, presence, 7);
        for _ in 0..150 {
            world.step();
        }
        world.pass(90_000);
        world.check();
        for client in 0..world.clients.len() {
            world.act(client, SpaceAct::Leave);
            world.tell(client, session::Input::SetOnline(false));
        }
        world.pass(40 * 60 * 1_000);
        let stats = world.hub.stats();
        assert_eq!((stats.spaces, stats.present, stats.sessions), (0, 0, 0), "seed {seed}");
        assert_eq!(world.hub.poll_timeout(), None);
    }
}
