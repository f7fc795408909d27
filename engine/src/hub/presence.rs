//! Who is in a space and what they announce: entering, announcing, leaving, also without a word. Who is
//! told what and when is a gathering's; what documents there are is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod config;
mod gathering;
mod judgement;
mod picture;
mod room;

pub use self::config::PresenceConfig;
use self::gathering::{Gathering, Listener, Mouth};
use self::judgement::kicked;
use self::room::Arrival;
use super::Hub;
use super::connection::{Open, Slot};
use super::timers::Timer;
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::Address;
use crate::limits::{PRESENCE_KEYS_MAX, PRESENCE_TTL_MS_MAX};
use crate::policy::{Capabilities, Principal, Role};
use crate::presence::{SayingError, check_key, check_value};
use crate::wire::frame::{Announce, Enter, Entered, NotAnnounced, SentAway, WireSaying};

/// A space's short name on the wire, the same for all connections while it is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GatheringHandle(pub(super) u32);

/// All spaces that somebody is in, or was until a while ago.
#[derive(Debug, Default)]
pub(super) struct Gatherings {
    by_handle: BTreeMap<GatheringHandle, Gathering>,
    by_name: BTreeMap<String, GatheringHandle>,
    /// Those where nobody is, by since when.
    empty: BTreeSet<(Timestamp, GatheringHandle)>,
    last: u32,
}

impl Gatherings {
    /// How many there are, and how many sessions and users are seen in them.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let seen = self.by_handle.values().map(|gathering| gathering.room.counts());
        let none = (self.by_handle.len(), 0, 0);
        seen.fold(none, |(spaces, devices, users), seen| {
            (spaces, devices + seen.devices, users + seen.users)
        })
    }
}

/// Why somebody is not in a space.
struct Refused {
    code: Code,
    message: String,
    retry_after: Option<Duration>,
}

