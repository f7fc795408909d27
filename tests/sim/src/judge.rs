//! What must be true of the world in the end: everybody sees the same, nothing is lost, every
//! command has its end, and nothing is left behind.

use automerge::{Automerge, Change, TextEncoding};
use syncline_engine::codes::Code;
use syncline_engine::document::{Command, CommentsCommand, PostCommand, View, genesis};
use syncline_engine::ids::{Address, ChangeHash, Ulid};
use syncline_engine::replica::{Replica, Resolution};
use syncline_engine::session::{ConnectionStatus, DocumentStatus};
use syncline_engine::storage::LogStore;

use crate::client::Client;
use crate::oracle::Holder;
use crate::people::token;
use crate::run::FOR_EVER;
use crate::social::STREAMS_MAX;
use crate::streaming::is_result;
use crate::world::World;

/// Spaces that somebody may be in, a hostile client's included.
const SPACES_MAX: usize = 2 + HOSTILE_NAMES;
/// Names of spaces and streams that hostile clients make up.
pub(crate) const HOSTILE_NAMES: usize = 2;

impl World {
    /// Whether nobody has anything left to do.
    pub(crate) fn is_quiet(&self) -> bool {
        self.server.hub.is_some()
            && !self.server.is_committing()
            && self.clients.iter().all(|client| {
                client.is_quiet()
                    && client.documents.iter().all(|address| {
                        let end = self.oracle.mirror.end(address);
                        let there = |status: DocumentStatus| status.seq == end;
                        client.session.status(address).is_some_and(there)
                            && self.knows_the_end(client, address)
                    })
            })
            && self.spaces_are_quiet()
            && self.streams_are_quiet()
            && self.feeds_are_quiet()
            && self.is_silent()
    }

    /// Whether a client's place in a log is the log's end, and not the same place of another that it
    /// has not heard the last of.
    fn knows_the_end(&self, client: &Client, address: &Address) -> bool {
        let Ok(Some(head)) = self.server.disk.head(address) else { return true };
        let cursor = client.session.replica(address).and_then(Replica::cursor);
        cursor.is_some_and(|cursor| cursor == head.end)
    }

    /// Whether nobody is there any more and the hub has noticed.
    pub(crate) fn is_empty(&self) -> bool {
        let hub = self.server.hub.as_ref().map(syncline_engine::hub::Hub::stats);
        self.clients.iter().all(|client| client.down)
            && hub.is_some_and(|s| {
                let memory = s.documents + s.spaces + s.streams + s.feeds;
                s.connections + s.sessions + memory == 0
            })
    }

    /// Why the world does not come to rest, for people.
    pub(crate) fn unrest(&self) -> String {
        let mut why = vec![];
        match &self.server.hub {
            None => why.push("there is no server".to_owned()),
            Some(hub) if self.leaving => why.push(format!("{:?}", hub.stats())),
            Some(_) => {}
        }
        for client in &self.clients {
            if client.down {
                continue;
            }
            let status = client.session.connection(client.clock(self.now));
            why.push(format!("client {} is {status:?}", client.number));
            for address in &client.documents {
                let end = self.oracle.mirror.end(address);
                match client.session.status(address) {
                    Some(s) if s.ready && s.live && s.pending == 0 && s.seq == end => {}
                    status => why.push(format!("{address} of {end} is {status:?}")),
                }
            }
            why.extend(self.unrest_of_spaces(client.number));
            why.extend(self.unrest_of_streams(client.number));
            why.extend(client.problems.last().map(|(code, message)| format!("{code}: {message}")));
        }
        why.join("; ")
    }

