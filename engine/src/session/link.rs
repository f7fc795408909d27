//! The one connection of a session: its phases, timeouts, heartbeat and backoff. Knows nothing of
//! documents.

use std::time::Duration;

use super::config::Config;
use super::random::Random;
use super::{ConnectionId, ConnectionStatus};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::machine::Wake;

/// Where the connection is. A phase carries what only it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// The app does not want a connection.
    Off,
    /// A socket is being opened, then Welcome awaited, until a deadline.
    Opening { connection: ConnectionId, deadline: Timestamp, greeting: bool },
    /// Welcome was said.
    Up { connection: ConnectionId, since: Timestamp, heard: Timestamp, asked: Timestamp },
    /// Between attempts.
    Waiting { until: Timestamp },
    /// Trying again would end the same.
    Failed { code: Code, message: String },
}

/// What the clock asks the session to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// Open a connection.
    Connect,
    /// Give this one up.
    GiveUp(ConnectionId, &'static str),
    /// Ask for a sign of life.
    Ping(ConnectionId),
}

#[derive(Debug)]
pub(super) struct Link {
    phase: Phase,
    attempt: u32,
    heartbeat: Duration,
    retry_after: Duration,
    connections: u64,
}

impl Link {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Off,
            attempt: 0,
            heartbeat: Duration::from_secs(30),
            retry_after: Duration::ZERO,
            connections: 0,
        }
    }

    /// The connection on which frames may be sent.
    pub(super) const fn up(&self) -> Option<ConnectionId> {
        match self.phase {
            Phase::Up { connection, .. } => Some(connection),
            Phase::Off | Phase::Opening { .. } | Phase::Waiting { .. } | Phase::Failed { .. } => {
                None
            }
        }
    }

    /// The connection that exists, in whatever phase.
    pub(super) const fn current(&self) -> Option<ConnectionId> {
        match self.phase {
            Phase::Up { connection, .. } | Phase::Opening { connection, .. } => Some(connection),
            Phase::Off | Phase::Waiting { .. } | Phase::Failed { .. } => None,
        }
    }

    pub(super) fn status(&self, now: Timestamp) -> ConnectionStatus {
        match &self.phase {
            Phase::Off => ConnectionStatus::Offline,
            Phase::Opening { greeting: false, .. } => ConnectionStatus::Connecting,
            Phase::Opening { greeting: true, .. } => ConnectionStatus::Authenticating,
            Phase::Up { .. } => ConnectionStatus::Connected,
            Phase::Waiting { until } => ConnectionStatus::Reconnecting {
                attempt: self.attempt,
                in_ms: until.0.saturating_sub(now.0),
            },
            Phase::Failed { code, message } => {
                ConnectionStatus::Failed { code: *code, message: message.clone() }
            }
        }
    }

    /// Begins an attempt and names its connection.
    pub(super) fn connect(&mut self, now: Timestamp, config: &Config) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        self.phase =
            Phase::Opening { connection, deadline: now + config.connect_timeout, greeting: false };
        connection
    }

    /// The socket is open. Answers whether it is the one that was asked for.
    pub(super) fn opened(&mut self, connection: ConnectionId) -> bool {
        match &mut self.phase {
            Phase::Opening { connection: current, greeting, .. } if *current == connection => {
                *greeting = true;
                true
            }
            Phase::Off
            | Phase::Opening { .. }
            | Phase::Up { .. }
            | Phase::Waiting { .. }
            | Phase::Failed { .. } => false,
        }
    }

    pub(super) fn welcomed(&mut self, now: Timestamp, heartbeat: Duration) {
        if let Phase::Opening { connection, .. } = self.phase {
            self.heartbeat = heartbeat.max(Duration::from_millis(10));
            self.retry_after = Duration::ZERO;
            self.phase = Phase::Up { connection, since: now, heard: now, asked: now };
        }
    }

    pub(super) const fn heard(&mut self, now: Timestamp) {
        if let Phase::Up { heard, .. } = &mut self.phase {
            *heard = now;
        }
    }

    /// The server asks not to be bothered for a while.
    pub(super) fn hold_off(&mut self, retry_after: Duration) {
        self.retry_after = retry_after;
    }

    pub(super) fn turn_off(&mut self) {
        self.phase = Phase::Off;
        self.attempt = 0;
        self.retry_after = Duration::ZERO;
    }

    pub(super) fn fail(&mut self, code: Code, message: String) {
        self.phase = Phase::Failed { code, message };
    }

    /// The connection is gone: draws the wait before the next attempt, from zero to an
    /// exponentially growing bound ("full jitter", AWS Architecture Blog, 2015).
    pub(super) fn wait(&mut self, now: Timestamp, config: &Config, random: &mut Random) {
        if let Phase::Up { since, .. } = self.phase
            && now.since(since) >= config.stable_after
        {
            self.attempt = 0;
        }
        let bound = config
            .backoff_min
            .saturating_mul(1_u32.checked_shl(self.attempt.min(16)).unwrap_or(u32::MAX))
            .min(config.backoff_max);
        let bound_ms = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        let wait = Duration::from_millis(random.up_to(bound_ms)).max(self.retry_after);
        self.retry_after = Duration::ZERO;
        self.attempt = self.attempt.saturating_add(1);
        self.phase = Phase::Waiting { until: now + wait };
    }

    /// What is due by now, if anything. Asking changes nothing but the time of the last ping.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<Due> {
        match &mut self.phase {
            Phase::Opening { connection, deadline, .. } if *deadline <= now => {
                Some(Due::GiveUp(*connection, "the server did not answer in time"))
            }
            Phase::Up { connection, heard, .. } if *heard + 2 * self.heartbeat <= now => {
                Some(Due::GiveUp(*connection, "nothing was heard for two heartbeats"))
            }
            Phase::Up { connection, asked, heard, .. }
                if (*asked).max(*heard) + self.heartbeat / 2 <= now =>
            {
                *asked = now;
                Some(Due::Ping(*connection))
            }
            Phase::Waiting { until } if *until <= now => Some(Due::Connect),
            Phase::Off
            | Phase::Opening { .. }
            | Phase::Up { .. }
            | Phase::Waiting { .. }
            | Phase::Failed { .. } => None,
        }
    }

    pub(super) fn wake(&self) -> Option<Wake> {
        match &self.phase {
            Phase::Off | Phase::Failed { .. } => None,
            Phase::Opening { deadline, .. } => Some(Wake { at: *deadline, why: "connect timeout" }),
            Phase::Up { asked, heard, .. } => {
                let ping = (*asked).max(*heard) + self.heartbeat / 2;
                let dead = *heard + 2 * self.heartbeat;
                Some(Wake { at: ping.min(dead), why: "heartbeat" })
            }
            Phase::Waiting { until } => Some(Wake { at: *until, why: "reconnect" }),
        }
    }
}
