//! Connections between clients and the server: what travels on them, how long it takes, and what is
//! lost with them. Looks into messages only to tell the oracle what passed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use syncline_engine::hub::{self, ConnectionId};
use syncline_engine::session;
use syncline_engine::wire::CloseCode;

use crate::law::Proved;
use crate::oracle::Talk;
use crate::weather::Weather;
use crate::world::{Event, World};

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Client { client: usize, life: u64, connection: session::ConnectionId },
    Hostile(usize),
}

/// One direction of a connection. Nothing overtakes on it.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    under_way: VecDeque<(u64, Bytes)>,
    last: u64,
}

/// One connection, as the network knows it.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) end: End,
    server_life: u64,
    up: Lane,
    down: Lane,
    /// It exists: what is sent arrives some time.
    pub(crate) carries: bool,
    /// What is sent on it from here on never arrives, and nobody is told.
    pub(crate) stalled: bool,
    server_heard: bool,
    /// Until when the server does not read it.
    held_until: u64,
    pub(crate) talk: Talk,
    /// What its client announced last in a space that it has not entered or left since.
    announced: Option<Bytes>,
    /// How often its client has entered or left a space.
    stays: u32,
    /// What its client has proved to the server.
    pub(crate) proved: Option<Proved>,
}

impl Wire {
    pub(crate) fn client(&self) -> Option<usize> {
        match self.end {
            End::Client { client, .. } => Some(client),
            End::Hostile(_) => None,
        }
    }
}

/// All connections there ever were and that somebody may still believe in, by number.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) wires: BTreeMap<u64, Wire>,
    pub(crate) last: u64,
    /// By client; `None` where the delay is even.
    pub(crate) weather: Vec<Option<Weather>>,
}

impl World {
    /// Until when nothing gets through to a client, if that is so now.
    fn dark_until(&self, client: usize) -> Option<u64> {
        let since = self.now - self.began;
        let weather = self.network.weather[client].as_ref().filter(|_| !self.peace);
        let clears = weather.map_or(0, |weather| self.began + weather.clears(since));
        let until = clears.max(self.clients[client].partitioned_until);
        (until > self.now).then_some(until)
    }

    pub(crate) fn delay(&mut self, client: usize, bytes: usize) -> u64 {
        let since = self.now - self.began;
        let weather = self.network.weather[client].as_ref().filter(|_| !self.peace);
        let measured = weather.and_then(|weather| weather.delay(since));
        let client = &mut self.clients[client];
        let even = client.dice.below(client.setup.delay_ms_max);
        let again = match client.dice.per_mille(client.setup.loss_per_mille) {
            true => 200 + client.dice.below(800),
            false => 0,
        };
        1 + measured.unwrap_or(even) + again + bytes as u64 * 1_000 / client.setup.bytes_per_s
    }

    /// A client asks for a socket.
    pub(crate) fn connect(&mut self, client: usize, life: u64, connection: session::ConnectionId) {
        if self.clients[client].life != life || self.clients[client].connection != Some(connection)
        {
            return;
        }
        if let Some(until) = self.dark_until(client) {
            // The packets that ask for it are sent again until somebody answers.
            self.at(until - self.now, Event::Connect { client, life, connection });
            return;
        }
        if self.server.hub.is_none() {
            self.clients[client].connection = None;
            let reason = "nobody listens".to_owned();
            let input = session::Input::Disconnected { connection, code: None, reason };
            return self.tell_client(client, input);
        }
        let older = self.network.wires.values().any(|wire| {
            wire.client() == Some(client)
                && !wire.server_heard
                && wire.server_life == self.server.life
        });
        if older {
            self.report.count_incident("connected_before_the_old_close_arrived");
        }
        self.open(End::Client { client, life, connection });
        self.say(client, "connects");
        self.tell_client(client, session::Input::Connected { connection });
    }

    /// A socket is open.
    pub(crate) fn open(&mut self, end: End) -> u64 {
        self.network.last += 1;
        let id = self.network.last;
        let wire = Wire {
            end,
            server_life: self.server.life,
            up: Lane::default(),
            down: Lane::default(),
            carries: true,
            stalled: false,
            server_heard: false,
            held_until: 0,
            talk: Talk::default(),
            announced: None,
            stays: 0,
            proved: None,
        };
        self.network.wires.insert(id, wire);
        self.tell_hub(hub::Input::Opened { connection: ConnectionId(id) });
        id
    }

    pub(crate) fn wire_of(&self, client: usize, connection: session::ConnectionId) -> Option<u64> {
        let end = End::Client { client, life: self.clients[client].life, connection };
        self.network.wires.iter().find(|(_, wire)| wire.end == end).map(|(id, _)| *id)
    }

    /// The connections of a client that carry something.
    pub(crate) fn wires_of(&self, client: usize) -> Vec<u64> {
        let wires = self.network.wires.iter();
        wires.filter(|(_, w)| w.carries && w.client() == Some(client)).map(|(id, _)| *id).collect()
    }