    /// What is held must stay within its limits at every moment.
    pub(crate) fn check_bounds(&mut self) {
        let Some(hub) = &self.server.hub else { return };
        let stats = hub.stats();
        let config = self.setup.server.config();
        let open = self.network.wires.len();
        let documents = self.documents.len();
        let pending_max = config.pending_bytes_max + (1 << 20);
        let bad = stats.connections > open
            || stats.documents > documents
            || stats.pending_bytes > pending_max
            || stats.leases > stats.sessions * documents
            || stats.followers > stats.connections * documents
            || stats.spaces > SPACES_MAX
            || stats.present > stats.sessions * SPACES_MAX
            || stats.streams > STREAMS_MAX + HOSTILE_NAMES
            || stats.stream_followers > stats.connections * (STREAMS_MAX + HOSTILE_NAMES)
            || stats.feeds > 1 + HOSTILE_NAMES
            || stats.feed_followers > stats.connections * (1 + HOSTILE_NAMES);
        if bad {
            self.complain("bounds", format!("{stats:?} with {open} connections"));
        }
        if let Some(wire) = self.outlived() {
            self.complain("expired", format!("connection {wire} goes on without a token"));
        }
        for number in 0..self.clients.len() {
            let client = &self.clients[number];
            let (stats, config) = (client.session.stats(), client.setup.config());
            if !client.down && stats.outbox_bytes > config.outbox_bytes_max + (1 << 20) {
                self.complain("bounds", format!("client {number}: {stats:?}"));
            }
        }
    }

    pub(crate) fn judge(&mut self) {
        for address in self.documents.clone() {
            self.judge_document(&address);
        }
        self.judge_losses();
        self.judge_spaces();
        self.judge_streams();
        self.judge_feeds();
        for number in 0..self.clients.len() {
            let found = std::mem::take(&mut self.clients[number].violations);
            self.report.violations.extend(found);
            self.judge_problems(number);
            self.judge_endings(number);
            let stats = self.clients[number].session.stats();
            if stats.pending == 0 && (stats.outbox_bytes > 0 || stats.oldest_pending.is_some()) {
                self.complain("bounds", format!("client {number} at rest: {stats:?}"));
            }
        }
        self.judge_refused();
    }

    /// Nothing is there that this life of the server has refused. What its client did not hear before
    /// the next life, it may push as it was, and by then it may be allowed.
    pub(crate) fn judge_refused(&mut self) {
        for (address, hash) in std::mem::take(&mut self.oracle.refused) {
            if self.oracle.mirror.has(&address, hash) {
                self.complain("refused", format!("{address}: {hash} was refused and is there"));
            }
        }
    }

    fn judge_document(&mut self, address: &Address) {
        let (doc, problems) = self.read_log(address);
        for problem in problems {
            self.complain("log", problem);
        }
        let heads = doc.get_heads();
        let view = View::read(address.facet(), &doc);
        let mirrored: Vec<ChangeHash> =
            self.oracle.mirror.logs.get(address).map(|log| log.hashes.clone()).unwrap_or_default();
        let stored = doc.get_changes_meta(&[]).len();
        let begun = self.oracle.mirror.logs.get(address).map_or((0, 0), |log| log.begun);
        let durable = 1 + begun.1 + mirrored.len() - begun.0;
        if stored != durable {
            let what = format!("{address}: {durable} were durable, {stored} are there");
            self.complain("lost", what);
        }
        for number in 0..self.clients.len() {
            let found = match self.clients[number].session.replica(address) {
                None => "can't open it",
                Some(replica) if replica.document().get_heads() != heads => "has other changes",
                Some(replica) if *replica.view() != view => "shows something else",
                Some(_) => continue,
            };
            self.complain("diverged", format!("{address}: client {number} {found} than the log"));
        }
        for number in 0..self.clients.len() {
            self.judge_commands(number, address, &view);
        }
        self.views.insert(address.clone(), view);
    }