impl Refused {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Whether everything in it looks as it must.
fn check(sayings: &[WireSaying]) -> Result<(), SayingError> {
    if sayings.len() > 2 * PRESENCE_KEYS_MAX {
        return Err(SayingError::TooMany);
    }
    for saying in sayings {
        check_key(&saying.key)?;
        check_value(saying.value.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

fn bounded(mut sayings: Vec<WireSaying>) -> Vec<WireSaying> {
    for saying in &mut sayings {
        saying.ttl_ms = saying.ttl_ms.map(|ttl| ttl.clamp(1, PRESENCE_TTL_MS_MAX));
    }
    sayings
}

impl Open {
    /// Takes something that costs us work, unless it comes too soon after too many others.
    fn pace(&mut self, now: Timestamp, config: &PresenceConfig) -> Result<(), Duration> {
        let allowed = config.announce_interval.saturating_mul(config.announce_burst);
        let next = self.paced_until.max(now);
        match next.since(now).checked_sub(allowed) {
            Some(wait) if !allowed.is_zero() => Err(wait + config.announce_interval),
            Some(_) | None => {
                self.paced_until = next + config.announce_interval;
                Ok(())
            }
        }
    }
}

impl Hub {
    pub(super) fn enter(&mut self, now: Timestamp, slot: Slot, frame: Enter) {
        let space = frame.space.clone();
        match self.try_enter(now, slot, frame) {
            Ok(handle) if self.rules_of(&space).is_some() => self.admit(now, handle, slot),
            Ok(_) => self.want_rules(&space),
            Err(refused) => self.say_sent_away(slot, &space, refused),
        }
    }

    /// Puts somebody before the door of a space, if everything that can be looked at there is right.
    fn try_enter(
        &mut self,
        now: Timestamp,
        slot: Slot,
        frame: Enter,
    ) -> Result<GatheringHandle, Refused> {
        if let Err(error) = Address::rules_of(&frame.space) {
            return Err(Refused::new(Code::BadAddress, error.to_string()));
        }
        let looks = check(&frame.sayings);
        let looks = if frame.visible || frame.sayings.is_empty() {
            looks.map_err(|error| error.to_string())
        } else {
            Err("who is not seen announces nothing".to_owned())
        };
        looks.map_err(|message| Refused::new(Code::BadPresence, message))?;
        let config = self.config.presence;
        let known = self.gatherings.by_name.get(&frame.space).copied();
        let Some(open) = self.connections.open_mut(slot) else {
            return Err(Refused::new(Code::OutOfProtocol, "say Hello first"));
        };
        open.pace(now, &config).map_err(|wait| Refused {
            code: Code::TooManyAnnouncements,
            message: "spaces are entered too fast".to_owned(),
            retry_after: Some(wait),
        })?;
        let inside = known.is_some_and(|handle| open.spaces.contains(&handle));
        if !inside && open.spaces.len() >= usize::try_from(config.spaces_max).unwrap_or(usize::MAX)
        {
            let message = format!("at most {} spaces on one connection", config.spaces_max);
            return Err(Refused::new(Code::TooManySpaces, message));
        }
        let handle = self.gathering_of(now, &frame.space)?;
        if let Some(open) = self.connections.open_mut(slot) {
            open.spaces.insert(handle);
        }
        if let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) {
            gathering.entering.insert(slot, frame);
        }
        self.settle_gathering(now, handle);
        Ok(handle)
    }

    /// The handle of a space, which is begun if it is not in memory.
    fn gathering_of(&mut self, now: Timestamp, name: &str) -> Result<GatheringHandle, Refused> {
        if let Some(handle) = self.gatherings.by_name.get(name) {
            return Ok(*handle);
        }
        if self.gatherings.by_handle.len() >= self.config.presence.live_max {
            let Some((_, oldest)) = self.gatherings.empty.first().copied() else {
                let message = "people are in as many spaces as this server has room for";
                let retry_after = Some(Duration::from_secs(30));
                return Err(Refused {
                    code: Code::Overloaded,
                    message: message.to_owned(),
                    retry_after,
                });
            };
            self.forget_gathering(oldest);
        }
        self.gatherings.last = self.gatherings.last.wrapping_add(1).max(1);
        let handle = GatheringHandle(self.gatherings.last);
        let mut gathering = Gathering::new(name);
        gathering.empty_since = Some(now);
        self.gatherings.empty.insert((now, handle));
        self.gatherings.by_name.insert(name.to_owned(), handle);
        self.gatherings.by_handle.insert(handle, gathering);
        self.spaces.entry(name.to_owned()).or_default().gathering = true;
        Ok(handle)
    }

    /// Lets go of what is remembered of who was in a space.
    pub(super) fn forget_gathering_of(&mut self, space: &str) {
        if let Some(handle) = self.gatherings.by_name.get(space).copied() {
            self.forget_gathering(handle);
        }
    }

    fn forget_gathering(&mut self, handle: GatheringHandle) {
        let Some(gathering) = self.gatherings.by_handle.remove(&handle) else { return };
        self.gatherings.by_name.remove(&gathering.name);
        if let Some(since) = gathering.empty_since {
            self.gatherings.empty.remove(&(since, handle));
        }
        if let Some(at) = gathering.wake {
            self.timers.disarm(at, Timer::Gathering(handle));
        }
        if let Some(space) = self.spaces.get_mut(&gathering.name) {
            space.gathering = false;
        }
        self.forget_space(&gathering.name);
    }

    /// The rules of a space were read: lets in who waits for them.
    pub(super) fn admit_waiting(&mut self, now: Timestamp, name: &str, read: &Result<(), String>) {
        let Some(handle) = self.gatherings.by_name.get(name).copied() else { return };
        let Some(gathering) = self.gatherings.by_handle.get(&handle) else { return };
        let waiting: Vec<Slot> = gathering.entering.keys().copied().collect();
        for slot in waiting {
            match read {
                Ok(()) => self.admit(now, handle, slot),
                Err(error) => {
                    let code = Code::SpaceUnavailable;
                    let retry_after = Some(Duration::from_secs(30));
                    let refused = Refused { code, message: error.clone(), retry_after };
                    self.send_out(now, handle, slot, refused);
                }
            }
        }
    }

    /// Lets somebody in, or not.
    fn admit(&mut self, now: Timestamp, handle: GatheringHandle, slot: Slot) {
        let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) else { return };
        let Some(frame) = gathering.entering.remove(&slot) else { return };
        let Some((principal, role, claimed)) = self.standing(slot, &frame.space) else { return };
        let Some(session) = self.connections.open(slot).map(|open| open.session) else { return };
        let config = self.config.presence;
        let (code, why) = self.no_entry(&frame.space, "you may not be here");
        let no_entry = Refused::new(code, why);
        let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) else { return };
        let present = gathering.room.device(session).is_some();
        let refused = if !principal.may.has(Capabilities::READ) {
            Some(no_entry)
        } else if let Some(until) = gathering.kicked_until(now, &principal.user)
            // Somebody must be able to mend what moderators do.
            && !principal.may.has(Capabilities::MANAGE)
        {
            Some(kicked(until.since(now)))
        } else if frame.visible && !present && gathering.room.counts().devices >= config.members_max
        {
            Some(Refused::new(Code::SpaceFull, "as many are here as may be"))
        } else {
            None
        };
        if let Some(refused) = refused {
            return self.send_out(now, handle, slot, refused);
        }
        let standing = (role.to_string(), principal.may.bits());
        let device = frame.visible.then_some(session.0);
        if frame.visible {
            let user = principal.user;
            gathering.room.come(now, Arrival { session, user, role, claimed });
            gathering.room.replace(now, session, bounded(frame.sayings));
        } else if present {
            gathering.room.leave(now, session);
        }
        gathering.listeners.insert(slot, Listener::new(session, frame.visible, standing.clone()));
        let (role, may) = standing;
        let interval_ms = millis(config.interval.max(config.announce_interval));
        self.send(
            slot,
            Entered { space: frame.space, handle: handle.0, device, role, may, interval_ms },
        );
        self.catch_up(now, handle, slot);
        self.settle_gathering(now, handle);
    }

    /// Who a connection is in a space whose rules are known, and as what.
    fn standing(&self, slot: Slot, space: &str) -> Option<(Principal, Role, Option<Role>)> {
        let credentials = &self.connections.open(slot)?.credentials;
        let rules = self.rules_of(space)?;
        let claimed = credentials.role_in(space);
        let role = rules.role(&credentials.user, claimed).clone();
        Some((self.principal(slot, space)?, role, claimed.cloned()))
    }

    pub(super) fn announce(&mut self, now: Timestamp, slot: Slot, frame: Announce) {
        let handle = GatheringHandle(frame.handle);
        let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) else { return };
        // What was said before it heard that it is not there any more may still come.
        let Some(listener) = gathering.listeners.get(&slot) else { return };
        let (session, visible) = (listener.session, listener.visible);
        let config = self.config.presence;
        let paced = self.connections.open_mut(slot).map_or(Ok(()), |open| open.pace(now, &config));
        let answer = |code: Code, message: String, wait: Option<Duration>| NotAnnounced {
            handle: handle.0,
            code: code.number(),
            message,
            retry_after_ms: wait.map(millis),
        };
        if let Err(wait) = paced {
            let message = "more is announced than is allowed".to_owned();
            let frame = answer(Code::TooManyAnnouncements, message, Some(wait));
            return self.send(slot, frame);
        }
        let allowed = if visible {
            let fits =
                check(&frame.sayings).and_then(|()| gathering.room.check(session, &frame.sayings));
            fits.map_err(|error| error.to_string())
        } else {
            Err("who is not seen announces nothing".to_owned())
        };
        if let Err(message) = allowed {
            return self.send(slot, answer(Code::BadPresence, message, None));
        }
        for saying in bounded(frame.sayings) {
            gathering.room.say(now, session, saying);
        }
        self.settle_gathering(now, handle);
    }

