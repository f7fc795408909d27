//! Tokens of the simulation: a name and a time, taken at their word, because what is tried is what
//! happens when they run out. Signatures are the server's concern.

use std::collections::BTreeMap;

use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::hub::{AuthenticateError, Authenticator, Credentials};
use syncline_engine::ids::UserId;

/// A token for a user that counts until a time.
pub(crate) fn issue(user: &UserId, expires_ms: u64) -> String {
    format!("{user}|{expires_ms}")
}

/// Takes what [`issue`] made, for the user that it names.
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
        let Some((name, expires)) = token.and_then(|token| token.split_once('|')) else {
            return refuse(Code::Unauthenticated, "a token is needed");
        };
        let (Ok(user), Ok(expires)) = (UserId::new(name), expires.parse()) else {
            return refuse(Code::Unauthenticated, "the token does not read");
        };
        if claimed != name {
            return refuse(Code::Unauthenticated, "the token is another user's");
        }
        let expires = Timestamp(expires);
        if expires <= now {
            return refuse(Code::TokenExpired, "the token has expired");
        }
        Ok(Credentials { user, expires: Some(expires), roles: BTreeMap::new() })
    }
}