    /// Everything of the log: the snapshot's changes, then the records'.
    fn read_log(&self, address: &Address) -> (Automerge, Vec<String>) {
        let mut doc = genesis::document(address, TextEncoding::UnicodeCodePoint);
        let mut problems = Vec::new();
        let disk = &self.server.disk;
        let head = match disk.head(address) {
            Ok(Some(head)) => head,
            Ok(None) => return (doc, problems),
            Err(error) => return (doc, vec![format!("{address}: {error}")]),
        };
        let mut from = head.tail_from;
        if let Some(snapshot) = &head.snapshot
            && let Ok(Some(body)) = disk.read_snapshot(address, snapshot.cursor, 0, usize::MAX)
        {
            match Automerge::load(&body) {
                Ok(loaded) => doc = loaded,
                Err(error) => problems.push(format!("{address}: the snapshot fails: {error}")),
            }
            from = from.min(snapshot.cursor.seq + 1);
        }
        let mut changes = Vec::new();
        for record in disk.read(address, from, usize::MAX).unwrap_or_default() {
            for entry in &record.entries {
                match Change::try_from(&entry.change[..]) {
                    Ok(change) => changes.push(change),
                    Err(error) => problems.push(format!("{address}: a change fails: {error}")),
                }
            }
        }
        if let Err(error) = doc.apply_changes(changes) {
            problems.push(format!("{address}: what is durable does not merge: {error}"));
        }
        (doc, problems)
    }

    /// What a backup did not have is back if anybody held it all the time.
    fn judge_losses(&mut self) {
        for ((address, hash), holders) in self.oracle.lost.clone() {
            let had_it = |holder: &&Holder| {
                self.clients[holder.client].life == holder.life && !self.was_refused(holder)
            };
            let holder = holders.iter().find(had_it);
            if self.was_given_up(&address) {
                continue;
            }
            if let (Some(Holder { client, .. }), false) =
                (holder, self.oracle.mirror.has(&address, hash))
            {
                let what = format!("{address}: {hash}, which client {client} had all the time");
                self.complain("lost", what);
            }
        }
    }

    /// Whether a client that had no answer to a command was told that the rules refuse it, or one that goes
    /// before it. Nothing proves that such a command was accepted once: its client pushes it again
    /// (PU5), and it is judged by what its author may do by then, and by what others have made.
    fn was_refused(&self, holder: &Holder) -> bool {
        let endings = &self.clients[holder.client].endings;
        let told = holder.unanswered.iter().filter_map(|id| endings.get(id)).flatten();
        told.map(|ending| &ending.resolution).any(|resolution| match resolution {
            Resolution::Refused { code: Code::Forbidden, .. } => self.setup.token_ms.is_some(),
            // An honest client is told anything else only if one of the two sides has gone astray.
            Resolution::Refused { code, .. } => {
                matches!(code, Code::NotFound | Code::NotAuthor | Code::NoEffect)
            }
            Resolution::Confirmed | Resolution::NoEffect | Resolution::Superseded => false,
        })
    }