    pub(super) fn leave(&mut self, now: Timestamp, slot: Slot, handle: u32) {
        let handle = GatheringHandle(handle);
        if let Some(open) = self.connections.open_mut(slot) {
            open.spaces.remove(&handle);
        }
        self.leave_gathering(now, handle, slot);
    }

    /// A connection is in a space no more, and its session is not seen there.
    fn leave_gathering(&mut self, now: Timestamp, handle: GatheringHandle, slot: Slot) {
        let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) else { return };
        gathering.entering.remove(&slot);
        if let Some(listener) = gathering.listeners.remove(&slot)
            && listener.visible
        {
            gathering.room.leave(now, listener.session);
        }
        self.settle_gathering(now, handle);
    }

    /// The client leaves for good.
    pub(super) fn leave_all(&mut self, now: Timestamp, slot: Slot) {
        let spaces = self.connections.open_mut(slot).map(|open| std::mem::take(&mut open.spaces));
        for handle in spaces.unwrap_or_default() {
            self.leave_gathering(now, handle, slot);
        }
    }

    /// A connection is gone; its session may be back soon.
    pub(super) fn gone_from(
        &mut self,
        now: Timestamp,
        slot: Slot,
        spaces: BTreeSet<GatheringHandle>,
    ) {
        let grace = self.config.presence.grace.min(self.config.grace);
        for handle in spaces {
            let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) else { continue };
            gathering.entering.remove(&slot);
            if let Some(listener) = gathering.listeners.remove(&slot)
                && listener.visible
            {
                gathering.room.wait_for(listener.session, now + grace);
            }
            self.settle_gathering(now, handle);
        }
    }

    fn say_sent_away(&mut self, slot: Slot, space: &str, refused: Refused) {
        let Refused { code, message, retry_after } = refused;
        let (space, retry_after_ms) = (space.to_owned(), retry_after.map(millis));
        self.send(slot, SentAway { space, code: code.number(), message, retry_after_ms });
    }

    fn send_out(&mut self, now: Timestamp, handle: GatheringHandle, slot: Slot, refused: Refused) {
        let Some(name) = self.gatherings.by_handle.get(&handle).map(|g| g.name.clone()) else {
            return;
        };
        if let Some(open) = self.connections.open_mut(slot) {
            open.spaces.remove(&handle);
        }
        self.say_sent_away(slot, &name, refused);
        self.leave_gathering(now, handle, slot);
    }

    /// A gathering's time has come.
    pub(super) fn gathering_due(&mut self, now: Timestamp, handle: GatheringHandle) {
        let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) else { return };
        gathering.wake = None;
        gathering.room.pass_time(now);
        let config = self.config.presence;
        let mut mouth = Mouth {
            connections: &mut self.connections,
            out: &mut self.out,
            unread_bytes_max: self.config.unread_bytes_max,
        };
        gathering.flush(now, handle, &config, &mut mouth);
        if gathering.is_over(now, &config) {
            self.forget_gathering(handle);
        } else {
            self.settle_gathering(now, handle);
        }
    }

    /// A connection has taken what it was sent: tells it what it does not know of its spaces.
    pub(super) fn catch_up_everywhere(&mut self, now: Timestamp, slot: Slot) {
        let Some(open) = self.connections.open(slot) else { return };
        if open.spaces.is_empty() {
            return;
        }
        for handle in open.spaces.clone() {
            self.catch_up(now, handle, slot);
        }
    }

    fn catch_up(&mut self, now: Timestamp, handle: GatheringHandle, slot: Slot) {
        let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) else { return };
        let mut mouth = Mouth {
            connections: &mut self.connections,
            out: &mut self.out,
            unread_bytes_max: self.config.unread_bytes_max,
        };
        gathering.catch_up(now, handle, slot, &self.config.presence, &mut mouth);
    }

    /// Arms a gathering's timer for what comes next, and notes whether somebody is there.
    fn settle_gathering(&mut self, now: Timestamp, handle: GatheringHandle) {
        let Some(gathering) = self.gatherings.by_handle.get_mut(&handle) else { return };
        match (gathering.is_empty(), gathering.empty_since) {
            (true, None) => {
                gathering.empty_since = Some(now);
                self.gatherings.empty.insert((now, handle));
            }
            (false, Some(since)) => {
                gathering.empty_since = None;
                self.gatherings.empty.remove(&(since, handle));
            }
            (true, Some(_)) | (false, None) => {}
        }
        let wake = gathering.next_wake(&self.config.presence);
        if wake != gathering.wake {
            if let Some(at) = gathering.wake {
                self.timers.disarm(at, Timer::Gathering(handle));
            }
            if let Some(at) = wake {
                self.timers.arm(at, Timer::Gathering(handle));
            }
            gathering.wake = wake;
        }
    }
}
