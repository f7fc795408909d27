//! Tokens of the simulation: a name, a role and a time, taken at their word, because what is tried
//! is what happens when they run out or say something else. Signatures are the server's concern.

use std::collections::BTreeMap;

use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::hub::{AuthenticateError, Authenticator, Credentials};
use syncline_engine::ids::UserId;
use syncline_engine::policy::Role;

/// What a token says.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) user: UserId,
    pub(crate) role: Role,
    pub(crate) expires: Timestamp,
}

impl Token {
    /// The token as text.
    pub(crate) fn write(&self) -> String {
        format!("{}|{}|{}", self.user, self.role, self.expires)
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('|');
        let (user, role) = (parts.next()?, parts.next()?);
        let expires = Timestamp(parts.next()?.parse().ok()?);
        Some(Self { user: UserId::new(user).ok()?, role: Role::new(role).ok()?, expires })
    }
}

/// Takes tokens at their word, for the user that they name.
#[derive(Debug)]
pub(crate) struct ReadsTokens;

impl Authenticator for ReadsTokens {
    fn authenticate(
        &self,
        now: Timestamp,
        claimed: &str,
        token: Option<&str>,
    ) -> Result<Credentials, AuthenticateError> {
        let refuse = |code, message: &str| Err(AuthenticateError { code, message: message.into() });
        let Some(Token { user, role, expires }) = token.and_then(Token::read) else {
            return refuse(Code::Unauthenticated, "a token is needed");
        };
        if claimed != user.as_str() {
            return refuse(Code::Unauthenticated, "the token is another user's");
        }
        if expires <= now {
            return refuse(Code::TokenExpired, "the token has expired");
        }
        let roles = BTreeMap::from([("*".to_owned(), role)]);
        Ok(Credentials { user, expires: Some(expires), roles, believed: false })
    }
}
