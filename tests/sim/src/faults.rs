//! Carrying out the steps of a run: what each does to the world, and what ends it.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each group of steps has its own method, which passes over the others"
)]

use syncline_engine::session::Input;

use crate::step::{Action, Side};
use crate::world::{Event, Relief, World};

impl World {
    /// Carries a step out and counts it if it did something that goes wrong.
    pub(crate) fn act(&mut self, action: &Action) {
        let fault = action.is_fault();
        if self.apply(action) {
            if fault {
                self.report.count_fault(action.name());
            }
            let told = matches!(
                action,
                Action::Command { .. } | Action::Space { .. } | Action::Stream { .. }
            );
            if !told {
                self.story.note(self.now, "·", &action.to_string());
            }
        }
    }

    fn apply(&mut self, action: &Action) -> bool {
        match *action {
            Action::Command { client, document, pick } => {
                if client < self.clients.len() && document < self.documents.len() {
                    self.some_command(client, document, pick);
                }
                true
            }
            Action::Partition { clients, ms } => self.partition(clients, ms),
            Action::Herd => self.herd(),
            Action::CrashServer { .. }
            | Action::RestartServer { .. }
            | Action::FailWrite { .. }
            | Action::FillDisk { .. }
            | Action::SlowDisk { .. }
            | Action::FailReads { .. } => self.act_on_server(action),
            Action::Tear { .. }
            | Action::Corrupt { .. }
            | Action::Backup
            | Action::RestoreBackup { .. }
            | Action::Repair => self.act_on_disk(action),
            Action::DelayTokens { ms } => {
                self.tokens_from = self.tokens_from.max(self.now + ms);
                self.setup.token_ms.is_some()
            }
            Action::SetRole { client, pick } => {
                client < self.clients.len() && self.set_role(client, pick)
            }
            Action::Attack { who, pick } => self.attack(who, pick),
            Action::Space { client, pick } => self.some_space_act(client, pick),
            Action::Stream { client, pick } => self.some_stream_act(client, pick),
            Action::Feed { client, pick } => self.some_feed_act(client, pick),
            Action::SayAgain { client, ms } => {
                client < self.clients.len() && self.say_again_later(client, ms)
            }
            Action::CloseDocument { client, .. }
            | Action::GoOffline { client, .. }
            | Action::LoseNetwork { client, .. }
            | Action::Hide { client, .. }
            | Action::JumpClock { client, .. }
            | Action::RenewToken { client } => {
                self.is_awake(client) && self.act_on_app(client, action)
            }
            Action::Cut { client, .. }
            | Action::HalfOpen { client, .. }
            | Action::Stall { client }
            | Action::Overtake { client, .. }
            | Action::ReadSlowly { client, .. }
            | Action::Freeze { client, .. } => {
                client < self.clients.len() && self.act_on_wire(client, action)
            }
            Action::CrashClient { client, .. }
            | Action::RestartClient { client, .. }
            | Action::LoseStore { client }
            | Action::CopyStore { client }
            | Action::RestoreStore { client } => {
                client < self.clients.len() && self.act_on_client(client, action)
            }
        }
    }

    pub(crate) fn is_awake(&self, client: usize) -> bool {
        self.clients.get(client).is_some_and(|c| !c.down && !c.ending && c.frozen_until <= self.now)
    }

    fn later(&mut self, ms: u64, relief: Relief) {
        self.at(ms, Event::Relief(relief));
    }

