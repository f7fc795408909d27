//! The one connection of a session: its phases, timeouts, heartbeat and backoff. Knows nothing of
//! documents.
//!
//! ```text
//!            wanted, network, seen                  socket open          Welcome
//!   Idle ─────────────┐               ┌─ Connecting ───────────► Authenticating ─────► Connected
//!   Offline ──────────┼─ connect ────►│      │                          │                   │
//!   Paused ───────────┘               │      └── lost or too late ──────┴───────────────────┤
//!                                     └──────────── Reconnecting(attempt, next) ◄───────────┤
//!                                                          │ no attempts left               │ fatal
//!                                                          └──────────► Failed ◄────────────┘
//! ```
//! From anywhere: not wanted is *idle*, no network is *offline*, out of sight for long is *paused*.
//! Only `Opening` and `Up` carry a connection and there is one phase, so there are never two.

use std::time::Duration;

use super::config::Config;
use super::random::Random;
use super::{ConnectionId, ConnectionStatus};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::machine::Wake;

/// Where the connection is. A phase carries what only it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// The app does not want a connection.
    Idle,
    /// The platform says that there is no network.
    Offline,
    /// Nobody has looked for a while.
    Paused,
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
    /// Give the present one up.
    GiveUp,
    /// Nobody has looked for so long that there should be none.
    Rest,
    /// Ask for a sign of life.
    Ping,
}

/// What the circumstances ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Things are as they should be.
    Stay,
    /// There should be an attempt now.
    Connect,
    /// There should be no connection; this one existed.
    Rest(Option<ConnectionId>),
}

#[derive(Debug)]
pub(super) struct Link {
    phase: Phase,
    wanted: bool,
    network: bool,
    /// Since when the app is out of sight.
    hidden: Option<Timestamp>,
    attempt: u32,
    heartbeat: Duration,
    retry_after: Duration,
    connections: u64,
}

