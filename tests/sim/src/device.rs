//! The devices as the world drives them: starting and ending processes, carrying out what sessions ask
//! for, handing out tokens. What is on a device is [`crate::client`]'s.

use std::mem;

use syncline_engine::clock::Timestamp;
use syncline_engine::ids::Ulid;
use syncline_engine::machine::Machine;
use syncline_engine::policy::Role;
use syncline_engine::replica::Resolution;
use syncline_engine::session::{Effect, Input};

use crate::tokens::Token;
use crate::world::{Event, World};

impl World {
    pub(crate) fn tell_client(&mut self, client: usize, input: Input) {
        if self.clients[client].down {
            return;
        }
        let now = self.clients[client].clock(self.now);
        self.clients[client].session.handle(now, input);
        self.drain_client(client);
    }

    pub(crate) fn drain_client(&mut self, number: usize) {
        self.carry_out_effects(number);
        while self.clients[number].app.has_news() && !self.clients[number].down {
            self.look_at_news(number);
            self.carry_out_effects(number);
        }
        let life = self.clients[number].life;
        if mem::take(&mut self.clients[number].token_wanted) {
            let wait = 20 + self.clients[number].dice.below(2_000);
            let wait = wait.max(self.tokens_from.saturating_sub(self.now));
            self.at(wait, Event::Token { client: number, life });
        }
    }

    /// The app looks at what it was told of spaces, streams and feeds.
    fn look_at_news(&mut self, number: usize) {
        let app = &mut self.clients[number].app;
        let spaces = mem::take(&mut app.space_news);
        let streams = mem::take(&mut app.stream_news);
        let feeds = mem::take(&mut app.feed_news);
        if feeds > 0 {
            self.report.count_incident("feed_news");
        }
        for (space, news) in spaces {
            self.hear_of_space(number, &space, news);
        }
        for address in streams {
            self.hear_of_stream(number, &address);
        }
    }

    fn carry_out_effects(&mut self, number: usize) {
        let life = self.clients[number].life;
        while self.lives(number, life)
            && let Some(effect) = self.clients[number].session.poll_effect()
        {
            match effect {
                Effect::Connect { connection } => {
                    if self.clients[number].connection.replace(connection).is_some() {
                        self.complain("two_connections", format!("of client {number} at once"));
                    }
                    let delay = 2 * self.delay(number, 200);
                    self.at(delay, Event::Connect { client: number, life, connection });
                }
                Effect::Send { connection, message } => {
                    if let Some(wire) = self.wire_of(number, connection) {
                        self.send(wire, true, message);
                    }
                }
                Effect::Disconnect { connection } => {
                    self.close_from_client(number, connection);
                }
                Effect::Write { token, writes } => {
                    let client = &mut self.clients[number];
                    client.write(token, writes);
                    let delay = 1 + client.dice.below(10);
                    self.at(delay, Event::Stored { client: number, life });
                }
                Effect::Read { token, prefix } => {
                    self.at(1, Event::Read { client: number, life, token, prefix });
                }
                Effect::Notify(notice) => {
                    if let Some((id, resolution)) = self.clients[number].hear(notice) {
                        self.note_ending(number, id, &resolution);
                    }
                }
                Effect::Stop => self.clients[number].down = true,
            }
        }
    }

    fn note_ending(&mut self, number: usize, id: Ulid, resolution: &Resolution) {
        self.count_ending(number, id, resolution);
        // Somebody may wait for it to end a stream.
        let writings = self.clients[number].app.writings.keys().cloned();
        let writings: Vec<_> = writings.collect();
        self.clients[number].app.stream_news.extend(writings);
    }

    fn count_ending(&mut self, number: usize, id: Ulid, resolution: &Resolution) {
        let how = match resolution {
            Resolution::Confirmed => "confirmed".to_owned(),
            Resolution::NoEffect => "no_effect".to_owned(),
            Resolution::Superseded => "superseded".to_owned(),
            Resolution::Refused { code, .. } => format!("refused:{code}"),
        };
        self.say(number, &format!("hears how {id} ended: {how}"));
        *self.report.endings.entry(how).or_default() += 1;
    }

    /// The client's process is gone, and with it its connections.
    pub(crate) fn end_client(&mut self, client: usize, reach: usize) {
        for wire in self.wires_of(client) {
            let after = self.clients[client].dice.below(3_000);
            self.cut(wire, Some(after), None);
        }
        self.clients[client].crash(reach);
    }

    pub(crate) fn start_client(&mut self, client: usize) {
        let token = self.fresh_token(client);
        self.clients[client].start(token);
        self.say(client, "starts");
        for (id, resolution) in self.clients[client].hear_stored() {
            self.count_ending(client, id, &resolution);
        }
        for address in self.clients[client].documents.clone() {
            self.tell_client(client, Input::Open { address, write: false });
        }
        self.tell_client(client, Input::SetOnline(true));
        self.return_to_spaces(client);
        self.return_to_streams(client);
        self.return_to_feeds(client);
    }

    // Tokens.

    pub(crate) fn fresh_token(&self, client: usize) -> Option<String> {
        let counts = self.setup.token_ms?;
        let of = &self.clients[client];
        let role = self.roles.get(&of.user).cloned().unwrap_or(Role::Member);
        let expires = Timestamp(self.now + counts);
        Some(Token { user: of.user.clone(), role, expires }.write())
    }

    /// A user gets another role. All of his devices are told at once.
    pub(crate) fn set_role(&mut self, client: usize, pick: u64) -> bool {
        if self.setup.token_ms.is_none() {
            return false;
        }
        let user = self.clients[client].user.clone();
        let role = [Role::Viewer, Role::Member, Role::Moderator, Role::Outsider]
            [usize::try_from(pick % 4).unwrap_or(0)]
        .clone();
        self.roles.insert(user.clone(), role);
        for device in 0..self.clients.len() {
            if self.clients[device].user == user && self.is_awake(device) {
                self.give_token(device);
            }
        }
        true
    }

    /// The app hands a new token to its session.
    pub(crate) fn give_token(&mut self, client: usize) -> bool {
        let Some(token) = self.fresh_token(client) else { return false };
        self.report.count_incident("token_renewed");
        self.tell_client(client, Input::SetToken(token));
        true
    }
}
