//! Spaces: who is there and what they announce. Must never know JavaScript.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use syncline_engine::ids::{Address, UserId};
use syncline_engine::presence::{check_key, check_value};
use syncline_engine::session::{Input, Member, SpaceAct, SpaceStatus};

use crate::fault::Fault;
use crate::session::Driven;

impl Driven {
    /// Does something in a space.
    ///
    /// # Errors
    /// If the space's name is none, or what is to be announced is not as presence may have it.
    pub fn act(&mut self, now: f64, space: &str, act: SpaceAct) -> Result<(), Fault> {
        check_space(space)?;
        if let SpaceAct::Announce { key, value, .. } = &act {
            check_key(key)?;
            value.as_deref().map_or(Ok(()), check_value)?;
        }
        self.input(now, Input::Space { space: space.to_owned(), act });
        Ok(())
    }

    /// Sends a user out of a space for so many milliseconds.
    ///
    /// # Errors
    /// If one of the names is none.
    pub fn kick(&mut self, now: f64, space: &str, user: &str, wait_ms: u64) -> Result<(), Fault> {
        let (user, wait) = (UserId::new(user)?, Duration::from_millis(wait_ms));
        self.act(now, space, SpaceAct::Kick { user, wait })
    }

    /// What there is to see of a space; `None` if the app is not in it.
    #[must_use]
    pub fn space(&self, name: &str) -> Option<Value> {
        let mut view = match self.session.space_status(name)? {
            SpaceStatus::Apart => json!({ "phase": "apart" }),
            SpaceStatus::Entering => json!({ "phase": "entering" }),
            SpaceStatus::Inside { device, role, .. } => {
                let mut view = json!({ "phase": "inside", "role": role.as_str() });
                if let Some(device) = device {
                    view["device"] = (*device).into();
                }
                view
            }
            SpaceStatus::Outside { code, message, .. } => {
                json!({ "phase": "outside", "code": code.slug(), "message": message })
            }
            _ => json!({ "phase": "apart" }),
        };
        view["members"] = self.session.members(name).iter().map(member).collect();
        if let Some(crowd) = self.session.space_crowd(name) {
            view["crowd"] = json!({
                "devices": crowd.devices,
                "users": crowd.users,
                "idle": crowd.idle,
                "typing": crowd.typing,
            });
        }
        let seen = self.session.last_seen(name);
        let seen: Map<_, _> =
            seen.into_iter().map(|(user, at)| (user.to_string(), at.0.into())).collect();
        view["lastSeen"] = seen.into();
        Some(view)
    }

    /// Who else types in a document.
    ///
    /// # Errors
    /// If the address is none.
    pub fn typing(&self, address: &str) -> Result<Value, Fault> {
        let users = self.session.typing(&address.parse()?);
        Ok(users.iter().map(UserId::as_str).collect())
    }
}

/// A space is named as the space of an address is.
pub(crate) fn check_space(space: &str) -> Result<(), Fault> {
    Address::rules_of(space)?;
    Ok(())
}

fn member(member: &Member) -> Value {
    let mut latest = BTreeMap::new();
    for (key, saying) in member.devices.iter().flat_map(|device| &device.sayings) {
        let newest = latest.entry(key).or_insert(saying);
        if saying.at >= newest.at {
            *newest = saying;
        }
    }
    let says: Map<_, _> =
        latest.into_iter().map(|(key, saying)| (key.clone(), parsed(&saying.value))).collect();
    json!({
        "user": member.user.as_str(),
        "role": member.role.as_str(),
        "active": member.is_active(),
        "since": member.since().0,
        "devices": member.devices.len(),
        "says": says,
    })
}

/// What somebody announces is JSON by convention, and text if it is not.
fn parsed(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_else(|_| value.into())
}