    /// Who is told what happens on a wire, if it is still the one that it was.
    fn client_of(&self, wire: u64) -> Option<(usize, session::ConnectionId)> {
        match self.network.wires.get(&wire)?.end {
            End::Client { client, life, connection } => {
                let same = self.clients[client].life == life && !self.clients[client].down;
                same.then_some((client, connection))
            }
            End::Hostile(_) => None,
        }
    }

    /// Connections that the server should have ended because their token has run out.
    pub(crate) fn outlived(&self) -> Option<u64> {
        let outlives = |wire: &Wire| {
            let expires = wire.proved.as_ref().and_then(Proved::expires);
            expires.is_some_and(|at| at < self.now)
                && !wire.server_heard
                && wire.server_life == self.server.life
        };
        let mut wires = self.network.wires.iter();
        wires.find(|(_, wire)| outlives(wire)).map(|(id, _)| *id)
    }

    fn server_hears(&self, wire: u64) -> bool {
        let life = self.server.life;
        self.network.wires.get(&wire).is_some_and(|w| w.server_life == life && !w.server_heard)
    }

    /// Puts a message on a wire.
    pub(crate) fn send(&mut self, id: u64, up: bool, message: Bytes) {
        self.report.digest(self.now, &message);
        let Some(client) = self.network.wires.get(&id).map(Wire::client) else { return };
        let delay = client.map_or(5, |client| self.delay(client, message.len()));
        let Some(wire) = self.network.wires.get_mut(&id) else { return };
        if up {
            match message.get(1) {
                // Enter and Leave: numbers may begin anew.
                Some(12 | 13) => {
                    wire.announced = None;
                    wire.stays += 1;
                }
                // Announce.
                Some(14) => wire.announced = Some(message.clone()),
                _ => {}
            }
            let honest = client.is_some();
            self.oracle.said(&mut wire.talk, &message, honest);
        } else {
            self.oracle.sent(&mut wire.talk, &message);
        }
        if !wire.carries {
            return;
        }
        let lane = if up { &mut wire.up } else { &mut wire.down };
        lane.last = lane.last.max(self.now + delay);
        lane.under_way.push_back((lane.last, message));
        let at = lane.last;
        self.at(at - self.now, Event::Deliver { wire: id, up });
    }

    /// What a client announced last will arrive a second time.
    pub(crate) fn say_again_later(&mut self, client: usize, ms: u64) -> bool {
        let wires = self.wires_of(client);
        let Some(wire) = wires
            .into_iter()
            .find(|wire| self.network.wires.get(wire).is_some_and(|wire| wire.announced.is_some()))
        else {
            return false;
        };
        let Some(Wire { announced: Some(message), stays, .. }) = self.network.wires.get(&wire)
        else {
            return false;
        };
        let (message, stays) = (message.clone(), *stays);
        self.at(ms, Event::SayAgain { wire, message, stays });
        true
    }

    /// What a client announced some time ago arrives a second time, unless its numbers may have begun
    /// anew since.
    pub(crate) fn arrive_again(&mut self, id: u64, message: Bytes, stays: u32) {
        let Some(wire) = self.network.wires.get(&id) else { return };
        let under_way = wire.up.under_way.iter().any(|(_, m)| m.as_ptr() == message.as_ptr());
        if wire.stays == stays && !under_way && self.server_hears(id) && wire.carries {
            self.tell_hub(hub::Input::Received { connection: ConnectionId(id), message });
        }
    }

    /// What is due on a lane arrives, unless something holds it up.
    pub(crate) fn deliver(&mut self, id: u64, up: bool) {
        let Some(wire) = self.network.wires.get(&id) else { return };
        if !wire.carries || wire.stalled {
            return;
        }
        if up && wire.held_until > self.now {
            return self.at(wire.held_until - self.now, Event::Deliver { wire: id, up });
        }
        if let Some(client) = wire.client() {
            let mut until = self.dark_until(client).unwrap_or(0);
            if !up {
                let client = &self.clients[client];
                until = until.max(client.frozen_until).max(client.reads_from);
            }
            if until > self.now {
                return self.at(until - self.now, Event::Deliver { wire: id, up });
            }
        }
        while let Some(message) = self.due(id, up) {
            if up {
                if self.server_hears(id) {
                    let connection = ConnectionId(id);
                    if let Some(wire) = self.network.wires.get_mut(&id) {
                        self.oracle.law.heard(self.now, &message, &mut wire.proved);
                    }
                    self.tell_hub(hub::Input::Received { connection, message });
                }
            } else {
                self.arrive_at_client(id, message);
            }
        }
    }

    /// The server does not read a connection for a while.
    pub(crate) fn hold(&mut self, id: u64, pause: Duration) {
        self.report.count_incident("held");
        let until = self.now + u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        if let Some(wire) = self.network.wires.get_mut(&id) {
            wire.held_until = until;
        }
    }

