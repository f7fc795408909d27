//! How rules are spelled where they are kept: names as text, capabilities by name. Must never be used
//! on the wire.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Capabilities, Role};
use crate::ids::{NameError, UserId};

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.as_str().to_owned()
    }
}

impl TryFrom<String> for Role {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(&name)
    }
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut all = Self::NONE;
        for name in Vec::<String>::deserialize(from)? {
            let known = Self::NAMES.into_iter().find(|(_, known)| *known == name);
            let (one, _) =
                known.ok_or_else(|| D::Error::custom(format!("no capability is called {name}")))?;
            all = all.and(one);
        }
        Ok(all)
    }
}

fn user<E: Error>(name: &str) -> Result<UserId, E> {
    UserId::new(name).map_err(E::custom)
}

/// A map from user names.
pub(super) mod users {
    use super::{BTreeMap, Deserialize, Deserializer, Role, Serializer, UserId, user};

    pub(in crate::policy) fn serialize<S: Serializer>(
        users: &BTreeMap<UserId, Role>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(users.iter().map(|(user, role)| (user.as_str(), role)))
    }

    pub(in crate::policy) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<UserId, Role>, D::Error> {
        let all = BTreeMap::<String, Role>::deserialize(from)?;
        all.into_iter().map(|(name, role)| Ok((user(&name)?, role))).collect()
    }
}

/// A set of user names, as a map to `true`, so that several can be added at the same time.
pub(super) mod user_set {
    use super::{BTreeMap, BTreeSet, Deserialize, Deserializer, Serializer, UserId, user};

    pub(in crate::policy) fn serialize<S: Serializer>(
        users: &BTreeSet<UserId>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(users.iter().map(|user| (user.as_str(), true)))
    }

    pub(in crate::policy) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeSet<UserId>, D::Error> {
        let all = BTreeMap::<String, bool>::deserialize(from)?;
        all.iter().filter(|(_, is)| **is).map(|(name, _)| user(name)).collect()
    }
}

/// A map from roles.
pub(super) mod roles {
    use super::{BTreeMap, Capabilities, Deserialize, Deserializer, Error, Role, Serializer};

    pub(in crate::policy) fn serialize<S: Serializer>(
        roles: &BTreeMap<Role, Capabilities>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(roles.iter().map(|(role, may)| (role.as_str(), may)))
    }

    pub(in crate::policy) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Role, Capabilities>, D::Error> {
        let all = BTreeMap::<String, Capabilities>::deserialize(from)?;
        all.into_iter()
            .map(|(name, may)| Ok((Role::new(&name).map_err(D::Error::custom)?, may)))
            .collect()
    }
}