    fn act_on_app(&mut self, client: usize, action: &Action) -> bool {
        match *action {
            Action::CloseDocument { document, ms, .. } => {
                let Some(address) = self.documents.get(document).cloned() else { return false };
                self.tell_client(client, Input::Close { address });
                self.later(ms, Relief::Open(client, document));
            }
            Action::GoOffline { ms, .. } => {
                self.tell_client(client, Input::SetOnline(false));
                self.later(ms, Relief::Online(client));
            }
            Action::LoseNetwork { ms, .. } => {
                self.tell_client(client, Input::SetNetwork(false));
                for wire in self.wires_of(client) {
                    self.cut(wire, None, None);
                }
                self.later(ms, Relief::Network(client));
            }
            Action::Hide { ms, .. } => {
                self.tell_client(client, Input::SetVisible(false));
                self.later(ms, Relief::Visible(client));
            }
            Action::JumpClock { by_ms, .. } => {
                self.clients[client].offset_ms += by_ms;
                self.clients[client].clock_jumped |= by_ms < 0;
            }
            Action::RenewToken { .. } => return self.give_token(client),
            _ => return false,
        }
        true
    }

    fn act_on_wire(&mut self, client: usize, action: &Action) -> bool {
        let wires = self.wires_of(client);
        match *action {
            Action::ReadSlowly { ms, .. } => self.clients[client].reads_from = self.now + ms,
            Action::Freeze { ms, .. } => {
                let until = self.now + ms;
                let frozen = &mut self.clients[client].frozen_until;
                *frozen = until.max(*frozen);
            }
            _ if wires.is_empty() => return false,
            Action::Cut { pick, .. } => {
                for wire in wires {
                    self.cut(wire, Some(pick % 3_000), Some((pick >> 32) % 3_000));
                }
            }
            Action::HalfOpen { hears, .. } => {
                for wire in wires {
                    let (server, client) = match hears {
                        Side::Client => (None, Some(50)),
                        Side::Server => (Some(50), None),
                    };
                    self.cut(wire, server, client);
                }
            }
            Action::Stall { .. } => {
                for wire in wires {
                    if let Some(wire) = self.network.wires.get_mut(&wire) {
                        wire.stalled = true;
                    }
                }
            }
            Action::Overtake { ms, .. } => {
                for wire in wires {
                    self.cut(wire, Some(ms), None);
                    self.close_at_client(wire, None);
                }
                if self.is_awake(client) {
                    self.tell_client(client, Input::Reconnect);
                }
            }
            _ => return false,
        }
        true
    }

    fn partition(&mut self, clients: u64, ms: u64) -> bool {
        for (number, client) in self.clients.iter_mut().enumerate() {
            if clients >> number & 1 == 1 {
                client.partitioned_until = client.partitioned_until.max(self.now + ms);
            }
        }
        clients != 0
    }

    fn herd(&mut self) -> bool {
        for client in 0..self.clients.len() {
            for wire in self.wires_of(client) {
                self.cut(wire, Some(5), None);
                self.close_at_client(wire, None);
            }
            if self.is_awake(client) {
                self.tell_client(client, Input::Reconnect);
            }
        }
        true
    }

    fn act_on_client(&mut self, client: usize, action: &Action) -> bool {
        match *action {
            Action::CrashClient { pick, .. } => {
                if self.clients[client].down {
                    return false;
                }
                let under_way = self.clients[client].writes_under_way() as u64;
                let reach = usize::try_from(pick % (under_way + 1)).unwrap_or(0);
                self.end_client(client, reach);
                self.start_client(client);
            }
            Action::RestartClient { ms, .. } => {
                if !self.is_awake(client) {
                    return false;
                }
                self.clients[client].ending = true;
                self.tell_client(client, Input::Shutdown);
                self.later(ms.min(20_000), Relief::StartClient(client, self.clients[client].life));
            }
            Action::LoseStore { .. } => {
                self.end_client(client, 0);
                self.clients[client].replace_store(Default::default());
                self.clients[client].copy = None;
                self.start_client(client);
            }
            Action::CopyStore { .. } => self.clients[client].copy_store(),
            Action::RestoreStore { .. } => {
                let Some(copy) = self.clients[client].copy.clone() else { return false };
                self.end_client(client, 0);
                self.clients[client].replace_store(copy);
                self.clients[client].store_restored = true;
                self.start_client(client);
            }
            _ => return false,
        }
        true
    }
}
