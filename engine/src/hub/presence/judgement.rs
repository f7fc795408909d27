//! The end of a stay in a space by the rules or by a moderator, and what becomes of those whose role
//! changes. Who may do what is for the policy to say.

use std::time::Duration;

use super::{GatheringHandle, Refused};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::hub::Hub;
use crate::hub::connection::Slot;
use crate::ids::UserId;
use crate::limits::KICK_MS_MAX;
use crate::policy::Capabilities;
use crate::wire::frame::{Kick, Kicked, Standing};

impl Hub {
    pub(in crate::hub) fn kick(&mut self, now: Timestamp, slot: Slot, frame: Kick) {
        let handle = GatheringHandle(frame.handle);
        let refused = match self.try_kick(now, slot, handle, &frame) {
            Ok(devices) => Ok(devices),
            Err(None) => return,
            Err(Some(code)) => Err(code),
        };
        let devices = refused.unwrap_or(0);
        let refused = refused.err().map(Code::number);
        self.send(slot, Kicked { handle: frame.handle, user: frame.user, devices, refused });
        self.settle_gathering(now, handle);
    }

    fn try_kick(
        &mut self,
        now: Timestamp,
        slot: Slot,
        handle: GatheringHandle,
        frame: &Kick,
    ) -> Result<u32, Option<Code>> {
        let gathering = self.gatherings.by_handle.get(&handle).ok_or(None)?;
        if !gathering.listeners.contains_key(&slot) {
            return Err(None);
        }
        let name = gathering.name.clone();
        let config = self.config.presence;
        let open = self.connections.open_mut(slot).ok_or(None)?;
        open.pace(now, &config).map_err(|_| Some(Code::TooManyAnnouncements))?;
        let user = UserId::new(&frame.user).map_err(|_| Some(Code::NotFound))?;
        let (moderator, ..) = self.standing(slot, &name).ok_or(None)?;
        let gathering = self.gatherings.by_handle.get(&handle).ok_or(None)?;
        let rules = self.rules_of(&name).ok_or(None)?;
        let claimed = gathering
            .room
            .devices_of(&user)
            .first()
            .and_then(|session| gathering.room.device(*session))
            .and_then(|device| device.claimed.as_ref());
        // Nobody is sent out by one whom they could.
        let other = rules.principal(&user, claimed).may;
        let above = [Capabilities::MANAGE, Capabilities::MODERATE]
            .into_iter()
            .find(|rank| other.has(*rank));
        let allowed = moderator.may.has(Capabilities::MODERATE)
            && match above {
                None => true,
                Some(Capabilities::MANAGE) => false,
                Some(_) => moderator.may.has(Capabilities::MANAGE),
            };
        if !allowed {
            return Err(Some(Code::Forbidden));
        }
        let wait = Duration::from_millis(frame.for_ms.min(KICK_MS_MAX).into());
        Ok(self.kick_out(now, handle, &user, wait))
    }

    fn kick_out(
        &mut self,
        now: Timestamp,
        handle: GatheringHandle,
        user: &UserId,
        wait: Duration,
    ) -> u32 {
        let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) else { return 0 };
        gathering.kick(user, now + wait);
        let sessions = gathering.room.devices_of(user);
        let slots: Vec<Slot> = gathering.listeners.keys().copied().collect();
        for session in &sessions {
            gathering.room.leave(now, *session);
        }
        // Those too who only look.
        for slot in slots {
            if self.connections.open(slot).is_some_and(|open| open.credentials.user == *user) {
                self.send_out(now, handle, slot, kicked(wait));
            }
        }
        u32::try_from(sessions.len()).unwrap_or(u32::MAX)
    }

    /// The rules of a space have changed: judges everybody who is there.
    pub(in crate::hub) fn judge_gathering(&mut self, now: Timestamp, space: &str) {
        let Some(handle) = self.gatherings.by_name.get(space).copied() else { return };
        let Some(gathering) = self.gatherings.by_handle.get(&handle) else { return };
        let slots: Vec<Slot> = gathering.listeners.keys().copied().collect();
        for slot in slots {
            self.judge_listener(now, handle, slot);
        }
        let Some(space) = self.spaces.get(space) else { return };
        let Some(rules) = space.rules.as_ref() else { return };
        let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) else { return };
        for session in gathering.room.away() {
            let Some(device) = gathering.room.device(session) else { continue };
            let (user, claimed) = (device.user.clone(), device.claimed.clone());
            let reads = rules.principal(&user, claimed.as_ref()).may.has(Capabilities::READ);
            if space.deleted || !reads {
                gathering.room.leave(now, session);
            }
        }
        self.settle_gathering(now, handle);
    }

    /// A connection has proved something else about itself: judges it in every space where it is.
    pub(in crate::hub) fn judge_in_gatherings(&mut self, now: Timestamp, slot: Slot) {
        let spaces = self.connections.open(slot).map(|open| open.spaces.clone());
        for handle in spaces.unwrap_or_default() {
            self.judge_listener(now, handle, slot);
            self.settle_gathering(now, handle);
        }
    }

    fn judge_listener(&mut self, now: Timestamp, handle: GatheringHandle, slot: Slot) {
        let Some(gathering) = self.gatherings.by_handle.get(&handle) else { return };
        if !gathering.listeners.contains_key(&slot) {
            return;
        }
        let name = gathering.name.clone();
        let Some((principal, role, claimed)) = self.standing(slot, &name) else { return };
        if !principal.may.has(Capabilities::READ) {
            let (code, why) = self.no_entry(&name, "you may not be here any more");
            return self.send_out(now, handle, slot, Refused::new(code, why));
        }
        let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) else { return };
        let Some(listener) = gathering.listeners.get_mut(&slot) else { return };
        let standing = (role.to_string(), principal.may.bits());
        if listener.visible {
            gathering.room.set_role(listener.session, role, claimed);
        }
        if listener.standing != standing {
            listener.standing.clone_from(&standing);
            let (role, may) = standing;
            self.send(slot, Standing { handle: handle.0, role, may });
        }
    }
}

/// Why somebody who was kicked is not let in.
pub(super) fn kicked(wait: Duration) -> Refused {
    let message = "a moderator sent you out of this space for a while".to_owned();
    Refused { code: Code::Kicked, message, retry_after: Some(wait) }
}
