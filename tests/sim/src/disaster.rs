//! What goes wrong with the server: its process, its disk, what is stored on it; and the copies from
//! which it is mended.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each group of steps has its own method, which passes over the others"
)]

use automerge::ReadDoc as _;
use syncline_engine::hub;
use syncline_engine::ids::{Address, ChangeHash, StreamAddress, Ulid};
use syncline_engine::replica::Replica;

use crate::disk::Disk;
use crate::oracle::{Holder, Mirror};
use crate::server::Backup;
use crate::step::Action;
use crate::world::{Event, World};

impl World {
    pub(crate) fn act_on_server(&mut self, action: &Action) -> bool {
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

    pub(crate) fn act_on_disk(&mut self, action: &Action) -> bool {
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
        let stream = || document.checked_sub(self.documents.len());
        let stream = || stream().and_then(|place| self.streams.get(place)).map(|s| s.log().clone());
        let Some(address) = self.documents.get(document).cloned().or_else(stream) else {
            return false;
        };
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
        let all: Vec<Address> = self.oracle.mirror.logs.keys().cloned().collect();
        self.note_lost(&all, &backup);
        self.destroyed |= self.oracle.mirror.streams != backup.mirror.streams;
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
        let empty = || Backup { disk: Disk::new(), mirror: Mirror::default() };
        let backup = self.server.backup.clone().unwrap_or_else(empty);
        self.note_lost(&damage, &backup);
        for address in &damage {
            self.server.disk.restore(address, &backup.disk);
            match backup.mirror.logs.get(address) {
                Some(log) => self.oracle.mirror.logs.insert(address.clone(), log.clone()),
                None => self.oracle.mirror.logs.remove(address),
            };
            if let Some(stream) = StreamAddress::of(address) {
                let kept = backup.mirror.streams.get(&stream).cloned();
                self.destroyed |= self.oracle.mirror.streams.get(&stream) != kept.as_ref();
                match kept {
                    Some(kept) => self.oracle.mirror.streams.insert(stream, kept),
                    None => self.oracle.mirror.streams.remove(&stream),
                };
            }
        }
        self.damaged.clear();
        self.repaired = true;
        self.report.count_incident("repaired_from_backup");
        self.at(500, Event::StartServer);
        true
    }

    /// Notes which durable changes the server will not have any more, and who still has them.
    fn note_lost(&mut self, documents: &[Address], backup: &Backup) {
        let mut lost: Vec<(Address, ChangeHash)> = Vec::new();
        for address in documents {
            let Some(log) = self.oracle.mirror.logs.get(address) else { continue };
            let gone = log.hashes.iter().filter(|hash| !backup.mirror.has(address, **hash));
            lost.extend(gone.map(|hash| (address.clone(), *hash)));
        }
        self.destroyed |= !lost.is_empty();
        for (address, hash) in lost {
            let up = self.clients.iter().filter(|client| !client.down);
            let holders = up.filter_map(|client| {
                let replica = client.session.replica(&address)?;
                let unanswered = held(replica, hash)?;
                Some(Holder { client: client.number, life: client.life, unanswered })
            });
            let holders = holders.collect();
            self.oracle.lost.insert((address, hash), holders);
        }
    }
}

/// Whether a replica has a change; and the commands up to it that are without an answer, if its own is.
fn held(replica: &Replica, hash: ChangeHash) -> Option<Vec<Ulid>> {
    let name = automerge::ChangeHash(hash.0);
    replica.document().get_change_by_hash(&name)?;
    let own = replica.pending().find(|pending| pending.change.hash() == name);
    let last = own.filter(|own| !own.announced).map_or(0, |own| own.number);
    let open = replica.pending().filter(|p| !p.announced && p.number <= last);
    Some(open.map(|pending| pending.id).collect())
}