impl Link {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Idle,
            wanted: false,
            network: true,
            hidden: None,
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
            Phase::Idle
            | Phase::Offline
            | Phase::Paused
            | Phase::Opening { .. }
            | Phase::Waiting { .. }
            | Phase::Failed { .. } => None,
        }
    }

    /// The connection that exists, in whatever phase.
    pub(super) const fn current(&self) -> Option<ConnectionId> {
        match self.phase {
            Phase::Up { connection, .. } | Phase::Opening { connection, .. } => Some(connection),
            Phase::Idle
            | Phase::Offline
            | Phase::Paused
            | Phase::Waiting { .. }
            | Phase::Failed { .. } => None,
        }
    }

    /// When the next attempt will be made.
    pub(super) const fn next_attempt(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Idle
            | Phase::Offline
            | Phase::Paused
            | Phase::Opening { .. }
            | Phase::Up { .. }
            | Phase::Failed { .. } => None,
        }
    }

    pub(super) fn status(&self, now: Timestamp) -> ConnectionStatus {
        match &self.phase {
            Phase::Idle => ConnectionStatus::Idle,
            Phase::Offline => ConnectionStatus::Offline,
            Phase::Paused => ConnectionStatus::Paused,
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

    pub(super) const fn want(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    pub(super) const fn set_network(&mut self, network: bool) {
        self.network = network;
    }

    pub(super) fn set_visible(&mut self, now: Timestamp, visible: bool) {
        self.hidden = if visible { None } else { self.hidden.or(Some(now)) };
    }

    /// What to do under the present circumstances. A phase of rest is entered at once.
    pub(super) fn turn(&mut self, now: Timestamp, config: &Config) -> Turn {
        let long_hidden = self.hidden.is_some_and(|since| since + config.pause_after <= now);
        let rest = if !self.wanted {
            Phase::Idle
        } else if !self.network {
            Phase::Offline
        } else if long_hidden {
            Phase::Paused
        } else {
            return match self.phase {
                Phase::Idle | Phase::Offline | Phase::Paused => Turn::Connect,
                Phase::Opening { .. }
                | Phase::Up { .. }
                | Phase::Waiting { .. }
                | Phase::Failed { .. } => Turn::Stay,
            };
        };
        if self.phase == rest || (self.wanted && matches!(self.phase, Phase::Failed { .. })) {
            return Turn::Stay;
        }
        let current = self.current();
        self.phase = rest;
        self.attempt = 0;
        self.retry_after = Duration::ZERO;
        Turn::Rest(current)
    }

    /// Whether a new token would let an attempt succeed.
    pub(super) const fn lacks_token(&self) -> bool {
        matches!(self.phase, Phase::Failed { code: Code::TokenExpired | Code::Unauthenticated, .. })
    }

    /// Whether an attempt that was asked for by hand may be made now.
    pub(super) const fn may_connect(&self) -> bool {
        self.wanted && self.current().is_none()
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
            Phase::Opening { connection: current, greeting, .. }
                if *current == connection && !*greeting =>
            {
                *greeting = true;
                true
            }
            Phase::Idle
            | Phase::Offline
            | Phase::Paused
            | Phase::Opening { .. }
            | Phase::Up { .. }
            | Phase::Waiting { .. }
            | Phase::Failed { .. } => false,
        }
    }

    /// Welcome was said. Answers whether it was awaited.
    pub(super) fn welcomed(&mut self, now: Timestamp, heartbeat: Duration) -> bool {
        let Phase::Opening { connection, greeting: true, .. } = self.phase else {
            return false;
        };
        self.heartbeat = heartbeat.max(Duration::from_millis(10));
        self.retry_after = Duration::ZERO;
        self.phase = Phase::Up { connection, since: now, heard: now, asked: now };
        true
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

    pub(super) fn fail(&mut self, code: Code, message: String) {
        self.attempt = 0;
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
        if config.attempts_max.is_some_and(|max| self.attempt >= max) {
            let message = format!("{} attempts to connect failed", self.attempt);
            return self.fail(Code::Unreachable, message);
        }
        let mut bound = config
            .backoff_min
            .saturating_mul(1_u32.checked_shl(self.attempt.min(16)).unwrap_or(u32::MAX))
            .min(config.backoff_max);
        if self.hidden.is_some() {
            bound = bound.saturating_mul(config.hidden_factor);
        }
        let bound_ms = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        let wait = Duration::from_millis(random.up_to(bound_ms)).max(self.retry_after);
        self.retry_after = Duration::ZERO;
        self.attempt = self.attempt.saturating_add(1);
        self.phase = Phase::Waiting { until: now + wait };
    }

    /// What is due by now, if anything. Asking changes nothing but the time of the last ping.
    pub(super) fn due(&mut self, now: Timestamp, config: &Config) -> Option<Due> {
        let rests = matches!(self.phase, Phase::Idle | Phase::Offline | Phase::Paused);
        let failed = matches!(self.phase, Phase::Failed { .. });
        if !rests && !failed && self.pause_at(config).is_some_and(|at| at <= now) {
            return Some(Due::Rest);
        }
        match &mut self.phase {
            Phase::Opening { deadline, .. } if *deadline <= now => Some(Due::GiveUp),
            Phase::Up { heard, .. } if *heard + 2 * self.heartbeat <= now => Some(Due::GiveUp),
            Phase::Up { asked, heard, .. } if (*asked).max(*heard) + self.heartbeat / 2 <= now => {
                *asked = now;
                Some(Due::Ping)
            }
            Phase::Waiting { until } if *until <= now => Some(Due::Connect),
            Phase::Idle
            | Phase::Offline
            | Phase::Paused
            | Phase::Opening { .. }
            | Phase::Up { .. }
            | Phase::Waiting { .. }
            | Phase::Failed { .. } => None,
        }
    }

    fn pause_at(&self, config: &Config) -> Option<Timestamp> {
        self.hidden.map(|since| since + config.pause_after)
    }

    pub(super) fn wake(&self, config: &Config) -> Option<Wake> {
        let wake = match &self.phase {
            Phase::Idle | Phase::Offline | Phase::Paused | Phase::Failed { .. } => return None,
            Phase::Opening { deadline, .. } => Wake { at: *deadline, why: "connect timeout" },
            Phase::Up { asked, heard, .. } => {
                let ping = (*asked).max(*heard) + self.heartbeat / 2;
                let dead = *heard + 2 * self.heartbeat;
                Wake { at: ping.min(dead), why: "heartbeat" }
            }
            Phase::Waiting { until } => Wake { at: *until, why: "reconnect" },
        };
        let pause = self.pause_at(config).map(|at| Wake { at, why: "pause" });
        Wake::earlier(Some(wake), pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn up(config: &Config) -> Link {
        let mut link = Link::new();
        link.want(true);
        assert_eq!(link.turn(NOW, config), Turn::Connect);
        let connection = link.connect(NOW, config);
        assert!(link.opened(connection));
        assert!(link.welcomed(NOW, Duration::from_secs(30)));
        link
    }

    #[test]
    fn what_does_not_fit_the_phase_is_refused() {
        let config = Config::default();
        let mut link = Link::new();
        assert!(!link.opened(ConnectionId(1)) && !link.welcomed(NOW, Duration::ZERO));
        assert!(!link.may_connect(), "nobody wants one");
        link.want(true);
        let connection = link.connect(NOW, &config);
        assert!(!link.welcomed(NOW, Duration::ZERO), "before hello");
        assert!(!link.opened(ConnectionId(7)), "another connection");
        assert!(link.opened(connection) && !link.opened(connection), "once");
        assert!(link.welcomed(NOW, Duration::ZERO) && !link.welcomed(NOW, Duration::ZERO), "once");
        assert!(!link.may_connect(), "there is one");
    }

    #[test]
    fn rest_has_a_reason_and_ends_with_it() {
        let config = Config::default();
        let mut link = up(&config);
        let connection = link.up();
        link.set_network(false);
        assert_eq!(link.turn(NOW, &config), Turn::Rest(connection));
        assert_eq!(link.status(NOW), ConnectionStatus::Offline);
        link.want(false);
        assert_eq!(link.turn(NOW, &config), Turn::Rest(None));
        assert_eq!(link.status(NOW), ConnectionStatus::Idle);
        link.set_network(true);
        assert_eq!(link.turn(NOW, &config), Turn::Stay, "still not wanted");
        link.want(true);
        assert_eq!(link.turn(NOW, &config), Turn::Connect);
    }

    #[test]
    fn a_hidden_app_keeps_its_connection_for_a_while_and_then_pauses() {
        let config = Config::default();
        let mut link = up(&config);
        link.set_visible(NOW, false);
        assert_eq!(link.turn(NOW, &config), Turn::Stay);
        let later = NOW + config.pause_after;
        link.heard(later);
        assert_eq!(link.wake(&config).map(|wake| wake.at), Some(later));
        assert_eq!(link.due(later, &config), Some(Due::Rest));
        assert!(matches!(link.turn(later, &config), Turn::Rest(Some(_))));
        assert_eq!((link.status(later), link.wake(&config)), (ConnectionStatus::Paused, None));
        link.set_visible(later, true);
        assert_eq!(link.turn(later, &config), Turn::Connect);
    }

    #[test]
    fn attempts_may_run_out_and_a_hidden_app_waits_longer() {
        let config = Config { attempts_max: Some(3), ..Config::default() };
        let mut random = Random::new([1; 32]);
        let mut longest = [Duration::ZERO; 2];
        for hidden in [false, true] {
            for _ in 0..200 {
                let mut link = up(&config);
                link.set_visible(NOW, !hidden);
                for attempt in 1..=3 {
                    link.wait(NOW, &config, &mut random);
                    let ConnectionStatus::Reconnecting { attempt: told, in_ms } = link.status(NOW)
                    else {
                        panic!("{:?}", link.status(NOW));
                    };
                    assert_eq!(told, attempt);
                    let longest = &mut longest[usize::from(hidden)];
                    *longest = (*longest).max(Duration::from_millis(in_ms));
                    link.connect(NOW, &config);
                }
                link.wait(NOW, &config, &mut random);
                let failed = link.status(NOW);
                assert!(matches!(failed, ConnectionStatus::Failed { code: Code::Unreachable, .. }));
                assert_eq!(link.turn(NOW, &config), Turn::Stay);
                assert!(link.may_connect(), "by hand");
            }
        }
        assert!(longest[0] <= 4 * config.backoff_min);
        assert!(longest[1] > 4 * config.backoff_min);
    }
}
