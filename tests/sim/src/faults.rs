//! Carrying out the steps of a run: what each does to the world, and what ends it.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each group of steps has its own method, which passes over the others"
)]

use automerge::ReadDoc as _;
use syncline_engine::clock::Timestamp;
use syncline_engine::hub;
use syncline_engine::ids::{Address, ChangeHash};
use syncline_engine::policy::Role;
use syncline_engine::session::Input;

use crate::server::Backup;
use crate::step::{Action, Side};
use crate::tokens::Token;
use crate::world::{Event, Relief, World};

impl World {
    /// Carries a step out and counts it if it did something that goes wrong.
    pub(crate) fn act(&mut self, action: &Action) {
        let fault = action.is_fault();
        if self.apply(action) {
            if fault {
                self.report.count_fault(action.name());
            }
            if !matches!(action, Action::Command { .. }) {
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

    fn is_awake(&self, client: usize) -> bool {
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
            Action::JumpClock { by_ms, .. } => self.clients[client].offset_ms += by_ms,
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

    fn act_on_server(&mut self, action: &Action) -> bool {
        match *action {
            Action::CrashServer { reached, ms } => {
                let up = self.server.hub.is_some();
                self.crash_server(reached, ms);
                return up;
            }
            Action::RestartServer { ms } => {
                if self.server.hub.is_none() {
                    return false;
                }
                self.server.may_stop = true;
                self.server.back_after = Some(ms);
                self.tell_hub(hub::Input::Shutdown);
            }
            Action::FailWrite { reached } => self.server.fails_write = Some(reached),
            Action::FillDisk { ms } => self.server.full_until = self.now + ms,
            Action::SlowDisk { ms } => self.server.slow_until = self.now + ms,
            Action::FailReads { count } => self.server.fails_reads = count,
            _ => return false,
        }
        true
    }

    fn act_on_disk(&mut self, action: &Action) -> bool {
        match *action {
            Action::Tear { document, pick } => self.spoil(document, pick, true),
            Action::Corrupt { document, pick } => self.spoil(document, pick, false),
            Action::Backup => self.back_up(),
            Action::RestoreBackup { ms } => self.restore_backup(ms),
            Action::Repair => self.repair(),
            _ => false,
        }
    }

    /// Spoils something that is stored. Without a copy of the disk there would be no way back, so
    /// there must be one.
    fn spoil(&mut self, document: usize, pick: u64, torn: bool) -> bool {
        let Some(address) = self.documents.get(document).cloned() else { return false };
        // What was damaged before is looked at before it changes again.
        self.check_damaged();
        if self.server.is_committing() || !self.server.disk.spoil(&address, pick, torn) {
            return false;
        }
        self.server.was_damaged = true;
        let bytes = self.server.disk.bytes_of(&address);
        self.damaged.insert(address, bytes);
        true
    }

    /// What is damaged must stay as it is until somebody repairs it: more may follow, but nothing
    /// that was there may be gone or other.
    pub(crate) fn check_damaged(&mut self) {
        let mut overwritten = Vec::new();
        for (address, before) in &self.damaged {
            let after = self.server.disk.bytes_of(address);
            let kept = before.iter().all(|value| after.contains(value));
            if !kept {
                overwritten.push(address.to_string());
            }
        }
        for address in overwritten {
            self.complain("overwritten", format!("{address} was damaged and then written over"));
        }
    }

    fn back_up(&mut self) -> bool {
        // Who makes copies looks at them.
        if self.server.is_committing() || !self.server.disk.damage().is_empty() {
            return false;
        }
        let disk = self.server.disk.copy();
        let mirror = self.oracle.mirror.clone();
        self.server.backup = Some(Backup { disk, mirror });
        true
    }

    fn restore_backup(&mut self, ms: u64) -> bool {
        let Some(backup) = self.server.backup.clone() else { return false };
        self.end_server(true);
        self.check_damaged();
        let all: Vec<Address> = self.oracle.mirror.0.keys().cloned().collect();
        self.note_lost(&all, &backup);
        self.server.disk = backup.disk.copy();
        self.oracle.mirror = backup.mirror;
        self.damaged.clear();
        self.at(ms, Event::StartServer);
        true
    }

    /// Replaces what is damaged from the last copy; a document without one begins anew.
    pub(crate) fn repair(&mut self) -> bool {
        let damage = self.server.disk.damage();
        if damage.is_empty() {
            return false;
        }
        self.check_damaged();
        self.end_server(true);
        let empty = || Backup { disk: crate::disk::Disk::new(), mirror: Default::default() };
        let backup = self.server.backup.clone().unwrap_or_else(empty);
        self.note_lost(&damage, &backup);
        for address in &damage {
            self.server.disk.restore(address, &backup.disk);
            match backup.mirror.0.get(address) {
                Some(log) => self.oracle.mirror.0.insert(address.clone(), log.clone()),
                None => self.oracle.mirror.0.remove(address),
            };
        }
        self.damaged.clear();
        self.report.count_incident("repaired_from_backup");
        self.at(500, Event::StartServer);
        true
    }

    /// Notes which durable changes the server will not have any more, and who still has them.
    fn note_lost(&mut self, documents: &[Address], backup: &Backup) {
        let mut lost: Vec<(Address, ChangeHash)> = Vec::new();
        for address in documents {
            let Some(log) = self.oracle.mirror.0.get(address) else { continue };
            let gone = log.hashes.iter().filter(|hash| !backup.mirror.has(address, **hash));
            lost.extend(gone.map(|hash| (address.clone(), *hash)));
        }
        self.destroyed |= !lost.is_empty();
        for (address, hash) in lost {
            let name = automerge::ChangeHash(hash.0);
            let has = |client: &&crate::client::Client| {
                let replica = client.session.replica(&address);
                !client.down
                    && replica.is_some_and(|r| r.document().get_change_by_hash(&name).is_some())
            };
            let holders = self.clients.iter().filter(has).map(|c| (c.number, c.life)).collect();
            self.oracle.lost.insert((address, hash), holders);
        }
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
        for address in self.clients[client].documents.clone() {
            self.tell_client(client, Input::Open { address, write: false });
        }
        self.tell_client(client, Input::SetOnline(true));
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
    fn set_role(&mut self, client: usize, pick: u64) -> bool {
        if self.setup.token_ms.is_none() {
            return false;
        }
        let user = self.clients[client].user.clone();
        let role = [Role::Viewer, Role::Member, Role::Moderator]
            [usize::try_from(pick % 3).unwrap_or(0)]
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
