//! Who a client is, and for how long that is known. The check itself is given to the hub as a pure
//! function of a token, so that the engine knows no format of tokens and no keys.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::connection::Slot;
use super::timers::Timer;
use super::{ConnectionId, Hub};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::UserId;
use crate::policy::Role;
use crate::wire::frame::{Renew, TokenExpires};

/// What a token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who it is.
    pub user: UserId,
    /// Until when this counts; `None` for as long as the connection lasts.
    pub expires: Option<Timestamp>,
    /// The user's role in each space that the token names; `*` names all others.
    pub roles: BTreeMap<String, Role>,
    /// Whether it is believed without a proof that what it hands back was once in the log. Right
    /// where names are believed too.
    pub believed: bool,
}

impl Credentials {
    /// The role that is claimed for a space.
    #[must_use]
    pub fn role_in(&self, space: &str) -> Option<&Role> {
        self.roles.get(space).or_else(|| self.roles.get("*"))
    }
}

/// A client did not prove who it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AuthenticateError {
    /// [`Code::Unauthenticated`] or [`Code::TokenExpired`].
    pub code: Code,
    /// A sentence that helps and tells no secret.
    pub message: String,
}

/// Decides who a client is. Must answer quickly and never block: the hub waits for it.
pub trait Authenticator: Debug + Send + Sync {
    /// Who says `claimed` and proves it with `token`.
    ///
    /// # Errors
    /// [`AuthenticateError`] if the token proves nothing, or another user.
    fn authenticate(
        &self,
        now: Timestamp,
        claimed: &str,
        token: Option<&str>,
    ) -> Result<Credentials, AuthenticateError>;
}

/// Takes everyone's name at its word. For development on one machine, tests and simulation.
#[derive(Debug, Clone, Copy, Default)]
pub struct TakesNames;

impl Authenticator for TakesNames {
    fn authenticate(
        &self,
        _: Timestamp,
        claimed: &str,
        _: Option<&str>,
    ) -> Result<Credentials, AuthenticateError> {
        let user = UserId::new(claimed).map_err(|error| AuthenticateError {
            code: Code::Unauthenticated,
            message: error.to_string(),
        })?;
        Ok(Credentials { user, expires: None, roles: BTreeMap::new(), believed: true })
    }
}

impl Hub {
    /// Takes a new token of an open connection.
    pub(super) fn renew(&mut self, now: Timestamp, slot: Slot, frame: &Renew) {
        let Some(user) = self.connections.open(slot).map(|open| open.credentials.user.clone())
        else {
            return;
        };
        let renewed = self.authenticator.authenticate(now, user.as_str(), Some(&frame.token));
        match renewed {
            Ok(credentials) if credentials.user == user => {
                self.credit(now, slot, credentials);
                self.role_changed(now, slot);
            }
            Ok(_) => {
                let why = "the new token is another user's";
                self.fail(now, slot, Code::Unauthenticated, why);
            }
            Err(error) => self.fail(now, slot, error.code, &error.message),
        }
    }

    /// Notes what a connection has proved, and tells the client how long it counts.
    pub(super) fn credit(&mut self, now: Timestamp, slot: Slot, credentials: Credentials) {
        let Some(id) = self.connections.peer(slot).map(|peer| peer.id) else { return };
        let Some(open) = self.connections.open_mut(slot) else { return };
        let expires = credentials.expires;
        let before = std::mem::replace(&mut open.credentials, credentials).expires;
        if let Some(at) = before {
            self.timers.disarm(at, Timer::Expiry(id));
        }
        if let Some(at) = expires {
            self.timers.arm(at, Timer::Expiry(id));
            let in_ms = u64::try_from(at.since(now).as_millis()).unwrap_or(u64::MAX);
            self.send(slot, TokenExpires { in_ms });
        }
    }

    /// A connection's token has run out.
    pub(super) fn expiry(&mut self, now: Timestamp, id: ConnectionId) {
        if let Some(slot) = self.connections.slot(id) {
            self.fail(now, slot, Code::TokenExpired, "the token has expired; give a new one");
        }
    }
}
