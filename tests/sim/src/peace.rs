//! What ends: things that an action has put off, and all that goes wrong once the steps are over.

use syncline_engine::policy::Role;
use syncline_engine::session::{ConnectionStatus, Input};

use crate::world::{Event, Relief, World};

impl World {
    pub(crate) fn relieve(&mut self, relief: Relief) {
        if self.leaving {
            return;
        }
        match relief {
            Relief::Open(client, document) => {
                let address = self.documents[document].clone();
                self.tell_client(client, Input::Open { address, write: false });
            }
            Relief::Online(client) => self.tell_client(client, Input::SetOnline(true)),
            Relief::Network(client) => self.tell_client(client, Input::SetNetwork(true)),
            Relief::Visible(client) => self.tell_client(client, Input::SetVisible(true)),
            Relief::StartClient(client, life) => {
                if self.clients[client].life == life {
                    let all = self.clients[client].writes_under_way();
                    self.end_client(client, all);
                    self.start_client(client);
                }
            }
        }
    }

    /// Nothing goes wrong any more, and what did is mended.
    pub(crate) fn make_peace(&mut self) {
        self.story.note(self.now, "·", "peace");
        self.peace = true;
        self.banish();
        self.server.full_until = 0;
        self.server.slow_until = 0;
        self.server.fails_reads = 0;
        self.server.fails_write = None;
        self.tokens_from = 0;
        if !self.repair() && self.server.hub.is_none() {
            self.at(1, Event::StartServer);
        }
        // Who may not even read can't see the same as the others.
        let outsiders = self.roles.values().any(|role| *role == Role::Outsider);
        self.roles.retain(|_, role| *role != Role::Outsider);
        for client in 0..self.clients.len() {
            let of = &mut self.clients[client];
            of.frozen_until = 0;
            of.reads_from = 0;
            of.partitioned_until = 0;
            for wire in self.wires_of(client) {
                if self.network.wires.get(&wire).is_some_and(|wire| wire.stalled) {
                    self.cut(wire, Some(10), Some(10));
                }
            }
            for document in 0..self.documents.len() {
                self.relieve(Relief::Open(client, document));
            }
            if outsiders && self.is_awake(client) {
                self.give_token(client);
            }
            self.relieve(Relief::Online(client));
            self.relieve(Relief::Network(client));
            self.relieve(Relief::Visible(client));
        }
        self.at(1_000, Event::LookAround);
    }

    /// A failed connection is tried again by hand, as people do.
    pub(crate) fn look_around(&mut self) {
        for client in 0..self.clients.len() {
            let of = &self.clients[client];
            if !of.down && matches!(of.status, ConnectionStatus::Failed { .. }) {
                self.report.count_incident("reconnected_by_hand");
                self.give_token(client);
                self.tell_client(client, Input::Reconnect);
            }
            if self.is_awake(client) && !self.leaving {
                self.enter_again(client);
                self.go_on_with_streams(client);
                self.follow_again(client);
            }
        }
        if !self.leaving {
            self.at(10_000, Event::LookAround);
        }
    }
}
