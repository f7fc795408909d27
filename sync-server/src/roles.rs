//! Roles that the configuration gives to users, on top of whatever tells who a user is.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_engine::clock::Timestamp;
use syncline_engine::hub::{AuthenticateError, Authenticator, Credentials};
use syncline_engine::ids::UserId;
use syncline_engine::policy::Role;

/// Another authenticator, whose users may have a role in every space.
#[derive(Debug)]
pub(crate) struct WithRoles {
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) roles: BTreeMap<UserId, Role>,
}

impl Authenticator for WithRoles {
    fn authenticate(
        &self,
        now: Timestamp,
        claimed: &str,
        token: Option<&str>,
    ) -> Result<Credentials, AuthenticateError> {
        let mut credentials = self.authenticator.authenticate(now, claimed, token)?;
        if let Some(role) = self.roles.get(&credentials.user) {
            credentials.roles = BTreeMap::from([("*".to_owned(), role.clone())]);
        }
        Ok(credentials)
    }
}