    /// Whether a client was told that the server does not take back what it has lost of a document:
    /// others had gone on in a way that leaves no room for it. That is told, and so not silent.
    fn was_given_up(&self, address: &Address) -> bool {
        let told = |client: &Client| {
            client.gave_up.contains(address) || client.left_behind.contains(address)
        };
        self.destroyed && self.clients.iter().any(told)
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "whatever is not expected is a problem")]
    fn judge_problems(&mut self, number: usize) {
        let restored = self.clients.iter().any(|client| client.store_restored);
        let client = &self.clients[number];
        let mut found = Vec::new();
        for (code, message) in &client.problems {
            let expected = match code {
                Code::ShuttingDown | Code::Overloaded | Code::Replaced => true,
                // The hub has let go of a document that the client still speaks of.
                Code::DocumentUnavailable => self.server.was_damaged,
                Code::UnknownHandle => self.server.was_damaged || self.setup.token_ms.is_some(),
                Code::RateLimited => self.setup.server.user_changes_per_s > 0,
                // Roles change.
                Code::Forbidden => self.setup.token_ms.is_some(),
                Code::TokenExpired | Code::Unauthenticated => self.setup.token_ms.is_some(),
                Code::OutOfProtocol => restored,
                // A backup may know commands that were forgotten since, whose numbers went to others.
                Code::OutboxReused => {
                    restored || (self.destroyed && self.setup.server.offline_window < FOR_EVER)
                }
                _ => false,
            };
            if !expected {
                found.push(format!("client {number}: {code}: {message}"));
            }
        }
        if !self.destroyed {
            let given_up = client.gave_up.iter();
            found.extend(given_up.map(|at| format!("client {number} lost something of {at}")));
        }
        // A document without a log has another epoch in each life of the server, and who wrote there
        // first can't know whether that came into one that has ended since.
        let one_life = self.server.life <= 1;
        // Nor can a copy of a store know what another did in epochs that it never saw.
        let may_not_know = client.store_restored || client.store_destroyed;
        let keeps = self.setup.server.offline_window >= FOR_EVER;
        if !self.destroyed && one_life && keeps && !may_not_know {
            let left = client.left_behind.iter();
            found.extend(left.map(|at| format!("client {number} was left behind in {at}")));
        }
        if let ConnectionStatus::Failed { code, message } = &client.status {
            found.push(format!("client {number} has given up: {code}: {message}"));
        }
        for what in found {
            self.complain("problem", what);
        }
    }

    /// Every command that reached the client's disk has come to its one end.
    fn judge_endings(&mut self, number: usize) {
        let client = &self.clients[number];
        let mut found = Vec::new();
        for id in &client.owed {
            found.push(("unsettled", format!("client {number}: {id} has no end")));
        }
        if !self.destroyed && !client.store_destroyed {
            for (id, endings) in &client.endings {
                if endings.iter().any(|e| e.resolution != endings[0].resolution) {
                    found.push(("ended_twice", format!("client {number}: {id} ended in two ways")));
                }
            }
        }
        for (rule, what) in found {
            self.complain(rule, what);
        }
    }

    fn judge_commands(&mut self, number: usize, address: &Address, view: &View) {
        let client = &self.clients[number];
        // A backup may lack what a client confirmed and then lost with its store.
        let may_be_lost = self.destroyed
            && (client.store_destroyed || client.life > 1 || self.was_given_up(address));
        let mut found: Vec<(&str, String)> = Vec::new();
        for (id, (at, command)) in &client.applied {
            if at != address {
                continue;
            }
            let Some(there) = count_of(*id, command, view) else { continue };
            let endings = client.endings.get(id).map(Vec::as_slice).unwrap_or_default();
            let confirmed = endings.iter().any(|e| e.resolution == Resolution::Confirmed);
            // Of what is too old nobody knows any more how it ended.
            let is_no = |resolution: &Resolution| match resolution {
                Resolution::Refused { code, .. } => *code != Code::TooOld,
                Resolution::Confirmed | Resolution::NoEffect | Resolution::Superseded => false,
            };
            let refused = endings.iter().any(|ending| is_no(&ending.resolution));
            if there > 1 {
                found.push(("twice", format!("{address}: {id} is there {there} times")));
            }
            if there == 0 && confirmed && !may_be_lost {
                found.push(("lost", format!("{address}: {id} was confirmed and is not there")));
            }
            // Where names are believed a hostile client can hand back what it overheard.
            let may_be_back =
                client.store_destroyed || self.destroyed || self.oracle.believed.contains(address);
            if there > 0 && refused && !confirmed && !may_be_back {
                found.push(("refused", format!("{address}: {id} was refused and is there")));
            }
        }
        for (rule, what) in found {
            self.complain(rule, what);
        }
    }

    pub(crate) fn judge_what_is_left(&mut self) {
        let Some(hub) = &self.server.hub else { return };
        let stats = hub.stats();
        let left = stats.followers + stats.leases + stats.pending_entries + stats.pending_bytes;
        let left = left + stats.present + stats.stream_followers + stats.feed_followers;
        if left > 0 {
            self.complain("bounds", format!("everybody has left, and there is {stats:?}"));
        }
    }
}

/// How often what a command wrote is there, where that can be seen.
fn count_of(id: Ulid, command: &Command, view: &View) -> Option<usize> {
    match (command, view) {
        (Command::Post(PostCommand::Splice { .. }), View::Post(view)) => {
            Some(view.body().matches(&token(id)).count())
        }
        // A result may be committed by more than one command, of which the first counts.
        (Command::Comments(CommentsCommand::Add { body, .. }), _) if is_result(body) => None,
        (Command::Comments(CommentsCommand::Add { author, .. }), View::Comments(view)) => {
            Some(usize::from(view.comment(id).is_some_and(|comment| comment.author == *author)))
        }
        _ => None,
    }
}