    fn due(&mut self, id: u64, up: bool) -> Option<Bytes> {
        let wire = self.network.wires.get_mut(&id).filter(|wire| wire.carries && !wire.stalled)?;
        let lane = if up { &mut wire.up } else { &mut wire.down };
        let (at, _) = lane.under_way.front()?;
        if *at > self.now {
            return None;
        }
        lane.under_way.pop_front().map(|(_, message)| message)
    }

    fn arrive_at_client(&mut self, id: u64, message: Bytes) {
        let end = self.network.wires.get(&id).map(|wire| wire.end);
        if let Some((client, connection)) = self.client_of(id) {
            self.tell_client(client, session::Input::Received { connection, message });
        } else if let Some(End::Hostile(who)) = end {
            self.hostile_hears(who, id, &message);
        }
        let drained =
            self.network.wires.get(&id).is_some_and(|wire| wire.down.under_way.is_empty());
        if drained && self.server_hears(id) {
            self.tell_hub(hub::Input::Drained { connection: ConnectionId(id) });
        }
    }

    /// The connection is gone; what is under way on it is lost. The ends hear of it after so long,
    /// or never.
    pub(crate) fn cut(&mut self, id: u64, server_after: Option<u64>, client_after: Option<u64>) {
        if let Some(wire) = self.network.wires.get_mut(&id) {
            wire.carries = false;
            wire.up.under_way.clear();
            wire.down.under_way.clear();
        }
        if let Some(after) = server_after {
            self.at(after, Event::ServerHears { wire: id });
        }
        if let Some(after) = client_after {
            self.at(after, Event::ClientHears { wire: id, code: None });
        }
    }

    /// The server hears that a connection is gone.
    pub(crate) fn close_at_server(&mut self, id: u64) {
        if self.server_hears(id) {
            self.tell_hub(hub::Input::Closed { connection: ConnectionId(id) });
        }
        if let Some(wire) = self.network.wires.get_mut(&id) {
            wire.server_heard = true;
        }
    }

    /// The client hears that a connection is gone.
    pub(crate) fn close_at_client(&mut self, id: u64, code: Option<CloseCode>) {
        let end = self.network.wires.get(&id).map(|wire| wire.end);
        if let Some((client, connection)) = self.client_of(id) {
            if self.clients[client].connection == Some(connection) {
                self.clients[client].connection = None;
            }
            if let Some(wire) = self.network.wires.get_mut(&id) {
                wire.carries = false;
            }
            let code_text = code.map_or_else(String::new, |code| format!(" ({})", code.0));
            self.say(client, &format!("hears that its connection is gone{code_text}"));
            let reason = "the connection is gone".to_owned();
            self.tell_client(client, session::Input::Disconnected { connection, code, reason });
        } else if let Some(End::Hostile(who)) = end {
            self.hostile_lost(who, id);
        }
    }

    /// The hub closes a connection after everything that it sent on it.
    pub(crate) fn close_from_server(&mut self, id: u64, code: CloseCode) {
        let Some(wire) = self.network.wires.get_mut(&id) else { return };
        wire.server_heard = true;
        if wire.carries && !wire.stalled {
            let after = wire.down.last.saturating_sub(self.now) + 1;
            self.at(after, Event::ClientHears { wire: id, code: Some(code) });
        }
    }

    /// The client closes a connection.
    pub(crate) fn close_from_client(&mut self, client: usize, connection: session::ConnectionId) {
        if self.clients[client].connection == Some(connection) {
            self.clients[client].connection = None;
        }
        let Some(id) = self.wire_of(client, connection) else { return };
        let after = self.clients[client].dice.below(2_000);
        // What was said before is heard before, unless the connection is broken.
        let Some(wire) = self.network.wires.get_mut(&id) else { return };
        if wire.carries && !wire.stalled {
            wire.down.under_way.clear();
            let after = wire.up.last.saturating_sub(self.now) + after;
            self.at(after, Event::ServerHears { wire: id });
        }
    }

    /// Forgets wires that nobody believes in.
    pub(crate) fn sweep_wires(&mut self) {
        let life = self.server.life;
        let dead = |wire: &Wire| {
            let server = wire.server_heard || wire.server_life != life;
            let client = match wire.end {
                End::Client { client, life, connection } => {
                    let client = &self.clients[client];
                    client.life != life || client.connection != Some(connection)
                }
                End::Hostile(_) => !wire.carries,
            };
            server && client
        };
        let gone: Vec<u64> =
            self.network.wires.iter().filter(|(_, w)| dead(w)).map(|(id, _)| *id).collect();
        for id in gone {
            self.network.wires.remove(&id);
        }
    }

    /// Whether nothing is under way anywhere.
    pub(crate) fn is_silent(&self) -> bool {
        let wires = self.network.wires.values().filter(|wire| wire.carries && !wire.stalled);
        wires.into_iter().all(|w| w.up.under_way.is_empty() && w.down.under_way.is_empty())
    }
}
