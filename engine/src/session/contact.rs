//! How a session gets into contact with the server and out of it: attempts, hello, tokens, the end of
//! a connection. When an attempt is due is for the link to say. It tells documents that a connection
//! is gone, and knows nothing of what they do on one.

use std::time::Duration;

use super::link::Turn;
use super::{ConnectionId, ConnectionStatus, Effect, Notice, Session};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::Address;
use crate::wire::CloseCode;
use crate::wire::frame::{Bye, Hello, Release, Renew};

/// A new token is asked for this long before the old one runs out, or when a fifth of its time is
/// left, if that is less.
const TOKEN_WANTED_BEFORE_MS: u64 = 60_000;

impl Session {
    /// Brings the connection in line with what the app wants and the platform allows.
    pub(super) fn turn(&mut self, now: Timestamp) {
        match self.link.turn(now, &self.config) {
            Turn::Stay => {}
            Turn::Connect => self.connect(now),
            Turn::Rest(connection) => {
                if let Some(connection) = connection {
                    self.effects.push_back(Effect::Disconnect { connection });
                }
                self.forget_connection();
            }
        }
    }

    /// Begins an attempt, unless there is a connection or none is wanted.
    pub(super) fn connect(&mut self, now: Timestamp) {
        if !self.link.may_connect() || self.stopping || self.durable < self.identity_stored {
            return;
        }
        let connection = self.link.connect(now, &self.config);
        self.effects.push_back(Effect::Connect { connection });
    }

    pub(super) fn opened(&mut self, connection: ConnectionId) {
        if !self.link.opened(connection) {
            return;
        }
        self.generation += 1;
        let hello = Hello {
            session: self.session.0,
            generation: self.generation,
            user: self.identity.user.to_string(),
            token: self.identity.token.clone(),
            agent: self.identity.agent.clone(),
        };
        self.send(hello.into());
    }

    pub(super) fn connection_lost(&mut self, now: Timestamp) {
        self.link.wait(now, &self.config, &mut self.random);
        self.forget_connection();
    }

    /// What belonged to the connection is void.
    pub(super) fn forget_connection(&mut self) {
        self.handles.clear();
        self.retries.clear();
        self.gathered.clear();
        self.token_wanted_at = None;
        self.leave_contact();
        self.streams_disconnected();
        self.feeds_disconnected();
        for (address, document) in &mut self.documents {
            document.disconnected();
            self.touched.insert(address.clone());
        }
        let unwanted: Vec<Address> =
            self.documents.iter().filter(|(_, d)| !d.wanted).map(|(a, _)| a.clone()).collect();
        for address in unwanted {
            self.release(&address);
        }
    }

    pub(super) fn disconnected(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        code: Option<CloseCode>,
        reason: String,
    ) {
        if self.link.current() != Some(connection) {
            return;
        }
        self.connection_lost(now);
        if let Some(code) = code.filter(|code| !code.may_retry()) {
            let why = Code::from_number(code.0 % 500)
                .or_else(|| Code::from_number(code.0 % 500 + 500))
                .unwrap_or(Code::OutOfProtocol);
            if why == Code::Replaced {
                // Not by this session, which has one connection at a time.
                return self.become_another(now);
            }
            self.give_up(why, reason);
        }
    }

    /// Ends the present connection because of something that the server did.
    pub(super) fn hang_up(&mut self, now: Timestamp) {
        if let Some(connection) = self.link.current() {
            self.effects.push_back(Effect::Disconnect { connection });
            self.connection_lost(now);
        }
    }

    /// Coming back would end the same.
    pub(super) fn give_up(&mut self, code: Code, message: String) {
        self.link.fail(code, message);
        self.token_wanted_at = None;
        if matches!(code, Code::TokenExpired | Code::Unauthenticated) {
            self.notify(Notice::TokenWanted);
        }
    }

    pub(super) fn set_token(&mut self, now: Timestamp, token: String) {
        self.identity.token = Some(token.clone());
        self.token_wanted_at = None;
        if self.link.up().is_some() {
            self.send(Renew { token }.into());
        } else if self.link.lacks_token() {
            self.connect(now);
        }
    }

    /// Asks for a new token while there is time.
    pub(super) fn token_expires(&mut self, now: Timestamp, in_ms: u64) {
        let before = (in_ms / 5).min(TOKEN_WANTED_BEFORE_MS);
        self.token_wanted_at = Some(now + Duration::from_millis(in_ms - before));
    }

    /// The app ends. What has been asked of the store is waited for, so that no actor is given back
    /// under which the store still has work.
    pub(super) fn shutdown(&mut self, now: Timestamp) {
        self.flush_all();
        self.stopping = true;
        self.flush_writes();
        self.leaving_after = Some(self.last_write);
        self.leave_if_stored(now);
    }

    /// Says goodbye once everything is stored that was asked for before the app ended.
    pub(super) fn leave_if_stored(&mut self, now: Timestamp) {
        if self.leaving_after.is_none_or(|token| token > self.durable) {
            return;
        }
        self.leaving_after = None;
        if self.link.up().is_some() {
            let quiet: Vec<u32> = self
                .documents
                .values()
                .filter(|document| document.can_release(self.durable))
                .filter_map(|document| document.sync.handle())
                .collect();
            for handle in quiet {
                self.send(Release { handle }.into());
            }
            self.send(Bye {}.into());
        }
        self.link.want(false);
        self.turn(now);
    }

    pub(super) fn tell_connection(&mut self, now: Timestamp) {
        let status = self.link.status(now);
        let same_phase = match (&self.told, &status) {
            (
                Some(ConnectionStatus::Reconnecting { attempt: a, .. }),
                ConnectionStatus::Reconnecting { attempt: b, .. },
            ) => a == b,
            (told, status) => told.as_ref() == Some(status),
        };
        if !same_phase {
            self.told = Some(status.clone());
            self.notify(Notice::Connection(status));
        }
    }
}
